"""The wheel and the sdist of what is committed: equal commits give equal files."""

import gzip
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

ROOT: Final = Path(__file__).parents[1]


def committed_at() -> int:
    """When the newest commit was made, in seconds since 1970: the date of all that is built of it."""
    asked = ["git", "log", "-1", "--format=%ct"]
    return int(subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def build_wheel(folder: Path) -> Path:
    """Build it into a folder; gives its path. Ends the program where that fails."""
    _build("--wheel", folder)
    (wheel,) = folder.glob("pricore-*.whl")
    return wheel


def build_sdist(folder: Path) -> Path:
    """Build it into a folder; gives its path. Ends the program where that fails."""
    _build("--sdist", folder)
    (sdist,) = folder.glob("pricore-*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = [
            (member, archive.extractfile(member)) for member in archive if member.isfile() or member.isdir()
        ]
        plain = io.BytesIO()
        # setuptools has the time of the build in it, and who built it
        with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as again:
            for member, content in sorted(members, key=lambda item: item[0].name):
                found = tarfile.TarInfo(member.name)
                found.type, found.size, found.mtime = member.type, member.size, committed_at()
                found.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                again.addfile(found, content)
    sdist.write_bytes(gzip.compress(plain.getvalue(), 9, mtime=0))
    return sdist


def version_of(wheel: Path) -> str:
    return wheel.name.split("-")[1]


def _build(kind: str, folder: Path) -> None:
    with _exported() as source:
        done = subprocess.run(
            [sys.executable, "-m", "build", kind, "--outdir", folder, source],
            check=False,
            env=os.environ | {"SOURCE_DATE_EPOCH": str(committed_at()), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            sys.exit(done.stdout)


@contextmanager
def _exported() -> Iterator[Path]:
    """What is committed, in a folder of its own: nothing that lies about gets in."""
    with TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "--extract", "--directory", folder], input=archive, check=True)
        yield Path(folder)
