from __future__ import annotations

import unittest

import support  # noqa: F401

from lonet.judge import GRACE, Answer, Verdict, verdict
from lonet.mark import State
from lonet.registry import _CLOSE_WAIT

ALIVE, STALE, DEAD = Verdict.ALIVE, Verdict.STALE, Verdict.DEAD
RUNNING, GONE, UNMARKED = State.RUNNING, State.GONE, State.UNMARKED


class JudgeTest(unittest.TestCase):
    def test_table(self) -> None:
        for answer, mark, at_once, after_grace in (
            (Answer.PRESENT, RUNNING, ALIVE, ALIVE),
            (Answer.PRESENT, GONE, ALIVE, ALIVE),
            (Answer.PRESENT, UNMARKED, ALIVE, ALIVE),
            (Answer.SILENT, RUNNING, ALIVE, ALIVE),
            (Answer.SILENT, GONE, STALE, STALE),
            (Answer.SILENT, UNMARKED, ALIVE, ALIVE),
            (Answer.NO_SUCH_HOST, RUNNING, STALE, STALE),
            (Answer.NO_SUCH_HOST, GONE, None, STALE),
            (Answer.NO_SUCH_HOST, UNMARKED, None, STALE),
            (Answer.NOBODY, RUNNING, None, ALIVE),
            (Answer.NOBODY, GONE, DEAD, DEAD),
            (Answer.NOBODY, UNMARKED, DEAD, DEAD),
        ):
            with self.subTest(f"{answer} {mark}"):
                self.assertIs(verdict(answer, mark, patient=True), at_once)
                self.assertIs(verdict(answer, mark, patient=False), after_grace)

    def test_grace(self) -> None:
        self.assertGreater(GRACE, _CLOSE_WAIT)


if __name__ == "__main__":
    unittest.main()
