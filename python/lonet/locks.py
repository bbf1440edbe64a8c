"""Locks on files that the kernel drops with the process: flock(2), on Windows of the first byte."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":  # untested
    import msvcrt

    # msvcrt knows no shared locks: who wants one has an exclusive one for that instant.

    def lock(fd: int, exclusive: bool) -> bool:
        """Tries to lock the file, and tells whether that succeeded."""
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
        except OSError:
            pass  # it was not locked

else:
    import fcntl

    def lock(fd: int, exclusive: bool) -> bool:
        """Tries to lock the file, and tells whether that succeeded."""
        try:
            fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


def release(fd: int) -> None:
    """Unlocks and closes. To close alone is not enough: a child that is being forked may have the descriptor too."""
    try:
        _unlock(fd)
    finally:
        os.close(fd)
