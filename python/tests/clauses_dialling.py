"""Clauses of the conformance suite: listen, dial, accept, and the queue between the two."""

from __future__ import annotations

from typing import Any, List

from support import PATIENCE, Call, all_of
from world import BACKLOG, MOMENT, UNREACHABLE, World, accepting, dialling

import lonet

REFUSED = lonet.ErrConnRefused

BAD_ADDRS = (
    ("junk", "missing port in address"),
    ("α", "missing port in address"),
    ("α:1:2", "too many colons in address"),
    ("α:", "invalid port"),
    ("α:http", "invalid port"),
    ("α:-1", "invalid port"),
    ("α:+1", "invalid port"),
    ("α:1.5", "invalid port"),
    ("α:2147483648", "invalid port"),
    ("α:99999999999999999999", "invalid port"),
)


class DialClauses(World):
    def test_errors(self) -> None:
        """DialErrors: a dial that nobody can answer fails as refused or for want of the host, and shows who dialled whom."""
        a, b = self.pair()
        a.listen(":10")
        b.listen(":4").close()
        b.listen(":5")
        for addr, shown, kind in (
            ("α:0", "α:0", REFUSED),
            (":0", "α:0", REFUSED),
            ("β:0", "β:0", REFUSED),
            ("β:3", "β:3", REFUSED),
            ("β:4", "β:4", REFUSED),
            ("β:2147483647", "β:2147483647", REFUSED),
            ("α:1", "α:1", REFUSED),  # the port that this dial itself has taken
            ("nohost:1", "nohost:1", lonet.ErrNoHost),
            ("nohost:0", "nohost:0", lonet.ErrNoHost),
            ("a/b:1", "a/b:1", lonet.ErrNoHost),
        ):
            err = self.fails(lambda: a.dial(addr, PATIENCE), kind, "dial", "α:1", shown)
            if kind is REFUSED:
                self.assertEqual(str(err), f"dial {self.full} α:1->{shown}: connection refused")
        c, d = self.connect(a, b.listen(":6"))
        for addr in (str(d.local_addr()), str(c.local_addr())):  # a connection's port is nobody's to dial
            self.fails(lambda: a.dial(addr, PATIENCE), REFUSED, "dial", "α:2", addr)

    def test_bad_addr(self) -> None:
        """DialBadAddr: dial takes its port before it parses the address, so that the error shows who dialled."""
        a = self.host(0, "α")
        a.listen(":1")
        for addr, says in (*BAD_ADDRS, ("", "missing port in address")):
            err = self.fails(lambda: a.dial(addr, PATIENCE), lonet.ErrInvalid, "dial", "α:2")
            self.assertEqual(str(err), f"dial {self.full} α:2: " + (f"address {addr}: {says}" if addr else says))

    def test_waits(self) -> None:
        """DialReturnsOnceAccepted: dial returns once an accept has taken the connection, and not before."""
        a, b = self.pair()
        l = b.listen(":1")
        dial = dialling(a, "β:1")
        self.waits(dial)
        d = accepting(l).wait()
        self.ping(dial.wait(), d)
        accept = accepting(l)
        self.waits(accept)
        c = dialling(a, "β:1").wait()
        self.ping(c, accept.wait())

    def test_many(self) -> None:
        """DialManyWays: accept may come first or dial may, and many at once: the two ends of each belong together."""
        a, b = self.pair()
        l = b.listen(":1")
        dials: List[Call[Any]] = []
        accepts: List[Call[Any]] = []
        for i in range(BACKLOG):
            if i % 3:
                accepts.append(accepting(l))
            dials.append(dialling(a, "β:1"))
        while len(accepts) < len(dials):
            accepts.append(accepting(l))
        by_addr = {d.local_addr(): d for d in all_of(accepts)}
        for c in all_of(dials):
            d = by_addr.pop(c.remote_addr())
            self.assertEqual(d.remote_addr(), c.local_addr())
            self.ping(c, d)
            c.close()
            d.close()

    def test_expired(self) -> None:
        """DialCancelled: a dial whose time is already over never succeeds, however ready the other side is."""
        a, b = self.pair()
        accept = accepting(b.listen(":1"))
        for _ in range(100):
            self.fails(lambda: a.dial("β:1", 0), lonet.ErrTimeout, "dial", "α:1", "β:1")
        self.waits(accept)
        b.close()
        self.fails(accept, lonet.ErrHostDown, "accept", "", "β:1")

    def test_closed_host(self) -> None:
        """DialOnClosedHost: a dial on a closed host never succeeds, however ready the other side is."""
        b = self.host(1, "β")
        accept = accepting(b.listen(":1"))
        for _ in range(40):
            h = self.host(0, "α")
            h.close()
            self.fails(lambda: h.dial("β:1", PATIENCE), lonet.ErrHostDown, "dial", "α:*", "β:1")
        self.waits(accept)
        b.close()
        self.fails(accept, lonet.ErrHostDown, "accept", "", "β:1")

    def test_registry_error(self) -> None:
        """DialRegistryError: the error for an unknown host tells which registry was asked."""
        a = self.host(0, "α")
        err = self.fails(lambda: a.dial("nohost:1", PATIENCE), lonet.ErrNoHost, "dial", "α:1", "nohost:1")
        self.assertRegex(str(err), r'registry\.db: query \["?nohost"?\]: no such host$')


class ListenClauses(World):
    def test_errors_of_listen(self) -> None:
        """ListenErrors: listen fails at a port taken, at another host's name, and at an address that it cannot read."""
        a, b = self.pair()
        self.connect(a, b.listen(":1"))  # α:1, β:2
        for host, laddr, addr, kind in (
            (b, ":1", "β:1", lonet.ErrAddrAlreadyUsed),
            (b, "β:1", "β:1", lonet.ErrAddrAlreadyUsed),
            (b, "0.0.0.0:1", "β:1", lonet.ErrAddrAlreadyUsed),
            (b, "[::]:1", "β:1", lonet.ErrAddrAlreadyUsed),
            (b, ":2", "β:2", lonet.ErrAddrAlreadyUsed),  # an accepted connection's
            (a, ":1", "α:1", lonet.ErrAddrAlreadyUsed),  # a dialled connection's
            (a, "β:5", "β:5", lonet.ErrAddrNoListen),
            (a, "nohost:5", "nohost:5", lonet.ErrAddrNoListen),
            (a, "β:0", "β:0", lonet.ErrAddrNoListen),
        ):
            self.fails(lambda: host.listen(laddr), kind, "listen", "", addr)
        for addr, says in BAD_ADDRS:
            err = self.fails(lambda: a.listen(addr), lonet.ErrInvalid, "listen")
            self.assertEqual(str(err), f"listen {self.full}: address {addr}: {says}")
            with self.assertRaises(lonet.ErrInvalid) as caught:
                lonet.Addr.parse(self.full, addr)
            self.assertEqual(str(caught.exception), f"address {addr}: {says}")
        self.wants_free(a, 2)
        self.wants_free(b, 3)

    def test_addr(self) -> None:
        """ListenerAddr: a listener knows its address, also once it is closed."""
        for l in (self.host(0, "α").listen(":4"), self.host(1, "β").listen(":4")):
            for _ in range(2):
                self.assertEqual(l.addr(), lonet.Addr(self.full, l.addr().host, 4))
                l.close()


class QueueClauses(World):
    def test_full(self) -> None:
        """QueueFull: as many dials as the backlog has room for wait at a listener, and the next is refused."""
        a, b = self.pair()
        l = b.listen(":1")
        # One more than there is room for: one of them, whichever comes last, is refused.
        dials = [dialling(a, "β:1") for _ in range(BACKLOG + 1)]
        over: List[Call[Any]] = []

        def one_over() -> bool:
            over[:] = [dial for dial in dials if not dial.waits(0.001)]
            return bool(over)

        self.eventually("one is refused", one_over)
        self.settle()
        self.assertTrue(one_over())
        self.assertEqual(len(over), 1)
        self.fails(over[0], REFUSED, "dial", "α:*", "β:1")
        dials.remove(over[0])
        # Who is taken out makes room.
        d = accepting(l).wait()
        self.eventually("it is connected", one_over)
        self.assertEqual(len(over), 1)
        self.ping(d, over[0].wait())
        dials.remove(over[0])
        port = self.free_port(a)
        dials.append(dialling(a, "β:1"))
        self.started(a, port)
        self.fails(lambda: a.dial("β:1", PATIENCE), REFUSED, "dial", "α:*", "β:1")
        l.close()
        for dial in dials:
            self.fails(dial, REFUSED, "dial", "α:*", "β:1")

    def test_served(self) -> None:
        """QueueServed: every dial that waits is served, each by one accept."""
        a, b = self.pair()
        l = b.listen(":1")
        dials = [dialling(a, "β:1") for _ in range(BACKLOG)]
        self.settle()
        accepted = {}
        for i in range(BACKLOG):
            d = accepting(l).wait()
            self.assertEqual(str(d.local_addr()), f"β:{i + 2}")
            accepted[d.remote_addr()] = d
        for c in all_of(dials):
            self.assertEqual(accepted.pop(c.local_addr()).local_addr(), c.remote_addr())

    def test_no_ghosts(self) -> None:
        """QueueNoGhosts: a dial given up while it waited never comes out of accept, and its place is free for another."""
        a, b = self.pair()
        g = self.host(0, "γ")
        l = b.listen(":1")
        dials = [dialling(g, "β:1") for _ in range(BACKLOG)]
        self.settle()
        g.close()
        for dial in dials:
            self.fails(dial, lonet.ErrHostDown, "dial", "γ:*", "β:1")
        self.wants_no_ghosts(a, b, l)

    def test_timed_out(self) -> None:
        """QueueTimedOut: as QueueNoGhosts, for dials whose time was over."""
        a, b = self.pair()
        l = b.listen(":1")
        for dial in [dialling(a, "β:1", MOMENT) for _ in range(BACKLOG)]:
            self.fails(dial, lonet.ErrTimeout, "dial", "α:*", "β:1")
        self.wants_no_ghosts(a, b, l)

    def wants_no_ghosts(self, a: Any, b: Any, l: Any) -> None:
        """Checks that accept does not return before a further dial, and then for that."""
        self.settle()
        accept = accepting(l)
        self.waits(accept)
        # Something at α:1, so that the dial that counts comes from another port than the former ones did.
        a.listen(":1")
        c = dialling(a, "β:1").wait()
        d = accept.wait()
        self.wants_addrs(d, "β:2", "α:2")
        self.wants_addrs(c, "α:2", "β:2")
        self.ping(c, d)
        self.wants_free(b, 3)

    def test_no_accept_lost(self) -> None:
        """QueueNoAcceptLost: an accept given up while it waited takes no dial with it: the next gets the dial."""
        a, b = self.pair()
        l = b.listen(":1")
        for _ in range(10):
            self.fails(accepting(l, MOMENT / 3), lonet.ErrTimeout, "accept", "", "β:1")
            c, d = self.connect(a, l)
            self.wants_addrs(c, "α:1", "β:2")
            self.ping(c, d)
            c.close()
            d.close()


class TimeoutClauses(World):
    def test_of_dial(self) -> None:
        """ContextEndsDial: a dial that waits ends when its time is over, and says so."""
        a, b = self.pair()
        b.listen(":1")
        for timeout in (2 * MOMENT, 0):
            dial = dialling(a, "β:1", timeout)
            self.fails(dial, lonet.ErrTimeout, "dial", "α:1", "β:1")
            self.assertTrue(timeout <= dial.took < timeout + 5, dial.took)

    def test_of_accept(self) -> None:
        """ContextEndsAccept: an accept that waits ends when its time is over, and says so; the listener goes on."""
        a, b = self.pair()
        l = b.listen(":1")
        for timeout in (2 * MOMENT, 0):
            accept = accepting(l, timeout)
            self.fails(accept, lonet.ErrTimeout, "accept", "", "β:1")
            self.assertTrue(timeout <= accept.took < timeout + 5, accept.took)
        self.ping(*self.connect(a, l))

    def test_not_of_conn(self) -> None:
        """ContextNotOfConn: the time-outs of dial, accept and new_host bound those calls, not what they return."""
        a, b = self.pair()
        for conn in self.connect(a, b.listen(":1")):
            if not self.is_far(conn):
                self.assertIsNone(conn.gettimeout())
                conn.settimeout(MOMENT)
                self.fails(lambda: conn.recv(1), lonet.ErrTimeout, "read", str(conn.local_addr()), str(conn.remote_addr()))

    def test_gone(self) -> None:
        """What a dial to a host says whose sub-network is closed, or that is: it was never there, or is refused."""
        a, b = self.pair()
        b.listen(":1")
        b.close()
        self.fails(lambda: a.dial("β:1", PATIENCE), UNREACHABLE, "dial", "α:1", "β:1")
