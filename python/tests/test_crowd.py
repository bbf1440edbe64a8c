from __future__ import annotations

import time
import unittest
from unittest import mock

import support  # noqa: F401

from lonet.crowd import LINGER, Crowd, Stranger


class CrowdTest(unittest.TestCase):
    def stranger(self, fd: int, lingers: bool = False) -> Stranger:
        return Stranger(mock.Mock(), fd, b"", lingers)

    def test_places(self) -> None:
        crowd = Crowd(2, 10)
        self.assertEqual((len(crowd), list(crowd), crowd.longest(), crowd.deadline()), (0, [], None, None))
        a, b = self.stranger(1), self.stranger(2, lingers=True)
        crowd.add(a)
        self.assertFalse(crowd.full())
        crowd.add(b)
        self.assertTrue(crowd.full())
        self.assertEqual({*crowd}, {a, b})
        self.assertIs(crowd.get(1), a)
        self.assertIs(crowd.get(2), b)
        self.assertIsNone(crowd.get(3))
        crowd.remove(a)
        self.assertIsNone(crowd.get(1))
        self.assertFalse(crowd.full())

    def test_longest(self) -> None:
        crowd = Crowd(10, 10)
        strangers = [self.stranger(i, lingers=i in (0, 3)) for i in range(5)]
        for i, s in enumerate(strangers):
            s.since = float(i)
            crowd.add(s)
        for s in strangers:
            self.assertIs(crowd.longest(), s)
            crowd.remove(s)

    def test_overdue(self) -> None:
        crowd = Crowd(10, 10)
        now = time.monotonic()
        silent, lingers = self.stranger(1), self.stranger(2, lingers=True)
        crowd.add(silent)
        self.assertAlmostEqual(crowd.deadline() or 0, now + 10, delta=1)
        crowd.add(lingers)
        self.assertAlmostEqual(crowd.deadline() or 0, now + LINGER, delta=0.9)
        self.assertIsNone(crowd.overdue(now))
        self.assertIs(crowd.overdue(lingers.since + LINGER), lingers)
        crowd.remove(lingers)
        self.assertIsNone(crowd.overdue(now + 5))
        self.assertIs(crowd.overdue(silent.since + 10), silent)


if __name__ == "__main__":
    unittest.main()
