from __future__ import annotations

import os
import sqlite3
import unittest

from support import TestCase

from lonet import ErrTimeout, OpError, clock
from lonet.database import Amiss, Busy, Damaged, Database, Incomplete, Mismatch, new_id, open_database
from lonet.waits import Waits


class DatabaseTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = os.path.join(self.temp, "registry.db")

    def open(self) -> Database:
        db = Database(self.path)
        self.addCleanup(db.close)
        return db

    def ready(self) -> Database:
        db = self.open()
        db.setup("t")
        return db

    def sql(self, query: str, *args: object) -> list[tuple[object, ...]]:
        conn = sqlite3.connect(self.path, isolation_level=None)
        try:
            return conn.execute(query, args).fetchall()
        finally:
            conn.close()

    def test_schema(self) -> None:
        """The tables are letter by letter those of the registries that are there."""
        self.ready()
        self.assertEqual(
            [text for (text,) in self.sql("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")],
            [
                "CREATE TABLE hosts ( hostname TEXT NON NULL PRIMARY KEY, osladdr TEXT NON NULL )",
                "CREATE TABLE meta ( name TEXT NON NULL PRIMARY KEY, value TEXT NON NULL )",
            ],
        )
        self.assertEqual(self.sql("SELECT * FROM meta ORDER BY name"), [("network", "t"), ("schemaver", "lonet.1")])
        self.assertEqual(self.sql("PRAGMA journal_mode"), [("wal",)])

    def test_join_writes_nothing(self) -> None:
        self.ready()
        before = self.sql("PRAGMA data_version"), os.stat(self.path).st_mtime_ns
        watch = sqlite3.connect(self.path)
        try:
            version = watch.execute("PRAGMA data_version").fetchall()
            self.ready()
            self.assertEqual(watch.execute("PRAGMA data_version").fetchall(), version)
        finally:
            watch.close()
        self.assertEqual(before[1], os.stat(self.path).st_mtime_ns)

    def test_mismatch(self) -> None:
        self.ready()
        with self.assertRaises(Mismatch) as caught:
            self.open().setup("u")
        self.assertEqual(str(caught.exception), 'network name mismatch: want "u"; have "t"')
        self.sql("UPDATE meta SET value = 'lonet.2' WHERE name = 'schemaver'")
        with self.assertRaises(Mismatch) as caught:
            self.open().setup("t")
        self.assertEqual(str(caught.exception), 'schema version mismatch: want "lonet.1"; have "lonet.2"')

    def test_half_made(self) -> None:
        """What another process has begun to make is finished."""
        for begin in (
            "CREATE TABLE meta ( name TEXT NON NULL PRIMARY KEY, value TEXT NON NULL )",
            "CREATE TABLE hosts ( hostname TEXT NON NULL PRIMARY KEY, osladdr TEXT NON NULL )",
            "CREATE TABLE other ( x )",
        ):
            with self.subTest(begin):
                self.sql(begin)
                db = Database(self.path)
                db.setup("t")
                self.assertIsNone(db.addr("α"))
                db.close()
                os.unlink(self.path)

    def test_not_ours(self) -> None:
        self.sql("CREATE TABLE hosts ( name )")
        with self.assertRaises(Incomplete) as caught:
            self.open().setup("t")
        self.assertIn("not a lonet registry", str(caught.exception))

    def test_damaged(self) -> None:
        with open(self.path, "wb") as f:
            f.write(b"this is no database, and long enough to see that it is none" * 100)
        with self.assertRaises(Damaged) as caught:
            self.open().setup("t")
        self.assertIn("remove the network's directory", str(caught.exception))

    def test_rows(self) -> None:
        db = self.ready()
        self.assertIsNone(db.addr("α"))
        self.assertIsNone(db.row("α"))
        self.assertTrue(db.insert("α", "a"))
        self.assertFalse(db.insert("α", "b"))
        self.assertEqual(db.addr("α"), "a")
        row = db.row("α")
        assert row is not None
        self.assertEqual(row[1], "a")
        self.assertEqual((db.hosts_at("a"), db.hosts_at("b")), (["α"], []))
        self.assertEqual(db.entries(), [("α", "a")])
        self.assertFalse(db.replace("α", (row[0] + 1, "a"), "b"))
        self.assertFalse(db.replace("α", (row[0], "x"), "b"))
        self.assertFalse(db.replace("β", row, "b"))
        self.assertTrue(db.replace("α", row, "b"))
        self.assertNotEqual(db.row("α"), row)
        self.assertEqual(db.addr("α"), "b")
        db.delete("α", "a")
        self.assertEqual(db.addr("α"), "b")
        db.delete("α", "b")
        self.assertIsNone(db.addr("α"))
        for name in "xyz":
            db.insert(name, "a" if name != "z" else "b")
        db.delete_at("a")
        self.assertEqual([db.addr(name) for name in "xyz"], [None, None, "b"])

    def test_odd_rows(self) -> None:
        """Others may have written anything."""
        db = self.ready()
        for name, value, want in (
            ("null", None, ""),
            ("int", 5, "5"),
            ("blob", b"\xff", "\ufffd"),
        ):
            self.sql("INSERT INTO hosts VALUES (?, ?)", name, value)
            self.assertEqual(db.addr(name), want)
        self.sql("INSERT INTO hosts VALUES ('text', CAST(x'61ff' AS TEXT))")
        self.assertEqual(db.addr("text"), "a\udcff")
        self.sql("INSERT INTO hosts VALUES (NULL, NULL)")

    def test_busy(self) -> None:
        db = self.ready()
        other = sqlite3.connect(self.path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            for write in (
                lambda: db.insert("α", "a"),
                lambda: db.replace("α", (1, "a"), "b"),
                lambda: db.delete("α", "a"),
                lambda: db.delete_at("a"),
            ):
                with self.assertRaises(Busy):
                    write()
            self.assertIsNone(db.addr("α"))
            self.open().setup("t")  # who joins reads only
            other.execute("ROLLBACK")
            self.assertTrue(db.insert("α", "a"))
        finally:
            other.close()

    def test_open(self) -> None:
        """Without create, nothing is made."""
        for path in (self.path, os.path.join(self.temp, "odd %?# name.db")):
            with self.assertRaises(Amiss):
                open_database(path, "t", False, Waits(), None)
            self.assertFalse(os.path.exists(path))
            open_database(path, "t", True, Waits(), None).close()
            db = open_database(path, "t", False, Waits(), None)
            self.assertTrue(db.insert("α", "a"))
            db.close()
        other = sqlite3.connect(self.path, isolation_level=None)
        try:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            other.execute("DELETE FROM hosts")
            with self.assertRaises(ErrTimeout):
                open_database(self.path, "t", False, Waits(), clock.deadline(0.05))
        finally:
            other.close()

    def test_check_all(self) -> None:
        db = self.ready()
        for i in range(300):
            db.insert(f"host {i}", "127.0.0.1:1")
        db.check_all()
        db.close()
        with open(self.path, "r+b") as f:
            f.seek(4096)
            f.write(b"\xff" * (os.path.getsize(self.path) - 4096))
        db = self.open()
        with self.assertRaises(Damaged):
            db.check_all()
        self.assertTrue(issubclass(Damaged, OpError))

    def test_ids(self) -> None:
        ids = [new_id() for _ in range(1000)]
        self.assertGreater(len(set(ids)), 980)  # two of one millisecond are alike once in a million
        self.assertTrue(all(0 < i < 1 << 63 for i in ids))

    def test_checkpoints(self) -> None:
        """With a SQLite whose checkpoints have a bug there are few."""
        db = self.ready()
        (pages,) = db.run("PRAGMA wal_autocheckpoint")[0]
        self.assertEqual(pages, 1000 if sqlite3.sqlite_version_info >= (3, 51, 3) else 16384)


if __name__ == "__main__":
    unittest.main()
