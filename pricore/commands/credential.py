"""`pricore credential`: what private repositories are read with."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from pricore.commands.completing import offer
from pricore.commands.finding import find_credential, find_organization
from pricore.commands.session import Org, Session, Yes, command, print_fields, print_table
from pricore.errors import InvalidError
from pricore.hosts.addresses import parse_host
from pricore.hosts.table import PROVIDERS
from pricore.models import Credential
from pricore.remotes import known_hosts
from pricore.services import credentials
from pricore.store import Store
from pricore.system.clock import rfc3339

if TYPE_CHECKING:
    from rich.console import Console

    from pricore.services.opening import Services

app = typer.Typer(name="credential", help="Tokens and SSH keys for Git hosts.", no_args_is_help=True)

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The credential's name.", autocompletion=offer("credentials")),
]
Host = Annotated[
    str,
    typer.Option(
        "--host", metavar="HOST", help="The host that it is for, with the port if it is not the usual one."
    ),
]
Username = Annotated[
    str | None, typer.Option(metavar="USER", help="The user name for the token; most hosts accept any.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Read the token from a file. By default it is asked for, or read from standard input."
    ),
]
_MOST_BYTES: Final = 64 * 1024


@command(app, "add")
def add(
    session: Session,
    org: Org,
    name: Name,
    host: Host,
    username: Username = None,
    ssh: Annotated[bool, typer.Option("--ssh", help="Make an SSH key instead of storing a token.")] = False,
    token_file: TokenFile = None,
    plain_http: Annotated[
        bool,
        typer.Option(
            "--plain-http", help="Send the token over http:// too, where others on the network can read it."
        ),
    ] = False,
) -> None:
    """Store a token for a Git host, or make an SSH key for it.

    The organization's repositories at that host are read with it.
    """
    if ssh and (username is not None or token_file is not None or plain_http):
        raise typer.BadParameter("--ssh makes a key, without --username, --token-file or --plain-http")
    parse_host(host, "ssh" if ssh else "https")  # before anybody is asked for a secret
    token = "" if ssh else _read_token(token_file)

    async def work(services: "Services") -> Credential:
        organization = await find_organization(services.store, org)
        if ssh:
            return await services.credentials.add_ssh(organization, name, host=host)
        return await services.credentials.add_https(
            organization, name, host=host, token=token, username=username, plain=plain_http
        )

    made = session.run_with_services(work)

    def render(console: "Console") -> None:
        if made.public_key is None:
            text = f"Added {made.name}: repositories of {org} at {made.host} are read with it over https."
            console.print(text, markup=False, soft_wrap=True)
        else:
            _print_public_key(console, made)

    session.show(credentials.CredentialView.of(made), render)


@command(app, "list")
def show_all(session: Session, org: Org) -> None:
    """List the credentials of an organization, without secrets. For each host, the first one is the default."""

    async def work(store: Store) -> list[Credential]:
        return await store.credentials.of_organization((await find_organization(store, org)).id)

    found = session.run(work)
    session.show(
        [credentials.CredentialView.of(item) for item in found],
        lambda console: print_table(
            console,
            ("name", "kind", "host", "user", "created"),
            [(item.name, item.kind, item.host, item.username or None, rfc3339(item.created_at)) for item in found],
        ),
    )


@command(app, "show")
def show(session: Session, org: Org, name: Name) -> None:
    """Show a credential without its secret. For an SSH key, show the public key to paste at the host."""
    found = session.run(lambda store: _get(store, org, name))

    def render(console: "Console") -> None:
        if found.public_key is None:
            print_fields(console, list(msgspec.to_builtins(credentials.CredentialView.of(found)).items()))
        else:
            _print_public_key(console, found)

    session.show(credentials.CredentialView.of(found), render)


@command(app, "change")
def change(
    session: Session, org: Org, name: Name, username: Username = None, token_file: TokenFile = None
) -> None:
    """Replace the token of a credential."""
    token = _read_token(token_file)

    async def work(services: "Services") -> Credential:
        found = await _get(services.store, org, name)
        await services.credentials.change(found, token=token, username=username)
        return await _get(services.store, org, name)

    changed = session.run_with_services(work)
    session.show(
        credentials.CredentialView.of(changed),
        lambda console: console.print(f"Changed {changed.name}.", markup=False),
    )


@command(app, "test")
def check(
    session: Session,
    org: Org,
    name: Name,
    url: Annotated[str | None, typer.Argument(metavar="[URL]", help="The repository to read.")] = None,
) -> None:
    """Test a credential: read the repository at URL, or one that already uses it."""

    async def work(services: "Services") -> tuple[str, int]:
        return await credentials.try_credential(services, await _get(services.store, org, name), url)

    address, refs = session.run_with_services(work)
    session.show(
        {"credential": name, "url": address, "refs": refs},
        lambda console: console.print(
            f"{name} reads {address}: {refs} branches and tags.", markup=False, soft_wrap=True
        ),
    )


@command(app, "remove")
def remove(session: Session, org: Org, name: Name, yes: Yes = False) -> None:
    """Delete a credential. Refused while a repository names it."""

    async def find(services: "Services") -> tuple[Credential, int]:
        found = await _get(services.store, org, name)
        return found, len(await credentials.find_readers(services, found))

    found, readers = session.run_with_services(find)
    uses = f", with which {readers} repositories are read" if readers else ""
    session.confirm(f"deletes the secret of {found.name} for {found.host}{uses}", yes=yes)
    session.run(lambda store: store.credentials.remove(found))

    def render(console: "Console") -> None:
        text = f"Removed {found.name}."
        if readers:
            text += (
                f" {readers} repositories at {found.host} were read with it; now they are read with what else "
                "there is for that host, or with what this user has."
            )
        console.print(text, markup=False, soft_wrap=True)

    session.show({"removed": found.name, "repositories": readers}, render)


@command(app, "trust")
def trust(
    session: Session,
    host: Annotated[str, typer.Argument(metavar="HOST", help="An SSH host, with its port if it is not 22.")],
    yes: Yes = False,
) -> None:
    """Trust the SSH keys that a host shows now, instead of the old ones.

    Compare the fingerprints with those that the host publishes. This applies to all organizations.
    """
    place = parse_host(host, "ssh")
    bare, _, port = (place, "", "") if place.endswith("]") or ":" not in place else place.rpartition(":")
    name, number = bare.strip("[]"), int(port) if port else None

    async def work(_: Store) -> list[known_hosts.HostKey]:
        return await known_hosts.scan(name, number)

    keys = session.run(work)
    shown = known_hosts.name_of(name, number)
    offered = ", ".join(f"{key.kind} {key.fingerprint}" for key in keys)
    session.confirm(f"puts the keys that {shown} shows now in the place of those it had: {offered}", yes=yes)
    known_hosts.trust(session.config.known_hosts, shown, keys)
    session.show(
        {"host": shown, "keys": [{"kind": key.kind, "fingerprint": key.fingerprint} for key in keys]},
        lambda console: print_table(console, ("trusted", "of"), [(key.fingerprint, shown) for key in keys]),
    )


def _read_token(file: Path | None) -> str:
    """The token out of a file, from a prompt that shows nothing, or from standard input: never an argument."""
    if file is None and sys.stdin.isatty():
        text: str = typer.prompt("Token", hide_input=True, err=True)
        return text
    try:
        if file is None:
            content = sys.stdin.buffer.read(_MOST_BYTES)
        else:
            with file.open("rb") as opened:
                content = opened.read(_MOST_BYTES)
        return content.decode()
    except OSError as error:
        raise InvalidError(f"cannot read the token from {file}: {error.strerror}", field="token") from None
    except UnicodeDecodeError:
        raise InvalidError("the token is no text", field="token") from None


async def _get(store: Store, org: str, name: str) -> Credential:
    return await find_credential(store, await find_organization(store, org), name)


def _print_public_key(console: "Console", credential: Credential) -> None:
    console.print(credential.public_key, markup=False, soft_wrap=True)
    places = [f"{item.title}: {item.deploy_keys}." for item in PROVIDERS.values() if item.deploy_keys]
    typer.echo(
        f"Paste this at {credential.host}: as a deploy key of a repository, read-only, or as a key of a user who "
        f"may read several.\n{' '.join(places)}",
        err=True,
    )
