from __future__ import annotations

import copy
import errno
import pickle
import socket
import unittest

import support  # noqa: F401

import lonet
from lonet import Addr, OpError
from lonet.errors import of_system

SRC, DST = Addr("lonett", "α", 1), Addr("lonett", "β", 2)


class ErrorsTest(unittest.TestCase):
    def test_kinds(self) -> None:
        for kind, std, code, text in (
            (lonet.ErrNetDown, OSError, errno.ENETDOWN, "network is down"),
            (lonet.ErrHostDown, OSError, errno.EHOSTDOWN, "host is down"),
            (lonet.ErrSockDown, OSError, errno.EBADF, "socket is down"),
            (lonet.ErrAddrAlreadyUsed, OSError, errno.EADDRINUSE, "address already in use"),
            (lonet.ErrAddrNoListen, OSError, errno.EADDRNOTAVAIL, "cannot listen on requested address"),
            (lonet.ErrConnRefused, ConnectionRefusedError, errno.ECONNREFUSED, "connection refused"),
            (lonet.ErrNoHost, socket.gaierror, socket.EAI_NONAME, "no such host"),
            (lonet.ErrHostDup, OSError, errno.EEXIST, "host already registered"),
            (lonet.ErrTimeout, TimeoutError, errno.ETIMEDOUT, "i/o timeout"),
            (lonet.ErrTimeout, socket.timeout, errno.ETIMEDOUT, "i/o timeout"),
            (lonet.ErrInvalid, ValueError, errno.EINVAL, "invalid argument"),
        ):
            with self.subTest(kind.__name__):
                err = kind()
                self.assertIsInstance(err, OpError)
                self.assertIsInstance(err, std)
                self.assertEqual((err.errno, err.strerror, str(err)), (code, text, text))
                for other in (ConnectionRefusedError, TimeoutError, ValueError, FileExistsError):
                    self.assertEqual(isinstance(err, other), issubclass(kind, other))

    def test_down(self) -> None:
        for kind in (lonet.ErrNetDown, lonet.ErrHostDown, lonet.ErrSockDown):
            self.assertTrue(issubclass(kind, lonet.ErrDown))

    def test_text(self) -> None:
        refused = lonet.ErrConnRefused
        for err, want in (
            (refused().at("dial", "lonett", SRC, DST), "dial lonett α:1->β:2: connection refused"),
            (refused().at("dial", "lonett", SRC), "dial lonett α:1: connection refused"),
            (lonet.ErrSockDown().at("accept", "lonett", None, DST), "accept lonett β:2: socket is down"),
            (lonet.ErrNetDown().at("listen", "lonett"), "listen lonett: network is down"),
            (
                lonet.ErrHostDup().because("there").at("new host", "lonett", what='virtnet "lonett": new host "α"'),
                'virtnet "lonett": new host "α": there: host already registered',
            ),
        ):
            self.assertEqual(str(err), want)
        err = refused("connection refused: it is gone").at("dial", "lonett", SRC, DST)
        self.assertEqual((err.op, err.net, err.source, err.addr), ("dial", "lonett", SRC, DST))

    def test_copies(self) -> None:
        err = lonet.ErrConnRefused().because("why").at("dial", "lonett", SRC, DST)
        for other in (pickle.loads(pickle.dumps(err)), copy.copy(err)):
            self.assertIs(type(other), type(err))
            self.assertEqual(str(other), str(err))
            self.assertEqual((other.errno, other.source, other.addr), (err.errno, SRC, DST))

    def test_of_system(self) -> None:
        for err, kind, text in (
            (ConnectionResetError(errno.ECONNRESET, "Connection reset"), ConnectionResetError, "connection reset"),
            (BrokenPipeError(errno.EPIPE, "Broken pipe"), BrokenPipeError, "broken pipe"),
            (ConnectionAbortedError(errno.ECONNABORTED, "Aborted"), ConnectionAbortedError, "aborted"),
            (PermissionError(errno.EACCES, "Permission denied", "/x"), PermissionError, "/x: permission denied"),
            (FileNotFoundError(errno.ENOENT, "No such file", "/x"), FileNotFoundError, "/x: no such file"),
            (OSError(errno.EMFILE, "Too many open files"), OpError, "too many open files"),
            (OSError("odd"), OpError, "odd"),
            (socket.timeout("timed out"), lonet.ErrTimeout, "i/o timeout"),
            (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), lonet.ErrTimeout, "i/o timeout"),
        ):
            with self.subTest(repr(err)):
                ours = of_system(err)
                self.assertIsInstance(ours, OpError)
                self.assertIsInstance(ours, kind)
                self.assertEqual(str(ours), text)
                if err.errno is not None:
                    self.assertEqual(ours.errno, err.errno)
                self.assertIs(type(pickle.loads(pickle.dumps(ours))), type(ours))
                self.assertIs(of_system(ours), ours)


if __name__ == "__main__":
    unittest.main()
