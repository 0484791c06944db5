"""The `pricore` program: its command groups, and the one place where errors become exit codes."""

import asyncio
import os
import sys
import traceback
from typing import NoReturn

import typer

from pricore.commands import (
    credential,
    discover,
    dist,
    lock,
    org,
    package,
    repo,
    satis,
    serve,
    token,
    verify,
    webhook,
)
from pricore.errors import PricoreError

app = typer.Typer(
    name="pricore",
    help="A private Composer registry: it follows Git repositories and serves them to composer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(serve.app)
app.add_typer(satis.app)
app.add_typer(org.app)
repo.app.add_typer(discover.app)
repo.app.add_typer(webhook.app)
app.add_typer(repo.app)
app.add_typer(credential.app)
app.add_typer(token.app)
app.add_typer(package.app)
app.add_typer(lock.app)
app.add_typer(dist.app)
app.add_typer(verify.app)


def main() -> None:
    """Run the program: exit 0 done, 1 failed, 2 wrong usage. No traceback reaches whoever typed the command."""
    try:
        app()
    except PricoreError as error:
        _fail(str(error))
    except asyncio.CancelledError:
        _fail("stopped", status=143)
    except KeyboardInterrupt:
        _fail("interrupted", status=130)
    except BrokenPipeError:
        # who read the output has closed it: `pricore ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001  # the last resort
        if os.environ.get("PRICORE_DEBUG"):
            traceback.print_exc()
        _fail(f"unexpected {type(error).__name__}: {error} (PRICORE_DEBUG=1 shows where)")


def _fail(message: str, *, status: int = 1) -> NoReturn:
    shown = "".join(character if character.isprintable() else "?" for character in " ".join(message.split()))
    print(f"error: {shown}", file=sys.stderr)  # noqa: T201  # the interface
    sys.exit(status)
