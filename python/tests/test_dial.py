from __future__ import annotations

import os
import socket
import threading
import time
import unittest
from unittest import mock

from support import MOMENT, PATIENCE, Call, TestCase, descriptors, eventually, read_all

import lonet
from lonet import outgoing

REQUEST = b'> lonet "lonett" dial "\xce\xb1:1" "\xce\xb2:1"\n'


class DialTest(TestCase):
    def test_errors(self) -> None:
        a, b = self.pair()
        a.listen(":10")
        b.listen(":4").close()
        b.listen(":5")
        for addr, shown, kind in (
            ("α:0", "α:0", lonet.ErrConnRefused),
            (":0", "α:0", lonet.ErrConnRefused),
            ("β:0", "β:0", lonet.ErrConnRefused),
            ("β:3", "β:3", lonet.ErrConnRefused),
            ("β:4", "β:4", lonet.ErrConnRefused),
            ("β:2147483647", "β:2147483647", lonet.ErrConnRefused),
            ("α:1", "α:1", lonet.ErrConnRefused),  # the port that this dial itself has taken
            ("γ:1", "γ:1", lonet.ErrNoHost),
            ("γ:0", "γ:0", lonet.ErrNoHost),
            ("a/b:1", "a/b:1", lonet.ErrNoHost),
            ("\udcff:1", "\udcff:1", lonet.ErrNoHost),
        ):
            with self.subTest(repr(addr)):
                err = self.wants(kind, lambda: a.dial(addr, 5), "dial", "α:1", shown)
                text = str(err)
                self.assertTrue(text.startswith(f"dial lonett α:1->{shown}: "), text)
                self.assertTrue(text.endswith(": " + kind.text), text)
                if kind is lonet.ErrConnRefused:
                    self.assertEqual(text, f"dial lonett α:1->{shown}: connection refused")
                else:
                    self.assertIn('registry.db: query ["', text)
        self.wants_free(a, 1)
        c, d = self.connect(a, b.listen(":6"))
        for addr in (str(c.local_addr()), str(d.local_addr())):  # a connection's port is nobody's to dial
            self.wants(lonet.ErrConnRefused, lambda: a.dial(addr, 5), "dial", "α:2", addr)

    def test_bad_address(self) -> None:
        """Dial takes its port before it parses the address, so that the error shows who dialled."""
        a = self.host(0, "α")
        a.listen(":1")
        for addr, says in (
            ("", "missing port in address"),
            ("junk", "address junk: missing port in address"),
            ("β:1:2", "address β:1:2: too many colons in address"),
            ("β:x", "address β:x: invalid port"),
        ):
            err = self.wants(lonet.ErrInvalid, lambda: a.dial(addr), "dial", "α:2", "")
            self.assertEqual(str(err), "dial lonett α:2: " + says)
        self.wants_free(a, 2)
        with self.assertRaises(ValueError):
            a.dial("β:1", -1)
        self.wants_free(a, 2)

    def test_self(self) -> None:
        """A host dials itself, by its name or by none."""
        a, b = self.pair()
        b.listen(":3")
        listener = a.listen(":3")
        for addr in (":3", "α:3"):
            dial = Call(a.dial, addr)
            with listener.accept(5) as d, dial.wait() as c:
                self.assertEqual((str(c.local_addr()), str(c.remote_addr())), ("α:1", "α:2"))
                self.assertEqual((str(d.local_addr()), str(d.remote_addr())), ("α:2", "α:1"))
                self.ping(c, d)

    def test_returns_once_accepted(self) -> None:
        a, b = self.pair()
        listener = b.listen(":1")
        dial = Call(a.dial, "β:1")
        self.assertTrue(dial.waits(0.3))  # longer than it takes to suspect that nobody is there
        self.wants_free(a, 2)
        with listener.accept(5) as d, dial.wait() as c:
            self.ping(c, d)

    def test_time_out(self) -> None:
        a, b = self.pair()
        listener = b.listen(":1")
        for timeout in (0.0, 0.02, 0.15):
            start = time.monotonic()
            err = self.wants(lonet.ErrTimeout, lambda: a.dial("β:1", timeout), "dial", "α:1", "β:1")
            self.assertTrue(timeout - 0.001 <= time.monotonic() - start < timeout + 1)
            self.assertEqual(str(err), "dial lonett α:1->β:1: i/o timeout")
            self.wants_free(a, 1)
        eventually("nobody waits", lambda: not listener._dials)
        dial = Call(a.dial, "β:1", 30)
        with listener.accept(5) as d, dial.wait() as c:
            self.assertIsNone(c.gettimeout())  # that of the dial was of the dial
            self.ping(c, d)

    def test_expired(self) -> None:
        """A dial whose time is over never succeeds, however ready the other side is."""
        a, b = self.pair()
        accepting = Call(b.listen(":1").accept)
        for _ in range(50):
            self.wants(lonet.ErrTimeout, lambda: a.dial("β:1", 0))
        self.assertTrue(accepting.waits())

    def test_many_hosts(self) -> None:
        """What is remembered of hosts is bounded."""
        a, b = self.pair()
        listener = b.listen(":1")
        routes = a._net._outgoing._routes
        for i in range(outgoing._MAX_ROUTES):
            routes[f"h{i}"] = outgoing.Route("lonett", f"h{i}", "127.0.0.1:1")
        self.connect(a, listener)
        self.assertEqual(list(routes), ["β"])

    def test_moved(self) -> None:
        """A host that has moved to another process is found where it is now."""
        a = self.host(0, "α")
        for i in range(6):
            b = self.host(1 + i % 2, "β")
            c, d = self.connect(a, b.listen(":1"))
            self.ping(c, d)
            b.close()
            c.close()
        self.wants(lonet.ErrNoHost, lambda: a.dial("β:1", 5), "dial", "α:1", "β:1")

    def test_moved_while_refused(self) -> None:
        """The process where the host was may answer that a dial is refused, because it wants the host back in vain."""
        a = self.host(0, "α")
        b = self.host(1, "β")
        self.connect(a, b.listen(":1"))[0].close()
        b.close()
        old = self._subs[1]
        listener = self.host(2, "β").listen(":1")
        with old._lock:
            old._hosts["β"] = lonet.Host(old, "β")
        c, d = self.connect(a, listener)
        self.ping(c, d)
        self.assertEqual(str(c.local_addr()), "α:1")

    def test_close_ends_dial(self) -> None:
        for what, kind in (("host", lonet.ErrHostDown), ("sub-network", lonet.ErrNetDown)):
            sub = self.join()
            a, b = sub.new_host("α"), self.host(1, "β" + what)
            listener = b.listen(":1")
            for early in (True, False):
                if not early:
                    time.sleep(0.15)  # it suspects that nobody is there
                dial = Call(a.dial, str(listener.addr()))
                self.assertTrue(dial.waits(MOMENT if early else 0.2))
            start = time.monotonic()
            {"host": a, "sub-network": sub}[what].close()  # type: ignore[attr-defined]
            err = self.wants(kind, dial.wait)
            self.assertLess(time.monotonic() - start, 10)
            self.assertEqual((err.op, str(err.addr)), ("dial", str(listener.addr())))
            sub.close()

    def test_never_from_closed_host(self) -> None:
        a = self.host(0, "α")
        accepting = Call(self.host(1, "β").listen(":1").accept)
        a.close()
        for _ in range(20):
            self.wants(lonet.ErrHostDown, lambda: a.dial("β:1"), "dial", "α:1", "β:1")
        self.assertTrue(accepting.waits())


class GivenUpTest(TestCase):
    """A dial that was given up never comes out of accept."""

    def wants_no_ghost(self, listener: lonet.Listener, source: lonet.Host) -> None:
        dial = Call(source.dial, str(listener.addr()))
        d = listener.accept(5)
        c = dial.wait()
        self.assertEqual(d.remote_addr(), c.local_addr(), "a ghost came out of accept")
        self.ping(c, d)
        c.close()
        d.close()
        self.wants(lonet.ErrTimeout, lambda: listener.accept(0.02))

    def test_timed_out(self) -> None:
        a, b = self.pair()
        listener = b.listen(":1")
        self.wants_no_ghost(listener, a)
        before = descriptors()
        dials = [Call(a.dial, "β:1", 0.05) for _ in range(20)]
        for dial in dials:
            self.wants(lonet.ErrTimeout, dial.wait)
        eventually("descriptors are back", lambda: descriptors() <= before)
        self.assertEqual(len(listener._dials), 0)
        self.wants_no_ghost(listener, a)
        self.wants_free(a, 1)
        self.wants_free(b, 2)

    def test_at_once(self) -> None:
        """The same before it could be noticed."""
        a, b = self.pair()
        listener = b.listen(":1")
        for i in range(50):
            self.wants(lonet.ErrTimeout, lambda: a.dial("β:1", i * 20e-6))
        self.wants_no_ghost(listener, a)

    def test_strangers(self) -> None:
        """Others give up by an end, by half of one, or by a reset; before they are seen, or after."""
        a, b = self.pair()
        listener = b.listen(":1")
        request = REQUEST.replace(b"\xce\xb1:1", b"\xce\xb3:1")
        for end in ("close", "half", "reset"):
            for wait in (0.0, 0.03):
                for noticed in (True, False):
                    with self.raw(b) as raw:
                        raw.sendall(request)
                        if noticed:
                            eventually("it waits", lambda: len(listener._dials) == 1)
                        time.sleep(wait)
                        if end == "half":
                            raw.shutdown(socket.SHUT_WR)
                        elif end == "reset":
                            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, outgoing_reset())
                        if end != "half":
                            raw.close()
                        if noticed:
                            eventually("it is noticed", lambda: not listener._dials)
                        self.wants_no_ghost(listener, a)

    def test_with_payload(self) -> None:
        """Who sends payload and ends its side waits for the reply; who resets the connection has given up."""
        a, b = self.pair()
        listener = b.listen(":1")
        for behind in (b"payload", b"payload" * 1000):
            for later in (False, True):
                with self.raw(b) as raw:
                    raw.sendall(REQUEST if later else REQUEST + behind)
                    eventually("it waits", lambda: len(listener._dials) == 1)
                    if later:
                        raw.sendall(behind)
                    raw.shutdown(socket.SHUT_WR)
                    time.sleep(0.02)
                    self.assertEqual(len(listener._dials), 1)
                    with listener.accept(5) as d:
                        self.assertEqual(read_all(d), behind)
                        d.sendall(b"answer")
                    self.assertTrue(read_all(raw).endswith(b"\nanswer"))
                with self.raw(b) as raw:
                    raw.sendall(REQUEST if later else REQUEST + behind)
                    eventually("it waits", lambda: len(listener._dials) == 1)
                    if later:
                        raw.sendall(behind)
                    time.sleep(0.02)
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, outgoing_reset())
                self.wants_no_ghost(listener, a)


def outgoing_reset() -> bytes:
    return lonet.conn.LINGER_RESET


class OtherEndTest(TestCase):
    """The test is the process that is dialled."""

    def setUp(self) -> None:
        super().setUp()
        self.a = self.host(0, "α")
        self.server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.server.close)
        self.announce("127.0.0.1:%d" % self.server.getsockname()[1])

    def announce(self, osladdr: str) -> None:
        """Puts β into the registry, as a program that leaves no mark does."""
        db = lonet.database.Database(os.path.join(self.temp, "lonet", "t", "registry.db"))
        db.run("INSERT OR REPLACE INTO hosts VALUES ('β', ?)", osladdr)
        db.close()

    def serve(self, *answers: bytes, reset: bool = False) -> Call[bytes]:
        """Answers the next connections, and returns what the last has asked."""

        def run() -> bytes:
            asked = b""
            for answer in answers:
                conn, _ = self.server.accept()
                with conn:
                    asked = conn.recv(2048)
                    conn.sendall(answer)
                    if reset:
                        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, outgoing_reset())
            return asked

        return Call(run)

    def test_replies(self) -> None:
        for answer, kind, says in (
            (b'< lonet "lonett" E "connection refused"\n', lonet.ErrConnRefused, "connection refused"),
            (b'< lonet "lonett" E "address \xce\xb2:1: no such host"\n', lonet.ErrNoHost, "no such host"),
            (b'< lonet "lonett" E "out of tea"\n', lonet.OpError, "remote: out of tea"),
            (b'< lonet "lonett" E ""\n', lonet.OpError, "remote: "),
            (b'< lonet "lonett" E "protocol error: x"\n', lonet.OpError, "remote: protocol error: x"),
            (b'< lonet "lonetu" E "connection refused"\n', lonet.OpError, 'protocol error: reply from network "lonetu"'),
            (b'< lonet "lonetu" connected "\xce\xb2:1"\n', lonet.OpError, 'protocol error: reply from network "lonetu"'),
            (b'< lonet "lonett" connected "\xce\xb3:1"\n', lonet.OpError, 'accept address "γ:1" is on another host'),
            (b'< lonet "lonett" connected "\xce\xb2:0"\n', lonet.OpError, 'accept address "β:0" invalid'),
            (b'< lonet "lonett" connected "\xce\xb2:01"\n', None, "β:1"),
            (b'< lonet "lonett" connected "\xce\xb2:2147483648"\n', lonet.OpError, '"β:2147483648" invalid'),
            (b'< lonet "lonett" connected "\xce\xb2:7"\r\n', lonet.OpError, "protocol error: invalid dial reply"),
            (b"HTTP/1.0 400 Bad Request\r\n\r\n", lonet.OpError, "protocol error: invalid dial reply"),
            (b"\n", lonet.OpError, "protocol error: invalid dial reply"),
            (b"x" * 2000, lonet.OpError, "protocol error: the line is too long"),
            (b'< lonet "lonett" connected "\xce\xb2:7"', lonet.ErrConnRefused, "(127.0.0.1:"),
            (b"", lonet.ErrConnRefused, "is gone"),
            (b'< lonet "lonett" connected "\xce\xb2:7"\n', None, "β:7"),
            (b'< lonet "lonett" connected "\xce\xb2:123456789"\n', None, "β:123456789"),
            (b'< lonet "lonett" connected "\xce\xb2:2147483647"\n', None, "β:2147483647"),
            (b'< lonet "lonett" connected "\\u03b2:7"\n', None, "β:7"),
            (b'< lonet "\\x6conett" connected "\\316\\262:7"\n', None, "β:7"),
        ):
            for behind in (b"", b"payload\n\n"):
                with self.subTest(answer[:60], behind=behind):
                    if behind and not answer.endswith(b"\n"):
                        continue
                    serving = self.serve(answer + behind)
                    if kind is None:
                        with self.a.dial("β:1", 5) as c:
                            self.assertEqual(str(c.remote_addr()), says)
                            self.assertEqual(read_all(c), behind)
                    else:
                        err = self.wants(kind, lambda: self.a.dial("β:1", 5), "dial", "α:1", "β:1")
                        self.assertIn(says, str(err))
                        if kind is lonet.OpError:
                            self.assertFalse(isinstance(err, (ConnectionRefusedError, socket.gaierror)))
                    self.assertEqual(serving.wait(), REQUEST)
        self.wants_free(self.a, 1)

    def test_slowly(self) -> None:
        """A reply may come byte by byte."""

        def run() -> None:
            conn, _ = self.server.accept()
            with conn:
                conn.recv(2048)
                for i in b'< lonet "lonett" connected "\xce\xb2:12"\nx':
                    conn.sendall(bytes((i,)))
                    time.sleep(0.005)

        for timeout in (None, 10):
            serving = Call(run)
            with self.a.dial("β:1", timeout) as c:
                self.assertEqual(str(c.remote_addr()), "β:12")
                self.assertEqual(read_all(c), b"x")
            serving.wait()

    def test_reset(self) -> None:
        serving = self.serve(b"", reset=True)
        err = self.wants(lonet.ErrConnRefused, lambda: self.a.dial("β:1", 5))
        self.assertIn("is gone", str(err))
        serving.wait()

    def test_dropped(self) -> None:
        """A dial that is dropped without a reply, by a process that lives, is made again, some times."""
        path = os.path.join(self.temp, "lonet", "t", "%d.live" % self.server.getsockname()[1])
        held = lonet.mark.take(path, lonet.waits.Waits())
        try:
            for reset in (False, True):
                for times in (1, outgoing._REDIALS):
                    serving = self.serve(*[b""] * times, b'< lonet "lonett" connected "\xce\xb2:7"\n', reset=reset)
                    with self.a.dial("β:1", 10) as c:
                        self.assertEqual((str(c.local_addr()), str(c.remote_addr())), ("α:1", "β:7"))
                    self.assertEqual(serving.wait(), REQUEST)
                serving = self.serve(*[b""] * (outgoing._REDIALS + 1), reset=reset)
                err = self.wants(lonet.ErrConnRefused, lambda: self.a.dial("β:1", 10), "dial", "α:1", "β:1")
                self.assertEqual(str(err), "dial lonett α:1->β:1: connection refused")
                serving.wait()
            serving = self.serve(b"")
            self.wants(lonet.ErrTimeout, lambda: self.a.dial("β:1", 0.3), "dial", "α:1", "β:1")
            serving.wait()
        finally:
            held.remove()

    def test_nobody(self) -> None:
        """A dial that the system refuses tells that the process is gone, each time."""
        port = self.server.getsockname()[1]
        self.server.close()
        for _ in range(2):
            err = self.wants(lonet.ErrConnRefused, lambda: self.a.dial("β:1", 5), "dial", "α:1", "β:1")
            self.assertEqual(
                str(err),
                f'dial lonett α:1->β:1: connection refused: the process of host "β" (127.0.0.1:{port}) is gone',
            )

    def test_not_connected_to(self) -> None:
        for osladdr in ("10.0.0.1:80", "localhost:80", ""):
            self.announce(osladdr)
            err = self.wants(lonet.OpError, lambda: self.a.dial("β:1", 5), "dial", "α:1", "β:1")
            self.assertIn("which is not 127.0.0.1:port", str(err))

    def test_stranger(self) -> None:
        """Another program that got the port of a process which has died is found out, though it says nothing."""
        mark_path = os.path.join(self.temp, "lonet", "t", "%d.live" % self.server.getsockname()[1])
        with open(mark_path, "w"):
            pass
        start = time.monotonic()
        err = self.wants(lonet.ErrConnRefused, lambda: self.a.dial("β:1"), "dial", "α:1", "β:1")
        self.assertIn("is gone", str(err))
        self.assertTrue(1 <= time.monotonic() - start < 20)

    def test_stopped(self) -> None:
        """One that says nothing, and may be a process that is stopped, is waited for."""
        dial = Call(self.a.dial, "β:1")
        self.assertTrue(dial.waits(1.5))
        conn, _ = self.server.accept()
        with conn:
            conn.sendall(b'< lonet "lonett" connected "\xce\xb2:7"\n')
            with dial.wait() as c:
                self.assertEqual(c.gettimeout(), None)
                conn.sendall(b"x")
                self.assertEqual(c.recv(1), b"x")

    @mock.patch("lonet.judge.SILENCE", 30.0)
    def test_reply_while_suspected(self) -> None:
        """A reply counts at once, also while it is found out who is there."""
        for timeout in (None, PATIENCE):
            dial = Call(self.a.dial, "β:1", timeout)
            self.assertTrue(dial.waits(0.4))
            conn, _ = self.server.accept()
            with conn:
                start = time.monotonic()
                conn.sendall(b'< lonet "lonett" connected "\xce\xb2:7"\n')
                with dial.wait() as c:
                    self.assertLess(time.monotonic() - start, 10)
                    conn.sendall(b"x")
                    self.assertEqual(c.recv(1), b"x")
            self.server.accept()[0].close()  # who asked

    @mock.patch("lonet.judge.SILENCE", 30.0)
    def test_closing_while_suspected(self) -> None:
        for what, kind in (("host", lonet.ErrHostDown), ("sub-network", lonet.ErrNetDown)):
            sub = self.join()
            host = sub.new_host("γ")
            dial = Call(host.dial, "β:1")
            self.assertTrue(dial.waits(0.3))
            start = time.monotonic()
            {"host": host, "sub-network": sub}[what].close()  # type: ignore[attr-defined]
            self.wants(kind, dial.wait, "dial", "γ:1", "β:1")
            self.assertLess(time.monotonic() - start, 10)
            sub.close()
        self.assertGreater(PATIENCE, threading.active_count() / 1000)

    def test_full(self) -> None:
        """A process whose socket takes no more connections is waited for, until the deadline or close."""
        self.server.listen(0)
        filling = [socket.socket() for _ in range(4)]
        for sock in filling:
            self.addCleanup(sock.close)
            sock.setblocking(False)
            sock.connect_ex(self.server.getsockname())
        time.sleep(0.05)
        start = time.monotonic()
        self.wants(lonet.ErrTimeout, lambda: self.a.dial("β:1", 0.2))
        self.assertTrue(0.19 <= time.monotonic() - start < 10)
        dial = Call(self.a.dial, "β:1")
        self.assertTrue(dial.waits(0.2))
        start = time.monotonic()
        self.a.close()
        self.wants(lonet.ErrHostDown, dial.wait)
        self.assertLess(time.monotonic() - start, 10)


if __name__ == "__main__":
    unittest.main()
