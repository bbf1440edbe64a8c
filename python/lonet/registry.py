"""The registry of a network, as one process sees it. docs/lonet.md, sections 3, 5 and 7."""

from __future__ import annotations

import enum
import logging
import threading
import time
from functools import partial
from typing import Callable, Dict, List, Optional, TypeVar

from . import clock, directory, judge, mark
from .clock import Deadline
from .database import Amiss, Busy, Database, Row
from .directory import TempDir
from .errors import ErrHostDup, ErrNetDown, ErrNoHost, OpError, advised, of_system
from .evict import evict_unused
from .judge import Answer, Verdict
from .mark import mark_path, parse_osladdr
from .mend import Mender, Withdrawn
from .quote import quote, shorten
from .session import Opener, Session, Trust
from .waits import Waits

_T = TypeVar("_T")

Prober = Callable[[str, str, Deadline], Answer]
"""Asks the process at an osladdr whether it has a host, until the deadline. It raises OpError for what keeps it from
asking, and ErrNetDown once the registry is closed."""

_CLOSE_WAIT = 0.02
"""How long close tries to remove the rows of its hosts. What stays is dead by rule."""

_POLITE_EVERY = 12
_POLITE_GAP = 20e-6
_POLITE_MEMORY = 0.02
"""Who has just released SQLite's write lock is on the CPU and would take it again, and others, who wait in steps,
would starve: so every so many writes there is a gap outside the lock, for so long after it was refused once."""


class _Claim(enum.Enum):
    """How far a process is with the name of a host that it means to have."""

    ANNOUNCING = "the row may be there or not"
    ANNOUNCED = "the row is there"
    LOST = "the row was in a registry that is no more; it is to be made again"
    TAKEN = "likewise, but another process has made a host of that name meanwhile"


class Registry:
    """A process's access to the registry of a network: what it announces, and what others have.

    It is safe for concurrent use. What waits does so because another process is writing, or is asked whether it lives,
    and ends with ErrTimeout at its deadline, and with ErrNetDown when the registry is closed. It brings its files back
    if they are lost or damaged while in use.
    """

    def __init__(
        self,
        temp_dir: TempDir,
        network: str,
        osladdr: str,
        prober: Prober,
        until: Deadline = None,
        logger: Optional[logging.Logger] = None,
    ) -> None:
        """Opens the registry for a process that accepts at osladdr, which it is bound to already.

        What is missing is made. An empty network makes a new one with a random name. Raises mark.ErrMarked if another
        process holds the mark of the port, else OpError: another's directory, another version, and so on.
        """
        port = parse_osladdr(osladdr)
        if port is None:
            raise OpError(f"address {quote(osladdr)} is not 127.0.0.1:port")
        self.osladdr = osladdr
        self._probe = prober
        self._waits = Waits()
        self.life = self._waits.life
        """Set by shut. Whatever waits here ends then."""

        # Held for single tries of statements, microseconds each, and never while waiting.
        self.lock = threading.Lock()
        self.down = False
        self.behind = False  # there may be hosts that are lost, or rows that should not be ours
        self._own: Dict[str, _Claim] = {}
        self._dirty = False  # _own ever held anything, so there may be rows of ours

        # Of any thread; that they are looked at without a lock does no harm.
        self._doubt = False
        self._writes = 0
        self._busy_at: Optional[float] = None

        base = directory.base(temp_dir)
        self._is_new = not network
        try:
            if self._is_new:
                network = directory.new_network(base)
            else:
                directory.check_name(base, network)
        except OSError as err:
            raise advised(of_system(err)) from None
        self.network = network
        opener = Opener(base, network, port, self._waits, logger)
        self.path = opener.path
        self._dir = opener.directory
        self._mender = Mender(self, opener, port, self._waits)
        try:
            self.session = opener.attach(None, Trust.TRUSTED, until)
        except BaseException as err:
            if self._is_new:
                evict_unused(self._dir, network)
            if isinstance(err, OSError):
                raise advised(of_system(err)).because(self.path) from None
            raise
        try:
            self.sweep(until)
            self._mender.start()
        except BaseException:
            self.close()
            raise

    def announce(self, host: str, until: Deadline = None) -> None:
        """Says that this process has the host. Raises ErrHostDup if a process that lives has one of that name.

        A name whose process is gone is taken over. In doubt that process is asked, for a second at most.
        """
        with self._where("announce", host, self.osladdr):
            self._reserve(host)
            try:
                self._mender.whole(until)
                self._mender.attempt(partial(self._claim, host, _Claim.ANNOUNCING, until), until)
            except BaseException:
                with self.lock:
                    del self._own[host]
                raise

    def _reserve(self, host: str) -> None:
        """Keeps the name from other announces here, and a withdraw that still tries from removing the new row."""
        with self.lock:
            if self.down:
                raise ErrNetDown()
            if host in self._own:
                raise ErrHostDup()
            self._own[host] = _Claim.ANNOUNCING
            self._dirty = True

    def _claim(self, host: str, start: _Claim, until: Deadline) -> None:
        """Makes the host's row ours, as long as this process is that far with it; then it is announced."""
        while True:
            old = self.write(partial(self._insert, host, start), until)
            if old is None:
                return
            stale = Verdict.STALE  # our own, which a withdraw has not got rid of yet, or which was carried over
            if old[1] != self.osladdr:
                stale = self._judge(host, old[1], self._probe, until)
                if stale is Verdict.ALIVE:
                    raise ErrHostDup()
            if self.write(partial(self._replace, host, old, start), until):
                if stale is Verdict.DEAD:
                    self._collect(old[1])
                return
            # Somebody was faster. Who has the name now?

    def _insert(self, host: str, start: _Claim, db: Database) -> Optional[Row]:
        """Makes the host's row, or returns the one that is there."""
        if self._own.get(host) is not start:
            raise Withdrawn()
        while not db.insert(host, self.osladdr):
            row = db.row(host)
            if row is not None:
                return row
            # The row went between the two statements, or its random id was taken.
        self._own[host] = _Claim.ANNOUNCED
        return None

    def _replace(self, host: str, old: Row, start: _Claim, db: Database) -> bool:
        if self._own.get(host) is not start:
            raise Withdrawn()
        done = db.replace(host, old, self.osladdr)
        if done:
            self._own[host] = _Claim.ANNOUNCED
        return done

    def alive(self, host: str, osladdr: str, probe: Prober, until: Deadline = None) -> bool:
        """Tells whether the process at osladdr lives and has the host; it is what announce goes by when a name is
        taken.

        It asks by the probe it is given, for a second at most.
        """
        return self._judge(host, osladdr, probe, until) is Verdict.ALIVE

    def _judge(self, host: str, osladdr: str, probe: Prober, until: Deadline) -> Verdict:
        """Finds out whether the process at osladdr still has the host."""
        port = parse_osladdr(osladdr)
        if port is None:
            raise ErrHostDup(f"{_bad_addr(osladdr)}: {ErrHostDup.text}")
        start = time.monotonic()
        while True:
            answer = probe(osladdr, host, clock.earlier(until, time.monotonic() + judge.SILENCE))
            clock.check(until)
            # Looked at after the answer: who ends between the two is found dead a moment later, not alive.
            state = mark.look(mark_path(self._dir, port))
            judged = judge.verdict(answer, state, patient=time.monotonic() - start < judge.GRACE)
            if judged is not None:
                return judged
            self._waits.pause(0.001, until)

    def gone(self, osladdr: str) -> bool:
        """Tells, of an address at which the system has refused a connection, whether its process has ended.

        It never waits. The rows of the process stay, so that who dials its hosts hears each time what became of them.
        """
        port = parse_osladdr(osladdr)
        if port is None:
            return False
        try:
            return mark.look(mark_path(self._dir, port)) is not mark.State.RUNNING
        except OSError:
            return False

    def _collect(self, osladdr: str) -> None:
        """Removes what a dead process has left, its rows and its mark, if nobody is busy with the database.

        With the mark locked, no new process of ours can be at the address meanwhile.
        """
        port = parse_osladdr(osladdr)
        if port is None:
            return
        try:
            left, _ = mark.try_lock(mark_path(self._dir, port))
            if left is None:
                return
            try:
                self._try(lambda db: db.delete_at(osladdr))
            except (Busy, OSError):
                left.unlock()
            else:
                left.remove()
        except OSError:
            pass  # the name is ours; what is left is dead by rule

    def query(self, host: str, until: Deadline = None) -> str:
        """Returns the address at which the process of the host accepts, a "127.0.0.1:port".

        Raises ErrNoHost if there is none. It does not look whether the process is alive: see gone.
        """
        with self._where("query", host):
            try:
                host.encode()
            except UnicodeEncodeError:  # SQLite can't be asked, and no host has such a name
                raise ErrNoHost() from None
            if self._doubt:
                self._doubt = False
                self._mender.whole(until)
            search = partial(self._search, host, until)
            try:
                osladdr = search()
            except Amiss:
                osladdr = self._mender.attempt(search, until)
            if osladdr is None and self._mender.whole(until):  # it was a registry that all had left
                osladdr = search()
            if osladdr is None:
                raise ErrNoHost()
            if parse_osladdr(osladdr) is None:
                raise OpError(_bad_addr(osladdr))
            return osladdr

    def _search(self, host: str, until: Deadline) -> Optional[str]:
        return self._retry(lambda db: db.addr(host), until)

    def pause(self, seconds: float, until: Deadline) -> None:
        """Waits, and raises ErrTimeout if the deadline is over, ErrNetDown if the registry is closed."""
        self._waits.pause(seconds, until)

    def doubt(self) -> None:
        """Says that a host was not found at an address that query has returned. The next query sees to it that the
        registry is in place."""
        self._doubt = True

    def forget(self, host: str) -> None:
        """Begins to withdraw a host: from here on it may be announced again, here too."""
        with self.lock:
            if self._own.get(host) is not _Claim.ANNOUNCING:
                self._own.pop(host, None)

    def withdraw_at_once(self, host: str) -> bool:
        """Removes the row of a host that was forgotten. It is false if that needs waiting."""
        try:
            self._try(partial(self._delete, host))
        except (Busy, Amiss):
            return False
        return True

    def withdraw(self, host: str) -> None:
        """Removes the row of a host that was forgotten; it waits while others write, or until close."""
        self._mender.attempt(lambda: self.write(partial(self._delete, host), None), None)

    def _delete(self, host: str, db: Database) -> None:
        if host not in self._own:  # else it is announced again, or being so, and the row that one's
            db.delete(host, self.osladdr)

    # For the mender.

    def replace(self, session: Session) -> None:
        """Puts another session in the place of the one that is open. Called with the lock held, by who mends."""
        if session.db is not self.session.db:
            self.behind = True
            for host, claim in self._own.items():
                if claim is not _Claim.ANNOUNCING:
                    self._own[host] = _Claim.LOST
        self.session = session

    def announced(self) -> List[str]:
        """Returns the hosts that are announced."""
        return self._hosts(_Claim.ANNOUNCED)

    def lost(self) -> List[str]:
        """Returns the hosts that were announced in a registry which is no more."""
        return self._hosts(_Claim.LOST)

    def _hosts(self, claim: _Claim) -> List[str]:
        with self.lock:
            return [host for host, far in self._own.items() if far is claim]

    def announced_since(self, host: str, osladdr: Optional[str]) -> bool:
        """Tells of a host that was not in the registry, and is there with that address now, whether it was announced,
        or withdrawn, meanwhile."""
        with self.lock:
            return osladdr == self.osladdr or self._own.get(host) is not _Claim.ANNOUNCED

    def claim_lost(self, host: str, until: Deadline) -> None:
        """Announces such a host again. Raises ErrHostDup if another process that lives has its name by now, and
        Withdrawn if it was closed."""
        try:
            self._claim(host, _Claim.LOST, until)
        except ErrHostDup:
            with self.lock:
                if self._own.get(host) is _Claim.LOST:
                    self._own[host] = _Claim.TAKEN
            raise

    def sweep(self, until: Deadline) -> None:
        """Removes rows with this process's address of hosts that it does not have: those that a dead process left which
        had the port before, and those that others have carried over from a registry that was lost."""
        self.write(self._sweep, until)

    def _sweep(self, db: Database) -> None:
        hosts = db.hosts_at(self.osladdr)
        if hosts and not self._own:
            db.delete_at(self.osladdr)
            return
        for host in hosts:
            if host not in self._own:
                db.delete(host, self.osladdr)

    # The end.

    def shut(self) -> None:
        """Ends what waits here, with ErrNetDown."""
        self.life.set()

    def close(self) -> None:
        """Removes what was announced and releases the registry and the mark.

        It does not wait for other processes beyond some 20 ms: rows that it could not remove by then are dead by rule,
        since their process has no mark any more. The caller has stopped accepting at its address. A second close does
        nothing.
        """
        self.life.set()
        with self.lock:
            if self.down:
                return
            self.down = True
        self._mender.stop()
        # The mark is held meanwhile, so that the rows that go are not those of a next owner of the port.
        end = time.monotonic() + _CLOSE_WAIT
        while self._dirty:
            try:
                with self.lock:
                    self.session.db.delete_at(self.osladdr)
                break
            except Busy:
                if time.monotonic() > end:
                    break
                time.sleep(50e-6)
            except OSError:
                break
        try:
            with self.lock:
                self.session.db.close()
        finally:
            try:
                self.session.mark.remove()
            except OSError as err:
                raise of_system(err) from None
            finally:
                if self._is_new:
                    evict_unused(self._dir, self.network)

    def abandon(self) -> None:
        """Lets go of the mark in a forked child. The parent's stays.

        The database is left as it is: SQLite's connections must not be used after a fork, not even be closed.
        """
        self.lock = threading.Lock()
        self.down = True
        self.session.mark.forget()
        _ABANDONED.append(self.session.db)

    # How it waits.

    def write(self, f: Callable[[Database], _T], until: Deadline) -> _T:
        """Runs f, which tries one writing statement, until it is not refused because of others."""
        result = self._retry(f, until)
        self._writes += 1
        if self._writes % _POLITE_EVERY == 0 and self._busy_at is not None:
            if time.monotonic() - self._busy_at < _POLITE_MEMORY:
                time.sleep(_POLITE_GAP)
        return result

    def _retry(self, f: Callable[[Database], _T], until: Deadline) -> _T:
        clock.check(until)
        tries = 0
        while True:
            try:
                return self._try(f)
            except Busy:
                self._busy_at = time.monotonic()
            # Short, since a statement of another process takes some 12 µs; after 200 tries somebody keeps the lock.
            self._waits.pause(50e-6 if tries < 200 else 0.001, until)
            tries += 1

    def _try(self, f: Callable[[Database], _T]) -> _T:
        with self.lock:
            if self.down:
                raise ErrNetDown()
            return f(self.session.db)

    def _where(self, op: str, *args: str) -> _Where:
        return _Where(f"{self.path}: {op} [{' '.join(map(quote, args))}]")


class _Where:
    """Puts in front of the reason of an OpError, but for ErrNetDown, where in the registry it was."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, err: Optional[BaseException], trace: object) -> None:
        if isinstance(err, OSError) and not isinstance(err, ErrNetDown):
            raise advised(of_system(err)).because(self._where) from None


_ABANDONED: List[Database] = []
"""Of registries that a forked child has inherited: kept, so that they are not closed by the collector."""


def _bad_addr(osladdr: str) -> str:
    return f"the registry has address {shorten(quote(osladdr))}, which is not 127.0.0.1:port"
