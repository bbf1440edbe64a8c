"""Serves the files of a directory over HTTP, on a host of a network.

    PYTHONPATH=python python3 python/examples/serve.py NETWORK HOST [DIRECTORY]

Any process that joins the network can ask for them, also one in Go.
"""

from __future__ import annotations

import functools
import http.server
import sys

import lonet


def main() -> None:
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: serve.py NETWORK HOST [DIRECTORY]")
    directory = sys.argv[3] if len(sys.argv) == 4 else "."
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory)
    with lonet.join(sys.argv[1]) as net:
        listener = net.new_host(sys.argv[2]).listen(":80")
        print(f"serving {directory} at http://{listener.addr().host}/ on {net.network()}", flush=True)
        try:
            lonet.make_server(http.server.ThreadingHTTPServer, listener, handler).serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
