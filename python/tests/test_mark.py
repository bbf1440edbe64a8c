from __future__ import annotations

import os
import threading
import unittest

from support import HAS_FORK, PATIENCE, Call, TestCase

from lonet import mark
from lonet.mark import State
from lonet.waits import Waits


class MarkTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = mark.mark_path(self.temp, 4711)

    def test_life(self) -> None:
        self.assertEqual(self.path, os.path.join(self.temp, "4711.live"))
        self.assertIs(mark.look(self.path), State.UNMARKED)
        self.assertFalse(os.path.exists(self.path))
        held = mark.take(self.path, Waits())
        self.assertTrue(held.linked())
        self.assertEqual(os.stat(self.path).st_size, 0)
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        self.assertIs(mark.look(self.path), State.RUNNING)
        self.assertEqual(mark.try_lock(self.path), (None, State.RUNNING))
        held.unlock()
        self.assertIs(mark.look(self.path), State.GONE)
        again, state = mark.try_lock(self.path)
        self.assertIs(state, State.GONE)
        assert again is not None
        again.remove()
        self.assertIs(mark.look(self.path), State.UNMARKED)
        self.assertEqual(mark.try_lock(self.path), (None, State.UNMARKED))

    def test_marked(self) -> None:
        held = mark.take(self.path, Waits())
        with self.assertRaises(mark.ErrMarked):
            mark.take(self.path, Waits())
        waiting = Call(mark.take, self.path, Waits())
        self.assertTrue(waiting.waits())
        held.remove()
        waiting.wait().remove()

    def test_replaced(self) -> None:
        """A mark whose file was removed belongs to nobody, and does not remove that of a next owner."""
        held = mark.take(self.path, Waits())
        os.unlink(self.path)
        self.assertFalse(held.linked())
        other = mark.take(self.path, Waits())
        held.remove()
        self.assertTrue(other.linked())
        self.assertIs(mark.look(self.path), State.RUNNING)
        other.remove()

    def test_many(self) -> None:
        """Of many who take one mark at once, one has it at a time."""
        holders = []
        most = []
        lock = threading.Lock()

        def take() -> None:
            for _ in range(20):
                try:
                    held = mark.take(self.path, Waits())
                except mark.ErrMarked:
                    continue
                with lock:
                    holders.append(held)
                    most.append(len(holders))
                with lock:
                    holders.remove(held)
                held.remove()

        for call in [Call(take) for _ in range(4)]:
            call.wait()
        self.assertEqual(set(most), {1})

    def test_killed(self) -> None:
        child = self.child(
            "from lonet import mark, waits; m = mark.take(args[0], waits.Waits()); say('held'); read()", self.path
        )
        self.assertEqual(child.line(), "held")
        self.assertIs(mark.look(self.path), State.RUNNING)
        child.kill()
        self.assertIs(mark.look(self.path), State.GONE)

    @unittest.skipUnless(HAS_FORK, "no fork")
    def test_forget(self) -> None:
        """A forked child that closes its copy does not unlock; one that keeps it does not keep an owner from letting go."""
        held = mark.take(self.path, Waits())
        pid = os.fork()
        if pid == 0:
            held.forget()
            os._exit(0)
        os.waitpid(pid, 0)
        self.assertIs(mark.look(self.path), State.RUNNING)
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(write_end)
            os.read(read_end, 1)
            os._exit(0)
        held.unlock()
        self.assertIs(mark.look(self.path), State.GONE)
        os.close(write_end)
        os.close(read_end)
        os.waitpid(pid, 0)

    def test_not_inherited(self) -> None:
        held = mark.take(self.path, Waits())
        child = self.child("say('up'); read()")
        self.assertEqual(child.line(), "up")
        held.unlock()
        self.assertIs(mark.look(self.path), State.GONE)

    def test_parse(self) -> None:
        for text, port in (
            ("127.0.0.1:1", 1),
            ("127.0.0.1:65535", 65535),
            ("127.0.0.1:65536", None),
            ("127.0.0.1:0", None),
            ("127.0.0.1:01", None),
            ("127.0.0.1:", None),
            ("127.0.0.1", None),
            ("127.0.0.1:1:2", None),
            ("127.0.0.1:-1", None),
            ("127.0.0.1:+1", None),
            ("127.0.0.1: 1", None),
            ("127.0.0.1:１", None),
            ("127.0.0.2:1", None),
            ("localhost:1", None),
            ("", None),
        ):
            self.assertEqual(mark.parse_osladdr(text), port, text)
        self.assertGreater(PATIENCE, mark._MARK_WAIT)


if __name__ == "__main__":
    unittest.main()
