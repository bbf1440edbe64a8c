"""What the handshake needs of a system's sockets."""

from __future__ import annotations

import _socket
import errno
import select
import socket
import struct
import sys
from typing import Optional, Tuple

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

_fileno = _socket.socket.fileno


if hasattr(select, "poll"):
    _new_poll, _POLLIN = select.poll, int(select.POLLIN)

    def readable(sock: socket.socket, seconds: Optional[float]) -> bool:
        """Waits until there is something to read, or the end, for some seconds at most. None is for ever."""
        poll = _new_poll()
        poll.register(_fileno(sock), _POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

else:

    def readable(sock: socket.socket, seconds: Optional[float]) -> bool:
        """Waits until there is something to read, or the end, for some seconds at most. None is for ever."""
        return bool(select.select([_fileno(sock)], [], [], seconds)[0])


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
