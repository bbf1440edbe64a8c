"""Marks of life: files that a process holds locked while it lives. docs/lonet.md, 5.1 to 5.3."""

from __future__ import annotations

import enum
import os
import sys
import time
from typing import Optional, Tuple

from . import locks
from .clock import Deadline
from .waits import Waits


class State(enum.Enum):
    """What the mark of an address tells about the process that accepts there."""

    UNMARKED = "unmarked"
    """There is no mark. The process is one that leaves none, or it is gone; only asking it tells."""
    GONE = "gone"
    """The process that left the mark has ended."""
    RUNNING = "running"
    """The process lives; it may be stopped."""


class ErrMarked(Exception):
    """Another process still holds the mark of the port: it is about to close. Another port does."""


_LOOK = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY

_MARK_WAIT = 0.5
"""How long a process waits for its mark. Who looks at one holds it for microseconds, who closes for some 20 ms."""


def mark_path(directory: str, port: int) -> str:
    """Returns the path of the mark of the process that accepts at the port."""
    return os.path.join(directory, f"{port}.live")


class Mark:
    """A mark that this process holds."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        """The path of the file."""
        self._fd = fd

    def linked(self) -> bool:
        """Tells whether the locked file is still the one at the path."""
        try:
            return self.is_file(os.stat(self.path))
        except OSError:
            return False

    def is_file(self, info: Optional[os.stat_result]) -> bool:
        """Tells whether this is the file that is locked."""
        return info is not None and os.path.samestat(os.fstat(self._fd), info)

    def unlock(self) -> None:
        """Lets go of the mark and leaves the file."""
        locks.release(self._fd)

    def remove(self) -> None:
        """Removes the file and lets go of it."""
        if sys.platform == "win32":
            # An open file cannot be removed; once it is closed, only while nobody else has it open.
            self.unlock()
            try:
                os.unlink(self.path)
            except OSError:
                pass
            return
        try:
            # While it is locked: who opened it before finds it locked, or not linked.
            if self.linked():
                os.unlink(self.path)
        finally:
            self.unlock()

    def forget(self) -> None:
        """Closes the descriptor that a forked child has inherited. Unlocking it would unlock the parent."""
        os.close(self._fd)


def take(path: str, waits: Waits, until: Deadline = None) -> Mark:
    """Makes the mark and locks it. Raises ErrMarked if another process keeps it."""
    end = time.monotonic() + _MARK_WAIT
    while True:
        mark, _ = try_lock(path, create=True)
        if mark is not None:
            return mark
        if time.monotonic() > end:
            raise ErrMarked()
        waits.back_off(0, until)


def try_lock(path: str, create: bool = False) -> Tuple[Optional[Mark], State]:
    """Tries to lock the mark for this process.

    The mark is None if that did not succeed: the state is RUNNING if another holds it, UNMARKED if it is not there.
    """
    try:
        fd = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError:
        return None, State.UNMARKED
    try:
        if not locks.lock(fd, exclusive=True):
            os.close(fd)
            return None, State.RUNNING
        mark = Mark(path, fd)
        if mark.linked():
            return mark, State.GONE
    except BaseException:
        locks.release(fd)
        raise
    locks.release(fd)
    return None, State.UNMARKED


def look(path: str) -> State:
    """Looks at a mark without making or keeping it."""
    try:
        fd = os.open(path, _LOOK)
    except FileNotFoundError:
        return State.UNMARKED
    try:
        return State.GONE if locks.lock(fd, exclusive=False) else State.RUNNING
    finally:
        locks.release(fd)


def parse_osladdr(osladdr: str) -> Optional[int]:
    """Returns the port of an address "127.0.0.1:port"; None for any other, which must not be connected to."""
    ip, _, digits = osladdr.partition(":")
    if ip != "127.0.0.1" or not digits.isascii() or not digits.isdigit():
        return None
    if len(digits) > 5 or digits[0] == "0" or int(digits) > 65535:
        return None
    return int(digits)
