"""Addresses of a virtual network, as text "host:port"."""

from __future__ import annotations

import functools
from typing import NamedTuple

from .errors import ErrInvalid

MAX_PORT = (1 << 31) - 1
"""The highest port of a host."""


class Addr(NamedTuple):
    """An address on a virtual network. It never changes, and compares by value."""

    net: str
    """Full name of the network, as "lonett"."""
    host: str
    """Name of the host."""
    port: int
    """Port on the host; 0 where none is meant."""

    def __str__(self) -> str:
        """Returns "host:port"; a host with a colon, which no network has, gets brackets."""
        if ":" in self.host:
            return f"[{self.host}]:{self.port}"
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, net: str, addr: str) -> Addr:
        """Parses "host:port" as an address on net.

        The host may be empty and is not checked. The port is a decimal number from 0 to 2**31-1, without sign. Raises
        ErrInvalid, which is a ValueError, for anything else.
        """
        host, port = _split(addr)
        return cls(net, host, _port(port, addr))


@functools.lru_cache(maxsize=512)
def resolve(net: str, host: str, addr: str) -> Addr:
    """Parses an address that a host uses: an empty host in it is that one. It remembers what it was asked lately."""
    parsed = Addr.parse(net, addr)
    return parsed if parsed.host else parsed._replace(host=host)


def _split(addr: str) -> tuple[str, str]:
    if not isinstance(addr, str):
        raise TypeError(f'an address is a str, "host:port", not {type(addr).__name__}')
    host, colon, port = addr.rpartition(":")
    if not colon:
        raise _invalid(addr, "missing port in address")
    if addr.startswith("["):
        end = addr.find("]")
        if end < 0:
            raise _invalid(addr, "missing ']' in address")
        if end + 1 != len(host):
            beyond = addr[end + 1 : end + 2]
            raise _invalid(addr, "too many colons in address" if beyond == ":" else "missing port in address")
        host = host[1:-1]
    elif ":" in host:
        raise _invalid(addr, "too many colons in address")
    for bracket in "[]":
        if bracket in host or bracket in port:
            raise _invalid(addr, f"unexpected '{bracket}' in address")
    return host, port


def _port(digits: str, addr: str) -> int:
    if digits.isascii() and digits.isdigit():
        digits = digits.lstrip("0") or "0"
        if len(digits) <= 10 and int(digits) <= MAX_PORT:
            return int(digits)
    raise _invalid(addr, "invalid port")


def _invalid(addr: str, why: str) -> ErrInvalid:
    return ErrInvalid(f"address {addr}: {why}" if addr else why)
