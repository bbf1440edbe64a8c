"""Gets a page from a web server on a network, in whatever language that is written, and prints it.

    PYTHONPATH=python python3 python/examples/get.py NETWORK http://HOST[:PORT]/PATH
"""

from __future__ import annotations

import os
import sys
import urllib.parse

import lonet


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: get.py NETWORK http://HOST[:PORT]/PATH")
    url = urllib.parse.urlsplit(sys.argv[2])
    with lonet.join(sys.argv[1]) as net:
        host = net.new_host(f"get-{os.getpid()}")
        conn = lonet.HTTPConnection(host, url.netloc, timeout=30)
        try:
            conn.request("GET", url.path or "/")
            response = conn.getresponse()
            sys.stdout.buffer.write(response.read())
        except OSError as err:
            sys.exit(str(err))
        finally:
            conn.close()
        if response.status != 200:
            sys.exit(f"{response.status} {response.reason}")


if __name__ == "__main__":
    main()
