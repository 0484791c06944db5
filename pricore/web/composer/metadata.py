"""packages.json and the p2 documents of packages, as Composer asks for them."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, ParamSpec, TypeVar

import zstandard
from aiohttp import hdrs, web

from pricore.auth import access_tokens
from pricore.composer import metadata, narrowing
from pricore.errors import NotFoundError, UnsupportedClientError
from pricore.models import Document
from pricore.rights.visibility import Visibility
from pricore.store import Store
from pricore.system.threads import DOCUMENTS
from pricore.web.composer.organizations import Organizations, Visit
from pricore.web.http.access_log import counts_of
from pricore.web.http.request_head import encoding_of
from pricore.web.http.response_cache import CachedResponse, ResponseCache
from pricore.web.http.responses import FinishedResponse, document_response, large_response

P = ParamSpec("P")
T = TypeVar("T")

_SMALL: Final = 64 * 1024
"""Bytes of a document up to which finishing it takes less than handing it to a thread."""

_PIECE: Final = 256 * 1024
_DIGEST: Final = 16


class _Target(NamedTuple):
    """What a response is for, which is the key that it is cached under."""

    path: str
    encoding: str
    origin: str
    shown: bytes | None


class Metadata:
    """The documents of all organizations."""

    def __init__(
        self, store: Store, organizations: Organizations, cache: ResponseCache, *, public_url: str
    ) -> None:
        self._store = store
        self._organizations = organizations
        self._cache = cache.documents
        self._public_url = public_url
        self._large = asyncio.Lock()

    async def get_package(self, request: web.Request) -> web.StreamResponse:
        """One half of a package's metadata; the half without versions is there too, and empty."""
        match = request.match_info
        name = f"{match['vendor']}/{match['package']}"
        package, half = name.removesuffix("~dev").lower(), "dev" if name.endswith("~dev") else "stable"
        visit = await self._organizations.admit(request, package=package)
        target = _Target(
            path=request.rel_url.raw_path,
            encoding=encoding_of(request),
            origin=self._organizations.origin(request),
            shown=visit.view(package).key,
        )
        cached = self._cache.find(target, visit.revision)
        if cached is None:
            document = await self._document(visit, package, half)
            if not _is_large(document):
                cached = await self._make_package(request, visit, target, package, half, document)
            else:
                # the largest take seconds, and many times their size: all who ask for one wait for who makes it
                del document
                async with self._large:
                    cached = self._cache.find(target, visit.revision)
                    if cached is None:
                        document = await self._document(visit, package, half)
                        cached = await self._make_package(request, visit, target, package, half, document)
        return self._respond(request, visit, target, cached)

    async def _document(self, visit: Visit, package: str, half: str) -> Document:
        document = await self._store.documents.find(visit.slug, package, half)
        if document is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        return document

    async def _make_package(
        self, request: web.Request, visit: Visit, target: _Target, package: str, half: str, document: Document
    ) -> CachedResponse:
        url, view, body = self._organizations.url(request), visit.view(package), document.body
        # those that are not small take milliseconds, which the others would wait
        small = 0 <= zstandard.frame_content_size(body) < _SMALL
        run = _at_once if small and view.has_all else DOCUMENTS.run
        if target.shown is None:
            response = await run(_finish, body, url, document.last_modified, target.encoding)
            return self._keep(request, visit, target, response)
        shown = await run(_narrow, body, view, self._public_url)
        last_modified = await self._store.views.date(
            document.organization_id, f"{package}~{half}", view=target.shown, content=shown.digest
        )
        response = await run(_finish_pieces, shown.pieces, url, last_modified, target.encoding)
        return self._keep(request, visit, target, response)

    async def get_root(self, request: web.Request) -> web.StreamResponse:
        """packages.json: what there is for this token, and where the rest is asked for."""
        visit = await self._organizations.admit(request)
        if request.headers.get(hdrs.USER_AGENT, "").startswith("Composer/1."):
            raise UnsupportedClientError(
                "this registry needs Composer 2, and this is Composer 1: upgrade with `composer self-update --2`"
            )
        target = _Target(
            path=request.rel_url.raw_path,
            encoding=encoding_of(request),
            origin=self._organizations.origin(request),
            shown=visit.rights.key,
        )
        cached = self._cache.find(target, visit.revision)
        if cached is None:
            cached = await self._make_root(request, visit, target)
        return self._respond(request, visit, target, cached)

    async def _make_root(self, request: web.Request, visit: Visit, target: _Target) -> CachedResponse:
        root = await self._store.organizations.root(visit.slug, visit.rights)
        if root is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        carried = await self._store.documents.inline(root.organization_id, visit.rights) if root.inline else {}
        pieces = [await DOCUMENTS.run(metadata.build_root, root.names, carried)]
        last_modified: int | None = root.last_modified
        if target.shown is not None:
            digest = _hash(pieces, self._public_url)
            last_modified = await self._store.views.date(
                root.organization_id, "", view=target.shown, content=digest
            )
        url = self._organizations.url(request)
        response = await DOCUMENTS.run(_finish_pieces, pieces, url, last_modified, target.encoding)
        return self._keep(request, visit, target, response)

    def _keep(
        self, request: web.Request, visit: Visit, target: _Target, response: FinishedResponse
    ) -> CachedResponse:
        cached = CachedResponse(response, visit.access, counts_of(request), visit.revision)
        if response.has_date:  # the next request finds out another time since when it is so
            self._cache.keep(target, cached)
        return cached

    def _respond(
        self, request: web.Request, visit: Visit, target: _Target, cached: CachedResponse
    ) -> web.StreamResponse:
        if target.shown is not None:
            visit.token.show(target.path, target.shown)
        return cached.response.respond(request)


class _Narrowed(NamedTuple):
    """What is shown of a document, in pieces, and what that is known by."""

    pieces: Sequence[bytes]
    digest: bytes


async def _at_once(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    return work(*args, **kwargs)


def _is_large(document: Document) -> bool:
    return not 0 <= zstandard.frame_content_size(document.body) < metadata.LARGE


def _narrow(body: bytes, view: Visibility, public_url: str) -> _Narrowed:
    """What a view shows of a stored document; another public URL makes it another one."""
    with zstandard.ZstdDecompressor().stream_reader(body) as plain:
        document = plain.read()
    admits = None if view.has_all else view.admits
    pieces = [*narrowing.narrow(document, admits, sources=view.sources, dated=view.is_dated)]
    return _Narrowed(pieces, _hash(pieces, public_url))


def _hash(pieces: Iterable[bytes], public_url: str) -> bytes:
    content = hashlib.blake2b(public_url.encode(), digest_size=_DIGEST)
    for piece in pieces:
        content.update(piece)
    return content.digest()


def _finish(body: bytes, url: str, last_modified: int, encoding: str) -> FinishedResponse:
    """The response that a stored document makes for an organization at `url`."""
    if not 0 <= zstandard.frame_content_size(body) < metadata.LARGE:
        with zstandard.ZstdDecompressor().stream_reader(body) as plain:
            pieces = iter(lambda: plain.read(_PIECE), b"")
            return large_response(metadata.with_base(pieces, url), last_modified, encoding)
    return _finish_pieces([zstandard.ZstdDecompressor().decompress(body)], url, last_modified, encoding)


def _finish_pieces(
    pieces: Sequence[bytes], url: str, last_modified: int | None, encoding: str
) -> FinishedResponse:
    """The same of one that is there in pieces; without a date, clients have to ask for it each time."""
    if sum(map(len, pieces)) >= metadata.LARGE:
        return large_response(metadata.with_base(pieces, url), last_modified, encoding)
    whole = b"".join(pieces)
    return document_response(b"".join(metadata.with_base([whole], url)), last_modified, encoding)
