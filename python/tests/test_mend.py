"""What happens to the files of a network while it is in use, and that all find each other again."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sqlite3
import time
import unittest
from typing import Callable, Dict, List, Optional, Tuple
from unittest import mock

from support import Call, Child, TestCase, eventually

import lonet
from lonet import mark, mend
from lonet.database import Damaged
from lonet.mark import State

SPOIL = """
import shutil
path = args[0]
while True:
    what = read()
    if what == 'copy':
        with open(args[1], 'rb') as f: data = f.read()
        with open(path, 'r+b') as f: f.write(data); f.truncate()
    else:
        begin, n = map(int, what.split())
        with open(path, 'r+b') as f: f.seek(begin); f.write(b'\\xa5' * n)
    say('done')
"""


class Loss:
    """Something that happens to the files of a network that is in use."""

    def __init__(self, name: str, happen: Callable[[MendTest], None], unseen: bool = False) -> None:
        self.name = name
        self.happen = happen
        self.unseen = unseen
        """A process that is on the network already may not notice before it looks for itself."""


def removes(*suffixes: str) -> Callable[[MendTest], None]:
    def happen(t: MendTest) -> None:
        for suffix in suffixes:
            os.unlink(t.path + suffix)

    return happen


def spoils(how: str) -> Callable[[MendTest], None]:
    def happen(t: MendTest) -> None:
        t.spoil(how)

    return happen


def remove_marks(t: MendTest) -> None:
    for name in os.listdir(t.directory):
        if name.endswith(".live"):
            os.unlink(os.path.join(t.directory, name))


def remove_marks_and_registry(t: MendTest) -> None:
    remove_marks(t)
    os.unlink(t.path)


LOSSES = (
    Loss("nothing", lambda t: None),
    Loss("everything removed", lambda t: shutil.rmtree(os.path.dirname(t.directory))),
    Loss("network removed", lambda t: shutil.rmtree(t.directory)),
    Loss("network moved away", lambda t: os.rename(t.directory, t.directory + "-moved")),
    Loss("registry removed", removes("")),
    Loss("registry and log removed", removes("", "-wal", "-shm")),
    Loss("log removed", removes("-wal")),
    Loss("index removed", removes("-shm")),
    Loss("log and index removed", removes("-wal", "-shm")),
    Loss("marks removed", remove_marks),
    Loss("marks and registry removed", remove_marks_and_registry),
    Loss("replaced by an old copy", lambda t: os.rename(t.backup, t.path)),
    Loss("overwritten by an old copy", spoils("copy"), unseen=True),
    Loss("header overwritten", spoils("0 100"), unseen=True),
    Loss("all overwritten", spoils("0 20480"), unseen=True),
    Loss("page overwritten", spoils("4096 4096"), unseen=True),
    Loss("truncated to nothing", lambda t: os.truncate(t.path, 0), unseen=True),
    Loss("truncated", lambda t: os.truncate(t.path, 6000), unseen=True),
)


@unittest.skipIf(os.name == "nt", "files that are open cannot be removed")
class MendTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.directory = os.path.join(self.temp, "lonet", "t")
        self.path = os.path.join(self.directory, "registry.db")
        self.backup = os.path.join(self.temp, "copy")
        self._spoiler: Optional[Child] = None

    def spoil(self, how: str) -> None:
        """Overwrites the registry, from another process: to close the file in this one would unlock SQLite's locks."""
        if self._spoiler is None:
            self._spoiler = self.child(SPOIL, self.path, self.backup)
        self._spoiler.tell(how)
        self.assertEqual(self._spoiler.line(), "done")

    def sql(self, query: str, path: str = "") -> None:
        conn = sqlite3.connect(path or self.path, isolation_level=None)
        try:
            conn.execute(query).fetchall()
        finally:
            conn.close()

    def old_program(self) -> Tuple[str, socket.socket]:
        """Announces host "old" as a program that knows only registry.db does, and answers for it."""
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)

        def serve() -> None:
            while True:
                try:
                    conn, _ = server.accept()
                except OSError:
                    return
                with conn:
                    asked = conn.recv(1000)
                    there = b'"old:' in asked.split(b" dial ")[1].split(b" ")[1]
                    says = b"connection refused" if there else b"address x:1: no such host"
                    conn.sendall(b'< lonet "lonett" E "' + says + b'"\n')

        Call(serve)
        osladdr = "127.0.0.1:%d" % server.getsockname()[1]
        self.sql(f"INSERT INTO hosts VALUES ('old', '{osladdr}')")
        return osladdr, server

    def meet(self, hosts: Dict[str, str], subs: List[lonet.SubNetwork]) -> bool:
        """Tells whether all of these sub-networks find all of these hosts where they are."""
        for host, osladdr in hosts.items():
            for sub in subs:
                try:
                    if sub._registry.query(host) != osladdr:
                        return False
                except lonet.ErrNoHost:
                    return False
        return True

    def test_losses(self) -> None:
        """Whatever happens to the files, all who are on the network and who come to it find each other in the end, without
        anybody's doing; who asks the registry does so sooner. A name stays its process's."""
        for loss in LOSSES:
            with self.subTest(loss.name), mock.patch.object(mend, "LOOK_EVERY", 0.3):
                self.loss(loss)
                shutil.rmtree(os.path.join(self.temp, "lonet"))
                if os.path.exists(self.backup):
                    os.unlink(self.backup)
                if self._spoiler is not None:
                    self._spoiler.end()
                    self._spoiler = None

    def loss(self, loss: Loss) -> None:
        a, b = self.join(), self.join()
        self.sql(f"VACUUM INTO '{self.backup}'")
        self.sql("INSERT INTO hosts VALUES ('ghost', '127.0.0.1:1')", self.backup)
        old, server = self.old_program()
        a.new_host("α", 20)
        listener = b.new_host("β", 20).listen(":1")
        # What was written is in the database file itself, so that it matters what becomes of that.
        self.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        if "copy" in loss.name or "overwritten" in loss.name:
            self.spoil("0 0")
        loss.happen(self)

        a.new_host("γ", 20)
        newcomer = self.join()
        newcomer.new_host("δ", 20)
        addr = {sub: sub._registry.osladdr for sub in (a, b, newcomer)}
        hosts = {"α": addr[a], "β": addr[b], "γ": addr[a], "δ": addr[newcomer]}
        if not loss.unseen:
            hosts["old"] = old
            self.assertTrue(self.meet({"α": addr[a], "γ": addr[a], "old": old}, [a, newcomer]), "at once")

        def all_meet() -> bool:
            with self.join() as last:
                return self.meet(hosts, [a, b, newcomer, last])

        eventually("all find all", all_meet)
        for host, osladdr in hosts.items():
            if osladdr != addr[newcomer]:
                self.wants(lonet.ErrHostDup, lambda: newcomer.new_host(host, 20))
        for sub in (a, b, newcomer):
            port = int(addr[sub].rpartition(":")[2])
            path = mark.mark_path(self.directory, port)
            eventually("it has its mark", lambda: mark.look(path) is State.RUNNING)
        # It is a network as any other.
        self.connect(newcomer.host("δ"), listener)  # type: ignore[arg-type]
        a.host("α").close()  # type: ignore[union-attr]
        eventually("the name is free", lambda: "α" not in a._withdraws)
        newcomer.new_host("α", 20)
        eventually("all find the new one", lambda: self.meet({"α": addr[newcomer]}, [a, b, newcomer]))
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for sub in (a, b, newcomer):
            sub.close()

    def test_processes(self) -> None:
        """The same happens to processes, which notice at the same moment."""
        code = """
net = lonet.join('t', temp_dir=temp)
net.new_host('h' + args[0], 20)
say(net._registry.osladdr)
for line in sys.stdin:
    op, name = line.split()
    try:
        say(net.new_host(name, 20) and 'ok' if op == 'new' else net._registry.query(name))
    except Exception as err: say(type(err), err)
"""
        for loss in LOSSES[1:6] + LOSSES[9:12]:
            with self.subTest(loss.name):
                children = [self.child(code, str(i)) for i in range(3)]
                addrs = [child.line() for child in children]
                self.sql(f"VACUUM INTO '{self.backup}'")
                loss.happen(self)
                for i, child in enumerate(children[1:]):
                    child.tell(f"new again{i}")
                for child in children[1:]:
                    self.assertEqual(child.line(), "ok")

                def find(child: Child, name: str) -> str:
                    child.tell(f"query {name}")
                    return child.line()

                eventually(
                    "all find all",
                    lambda: all(find(c, f"h{i}") == addr for i, addr in enumerate(addrs) for c in children),
                )
                for child in children:
                    child.end()
                shutil.rmtree(os.path.join(self.temp, "lonet"))
                if os.path.exists(self.backup):
                    os.unlink(self.backup)

    def test_name_taken(self) -> None:
        """A name that another process has taken while the registry was lost stays that one's, and the log tells it."""
        messages: List[str] = []
        logger = logging.Logger("test")
        handler = logging.Handler()
        handler.emit = lambda r: messages.append(r.getMessage())  # type: ignore[method-assign]
        logger.addHandler(handler)
        a = self.join(logger=logger)
        host = a.new_host("α")
        listener = host.listen(":1")
        a.new_host("β")
        mender = a._registry._mender
        with mender._turn:  # it stands still while the registry is removed and another process comes
            shutil.rmtree(self.directory)
            b = self.join()
            other = b.new_host("α")
        a.new_host("γ")
        self.assertTrue(self.meet({"α": b._registry.osladdr, "β": a._registry.osladdr}, [a, b]))
        self.connect(a.host("β"), other.listen(":1"))  # type: ignore[arg-type]
        for text in ("the registry was lost while in use, and is there again", "has taken the name of host α"):
            self.assertTrue(any(text in message for message in messages), messages)
        # The host can be closed, which does nothing to the other, and made again when the name is free.
        listener.close()
        host.close()
        self.assertTrue(self.meet({"α": b._registry.osladdr}, [a]))
        self.wants(lonet.ErrHostDup, lambda: a.new_host("α"))
        b.close()
        a.new_host("α")

    def test_cannot_be_mended(self) -> None:
        """What cannot be mended is an error each time, and none any more when it can. Connections do not notice."""
        a, b = self.pair()
        c, d = self.connect(a, b.listen(":1"))
        sub = self._subs[0]
        base = os.path.dirname(self.directory)
        shutil.rmtree(base)
        with open(base, "w"):
            pass
        for _ in range(2):
            err = self.wants(lonet.OpError, lambda: sub.new_host("γ", 20))
            self.assertIn("cannot be opened again", str(err))
            self.wants(lonet.OpError, lambda: a.dial("δ:1", 20))
            self.ping(c, d)
            c, d = self.connect(a, b.listen(""))
        os.unlink(base)
        sub.new_host("γ", 20)
        eventually("all are there", lambda: self.meet({"α": sub._registry.osladdr}, list(self._subs.values())))

    def test_close_while_mending(self) -> None:
        """Closing does not wait for what mends in vain."""
        sub = self.join()
        sub.new_host("α")
        shutil.rmtree(self.directory)
        os.mkdir(self.directory)
        fd = os.open(self.directory, os.O_RDONLY)
        try:
            self.assertTrue(lonet.locks.lock(fd, True))  # somebody has the turn, for ever
            making = Call(sub.new_host, "β")
            self.assertTrue(making.waits(0.2))
            self.wants(lonet.ErrTimeout, lambda: sub.new_host("γ", 0.1))
            start = time.monotonic()
            sub.close()
            self.assertLess(time.monotonic() - start, 10)
            self.wants(lonet.ErrNetDown, making.wait)
        finally:
            lonet.locks.release(fd)

    def test_left_over(self) -> None:
        """Whatever is left of a network that was half removed, who joins makes one."""
        for begin in ("directory", "log", "empty", "empty and log"):
            with self.subTest(begin):
                os.makedirs(self.directory, exist_ok=True)
                if begin == "directory":
                    os.mkdir(self.path)
                elif "empty" in begin:
                    with open(self.path, "w"):
                        pass
                if "log" in begin:
                    for suffix in ("-wal", "-shm"):
                        with open(self.path + suffix, "wb") as f:
                            f.write(b"left over" * 1000)
                with self.join() as sub, self.join() as other:
                    with sub.new_host("α").listen(":1") as listener:
                        c, d = self.connect(other.new_host("β"), listener)
                        self.ping(c, d)
                shutil.rmtree(self.directory)

    def test_directory_vanishes(self) -> None:
        """Processes join while others remove the network's directory again and again."""
        stop = []

        def remove() -> None:
            while not stop:
                time.sleep(0.02)
                shutil.rmtree(self.directory, ignore_errors=True)

        removing = Call(remove)
        try:
            for _ in range(20):
                with self.join() as sub:
                    sub.new_host("α", 20)
        finally:
            stop.append(True)
        removing.wait()

    def test_attempts(self) -> None:
        """An operation is tried again a bounded number of times."""
        sub = self.join()
        failing = mock.Mock(side_effect=Damaged("spoilt"))
        with self.assertRaises(Damaged):
            sub._registry._mender.attempt(failing, None)
        self.assertEqual(failing.call_count, mend._ATTEMPTS)
        sub.new_host("α")


class EvictTest(TestCase):
    def networks(self) -> List[str]:
        return os.listdir(os.path.join(self.temp, "lonet"))

    def test_random_name(self) -> None:
        """A network with a random name goes with the last who leaves it, if that is who made it."""
        for _ in range(3):
            with self.join("") as sub:
                self.assertEqual(len(self.networks()), 1)
                with sub.new_host("α").listen(":1") as listener:
                    self.connect(sub.host("α"), listener)  # type: ignore[arg-type]
            self.assertEqual(self.networks(), [])

    def test_others_stay(self) -> None:
        with self.join("") as sub:
            network = sub.network()[len("lonet") :]
            other = self.join(network)
            host = other.new_host("β")
        self.assertEqual(self.networks(), [network])
        self.connect(host, host.listen(":1"))
        other.close()
        self.assertEqual(self.networks(), [network])  # another's to remove

    def test_rows_stay(self) -> None:
        """A row of a program without a mark may be of one that lives."""
        sub = self.join("")
        db = lonet.database.Database(sub._registry.path)
        db.run("INSERT INTO hosts VALUES ('γ', '127.0.0.1:9')")
        db.close()
        sub.close()
        self.assertEqual(len(self.networks()), 1)

    def test_open_elsewhere(self) -> None:
        """So may one that has the database open."""
        sub = self.join("")
        other = sqlite3.connect(sub._registry.path)
        try:
            other.execute("SELECT * FROM hosts").fetchall()
            sub.close()
            self.assertEqual(len(self.networks()), 1)
        finally:
            other.close()

    def test_foreign_files_stay(self) -> None:
        sub = self.join("")
        path = os.path.join(os.path.dirname(sub._registry.path), "notes")
        with open(path, "w"):
            pass
        sub.close()
        self.assertEqual(os.listdir(os.path.dirname(path)), ["notes"])

    def test_failed_join(self) -> None:
        with mock.patch("lonet.session.mark.take", side_effect=OSError(28, "No space left on device")):
            self.wants(lonet.OpError, lambda: self.join(""))
        self.assertEqual(self.networks(), [])

    def test_named_stays(self) -> None:
        self.join("t").close()
        self.assertEqual(self.networks(), ["t"])


if __name__ == "__main__":
    unittest.main()
