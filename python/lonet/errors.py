"""The errors of a virtual network.

All of them are OpError, which is an OSError, and most are at the same time what a Python program would catch for a
socket: ConnectionRefusedError, TimeoutError, OSError with errno EADDRINUSE.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any, Optional, TypeVar

if TYPE_CHECKING:
    from .addr import Addr

_E = TypeVar("_E", bound="OpError")


class OpError(OSError):
    """An operation on a virtual network that failed.

    str() is "dial lonett α:1->β:1: connection refused": the operation, the network, who, to whom, and why. The parts
    are op, net, source, addr and strerror. errno is that of the kind, as on an OSError of a socket.
    """

    text = "input/output error"
    code = errno.EIO

    op: Optional[str] = None
    """What failed: "dial", "listen", "accept", "read", "write", "new host", "join"..."""
    net: Optional[str] = None
    """Full name of the network."""
    source: Optional[Addr] = None
    """The local end, where there are two."""
    addr: Optional[Addr] = None
    """The remote end; or the address that was to be listened on, or accepts."""
    what: Optional[str] = None
    """What it failed on, if that isn't an address; as text it then takes the place of op, net and the addresses."""

    def __init__(self, detail: Optional[str] = None, code: Optional[int] = None) -> None:
        """detail is the reason at length, which ends with that of the kind; None is just that."""
        super().__init__(self.code if code is None else code, self.text if detail is None else detail)

    def __str__(self) -> str:
        return ": ".join(part for part in (self.what or self._where(), self.strerror) if part)

    def _where(self) -> str:
        ends = "->".join(str(end) for end in (self.source, self.addr) if end is not None)
        return " ".join(part for part in (self.op, self.net, ends) if part)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.strerror, self.errno), self.__dict__

    def at(
        self: _E,
        op: str,
        net: str,
        source: Optional[Addr] = None,
        addr: Optional[Addr] = None,
        what: Optional[str] = None,
    ) -> _E:
        """Fills in where it happened, and returns self."""
        self.op, self.net, self.source, self.addr, self.what = op, net, source, addr, what
        return self

    def because(self: _E, where: str) -> _E:
        """Puts where in front of the reason, and returns self."""
        self.strerror = f"{where}: {self.strerror}"
        return self


class ErrDown(OpError):
    """Something that the operation needs is closed, on this side. It is always one of the three below."""

    text = "is down"
    code = errno.EBADF


class ErrNetDown(ErrDown):
    """The sub-network is closed, or the system took its socket away."""

    text = "network is down"
    code = errno.ENETDOWN


class ErrHostDown(ErrDown):
    """The host is closed."""

    text = "host is down"
    code = getattr(errno, "EHOSTDOWN", errno.EBADF)


class ErrSockDown(ErrDown):
    """The connection or listener is closed."""

    text = "socket is down"
    code = errno.EBADF


class ErrAddrAlreadyUsed(OpError):
    """The port is taken."""

    text = "address already in use"
    code = errno.EADDRINUSE


class ErrAddrNoListen(OpError):
    """The address is not one of this host's."""

    text = "cannot listen on requested address"
    code = errno.EADDRNOTAVAIL


class ErrConnRefused(OpError, ConnectionRefusedError):
    """Nobody listens at the dialled address, or its queue is full, or it went down before it accepted."""

    text = "connection refused"
    code = errno.ECONNREFUSED


class ErrNoHost(OpError, socket.gaierror):
    """No host of that name is on the network. It is a socket.gaierror, as of a name that DNS doesn't know."""

    text = "no such host"
    code = socket.EAI_NONAME


class ErrHostDup(OpError):
    """The network already has a host of that name."""

    text = "host already registered"
    code = errno.EEXIST


class ErrInvalid(OpError, ValueError):
    """An address, or a name, that is against the rules."""

    text = "invalid argument"
    code = errno.EINVAL


if TYPE_CHECKING or issubclass(socket.timeout, TimeoutError):

    class _Timeout(OpError, TimeoutError):
        pass

else:  # before Python 3.10 they were two

    class _Timeout(OpError, TimeoutError, socket.timeout):
        pass


class ErrTimeout(_Timeout):
    """A time-out was over. It is a TimeoutError, and a socket.timeout too."""

    text = "i/o timeout"
    code = errno.ETIMEDOUT


class _Reset(OpError, ConnectionResetError):
    pass


class _Aborted(OpError, ConnectionAbortedError):
    pass


class _BrokenPipe(OpError, BrokenPipeError):
    pass


class _Permission(OpError, PermissionError):
    pass


class _NotFound(OpError, FileNotFoundError):
    pass


_ADVICE = {
    errno.ENOSPC: "make room, or use another temporary directory",
    errno.EROFS: "use another temporary directory",
    errno.EACCES: "use another temporary directory",
    errno.EMFILE: "close some, or raise this process's limit",
}


def advised(err: _E) -> _E:
    """Adds to an error of files what the user can do about it, and returns it."""
    advice = _ADVICE.get(err.errno or 0)
    if advice is not None and advice not in err.strerror:
        err.strerror += ": " + advice
    return err


_KINDS = (_Reset, _Aborted, _BrokenPipe, _Permission, _NotFound)


def of_system(err: OSError) -> OpError:
    """Returns an error of the operating system as one of ours, of the same kind."""
    if isinstance(err, OpError):
        return err
    if isinstance(err, (TimeoutError, socket.timeout)):
        return ErrTimeout()
    code = err.errno if err.errno is not None else OpError.code
    text = err.strerror or (os.strerror(code) if err.errno is not None else str(err))
    text = text[:1].lower() + text[1:]
    if err.filename is not None:
        text = f"{err.filename}: {text}"
    for kind in _KINDS:
        if isinstance(err, kind.__bases__[1]):
            return kind(text, code)
    return OpError(text, code)
