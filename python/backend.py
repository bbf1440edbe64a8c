"""The build backend: setuptools, but for the making of the wheel.

Setuptools needs the package wheel for that, or is 70.1 or newer, and an offline virtual environment often has neither.
The metadata is setuptools' own, and nothing is left in the source tree.
"""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from typing import Dict, Optional

from setuptools import Distribution
from setuptools.build_meta import build_sdist, get_requires_for_build_sdist

__all__ = ["build_editable", "build_sdist", "build_wheel", "get_requires_for_build_sdist"]

_WHEEL = "Wheel-Version: 1.0\nGenerator: lonet\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel(
    wheel_directory: str,
    config_settings: Optional[Dict[str, str]] = None,
    metadata_directory: Optional[str] = None,
) -> str:
    """Makes the wheel, of the package in the current directory, and returns its name."""
    files = {}
    for name in sorted(os.listdir("lonet")):
        if name.endswith((".py", ".typed")):
            with open(os.path.join("lonet", name), "rb") as f:
                files[f"lonet/{name}"] = f.read()
    return _write(wheel_directory, files)


def build_editable(
    wheel_directory: str,
    config_settings: Optional[Dict[str, str]] = None,
    metadata_directory: Optional[str] = None,
) -> str:
    """Makes a wheel that leads to the sources."""
    return _write(wheel_directory, {"lonet.pth": os.getcwd().encode() + b"\n"})


def _write(directory: str, files: Dict[str, bytes]) -> str:
    dist = Distribution()
    dist.parse_config_files(["setup.cfg"])
    dist.script_name = "setup.py"
    stem = f"{dist.get_name()}-{dist.get_version()}"
    info = f"{stem}.dist-info"
    files[f"{info}/METADATA"] = _metadata(dist)
    files[f"{info}/WHEEL"] = _WHEEL.encode()
    files[f"{info}/top_level.txt"] = b"lonet\n"
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    name = f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, data in files.items():
            # The date is the oldest that a zip file knows, so that the same sources make the same wheel.
            wheel.writestr(zipfile.ZipInfo(path), data, zipfile.ZIP_DEFLATED)
    return name


def _metadata(dist: Distribution) -> bytes:
    class Text(list):  # type: ignore[type-arg]
        write = list.append

    text = Text()
    dist.metadata.write_pkg_file(text)
    return "".join(text).encode()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
