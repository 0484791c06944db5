"""What there is: lists of names, search, and who provides a name."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from aiohttp import hdrs, web

from pricore.errors import BadRequestError, NotFoundError
from pricore.models import Package
from pricore.services import visible
from pricore.store import Store
from pricore.system.threads import DOCUMENTS
from pricore.web.composer.organizations import JSON, Organizations, Visit, json_response
from pricore.web.http.access_log import counts_of
from pricore.web.http.response_cache import CachedResponse, ResponseCache
from pricore.web.http.responses import SERVER_NAME, FinishedResponse

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")
_MOST_A_PAGE: Final = 100
_MOST_WORDS: Final = 20


class Search:
    """The packages of an organization, found by their names, types and words."""

    def __init__(self, store: Store, organizations: Organizations, cache: ResponseCache) -> None:
        self._store = store
        self._organizations = organizations
        self._cache = cache.documents

    async def get_list(self, request: web.Request) -> web.Response:
        """Names of packages, by `filter` (with * for anything), by `vendor` or by `type`."""
        visit = await self._organizations.admit(request)
        if kind := request.query.get("type", ""):
            names = [item.name for item in await self._organizations.packages(visit) if item.type == kind]
        else:
            names = [*await self._organizations.names(visit)]
        if vendor := request.query.get("vendor"):
            names = [name for name in names if name.startswith(vendor.lower() + "/")]
        if pattern := request.query.get("filter"):
            names = [name for name in names if _matches(name, pattern.lower())]
        return json_response({"packageNames": names})

    async def search(self, request: web.Request) -> web.Response:
        """Packages whose name or description has every word of `q`, and which are of `type` if one is given.

        All of them, as Composer asks; with `per_page` (15) or `page` that page, and as `next` the URL of the next.
        """
        visit = await self._organizations.admit(request)
        words = request.query.get("q", "").lower().split()[:_MOST_WORDS]
        kind = request.query.get("type", "")
        found = [
            package
            for package in await self._organizations.packages(visit)
            if kind in ("", package.type) and _has(package, words)
        ]
        url = self._organizations.url(request)
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
        content: dict[str, object] = {"results": results, "total": total}
        if end < total:
            content["next"] = f"{url}/search.json?{request.rel_url.update_query(page=page + 1).raw_query_string}"
        return json_response(content)

    async def get_providers(self, request: web.Request) -> web.StreamResponse:
        """The packages that provide a name, virtual or real; 404 where there are none."""
        visit = await self._organizations.admit(request)
        # whoever asks again and again costs the others nothing: thousands of packages may provide a name
        key = (request.rel_url.raw_path, "", "", visit.rights.key)
        cached = self._cache.find(key, visit.revision)
        if cached is None:
            match = request.match_info
            response = await self._load_providers(visit, f"{match['vendor']}/{match['package']}")
            cached = CachedResponse(response, visit.access, counts_of(request), visit.revision)
            self._cache.keep(key, cached)
        return cached.response.respond(request)

    async def _load_providers(self, visit: Visit, name: str) -> FinishedResponse:
        organization = await self._organizations.find(visit)
        found = await visible.providers(self._store, organization, name, visit.rights)

        def finish() -> FinishedResponse | None:
            providers = [
                {"name": package.name, "description": package.description, "type": package.type}
                for package in found
            ]
            content = msgspec.json.encode({"providers": providers})
            return FinishedResponse(content, {**JSON, hdrs.SERVER: SERVER_NAME}) if providers else None

        response = await DOCUMENTS.for_all(len(found), finish)
        if response is None:
            raise NotFoundError("no package provides that")
        return response


def _read_page(query: Mapping[str, str]) -> tuple[int, int | None]:
    """The page that is asked for, from 1 on, and how many are on one; None for all of them on one."""
    if "page" not in query and "per_page" not in query:
        return 1, None
    page, per_page = query.get("page", "1"), query.get("per_page", "15")
    if not _NUMBER.fullmatch(page) or not _NUMBER.fullmatch(per_page) or int(per_page) > _MOST_A_PAGE:
        raise BadRequestError(f"page has to be a number from 1 on, and per_page one up to {_MOST_A_PAGE}")
    return int(page), int(per_page)


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
