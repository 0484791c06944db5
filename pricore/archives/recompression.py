"""Compressing kept archives harder, in the background: they were made fast, while somebody waited."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from pricore.archives.compression import digest_at, frame_size, name_of
from pricore.archives.storage import Folder, Storage
from pricore.errors import DistError
from pricore.models import Dist
from pricore.system.threads import ARCHIVES

_log = logging.getLogger("pricore.dists")

_PROGRAM: Final = Path(__file__).with_stem("recompress")
_LEAST_BYTES: Final = 32 * 1024
_MOST_BYTES: Final = 16 * 1024**2
"""Bytes of content from which compressing harder saves more than it takes, and up to which it takes seconds."""

_MOST_QUEUED: Final = 1000
"""Archives that wait for it; more stay as they are until they are asked for in another process."""

_CALM_SECONDS: Final = 1.0
"""How long nothing was made before something is compressed harder: first downloads come many at a time."""


class Recompression:
    """The queue of archives that can be kept in fewer bytes; `folder` is where new files are made.

    `on_damaged` is told of one that turns out not to be whole.
    """

    def __init__(self, folder: Folder, *, on_damaged: Callable[[Storage, str], None]) -> None:
        self._folder = folder
        self._on_damaged = on_damaged
        self._queue: asyncio.Queue[tuple[Storage, Dist]] = asyncio.Queue(_MOST_QUEUED)
        self._queued: set[str] = set()
        self._held_off_at = 0.0

    def add(self, storage: Storage, dist: Dist) -> None:
        """Compress an archive harder some time, if that is worth it."""
        if _LEAST_BYTES <= dist.size <= _MOST_BYTES and not (dist.shasum in self._queued or self._queue.full()):
            self._queued.add(dist.shasum)
            self._queue.put_nowait((storage, dist))

    def has(self, dist: Dist) -> bool:
        """Whether an archive waits for it."""
        return dist.shasum in self._queued

    def hold_off(self) -> None:
        """Begin nothing for a while: an archive was made, and others may be asked for."""
        self._held_off_at = time.monotonic()

    async def work(self) -> None:
        """Compress one after the other, until this is cancelled.

        Another process does it, which is stopped at once, and whose memory is not this one's. A thread of the
        lowest priority could hold the interpreter while it waits for a processor.
        """
        while True:
            storage, dist = await self._queue.get()
            while (seconds := self._held_off_at + _CALM_SECONDS - time.monotonic()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(seconds)
            try:
                await self._recompress(storage, dist)
            except Exception as error:  # noqa: BLE001  # what stays larger takes room, and nothing else
                _log.warning("an archive stays packed as it is: %s", error)
            finally:
                self._queued.discard(dist.shasum)

    async def _recompress(self, storage: Storage, dist: Dist) -> None:
        name = name_of(dist.shasum, "zstd")
        opened = await storage.open(name)
        if opened is None:
            return
        with opened:
            kept = await opened.fetch(self._folder.path)
            if frame_size(kept) == dist.size:
                return  # it was compressed so before
            async with self._folder.new_file(name) as file:
                await _run_program(kept, dist.size, file)
                path = Path(file.name)
                if await ARCHIVES.run(digest_at, path) != dist.shasum:
                    self._on_damaged(storage, name)
                    raise DistError(f"{name} in {storage} is damaged; the next request makes it again")
                if os.fstat(file.fileno()).st_size < opened.size:
                    await self._replace(storage, name, path)

    async def _replace(self, storage: Storage, name: str, path: Path) -> None:
        """Put a file in the place of one that is kept, unless that was deleted meanwhile."""
        async with self._folder.replacing():
            if opened := await storage.open(name):
                with opened:
                    await storage.put(name, path)


async def _run_program(kept: IO[bytes], size: int, file: IO[bytes]) -> None:
    """Write a kept archive, which has a size unpacked, into a file; whether that went well shows in the file."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(_PROGRAM), str(size)),  # the environment's Python may be another one
        stdin=kept,
        stdout=file,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await process.wait()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
