"""Webhooks: a Git host says that something was pushed, proves that it may, and a sync is queued.

What is in the body doesn't matter, only that it is signed: the sync looks at the repository itself.
"""

import asyncio
import base64
import hashlib
import hmac
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec
from aiohttp import hdrs, web

from pricore.auth import access_tokens
from pricore.auth.sealing import Sealer, WebhookSecrets
from pricore.errors import BadRequestError, NotFoundError, UnauthorizedError
from pricore.hosts.addresses import ALIASES
from pricore.store import Store
from pricore.sync.queue import Queue
from pricore.web.api.routing import Message, Operation
from pricore.web.http.admission import Gate

_MOST_BYTES: Final = 25 * 1024 * 1024
"""The largest body that any host sends (GitHub)."""

_BODY_SECONDS: Final = 30


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """The secret itself in a header, behind the name of a scheme where that is not empty."""

    header: str
    scheme: str = ""


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """An HMAC with SHA-256 over the raw body in a header, written by `write`.

    `standard` is the form of Standard Webhooks: the key is what the secret's base64 says, an id and a time are in
    front of the body, and there may be several signatures with blanks between them.
    """

    header: str
    write: Callable[[bytes], str]
    standard: bool = False


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind of Git host sends.

    The first of `signatures` that is there has to hold; where none is, one of `tokens` has to be the secret. The
    event is in the first of `event_headers` that is there: those in `syncs` move refs (empty: each does),
    `pings` ask whether anybody is there, `unsigned` are pings that come without a signature.
    """

    signatures: tuple[Signature, ...] = ()
    tokens: tuple[Token, ...] = ()
    event_headers: tuple[str, ...] = ()
    syncs: frozenset[str] = frozenset()
    pings: frozenset[str] = frozenset()
    unsigned: frozenset[str] = frozenset()

    @property
    def proofs(self) -> str:
        """The headers that can hold the proof, for people."""
        return " or ".join([item.header for item in self.signatures] + [item.header for item in self.tokens])


def _after_sha256(digest: bytes) -> str:
    return f"sha256={digest.hex()}"


def _standard(digest: bytes) -> str:
    return f"v1,{base64.b64encode(digest).decode()}"


_REF_EVENTS: Final = frozenset({"push", "create", "delete", "release"})

PROVIDERS: Final[Mapping[str, Provider]] = {
    "github": Provider(
        signatures=(Signature(header="X-Hub-Signature-256", write=_after_sha256),),
        event_headers=("X-GitHub-Event",),
        syncs=_REF_EVENTS,
        pings=frozenset({"ping"}),
    ),
    "gitlab": Provider(
        signatures=(Signature(header="webhook-signature", write=_standard, standard=True),),
        tokens=(Token(header="X-Gitlab-Token"),),
        event_headers=("X-Gitlab-Event",),
        syncs=frozenset({"Push Hook", "Tag Push Hook", "Release Hook"}),
    ),
    "bitbucket": Provider(
        signatures=(Signature(header="X-Hub-Signature", write=_after_sha256),),
        event_headers=("X-Event-Key",),
        # Cloud; Data Center; Data Center where the repository is read from one of its mirrors
        syncs=frozenset({"repo:push", "repo:refs_changed", "mirror:repo_synchronized"}),
        pings=frozenset({"diagnostics:ping"}),
        # "Test connection" of Data Center knows the address only, not the secret
        unsigned=frozenset({"diagnostics:ping"}),
    ),
    "gitea": Provider(
        signatures=(
            Signature(header="X-Forgejo-Signature", write=bytes.hex),
            Signature(header="X-Gitea-Signature", write=bytes.hex),
            Signature(header="X-Gogs-Signature", write=bytes.hex),
        ),
        event_headers=("X-Forgejo-Event", "X-Gitea-Event", "X-Gogs-Event"),
        syncs=_REF_EVENTS,
    ),
    "git": Provider(tokens=(Token(header=hdrs.AUTHORIZATION, scheme="bearer"), Token(header="X-Webhook-Secret"))),
}


class Webhooks:
    """All routes below /webhooks."""

    def __init__(self, store: Store, queue: Queue, gate: Gate, sealer: Sealer) -> None:
        self._store = store
        self._queue = queue
        self._gate = gate
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
            answer=Message,
            errors=(401, 413),
            public=True,
        )

    async def _receive(self, request: web.Request) -> web.Response:
        try:
            return await self._take(request)
        except UnauthorizedError:
            self._gate.refuse(request)
            raise

    async def _take(self, request: web.Request) -> web.Response:
        """The answer to a delivery. Raises UnauthorizedError where it doesn't prove who sends it."""
        name, repository_id = request.match_info["provider"], request.match_info["id"]
        provider = PROVIDERS.get(ALIASES.get(name, name))
        if provider is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        secret = await self._secret(repository_id)
        event = _first(request, provider.event_headers) or ""
        if event in provider.unsigned and _first(request, [item.header for item in provider.signatures]) is None:
            return _answer(
                "Pong, though without a signature: whether the secret is right shows with the first push"
            )
        await _check(request, provider, secret)
        if event in provider.pings:
            return _answer("Pong")
        if provider.syncs and event not in provider.syncs:
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


async def _check(request: web.Request, provider: Provider, secret: str) -> None:
    """Read the request to its end. Raises UnauthorizedError where it doesn't prove that it knows the secret."""
    for signature in provider.signatures:
        if (given := request.headers.get(signature.header)) is not None:
            mac = _begin(signature, secret, request)
            await _read(request, mac.update)
            claims = given.split() if signature.standard else [given]
            if any(_equal(claim, signature.write(mac.digest())) for claim in claims):
                return
            raise UnauthorizedError(
                f"the signature in {signature.header} fits neither the body nor the secret; "
                "`pricore repo webhook` prints the one in force"
            )
    shown = [item for token in provider.tokens if (item := _credentials(request, token)) is not None]
    if not shown:
        raise UnauthorizedError(
            f"the webhook shows no secret, in {provider.proofs}; `pricore repo webhook` prints the one to set"
        )
    if not any(_equal(item, secret) for item in shown):
        raise UnauthorizedError("this is not the secret in force; `pricore repo webhook` prints that one")
    await _read(request, lambda _: None)


def _begin(signature: Signature, secret: str, request: web.Request) -> hmac.HMAC:
    """The HMAC up to where the body begins."""
    if not signature.standard:
        return hmac.new(secret.encode(), digestmod=hashlib.sha256)
    mac = hmac.new(base64.b64decode(secret.partition("_")[2]), digestmod=hashlib.sha256)
    for name in ("webhook-id", "webhook-timestamp"):
        mac.update(_bytes(request.headers.get(name, "") + "."))
    return mac


def _credentials(request: web.Request, token: Token) -> str | None:
    """What is in a token's header; None where it isn't there, or is of another scheme."""
    value = request.headers.get(token.header)
    if value is None or not token.scheme:
        return value
    scheme, _, credentials = value.partition(" ")
    return credentials.strip() if scheme.lower() == token.scheme else None


async def _read(request: web.Request, use: Callable[[bytes], None]) -> None:
    """Give the body to `use` piece by piece, as it came: a push of thousands of commits isn't held in memory.

    Raises HTTPRequestEntityTooLarge, and BadRequestError where it doesn't arrive in time.
    """
    if (request.content_length or 0) > _MOST_BYTES:
        raise web.HTTPRequestEntityTooLarge(max_size=_MOST_BYTES, actual_size=request.content_length or 0)
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for piece in request.content.iter_any():
                size += len(piece)
                if size > _MOST_BYTES:
                    raise web.HTTPRequestEntityTooLarge(max_size=_MOST_BYTES, actual_size=size)
                use(piece)
    except TimeoutError:
        raise BadRequestError(f"the request body took longer than {_BODY_SECONDS} seconds") from None


def _first(request: web.Request, names: Iterable[str]) -> str | None:
    """The value of the first of these headers that is there."""
    return next((request.headers[name] for name in names if name in request.headers), None)


def _equal(given: str, wanted: str) -> bool:
    """Whether two texts are the same, in a time that tells nothing about where they differ."""
    return hmac.compare_digest(_bytes(given), _bytes(wanted))


def _bytes(text: str) -> bytes:
    """A header as it came: what is no UTF-8 in it is text too, for aiohttp."""
    return text.encode(errors="surrogateescape")


def _answer(message: str) -> web.Response:
    return web.Response(body=msgspec.json.encode(Message(message)), content_type="application/json")
