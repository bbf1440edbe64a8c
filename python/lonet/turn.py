"""Turns: locks on the directory of a network. docs/lonet.md, 7.1.

A turn keeps apart those who open the registry, who share it, and those who make, replace or remove the registry's
files, who have it alone. So what the path of registry.db leads to when SQLite opens it is what it leads to when SQLite
opens -wal and -shm beside it; else two databases could share one log. It is held for the moments of doing that, never
while other processes are asked anything.
"""

from __future__ import annotations

import os
import sys
from typing import Optional

from . import directory as directories
from . import locks
from .clock import Deadline, check
from .errors import of_system
from .waits import Waits


class Turn:
    """A turn that this process has. As a context manager it ends itself."""

    def __init__(self, fd: int, info: os.stat_result) -> None:
        self._fd = fd
        self.info = info
        """Of the directory."""

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._fd >= 0:
            locks.release(self._fd)


def take(directory: str, alone: bool, waits: Waits, until: Deadline) -> Turn:
    """Takes a turn at a network's directory, which is this user's own. Raises FileNotFoundError if it is not there."""
    tries = 0
    while True:
        turn = try_take(directory, alone)
        if turn is not None:
            return turn
        waits.back_off(tries, until)
        tries += 1


def try_take(directory: str, alone: bool) -> Optional[Turn]:
    """Tries to take a turn; None if others have theirs, or if the directory was just replaced."""
    if sys.platform == "win32":  # a file that is open can be neither removed nor replaced there
        return Turn(-1, directories.check_network(directory))
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        directories.check_network(directory)  # says best what is wrong with a directory that cannot be opened
        raise
    turn = None
    try:
        if locks.lock(fd, alone):
            there = directories.check_network(directory)
            if os.path.samestat(os.fstat(fd), there):
                turn = Turn(fd, there)
    finally:
        if turn is None:
            locks.release(fd)
    return turn


def enter(base: str, directory: str, alone: bool, waits: Waits, until: Deadline) -> Turn:
    """Takes a turn for a process that means to be on the network: makes what is missing of the directories, and puts
    their modes right."""
    while True:
        directories.make_base(base)
        try:
            turn = take(directory, alone, waits, until)
        except FileNotFoundError:
            try:
                directories.make_in(base, directory)  # others may make it, or remove it again, at the same moment
            except FileNotFoundError:
                pass
            check(until)
            continue
        try:
            directories.set_mode(directory, directories.MODE_NETWORK)
        except OSError as err:
            with turn:
                raise of_system(err) from None
        return turn
