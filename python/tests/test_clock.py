from __future__ import annotations

import time
import unittest

import support  # noqa: F401

from lonet import ErrTimeout, clock


class ClockTest(unittest.TestCase):
    def test_deadline(self) -> None:
        self.assertIsNone(clock.deadline(None))
        self.assertIsNone(clock.left(None))
        clock.check(None)
        until = clock.deadline(10)
        assert until is not None
        self.assertAlmostEqual(until - time.monotonic(), 10, delta=1)
        left = clock.left(until)
        assert left is not None
        self.assertTrue(9 < left <= 10)
        clock.check(until)
        self.assertEqual(clock.left(time.monotonic() - 1), 0)
        with self.assertRaises(ErrTimeout):
            clock.check(clock.deadline(0))
        with self.assertRaises(ValueError):
            clock.deadline(-1)
        left = clock.left(clock.deadline(1e300))
        assert left is not None
        self.assertLess(left, 1e6)

    def test_earlier(self) -> None:
        for a, b, want in ((None, None, None), (1.0, None, 1.0), (None, 1.0, 1.0), (1.0, 2.0, 1.0), (2.0, 1.0, 1.0)):
            self.assertEqual(clock.earlier(a, b), want)


if __name__ == "__main__":
    unittest.main()
