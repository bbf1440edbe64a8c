"""What cannot be copied or sent to another process."""

from __future__ import annotations

import copy
import pickle
import unittest
from typing import Any

from support import TestCase


class BoundTest(TestCase):
    def test_copies(self) -> None:
        a = self.host(0, "α")
        with a.listen(":1") as listener:
            things: Any = (self._subs[0], a, listener)
            for thing in things:
                for f in (copy.copy, copy.deepcopy, pickle.dumps):
                    with self.subTest(f"{f.__name__} {thing!r}"):
                        with self.assertRaises(TypeError) as caught:
                            f(thing)
                        says = f"cannot copy or pickle {thing!r}, which belongs to its process"
                        self.assertIn(says, str(caught.exception))
            c, d = self.connect(a, listener)
            for f in (copy.copy, pickle.dumps):
                with self.assertRaises(TypeError):
                    f(c)


if __name__ == "__main__":
    unittest.main()
