"""Clauses of the conformance suite: names of hosts, and their ports."""

from __future__ import annotations

import sys
import tracemalloc

from support import PATIENCE, Call
from world import MOMENT, World, accepting, dialling

import lonet

MOST = (1 << 31) - 1


class NameClauses(World):
    def test_valid(self) -> None:
        """NameValid: every valid name can be used; it is dialled, and both ends show it as it was given."""
        a = self.host(0, "α")
        for name in (
            "β", "b", "B", "a.b", "xn--nxa", "under_score", "ho st", "日本", 'qu"ote', "127.0.0.1", "...", "~", "-",
            "localhost", "n" * 253, "ν" * 126,
        ):  # fmt: skip
            h = self.host(1, name)
            l = h.listen(":1")
            self.assertEqual(str(l.addr()), name + ":1")
            c, d = self.connect(a, l)
            self.wants_addrs(c, "α:1", name + ":2")
            self.wants_addrs(d, name + ":2", "α:1")
            for thing in (c, d, h):
                thing.close()

    def test_invalid(self) -> None:
        """NameInvalid: an invalid name is refused, and the error says which rule it breaks; nothing is announced."""
        for name, says in (
            ("", "empty"),
            (".", "directory"),
            ("..", "directory"),
            ("a\udcff", "UTF-8"),
            ("a/b", "'/'"),
            ("a\\b", "'\\\\'"),
            ("a:b", "':'"),
            ("a[b", "'['"),
            ("a]b", "']'"),
            ("a%b", "'%'"),
            ("a\nb", "control"),
            ("a\0b", "control"),
            ("a\u0085b", "control"),
            ("n" * 254, "255"),
            ("\u200b" * 43, "260"),
        ):
            for sub in self.subs:
                if "\udcff" in name and self.is_far(sub):
                    continue  # there is no way to tell it that
                with self.assertRaises(OSError) as caught:
                    sub.new_host(name, PATIENCE)
                self.assertIsInstance(caught.exception, lonet.ErrInvalid)
                self.assertIn(says, str(caught.exception))
                self.assertIsNone(sub.host(name))

    def test_dup(self) -> None:
        """NameDup: a name is unique in the network while its host is up, and the host that has it goes on."""
        a, b = self.pair()
        l = b.listen(":1")
        for sub in self.subs:
            for name in "αβ":
                with self.assertRaises(lonet.ErrHostDup) as caught:
                    sub.new_host(name, PATIENCE)
                self.assertIn(name, str(caught.exception))
                self.assertTrue(str(caught.exception).endswith("host already registered"), caught.exception)
        self.connect(a, l)

    def test_reuse(self) -> None:
        """NameFreeAfterHostClose: a closed host's name is free: on its sub-network at once, elsewhere once withdrawn."""
        b = self.host(1, "β")
        for i in range(10):
            a = self.host_again(i, "α")
            if i % 3 == 0:
                a.close()
                a = self.host(i, "α")  # the same sub-network: no waiting
            c, d = self.connect(b, a.listen(":1"))
            a.close()
            self.assertIsNone(self.sub(i).host("α"))
            c.close()
            d.close()

    def test_after_net_close(self) -> None:
        """NameFreeAfterNetClose: once a sub-network is closed, another can have the names of its hosts."""
        if len(self.subs) < 2:
            self.skipTest("one sub-network only")
        a, _ = self.pair()
        self.subs[1].close()
        self.connect(a, self.host(0, "β").listen(":1"))

    def test_lookup(self) -> None:
        """HostLookup: host is what new_host made on this sub-network, and None for those of others and unknown ones."""
        a, b = self.pair()
        for i, sub in enumerate(self.subs):
            for j, h in enumerate((a, b)):
                got = sub.host(h.name())
                if j % len(self.subs) != i:
                    self.assertIsNone(got)
                elif self.is_far(sub):
                    self.assertTrue(got)
                else:
                    self.assertIs(got, h)
            self.assertIsNone(sub.host("nohost"))
        self.assertEqual((a.name(), a.network(), b.network()), ("α", self.full, self.full))


class PortClauses(World):
    def test_lowest_free(self) -> None:
        """PortLowestFree: autobind takes the lowest free port: every listen(""), ":0", dial, and accept."""
        a, b = self.pair()
        self.wants_free(a, 1)
        first, second, third = a.listen(""), a.listen(":0"), a.listen("α:0")
        a.listen(":5")
        self.assertEqual([str(l.addr()) for l in (first, second, third)], ["α:1", "α:2", "α:3"])
        l = b.listen(":2")
        for own, peer in (("α:4", "β:1"), ("α:6", "β:3")):
            c, d = self.connect(a, l)
            self.wants_addrs(c, own, peer)
            self.wants_addrs(d, peer, own)
        second.close()
        c, _ = self.connect(a, l)
        self.wants_addrs(c, "α:2", "β:4")

    def test_accepted(self) -> None:
        """PortAccepted: an accepted connection gets a port of its own, which the dialler sees as its remote address."""
        a, b = self.pair()
        g = self.host(0, "γ")
        for source, target, laddr, own, peer in (
            (b, a, ":1", "β:1", "α:2"),
            (b, g, ":10", "β:2", "γ:1"),
            (g, b, ":0", "γ:2", "β:4"),
        ):
            c, d = self.connect(source, target.listen(laddr))
            self.wants_addrs(c, own, peer)
            self.wants_addrs(d, peer, own)

    def test_back(self) -> None:
        """PortBack: a port is free again once the listener or connection at it is closed."""
        a, b = self.pair()
        for _ in range(3):
            l = b.listen(":1")
            c, d = self.connect(a, l)
            self.wants_addrs(c, "α:1", "β:2")
            c.close()
            self.wants_free(a, 1)
            d.close()
            self.wants_free(b, 2)
            l.close()
            self.wants_free(b, 1)
        # A port belongs to who has it now: closing the former one again must not free it.
        l = b.listen(":1")
        l.close()
        b.listen(":1")
        l.close()
        self.wants_free(b, 2)

    def test_back_after_dial(self) -> None:
        """PortBackAfterFailedDial: a failed dial gives its port back, whatever it failed for."""
        a, b = self.pair()
        l = b.listen(":1")
        for addr, timeout in (("β:7", PATIENCE), ("β:0", PATIENCE), ("nohost:1", PATIENCE), ("junk", PATIENCE), ("β:1", 0)):
            with self.assertRaises(OSError):
                a.dial(addr, timeout)
            self.wants_free(a, 1)
        self.fails(dialling(a, "β:1", MOMENT), lonet.ErrTimeout, "dial", "α:1", "β:1")
        self.wants_free(a, 1)
        dial = dialling(a, "β:1")
        self.started(a, 1)
        self.wants_free(a, 2)
        l.close()
        self.fails(dial, lonet.ErrConnRefused, "dial", "α:1", "β:1")
        self.wants_free(a, 1)
        self.wants_free(b, 1)

    def test_high(self) -> None:
        """PortHigh: ports go up to 1<<31-1, and cost the same however high they are."""
        a, b = self.pair()
        tracemalloc.start()
        try:
            high, top = b.listen(":50000000"), b.listen(f":{MOST}")
            self.assertLess(tracemalloc.get_traced_memory()[1], 8 << 20)
        finally:
            tracemalloc.stop()
        self.wants_free(b, 1)
        c, d = self.connect(a, high)
        self.wants_addrs(c, "α:1", "β:1")
        self.wants_addrs(d, "β:1", "α:1")
        self.connect(a, top)
        self.fails(lambda: b.listen(f":{MOST}"), lonet.ErrAddrAlreadyUsed, "listen", "", f"β:{MOST}")
        self.assertLess(MOST, sys.maxsize)

    def test_self(self) -> None:
        """PortToSelf: a host can dial itself; an empty host in an address means itself, on dial and on listen."""
        a, b = self.pair()
        b.listen(":3")  # the other's: nobody who means α gets there
        l = a.listen(":3")
        self.assertEqual(str(l.addr()), "α:3")
        for addr in (":3", "α:3"):
            dial = dialling(a, addr)
            d = accepting(l).wait()
            c = dial.wait()
            self.wants_addrs(c, "α:1", "α:2")
            self.wants_addrs(d, "α:2", "α:1")
            self.ping(c, d)
            Call(c.close).wait()
            d.close()
