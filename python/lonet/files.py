"""The files of a network: which they are, and their removal. docs/lonet.md, sections 2 and 7."""

from __future__ import annotations

import os
import time
from typing import Optional

from .mark import mark_path

Info = Optional[os.stat_result]
"""What is known of a file; None if there is none."""


def registry_path(directory: str) -> str:
    """Returns the path of the registry of the network that has that directory."""
    return os.path.join(directory, "registry.db")


class FileSet:
    """Which files an open registry has, the mark included: those that were there when it was opened.

    As long as it is open SQLite removes none of them. They may be stat'ed but not opened, since POSIX locks of this
    process, which SQLite's are, go with any descriptor that is closed.
    """

    def __init__(self, directory: str, port: int) -> None:
        """Looks which files there are now. The mark is that of the port."""
        db = registry_path(directory)
        self.directory = _info(directory)
        self.db = _info(db)
        self.wal = _info(db + "-wal")
        self.shm = _info(db + "-shm")
        self.mark = _info(mark_path(directory, port))
        # The directory's time of change at which all was in place: while it is the same nothing has come or gone.
        self._calm = 0

    def in_place(self, directory: str, port: int) -> bool:
        """Tells whether the paths still lead to these files. Usually that is one system call."""
        now = time.time()
        try:
            info = os.lstat(directory)
            if info.st_mtime_ns == self._calm and same(info, self.directory):
                return True
            there = FileSet(directory, port)
        except OSError:
            return False
        if not self.same_registry(there) or not same(self.mark, there.mark):
            return False
        age = now - info.st_mtime
        if age < 0 or age > _tick(info):
            self._calm = info.st_mtime_ns
        return True

    def same_registry(self, other: FileSet) -> bool:
        """Tells whether registry.db, -wal and -shm are the same."""
        return same(self.db, other.db) and same(self.wal, other.wal) and same(self.shm, other.shm)

    def companion_of(self, there: FileSet) -> bool:
        """Tells whether one of these -wal and -shm is there."""
        return any(
            mine is not None and same(mine, other) for mine, other in ((self.wal, there.wal), (self.shm, there.shm))
        )


def same(a: Info, b: Info) -> bool:
    """Tells whether two are one file, or none."""
    if a is None or b is None:
        return a is b
    return os.path.samestat(a, b)


def stamp(info: Info) -> tuple[int, int]:
    """Returns what shows that the content of a file has changed."""
    return (0, 0) if info is None else (info.st_size, info.st_mtime_ns)


def _info(path: str) -> Info:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _tick(info: os.stat_result) -> float:
    """Returns how long ago a directory must have changed for its next change to be of another time: the clocks of file
    systems go in steps of milliseconds, of some in steps of two seconds."""
    return 3.0 if info.st_mtime_ns % 1_000_000_000 == 0 else 0.05


def touch(path: str) -> Info:
    """Returns which file is at path, and makes it if there is none."""
    info = _info(path)
    if info is None:
        try:
            # It is not opened if it is there by now.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            pass
        info = os.lstat(path)
    return info


def discard(path: str) -> None:
    """Removes the registry at path, for who has the turn alone. registry.db goes last: what is left beside one that
    somebody makes meanwhile would be taken for a part of it."""
    discard_companions(path)
    remove(path)


def discard_companions(path: str) -> None:
    """Removes what SQLite has put beside a registry, likewise."""
    for suffix in ("-wal", "-shm", "-journal"):
        remove(path + suffix)


def remove(path: str) -> None:
    """Removes a file that need not be there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
