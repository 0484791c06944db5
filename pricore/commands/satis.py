"""`pricore import`: the same repositories as another registry has."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pricore.auth.credentials import Credentials
from pricore.auth.sealing import Sealer
from pricore.commands.session import Session, command, print_table, warn
from pricore.errors import InvalidError
from pricore.hosts.addresses import parse_address
from pricore.models import Organization
from pricore.operations.satis import (
    Satis,
    Token,
    Wanted,
    read_satis,
)
from pricore.services.following import follow_all
from pricore.services.management import check_slug, slug_of
from pricore.services.opening import Services
from pricore.store import Store

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer()


@dataclass
class Item:
    """A repository of a satis.json.

    `status` is new, followed or passed over; a new one that was to be followed is added, no package or failed.
    """

    wanted: Wanted
    status: str
    packages: Sequence[str] = ()
    reason: str | None = None


@command(app, "import")
def import_satis(
    session: Session,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A satis.json, or a list of addresses; - is the standard input.")
    ],
    org: Annotated[
        str | None,
        typer.Option(metavar="SLUG", help="The organization; made of the name in the file if not given."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done.")] = False,
) -> None:
    """Follow the repositories of a satis.json or a list, in an organization that is made if it isn't there.

    The tokens in it, and in the auth.json beside it, become credentials. Run again, it goes on with what is new.
    """
    satis = read_satis(file)
    if org is None and not satis.name:
        raise InvalidError(f"{file} doesn't name an organization: say which with --org", field="org")
    slug = check_slug(org) if org is not None else slug_of(satis.name.partition("/")[0])

    async def work(services: Services) -> tuple[list[Item], list[str]]:
        store = services.store
        organization = await store.organizations.find(slug)
        if organization is None and not dry_run:
            organization = await store.organizations.create(slug, satis.name or slug)
        items = _look(await _followed(store, organization), satis)
        if organization is None or dry_run:
            return items, []
        hosts = await _keep(store, organization, satis.tokens, services.sealer)
        new = [item for item in items if item.status == "new"]
        with session.progress() as bar:
            outcomes = await follow_all(
                services,
                organization,
                [item.wanted.address for item in new if item.wanted.address is not None],
                bar=bar,
            )
        for item, outcome in zip(new, outcomes, strict=True):
            item.status, item.packages, item.reason = outcome.status, outcome.packages, outcome.error
        return items, hosts

    if dry_run and not session.config.database.exists():
        items, hosts = _look(set(), satis), list[str]()  # nothing is made for a look
    else:
        items, hosts = session.run_with_services(work, creates=True)
    session.show(
        {
            "organization": slug,
            "repositories": [
                {
                    "url": item.wanted.url,
                    "status": item.status,
                    "packages": list(item.packages),
                    "reason": item.reason,
                }
                for item in items
            ],
            "credentials": hosts,
        },
        lambda console: _print(console, slug, items, hosts, restricted=satis.restricted),
    )
    failed = [item for item in items if item.status == "failed"]
    for item in failed:
        warn(f"error: {item.reason or ''}")
    if failed:
        raise typer.Exit(1)


async def _followed(store: Store, organization: Organization | None) -> set[str]:
    """The keys of the addresses that an organization follows."""
    if organization is None:
        return set()
    return {parse_address(item.url).key for item in await store.repositories.of_organization(organization.id)}


def _look(known: set[str], satis: Satis) -> list[Item]:
    """What each repository is to who follows what is `known`; one that is named twice counts once."""
    items = []
    for wanted in satis.repositories:
        if wanted.address is None:
            items.append(Item(wanted, "passed over", reason=wanted.reason))
        elif wanted.address.key in known:
            items.append(Item(wanted, "followed"))
        else:
            known.add(wanted.address.key)
            items.append(Item(wanted, "new"))
    return items


async def _keep(store: Store, organization: Organization, tokens: Sequence[Token], sealer: Sealer) -> list[str]:
    """Make credentials of tokens, for hosts that the organization has none for; gives the hosts."""
    credentials = Credentials(store, sealer)
    hosts = []
    for token in tokens:
        if (
            await store.credentials.of_host(organization.id, kind="https", host=token.host, plain=token.plain)
            is None
        ):
            name = f"satis-{re.sub('[^A-Za-z0-9.-]', '-', token.host)}"[:64]
            await credentials.add_https(
                organization, name, host=token.host, username=token.username, token=token.secret, plain=token.plain
            )
            hosts.append(token.host)
    return hosts


def _print(
    console: "Console", slug: str, items: Sequence[Item], hosts: Sequence[str], *, restricted: bool
) -> None:
    print_table(
        console,
        ("repository", "status", "packages"),
        [
            (
                item.wanted.url,
                item.status,
                ", ".join(item.packages) or (item.reason if item.status == "passed over" else None),
            )
            for item in items
        ],
    )
    if hosts:
        console.print(f"Credentials made for {', '.join(hosts)}.", markup=False)
    if restricted:
        console.print(
            "This Satis chooses among packages or versions (require); Pricore serves all of what it follows.",
            markup=False,
        )
    new = sum(1 for item in items if item.status == "new")
    if new:
        console.print(f"{new} repositories would be followed in {slug}.", markup=False)
