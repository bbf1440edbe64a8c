from __future__ import annotations

import errno
import socket
import time
import unittest
from unittest import mock

from support import TestCase, eventually

from lonet import sockopt


class SockoptTest(TestCase):
    def pair(self) -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            a = socket.create_connection(server.getsockname())
            b, _ = server.accept()
        self.addCleanup(a.close)
        self.addCleanup(b.close)
        return a, b

    def test_readable(self) -> None:
        a, b = self.pair()
        for seconds in (0, 0.01, 0.05):
            start = time.monotonic()
            self.assertFalse(sockopt.readable(a, seconds))
            self.assertGreaterEqual(time.monotonic() - start, seconds - 0.002)
        b.send(b"x")
        for seconds in (10, None, 0):
            self.assertTrue(sockopt.readable(a, seconds))
        self.assertEqual(a.recv(1), b"x")
        b.close()
        self.assertTrue(sockopt.readable(a, None))  # the end

    def test_connect_and_send(self) -> None:
        """It connects and sends whether the system has one call for it, or has that turned off, or not."""
        for flag in (sockopt._FASTOPEN, 0, None):
            with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as sock:
                calls = []

                def sendto(*args: object) -> int:
                    calls.append(args)
                    raise OSError(errno.EOPNOTSUPP, "Operation not supported")

                with mock.patch.object(sockopt, "_FASTOPEN", 1 if flag is None else flag):
                    with mock.patch.object(sockopt, "_sendto", sendto if flag is None else sockopt._sendto):
                        sockopt.connect_and_send(sock, server.getsockname(), b"data")
                self.assertEqual(len(calls), 1 if flag is None else 0)
                accepted, _ = server.accept()
                with accepted:
                    self.assertEqual(accepted.recv(10), b"data")
                address = server.getsockname()
            with socket.socket() as sock, self.assertRaises(ConnectionRefusedError):
                sockopt.connect_and_send(sock, address, b"data")

    def test_is_gone(self) -> None:
        for end in ("none", "data", "end", "data and end", "reset", "data and reset"):
            with self.subTest(end):
                a, b = self.pair()
                if "data" in end:
                    b.send(b"x")
                if "end" in end:
                    b.shutdown(socket.SHUT_WR)
                if "reset" in end:
                    b.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, sockopt.LINGER_RESET)
                    b.close()
                if end == "none":
                    self.assertFalse(sockopt.is_gone(a, False))
                elif end in ("end", "reset"):
                    eventually("it is seen", lambda: sockopt.is_gone(a, False))
                    self.assertEqual(sockopt.is_gone(a, True), end == "reset")
                else:
                    eventually("it is there", lambda: a.recv(1, socket.MSG_PEEK | sockopt.DONTWAIT) == b"x")
                    # Behind data an end may be half of one, and a reset is one.
                    self.assertEqual(sockopt.is_gone(a, True), "reset" in end)


if __name__ == "__main__":
    unittest.main()
