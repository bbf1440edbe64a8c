"""The lines of the handshake, one each way on a fresh TCP connection. docs/lonet.md, section 4.

    > lonet "<network>" dial "<src host:port>" "<dst host:port>"\\n
    < lonet "<network>" connected "<dst host:accepted port>"\\n
    < lonet "<network>" E "<error>"\\n
"""

from __future__ import annotations

import errno
import functools
import re
from typing import NamedTuple, Optional, Tuple

from . import names
from .addr import Addr
from .errors import ErrConnRefused, ErrInvalid, ErrNoHost, OpError
from .quote import decode, encode, quote, shorten, unquote

MAX_LINE = 1024
"""How long a line may be, its newline included."""

# What the acceptor answers to a request that is not in order.
BAD_REQUEST = "protocol error: invalid dial request"
MISMATCH = "protocol error: network mismatch"
BAD_SRC = "protocol error: src address invalid"
BAD_DST = "protocol error: dst address invalid"
REFUSED = ErrConnRefused.text

_STRING = rb'"([^"\\]*(?:\\.[^"\\]*)*)"'
_REQUEST = re.compile(rb"> lonet " + _STRING + rb" dial " + _STRING + rb" " + _STRING, re.DOTALL)
_REPLY = re.compile(rb"< lonet " + _STRING + rb" (connected|E) " + _STRING, re.DOTALL)


class Request(NamedTuple):
    """What a dialler asks."""

    network: str
    src: str
    dst: str

    def line(self) -> bytes:
        """Returns it as a line, with its newline."""
        return encode(f"> lonet {quote(self.network)} dial {quote(self.src)} {quote(self.dst)}\n")

    @classmethod
    def parse(cls, line: bytes) -> Optional[Request]:
        """Parses a line without its newline; None if it is no request."""
        m = _REQUEST.fullmatch(line)
        if m is None:
            return None
        network, src, dst = map(_unquoted, m.groups())
        if network is None or src is None or dst is None:
            return None
        return cls(network, src, dst)

    def check(self, network: str) -> Tuple[Addr, Addr]:
        """Returns the addresses of a request made to network. Raises ErrInvalid, whose strerror is the reply."""
        if self.network != network:
            raise ErrInvalid(MISMATCH)
        return _address(network, self.src, BAD_SRC), _address(network, self.dst, BAD_DST)


class Reply(NamedTuple):
    """What the acceptor answers."""

    network: str
    accepted: str
    """The address that accepted; empty if there is an error."""
    error: str
    """Why not."""

    def line(self) -> bytes:
        """Returns it as a line, with its newline."""
        if self.accepted:
            return encode(f"< lonet {quote(self.network)} connected {quote(self.accepted)}\n")
        return encode(f"< lonet {quote(self.network)} E {quote(self.error)}\n")

    @classmethod
    def parse(cls, line: bytes) -> Optional[Reply]:
        """Parses a line without its newline; None if it is no reply."""
        m = _REPLY.fullmatch(line)
        if m is None:
            return None
        network, text = _unquoted(m[1]), _unquoted(m[3])
        if network is None or text is None:
            return None
        if m[2] == b"E":
            return cls(network, "", text)
        return cls(network, text, "") if text else None

    def check(self, dst: Addr) -> Addr:
        """Returns the address that accepted a dial to dst, or raises why there is none."""
        if self.network != dst.net:
            raise OpError(f"protocol error: reply from network {shorten(quote(self.network))}")
        if not self.accepted:
            if self.error == REFUSED:
                raise ErrConnRefused()
            if self.says_no_host():
                raise ErrNoHost()
            raise OpError(f"remote: {shorten(self.error)}")
        shown = shorten(quote(self.accepted))
        try:
            accepted = Addr.parse(dst.net, self.accepted)
        except ErrInvalid:
            accepted = dst._replace(port=0)
        if accepted.port == 0:
            raise OpError(f"protocol error: accept address {shown} invalid")
        if accepted.host != dst.host:
            raise OpError(f"protocol error: accept address {shown} is on another host")
        return accepted

    def says_no_host(self) -> bool:
        """Tells whether it says that the host isn't in the process that was asked."""
        return self.error.startswith("address ") and self.error.endswith(": " + ErrNoHost.text)


@functools.lru_cache(maxsize=512)
def parse_request(line: bytes, network: str) -> Tuple[Optional[Addr], Optional[Addr], str]:
    """Returns the addresses of a request made to network, or None and what to answer. The line has its newline.

    It remembers, since who dials often does so from the same port.
    """
    request = Request.parse(line[:-1])
    if request is None:
        return None, None, BAD_REQUEST
    try:
        src, dst = request.check(network)
    except ErrInvalid as err:
        return None, None, err.strerror
    return src, dst, ""


@functools.lru_cache(maxsize=512)
def accepted(line: bytes, dst: Addr) -> Addr:
    """Returns the address that accepted a dial to dst, from the line of the reply, or raises OpError why there is none.

    It remembers, as parse_request does.
    """
    reply = Reply.parse(line[:-1])
    if reply is None:
        raise OpError("protocol error: invalid dial reply", errno.EPROTO)
    return reply.check(dst)


def no_host(dst: Addr) -> str:
    """Returns what to answer where dst's host isn't."""
    return f"address {dst}: {ErrNoHost.text}"


def _unquoted(inner: bytes) -> Optional[str]:
    return unquote(inner) if b"\\" in inner else decode(inner)


def _address(network: str, text: str, otherwise: str) -> Addr:
    # Names that no host can have are not let in: they could not be answered in a line, or fool who prints them.
    try:
        addr = Addr.parse(network, text)
    except ErrInvalid:
        raise ErrInvalid(otherwise) from None
    if not names.valid(addr.host):
        raise ErrInvalid(otherwise)
    return addr
