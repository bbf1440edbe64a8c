"""Clauses of the conformance suite: connections, what they carry, and closing one thing but not another."""

from __future__ import annotations

import io
import shutil
import socket
from typing import Any

from peers import flood, recv_all, recv_sum, send_sum
from support import PATIENCE, Call, payload, read_all
from world import MOMENT, UNREACHABLE, World, accepting, dialling

import lonet


class ConnClauses(World):
    def test_addrs(self) -> None:
        """ConnAddrs: the addresses stay as long as a connection exists, and those of the two ends mirror each other."""
        a, b = self.pair()
        c, d = self.connect(a, b.listen(":1"))
        for _ in range(2):
            self.wants_addrs(c, "α:1", "β:2")
            self.wants_addrs(d, "β:2", "α:1")
            c.close()
            d.close()

    def test_half_close(self) -> None:
        """ConnHalfClose: after SHUT_WR the other end reads the end, and can still write back."""
        a, b = self.pair()
        l = b.listen(":1")
        for dialler in (True, False):
            own, peer = self.connect(a, l)
            if not dialler:
                own, peer = peer, own
            read = Call(peer.recv, 1)
            self.waits(read)
            own.shutdown(socket.SHUT_WR)
            self.assertEqual(read.wait(), b"")
            local, remote = str(own.local_addr()), str(own.remote_addr())
            self.fails(lambda: own.sendall(b"x"), OSError, "write", local, remote)
            answer = payload(100 << 10)
            sent = Call(peer.sendall, answer)
            self.assertEqual(Call(recv_all, own, len(answer)).wait(), answer)
            sent.wait()
            peer.close()
            self.ended(own)
            own.close()
            self.fails(lambda: own.shutdown(socket.SHUT_WR), lonet.ErrSockDown, "close", local, remote)

    def test_zero_bytes(self) -> None:
        """ConnZeroBytes: a write of no bytes returns at once, whoever reads or not, and the other end sees nothing."""
        a, b = self.pair()
        c, d = self.connect(a, b.listen(":1"))
        for own, peer in ((c, d), (d, c)):
            peer.settimeout(3 * MOMENT)
            read = Call(peer.recv, 1)
            for _ in range(2):
                Call(own.sendall, b"").wait()
            self.fails(read, lonet.ErrTimeout, "read", str(peer.local_addr()), str(peer.remote_addr()))
            peer.settimeout(None)
            Call(own.sendall, b"").wait()
        self.ping(c, d)

    def test_deadlines(self) -> None:
        """Deadlines: a time-out ends a read or write, and without it the connection is usable again."""
        a, b = self.pair()
        l = b.listen(":1")
        c, d = self.connect(a, l)
        for own, peer in ((c, d), (d, c)):
            ends = str(own.local_addr()), str(own.remote_addr())
            own.settimeout(MOMENT)
            self.fails(Call(own.recv, 1), lonet.ErrTimeout, "read", *ends)
            own.settimeout(None)
            self.ping(own, peer)
        for number in (0, 1):
            own = self.connect(a, l)[number]
            ends = str(own.local_addr()), str(own.remote_addr())
            own.settimeout(2 * MOMENT)
            self.fails(Call(flood, own), lonet.ErrTimeout, "write", *ends)
            own.close()
            self.fails(Call(own.recv, 1), lonet.ErrSockDown, "read", *ends)


class CopyClauses(World):
    def test_both_ways(self) -> None:
        """TransferBothWays: much data in both directions at once arrives as it was sent."""
        a, b = self.pair()
        ends = self.connect(a, b.listen(":1"))
        size = 4 << 20
        sent = [Call(send_sum, end, size) for end in ends]
        got = [Call(recv_sum, end, size) for end in reversed(ends)]
        for send, receive in zip(sent, got):
            self.assertEqual(receive.wait(), (size, send.wait()))

    def test_copy(self) -> None:
        """TransferCopy: what copies from a file to a file copies from and to connections, and between two."""
        if self.is_far(self.sub(1)):
            self.skipTest("the one in the middle is another process")
        a, b = self.pair()
        g = self.host(0, "γ")
        data = payload(1 << 20)
        c1, d1 = self.connect(a, b.listen(":1"))
        c2, d2 = self.connect(b, g.listen(":1"))
        for into, source, target, out in ((c1, d1, c2, d2), (d2, c2, d1, c1)):

            def relay() -> None:
                with source.makefile("rb") as r, target.makefile("wb") as w:
                    shutil.copyfileobj(r, w)
                target.shutdown(socket.SHUT_WR)

            def feed() -> None:
                if self.is_far(into):
                    into.sendall(data)
                else:
                    into.sendfile(io.BytesIO(data))
                into.shutdown(socket.SHUT_WR)

            calls = [Call(feed), Call(relay)]
            got = Call(read_all, out)
            self.assertEqual(got.wait(), data)
            for call in calls:
                call.wait()

    def test_copy_ends(self) -> None:
        """TransferCopyEnds: such a copy ends as a read and a write would: at the source's end, and when one goes down."""
        if self.is_far(self.sub(1)):
            self.skipTest("the one in the middle is another process")
        a, b = self.pair()
        g = self.host(0, "γ")
        lb, lg = b.listen(":1"), g.listen(":1")

        def relay() -> Any:
            c, source = self.connect(a, lb)
            target, d = self.connect(b, lg)

            def copy() -> None:
                with source.makefile("rb") as r, target.makefile("wb", 0) as w:
                    shutil.copyfileobj(r, w)

            return c, d, Call(copy)

        c, d, copied = relay()
        c.sendall(b"last words")
        c.close()
        copied.wait()
        self.assertEqual(recv_all(d, 10), b"last words")
        _, _, copied = relay()
        self.waits(copied)
        b.close()
        self.fails(copied, lonet.ErrHostDown, "read", "β:*", "α:*")


class CloseClauses(World):
    def test_listener_only(self) -> None:
        """CloseListenerOnly: connections outlive the listener that accepted them."""
        a, b = self.pair()
        l = b.listen(":1")
        c, d = self.connect(a, l)
        l.close()
        self.ping(c, d)
        self.fails(lambda: a.dial("β:1", PATIENCE), lonet.ErrConnRefused, "dial", "α:2", "β:1")
        self.ping(*self.connect(a, b.listen(":1")))

    def test_conn_only(self) -> None:
        """CloseConnOnly: closing a connection leaves the others, and the listener, as they are."""
        a, b = self.pair()
        l = b.listen(":1")
        c1, d1 = self.connect(a, l)
        c2, d2 = self.connect(a, l)
        c1.close()
        d1.close()
        self.ping(c2, d2)
        c3, d3 = self.connect(a, l)
        self.wants_addrs(c3, "α:1", "β:2")
        self.ping(c3, d3)

    def test_host_only(self) -> None:
        """CloseHostOnly: closing a host leaves the other hosts of its sub-network as they are."""
        a, b = self.pair()
        g, d = self.host(0, "γ"), self.host(1, "δ")
        l = d.listen(":1")
        self.connect(a, b.listen(":1"))
        c1, d1 = self.connect(g, l)
        accept = accepting(l)
        a.close()
        b.close()
        self.ping(c1, d1)
        self.waits(accept)
        c = dialling(g, "δ:1").wait()
        self.ping(c, accept.wait())
        self.fails(lambda: g.dial("β:1", PATIENCE), UNREACHABLE, "dial", "γ:3", "β:1")

    def test_with_data_underway(self) -> None:
        """CloseWithDataUnderway: what was written before close is read before the end."""
        a, b = self.pair()
        for size in (10, 1 << 20):
            ends = self.connect(a, b.listen(""))
            for own, peer in (ends, reversed(self.connect(a, b.listen("")))):

                def send_and_close() -> str:
                    sent = send_sum(own, size)
                    own.close()
                    return sent

                sent = Call(send_and_close)
                self.assertEqual(Call(recv_sum, peer).wait(), (size, sent.wait()))

    def test_interrupts_new_host(self) -> None:
        """CloseInterruptsNewHost: new_host and a sub-network's close at the same time both return, and no host stays."""
        sub = self.sub(-1)
        calls = [Call(sub.new_host, name, PATIENCE) for name in "abcdefgh"]
        Call(sub.close).wait()
        for name, call in zip("abcdefgh", calls):
            try:
                host = call.wait()
            except lonet.ErrNetDown:
                pass
            else:
                self.fails(lambda: host.listen(":1"), lonet.ErrNetDown, "listen", "", f"{name}:1")
            self.assertIsNone(sub.host(name))
