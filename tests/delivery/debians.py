"""Debians in folders, for who tries what is delivered where nothing else is."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def chroot(place: Path, suite: str, packages: str) -> Iterator[Path]:
    """A Debian of some suite with some packages and what those need, in a folder below `place`; only for root."""
    folder = place / suite
    make_debian(folder, suite, packages)
    subprocess.run(["mount", "-t", "proc", "proc", folder / "proc"], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder / "proc"], check=True)


def make_debian(target: Path, suite: str, packages: str) -> None:
    """Make one in a folder, or in a .tar."""
    made = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={packages}", suite, str(target)]
    subprocess.run(made, check=True, timeout=600)


def inside(debian: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run lines of a shell there as root, as a user of the machine would."""
    return subprocess.run(
        ["chroot", debian, "/bin/sh", "-ec", script],
        env={
            "HOME": "/root",
            "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "COMPOSER_ALLOW_SUPERUSER": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
