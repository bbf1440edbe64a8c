from __future__ import annotations

import os
import socket
import sqlite3
import stat
import threading
import time
import unittest
from unittest import mock

from support import MOMENT, Call, TestCase, descriptors, eventually

import lonet
from lonet import mark, subnet


class JoinTest(TestCase):
    def test_network(self) -> None:
        with self.join("tea") as sub:
            self.assertEqual(sub.network(), "lonettea")
            self.assertEqual(repr(sub), "<lonet.SubNetwork lonettea>")
            host = sub.new_host("α")
            self.assertEqual((host.network(), host.name()), ("lonettea", "α"))
            self.assertEqual(repr(host), "<lonet.Host lonettea α>")
            self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.temp, "lonet", "tea")).st_mode), 0o700)
        self.assertEqual(repr(sub), "<lonet.SubNetwork lonettea [closed]>")
        self.assertEqual(repr(host), "<lonet.Host lonettea α [closed]>")

    def test_random(self) -> None:
        first, second = self.join(""), self.join("")
        self.assertNotEqual(first.network(), second.network())
        again = self.join(first.network()[len("lonet") :])
        with first.new_host("α").listen(":1") as listener:
            self.connect(again.new_host("β"), listener)

    def test_temp_dir(self) -> None:
        with mock.patch.dict(os.environ, TMPDIR=self.temp):
            with lonet.join("t") as sub:
                sub.new_host("α")
                self.assertTrue(os.path.exists(os.path.join(self.temp, "lonet", "t", "registry.db")))

    def test_invalid(self) -> None:
        for network, says in (
            ("a/b", "network name: invalid name \"a/b\": it contains '/'"),
            ("..", 'network name: invalid name "..": it is a directory reference'),
            ("n" * 300, "bytes when quoted"),
        ):
            err = self.wants(lonet.ErrInvalid, lambda: self.join(network))
            self.assertIsInstance(err, ValueError)
            self.assertTrue(str(err).startswith(f'lonet: join "{network}": '), err)
            self.assertIn(says, str(err))
        with self.assertRaises(ValueError):
            self.join("t", timeout=-1)
        for no_name in (None, 1, b"a"):
            with self.assertRaisesRegex(TypeError, f"a network is a str, not {type(no_name).__name__}"):
                self.join(no_name)  # type: ignore[arg-type]
        self.assertEqual(os.listdir(self.temp), [])

    def test_refused(self) -> None:
        self.join("t").close()
        path = os.path.join(self.temp, "lonet", "t", "registry.db")
        os.rename(os.path.join(self.temp, "lonet", "t"), os.path.join(self.temp, "lonet", "u"))
        err = self.wants(lonet.OpError, lambda: self.join("u"))
        self.assertEqual(
            str(err), f'lonet: join "u": {path.replace("/t/", "/u/")}: network name mismatch: want "u"; have "t"'
        )
        os.mkdir(os.path.join(self.temp, "lonet", "t"))
        with open(path, "wb") as f:
            f.write(b"no database" * 1000)
        self.join("t").new_host("α")  # it is replaced

    def test_leaves_nothing_when_it_fails(self) -> None:
        before = descriptors(), threading.active_count()
        for broken in ("lonet.engine.Engine.start", "lonet.session.mark.take", "lonet.registry.Registry._sweep"):
            with mock.patch(broken, side_effect=OSError(28, "No space left on device")):
                err = self.wants(lonet.OpError, lambda: self.join("t"))
            self.assertIn("no space left on device", str(err))
            self.assertEqual((descriptors(), threading.active_count()), before, broken)
            self.assertFalse([name for name in os.listdir(os.path.join(self.temp, "lonet", "t")) if "live" in name])

    def test_marked(self) -> None:
        """Where the mark of its port is another's, the next port does."""
        self.join("t").close()
        held = []
        listen = subnet._listen

        def marked() -> socket.socket:
            osl = listen()
            if len(held) < 2:
                path = mark.mark_path(os.path.join(self.temp, "lonet", "t"), osl.getsockname()[1])
                held.append(mark.take(path, lonet.waits.Waits()))
            return osl

        with mock.patch.object(subnet, "_listen", marked), mock.patch.object(mark, "_MARK_WAIT", 0.01):
            a = self.join("t").new_host("α")
        self.assertEqual(len(held), 2)
        with a.listen(":1") as listener:
            self.connect(a, listener)
        for m in held:
            m.remove()

    def test_time_out(self) -> None:
        self.join("t").close()
        path = os.path.join(self.temp, "lonet", "t", "registry.db")
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            other.execute("DELETE FROM hosts")
            start = time.monotonic()
            err = self.wants(lonet.ErrTimeout, lambda: self.join("t", timeout=0.1))
            self.assertTrue(0.1 <= time.monotonic() - start < 10)
            self.assertTrue(str(err).startswith('lonet: join "t": '), err)
        finally:
            other.close()

    def test_more_than_once(self) -> None:
        subs = [self.join() for _ in range(5)]
        for i, sub in enumerate(subs):
            sub.new_host(f"h{i}")
        self.assertIsNone(subs[0].host("h1"))
        for sub in subs[1:]:
            with sub.host(f"h{subs.index(sub)}").listen(":1") as listener:  # type: ignore[union-attr]
                self.connect(subs[0].host("h0"), listener)  # type: ignore[arg-type]

    def test_descriptors(self) -> None:
        before = descriptors()
        with self.join() as sub:
            sub.new_host("α")
            self.assertLessEqual(descriptors() - before, 8)
        self.assertEqual(descriptors(), before)


class NamesTest(TestCase):
    def test_host(self) -> None:
        a, b = self.pair()
        for i, sub in self._subs.items():
            for j, host in enumerate((a, b)):
                self.assertIs(sub.host(host.name()), host if i == j else None)
            self.assertIsNone(sub.host("nohost"))

    def test_invalid(self) -> None:
        sub = self.join()
        for name, says in (("", "it is empty"), ("a/b", "it contains '/'"), ("a\nb", "control character")):
            err = self.wants(lonet.ErrInvalid, lambda: sub.new_host(name))
            self.assertTrue(str(err).startswith('virtnet "lonett": new host "'), err)
            self.assertIn(says, str(err))
            self.assertIsNone(sub.host(name))

    def test_valid(self) -> None:
        a, b = self.pair()
        for name in ("b", "a.b", "xn--nxa", "ho st", "日本", 'qu"ote', "it's", "127.0.0.1", "...", "n" * 253, "ν" * 126):
            with self.subTest(name[:20]), self._subs[1].new_host(name) as host:
                c, d = self.connect(a, host.listen(":1"))
                self.assertEqual((str(c.remote_addr()), str(d.local_addr())), (name + ":2", name + ":2"))
                self.ping(c, d)
                c, d = self.connect(host, b.listen(""))
                self.assertEqual(str(d.remote_addr()), name + ":3")

    def test_dup(self) -> None:
        a, b = self.pair()
        listener = b.listen(":1")
        for sub in self._subs.values():
            for name in "αβ":
                err = self.wants(lonet.ErrHostDup, lambda: sub.new_host(name))
                text = str(err)
                self.assertTrue(text.startswith(f'virtnet "lonett": new host "{name}": '), text)
                self.assertTrue(text.endswith("host already registered"), text)
        self.connect(a, listener)

    def test_one_of_many(self) -> None:
        """Of many who want a name at once, one gets it."""
        subs = [self.join() for _ in range(4)]
        for _ in range(5):
            calls = [Call(sub.new_host, "α") for sub in subs for _ in range(2)]
            won = []
            for call in calls:
                try:
                    won.append(call.wait())
                except lonet.ErrHostDup:
                    pass
            self.assertEqual(len(won), 1)
            won[0].close()

    def test_again(self) -> None:
        """The name of a host that is closed is free at once."""
        sub, other = self.join(), self.join()
        for _ in range(10):
            for join in (sub, sub, other):
                host = join.new_host("α")
                self.assertIs(join.host("α"), host)
                host.listen(":1")
                host.close()
                host.close()
                self.assertIsNone(join.host("α"))
        sub.new_host("α")
        sub.close()
        other.new_host("α")

    def test_close_does_not_wait(self) -> None:
        """Closing a host never waits for the registry; who makes one of that name does."""
        a, b = self.pair()
        path = self._subs[0]._registry.path
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            start = time.monotonic()
            a.close()
            self.assertLess(time.monotonic() - start, 10)
            self.wants(lonet.ErrNoHost, lambda: b.dial("α:1", 5))
            self.assertIsNone(self._subs[0].host("α"))
            making = Call(self._subs[0].new_host, "α")
            self.assertTrue(making.waits())
            start = time.monotonic()
            self.wants(lonet.ErrTimeout, lambda: self._subs[0].new_host("γ", 0.05))
            self.assertTrue(0.049 <= time.monotonic() - start < 10)
            other.execute("COMMIT")
            with making.wait().listen(":1") as listener:
                self.connect(b, listener)
            other.execute("BEGIN IMMEDIATE")
            making = Call(self._subs[0].new_host, "δ")
            self.assertTrue(making.waits())
            self._subs[0].close()
            self.wants(lonet.ErrNetDown, making.wait)
        finally:
            other.close()

    def test_refused_while_made(self) -> None:
        """A dial to a host that is about to be announced is refused for want of a listener, not of a host."""
        sub = self.join()
        with mock.patch.object(sub._registry, "announce", side_effect=lambda *a: time.sleep(0.2)):
            making = Call(sub.new_host, "α")
            eventually("it is reserved", lambda: "α" in sub._hosts)
            answer = sub._probe(sub._registry.osladdr, "α", time.monotonic() + 5)
            self.assertIs(answer, lonet.judge.Answer.PRESENT)
            self.assertIsNone(sub.host("α"))
            self.wants(lonet.ErrHostDup, lambda: sub.new_host("α"))
        making.wait()
        self.assertGreater(MOMENT, 0)

    def test_probe_ends_with_close(self) -> None:
        """new_host asks who has the name, and ends when the sub-network is closed, or at its time-out."""
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        sub = self.join()
        db = lonet.database.Database(sub._registry.path)
        db.run("INSERT INTO hosts VALUES ('β', ?)", "127.0.0.1:%d" % server.getsockname()[1])
        db.close()
        start = time.monotonic()
        with mock.patch("lonet.judge.SILENCE", 30.0):
            self.wants(lonet.ErrTimeout, lambda: sub.new_host("β", 0.1))
        self.assertTrue(0.09 <= time.monotonic() - start < 10)
        with mock.patch("lonet.judge.SILENCE", 30.0):
            making = Call(sub.new_host, "β")
            self.assertTrue(making.waits(0.1))
            start = time.monotonic()
            sub.close()
            self.wants(lonet.ErrNetDown, making.wait)
        self.assertLess(time.monotonic() - start, 10)
        start = time.monotonic()
        self.wants(lonet.ErrHostDup, lambda: self.join().new_host("β"))  # silent for a second: it may be stopped
        self.assertTrue(0.9 <= time.monotonic() - start < 20)


if __name__ == "__main__":
    unittest.main()
