"""The directories of networks: <temp>/lonet/<network>. docs/lonet.md, section 2."""

from __future__ import annotations

import os
import random
import stat
import sys
import tempfile
import time
from typing import Union

from . import names
from .errors import ErrInvalid, OpError, of_system
from .quote import encode

TempDir = Union[None, str, "os.PathLike[str]"]

MODE_BASE = 0o1777
"""Every user makes networks, nobody removes another's."""
MODE_NETWORK = 0o700
"""A network is its user's own."""

_MAX_PATH = 512 - len("-journal") - 1
"""What SQLite takes, less the longest suffix that it appends."""

_MODE_WAIT = 0.1
"""How long a directory of networks may be without its mode: its maker is between two system calls."""


def base(temp_dir: TempDir = None) -> str:
    """Returns the directory that holds one directory per network."""
    if temp_dir is not None:
        temp = os.fspath(temp_dir)
    elif os.name == "nt":
        temp = tempfile.gettempdir()
    else:
        # Not tempfile's, which looks for a place to write in where others of the network don't look.
        temp = os.environ.get("TMPDIR") or "/tmp"
    return os.path.join(os.path.abspath(temp), "lonet")


def check_name(base_dir: str, network: str) -> None:
    """Raises ErrInvalid if no network can have that name there."""
    try:
        names.check(network)
    except ErrInvalid as err:
        raise err.because("network name")
    path = os.path.join(base_dir, network, "registry.db")
    if len(encode(path)) > _MAX_PATH:
        raise ErrInvalid(
            f"network name: {path} is {len(encode(path))} bytes long, at most {_MAX_PATH} are possible"
        )


def new_network(base_dir: str) -> str:
    """Makes the directory of a new network with a random name, which it returns."""
    make_base(base_dir)
    while True:
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"
        network = "".join(random.SystemRandom().choice(digits) for _ in range(13))
        check_name(base_dir, network)
        if make_in(base_dir, os.path.join(base_dir, network)):
            return network


def make_base(base_dir: str) -> None:
    """Makes the directory of all networks. One of another user's is used as it is."""
    try:
        info = os.lstat(base_dir)
    except FileNotFoundError:
        try:
            os.mkdir(base_dir)
        except FileExistsError:
            pass
        info = os.lstat(base_dir)
    # A link is not followed: in a temporary directory anyone could have put it there, and the mode would then be that
    # of whatever it leads to.
    if not stat.S_ISDIR(info.st_mode):
        raise OpError(f"{base_dir} is not a directory: remove it")
    if _ours(info):
        set_mode(base_dir, MODE_BASE)


def make_in(base_dir: str, directory: str) -> bool:
    """Makes the directory of a network, and tells whether it wasn't there.

    If base_dir does not let this user, its owner may have made it just now and not given it its mode yet: that is
    waited for.
    """
    start = time.monotonic()
    while True:
        try:
            os.mkdir(directory, MODE_NETWORK)
            return True
        except FileExistsError:
            return False
        except PermissionError as err:
            if time.monotonic() - start > _MODE_WAIT:
                raise of_system(err).because(
                    f"{base_dir} does not let this user make networks; have its owner run chmod 1777 on it, "
                    "or use another temporary directory"
                ) from None
        time.sleep(0.002)


def check_network(directory: str) -> os.stat_result:
    """Raises OpError if the directory is not a directory of this user's own."""
    info = os.lstat(directory)
    if stat.S_ISLNK(info.st_mode):
        raise OpError(f"{directory} is a symbolic link: a network must be a directory")
    if not stat.S_ISDIR(info.st_mode):
        raise OpError(f"{directory} is not a directory")
    if not _ours(info):
        raise OpError(f"{directory} belongs to another user: choose another name for the network")
    return info


if sys.platform == "win32":
    # The temporary directory is each user's own here, and modes say nothing.

    def _ours(info: os.stat_result) -> bool:
        return True

    def set_mode(directory: str, mode: int) -> None:
        """Does nothing."""

else:

    def _ours(info: os.stat_result) -> bool:
        return info.st_uid == os.geteuid()

    def set_mode(directory: str, mode: int) -> None:
        """Gives a directory of ours its mode, which the umask may have cut.

        What was found at the path may have been swapped since, where the directory above is another user's: so the
        mode is that of what is opened, which is no link, and looked at again.
        """
        if stat.S_IMODE(os.lstat(directory).st_mode) == mode:
            return
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if not _ours(os.fstat(fd)):
                raise OpError(f"{directory} has become another user's")
            os.fchmod(fd, mode)
        finally:
            os.close(fd)
