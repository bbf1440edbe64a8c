"""Waiting for any of many sockets to become readable, by one thread at a time, while others change which."""

from __future__ import annotations

import collections
import select
import selectors
import socket
import sys
from typing import Deque, List, Optional, Tuple


class _Wakeable:
    """A pair of sockets by which one thread wakes another out of its wait."""

    def __init__(self) -> None:
        self._wake_end, self._wait_end = socket.socketpair()
        self._wake_end.setblocking(False)
        self._wait_end.setblocking(False)
        self._wake_fd = self._wait_end.fileno()

    def wake(self) -> None:
        """Lets wait return, now or when it is called next."""
        try:
            self._wake_end.send(b"!")
        except OSError:
            pass  # it is full of such, or closed

    def _woken(self, ready: List[int]) -> List[int]:
        """Takes the waking out of what is ready."""
        if self._wake_fd in ready:
            ready.remove(self._wake_fd)
            try:
                while len(self._wait_end.recv(64)) == 64:
                    pass
            except OSError:
                pass
        return ready

    def close(self) -> None:
        """Releases the descriptors. What is watched is left as it is."""
        self._wait_end.close()
        self._wake_end.close()


class SelectorPoller(_Wakeable):
    """Tells which descriptors are readable, or ended, by what the system has.

    One thread at a time may be in wait; everything else is for any thread. What others add or remove is left to the
    thread that waits. A descriptor is removed before it is closed.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            self._selector = selectors.DefaultSelector()
        except BaseException:
            super().close()
            raise
        self._selector.register(self._wake_fd, selectors.EVENT_READ)
        self._changes: Deque[Tuple[bool, int]] = collections.deque()

    def add(self, fd: int) -> None:
        """Begins to watch the descriptor."""
        self._changes.append((True, fd))
        self.wake()

    def remove(self, fd: int) -> None:
        """Ends watching the descriptor, if it is watched."""
        self._changes.append((False, fd))
        self.wake()

    def wait(self, timeout: Optional[float]) -> List[int]:
        """Waits until something is readable, or wake was called, or the time-out. Returns what is readable."""
        while self._changes:
            self._change(*self._changes.popleft())
        return self._woken([key.fd for key, _ in self._selector.select(timeout)])

    def _change(self, add: bool, fd: int) -> None:
        try:
            if add:
                self._selector.register(fd, selectors.EVENT_READ)
            else:
                self._selector.unregister(fd)
        except (OSError, KeyError, ValueError):
            pass  # it is closed by now, and the system has forgotten it

    def close(self) -> None:
        """Releases the descriptors. What is watched is left as it is."""
        self._selector.close()
        super().close()


if sys.platform == "linux":

    class EpollPoller(_Wakeable):
        """As SelectorPoller; what threads add or remove takes effect at once, without waking the one that waits."""

        def __init__(self) -> None:
            super().__init__()
            try:
                self._epoll = select.epoll()
            except BaseException:
                super().close()
                raise
            self._poll = self._epoll.poll
            self.add(self._wake_fd)

        def add(self, fd: int) -> None:
            """Begins to watch the descriptor."""
            self._epoll.register(fd, select.EPOLLIN)

        def remove(self, fd: int) -> None:
            """Ends watching the descriptor, if it is watched."""
            try:
                self._epoll.unregister(fd)
            except (OSError, ValueError):
                pass

        def wait(self, timeout: Optional[float]) -> List[int]:
            """Waits until something is readable, or wake was called, or the time-out. Returns what is readable."""
            events = self._poll(timeout, 64)
            if len(events) == 1 and events[0][0] != self._wake_fd:
                return [events[0][0]]
            return self._woken([fd for fd, _ in events])

        def close(self) -> None:
            """Releases the descriptors. What is watched is left as it is."""
            self._epoll.close()
            super().close()

    Poller = EpollPoller
else:
    Poller = SelectorPoller
