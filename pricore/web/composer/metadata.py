"""packages.json and the p2 documents of packages, as Composer asks for them."""

import asyncio
import hashlib
from typing import Final

import zstandard
from aiohttp import hdrs, web

from pricore.auth import access_tokens
from pricore.composer import metadata
from pricore.errors import NotFoundError, UnsupportedClientError
from pricore.models import Document
from pricore.store import Store
from pricore.system.threads import DOCUMENTS
from pricore.web.composer.organizations import Organizations, Visit
from pricore.web.http.access_log import counts_of
from pricore.web.http.request_head import encoding_of
from pricore.web.http.response_cache import CachedResponse, ResponseCache
from pricore.web.http.responses import FinishedResponse, document_response, large_response

_SMALL: Final = 64 * 1024
"""Bytes of a document up to which finishing it takes less than handing it to a thread."""

_PIECE: Final = 256 * 1024
_VIEW_SPAN: Final = 2**30


class Metadata:
    """The documents of all organizations."""

    def __init__(self, store: Store, organizations: Organizations, cache: ResponseCache) -> None:
        self._store = store
        self._organizations = organizations
        self._cache = cache.documents
        self._large = asyncio.Lock()

    async def get_package(self, request: web.Request) -> web.StreamResponse:
        """One half of a package's metadata; the half without versions is there too, and empty."""
        match = request.match_info
        name = f"{match['vendor']}/{match['package']}"
        package, half = name.removesuffix("~dev").lower(), "dev" if name.endswith("~dev") else "stable"
        visit = await self._organizations.admit(request, package=package)
        encoding = encoding_of(request)
        key = (request.rel_url.raw_path, encoding, self._organizations.origin(request), None)
        cached = self._cache.find(key, visit.revision)
        if cached is not None:
            return cached.response.respond(request)

        def finish(document: Document) -> CachedResponse:
            response = _finish(document, self._organizations.url(request), encoding)
            return CachedResponse(response, visit.access, counts_of(request), visit.revision)

        document = await self._document(visit, package, half)
        size = zstandard.frame_content_size(document.body)
        if 0 <= size < _SMALL:
            cached = finish(document)
        elif 0 <= size < metadata.LARGE:
            # they take milliseconds, which the others would wait
            cached = await DOCUMENTS.run(finish, document)
        else:
            # the largest take seconds, and many times their size: all who ask for one wait for who makes it
            del document
            async with self._large:
                cached = self._cache.find(key, visit.revision)
                if cached is None:
                    cached = await DOCUMENTS.run(finish, await self._document(visit, package, half))
                    self._cache.keep(key, cached)
            return cached.response.respond(request)
        self._cache.keep(key, cached)
        return cached.response.respond(request)

    async def _document(self, visit: Visit, package: str, half: str) -> Document:
        document = await self._store.documents.find(visit.slug, package, half)
        if document is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        return document

    async def get_root(self, request: web.Request) -> web.StreamResponse:
        """packages.json: what there is for this token, and where the rest is asked for."""
        visit = await self._organizations.admit(request)
        if request.headers.get(hdrs.USER_AGENT, "").startswith("Composer/1."):
            raise UnsupportedClientError(
                "this registry needs Composer 2, and this is Composer 1: upgrade with `composer self-update --2`"
            )
        encoding = encoding_of(request)
        key = (request.rel_url.raw_path, encoding, self._organizations.origin(request), visit.token.packages)
        cached = self._cache.find(key, visit.revision)
        if cached is None:
            response = await self._load_root(visit, encoding, self._organizations.url(request))
            cached = CachedResponse(response, visit.access, counts_of(request), visit.revision)
            self._cache.keep(key, cached)
        return cached.response.respond(request)

    async def _load_root(self, visit: Visit, encoding: str, url: str) -> FinishedResponse:
        only = visit.token.packages
        found = await self._store.organizations.root(visit.slug, only)
        if found is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        organization_id, last_modified, inline = found
        packages = await self._store.packages.of_organization(organization_id)
        names = {item.name for item in packages if access_tokens.may_see(visit.token, item.name)}
        carried = await self._store.documents.inline(organization_id, only) if inline else {}
        last_modified -= _view_offset(only)
        return await DOCUMENTS.run(
            lambda: document_response(
                metadata.build_root(url, packages=names, inline=carried), last_modified, encoding
            )
        )


def _finish(document: Document, url: str, encoding: str) -> FinishedResponse:
    """The response that a document makes for an organization at `url`."""
    if not 0 <= zstandard.frame_content_size(document.body) < metadata.LARGE:
        with zstandard.ZstdDecompressor().stream_reader(document.body) as plain:
            pieces = iter(lambda: plain.read(_PIECE), b"")
            return large_response(metadata.with_base(pieces, url), document.last_modified, encoding)
    whole = zstandard.ZstdDecompressor().decompress(document.body)
    return document_response(b"".join(metadata.with_base([whole], url)), document.last_modified, encoding)


def _view_offset(only: frozenset[str] | None) -> int:
    """Seconds by which a restricted view's dates lie back: whoever changes tokens gets the new view, not 304.

    Two views of one organization would have one date; with an offset out of what they show they don't.
    """
    if only is None:
        return 0
    digest = hashlib.sha256("\0".join(sorted(only)).encode()).digest()
    return 1 + int.from_bytes(digest[:4]) % _VIEW_SPAN
