"""A process on lonet networks, in Python, that does what tests tell it: the other end of what they do. gopeer is the same in
Go, and says how.

It reads requests from standard input and writes replies to standard output, JSON objects, one a line. Requests run at the
same time; a reply has the id of its request. When the input ends, so does the process.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import sys
import threading
import time
from typing import Any, Callable, Dict, Optional

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import lonet  # noqa: E402

Reply = Dict[str, Any]

KINDS = (
    ("net down", lonet.ErrNetDown),
    ("host down", lonet.ErrHostDown),
    ("sock down", lonet.ErrSockDown),
    ("used", lonet.ErrAddrAlreadyUsed),
    ("no listen", lonet.ErrAddrNoListen),
    ("refused", lonet.ErrConnRefused),
    ("no host", lonet.ErrNoHost),
    ("dup", lonet.ErrHostDup),
    ("timeout", TimeoutError),
    ("invalid", lonet.ErrInvalid),
    ("reset", ConnectionResetError),
    ("pipe", BrokenPipeError),
)


def failed(err: BaseException) -> Reply:
    """Returns an error as a test sees it."""
    kind = next((kind for kind, cls in KINDS if isinstance(err, cls)), "other")
    failure: Reply = {"kind": kind, "text": str(err)}
    for part in ("op", "net", "source", "addr"):
        failure[part] = str(getattr(err, part, None) or "")
    return failure


def send_sum(conn: socket.socket, size: int) -> str:
    """Sends so many bytes that do not repeat soon, in pieces of all sizes, and returns their checksum."""
    total, step, most = hashlib.sha256(), 1, 1 << 18
    block = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(4000)) * 3
    while size:
        start = step % 9973
        piece = block[start : start + min(step, size)]
        total.update(piece)
        conn.sendall(piece)
        size -= len(piece)
        step = step * 3 % most + 1
    return total.hexdigest()


def recv_sum(conn: socket.socket, size: int) -> Reply:
    """Reads so many bytes, or until the end if that is 0, and returns their number and checksum."""
    total, got, buf = hashlib.sha256(), 0, memoryview(bytearray(1 << 18))
    while not size or got < size:
        n = conn.recv_into(buf, min(len(buf), size - got) if size else len(buf))
        if n == 0:
            break
        total.update(buf[:n])
        got += n
    return {"size": got, "sum": total.hexdigest()}


def flood(conn: socket.socket) -> None:
    """Writes until that fails."""
    block = bytes(1 << 16)
    while True:
        conn.sendall(block)


def echo(listener: lonet.Listener) -> None:
    """Makes whoever dials hear what they say, until the listener is closed."""

    def serve(conn: lonet.Conn) -> None:
        with conn:
            data = conn.recv(1 << 16)
            while data:
                conn.sendall(data)
                data = conn.recv(1 << 16)

    while True:
        try:
            conn = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(conn,), daemon=True).start()


class Peer:
    """Has the objects that requests made, and a method for each command."""

    def __init__(self) -> None:
        self._objects: Dict[int, Any] = {}
        self._last = 0
        self._lock = threading.Lock()

    def obey(self, request: Reply) -> Reply:
        """Does what a request says."""
        f: Callable[..., Optional[Reply]] = getattr(self, "do_" + request["cmd"].replace(" ", "_"))
        try:
            return f(self._objects.get(request.get("on", 0)), request) or {}
        except BaseException as err:
            return {"error": failed(err)}

    def _limit(self, conn: lonet.Conn, r: Reply) -> None:
        """Sets the time-out that a request has, or none."""
        try:
            conn.settimeout(r.get("timeout"))
        except lonet.ErrDown:
            pass  # the operation itself says so

    def _enter(self, thing: Any, **more: Any) -> Reply:
        with self._lock:
            self._last += 1
            self._objects[self._last] = thing
            return {"obj": self._last, **more}

    def _connected(self, conn: lonet.Conn) -> Reply:
        local = conn.local_addr()
        return self._enter(conn, net=local.net, local=str(local), remote=str(conn.remote_addr()))

    def do_join(self, _: Any, r: Reply) -> Reply:
        settings = {"backlog": r["backlog"]} if r.get("backlog") else {}
        sub = lonet.join(r["name"], temp_dir=r["temp"], timeout=r.get("timeout"), **settings)
        return self._enter(sub, net=sub.network())

    def do_new_host(self, sub: lonet.SubNetwork, r: Reply) -> Reply:
        host = sub.new_host(r["name"], r.get("timeout"))
        return self._enter(host, name=host.name(), net=host.network())

    def do_host(self, sub: lonet.SubNetwork, r: Reply) -> Reply:
        return {"is": sub.host(r["name"]) is not None}

    def do_listen(self, host: lonet.Host, r: Reply) -> Reply:
        listener = host.listen(r["addr"])
        return self._enter(listener, net=listener.addr().net, local=str(listener.addr()))

    def do_accept(self, listener: lonet.Listener, r: Reply) -> Reply:
        return self._connected(listener.accept(r.get("timeout")))

    def do_dial(self, host: lonet.Host, r: Reply) -> Reply:
        return self._connected(host.dial(r["addr"], r.get("timeout")))

    def do_echo(self, listener: lonet.Listener, _: Reply) -> None:
        threading.Thread(target=echo, args=(listener,), daemon=True).start()

    def do_send(self, conn: lonet.Conn, r: Reply) -> None:
        self._limit(conn, r)
        conn.sendall(base64.b64decode(r["data"]))

    def do_recv(self, conn: lonet.Conn, r: Reply) -> Reply:
        self._limit(conn, r)
        return {"data": base64.b64encode(conn.recv(r["size"])).decode()}

    def do_flood(self, conn: lonet.Conn, r: Reply) -> None:
        self._limit(conn, r)
        flood(conn)

    def do_send_sum(self, conn: lonet.Conn, r: Reply) -> Reply:
        return {"size": r["size"], "sum": send_sum(conn, r["size"])}

    def do_recv_sum(self, conn: lonet.Conn, r: Reply) -> Reply:
        return recv_sum(conn, r["size"])

    def do_end(self, conn: lonet.Conn, _: Reply) -> None:
        conn.shutdown(socket.SHUT_WR)

    def do_close(self, thing: Any, _: Reply) -> None:
        thing.close()

    def do_forget(self, _: Any, __: Reply) -> None:
        self._objects.clear()

    def do_usage(self, _: Any, __: Reply) -> Reply:
        return {"size": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
                "obj": threading.active_count()}

    def do_child(self, _: Any, __: Reply) -> Reply:
        """Forks a child that lives on for a minute."""
        pid = os.fork()
        if pid == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1):
                os.dup2(null, fd)
            time.sleep(60)
            os._exit(0)
        return {"obj": pid}


def main() -> None:
    peer = Peer()
    lock = threading.Lock()

    def serve(request: Reply) -> None:
        line = json.dumps({**peer.obey(request), "id": request["id"]})
        with lock:
            print(line, flush=True)

    for line in sys.stdin:
        threading.Thread(target=serve, args=(json.loads(line),), daemon=True).start()
    os._exit(0)  # as a process of Go ends: without a word to anybody


if __name__ == "__main__":
    main()
