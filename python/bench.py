"""Measures lonet against raw sockets over loopback, in one run: with both ends in one process, and in two.

The two take turns, some 20 ms each, order alternating; what is printed is the median of the ratios of neighbouring
turns, with the 10th and 90th percentile: how many times as fast as raw sockets lonet is. Absolute times say more about
the machine.

    TMPDIR=/dev/shm taskset -c 0 python3 bench.py [seconds for each benchmark]

On one core, for with two the kernel puts the two ends now on one, now on both, and the medians jump.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from typing import Callable, List, Tuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import lonet  # noqa: E402

TURN = 0.02
MESSAGE = b"x" * 64
BLOCK = b"x" * (128 << 10)

Side = Callable[[int], None]
Dial = Callable[[], socket.socket]


def compare(name: str, target: float, ours: Side, base: Side, seconds: float) -> None:
    """Prints how many times as fast as base ours is."""
    n = 1
    while clock(base, n) < TURN / 4:
        n *= 2
    n = max(1, int(n * TURN / clock(base, n)))
    ours(n)
    ratios: List[float] = []
    ours_us: List[float] = []
    base_us: List[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(ratios) < 5:
        if len(ratios) % 2 == 0:
            o, b = clock(ours, n), clock(base, n)
        else:
            b, o = clock(base, n), clock(ours, n)
        ratios.append(b / o)
        ours_us.append(o / n * 1e6)
        base_us.append(b / n * 1e6)
    p10, ratio, p90 = (sorted(ratios)[int(q * (len(ratios) - 1))] for q in (0.1, 0.5, 0.9))
    print(
        f"{name:26} {ratio:5.2f} ({p10:.2f} to {p90:.2f}), target {target}; "
        f"{statistics.median(ours_us):.1f} µs against {statistics.median(base_us):.1f} µs",
        flush=True,
    )


def clock(side: Side, n: int) -> float:
    start = time.perf_counter()
    side(n)
    return time.perf_counter() - start


# What a client does. The servers, which are at three ports, close what they accept, echo it, or read it until its end.


def dials(dial: Dial) -> Side:
    """Dials and closes connections."""

    def run(n: int) -> None:
        for _ in range(n):
            dial().close()

    return run


def ping_pong(c: socket.socket) -> Side:
    """Makes round trips of 64 bytes."""

    def run(n: int) -> None:
        for _ in range(n):
            c.sendall(MESSAGE)
            c.recv(64)  # 64 bytes come in one piece

    return run


def stream(c: socket.socket) -> Side:
    """Sends blocks of 128 KiB."""

    def run(n: int) -> None:
        for _ in range(n):
            c.sendall(BLOCK)

    return run


def echo(c: socket.socket) -> None:
    while True:
        data = c.recv(64)
        if not data:
            return
        c.sendall(data)


def swallow(c: socket.socket) -> None:
    buffer = bytearray(len(BLOCK))
    while c.recv_into(buffer):
        pass


def serve(accept: Dial, use: Callable[[socket.socket], None]) -> None:
    """Accepts connections, one after the other, and uses and closes them, on a thread."""

    def run() -> None:
        while True:
            try:
                with accept() as c:
                    use(c)
            except OSError:
                return

    threading.Thread(target=run, daemon=True).start()


USES: Tuple[Callable[[socket.socket], None], ...] = (lambda c: None, echo, swallow)


def servers(temp: str) -> List[int]:
    """Starts all servers, on lonet and on raw sockets, and returns the ports of the latter."""
    host = lonet.join("bench", temp_dir=temp).new_host("α")
    ports = []
    for port, use in enumerate(USES, 1):
        serve(host.listen(f":{port}", 100).accept, use)
        tcp = socket.create_server(("127.0.0.1", 0), backlog=4096)
        serve(lambda tcp=tcp: no_delay(tcp.accept()[0]), use)  # type: ignore[misc]
        ports.append(tcp.getsockname()[1])
    return ports


def no_delay(sock: socket.socket) -> socket.socket:
    """Sets the one option that lonet's connections have and a raw socket does not."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def measure(temp: str, ports: List[int], seconds: float) -> None:
    with lonet.join("bench", temp_dir=temp) as net, net.new_host("β") as host:
        addresses = [("127.0.0.1", port) for port in ports]
        compare(
            "dial + accept + close",
            0.5,
            dials(lambda: host.dial("α:1")),
            dials(lambda: socket.create_connection(addresses[0])),
            seconds,
        )
        for name, i, side in (("ping-pong of 64 bytes", 1, ping_pong), ("blocks of 128 KiB", 2, stream)):
            with host.dial(f"α:{i + 1}") as ours, no_delay(socket.create_connection(addresses[i])) as base:
                compare(name, 0.95, side(ours), side(base), seconds)


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        print(*servers(sys.argv[2]), flush=True)
        sys.stdin.read()
        return
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as temp:
        print("Two processes:")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([sys.executable, __file__, "serve", temp], text=True, **pipes) as child:  # type: ignore
            measure(temp, [int(port) for port in child.stdout.readline().split()], seconds)
            child.stdin.close()
    with tempfile.TemporaryDirectory() as temp:
        print("One process:")
        measure(temp, servers(temp), seconds)


if __name__ == "__main__":
    main()
