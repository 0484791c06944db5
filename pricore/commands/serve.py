"""`pricore serve` and `pricore quickstart`."""

import asyncio
import gc
import shlex
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec
import typer

from pricore.commands.reports import print_report
from pricore.commands.session import Session, command, steps_of
from pricore.config import Config
from pricore.errors import ConfigError
from pricore.hosts.addresses import parse_address
from pricore.system import logs
from pricore.system.lease import listening_url
from pricore.system.systemd import notify

if TYPE_CHECKING:
    from rich.console import Console

    from pricore.services.opening import Services
    from pricore.services.quickstart import Quickstart
    from pricore.system.metrics import Metrics

_Host = Annotated[str | None, typer.Option(help="Address to listen on (PRICORE_HOST); 127.0.0.1 if not given.")]
_Port = Annotated[int | None, typer.Option(help="Port to listen on (PRICORE_PORT); 8000 if not given.")]
_PublicUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="Where clients reach the registry (PRICORE_PUBLIC_URL).")
]
_Workers = Annotated[
    int | None, typer.Option(metavar="N", help="Processes that answer requests (PRICORE_WORKERS); 1 if not given.")
]
app = typer.Typer()


@command(app, "serve")
def serve(
    session: Session,
    host: _Host = None,
    port: _Port = None,
    public_url: _PublicUrl = None,
    workers: _Workers = None,
) -> None:
    """Serve the registry, in one process. An empty data folder is set up first."""
    session = session.with_flags(host=host, port=port, public_url=public_url, workers=workers)
    with _listen(session.config) as bound:
        address, number, *_ = bound.getsockname()
        url = _base_url(session.config, port=number)
        listens = f"{f'[{address}]' if ':' in address else address}:{number}"

        def ready() -> None:
            behind = f", and listens on {listens}" if session.config.public_url else ""
            session.show(
                {"url": url, "listens": listens, "data": str(session.config.data)},
                lambda console: console.print(
                    f"Pricore serves {session.config.data} at {url}{behind}", markup=False, soft_wrap=True
                ),
            )

        _serve(session, bound, ready)


@command(app, "quickstart")
def quickstart(
    session: Session,
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="[GIT_URL]...", help="Repositories to follow.")
    ] = None,
    org: Annotated[str, typer.Option(metavar="NAME", help="The organization's name.")] = "My Organization",
    host: _Host = None,
    port: _Port = None,
    public_url: _PublicUrl = None,
) -> None:
    """Set up an organization with repositories and a token, and serve it.

    Without GIT_URL, it makes a small sample package. Run again, it changes nothing that exists.
    """
    from pricore.services.quickstart import set_up

    session = session.with_flags(host=host, port=port, public_url=public_url)
    addresses = [parse_address(url) for url in urls or ()]
    with _listen(session.config) as bound:
        url = _base_url(session.config, port=bound.getsockname()[1])

        async def work(services: "Services") -> "Quickstart":
            with session.progress() as bar:
                return await set_up(services, org, addresses, progress=steps_of(bar))

        made = session.run_with_services(work, creates=True)
        slug = made.organization.slug
        lines = _composer_lines(url, slug, made.secret, made.packages)

        def render(console: "Console") -> None:
            for report in made.reports:
                print_report(console, report)
            console.print(
                "\nIn the folder of a PHP project (`echo {} > composer.json` starts one), paste:\n", markup=False
            )
            for line in lines:
                console.print(f"    {line}", markup=False, soft_wrap=True)
            if made.secret is None:
                console.print(
                    f"\nThe token was shown when it was made; `pricore token create {slug} NAME` makes another.",
                    markup=False,
                    soft_wrap=True,
                )
            console.print(f"\nPricore serves {session.config.data} at {url}", markup=False, soft_wrap=True)

        def ready() -> None:
            session.show(
                {
                    "url": f"{url}/org/{slug}",
                    "organization": slug,
                    "token": made.secret,
                    "packages": made.packages,
                    "composer": lines,
                    "synced": [msgspec.to_builtins(report) for report in made.reports],
                },
                render,
            )

        _serve(session, bound, ready)


def _base_url(config: Config, *, port: int | None = None) -> str:
    """Where clients reach the registry: as configured, else where it listens (on `port`, where that is known)."""
    if config.public_url:
        return config.public_url
    return listening_url(config, port=port)


def _composer_lines(url: str, slug: str, secret: str | None, packages: Sequence[str]) -> list[str]:
    """What to type in a project to use the registry."""
    parts = urlsplit(url)
    lines = [f"composer config repositories.{slug} composer {shlex.quote(f'{url}/org/{slug}')}"]
    if parts.scheme == "http":
        lines.append("composer config secure-http false")
    lines.append(f"composer config http-basic.{parts.netloc} token {secret or 'YOUR_TOKEN'}")
    if packages:
        lines.append(f"composer require {packages[0]}")
    return lines


def _listen(config: Config) -> socket.socket:
    """The socket to serve on, or where several processes do, one that tells that the port is free."""
    from pricore.server import bind

    return bind(config)


def _serve(session: Session, bound: socket.socket, ready: Callable[[], None]) -> None:
    from pricore.system.metrics import Metrics, SharedNumbers
    from pricore.system.supervisor import supervise

    config = session.config
    logs.configure(config)
    numbers = SharedNumbers(config.workers)

    def ready_and_told() -> None:
        notify("READY=1")
        ready()

    if config.workers == 1:
        _run(bound, session, ready_and_told, metrics=Metrics(numbers), syncs=True)
        return
    port = bound.getsockname()[1]
    bound.close()

    def work(number: int, ready: Callable[[], None]) -> None:
        from pricore.server import bind

        with bind(replace(config, port=port), shared=True) as own:
            _run(own, session, ready, metrics=Metrics(numbers, number=number), syncs=number == 0)

    raise typer.Exit(supervise(config.workers, work, ready=ready_and_told))


def _run(
    bound: socket.socket, session: Session, ready: Callable[[], None], *, metrics: "Metrics", syncs: bool
) -> None:
    from pricore.server import serve as serve_socket

    try:
        import uvloop
    except ImportError:
        run = asyncio.run
    else:
        run = uvloop.run
    gc.freeze()  # what is loaded stays, and need not be looked at again and again
    gc.enable()
    try:
        run(serve_socket(bound, session.config, ready=ready, reread=session.reread, metrics=metrics, syncs=syncs))
    except OSError as error:
        raise ConfigError(f"cannot serve: {error.strerror or error}") from None
