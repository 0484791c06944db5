"""The single file: a folder and the launcher, dist/pricore-<version>-linux-<arch>."""

import hashlib
import platform
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import zstandard

_LAUNCHER: Final = Path(__file__).with_name("launcher.c")
_WINDOW: Final = 25
"""32 MB, the binary logarithm: what unpacking needs of memory."""


def pack(tree: Path, output: Path, *, version: str) -> Path:
    """Put a folder and the launcher into one file; gives its path."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, window_log=_WINDOW, enable_ldm=True, write_checksum=True, threads=-1
    )
    packed = zstandard.ZstdCompressor(compression_params=parameters).compress(b"".join(_cpio(tree)))
    size = sum(-(-path.stat().st_size // 4096) * 4096 + 4096 for path in tree.rglob("*"))
    digest = hashlib.sha256(packed).hexdigest()
    file = output / f"pricore-{version}-linux-{platform.machine()}"
    subprocess.run(
        [
            *("gcc", "-std=gnu17", "-Os", "-static", "-s", "-Wall", "-Wextra", "-Werror", "-Wl,--build-id=none"),
            f'-DNAME="pricore-{version}-{digest[:16]}"',
            f"-DPACKED={len(packed)}",
            f"-DUNPACKED={size}",
            f'-DUNPACKED_SHOWN="{-(-size // 1024**2)} MB"',
            *("-o", file, _LAUNCHER, "-lzstd"),
        ],
        check=True,
    )
    with file.open("ab") as end:
        end.write(packed)
    return file


def _cpio(tree: Path) -> Iterator[bytes]:
    """A folder in the "newc" format of cpio, in order and without dates and owners."""
    for number, path in enumerate(sorted(tree.rglob("*")), start=1):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise RuntimeError(f"{path} is a link, which the launcher doesn't make")
        content = b"" if stat.S_ISDIR(mode) else path.read_bytes()
        mode = stat.S_IFMT(mode) | (0o755 if mode & stat.S_IXUSR else 0o644)
        yield _entry(number, str(path.relative_to(tree)), mode, content)
    yield _entry(0, "TRAILER!!!", 0, b"")


def _entry(number: int, name: str, mode: int, content: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)
