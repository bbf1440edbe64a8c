"""Real processes: killed, stopped, forked, started together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import unittest
from typing import Any, List

from support import HAS_FORK, ON_LINUX, PATIENCE, Call, Child, TestCase, eventually

import lonet

HOSTS = """
net = lonet.join('t', temp_dir=temp)
host = net.new_host('β', 20)
listener = host.listen(':1')
say('up')
"""

ECHO = (
    HOSTS
    + """
while True:
    conn = listener.accept()
    conn.sendall(conn.recv(100))
    conn.close()
"""
)


class KillTest(TestCase):
    def up(self, code: str, *args: str, stderr_too: bool = False) -> Child:
        """Starts a child, and waits until it says so; with stderr_too what it says in the end can be read too."""
        child = self.child("sys.stderr = sys.stdout\n" * stderr_too + code, *args)
        self.assertEqual(child.line(), "up")
        return child

    def test_name_is_free_at_once(self) -> None:
        """The name of a process that is killed is free, and its mark and rows go with it."""
        sub = self.join()
        for _ in range(3):
            child = self.up(HOSTS + "net.new_host('γ'); say('γ'); read()")
            self.assertEqual(child.line(), "γ")
            self.wants(lonet.ErrHostDup, lambda: sub.new_host("β"))
            child.kill()
            start = time.monotonic()
            host = sub.new_host("β")
            self.assertLess(time.monotonic() - start, 1)
            marks = [name for name in os.listdir(os.path.join(self.temp, "lonet", "t")) if name.endswith(".live")]
            self.assertEqual(len(marks), 1)
            self.assertIsNone(sub._registry.session.db.addr("γ"))
            host.close()

    def test_dial_to_killed(self) -> None:
        a = self.host(0, "α")
        child = self.up(ECHO)
        with a.dial("β:1", 20) as c:
            c.sendall(b"x")
            self.assertEqual(c.recv(10), b"x")
        child.kill()
        for _ in range(3):
            err = self.wants(lonet.ErrConnRefused, lambda: a.dial("β:1", 5), "dial", "α:1", "β:1")
            self.assertRegex(str(err), r'connection refused: the process of host "β" \(127.0.0.1:\d+\) is gone$')
        self.up(ECHO)
        with a.dial("β:1", 20) as c:
            c.sendall(b"y")
            self.assertEqual(c.recv(10), b"y")

    def test_peer_is_killed(self) -> None:
        """What waits for a process that is killed ends: reads, and dials that no accept has taken."""
        a = self.host(0, "α")
        child = self.up(HOSTS + "c = listener.accept(); say('accepted'); read()")
        with a.dial("β:1", 20) as c:
            self.assertEqual(child.line(), "accepted")
            reading = Call(c.recv, 1)
            dialling = Call(a.dial, "β:1")
            self.assertTrue(dialling.waits(0.2))
            child.kill()
            self.assertEqual(reading.wait(), b"")
            err = self.wants(lonet.ErrConnRefused, dialling.wait, "dial", "α:2", "β:1")
            self.assertIn("is gone", str(err))

    @unittest.skipUnless(hasattr(signal, "SIGSTOP"), "no SIGSTOP")
    def test_stopped(self) -> None:
        """A process that is stopped lives."""
        a = self.host(0, "α")
        child = self.up(ECHO)
        os.kill(child.process.pid, signal.SIGSTOP)
        try:
            self.wants(lonet.ErrHostDup, lambda: self.join().new_host("β"))
            dialling = Call(a.dial, "β:1")
            self.assertTrue(dialling.waits(1.5))
        finally:
            os.kill(child.process.pid, signal.SIGCONT)
        with dialling.wait() as c:
            c.sendall(b"x")
            self.assertEqual(c.recv(10), b"x")

    def test_normal_end(self) -> None:
        """A program that just ends leaves no rows and no mark, whether it has closed anything or not."""
        sub = self.join()
        thread = "threading.Thread(target=listener.accept, daemon=True).start()"
        for end in ("", "sys.exit(3)", "raise ValueError", "net.close()", thread):
            child = self.child(HOSTS + "sys.stderr = open(os.devnull, 'w')\n" + end)
            self.assertEqual(child.line(), "up")
            self.assertIn(child.wait(), (0, 1, 3))
            self.assertIsNone(sub._registry.session.db.addr("β"), end)
            self.assertEqual(len([n for n in os.listdir(os.path.join(self.temp, "lonet", "t")) if "live" in n]), 1)

    def test_interrupted(self) -> None:
        """Ctrl-C ends whatever a program waits in, at once, and the traceback tells of nothing else."""
        server = "http.server.ThreadingHTTPServer, listener, http.server.SimpleHTTPRequestHandler"
        waits = (
            "listener.accept()",
            "listener.accept(60)",
            "listener.socket().accept()",
            "select.select([listener], [], [])",
            f"lonet.make_server({server}).serve_forever()",
            "host.dial('β:1')",
            "host.dial('β:1', 60)",
            "threading.Thread(target=listener.accept, daemon=True).start(); host.dial('β:1').recv(1)",
            "[threading.Thread(target=listener.accept, daemon=True).start() for _ in range(2)]; listener.accept()",
        )
        children = []
        for i, wait in enumerate(waits):
            code = f"import http.server, select\n{HOSTS}\n{wait}".replace("β", f"β{i}")
            children.append(self.up(code, stderr_too=True))
        time.sleep(0.2)  # so that most do wait
        for wait, child in zip(waits, children):
            with self.subTest(wait):
                start = time.monotonic()
                child.process.send_signal(signal.SIGINT)
                assert child.process.stdout is not None
                says = Call(child.process.stdout.read).wait()
                self.assertEqual(child.wait(), -signal.SIGINT)
                self.assertLess(time.monotonic() - start, 20)
                self.assertEqual(says.count("Traceback"), 1, says)
                self.assertTrue(says.endswith("\nKeyboardInterrupt\n"), says)
        sub = self.join()
        for i, _ in enumerate(waits):
            sub.new_host(f"β{i}")

    def test_killed_in_the_middle(self) -> None:
        """Killed at any moment, a process leaves nothing that keeps the next from its name."""
        sub = self.join()
        for i in range(6):
            child = self.child("say('up')" + HOSTS + "while True: net.new_host('x').close()")
            self.assertEqual(child.line(), "up")
            time.sleep(0.01 * i)
            child.kill()
            for name in "βx":
                sub.new_host(name, 5).close()

    def test_all_join_at_once(self) -> None:
        """Processes that make a network at the same moment are on one network, and reach each other."""
        n = 6
        code = """
say('ready'); read()
net = lonet.join('t', temp_dir=temp)
host = net.new_host('h' + args[0])
listener = host.listen(':1')
say('joined'); read()
n = int(args[1])
def serve():
    for _ in range(n): listener.accept().close()
t = threading.Thread(target=serve); t.start()
for i in range(n):
    c = host.dial('h%d:1' % i, 20)
    assert c.recv(1) == b''
    c.close()
t.join()
say('done')
"""
        children = [self.child(code, str(i), str(n)) for i in range(n)]
        for step in ("ready", "joined", "done"):
            for child in children:
                self.assertEqual(child.line(), step)
            for child in children:
                if step != "done":
                    child.tell()
        for child in children:
            self.assertEqual(child.wait(), 0)


@unittest.skipUnless(HAS_FORK, "no fork")
class ForkTest(TestCase):
    def fork(self, f: Any) -> int:
        """Runs f in a forked child, and returns its pid. What f returns is the child's code."""
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                code = int(f() or 0)
            except BaseException as err:
                print("in the child:", type(err), err, file=sys.stderr)
            finally:
                os._exit(code)
        return pid

    def code(self, pid: int) -> int:
        _, status = os.waitpid(pid, 0)
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)

    def test_child_has_not_joined(self) -> None:
        """In a forked child everything of the parent's networks is down, and the parent does not notice."""
        a, b = self.pair()
        sub = self._subs[1]
        listener = b.listen(":1")
        ready = b.listen(":7")
        ready.fileno()
        self.addCleanup(ready.close)
        c, d = self.connect(a, listener)
        accepting = Call(listener.accept)
        reading = Call(d.recv, 4)
        self.assertTrue(accepting.waits())
        raw = self.raw(b)
        eventually("it is in the crowd", lambda: len(sub._engine._crowd) == 1)

        def child() -> int:
            for call in (
                lambda: c.recv(1),
                lambda: d.sendall(b"x"),
                lambda: listener.accept(),
                lambda: a.dial("β:1"),
                lambda: b.listen(),
                lambda: sub.new_host("γ"),
            ):
                self.wants(lonet.ErrNetDown, call)
            self.assertEqual((c.fileno(), d.fileno(), listener.fileno()), (-1, -1, -1))
            for thing in (c, d, listener, ready, a, b, *self._subs.values()):
                thing.close()
            self.assertIsNone(sub.host("β"))
            if ON_LINUX:
                is_open = [link for link in links() if "socket:" in link or "eventpoll" in link or ".live" in link]
                self.assertEqual(is_open, [os.readlink(f"/proc/self/fd/{raw.fileno()}")])
            with lonet.join("t", temp_dir=self.temp) as own:
                self.wants(lonet.ErrHostDup, lambda: own.new_host("β"))
                with own.new_host("γ").dial("β:1", 10) as e:
                    e.sendall(b"from the child")
            return 0

        pid = self.fork(child)
        with accepting.wait() as e:
            self.assertEqual(e.recv(100), b"from the child")
        self.assertEqual(self.code(pid), 0)
        c.sendall(b"ping")
        self.assertEqual(reading.wait(), b"ping")
        self.ping(c, d)
        self.wants(lonet.ErrHostDup, lambda: self.join().new_host("β"))
        raw.close()

    def test_owner_dies_before_its_child(self) -> None:
        """A child that was forked and lives on does not keep the names of its parent."""
        for fork in ("if os.fork() == 0: live_on()", "multiprocessing.get_context('fork').Process(target=live_on).start()"):
            owner = self.child(
                HOSTS
                + f"""
import multiprocessing
dial = net.new_host('γ').dial  # something that holds on to the network
def live_on():
    say(os.getpid())
    time.sleep(60)
    os._exit(0)
{fork}
read()
"""
            )
            self.assertEqual(owner.line(), "up")
            child = int(owner.line())
            try:
                self.wants(lonet.ErrHostDup, lambda: self.join().new_host("β"))
                owner.kill()
                start = time.monotonic()
                with self.join() as sub:
                    sub.new_host("β")
                    sub.new_host("γ")
                self.assertLess(time.monotonic() - start, 20)
                os.kill(child, 0)
            finally:
                os.kill(child, signal.SIGKILL)

    def test_close_with_child(self) -> None:
        """The other ends of the parent's connections see its close, though a forked child lives on."""
        a, b = self.pair()
        listener = b.listen(":1")
        c, d = self.connect(a, listener)
        read_end, write_end = os.pipe()

        def child() -> None:
            os.close(write_end)
            os.read(read_end, 1)

        pid = self.fork(child)
        d.close()
        self.assertEqual(c.recv(1), b"")
        self._subs[1].close()
        self.join().new_host("β")
        os.close(write_end)
        os.close(read_end)
        self.assertEqual(self.code(pid), 0)

    def test_fork_while_busy(self) -> None:
        """Forked at whatever moment, a child can use networks of its own."""
        a, b = self.pair()
        listener = b.listen(":1")
        stop = threading.Event()

        def serve() -> None:
            while True:
                listener.accept().close()

        def dial() -> None:
            while not stop.is_set():
                a.dial("β:1", PATIENCE / 2).close()

        serving, dialling = Call(serve), Call(dial)

        def child() -> None:
            signal.alarm(30)
            for sub in self._subs.values():
                sub.close()
            with lonet.join("u", temp_dir=self.temp) as own:
                host = own.new_host("α", 10)
                with host.listen(":1") as l:
                    call = Call(host.dial, ":1", 10)
                    l.accept(10).close()
                    call.wait().close()

        try:
            for _ in range(5):
                self.assertEqual(self.code(self.fork(child)), 0)
        finally:
            stop.set()
        dialling.wait()
        listener.close()
        self.wants(lonet.ErrSockDown, serving.wait)


def links() -> List[str]:
    """Returns what the open descriptors are of."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            pass  # the list's own
    return found


def dial_from(temp: str, name: str, results: Any) -> None:
    """Dials β from a process of multiprocessing."""
    with lonet.join("t", temp_dir=temp) as net:
        with net.new_host(name, PATIENCE).dial("β:1", PATIENCE) as conn:
            conn.sendall(name.encode())
            results.put(conn.recv(100))


class MultiprocessingTest(TestCase):
    def test_dial(self) -> None:
        for method in ("spawn", "fork"):
            if method not in multiprocessing.get_all_start_methods():
                continue
            with self.subTest(method):
                context = multiprocessing.get_context(method)
                with self.join() as sub:
                    listener = sub.new_host("β").listen(":1")
                    results = context.SimpleQueue()
                    processes = [
                        context.Process(target=dial_from, args=(self.temp, f"h{i}", results))  # type: ignore[attr-defined]
                        for i in range(2)
                    ]
                    for process in processes:
                        process.start()
                    for _ in processes:
                        with listener.accept(PATIENCE) as conn:
                            self.assertEqual(conn.recv(10), conn.remote_addr().host.encode())
                            conn.sendall(b"for " + conn.remote_addr().host.encode())
                    self.assertEqual(sorted(results.get() for _ in processes), [b"for h0", b"for h1"])
                    for process in processes:
                        process.join(PATIENCE)
                        self.assertEqual(process.exitcode, 0)
                        process.close()
                    if hasattr(results, "close"):
                        results.close()

    def _leaves_nothing(self) -> None:
        # multiprocessing keeps a process and pipes of its own.
        self._descriptors += 10
        super()._leaves_nothing()


if __name__ == "__main__":
    unittest.main()
