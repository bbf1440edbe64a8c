"""Signals whose handlers raise, as that of Ctrl-C does: wherever in a call that is, nothing stays behind, and nobody else
waits in vain."""

from __future__ import annotations

import logging
import socket
import unittest
from contextlib import contextmanager
from typing import Any, Callable, Iterator
from unittest import mock

from support import PATIENCE, Call, TestCase, eventually

import lonet


class Interrupt(BaseException):
    """What the handler raises."""


def once(thing: Any, name: str, after: bool) -> Any:
    """Has a method interrupted the next time that it is called, before it does anything, or when it has done it."""
    original: Callable[..., Any] = getattr(thing, name)
    left = [Interrupt()]

    def method(*args: Any, **kwargs: Any) -> Any:
        if after:
            result = original(*args, **kwargs)
        if left:
            raise left.pop()
        return result if after else original(*args, **kwargs)

    return mock.patch.object(thing, name, method)


class InterruptsTest(TestCase):
    def test_accept(self) -> None:
        """An accept that drives is interrupted while it serves a dial: its own, or that of another accept. That one gets
        the next try of the dialler."""
        for own in (True, False):
            for module, name, after in (
                (lonet.engine.Engine, "_connected", False),
                (lonet.listener.Listener, "_bind", False),
                (lonet.listener.Listener, "_bind", True),
            ):
                with self.subTest(name, own=own, after=after), self.networks():
                    a, b = self.pair()
                    driven, followed = b.listen(":1"), b.listen(":2")
                    engine = b._net._engine
                    driver = self.driving(a, driven)
                    follower = Call(followed.accept)
                    eventually("it follows", lambda: len(engine._followers) == 1)
                    with once(module, name, after):
                        dial = Call(a.dial, "β:1" if own else "β:2", PATIENCE)
                        self.wants_interrupt(driver)
                        accepted = Call(driven.accept) if own else follower
                        with dial.wait() as c, accepted.wait() as d:
                            self.ping(c, d)
                    if own:
                        with a.dial("β:2", PATIENCE) as c, follower.wait() as d:
                            self.ping(c, d)
                    self.wants_free(a, 1)
                    self.wants_free(b, 3)
                    self.assertEqual((engine._driving, len(driven._accepts), len(followed._accepts)), (None, 0, 0))

    def test_accept_of_waiting(self) -> None:
        """An accept is interrupted that takes a dial which has waited: the dialler tries again."""
        for module, name, after in (
            (lonet.engine.Engine, "connect", False),
            (lonet.engine.Engine, "_connected", False),
            (lonet.engine.Engine, "unwatch", True),
            (lonet.listener.Listener, "_bind", True),
        ):
            with self.subTest(name, after=after), self.networks():
                a, b = self.pair()
                listener = b.listen(":1")
                dial = Call(a.dial, "β:1", PATIENCE)
                eventually("it waits", lambda: len(listener._dials) == 1)
                with once(module, name, after):
                    self.wants_interrupt(Call(listener.accept))
                with listener.accept(PATIENCE) as d, dial.wait() as c:
                    self.ping(c, d)
                self.wants_free(a, 1)
                self.wants_free(b, 2)

    def test_dial(self) -> None:
        """A dial that is interrupted leaves nothing, and the accept goes on."""
        for module, name, after in (
            (lonet.ports.Ports, "put", True),
            (lonet.outgoing.Outgoing, "dial", False),
            (lonet.outgoing.Outgoing, "_reply", False),
            (lonet.registry.Registry, "query", True),
        ):
            with self.subTest(name), self.networks():
                a, b = self.pair()
                listener = b.listen(":1")
                with once(module, name, after):
                    self.wants_interrupt(Call(a.dial, "β:1"))
                self.wants_free(a, 1)
                accept = Call(listener.accept)
                with a.dial("β:1", PATIENCE) as c:
                    while True:  # the interrupted dial may have been accepted
                        d = accept.wait()
                        if d.getpeername()[1] == 1:
                            with d:
                                c.sendall(b"x")
                                c.shutdown(socket.SHUT_WR)
                                if d.makefile("rb").read() == b"x":
                                    break
                        accept = Call(listener.accept)

    def test_new_host(self) -> None:
        """A name for which new_host was interrupted is free, here and for others."""
        for module, name, after in (
            (lonet.subnet.SubNetwork, "_reserve", True),
            (lonet.registry.Registry, "announce", False),
            (lonet.registry.Registry, "announce", True),
            (lonet.registry.Registry, "_insert", True),
        ):
            with self.subTest(name, after=after):
                first, second = self.join(), self.join()
                with once(module, name, after):
                    self.wants_interrupt(Call(first.new_host, "α"))
                self.assertIsNone(first.host("α"))
                second.new_host("α", PATIENCE).close()
                first.new_host("α", PATIENCE).close()
                first.close()
                second.close()

    def wants_interrupt(self, call: Call[Any]) -> None:
        with self.assertRaises(Interrupt):
            call.wait()

    @contextmanager
    def networks(self) -> Iterator[None]:
        """Closes the sub-networks that hosts were made on, so that the next are made anew."""
        try:
            yield
        finally:
            for sub in self._subs.values():
                sub.close()
            self._subs.clear()


class LogTest(TestCase):
    def test_handler_raises(self) -> None:
        """A handler of the log that raises ends neither an accept nor the thread that serves when no accept waits."""
        logger = logging.Logger("test")
        handler = logging.Handler()
        handler.emit = mock.Mock(side_effect=ZeroDivisionError)  # type: ignore[method-assign]
        logger.addHandler(handler)
        a, b = self.pair(logger=logger)
        listener = b.listen(":1")
        for _ in range(3):
            self.wants(lonet.ErrConnRefused, lambda: a.dial("β:2", PATIENCE), "dial", "α:1", "β:2")
            accept = Call(listener.accept)
            with a.dial("β:1", PATIENCE) as c, accept.wait() as d:
                self.ping(c, d)
        self.assertGreater(handler.emit.call_count, 2)


if __name__ == "__main__":
    unittest.main()
