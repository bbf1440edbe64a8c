"""Connections between two hosts."""

from __future__ import annotations

import _socket
import errno
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, Callable, Iterable, List, NoReturn, Optional, Tuple, TypeVar

from .addr import Addr
from .errors import ErrDown, ErrHostDown, ErrNetDown, ErrSockDown, OpError, of_system
from .sockopt import DONTWAIT, LINGER_RESET

if TYPE_CHECKING:
    from .host import Host

_T = TypeVar("_T")

_Raw = _socket.socket
_recv, _recv_into, _send, _sendall = _Raw.recv, _Raw.recv_into, _Raw.send, _Raw.sendall
_close, _shutdown, _settimeout = _Raw.close, _Raw.shutdown, _Raw.settimeout

_COUNTS = (
    sys.implementation.name == "cpython"
    and sys.version_info >= (3, 10)
    and getattr(sys, "_is_gil_enabled", lambda: True)()
)
"""A thread can count by += without a lock: this Python switches threads only where a function is called or a loop goes
back."""

_PLAIN = set(getattr(socket.socket, "__slots__", ())) == {"__weakref__", "_io_refs", "_closed"}
"""What a socket.socket has beyond the system's is known, so that it can be made in half the time."""

_count_lock = threading.Lock()  # for all others; held for moments

_NOT_NOW = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)
_DRAIN_MOST = 64 << 20

_AF_INET, _SOCK_STREAM = int(socket.AF_INET), int(socket.SOCK_STREAM)

_UNKNOWN = Addr("", "", 0)


class Conn(socket.socket):
    """A connection between two hosts. It is a socket.socket, the TCP connection itself: whatever takes a connected
    socket takes it, and its fileno is good for selectors and event loops.

    What is different:

    - getsockname and getpeername return the virtual addresses, as (host, port); local_addr and remote_addr as Addr.
    - An operation that fails raises OpError of the same kind as a socket's OSError, with both addresses in it. On a
      connection that is closed on this side, or whose host or network is, that is ErrSockDown, ErrHostDown or
      ErrNetDown, also if it was waiting when that happened: close, and shutdown, wake other threads at once.
    - Closing it frees its port. A descriptor is never closed while another thread is in a call on it.

    It can be used by many threads at once, as far as that makes sense for a stream of bytes. As every socket with files
    of makefile, it is closed once they are too. detach gives the descriptor away, for instance to ssl: from then on
    the network knows nothing of the connection, and its port is free.
    """

    __slots__ = ("_host", "_local", "_remote", "_inside", "_down", "_lent", "_released")

    def __init__(self, host: Optional[Host] = None, fileno: Optional[int] = None) -> None:
        """Networks make connections, by dial and accept."""
        if _PLAIN:
            _Raw.__init__(self, _AF_INET, _SOCK_STREAM, 0, fileno)
            self._io_refs = 0
            self._closed = False
        else:
            super().__init__(_AF_INET, _SOCK_STREAM, 0, fileno)
        self._host = host
        self._local = self._remote = _UNKNOWN
        # How many threads are in a call on the descriptor. Who goes in counts itself and then looks at _down; who
        # closes sets _down and then looks here: so one of the two sees the other, without a lock.
        self._inside = 1  # the handshake is, until it is the user's
        self._down = False  # closed, or host or network is
        # Guarded by the sub-network's lock.
        self._lent = False  # fileno was asked for: somebody may wait for it in a selector
        self._released = False  # the descriptor is closed, or somebody does that now

    def local_addr(self) -> Addr:
        """Returns the connection's own address."""
        return self._local

    def remote_addr(self) -> Addr:
        """Returns the address of the other end. It is that of the port that accepted, not the one that was dialled."""
        return self._remote

    def getsockname(self) -> Tuple[str, int]:
        """Returns local_addr as (host, port)."""
        return self._local.host, self._local.port

    def getpeername(self) -> Tuple[str, int]:
        """Returns remote_addr as (host, port)."""
        return self._remote.host, self._remote.port

    def __repr__(self) -> str:
        closed = " [closed]" if self._down else ""
        return f"<lonet.Conn {self._local.net} {self._local}->{self._remote}{closed}>"

    # The four calls by which programs live are written out, for speed; the others go through _call.

    if _COUNTS:

        def recv(self, bufsize: int, flags: int = 0) -> bytes:
            """Receives at most bufsize bytes; none means that the other end has ended its side."""
            self._inside += 1
            try:
                if self._down:
                    self._raise_down("read")
                data = _recv(self, bufsize, flags)
            except BaseException as err:
                self._leave()
                raise self._failed("read", err) from None
            self._inside -= 1
            if self._down:
                self._raise_late("read")
            return data

        def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
            """As recv, into a buffer. Returns how many bytes came."""
            self._inside += 1
            try:
                if self._down:
                    self._raise_down("read")
                n = _recv_into(self, buffer, nbytes, flags)
            except BaseException as err:
                self._leave()
                raise self._failed("read", err) from None
            self._inside -= 1
            if self._down:
                self._raise_late("read")
            return n

        def send(self, data: Any, flags: int = 0) -> int:
            """Sends some of the data, and returns how many bytes."""
            self._inside += 1
            try:
                if self._down:
                    self._raise_down("write")
                n = _send(self, data, flags)
            except BaseException as err:
                self._leave()
                raise self._failed("write", err) from None
            self._inside -= 1
            if self._down:
                self._raise_late("write")
            return n

        def sendall(self, data: Any, flags: int = 0) -> None:
            """Sends all of the data. After an error there is no telling how much of it was sent."""
            self._inside += 1
            try:
                if self._down:
                    self._raise_down("write")
                _sendall(self, data, flags)
            except BaseException as err:
                self._leave()
                raise self._failed("write", err) from None
            self._inside -= 1
            if self._down:
                self._raise_late("write")

    else:

        def recv(self, bufsize: int, flags: int = 0) -> bytes:
            """Receives at most bufsize bytes; none means that the other end has ended its side."""
            return self._call("read", _recv, self, bufsize, flags)

        def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
            """As recv, into a buffer. Returns how many bytes came."""
            return self._call("read", _recv_into, self, buffer, nbytes, flags)

        def send(self, data: Any, flags: int = 0) -> int:
            """Sends some of the data, and returns how many bytes."""
            return self._call("write", _send, self, data, flags)

        def sendall(self, data: Any, flags: int = 0) -> None:
            """Sends all of the data. After an error there is no telling how much of it was sent."""
            self._call("write", _sendall, self, data, flags)

    def recvfrom(self, bufsize: int, flags: int = 0) -> Tuple[bytes, Any]:
        """As recv, with getpeername."""
        return self.recv(bufsize, flags), self.getpeername()

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> Tuple[int, Any]:
        """As recv_into, with getpeername."""
        return self.recv_into(buffer, nbytes, flags), self.getpeername()

    if sys.platform != "win32":

        def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> Tuple[bytes, List[Any], int, Any]:
            """As that of socket.socket."""
            return self._call("read", super().recvmsg, bufsize, ancbufsize, flags)

        def recvmsg_into(
            self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0
        ) -> Tuple[int, List[Any], int, Any]:
            """As that of socket.socket."""
            return self._call("read", super().recvmsg_into, buffers, ancbufsize, flags)

        def sendmsg(self, buffers: Iterable[Any], ancdata: Any = (), flags: int = 0, address: Any = None) -> int:
            """As that of socket.socket."""
            return self._call("write", super().sendmsg, buffers, ancdata, flags, address)

    def sendfile(self, file: Any, offset: int = 0, count: Optional[int] = None) -> int:
        """Sends a file until its end, or count bytes of it, by the kernel where it can. Returns how many bytes."""
        return self._call("write", super().sendfile, file, offset, count)

    def shutdown(self, how: int) -> None:
        """Ends reading, writing or both, as that of socket.socket: SHUT_WR says to the other end that no more comes."""
        self._call("close", super().shutdown, how)

    def settimeout(self, value: Optional[float]) -> None:
        """Sets the time-out of later calls, in seconds. None is none, 0 makes the connection non-blocking."""
        self._call("set", super().settimeout, value)

    def setblocking(self, flag: bool) -> None:
        """setblocking(True) is settimeout(None), setblocking(False) is settimeout(0)."""
        self._call("set", super().setblocking, flag)

    def fileno(self) -> int:
        """Returns the descriptor, -1 once it is closed.

        Whose descriptor was asked for stays open when its host or network is closed, ended, so that who waits for it in
        a selector or an event loop sees that; only close closes it then.
        """
        self._lent = True
        return super().fileno()

    def dup(self) -> socket.socket:  # type: ignore[override]
        """Returns a plain socket for the same TCP connection, which the network does not know."""
        return socket.socket(self.family, self.type, self.proto, fileno=os.dup(super().fileno()))

    def detach(self) -> int:
        """Closes the connection without closing its descriptor, and returns that."""
        self._end(release=False)
        return super().detach()

    def _real_close(self, _ss: Any = None) -> None:
        """What socket.socket's close does once no file of makefile is open."""
        if self._end(release=True):
            _close(self)

    def _end(self, release: bool) -> bool:
        """Takes the connection out of its host. Tells whether to close the descriptor."""
        host = self._host
        if host is None:  # it never was anybody's
            first, self._released = not self._released, True
            return first and release
        with host._lock:
            self._down = True
            host._ports.remove(self, self._local.port)
            wake = release and self._inside > 0
            self._lent = False  # who closes does not wait
            if wake:
                self._enter()  # as a call: the descriptor must not be closed, and be another's, before shutdown
            first = not self._released and not wake
            self._released = self._released or first
        if wake:
            self._wake(drain=False)
        return first and release

    def _wake(self, drain: bool) -> None:
        """Ends what waits in a call on the descriptor. The caller has gone inside."""
        try:
            _shutdown(self, socket.SHUT_RDWR)
        except OSError:
            pass  # it isn't connected yet, or no more
        if drain:
            self._drain()
        self._leave()

    def _enter(self) -> None:
        """Begins a call on the descriptor."""
        if _COUNTS:
            self._inside += 1
        else:
            with _count_lock:
                self._inside += 1

    def _leave(self) -> None:
        """Ends a call on the descriptor, and closes it if the connection is down and this was the last."""
        if _COUNTS:
            self._inside -= 1
        else:
            with _count_lock:
                self._inside -= 1
        if self._down:
            self._close_unused()

    def _close_unused(self) -> None:
        host = self._host
        if host is None:
            return
        with host._lock:
            last = self._down and not self._inside and not self._lent and not self._released
            if last:
                self._released = True
        if last:
            _close(self)

    def _interrupt(self) -> None:
        """Ends the connection because its host or network, which has set _down, is closed."""
        assert self._host is not None
        with self._host._lock:
            if self._released:
                return
            last = not self._inside and not self._lent
            if last:
                self._released = True
            else:
                self._enter()
        if last:
            _close(self)
        else:
            self._wake(drain=self._lent)

    def _drain(self) -> None:
        """Throws away what came and nobody has read, so that the other end, if it waits to send more, is reset, as if
        the descriptor was closed."""
        if not DONTWAIT:
            return
        got = 0
        try:
            while got < _DRAIN_MOST:
                n = len(_recv(self, 1 << 16, DONTWAIT))
                if n == 0:
                    return
                got += n
        except OSError:
            pass

    def _drop(self, reset: bool = False) -> None:
        """Ends a connection whose handshake failed, and that no user has."""
        host = self._host
        if host is None:
            first, self._released = not self._released, True
            if first:
                _close(self)
            return
        with host._lock:
            self._down = True
            host._ports.remove(self, self._local.port)
        self._abort(reset)

    def _abort(self, reset: bool = True) -> None:
        """Closes the descriptor of a connection that is being dialled, and keeps its port."""
        assert self._host is not None
        with self._host._lock:
            first, self._released = not self._released, True
        if first:
            if reset:  # it says more clearly than an end that the dial was given up
                try:
                    self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
                except OSError:
                    pass
            _close(self)

    def _forget(self) -> None:
        """Closes the descriptor that a forked child has inherited; the parent's connection goes on."""
        self._down = self._released = True
        self._inside = 0
        _close(self)

    def _call(self, op: str, f: Callable[..., _T], *args: Any) -> _T:
        self._enter()
        try:
            if self._down:
                self._raise_down(op)
            result = f(*args)
        except BaseException as err:
            self._leave()
            raise self._failed(op, err) from None
        self._leave()
        if self._down:
            self._raise_down(op)
        return result

    def _down_error(self) -> ErrDown:
        """Returns what is down, the widest first."""
        host = self._host
        if host is not None:
            if host._net._down:
                return ErrNetDown()
            if host._down:
                return ErrHostDown()
        return ErrSockDown()

    def _raise_down(self, op: str) -> NoReturn:
        raise self._down_error().at(op, self._local.net, self._local, self._remote)

    def _raise_late(self, op: str) -> NoReturn:
        """Raises what is down after a call that has succeeded nevertheless, and has left."""
        self._close_unused()
        self._raise_down(op)

    def _failed(self, op: str, err: BaseException) -> BaseException:
        """Returns what an error of the socket means. If this end is down, that is the reason for whatever it says."""
        if not isinstance(err, OSError):
            return err
        if self._down:
            ours: OpError = self._down_error()
        elif isinstance(err, OpError) or err.errno in _NOT_NOW:
            return err
        else:
            ours = of_system(err)
        return ours.at(op, self._local.net, self._local, self._remote)
