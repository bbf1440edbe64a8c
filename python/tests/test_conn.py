from __future__ import annotations

import copy
import hashlib
import io
import os
import pickle
import select
import selectors
import socket
import ssl
import tempfile
import threading
import time
import unittest

from support import MOMENT, ON_LINUX, Call, TestCase, descriptors, payload, read_all

import lonet


class ConnTest(TestCase):
    def test_addresses(self) -> None:
        c, d = self.connected()
        for own, peer, local, remote in ((c, d, ("α", 1), ("β", 2)), (d, c, ("β", 2), ("α", 1))):
            for _ in range(2):
                self.assertEqual(own.local_addr(), lonet.Addr("lonett", *local))
                self.assertEqual(own.remote_addr(), lonet.Addr("lonett", *remote))
                self.assertEqual(own.getsockname(), local)
                self.assertEqual(own.getpeername(), remote)
                own.close()
        self.assertEqual(repr(c), "<lonet.Conn lonett α:1->β:2 [closed]>")

    def test_is_socket(self) -> None:
        c, d = self.connected()
        self.assertIsInstance(c, socket.socket)
        self.assertEqual((c.family, c.type), (socket.AF_INET, socket.SOCK_STREAM))
        for conn in (c, d):
            self.assertIsNone(conn.gettimeout())
            self.assertTrue(conn.getblocking())
            self.assertEqual(conn.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16), bytes(16))
            self.assertTrue(conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            self.assertFalse(os.get_inheritable(conn.fileno()))
        for f in (pickle.dumps, copy.copy):
            with self.assertRaises(TypeError):
                f(c)

    def test_calls(self) -> None:
        c, d = self.connected()
        self.assertEqual(c.send(b"ab"), 2)
        c.sendall(memoryview(b"cd"))
        self.assertEqual(d.recv(10, socket.MSG_PEEK)[:2], b"ab")
        self.assertEqual(d.recv(4, socket.MSG_WAITALL), b"abcd")
        buffer = bytearray(10)
        c.sendall(b"efgh")
        self.assertEqual(d.recv_into(buffer, 2), 2)
        self.assertEqual(d.recvfrom_into(memoryview(buffer)[2:]), (2, ("α", 1)))
        self.assertEqual(buffer[:4], b"efgh")
        c.sendall(b"ij")
        self.assertEqual(d.recvfrom(10), (b"ij", ("α", 1)))
        if hasattr(socket.socket, "sendmsg"):
            self.assertEqual(c.sendmsg([b"k", b"lm"]), 3)
            self.assertEqual(d.recvmsg(10)[0], b"klm")
            c.sendall(b"no")
            self.assertEqual(d.recvmsg_into([bytearray(1), bytearray(5)])[0], 2)
        self.assertEqual(c.send(b""), 0)
        with self.assertRaises(TypeError):
            c.send("text")  # type: ignore[arg-type]
        with self.assertRaises(ValueError):
            d.recv(-1)
        self.ping(c, d)

    def test_large(self) -> None:
        """All bytes arrive, in both directions at once."""
        c, d = self.connected()
        data = payload(8 << 20)
        want = hashlib.sha256(data).digest()

        def send(conn: lonet.Conn) -> None:
            conn.sendall(data)
            conn.shutdown(socket.SHUT_WR)

        def read(conn: lonet.Conn) -> bytes:
            return hashlib.sha256(read_all(conn)).digest()

        calls = [Call(send, c), Call(send, d)]
        for reading in (Call(read, c), Call(read, d)):
            self.assertEqual(reading.wait(), want)
        for call in calls:
            call.wait()

    def test_half_close(self) -> None:
        c, d = self.connected()
        for own, peer in ((c, d), (d, c)):
            reading = Call(peer.recv, 1)
            self.assertTrue(reading.waits())
            own.shutdown(socket.SHUT_WR)
            self.assertEqual(reading.wait(), b"")
            err = self.wants(BrokenPipeError, lambda: own.sendall(b"x"))
            self.assertEqual(err.op, "write")
            if own is c:
                peer.sendall(b"answer")
                self.assertEqual(own.recv(10), b"answer")
        self.assertEqual((c.recv(1), d.recv(1)), (b"", b""))

    def test_close_after_write(self) -> None:
        c, d = self.connected()
        data = payload(1 << 20)

        def send() -> None:
            c.sendall(data)
            c.close()

        sending = Call(send)
        self.assertEqual(read_all(d), data)
        sending.wait()

    def test_reset(self) -> None:
        """An error of the connection is of the kind of a socket's, and shows who talks to whom."""
        c, d = self.connected()
        c.sendall(b"unread")
        self.assertTrue(select.select([d], [], [], 5)[0])
        d.close()
        err = self.wants(ConnectionResetError, lambda: c.recv(1), "read", "α:1", "β:2")
        self.assertEqual(str(err), "read lonett α:1->β:2: connection reset by peer")
        self.wants(BrokenPipeError, lambda: c.send(b"x"), "write", "α:1", "β:2")

    def test_time_outs(self) -> None:
        c, d = self.connected()
        for timeout in (0.02, 0.1):
            c.settimeout(timeout)
            self.assertEqual(c.gettimeout(), timeout)
            start = time.monotonic()
            err = self.wants(lonet.ErrTimeout, lambda: c.recv(1), "read", "α:1", "β:2")
            self.assertTrue(timeout - 0.001 <= time.monotonic() - start < timeout + 1)
            self.assertIsInstance(err, TimeoutError)
            self.assertIsInstance(err, socket.timeout)
            self.assertEqual(str(err), "read lonett α:1->β:2: i/o timeout")
        self.wants(lonet.ErrTimeout, lambda: c.sendall(bytes(64 << 20)), "write", "α:1", "β:2")
        c.settimeout(None)
        d.sendall(b"x")
        self.assertEqual(c.recv(1), b"x")

    def test_non_blocking(self) -> None:
        c, d = self.connected()
        c.setblocking(False)
        self.assertEqual(c.gettimeout(), 0)
        with self.assertRaises(BlockingIOError):
            c.recv(1)
        with self.assertRaises(BlockingIOError):
            while True:
                c.send(bytes(1 << 20))
        c.setblocking(True)
        d.sendall(b"x")
        self.assertEqual(c.recv(1), b"x")

    def test_selectors(self) -> None:
        c, d = self.connected()
        with selectors.DefaultSelector() as s:
            s.register(c, selectors.EVENT_READ)
            self.assertEqual(s.select(0.01), [])
            d.sendall(b"x")
            self.assertEqual([key.fileobj for key, _ in s.select(5)], [c])
            self.assertEqual(c.recv(10), b"x")
            self.assertEqual(s.select(0.01), [])
            d.close()
            self.assertEqual([key.fileobj for key, _ in s.select(5)], [c])
            self.assertEqual(c.recv(10), b"")

    def test_payload_behind_handshake(self) -> None:
        """What was sent right behind the handshake's lines makes the descriptor readable, and only that."""
        a, b = self.pair()
        listener = b.listen(":1")
        raw = self.raw(b)
        raw.sendall(b'> lonet "lonett" dial "\xce\xb3:7" "\xce\xb2:1"\nearly')
        raw.shutdown(socket.SHUT_WR)
        with listener.accept(5) as d:
            self.assertEqual(d.remote_addr(), lonet.Addr("lonett", "γ", 7))
            self.assertEqual(select.select([d], [], [], 5)[0], [d])
            self.assertEqual(d.recv(3), b"ear")
            self.assertEqual(read_all(d), b"ly")
            d.sendall(b"late")
        self.assertEqual(read_all(raw), b'< lonet "lonett" connected "\xce\xb2:2"\nlate')

        def serve() -> None:
            with listener.accept(5) as d:
                d.sendall(b"at once")

        for _ in range(20):
            serving = Call(serve)
            with a.dial("β:1") as c:
                serving.wait()
                self.assertEqual(read_all(c), b"at once")

    def test_files(self) -> None:
        c, d = self.connected()
        with c.makefile("rwb") as f:
            f.write(b"line\nanother\n")
            f.flush()
            with d.makefile("r", encoding="utf-8", newline="\n") as g:
                self.assertEqual([g.readline(), g.readline()], ["line\n", "another\n"])
                d.close()  # it is open until its file is closed
                c.sendall("last α".encode())
                c.shutdown(socket.SHUT_WR)
                self.assertEqual(g.read(), "last α")
                self.wants_busy(d)
            self.assertEqual(f.read(), b"")
        self.wants(lonet.ErrSockDown, lambda: d.recv(1))

    def wants_busy(self, conn: lonet.Conn) -> None:
        """Checks that a connection has its port."""
        host = conn._host
        assert host is not None
        self.wants(lonet.ErrAddrAlreadyUsed, lambda: host.listen(f":{conn.local_addr().port}"))

    def test_file_time_out(self) -> None:
        c, d = self.connected()
        c.settimeout(0.02)
        with c.makefile("rb") as f:
            self.wants(TimeoutError, lambda: f.read(1))
        c.setblocking(False)
        with c.makefile("rb", buffering=0) as raw:
            self.assertIsNone(raw.read(1))

    def test_sendfile(self) -> None:
        c, d = self.connected()
        data = payload(1 << 20)
        with tempfile.TemporaryFile() as f:
            f.write(data)
            f.seek(0)
            sending = Call(c.sendfile, f, 10, len(data) - 20)
            got = b""
            while len(got) < len(data) - 20:
                got += d.recv(1 << 16)
            self.assertEqual(sending.wait(), len(data) - 20)
            self.assertEqual(got, data[10:-10])
        self.assertEqual(Call(c.sendfile, io.BytesIO(b"in memory")).wait(), 9)
        self.assertEqual(d.recv(9, socket.MSG_WAITALL), b"in memory")

    def test_dup_and_detach(self) -> None:
        c, d = self.connected()
        with c.dup() as plain:
            self.assertIs(type(plain), socket.socket)
            plain.sendall(b"x")
            self.assertEqual(d.recv(1), b"x")
        fd = c.detach()
        with socket.socket(fileno=fd) as plain:
            self.assertEqual(c.fileno(), -1)
            self.wants(lonet.ErrSockDown, lambda: c.recv(1))
            c.close()
            self.wants_free(self._subs[0].host("α"), 1)  # type: ignore[arg-type]
            self._subs[0].close()
            plain.sendall(b"y")
            self.assertEqual(d.recv(1), b"y")

    def test_tls(self) -> None:
        """ssl takes a connection, with the handshake on either end."""
        cert = os.path.join(self.temp, "cert.pem")
        made = os.system(
            f"{self.needs('openssl')} req -x509 -newkey rsa:2048 -nodes -keyout {cert}.key -out {cert} -days 2 "
            "-subj /CN=beta -addext subjectAltName=DNS:beta >/dev/null 2>&1"
        )
        self.assertEqual(made, 0)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(cert, cert + ".key")
        client = ssl.create_default_context(cafile=cert)
        c, d = self.connected()
        serving = Call(server.wrap_socket, d, server_side=True)
        with client.wrap_socket(c, server_hostname="beta") as tls, serving.wait() as other:
            tls.sendall(b"secret")
            self.assertEqual(other.recv(10), b"secret")

    def test_close_wakes(self) -> None:
        """close, by whatever thread, ends what waits on the connection at once."""
        for i in range(20):
            a, b = self.host(0, f"a{i}"), self.host(1, f"b{i}")
            listener = b.listen(":1")
            c, d = self.connect(a, listener)
            reading = Call(c.recv, 1)
            files = c.makefile("rb") if i % 2 else None
            if i == 0:
                self.assertTrue(reading.waits())
            if files is not None:
                files.close()
            start = time.monotonic()
            c.close()
            self.wants(lonet.ErrSockDown, reading.wait, "read", f"a{i}:1", f"b{i}:2")
            self.assertLess(time.monotonic() - start, 10)
            self.assertEqual(c.fileno(), -1)
            self.assertEqual(d.recv(1), b"")
            a.close()
            b.close()

    def test_close_wakes_all(self) -> None:
        c, d = self.connected()
        c.settimeout(60)
        calls = [Call(c.recv, 1), Call(c.recv_into, bytearray(1)), Call(c.sendall, bytes(64 << 20))]
        if hasattr(socket.socket, "recvmsg"):
            calls.append(Call(c.recvmsg, 1))
        for call in calls:
            self.assertTrue(call.waits())
        start = time.monotonic()
        c.close()
        for call in calls:
            self.wants(lonet.ErrSockDown, call.wait)
        self.assertLess(time.monotonic() - start, 10)

    def test_after_close(self) -> None:
        c, d = self.connected()
        c.close()
        c.close()
        for op, call in (
            ("read", lambda: c.recv(1)),
            ("read", lambda: c.recv_into(bytearray(1))),
            ("read", lambda: c.recvfrom(1)),
            ("write", lambda: c.send(b"x")),
            ("write", lambda: c.sendall(b"x")),
            ("write", lambda: c.sendfile(io.BytesIO(b"x"))),
            ("close", lambda: c.shutdown(socket.SHUT_RDWR)),
            ("set", lambda: c.settimeout(1)),
            ("set", lambda: c.setblocking(False)),
        ):
            err = self.wants(lonet.ErrSockDown, call, op, "α:1", "β:2")
            self.assertEqual(str(err), f"{op} lonett α:1->β:2: socket is down")
        self.assertEqual(c.fileno(), -1)

    def test_descriptors_are_not_mixed_up(self) -> None:
        """A descriptor is closed when no call is on it: what other threads open meanwhile is not touched."""
        a, b = self.pair()
        listener = b.listen(":1")
        stop = threading.Event()

        def churn() -> int:
            n = 0
            while not stop.is_set():
                x, y = socket.socketpair()
                x.sendall(b"mine")
                if y.recv(4) != b"mine":
                    raise AssertionError("somebody else read it, or closed it")
                x.close()
                y.close()
                n += 1
            return n

        churning = [Call(churn), Call(churn)]
        for _ in range(60):
            c, d = self.connect(a, listener)
            reading = [Call(c.recv, 4), Call(d.recv, 4)]
            c.close()
            self.wants(lonet.ErrSockDown, reading[0].wait)
            self.assertEqual(reading[1].wait(), b"")
            d.close()
        stop.set()
        for call in churning:
            self.assertGreater(call.wait(), 0)

    @unittest.skipUnless(ON_LINUX, "descriptors can't be counted")
    def test_one_descriptor(self) -> None:
        a, b = self.pair()
        listener = b.listen(":1")
        before = descriptors()
        ends = [self.connect(a, listener) for _ in range(10)]
        self.assertEqual(descriptors(), before + 20)
        for c, d in ends:
            c.close()
            d.close()
        self.assertEqual(descriptors(), before)

    def test_context(self) -> None:
        c, d = self.connected()
        with c:
            self.ping(c, d)
        self.wants(lonet.ErrSockDown, lambda: c.recv(1))
        self.assertTrue(0 < MOMENT)

    def test_default_time_out(self) -> None:
        """socket.setdefaulttimeout holds for connections, and not for their making."""
        a, b = self.pair()
        listener = b.listen(":1")
        socket.setdefaulttimeout(0.3)
        try:
            dial = Call(a.dial, "β:1")
            self.assertTrue(dial.waits(0.5))
            with listener.accept() as d, dial.wait() as c:
                self.assertEqual((c.gettimeout(), d.gettimeout()), (0.3, 0.3))
                self.ping(c, d)
                self.wants(lonet.ErrTimeout, lambda: c.recv(1))
        finally:
            socket.setdefaulttimeout(None)


if __name__ == "__main__":
    unittest.main()
