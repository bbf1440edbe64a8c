from __future__ import annotations

import os
import stat
import unittest
from unittest import mock

from support import TestCase

from lonet import ErrInvalid, OpError, directory, turn
from lonet.waits import Waits


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@unittest.skipIf(os.name == "nt", "modes and links are Unix's")
class DirectoryTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.base = directory.base(self.temp)

    def test_base(self) -> None:
        self.assertEqual(self.base, os.path.join(self.temp, "lonet"))
        with mock.patch.dict(os.environ, TMPDIR="/somewhere"):
            self.assertEqual(directory.base(), "/somewhere/lonet")
        with mock.patch.dict(os.environ):
            os.environ.pop("TMPDIR", None)
            self.assertEqual(directory.base(), "/tmp/lonet")

    def enter(self, network: str) -> str:
        """Makes the directory of a network as who joins does, and returns it."""
        path = os.path.join(self.base, network)
        with turn.enter(self.base, path, False, Waits(), None):
            return path

    def test_modes(self) -> None:
        for mask in (0o000, 0o022, 0o077, 0o777):
            with self.subTest(oct(mask)):
                old = os.umask(mask)
                try:
                    made = self.enter(f"m{mask}")
                finally:
                    os.umask(old)
                self.assertEqual(mode(made), 0o700)
                self.assertEqual(mode(self.base), 0o1777)
                os.chmod(self.base, 0o700)
        os.chmod(made, 0o755)
        self.enter("m511")
        self.assertEqual((mode(made), mode(self.base)), (0o700, 0o1777))

    def test_random_name(self) -> None:
        made = {directory.new_network(self.base) for _ in range(20)}
        self.assertEqual(sorted(made), sorted(os.listdir(self.base)))
        self.assertEqual(len(made), 20)

    def test_names(self) -> None:
        for name in ("a/b", "..", "a\0b", "n" * 300):
            with self.assertRaises(ErrInvalid) as caught:
                directory.check_name(self.base, name)
            self.assertTrue(str(caught.exception).startswith("network name: invalid name"), caught.exception)

    def test_long_path(self) -> None:
        deep = os.path.join(self.temp, *["d" * 100] * 4)
        directory.check_name(deep, "n" * (502 - len(deep) - len("//registry.db")))
        with self.assertRaises(ErrInvalid) as caught:
            directory.check_name(deep, "n" * 100)
        self.assertIn("bytes long", str(caught.exception))

    def test_refused(self) -> None:
        self.enter("there")
        os.symlink(os.path.join(self.base, "there"), os.path.join(self.base, "link"))
        with open(os.path.join(self.base, "file"), "w"):
            pass
        for name, says in (("link", "is a symbolic link"), ("file", "is not a directory")):
            with self.assertRaises(OpError) as caught:
                self.enter(name)
            self.assertIn(says, str(caught.exception))
        for target in (self.temp, os.path.join(self.temp, "nowhere")):
            other = os.path.join(self.temp, "other")
            os.symlink(target, other)
            with self.assertRaises(OpError) as caught:
                directory.make_base(other)
            self.assertIn("is not a directory: remove it", str(caught.exception))
            os.unlink(other)

    def test_another_users(self) -> None:
        self.enter("t")
        with mock.patch("os.geteuid", return_value=os.geteuid() + 1):
            with self.assertRaises(OpError) as caught:
                self.enter("t")
        self.assertIn("belongs to another user: choose another name", str(caught.exception))

    @unittest.skipIf(os.name != "nt" and os.geteuid() == 0, "root may everything")
    def test_no_permission(self) -> None:
        os.mkdir(self.base, 0o500)
        with mock.patch("os.geteuid", return_value=os.geteuid() + 1):
            with self.assertRaises(PermissionError) as caught:
                self.enter("t")
        self.assertIn("chmod 1777", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
