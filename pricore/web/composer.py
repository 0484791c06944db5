"""What Composer asks for: packages.json, p2 documents, archives, and the small endpoints beside them.

A request is authentication and bytes. Answers are finished in the encodings that were asked for, and kept
(`response_cache`).
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

import msgspec
import zstandard
from aiohttp import hdrs, web

from pricore.archives.compression import Encoding, read_plain
from pricore.auth import access_tokens
from pricore.composer import metadata
from pricore.errors import BadRequestError, NotFoundError, UnsupportedClientError
from pricore.models import Document, Organization, Package, Token
from pricore.services.opening import Services
from pricore.system.threads import DOCUMENTS
from pricore.web.archives import Delivery
from pricore.web.http.access_log import counts_of
from pricore.web.http.admission import Access, Admission
from pricore.web.http.bodies import read_body
from pricore.web.http.client_address import ClientAddresses
from pricore.web.http.request_head import encoding_of
from pricore.web.http.response_cache import CachedResponse, Download, ResponseCache
from pricore.web.http.responses import (
    SERVER_NAME,
    FinishedResponse,
    document_response,
    large_response,
)

_log = logging.getLogger("pricore.registry")

_SMALL_ARCHIVE: Final = 1024 * 1024
"""Bytes of an archive up to which it is kept in memory; where there are more, the kernel sends its file."""

_SMALL: Final = 64 * 1024
"""Bytes of a document up to which finishing it takes less than handing it to a thread."""

_PIECE: Final = 256 * 1024

_HOST = re.compile(r"[A-Za-z0-9.\-_]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_MOST_A_PAGE: Final = 100
_MOST_WORDS: Final = 20
_MOST_NAMES: Final = 10_000
_AT_A_TIME: Final = 200
_PAUSE_SECONDS: Final = 0.001
_VIEW_SPAN: Final = 2**30


class Registry:
    """The Composer endpoints of all organizations."""

    def __init__(
        self,
        services: Services,
        admission: Admission,
        clients: ClientAddresses,
        cache: ResponseCache,
    ) -> None:
        self._admission = admission
        self._clients = clients
        self._store = services.store
        self._dists = services.dists
        self._pins = services.pins
        self._sources = services.sources
        self._cache = cache
        self._public_url = services.config.public_url
        self._redirect = services.config.dist_redirect
        self._large = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """Every route of Composer's, below /org/{organization}."""
        org = "/org/{organization}"
        return [
            web.get(org + "/p2/{vendor}/{package}.json", self.get_metadata),
            web.get(org + "/packages.json", self.get_root),
            web.get(org + "/packages/{vendor}/{package}/{version:.+}.zip", self.get_dist),
            web.get(org + "/list.json", self.get_list),
            web.get(org + "/search.json", self.search),
            web.get(org + "/providers/{vendor}/{package}.json", self.get_providers),
            web.get(org + "/security-advisories", self.get_advisories),
            web.post(org + "/security-advisories", self.get_advisories),
            web.post(org + "/downloads", self.notify_downloads),
        ]

    async def get_metadata(self, request: web.Request) -> web.StreamResponse:
        """One half of a package's metadata; the half without versions is there too, and empty."""
        match = request.match_info
        name = f"{match['vendor']}/{match['package']}"
        _, access, revision = await self._admit(request, package=name.removesuffix("~dev").lower())
        slug = match["organization"]
        encoding = encoding_of(request)
        key = (request.rel_url.raw_path, encoding, self._origin(request), None)
        cached = self._cache.documents.find(key, revision)
        if cached is not None:
            return cached.response.respond(request)

        def finish(document: Document) -> CachedResponse:
            response = _finish(document, self._url(request), encoding)
            return CachedResponse(response, access, counts_of(request), revision)

        document = await self._document(slug, name)
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
                cached = self._cache.documents.find(key, revision)
                if cached is None:
                    cached = await DOCUMENTS.run(finish, await self._document(slug, name))
                    self._cache.documents.keep(key, cached)
            return cached.response.respond(request)
        self._cache.documents.keep(key, cached)
        return cached.response.respond(request)

    async def _document(self, slug: str, name: str) -> Document:
        half = "dev" if name.endswith("~dev") else "stable"
        document = await self._store.packages.document(slug, name.removesuffix("~dev").lower(), half)
        if document is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        return document

    async def get_root(self, request: web.Request) -> web.StreamResponse:
        """packages.json: what there is for this token, and where the rest is asked for."""
        token, access, revision = await self._admit(request)
        slug = request.match_info["organization"]
        if request.headers.get(hdrs.USER_AGENT, "").startswith("Composer/1."):
            raise UnsupportedClientError(
                "this registry needs Composer 2, and this is Composer 1: upgrade with `composer self-update --2`"
            )
        encoding = encoding_of(request)
        key = (request.rel_url.raw_path, encoding, self._origin(request), token.packages)
        cached = self._cache.documents.find(key, revision)
        if cached is None:
            response = await self._load_root(token, slug, encoding, self._url(request))
            cached = CachedResponse(response, access, counts_of(request), revision)
            self._cache.documents.keep(key, cached)
        return cached.response.respond(request)

    async def _load_root(self, token: Token, slug: str, encoding: str, url: str) -> FinishedResponse:
        found = await self._store.organizations.root(slug, token.packages)
        if found is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        organization_id, last_modified, inline = found
        only = token.packages
        packages = await self._store.packages.of_organization(organization_id)
        names = {item.name for item in packages if access_tokens.may_see(token, item.name)}
        carried = await self._store.packages.inline(organization_id, only) if inline else {}
        last_modified -= _view_offset(only)
        return await DOCUMENTS.run(
            lambda: document_response(
                metadata.build_root(url, packages=names, inline=carried), last_modified, encoding
            )
        )

    async def get_dist(self, request: web.Request) -> web.StreamResponse:
        """An archive: of a version, or of a commit that was advertised at any time."""
        match = request.match_info
        slug = match["organization"]
        name = f"{match['vendor']}/{match['package']}".lower()
        access = Access(slug, "packages:read", name, downloads=True)
        token = await self._admission.admit(request, access, patient=True)
        revision = self._store.revision_of(slug)  # after it was held back
        encoding = encoding_of(request)
        key = (request.rel_url.raw_path, encoding, "", None)
        version, _ = metadata.split_address(match["version"])

        probes = token.name == access_tokens.PROBE

        def sent() -> None:
            if request.method == hdrs.METH_GET and not probes:
                self._store.usage.downloaded(slug, name, version)

        found = self._cache.archives.find(key, revision)
        if found is not None and found.download is not None and hdrs.IF_NONE_MATCH not in request.headers:
            sent()
            if not probes:
                self._store.usage.dist_used(found.download.shasum)
            return found.response.respond(request)
        dist = await self._pins.find(slug, name, match["version"])
        if dist is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        delivery = Delivery(request, dist, encoding)
        if delivery.is_known():
            return delivery.unchanged()
        if not probes:
            self._store.usage.dist_used(dist.shasum)
        kept: Encoding = "gzip" if encoding == "gzip" else "zstd"
        source, who = self._sources.of(dist), (slug, token.id)
        with await self._dists.lend(dist, source, kept, who=who) as archive:
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
                    self._cache.archives.keep(
                        key, CachedResponse(response, access, counts_of(request), revision, download)
                    )
                return response.respond(request)
            else:
                whole = await delivery.send_kept(archive)
        if not whole:
            _log.error("%s: the kept archive is damaged; the next request checks it", request.rel_url.raw_path)
            self._dists.doubt(dist)
        return delivery.response

    async def get_list(self, request: web.Request) -> web.Response:
        """Names of packages, by `filter` (with * for anything), by `vendor` or by `type`."""
        token, _, _ = await self._admit(request)
        slug = request.match_info["organization"]
        packages = await self._packages(token, await self._organization(slug))
        kind = request.query.get("type", "")
        names = [package.name for package in packages if kind in ("", package.type)]
        if vendor := request.query.get("vendor"):
            names = [name for name in names if name.startswith(vendor.lower() + "/")]
        if pattern := request.query.get("filter"):
            names = [name for name in names if _matches(name, pattern.lower())]
        return _json({"packageNames": names})

    async def search(self, request: web.Request) -> web.Response:
        """Packages whose name or description has every word of `q`, and which are of `type` if one is given.

        All of them, as Composer asks; with `per_page` (15) or `page` that page, and as `next` the URL of the next.
        """
        token, _, _ = await self._admit(request)
        slug = request.match_info["organization"]
        words = request.query.get("q", "").lower().split()[:_MOST_WORDS]
        kind = request.query.get("type", "")
        found = [
            package
            for package in await self._packages(token, await self._organization(slug))
            if kind in ("", package.type) and _has(package, words)
        ]
        url = self._url(request)
        page, per_page = _read_page(request.query)
        total, end = len(found), len(found) if per_page is None else page * per_page
        if per_page is not None:
            found = found[end - per_page : end]
        results = [
            {
                "name": package.name,
                "description": package.description,
                "url": f"{url}/p2/{package.name}.json",
                **({"abandoned": package.successor} if package.successor else {}),
            }
            for package in found
        ]
        answer: dict[str, object] = {"results": results, "total": total}
        if end < total:
            answer["next"] = f"{url}/search.json?{request.rel_url.update_query(page=page + 1).raw_query_string}"
        return _json(answer)

    async def get_providers(self, request: web.Request) -> web.StreamResponse:
        """The packages that provide a name, virtual or real; 404 where there are none."""
        token, access, revision = await self._admit(request)
        slug = request.match_info["organization"]
        # whoever asks again and again costs the others nothing: thousands of packages may provide a name
        key = (request.rel_url.raw_path, "", "", token.packages)
        cached = self._cache.documents.find(key, revision)
        if cached is None:
            match = request.match_info
            response = await self._load_providers(token, slug, f"{match['vendor']}/{match['package']}")
            cached = CachedResponse(response, access, counts_of(request), revision)
            self._cache.documents.keep(key, cached)
        return cached.response.respond(request)

    async def _load_providers(self, token: Token, slug: str, name: str) -> FinishedResponse:
        found = await self._store.packages.providers((await self._organization(slug)).id, name)

        def finish() -> FinishedResponse | None:
            providers = [
                {"name": package.name, "description": package.description, "type": package.type}
                for package in found
                if access_tokens.may_see(token, package.name)
            ]
            content = msgspec.json.encode({"providers": providers})
            return FinishedResponse(content, {**_JSON, hdrs.SERVER: SERVER_NAME}) if providers else None

        answer = await DOCUMENTS.for_all(len(found), finish)
        if answer is None:
            raise NotFoundError("no package provides that")
        return answer

    async def get_advisories(self, request: web.Request) -> web.Response:
        """Known advisories for the packages asked for: nobody has told this registry of any."""
        token, _, _ = await self._admit(request)
        slug = request.match_info["organization"]
        pairs = list(request.query.items())
        if request.method == hdrs.METH_POST:
            body = await read_body(request)
            try:
                pairs += parse_qsl(body.decode(errors="replace"), max_num_fields=_MOST_NAMES)
            except ValueError:
                raise BadRequestError(f"more than {_MOST_NAMES} packages at a time") from None
        asked = {value.lower() for key, value in pairs if key.startswith("packages[")}
        packages = await self._packages(token, await self._organization(slug))
        names = sorted(asked.intersection(package.name for package in packages))
        return _json({"advisories": {name: [] for name in names}})

    async def notify_downloads(self, request: web.Request) -> web.Response:
        """Count installs that a client reports; what cannot be understood is passed over."""
        token, _, _ = await self._admit(request)
        slug = request.match_info["organization"]
        organization = await self._organization(slug)
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
            if access_tokens.may_see(token, name):
                self._store.usage.installed(organization.id, name, item.version)
        return web.Response(status=204)

    async def _admit(self, request: web.Request, *, package: str | None = None) -> tuple[Token, Access, int]:
        """The caller's token, what that is good for, and the revision of the organization.

        Over the limit it is held back: one refusal ends the whole run of the client.
        """
        access = Access(request.match_info["organization"], "packages:read", package)
        token = await self._admission.admit(request, access, patient=True)
        # after it was held back: a response must not be older than the request
        return token, access, self._store.revision_of(access.organization)

    async def _organization(self, slug: str) -> Organization:
        organization = await self._store.organizations.find(slug)
        if organization is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        return organization

    async def _packages(self, token: Token, organization: Organization) -> list[Package]:
        """The packages of an organization that a token may see, by name."""
        packages = await self._store.packages.of_organization(organization.id)
        return [item for item in packages if access_tokens.may_see(token, item.name)]

    def _origin(self, request: web.Request) -> str:
        """What URLs in documents begin with: as configured, else as the client has come."""
        return self._public_url or self._clients.origin(request)

    def _url(self, request: web.Request) -> str:
        """Where this organization is for the client: as configured, else as it has come."""
        base = self._public_url
        if not base:
            base = self._clients.origin(request)
            # it goes into documents as it is
            if not _HOST.fullmatch(base.partition("://")[2]):
                raise BadRequestError("the Host header is malformed")
        return f"{base}/org/{request.match_info['organization']}"


def _finish(document: Document, url: str, encoding: str) -> FinishedResponse:
    """The answer that a document makes for an organization at `url`."""
    if not 0 <= zstandard.frame_content_size(document.body) < metadata.LARGE:
        with zstandard.ZstdDecompressor().stream_reader(document.body) as plain:
            pieces = iter(lambda: plain.read(_PIECE), b"")
            return large_response(metadata.with_base(pieces, url), document.last_modified, encoding)
    whole = zstandard.ZstdDecompressor().decompress(document.body)
    return document_response(b"".join(metadata.with_base([whole], url)), document.last_modified, encoding)


class _Download(msgspec.Struct, gc=False):
    name: str
    version: str


class _Downloads(msgspec.Struct, gc=False):
    downloads: list[_Download]


def _read_page(query: Mapping[str, str]) -> tuple[int, int | None]:
    """The page that is asked for, from 1 on, and how many are on one; None for all of them on one."""
    if "page" not in query and "per_page" not in query:
        return 1, None
    page, per_page = query.get("page", "1"), query.get("per_page", "15")
    if not _NUMBER.fullmatch(page) or not _NUMBER.fullmatch(per_page) or int(per_page) > _MOST_A_PAGE:
        raise BadRequestError(f"page has to be a number from 1 on, and per_page one up to {_MOST_A_PAGE}")
    return int(page), int(per_page)


_JSON: Final[Mapping[str, str]] = {
    hdrs.CONTENT_TYPE: "application/json",
    hdrs.CACHE_CONTROL: "private, no-cache",
    hdrs.VARY: "Authorization",
}


def _json(content: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), headers=_JSON)


def _view_offset(only: frozenset[str] | None) -> int:
    """Seconds by which a restricted view's dates lie back: whoever changes tokens gets the new view, not 304.

    Two views of one organization would have one date; with an offset out of what they show they don't.
    """
    if only is None:
        return 0
    digest = hashlib.sha256("\0".join(sorted(only)).encode()).digest()
    return 1 + int.from_bytes(digest[:4]) % _VIEW_SPAN


def _has(package: Package, words: Sequence[str]) -> bool:
    text = f"{package.name} {package.description}".lower()
    return all(word in text for word in words)


def _matches(name: str, pattern: str) -> bool:
    """Whether a name is of a pattern in which * stands for anything, in linear time."""
    first, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    *middle, last = rest
    if not name.startswith(first) or not name.endswith(last) or len(name) < len(first) + len(last):
        return False
    start, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, start, end)
        if found < 0:
            return False
        start = found + len(part)
    return True
