"""What a browser shows at the addresses that are for Composer: what this is, and what to do with it."""

from html import escape
from typing import Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import hdrs, web

from pricore.services.slugs import SLUG
from pricore.web.http.client_address import ClientAddresses

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 45rem; padding: 2rem 1rem; }
h1 { line-height: 1.2; }
pre { background: #8881; font: 14px/1.45 ui-monospace, monospace; overflow-x: auto; padding: .75rem; }
"""


class Welcome:
    """The pages at / and /org/{organization}; the second says nothing of whether there is such an organization."""

    def __init__(self, clients: ClientAddresses, *, public_url: str) -> None:
        self._clients = clients
        self._public_url = public_url

    def routes(self) -> list[web.RouteDef]:
        """Both addresses, the second with and without a slash at its end."""
        organization = f"/org/{{organization:{SLUG}}}"
        return [
            web.get("/", self._get_root),
            web.get(organization, self._get_organization),
            web.get(organization + "/", self._get_organization),
        ]

    async def _get_root(self, request: web.Request) -> web.Response:
        if _wants_page(request):
            return self._page(request, "my-organization")
        base = self._base(request)
        document = {"name": "Pricore", "documentation": f"{base}/api/docs", "openapi": f"{base}/api/openapi.json"}
        return web.Response(body=msgspec.json.encode(document), content_type="application/json", headers=_HEADERS)

    async def _get_organization(self, request: web.Request) -> web.Response:
        if not _wants_page(request):
            raise web.HTTPNotFound
        return self._page(request, request.match_info["organization"])

    def _page(self, request: web.Request, slug: str) -> web.Response:
        base = self._base(request)
        scheme, host, *_ = urlsplit(base)
        lines = [
            f"composer config repositories.{slug} composer {base}/org/{slug}",
            *(["composer config secure-http false"] if scheme == "http" else []),
            f"composer config http-basic.{host} token YOUR-TOKEN",
            "composer require vendor/package",
        ]
        text = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Pricore</title>'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
            "<body><h1>A private Composer registry</h1>"
            "<p>PHP projects install packages from here. There is nothing to browse: Composer asks, with an "
            "access token, which the operator of this registry hands out. In the folder of a project:</p>"
            f"<pre>{escape(chr(10).join(lines))}</pre>"
            f'<p>Scripts use <a href="{escape(base)}/api/docs">the REST API</a>.</p></body></html>'
        )
        return web.Response(
            text=text, content_type="text/html", headers={"Content-Security-Policy": _POLICY, **_HEADERS}
        )

    def _base(self, request: web.Request) -> str:
        return self._public_url or self._clients.origin(request)


_HEADERS: Final = {
    hdrs.CACHE_CONTROL: "no-store",
    hdrs.VARY: "Accept",
    "X-Content-Type-Options": "nosniff",
}


def _wants_page(request: web.Request) -> bool:
    """Whether a browser asks: Composer and scripts take anything, and never name HTML."""
    return "text/html" in request.headers.get(hdrs.ACCEPT, "").lower()
