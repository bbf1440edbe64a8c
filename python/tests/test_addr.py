from __future__ import annotations

import pickle
import unittest

from support import lonet

from lonet import Addr, ErrInvalid


class AddrTest(unittest.TestCase):
    def test_parse(self) -> None:
        for text, host, port in (
            ("α:1", "α", 1),
            (":0", "", 0),
            ("a.b:007", "a.b", 7),
            ("α:2147483647", "α", 2147483647),
            ("[a:b]:3", "a:b", 3),
            ("[]:3", "", 3),
            ("ho st:3", "ho st", 3),
        ):
            with self.subTest(text):
                addr = Addr.parse("lonett", text)
                self.assertEqual((addr.net, addr.host, addr.port), ("lonett", host, port))

    def test_invalid(self) -> None:
        for text, says in (
            ("", "missing port in address"),
            ("junk", "missing port in address"),
            ("α", "missing port in address"),
            ("[a]", "missing port in address"),
            ("[a]x:1", "missing port in address"),
            ("[a:1", "missing ']' in address"),
            ("[a]:1:2", "too many colons in address"),
            ("α:1:2", "too many colons in address"),
            ("[a[]:1", "unexpected '[' in address"),
            ("a]:1", "unexpected ']' in address"),
            ("a:]", "unexpected ']' in address"),
            ("α:", "invalid port"),
            ("α:http", "invalid port"),
            ("α:-1", "invalid port"),
            ("α:+1", "invalid port"),
            ("α:1_0", "invalid port"),
            ("α: 1", "invalid port"),
            ("α:１", "invalid port"),
            ("α:1.5", "invalid port"),
            ("α:2147483648", "invalid port"),
            ("α:" + "9" * 10000, "invalid port"),
        ):
            with self.subTest(text[:40]):
                with self.assertRaises(ErrInvalid) as caught:
                    Addr.parse("lonett", text)
                self.assertEqual(str(caught.exception), f"address {text}: {says}" if text else says)
                self.assertIsInstance(caught.exception, ValueError)

    def test_type(self) -> None:
        """What is no text is told from text against the rules."""
        for addr in (("α", 80), 80, None, b"a:80"):
            with self.assertRaisesRegex(TypeError, f'an address is a str, "host:port", not {type(addr).__name__}'):
                Addr.parse("lonett", addr)  # type: ignore[arg-type]

    def test_str(self) -> None:
        self.assertEqual(str(Addr("lonett", "α", 80)), "α:80")
        self.assertEqual(str(Addr("lonett", "a:b", 80)), "[a:b]:80")
        self.assertEqual(f"{Addr('lonett', '', 0)}", ":0")

    def test_value(self) -> None:
        addr = Addr("lonett", "α", 80)
        self.assertEqual(addr, lonet.Addr.parse("lonett", "α:80"))
        self.assertNotEqual(addr, Addr("lonetu", "α", 80))
        self.assertEqual(len({addr, Addr("lonett", "α", 80)}), 1)
        self.assertEqual(pickle.loads(pickle.dumps(addr)), addr)
        with self.assertRaises(AttributeError):
            addr.port = 3  # type: ignore[misc]


if __name__ == "__main__":
    unittest.main()
