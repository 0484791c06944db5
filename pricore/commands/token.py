"""`pricore token`: access tokens."""

from typing import TYPE_CHECKING, Annotated

import typer

from pricore.commands.completing import offer_packages, offer_scopes, offer_words
from pricore.commands.finding import find_organization, find_package, find_token
from pricore.commands.session import Session, Yes, command, print_table
from pricore.models import SCOPES, Organization, Token
from pricore.services import tokens
from pricore.services.tokens import create_token
from pricore.store import Store
from pricore.system.clock import rfc3339

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(name="token", help="Access tokens for composer, CI and scripts.", no_args_is_help=True)

_Instance = Annotated[
    bool, typer.Option("--instance", help="An instance token, without ORG: it sees every organization.")
]
_When = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN",
        help="A date (2027-01-01, to its end, UTC), a time (2027-01-01T12:00Z), or a span in hours (12h), "
        "days (90d) or weeks (8w); never if not given.",
    ),
]


def _parse(words: list[str], *, instance: bool, name: str = "") -> tuple[str | None, str]:
    """The organization's slug, None for the instance, and the argument behind it that `name` asks for."""
    wanted = ([] if instance else ["ORG"]) + ([name] if name else [])
    if len(words) != len(wanted):
        raise typer.BadParameter(f"give {' and '.join(wanted) or 'nothing more'}")
    return (None if instance else words[0]), (words[-1] if name else "")


async def _organization(store: Store, slug: str | None) -> Organization | None:
    return None if slug is None else await find_organization(store, slug)


@command(app, "create")
def create(
    session: Session,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="ORG NAME",
            help="The organization's slug, and a name that says who or what the token is for.",
            autocompletion=offer_words(),
        ),
    ],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help=f"What it may do; can be repeated: {', '.join(SCOPES)}; packages:read if not given.",
            autocompletion=offer_scopes,
        ),
    ] = None,
    package: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VENDOR/NAME",
            help="See only this package; can be repeated.",
            autocompletion=offer_packages,
        ),
    ] = None,
    expires: _When = None,
    instance: _Instance = False,
) -> None:
    """Create an access token. It is shown only now."""
    slug, name = _parse(words, instance=instance, name="NAME")
    if instance and package:
        raise typer.BadParameter(
            "an instance token cannot be restricted to packages: their names are an organization's"
        )

    async def work(store: Store) -> tuple[Token, str]:
        organization = await _organization(store, slug)
        there = await store.tokens.of_organization(organization.id if organization else None)
        if any(item.name == name for item in there):
            typer.echo(f"note: there is a token {name} already; this is another one", err=True)
        found = [await find_package(store, organization, item) for item in package or () if organization]
        packages = found if package else None
        return await create_token(
            store, organization, name, scopes=scope or (), packages=packages, expires=expires
        )

    made, secret = session.run(work)

    def render(console: "Console") -> None:
        console.print(secret, markup=False, soft_wrap=True)
        typer.echo("This is the only time that it is shown. Store it safely.", err=True)

    session.show(tokens.NewTokenView.of(made, token=secret), render)


@command(app, "list")
def show_all(
    session: Session,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="ORG", help="The organization's slug.", autocompletion=offer_words()),
    ] = None,
    instance: _Instance = False,
) -> None:
    """List the access tokens of an organization."""
    slug, _ = _parse(words or [], instance=instance)

    async def work(store: Store) -> list[Token]:
        organization = await _organization(store, slug)
        return await store.tokens.of_organization(organization.id if organization else None)

    found = session.run(work)

    def render(console: "Console") -> None:
        print_table(
            console,
            ("id", "name", "scopes", "packages", "last used", "expires"),
            [
                (
                    item.id,
                    item.name,
                    ", ".join(item.scopes),
                    "all" if item.packages is None else ", ".join(sorted(item.packages)) or "none",
                    "never" if item.last_used_at is None else rfc3339(item.last_used_at),
                    "never" if item.expires_at is None else rfc3339(item.expires_at),
                )
                for item in found
            ],
        )

    session.show([tokens.TokenView.of(item) for item in found], render)


@command(app, "revoke")
def revoke(
    session: Session,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="ORG ID",
            help="The organization's slug, and the id from `token list`, or the token's name.",
            autocompletion=offer_words("tokens"),
        ),
    ],
    instance: _Instance = False,
    yes: Yes = False,
) -> None:
    """Revoke an access token: the next request with it is refused."""
    slug, token_id = _parse(words, instance=instance, name="ID")

    async def find(store: Store) -> tuple[Organization | None, Token]:
        organization = await _organization(store, slug)
        return organization, await find_token(store, organization, token_id)

    organization, found = session.run(find)
    session.confirm(f"revokes the token {found.name} ({found.id}) for good", yes=yes)
    session.run(lambda store: store.tokens.revoke(organization, found.id))
    session.show({"revoked": found.id}, lambda console: console.print(f"Revoked {found.id}.", markup=False))
