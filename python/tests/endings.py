"""What is closed, and what that does to each operation: before it, and while it is in progress."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, NamedTuple, Tuple

from peers import AnyConn, AnyHost, AnySub, PeerHost, flood
from support import MOMENT, Call, TestCase, eventually

import lonet

NET, HOST, SOCK = lonet.ErrNetDown, lonet.ErrHostDown, lonet.ErrSockDown
REFUSED, EOF, CARRIER = lonet.ErrConnRefused, "EOF", "an error of the connection's own"
GONE = (lonet.ErrNoHost, lonet.ErrConnRefused)


class Ending(NamedTuple):
    """Something that goes down, or several things one after the other, and what that does to each operation of the own end;
    None is that it isn't affected."""

    name: str
    ends: Tuple[str, ...]
    read: Any = None
    write: Any = None
    dial: Any = None
    accept: Any = None
    later_dial: Any = None
    listen: Any = None
    new_host: Any = None


_CONNS_HOST = ("own conns", "own listener", "own host")
_HOST_CONNS = ("own host", "own conns", "own listener")

ENDINGS = (
    Ending("connection", ("own conns",), SOCK, SOCK),
    Ending("peer's connection", ("peer conns",), EOF, CARRIER),
    Ending("listener", ("own listener",), accept=SOCK),
    Ending("peer's listener", ("peer listener",), dial=REFUSED),
    Ending("host", ("own host",), HOST, HOST, HOST, HOST, HOST, HOST),
    Ending("peer's host", ("peer host",), EOF, CARRIER, REFUSED, None, GONE),
    Ending("sub-network", ("own sub",), NET, NET, NET, NET, NET, NET, NET),
    Ending("peer's sub-network", ("peer sub",), EOF, CARRIER, REFUSED, None, GONE),
    Ending("connection and listener, then host", _CONNS_HOST, HOST, HOST, HOST, HOST, HOST, HOST),
    Ending("host, then connection and listener", _HOST_CONNS, HOST, HOST, HOST, HOST, HOST, HOST),
    Ending("peer's connection, then connection", ("peer conns", "own conns"), SOCK, SOCK),
    Ending("peer's host, then host", ("peer host", "own host"), HOST, HOST, HOST, HOST, HOST, HOST),
    Ending("connection, host, sub-network", (*_CONNS_HOST, "own sub"), NET, NET, NET, NET, NET, NET, NET),
    Ending("sub-network, host, connection", ("own sub", *_HOST_CONNS), NET, NET, NET, NET, NET, NET, NET),
)
"""Those of virtnettest but for the two in which the engine says that the network under it is gone: this package has no such
thing."""


class End:
    """One side of the scene, with α:1 or β:1 for the listener, 2 for a connection to read on, 3 for one to write on."""

    def __init__(self, sub: AnySub, name: str) -> None:
        self.sub = sub
        self.host = sub.new_host(name)
        self.listener = self.host.listen(":1")
        self.read: AnyConn
        self.write: AnyConn


def dial_started(host: AnyHost, port: int) -> None:
    """Waits until a dial that was started has taken that port. To ask by another dial would be to take it."""
    if isinstance(host, PeerHost):
        time.sleep(MOMENT)  # there is no way to see it
    else:
        eventually(f"the dial has port {port}", lambda: host._ports.get(port) is not None)


class EndingsCase(TestCase):
    """Makes the scene, and ends it."""

    def scene_on(self, sub: AnySub, other: AnySub, dialler: bool) -> Tuple[End, End]:
        """Makes two ends with two connections between them, which the first has dialled or accepted."""
        own, peer = End(sub, "α"), End(other, "β")
        if dialler:
            own.read, peer.write = self.connect(own.host, peer.listener)  # type: ignore[arg-type]
            own.write, peer.read = self.connect(own.host, peer.listener)  # type: ignore[arg-type]
        else:
            peer.write, own.read = self.connect(peer.host, own.listener)  # type: ignore[arg-type]
            peer.read, own.write = self.connect(peer.host, own.listener)  # type: ignore[arg-type]
        return own, peer

    def end(self, what: str, own: End, peer: End) -> None:
        """Closes a part of the scene."""
        whose, part = what.split()
        side = own if whose == "own" else peer
        if part == "conns":
            side.read.close()
            side.write.close()
        else:
            {"listener": side.listener, "host": side.host, "sub": side.sub}[part].close()

    def ending(self, ending: Ending, own: End, peer: End) -> None:
        """Checks all that an ending does."""
        operations: Dict[str, Tuple[Callable[[], Any], str, str, str]] = {
            "read": (lambda: own.read.recv(1), "read", "α:2", "β:2"),
            "write": (lambda: flood(own.write), "write", "α:3", "β:3"),
            "dial": (lambda: own.host.dial("β:1"), "dial", "α:4", "β:1"),
            "accept": (own.listener.accept, "accept", "", "α:1"),
        }
        pending = {}
        if len(ending.ends) == 1:
            pending = {name: Call(operation[0]) for name, operation in operations.items()}
            dial_started(own.host, 4)
            time.sleep(MOMENT)
        for what in ending.ends:
            self.end(what, own, peer)
        for name, call in pending.items():
            want = getattr(ending, name)
            if want is None:
                self.assertTrue(call.waits(0.005), f"{name} has ended: {call.error}")
            else:
                self.wants_end(want, call.wait, *operations[name][1:])
        for name, operation in operations.items():
            want = getattr(ending, name)
            source = operation[2]
            if name == "dial":
                want = ending.later_dial or want
                source = ""
            if want is not None:
                self.wants_end(want, operation[0], operation[1], source, operation[3])
        if ending.listen is not None:
            self.wants(ending.listen, lambda: own.host.listen(":9"), "listen", "", "α:9")
        if ending.new_host is not None:
            err = self.wants(ending.new_host, lambda: own.sub.new_host("γ"))
            self.assertEqual(str(err), f'virtnet "{own.sub.network()}": new host "γ": network is down')
        else:
            own.sub.new_host("γ").close()
        for what in ("own conns", "own listener", "own host", "peer conns", "peer listener", "peer host"):
            for _ in range(2):
                self.end(what, own, peer)
        for name, call in pending.items():
            if getattr(ending, name) is None:
                with self.assertRaises(OSError):
                    call.wait()

    def wants_end(self, want: Any, call: Callable[[], Any], op: str, source: str, addr: str) -> None:
        """Checks how an operation ends."""
        if want is EOF:
            self.assertEqual(call(), b"")
            return
        kind: Any = OSError if want is CARRIER else want
        err = self.wants(kind, call)
        self.assertIsInstance(err, lonet.OpError)
        self.assertEqual((err.op, str(err.addr)), (op, addr), err)
        if source:
            self.assertEqual(str(err.source), source, err)
        if want is CARRIER:
            self.assertIsInstance(err, ConnectionError)
            self.assertNotIsInstance(err, (lonet.ErrDown, TimeoutError))
