"""Strangers in number: who connects, and says nothing, or nonsense, while others dial."""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
import unittest
from typing import Callable, List, NamedTuple

from support import ON_LINUX, PATIENCE, Call, TestCase, descriptors, eventually, read_all

import lonet

LONG = bool(os.environ.get("VIRTNET_TEST_LONG"))
OWN = 20
"""Descriptors of a dial that is going on, and of what is just ending."""

STRANGERS = """
import resource, socket
def limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
def connect(): return socket.create_connection(('127.0.0.1', int(args[0])), 20)
"""

SILENT = (
    STRANGERS
    + """
limit()
read()
socks = [connect() for _ in range(int(args[1]))]
say('all')
read()
"""
)

FLOOD = (
    STRANGERS
    + """
read()
n, end = 0, time.monotonic() + float(args[1])
last = [None] * 500
def flood(mine):
    global n
    while time.monotonic() < end:
        try:
            sock = connect()
        except OSError:
            continue
        old, last[n % len(last)] = last[n % len(last)], sock
        n += 1
        if old is not None: old.close()
threads = [threading.Thread(target=flood, args=(i,)) for i in range(4)]
for t in threads: t.start()
for t in threads: t.join()
say(n)
read()
"""
)

REQUEST = '> lonet "lonett" dial "γ:1" "α:1"\n'.encode()

NONSENSE = (
    b"\n",
    b"\0",
    b"GET / HTTP/1.1\r\nHost: \xce\xb1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"x" * 5000,
    b"\0" * 5000,
    b"\0\n" * 500,
    b"\xff" * 1024,
    REQUEST[:-1],
    REQUEST.replace(b"\n", b"\0\n"),
    b"\0" + REQUEST,
    REQUEST.replace(b"lonett", b"lonetx"),
    REQUEST.replace(b"lonett", b"lonett\0"),
    REQUEST.replace(b"\xce\xb3", b"\xff"),
    REQUEST.replace(b"\xce\xb1:1", b"nohost:1") + b"payload",
    REQUEST.replace(b"\xce\xb1:1", b"\xce\xb1:7") + b"\0" * 100000,
)
"""What strangers may say. The last are requests, which are turned away."""


class Dials(NamedTuple):
    """What became of many dials."""

    took: List[float]
    """How long each took, sorted."""
    threads: int
    """How many threads there were at most, beyond those before."""
    descriptors: int
    """The same."""


class CrowdTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.serving: List[Call[None]] = []

    def served(self, **settings: object) -> lonet.Host:
        """Makes α, who accepts at port 1 and closes what it accepts, and returns β."""
        a, b = self.pair(**{"handshake_timeout": PATIENCE, **settings})
        self.listener = listener = a.listen(":1")
        self.a = a

        def serve() -> None:
            while True:
                try:
                    listener.accept().close()
                except lonet.ErrDown:
                    return

        serving = Call(serve)
        self.addCleanup(serving.wait)
        self.addCleanup(listener.close)
        b.dial("α:1", PATIENCE).close()
        return b

    def crowd(self) -> int:
        """Returns how many places strangers have."""
        return len(self.a._net._engine._crowd)

    def dials(self, b: lonet.Host, over: Callable[[], bool]) -> Dials:
        """Dials again and again until that is over, at least 50 times. Every dial must succeed."""
        took: List[float] = []
        threads, open_ = threading.active_count(), descriptors()
        most_threads = most_open = 0
        while not over() or len(took) < 50:
            start = time.monotonic()
            with b.dial("α:1", PATIENCE):
                took.append(time.monotonic() - start)
                most_threads = max(most_threads, threading.active_count() - threads)
                most_open = max(most_open, descriptors() - open_)
        return Dials(sorted(took), most_threads, most_open)

    def wants_bounded(self, dials: Dials, limit: int) -> None:
        """Checks what strangers have cost."""
        self.assertLessEqual(dials.threads, 2)
        self.assertLessEqual(dials.descriptors, limit + OWN)
        self.assertLess(dials.took[-1], PATIENCE / 2)  # strangers may be silent for twice as long

    @unittest.skipUnless(ON_LINUX, "descriptors can't be counted")
    def test_silent(self) -> None:
        """Strangers in great number, who say nothing, cost a bounded number of descriptors and no thread, keep no dial from
        getting through, and leave nothing."""
        strangers, limit = 10000 if LONG else 1000, 250
        b = self.served(half_open=limit)
        crowd = self.child(SILENT, str(self.osladdr(self.a)[1]), str(strangers))
        before, threads = descriptors(), threading.active_count()
        crowd.tell()
        arrived = Call(crowd.line)
        dials = self.dials(b, lambda: not arrived.waits(0))
        self.assertEqual(arrived.wait(), "all")
        self.wants_bounded(dials, limit)
        eventually("all places are taken, and no more", lambda: limit - 1 <= self.crowd() <= limit)
        self.assertLessEqual(descriptors() - before, limit + OWN)
        crowd.kill()
        eventually("all are gone", lambda: descriptors() <= before and threading.active_count() <= threads)
        self.assertEqual(self.crowd(), 0)

    @unittest.skipUnless(ON_LINUX, "descriptors can't be counted")
    def test_flood(self) -> None:
        """Strangers who come without end keep no dial from getting through, however few places there are for them."""
        for limit in (1, 3, 100, 1024) if LONG else (3, 100):
            with self.subTest(places=limit):
                b = self.served(half_open=limit)
                crowd = self.child(FLOOD, str(self.osladdr(self.a)[1]), "3" if LONG else "0.5")
                crowd.tell()
                eventually("they crowd in", lambda: self.crowd() >= limit - 1)
                over = Call(crowd.line)
                dials = self.dials(b, lambda: not over.waits(0))
                self.assertGreater(int(over.wait()), limit)
                self.wants_bounded(dials, limit)
                crowd.kill()
                for sub in self._subs.values():
                    sub.close()
                self._subs.clear()

    def test_nonsense(self) -> None:
        """Whatever strangers say, and however they go, nobody notices, and none stays beyond its time."""
        records: List[str] = []
        logger = logging.Logger("test")
        handler = logging.Handler()
        handler.emit = lambda r: records.append(r.getMessage())  # type: ignore[method-assign]
        logger.addHandler(handler)
        b = self.served(logger=logger, handshake_timeout=0.5)
        raws: List[socket.socket] = []
        for i, nonsense in enumerate(NONSENSE):
            for end in ("close", "half close", "reset", "stay"):
                raw = self.raw(self.a)
                raws.append(raw)
                try:
                    raw.sendall(nonsense)
                    if end == "half close":
                        raw.shutdown(socket.SHUT_WR)
                except OSError:
                    pass  # it was turned away already
                if end == "reset":
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lonet.conn.LINGER_RESET)
                if end in ("close", "reset"):
                    raw.close()
            b.dial("α:1", PATIENCE).close()
        eventually("all are gone", lambda: self.crowd() == 0)
        for raw in raws:
            if raw.fileno() >= 0:
                self.assertTrue(select.select([raw], [], [], PATIENCE)[0])
                raw.close()
        self.assertGreater(len(records), len(NONSENSE))
        for message in records:
            self.assertTrue(message.isprintable(), message)
            self.assertLessEqual(len(message.partition(", from port ")[2].partition(": ")[2].encode()), 200, message)
        self.wants_free(self.a, 2)
        self.assertEqual(len(self.listener._dials), 0)

    def test_pieces(self) -> None:
        """A line of 1024 bytes is read, and one of 1025 is not, whatever pieces it comes in."""
        a = self.host(0, "α")
        a.listen(":1", 0)
        invalid = b'< lonet "lonett" E "protocol error: invalid dial request"\n'
        refused = b'< lonet "lonett" E "connection refused"\n'
        for size, says in ((1023, refused), (1024, refused), (1025, invalid), (2000, invalid)):
            line = REQUEST.replace(b":1\"\n", b":" + b"0" * (size - len(REQUEST)) + b"1\"\n")
            self.assertEqual(len(line), size)
            for piece in (size, size // 2, size - 1, 100, 1):
                with self.subTest(size=size, piece=piece):
                    with self.raw(a) as raw:
                        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        try:
                            for at in range(0, size, piece):
                                raw.sendall(line[at : at + piece])
                        except OSError:
                            self.assertEqual(says, invalid)  # it was turned away before it was all there
                        self.assertEqual(read_all(raw), says)

    def test_names_in_errors(self) -> None:
        """What a registry or another process says gets into errors short and printable."""
        a = self.host(0, "α")
        db = lonet.database.Database(os.path.join(self.temp, "lonet", "t", "registry.db"))
        self.addCleanup(db.close)
        for addr in ("\x1b[2J\n\0", "\u202e" * 500, "x" * 5000):
            db.run("INSERT OR REPLACE INTO hosts VALUES ('β', ?)", addr)
            err = self.wants(lonet.OpError, lambda: a.dial("β:1", PATIENCE), "dial", "α:1", "β:1")
            self.assertTrue(str(err).isprintable(), err)
            self.assertLess(len(str(err).encode()), 500 + len(self.temp))


if __name__ == "__main__":
    unittest.main()
