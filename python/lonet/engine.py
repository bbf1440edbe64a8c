"""How a sub-network accepts: one socket for all its hosts, and the acceptor's side of the handshake."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Callable, Deque, Dict, Optional, Tuple

from . import clock
from .clock import Deadline
from .conn import Conn, _recv, _send, _shutdown
from .crowd import Crowd, Stranger
from .drivers import Drivers
from .handshake import BAD_REQUEST, MAX_LINE, REFUSED, Reply, no_host, parse_request
from .listener import Listener
from .quote import shorten
from .sockopt import DONTWAIT, is_gone
from .waiting import Dial, Waiter

if TYPE_CHECKING:
    from .host import Host

_PAUSE = 0.02
"""How long accepting rests when the system has no descriptor or memory for a connection. Established ones go on."""

_SHORT_PAUSE = 0.001
"""The same, if a stranger could be dropped, whose descriptor is free at once."""

_fileno = socket.socket.fileno
_PEEK_NOW = int(socket.MSG_PEEK | DONTWAIT)

_accept: Callable[[socket.socket], Tuple[int, object]] = getattr(socket.socket, "_accept")  # noqa: B009
"""What socket.socket's accept calls: it makes no socket object, which would have to be made anew as a Conn."""

_getdefaulttimeout = socket.getdefaulttimeout

_CALM = 1.0
"""How long accepting must not have failed for that to be over: so that a fault that comes and goes does not fill the
log."""

_NO_SOCKET = (errno.EBADF, errno.EINVAL, errno.ENOTSOCK)


class Engine(Drivers):
    """Accepts for all hosts of a sub-network, and shakes hands. Drivers says which thread does that."""

    def __init__(
        self,
        lock: threading.Lock,
        hosts: Dict[str, Host],
        osl: socket.socket,
        life: threading.Event,
        broken: Callable[[], None],
        handshake_timeout: float,
        half_open: int,
        logger: Optional[logging.Logger],
    ) -> None:
        """hosts is guarded by the lock; osl is the socket, which listens; life is set when the sub-network goes down.

        broken is called if the socket is no more one that listens: somebody else has closed its descriptor.
        """
        super().__init__(lock, life)
        self._hosts = hosts
        self._osl = osl
        self._osl_fd = osl.fileno()
        self._broken = broken
        self._logger = logger
        self.network = ""

        # The driver's alone.
        self._crowd = Crowd(half_open, handshake_timeout)
        self._resume: Deadline = None  # when accepting goes on
        self._fault: Optional[float] = None  # when accepting failed last, until that is over

        # Set by any thread.
        self._refused: Deque[Stranger] = deque()  # by others than the driver: they are to linger
        self._timed = False  # there may be something of the driver's own to do
        self._over = False  # all is released

        # Guarded by lock.
        self._watched: Dict[int, Tuple[Listener, Dial]] = {}  # dials that wait, by descriptor, while they may give up

    def start(self, network: str) -> None:
        """Begins to accept for the network with that full name."""
        self.network = network
        self._osl.setblocking(False)
        self._poller.add(self._osl_fd)
        self._thread.start()

    def _drive(self, w: Optional[Waiter], until: Deadline) -> None:
        """Serves what comes until w is done, or the deadline; without one, until another's accept was served."""
        wait = self._poller.wait
        while not self._closed:
            for fd in wait(self._timeout(until) if self._timed or until is not None else None):
                if fd == self._osl_fd:
                    self._accept()
                else:
                    self._readable(fd)
                if w is not None and w.done:
                    return  # what else is readable still is for the next
            if self._timed:
                self._on_time()
            if w is None:
                if self._handed and not self._prompt:
                    return
            elif w.done or self._heir is not None or until is not None and time.monotonic() >= until:
                return

    def _timeout(self, until: Deadline) -> Optional[float]:
        """Returns for how long nothing is to be done."""
        until = clock.earlier(until, clock.earlier(self._crowd.deadline(), self._resume))
        return None if until is None else clock.left(until)

    def _on_time(self) -> None:
        """Does what is due."""
        self._timed = False
        while self._refused:
            self._enter(self._refused.popleft())
        now = time.monotonic()
        while True:
            s = self._crowd.overdue(now)
            if s is None:
                break
            self._drop(s)
        if self._resume is not None and now >= self._resume:
            self._resume = None
            try:
                self._poller.add(self._osl_fd)
            except OSError as err:
                self._accept_failed(err)
        if self._crowd or self._resume is not None:
            self._timed = True

    def _accept(self) -> None:
        """Accepts a connection, and serves it if its request is there."""
        try:
            fd, _ = _accept(self._osl)
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as err:
            self._accept_failed(err)
            return
        if self._fault is not None and time.monotonic() > self._fault + _CALM:
            self._fault = None
            self._log(logging.WARNING, "accept works again")
        conn = Conn(None, fd)
        if not DONTWAIT:
            conn.setblocking(False)
        elif _getdefaulttimeout() is not None:
            conn.settimeout(None)
        try:
            data = _recv(conn, MAX_LINE, _PEEK_NOW)
        except (BlockingIOError, InterruptedError):
            self._enter(Stranger(conn, fd))
        except OSError as err:
            self._dropped(conn, str(err))
        else:
            self._read(conn, fd, b"", data)

    def _accept_failed(self, err: OSError) -> None:
        self._poller.remove(self._osl_fd)
        if self._fault is None:
            self._log(logging.WARNING, "accept: %s", err)
        now = self._fault = time.monotonic()
        if err.errno in _NO_SOCKET:
            self._broken()
            return
        longest = self._crowd.longest()
        if longest is not None:  # the first to give its descriptor
            self._drop(longest)
        self._resume = now + (_PAUSE if longest is None else _SHORT_PAUSE)
        self._timed = True

    def _enter(self, s: Stranger) -> None:
        """Adds to the crowd, and drops the one who has been silent longest if there is no place."""
        if self._crowd.full():
            longest = self._crowd.longest()
            if longest is not None:
                self._drop(longest)
        self._crowd.add(s)
        self._timed = True
        try:
            self._poller.add(s.fd)
        except OSError:  # the system watches no more
            self._drop(s)

    def _drop(self, s: Stranger) -> None:
        """Drops a stranger."""
        self._crowd.remove(s)
        self._poller.remove(s.fd)
        if s.lingers:
            s.conn._drop()
        else:
            self._dropped(s.conn, "no request came")

    def _readable(self, fd: int) -> None:
        """Serves a stranger of which something has come, or a dial that waits and seems to have given up."""
        s = self._crowd.get(fd)
        if s is None:
            self._look(fd)
        elif s.lingers:
            self._throw_away(s)
        else:
            self._read_on(s)

    def _throw_away(self, s: Stranger) -> None:
        try:
            n = len(_recv(s.conn, min(s.left, 1 << 16), DONTWAIT))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            n = 0
        s.left -= n
        if n == 0 or s.left == 0:
            self._drop(s)

    def _read_on(self, s: Stranger) -> None:
        try:
            data = _recv(s.conn, MAX_LINE - len(s.line), _PEEK_NOW)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data and b"\n" not in data and len(s.line) + len(data) < MAX_LINE:
            s.line += _recv(s.conn, len(data))  # which is there
            return
        self._crowd.remove(s)
        self._poller.remove(s.fd)
        self._read(s.conn, s.fd, s.line, data)

    def _read(self, conn: Conn, fd: int, before: bytes, data: bytes) -> None:
        """Serves a connection which has data to be read, behind what was read before."""
        if not data:
            self._dropped(conn, "no request came")
            return
        end = data.find(b"\n")
        if end < 0:
            if len(before) + len(data) < MAX_LINE:
                self._enter(Stranger(conn, fd, _recv(conn, len(data))))
            else:
                self._refuse(conn, BAD_REQUEST)
            return
        line = _recv(conn, end + 1)  # and no more: what is behind it is the user's
        if before:
            line = before + line
        src, dst, refusal = parse_request(line, self.network)
        if src is None or dst is None:
            self._refuse(conn, refusal)
            return
        may_end = len(data) > end + 1
        if is_gone(conn, may_end):
            self._dropped(conn, "the dialler has given up")
            return
        self._serve(Dial(conn, src, dst, may_end, fd))

    def _serve(self, dial: Dial) -> None:
        """Leaves a dial to an accept, or to the listener's queue, or refuses it."""
        w: Optional[Waiter] = None
        try:
            refusal, w = self._assign(dial)
            if refusal:
                self._refuse(dial.conn, refusal)
            elif w is None:
                return
            elif w is self._driving:  # this thread's own, whom nobody else knows by now
                if self._connected(dial):
                    w.conn = dial.conn
                w.done = True
            else:
                self._hand_over(w, dial.conn if self._connected(dial) else None)
        except BaseException:  # KeyboardInterrupt, say, from a signal's handler, on the thread of some accept
            if dial.assigned and (w is None or not w.done):
                dial.conn._drop()
                if w is not None:
                    self._hand_over(w, None)
            raise

    def _assign(self, dial: Dial) -> Tuple[str, Optional[Waiter]]:
        """Returns why a dial is refused, or the accept that gets it, with its port. If there is neither, it waits."""
        dst = dial.dst
        with self._lock:
            host = self._hosts.get(dst.host)
            if host is None:
                return REFUSED if self._life.is_set() else no_host(dst), None
            listener = host._ports.get(dst.port)
            if not isinstance(listener, Listener) or listener._down:
                return REFUSED, None
            for w in listener._accepts:
                dial.assigned = True
                listener._bind(dial)
                del listener._accepts[w]
                if w is self._driving:
                    self._busy_times = 0
                elif listener is self._busy:
                    self._busy_times += 1
                else:
                    self._busy, self._busy_times = listener, 1
                return "", w
            if len(listener._dials) >= listener._backlog:
                return REFUSED, None
            listener._dials[dial.conn] = dial
            listener._signal()
            self._watch(listener, dial)
            return "", None

    def _hand_over(self, w: Waiter, conn: Optional[Conn]) -> None:
        """Gives another thread's accept its connection, or lets it look again if that is None."""
        with self._lock:
            given_up = w.given_up
            self.finish(w, conn)
        if given_up and conn is not None:
            conn._drop()

    def connect(self, dial: Dial) -> bool:
        """Tells the dialler of a dial that has waited that it is accepted. It is false if it has given up."""
        if is_gone(dial.conn, dial.may_end):
            self._dropped(dial.conn, "the dialler has given up")
            return False
        return self._connected(dial)

    def _connected(self, dial: Dial) -> bool:
        conn = dial.conn
        try:
            assert conn._host is not None
            _send(conn, b'%b%d"\n' % (conn._host._accepts, conn._local.port), DONTWAIT)
            timeout = _getdefaulttimeout()
            if timeout is not None or not DONTWAIT:
                conn.settimeout(timeout)
        except OSError:
            self._dropped(conn, "the dialler has given up")
            return False
        return True

    def refuse(self, conn: Conn) -> None:
        """Tells a dialler that its dial is refused."""
        self._refuse(conn, REFUSED)

    def _refuse(self, conn: Conn, text: str) -> None:
        self._turned_away(conn, text)
        try:
            _send(conn, Reply(self.network, "", text).line(), DONTWAIT)  # one line into an empty buffer
            _shutdown(conn, socket.SHUT_WR)
        except OSError:
            conn._drop()
            return
        s = Stranger(conn, _fileno(conn), lingers=True)
        if self._driver == threading.get_ident():
            self._enter(s)
        else:
            self._refused.append(s)
            self._timed = True
            self._poller.wake()
            if self._over:
                self._drop_refused()

    def _dropped(self, conn: Conn, why: str) -> None:
        """Closes a connection without an answer."""
        self._turned_away(conn, why)
        conn._drop()

    def _turned_away(self, conn: Conn, why: str) -> None:
        if self._logger is not None and self._logger.isEnabledFor(logging.DEBUG):
            try:
                port = socket.socket.getpeername(conn)[1]
            except OSError:
                port = 0
            self._log(logging.DEBUG, "incoming, from port %d: %s", port, shorten(why))

    def _log(self, level: int, message: str, *args: object) -> None:
        if self._logger is not None:
            try:
                self._logger.log(level, "lonet: network %s: " + message, self.network, *args)
            except Exception:  # of a handler of the program's, which must end neither an accept nor the engine's thread
                pass

    # Dials that wait.

    def _watch(self, listener: Listener, dial: Dial) -> None:
        """Begins to see whether a dial that waits is given up. Called with the lock held."""
        if dial.may_end:
            return  # there is something to read all the time
        try:
            self._poller.add(dial.fd)
        except OSError:
            return  # the system watches no more; who accepts it looks anyway
        self._watched[dial.fd] = listener, dial

    def unwatch(self, dial: Dial) -> None:
        """Ends that. Called with the lock held."""
        if self._watched.pop(dial.fd, None) is not None:
            self._poller.remove(dial.fd)

    def _look(self, fd: int) -> None:
        """Looks at a dial that waits and has become readable."""
        with self._lock:
            listener, dial = self._watched.get(fd, (None, None))
            if dial is None or listener is None:
                return  # it was accepted just now
            dial.conn._enter()
            gone = is_gone(dial.conn, dial.may_end)
            dial.conn._leave()
            self.unwatch(dial)
            if not gone:
                dial.may_end = True  # it is payload
                return
            del listener._dials[dial.conn]
            listener._signal()
        self._dropped(dial.conn, "the dialler has given up")

    # The end.

    def deafen(self) -> None:
        """Stops accepting, in a process that ends, and waits for nothing."""
        self._osl.close()

    def release(self) -> None:
        """Closes all that is open."""
        self._osl.close()
        for s in self._crowd:
            s.conn._drop()
        self._over = True
        self._drop_refused()
        self._poller.close()

    def _drop_refused(self) -> None:
        """Closes what no driver sees any more; a listener that is just closing may refuse still."""
        while self._refused:
            try:
                self._refused.popleft().conn._drop()
            except IndexError:
                pass  # another thread was faster

    def forget(self) -> None:
        """Closes what a forked child has inherited; nothing of the parent's ends."""
        self._closed = True
        for s in [*self._crowd, *self._refused]:
            s.conn._forget()
        for _, dial in self._watched.values():
            dial.conn._forget()
        self._refused.clear()
        self._watched.clear()
        self._followers.clear()
        self._osl.close()
        self._poller.close()
