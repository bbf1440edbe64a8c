"""What is closed, and what that does to each operation: before it, and while it is in progress."""

from __future__ import annotations

import selectors
import socket
import time
import unittest
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple, Type

from support import MOMENT, Call, TestCase

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


ENDINGS = (
    Ending("connection", ("own conns",), SOCK, SOCK),
    Ending("peer's connection", ("peer conns",), EOF, CARRIER),
    Ending("listener", ("own listener",), accept=SOCK),
    Ending("peer's listener", ("peer listener",), dial=REFUSED),
    Ending("host", ("own host",), HOST, HOST, HOST, HOST, HOST, HOST),
    Ending("peer's host", ("peer host",), EOF, CARRIER, REFUSED, None, GONE),
    Ending("sub-network", ("own sub",), NET, NET, NET, NET, NET, NET, NET),
    Ending("peer's sub-network", ("peer sub",), EOF, CARRIER, REFUSED, None, GONE),
    Ending("connection, then host", ("own conns", "own listener", "own host"), HOST, HOST, HOST, HOST, HOST, HOST),
    Ending("host, then connection", ("own host", "own conns", "own listener"), HOST, HOST, HOST, HOST, HOST, HOST),
    Ending("peer's connection, then connection", ("peer conns", "own conns"), SOCK, SOCK),
    Ending("peer's host, then host", ("peer host", "own host"), HOST, HOST, HOST, HOST, HOST, HOST),
    Ending("all, outwards", ("own conns", "own listener", "own host", "own sub"), NET, NET, NET, NET, NET, NET, NET),
    Ending("all, inwards", ("own sub", "own host", "own conns", "own listener"), NET, NET, NET, NET, NET, NET, NET),
)


class End:
    """One side of the scene, with α:1 or β:1 for the listener, 2 for a connection to read on, 3 for one to write on."""

    def __init__(self, sub: lonet.SubNetwork, name: str) -> None:
        self.sub = sub
        self.host = sub.new_host(name)
        self.listener = self.host.listen(":1")
        self.read: lonet.Conn
        self.write: lonet.Conn


class ClosingTest(TestCase):
    def scene(self, dialler: bool, one: bool) -> Tuple[End, End]:
        sub = self.join()
        own, peer = End(sub, "α"), End(sub if one else self.join(), "β")
        if dialler:
            own.read, peer.write = self.connect(own.host, peer.listener)
            own.write, peer.read = self.connect(own.host, peer.listener)
        else:
            peer.write, own.read = self.connect(peer.host, own.listener)
            peer.read, own.write = self.connect(peer.host, own.listener)
        return own, peer

    def end(self, what: str, own: End, peer: End) -> None:
        whose, part = what.split()
        side = own if whose == "own" else peer
        if part == "conns":
            side.read.close()
            side.write.close()
        else:
            {"listener": side.listener, "host": side.host, "sub": side.sub}[part].close()  # type: ignore[attr-defined]

    def test_endings(self) -> None:
        for ending in ENDINGS:
            for dialler in (True, False):
                for one in (True, False):
                    if one and ("sub" in "".join(ending.ends)) and "peer sub" in ending.ends:
                        continue
                    with self.subTest(ending.name, dialler=dialler, one=one):
                        self.ending(ending, *self.scene(dialler, one))
                        self.doCleanups_of_scene()

    def doCleanups_of_scene(self) -> None:
        while len(self._cleanups) > 4:  # type: ignore[attr-defined]
            function, args, kwargs = self._cleanups.pop()  # type: ignore[attr-defined]
            function(*args, **kwargs)

    def ending(self, ending: Ending, own: End, peer: End) -> None:
        operations: Dict[str, Tuple[Callable[[], Any], str, str, str]] = {
            "read": (lambda: own.read.recv(1), "read", "α:2", "β:2"),
            "write": (lambda: flood(own.write), "write", "α:3", "β:3"),
            "dial": (lambda: own.host.dial("β:1"), "dial", "α:4", "β:1"),
            "accept": (own.listener.accept, "accept", "", "α:1"),
        }
        pending = {}
        if len(ending.ends) == 1:
            pending = {name: Call(operation[0]) for name, operation in operations.items()}
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
            self.assertEqual(str(err), 'virtnet "lonett": new host "γ": network is down')
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

    def test_host_only(self) -> None:
        """Closing a host leaves the others of its sub-network as they are."""
        a, b = self.pair()
        g, d = self.host(0, "γ"), self.host(1, "δ")
        listener = d.listen(":1")
        self.connect(a, b.listen(":1"))
        c, e = self.connect(g, listener)
        accepting = Call(listener.accept)
        a.close()
        b.close()
        self.assertIsNone(self._subs[0].host("α"))
        self.ping(c, e)
        self.assertTrue(accepting.waits())
        with g.dial("δ:1") as c, accepting.wait() as e:
            self.ping(c, e)
        self.wants(GONE, lambda: g.dial("β:1"), "dial", "γ:2", "β:1")  # type: ignore[arg-type]

    def test_own_end_is_no_eof(self) -> None:
        """Both ends are on what goes down, so each end's shutdown is seen by the other: it is not what they report."""
        for what, kind in (("host", HOST), ("sub", NET)):
            sub = self.join()
            host = sub.new_host("α")
            listener = host.listen(":1")
            calls = []
            for _ in range(5):
                c, d = self.connect(host, listener)
                calls += [Call(c.recv, 1), Call(d.recv, 1)]
                c, d = self.connect(host, listener)
                calls += [Call(flood, c), Call(flood, d)]
            time.sleep(MOMENT)
            {"host": host, "sub": sub}[what].close()  # type: ignore[attr-defined]
            for call in calls:
                self.wants(kind, call.wait)
            sub.close()

    def test_selectors_see_the_end(self) -> None:
        """Whoever waits for a connection in a selector, as event loops do, sees that its host is closed."""
        for what, kind in (("host", HOST), ("sub", NET)):
            sub = self.join()
            host, peer = sub.new_host("α"), self.host(1, "β" + what)
            c, d = self.connect(host, peer.listen(":1"))
            c.setblocking(False)
            with selectors.DefaultSelector() as s:
                s.register(c, selectors.EVENT_READ)
                waiting = Call(s.select, 20)
                self.assertTrue(waiting.waits())
                writing = Call(flood, d)
                self.assertTrue(waiting.wait())
                while waiting.wait() and not writing.waits():
                    pass
                {"host": host, "sub": sub}[what].close()  # type: ignore[attr-defined]
                self.wants(ConnectionError, writing.wait)
                self.assertTrue(s.select(20))
                self.assertNotEqual(c.fileno(), -1)
                self.wants(kind, lambda: c.recv(1))
                self.wants(kind, lambda: c.send(b"x"))
                s.unregister(c)
            c.close()
            self.assertEqual(c.fileno(), -1)
            sub.close()

    def test_close_while_busy(self) -> None:
        """Whatever goes on when a sub-network is closed ends, and close returns soon."""
        for _ in range(5):
            sub, other = self.join(), self.join()
            host, peer = sub.new_host("α"), other.new_host("β")
            listener, far = host.listen(":1"), peer.listen(":1")

            def serve(listener: lonet.Listener) -> None:
                while True:
                    listener.accept().close()

            def dial(host: lonet.Host, addr: str) -> None:
                while True:
                    try:
                        host.dial(addr).close()
                    except (lonet.ErrConnRefused, lonet.ErrNoHost):
                        if host is not peer:
                            raise
                        return

            def hosts() -> None:
                while True:
                    sub.new_host("γ").close()

            calls = [Call(serve, listener), Call(serve, far), Call(dial, host, "β:1"), Call(hosts)]
            dialling = [Call(dial, peer, "α:1") for _ in range(2)]
            time.sleep(0.05)
            start = time.monotonic()
            sub.close()
            self.assertLess(time.monotonic() - start, 5)
            for call in (calls[0], calls[2], calls[3]):
                self.wants(NET, call.wait)
            for waiting in dialling:
                waiting.wait()
            other.close()
            self.wants(NET, calls[1].wait)

    def test_close_by_many(self) -> None:
        """A second close returns once the first is done."""
        sub = self.join()
        sub.new_host("α").listen(":1")
        for call in [Call(sub.close) for _ in range(4)]:
            call.wait()
        self.assertTrue(sub._closed.is_set())
        with self.join() as sub:
            sub.new_host("α")
        self.wants(NET, lambda: sub.new_host("α"))

    def test_new_host_and_close(self) -> None:
        """new_host and close at the same time both return, and no host stays."""
        for _ in range(5):
            sub = self.join()
            calls = [Call(sub.new_host, name) for name in "abcdef"]
            sub.close()
            for name, call in zip("abcdef", calls):
                try:
                    host = call.wait()
                except NET:
                    pass
                else:
                    self.wants(NET, host.listen)
                self.assertIsNone(sub.host(name))
            self.join().new_host("a").close()


def flood(conn: socket.socket) -> None:
    """Writes until that fails."""
    block = bytes(1 << 16)
    while True:
        conn.sendall(block)


_: Optional[Type[object]] = None

if __name__ == "__main__":
    unittest.main()
