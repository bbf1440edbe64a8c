"""Accepts that wait for a dial, and dials that wait for an accept. All of it is guarded by the sub-network's lock."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from .addr import Addr
    from .conn import Conn
    from .listener import Listener


class Waiter:
    """An accept that waits."""

    __slots__ = ("listener", "conn", "done", "given_up", "turn", "promoted", "back_soon")

    def __init__(self, listener: Listener, back_soon: bool) -> None:
        self.listener = listener
        self.back_soon = back_soon
        """Once it has its connection, its thread is likely to be back with the next accept at once."""
        self.conn: Optional[Conn] = None
        """What it gets."""
        self.done = False
        """It has its connection, or is to look again what there is."""
        self.given_up = False
        """Nobody waits for the connection that it is about to get."""
        self.turn: Optional[threading.Lock] = None
        """What its thread waits on, if another thread drives the engine: released once, when it is taken out of the
        engine's followers."""
        self.promoted = False
        """Its thread is to drive the engine."""


class Dial:
    """An incoming dial."""

    __slots__ = ("conn", "src", "dst", "may_end", "fd", "assigned")

    def __init__(self, conn: Conn, src: Addr, dst: Addr, may_end: bool, fd: int) -> None:
        self.conn = conn
        self.src = src
        self.dst = dst
        self.may_end = may_end
        """Payload came behind the request: a dialler that ends its side may well wait for the reply."""
        self.fd = fd
        self.assigned = False
        """It was for an accept that waited already."""
