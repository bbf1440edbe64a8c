"""The conformance suite of registries of virtnettest, in Python. Announced is always where the process accepts."""

from __future__ import annotations

import time
import unittest
from typing import Callable, List

from support import PATIENCE, Call, TestCase, all_of

from lonet import ErrHostDup, ErrNetDown, ErrNoHost, ErrTimeout, OpError
from lonet.judge import Answer
from lonet.registry import Registry

A, B = "127.0.0.1:4001", "127.0.0.1:4002"

THREADS, ROUNDS = 8, 15


class RegistryClauses(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.a = self.open(A)

    def open(self, osladdr: str) -> Registry:
        r = Registry(self.temp, "t", osladdr, lambda *_: Answer.PRESENT, None)
        self.addCleanup(r.close)
        return r

    def withdraw(self, r: Registry, name: str) -> None:
        r.forget(name)
        r.withdraw(name)

    def raises(self, kind: type, call: Callable[[], object], op: str, name: str) -> None:
        """Checks the error of an operation on a host, and that it names the registry, the operation and the host."""
        with self.assertRaises(OSError) as caught:
            call()
        self.assertIsInstance(caught.exception, kind, caught.exception)
        self.assertIsInstance(caught.exception, OpError)
        if kind is not ErrNetDown:
            for part in (self.a.path, op, name):
                self.assertIn(part, str(caught.exception))

    def no_host(self, r: Registry, name: str, shown: str = "") -> None:
        self.raises(ErrNoHost, lambda: r.query(name), "query", shown or name)

    def test_announce(self) -> None:
        """Announce: query returns what was announced."""
        names = ("α", "β", "a b", "q\"'", "x'; DROP TABLE hosts; --", "B", "b", "é", "e\u0301", "n" * 253, "1", "%s")
        for name in names:
            self.a.announce(name)
        for _ in range(2):
            for name in names:
                self.assertEqual(self.a.query(name), A)

    def test_shared(self) -> None:
        """Shared: what is announced through one opening is found through another, at once."""
        b = self.open(B)
        for i, (r, other) in enumerate(((self.a, b), (b, self.a))):
            self.no_host(other, f"h{i}")
            r.announce(f"h{i}")
            self.assertEqual(other.query(f"h{i}"), r.osladdr)

    def test_no_host(self) -> None:
        """NoHost: a name that nobody announced is told from all others."""
        self.a.announce("α")
        for name in ("β", "α ", "Α", "%"):
            self.no_host(self.a, name)
        for name, shown in (("", '""'), ("a\0b", "a\\x00b"), ("α\0", "\\x00"), ("\udcff", "\\xff")):
            self.no_host(self.a, name, shown)

    def dup(self, second: Registry) -> None:
        self.a.announce("α")
        for _ in range(2):
            self.raises(ErrHostDup, lambda: second.announce("α"), "announce", "α")
            self.assertEqual(second.query("α"), A)

    def test_dup(self) -> None:
        """Dup: a name that is announced is not announced again, and the first announcement stays."""
        self.dup(self.a)

    def test_dup_shared(self) -> None:
        """DupShared: as Dup, when the two are announced through different openings."""
        self.dup(self.open(B))

    def test_withdraw(self) -> None:
        """Withdraw: withdrawing takes back what this opening announced, and nothing else; the name is free then."""
        self.a.announce("α")
        self.a.announce("β")
        self.a.withdraw("γ")
        for _ in range(3):
            self.withdraw(self.a, "α")
            self.no_host(self.a, "α")
            self.assertEqual(self.a.query("β"), A)
            self.a.announce("α")

    def test_withdraw_shared(self) -> None:
        """WithdrawShared: withdrawing takes nothing back that was announced through another opening."""
        b = self.open(B)
        self.a.announce("α")
        self.withdraw(b, "α")
        self.assertEqual(self.a.query("α"), A)
        self.withdraw(self.a, "α")  # what was withdrawn is free for the other
        b.announce("α")
        self.withdraw(self.a, "α")
        self.assertEqual(self.a.query("α"), B)

    def test_close_withdraws(self) -> None:
        """CloseWithdraws: close withdraws what was announced through this opening, and only that."""
        b = self.open(B)
        self.a.announce("α")
        b.announce("β")
        self.a.close()
        self.no_host(b, "α")
        self.assertEqual(b.query("β"), B)
        b.announce("α")
        self.assertEqual(b.query("α"), B)

    def test_closed(self) -> None:
        """Closed: after close every operation fails with ErrNetDown; a second close does nothing."""
        self.a.announce("α")
        for _ in range(2):
            self.a.close()
            self.raises(ErrNetDown, lambda: self.a.announce("β"), "announce", "β")
            for name in "αβ":
                self.raises(ErrNetDown, lambda: self.a.query(name), "query", name)

    def test_expired(self) -> None:
        """Context: after its deadline an operation gives its result, or ErrTimeout, and then has done nothing."""
        self.a.announce("α")
        past = time.monotonic() - 1
        for name, results in (("α", (A,)), ("β", ())):
            try:
                self.assertIn(self.a.query(name, past), results)
            except (ErrTimeout, ErrNoHost) as err:
                self.assertTrue(name == "β" or isinstance(err, ErrTimeout), err)
        try:
            self.a.announce("γ", past)
            self.assertEqual(self.a.query("γ"), A)
        except ErrTimeout:
            self.no_host(self.a, "γ")

    def test_one_wins(self) -> None:
        """OneWins: of many who announce one name at the same time, one succeeds, and the others are told so."""
        registries = (self.a, self.open(B))

        def announce(r: Registry, name: str) -> str:
            try:
                r.announce(name)
            except ErrHostDup:
                return ""
            return r.osladdr

        for i in range(10):
            name = f"h{i}"
            won = all_of([Call(announce, registries[j % 2], name) for j in range(THREADS)])
            winners = [osladdr for osladdr in won if osladdr]
            self.assertEqual(winners, [self.a.query(name)])
            self.assertEqual(winners, [registries[1].query(name)])

    def test_concurrent(self) -> None:
        """Concurrent: announcing, asking and withdrawing at the same time disturb each other in nothing."""

        def work(i: int) -> None:
            for j in range(ROUNDS):
                name = f"h{i}.{j}"
                self.a.announce(name, time.monotonic() + PATIENCE)
                self.assertEqual(self.a.query(name), A)
                if j % 2:
                    self.withdraw(self.a, name)
                    self.no_host(self.a, name)

        all_of([Call(work, i) for i in range(THREADS)])
        for i in range(THREADS):
            self.assertEqual(self.a.query(f"h{i}.0"), A)

    def test_close_interrupts(self) -> None:
        """CloseInterrupts: operations in progress end when the registry is closed, with their result or with ErrNetDown."""
        started: List[int] = []

        def work(i: int) -> None:
            for j in range(10**6):
                try:
                    self.a.announce(f"h{i}.{j}")
                    started.append(i)
                    self.a.query(f"h{i}.{j}")
                except ErrNetDown:
                    return

        calls = [Call(work, i) for i in range(THREADS)]
        while not started:
            time.sleep(0.001)
        self.a.close()
        all_of(calls)


if __name__ == "__main__":
    unittest.main()
