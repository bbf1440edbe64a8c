"""Sub-networks where processes begin and end: a forked child has none, one that ends normally withdraws its own."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .subnet import SubNetwork

_open: "weakref.WeakSet[SubNetwork]" = weakref.WeakSet()


def add(net: SubNetwork) -> None:
    """Begins to look after a sub-network."""
    _open.add(net)


def remove(net: SubNetwork) -> None:
    """Ends that; it is closed."""
    _open.discard(net)


def _in_child() -> None:
    """Closes what a forked child has inherited: with the mark of its parent open, it would keep its names alive."""
    for net in list(_open):
        net._forget()
    _open.clear()


def _at_exit() -> None:
    for net in list(_open):
        net._at_exit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
atexit.register(_at_exit)
