"""A listener as what programs that serve expect: a listening socket.socket."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Optional, Tuple

if TYPE_CHECKING:
    from .conn import Conn
    from .listener import Listener


class ListeningSocket(socket.socket):
    """A listener with the face of a listening socket, made by Listener.socket.

    accept returns (connection, (host, port)); bind and listen do nothing, since it is bound and listens. Its descriptor
    is readable while accept would not wait. Closing it closes the listener.
    """

    __slots__ = ("_listener", "_limit")

    def __init__(self, listener: Listener, readiness: socket.socket) -> None:
        super().__init__(readiness.family, readiness.type, readiness.proto, readiness.detach())
        self._listener = listener
        self._limit = listener.gettimeout()

    def accept(self) -> Tuple[Conn, Tuple[str, int]]:
        """Waits for a dial, as Listener.accept with this socket's time-out does; returns it with the dialler's
        address."""
        conn = self._listener._accept(self._limit, nonblocking=self._limit == 0)
        return conn, conn.getpeername()

    def bind(self, address: Any) -> None:
        """Does nothing: it is bound."""

    def listen(self, backlog: int = 0) -> None:
        """Does nothing: it listens."""

    def getsockname(self) -> Tuple[str, int]:
        """Returns the address listened on, as (host, port)."""
        addr = self._listener.addr()
        return addr.host, addr.port

    def settimeout(self, value: Optional[float]) -> None:
        """Sets the time-out of accept, in seconds. None is none, 0 makes accept non-blocking."""
        if value is not None and value < 0:
            raise ValueError("timeout value out of range")
        self._limit = value

    def setblocking(self, flag: bool) -> None:
        """setblocking(True) is settimeout(None), setblocking(False) is settimeout(0)."""
        self.settimeout(None if flag else 0.0)

    def gettimeout(self) -> Optional[float]:
        """Returns what settimeout has set."""
        return self._limit

    def _real_close(self, _ss: Any = None) -> None:
        """What socket.socket's close does."""
        self._listener.close()
        super()._real_close()  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"<lonet.ListeningSocket of {self._listener!r}>"
