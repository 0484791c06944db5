"""The REST API: a table of typed routes a subject, and the one place that serves them."""

from collections.abc import Iterable
from functools import cached_property
from typing import Final

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from pricore.auth.rate_limits import Limits
from pricore.services.opening import Services
from pricore.sync.queue import Queue
from pricore.system.threads import DOCUMENTS
from pricore.web.api.docs import POLICY, build_page
from pricore.web.api.locks import LocksApi
from pricore.web.api.openapi import Document, build_document
from pricore.web.api.organizations import OrganizationsApi
from pricore.web.api.packages import PackagesApi
from pricore.web.api.repositories import RepositoriesApi
from pricore.web.api.routing import Operation, Route, serve
from pricore.web.api.streams import Streams
from pricore.web.api.tokens import TokensApi
from pricore.web.http.admission import Admission


class Api:
    """All routes below /api, and what documents them together with the `others`."""

    def __init__(
        self,
        services: Services,
        queue: Queue,
        admission: Admission,
        limits: Limits,
        *,
        streams: Streams,
        others: Iterable[Operation] = (),
    ) -> None:
        self._admission = admission
        self._streams = streams
        self._public_url = services.config.public_url
        self.table: list[Route] = [
            *OrganizationsApi(services).routes(),
            *PackagesApi(services).routes(),
            *LocksApi(services, admission).routes(),
            *RepositoriesApi(services, queue).routes(),
            *TokensApi(services, limits).routes(),
        ]

        self._others = tuple(others)

    def routes(self) -> list[web.RouteDef]:
        """The table as aiohttp takes it, and the documentation, which is for everybody."""
        return [
            *(web.RouteDef(route.method, route.path, self._serve(route), {}) for route in self.table),
            web.get("/api/openapi.json", self._get_document),
            web.get("/api/docs", self._get_page),
        ]

    def _serve(self, route: Route) -> Handler:
        return serve(route, self._admission, self._streams, public_url=self._public_url)

    async def _get_document(self, _: web.Request) -> web.Response:
        document = (await DOCUMENTS.run(lambda: self._finished))[0]
        return web.Response(body=document, content_type="application/json", headers=_PUBLIC)

    async def _get_page(self, _: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": POLICY, **_PUBLIC}
        page = (await DOCUMENTS.run(lambda: self._finished))[1]
        return web.Response(body=page, content_type="text/html", charset="utf-8", headers=headers)

    @cached_property
    def _finished(self) -> tuple[bytes, bytes]:
        """The document and its page: made once, as everybody may ask for them."""
        return msgspec.json.encode(self._document), build_page(self._document).encode()

    @cached_property
    def _document(self) -> Document:
        return build_document(
            [*(route.describe() for route in self.table), *self._others], url=self._public_url or None
        )


_PUBLIC: Final = {hdrs.CACHE_CONTROL: "public, max-age=300", "X-Content-Type-Options": "nosniff"}
