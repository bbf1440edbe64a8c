"""Strangers: who connects and says nothing, or garbage, or asks for what isn't there."""

from __future__ import annotations

import errno
import logging
import os
import random
import resource
import select
import socket
import threading
import time
import unittest
from typing import List, Tuple
from unittest import mock

from support import ON_LINUX, PATIENCE, Call, TestCase, descriptors, eventually, read_all

import lonet
from lonet import crowd, engine

GOOD = '> lonet "lonett" dial "γ:1" "α:1"'


def reply(error: str) -> bytes:
    return f'< lonet "lonett" E "{error}"\n'.encode()


def answer(sock: socket.socket) -> bytes:
    """Reads what a stranger is answered, to the end."""
    try:
        return read_all(sock)
    except ConnectionResetError:
        return b"reset"


def dropped(sock: socket.socket) -> bool:
    """Tells whether the other end has ended the connection."""
    return bool(select.select([sock], [], [], 0)[0])


class RequestTest(TestCase):
    def test_answers(self) -> None:
        a = self.host(0, "α")
        listener = a.listen(":1", 0)
        invalid = "protocol error: invalid dial request"
        for line, says in (
            ("\n", invalid),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", invalid),
            (GOOD + "\r\n", invalid),
            (GOOD + " \n", invalid),
            ("x" * 1024, invalid),
            ("x" * 1023 + "\n", invalid),
            ("x" * 100000, invalid),
            (GOOD.replace("lonett", "lonetu") + "\n", "protocol error: network mismatch"),
            (GOOD.replace("γ:1", "γ") + "\n", "protocol error: src address invalid"),
            (GOOD.replace("γ:1", "a/b:1") + "\n", "protocol error: src address invalid"),
            (GOOD.replace("α:1", "α:-1") + "\n", "protocol error: dst address invalid"),
            (GOOD.replace("α:1", "..:1") + "\n", "protocol error: dst address invalid"),
            (GOOD.replace("α:1", "β:1") + "\n", "address β:1: no such host"),
            (GOOD.replace("α:1", 'qu\\"ote:1') + "\n", 'address qu\\"ote:1: no such host'),
            (GOOD.replace("α:1", "α:0") + "\n", "connection refused"),
            (GOOD.replace("α:1", "α:2") + "\n", "connection refused"),
            (GOOD.replace("γ:1", "γ:0") + "\n", "connection refused"),
            (GOOD + "\n", "connection refused"),  # the queue has no room
        ):
            for behind in ("", "payload that nobody reads" * 100):
                if behind and not line.endswith("\n"):
                    continue
                with self.subTest(line[:60], behind=bool(behind)):
                    with self.raw(a) as raw:
                        raw.sendall((line + behind).encode())
                        if behind:  # else it would be given up
                            raw.shutdown(socket.SHUT_WR)
                        self.assertEqual(answer(raw), reply(says))
        self.assertEqual(len(listener._dials), 0)
        self.wants_free(a, 2)

    def test_slowly(self) -> None:
        """A request may come byte by byte."""
        a = self.host(0, "α")
        listener = a.listen(":1")
        with self.raw(a) as raw:
            for byte in (GOOD + "\nx").encode():
                raw.sendall(bytes((byte,)))
                time.sleep(0.001)
            with listener.accept(5) as d:
                self.assertEqual(str(d.remote_addr()), "γ:1")
                self.assertEqual(d.recv(10), b"x")

    def test_ended(self) -> None:
        """A connection that ends within the request gets no answer."""
        a = self.host(0, "α")
        for begin in ("", ">", GOOD):
            for wait in (0, 0.02):
                with self.raw(a) as raw:
                    raw.sendall(begin.encode())
                    time.sleep(wait)
                    raw.shutdown(socket.SHUT_WR)
                    self.assertIn(answer(raw), (b"", b"reset"))

    def test_garbage(self) -> None:
        """Whatever comes, the others are served."""
        a, b = self.pair()
        listener = a.listen(":1")
        rng = random.Random(3)
        for _ in range(60):
            with self.raw(a) as raw:
                line = bytearray(GOOD.encode() + b"\n")
                for _ in range(rng.randrange(6)):
                    line[rng.randrange(len(line) - 1)] = rng.randrange(256)
                raw.sendall(bytes(line[: rng.randrange(len(line) + 1)]))
                if rng.random() < 0.5:
                    raw.sendall(rng.randbytes(rng.randrange(3000)) if hasattr(rng, "randbytes") else b"\xff" * 999)
                if rng.random() < 0.5:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lonet.conn.LINGER_RESET)
        eventually("all are gone", lambda: not a._net._engine._crowd)
        while listener._dials:
            try:
                listener.accept(0.01).close()
            except TimeoutError:
                break
        c, d = self.connect(b, listener)
        self.ping(c, d)


class CrowdTest(TestCase):
    def crowd(self, host: lonet.Host) -> crowd.Crowd:
        return host._net._engine._crowd

    def test_time_out(self) -> None:
        """Who is silent until its time is over is dropped, half a line or none, and not before."""
        timeout = 0.3
        a = self.host(0, "α", handshake_timeout=timeout)
        start = time.monotonic()
        silent, half, slow = self.raw(a), self.raw(a), self.raw(a)
        half.sendall(b'> lonet "lonett" dial')
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.05):
                try:
                    slow.send(b"x")
                except OSError:
                    return

        trickling = Call(trickle)
        for sock in (silent, half, slow):
            self.assertIn(answer(sock), (b"", b"reset"))
            self.assertTrue(timeout - 0.01 <= time.monotonic() - start < timeout + 5)
        stop.set()
        trickling.wait()

    def test_limit(self) -> None:
        """At the limit, the one who has been silent longest is dropped."""
        a, b = self.pair(half_open=5)
        listener = a.listen(":1")
        silent: List[socket.socket] = []
        for i in range(15):
            silent.append(self.raw(a))
            if i % 2:
                silent[-1].sendall(b"> lonet")
            eventually("it is waited for", lambda: len(self.crowd(a)) == min(i + 1, 5))
            if i >= 5:
                eventually("another is dropped", lambda: dropped(silent[i - 5]))
            self.assertFalse(any(dropped(sock) for sock in silent[max(0, i - 4) :]))
        c, d = self.connect(b, listener)
        self.ping(c, d)
        self.assertLessEqual(sum(dropped(sock) for sock in silent), 11)

    def test_keeps_nobody_waiting(self) -> None:
        """One who says nothing keeps nobody waiting, as often as that happens."""
        a, b = self.pair()
        listener = a.listen(":1")
        best = 1e9
        for _ in range(20):
            self.raw(a)
            start = time.monotonic()
            c, d = self.connect(b, listener)
            best = min(best, time.monotonic() - start)
            c.close()
            d.close()
        self.assertLess(best, 0.05)

    def test_lingers(self) -> None:
        """Who is refused has a second to go, and a megabyte to send in vain; then it is dropped."""
        a = self.host(0, "α")
        want = reply("connection refused")
        stays = self.raw(a)
        start = time.monotonic()
        stays.sendall((GOOD + "\n").encode())
        self.assertEqual(answer(stays), want)
        eventually("it is in the crowd", lambda: len(self.crowd(a)) == 1)
        eventually("it is dropped", lambda: len(self.crowd(a)) == 0)
        self.assertTrue(crowd.LINGER - 0.01 <= time.monotonic() - start < crowd.LINGER + 5)
        flood = self.raw(a)
        flood.sendall((GOOD + "\n").encode())
        self.assertEqual(answer(flood), want)
        with self.assertRaises(ConnectionError):
            for _ in range(1000):
                flood.sendall(bytes(1 << 16))
        eventually("it is dropped", lambda: len(self.crowd(a)) == 0)
        goes = self.raw(a)
        goes.sendall((GOOD + "\n").encode())
        self.assertEqual(answer(goes), want)
        goes.close()
        eventually("it has gone", lambda: len(self.crowd(a)) == 0, 0.9)

    def test_refused_by_close(self) -> None:
        """Dials that wait at a listener are refused by whichever thread closes it, and read that."""
        a = self.host(0, "α")
        for behind in (b"", b"payload" * 1000):
            listener = a.listen(":1")
            waiting = [self.raw(a) for _ in range(5)]
            for sock in waiting:
                sock.sendall((GOOD + "\n").encode() + behind)
            eventually("all wait", lambda: len(listener._dials) == 5)
            listener.close()
            for sock in waiting:
                self.assertEqual(answer(sock), reply("connection refused"))
                sock.close()
            eventually("all have gone", lambda: len(self.crowd(a)) == 0)

    def test_close_with_strangers(self) -> None:
        """Closing drops strangers, and waits for nobody."""
        sub = self.join()
        a = sub.new_host("α")
        silent = [self.raw(a) for _ in range(20)]
        silent[3].sendall(GOOD.encode())
        start = time.monotonic()
        sub.close()
        self.assertLess(time.monotonic() - start, 2)
        for sock in silent:
            self.assertIn(answer(sock), (b"", b"reset"))


class TroubleTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.records: List[Tuple[int, str]] = []
        self.logger = logging.Logger("test")
        handler = logging.Handler()
        handler.emit = lambda r: self.records.append((r.levelno, r.getMessage()))  # type: ignore[method-assign]
        self.logger.addHandler(handler)

    def said(self, text: str) -> bool:
        return any(text in message for _, message in self.records)

    def test_log(self) -> None:
        """The log tells of each connection that was turned away, in one short line without control characters."""
        a = self.host(0, "α", logger=self.logger)
        for line, says in (
            ("junk\n", "invalid dial request"),
            (GOOD.replace("α:1", 'a\\"\\u200b' + "x" * 200 + ":1") + "\n", "no such host"),
            (GOOD.replace("α:1", "α\\u202e:1") + "\n", "no such host"),
            ("", "no request came"),
        ):
            with self.raw(a) as raw:
                raw.sendall(line.encode())
                if not line:
                    raw.shutdown(socket.SHUT_WR)
                answer(raw)
                port = raw.getsockname()[1]
            eventually("it is told", lambda: self.said(f"port {port}: "))
            level, message = self.records[-1]
            self.assertEqual(level, logging.DEBUG)
            self.assertTrue(message.startswith("lonet: network lonett: incoming, from port"), message)
            self.assertTrue(message.isprintable(), message)
            self.assertLess(len(message), 300)
            if len(line) < 100:
                self.assertIn(says, message)

    def test_silent_by_default(self) -> None:
        with self.assertNoLogs() if hasattr(self, "assertNoLogs") else mock.MagicMock():
            a = self.host(0, "α")
            with self.raw(a) as raw:
                raw.sendall(b"junk\n")
                answer(raw)

    def test_handler_that_closes(self) -> None:
        """A log's handler may do anything, even close the network on the thread that drives."""
        sub = self.join(logger=self.logger)
        a = sub.new_host("α")
        listener = a.listen(":1")
        handler = logging.Handler()
        handler.emit = lambda r: sub.close()  # type: ignore[method-assign]
        self.logger.addHandler(handler)
        accepting = Call(listener.accept)
        self.assertTrue(accepting.waits())
        with self.raw(a) as raw:
            raw.sendall(b"junk\n")
            self.wants(lonet.ErrNetDown, accepting.wait)

    @unittest.skipUnless(ON_LINUX, "descriptors can't be counted")
    def test_out_of_descriptors(self) -> None:
        """Without descriptors nobody new is accepted; connections go on, and once there are some, so does all."""
        a, b = self.pair(logger=self.logger)
        listener = a.listen(":1")
        c, d = self.connect(b, listener)
        waiting = self.child(
            """
with lonet.join('t', temp_dir=temp) as net:
    host = net.new_host('δ')
    say('up'); read()
    conn = host.dial('α:1', 20)
    say(conn.recv(10))
"""
        )
        self.assertEqual(waiting.line(), "up")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() - 1 + 3, hard))
        taken = []
        try:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError as err:
            self.assertEqual(err.errno, errno.EMFILE)
        try:
            waiting.tell()
            eventually("it is told", lambda: self.said("accept: "))
            self.ping(c, d)
            err = self.wants(lonet.OpError, lambda: b.dial("α:1", 5))
            self.assertEqual(err.errno, errno.EMFILE)
            self.assertIn("dial lonett", str(err))
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with listener.accept(PATIENCE) as e:
            e.sendall(b"at last")
        self.assertEqual(waiting.line(), "b'at last'")
        self.assertEqual([level for level, m in self.records if "accept: " in m], [logging.WARNING])
        with mock.patch.object(engine, "_CALM", 0.0):
            self.connect(b, listener)
        eventually("it is over", lambda: self.said("accept works again"))

    @unittest.skipUnless(ON_LINUX, "descriptors can't be counted")
    def test_strangers_take_all_descriptors(self) -> None:
        """When descriptors run out, strangers are the first to give theirs."""
        a, b = self.pair()
        listener = a.listen(":1")
        self.connect(b, listener)[0].close()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        crowd = self.child(
            """
import socket
socks = [socket.create_connection(('127.0.0.1', int(args[0]))) for i in range(60)]
say('all'); read()
with lonet.join('t', temp_dir=temp) as net:
    conn = net.new_host('δ').dial('α:1', 20)
    say(conn.recv(10))
""",
            str(self.osladdr(a)[1]),
        )
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 20, hard))
        try:
            self.assertEqual(crowd.line(), "all")
            crowd.tell()
            with listener.accept(PATIENCE) as d:
                d.sendall(b"hello")
            self.assertEqual(crowd.line(), "b'hello'")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def test_socket_gone(self) -> None:
        """A socket that somebody else has closed takes the network down."""
        a, b = self.pair(logger=self.logger)
        sub = self._subs[0]
        accepting = Call(a.listen(":1").accept)
        self.assertTrue(accepting.waits())
        sub._engine._osl.shutdown(socket.SHUT_RDWR)
        self.wants(lonet.ErrNetDown, accepting.wait)
        self.wants(lonet.ErrNetDown, lambda: a.dial("β:1"))
        self.wants(lonet.ErrConnRefused, lambda: b.dial("α:1"))
        sub.close()


if __name__ == "__main__":
    unittest.main()
