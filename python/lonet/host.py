"""Hosts of a virtual network."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Optional, Union

from . import clock
from .addr import Addr, resolve
from .bound import Bound
from .conn import Conn
from .errors import (
    ErrAddrAlreadyUsed,
    ErrAddrNoListen,
    ErrDown,
    ErrHostDown,
    ErrInvalid,
    ErrNetDown,
    OpError,
    of_system,
)
from .listener import Listener
from .ports import Ports
from .quote import encode, quote

if TYPE_CHECKING:
    from .subnet import SubNetwork

_new_addr = tuple.__new__
"""Makes an Addr without calling a Python function."""


class Host(Bound):
    """A host of a virtual network: it dials and listens under its name, at ports of its own.

    Ports are predictable: what is not asked for is the lowest free one, from 1 up. It is safe for use by many threads
    at once. As a context manager it closes itself.
    """

    def __init__(self, net: SubNetwork, name: str) -> None:
        """Sub-networks make hosts, by new_host."""
        self._net = net
        self._name = name
        # How the lines of the handshake begin that it sends.
        self._asks = encode(f"> lonet {quote(net.network())} dial {quote(name + ':')[:-1]}")
        self._accepts = encode(f"< lonet {quote(net.network())} connected {quote(name + ':')[:-1]}")
        self._lock: threading.Lock = net._lock
        # Guarded by the lock, which is never held while waiting.
        self._made = False  # new_host has succeeded
        self._down: bool = False
        self._ports: Ports[Union[Conn, Listener]] = Ports()

    def name(self) -> str:
        """Returns the host's name."""
        return self._name

    def network(self) -> str:
        """Returns the full name of the network."""
        return self._net.network()

    def __repr__(self) -> str:
        closed = " [closed]" if self._down else ""
        return f"<lonet.Host {self.network()} {self._name}{closed}>"

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def dial(self, addr: str, timeout: Optional[float] = None) -> Conn:
        """Connects to addr, "host:port"; an empty host is this one.

        It returns once an accept has taken the connection. timeout is in seconds; None is none. The remote address of
        the connection is the port that accepted it, not the one that was dialled.

        Raises ErrNoHost if no host of that name is on the network, ErrConnRefused if nobody listens there, or the
        process is gone, ErrTimeout, ErrInvalid for an address that does not parse, and ErrHostDown or ErrNetDown if
        this host or its sub-network is closed, which ends a waiting dial at once.
        """
        until = None if timeout is None else clock.deadline(timeout)
        network = self._net._network
        try:
            conn = Conn(self)
        except OSError as err:
            raise of_system(err).at("dial", network) from None
        try:
            with self._lock:
                conn._local = _new_addr(Addr, (network, self._name, self._ports.put(conn)))
                down = self._down
            if down:
                raise conn._down_error()
            conn._remote = dst = resolve(network, self._name, addr)
            if until is not None:
                clock.check(until)
            return self._net._outgoing.dial(conn, dst, until)
        except OSError as err:
            conn._drop()
            raise of_system(err).at("dial", network, conn._local, self._meant(addr)) from None
        except BaseException:
            conn._drop(reset=True)
            raise

    def listen(self, laddr: str = "", backlog: Optional[int] = None) -> Listener:
        """Starts to listen at laddr, "host:port"; the host is this one, or empty; 0.0.0.0 and
        [::] mean the same. It does not wait.

        Port 0, or an empty laddr, takes the lowest free port. As many dials as backlog says may wait for an accept, the
        next is refused; None means what was given to join, 0 that a dial succeeds only while an accept waits.

        Raises ErrAddrAlreadyUsed, ErrAddrNoListen for another host's name, ErrInvalid for an address that does not
        parse, ErrHostDown and ErrNetDown.
        """
        network = self._net.network()
        addr = None
        try:
            addr = resolve(network, self._name, laddr or ":0")
            if addr.host in ("0.0.0.0", "::"):
                addr = Addr(network, self._name, addr.port)
            if addr.host != self._name:
                raise ErrAddrNoListen()
            listener = Listener(self, addr, self._net._backlog if backlog is None else max(backlog, 0))
            with self._lock:
                if self._down:
                    raise self._down_error()
                port = self._ports.put(listener, addr.port)
                if port == 0:
                    raise ErrAddrAlreadyUsed()
                listener._addr = addr._replace(port=port)
            return listener
        except OpError as err:
            if self._down and not isinstance(err, ErrDown):
                err = self._down_error()
            raise err.at("listen", network, None, addr) from None

    def _meant(self, addr: str) -> Optional[Addr]:
        """Returns an address to show in an error, if it is one."""
        try:
            return resolve(self._net._network, self._name, addr)
        except ErrInvalid:
            return None

    def close(self) -> None:
        """Takes the host down: its connections and listeners end, and so does what waits on them, with ErrHostDown.

        Its name is free again. A second close does nothing.
        """
        if self._shutdown():
            self._net._host_closed(self)

    def _shutdown(self) -> bool:
        """Interrupts everything on the host. Tells whether it was up."""
        refused = []
        with self._lock:
            if self._down:
                return False
            self._down = True
            socks = self._ports.all()
            for sock in socks:
                if isinstance(sock, Listener):
                    refused.append((sock, sock._shut()))
                else:
                    sock._down = True
        for listener, dials in refused:
            listener._refuse(dials)
        for sock in socks:
            if isinstance(sock, Conn):
                sock._interrupt()
        return True

    def _forget(self) -> None:
        """Closes what a forked child has inherited."""
        self._down = True
        for sock in self._ports.all():
            sock._forget()

    def _down_error(self) -> ErrDown:
        return ErrNetDown() if self._net._down else ErrHostDown()
