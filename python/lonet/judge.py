"""Who still has a name. docs/lonet.md, 5.4."""

from __future__ import annotations

import enum
from typing import Optional

from .mark import State

SILENCE = 1.0
"""How long a process that is asked has for its answer. One that is silent for longer may be stopped, and is alive."""

GRACE = 0.03
"""How long an answer that may be one of the moment is not believed. Longer than a process takes to close."""


class Answer(enum.Enum):
    """What a process answered to a dial of port 0 of a host."""

    SILENT = "silent"
    """Something accepts connections and says nothing."""
    PRESENT = "present"
    """"connection refused" in a reply of the right network, or anything else that only a host which is there gives."""
    NO_SUCH_HOST = "no such host"
    """That, in a reply of the right network."""
    NOBODY = "nobody"
    """The system refuses the connection, or whoever took it is of another network or not of lonet at all."""


class Verdict(enum.Enum):
    """What is to become of a row whose name somebody else wants."""

    ALIVE = "alive"
    """The name is taken."""
    STALE = "stale"
    """The process is there, the host is not."""
    DEAD = "dead"
    """The process is gone, and with it all of its hosts."""


def verdict(answer: Answer, mark: State, patient: bool) -> Optional[Verdict]:
    """Judges by the answer and then the mark; None is to ask again in a moment, while patient.

    The answer counts even where the mark is free: the port may have gone to a process that leaves no mark.
    """
    running = mark is State.RUNNING
    if answer is Answer.PRESENT:
        return Verdict.ALIVE
    if answer is Answer.SILENT:
        # A stopped process, or a stranger who got the port of one that is gone.
        return Verdict.STALE if mark is State.GONE else Verdict.ALIVE
    if answer is Answer.NO_SUCH_HOST:
        # Running, it is about to withdraw. Without a mark, it may announce before it answers.
        return Verdict.STALE if running or not patient else None
    if not running:
        return Verdict.DEAD
    return None if patient else Verdict.ALIVE  # it may be about to close
