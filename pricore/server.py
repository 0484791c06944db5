"""The web application: routes, errors and lifecycle."""

import asyncio
import contextlib
import errno
import fcntl
import functools
import logging
import re
import resource
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from typing import Any, Final, cast

import msgspec
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError, InvalidURLError
from aiohttp.typedefs import Handler

from pricore import retention
from pricore.answers import SERVER
from pricore.api import Api
from pricore.auth import Authenticator
from pricore.clients import Clients
from pricore.config import Config
from pricore.dists import Dists, open_dists
from pricore.errors import (
    BadRequestError,
    ConfigError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    PricoreError,
    TooManyRequestsError,
    UnauthorizedError,
    UnsupportedClientError,
)
from pricore.gate import Gate, show_allowance
from pricore.git import Git
from pricore.jobs import Queue
from pricore.limits import Limits
from pricore.registry import Registry
from pricore.sealing import Sealer
from pricore.store import Store
from pricore.sync import Syncer
from pricore.uploads import Uploads
from pricore.webhooks import Webhooks

_log = logging.getLogger("pricore.server")

_STATUS: Final[Mapping[type[PricoreError], int]] = {
    BadRequestError: 400,
    UnsupportedClientError: 400,
    UnauthorizedError: 401,
    ForbiddenError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    InvalidError: 422,
    TooManyRequestsError: 429,
}
API: Final = web.AppKey("api", Api)
_FLUSH_SECONDS: Final = 1.0
_TURN_SECONDS: Final = 0.0005
"""How long a thread that computes keeps the interpreter from the loop; a request needs it several times."""

_PRUNE_SECONDS: Final = 24 * 3600
_MOST_MESSAGE: Final = 1000
_MOST_FILES: Final = 65_536

_CONNECTION: Final[Mapping[str, Any]] = {
    # how long a connection may be idle, and how long the head of a request may take; proxies let go after 60 s
    "keepalive_timeout": 75,
    # packed bodies would be unpacked even where nobody reads them: a kilobyte is a megabyte then
    "auto_decompress": False,
    "access_log": None,
}


def build_app(store: Store, git: Git, config: Config, *, syncs: bool = True) -> web.Application:
    """The application that serves an open store; `syncs` False is for one that leaves the queue to another."""
    app = web.Application(handler_args=_CONNECTION)
    dists = open_dists(config)
    uploads = Uploads(store, config.uploads)
    syncer = Syncer(store, git, config)
    clients = Clients(config.trusted_proxies)
    limits = Limits(config)
    gate = Gate(Authenticator(store), limits, clients)
    queue = Queue(store, syncer, workers=config.sync_workers)
    registry = Registry(store, dists, syncer, gate, clients, config)
    webhooks = Webhooks(store, queue, gate, Sealer(config.key))
    api = Api(
        store,
        queue,
        gate,
        limits,
        syncer=syncer,
        dists=dists,
        uploads=uploads,
        config=config,
        others=[webhooks.describe()],
    )
    app[API] = api
    # (?s): a line break in an address too, which aiohttp would answer with text of its own
    rest = web.route(hdrs.METH_ANY, "/{path:(?s:.*)}", _refuse)
    routes = (*registry.routes(), *api.routes(), *webhooks.routes(), rest)
    app.add_routes(
        web.RouteDef(route.method, route.path, _answer_errors(route.handler), route.kwargs) for route in routes
    )

    async def serve(_: web.Application) -> AsyncIterator[None]:
        sys.setswitchinterval(_TURN_SECONDS)
        tasks = [asyncio.create_task(_flush_usage(store))]
        if syncs:
            await store.schedule.begin()
            await store.organizations.apply_settings(
                public_url=config.public_url, inline_limit=config.inline_limit
            )
            tasks += [
                asyncio.create_task(queue.work()),
                asyncio.create_task(_tidy(store, syncer, dists, uploads, before=time.time())),
                asyncio.create_task(_prune(store, syncer, dists, config)),
            ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await dists.close()
        await store.usage.flush()

    async def end_streams(_: web.Application) -> None:
        await api.streams.close()

    app.cleanup_ctx.append(serve)
    app.on_shutdown.append(end_streams)
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


async def serve(bound: socket.socket, config: Config, *, ready: Callable[[], None], syncs: bool = True) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT; `ready` is called once clients get answers.

    Of several processes on one data folder, one `syncs`.
    """
    _allow_connections()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Store(config.database, sync_interval=config.sync_interval) as store:
        with _alone(config) if syncs else contextlib.nullcontext(), Git(timeout=config.git_timeout) as git:
            runner = web.AppRunner(build_app(store, git, config, syncs=syncs), shutdown_timeout=10)
            await runner.setup()
            try:
                listener = await _listen(runner, bound)
                try:
                    ready()
                    await stop.wait()
                finally:
                    listener.close()
            finally:
                await runner.cleanup()


def _allow_connections() -> None:
    """Let this process have many connections: each is an open file, of which a shell gives it a thousand."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if most == resource.RLIM_INFINITY else min(_MOST_FILES, most)
    if before != resource.RLIM_INFINITY and before < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


@contextlib.contextmanager
def _alone(config: Config) -> Iterator[None]:
    """Be the only server of a data folder: only one may take jobs that another was cut off from.

    The kernel lets go of the lock with the process. Raises ConfigError where another server has it.
    """
    with (config.data / "serve.lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"another `pricore serve` serves {config.data} already; stop it, or give another --data"
            ) from None
        yield


async def _tidy(store: Store, syncer: Syncer, dists: Dists, uploads: Uploads, *, before: float) -> None:
    """Remove what a process that was killed left behind."""
    try:
        await syncer.sweep()
        if known := await store.packages.all_checksums():
            await dists.folder.sweep(known, before=before)
        await uploads.sweep(before=before)
    except Exception:  # noqa: BLE001  # what is left over takes room, and nothing else
        _log.exception("cannot tidy up the data folder")


async def _prune(store: Store, syncer: Syncer, dists: Dists, config: Config) -> None:
    """Delete archives as the settings say, once a day."""
    most, unused = retention.limits(config)
    while most is not None or unused is not None:
        try:
            done = await retention.prune(store, dists, syncer, most=most, unused=unused)
            if done.pruned:
                _log.info(
                    "pruned archives: %d of %d bytes", len(done.pruned), sum(item.size for item in done.pruned)
                )
        except Exception as error:  # noqa: BLE001  # what is kept too long takes room, and nothing else
            _log.error("cannot prune archives: %s", error)
        await asyncio.sleep(_PRUNE_SECONDS)


async def _listen(runner: web.AppRunner, bound: socket.socket) -> asyncio.Server:
    """Take connections. Not by aiohttp's SockSite, which answers what it cannot parse with text of its own."""
    loop = asyncio.get_running_loop()
    server = cast("web.Server", runner.server)  # None only before the setup
    return await loop.create_server(
        lambda: _Connection(server, loop=loop, **_CONNECTION), sock=bound, backlog=1024
    )


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


def _answer_errors(handler: Handler) -> Handler:
    """The one place where errors become HTTP: `{"message", "errors"?}` with the status that fits.

    Around each handler, and not a middleware: aiohttp's way there costs a request a twentieth of its time.
    """

    @functools.wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            response = await handler(request)
        except Exception as error:  # noqa: BLE001  # whatever it was, the client gets an answer and the log the rest
            response = _error_response(request, error)
        # here, and not by aiohttp's signal, which costs as much as all the rest of the limits
        if not response.prepared:
            show_allowance(request, response.headers)
            response.headers.setdefault(hdrs.SERVER, SERVER)
        return response

    return answer


def _error_response(request: web.BaseRequest, error: Exception) -> web.Response:
    if isinstance(error, PricoreError):
        status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)
        if status != 500:
            errors = {error.field: [str(error)]} if isinstance(error, InvalidError) else None
            retry = {"Retry-After": str(error.retry_after)} if isinstance(error, TooManyRequestsError) else None
            return _error(request, status, str(error), errors=errors, headers=retry)
    elif isinstance(error, web.HTTPException):
        if error.status < 400:
            raise error
        allowed = {"Allow": error.headers[hdrs.ALLOW]} if hdrs.ALLOW in error.headers else {}
        return _error(request, error.status, _MESSAGES.get(error.status, error.reason), headers=allowed)
    elif isinstance(error, web.RequestPayloadError):
        return _error(request, 400, "the request body is damaged")
    elif isinstance(error, ConnectionError) and request.transport is None:
        raise error  # the client went away in the middle of its body
    return _failure(request, error)


def _failure(request: web.BaseRequest, error: BaseException | None) -> web.Response:
    """500 for what failed on this side, with the id under which the log has the reason.

    Only the log has it: it can name folders of this machine, and hosts that only this one reaches.
    """
    request_id = secrets.token_hex(8)
    # the path as it came: decoded, it could end the line and go on with one of its own
    target = f"{request.method} {request.rel_url.raw_path}"
    reason = f"{type(error).__name__}: {error}"
    _log.error(
        "request %s: %s: %s",
        request_id,
        target,
        reason,
        exc_info=None if isinstance(error, PricoreError) else error,
    )
    message = f"the registry failed; its log has the reason under request {request_id}"
    return _error(request, 500, message, headers={"X-Request-Id": request_id})


async def _refuse(request: web.Request) -> web.StreamResponse:
    """What no route takes: 405 where another method would be taken there, else 404."""
    allowed: set[str] = set()
    for place in request.app.router.resources():
        _, methods = await place.resolve(request)
        allowed |= methods
    allowed.discard(hdrs.METH_ANY)
    if allowed:
        raise web.HTTPMethodNotAllowed(request.method, allowed)
    raise web.HTTPNotFound


_MESSAGES: Final[Mapping[int, str]] = {
    404: "there is nothing at this address",
    405: "this address does not take that method",
    413: "the request body is too large",
    417: "the Expect header can only be 100-continue",
}


def _one_line(text: str) -> str:
    """A message that can be shown and logged as it is, whatever of the request is repeated in it."""
    shown = text if len(text) <= _MOST_MESSAGE else text[:_MOST_MESSAGE] + "…"
    return "".join(character if character.isprintable() else "?" for character in shown)


def _error(
    request: web.BaseRequest,
    status: int,
    message: str,
    *,
    errors: Mapping[str, list[str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    message = _one_line(message)
    body: dict[str, object] = {"message": message}
    if errors:
        body["errors"] = {name: [_one_line(text) for text in texts] for name, texts in errors.items()}
    if request.path.startswith("/org/") and status in (400, 401, 403, 429):
        body["warning"] = message  # Composer prints this one to the person who runs it
    response = web.Response(
        status=status, body=msgspec.json.encode(body), content_type="application/json", headers=headers
    )
    if status == 401:
        response.headers[hdrs.WWW_AUTHENTICATE] = 'Basic realm="Pricore", charset="UTF-8"'
    return response


class _Connection(web.RequestHandler):
    """A connection, on which also what no handler gets to see is answered in the shape of every error.

    All that it overrides is public in aiohttp, but for who calls it when.
    """

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what cannot be parsed, and to failures around the handlers.

        The former is 400 and no matter for the log: whatever strangers send comes here.
        """
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionError("nobody is left to answer, or part of an answer was sent")
        if isinstance(exc, HttpProcessingError):
            response = _error(request, 400, _unreadable(exc))
            # frames hold what was received, and lead back to the error: megabytes until the next full collection.
            # Private to aiohttp: the errors of what came behind, which nobody answers any more
            for queued in (exc, *(getattr(item, "exc", exc) for item, _ in self._messages)):
                queued.__traceback__ = None
        else:
            response = _failure(request, exc)
        response.headers[hdrs.SERVER] = SERVER
        response.force_close()
        return response

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send an answer; those that aiohttp made up itself have its own text."""
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            resp = _error_response(request, resp)
            resp.headers[hdrs.SERVER] = SERVER
        return super().finish_response(request, resp, start_time)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what failed after the handlers; a client that goes away, or sends half a body, is no failure."""
        if not isinstance(kw.get("exc_info"), ConnectionError | web.RequestPayloadError):
            super().log_exception(*args, **kw)


def _unreadable(error: HttpProcessingError) -> str:
    """Why a request cannot be read, in aiohttp's words without what they quote of it."""
    if isinstance(error, InvalidURLError):
        return "the request cannot be read: its address is malformed"
    words, *_ = re.split(r":\s*\n|: b['\"]|: bytearray", error.message)
    return f"the request cannot be read: {words}"
