"""The peer in Go, gopeer: built once, where there is Go."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
import unittest
from typing import Optional

from support import PACKAGE

ENV = "VIRTNET_GOPEER"
"""Path of the program, if somebody has built it already."""

_built: Optional[str] = None


def path() -> Optional[str]:
    """Returns the path of the program, which it builds if need be; None where there is no Go."""
    global _built
    ready = os.environ.get(ENV)
    if ready:
        return ready
    if _built is None:
        go = shutil.which("go")
        if go is None:
            return None
        directory = tempfile.mkdtemp(prefix="gopeer")
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        target = os.path.join(directory, "gopeer")
        done = subprocess.run(
            [go, "build", "-o", target, "./tests/gopeer"],
            cwd=PACKAGE,
            env=dict(os.environ, CGO_ENABLED="0"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=600,
        )
        if done.returncode != 0:
            raise AssertionError(f"go build: {done.stdout}")
        _built = target
    return _built


def needed(who: str) -> str:
    """Returns the path of the program. Without Go, what needs it is skipped and noted or, where VIRTNET_TEST_REQUIRE is 1,
    fails."""
    program = path()
    if program is None:
        if os.environ.get("VIRTNET_TEST_REQUIRE") == "1":
            raise AssertionError("needs go, which is not installed, and VIRTNET_TEST_REQUIRE=1 is set")
        leftout = os.environ.get("VIRTNET_TEST_LEFTOUT")
        if leftout:
            with open(leftout, "a") as f:
                f.write(f"go: {who}\n")
        raise unittest.SkipTest("needs go, which is not installed")
    return program
