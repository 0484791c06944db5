"""Webhooks: a Git host says that something was pushed, proves that it may, and a sync is queued.

What is in the body doesn't matter, only that it is signed: the sync looks at the repository itself.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Final

import msgspec
from aiohttp import web

from pricore.auth import access_tokens
from pricore.auth.sealing import Sealer, WebhookSecrets
from pricore.errors import BadRequestError, NotFoundError, UnauthorizedError
from pricore.hosts.table import find_provider
from pricore.store import Store
from pricore.sync.queue import Queue
from pricore.web.api.routing import Message, Operation
from pricore.web.http.admission import Admission

_MOST_BYTES: Final = 25 * 1024 * 1024
"""The largest body that any host sends (GitHub)."""

BODY_SECONDS: Final = 30


class Webhooks:
    """All routes below /webhooks."""

    def __init__(self, store: Store, queue: Queue, admission: Admission, sealer: Sealer) -> None:
        self._store = store
        self._queue = queue
        self._admission = admission
        self._secrets = WebhookSecrets(store, sealer)

    def routes(self) -> list[web.RouteDef]:
        """The one route, for each kind of host and each repository."""
        return [web.RouteDef("POST", "/webhooks/{provider}/{id}", self._receive, {})]

    def describe(self) -> Operation:
        """The route as it is documented."""
        return Operation(
            method="POST",
            path="/webhooks/{provider}/{id}",
            name="receive_webhook",
            summary="Tell that something was pushed to a repository, given by its id",
            subject=sys.modules[__name__],
            response=Message,
            errors=(401, 413),
            public=True,
        )

    async def _receive(self, request: web.Request) -> web.Response:
        try:
            return await self._take(request)
        except UnauthorizedError:
            self._admission.refuse(request)
            raise

    async def _take(self, request: web.Request) -> web.Response:
        """The answer to a delivery. Raises UnauthorizedError where it doesn't prove who sends it."""
        name, repository_id = request.match_info["provider"], request.match_info["id"]
        provider = find_provider(name)
        if provider is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        webhook, headers = provider.webhook, request.headers
        secret = await self._secret(repository_id)
        event = webhook.event(headers)
        if event in webhook.unsigned and not webhook.is_signed(headers):
            return _answer(
                "Pong, though without a signature: whether the secret is right shows with the first push"
            )
        signed = webhook.prove(headers, secret)
        await _read(request, _ignore if signed is None else signed.update)
        if signed is not None:
            signed.check()
        if event in webhook.pings:
            return _answer("Pong")
        if not webhook.moves_refs(event):
            return _answer("Ignored: such an event moves no branch and no tag")
        await self._queue.add(repository_id, by_webhook=True)
        return _answer("Sync queued successfully")

    async def _secret(self, repository_id: str) -> str:
        """The secret of a repository. Raises NotFoundError, and UnauthorizedError where it has none."""
        secret = await self._secrets.find(repository_id)
        if secret is None:
            if await self._store.repositories.find(repository_id) is None:
                raise NotFoundError(access_tokens.NOT_HERE)
            raise UnauthorizedError("this repository has no webhook secret yet; `pricore repo webhook` makes one")
        return secret


async def _read(request: web.Request, use: Callable[[bytes], None]) -> None:
    """Give the body to `use` piece by piece, as it came: a push of thousands of commits isn't held in memory.

    Raises HTTPRequestEntityTooLarge, and BadRequestError where it doesn't arrive in time.
    """
    if (request.content_length or 0) > _MOST_BYTES:
        raise web.HTTPRequestEntityTooLarge(max_size=_MOST_BYTES, actual_size=request.content_length or 0)
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.content.iter_any():
                size += len(piece)
                if size > _MOST_BYTES:
                    raise web.HTTPRequestEntityTooLarge(max_size=_MOST_BYTES, actual_size=size)
                use(piece)
    except TimeoutError:
        raise BadRequestError(f"the request body took longer than {BODY_SECONDS} seconds") from None


def _ignore(piece: bytes) -> None:
    """Take a piece of a body that proves nothing."""


def _answer(message: str) -> web.Response:
    return web.Response(body=msgspec.json.encode(Message(message)), content_type="application/json")
