"""Has its words counted by main.go, a program in Go on the same network.

    PYTHONPATH=../python python3 python/client.py NETWORK TEXT
"""

import socket
import sys

import lonet


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: client.py NETWORK TEXT")
    with lonet.join(sys.argv[1]) as network, network.new_host("writer") as host:
        try:
            with host.dial("words:1", timeout=10) as conn:
                conn.sendall(sys.argv[2].encode())
                conn.shutdown(socket.SHUT_WR)  # that was all; the answer can come
                print(conn.makefile().read(), end="")
        except OSError as err:
            sys.exit(str(err))


if __name__ == "__main__":
    main()
