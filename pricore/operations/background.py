"""What a server does beside answering requests: syncs, counts, tidying up, pruning, upgrades of metadata."""

import asyncio
import logging
import time
from typing import Final

from pricore.operations import retention
from pricore.services.opening import Services
from pricore.services.tokens import SOON_DAYS
from pricore.sync.queue import Queue
from pricore.system.clock import now, rfc3339

_log = logging.getLogger("pricore.server")

_FLUSH_SECONDS: Final = 1.0
_PRUNE_SECONDS: Final = 24 * 3600
_RETRY_SECONDS: Final = 60
_EXPIRY_SECONDS: Final = 3600
_DAY: Final = 24 * 3600


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
            work += [self._queue.work(), tidying, self._prune(), self._rebuild_documents(), self._tell_expiring()]
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
        """Delete archives as the settings say, and what is remembered of dates, once a day."""
        while True:
            most, unused = retention.limits(self._services.config)
            try:
                await self._store.views.forget()
                if most is not None or unused is not None:
                    done = await retention.prune(self._services, most=most, unused=unused)
                    if done.pruned:
                        size = sum(item.size for item in done.pruned)
                        _log.info("pruned archives: %d of %d bytes", len(done.pruned), size)
            except Exception as error:  # noqa: BLE001  # what is kept too long takes room, and nothing else
                _log.error("cannot prune: %s", error)
            await asyncio.sleep(_PRUNE_SECONDS)

    async def _tell_expiring(self) -> None:
        """Say once of each token that it expires soon, while somebody can still do something about it."""
        while True:
            try:
                for token in await self._store.tokens.tell_expiring(now() + SOON_DAYS * _DAY):
                    _log.warning(
                        "the token %s of %s expires at %s; `pricore token change --expires` gives it another end",
                        token.name,
                        ", ".join(token.organizations) or "the instance",
                        rfc3339(token.expires_at or 0),
                    )
            except Exception as error:  # noqa: BLE001  # it is told the next time
                _log.error("cannot look for tokens that expire: %s", error)
            await asyncio.sleep(_EXPIRY_SECONDS)

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
