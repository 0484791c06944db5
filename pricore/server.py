"""The web application: what answers, what goes on beside that, and how it begins, reloads and ends."""

import asyncio
import contextlib
import ctypes
import errno
import gc
import logging
import re
import resource
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import fields, replace
from typing import Final, cast

import aiohttp
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from pricore.auth.access_tokens import Authenticator
from pricore.auth.rate_limits import Limits
from pricore.config import Config
from pricore.errors import ConfigError, PricoreError
from pricore.operations import retention
from pricore.services.opening import Services
from pricore.store import Store
from pricore.sync.queue import Queue
from pricore.system import logs
from pricore.system.lease import hold, listening_url
from pricore.system.metrics import Metrics
from pricore.system.systemd import notify, notify_reloading
from pricore.web.api import Api
from pricore.web.api.streams import Streams
from pricore.web.composer import Registry
from pricore.web.health import Probes
from pricore.web.http.access_log import Journal
from pricore.web.http.admission import Gate, show_allowance
from pricore.web.http.client_address import Clients
from pricore.web.http.connection import SETTINGS, Connection
from pricore.web.http.error_responses import answer_error, refuse
from pricore.web.http.request_head import Headers
from pricore.web.http.response_cache import Recall
from pricore.web.http.responses import SERVER
from pricore.web.pages.welcome import Welcome
from pricore.web.webhooks import Webhooks

_log = logging.getLogger("pricore.server")

_M_MMAP_THRESHOLD: Final = -3  # of malloc.h
_LARGE_PIECE: Final = 4 * 1024 * 1024
"""Bytes. With the 128 kB that glibc begins with, a first download takes a fifth longer: its buffers are larger."""

_FIXED: Final = (
    "data",
    "host",
    "port",
    "workers",
    "ca_file",
    "dist_storage",
    "s3_endpoint",
    "s3_region",
    "s3_access_key",
    "s3_secret_key",
)
"""Settings that cannot change while the server runs."""

_FLUSH_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.05
_FORCE_SECONDS: Final = 0.5
"""What is left to requests whose time is over, twice: to end by themselves, and to notice that they were ended."""
_TURN_SECONDS: Final = 0.0005
"""How long a thread that computes keeps the interpreter from the loop; a request needs it several times."""

_UNREAD_SECONDS: Final = 120.0
"""How long a client may take nothing of what is there for it; proxies give up after 60."""

_PRUNE_SECONDS: Final = 24 * 3600
_RETRY_SECONDS: Final = 60
_MOST_FILES: Final = 65_536


class Service:
    """The registry in a process: what lasts as long as it, and what answers by the settings in force.

    `syncs` False is for one that leaves the queue to another process.
    """

    def __init__(self, services: Services, *, syncs: bool, metrics: Metrics) -> None:
        self._services = services
        self._store = store = services.store
        self._config = config = services.config
        self._syncs = syncs
        self._metrics = metrics
        self._queue = Queue(store, services.syncer, workers=config.sync_workers, counts=metrics.syncs)
        self._streams = Streams(store)
        self._authenticator = Authenticator(store)
        self._working: list[asyncio.Task[None]] = []
        self.journal = Journal(metrics, Clients(config.trusted_proxies))
        routes = self._surface(config)
        self._handlers = [route.handler for route in routes]
        *served, rest = [
            web.RouteDef(route.method, route.path, self._answer_errors(number, route), route.kwargs)
            for number, route in enumerate(routes)
        ]
        # below a path, a proxy may take that away or leave it there
        below = [web.RouteDef(route.method, config.base_path + route.path, route.handler, {}) for route in served]
        self.routes = [*served, *(below if config.base_path else ()), rest]

    def _surface(self, config: Config) -> list[web.RouteDef]:
        """All that answers requests, made for these settings; the routes are the same for all settings."""
        clients = self.journal.clients = Clients(config.trusted_proxies)
        limits = Limits(config)
        gate = Gate(self._authenticator, limits, clients)
        recall = self._recall = Recall(self._store, gate, clients, public_url=config.public_url)
        registry = Registry(self._services, gate, clients, recall)
        webhooks = Webhooks(self._store, self._queue, gate, self._services.sealer)
        self.api = Api(
            self._services,
            self._queue,
            gate,
            limits,
            streams=self._streams,
            others=[webhooks.describe()],
        )
        probes = Probes(self._store, gate, self._metrics, clients=clients, public_url=config.public_url)
        welcome = Welcome(clients, public_url=config.public_url)
        # (?s): a line break in an address too, which aiohttp would answer with text of its own
        rest = web.route(hdrs.METH_ANY, "/{path:(?s:.*)}", refuse)
        return [
            *registry.routes(),
            *self.api.routes(),
            *webhooks.routes(),
            *probes.routes(),
            *welcome.routes(),
            rest,
        ]

    async def apply(self, config: Config) -> None:
        """Follow other settings from now on; requests and syncs that run end as they began.

        Raises StoreError where the database cannot take them; what answers has not changed then.
        """
        await self._settle(config)
        self._config = config
        self._services.use(config)
        self._queue.workers = config.sync_workers
        self._queue.notify()
        self._handlers[:] = [route.handler for route in self._surface(config)]

    def recall(self, path: str, headers: Headers, remote: str, transport: asyncio.Transport) -> bool:
        """Answer what the registry, by the settings in force, can answer without any of the rest."""
        return self._recall.answer(path, headers, remote, transport)

    async def _settle(self, config: Config) -> None:
        """Bring the database to the settings that it knows of."""
        if self._syncs:
            self._store.schedule.interval = config.sync_interval
            await self._store.schedule.begin()
            await self._store.organizations.apply_settings(
                public_url=config.public_url, inline_limit=config.inline_limit
            )

    async def run(self, config: Config) -> AsyncIterator[None]:
        """What goes on beside the requests, for aiohttp's `cleanup_ctx`."""
        sys.setswitchinterval(_TURN_SECONDS)
        await self._settle(config)
        if self._syncs:
            tidying = _tidy(self._services, before=time.time())
            beside = (self._queue.work(), tidying, self._prune(), _rebuild_documents(self._store))
            self._working += [asyncio.create_task(work) for work in beside]
        self._working.append(asyncio.create_task(self._services.dists.recompress()))
        flushing = asyncio.create_task(_flush_usage(self._store))
        yield
        await self.rest()
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)
        await self._services.dists.close()
        await self._store.usage.flush()

    async def rest(self) -> None:
        """Begin nothing any more: syncs go back to the queue, and streams of events end. Requests go on."""
        await self._streams.close()
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    async def _prune(self) -> None:
        """Delete archives as the settings say, once a day."""
        while True:
            most, unused = retention.limits(self._config)
            try:
                if most is not None or unused is not None:
                    done = await retention.prune(self._services, most=most, unused=unused)
                    if done.pruned:
                        size = sum(item.size for item in done.pruned)
                        _log.info("pruned archives: %d of %d bytes", len(done.pruned), size)
            except Exception as error:  # noqa: BLE001  # what is kept too long takes room, and nothing else
                _log.error("cannot prune archives: %s", error)
            await asyncio.sleep(_PRUNE_SECONDS)

    def _answer_errors(self, number: int, route: web.RouteDef) -> Handler:
        """The one place where errors become HTTP: `{"message", "errors"?}` with the status that fits.

        Around each handler, and not a middleware: aiohttp's way there costs a request a twentieth of its time.
        """
        handlers, journal = self._handlers, self.journal
        path = "other" if number == len(handlers) - 1 else re.sub(r":[^{}]*\}", "}", route.path)
        counts = self._metrics.route(route.method, path)

        async def answer(request: web.Request) -> web.StreamResponse:
            journal.begin(request, counts)
            try:
                response = await handlers[number](request)
            except Exception as error:  # noqa: BLE001  # whatever it was, the client gets an answer and the log the rest
                response = answer_error(request, error, journal)
            # here, and not by aiohttp's signal, which costs as much as all the rest of the limits
            if not response.prepared:
                show_allowance(request, response.headers)
                response.headers.setdefault(hdrs.SERVER, SERVER)
            return response

        return answer


SERVICE: Final = web.AppKey("service", Service)


def build_app(services: Services, *, syncs: bool = True, metrics: Metrics) -> web.Application:
    """The application that serves a data folder; `syncs` False is for one that leaves the queue to another."""
    app = web.Application(handler_args=SETTINGS)
    service = Service(services, syncs=syncs, metrics=metrics)
    app[SERVICE] = service
    app.add_routes(service.routes)
    app.cleanup_ctx.append(lambda _: service.run(services.config))
    app.on_shutdown.append(lambda _: service.rest())
    return app


def bind(config: Config, *, shared: bool = False) -> socket.socket:
    """The socket to listen on, which can be `shared` with others of its kind.

    Raises ConfigError where the port is taken, or the address is not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
    except OSError as error:
        reason = {
            errno.EADDRINUSE: "something listens there already; stop it, or choose another --port",
            errno.EADDRNOTAVAIL: "that is no address of this machine; choose another --host",
            errno.EACCES: "this user may not; choose a --port above 1023",
        }.get(error.errno or 0, str(error.strerror))
        raise ConfigError(f"cannot listen on {config.host} port {config.port}: {reason}") from None
    return bound


async def serve(
    bound: socket.socket,
    config: Config,
    *,
    ready: Callable[[], None],
    reread: Callable[[], Config],
    syncs: bool = True,
    metrics: Metrics | None = None,
) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT; `ready` is called once clients get answers.

    Running requests then have `stop_timeout` to end; a second signal takes it from them. SIGHUP takes over what
    `reread` gives. Of several processes on one data folder, one `syncs`.
    """
    _allow_connections()
    _give_memory_back()
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, number)
    metrics = metrics or Metrics()
    async with Services.open(config, on_made=metrics.archives_made.add) as services:
        alone = hold(config.data, listening_url(config, port=bound.getsockname()[1]))
        with alone if syncs else contextlib.nullcontext():
            app = build_app(services, syncs=syncs, metrics=metrics)
            runner = web.AppRunner(app, shutdown_timeout=_FORCE_SECONDS)
            await runner.setup()
            gc.freeze()  # what is there by now stays: to go through all of it again takes 20 ms
            try:
                listener = await listen(runner, bound, app[SERVICE])
                try:
                    ready()
                    while await signals.get() == signal.SIGHUP:
                        config = await _reload(app[SERVICE], config, reread)
                finally:
                    listener.close()
                notify("STOPPING=1")
                await _end_requests(runner, signals, seconds=config.stop_timeout)
            finally:
                await runner.cleanup()


async def _reload(service: Service, config: Config, reread: Callable[[], Config]) -> Config:
    """Take over new settings as far as a running server can; gives those that are in force then."""
    notify_reloading()
    try:
        new = await asyncio.to_thread(reread)
        changed = [item.name for item in fields(Config) if getattr(new, item.name) != getattr(config, item.name)]
        new = replace(new, **{name: getattr(config, name) for name in _FIXED})
        await service.apply(new)
    except PricoreError as error:
        _log.error("%s; the settings stay as they were", error)
        return config
    finally:
        notify("READY=1")
    logs.configure(new)
    _log.info("the settings were read anew; changed: %s", ", ".join(changed) or "nothing")
    for name in changed:
        if name in _FIXED:
            _log.warning("%s stays as it was: to change it needs a restart", name)
    if new.base_path != config.base_path:
        _log.warning("requests that have the path of public_url in them are answered after a restart")
    return new


async def _end_requests(
    runner: web.AppRunner, signals: "asyncio.Queue[signal.Signals]", *, seconds: float
) -> None:
    """Let requests end, but none begin; until there are no more, time is over, or a signal comes."""
    server = cast("web.Server", runner.server)  # None only before the setup
    await asyncio.sleep(0)  # a connection that has just come begins to wait for its request first
    server.pre_shutdown()
    await runner.shutdown()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while server.connections:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        if await signals.get() != signal.SIGHUP:
                            break
    for connection in server.connections:
        if connection.transport is not None:
            connection.transport.abort()  # closed, it would wait for ever for who doesn't read


def _allow_connections() -> None:
    """Let this process have many connections: each is an open file, of which a shell gives it a thousand."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if most == resource.RLIM_INFINITY else min(_MOST_FILES, most)
    if before != resource.RLIM_INFINITY and before < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _give_memory_back() -> None:
    """Let large pieces of memory go back to the system when they are free.

    By itself, glibc keeps more for every thread the larger the pieces were: twice the largest document or archive.
    """
    if set_option := getattr(ctypes.CDLL(None), "mallopt", None):
        set_option(_M_MMAP_THRESHOLD, _LARGE_PIECE)


async def _tidy(services: Services, *, before: float) -> None:
    """Remove what a process that was killed left behind."""
    try:
        await services.syncer.sweep()
        if known := await services.store.packages.all_checksums():
            await services.dists.folder.sweep(known, before=before)
        await services.uploads.sweep(before=before)
    except Exception:  # noqa: BLE001  # what is left over takes room, and nothing else
        _log.exception("cannot tidy up the data folder")


async def listen(runner: web.AppRunner, bound: socket.socket, service: Service) -> asyncio.Server:
    """Take connections; not by aiohttp's SockSite, which answers what it cannot parse with text of its own.

    A client that takes nothing of an answer is let go, which only the kernel notices in all cases: bytes wait in
    its buffers, in those of the loop, or are still in a file. One that reads slowly keeps its connection.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections have what the socket has
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(_UNREAD_SECONDS * 1000))
    loop = asyncio.get_running_loop()
    server = cast("web.Server", runner.server)  # None only before the setup

    def connect() -> Connection:
        return Connection(server, loop, service.journal, service.recall)

    if missing := connect().missing():
        _log.warning(
            "aiohttp %s is newer than this Pricore knows (it has no %s): every request is answered, and what was "
            "answered before takes longer; `pip install --upgrade pricore` brings two that fit",
            *(aiohttp.__version__, ", ".join(missing)),
        )
    return await loop.create_server(connect, sock=bound, backlog=1024)


async def _rebuild_documents(store: Store) -> None:
    """Build metadata anew that an earlier version of this program built otherwise.

    What there is is served until then. A failure is tried again later.
    """
    while True:
        try:
            if left := await store.rebuilding.left():
                began = time.monotonic()
                _log.info("the metadata of %d packages is built anew, as an upgrade needs it", left)
                while await store.rebuilding.go_on():
                    pass
                _log.info("the metadata of %d packages was built anew in %.1f s", left, time.monotonic() - began)
        except Exception as error:  # noqa: BLE001  # what is served is good, and only not the newest
            _log.error("cannot build metadata anew, trying again later: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return


async def _flush_usage(store: Store) -> None:
    """Bring counts to the database every second; a failure is logged once until it works again."""
    failing = False
    while True:
        await asyncio.sleep(_FLUSH_SECONDS)
        try:
            await store.usage.flush()
            failing = False
        except Exception as error:  # noqa: BLE001  # counting must not end because one write failed
            if not failing:
                _log.error("cannot write usage: %s", error)
            failing = True
