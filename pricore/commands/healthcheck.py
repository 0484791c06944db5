"""`pricore healthcheck`, for containers."""

import http.client
import json
from contextlib import closing, suppress
from typing import Annotated, Final

import typer

from pricore.commands.session import Session, command
from pricore.errors import NotReadyError

app = typer.Typer()

_SECONDS: Final = 5
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  # what to ask instead


@command(app, "healthcheck")
def healthcheck(
    session: Session,
    host: Annotated[str | None, typer.Option(help="Where it listens (PRICORE_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Its port (PRICORE_PORT).")] = None,
) -> None:
    """Ask the server on this machine whether it is ready. Exits with 0, or with 1 and the reason."""
    config = session.with_flags(host=host, port=port).config
    address = _ANYWHERE.get(config.host, config.host)
    where = f"{f'[{address}]' if ':' in address else address}:{config.port}"
    connection = http.client.HTTPConnection(address, config.port, timeout=_SECONDS)
    try:
        with closing(connection):
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            status, body = response.status, response.read(1000)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NotReadyError(f"nothing answers at {where}: {reason}") from None
    if status != 200:
        raise NotReadyError(f"the server at {where} is not ready: {_reason(body) or f'status {status}'}")
    session.show({"status": "ready"}, lambda console: console.print("ready"))


def _reason(body: bytes) -> str:
    """What an error says, empty where it is none of Pricore's."""
    with suppress(ValueError, TypeError, KeyError):
        return str(json.loads(body)["message"])
    return ""
