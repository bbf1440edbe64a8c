from __future__ import annotations

import unittest

import support  # noqa: F401

from lonet import ErrInvalid, names
from lonet.quote import decode


class NamesTest(unittest.TestCase):
    def test_valid(self) -> None:
        for name in (
            "β", "b", "B", "a.b", "xn--nxa", "under_score", "ho st", "日本", 'qu"ote', "127.0.0.1", "...", "~", "-",
            "n" * 253, "ν" * 126,
        ):  # fmt: skip
            with self.subTest(name[:20]):
                names.check(name)
                self.assertTrue(names.valid(name))

    def test_invalid(self) -> None:
        for name, says in (
            ("", "it is empty"),
            (".", "it is a directory reference"),
            ("..", "it is a directory reference"),
            (decode(b"a\xff"), "it is not valid UTF-8"),
            ("\ud800", "it is not valid UTF-8"),
            ("a/b", "it contains '/'"),
            ("a\\b", "it contains '\\\\'"),
            ("a:b", "it contains ':'"),
            ("a[b", "it contains '['"),
            ("a]b", "it contains ']'"),
            ("a%b", "it contains '%'"),
            ("a\nb", "it contains a control character"),
            ("a\0b", "it contains a control character"),
            ("a\u0085b", "it contains a control character"),
            ("n" * 254, "it is 256 bytes when quoted, at most 255 are allowed"),
            ("\u200b" * 43, "it is 260 bytes when quoted"),
        ):
            with self.subTest(repr(name[:20])):
                self.assertFalse(names.valid(name))
                with self.assertRaises(ErrInvalid) as caught:
                    names.check(name)
                text = str(caught.exception)
                self.assertTrue(text.startswith("invalid name"), text)
                self.assertIn(says, text)
                self.assertLess(len(text), 200)
                text.encode()

    def test_type(self) -> None:
        for name in (None, 1, b"a"):
            with self.assertRaisesRegex(TypeError, f"a name is a str, not {type(name).__name__}"):
                names.check(name)  # type: ignore[arg-type]


if __name__ == "__main__":
    unittest.main()
