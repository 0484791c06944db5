"""What is in a repository and not in the archives of it, by the files that say so. Pure."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Pitfall(StrEnum):
    """What archives have instead of it, and what to do about that."""

    LFS = "files in Git LFS are small pointers in the archives that clients install: commit what the package needs"
    SUBMODULES = (
        "submodules are empty folders in the archives that clients install: commit what the package needs of them "
        "or require it"
    )


MOST_BYTES: Final = 64 * 1024
"""Bytes of such a file that are looked through."""

FILES: Final[Mapping[str, tuple[Pitfall, re.Pattern[bytes]]]] = {
    ".gitattributes": (Pitfall.LFS, re.compile(rb"^[^#\r\n]*[ \t]filter=lfs(?:[ \t\r]|$)", re.MULTILINE)),
    ".gitmodules": (Pitfall.SUBMODULES, re.compile(rb"^[ \t]*path[ \t]*=", re.MULTILINE)),
}
"""The files in a root, and what in them tells of which."""
