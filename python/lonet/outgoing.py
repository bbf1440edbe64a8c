"""The dialler's side of the handshake. docs/lonet.md, section 4."""

from __future__ import annotations

import _socket
import errno
import socket
import threading
from typing import Dict, Optional

from . import clock
from .addr import Addr
from .clock import Deadline
from .conn import Conn, _recv, _send, _settimeout
from .errors import ErrConnRefused, ErrDown, ErrNoHost, ErrTimeout, OpError, of_system
from .handshake import MAX_LINE, accepted
from .judge import Answer
from .probe import Probe, sockaddr
from .quote import encode, quote
from .registry import Registry
from .sockopt import connect_and_send, readable

_connect = _socket.socket.connect
_getdefaulttimeout = socket.getdefaulttimeout
_PEEK = int(socket.MSG_PEEK)
_IPPROTO_TCP, _TCP_NODELAY = int(socket.IPPROTO_TCP), int(socket.TCP_NODELAY)

_SUSPECT_AFTER = 0.1
"""How long a dial waits for the reply before it asks whether the one it waits for is the process of that host at all:
another program may have got the port of one that has died."""

_MAX_ROUTES = 4096
"""Few programs dial so many hosts, and those can start again."""

_ENDED = (ConnectionRefusedError, ConnectionResetError, BrokenPipeError, ConnectionAbortedError)


_REDIALS = 8
"""How often a dial that was dropped is tried again: where strangers crowd in faster than this process gets the CPU, it
may be dropped before it has sent its request."""
_REDIAL_AFTER = 0.001
"""How long it waits first; each time twice as long."""


class _Dropped(OpError):
    """The connection ended without a reply, and the process at its other end lives: it was taken for a stranger who
    says nothing, or the process is closing."""


class Route:
    """Where a host is, and what of the lines of the handshake depends on nothing else."""

    __slots__ = ("osladdr", "sockaddr", "asked", "least")

    def __init__(self, network: str, host: str, osladdr: str) -> None:
        self.osladdr = osladdr
        self.sockaddr = sockaddr(osladdr)
        prefix = str(Addr(network, host, 0))[:-1]
        begin = f"< lonet {quote(network)} connected {quote(prefix)[:-1]}"
        self.asked = encode(quote(prefix)[:-1])
        # No spelling is shorter than one without escapes, so of a reply that has payload behind it so many bytes can be
        # read without reading any of that.
        self.least = 0 if "\\" in begin else len(encode(begin + '1"\n'))


class Outgoing:
    """Dials, for the hosts of one sub-network. It is safe for concurrent use."""

    def __init__(self, lock: threading.Lock, network: str, registry: Registry, probe: Probe) -> None:
        self._lock = lock
        self._network = network
        self._registry = registry
        self._probe = probe
        self._routes: Dict[str, Route] = {}  # of hosts that were dialled with success

    def dial(self, conn: Conn, dst: Addr, until: Deadline) -> Conn:
        """Connects conn, which is bound, to dst; returns it, or one that has taken its place.

        Raises OpError without the operation's addresses. The connection is dropped then.
        """
        route = self._routes.get(dst.host)
        if route is None:
            route = Route(self._network, dst.host, self._registry.query(dst.host, until))
        dropped = 0
        try:
            while True:
                try:
                    self._dial_at(conn, dst, route, until)
                    return conn
                except (ErrDown, ErrTimeout):
                    raise
                except _Dropped:
                    if dropped < _REDIALS:
                        conn._abort()
                        self._registry.pause(_REDIAL_AFTER * 2**dropped, until)
                        dropped += 1
                    else:
                        conn._abort()
                        route = self._elsewhere(dst, route, ErrConnRefused(), until)
                        dropped = 0
                except OpError as err:
                    conn._abort()
                    route = self._elsewhere(dst, route, err, until)
                    dropped = 0
                conn = self._again(conn)
        except BaseException:
            conn._drop(reset=True)
            raise

    def _elsewhere(self, dst: Addr, route: Route, err: OpError, until: Deadline) -> Route:
        """Returns where else the host is than where a dial failed: that was remembered, or is old by a moment."""
        self._registry.doubt()
        if self._routes.get(dst.host) is route:
            self._routes.pop(dst.host, None)
        try:
            osladdr = self._registry.query(dst.host, until)
        except ErrNoHost as unknown:
            if isinstance(err, ErrConnRefused) and err.strerror == ErrConnRefused.text:
                raise err  # a dial that waits is refused when its host closes
            raise unknown
        except (ErrDown, ErrTimeout):
            raise
        except OpError:
            raise err
        if osladdr == route.osladdr:
            raise err
        return Route(self._network, dst.host, osladdr)

    def _again(self, old: Conn) -> Conn:
        """Returns a new connection in the place of one that was aborted."""
        host = old._host
        assert host is not None
        conn = Conn(host)
        conn._local, conn._remote = old._local, old._remote
        with self._lock:
            conn._down = old._down
            if not conn._down:
                host._ports.replace(conn, conn._local.port)
        if conn._down:
            conn._drop()
            raise conn._down_error()
        return conn

    def _dial_at(self, conn: Conn, dst: Addr, route: Route, until: Deadline) -> None:
        try:
            if until is not None:
                _settimeout(conn, clock.left(until) or 1e-6)
            elif _getdefaulttimeout() is not None:
                _settimeout(conn, None)
            conn.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)
            host = conn._host
            assert host is not None
            request = b'%b%d" %b%d"\n' % (host._asks, conn._local.port, route.asked, dst.port)
            if until is None:
                connect_and_send(conn, route.sockaddr, request)
            else:
                _connect(conn, route.sockaddr)
                _send(conn, request)
            line = self._reply(conn, dst, route, until)
        except OSError as err:
            raise self._failed(conn, dst, route, err) from None
        if conn._down:
            raise conn._down_error()
        conn._remote = accepted(line, dst)
        if self._routes.get(dst.host) is not route:
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            self._routes[dst.host] = route
        conn._leave()
        if conn._down:
            raise conn._down_error()

    def _reply(self, conn: Conn, dst: Addr, route: Route, until: Deadline) -> bytes:
        """Returns the line of the reply, and makes the time-out as it is on a new connection."""
        late = None
        try:
            line = _read_line(conn, b"", route.least, until, _SUSPECT_AFTER)
        except _Late as err:
            late = err.line
        if late is not None:
            clock.check(until)
            self._suspect(conn, dst, route, until)
            if until is not None:
                _settimeout(conn, clock.left(until) or 1e-6)
            line = _read_line(conn, late, route.least, until, None)
        timeout = _getdefaulttimeout()
        if until is not None or timeout is not None:
            _settimeout(conn, timeout)
        return line

    def _suspect(self, conn: Conn, dst: Addr, route: Route, until: Deadline) -> None:
        """Raises that the process is gone, if whoever is at its address is another; ends once there is a reply."""

        def probe(osladdr: str, host: str, limit: Deadline) -> Answer:
            return self._probe(osladdr, host, limit, unless=conn)

        try:
            alive = self._registry.alive(dst.host, route.osladdr, probe, until)
        except (ErrDown, ErrTimeout):
            raise
        except OSError:
            return  # it can't be asked now
        if not alive:
            raise _gone(dst, route)

    def _failed(self, conn: Conn, dst: Addr, route: Route, err: OSError) -> OpError:
        """Returns what the user is told of a dial that failed."""
        if conn._down:
            return conn._down_error()
        if isinstance(err, OpError):
            return err
        if isinstance(err, _ENDED):
            # The process of the host has ended its socket, or itself.
            if self._registry.gone(route.osladdr):
                return _gone(dst, route)
            return ErrConnRefused() if isinstance(err, ConnectionRefusedError) else _Dropped()
        ours = of_system(err)
        return ours if isinstance(ours, ErrTimeout) else ours.because(f"lonet: connect {route.osladdr}")


def _gone(dst: Addr, route: Route) -> ErrConnRefused:
    return ErrConnRefused(
        f"{ErrConnRefused.text}: the process of host {quote(dst.host)} ({route.osladdr}) is gone"
    )


def _read_line(conn: Conn, line: bytes, least: int, until: Deadline, patience: Optional[float]) -> bytes:
    """Reads on with a line, of which some is there, and reads nothing behind it. Raises _Late with what there is when
    nothing has come for so many seconds, and ErrTimeout at the deadline.

    It is known to be at least that long, if payload may follow.
    """
    while len(line) < MAX_LINE:
        if not readable(conn, patience if until is None else clock.left(clock.sooner(until, patience))):
            clock.check(until)
            raise _Late(line)
        if len(line) < least:
            data = _recv(conn, least - len(line))
            line += data
            end = line.find(b"\n") + 1
            if end:
                return line[:end]  # less than all of it is a refusal, behind which there is nothing that counts
        else:
            data = _recv(conn, MAX_LINE - len(line), _PEEK)
            end = data.find(b"\n") + 1
            line += _recv(conn, end or len(data))
            if end:
                return line
        if not data:
            raise ConnectionResetError
    raise OpError("protocol error: the line is too long", errno.EPROTO)


class _Late(Exception):
    """The line is not there in time."""

    def __init__(self, line: bytes) -> None:
        super().__init__()
        self.line = line
