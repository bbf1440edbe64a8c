from __future__ import annotations

import socket
import time
import unittest

from support import Call, TestCase

from lonet import poller
from lonet.readiness import Readiness


class PollerTest(TestCase):
    def pollers(self) -> list[poller.SelectorPoller]:
        kinds = {poller.SelectorPoller, poller.Poller}
        made = [kind() for kind in kinds]
        for p in made:
            self.addCleanup(p.close)
        return made

    def pair(self) -> tuple[socket.socket, socket.socket]:
        a, b = socket.socketpair()
        self.addCleanup(a.close)
        self.addCleanup(b.close)
        return a, b

    def test_ready(self) -> None:
        for p in self.pollers():
            with self.subTest(type(p).__name__):
                a, b = self.pair()
                p.add(a.fileno())
                self.assertEqual(p.wait(0.01), [])
                b.send(b"x")
                self.assertEqual(p.wait(1), [a.fileno()])
                self.assertEqual(p.wait(1), [a.fileno()])  # until it is read
                p.remove(a.fileno())
                self.assertEqual(p.wait(0.01), [])
                p.remove(a.fileno())
                p.wait(0)
                p.add(a.fileno())
                a.recv(1)
                b.close()
                self.assertEqual(p.wait(1), [a.fileno()])  # ended

    def test_time_out(self) -> None:
        for p in self.pollers():
            start = time.monotonic()
            self.assertEqual(p.wait(0.05), [])
            self.assertGreaterEqual(time.monotonic() - start, 0.049)
            self.assertEqual(p.wait(0), [])

    def test_wake(self) -> None:
        for p in self.pollers():
            for _ in range(500):
                p.wake()
            self.assertEqual(p.wait(None), [])
            self.assertEqual(p.wait(0.01), [])
            waiting = Call(p.wait, None)
            self.assertTrue(waiting.waits())
            p.wake()
            self.assertEqual(waiting.wait(), [])

    def test_add_while_waiting(self) -> None:
        for p in self.pollers():
            with self.subTest(type(p).__name__):
                a, b = self.pair()

                def until_ready() -> list[int]:
                    while True:
                        ready = p.wait(None)
                        if ready:
                            return ready

                waiting = Call(until_ready)
                self.assertTrue(waiting.waits())
                p.add(a.fileno())
                self.assertTrue(waiting.waits())
                b.send(b"x")
                self.assertEqual(waiting.wait(), [a.fileno()])

    def test_closed(self) -> None:
        """What is removed may be closed, and its number be another's at once."""
        for p in self.pollers():
            for _ in range(20):
                a, b = socket.socketpair()
                p.add(a.fileno())
                p.wait(0)
                p.remove(a.fileno())
                a.close()
                b.close()
            p.wait(0)
        p.close()
        p.wake()


class ReadinessTest(TestCase):
    def test_set(self) -> None:
        r = Readiness()
        self.addCleanup(r.close)
        with r.dup() as seen:
            p = poller.Poller()
            self.addCleanup(p.close)
            p.add(r.fileno())
            for on in (False, True, True, False, False, True):
                r.set(on)
                self.assertEqual(bool(p.wait(0)), on)
            p.remove(r.fileno())
            p.add(seen.fileno())
            self.assertTrue(p.wait(0))
            r.set(False)
            waiting = Call(p.wait, None)
            self.assertTrue(waiting.waits())
            r.close()
            self.assertEqual(waiting.wait(), [seen.fileno()])
            p.remove(seen.fileno())


if __name__ == "__main__":
    unittest.main()
