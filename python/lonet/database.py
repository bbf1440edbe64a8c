"""A connection to the database of a registry. docs/lonet.md, section 3.

SQLite never waits for us: its busy handler knows no time-out of ours, and does not run at all where waiting could
deadlock. Everything here is a single try, which fails with Busy when another connection is at the database, and the
registry tries again.
"""

from __future__ import annotations

import errno
import pathlib
import random
import sqlite3
import time
from typing import Any, Dict, List, Optional, Tuple

from .clock import Deadline
from .errors import OpError
from .waits import Waits

SCHEMA_VERSION = "lonet.1"

# The schema, letter by letter as existing registries have it: "NON NULL" is part of the type's name to SQLite and
# forbids nothing, so rows may hold NULL.
_CREATE_HOSTS = "CREATE TABLE IF NOT EXISTS hosts ( hostname TEXT NON NULL PRIMARY KEY, osladdr TEXT NON NULL )"
_CREATE_META = "CREATE TABLE IF NOT EXISTS meta ( name TEXT NON NULL PRIMARY KEY, value TEXT NON NULL )"
_INSERT_META = "INSERT OR IGNORE INTO meta (name, value) VALUES ('schemaver', ?), ('network', ?)"
_SELECT_META = "SELECT name, value FROM meta WHERE name IN ('schemaver', 'network')"

_SELECT_ADDR = "SELECT osladdr FROM hosts WHERE hostname = ?"
_SELECT_ROW = "SELECT rowid, osladdr FROM hosts WHERE hostname = ?"
_SELECT_HOSTS = "SELECT hostname FROM hosts WHERE osladdr = ?"
_SELECT_ROWS = "SELECT hostname, osladdr FROM hosts ORDER BY hostname"
_INSERT_ROW = "INSERT INTO hosts (rowid, hostname, osladdr) VALUES (?, ?, ?)"
_REPLACE_ROW = "UPDATE hosts SET rowid = ?, osladdr = ? WHERE hostname = ? AND rowid = ? AND osladdr = ?"
_DELETE_ROW = "DELETE FROM hosts WHERE hostname = ? AND osladdr = ?"
_DELETE_ROWS_AT = "DELETE FROM hosts WHERE osladdr = ?"

_CHECKPOINT_PAGES = 16384
"""How long the write-ahead log grows before it is checkpointed, with a SQLite whose checkpoints have a bug: before
3.51.3 two connections that write and checkpoint at the same instant can corrupt the database. Python uses the SQLite
of the system, so that can't be mended here, only made rare. 64 MiB, some thousand hosts that come and go."""


class Busy(Exception):
    """Another connection is at the database. Try again."""


class Amiss(OpError):
    """What may come from files that were damaged, removed, or replaced."""


class Damaged(Amiss):
    """The database itself is spoilt: there is nothing to be had from it any more."""


class Incomplete(Amiss):
    """The tables, or their description, are missing."""


class Mismatch(OpError):
    """It is the registry of another network, or of another version."""


Row = Tuple[int, str]
"""What the registry holds for a host: the announcement's id, SQLite's rowid, new with every announcement, so that a
verdict about an earlier one of the same name and address cannot touch a later one; and the address."""


def new_id() -> int:
    """Returns an id that no other announcement has, but once in a million of the same millisecond."""
    return int(time.time() * 1000) << 20 | random.getrandbits(20)


class Database:
    """A connection. Its methods are single tries, and are not safe for concurrent use, but on whatever thread."""

    def __init__(self, path: str, create: bool = True) -> None:
        if not create:
            path = pathlib.Path(path).as_uri() + "?mode=rw"
        try:
            self._conn = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False, uri=not create
            )
        except sqlite3.Error as err:
            raise _error(err) from None
        self._conn.text_factory = lambda b: b.decode("utf-8", "surrogateescape")

    def close(self) -> None:
        """Closes the connection."""
        try:
            self._conn.close()
        except sqlite3.Error as err:
            raise _error(err) from None

    def setup(self, network: str, create: bool = True) -> None:
        """Makes the connection ready, and, with create, whatever is missing. Every step may be done again.

        Raises Mismatch if the registry is another network's, or of another version.
        """
        # Only a crash of the operating system could hurt a registry that is not synced, and nobody survives that.
        self.run("PRAGMA synchronous = OFF")
        if sqlite3.sqlite_version_info < (3, 51, 3):
            self.run(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        # To look first keeps the usual case, a network that is there, from writing, and one of another version from
        # being touched.
        missing = False
        try:
            self.check(network)
        except Incomplete:
            if not create:
                raise
            missing = True
        if create:
            answer = self.run("PRAGMA journal_mode = wal")
            if answer != [("wal",)]:
                raise OpError(f"the database does not go into WAL mode: {answer}")
        if missing:
            self._create(network)
            self.check(network)

    def check(self, network: str) -> None:
        """Reads whether this is the registry of the network, in the version that we speak."""
        meta: Dict[Any, Any] = {name: value for name, value in self.run(_SELECT_META)}
        for key, what, want in (
            ("schemaver", "schema version", SCHEMA_VERSION),
            ("network", "network name", network),
        ):
            if key in meta and meta[key] != want:
                raise Mismatch(f'{what} mismatch: want "{want}"; have "{meta[key]}"')
        if len(meta) < 2:
            raise Incomplete(_INCOMPLETE)
        self.run(_SELECT_ADDR, "")

    def _create(self, network: str) -> None:
        """Makes the tables and their description where they are missing, all or nothing."""
        self.run("BEGIN IMMEDIATE")
        try:
            self.run(_CREATE_HOSTS)
            self.run(_CREATE_META)
            self.run(_INSERT_META, SCHEMA_VERSION, network)
            self.run("COMMIT")
        except BaseException:
            if self._conn.in_transaction:
                self._conn.rollback()
            raise

    def addr(self, host: str) -> Optional[str]:
        """Returns the address of a host."""
        for (osladdr,) in self.run(_SELECT_ADDR, host):
            return _text(osladdr)
        return None

    def row(self, host: str) -> Optional[Row]:
        """Returns the row of a host."""
        for rowid, osladdr in self.run(_SELECT_ROW, host):
            return rowid, _text(osladdr)
        return None

    def insert(self, host: str, osladdr: str) -> bool:
        """Makes a row for a host that has none, and tells whether it did."""
        return self._change(_INSERT_ROW, new_id(), host, osladdr) == 1

    def replace(self, host: str, old: Row, osladdr: str) -> bool:
        """Puts osladdr, and a new id, in place of exactly the row old, and tells whether that was still there."""
        return self._change(_REPLACE_ROW, new_id(), osladdr, host, old[0], old[1]) == 1

    def delete(self, host: str, osladdr: str) -> None:
        """Removes the row of a host, if it has that address."""
        self.run(_DELETE_ROW, host, osladdr)

    def hosts_at(self, osladdr: str) -> List[str]:
        """Returns the names of the hosts with the address."""
        return [_text(host) for (host,) in self.run(_SELECT_HOSTS, osladdr)]

    def entries(self) -> List[Tuple[str, str]]:
        """Returns the names and addresses of all hosts."""
        return [(_text(host), _text(osladdr)) for host, osladdr in self.run(_SELECT_ROWS)]

    def check_all(self) -> None:
        """Looks through the whole database, and raises Damaged if something is wrong. (SQLite's quick_check would not
        do: it does not see rows that only an index knows.)"""
        (what,) = self.run("PRAGMA integrity_check(1)")[0]
        if what != "ok":
            raise Damaged(f"the database is malformed: {what}")

    def delete_at(self, osladdr: str) -> None:
        """Removes all rows with the address."""
        self.run(_DELETE_ROWS_AT, osladdr)

    def _change(self, query: str, *args: Any) -> int:
        """Runs a statement, and returns how many rows it changed, 0 if a name or an id is another row's."""
        try:
            return self._conn.execute(query, args).rowcount
        except sqlite3.IntegrityError:
            return 0
        except sqlite3.Error as err:
            raise _error(err) from None

    def run(self, query: str, *args: Any) -> List[Tuple[Any, ...]]:
        """Runs a statement to its end, so that it holds no lock afterwards, and returns its rows."""
        try:
            return self._conn.execute(query, args).fetchall()
        except sqlite3.Error as err:
            raise _error(err) from None


def _text(value: Any) -> str:
    """Returns a column as text, whatever others have put into it."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _error(err: sqlite3.Error) -> Exception:
    """Returns what an error of SQLite means. Before Python 3.11 only its text says it."""
    text = str(err)
    code = getattr(err, "sqlite_errorcode", None)
    if isinstance(err, sqlite3.OperationalError):
        if code == _IOERR_SHORT_READ:  # a file is not as long as another says
            return Damaged(f"sqlite: {text}: {_DAMAGED}")
        if text.startswith(_BUSY):
            return Busy(text)
        if text.startswith(("no such table", "no such column")):
            return Incomplete(f"{_INCOMPLETE} ({text})")
        for begin, number in _AMISS:
            if text.startswith(begin):
                return Amiss(f"sqlite: {text}", number)
        if text.startswith("database or disk is full"):
            return OpError(f"sqlite: {text}", errno.ENOSPC)
    elif type(err) is sqlite3.DatabaseError and (
        code in (_CORRUPT, _NOTADB) or text.startswith(("database disk image", "file is not a database"))
    ):
        return Damaged(f"sqlite: {text}: {_DAMAGED}")
    return OpError(f"sqlite: {text}")


_CORRUPT, _NOTADB, _IOERR_SHORT_READ = 11, 26, 522

_BUSY = (
    "database is locked",
    "locking protocol",  # SQLite lost too many races
    "database schema",  # is locked, or has changed: somebody is making the tables
)
_AMISS = (
    ("disk I/O error", errno.EIO),
    ("unable to open database file", errno.EIO),
    ("attempt to write a readonly database", errno.EROFS),
)
_INCOMPLETE = "not a lonet registry: tables or their description are missing"
_DAMAGED = "the file is damaged; remove the network's directory once no process is on it"


def open_database(path: str, network: str, create: bool, waits: Waits, until: Deadline) -> Database:
    """Opens the registry of the network, and makes what is missing if create is set; waits for others who do."""
    db = Database(path, create)
    try:
        tries = 0
        while True:
            try:
                db.setup(network, create)
                return db
            except Busy:
                waits.back_off(tries, until)
                tries += 1
    except BaseException:
        db.close()
        raise
