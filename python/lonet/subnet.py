"""Sub-networks: a process's part of a network."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Dict, Optional

from . import clock, forks, names
from .bound import Bound
from .directory import TempDir
from .engine import Engine
from .errors import ErrHostDup, ErrNetDown, of_system
from .host import Host
from .mark import ErrMarked
from .outgoing import Outgoing
from .probe import Probe
from .quote import quote
from .registry import Registry

BACKLOG = 4096
HANDSHAKE_TIMEOUT = 10.0
HALF_OPEN = 1024


class SubNetwork(Bound):
    """The part of a network that is in this process: home to hosts. See join.

    It is safe for use by many threads at once. As a context manager it closes itself. However the process ends, the
    names of its hosts are free at once.

    A forked child has not joined: in it the sub-network is down, with all that it has, and holds nothing open.
    """

    def __init__(
        self,
        network: str,
        osl: socket.socket,
        temp_dir: TempDir,
        backlog: int,
        handshake_timeout: float,
        half_open: int,
        logger: Optional[logging.Logger],
        until: clock.Deadline,
    ) -> None:
        """join makes sub-networks."""
        host, port = osl.getsockname()
        self._backlog = backlog
        self._probe = Probe()
        self._registry = Registry(temp_dir, network, f"{host}:{port}", self._probe, until, logger)
        self._network = self._probe.network = "lonet" + self._registry.network
        # Guards all that is common to threads but the registry, for moments: it is never held while waiting.
        self._lock = threading.Lock()
        self._hosts: Dict[str, Host] = {}  # those being made included
        self._withdraws: Dict[str, threading.Event] = {}  # of names being withdrawn, set when that is over
        self._down = False
        self._closing = False
        self._closed = threading.Event()
        engine = None
        try:
            self._outgoing = Outgoing(self._lock, self._network, self._registry, self._probe)
            engine = self._engine = Engine(
                self._lock,
                self._hosts,
                osl,
                self._registry.life,
                self._shutdown,
                handshake_timeout,
                half_open,
                logger,
            )
            self._engine.start(self._network)
        except BaseException:
            if engine is not None:
                engine.close()
            self._registry.close()
            raise
        forks.add(self)

    def network(self) -> str:
        """Returns the full name of the network, "lonet" and what was given to join."""
        return self._network

    def __repr__(self) -> str:
        closed = " [closed]" if self._down else ""
        return f"<lonet.SubNetwork {self._network}{closed}>"

    def __enter__(self) -> SubNetwork:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def host(self, name: str) -> Optional[Host]:
        """Returns the host with that name; None if it isn't on this sub-network, is being made, or was closed."""
        with self._lock:
            host = self._hosts.get(name)
            return host if host is not None and host._made else None

    def new_host(self, name: str, timeout: Optional[float] = None) -> Host:
        """Makes a host. Its name is unique in the whole network, and valid: see docs/lonet.md, 1.2.

        It may wait for other processes that write to the registry, and a second at most for one that has the name and
        may be dead; timeout, in seconds, bounds that. Raises ErrHostDup if the name is taken, ErrInvalid if it is
        against the rules, ErrTimeout, and ErrNetDown if the sub-network is closed, which ends the wait at once.
        """
        until = clock.deadline(timeout)
        try:
            names.check(name)
            clock.check(until)
            host = Host(self, name)
            try:
                withdraw = self._reserve(host)
                if withdraw is not None:
                    withdraw.wait(clock.left(until))
                    clock.check(until)
                self._registry.announce(name, until)
                with self._lock:
                    host._made = not self._down
                if not host._made:
                    raise ErrNetDown()
                return host
            except BaseException as err:
                self._unmake(host)
                if self._down and isinstance(err, OSError):
                    raise ErrNetDown() from None
                raise
        except OSError as err:
            raise of_system(err).at("new host", self._network, what=self._what(f"new host {quote(name)}")) from None

    def _what(self, operation: str) -> str:
        return f"virtnet {quote(self._network)}: {operation}"

    def _reserve(self, host: Host) -> Optional[threading.Event]:
        """Takes in a host that is not announced yet, and returns what is to be waited for."""
        with self._lock:
            if self._down:
                raise ErrNetDown()
            if host._name in self._hosts:
                raise ErrHostDup()
            # From here on a dial to it is refused for want of a listener, not of a host.
            self._hosts[host._name] = host
            return self._withdraws.get(host._name)

    def _unmake(self, host: Host) -> None:
        """Takes back what new_host did, which has failed, or was ended by a signal's handler."""
        with self._lock:
            host._down = True
            ours = self._hosts.get(host._name) is host
            if ours:
                del self._hosts[host._name]
        if ours:
            self._registry.forget(host._name)  # the row, if there is one, is dead by rule

    def _host_closed(self, host: Host) -> None:
        """Takes the name of a host back that went down. It waits for nobody."""
        name = host.name()
        with self._lock:
            if self._down or self._hosts.get(name) is not host:
                return
            del self._hosts[name]
            done = self._withdraws[name] = threading.Event()
        over = True
        try:
            self._registry.forget(name)
            if not self._registry.withdraw_at_once(name):
                threading.Thread(target=self._withdraw, args=(name, done), name="lonet withdraw", daemon=True).start()
                over = False
        except (OSError, RuntimeError):
            pass  # what is left in the registry names a host that this process says is not here
        finally:
            if over:
                self._withdrawn(name, done)

    def _withdraw(self, name: str, done: threading.Event) -> None:
        try:
            self._registry.withdraw(name)
        except OSError:
            pass
        self._withdrawn(name, done)

    def _withdrawn(self, name: str, done: threading.Event) -> None:
        with self._lock:
            if self._withdraws.get(name) is done:
                del self._withdraws[name]
        done.set()

    def close(self) -> None:
        """Closes the sub-network with all its hosts and their sockets: what waits on them ends with ErrNetDown.

        Their names are free. A second close does nothing but wait until the first is done. Raises OpError for what went
        wrong, once all is closed.
        """
        with self._lock:
            first, self._closing = not self._closing, True
        if not first:
            self._closed.wait()
            return
        try:
            self._shutdown()
            try:
                self._engine.close()
            finally:
                self._registry.close()
        except OSError as err:
            raise of_system(err).at("close", self._network, what=self._what("close")) from None
        finally:
            forks.remove(self)
            self._closed.set()

    def _shutdown(self) -> None:
        """Interrupts everything on the sub-network."""
        with self._lock:
            if self._down:
                return
            self._down = True
            hosts = list(self._hosts.values())
            self._hosts.clear()
        self._registry.shut()
        self._probe.close()
        for host in hosts:
            host._shutdown()

    def _at_exit(self) -> None:
        """Withdraws what was announced, as close does, and wakes nobody: the process ends, and threads that still wait,
        all of them daemons, would only complain."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
        self._engine.deafen()
        try:
            self._registry.close()
        except OSError:
            pass  # what stays is dead by rule
        self._closed.set()

    def _forget(self) -> None:
        """Closes what a forked child has inherited; nothing of the parent's ends."""
        self._lock = self._engine._lock = self._outgoing._lock = threading.Lock()
        self._down = self._closing = True
        self._closed = threading.Event()
        self._closed.set()
        for host in self._hosts.values():
            host._lock = self._lock
            host._forget()
        self._hosts.clear()
        self._engine.forget()
        self._probe.forget()
        self._registry.abandon()


def join(
    network: str,
    *,
    temp_dir: TempDir = None,
    backlog: int = BACKLOG,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
    half_open: int = HALF_OPEN,
    timeout: Optional[float] = None,
    logger: Optional[logging.Logger] = None,
) -> SubNetwork:
    """Joins the network and returns this process's sub-network, which has no hosts yet.

    A network that isn't there is made. An empty name makes a new network with a random name that no other has; the
    sub-network's network() is "lonet" and the name. A process may join a network more than once.

    - temp_dir is the directory in which the directory "lonet" is; None is the system's, $TMPDIR or /tmp. All
      processes of a network must agree on it.
    - backlog is how many dials may wait at a listener for an accept; the next is refused.
    - handshake_timeout, in seconds, is how long who connects may take to say what it wants.
    - half_open is how many may be connected at once who have not said yet what they want. At the limit, the one who has
      been silent longest is dropped.
    - timeout, in seconds, bounds the wait for other processes that make the network at the same moment.
    - logger gets what concerns no call: at WARNING that no connection can be accepted for want of descriptors, at DEBUG
      each incoming connection that was turned away. Its handlers may run on threads that wait in accept.

    Raises OpError: ErrInvalid for a name against the rules, ErrTimeout, or an error that says what is wrong with the
    directory or the registry.
    """
    if not isinstance(network, str):
        raise TypeError(f"the name of a network is a str, not {type(network).__name__}")
    until = clock.deadline(timeout)
    try:
        while True:
            osl = _listen()
            try:
                return SubNetwork(
                    network, osl, temp_dir, max(backlog, 0), handshake_timeout, max(half_open, 1), logger, until
                )
            except ErrMarked:
                osl.close()  # the next port will do
                clock.check(until)
            except BaseException:
                osl.close()
                raise
    except OSError as err:
        raise of_system(err).at("join", "lonet" + network, what=f"lonet: join {quote(network)}") from None


def _listen() -> socket.socket:
    """Makes the socket on which the sub-network accepts for all its hosts."""
    osl = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Accepted sockets inherit it, and those that dial have it too.
        osl.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        osl.bind(("127.0.0.1", 0))
        osl.listen(4096)
    except BaseException:
        osl.close()
        raise
    return osl
