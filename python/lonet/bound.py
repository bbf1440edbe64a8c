"""What cannot leave its process."""

from __future__ import annotations

from typing import NoReturn


class Bound:
    """Something that a copy would not be: a copy of a host, say, would not know when it is closed."""

    def __reduce__(self) -> NoReturn:
        """Says to pickle, copy and multiprocessing that it cannot be done, and what can."""
        raise TypeError(
            f"cannot copy or pickle {self!r}, which belongs to its process: another process joins the network by itself"
        )
