from __future__ import annotations

import os
import sqlite3
import time
import unittest
from typing import List, Optional, Tuple

import support
from support import PATIENCE, Call, TestCase, all_of

from lonet import ErrHostDup, ErrNetDown, ErrNoHost, ErrTimeout, OpError, mark
from lonet.clock import Deadline, deadline
from lonet.judge import Answer
from lonet.registry import Registry
from lonet.waits import Waits

A, B = "127.0.0.1:1001", "127.0.0.1:1002"


class RegistryTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.answer = Answer.PRESENT
        self.asked: List[Tuple[str, str]] = []

    def probe(self, osladdr: str, host: str, until: Deadline) -> Answer:
        self.asked.append((osladdr, host))
        return self.answer

    def open(self, osladdr: str, network: str = "t", until: Deadline = None) -> Registry:
        r = Registry(self.temp, network, osladdr, self.probe, until)
        self.addCleanup(r.close)
        return r

    def rows(self) -> List[Tuple[object, ...]]:
        return self.sql("SELECT hostname, osladdr FROM hosts ORDER BY hostname")

    def sql(self, query: str, *args: object) -> List[Tuple[object, ...]]:
        conn = sqlite3.connect(os.path.join(self.temp, "lonet", "t", "registry.db"), isolation_level=None)
        try:
            return conn.execute(query, args).fetchall()
        finally:
            conn.close()

    def mark(self, osladdr: str) -> str:
        return os.path.join(self.temp, "lonet", "t", osladdr.rpartition(":")[2] + ".live")

    def test_life(self) -> None:
        a, b = self.open(A), self.open(B)
        self.assertEqual(a.network, "t")
        a.announce("α")
        b.announce("β")
        self.assertEqual((b.query("α"), a.query("β"), a.query("α")), (A, B, A))
        with self.assertRaises(ErrNoHost) as caught:
            a.query("γ")
        self.assertEqual(str(caught.exception), f'{a.path}: query ["γ"]: no such host')
        with self.assertRaises(ErrHostDup) as dup:
            a.announce("β")
        self.assertEqual(str(dup.exception), f'{a.path}: announce ["β" "{A}"]: host already registered')
        self.assertEqual(self.asked, [(B, "β")])
        b.close()
        b.close()
        self.assertEqual(self.rows(), [("α", A)])
        self.assertEqual(sorted(os.listdir(os.path.dirname(a.path)))[0], "1001.live")
        self.assertFalse(os.path.exists(self.mark(B)))
        for call in (lambda: b.announce("γ"), lambda: b.query("α")):
            with self.assertRaises(ErrNetDown):
                call()

    def test_withdraw(self) -> None:
        a = self.open(A)
        a.announce("α")
        with self.assertRaises(ErrHostDup):
            a.announce("α")
        a.forget("α")
        self.assertTrue(a.withdraw_at_once("α"))
        self.assertEqual(self.rows(), [])
        a.announce("α")
        a.forget("α")
        a.announce("α")  # before it was withdrawn
        self.assertTrue(a.withdraw_at_once("α"))
        a.withdraw("α")
        self.assertEqual(self.rows(), [("α", A)])
        self.assertEqual(self.asked, [])

    def test_others_rows(self) -> None:
        """Programs that leave no mark share the registry; what they leave behind is judged by asking."""
        a = self.open(A)
        self.sql("INSERT INTO hosts VALUES ('γ', '127.0.0.1:9')")
        self.assertEqual(a.query("γ"), "127.0.0.1:9")
        with self.assertRaises(ErrHostDup):
            a.announce("γ")
        self.answer = Answer.NOBODY
        a.announce("γ")
        self.assertEqual(self.rows(), [("γ", A)])

    def test_take_over(self) -> None:
        for answer, held, left, taken, mark_stays in (
            (Answer.PRESENT, False, True, False, True),
            (Answer.SILENT, True, True, False, True),
            (Answer.SILENT, False, True, True, True),
            (Answer.SILENT, False, False, False, False),
            (Answer.NO_SUCH_HOST, True, True, True, True),
            (Answer.NO_SUCH_HOST, False, False, True, False),
            (Answer.NOBODY, True, True, False, True),
            (Answer.NOBODY, False, True, True, False),
            (Answer.NOBODY, False, False, True, False),
        ):
            with self.subTest(answer=answer, held=held, left=left):
                a = self.open(A)
                path = self.mark(B)
                holder: Optional[mark.Mark] = None
                if left:
                    holder = mark.take(path, Waits())
                    if not held:
                        holder.unlock()
                self.sql("INSERT INTO hosts VALUES ('γ', ?), ('δ', ?)", B, B)
                self.answer = answer
                try:
                    a.announce("γ")
                except ErrHostDup:
                    self.assertFalse(taken)
                else:
                    self.assertTrue(taken)
                self.assertEqual(a.query("γ"), A if taken else B)
                self.assertEqual(os.path.exists(path), mark_stays)
                if taken and left and not mark_stays:  # with the mark, all that was its
                    self.assertEqual(self.rows(), [("γ", A)])
                if holder is not None and held:
                    holder.remove()
                a.close()
                self.sql("DELETE FROM hosts")
                if os.path.exists(path):
                    os.unlink(path)

    def test_verdict_on_another(self) -> None:
        """A verdict on a row does not touch the row that has taken its place."""
        a, b = self.open(A), self.open(B)
        self.sql("INSERT INTO hosts VALUES ('γ', '127.0.0.1:9')")

        def probe(osladdr: str, host: str, until: Deadline) -> Answer:
            if not self.asked:
                self.asked.append((osladdr, host))
                self.sql("DELETE FROM hosts WHERE hostname = 'γ'")
                b.announce("γ")
                return Answer.NOBODY
            return Answer.PRESENT

        a._probe = probe
        with self.assertRaises(ErrHostDup):
            a.announce("γ")
        self.assertEqual(a.query("γ"), B)

    def test_bad_rows(self) -> None:
        """Where a row does not say where, nothing is connected to."""
        a = self.open(A)
        for i, osladdr in enumerate(("10.0.0.1:80", "", "localhost:80", "127.0.0.1:0", None, 5)):
            self.sql("INSERT INTO hosts VALUES (?, ?)", f"h{i}", osladdr)
            for call in (lambda: a.query(f"h{i}"), lambda: a.announce(f"h{i}")):
                with self.assertRaises(OpError) as caught:
                    call()
                self.assertIn("which is not 127.0.0.1:port", str(caught.exception))
                self.assertFalse(isinstance(caught.exception, ErrNoHost))
        self.assertEqual(self.asked, [])
        with self.assertRaises(ErrNoHost):
            a.query("\udcff")

    def test_sweep(self) -> None:
        """Who gets the port of a dead process removes its rows."""
        self.open(A).close()
        self.sql("INSERT INTO hosts VALUES ('α', ?), ('β', ?)", A, B)
        self.open(A)
        self.assertEqual(self.rows(), [("β", B)])

    def test_marked(self) -> None:
        self.open(A)
        with self.assertRaises(mark.ErrMarked):
            self.open(A)

    def test_busy(self) -> None:
        """Who finds another writing waits; not beyond its deadline, and not beyond close."""
        a = self.open(A)
        a.announce("δ")
        other = sqlite3.connect(a.path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            announcing = Call(a.announce, "α")
            self.assertTrue(announcing.waits())
            start = time.monotonic()
            with self.assertRaises(ErrTimeout) as caught:
                a.announce("β", deadline(0.05))
            self.assertTrue(0.05 <= time.monotonic() - start < 10)
            self.assertIn("announce", str(caught.exception))
            with self.assertRaises(ErrHostDup):
                a.announce("α")
            a.forget("δ")
            self.assertFalse(a.withdraw_at_once("δ"))
            withdrawing = Call(a.withdraw, "δ")
            self.assertTrue(withdrawing.waits())
            self.assertEqual(a.query("δ"), A)  # reading needs no waiting
            other.execute("ROLLBACK")
            announcing.wait()
            withdrawing.wait()
            self.assertEqual(self.rows(), [("α", A)])
            other.execute("BEGIN IMMEDIATE")
            announcing = Call(a.announce, "γ")
            self.assertTrue(announcing.waits())
            start = time.monotonic()
            a.close()
            self.assertLess(time.monotonic() - start, 10)
            with self.assertRaises(ErrNetDown):
                announcing.wait()
        finally:
            other.close()
        self.assertEqual(self.rows(), [("α", A)])  # it could not be removed, and is dead by rule
        self.assertFalse(os.path.exists(self.mark(A)))

    def test_many_threads(self) -> None:
        a, b = self.open(A), self.open(B)
        won: List[str] = []

        def work(r: Registry, i: int) -> None:
            for n in range(20):
                name = f"h{n % 7}"
                try:
                    r.announce(name)
                except ErrHostDup:
                    continue
                won.append(name)
                self.assertEqual(r.query(name), r.osladdr)
                r.forget(name)
                r.withdraw(name)

        all_of([Call(work, r, i) for i, r in enumerate((a, b, a, b))])
        self.assertTrue(won)
        self.assertEqual(self.rows(), [])

    def test_join_storm(self) -> None:
        """Processes that make a network at the same moment all succeed."""
        code = """
from lonet.registry import Registry
from lonet.waits import Waits
from lonet.judge import Answer
say('ready'); read()
r = Registry(temp, 't', '127.0.0.1:' + args[0], lambda *a: Answer.PRESENT)
r.announce('h' + args[0])
say('announced'); read()
r.close()
say('closed')
"""
        for network in range(3):
            children = [self.child(code, str(2000 + i)) for i in range(6)]
            for step in ("ready", "announced"):
                for child in children:
                    self.assertEqual(child.line(), step)
                if step == "announced":
                    self.assertEqual(len(self.rows()), 6)
                for child in children:
                    child.tell()
            for child in children:
                self.assertEqual(child.line(), "closed")
                child.wait()
            self.assertEqual(self.rows(), [])
            self.assertGreater(PATIENCE, support.MOMENT)


if __name__ == "__main__":
    unittest.main()
