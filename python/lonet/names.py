"""The rule for names of hosts and networks."""

from __future__ import annotations

import functools
import re

from .errors import ErrInvalid
from .quote import encode, quote

MAX_QUOTED = 255
"""How many bytes a name may take in quotes: two addresses and a network of this length fit in a handshake line."""

_FORBIDDEN = re.compile(r"[/\\:\[\]%]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def check(name: str) -> None:
    """Raises ErrInvalid, which is a ValueError, if name is no valid name, and says which rule it breaks."""
    why = _broken_rule(name)
    if why:
        raise ErrInvalid("invalid name" + why)


def valid(name: str) -> bool:
    """Tells whether name is a valid name."""
    return not _broken_rule(name)


@functools.lru_cache(maxsize=1024)
def _broken_rule(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a name is a str, not {type(name).__name__}")
    if name == "":
        return ": it is empty"
    if name in (".", ".."):
        return f" {quote(name)}: it is a directory reference"
    quoted = quote(name)
    if any(0xD800 <= ord(c) <= 0xDFFF for c in name):
        return f" {_shorten(quoted)}: it is not valid UTF-8"
    if len(encode(quoted)) > MAX_QUOTED:
        return (
            f" {_shorten(quoted)}: it is {len(encode(quoted))} bytes when quoted, at most {MAX_QUOTED} are allowed"
        )
    bad = _FORBIDDEN.search(name)
    if bad:
        return f" {quoted}: it contains {bad.group()!r} (none of / \\ : [ ] % is allowed)"
    if _CONTROL.search(name):
        return f" {quoted}: it contains a control character"
    return ""


def _shorten(quoted: str, most: int = 64) -> str:
    quoted = encode(quoted).decode("utf-8", "replace")
    return quoted if len(quoted) <= most else quoted[:most] + "…"
