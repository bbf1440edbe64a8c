"""What is closed, and what that does to each operation: before it, and while it is in progress."""

from __future__ import annotations

import selectors
import time
import unittest

from endings import ENDINGS, GONE, HOST, NET, EndingsCase
from peers import flood
from support import MOMENT, Call

import lonet

class ClosingTest(EndingsCase):
    def test_endings(self) -> None:
        """EndOf: whatever goes down interrupts at once what is blocked on it, and fails what comes later."""
        for ending in ENDINGS:
            for dialler in (True, False):
                for one in (True, False):
                    if one and "peer sub" in ending.ends:
                        continue
                    with self.subTest(ending.name, dialler=dialler, one=one):
                        sub = self.join()
                        self.ending(ending, *self.scene_on(sub, sub if one else self.join(), dialler))
                        self.doCleanups_of_scene()

    def doCleanups_of_scene(self) -> None:
        while len(self._cleanups) > 4:  # type: ignore[attr-defined]
            function, args, kwargs = self._cleanups.pop()  # type: ignore[attr-defined]
            function(*args, **kwargs)

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
        """EndOfOwnIsNoEOF: both ends are on what goes down, so each sees the other end, and does not report that."""
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
            self.assertLess(time.monotonic() - start, 20)
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


if __name__ == "__main__":
    unittest.main()
