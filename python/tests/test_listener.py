from __future__ import annotations

import random
import select
import selectors
import signal
import socket
import threading
import time
import unittest

from support import ON_LINUX, PATIENCE, Call, TestCase, all_of, descriptors, eventually

import lonet


class ListenTest(TestCase):
    def test_address(self) -> None:
        a = self.host(0, "α")
        for laddr, port in (("", 1), (":0", 2), ("α:0", 3), (":10", 10), ("α:12", 12), (":2147483647", 2147483647)):
            listener = a.listen(laddr)
            self.assertEqual(listener.addr(), lonet.Addr("lonett", "α", port))
            self.addCleanup(listener.close)
        self.assertEqual(a.listen().addr().port, 4)
        self.assertEqual(repr(listener), "<lonet.Listener lonett α:2147483647>")

    def test_errors(self) -> None:
        a, b = self.pair()
        listener = b.listen(":1")
        self.connect(a, listener)  # α:1, β:2
        for host, laddr, addr, kind in (
            (b, ":1", "β:1", lonet.ErrAddrAlreadyUsed),
            (b, "β:1", "β:1", lonet.ErrAddrAlreadyUsed),
            (b, ":2", "β:2", lonet.ErrAddrAlreadyUsed),
            (a, ":1", "α:1", lonet.ErrAddrAlreadyUsed),
            (a, "β:5", "β:5", lonet.ErrAddrNoListen),
            (a, "γ:5", "γ:5", lonet.ErrAddrNoListen),
            (a, "β:0", "β:0", lonet.ErrAddrNoListen),
            (a, "junk", "", lonet.ErrInvalid),
            (a, "α:x", "", lonet.ErrInvalid),
            (a, "α:2147483648", "", lonet.ErrInvalid),
        ):
            with self.subTest(laddr):
                self.wants(kind, lambda: host.listen(laddr), "listen", "", addr)
        self.wants_free(a, 2)
        self.wants_free(b, 3)

    def test_port_back(self) -> None:
        a, b = self.pair()
        for _ in range(3):
            listener = b.listen(":1")
            c, d = self.connect(a, listener)
            self.assertEqual((c.local_addr().port, d.local_addr().port), (1, 2))
            c.close()
            self.wants_free(a, 1)
            d.close()
            self.wants_free(b, 2)
            listener.close()
            self.wants_free(b, 1)
        other = b.listen(":1")
        listener.close()  # it is another's port now
        self.assertEqual(b.listen().addr().port, 2)
        other.close()

    def test_accepted_port(self) -> None:
        a, b = self.pair()
        c, d = self.connect(a, b.listen(":10"))
        self.assertEqual((str(c.remote_addr()), str(d.local_addr())), ("β:1", "β:1"))
        c, d = self.connect(a, b.listen(""))
        self.assertEqual((str(c.local_addr()), str(c.remote_addr())), ("α:2", "β:3"))


class AcceptTest(TestCase):
    def test_time_out(self) -> None:
        listener = self.host(0, "α").listen(":1")
        for timeout in (0.0, 0.02, 0.1):
            start = time.monotonic()
            err = self.wants(lonet.ErrTimeout, lambda: listener.accept(timeout), "accept", "", "α:1")
            self.assertTrue(timeout - 0.001 <= time.monotonic() - start < timeout + 10)
            self.assertEqual(str(err), "accept lonett α:1: i/o timeout")
        listener.settimeout(0.02)
        self.assertEqual(listener.gettimeout(), 0.02)
        self.wants(lonet.ErrTimeout, listener.accept)
        for bad in (lambda: listener.settimeout(-1), lambda: listener.accept(-1)):
            with self.assertRaises(ValueError):
                bad()

    def test_time_out_of_follower(self) -> None:
        """The same for accepts whose threads wait for another to drive."""
        a, b = self.pair()
        listener = b.listen(":1")
        other = b.listen(":2")
        driving = Call(other.accept)
        self.assertTrue(driving.waits())
        for _ in range(5):
            start = time.monotonic()
            self.wants(lonet.ErrTimeout, lambda: listener.accept(0.05))
            self.assertTrue(0.049 <= time.monotonic() - start < 10)
        c, d = self.connect(a, listener)
        self.ping(c, d)
        with a.dial("β:2", 5) as c, driving.wait() as d:
            self.ping(c, d)

    def test_driver_goes(self) -> None:
        """When the accept that drives has its connection, another that waits drives."""
        a, b = self.pair()
        listeners = [b.listen(f":{i + 1}") for i in range(4)]
        for order in ((0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)):
            accepts = []
            for listener in listeners:
                accepts.append(Call(listener.accept, 10))
                self.assertTrue(accepts[-1].waits(0.01))
            for i in order:
                with a.dial(f"β:{i + 1}", 5) as c, accepts[i].wait() as d:
                    self.ping(c, d)

    def test_driver_times_out(self) -> None:
        a, b = self.pair()
        first, second = b.listen(":1"), b.listen(":2")
        driving = Call(first.accept, 0.1)
        self.assertTrue(driving.waits(0.01))
        following = Call(second.accept, 10)
        self.wants(lonet.ErrTimeout, driving.wait)
        with a.dial("β:2", 5) as c, following.wait() as d:
            self.ping(c, d)

    def test_busy_one_drives(self) -> None:
        """A driver that waits in vain itself leaves to the accepts of a listener that is busy; nobody is lost by that."""
        a, b = self.pair()
        quiet, busy = b.listen(":1"), b.listen(":2")
        engine = b._net._engine
        waiting = self.driving(a, quiet)

        def serve() -> None:
            while True:
                busy.accept().close()

        serving = Call(serve)

        def busy_drives() -> bool:
            a.dial("β:2", 10).close()
            return engine._driving is not None and engine._driving.listener is busy

        eventually("the busy one drives", busy_drives)
        with a.dial("β:1", 10) as c, waiting.wait() as d:
            self.ping(c, d)
        waiting = Call(quiet.accept, 10)
        for i in range(20):
            a.dial("β:2", 10).close()
            if i % 5 == 0:
                with a.dial("β:1", 10) as c, waiting.wait() as d:
                    self.ping(c, d)
                waiting = Call(quiet.accept, 10)
        busy.close()
        self.wants(lonet.ErrSockDown, serving.wait)
        with a.dial("β:1", 10) as c, waiting.wait() as d:
            self.ping(c, d)

    def test_random_walk(self) -> None:
        """Threads that accept at several listeners, with time-outs or none, get every dial, whoever drives."""
        a, b = self.pair()
        listeners = [b.listen(f":{i + 1}") for i in range(3)]
        stop = threading.Event()

        def serve(seed: int) -> int:
            rng = random.Random(seed)
            served = 0
            while not stop.is_set():
                try:
                    with rng.choice(listeners).accept(rng.choice((0, 0.0005, 0.003, 0.05))) as d:
                        served += 1
                        if rng.random() < 0.2:
                            time.sleep(rng.random() * 0.003)
                        d.sendall(b"x")
                except TimeoutError:
                    pass
            return served

        def dial(seed: int) -> int:
            rng = random.Random(seed)
            for _ in range(40):
                with a.dial(f"β:{rng.randrange(3) + 1}", PATIENCE) as c:
                    self.assertEqual(c.recv(1), b"x")
            return 40

        serving = [Call(serve, i) for i in range(4)]
        dialled = sum(all_of([Call(dial, i) for i in range(4)]))
        stop.set()
        self.assertEqual(sum(all_of(serving)), dialled)

    def test_nobody_accepts(self) -> None:
        """Dials are answered although no thread of the program is in accept."""
        a, b = self.pair()
        self.wants(lonet.ErrConnRefused, lambda: a.dial("β:1", 5), "dial", "α:1", "β:1")
        listener = b.listen(":1")
        dial = Call(a.dial, "β:1")
        self.assertTrue(dial.waits())
        with listener.accept(0) as d, dial.wait() as c:
            self.ping(c, d)

    def test_many(self) -> None:
        """Accept may come first or dial may, and many at once: the two ends of each connection belong together."""
        a, b = self.pair()
        listener = b.listen(":1")
        accepts, dials = [], []
        for i in range(40):
            if i % 3:
                accepts.append(Call(listener.accept))
            dials.append(Call(a.dial, "β:1"))
        while len(accepts) < len(dials):
            accepts.append(Call(listener.accept))
        by_addr = {d.local_addr(): d for d in all_of(accepts)}
        for c in all_of(dials):
            d = by_addr.pop(c.remote_addr())
            self.assertEqual(d.remote_addr(), c.local_addr())
            self.ping(c, d)
            c.close()
            d.close()

    def test_queue(self) -> None:
        """As many dials wait as the backlog says; the next is refused, and who is taken out makes room."""
        for backlog in (0, 1, 5):
            with self.subTest(backlog):
                a, b = self.host(0, f"a{backlog}"), self.host(1, f"b{backlog}")
                listener = b.listen(":1", backlog)
                addr = str(listener.addr())
                dials = []
                for i in range(backlog):
                    dials.append(Call(a.dial, addr))
                    eventually("it waits", lambda: len(listener._dials) == i + 1)
                for _ in range(2):
                    self.wants(lonet.ErrConnRefused, lambda: a.dial(addr, 5))
                for i in range(backlog):
                    with listener.accept(5) as d, dials[i].wait() as c:
                        self.assertEqual(d.remote_addr(), c.local_addr())  # first come, first served
                accept = Call(listener.accept)
                self.assertTrue(accept.waits())
                with a.dial(addr, 5) as c, accept.wait() as d:
                    self.ping(c, d)
                listener.close()

    def test_default_backlog(self) -> None:
        a, b = self.pair(backlog=2)
        listener = b.listen(":1")
        dials = [Call(a.dial, "β:1"), Call(a.dial, "β:1")]
        eventually("both wait", lambda: len(listener._dials) == 2)
        self.wants(lonet.ErrConnRefused, lambda: a.dial("β:1", 5))
        listener.close()
        for dial in dials:
            self.wants(lonet.ErrConnRefused, dial.wait)
        self.assertEqual(lonet.subnet.BACKLOG, 4096)

    def test_close_wakes(self) -> None:
        a, b = self.pair()
        for _ in range(10):
            listener = b.listen(":1")
            accepts = [Call(listener.accept) for _ in range(3)]
            for accept in accepts:
                self.assertTrue(accept.waits(0.005))
            listener.close()
            for accept in accepts:
                err = self.wants(lonet.ErrSockDown, accept.wait, "accept", "", "β:1")
                self.assertEqual(str(err), "accept lonett β:1: socket is down")
            self.wants(lonet.ErrSockDown, listener.accept, "accept", "", "β:1")
            listener.close()
        self.wants_free(b, 1)
        self.assertEqual(listener.fileno(), -1)

    def test_connections_stay(self) -> None:
        a, b = self.pair()
        listener = b.listen(":1")
        c, d = self.connect(a, listener)
        listener.close()
        self.ping(c, d)
        self.wants(lonet.ErrConnRefused, lambda: a.dial("β:1", 5), "dial", "α:2", "β:1")

    def test_context(self) -> None:
        with self.host(0, "α").listen(":1") as listener:
            pass
        self.wants(lonet.ErrSockDown, listener.accept)

    @unittest.skipUnless(hasattr(signal, "setitimer"), "no timers")
    def test_interrupted(self) -> None:
        """A signal's handler that raises ends an accept, and the next works."""
        a, b = self.pair()
        listener = b.listen(":1")

        def handler(*args: object) -> None:
            raise KeyboardInterrupt

        old = signal.signal(signal.SIGALRM, handler)
        try:
            for follows in (False, True):
                driving = Call(listener.accept) if follows else None
                if driving is not None:
                    self.assertTrue(driving.waits())
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                with self.assertRaises(KeyboardInterrupt):
                    listener.accept(10)
                if driving is not None:
                    with a.dial("β:1", 5), driving.wait():
                        pass
                c, d = self.connect(a, listener)
                self.ping(c, d)
                c.close()
                d.close()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        self.wants_free(b, 2)


class ReadinessTest(TestCase):
    def listen(self, host: lonet.Host) -> lonet.Listener:
        listener = host.listen(":1")
        self.addCleanup(listener.close)
        return listener

    def ready(self, listener: lonet.Listener, timeout: float = 0) -> bool:
        return bool(select.select([listener], [], [], timeout)[0])

    def test_non_blocking(self) -> None:
        """The descriptor is readable exactly while accept would not wait."""
        a, b = self.pair()
        listener = self.listen(b)
        listener.setblocking(False)
        with self.assertRaises(BlockingIOError):
            listener.accept()
        self.assertFalse(self.ready(listener))
        dials = []
        for i in range(3):
            dials.append(Call(a.dial, "β:1"))
            self.assertTrue(self.ready(listener, 5))
        eventually("all wait", lambda: len(listener._dials) == 3)
        for dial in dials:
            self.assertTrue(self.ready(listener))
            with listener.accept():
                pass
        self.assertFalse(self.ready(listener))
        with self.assertRaises(BlockingIOError):
            listener.accept()
        for dial in dials:
            dial.wait().close()

    def test_given_up(self) -> None:
        """It is not readable any more when the dial is given up."""
        a, b = self.pair()
        listener = self.listen(b)
        listener.fileno()
        self.wants(lonet.ErrTimeout, lambda: a.dial("β:1", 0.05))
        eventually("nobody waits", lambda: not listener._dials)
        self.assertFalse(self.ready(listener))

    def test_late(self) -> None:
        """A descriptor that is asked for when a dial waits already is readable."""
        a, b = self.pair()
        listener = self.listen(b)
        dial = Call(a.dial, "β:1")
        eventually("it waits", lambda: len(listener._dials) == 1)
        self.assertTrue(self.ready(listener))
        with listener.accept(), dial.wait():
            pass
        self.assertFalse(self.ready(listener))

    def test_down(self) -> None:
        """Who waits for the descriptor learns that the host or the network is closed."""
        for what in ("host", "sub-network"):
            sub = self.join()
            host = sub.new_host("α")
            listener = self.listen(host)
            with selectors.DefaultSelector() as s:
                s.register(listener, selectors.EVENT_READ)
                waiting = Call(s.select, 20)
                self.assertTrue(waiting.waits())
                {"host": host, "sub-network": sub}[what].close()  # type: ignore[attr-defined]
                self.assertTrue(waiting.wait())
                self.wants(lonet.ErrDown, listener.accept)
            listener.close()
            sub.close()

    def test_blocking_accept_with_it(self) -> None:
        a, b = self.pair()
        listener = self.listen(b)
        listener.fileno()
        for _ in range(3):
            c, d = self.connect(a, listener)
            self.ping(c, d)
        self.assertFalse(self.ready(listener))

    @unittest.skipUnless(ON_LINUX, "descriptors can't be counted")
    def test_descriptors(self) -> None:
        """A listener has none until one is asked for."""
        b = self.host(0, "β")
        before = descriptors()
        listener = self.listen(b)
        self.assertEqual(descriptors(), before)
        self.assertEqual(listener.fileno(), listener.fileno())
        self.assertEqual(descriptors(), before + 2)
        listener.close()
        self.assertEqual(descriptors(), before)


class SocketTest(TestCase):
    def test_face(self) -> None:
        a, b = self.pair()
        listener = b.listen(":7")
        with listener.socket() as s:
            self.assertIsInstance(s, socket.socket)
            self.assertEqual(s.type, socket.SOCK_STREAM)
            self.assertEqual(s.getsockname(), ("β", 7))
            s.bind(("β", 7))
            s.listen()
            s.listen(5)
            self.assertIn("lonet.ListeningSocket", repr(s))
            s.setblocking(False)
            self.assertEqual(s.gettimeout(), 0)
            with self.assertRaises(BlockingIOError):
                s.accept()
            self.assertIsNone(listener.gettimeout())
            s.settimeout(0.02)
            self.wants(lonet.ErrTimeout, s.accept)
            dial = Call(a.dial, "β:7")
            self.assertTrue(select.select([s], [], [], 5)[0])
            s.settimeout(None)
            conn, address = s.accept()
            self.assertEqual(address, ("α", 1))
            self.assertIsInstance(conn, lonet.Conn)
            with conn, dial.wait() as c:
                self.ping(c, conn)
            with self.assertRaises(ValueError):
                s.settimeout(-1)
        self.assertEqual(s.fileno(), -1)
        self.wants(lonet.ErrSockDown, listener.accept)
        self.wants(lonet.ErrSockDown, listener.socket)

    def test_listener_first(self) -> None:
        listener = self.host(0, "β").listen(":7")
        with listener.socket() as s:
            waiting = Call(select.select, [s], [], [], 20)
            self.assertTrue(waiting.waits())
            listener.close()
            self.assertTrue(waiting.wait()[0])
            self.wants(lonet.ErrSockDown, s.accept)
        self.assertGreater(threading.active_count(), 0)


if __name__ == "__main__":
    unittest.main()
