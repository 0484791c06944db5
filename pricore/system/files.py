"""Locks between processes, and files that are there whole or not at all, whatever happens to the machine.

A lock is on an open file: the kernel lets go when the last process that has it open is gone, however it ended.
"""

import asyncio
import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO


class LockedError(Exception):
    """Another process has the lock, and did not let go in time."""


def lock(file: int | IO[bytes], *, shared: bool = False, wait: bool = False) -> bool:
    """Lock an open file against other processes; False where one of them has it, unless this is to `wait`.

    Any number have it `shared`, or one alone.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@asynccontextmanager
async def hold_lock(
    path: Path,
    *,
    shared: bool = False,
    create: bool = True,
    seconds: float,
    pause: float,
    on_wait: Callable[[], object] = lambda: None,
) -> AsyncIterator[int]:
    """Hold the lock on a file, which is made if it isn't there; gives its descriptor.

    A folder has a lock as well, without `create`. Who is given the descriptor has the lock too, until it is gone.
    It is tried every `pause` seconds, after `on_wait` each time. Raises LockedError where nobody lets go
    within `seconds`, and OSError.
    """
    flags = os.O_RDWR | os.O_CREAT if create else os.O_RDONLY
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    clock = asyncio.get_running_loop().time
    try:
        deadline = clock() + seconds
        while not lock(descriptor, shared=shared):
            if clock() >= deadline:
                raise LockedError
            on_wait()
            await asyncio.sleep(pause)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def create_file(path: Path) -> Iterator[IO[bytes]]:
    """A new file that nobody else can read, whole and on the disk when the block ends.

    Raises FileExistsError where there is one.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        sync_file(file)


def write_file(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Write a file that nobody else can read, whole or not at all; what is there stays unless it is to `replace`.

    It is on the disk when this returns. Raises OSError.
    """
    new = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        with create_file(new) as file:
            file.write(content)
        if replace:
            new.replace(path)
        else:
            with suppress(FileExistsError):
                path.hardlink_to(new)  # unlike a rename, it replaces nothing
    finally:
        new.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_file(file: IO[bytes]) -> None:
    """Bring what was written to an open file to the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_path(path: Path) -> None:
    """Bring what is in a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where this user may read it."""
    with suppress(PermissionError):  # one that can be written, and not read
        sync_path(folder)
