"""The conformance suite of virtnettest, in Python: each clause with all hosts on one sub-network, on two of this process,
and on two of which one is another process's, in Python and in Go (gopeer), in both roles.

test_clauses.py says which clause is where."""

from __future__ import annotations

import unittest

from clauses_addresses import NameClauses, PortClauses
from clauses_churn import ChurnClauses
from clauses_conns import CloseClauses, ConnClauses, CopyClauses
from clauses_dialling import DialClauses, ListenClauses, QueueClauses, TimeoutClauses
from clauses_walk import WalkClauses
from endings import ENDINGS, EndingsCase
from peers import GO, PYTHON
from world import World


class EndingClauses(World, EndingsCase):
    def test_endings(self) -> None:
        """EndOf: whatever goes down interrupts at once what is blocked on it, and fails what comes later."""
        if not self.FAR:
            self.skipTest("test_closing.py does that")
        for ending in ENDINGS:
            for dialler in (True, False):
                with self.subTest(ending.name, dialler=dialler):
                    self.ending(ending, *self.scene_on(self.subs[0], self.subs[1], dialler))
                    self.again()


THEMES = (
    NameClauses,
    PortClauses,
    ListenClauses,
    DialClauses,
    QueueClauses,
    EndingClauses,
    TimeoutClauses,
    CloseClauses,
    ConnClauses,
    CopyClauses,
    ChurnClauses,
    WalkClauses,
)

LAYOUTS = (
    ("OneSubNetwork", {"SUBS": 1}),
    ("TwoSubNetworks", {"SUBS": 2}),
    ("AnotherProcess", {"FAR": PYTHON}),
    ("PythonDialsGo", {"FAR": GO}),
    ("GoDialsPython", {"FAR": GO, "DIALS": True}),
)


def load_tests(loader: unittest.TestLoader, _: unittest.TestSuite, __: object) -> unittest.TestSuite:
    """Makes a test case of each layout, with all clauses."""
    suite = unittest.TestSuite()
    for name, settings in LAYOUTS:
        for theme in THEMES:
            case = type(f"{name}.{theme.__name__}", (theme,), {"__module__": __name__, **settings})
            suite.addTest(loader.loadTestsFromTestCase(case))
    return suite


if __name__ == "__main__":
    unittest.main()
