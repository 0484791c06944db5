"""What those ask who look after the server: whether it is there, whether it is ready, and what it has counted."""

import asyncio
import logging
import re
from ipaddress import ip_address
from typing import Final

import msgspec
from aiohttp import hdrs, web

from pricore.errors import ForbiddenError, NotReadyError
from pricore.store import Store
from pricore.system.clock import now
from pricore.system.metrics import Metrics, State
from pricore.web.http.admission import Access, Admission
from pricore.web.http.client_address import ClientAddresses

_log = logging.getLogger("pricore.probes")

READY_SECONDS: Final = 2.0
"""What the database may take to answer."""

_FORWARDED: Final = (
    hdrs.FORWARDED,
    hdrs.VIA,
    "X-Real-IP",
    *(f"X-Forwarded-{name}" for name in ("For", "Host", "Proto")),
)
_PORT: Final = re.compile(r":[0-9]*$")


class Health:
    """Three addresses beside those of packages."""

    def __init__(
        self, store: Store, admission: Admission, metrics: Metrics, *, clients: ClientAddresses, public_url: str
    ) -> None:
        self._store = store
        self._admission = admission
        self._metrics = metrics
        self._clients = clients
        self._public_url = public_url

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/healthz", self._get_health),
            web.get("/readyz", self._get_readiness),
            web.get("/metrics", self._get_metrics),
        ]

    async def _get_health(self, _: web.Request) -> web.Response:
        """The process answers; nothing else is asked."""
        return _status("ok")

    async def _get_readiness(self, _: web.Request) -> web.Response:
        """The database answers. A server that is being stopped takes no connections."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._store.check()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is not ready
            _log.warning("not ready: the database does not answer: %s", error or type(error).__name__)
            raise NotReadyError("the database does not answer; the log says more") from None
        return _status("ready")

    async def _get_metrics(self, request: web.Request) -> web.Response:
        """Everything that is counted, for this machine and for instance tokens."""
        if not self._is_local(request):
            token = await self._admission.admit(request, Access(organization=None, scope=None))
            if not token.instance:
                raise ForbiddenError("metrics are of all organizations: they need an instance token")
        from pricore.web.metrics import CONTENT_TYPE, render  # only who is asked for them pays for it

        queued, oldest = await self._store.jobs.waiting()
        database, wal = await self._store.sizes()
        state = State(
            queued=queued,
            oldest=0 if oldest is None else max(0, now() - oldest),
            repositories=await self._store.repositories.count_by_status(),
            database=database,
            wal=wal,
        )
        body = await asyncio.to_thread(render, self._metrics, state)
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: CONTENT_TYPE, hdrs.CACHE_CONTROL: "no-store"})

    def _is_local(self, request: web.Request) -> bool:
        """Whether a request comes from this machine, and for nobody else.

        A proxy on this machine comes from there too. Where it doesn't say so in a header, it is known by the
        settings: it is trusted, or clients come by another address than this server's. Or by the host asked for.
        """
        return (
            _is_loopback(request.remote or "")
            and _is_loopback(_PORT.sub("", request.host))
            and not self._public_url
            and not self._clients.is_proxied(request)
            and not any(header in request.headers for header in _FORWARDED)
        )


def _is_loopback(host: str) -> bool:
    try:
        return host.lower() == "localhost" or ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False


def _status(status: str) -> web.Response:
    return web.Response(
        body=msgspec.json.encode({"status": status}),
        content_type="application/json",
        headers={hdrs.CACHE_CONTROL: "no-store"},
    )
