"""What a sync is doing, for every process that looks: a small file beside the repository's mirror.

Not a row: it changes many times a second and is worth nothing a moment later, so that it must neither wait for the
database's writer nor wake those who watch for changes of the registry. The process that syncs holds a lock on the
file; the kernel lets go of it with the process, so that what one that was killed left behind counts as nothing.
"""

import itertools
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

import msgspec

from pricore.models import Progress, Step, SyncRun
from pricore.store import Store
from pricore.system.files import lock

_SIZE: Final = 256
"""Bytes of a record. The file has two, overwritten in turn: whoever finds one half written has the other."""

_MOST_READS: Final = 10
"""Both were overwritten while they were read: that is rare enough, and a next time takes no time."""


class OnProgress(Protocol):
    """Told what is going on, how much of it is done, and how much there is (0: nobody knows).

    A fetch counts objects, and the bytes of them that were received.
    """

    def __call__(self, step: Step, done: int, total: int, received: int = 0, /) -> None: ...


def ignore(step: Step, done: int, total: int, received: int = 0, /) -> None:
    """Progress that nobody looks at."""


@contextmanager
def publish(folder: Path, repository_id: str, run_id: str) -> Iterator[OnProgress]:
    """Tell other processes of a sync, from the first time it tells something; for who holds the repository's lock.

    What cannot be written, on a full disk for example, is not told: no sync fails for that. Nor is what comes
    after the end.
    """
    path, made = _file(folder, repository_id), folder / f"{repository_id}.progress-new"
    descriptor = None
    over = False
    numbers = itertools.count()

    def tell(step: Step, done: int, total: int, received: int = 0, /) -> None:
        nonlocal descriptor
        if over:
            return  # by now, some other file can have the descriptor
        number = next(numbers)
        record = _encode(number, Progress(run_id, step, done, total, received))
        with suppress(OSError):
            if number == 0:
                descriptor = _create(path, made, record)
            elif descriptor is not None:
                os.pwrite(descriptor, record, number % 2 * _SIZE)

    try:
        yield tell
    finally:
        over = True
        if descriptor is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            os.close(descriptor)


def read(folder: Path, repository_id: str) -> Progress | None:
    """What a sync of a repository is doing in whichever process, None where none runs. It takes some 20 µs."""
    try:
        descriptor = os.open(_file(folder, repository_id), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if lock(descriptor, shared=True):
            return None  # nobody has it: who wrote it is no more
        for _ in range(_MOST_READS):
            content = os.pread(descriptor, 2 * _SIZE, 0)
            found = [item for item in (_decode(content[:_SIZE]), _decode(content[_SIZE:])) if item is not None]
            if found:
                return max(found, key=lambda item: item[0])[1]
        return None
    finally:
        os.close(descriptor)


def forget(folder: Path, repository_id: str) -> None:
    """Delete what is left of a repository that is no more."""
    for path in (_file(folder, repository_id), folder / f"{repository_id}.progress-new"):
        path.unlink(missing_ok=True)


async def follow(store: Store, folder: Path, repository_id: str, run: SyncRun) -> SyncRun:
    """A run as it is now, with what it is doing. One whose process was killed was interrupted."""
    again, before = run, ""
    # until it stands still: it can have begun or ended since it was read
    while again.finished_at is None and again.started_at is not None:
        run = again
        doing = read(folder, repository_id)
        if doing is not None and doing.run_id == run.id:
            return msgspec.structs.replace(run, status="running", progress=doing)
        if run.status == before == "queued":
            # a worker has it, and another process its repository
            waiting = Progress(run.id, Step.WAITING, 0, 0)
            return msgspec.structs.replace(run, status="running", progress=waiting)
        if run.status == before:
            # its progress comes before its record, and goes after that has its end
            return msgspec.structs.replace(run, status="interrupted")
        before = run.status
        again = await store.runs.find(repository_id, run.id) or run
    return again


def _create(path: Path, made: Path, first: bytes) -> int:
    """The descriptor of a new file, which is locked and whole before anybody finds it."""
    descriptor = os.open(made, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        lock(descriptor)  # nobody else can have a file without a name that is looked for
        os.pwrite(descriptor, first, 0)
        made.rename(path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _file(folder: Path, repository_id: str) -> Path:
    return folder / f"{repository_id}.progress"


def _encode(number: int, progress: Progress) -> bytes:
    content = msgspec.json.encode((number, progress))
    return (b"%08x" % zlib.crc32(content) + content).ljust(_SIZE)


def _decode(record: bytes) -> tuple[int, Progress] | None:
    """The progress in a record with its number, None where it is not whole."""
    content = record[8:].rstrip()
    if record[:8] != b"%08x" % zlib.crc32(content):
        return None
    try:
        return msgspec.json.decode(content, type=tuple[int, Progress])
    except msgspec.MsgspecError:  # of another release of the program
        return None
