"""Looking after the files of a registry that is in use. docs/lonet.md, 7.10 to 7.14.

Files may be lost: to an rm, to a cleaner of temporary directories, to a copy that somebody puts in their place. A
process that notices opens what is there now, or makes it, and announces its hosts there.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Callable, Optional, TypeVar

from . import clock, names, turn
from .clock import Deadline
from .database import Amiss, Busy, Damaged, open_database
from .errors import ErrDown, ErrHostDup, ErrNetDown, ErrTimeout, OpError, of_system
from .files import FileSet, same, stamp
from .mark import parse_osladdr
from .session import Opener, Session, Trust
from .waits import Waits

if TYPE_CHECKING:
    from .registry import Registry

_T = TypeVar("_T")

LOOK_EVERY = 1.0
"""How often a process looks at the files on its own account, for others may look for its hosts while it has nothing to
ask the registry."""

_LOOK_TIME = 5.0
"""How long one look may take, with all that comes of it. The next goes on where it has ended."""

_ATTEMPTS = 5
"""How often an operation is tried on files that are spoilt again and again."""

_LOST = "the registry was removed or replaced while in use, and cannot be opened again"


class Withdrawn(Exception):
    """A host is not to be announced any more."""


class Mender:
    """Sees to it that the files of a registry are in place, and have the process's hosts.

    It has a thread, which looks once a second; every operation that finds something wrong looks too. One mends at a
    time, and only who does replaces the registry's session.
    """

    def __init__(self, registry: Registry, opener: Opener, port: int, waits: Waits) -> None:
        self._registry = registry
        self._opener = opener
        self._directory = opener.directory
        self._port = port
        self._waits = waits
        self._turn = threading.Lock()  # held while mending; taken before the registry's lock
        self._unwell = False  # the log knows that what was lost cannot be mended; of who mends
        self._thread = threading.Thread(target=self._watch, name="lonet files", daemon=True)

    def start(self) -> None:
        """Starts to look once a second."""
        self._thread.start()

    def stop(self) -> None:
        """Waits for the thread, and for who mends, once life has ended: from then on nobody does."""
        if self._thread.ident not in (None, threading.get_ident()):
            self._thread.join()
        with self._turn:
            pass

    def whole(self, until: Deadline) -> bool:
        """Sees to it that all is in place. Tells whether there was anything to do; raises if it can't be done."""
        r = self._registry
        with r.lock:
            session, behind = r.session, r.behind
            if r.down:
                raise ErrNetDown()
        if not behind and session.files.in_place(self._directory, self._port):
            return False
        self._mend(None, Trust.TRUSTED, until)
        return True

    def attempt(self, f: Callable[[], _T], until: Deadline) -> _T:
        """Runs f, and again if it has failed because of files that could be mended.

        If the database is found to be damaged although nothing was wrong with it when it was looked through, it is
        replaced all the same: what SQLite has open may not be what is there.
        """
        how = Trust.SUSPECTED
        tries = 1
        while True:
            try:
                return f()
            except Amiss as err:
                if tries == _ATTEMPTS or how is Trust.SPOILT and not isinstance(err, Damaged):
                    raise
                with self._registry.lock:
                    seen = self._registry.session
                try:
                    self._mend(seen, how, until)
                except (ErrDown, ErrTimeout):
                    raise
                except OSError as worse:
                    raise err.because(f"opening it again: {of_system(worse).strerror}") from None
            how = Trust.SPOILT
            tries += 1

    def _mend(self, seen: Optional[Session], how: Trust, until: Deadline) -> None:
        """Mends what was lost, if anything was. seen is a session with which something is wrong even if its files are
        in place, and how what is to be thought of it."""
        left = clock.left(until)
        if not self._turn.acquire(timeout=-1 if left is None else left):  # who has it does not wait beyond life
            raise ErrTimeout()
        try:
            if self._waits.life.is_set():
                raise ErrNetDown()
            self._mend_alone(seen, how, until)
            self._unwell = False
        except (ErrDown, ErrTimeout):
            raise
        except OSError as err:
            if not self._unwell:
                self._unwell = True
                self._opener.log("the registry cannot be opened again", of_system(err).strerror)
            raise
        finally:
            self._turn.release()

    def _mend_alone(self, seen: Optional[Session], how: Trust, until: Deadline) -> None:
        r = self._registry
        with r.lock:
            now, behind = r.session, r.behind
        if now is not seen:
            how = Trust.TRUSTED
        if how is not Trust.TRUSTED or not now.files.in_place(self._directory, self._port):
            self._renew(now, how, until)
            behind = True
        if behind:
            self._restore(until)

    def _renew(self, old: Session, how: Trust, until: Deadline) -> None:
        """Puts a new session in the place of one that has lost files."""
        r = self._registry
        try:
            sound = old.files.same_registry(FileSet(self._directory, self._port))
        except OSError:
            sound = False
        if sound and how is Trust.TRUSTED:
            session = self._opener.remark(old, until)
        else:
            try:
                session = self._opener.attach(old, how, until)
            except (ErrDown, ErrTimeout):
                raise
            except OSError as err:
                raise err if sound else of_system(err).because(_LOST) from None
        with r.lock:
            down = r.down
            if not down:
                r.replace(session)
        if down:
            session.abandon(old)
            raise ErrNetDown()
        if not same(session.files.db, old.files.db):
            self._opener.log("the registry was lost while in use, and is there again")
            self._carry(old, until)
        try:
            old.close(session)
        except OSError:
            pass  # what can be wrong with it is what it was given up for

    def _carry(self, old: Session, until: Deadline) -> None:
        """Takes over what the registry that was lost says of other processes: they have not noticed yet, or are
        programs that never do. What is out of date of it is judged as any row is. It is done as well as it can be."""
        r = self._registry
        try:
            for host, osladdr in old.db.entries():
                if parse_osladdr(osladdr) is None or osladdr == r.osladdr or not names.valid(host):
                    continue
                r.write(lambda db, row=(host, osladdr): db.insert(*row), until)  # type: ignore[misc]
        except (OSError, Busy):
            return

    def _restore(self, until: Deadline) -> None:
        """Announces again the hosts that were announced in a registry which was lost."""
        r = self._registry
        for host in r.lost():
            try:
                r.claim_lost(host, until)
            except ErrHostDup:
                self._opener.log(
                    f"another process has taken the name of host {host} while the registry was lost: "
                    "who does not know the host already cannot dial it"
                )
            except Withdrawn:
                pass
        r.sweep(until)
        with r.lock:
            r.behind = False

    # Once a second.

    def _watch(self) -> None:
        while not self._waits.life.wait(LOOK_EVERY):
            until = time.monotonic() + _LOOK_TIME
            try:
                self.whole(until)
                session = self._overwritten(until)
                if session is not None:
                    self._mend(session, Trust.SUSPECTED, until)
            except OSError:
                pass  # the log has heard of it, and the next look goes on

    def _overwritten(self, until: Deadline) -> Optional[Session]:
        """Returns the session if registry.db, still the file that is open, has content that is not ours, as after a
        copy onto it. A session would long be content with what it remembers of the file. That SQLite itself writes to
        it is rare."""
        r = self._registry
        with r.lock:
            session = r.session
        try:
            now = stamp(os.lstat(self._opener.path))
        except OSError:
            return None
        if now == session.stamp:
            return None
        if not self._sound(session, until):
            return session
        session.stamp = now
        return None

    def _sound(self, session: Session, until: Deadline) -> bool:
        """Tells whether who opens the registry now finds it to be that of the network, and our hosts in it."""
        try:
            mine = turn.take(self._directory, False, self._waits, until)
        except OSError:
            return True  # not to be found out now
        with mine:
            if not session.files.in_place(self._directory, self._port):
                return True  # but lost; SQLite must not open another database beside our log
            try:
                db = open_database(self._opener.path, self._opener.network, False, self._waits, until)
            except (ErrDown, ErrTimeout):
                return True
            except OpError:
                return False
            try:
                there = set(db.hosts_at(self._registry.osladdr))
                return all(
                    host in there or self._registry.announced_since(host, db.addr(host))
                    for host in self._registry.announced()
                )
            except Busy:
                return True
            except OpError:
                return False
            finally:
                db.close()
