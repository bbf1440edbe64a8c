"""The package as such: for which Python it is, what it exports, its examples."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
import tokenize
import unittest
from typing import Iterator

from support import PACKAGE, PATIENCE, TestCase, eventually

import lonet

EXAMPLE = os.path.join("..", "examples", "python")


def files(*directories: str) -> Iterator[str]:
    for directory in directories or (".", "lonet", "tests", "examples", EXAMPLE):
        for name in sorted(os.listdir(os.path.join(PACKAGE, directory))):
            if name.endswith(".py"):
                yield os.path.join(PACKAGE, directory, name)


class PackageTest(TestCase):
    def run_python(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *args],
            input=stdin,
            env=dict(os.environ, PYTHONPATH=PACKAGE, TMPDIR=self.temp, PYTHONIOENCODING="utf-8"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            timeout=60,
        )

    def test_python_39(self) -> None:
        for path in files():
            with tokenize.open(path) as f:
                ast.parse(f.read(), path, feature_version=(3, 9))

    def test_standard_library_only(self) -> None:
        """The package imports nothing but the standard library and itself."""
        known = getattr(sys, "stdlib_module_names", None)
        if known is None:
            self.skipTest("this Python does not know what its library is")
        for path in files("lonet", "examples", EXAMPLE):
            with tokenize.open(path) as f:
                tree = ast.parse(f.read())
            for node in ast.walk(tree):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names = [node.module or ""]
                for name in names:
                    self.assertIn(name.split(".")[0], {*known, "lonet"}, path)

    def test_style(self) -> None:
        for path in files():
            with open(path, encoding="utf-8") as f:
                lines = f.read().split("\n")
            for number, line in enumerate(lines, 1):
                self.assertLessEqual(len(line), 125 if "tests" in path else 120, f"{path}:{number}")
                self.assertEqual(line, line.rstrip(), f"{path}:{number}")
                self.assertNotIn("\t", line, f"{path}:{number}")
            self.assertTrue(path.startswith(os.path.join(PACKAGE, "tests")) or len(lines) < 600, path)

    def test_exports(self) -> None:
        self.assertEqual(sorted(lonet.__all__, key=str.lower), sorted(set(lonet.__all__), key=str.lower))
        self.assertRegex(lonet.__version__, r"^\d+\.\d+\.\d+$")
        for name in lonet.__all__:
            thing = getattr(lonet, name)
            self.assertTrue(thing.__doc__, name)
            if not inspect.isclass(thing):
                continue
            for method, f in vars(thing).items():
                if not method.startswith("_") and inspect.isfunction(f):
                    self.assertTrue(f.__doc__, f"{name}.{method}")

    def test_typed(self) -> None:
        """The package is strictly typed, and so are the programs that show how to use it."""
        mypy = self.needs("mypy")
        self.assertTrue(os.path.exists(os.path.join(PACKAGE, "lonet", "py.typed")))
        for platform in ("linux", "darwin", "win32") if os.environ.get("VIRTNET_TEST_LONG") else (sys.platform,):
            for what in (["lonet"], ["bench.py"], *([path] for path in files("examples", EXAMPLE))):
                done = subprocess.run(
                    [mypy, "--strict", "--platform", platform, "--cache-dir", self.temp, *what],
                    cwd=PACKAGE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    encoding="utf-8",
                    timeout=300,
                )
                self.assertEqual(done.returncode, 0, done.stdout)

    def test_install(self) -> None:
        """pip installs it in an empty virtual environment without a network, from the directory, in place, and from the
        archive of the sources, with and without an isolated build."""
        self.needs_module("ensurepip")  # Debian has it in python3-venv
        venv = os.path.join(self.temp, "venv")
        python = os.path.join(venv, "Scripts" if os.name == "nt" else "bin", "python")
        before = sorted(os.listdir(PACKAGE))
        self.run_ok(sys.executable, "-m", "venv", venv)
        build = "import backend, sys; print(backend.build_sdist(sys.argv[1]))"
        archive = self.run_ok(sys.executable, "-B", "-c", build, self.temp).strip()
        install = (python, "-m", "pip", "install", "-qq", "--no-index", "--disable-pip-version-check")
        for args, at in (
            ([PACKAGE], "lib"),
            (["--no-build-isolation", "--force-reinstall", os.path.join(self.temp, archive)], "lib"),
            (["--force-reinstall", "--editable", PACKAGE], PACKAGE),
        ):
            with self.subTest(args):
                self.run_ok(*install, *args)
                code = "import importlib.metadata as m, lonet; print(lonet.__file__, m.version('lonet'), sep='\\n')"
                env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
                ask = [python, "-B", "-c", code]
                path, version = subprocess.check_output(ask, cwd=self.temp, env=env, encoding="utf-8", timeout=60).split()
                root = PACKAGE if at == PACKAGE else venv
                self.assertTrue(os.path.realpath(path).startswith(os.path.realpath(root)), path)
                self.assertEqual(version, lonet.__version__)
                installed = set(os.listdir(os.path.dirname(path))) - {"__pycache__"}
                self.assertEqual(installed, set(os.listdir(os.path.join(PACKAGE, "lonet"))) - {"__pycache__"})
        self.assertEqual(sorted(set(os.listdir(PACKAGE)) - {"__pycache__"}), sorted(set(before) - {"__pycache__"}))
        shown = self.run_ok(python, "-m", "pip", "show", "lonet")
        self.assertRegex(shown, r"Name: lonet\nVersion: \d.*\nSummary: Virtual networks")

    def run_ok(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=PACKAGE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=100
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_import_does_nothing(self) -> None:
        """To import the package starts nothing and makes nothing."""
        done = self.run_python("-W", "error", "-c", "import lonet, threading; print(threading.active_count())")
        self.assertEqual((done.stdout, done.stderr), ("1\n", ""))
        self.assertEqual(os.listdir(self.temp), [])

    def test_readme(self) -> None:
        """The example of the README says what it says that it says."""
        with open(os.path.join(PACKAGE, "README.md"), encoding="utf-8") as f:
            match = re.search(r"```python\n(.*?)```", f.read(), re.DOTALL)
        assert match is not None
        done = self.run_python("-W", "error::ResourceWarning", "-", stdin=match[1])
        self.assertEqual((done.stdout, done.stderr), ("hello β:1, this is α:1\n", ""))

    def test_examples(self) -> None:
        with open(os.path.join(self.temp, "page"), "w") as f:
            f.write("the page\n")
        examples = os.path.join(PACKAGE, "examples")
        env = dict(os.environ, PYTHONPATH=PACKAGE, TMPDIR=self.temp, PYTHONIOENCODING="utf-8")
        server = subprocess.Popen(
            [sys.executable, os.path.join(examples, "serve.py"), "tea", "α", self.temp],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        try:
            assert server.stdout is not None
            self.assertEqual(server.stdout.readline(), f"serving {self.temp} at http://α/ on lonettea\n")
            done = self.run_python(os.path.join(examples, "get.py"), "tea", "http://α/page")
            self.assertEqual((done.stdout, done.stderr, done.returncode), ("the page\n", "", 0))
            done = self.run_python(os.path.join(examples, "get.py"), "tea", "http://α:80/nothing")
            self.assertEqual((done.stderr, done.returncode), ("404 File not found\n", 1))
            done = self.run_python(os.path.join(examples, "get.py"), "tea", "http://γ/")
            self.assertIn("no such host", done.stderr)
        finally:
            server.kill()
            server.wait(PATIENCE)
            assert server.stdout is not None
            server.stdout.close()
        for name in ("serve.py", "get.py"):
            self.assertIn("usage: " + name, self.run_python(os.path.join(examples, name)).stderr)
        eventually("nothing runs", lambda: server.poll() is not None)


if __name__ == "__main__":
    unittest.main()
