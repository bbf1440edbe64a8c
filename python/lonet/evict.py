"""Removing a network with a random name, when who has made it is the last to leave. docs/lonet.md, 5.9 and 7.8.

Nobody makes a network of that name soon, so what 7.9 does for programs that know nothing of turns is left out: whoever
was told the name and joins later finds it as empty as it was.
"""

from __future__ import annotations

import os
import re
import sys
import time

from . import mark, turn
from .database import Busy, Database, Mismatch
from .errors import OpError
from .files import discard_companions, registry_path, remove
from .mark import State
from .session import lock_database
from .waits import Waits

_REMOVED_VERSION = "lonet.1, but removed for want of use: join again"
_TIME = 0.02
_OURS = re.compile(r"registry\.db(-wal|-shm|-journal)?|[1-9][0-9]*\.live")


def evict_unused(directory: str, network: str) -> None:
    """Removes the network if nobody else uses it now. It hardly waits; if somebody is there, or it fails, it stays."""
    try:
        with turn.take(directory, True, Waits(), time.monotonic() + _TIME):
            _evict(directory, network)
    except (OSError, Busy):
        pass


def _evict(directory: str, network: str) -> None:
    entries = os.listdir(directory)
    marks = [os.path.join(directory, name) for name in entries if name.endswith(".live")]
    if any(mark.look(path) is State.RUNNING for path in marks):
        return
    path = registry_path(directory)
    if not any(_OURS.fullmatch(name) for name in entries):
        os.rmdir(directory)
        return
    db = lock_database(path)
    try:
        if not _empty(db, network):
            return
        for name in marks:
            free, state = mark.try_lock(name)
            if free is not None:
                free.remove()
            elif state is State.RUNNING:
                return
        # What is in the log goes into the database, the log goes away, and the database is not in WAL mode any more.
        db.run("PRAGMA journal_mode = memory")
        discard_companions(path)
        if sys.platform == "win32":  # a file that anybody has open cannot be removed
            db.close()
        remove(path)
        try:
            db.run("UPDATE meta SET value = ? WHERE name = 'schemaver'", _REMOVED_VERSION)
        except (OpError, Busy):
            pass  # it has no meta, or is closed
    finally:
        db.close()
    os.rmdir(directory)


def _empty(db: Database, network: str) -> bool:
    """Tells whether there is no row: who has one has not been judged."""
    try:
        db.check(network)
        return not db.entries()
    except Mismatch:
        return False
    except OpError:
        return db.run("SELECT name FROM sqlite_master LIMIT 1") == []
