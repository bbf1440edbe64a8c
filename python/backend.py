"""The build backend. It needs nothing but Python, so that pip installs the package without a network too, and whatever
setuptools or wheel the environment has or lacks. Nothing is left in the source tree.
"""

from __future__ import annotations

import base64
import configparser
import gzip
import hashlib
import io
import os
import re
import tarfile
import zipfile
from typing import Dict, Optional

_WHEEL = "Wheel-Version: 1.0\nGenerator: lonet\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_SOURCES = ("README.md", "backend.py", "pyproject.toml", "setup.cfg")


def build_wheel(
    wheel_directory: str,
    config_settings: Optional[Dict[str, object]] = None,
    metadata_directory: Optional[str] = None,
) -> str:
    """Makes the wheel, of the package in the current directory, and returns its name."""
    return _wheel(wheel_directory, _package())


def build_editable(
    wheel_directory: str,
    config_settings: Optional[Dict[str, object]] = None,
    metadata_directory: Optional[str] = None,
) -> str:
    """Makes a wheel that leads to the sources."""
    return _wheel(wheel_directory, {"lonet.pth": os.getcwd().encode() + b"\n"})


def build_sdist(sdist_directory: str, config_settings: Optional[Dict[str, object]] = None) -> str:
    """Makes the archive of the sources, and returns its name."""
    stem = f"lonet-{_version()}"
    files = {"PKG-INFO": _metadata(), **_package(), **{name: _read(name) for name in _SOURCES}}
    name = f"{stem}.tar.gz"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(f"{stem}/{path}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with open(os.path.join(sdist_directory, name), "wb") as f:
        # All times are 0, so that the same sources make the same archive.
        f.write(gzip.compress(archive.getvalue(), mtime=0))
    return name


def _package() -> Dict[str, bytes]:
    names = sorted(name for name in os.listdir("lonet") if name.endswith((".py", ".typed")))
    return {f"lonet/{name}": _read(f"lonet/{name}") for name in names}


def _wheel(directory: str, files: Dict[str, bytes]) -> str:
    stem = f"lonet-{_version()}"
    info = f"{stem}.dist-info"
    files[f"{info}/METADATA"] = _metadata()
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


def _metadata() -> bytes:
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(_read("setup.cfg").decode())
    about = config["metadata"]
    lines = ["Metadata-Version: 2.1", "Name: lonet", f"Version: {_version()}"]
    for field in ("Summary", "Home-page", "License", "Keywords", "Requires-Python"):
        lines.append(f"{field}: {about[field]}")
    lines += [f"Classifier: {line}" for line in about["Classifiers"].split("\n") if line]
    lines += ["Description-Content-Type: text/markdown", "", ""]
    return "\n".join(lines).encode() + _read("README.md")


def _version() -> str:
    match = re.search(r'^__version__ = "(.*)"$', _read("lonet/__init__.py").decode(), re.MULTILINE)
    assert match is not None
    return match[1]


def _read(path: str) -> bytes:
    with open(path, "rb") as f:
        return f.read()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
