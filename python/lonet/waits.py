"""How a registry waits for other processes: in short steps, that end with a deadline or with the registry."""

from __future__ import annotations

import random
import threading

from . import clock
from .clock import Deadline
from .errors import ErrNetDown


class Waits:
    """Safe for use by many threads at once."""

    def __init__(self) -> None:
        self.life = threading.Event()
        """Set when the registry is closed. Whatever waits here ends then, with ErrNetDown."""

    def pause(self, seconds: float, until: Deadline) -> None:
        """Waits, until the deadline at most, and raises ErrTimeout if that is over, ErrNetDown if the registry
        closes."""
        left = clock.left(until)
        if self.life.wait(seconds if left is None else min(seconds, left)):
            raise ErrNetDown()
        clock.check(until)

    def back_off(self, tries: int, until: Deadline) -> None:
        """Waits before another try of something done once, as opening: from 0.1 to 4 ms, random so that processes which
        were started together do not meet again."""
        self.pause(min(0.0002 * 2 ** min(tries, 10), 0.004) * random.uniform(0.5, 1), until)
