from __future__ import annotations

import random
import sys
import time
import unittest
from typing import Dict

import support  # noqa: F401

from lonet.ports import Ports


class PortsTest(unittest.TestCase):
    def test_lowest(self) -> None:
        ports: Ports[int] = Ports()
        self.assertEqual([ports.put(s) for s in (10, 20, 30)], [1, 2, 3])
        ports.remove(20, 2)
        self.assertEqual(ports.put(40, 4), 4)
        self.assertEqual([ports.put(s) for s in (50, 60)], [2, 5])
        self.assertEqual(ports.put(70, 3), 0)
        self.assertEqual(ports.get(5), 60)
        self.assertIsNone(ports.get(6))
        self.assertIsNone(ports.get(0))
        self.assertEqual(sorted(ports.all()), [10, 30, 40, 50, 60])

    def test_remove_others(self) -> None:
        ports: Ports[object] = Ports()
        a, b = object(), object()
        ports.put(a, 1)
        ports.remove(b, 1)
        ports.remove(a, 2)
        self.assertIs(ports.get(1), a)
        ports.remove(a, 1)
        ports.remove(a, 1)
        self.assertEqual(ports.put(b), 1)

    def test_model(self) -> None:
        """Random operations, beside a dictionary that is searched."""
        for seed in range(30):
            rng = random.Random(seed)
            ports: Ports[int] = Ports()
            model: Dict[int, int] = {}
            for step in range(400):
                if rng.random() < (0.65 if step % 200 < 100 else 0.3):
                    port = rng.choice((0, 0, rng.randrange(1, 60), 2147483647))
                    want = port or next(p for p in range(1, 1000) if p not in model)
                    if port in model:
                        want = 0
                    self.assertEqual(ports.put(step, port), want, f"seed {seed}, step {step}")
                    if want:
                        model[want] = step
                elif model:
                    port = rng.choice(list(model))
                    ports.remove(model.pop(port), port)
                self.assertEqual(len(ports), len(model))
            for port, sock in model.items():
                self.assertEqual(ports.get(port), sock)

    def test_memory(self) -> None:
        """What was open once costs nothing later."""
        ports: Ports[int] = Ports()
        n = 20000
        for i in range(n):
            ports.put(i)
        for i in range(n):
            ports.remove(i, i + 1)
        self.assertLess(sys.getsizeof(ports._freed), 10000)
        self.assertEqual(ports.put(1), 1)

    def test_speed(self) -> None:
        """Finding a port does not take longer the more are open."""
        ports: Ports[int] = Ports()
        for i in range(100_000):
            ports.put(i)

        def churn() -> float:
            start = time.perf_counter()
            for i in range(2000):
                ports.put(-1)
                ports.remove(-1, 100_001)
                ports.remove(i, i + 1)
                ports.put(i)
            return time.perf_counter() - start

        self.assertLess(min(churn() for _ in range(3)), 0.5)


if __name__ == "__main__":
    unittest.main()
