"""A server: how it begins, listens, reloads its settings and ends."""

import asyncio
import contextlib
import ctypes
import errno
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import fields, replace
from typing import Final, cast

import aiohttp
from aiohttp import web

from pricore.config import FIXED, Config
from pricore.errors import ConfigError, PricoreError
from pricore.operations.background import Background
from pricore.services.opening import Services
from pricore.sync.queue import Queue
from pricore.system import logs
from pricore.system.lease import hold, listening_url
from pricore.system.metrics import Metrics
from pricore.system.systemd import notify, notify_reloading
from pricore.web.api.streams import Streams
from pricore.web.application import Application
from pricore.web.http.connection import SETTINGS, Connection

_log = logging.getLogger("pricore.server")

_M_MMAP_THRESHOLD: Final = -3  # of malloc.h
_M_ARENA_MAX: Final = -8
_LARGE_PIECE: Final = 4 * 1024 * 1024
"""Bytes. With the 128 kB that glibc begins with, a first download takes a fifth longer: its buffers are larger."""


_LOOK_SECONDS: Final = 0.05
_FORCE_SECONDS: Final = 0.5
"""What is left to requests whose time is over, twice: to end by themselves, and to notice that they were ended."""
_TURN_SECONDS: Final = 0.0001
"""How long a thread that computes keeps the interpreter from the loop; a request needs it several times."""

UNREAD_SECONDS: Final = 120.0
"""How long a client may take nothing of what is there for it; proxies give up after 60."""

_MOST_FILES: Final = 65_536


class Server:
    """The registry in a process: its application, its queue, and what goes on in the background.

    `syncs` False is for one that leaves the queue to another process.
    """

    def __init__(self, services: Services, *, syncs: bool, metrics: Metrics) -> None:
        self._services = services
        self._store = services.store
        self._syncs = syncs
        self._queue = Queue(
            services.store, services.syncer, workers=services.config.sync_workers, counts=metrics.syncs
        )
        self._streams = Streams(services.store)
        self._background = Background(services, self._queue, syncs=syncs)
        self.application = Application(services, self._queue, self._streams, metrics)

    async def apply(self, config: Config) -> None:
        """Follow other settings from now on; requests and syncs that run end as they began.

        Raises StoreError where the database cannot take them; what answers has not changed then.
        """
        await self._settle(config)
        self._services.use(config)
        self._queue.workers = config.sync_workers
        self._queue.notify()
        self.application.use(config)

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
        self._background.start()
        yield
        await self.rest()
        await self._background.close()

    async def rest(self) -> None:
        """Begin nothing any more: syncs go back to the queue, and streams of events end. Requests go on."""
        await self._streams.close()
        await self._background.rest()


SERVER: Final = web.AppKey("server", Server)


def build_app(services: Services, *, syncs: bool = True, metrics: Metrics) -> web.Application:
    """The application that serves a data folder; `syncs` False is for one that leaves the queue to another."""
    app = web.Application(handler_args=SETTINGS)
    server = Server(services, syncs=syncs, metrics=metrics)
    app[SERVER] = server
    app.add_routes(server.application.routes)
    app.cleanup_ctx.append(lambda _: server.run(services.config))
    app.on_shutdown.append(lambda _: server.rest())
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
        await services.git.check()
        alone = hold(config.data, listening_url(config, port=bound.getsockname()[1]))
        with alone if syncs else contextlib.nullcontext():
            app = build_app(services, syncs=syncs, metrics=metrics)
            runner = web.AppRunner(app, shutdown_timeout=_FORCE_SECONDS)
            await runner.setup()
            gc.freeze()  # what is there by now stays: to go through all of it again takes 20 ms
            try:
                listener = await listen(runner, bound, app[SERVER].application)
                try:
                    ready()
                    while await signals.get() == signal.SIGHUP:
                        config = await _reload(app[SERVER], config, reread)
                finally:
                    listener.close()
                notify("STOPPING=1")
                await _end_requests(runner, signals, seconds=config.stop_timeout)
            finally:
                await runner.cleanup()


async def _reload(server: Server, config: Config, reread: Callable[[], Config]) -> Config:
    """Take over new settings as far as a running server can; gives those that are in force then."""
    notify_reloading()
    try:
        new = await asyncio.to_thread(reread)
        changed = [item.name for item in fields(Config) if getattr(new, item.name) != getattr(config, item.name)]
        new = replace(new, **{name: getattr(config, name) for name in FIXED})
        await server.apply(new)
    except PricoreError as error:
        _log.error("%s; the settings stay as they were", error)
        return config
    finally:
        notify("READY=1")
    logs.configure(new)
    _log.info("the settings were reloaded; changed: %s", ", ".join(changed) or "nothing")
    for name in changed:
        if name in FIXED:
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
    Smaller ones are free for all threads, not only for the one that had them first: Python lets one compute at a
    time anyway.
    """
    if set_option := getattr(ctypes.CDLL(None), "mallopt", None):
        set_option(_M_MMAP_THRESHOLD, _LARGE_PIECE)
        set_option(_M_ARENA_MAX, 1)


async def listen(
    runner: web.AppRunner,
    bound: socket.socket,
    application: Application,
    *,
    unread_seconds: float = UNREAD_SECONDS,
) -> asyncio.Server:
    """Take connections; not by aiohttp's SockSite, which answers what it cannot parse with text of its own.

    A client that takes nothing of a response for `unread_seconds` is let go, which only the kernel notices in all
    cases: bytes wait in its buffers, in those of the loop, or are still in a file. One that reads slowly keeps its
    connection.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections have what the socket has
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unread_seconds * 1000))
    loop = asyncio.get_running_loop()
    server = cast("web.Server", runner.server)  # None only before the setup

    def connect() -> Connection:
        return Connection(server, loop, application.access_log, application.respond_at_once)

    if missing := connect().missing():
        _log.warning(
            "aiohttp %s is newer than this Pricore knows (it has no %s): every request is answered, and what was "
            "answered before takes longer; `pip install --upgrade pricore` brings two that fit",
            *(aiohttp.__version__, ", ".join(missing)),
        )
    return await loop.create_server(connect, sock=bound, backlog=1024)
