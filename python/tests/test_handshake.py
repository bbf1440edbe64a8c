from __future__ import annotations

import random
import unittest

import support  # noqa: F401

import lonet
from lonet import Addr, names
from lonet.handshake import BAD_DST, BAD_REQUEST, BAD_SRC, MAX_LINE, MISMATCH, Reply, Request, no_host, parse_request

GOOD = '> lonet "lonett" dial "β:1" "α:10"'


class RequestTest(unittest.TestCase):
    def test_line(self) -> None:
        self.assertEqual(Request("lonett", "β:1", "α:10").line(), (GOOD + "\n").encode())
        self.assertEqual(len(Request("lonett", "β:1", "α:10").line()), 37)
        odd = Request('qu"ote', "a\n:1", "\u200b:2")
        self.assertEqual(odd.line(), b'> lonet "qu\\"ote" dial "a\\n:1" "\\u200b:2"\n')
        self.assertEqual(Request.parse(odd.line()[:-1]), odd)

    def test_parse(self) -> None:
        for line in (
            "",
            ">",
            "GET / HTTP/1.0",
            GOOD + " ",
            GOOD + "\r",
            " " + GOOD,
            GOOD[:-1],
            GOOD.replace('" "', '"  "'),
            GOOD.replace("dial", "Dial"),
            GOOD.replace("lonet ", "lonet"),
            GOOD.replace('"β:1"', "`β:1`"),
            GOOD.replace('"β:1"', "'β'"),
            GOOD.replace("β", "\\q"),
            GOOD.replace("β", '"'),
            GOOD.replace("β", "\n\\\\"),
            "< " + GOOD[2:],
            GOOD[2:],
            ">  " + GOOD[2:],
            GOOD.upper(),
            GOOD + "\0",
            "\0" + GOOD,
            GOOD + "\n",
            GOOD + ' "c:1"',
            GOOD.replace(' "α:10"', ""),
            GOOD.replace(' "α:10"', " "),
            GOOD.replace('"α:10"', "α:10"),
            GOOD.replace('"α:10"', "'1'"),
            GOOD.replace("dial", "connect"),
            GOOD.replace("lonett", "lonett\\"),
            GOOD.replace("lonett", "\\ud800"),
            GOOD.replace("lonett", "\\400"),
            GOOD.replace("lonett", "\\U00110000"),
            GOOD.replace('"', "`"),
        ):
            with self.subTest(line):
                self.assertIsNone(Request.parse(line.encode()))
        self.assertEqual(Request.parse(b'> lonet "" dial "" ""'), Request("", "", ""))
        self.assertEqual(Request.parse(GOOD.encode()), Request("lonett", "β:1", "α:10"))
        escaped = GOOD.replace("β", "\\u03b2").replace("α", "\\xce\\xb1")
        self.assertEqual(Request.parse(escaped.encode()), Request("lonett", "β:1", "α:10"))

    def test_check(self) -> None:
        for line, want in (
            (GOOD, ""),
            ("junk", BAD_REQUEST),
            (GOOD.replace("lonett", "lonetu"), MISMATCH),
            (GOOD.replace("lonett", "t"), MISMATCH),
            (GOOD.replace("β:1", "β"), BAD_SRC),
            (GOOD.replace("β:1", ":1"), BAD_SRC),
            (GOOD.replace("β:1", "a/b:1"), BAD_SRC),
            (GOOD.replace("β:1", "\\xff:1"), BAD_SRC),
            (GOOD.replace("β:1", "n" * 300 + ":1"), BAD_SRC),
            (GOOD.replace("β:1", "[a:b]:1"), BAD_SRC),
            (GOOD.replace("α:10", "α:x"), BAD_DST),
            (GOOD.replace("α:10", "α:2147483648"), BAD_DST),
            (GOOD.replace("α:10", "\\n:10"), BAD_DST),
            (GOOD.replace("α:10", "..:10"), BAD_DST),
            (GOOD.replace("β:1", ":1").replace("lonett", "x"), MISMATCH),  # the first that is wrong
            (GOOD.replace("lonett", ""), MISMATCH),
            (GOOD.replace("β:1", "").replace("α:10", ""), BAD_SRC),
            (GOOD.replace("β:1", "β:x").replace("α:10", "α:x"), BAD_SRC),
            (GOOD.replace("β:1", "\\n:1"), BAD_SRC),
            (GOOD.replace("β:1", "\\u0085:1"), BAD_SRC),
            (GOOD.replace("β:1", "\\x00:1"), BAD_SRC),
            (GOOD.replace("β:1", "β:-1"), BAD_SRC),
            (GOOD.replace("α:10", ""), BAD_DST),
            (GOOD.replace("α:10", "α"), BAD_DST),
            (GOOD.replace("α:10", ":1"), BAD_DST),
            (GOOD.replace("α:10", "α:+1"), BAD_DST),
            (GOOD.replace("α:10", "α:1:1"), BAD_DST),
            (GOOD.replace("α:10", "\\x01" * 100 + ":1"), BAD_DST),
        ):
            with self.subTest(line):
                for _ in range(2):  # it remembers
                    src, dst, refusal = parse_request(line.encode() + b"\n", "lonett")
                    self.assertEqual(refusal, want)
                    if not want:
                        self.assertEqual((src, dst), (Addr("lonett", "β", 1), Addr("lonett", "α", 10)))

    def test_garbage(self) -> None:
        """Whatever comes, it is a request or not."""
        rng = random.Random(2)
        for _ in range(3000):
            line = bytearray(GOOD.encode())
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(len(line))
                line[at : at + rng.randrange(2)] = rng.choice((b"\\", b'"', b"\xff", b" ", b"\0", b":"))
            request = Request.parse(bytes(line))
            parse_request(bytes(line) + b"\n", "lonett")
            if request is not None:
                self.assertEqual(Request.parse(request.line()[:-1]), request)


    def test_zero(self) -> None:
        """Nobody listens at port 0, but it can be asked for."""
        src, dst, refusal = parse_request(b'> lonet "lonett" dial "\xce\xb2:0" "\xce\xb1:0"\n', "lonett")
        self.assertEqual((src, dst, refusal), (Addr("lonett", "β", 0), Addr("lonett", "α", 0), ""))

    def test_longest(self) -> None:
        """A name of the greatest length makes a line that fits."""
        name = "x" * 253  # 255 with its quotes
        names.check(name)
        line = Request("lonet" + name, name + ":2147483647", name + ":2147483647").line()
        self.assertLessEqual(len(line), MAX_LINE)
        self.assertEqual(parse_request(line, "lonet" + name)[2], "")


class ReplyTest(unittest.TestCase):
    DST = Addr("lonett", "α", 10)

    def test_line(self) -> None:
        for reply, line in (
            (Reply("lonett", "α:1", ""), '< lonet "lonett" connected "α:1"\n'),
            (Reply("lonett", "", "connection refused"), '< lonet "lonett" E "connection refused"\n'),
            (Reply("lonett", "", no_host(Addr("lonett", "γ", 1))), '< lonet "lonett" E "address γ:1: no such host"\n'),
            (Reply("lonett", "", ""), '< lonet "lonett" E ""\n'),
        ):
            self.assertEqual(reply.line(), line.encode())
            self.assertEqual(Reply.parse(line.encode()[:-1]), reply)
        for bad in (
            "",
            "junk",
            "< lonet ",
            '< lonet "t"',
            '< lonet "t" connected',
            '< lonet "t" connected ""',
            '< lonet "t" connected "a:1" ',
            '< lonet "t" connected "a:1" "b:1"',
            '< lonet "t" C "a:1"',
            '< lonet "t" E',
            '< lonet "t" E x',
            '< lonet "t" E "x" ',
            '< lonet "t" E "x" y',
            '< lonet "t" e "x"',
            '> lonet "t" E "x"',
            "< lonet `t` E `x`",
            '< lonet "t" E "x"\r',
            '< lonet "t" E "x"\0',
        ):
            self.assertIsNone(Reply.parse(bad.encode()), bad)

    def test_garbage(self) -> None:
        """Whatever comes, it is a reply or not, and what it says is short and printable."""
        rng = random.Random(4)
        for _ in range(3000):
            line = bytearray(rng.choice(('< lonet "lonett" connected "α:1"', '< lonet "lonett" E "no such host"')).encode())
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(len(line))
                line[at : at + rng.randrange(2)] = rng.choice((b"\\", b'"', b"\xff", b" ", b"\0", b":", b"\\n", b"x" * 500))
            reply = Reply.parse(bytes(line))
            if reply is None:
                continue
            self.assertEqual(Reply.parse(reply.line()[:-1]), reply)
            try:
                self.assertEqual(reply.check(self.DST).host, "α")
            except lonet.OpError as err:
                self.assertLess(len(str(err).encode()), 300)
                self.assertTrue(str(err).isprintable(), err)

    def test_check(self) -> None:
        self.assertEqual(Reply("lonett", "α:7", "").check(self.DST), Addr("lonett", "α", 7))
        for reply, kind, says in (
            (Reply("lonetu", "α:7", ""), lonet.OpError, 'protocol error: reply from network "lonetu"'),
            (Reply("lonetu", "", "connection refused"), lonet.OpError, 'protocol error: reply from network "lonetu"'),
            (Reply("lonett", "", "connection refused"), lonet.ErrConnRefused, "connection refused"),
            (Reply("lonett", "", "address α:10: no such host"), lonet.ErrNoHost, "no such host"),
            (Reply("lonett", "", "out of tea\x1b"), lonet.OpError, "remote: out of tea\\x1b"),
            (Reply("lonett", "", "x" * 500), lonet.OpError, "remote: " + "x" * 197 + "…"),
            (Reply("lonett", "α:0", ""), lonet.OpError, 'protocol error: accept address "α:0" invalid'),
            (Reply("lonett", "α", ""), lonet.OpError, 'protocol error: accept address "α" invalid'),
            (Reply("lonett", "β:7", ""), lonet.OpError, 'protocol error: accept address "β:7" is on another host'),
            (Reply("lonett", ":7", ""), lonet.OpError, 'protocol error: accept address ":7" is on another host'),
            (Reply("lonett", "α:x", ""), lonet.OpError, 'protocol error: accept address "α:x" invalid'),
            (Reply("lonett", "", ""), lonet.OpError, "remote: "),
            (Reply("lonett", "", "clear \x1b[2J\n\udcff"), lonet.OpError, "remote: clear \\x1b[2J\\n\\xff"),
            (Reply("lonetu", "", "address α:1: no such host"), lonet.OpError, 'protocol error: reply from network "lonetu"'),
        ):
            with self.subTest(reply):
                with self.assertRaises(kind) as caught:
                    reply.check(self.DST)
                self.assertEqual(str(caught.exception), says)


if __name__ == "__main__":
    unittest.main()
