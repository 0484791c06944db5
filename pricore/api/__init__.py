"""The REST API: a table of typed routes a subject, and the one place that serves them."""

from aiohttp import web

from pricore.api import organizations, packages, repositories, tokens
from pricore.api.routing import Route, serve
from pricore.config import Config
from pricore.dists import Dists
from pricore.gate import Gate
from pricore.jobs import Queue
from pricore.limits import Limits
from pricore.store import Store
from pricore.sync import Syncer


class Api:
    """All routes below /api."""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        gate: Gate,
        limits: Limits,
        *,
        syncer: Syncer,
        dists: Dists,
        config: Config,
    ) -> None:
        self._gate = gate
        self.table: list[Route] = [
            *organizations.routes(store, syncer),
            *packages.routes(store, dists),
            *repositories.routes(store, queue, syncer, config),
            *tokens.routes(store, limits),
        ]

    def routes(self) -> list[web.RouteDef]:
        """The table as aiohttp takes it."""
        return [web.RouteDef(route.method, route.path, serve(route, self._gate), {}) for route in self.table]
