"""Listeners: sockets of a host that accept."""

from __future__ import annotations

import errno
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Dict, List, Optional

from . import clock
from .addr import Addr
from .bound import Bound
from .bsd import ListeningSocket
from .clock import Deadline
from .conn import Conn
from .errors import ErrDown, ErrHostDown, ErrNetDown, ErrSockDown, ErrTimeout, OpError
from .readiness import Readiness
from .waiting import Dial, Waiter

if TYPE_CHECKING:
    from .host import Host

_new_addr = tuple.__new__
"""Makes an Addr without calling a Python function."""

_SOON = 0.0005
"""A thread that has been back in accept within this time, after its last connection, is expected to be so again."""


class Listener(Bound):
    """A socket that accepts. It is safe for use by many threads at once.

    Its fileno is readable exactly while accept would not wait: for selectors, and event loops. Many programs that serve
    want a listening socket.socket instead, whose accept returns a pair: that is socket().
    """

    def __init__(self, host: Host, addr: Addr, backlog: int) -> None:
        """Hosts make listeners, by listen."""
        self._host = host
        self._addr = addr
        self._backlog = backlog
        self._timeout: Optional[float] = None
        # Guarded by the sub-network's lock. Dials wait while no accept does.
        self._down = False
        self._dials: "OrderedDict[Conn, Dial]" = OrderedDict()
        self._accepts: Dict[Waiter, None] = {}
        self._readiness: Optional[Readiness] = None
        self._left = 0.0  # when an accept that waited has got its connection

    def addr(self) -> Addr:
        """Returns the address listened on."""
        return self._addr

    def __repr__(self) -> str:
        closed = " [closed]" if self._down else ""
        return f"<lonet.Listener {self._addr.net} {self._addr}{closed}>"

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def settimeout(self, value: Optional[float]) -> None:
        """Sets the time-out of accept, in seconds. None is none, 0 makes accept non-blocking."""
        clock.deadline(value)
        self._timeout = value

    def gettimeout(self) -> Optional[float]:
        """Returns what settimeout has set."""
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        """setblocking(True) is settimeout(None), setblocking(False) is settimeout(0)."""
        self.settimeout(None if flag else 0.0)

    def fileno(self) -> int:
        """Returns a descriptor that is readable while accept would not wait; -1 once the listener is closed.

        It is also readable, until the listener itself is closed, when the host or the network is. As with any
        descriptor, who waits for it in a selector takes it out of that before it is closed.
        """
        readiness = self._ready()
        return -1 if readiness is None else readiness.fileno()

    def socket(self) -> ListeningSocket:
        """Returns the listener as a socket.socket, for socketserver, http.server, asyncio.start_server and their like:
        accept returns (connection, (host, port)). Closing it closes the listener."""
        readiness = self._ready()
        if readiness is None:
            raise self._down_error().at("listen", self._addr.net, None, self._addr)
        return ListeningSocket(self, readiness.dup())

    def _ready(self) -> Optional[Readiness]:
        with self._host._lock:
            if self._readiness is None and not self._down:
                self._readiness = Readiness()
                self._readiness.set(bool(self._dials))
                self._host._net._engine.prompt(1)
            return self._readiness

    def accept(self, timeout: Optional[float] = None) -> Conn:
        """Waits for a dial, takes it, and returns the connection, which has a port of its own on the host.

        timeout is in seconds; None means that of settimeout, which is none at first. Raises ErrTimeout when that is
        over, BlockingIOError on a non-blocking listener for which no dial waits, and ErrSockDown, ErrHostDown or
        ErrNetDown if it is closed, which ends a waiting accept at once.
        """
        if timeout is None:
            return self._accept(self._timeout, self._timeout == 0)
        return self._accept(timeout, False)

    def _accept(self, timeout: Optional[float], nonblocking: bool) -> Conn:
        until = None if timeout is None else clock.deadline(timeout)
        try:
            while True:
                conn = self._take(until, nonblocking)
                if conn is not None:
                    return conn
        except OpError as err:
            raise err.at("accept", self._addr.net, None, self._addr) from None

    def _take(self, until: Deadline, nonblocking: bool) -> Optional[Conn]:
        """Takes the next dial. Returns None for one that was given up before it could be answered."""
        lock, engine = self._host._lock, self._host._net._engine
        dial = w = conn = None
        try:
            with lock:
                if self._down:
                    raise self._down_error()
                if self._dials:
                    dial = next(iter(self._dials.values()))
                    self._take_out(dial)
                    self._bind(dial)
                elif nonblocking:
                    raise BlockingIOError(errno.EAGAIN, "no dial waits")
                else:
                    w = Waiter(self, time.monotonic() - self._left < _SOON)
                    self._accepts[w] = None
            if w is not None:
                engine.wait(w, until)
                if not w.done:
                    self._late(w)
                self._left = time.monotonic()
                conn = w.conn
            elif dial is not None and engine.connect(dial):
                conn = dial.conn
            if conn is None:
                return None
            conn._leave()  # it is the user's from here on
            if conn._down:
                raise conn._down_error()
            return conn
        except OSError:
            raise
        except BaseException:  # KeyboardInterrupt, say, from a signal's handler
            self._give_up(w, dial)
            raise

    def _take_out(self, dial: Dial) -> None:
        """Takes a dial out of those that wait. Called with the lock held."""
        self._dials.pop(dial.conn, None)
        self._host._net._engine.unwatch(dial)
        self._signal()

    def _late(self, w: Waiter) -> None:
        """Ends the wait of a waiter whose time is over: raises that, unless it is about to get its connection."""
        with self._host._lock:
            if w in self._accepts:
                del self._accepts[w]
                raise ErrTimeout()
        self._host._net._engine.wait(w, None)

    def _give_up(self, w: Optional[Waiter], dial: Optional[Dial]) -> None:
        """Leaves nothing behind of an accept that a signal's handler has ended."""
        conn = None
        with self._host._lock:
            if dial is not None:
                self._take_out(dial)
                conn = dial.conn
            if w is not None:
                self._accepts.pop(w, None)
                self._host._net._engine.give_up(w)
                w.given_up = True
                conn = w.conn
        if conn is not None:
            conn._drop()

    def _bind(self, dial: Dial) -> None:
        """Gives a dial that is being accepted its port. Called with the lock held."""
        host, conn = self._host, dial.conn
        conn._host = host
        conn._local = _new_addr(Addr, (host._net._network, host._name, host._ports.put(conn)))
        conn._remote = dial.src

    def _signal(self) -> None:
        """Lets the descriptor say whether accept would wait. Called with the lock held."""
        if self._readiness is not None:
            self._readiness.set(bool(self._dials) or self._down)

    def close(self) -> None:
        """Stops listening: accepts that wait end with ErrSockDown, dials that wait are refused, and the port is free.

        Connections stay. A second close does nothing.
        """
        host = self._host
        with host._lock:
            host._ports.remove(self, self._addr.port)
            dials = self._shut()
            readiness, self._readiness = self._readiness, None
            if readiness is not None:
                host._net._engine.prompt(-1)
        if readiness is not None:
            readiness.close()
        self._refuse(dials)

    def _shut(self) -> List[Dial]:
        """Wakes everybody who waits here; returns the dials that are to be refused. Called with the lock held."""
        engine = self._host._net._engine
        self._down = True
        dials = list(self._dials.values())
        self._dials.clear()
        for dial in dials:
            engine.unwatch(dial)
        accepts = list(self._accepts)
        self._accepts.clear()
        for w in accepts:
            engine.finish(w, None)
        self._signal()
        return dials

    def _refuse(self, dials: List[Dial]) -> None:
        for dial in dials:
            self._host._net._engine.refuse(dial.conn)

    def _forget(self) -> None:
        """Closes what a forked child has inherited."""
        self._down = True
        self._dials.clear()
        self._accepts.clear()
        if self._readiness is not None:
            self._readiness.forget()
            self._readiness = None

    def _down_error(self) -> ErrDown:
        """Returns what is down, the widest first."""
        if self._host._net._down:
            return ErrNetDown()
        return ErrHostDown() if self._host._down else ErrSockDown()
