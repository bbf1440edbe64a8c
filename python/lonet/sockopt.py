"""What the handshake needs of a system's sockets."""

from __future__ import annotations

import _socket
import errno
import functools
import socket
import struct
import sys
from typing import Tuple

_recv, _send, _sendto, _connect = (
    _socket.socket.recv,
    _socket.socket.send,
    _socket.socket.sendto,
    _socket.socket.connect,
)

DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)
"""The flag of a recv or send that does not wait; 0 where there is none, and the socket must be made non-blocking."""

LINGER_RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""SO_LINGER with which close sends a reset: it says more clearly than an end that a dial was given up."""

# A time-out of the socket itself costs one system call where Python's costs two, and one more at each recv. Only where
# the layout of the option is known.
_KERNEL_TIMEOUT = sys.platform == "linux" and socket.SO_RCVTIMEO == 20
_FOREVER = struct.pack("ll", 0, 0)
_SOL_SOCKET, _SO_RCVTIMEO = int(socket.SOL_SOCKET), int(socket.SO_RCVTIMEO)


if _KERNEL_TIMEOUT:

    def limit_reads(sock: socket.socket, seconds: float) -> None:
        """Makes a recv that waits for longer than some seconds fail, with BlockingIOError or socket.timeout."""
        sock.setsockopt(_SOL_SOCKET, _SO_RCVTIMEO, _timeval(seconds))

    def unlimit_reads(sock: socket.socket) -> None:
        """Takes back limit_reads."""
        sock.setsockopt(_SOL_SOCKET, _SO_RCVTIMEO, _FOREVER)

    @functools.lru_cache(maxsize=16)
    def _timeval(seconds: float) -> bytes:
        return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))

else:

    def limit_reads(sock: socket.socket, seconds: float) -> None:
        """Makes a recv that waits for longer than some seconds fail, with BlockingIOError or socket.timeout."""
        sock.settimeout(seconds)

    def unlimit_reads(sock: socket.socket) -> None:
        """Takes back limit_reads."""
        sock.settimeout(None)


_NO_FASTOPEN = (errno.EOPNOTSUPP, errno.ENOTCONN, errno.EPIPE, errno.EDESTADDRREQ, errno.EINVAL)
"""It is turned off on this system, or is one that doesn't know it."""

_FASTOPEN = int(getattr(socket, "MSG_FASTOPEN", 0)) if sys.platform == "linux" else 0


def connect_and_send(sock: socket.socket, address: Tuple[str, int], data: bytes) -> None:
    """Connects a blocking socket, and sends a little data.

    In one system call where there is one for that: it saves not only the other, but most often the one who accepts a
    second wait, for the data is there when it wakes. (Without a cookie, which loopback has no use for, nothing is sent
    before the connection is there.)
    """
    if _FASTOPEN:
        try:
            _sendto(sock, data, _FASTOPEN, address)
            return
        except OSError as err:
            if err.errno not in _NO_FASTOPEN:
                raise
    _connect(sock, address)
    _send(sock, data)


_ESTABLISHED, _CLOSED = 1, 7
_IPPROTO_TCP, _TCP_INFO = int(socket.IPPROTO_TCP), int(getattr(socket, "TCP_INFO", 0))


def is_gone(sock: socket.socket, may_end: bool) -> bool:
    """Tells whether the other end is seen to have gone: reset, or, unless it may end its side, ended.

    It does not wait, and reads nothing.
    """
    if sys.platform == "linux":
        state = sock.getsockopt(_IPPROTO_TCP, _TCP_INFO, 1)[0]
        if state == _ESTABLISHED:
            return False
        if state == _CLOSED:
            return True
    try:
        return not _recv(sock, 1, socket.MSG_PEEK | DONTWAIT) and not may_end
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        return True
