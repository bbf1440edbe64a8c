"""Time-outs, as points in time."""

from __future__ import annotations

import time
from typing import Optional

from .errors import ErrTimeout

Deadline = Optional[float]
"""A point on time.monotonic's scale; None is never."""

_WAIT_MOST = 24 * 3600.0
"""No single wait is longer: some of the system's don't take it."""


def deadline(timeout: Optional[float]) -> Deadline:
    """Returns when a time-out that begins now is over. None is no time-out."""
    if timeout is None:
        return None
    if timeout < 0:
        raise ValueError("timeout value out of range")
    return time.monotonic() + timeout


def left(until: Deadline) -> Optional[float]:
    """Returns how many seconds are left, 0 if none; None for no deadline."""
    if until is None:
        return None
    return min(max(until - time.monotonic(), 0.0), _WAIT_MOST)


def sooner(until: Deadline, seconds: Optional[float]) -> Deadline:
    """Returns the deadline, or the point in so many seconds, None for never, if that is earlier."""
    return until if seconds is None else earlier(until, time.monotonic() + seconds)


def check(until: Deadline) -> None:
    """Raises ErrTimeout if the deadline is over."""
    if until is not None and time.monotonic() >= until:
        raise ErrTimeout()


def earlier(a: Deadline, b: Deadline) -> Deadline:
    """Returns the earlier of two deadlines."""
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)
