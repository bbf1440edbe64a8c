"""Who drives an engine: one of the threads that wait in its accepts, or a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Optional

from . import clock
from .clock import Deadline
from .poller import Poller

if TYPE_CHECKING:
    from .conn import Conn
    from .listener import Listener
    from .waiting import Waiter

_VACANCY = 0.002
"""How long there may be no driver before the engine's thread is one, if an accept may come back and be it."""

_BUSY = 3
"""A driver that has served so many accepts of one other listener, and none of its own, leaves to that one's next."""


class Drivers:
    """The threads of an engine, of which one at a time, the driver, does all that is to be done when something comes.

    Best it is one that waits in an accept, since what it drives for is most often its own, and no other thread need be
    woken. Who has got its connection leaves, and often comes back at once with its next accept. If that is not to be
    expected another accept that waits drives, and when nobody does for a while the engine's own thread, until it has
    served an accept.

    What the driver does is the engine's, which is a subclass: _drive, and release.
    """

    def __init__(self, lock: threading.Lock, life: threading.Event) -> None:
        """life is set when the sub-network goes down."""
        self._life = life
        # The driver's alone.
        self._handed = False  # it has served an accept of another thread

        self._lock = lock
        # Guarded by lock.
        self._closed = False
        self._orphaned = False  # the driver is to release what there is when it leaves
        self._driver = 0  # its thread's ident
        self._reigns = 0  # how many drivers there were
        self._driving: Optional[Waiter] = None  # what the driver drives for, if it waits in an accept
        self._followers: "OrderedDict[Waiter, None]" = OrderedDict()  # accepts whose threads wait for their turn
        # The listener for which a driver that waits for another has served accepts, and how often in a row.
        self._busy: Optional[Listener] = None
        self._busy_times = 0
        self._heir: Optional[Waiter] = None  # an accept of that, to which the driver is to leave
        self._prompt = 0  # how many listeners' descriptors somebody may wait for: then there is no vacancy
        self._armed = True  # the engine's thread is awake, or about to be

        self._poller = Poller()
        self._alarm = threading.Semaphore(1)
        self._vacant = threading.Event()  # set once there is no driver any more, after close
        self._thread = threading.Thread(target=self._run, name="lonet", daemon=True)

    def _drive(self, w: Optional[Waiter], until: Deadline) -> None:
        """Serves what comes until w is done, or the deadline; without one, until another's accept was served."""
        raise NotImplementedError

    def release(self) -> None:
        """Closes all that is open."""
        raise NotImplementedError

    def wait(self, w: Waiter, until: Deadline) -> None:
        """Waits until w is done, or the deadline; drives meanwhile if nobody does."""
        try:
            self._wait(w, until)
        finally:
            if self._driving is w:
                self._leave()

    def _wait(self, w: Waiter, until: Deadline) -> None:
        while True:
            with self._lock:
                if w.done or self._closed:
                    self.give_up(w)
                    return
                drives = not self._driver and (self._heir is None or self._heir is w)
                w.promoted = False
                if drives:
                    self._heir = None
                    self._driving = w  # first, for wait
                    self._driver = threading.get_ident()
                    self._reigns += 1
                else:
                    if w.turn is None:
                        w.turn = threading.Lock()
                        w.turn.acquire()
                    self._followers[w] = None
                    if self._busy is w.listener and self._busy_times >= _BUSY and self._driving is not None:
                        self._busy_times = 0
                        self._heir = w
                        self._poller.wake()
            if drives:
                self._drive(w, until)
                if w.done or self._closed or until is not None and time.monotonic() >= until:
                    return
                self._leave()  # so that the heir drives, and waits on as a follower
            elif not self._follow(w, until):
                return

    def _follow(self, w: Waiter, until: Deadline) -> bool:
        """Waits for the turn of a waiter; tells whether it came."""
        assert w.turn is not None
        came = False
        try:
            left = clock.left(until)
            came = w.turn.acquire(timeout=-1 if left is None else left)
            return came
        finally:
            if not came:
                with self._lock:
                    self._followers.pop(w, None)
                    w.turn.acquire(blocking=False)  # it may have come just now
                    self.give_up(w)

    def give_up(self, w: Waiter) -> None:
        """Sees to it that another drives, if w was to and does not. Called with the lock held."""
        if self._heir is w:
            self._heir = None
        if w.promoted:
            w.promoted = False
            self._vacate()

    def _leave(self) -> None:
        """Ends this thread's being the driver."""
        with self._lock:
            self._driver = 0
            back_soon = self._driving is not None and self._driving.back_soon
            self._driving = None
            if self._followers or self._heir is not None or not self._armed:
                self._vacate(back_soon)
            closed, orphaned = self._closed, self._orphaned
        if closed:
            self._vacant.set()
        if orphaned:
            self.release()

    def _vacate(self, back_soon: bool = False) -> None:
        """Sees to it that there is a driver again: another accept that waits, or, if the last one is likely to be back
        before that would wake, in a moment the engine's thread if it isn't. Called with the lock held."""
        if self._driver:
            return
        if self._heir is not None and self._heir not in self._followers:
            self._heir = None  # it does not wait any more
        if self._followers and (self._heir or not back_soon) and not self._closed:
            w = self._heir or next(iter(self._followers))
            del self._followers[w]
            w.promoted = True
            assert w.turn is not None
            w.turn.release()
        elif not self._armed:
            self._armed = True
            self._alarm.release()

    def prompt(self, change: int) -> None:
        """Counts those for whom there must be no moment without a driver. Called with the lock held."""
        self._prompt += change

    def _run(self) -> None:
        """The engine's thread."""
        while True:
            self._alarm.acquire()
            reigns = -1
            while reigns != self._reigns and not self._driver and not self._prompt and not self._closed:
                reigns = self._reigns
                self._life.wait(_VACANCY)
            with self._lock:
                self._armed = False
                if self._closed:
                    return
                if self._driver:
                    continue
                if self._followers:
                    self._vacate()
                    continue
                self._driver = threading.get_ident()
                self._reigns += 1
            try:
                self._handed = False
                self._drive(None, None)
            finally:
                self._leave()

    def finish(self, w: Waiter, conn: Optional[Conn]) -> None:
        """Gives a waiter its connection, or lets it look again if that is None. Called with the lock held."""
        w.conn = conn
        w.done = True
        if w is self._driving:
            if self._driver != threading.get_ident():
                self._poller.wake()
        elif w in self._followers:
            del self._followers[w]
            self._handed = True
            assert w.turn is not None
            w.turn.release()

    def close(self) -> None:
        """Stops accepting, drops the connections whose request has not come yet, and waits for what it started.

        The hosts are down already, so that no accept waits any more.
        """
        with self._lock:
            self._closed = True
            driver = self._driver
            me = threading.get_ident()
            self._orphaned = driver == me  # a log's handler closes: this thread is the driver still
            if not self._armed:
                self._armed = True
                self._alarm.release()
        self._poller.wake()
        if driver and driver != me:
            self._vacant.wait()
        if self._thread.ident not in (None, me):
            self._thread.join()
        if not self._orphaned:
            self.release()
