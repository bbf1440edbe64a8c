"""Strings in double quotes, as Go's %q writes and reads them."""

from __future__ import annotations

import re
from typing import Optional

_SHORT = {7: "a", 8: "b", 12: "f", 10: "n", 13: "r", 9: "t", 11: "v", 34: '"', 92: "\\"}
_LONG = {letter: code for code, letter in _SHORT.items()}

_PLAIN = re.compile(r'[^"\\]*\Z')
_ESCAPE = re.compile(
    rb'\\(?:([abfnrtv"\\])|x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))|([^\\\n]+)'
)


def quote(s: str) -> str:
    """Returns s in double quotes. Lone surrogates stand for bytes that are not UTF-8, as decode leaves them."""
    if s.isprintable() and _PLAIN.match(s):
        return f'"{s}"'
    return '"' + "".join(map(_escaped, s)) + '"'


def _escaped(c: str) -> str:
    code = ord(c)
    if code in _SHORT:
        return "\\" + _SHORT[code]
    if c.isprintable():
        return c
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def encode(s: str) -> bytes:
    """Returns s as UTF-8, the bytes again that decode did not understand."""
    return s.encode("utf-8", "surrogateescape")


def decode(b: bytes) -> str:
    """Returns UTF-8 as text, with lone surrogates for bytes that are none."""
    return b.decode("utf-8", "surrogateescape")


def unquote(inner: bytes) -> Optional[str]:
    """Returns what a quoted string says whose bytes between the quotes are inner; None if it says nothing."""
    out = bytearray()
    at = 0
    while at < len(inner):
        m = _ESCAPE.match(inner, at)
        if m is None:
            return None
        at = m.end()
        short, x, octal, u, long, raw = m.groups()
        if raw is not None:
            out += raw
        elif short is not None:
            out.append(_LONG[short.decode()])
        elif x is not None or octal is not None:
            byte = int(x, 16) if x is not None else int(octal, 8)
            if byte > 0xFF:
                return None
            out.append(byte)
        else:
            code = int(u or long, 16)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                return None
            out += chr(code).encode()
    return decode(bytes(out))


def shorten(s: str, most: int = 200) -> str:
    """Bounds what a stranger puts into our errors and logs to so many bytes, and escapes what is not printable, which
    could do things to a terminal or a log."""
    short = cut = ""
    size = 0
    for c in s:
        c = c if c.isprintable() else _escaped(c)
        size += len(c.encode())
        short += c
        if size > most:
            return cut + "…"
        if size <= most - len("…".encode()):
            cut = short
    return short
