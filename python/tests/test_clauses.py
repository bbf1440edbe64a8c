"""Where the clauses of the Go conformance suite, virtnettest, are in Python: all, so that the two cannot drift apart."""

from __future__ import annotations

import importlib
import os
import re
import unittest
from typing import Dict, Iterator, List, Tuple

from support import PACKAGE

import endings

VIRTNETTEST = os.path.join(os.path.dirname(PACKAGE), "virtnettest")

NONE = "none: "

# Function of virtnettest: the Python test, or "none: " and the reason.
CLAUSES: Dict[str, str] = {
    # names.go
    "testValidNames": "clauses_addresses.NameClauses.test_valid",
    "testInvalidNames": "clauses_addresses.NameClauses.test_invalid",
    "testDupNames": "clauses_addresses.NameClauses.test_dup",
    "testNameReuse": "clauses_addresses.NameClauses.test_reuse",
    "testNameAfterNetClose": "clauses_addresses.NameClauses.test_after_net_close",
    "testHostLookup": "clauses_addresses.NameClauses.test_lookup",
    "testLookup": NONE + "hosts are dialled by their names; Python's code takes no resolver",
    # ports.go
    "testLowestFree": "clauses_addresses.PortClauses.test_lowest_free",
    "testAcceptedPort": "clauses_addresses.PortClauses.test_accepted",
    "testPortBack": "clauses_addresses.PortClauses.test_back",
    "testPortBackAfterDial": "clauses_addresses.PortClauses.test_back_after_dial",
    "testHighPorts": "clauses_addresses.PortClauses.test_high",
    "testSelf": "clauses_addresses.PortClauses.test_self",
    # dial.go
    "testDialErrors": "clauses_dialling.DialClauses.test_errors",
    "testDialBadAddr": "clauses_dialling.DialClauses.test_bad_addr",
    "testDialWaits": "clauses_dialling.DialClauses.test_waits",
    "testDialMany": "clauses_dialling.DialClauses.test_many",
    "testDialCancelled": "clauses_dialling.DialClauses.test_expired",
    "testDialClosedHost": "clauses_dialling.DialClauses.test_closed_host",
    "testDialRegistryError": "clauses_dialling.DialClauses.test_registry_error",
    # listen.go
    "testListenErrors": "clauses_dialling.ListenClauses.test_errors_of_listen",
    "testListenerAddr": "clauses_dialling.ListenClauses.test_addr",
    "testAsNetListener": "test_listener.SocketTest.test_face",  # a socket.socket is to Python what net.Listener is to Go
    # closing.go
    "testCloseListener": "clauses_conns.CloseClauses.test_listener_only",
    "testCloseConn": "clauses_conns.CloseClauses.test_conn_only",
    "testCloseHost": "clauses_conns.CloseClauses.test_host_only",
    "testCloseAfterWrite": "clauses_conns.CloseClauses.test_with_data_underway",
    "testCloseDuringNewHost": "clauses_conns.CloseClauses.test_interrupts_new_host",
    "testCloseTellsWhy": NONE + "there is no VNetDown; what takes a network down is in test_engine.py, test_socket_gone",
    "testAutoClose": NONE + "Python has with",
    # conns.go
    "testNettest": NONE + "nettest is Go's; what it demands that makes sense for a socket is in test_conn.py",
    "testConnAddrs": "clauses_conns.ConnClauses.test_addrs",
    "testHalfClose": "clauses_conns.ConnClauses.test_half_close",
    "testNetConn": "test_conn.ConnTest.test_is_socket",  # a connection is its carrier
    "testZeroWrite": "clauses_conns.ConnClauses.test_zero_bytes",
    # contexts.go: there are time-outs instead; what else ends a wait is that something is closed
    "testContextDial": "clauses_dialling.TimeoutClauses.test_of_dial",
    "testContextAccept": "clauses_dialling.TimeoutClauses.test_of_accept",
    "testContextNotOfConn": "clauses_dialling.TimeoutClauses.test_not_of_conn",
    "testDeadlines": "clauses_conns.ConnClauses.test_deadlines",  # settimeout does not interrupt: no socket's does
    # copying.go
    "testTransfer": "clauses_conns.CopyClauses.test_both_ways",
    "testCopy": "clauses_conns.CopyClauses.test_copy",
    "testCopyEnds": "clauses_conns.CopyClauses.test_copy_ends",
    # queue.go
    "testQueueFull": "clauses_dialling.QueueClauses.test_full",
    "testQueueServed": "clauses_dialling.QueueClauses.test_served",
    "testNoGhosts": "clauses_dialling.QueueClauses.test_no_ghosts",
    "testNoTimedOutGhosts": "clauses_dialling.QueueClauses.test_timed_out",
    "testNoAcceptLost": "clauses_dialling.QueueClauses.test_no_accept_lost",
    # endings.go, and those of the table there: test_endings below
    "testEndIsNoEOF": "test_closing.ClosingTest.test_own_end_is_no_eof",
    # churn.go
    "testChurn": "clauses_churn.ChurnClauses.test_churn",
    "testChurnOfHosts": "clauses_churn.ChurnClauses.test_churn_of_hosts",
    # walk.go
    "testWalk": "clauses_walk.WalkClauses.test_walk",
    # registry.go
    "testAnnounce": "test_registry_clauses.RegistryClauses.test_announce",
    "testShared": "test_registry_clauses.RegistryClauses.test_shared",
    "testNoHost": "test_registry_clauses.RegistryClauses.test_no_host",
    "testDup": "test_registry_clauses.RegistryClauses.test_dup",
    "testDupShared": "test_registry_clauses.RegistryClauses.test_dup_shared",
    "testWithdraw": "test_registry_clauses.RegistryClauses.test_withdraw",
    "testWithdrawShared": "test_registry_clauses.RegistryClauses.test_withdraw_shared",
    "testCloseWithdraws": "test_registry_clauses.RegistryClauses.test_close_withdraws",
    "testRegistryClosed": "test_registry_clauses.RegistryClauses.test_closed",
    "testRegistryContext": "test_registry_clauses.RegistryClauses.test_expired",
    "testOneWins": "test_registry_clauses.RegistryClauses.test_one_wins",
    "testRegistryConcurrent": "test_registry_clauses.RegistryClauses.test_concurrent",
    "testCloseInterrupts": "test_registry_clauses.RegistryClauses.test_close_interrupts",
}

ENDINGS = {"network under it", "network under the peer"}
"""Those of Go's endings that are not here: there is no VNetDown."""


@unittest.skipUnless(os.path.isdir(VIRTNETTEST), "the Go suite is not here")
class ClausesTest(unittest.TestCase):
    def sources(self) -> Iterator[Tuple[str, str]]:
        """Returns the suite's files."""
        for name in sorted(os.listdir(VIRTNETTEST)):
            if name.endswith(".go") and not name.endswith("_test.go"):
                with open(os.path.join(VIRTNETTEST, name), encoding="utf-8") as f:
                    yield name, f.read()

    def test_all(self) -> None:
        """Every function of a clause is in the table, and none that is not there any more."""
        functions: List[str] = []
        for _, text in self.sources():
            functions += re.findall(r"^func (test\w+)\(w \*", text, re.MULTILINE)
        self.assertGreater(len(functions), 50)
        self.assertEqual(sorted(functions), sorted(CLAUSES))

    def test_names(self) -> None:
        """Python's tests exist, and those of the suite begin with the name of the clause."""
        names: Dict[str, str] = {}
        for _, text in self.sources():
            names.update((f, n) for n, f in re.findall(r'name: +"(\w+)",\n\s+why: .*\n\s+run: +(test\w+),', text))
            names.update((f, n) for n, f in re.findall(r'\{"(\w+)", ".*", \d, (test\w+)\}', text))
        self.assertEqual(sorted(names), sorted(CLAUSES))
        for function, where in CLAUSES.items():
            if where.startswith(NONE):
                self.assertGreater(len(where), len(NONE) + 10)
                continue
            module, cls, method = where.split(".")
            test = getattr(getattr(importlib.import_module(module), cls), method)
            if "lauses" in cls:
                self.assertTrue((test.__doc__ or "").startswith(names[function] + ": "), f"{where}: {test.__doc__}")

    def test_endings(self) -> None:
        """The endings of both suites are the same ones."""
        text = dict(self.sources())["endings.go"]
        table = text[text.index("var endings = ") :]
        there = re.findall(r'name: +"([^"]+)",\n\s+end: ', table)
        self.assertEqual([name for name in there if name not in ENDINGS], [ending.name for ending in endings.ENDINGS])
        self.assertTrue(ENDINGS < set(there))


if __name__ == "__main__":
    unittest.main()
