"""What the tests share: networks in a directory of the test's own, calls in progress, other processes, and a look at what
is left behind."""

from __future__ import annotations

import faulthandler
import gc
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import Any, Callable, Dict, Generic, List, Optional, Tuple, TypeVar

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if PACKAGE not in sys.path:
    sys.path.insert(0, PACKAGE)

import lonet  # noqa: E402

T = TypeVar("T")

PATIENCE = 60.0
"""Bounds every wait for what must happen."""
MOMENT = 0.03
"""How long something that must not happen is given to happen."""
LIMIT = 200.0
"""How long a test may take before all stacks are printed and the process ends."""

HAS_FORK = hasattr(os, "fork")
ON_LINUX = sys.platform == "linux"


class Call(Generic[T]):
    """An operation in progress, on a thread of its own."""

    def __init__(self, f: Callable[..., T], *args: Any, **kwargs: Any) -> None:
        self.result: Optional[T] = None
        self.error: Optional[BaseException] = None
        self.took = 0.0
        self._what = f"{getattr(f, '__qualname__', f)}{args}"

        def run() -> None:
            start = time.monotonic()
            try:
                self.result = f(*args, **kwargs)
            except BaseException as err:
                self.error = err
            self.took = time.monotonic() - start

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def waits(self, moment: float = MOMENT) -> bool:
        """Tells whether it is in progress still, after a moment."""
        self._thread.join(moment)
        return self._thread.is_alive()

    def wait(self, patience: float = PATIENCE) -> T:
        """Returns its result, or raises its error."""
        self._thread.join(patience)
        if self._thread.is_alive():
            raise AssertionError(f"{self._what} has not returned after {patience} s")
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]


def eventually(what: str, f: Callable[[], Any], patience: float = PATIENCE) -> None:
    """Waits until f is true."""
    end = time.monotonic() + patience
    while not f():
        if time.monotonic() > end:
            raise AssertionError(f"not so after {patience} s: {what}")
        time.sleep(0.002)


def descriptors() -> int:
    """Returns how many descriptors are open, -1 if the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return -1


def payload(n: int) -> bytes:
    """Returns n bytes that do not repeat soon."""
    return bytes((i * 7 + i // 251) & 0xFF for i in range(min(n, 1 << 16))) * (n >> 16) + bytes(
        (i * 7 + i // 251) & 0xFF for i in range(n & 0xFFFF if n >= 1 << 16 else 0)
    )


def read_all(conn: socket.socket) -> bytes:
    """Reads until the end."""
    got = bytearray()
    while True:
        data = conn.recv(1 << 16)
        if not data:
            return bytes(got)
        got += data


class TestCase(unittest.TestCase):
    """A test with a time limit, that leaves neither descriptors nor threads behind."""

    def setUp(self) -> None:
        faulthandler.dump_traceback_later(LIMIT, exit=True)
        self.addCleanup(faulthandler.cancel_dump_traceback_later)
        self._threads = threading.active_count()
        self._descriptors = descriptors()
        self.addCleanup(self._leaves_nothing)
        self.temp = tempfile.mkdtemp(prefix="lonet-test")
        self.addCleanup(shutil.rmtree, self.temp, ignore_errors=True)
        self._subs: Dict[int, lonet.SubNetwork] = {}

    def _leaves_nothing(self) -> None:
        # What the test itself has dropped without closing is none of this.
        def rest() -> bool:
            gc.collect()
            return threading.active_count() <= self._threads and descriptors() <= self._descriptors

        try:
            eventually("threads and descriptors are back", rest, PATIENCE / 2)
        except AssertionError:
            names = [t.name for t in threading.enumerate()]
            self.fail(f"threads {self._threads} -> {names}; descriptors {self._descriptors} -> {descriptors()}")

    def needs(self, program: str) -> str:
        """Returns the path of a program. Without it the test is skipped or, where VIRTNET_TEST_REQUIRE is 1, fails."""
        path = shutil.which(program)
        if path is None:
            self._left_out(program)
        return path or ""

    def needs_module(self, name: str) -> None:
        """The same for a module of Python."""
        if importlib.util.find_spec(name) is None:
            self._left_out(f"Python's {name}")

    def _left_out(self, what: str) -> None:
        if os.environ.get("VIRTNET_TEST_REQUIRE") == "1":
            self.fail(f"needs {what}, which is not installed, and VIRTNET_TEST_REQUIRE=1 is set")
        path = os.environ.get("VIRTNET_TEST_LEFTOUT")
        if path:  # the list that scripts/test prints at the end
            with open(path, "a") as f:
                f.write(f"{what}: {self.id()}\n")
        self.skipTest(f"needs {what}, which is not installed")

    def join(self, network: str = "t", **settings: Any) -> lonet.SubNetwork:
        """Joins a network in the test's directory, and leaves it at the end of the test."""
        sub = lonet.join(network, temp_dir=self.temp, **settings)
        self.addCleanup(sub.close)
        return sub

    def host(self, number: int, name: str, **settings: Any) -> lonet.Host:
        """Makes a host on the sub-network with that number."""
        if number not in self._subs:
            self._subs[number] = self.join(**settings)
        return self._subs[number].new_host(name, timeout=PATIENCE)

    def pair(self, **settings: Any) -> Tuple[lonet.Host, lonet.Host]:
        """Makes α and β, on two sub-networks."""
        return self.host(0, "α", **settings), self.host(1, "β", **settings)

    def connect(self, source: lonet.Host, listener: lonet.Listener) -> Tuple[lonet.Conn, lonet.Conn]:
        """Dials and accepts. Returns the dialled end and the accepted one."""
        dial = Call(source.dial, str(listener.addr()), PATIENCE)
        accepted = listener.accept(PATIENCE)
        dialled = dial.wait()
        self.addCleanup(dialled.close)
        self.addCleanup(accepted.close)
        return dialled, accepted

    def connected(self, **settings: Any) -> Tuple[lonet.Conn, lonet.Conn]:
        """Returns the two ends of a connection from α to β."""
        a, b = self.pair(**settings)
        return self.connect(a, b.listen(":1"))

    def osladdr(self, host: lonet.Host) -> Tuple[str, int]:
        """Returns where the process of a host accepts."""
        return host._net._engine._osl.getsockname()  # type: ignore[no-any-return]

    def raw(self, host: lonet.Host) -> socket.socket:
        """Connects to the process of a host as a stranger does."""
        sock = socket.create_connection(self.osladdr(host), PATIENCE)
        self.addCleanup(sock.close)
        return sock

    def wants(self, kind: type, call: Callable[[], Any], op: str = "", source: str = "", addr: str = "") -> Any:
        """Checks how a call fails: with which error, and where it says that it was."""
        try:
            result = call()
        except OSError as err:
            self.assertIsInstance(err, kind, f"{type(err)}: {err}")
            if op:
                assert isinstance(err, lonet.OpError)
                have = err.op, str(err.source or ""), str(err.addr or "")
                self.assertEqual(have, (op, source, addr), err)
            return err
        self.fail(f"it returns {result!r}, want {kind.__name__}")

    def wants_free(self, host: lonet.Host, port: int) -> None:
        """Checks which port of a host is the lowest free one: an error of dial shows it."""
        err = self.wants(lonet.ErrConnRefused, lambda: host.dial(":0"))
        self.assertEqual(str(err.source), f"{host.name()}:{port}")

    def driving(self, a: lonet.Host, listener: lonet.Listener) -> Call[lonet.Conn]:
        """Starts an accept that drives the engine. The engine's own thread, if it does, leaves when it has served an accept,
        so then a dials one."""
        engine = listener._host._net._engine
        while True:
            call = Call(listener.accept)
            eventually("somebody drives, and the accept waits", lambda: engine._driver and listener._accepts)
            if engine._driving is not None:
                return call
            with a.dial(str(listener.addr()), PATIENCE), call.wait():
                pass

    def ping(self, c: socket.socket, d: socket.socket) -> None:
        """Checks that two ends are connected to each other, in both directions."""
        for own, peer in ((c, d), (d, c)):
            own.sendall(b"ping")
            self.assertEqual(peer.recv(4), b"ping")

    def child(self, code: str, *args: str) -> Child:
        """Starts another process; see Child."""
        child = Child(code, self.temp, *args)
        self.addCleanup(child.end)
        return child


class Child:
    """Another Python process. Its code has lonet, sys, os and time, and temp, the test's directory; what it prints are
    lines for the test, and read() waits for one of the test's."""

    PREAMBLE = """
import os, sys, time, threading, signal, lonet
temp, args = sys.argv[1], sys.argv[2:]
def read(): return sys.stdin.readline().strip()
def say(*what): print(*what, flush=True)
"""

    def __init__(self, code: str, temp: str, *args: str) -> None:
        env = dict(os.environ, PYTHONPATH=PACKAGE, PYTHONIOENCODING="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.PREAMBLE + code, temp, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
            encoding="utf-8",
        )

    def line(self) -> str:
        """Waits for a line that it prints; "" when it ends."""
        assert self.process.stdout is not None
        return Call(self.process.stdout.readline).wait().strip()

    def tell(self, line: str = "") -> None:
        """Sends it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """Kills it, as kill -9 does."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def end(self) -> None:
        """Ends it, and releases what is held of it."""
        if self.process.poll() is None:
            self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass

    def wait(self) -> int:
        """Waits until it ends, and returns its code."""
        return self.process.wait(PATIENCE)


def all_of(calls: List[Call[T]]) -> List[T]:
    """Returns the results of calls."""
    return [call.wait() for call in calls]
