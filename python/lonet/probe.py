"""Asking the process at an address whether it has a host, by a dial of the host's port 0. docs/lonet.md, 5.4."""

from __future__ import annotations

import selectors
import socket
import threading
from typing import Optional, Set

from . import clock
from .addr import Addr
from .clock import Deadline
from .errors import ErrNetDown, of_system
from .handshake import MAX_LINE, Reply, Request
from .judge import Answer


class Probe:
    """Asks, for the hosts of one network. It is safe for concurrent use."""

    def __init__(self, network: str = "") -> None:
        self.network = network
        """Full name of the network."""
        self._lock = threading.Lock()
        self._asking: Set[socket.socket] = set()
        self._closed = False

    def __call__(
        self, osladdr: str, host: str, until: Deadline, unless: Optional[socket.socket] = None
    ) -> Answer:
        """Asks until the deadline. Once unless is readable, nobody wants to know any more, and the answer is PRESENT.

        Raises ErrNetDown once the probe is closed, and OpError for what keeps it from asking.
        """
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            with self._lock:
                if self._closed:
                    raise ErrNetDown()
                self._asking.add(sock)
            answer = self._ask(sock, osladdr, host, until, unless)
            if self._closed:
                raise ErrNetDown()
            return answer
        finally:
            with self._lock:
                self._asking.discard(sock)
            sock.close()

    def _ask(
        self, sock: socket.socket, osladdr: str, host: str, until: Deadline, unless: Optional[socket.socket]
    ) -> Answer:
        try:
            sock.settimeout(clock.left(until))
            sock.connect(sockaddr(osladdr))
        except ConnectionRefusedError:
            return Answer.NOBODY
        except (socket.timeout, BlockingIOError):
            return Answer.SILENT
        except OSError as err:
            if self._closed:
                raise ErrNetDown() from None
            raise of_system(err).because(f"connect {osladdr}") from None
        line = b""
        try:
            host0 = str(Addr("", host, 0))
            sock.sendall(Request(self.network, host0, host0).line())
            while b"\n" not in line:
                if not _readable(sock, until, unless):
                    return Answer.SILENT
                if unless is not None and _readable(unless, clock.deadline(0), None):
                    return Answer.PRESENT
                data = sock.recv(MAX_LINE)
                if not data or len(line) > MAX_LINE:
                    return Answer.NOBODY  # lonet answers every request
                line += data
        except OSError:
            return Answer.NOBODY
        reply = Reply.parse(line[: line.index(b"\n")])
        if reply is None or reply.network != self.network:
            return Answer.NOBODY
        return Answer.NO_SUCH_HOST if reply.says_no_host() else Answer.PRESENT

    def close(self) -> None:
        """Ends what is being asked, and what is asked from now on, with ErrNetDown."""
        with self._lock:
            self._closed = True
            for sock in self._asking:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it isn't connected yet, which takes no time, and asks in vain

    def forget(self) -> None:
        """Closes what a forked child has inherited."""
        self._lock = threading.Lock()
        self._closed = True
        for sock in self._asking:
            sock.close()


def sockaddr(osladdr: str) -> tuple[str, int]:
    """Returns an osladdr, which is one, as what connect takes."""
    return "127.0.0.1", int(osladdr.rpartition(":")[2])


def _readable(sock: socket.socket, until: Deadline, other: Optional[socket.socket]) -> bool:
    """Waits until sock, or the other, is readable; it is false if neither is in time."""
    with selectors.DefaultSelector() as selector:
        selector.register(socket.socket.fileno(sock), selectors.EVENT_READ)
        if other is not None:
            selector.register(socket.socket.fileno(other), selectors.EVENT_READ)
        return bool(selector.select(clock.left(until)))
