"""The table of a host's sockets."""

from __future__ import annotations

import heapq
from typing import Dict, Generic, List, Optional, TypeVar

_S = TypeVar("_S")


class Ports(Generic[_S]):
    """Sockets by their ports, from 1 up. It finds the lowest free port.

    Time is logarithmic in the number of ports, and memory follows the number of those that are taken, however high
    they are. It is not safe for concurrent use.
    """

    __slots__ = ("_taken", "_freed", "_top")

    def __init__(self) -> None:
        self._taken: Dict[int, _S] = {}
        # All free ports below top are in the heap freed, perhaps twice, with others that have been taken since.
        self._freed: List[int] = []
        self._top = 1

    def __len__(self) -> int:
        return len(self._taken)

    def get(self, port: int) -> Optional[_S]:
        """Returns the socket at the port."""
        return self._taken.get(port)

    def all(self) -> List[_S]:
        """Returns the sockets."""
        return list(self._taken.values())

    def put(self, sock: _S, port: int = 0) -> int:
        """Puts sock at the port, or at the lowest free one if port is 0. Returns the port, or 0 if it is taken."""
        taken = self._taken
        if port == 0:
            port = self._lowest()
        elif port in taken:
            return 0
        taken[port] = sock
        return port

    def replace(self, sock: _S, port: int) -> None:
        """Puts sock in the place of the one at the port."""
        self._taken[port] = sock

    def remove(self, sock: _S, port: int) -> None:
        """Frees the port if sock is at it. Port 0 is whichever it is at."""
        taken = self._taken
        if port == 0:  # a signal's handler raised between the taking of the port and the noting of it
            port = next((p for p, s in taken.items() if s is sock), 0)
        if taken.get(port) is not sock:
            return
        del taken[port]
        if port < self._top:
            freed = self._freed
            heapq.heappush(freed, port)
            if len(freed) > 2 * len(taken) + 64:  # more is to be remembered than to be found again
                freed.clear()
                self._top = 1

    def _lowest(self) -> int:
        taken, freed = self._taken, self._freed
        while freed:
            port = heapq.heappop(freed)
            if port not in taken:
                return port
        port = self._top
        while port in taken:
            port += 1
        self._top = port + 1
        return port
