from __future__ import annotations

import socket
import time
import unittest
from typing import Optional

from support import Call, TestCase

from lonet import ErrNetDown, OpError
from lonet.judge import Answer
from lonet.probe import Probe


class ProbeTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.server.close)
        self.osladdr = "127.0.0.1:%d" % self.server.getsockname()[1]
        self.probe = Probe("lonett")

    def ask(self, seconds: float = 10, unless: Optional[socket.socket] = None) -> Call[Answer]:
        return Call(self.probe, self.osladdr, "β", time.monotonic() + seconds, unless)

    def test_answers(self) -> None:
        for answer, want in (
            (b'< lonet "lonett" E "connection refused"\n', Answer.PRESENT),
            (b'< lonet "lonett" E "out of tea"\n', Answer.PRESENT),
            (b'< lonet "lonett" connected "\xce\xb2:1"\n', Answer.PRESENT),
            (b'< lonet "lonett" E "address \xce\xb2:0: no such host"\nmore', Answer.NO_SUCH_HOST),
            (b'< lonet "lonett" E "protocol error: network mismatch"\n', Answer.PRESENT),
            (b'< lonet "lonetu" E "connection refused"\n', Answer.NOBODY),
            (b'< lonet "lonetu" E "address \xce\xb2:0: no such host"\n', Answer.NOBODY),
            (b'< lonet "lonett" E "connection refused"', Answer.NOBODY),
            (b"HTTP/1.0 400 Bad Request\r\n\r\n", Answer.NOBODY),
            (b"x" * 5000, Answer.NOBODY),
            (b"", Answer.NOBODY),
        ):
            with self.subTest(answer[:50]):
                asking = self.ask()
                conn, _ = self.server.accept()
                with conn:
                    self.assertEqual(conn.recv(1000), b'> lonet "lonett" dial "\xce\xb2:0" "\xce\xb2:0"\n')
                    try:
                        for i in range(0, len(answer), 20):
                            conn.sendall(answer[i : i + 20])
                    except ConnectionError:
                        self.assertGreater(len(answer), 1024)  # nobody reads all of that
                self.assertIs(asking.wait(), want)

    def test_silent(self) -> None:
        start = time.monotonic()
        self.assertIs(self.ask(0.05).wait(), Answer.SILENT)
        self.assertTrue(0.049 <= time.monotonic() - start < 10)
        conn, _ = self.server.accept()
        self.assertTrue(conn.recv(1000))
        self.assertEqual(conn.recv(1000), b"")  # it leaves nothing open
        conn.close()

    def test_nobody(self) -> None:
        self.server.close()
        self.assertIs(self.ask().wait(), Answer.NOBODY)

    def test_unless(self) -> None:
        """Once somebody else has an answer, nobody waits."""
        a, b = socket.socketpair()
        with a, b:
            asking = self.ask(unless=a)
            self.assertTrue(asking.waits())
            b.send(b"x")
            self.assertIs(asking.wait(1), Answer.PRESENT)
            self.assertIs(self.ask(unless=a).wait(1), Answer.PRESENT)

    def test_close(self) -> None:
        asking = self.ask()
        self.assertTrue(asking.waits())
        self.probe.close()
        for call in (asking, self.ask()):
            with self.assertRaises(ErrNetDown):
                call.wait(1)
        self.assertTrue(issubclass(ErrNetDown, OpError))


if __name__ == "__main__":
    unittest.main()
