"""`pricore token`: access tokens."""

from typing import TYPE_CHECKING, Annotated

import typer

from pricore import auth, views
from pricore.clock import now, rfc3339
from pricore.commands.session import Session, command, print_table
from pricore.models import Token
from pricore.store import Store

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(name="token", help="Access tokens for composer, CI and scripts.", no_args_is_help=True)

_Org = Annotated[str, typer.Argument(metavar="ORG", help="The organization's slug.")]


@command(app, "create")
def create(
    session: Session,
    org: _Org,
    name: Annotated[str, typer.Argument(help="Who or what it is for.")],
    scope: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE", help="What it may do; packages:read if not given.")
    ] = None,
    package: Annotated[
        list[str] | None, typer.Option(metavar="VENDOR/NAME", help="See only this package; can be repeated.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="WHEN", help="A date (2027-01-01, to its end, UTC) or a span (90d).")
    ] = None,
) -> None:
    """Create an access token. It is shown once, now."""
    scopes = auth.check_scopes(scope or ["packages:read"])
    expires_at = None if expires is None else auth.parse_expiry(expires, at=now())
    secret = auth.create_secret()

    async def work(store: Store) -> Token:
        organization = await store.organizations.get(org)
        names = [(await store.packages.get(organization, item)).name for item in package or ()]
        return await store.tokens.create(
            organization,
            name=name,
            token_hash=auth.hash_secret(secret),
            scopes=scopes,
            packages=names if package else None,
            expires_at=expires_at,
        )

    made = session.run(work)

    def render(console: "Console") -> None:
        console.print(secret, markup=False, soft_wrap=True)
        typer.echo("This is the only time that it is shown. Store it safely.", err=True)

    session.show(views.token(made) | {"token": secret}, render)


@command(app, "list")
def show_all(session: Session, org: _Org) -> None:
    """List the access tokens of an organization."""

    async def work(store: Store) -> list[Token]:
        return await store.tokens.of_organization((await store.organizations.get(org)).id)

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

    session.show([views.token(item) for item in found], render)


@command(app, "revoke")
def revoke(
    session: Session,
    org: _Org,
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id, from `token list`.")],
) -> None:
    """Revoke an access token: the next request with it is refused."""

    async def work(store: Store) -> None:
        await store.tokens.revoke(await store.organizations.get(org), token_id)

    session.run(work)
    session.show({"revoked": token_id}, lambda console: console.print(f"Revoked {token_id}.", markup=False))
