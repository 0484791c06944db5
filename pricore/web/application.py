"""Every route of the server, served by the settings in force."""

import asyncio
import re

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from pricore.auth.access_tokens import Authenticator
from pricore.auth.rate_limits import Limits
from pricore.config import Config
from pricore.services.opening import Services
from pricore.sync.queue import Queue
from pricore.system.metrics import Metrics
from pricore.web import composer
from pricore.web.api import Api
from pricore.web.api.streams import Streams
from pricore.web.archives import Archives
from pricore.web.health import Health
from pricore.web.http.access_log import AccessLog
from pricore.web.http.admission import Admission, show_allowance
from pricore.web.http.client_address import ClientAddresses
from pricore.web.http.error_responses import reject_unknown, translate_error
from pricore.web.http.request_head import RequestHead
from pricore.web.http.response_cache import ResponseCache
from pricore.web.http.responses import SERVER_NAME
from pricore.web.pages.welcome import Welcome
from pricore.web.webhooks import Webhooks


class Application:
    """All that answers requests. Its `routes` last; what is behind them is made anew for other settings."""

    def __init__(self, services: Services, queue: Queue, streams: Streams, metrics: Metrics) -> None:
        self._services = services
        self._queue = queue
        self._streams = streams
        self._metrics = metrics
        self._authenticator = Authenticator(services.store, restricted_sources=services.config.restricted_sources)
        config = services.config
        self.access_log = AccessLog(metrics, ClientAddresses(config.trusted_proxies))
        routes = self._build(config)
        self._handlers = [route.handler for route in routes]
        *served, rest = [
            web.RouteDef(route.method, route.path, self._wrap(number, route), route.kwargs)
            for number, route in enumerate(routes)
        ]
        # below a path, a proxy may take that away or leave it there
        below = [web.RouteDef(route.method, config.base_path + route.path, route.handler, {}) for route in served]
        self.routes = [*served, *(below if config.base_path else ()), rest]

    def _build(self, config: Config) -> list[web.RouteDef]:
        """All routes, with handlers for these settings; what they are is the same for all settings."""
        services, store = self._services, self._services.store
        clients = self.access_log.clients = ClientAddresses(config.trusted_proxies)
        limits = Limits(config)
        admission = Admission(self._authenticator, limits, clients)
        cache = self._cache = ResponseCache(store, admission, clients, public_url=config.public_url)
        webhooks = Webhooks(store, self._queue, admission, services.sealer)
        self.api = Api(
            services, self._queue, admission, limits, streams=self._streams, others=[webhooks.describe()]
        )
        health = Health(store, admission, self._metrics, clients=clients, public_url=config.public_url)
        return [
            *composer.routes(services, admission, clients, cache),
            *Archives(services, admission, cache).routes(),
            *self.api.routes(),
            *webhooks.routes(),
            *health.routes(),
            *Welcome(clients, public_url=config.public_url).routes(),
            # (?s): a line break in an address too, which aiohttp would answer with text of its own
            web.route(hdrs.METH_ANY, "/{path:(?s:.*)}", reject_unknown),
        ]

    def use(self, config: Config) -> None:
        """Follow other settings in all requests that begin from now on."""
        self._handlers[:] = [route.handler for route in self._build(config)]

    def respond_at_once(self, path: str, head: RequestHead, transport: asyncio.Transport) -> bool:
        """Respond out of the cache, without any of the rest; whether that was possible."""
        return self._cache.respond(path, head, transport)

    def _wrap(self, number: int, route: web.RouteDef) -> Handler:
        """What every request goes through: it is counted, and its errors become HTTP in this one place.

        Around each handler, and not a middleware: aiohttp's way there costs a request a twentieth of its time.
        """
        handlers, access_log = self._handlers, self.access_log
        path = "other" if number == len(handlers) - 1 else re.sub(r":[^{}]*\}", "}", route.path)
        counts = self._metrics.route(route.method, path)

        async def handle(request: web.Request) -> web.StreamResponse:
            access_log.begin(request, counts)
            try:
                response = await handlers[number](request)
            except Exception as error:  # noqa: BLE001  # whatever it was, the client is told, and the log gets the rest
                response = translate_error(request, error, access_log)
            # here, and not by aiohttp's signal, which costs as much as all the rest of the limits
            if not response.prepared:
                show_allowance(request, response.headers)
                response.headers.setdefault(hdrs.SERVER, SERVER_NAME)
            return response

        return handle
