"""What a server does beside answering requests: syncs, counts, tidying up, pruning, upgrades of metadata."""

import asyncio
import logging
import time
from typing import Final

from pricore.operations import retention
from pricore.services.opening import Services
from pricore.sync.queue import Queue

_log = logging.getLogger("pricore.server")

_FLUSH_SECONDS: Final = 1.0
_PRUNE_SECONDS: Final = 24 * 3600
_RETRY_SECONDS: Final = 60


class Background:
    """The tasks of a server. `syncs` False is for one that leaves what concerns all processes to another."""

    def __init__(self, services: Services, queue: Queue, *, syncs: bool) -> None:
        self._services = services
        self._store = services.store
        self._queue = queue
        self._syncs = syncs
        self._working: list[asyncio.Task[None]] = []
        self._flushing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with all of it."""
        work = [self._services.dists.recompress()]
        if self._syncs:
            tidying = self._tidy(before=time.time())
            work += [self._queue.work(), tidying, self._prune(), self._rebuild_documents()]
        self._working = [asyncio.create_task(item) for item in work]
        self._flushing = asyncio.create_task(self._flush_usage())

    async def rest(self) -> None:
        """End all but the counting of what requests still do; syncs go back to the queue."""
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    async def close(self) -> None:
        """End what is left when there are no requests any more, and write what was counted."""
        await self.rest()
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
        await self._services.dists.close()
        await self._store.usage.flush()

    async def _flush_usage(self) -> None:
        """Bring counts to the database every second; a failure is logged once until it works again."""
        failing = False
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            try:
                await self._store.usage.flush()
                failing = False
            except Exception as error:  # noqa: BLE001  # counting must not end because one write failed
                if not failing:
                    _log.error("cannot write usage: %s", error)
                failing = True

    async def _tidy(self, *, before: float) -> None:
        """Remove what a process that was killed left behind."""
        services = self._services
        try:
            await services.syncer.sweep()
            if known := await self._store.archives.all_checksums():
                await services.dists.folder.sweep(known, before=before)
            await services.uploads.sweep(before=before)
        except Exception:  # noqa: BLE001  # what is left over takes room, and nothing else
            _log.exception("cannot tidy up the data folder")

    async def _prune(self) -> None:
        """Delete archives as the settings say, once a day."""
        while True:
            most, unused = retention.limits(self._services.config)
            try:
                if most is not None or unused is not None:
                    done = await retention.prune(self._services, most=most, unused=unused)
                    if done.pruned:
                        size = sum(item.size for item in done.pruned)
                        _log.info("pruned archives: %d of %d bytes", len(done.pruned), size)
            except Exception as error:  # noqa: BLE001  # what is kept too long takes room, and nothing else
                _log.error("cannot prune archives: %s", error)
            await asyncio.sleep(_PRUNE_SECONDS)

    async def _rebuild_documents(self) -> None:
        """Build metadata anew that an earlier version of this program built otherwise.

        What there is is served until then. A failure is tried again later.
        """
        rebuilding = self._store.rebuilding
        while True:
            try:
                if left := await rebuilding.left():
                    began = time.monotonic()
                    _log.info("the metadata of %d packages is rebuilt after the upgrade", left)
                    while await rebuilding.go_on():
                        pass
                    _log.info("the metadata of %d packages was rebuilt in %.1f s", left, time.monotonic() - began)
            except Exception as error:  # noqa: BLE001  # what is served is good, and only not the newest
                _log.error("cannot rebuild metadata, trying again later: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return
