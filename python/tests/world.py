"""What a clause of the conformance suite works in: a fresh network with two sub-networks, or one, wherever they are."""

from __future__ import annotations

import time
import unittest
from typing import Any, Callable, ClassVar, List, Optional, Tuple, Type, Union

from endings import dial_started
from peers import AnyConn, AnyHost, AnyListener, AnySub, Peer, recv_all
from support import PATIENCE, Call, TestCase, eventually

import lonet

MOMENT = 0.02
"""How long something that must not happen is given to happen."""

BACKLOG = 20
"""How many dials may wait at a listener of these networks."""

Kinds = Union[Type[BaseException], Tuple[Type[BaseException], ...]]

UNREACHABLE = (lonet.ErrNoHost, lonet.ErrConnRefused)
"""What a dial to a host that is gone gives."""

TEXTS = ("i/o timeout", "context deadline exceeded")


class World(TestCase):
    """A test on a network. The subclasses say where its sub-networks are.

    α and γ are on the first of them, β and δ on the second, if there are two.
    """

    SUBS: ClassVar[int] = 2
    """How many sub-networks there are."""
    FAR: ClassVar[str] = ""
    """In which language another process is that has one of the two; none is that there is none."""
    DIALS: ClassVar[bool] = False
    """It is the first of the two, that of α, who mostly dials."""

    peer: ClassVar[Optional[Peer]] = None

    @classmethod
    def setUpClass(cls) -> None:
        if cls is World:
            raise unittest.SkipTest("it is for others")
        if cls.FAR:
            cls.peer = Peer(cls.FAR, cls.__qualname__)

    @classmethod
    def tearDownClass(cls) -> None:
        if cls.peer is not None:
            cls.peer.end()
            cls.peer = None

    def setUp(self) -> None:
        super().setUp()
        self.subs: List[AnySub] = []
        self.again()

    def again(self) -> None:
        """Makes another network, with nobody on it, and leaves the present one."""
        self.leave()
        self._networks = getattr(self, "_networks", 0) + 1
        name = f"t{self._networks}"
        self.full = "lonet" + name
        self.subs = [lonet.join(name, temp_dir=self.temp, backlog=BACKLOG) for _ in range(1 if self.FAR else self.SUBS)]
        if self.peer is not None:
            self.subs.insert(0 if self.DIALS else 1, self.peer.join(self.temp, name, BACKLOG))
        if self._networks == 1:
            self.addCleanup(self.leave)

    def leave(self) -> None:
        """Closes what there is, and checks that nothing of it stays in the other process. Here, TestCase does."""
        for sub in self.subs:
            Call(sub.close).wait()
        self.subs = []
        if self.peer is None:
            return
        peer = self.peer
        peer.ask("forget")
        least = getattr(peer, "least", None)
        if least is None:  # what the language itself opens once is there after the first
            peer.least = peer.usage()  # type: ignore[attr-defined]
            return
        last = peer.usage()

        def rest() -> bool:
            nonlocal last
            last = peer.usage()
            return last[0] <= least[0] + 2 and last[1] <= least[1] + 2

        eventually(f"descriptors and threads of the {peer.language} process are back: {least}, {last}", rest)

    # Making things.

    def sub(self, number: int) -> AnySub:
        """Returns the sub-network with that number, modulo their number."""
        return self.subs[number % len(self.subs)]

    def host(self, number: int, name: str, **settings: Any) -> Any:
        """Makes a host on the sub-network with that number."""
        return self.sub(number).new_host(name, PATIENCE)

    def pair(self, **settings: Any) -> Tuple[Any, Any]:
        return self.host(0, "α"), self.host(1, "β")

    def host_again(self, number: int, name: str) -> Any:
        """Makes a host whose name was another's before, perhaps on another sub-network that now withdraws it."""
        made: List[AnyHost] = []

        def make() -> bool:
            try:
                made.append(self.host(number, name))
            except lonet.ErrHostDup:
                return False
            return True

        eventually(f"{name} is free", make)
        return made[0]

    def connect(self, source: Any, listener: Any) -> Tuple[Any, Any]:
        """Dials and accepts. Returns the dialled end and the accepted one."""
        dial = Call(source.dial, str(listener.addr()), PATIENCE)
        accepted = listener.accept(PATIENCE)
        dialled = dial.wait()
        for conn in (dialled, accepted):
            if not self.is_far(conn):
                self.addCleanup(conn.close)
        return dialled, accepted

    def is_far(self, thing: Any) -> bool:
        """Tells whether something is in another process."""
        return hasattr(thing, "_peer")

    def settle(self) -> None:
        """Gives whatever is going on the time to come to rest."""
        time.sleep(MOMENT)

    # Checking things.

    def fails(self, call: Callable[[], Any], kind: Kinds, op: str, source: str = "", addr: str = "") -> Any:
        """Checks how a call fails: how, where it says that it was, and the text. A port of * is any."""
        if isinstance(call, Call):
            call = call.wait
        try:
            result = call()
        except OSError as caught:
            err = caught
        else:
            self.fail(f"it returns {result!r}, want {kind}")
        self.assertIsInstance(err, kind, f"{type(err)}: {err}")
        assert isinstance(err, lonet.OpError), type(err)
        self.assertEqual((err.op, err.net), (op, self.full), err)
        for end, want in ((err.source, source), (err.addr, addr)):
            if want.endswith(":*"):
                self.assertEqual(end and end.host, want[:-2], err)
            else:
                self.assertEqual(str(end or ""), want, err)
        ends = "->".join(str(end) for end in (err.source, err.addr) if end is not None)
        self.assertTrue(str(err).startswith(" ".join(filter(None, (op, self.full, ends))) + ": "), err)
        if isinstance(err, lonet.ErrTimeout):
            self.assertTrue(str(err).endswith(TEXTS), err)
        elif type(err).__module__ == lonet.OpError.__module__ and not isinstance(err, (lonet.ErrInvalid, ConnectionError)):
            self.assertTrue(str(err).endswith(": " + type(err).text), err)
        return err

    def wants_addrs(self, conn: AnyConn, local: str, remote: str) -> None:
        """Checks both addresses of a connection."""
        self.assertEqual((str(conn.local_addr()), str(conn.remote_addr())), (local, remote))
        self.assertEqual((conn.local_addr().net, conn.remote_addr().net), (self.full, self.full))

    def free_port(self, host: Any) -> int:
        """Returns the lowest free port of a host."""
        try:
            host.dial(":0", PATIENCE)
        except lonet.ErrConnRefused as err:
            assert err.source is not None
            return err.source.port
        raise AssertionError("a dial to port 0 succeeds")

    def started(self, host: Any, port: int) -> None:
        """Waits until a dial that was started has taken that port, and then for a moment."""
        dial_started(host, port)
        self.settle()

    def wants_free(self, host: Any, port: int) -> None:
        """Checks which port of a host is the lowest free one: an error of dial shows it."""
        name = host.name()
        self.fails(lambda: host.dial(":0", PATIENCE), lonet.ErrConnRefused, "dial", f"{name}:{port}", f"{name}:0")

    def ping(self, c: Any, d: Any) -> None:
        """Checks that two ends are connected to each other, in both directions."""
        for own, peer in ((c, d), (d, c)):
            own.sendall(b"ping")
            self.assertEqual(recv_all(peer, 4), b"ping")

    def eventually(self, what: str, f: Callable[[], Any]) -> None:
        """Waits until f is true."""
        eventually(what, f)

    def waits(self, call: Call[Any]) -> None:
        """Checks that a call is in progress, after a moment."""
        self.assertTrue(call.waits(MOMENT), f"it has returned {call.result!r}, {call.error!r}")

    def ended(self, conn: AnyConn) -> None:
        """Checks that the other end has ended."""
        self.assertEqual(Call(conn.recv, 1).wait(), b"")


def dialling(host: AnyHost, addr: str, timeout: Optional[float] = None) -> Call[Any]:
    """Starts to dial."""
    return Call(host.dial, addr, timeout)


def accepting(listener: AnyListener, timeout: Optional[float] = None) -> Call[Any]:
    """Starts to accept."""
    return Call(listener.accept, timeout)
