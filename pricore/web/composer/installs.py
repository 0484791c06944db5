"""Installs that clients report after they have unpacked archives, also those out of their own cache."""

import asyncio
from typing import Final

import msgspec
from aiohttp import web

from pricore.errors import BadRequestError
from pricore.store import Store
from pricore.web.composer.organizations import Organizations
from pricore.web.http.bodies import read_body

_MOST_NAMES: Final = 10_000
_AT_A_TIME: Final = 200
_PAUSE_SECONDS: Final = 0.001


class _Download(msgspec.Struct, gc=False):
    name: str
    version: str


class _Downloads(msgspec.Struct, gc=False):
    downloads: list[_Download]


class Installs:
    """The installs of packages of an organization."""

    def __init__(self, store: Store, organizations: Organizations) -> None:
        self._store = store
        self._organizations = organizations

    async def count_installs(self, request: web.Request) -> web.Response:
        """Count installs that a client reports; what cannot be understood is passed over."""
        visit = await self._organizations.admit(request)
        organization, rights = await self._organizations.find(visit), visit.rights
        try:
            report = msgspec.json.decode(await read_body(request), type=_Downloads)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise BadRequestError('the body must be {"downloads": [{"name": ..., "version": ...}]}') from None
        for number, item in enumerate(report.downloads[:_MOST_NAMES]):
            if number % _AT_A_TIME == _AT_A_TIME - 1:
                # the largest report takes 10 ms, which the others would wait; and a thread that reads for one of
                # them does not get its turn from a loop that is never idle
                await asyncio.sleep(_PAUSE_SECONDS)
            name = item.name.lower()
            if rights.sees(name):
                self._store.usage.installed(organization.id, name, item.version)
        return web.Response(status=204)
