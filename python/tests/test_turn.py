from __future__ import annotations

import os
import threading
import time
import unittest

from support import HAS_FORK, Call, TestCase, all_of

from lonet import ErrNetDown, ErrTimeout, OpError, clock, turn
from lonet.waits import Waits


@unittest.skipIf(os.name == "nt", "there are no turns")
class TurnTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.base = os.path.join(self.temp, "lonet")
        self.directory = os.path.join(self.base, "t")
        self.waits = Waits()

    def enter(self, alone: bool) -> turn.Turn:
        return turn.enter(self.base, self.directory, alone, self.waits, None)

    def can(self, alone: bool) -> bool:
        mine = turn.try_take(self.directory, alone)
        if mine is None:
            return False
        with mine:
            return True

    def test_shared_and_alone(self) -> None:
        with self.enter(False), self.enter(False):
            self.assertTrue(self.can(False))
            self.assertFalse(self.can(True))
        with self.enter(True) as mine:
            self.assertTrue(os.path.samestat(mine.info, os.stat(self.directory)))
            self.assertFalse(self.can(False))
            self.assertFalse(self.can(True))
        self.assertTrue(self.can(True))

    def test_waits(self) -> None:
        with self.enter(True):
            start = time.monotonic()
            with self.assertRaises(ErrTimeout):
                turn.take(self.directory, False, self.waits, clock.deadline(0.05))
            self.assertTrue(0.05 <= time.monotonic() - start < 10)
            waiting = Call(turn.take, self.directory, False, self.waits, None)
            self.assertTrue(waiting.waits())
        with waiting.wait():
            ended = Call(turn.take, self.directory, True, self.waits, None)
            self.assertTrue(ended.waits())
            self.waits.life.set()
            with self.assertRaises(ErrNetDown):
                ended.wait()

    def test_not_there(self) -> None:
        for base in (False, True):
            if base:
                os.mkdir(self.base)
            with self.assertRaises(FileNotFoundError):
                turn.take(self.directory, False, self.waits, None)

    def test_refused(self) -> None:
        self.enter(False).__exit__()
        link = os.path.join(self.base, "link")
        os.symlink(self.directory, link)
        with open(os.path.join(self.base, "file"), "w"):
            pass
        for name, says in (("link", "is a symbolic link"), ("file", "is not a directory")):
            with self.assertRaises(OpError) as caught:
                turn.try_take(os.path.join(self.base, name), False)
            self.assertIn(says, str(caught.exception))

    def test_replaced(self) -> None:
        """A turn at a directory that was replaced is none."""
        with self.enter(True):
            os.rename(self.directory, self.directory + "2")
            with self.enter(True) as mine:
                self.assertTrue(os.path.samestat(mine.info, os.stat(self.directory)))

    def test_come_and_go(self) -> None:
        """Some make the directory while others remove it: in the end each has had its turn."""
        stop = threading.Event()

        def remove() -> None:
            while not stop.is_set():
                try:
                    with turn.take(self.directory, True, self.waits, None):
                        os.rmdir(self.directory)
                except OSError:
                    time.sleep(0.0002)

        def use() -> None:
            for i in range(30):
                with self.enter(i % 3 == 0):
                    path = os.path.join(self.directory, str(threading.get_ident()))
                    with open(path, "w"):
                        pass
                    os.unlink(path)

        removing = Call(remove)
        all_of([Call(use) for _ in range(3)])
        stop.set()
        removing.wait()

    @unittest.skipUnless(HAS_FORK, "no fork")
    def test_fork(self) -> None:
        """A child that is forked while its parent has a turn does not keep it."""
        read_end, write_end = os.pipe()
        with self.enter(True):
            pid = os.fork()
            if pid == 0:
                os.close(write_end)
                os.read(read_end, 1)
                os._exit(0)
        self.assertTrue(self.can(True))
        os.close(write_end)
        os.close(read_end)
        os.waitpid(pid, 0)

    def test_killed(self) -> None:
        child = self.child(
            "from lonet import turn, waits\n"
            "mine = turn.enter(args[0], args[0] + '/t', True, waits.Waits(), None)\nsay('mine'); read()",
            self.base,
        )
        self.assertEqual(child.line(), "mine")
        self.assertFalse(self.can(False))
        child.kill()
        self.assertTrue(self.can(True))


if __name__ == "__main__":
    unittest.main()
