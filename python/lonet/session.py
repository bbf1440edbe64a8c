"""Opening a registry, and opening it again. docs/lonet.md, 7.2, 7.3 and 7.12."""

from __future__ import annotations

import enum
import logging
import os
import stat
from typing import Optional

from . import mark, turn
from .clock import Deadline
from .database import Amiss, Busy, Damaged, Database, open_database
from .errors import OpError
from .files import FileSet, Info, discard, discard_companions, registry_path, same, stamp, touch
from .mark import Mark, mark_path
from .turn import Turn
from .waits import Waits

_TRIES = 10
"""How often it is tried to open a registry of which files vanish meanwhile."""


class Trust(enum.Enum):
    """How much is believed of a registry that is opened again."""

    TRUSTED = "it is sound if its files are in place"
    SUSPECTED = "and if SQLite finds nothing wrong with it"
    SPOILT = "it is not"


class _NotAlone(Exception):
    """There is something to make or to remove, which needs the turn alone."""


class _Vanished(OpError):
    """Somebody has removed what was being opened, whatever turns there are."""

    text = "somebody removes the network's files again and again"


class Session:
    """What a registry has open. It is replaced as a whole if files of it were lost."""

    def __init__(self, db: Database, held: Mark, files: FileSet) -> None:
        self.db = db
        """For who holds the registry's lock."""
        self.mark = held
        self.files = files
        self.stamp = stamp(files.db)
        """Of registry.db when it was last known to be sound."""

    def close(self, next_one: Session) -> None:
        """Closes what the next does not have too. The file of the mark stays: it has been replaced, or removed."""
        if self.mark is not next_one.mark:
            self.mark.unlock()
        if self.db is not next_one.db:
            self.db.close()

    def abandon(self, old: Optional[Session]) -> None:
        """Closes a session that is not to take the place of old, and leaves nothing of it."""
        _abandon(self.db, self.mark, old)


def _abandon(db: Optional[Database], held: Optional[Mark], old: Optional[Session]) -> None:
    if db is not None and (old is None or db is not old.db):
        db.close()
    if held is not None and (old is None or held is not old.mark):
        held.remove()


class Opener:
    """Opens the registry of a network for a process that accepts at a port."""

    def __init__(self, base: str, network: str, port: int, waits: Waits, logger: Optional[logging.Logger]) -> None:
        self.network = network
        self.directory = os.path.join(base, network)
        self.path = registry_path(self.directory)
        self._base = base
        self._port = port
        self._waits = waits
        self._logger = logger

    def attach(self, old: Optional[Session], how: Trust, until: Deadline) -> Session:
        """Opens the registry and takes the mark. What is missing, or damaged, is made.

        old is what this process had open until now, None when it joins, and how how that is to be taken. Raises
        mark.ErrMarked if another process holds the mark, else OSError.
        """
        alone = old is not None
        tries = 0
        while True:
            try:
                with turn.enter(self._base, self.directory, alone, self._waits, until) as mine:
                    return self._attach(mine, old, how, alone, until)
            except _NotAlone:
                alone = True
                continue
            except (Amiss, _Vanished, FileNotFoundError):
                if tries == _TRIES:
                    raise
            tries += 1
            self._waits.back_off(tries, until)

    def _attach(self, mine: Turn, old: Optional[Session], how: Trust, alone: bool, until: Deadline) -> Session:
        db: Optional[Database] = None
        held: Optional[Mark] = None
        try:
            file = self._clear(old, how, alone)
            try:
                db = open_database(self.path, self.network, True, self._waits, until)
                if how is Trust.SUSPECTED:
                    self._check_all(db, until)
            except Damaged as err:
                if not alone:
                    raise _NotAlone() from None
                self.log("the registry is damaged, and replaced", str(err))
                discard(self.path)
                raise _Vanished() from None
            if old is not None and old.mark.linked():
                held = old.mark
            else:
                held = mark.take(mark_path(self.directory, self._port), self._waits, until)
            files = FileSet(self.directory, self._port)
            if not (same(files.directory, mine.info) and same(files.db, file) and held.is_file(files.mark)):
                raise _Vanished()
            return Session(db, held, files)
        except BaseException:
            _abandon(db, held, old)
            raise

    def _check_all(self, db: Database, until: Deadline) -> None:
        tries = 0
        while True:
            try:
                db.check_all()
                return
            except Busy:
                self._waits.back_off(tries, until)
                tries += 1

    def _clear(self, old: Optional[Session], how: Trust, alone: bool) -> Info:
        """Removes, before the database is opened, files that do not belong together: SQLite would take them for one.

        It makes registry.db, empty, where there is none, and returns which file it is: that is what SQLite opens.
        """
        now = FileSet(self.directory, self._port)
        is_dir = now.db is not None and stat.S_ISDIR(now.db.st_mode)
        unmade = now.db is None or is_dir or now.db.st_size == 0
        rest = now.wal is not None or now.shm is not None
        if unmade and not alone:
            raise _NotAlone()
        if is_dir:  # who removed the network was killed
            os.rmdir(self.path)
        elif now.db is not None and unmade and rest:  # it was cut off
            discard(self.path)
        elif unmade and rest:
            self._clear_rest()
        elif unmade or old is None:
            pass
        elif same(now.db, old.files.db):
            # What is missing beside it held rows, and may have held tables.
            if how is Trust.SPOILT or not old.files.same_registry(now):
                discard(self.path)
        elif old.files.companion_of(now):  # another has come in the place of ours, whose log is not its own
            discard_companions(self.path)
        return touch(self.path)

    def _clear_rest(self) -> None:
        """Removes what is left beside a registry.db that is gone: others may have it open, and a new database would
        share it with them. The new one is made and locked first, for a program without turns may be making one just
        now."""
        try:
            db = lock_database(self.path)
        except Busy:
            return
        try:
            if db.run("PRAGMA page_count") == [(0,)]:
                discard_companions(self.path)
        finally:
            db.close()

    def remark(self, old: Session, until: Deadline) -> Session:
        """Takes the mark of a session that has lost only that."""
        with turn.enter(self._base, self.directory, False, self._waits, until):
            held = mark.take(mark_path(self.directory, self._port), self._waits, until)
            try:
                files = FileSet(self.directory, self._port)
                if not held.is_file(files.mark):
                    raise _Vanished()
            except BaseException:
                held.remove()
                raise
        files.db, files.wal, files.shm = old.files.db, old.files.wal, old.files.shm  # which are what is open
        session = Session(old.db, held, files)
        session.stamp = old.stamp
        return session

    def log(self, what: str, err: str = "") -> None:
        """Tells the log what has become of the registry."""
        if self._logger is not None:
            self._logger.warning(
                "lonet: network %s: %s (%s)%s", self.network, what, self.path, f": {err}" if err else ""
            )


def lock_database(path: str) -> Database:
    """Opens a database, or makes it, with a lock by which nobody else can have read it, nor reads it until it is
    closed.

    All who have read a database in WAL mode keep it locked, shared, until they close it: if somebody does, it raises
    Busy.
    """
    db = Database(path)
    try:
        for query in ("PRAGMA locking_mode = exclusive", "BEGIN EXCLUSIVE", "ROLLBACK"):  # the lock stays
            db.run(query)
    except BaseException:
        db.close()
        raise
    return db
