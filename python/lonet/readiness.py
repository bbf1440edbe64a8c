"""A descriptor that is readable while something is so."""

from __future__ import annotations

import socket


class Readiness:
    """A pair of sockets, one of which is readable while it is set. set and clear are for one thread at a time."""

    def __init__(self) -> None:
        self._set_end, self._wait_end = socket.socketpair()
        self._set_end.setblocking(False)
        self._wait_end.setblocking(False)
        self._set = False

    def set(self, on: bool) -> None:
        """Makes the descriptor readable, or not."""
        if on and not self._set:
            self._set_end.send(b"!")
        elif self._set and not on:
            try:
                self._wait_end.recv(1)
            except BlockingIOError:
                pass  # somebody has read from a listening socket
        self._set = on

    def fileno(self) -> int:
        """Returns the descriptor."""
        return self._wait_end.fileno()

    def dup(self) -> socket.socket:
        """Returns a socket that is readable when this is."""
        return self._wait_end.dup()

    def close(self) -> None:
        """Releases the descriptors. Who waits for one finds it readable."""
        try:
            self._wait_end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.forget()

    def forget(self) -> None:
        """Closes what a forked child has inherited."""
        self._wait_end.close()
        self._set_end.close()
