from __future__ import annotations

import random
import unittest

import support  # noqa: F401

from lonet.quote import decode, encode, quote, shorten, unquote


class QuoteTest(unittest.TestCase):
    def test_quote(self) -> None:
        for s, want in (
            ("", '""'),
            ("α:1", '"α:1"'),
            ("日本", '"日本"'),
            ('a"b', r'"a\"b"'),
            ("a\\b", r'"a\\b"'),
            ("a'b", '"a\'b"'),
            ("\a\b\f\n\r\t\v", r'"\a\b\f\n\r\t\v"'),
            ("\x00\x1f\x7f", r'"\x00\x1f\x7f"'),
            ("\u0085", r'"\u0085"'),
            ("\u200b", r'"\u200b"'),
            ("\ufeff", r'"\ufeff"'),
            ("\U000e0001", r'"\U000e0001"'),
            (decode(b"a\xff\xfe"), r'"a\xff\xfe"'),
        ):
            with self.subTest(repr(s)):
                self.assertEqual(quote(s), want)
                self.assertEqual(unquote(encode(want[1:-1])), s)

    def test_unquote(self) -> None:
        for inner, want in (
            (b"\\316\\261", "α"),
            (b"\\xce\\xb1", "α"),
            (b"\\u03B1", "α"),
            (b"\\U000003b1", "α"),
            (b"\xff", decode(b"\xff")),
            (b"\\377", decode(b"\xff")),
            (b"\\'", None),
            (b"\\0", None),
            (b"\\400", None),
            (b"\\x1", None),
            (b"\\u12", None),
            (b"\\ud800", None),
            (b"\\U00110000", None),
            (b"\\q", None),
            (b"\\", None),
            (b"a\nb", None),
        ):
            with self.subTest(inner):
                self.assertEqual(unquote(inner), want)

    def test_round_trip(self) -> None:
        rng = random.Random(1)
        for _ in range(2000):
            raw = bytes(rng.choice((rng.randrange(256), 0x5C, 0x22, 0x61)) for _ in range(rng.randrange(12)))
            s = decode(raw)
            quoted = quote(s)
            self.assertEqual(unquote(encode(quoted[1:-1])), s)
            self.assertNotIn("\n", quoted)

    def test_shorten(self) -> None:
        def x(n: int) -> str:
            return "x" * n

        for text, want in (
            ("", ""),
            ('"no" such \\host α', '"no" such \\host α'),
            ("a\x1b[2J\r\nb\0\x7f", "a\\x1b[2J\\r\\nb\\x00\\x7f"),
            ("a\u0085\u00a0\u2028\u202e\ufeff\U000e0001b", "a\\u0085\\u00a0\\u2028\\u202e\\ufeff\\U000e0001b"),
            (decode(b"\xff\xce"), "\\xff\\xce"),
            ("\ufffd", "\ufffd"),
            (x(198) + "α", x(198) + "α"),
            (x(199) + "α", x(197) + "…"),
            (x(196) + "αβ", x(196) + "αβ"),
            (x(196) + "αβγ", x(196) + "…"),
            (x(196) + "\n", x(196) + "\\n"),
            (x(196) + "\0", x(196) + "\\x00"),
            (x(197) + "\0", x(197) + "…"),
            ("\0" * 1000, "\\x00" * 49 + "…"),
        ):
            self.assertEqual(shorten(text), want)
            self.assertLessEqual(len(shorten(text).encode()), 200)
        self.assertEqual(shorten("short"), "short")
        self.assertEqual(shorten("\x1b[2J\u0085" + decode(b"\xff")), "\\x1b[2J\\u0085\\xff")
        self.assertEqual(shorten("x" * 200), "x" * 200)
        self.assertEqual(shorten("x" * 201), "x" * 197 + "…")
        self.assertEqual(shorten("α" * 300), "α" * 98 + "…")
        self.assertEqual(shorten("\n" * 300), "\\n" * 98 + "…")


if __name__ == "__main__":
    unittest.main()
