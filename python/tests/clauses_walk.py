"""A clause of the conformance suite: a random walk beside a model."""

from __future__ import annotations

import random
import time
from typing import Any, Callable, Dict, List, Optional, Tuple, Type, TypeVar

from support import PATIENCE, Call
from world import MOMENT, World, accepting, dialling

import lonet

STEPS = 60

S = TypeVar("S", bound="Sock")


class Sock:
    """What is at a port, by the model."""

    def __init__(self, host: WalkHost, port: int) -> None:
        self.host, self.port = host, port
        host.ports[port] = self

    def addr(self) -> str:
        return self.host.addr(self.port)


class WalkHost:
    """A host, with what is at its ports."""

    def __init__(self, name: str, h: Any) -> None:
        self.name, self.h = name, h
        self.ports: Dict[int, Sock] = {}

    def lowest(self) -> int:
        """Returns the lowest free port by the model."""
        return next(port for port in range(1, len(self.ports) + 2) if port not in self.ports)

    def addr(self, port: int) -> str:
        return f"{self.name}:{port}"


class WalkListener(Sock):
    l: Any
    waiting: Optional[WalkDial] = None  # at most one, so that its turn is certain


class WalkDial(Sock):
    to: WalkListener
    call: Call[Any]


class WalkEnd(Sock):
    conn: Any
    peer: Optional[WalkEnd] = None  # None once that is closed


class WalkClauses(World):
    def test_walk(self) -> None:
        """RandomWalk: random operations on three hosts do, step by step, what a simple model says."""
        for seed in (1, time.time_ns()):
            self.log: List[str] = []
            try:
                self.walk(random.Random(seed))
            except BaseException as err:
                raise AssertionError(f"{err}\nthe walk from seed {seed} went:\n" + "\n".join(self.log)) from err
            self.again()

    def walk(self, rng: random.Random) -> None:
        self.rng = rng
        self.hosts = [WalkHost(name, self.host(i, name)) for i, name in enumerate("αβγ")]
        steps: Tuple[Tuple[int, Callable[[], None]], ...] = (
            (4, self.do_listen),
            (2, self.do_dial_nobody),
            (6, self.do_connect),
            (2, self.do_dial_and_wait),
            (2, self.do_accept),
            (1, self.do_time_out),
            (2, self.do_close_listener),
            (5, self.do_close_end),
            (4, self.do_ping),
            (1, self.do_restart),
        )
        weights = [weight for weight, _ in steps]
        for _ in range(STEPS):
            rng.choices(steps, weights)[0][1]()
            host = rng.choice(self.hosts)
            self.wants_free(host.h, host.lowest())
        for host in self.hosts:
            self.take_down(host)

    def any_of(self, cls: Type[S], ok: Callable[[S], bool] = lambda s: True) -> Optional[S]:
        """Returns a random socket of a class, if there is one, by the order of host and port, so that a seed repeats."""
        every = [s for h in self.hosts for _, s in sorted(h.ports.items()) if isinstance(s, cls) and ok(s)]
        return self.rng.choice(every) if every else None

    def do_listen(self) -> None:
        h, port = self.rng.choice(self.hosts), self.rng.randrange(8)
        self.log.append(f"{h.name} listens at :{port}")
        if port in h.ports:
            self.fails(lambda: h.h.listen(f":{port}"), lonet.ErrAddrAlreadyUsed, "listen", "", h.addr(port))
            return
        l = h.h.listen(f":{port}")
        port = port or h.lowest()
        self.assertEqual(str(l.addr()), h.addr(port))
        WalkListener(h, port).l = l

    def do_dial_nobody(self) -> None:
        source, target, port = self.rng.choice(self.hosts), self.rng.choice(self.hosts), self.rng.randrange(12)
        if isinstance(target.ports.get(port), WalkListener):
            return
        own, addr = source.addr(source.lowest()), target.addr(port)
        self.log.append(f"{own} dials {addr}, where nobody listens")
        self.fails(lambda: source.h.dial(addr, PATIENCE), lonet.ErrConnRefused, "dial", own, addr)

    def do_connect(self) -> None:
        l = self.any_of(WalkListener, lambda l: l.waiting is None)
        if l is None:
            return
        source = self.rng.choice(self.hosts)
        port = source.lowest()
        self.log.append(f"{source.addr(port)} dials {l.addr()}")
        dial, accept = dialling(source.h, l.addr()), accepting(l.l)
        self.enter(source, port, dial.wait(), l, accept.wait())

    def enter(self, source: WalkHost, port: int, c: Any, l: WalkListener, d: Any) -> None:
        """Enters a connection into the model, and checks its addresses. The dialler has its port first."""
        own = WalkEnd(source, port)
        peer = WalkEnd(l.host, l.host.lowest())
        own.conn, peer.conn, own.peer, peer.peer = c, d, peer, own
        self.wants_addrs(c, own.addr(), peer.addr())
        self.wants_addrs(d, peer.addr(), own.addr())

    def do_dial_and_wait(self) -> None:
        l = self.any_of(WalkListener, lambda l: l.waiting is None)
        if l is None:
            return
        dial = WalkDial(source := self.rng.choice(self.hosts), source.lowest())
        dial.to, l.waiting = l, dial
        self.log.append(f"{dial.addr()} dials {l.addr()} and waits")
        dial.call = dialling(source.h, l.addr())
        self.started(source.h, dial.port)

    def do_accept(self) -> None:
        dial = self.any_of(WalkDial)
        if dial is None:
            return
        self.log.append(f"{dial.to.addr()} accepts {dial.addr()}")
        accepted = accepting(dial.to.l).wait()
        dial.to.waiting = None
        self.enter(dial.host, dial.port, dial.call.wait(), dial.to, accepted)

    def do_time_out(self) -> None:
        l = self.any_of(WalkListener, lambda l: l.waiting is None)
        if l is None:
            return
        source = self.rng.choice(self.hosts)
        own = source.addr(source.lowest())
        self.log.append(f"{own} dials {l.addr()} and gives up")
        self.fails(lambda: source.h.dial(l.addr(), MOMENT), lonet.ErrTimeout, "dial", own, l.addr())
        self.settle()  # until the listener has noticed

    def ended_dial(self, dial: WalkDial, kind: Type[OSError]) -> None:
        """Checks how a dial that waited has failed, and takes it out of the model of its host."""
        self.fails(dial.call, kind, "dial", dial.addr(), dial.to.addr())
        dial.host.ports.pop(dial.port, None)

    def do_close_listener(self) -> None:
        l = self.any_of(WalkListener)
        if l is None:
            return
        self.log.append(f"listener {l.addr()} is closed")
        l.l.close()
        if l.waiting is not None:
            self.ended_dial(l.waiting, lonet.ErrConnRefused)
        del l.host.ports[l.port]

    def do_close_end(self) -> None:
        end = self.any_of(WalkEnd)
        if end is None:
            return
        self.log.append(f"connection {end.addr()} is closed")
        end.conn.close()
        del end.host.ports[end.port]
        self.parted(end)

    def parted(self, end: WalkEnd) -> None:
        """Checks that the peer of an end that is gone reads the end."""
        if end.peer is not None:
            self.ended(end.peer.conn)
            end.peer.peer = None

    def do_ping(self) -> None:
        end = self.any_of(WalkEnd, lambda e: e.peer is not None)
        if end is not None and end.peer is not None:
            self.log.append(f"{end.addr()} and {end.peer.addr()} talk")
            self.ping(end.conn, end.peer.conn)

    def do_restart(self) -> None:
        host = self.rng.choice(self.hosts)
        self.take_down(host)
        number = self.rng.randrange(len(self.subs))
        self.log.append(f"{host.name} is made on sub-network {number}")
        host.h = self.host_again(number, host.name)

    def take_down(self, host: WalkHost) -> None:
        """Closes a host with everything on it."""
        self.log.append(f"{host.name} is closed")
        host.h.close()
        while host.ports:
            _, s = host.ports.popitem()
            if isinstance(s, WalkListener) and s.waiting is not None:
                own = s.waiting.host is host
                self.ended_dial(s.waiting, lonet.ErrHostDown if own else lonet.ErrConnRefused)
            elif isinstance(s, WalkDial):
                s.to.waiting = None
                self.ended_dial(s, lonet.ErrHostDown)
            elif isinstance(s, WalkEnd):
                if s.peer is not None and s.peer.host is host:
                    s.peer.peer = None  # both ends are gone
                else:
                    self.parted(s)
                s.conn.close()
        self.settle()  # until listeners elsewhere have noticed that diallers are gone
