from __future__ import annotations

import os
import time
import unittest

from support import TestCase

from lonet import files
from lonet.files import FileSet, registry_path


class FilesTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = registry_path(self.temp)
        for suffix in ("", "-wal", "-shm"):
            self.write(self.path + suffix)
        self.write(os.path.join(self.temp, "7.live"))

    def write(self, path: str, text: str = "x") -> None:
        with open(path + ".new", "w") as f:
            f.write(text)
        os.replace(path + ".new", path)

    def in_place(self, known: FileSet) -> bool:
        return known.in_place(self.temp, 7)

    def test_in_place(self) -> None:
        known = FileSet(self.temp, 7)
        self.assertTrue(self.in_place(known))
        self.write(os.path.join(self.temp, "other"))
        self.assertTrue(self.in_place(known))
        for suffix in ("", "-wal", "-shm"):
            for replaced in (True, False):
                known = FileSet(self.temp, 7)
                self.assertTrue(self.in_place(known))
                if replaced:
                    self.write(self.path + suffix)
                else:
                    os.unlink(self.path + suffix)
                self.assertFalse(self.in_place(known), suffix)
            self.assertFalse(self.in_place(known))
            self.write(self.path + suffix)
        known = FileSet(self.temp, 7)
        os.unlink(os.path.join(self.temp, "7.live"))
        self.assertFalse(self.in_place(known))
        self.assertTrue(known.same_registry(FileSet(self.temp, 7)))

    def test_calm(self) -> None:
        """Once the directory's time of change is old, one look at it says that nothing has changed; and that something
        has."""
        known = FileSet(self.temp, 7)
        self.assertTrue(self.in_place(known))
        self.assertEqual(known._calm, 0)  # it was changed too short a time ago
        time.sleep(0.06)
        self.assertTrue(self.in_place(known))
        self.assertEqual(known._calm, os.stat(self.temp).st_mtime_ns)
        self.assertTrue(self.in_place(known))
        self.write(self.path)
        self.assertFalse(self.in_place(known))

    def test_coarse_clock(self) -> None:
        """A directory whose time has no fraction is on a file system with a coarse clock."""
        known = FileSet(self.temp, 7)
        for age, calm in ((1, False), (5, True), (-1000, True)):
            then = int(time.time()) - age
            os.utime(self.temp, (then, then))
            known._calm = 0
            self.assertTrue(self.in_place(known))
            self.assertEqual(known._calm != 0, calm, age)

    def test_moved(self) -> None:
        known = FileSet(self.temp, 7)
        moved = self.temp + "-moved"
        os.rename(self.temp, moved)
        try:
            self.assertFalse(self.in_place(known))
            os.mkdir(self.temp)
            self.assertFalse(self.in_place(known))
            os.rmdir(self.temp)
        finally:
            os.rename(moved, self.temp)
        self.assertTrue(self.in_place(known))

    def test_companion(self) -> None:
        known = FileSet(self.temp, 7)
        self.assertTrue(known.companion_of(FileSet(self.temp, 7)))
        self.write(self.path + "-wal")
        self.assertTrue(known.companion_of(FileSet(self.temp, 7)))
        self.write(self.path + "-shm")
        self.assertFalse(known.companion_of(FileSet(self.temp, 7)))
        files.discard_companions(self.path)
        self.assertFalse(FileSet(self.temp, 7).companion_of(FileSet(self.temp, 7)))

    def test_discard(self) -> None:
        files.discard(self.path)
        files.discard(self.path)
        self.assertEqual(os.listdir(self.temp), ["7.live"])

    def test_touch(self) -> None:
        info = files.touch(self.path)
        self.assertTrue(files.same(info, os.stat(self.path)))
        self.assertEqual(os.path.getsize(self.path), 1)
        os.unlink(self.path)
        info = files.touch(self.path)
        self.assertTrue(files.same(info, os.stat(self.path)))
        self.assertEqual(os.path.getsize(self.path), 0)

    def test_stamp(self) -> None:
        before = files.stamp(os.stat(self.path))
        self.assertEqual(before, files.stamp(os.stat(self.path)))
        self.write(self.path, "longer")
        self.assertNotEqual(before, files.stamp(os.stat(self.path)))
        self.assertEqual(files.stamp(None), (0, 0))


if __name__ == "__main__":
    unittest.main()
