"""The standard library's HTTP, and its servers, on a virtual network."""

from __future__ import annotations

import http.client
import http.server
import socketserver
from typing import Any, Callable, Optional, Type, TypeVar

from .host import Host
from .listener import Listener

_S = TypeVar("_S", bound=socketserver.TCPServer)
_C = TypeVar("_C", bound="HTTPConnection")


class HTTPConnection(http.client.HTTPConnection):
    """An http.client.HTTPConnection that dials from a host.

    address is "host" or "host:port", port 80 if there is none. timeout, in seconds, is that of the dial and of each
    operation on the connection; None is none. As a context manager it closes itself.
    """

    def __init__(self, source: Host, address: str, timeout: Optional[float] = None) -> None:
        super().__init__(address, timeout=timeout)
        self._source = source
        self._limit = timeout

    def __enter__(self: _C) -> _C:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def connect(self) -> None:
        """Dials the address."""
        self.sock = self._source.dial(f"{self.host}:{self.port}", self._limit)
        self.sock.settimeout(self._limit)


def make_server(server_class: Type[_S], listener: Listener, handler: Callable[..., Any]) -> _S:
    """Makes a server of a class of socketserver, or http.server, that serves what a listener accepts.

    The class is one that makes a TCPServer, in threads or not; not one that forks, since a forked child has not joined
    the network. Closing the server closes the listener. On a server of http.server, server_name is the host's name.
    """
    address = listener.addr().host, listener.addr().port
    server = server_class(("127.0.0.1", 0), handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener.socket()
    server.server_address = address
    if isinstance(server, http.server.HTTPServer):
        server.server_name, server.server_port = address
        setup_environ = getattr(server, "setup_environ", None)  # wsgiref's, which it calls when it binds
        if setup_environ is not None:
            setup_environ()
    return server
