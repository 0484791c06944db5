"""`pricore token`: access tokens."""

import re
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import UNSET, UnsetType

from pricore.commands.completing import offer_packages, offer_scopes, offer_words
from pricore.commands.finding import find_organization, find_package, find_token
from pricore.commands.session import Session, Yes, command, print_table
from pricore.models import SCOPES, Organization
from pricore.rights.tokens import Token
from pricore.services import tokens
from pricore.services.tokens import TokenChange, change_token, create_token, rotate_token
from pricore.store import Store
from pricore.system.clock import now, rfc3339

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(name="token", help="Access tokens for composer, CI and scripts.", no_args_is_help=True)

_Instance = Annotated[
    bool, typer.Option("--instance", help="An instance token, without ORG: it sees every organization.")
]
_New = Annotated[
    list[str],
    typer.Argument(
        metavar="ORG NAME",
        help="The organization's slug, and a name that says who or what the token is for.",
        autocompletion=offer_words(),
    ),
]
_Which = Annotated[
    list[str],
    typer.Argument(
        metavar="ORG ID",
        help="The organization's slug, and the id from `token list`, or the token's name.",
        autocompletion=offer_words("tokens"),
    ),
]
_Scopes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SCOPE",
        help=f"What it may do; can be repeated: {', '.join(SCOPES)}; a new one packages:read if not given.",
        autocompletion=offer_scopes,
    ),
]
_Rules = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RULE",
        help="See only these packages: acme/lib, acme/*, acme/plugin:^2.1, of another organization as "
        "beta:beta/*; can be repeated.",
        autocompletion=offer_packages,
    ),
]
_Also = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ORG", help="Another organization that it is for; can be repeated.", autocompletion=offer_words()
    ),
]
_Without = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ORG",
        help="An organization that it is for no longer; can be repeated.",
        autocompletion=offer_words(),
    ),
]
_Before = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN",
        help="See only versions that were published before a date (2027-01-01) or a time; never for any.",
    ),
]
_When = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN",
        help="A date (2027-01-01, to its end, UTC), a time (2027-01-01T12:00Z), or a span in hours (12h), "
        "days (90d) or weeks (8w); never is without an end, as a new one is if not given.",
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
    words: _New,
    scope: _Scopes = None,
    package: _Rules = None,
    also: _Also = None,
    published_before: _Before = None,
    expires: _When = None,
    instance: _Instance = False,
) -> None:
    """Create an access token. It is shown only now."""
    slug, name = _parse(words, instance=instance, name="NAME")
    if instance and (package or also or published_before):
        raise typer.BadParameter("an instance token sees everything: rules are an organization's")

    async def work(store: Store) -> tuple[Token, str]:
        organization = await _organization(store, slug)
        others = [await find_organization(store, item) for item in also or ()]
        rules = [await _rule(store, organization, item) for item in package or () if organization]
        return await create_token(
            store,
            None if organization is None else [organization, *others],
            name,
            scopes=scope or (),
            packages=rules or None,
            published_before=None if published_before == "never" else published_before,
            expires=None if expires == "never" else expires,
        )

    made, secret = session.run(work)

    def render(console: "Console") -> None:
        console.print(secret, markup=False, soft_wrap=True)
        typer.echo("This is the only time that it is shown. Store it safely.", err=True)

    session.show(tokens.NewTokenView.of_whole(made, token=secret), render)


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
                    _packages(item),
                    _used(item),
                    _ends(item),
                )
                for item in found
            ],
        )

    session.show([tokens.WholeTokenView.of_whole(item) for item in found], render)


async def _rule(store: Store, organization: Organization, text: str) -> str:
    """A rule with the whole name of its package, which may be given without its vendor."""
    alone = re.fullmatch(r"[^/*:]+", text)
    return (await find_package(store, organization, text)).name if alone else text


def _given(when: str | None) -> str | UnsetType | None:
    """What is said of a time: nothing, that there is none, or which."""
    return UNSET if when is None else None if when == "never" else when


def _ends(item: Token) -> str:
    """When a token expires, and how soon that is."""
    if item.expires_at is None:
        return "never"
    days = (item.expires_at - now()) // 86400
    if days < 0:
        return f"{rfc3339(item.expires_at)} (expired)"
    soon = f" (in {days} days)" if days < tokens.SOON_DAYS else ""
    return f"{rfc3339(item.expires_at)}{soon}"


def _used(item: Token) -> str:
    """When a token was used last, from where and with which client."""
    if item.last_used_at is None:
        return "never"
    place = f" from {item.last_used_from}" if item.last_used_from else ""
    client = f" with {item.last_used_by.split(' ')[0][:40]}" if item.last_used_by else ""
    return f"{rfc3339(item.last_used_at)}{place}{client}"


def _packages(item: Token) -> str:
    """What a token sees, with the slug before what is of another organization than the first."""
    shown = []
    for slug, rights in item.reach.items():
        view = tokens.ReachView.of_rights(rights)
        before = "" if slug == item.organization else f"{slug}:"
        rules = ["all"] if view.packages is None else view.packages or ["none"]
        shown += [f"{before}{rule}" for rule in rules]
        if view.published_before is not None:
            shown.append(f"before {view.published_before:%Y-%m-%d}")
    return ", ".join(shown) or "all"


@command(app, "change")
def change(
    session: Session,
    words: _Which,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Another name.")] = None,
    scope: _Scopes = None,
    package: _Rules = None,
    all_packages: Annotated[bool, typer.Option("--all-packages", help="See all packages.")] = False,
    published_before: _Before = None,
    also: _Also = None,
    without: _Without = None,
    expires: _When = None,
    instance: _Instance = False,
) -> None:
    """Change an access token: its name, what it may do and see, when it ends. Its secret stays."""
    slug, token_id = _parse(words, instance=instance, name="ID")
    if package and all_packages:
        raise typer.BadParameter("give --package or --all-packages, not both")

    async def work(store: Store) -> Token:
        found = await find_token(store, await _organization(store, slug), token_id)
        left = [item for item in found.organizations if item not in (without or ())]
        slugs = [*dict.fromkeys([*left, *(also or ())])]
        if not slugs and not instance:
            raise typer.BadParameter("a token needs an organization: revoke it instead")
        home = await find_organization(store, slug) if slug and package else None
        rules = [await _rule(store, home, item) for item in package or () if home]
        wanted = TokenChange(
            name=name or UNSET,
            scopes=scope or UNSET,
            expires_at=_given(expires),
            packages=None if all_packages else rules or UNSET,
            organizations=slugs if also or without else UNSET,
            published_before=_given(published_before),
        )
        if wanted == TokenChange():
            raise typer.BadParameter("give what is to be changed: --name, --package and others")
        organizations = [await find_organization(store, item) for item in slugs]
        return await change_token(store, found, wanted, organizations, about=slug or "")

    changed = session.run(work)
    session.show(
        tokens.WholeTokenView.of_whole(changed),
        lambda console: console.print(f"Changed {changed.name} ({changed.id}).", markup=False, soft_wrap=True),
    )


@command(app, "rotate")
def rotate(
    session: Session,
    words: _Which,
    overlap: Annotated[
        str, typer.Option(metavar="SPAN", help="How long the secret before is good, too; 0 ends it at once.")
    ] = tokens.OVERLAP,
    instance: _Instance = False,
) -> None:
    """Give an access token another secret, which is shown only now; the one before is good for a while."""
    slug, token_id = _parse(words, instance=instance, name="ID")

    async def work(store: Store) -> tuple[Token, str]:
        found = await find_token(store, await _organization(store, slug), token_id)
        return await rotate_token(store, found, overlap=overlap)

    made, secret = session.run(work)

    def render(console: "Console") -> None:
        console.print(secret, markup=False, soft_wrap=True)
        ends = made.former_until or 0
        until = f"; the one before is good until {rfc3339(ends)}" if ends > now() else ""
        typer.echo(f"This is the only time that it is shown{until}.", err=True)

    session.show(tokens.NewTokenView.of_whole(made, token=secret), render)


@command(app, "revoke")
def revoke(
    session: Session,
    words: _Which,
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
