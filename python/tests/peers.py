"""Other processes on a network, in Python or Go, whose sub-networks, hosts, listeners and connections have here the methods
of lonet's own: a test can be written once, whichever of the two ends is where."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
from typing import Any, Dict, Optional, Tuple, Type, Union

import gopeer
import pypeer
from support import PATIENCE

import lonet

_HERE = os.path.dirname(os.path.abspath(__file__))

_KINDS: Dict[str, Type[OSError]] = dict(pypeer.KINDS)
_SYSTEM: Dict[str, Type[OSError]] = {"timeout": lonet.ErrTimeout}

PYTHON, GO = "python", "go"


class PeerError(lonet.OpError):
    """An error of another process that has no class of its own here."""


class _PeerReset(PeerError, ConnectionResetError):
    pass


class _PeerPipe(PeerError, BrokenPipeError):
    pass


_SYSTEM.update({"reset": _PeerReset, "pipe": _PeerPipe, "other": PeerError})


class PeerGone(Exception):
    """The process has ended."""


class Peer:
    """Another process, on no network yet."""

    def __init__(self, language: str, who: str) -> None:
        """who needs it, should it not be had."""
        program = [gopeer.needed(who)] if language == GO else [sys.executable, os.path.join(_HERE, "pypeer.py")]
        self.language = language
        self.process = subprocess.Popen(
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(os.environ, PYTHONIOENCODING="utf-8", GORACE="atexit_sleep_ms=0"),
            encoding="utf-8",
        )
        self._lock = threading.Lock()
        self._last = 0
        self._asked: Dict[int, Tuple[threading.Event, Dict[str, Any]]] = {}
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            reply = json.loads(line)
            with self._lock:
                event, into = self._asked.pop(reply["id"])
            into.update(reply)
            event.set()
        with self._lock:
            self._ended = True
            for event, _ in self._asked.values():
                event.set()

    def ask(self, cmd: str, on: int = 0, **args: Any) -> Dict[str, Any]:
        """Has it do something, and returns its reply, or raises its error."""
        event, reply = threading.Event(), {}
        with self._lock:
            if self._ended:
                raise PeerGone
            self._last += 1
            number = self._last
            self._asked[number] = event, reply
            assert self.process.stdin is not None
            try:
                self.process.stdin.write(json.dumps({"id": number, "cmd": cmd, "on": on, **args}) + "\n")
                self.process.stdin.flush()
            except OSError:
                raise PeerGone from None
        event.wait()
        if not reply:
            raise PeerGone
        if reply.get("error"):
            raise _error(reply["error"])
        return reply

    def join(self, temp: str, name: str, backlog: int = 0, timeout: float = PATIENCE) -> PeerSub:
        """Has it join a network."""
        return PeerSub(self, self.ask("join", temp=temp, name=name, backlog=backlog, timeout=timeout))

    def usage(self) -> Tuple[int, int]:
        """Returns how many descriptors it has, and threads or goroutines."""
        reply = self.ask("usage")
        return reply["size"], reply["obj"]

    def kill(self) -> None:
        """Kills it, as kill -9 does; what it has is gone then."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def end(self) -> None:
        """Ends it, and releases what is held of it."""
        if self.process.poll() is None:
            self.kill()
        self._reader.join(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass


def _error(failure: Dict[str, str]) -> lonet.OpError:
    kind = failure["kind"]
    cls = _SYSTEM.get(kind) or _KINDS.get(kind, PeerError)
    assert issubclass(cls, lonet.OpError), cls
    err = cls("").at(failure["op"], failure["net"], what=failure["text"])
    err.source, err.addr = (
        lonet.Addr.parse(failure["net"], failure[end]) if failure[end] else None for end in ("source", "addr")
    )
    return err


class _Thing:
    """An object of another process."""

    def __init__(self, peer: Peer, reply: Dict[str, Any]) -> None:
        self._peer = peer
        self._number: int = reply["obj"]
        self._net: str = reply["net"]

    def _ask(self, cmd: str, **args: Any) -> Dict[str, Any]:
        return self._peer.ask(cmd, self._number, **{k: v for k, v in args.items() if v is not None})

    def network(self) -> str:
        return self._net

    def close(self) -> None:
        try:
            self._ask("close")
        except PeerGone:
            pass

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class PeerSub(_Thing):
    """A sub-network of another process."""

    def new_host(self, name: str, timeout: Optional[float] = None) -> PeerHost:
        return PeerHost(self._peer, self._ask("new host", name=name, timeout=timeout))

    def host(self, name: str) -> Optional[bool]:
        """Tells whether it has the host."""
        return True if self._ask("host", name=name).get("is") else None


class PeerHost(_Thing):
    """A host of another process."""

    def __init__(self, peer: Peer, reply: Dict[str, Any]) -> None:
        super().__init__(peer, reply)
        self._name: str = reply["name"]

    def name(self) -> str:
        return self._name

    def dial(self, addr: str, timeout: Optional[float] = None) -> PeerConn:
        return PeerConn(self._peer, self._ask("dial", addr=addr, timeout=timeout))

    def listen(self, laddr: str = "") -> PeerListener:
        return PeerListener(self._peer, self._ask("listen", addr=laddr))


class PeerListener(_Thing):
    """A listener of another process."""

    def __init__(self, peer: Peer, reply: Dict[str, Any]) -> None:
        super().__init__(peer, reply)
        self._addr = lonet.Addr.parse(reply["net"], reply["local"])

    def addr(self) -> lonet.Addr:
        return self._addr

    def accept(self, timeout: Optional[float] = None) -> PeerConn:
        return PeerConn(self._peer, self._ask("accept", timeout=timeout))

    def echo(self) -> None:
        """Makes whoever dials it hear what they say."""
        self._ask("echo")


class PeerConn(_Thing):
    """One end of a connection, in another process."""

    def __init__(self, peer: Peer, reply: Dict[str, Any]) -> None:
        super().__init__(peer, reply)
        self._ends = tuple(lonet.Addr.parse(reply["net"], reply[end]) for end in ("local", "remote"))
        self._timeout: Optional[float] = None

    def local_addr(self) -> lonet.Addr:
        return self._ends[0]

    def remote_addr(self) -> lonet.Addr:
        return self._ends[1]

    def settimeout(self, value: Optional[float]) -> None:
        self._timeout = value

    def sendall(self, data: bytes) -> None:
        self._ask("send", data=base64.b64encode(data).decode(), timeout=self._timeout)

    def recv(self, size: int) -> bytes:
        return base64.b64decode(self._ask("recv", size=size, timeout=self._timeout).get("data") or "")

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR
        self._ask("end")

    def flood(self) -> None:
        self._ask("flood", timeout=self._timeout)

    def send_sum(self, size: int) -> str:
        return str(self._ask("send sum", size=size)["sum"])

    def recv_sum(self, size: int) -> Dict[str, Any]:
        return self._ask("recv sum", size=size)


AnySub = Union[lonet.SubNetwork, PeerSub]
AnyHost = Union[lonet.Host, PeerHost]
AnyListener = Union[lonet.Listener, PeerListener]
AnyConn = Union[lonet.Conn, PeerConn]


def flood(conn: AnyConn) -> None:
    """Writes to a connection until that fails."""
    if isinstance(conn, PeerConn):
        conn.flood()
    else:
        pypeer.flood(conn)


def send_sum(conn: AnyConn, size: int) -> str:
    """Sends so many bytes, and returns their checksum."""
    return conn.send_sum(size) if isinstance(conn, PeerConn) else pypeer.send_sum(conn, size)


def recv_sum(conn: AnyConn, size: int = 0) -> Tuple[int, str]:
    """Receives so many bytes, or all until the end, and returns how many they were, and their checksum."""
    got = conn.recv_sum(size) if isinstance(conn, PeerConn) else pypeer.recv_sum(conn, size)
    return got["size"], got["sum"]


def recv_all(conn: AnyConn, size: int) -> bytes:
    """Receives so many bytes, fewer if the end comes before."""
    got = b""
    while len(got) < size:
        data = conn.recv(size - len(got))
        if not data:
            break
        got += data
    return got
