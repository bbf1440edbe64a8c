"""Real processes in two languages on one network: killed, started together, with much to say to each other. The Go one
is gopeer."""

from __future__ import annotations

import os
import signal
import socket
import time
import unittest
from contextlib import contextmanager
from typing import Any, Iterator, List, Tuple

from peers import GO, PYTHON, AnyHost, Peer, PeerGone, PeerSub, recv_all, recv_sum, send_sum
from support import HAS_FORK, PATIENCE, Call, TestCase, all_of

import lonet

BOTH = (PYTHON, GO)
NAMES = "αβγabcdefg"
SOON = 8.0
"""How soon names have to be free. Were that found out by asking in vain, it would take a second for each of ten rows."""


class PeersCase(TestCase):
    def peer(self, language: str) -> Peer:
        """Starts another process, which ends with the test."""
        peer = Peer(language, self.id())
        self.addCleanup(peer.end)
        return peer

    def member(self, language: str, *names: str) -> Tuple[Peer, PeerSub, List[AnyHost]]:
        """Starts another process that is on network t and has these hosts."""
        peer = self.peer(language)
        sub = peer.join(self.temp, "t")
        return peer, sub, [sub.new_host(name, PATIENCE) for name in names]

    def echoed(self, host: AnyHost, addr: str) -> bytes:
        """Dials one who echoes, and returns what comes back."""
        with host.dial(addr, PATIENCE) as c:
            c.settimeout(PATIENCE)
            c.sendall(b"hello")
            return recv_all(c, 5)

    @contextmanager
    def soon(self, what: str) -> Iterator[None]:
        """Checks that something takes no time to speak of."""
        start = time.monotonic()
        yield
        self.assertLess(time.monotonic() - start, SOON, what)


class LivenessTest(PeersCase):
    """Names of processes that are killed are free at once, whoever of Go and Python had them, and wants them."""

    def takes_over(self, language: str, *names: str) -> None:
        """Checks that a process in that language gets names at once, three times over: it lets go of them again."""
        with self.peer(language).join(self.temp, "t") as sub:
            with self.soon(f"{names} for {language}"):
                hosts = [sub.new_host(name, PATIENCE) for name in names]
            listener = hosts[0].listen(":1")
            dial = Call(hosts[-1].dial, f"{names[0]}:1", PATIENCE)
            with listener.accept(PATIENCE) as d, dial.wait() as c:
                c.sendall(b"x")
                self.assertEqual(recv_all(d, 1), b"x")

    def test_killed(self) -> None:
        """In all four combinations of owner and successor. Before, the names are taken; a dial then says who is gone."""
        for owner in BOTH:
            for successor in BOTH:
                with self.subTest(owner=owner, successor=successor):
                    peer, _, hosts = self.member(owner, *NAMES)
                    hosts[0].listen(":1").echo()
                    other, other_sub, (δ,) = self.member(successor, "δ")
                    self.assertEqual(self.echoed(δ, "α:1"), b"hello")
                    for name in NAMES:
                        with self.assertRaises(lonet.ErrHostDup):
                            other_sub.new_host(name, PATIENCE)
                    peer.kill()
                    with self.soon("dials to a dead process"):
                        for addr in ("α:1", "γ:1"):  # the first is remembered there
                            err = self.wants(lonet.ErrConnRefused, lambda: δ.dial(addr, PATIENCE), "dial", "δ:1", addr)
                            self.assertIn("is gone", str(err))
                    self.takes_over(successor, *NAMES)
                    with self.soon("names for one who knew the owner"):
                        for name in NAMES:
                            other_sub.new_host(name, PATIENCE)
                    other.end()

    @unittest.skipUnless(HAS_FORK, "no fork")
    def test_killed_with_child(self) -> None:
        """Also when the owner has a child that lives on: forked, in Python, or one that inherits nothing, in Go."""
        for owner in BOTH:
            for successor in BOTH:
                with self.subTest(owner=owner, successor=successor):
                    peer, sub, _ = self.member(owner, *NAMES)
                    child = peer.ask("child")["obj"]
                    try:
                        sub.new_host("z", PATIENCE)  # the child's fork has not hurt it
                        with self.join() as other, self.assertRaises(lonet.ErrHostDup):
                            other.new_host("α", PATIENCE)
                        peer.kill()
                        self.takes_over(successor, *NAMES, "z")
                        os.kill(child, 0)
                    finally:
                        os.kill(child, signal.SIGKILL)

    def test_peer_is_killed(self) -> None:
        """What waits for a process that is killed ends: reads, writes, and dials that no accept has taken."""
        for killed in BOTH:
            for left in BOTH:
                with self.subTest(killed=killed, left=left):
                    peer, _, (b,) = self.member(killed, "β")
                    other, _, (a,) = self.member(left, "α")
                    listener = b.listen(":1")
                    c, d, e = (self.connected(a, listener) for _ in range(3))
                    reading, writing = Call(c.recv, 1), Call(d.flood)
                    sending = Call(send_sum, e, 64 << 20)
                    dialling = Call(a.dial, "β:1", PATIENCE)
                    for call in (reading, writing, sending, dialling):
                        self.assertTrue(call.waits(), call.error)
                    with self.soon("the end of what waits"):
                        peer.kill()
                        try:
                            self.assertEqual(reading.wait(), b"")
                        except ConnectionError:
                            pass
                        self.wants(ConnectionError, writing.wait, "write", "α:2", "β:3")
                        self.wants(ConnectionError, sending.wait, "write", "α:3", "β:4")
                        err = self.wants(lonet.ErrConnRefused, dialling.wait, "dial", "α:4", "β:1")
                        self.assertIn("is gone", str(err))
                    with self.assertRaises(PeerGone):
                        b.dial(":1")
                    other.end()

    def connected(self, a: AnyHost, listener: Any) -> Any:
        dial = Call(a.dial, str(listener.addr()), PATIENCE)
        listener.accept(PATIENCE)
        return dial.wait()


class TogetherTest(PeersCase):
    def test_join_together(self) -> None:
        """Sixteen processes, eight of each language, make a network at the same moment, and dial one another."""
        n = 16
        peers = all_of([Call(self.peer, BOTH[i % 2]) for i in range(n)])
        for network in ("t", "u"):
            subs = all_of([Call(peer.join, self.temp, network) for peer in peers])
            self.assertEqual({sub.network() for sub in subs}, {"lonet" + network})
            hosts = all_of([Call(sub.new_host, f"h{i}", PATIENCE) for i, sub in enumerate(subs)])
            for i, host in enumerate(hosts):
                listener = host.listen(":1")
                self.assertEqual(str(listener.addr()), f"h{i}:1")
                listener.echo()

            def dial_all(host: AnyHost) -> None:
                for i in range(n):
                    self.assertEqual(self.echoed(host, f"h{i}:1"), b"hello")

            all_of([Call(dial_all, host) for host in hosts])
            with self.join(network) as sub:
                for i in range(n):
                    with self.assertRaises(lonet.ErrHostDup):
                        sub.new_host(f"h{i}", PATIENCE)
            all_of([Call(sub.close) for sub in subs])
            with self.join(network) as sub:
                for i in range(n):
                    sub.new_host(f"h{i}", PATIENCE)


class BulkTest(PeersCase):
    SIZE = 64 << 20

    def test_both_ways(self) -> None:
        """64 MiB in both directions at once arrive as they were sent, and then the end, in each combination of who dials."""
        sub = self.join()
        a = sub.new_host("α")
        for language in BOTH:
            _, far, (b,) = self.member(language, "β" + language)
            for dialler, acceptor in ((a, b), (b, a)):
                with self.subTest(language=language, dialler=dialler.name()):
                    with acceptor.listen("") as listener:
                        dial = Call(dialler.dial, str(listener.addr()), PATIENCE)
                        with listener.accept(PATIENCE) as d, dial.wait() as c:
                            start = time.monotonic()
                            sent = [Call(send_sum, end, self.SIZE) for end in (c, d)]
                            got = [Call(recv_sum, end, self.SIZE) for end in (d, c)]
                            for send, receive in zip(sent, got):
                                self.assertEqual(receive.wait(60), (self.SIZE, send.wait(60)))
                            self.assertLess(time.monotonic() - start, 60)
                            c.shutdown(socket.SHUT_WR)
                            self.assertEqual(recv_sum(d)[0], 0)
                            d.sendall(b"and back")
                            self.assertEqual(recv_all(c, 8), b"and back")
            far.close()


if __name__ == "__main__":
    unittest.main()
