"""Incoming connections that are not past the handshake."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Iterator, Optional

from . import clock
from .clock import Deadline
from .conn import Conn

LINGER = 1.0
"""How long, and for how many bytes, a connection that was refused stays for its other end to close it: the system
resets one that is closed with unread input, or gets more, and that may destroy the reply before it is read."""
LINGER_BYTES = 1 << 20


class Stranger:
    """A connection whose request has not come yet, or that was refused and whose other end has not gone yet."""

    __slots__ = ("conn", "fd", "since", "line", "lingers", "left")

    def __init__(self, conn: Conn, fd: int, line: bytes = b"", lingers: bool = False) -> None:
        self.conn = conn
        self.fd = fd
        self.since = time.monotonic()
        self.line = line
        """As much as came of its request."""
        self.lingers = lingers
        """It was refused."""
        self.left = LINGER_BYTES
        """How much of what it sends then is thrown away."""


class Crowd:
    """Strangers. Anybody can be in it, so it has a number of places; the caller drops the longest silent for the
    next."""

    def __init__(self, places: int, patience: float) -> None:
        self._places = places
        self._patience = patience
        # By descriptor; in each, all have the same time, so the first is the longest silent.
        self._silent: "OrderedDict[int, Stranger]" = OrderedDict()
        self._lingering: "OrderedDict[int, Stranger]" = OrderedDict()

    def __len__(self) -> int:
        return len(self._silent) + len(self._lingering)

    def __iter__(self) -> Iterator[Stranger]:
        yield from self._silent.values()
        yield from self._lingering.values()

    def full(self) -> bool:
        """Tells whether all places are taken."""
        return len(self) >= self._places

    def add(self, s: Stranger) -> None:
        """Adds one."""
        (self._lingering if s.lingers else self._silent)[s.fd] = s

    def get(self, fd: int) -> Optional[Stranger]:
        """Returns the one with the descriptor."""
        return self._silent.get(fd) or self._lingering.get(fd)

    def remove(self, s: Stranger) -> None:
        """Removes one."""
        del (self._lingering if s.lingers else self._silent)[s.fd]

    def longest(self) -> Optional[Stranger]:
        """Returns the one who has been silent longest."""
        firsts = [next(iter(d.values())) for d in (self._silent, self._lingering) if d]
        return min(firsts, key=lambda s: s.since) if firsts else None

    def deadline(self) -> Deadline:
        """Returns when the next is overdue."""
        until = None
        for d, patience in ((self._silent, self._patience), (self._lingering, LINGER)):
            if d:
                until = clock.earlier(until, next(iter(d.values())).since + patience)
        return until

    def overdue(self, now: float) -> Optional[Stranger]:
        """Returns one whose time is over."""
        for d, patience in ((self._silent, self._patience), (self._lingering, LINGER)):
            if d:
                first = next(iter(d.values()))
                if now >= first.since + patience:
                    return first
        return None
