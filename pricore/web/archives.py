"""Downloads of archives: whole or in part, from memory, a disk or a bucket, or by a redirect to that."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator
from typing import Final

import zstandard
from aiohttp import hdrs, web

from pricore.archives.compression import Encoding, read_plain
from pricore.archives.storage import Opened
from pricore.auth import access_tokens
from pricore.composer import metadata
from pricore.errors import NotFoundError, StorageError
from pricore.models import Dist
from pricore.rights.visibility import WHOLE
from pricore.services.opening import Services
from pricore.web.http.access_log import counts_of
from pricore.web.http.admission import Access, Admission, show_allowance
from pricore.web.http.request_head import encoding_of
from pricore.web.http.response_cache import CachedResponse, Download, ResponseCache
from pricore.web.http.responses import SERVER_NAME, FinishedResponse

_log = logging.getLogger("pricore.registry")

_SMALL_ARCHIVE: Final = 1024 * 1024
"""Bytes of an archive up to which it is kept in memory; where there are more, the kernel sends its file."""

_ITSELF: Final = b""
"""What is shown of an archive: whoever may have it gets the same."""

_VARY: Final = "Authorization, Accept-Encoding"
_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Archives:
    """The archives of all organizations."""

    def __init__(self, services: Services, admission: Admission, cache: ResponseCache) -> None:
        self._admission = admission
        self._cache = cache.archives
        self._store = services.store
        self._dists = services.dists
        self._finder = services.dist_finder
        self._sources = services.sources
        self._redirect = services.config.dist_redirect

    def routes(self) -> list[web.RouteDef]:
        """The one route, below /org/{organization}."""
        path = "/org/{organization}/packages/{vendor}/{package}/{version:.+}.zip"
        return [web.get(path, self.get_archive)]

    async def get_archive(self, request: web.Request) -> web.StreamResponse:
        """An archive: of a version, or of a commit that was advertised at any time."""
        match = request.match_info
        slug, name = match["organization"], f"{match['vendor']}/{match['package']}".lower()
        access = Access(slug, "packages:read", name, downloads=True)
        token = await self._admission.admit(request, access, patient=True)
        revision = self._store.revision_of(slug)  # after it was held back
        encoding = encoding_of(request)
        key = (request.rel_url.raw_path, encoding, "", None)
        version, _ = metadata.split_address(match["version"])
        probes = token.name.startswith(access_tokens.PROBE)

        def sent() -> None:
            if request.method == hdrs.METH_GET and not probes:
                self._store.usage.downloaded(slug, name, version)

        rights = access_tokens.rights_of(token, slug)
        # in this form it may have been sent to who sees more
        is_shown = rights.whole or request.rel_url.raw_path in token.seen
        cached = self._cache.find(key, revision) if is_shown else None
        if cached is not None and cached.download is not None and hdrs.IF_NONE_MATCH not in request.headers:
            sent()
            if not probes:
                self._store.usage.dist_used(cached.download.shasum)
            return cached.response.respond(request)
        dist = await self._finder.find(slug, name, match["version"], view=rights.view(name) or WHOLE)
        if dist is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        if not rights.whole:
            token.show(request.rel_url.raw_path, _ITSELF)
        delivery = Delivery(request, dist, encoding)
        if delivery.is_known():
            return delivery.unchanged()
        if not probes:
            self._store.usage.dist_used(dist.shasum)
        kept: Encoding = "gzip" if encoding == "gzip" else "zstd"
        with await self._dists.lend(dist, self._sources.of(dist), kept, who=(slug, token.id)) as archive:
            if delivery.from_beginning():
                sent()
            if encoding == "identity":
                whole = await delivery.send_plain(read_plain(await archive.fetch(self._dists.folder.path)))
            elif self._redirect and archive.kept and archive.path is None and request.method == hdrs.METH_GET:
                return delivery.redirect(await self._dists.sign(dist, kept))
            elif archive.size <= _SMALL_ARCHIVE:
                response = FinishedResponse(await archive.read(), delivery.response.headers)
                if not self._dists.will_shrink(dist):
                    download = Download(slug, name, version, dist.shasum)
                    self._cache.keep(key, CachedResponse(response, access, counts_of(request), revision, download))
                return response.respond(request)
            else:
                whole = await delivery.send_kept(archive)
        if not whole:
            _log.error("%s: the kept archive is damaged; the next request checks it", request.rel_url.raw_path)
            self._dists.doubt(dist)
        return delivery.response


class Delivery:
    """The response to one request for an archive, in the encoding chosen for it.

    An ETag is the archive's checksum: it names the same content in each encoding, but the same bytes only where
    nothing is encoded. A part can be asked for only there.
    """

    def __init__(self, request: web.Request, dist: Dist, encoding: str) -> None:
        self._request = request
        self._size = dist.size
        self._tag = f'"{dist.shasum}"'
        self._part = self._find_part() if encoding == "identity" else None
        tag = self._tag if encoding == "identity" else f"W/{self._tag}"
        self.response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "application/zip",
                hdrs.CACHE_CONTROL: "private, max-age=31536000, immutable" if dist.fixed else "private, no-cache",
                hdrs.VARY: _VARY,
                hdrs.ETAG: tag,
                hdrs.SERVER: SERVER_NAME,
            }
        )
        if encoding != "identity":
            self.response.headers[hdrs.CONTENT_ENCODING] = encoding

    def is_known(self) -> bool:
        """Whether the client says that it has this very archive."""
        known = self._request.headers.get(hdrs.IF_NONE_MATCH, "")
        return known.strip() == "*" or self._tag in known

    def from_beginning(self) -> bool:
        """Whether the client gets the archive's first bytes, and not only the rest of what it has begun."""
        return self._part is None or self._part[0] == 0

    def unchanged(self) -> web.StreamResponse:
        """304."""
        kept = (hdrs.CACHE_CONTROL, hdrs.VARY, hdrs.ETAG)
        return web.Response(status=304, headers={name: self.response.headers[name] for name in kept})

    def redirect(self, url: str) -> web.StreamResponse:
        """302 to where the client gets it by itself; that URL is a secret for some minutes."""
        headers = {hdrs.LOCATION: url, hdrs.CACHE_CONTROL: "private, no-store", hdrs.VARY: _VARY}
        return web.Response(status=302, headers=headers)

    async def send_kept(self, archive: Opened) -> bool:
        """Send a kept file as it is; whether it was whole."""
        pieces = archive.pieces()
        # before anything is said of it: what cannot be had at all is an error, and no broken connection
        reads = archive.file is None and self._request.method == hdrs.METH_GET
        first = await anext(pieces, b"") if reads else b""
        if not await self._begin(archive.size):
            return True
        if archive.file is not None:
            loop, transport = asyncio.get_running_loop(), self._request.transport
            try:
                if transport is not None:
                    sent = await loop.sendfile(transport, archive.file, 0, archive.size)
                    self._request.writer.output_size += sent  # what the kernel sends, aiohttp doesn't count
                    await self.response.write_eof()
                return True
            except NotImplementedError:  # uvloop has none
                pass
            except (ConnectionError, TimeoutError):
                return True  # a client that goes away in the middle, or takes nothing, is no failure of ours
        return await self._write(_after(first, pieces), archive.size)

    async def send_plain(self, pieces: Iterator[bytes]) -> bool:
        """Send an archive unpacked, or the part of it that was asked for; whether it was whole.

        Raises HTTPRequestRangeNotSatisfiable where it ends before that part.
        """
        headers = self.response.headers
        headers[hdrs.ACCEPT_RANGES] = "bytes"
        start, stop = 0, self._size
        if self._part is not None:
            start, stop = self._part
            if start >= stop:
                raise web.HTTPRequestRangeNotSatisfiable(headers={hdrs.CONTENT_RANGE: f"bytes */{self._size}"})
            headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{stop - 1}/{self._size}"
            self.response.set_status(206)
        if not await self._begin(stop - start):
            return True
        whole = stop - start == self._size
        return await self._write(_all(pieces) if whole else _cut(pieces, start, stop), stop - start)

    def _find_part(self) -> tuple[int, int] | None:
        """The part that was asked for, from and up to; empty where there is no such one, None for the whole.

        What is no range, or several of them, counts as nothing; so does one of another archive.
        """
        match = _RANGE.fullmatch(self._request.headers.get(hdrs.RANGE, "").strip())
        if match is None or match[0] == "bytes=-":
            return None
        if self._request.headers.get(hdrs.IF_RANGE, self._tag) != self._tag:
            return None
        if not match[1]:
            return max(self._size - int(match[2]), 0), self._size
        start, stop = int(match[1]), int(match[2]) + 1 if match[2] else self._size
        return None if stop <= start and match[2] else (start, min(stop, self._size))

    async def _begin(self, size: int) -> bool:
        """Send the head; whether a body has to follow."""
        self.response.content_length = size
        show_allowance(self._request, self.response.headers)
        try:
            await self.response.prepare(self._request)
        except ConnectionError:
            return False
        if self._request.method == hdrs.METH_HEAD:
            await self.response.write_eof()
            return False
        return True

    async def _write(self, pieces: AsyncIterator[bytes], size: int) -> bool:
        """Send a body; one that doesn't have its size breaks the connection, so that nobody takes it."""
        sent = 0
        try:
            async for piece in pieces:
                sent += len(piece)
                await self.response.write(piece)
        except ConnectionError:
            return True
        except (OSError, zstandard.ZstdError, StorageError):
            sent = -1
        if sent == size:
            await self.response.write_eof()
            return True
        if self._request.transport is not None:
            self._request.transport.abort()
        return False


async def _after(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in pieces:
        yield piece


async def _all(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece


async def _cut(pieces: Iterator[bytes], start: int, stop: int) -> AsyncIterator[bytes]:
    """The bytes from one position up to another."""
    position = 0
    async for piece in _all(pieces):
        if part := piece[max(start - position, 0) : stop - position]:
            yield part
        position += len(piece)
        if position >= stop:
            return
