"""Clauses of the conformance suite: many threads at once."""

from __future__ import annotations

import random
import socket
from typing import Any, Callable, Tuple, Type

from peers import recv_all
from support import PATIENCE, Call, all_of
from world import BACKLOG, World

import lonet

CHURNERS = 8
ROUNDS = 15
SOON = 0.001


def in_parallel(f: Callable[[int], None]) -> None:
    """Runs f in as many threads as CHURNERS says."""
    all_of([Call(f, i) for i in range(CHURNERS)])


class ChurnClauses(World):
    def one_of(self, call: Callable[[], Any], *kinds: Type[OSError]) -> Any:
        """Returns the result of a call, or None if it fails in one of these ways."""
        try:
            return call()
        except kinds:
            return None

    def test_churn(self) -> None:
        """Churn: threads that dial, listen, accept and close at once get results that can be, and leave no port taken."""
        hosts = self.pair()

        def churn(seed: int) -> None:
            rng = random.Random(seed)
            for _ in range(ROUNDS):
                self.step(rng, hosts)

        in_parallel(churn)
        self.settle()
        self.wants_free(hosts[0], 1)
        self.wants_free(hosts[1], 1)
        self.ping(*self.connect(hosts[0], hosts[1].listen(":1")))

    def step(self, rng: random.Random, hosts: Tuple[Any, Any]) -> None:
        """Does one thing, and checks that its result is one it can have."""
        host, other = rng.choice(hosts), rng.choice(hosts)
        if rng.random() < 0.5:
            addr = f"{other.name()}:{1 + rng.randrange(12)}"
            conn = self.one_of(lambda: host.dial(addr, SOON), lonet.ErrConnRefused, lonet.ErrTimeout)
            if conn is not None:
                self.use(conn)
            return
        l = self.one_of(lambda: host.listen(f":{rng.randrange(12)}"), lonet.ErrAddrAlreadyUsed)
        if l is None:
            return
        with l:
            for _ in range(3):
                conn = self.one_of(lambda: l.accept(SOON), lonet.ErrTimeout)
                if conn is None:
                    return
                self.use(conn)

    def use(self, conn: Any) -> None:
        """Writes a little to a connection and closes it; whatever the other end does meanwhile is fine."""
        with conn:
            conn.settimeout(SOON)
            for call in (lambda: conn.sendall(b"x"), lambda: conn.recv(1)):
                try:
                    call()
                except lonet.ErrDown as err:
                    raise AssertionError("on a connection that nobody closed on this side") from err
                except OSError:
                    pass

    def test_churn_of_hosts(self) -> None:
        """ChurnOfHosts: hosts that come and go while others dial give connections, or the errors for it; nothing stays."""
        b = self.host(1, "β")
        l = b.listen(":1")

        def serve() -> None:
            while True:
                with l.accept() as d:
                    self.one_of(lambda: d.recv(1), ConnectionError)

        serving = [Call(serve) for _ in range(CHURNERS)]
        self.assertGreater(BACKLOG, CHURNERS)

        def churn(i: int) -> None:
            name = f"h{i % (CHURNERS // 2)}"  # two threads want each name
            for _ in range(ROUNDS // 3):
                h = self.one_of(lambda: self.host(i, name), lonet.ErrHostDup)
                if h is None:
                    continue
                c = h.dial("β:1", PATIENCE)
                self.assertEqual(str(c.local_addr()), name + ":1")
                closing = Call(h.close)
                late = self.one_of(lambda: h.dial("β:1", PATIENCE), lonet.ErrHostDown)
                closing.wait()
                for conn in (c, late):
                    if conn is not None:
                        self.fails(lambda: conn.recv(1), lonet.ErrHostDown, "read", name + ":*", "β:*")
                        conn.close()

        in_parallel(churn)
        c = self.host(0, "α").dial("β:1", PATIENCE)
        c.shutdown(socket.SHUT_WR)
        self.assertEqual(recv_all(c, 1), b"")
        c.close()
        l.close()
        for call in serving:
            self.fails(call, lonet.ErrSockDown, "accept", "", "β:1")
