"""The REST API: a table of typed routes a subject, and the one place that serves them."""

from aiohttp import web

from pricore.api import organizations, packages, repositories, tokens
from pricore.api.routing import Route, serve
from pricore.auth import Authenticator
from pricore.config import Config
from pricore.jobs import Queue
from pricore.store import Store
from pricore.sync import Syncer


class Api:
    """All routes below /api."""

    def __init__(
        self, store: Store, queue: Queue, syncer: Syncer, authenticator: Authenticator, config: Config
    ) -> None:
        self._authenticator = authenticator
        self.table: list[Route] = [
            *organizations.routes(store),
            *packages.routes(store),
            *repositories.routes(store, queue, syncer, config),
            *tokens.routes(store),
        ]

    def routes(self) -> list[web.RouteDef]:
        """The table as aiohttp takes it."""
        return [
            web.RouteDef(route.method, route.path, serve(route, self._authenticator), {}) for route in self.table
        ]
