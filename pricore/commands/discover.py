"""`pricore repo discover`: what somebody has at a Git host, listed and followed in one go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from pricore.auth.sealing import WebhookSecrets
from pricore.commands.finding import find_credential, find_organization
from pricore.commands.following import follow_all
from pricore.commands.repo import Host, Org
from pricore.commands.session import Session, command, print_table, warn
from pricore.commands.webhook import check_public, register
from pricore.errors import InvalidError, PricoreError
from pricore.hosts.addresses import Address, address_at, parse_address, parse_instance
from pricore.hosts.provider import Api, Found, Instance
from pricore.hosts.table import NAMES_WITH_API
from pricore.models import Credential, Organization, Repository
from pricore.services.opening import Services
from pricore.store import Store

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer()

_MOST_PATTERNS: Final = 100


@dataclass
class Candidate:
    """A repository at a provider, and what it is to the organization.

    `status` is followed, new, or why it is passed over: archived, fork or empty; where new ones were to be added
    it is added, no package or failed. `webhook` is created, updated or failed, None where none was asked for.
    """

    name: str
    address: Address
    status: str
    repository: Repository | None = None
    packages: Sequence[str] = ()
    webhook: str | None = None
    error: str | None = None

    def document(self) -> dict[str, Any]:
        """What programs are shown."""
        return {
            "name": self.name,
            "url": self.address.url if self.repository is None else self.repository.url,
            "status": self.status,
            "packages": list(self.packages),
            "webhook": self.webhook,
            "error": self.error,
        }


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the repositories that are found count, and whether they are read over ssh."""

    patterns: Sequence[str]
    forks: bool
    archived: bool
    ssh: bool

    def fits(self, name: str) -> bool:
        """Whether owner/name is asked for; a pattern without a slash is one for the name alone."""
        name = name.lower()
        return not self.patterns or any(
            fnmatchcase(name if "/" in pattern else name.rpartition("/")[2], pattern.lower())
            for pattern in self.patterns
        )

    def status(self, found: Found) -> str:
        """What a repository is that nobody follows yet."""
        if found.empty:
            return "empty"
        if found.archived and not self.archived:
            return "archived"
        return "fork" if found.fork and not self.forks else "new"


@command(app, "discover")
def discover(
    session: Session,
    org: Org,
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help=f"{NAMES_WITH_API}.")],
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="A user, organization, group or workspace there.")],
    host: Host = None,
    match: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Only names such as lib-*, or group/lib-*; once or more."),
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Follow those that are new.")] = False,
    forks: Annotated[bool, typer.Option("--forks", help="Forks too.")] = False,
    archived: Annotated[bool, typer.Option("--archived", help="Archived ones too.")] = False,
    ssh: Annotated[bool, typer.Option("--ssh", help="Read them over ssh, not https.")] = False,
    webhooks: Annotated[
        bool, typer.Option("--webhooks", help="Register the webhooks of all that are followed then.")
    ] = False,
    credential: Annotated[
        str | None, typer.Option(metavar="NAME", help="Ask and read with this one; the host's if not given.")
    ] = None,
) -> None:
    """List what somebody has at a Git host; with --add, follow all of it that isn't followed yet.

    Run again, it goes on with what is new since. What has no composer.json is passed over.
    """
    from pricore.hosts.client import connect  # loads aiohttp

    instance = parse_instance(provider, host)
    wanted = Wanted(patterns=match or (), forks=forks, archived=archived, ssh=ssh)
    if len(wanted.patterns) > _MOST_PATTERNS:
        raise InvalidError(f"give up to {_MOST_PATTERNS} patterns; * stands for many names", field="match")
    if webhooks:
        check_public(session.config)

    async def work(services: Services) -> list[Candidate]:
        store = services.store
        organization = await find_organization(store, org)
        given = None if credential is None else await find_credential(store, organization, credential)
        login = await services.credentials.for_api(organization, instance, given.name if given else None)
        async with connect(instance, login, proxy=session.config.git_proxy) as asked:
            candidates = await _look(asked, owner, instance, wanted, await _followed(store, organization))
            if add:
                await _add(services, organization, candidates, given, session)
            if webhooks:
                secrets = WebhookSecrets(store, services.sealer)
                for item in candidates:
                    await _register(item, instance, asked, secrets, session.config.public_url)
        return candidates

    candidates = session.run_with_services(work)
    session.show(
        {
            "provider": instance.provider,
            "host": instance.host,
            "owner": owner,
            "repositories": [item.document() for item in candidates],
        },
        lambda console: _print(console, candidates, org),
    )
    failed = [item for item in candidates if item.error is not None]
    for item in failed:
        warn(f"error: {item.name}: {item.error}")
    if failed:
        raise typer.Exit(1)


async def _followed(store: Store, organization: Organization) -> dict[str, Repository]:
    """The repositories of an organization, by the keys of their addresses."""
    found = await store.repositories.of_organization(organization.id)
    return {parse_address(item.url).key: item for item in found}


async def _look(
    asked: Api, owner: str, instance: Instance, wanted: Wanted, followed: Mapping[str, Repository]
) -> list[Candidate]:
    """All that is asked for of what an owner has, by name."""
    candidates = []
    async for found in asked.repositories(owner):
        if not wanted.fits(found.name):
            continue
        # by its name: the address that a host gives could be any other's
        by_https = address_at(instance, found.name)
        by_ssh = parse_address(found.ssh_url, instance.provider, folders=False) if found.ssh_url else by_https
        repository = followed.get(by_https.key) or followed.get(by_ssh.key)
        candidates.append(
            Candidate(
                name=found.name,
                address=by_ssh if wanted.ssh else by_https,
                status=wanted.status(found) if repository is None else "followed",
                repository=repository,
            )
        )
    return sorted(candidates, key=lambda item: item.name.lower())


async def _add(
    services: Services,
    organization: Organization,
    candidates: Sequence[Candidate],
    credential: Credential | None,
    session: Session,
) -> None:
    """Follow those that are new."""
    new = [item for item in candidates if item.status == "new"]
    with session.progress() as bar:
        outcomes = await follow_all(
            services.syncer,
            organization,
            [item.address for item in new],
            credential=credential,
            together=session.config.sync_workers,
            bar=bar,
        )
    repositories = await _followed(services.store, organization)
    for item, outcome in zip(new, outcomes, strict=True):
        item.status, item.packages, item.error = outcome.status, outcome.packages, outcome.error
        item.repository = repositories.get(item.address.key)


async def _register(
    item: Candidate, instance: Instance, asked: Api, secrets: WebhookSecrets, public_url: str
) -> None:
    if item.repository is None:
        return
    try:
        created = await register(asked, item.name, item.repository, instance, secrets, public_url)
        item.webhook = "created" if created else "updated"
    except PricoreError as error:
        item.webhook, item.error = "failed", f"its webhook is not registered: {error}"


def _print(console: "Console", candidates: Sequence[Candidate], org: str) -> None:
    rows = [
        (item.name, item.status, ", ".join(item.packages[:3]) + (", ..." if len(item.packages) > 3 else ""))
        for item in candidates
    ]
    hooks = [item.webhook for item in candidates if item.webhook]
    if not candidates:
        console.print("Nothing there that is asked for.")
        return
    print_table(console, ("repository", "status", "packages"), rows)
    if hooks:
        console.print(f"Webhooks: {hooks.count('created')} created, {hooks.count('updated')} updated.")
    new = sum(1 for item in candidates if item.status == "new")
    if new:
        console.print(f"{new} of {len(candidates)} new to {org}; --add follows them.", markup=False)
