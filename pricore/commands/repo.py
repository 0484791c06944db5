"""`pricore repo`: the Git repositories that are followed."""

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from msgspec import UNSET, UnsetType

from pricore.commands.completing import offer
from pricore.commands.finding import find_credential, find_organization, find_repositories, find_repository
from pricore.commands.reports import describe_progress, describe_run, print_report
from pricore.commands.session import (
    Org,
    Session,
    SyncInterval,
    Yes,
    command,
    print_fields,
    print_table,
    steps_of,
    warn,
)
from pricore.hosts.addresses import Address, address_at, parse_address, parse_instance
from pricore.hosts.table import NAMES
from pricore.models import Credential, Repository, SyncRun
from pricore.services import repositories
from pricore.services.paths import parse_paths
from pricore.services.quantities import parse_interval
from pricore.services.repositories import RepositoryChange, RepositoryDetails, parse_vanished
from pricore.store import Store
from pricore.system.clock import rfc3339

if TYPE_CHECKING:
    from rich.console import Console

    from pricore.errors import PricoreError
    from pricore.services.opening import Services
    from pricore.sync.progress import OnProgress
    from pricore.sync.report import Report

app = typer.Typer(name="repo", help="Git repositories that are followed.", no_args_is_help=True)

Host = Annotated[
    str | None,
    typer.Option(metavar="HOST", help="The provider's host, if it is not the usual one: git.example.com:8443."),
]
Paths = Annotated[
    list[str] | None,
    typer.Option(
        "--path", help='A folder that is a package, or packages/* for several; can be repeated. The root is ".".'
    ),
]
Repo = Annotated[
    str,
    typer.Argument(
        metavar="REPO",
        help="A repository's id, name or URL, or one of its packages.",
        autocompletion=offer("repositories"),
    ),
]


@command(app, "add")
def add(
    session: Session,
    org: Org,
    url: Annotated[str, typer.Argument(metavar="URL", help="Any address that git takes, or owner/name.")],
    provider: Annotated[str | None, typer.Option(help=f"{NAMES}; by default taken from the URL.")] = None,
    host: Host = None,
    path: Paths = None,
    sync: Annotated[bool, typer.Option("--sync/--no-sync", help="Sync it now.")] = True,
    backdate: Annotated[
        bool, typer.Option("--backdate", help="Count its releases as published when they were tagged, not now.")
    ] = False,
    credential: Annotated[
        str | None, typer.Option(metavar="NAME", help="The credential to use; by default the one for its host.")
    ] = None,
) -> None:
    """Follow a repository, and sync it for the first time."""
    address = _parse(url, provider, host)
    paths = parse_paths(path or ())
    if backdate and not sync:
        raise typer.BadParameter("--backdate needs what a sync reads: run `pricore repo backdate` after that")

    async def work(services: "Services") -> "Report | None":
        organization = await find_organization(services.store, org)
        given = None if credential is None else await find_credential(services.store, organization, credential)
        if not sync:
            await repositories.add_repository(services, organization, address, paths=paths, credential=given)
            return None
        with session.progress() as bar:
            return await repositories.add_and_sync(
                services,
                organization,
                address,
                paths=paths,
                credential=given,
                backdated=backdate,
                progress=steps_of(bar),
            )

    report = session.run_with_services(work)
    if report is None:
        session.show(
            {"repository": address.url, "synced": False},
            lambda console: console.print(
                f"Added {address.url}; `pricore repo sync {org}` reads it.", markup=False
            ),
        )
    else:
        session.show(msgspec.to_builtins(report), lambda console: print_report(console, report))


@command(app, "list")
def show_all(session: Session, org: Org) -> None:
    """List the repositories of an organization."""

    async def work(store: Store) -> list[Repository]:
        return await store.repositories.of_organization((await find_organization(store, org)).id)

    found = session.run(work)
    session.show(
        [repositories.RepositoryView.of(item) for item in found],
        lambda console: print_table(
            console,
            ("id", "provider", "identifier", "status", "last synced"),
            [
                (item.id, item.provider, item.identifier, item.sync_status, _time(item.last_synced_at))
                for item in found
            ],
        ),
    )


@command(app, "show")
def show(session: Session, org: Org, repo: Repo) -> None:
    """Show a repository, its running sync, and which of its refs make no version and why."""

    async def work(services: "Services") -> tuple[Repository, RepositoryDetails]:
        found = await find_repository(services.store, await find_organization(services.store, org), repo)
        return found, await repositories.describe_repository(services, found)

    found, details = session.run_with_services(work)
    doing = details.progress
    shown = msgspec.to_builtins(repositories.RepositoryView.of(found)) | {
        "credential": details.credential,
        "progress": None if doing is None else repositories.ProgressView.of(doing),
    }
    refs = [repositories.RefView.of(item) for item in details.refs]
    document = shown | {"packages": details.packages, "notes": details.notes, "refs": refs}

    def render(console: "Console") -> None:
        words = {
            "paths": ", ".join(found.paths) or None,
            "packages": ", ".join(details.packages) or None,
            "progress": None if doing is None else describe_progress(doing),
        }
        print_fields(console, list((shown | words).items()))
        for note in details.notes:
            console.print(f"note: {note}", markup=False, soft_wrap=True)
        left_out = [(item.name, item.reason) for item in details.refs if item.reason]
        console.print(f"{len(refs)} refs, {len(left_out)} left out")
        if left_out:
            print_table(console, ("left out", "why"), left_out)

    session.show(document, render)


@command(app, "history")
def history(
    session: Session,
    org: Org,
    repo: Repo,
    limit: Annotated[int, typer.Option(help="The most syncs to list.", min=1)] = 20,
) -> None:
    """List the syncs of a repository, newest first. Syncs in a row that found nothing new are one line."""

    async def work(services: "Services") -> list[SyncRun]:
        found = await find_repository(services.store, await find_organization(services.store, org), repo)
        return (await repositories.list_runs(services, found, limit=limit))[0]

    found = session.run_with_services(work)
    session.show(
        [repositories.view_sync_run(item) for item in found],
        lambda console: print_table(
            console,
            ("started", "took", "by", "status", "what"),
            [
                (
                    _time(item.started_at),
                    None if item.finished_at is None else f"{item.finished_at - (item.started_at or 0)} s",
                    item.cause,
                    item.status,
                    describe_run(item),
                )
                for item in found
            ],
        ),
    )


@command(app, "change")
def change(
    session: Session,
    org: Org,
    repo: Repo,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Its new address.")] = None,
    provider: Annotated[str | None, typer.Option(help=f"{NAMES}.")] = None,
    path: Paths = None,
    sync_interval: SyncInterval = None,
    vanished: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY",
            help="What to do with releases whose tag was deleted upstream: keep, remove, or default.",
        ),
    ] = None,
    credential: Annotated[
        str | None, typer.Option(metavar="NAME", help="The credential to use; none: the one for its host.")
    ] = None,
) -> None:
    """Change a repository: its address, provider, folders, credential, or how it is synced.

    What is served stays served.
    """
    if all(option is None for option in (url, provider, path, sync_interval, vanished, credential)):
        raise typer.BadParameter("give --url, --provider, --path, --sync-interval, --vanished or --credential")
    wanted = RepositoryChange(
        url=UNSET if url is None else url,
        provider=UNSET if provider is None else provider,
        sync_interval=UNSET if sync_interval is None else parse_interval(sync_interval),
        vanished_versions=UNSET if vanished is None else parse_vanished(vanished),
        paths=UNSET if path is None else path,
    )

    async def work(services: "Services") -> Repository:
        organization = await find_organization(services.store, org)
        found = await find_repository(services.store, organization, repo)
        given: Credential | UnsetType | None = UNSET if credential is None else None
        if credential not in (None, "none"):
            given = await find_credential(services.store, organization, credential)
        return await repositories.change_repository(services, found, wanted, credential=given)

    changed = session.run_with_services(work)

    def render(console: "Console") -> None:
        if wanted.url is wanted.provider is UNSET:
            text = f"Changed how {changed.url} is followed."
        else:
            text = f"{org} follows {changed.url} now; the server reads it next, or `pricore repo sync {org}` does."
        console.print(text, markup=False, soft_wrap=True)

    session.show(repositories.RepositoryView.of(changed), render)


@command(app, "sync")
def sync(
    session: Session,
    org: Org,
    repos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[REPO]...",
            help="Ids, names or URLs of repositories, or their packages.",
            autocompletion=offer("repositories"),
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All repositories of the organization.")] = False,
) -> None:
    """Sync repositories; without REPO, all of them. One that fails does not stop the others."""
    if everything and repos:
        raise typer.BadParameter("give repositories or --all, not both")

    async def work(services: "Services") -> "tuple[list[Report], list[tuple[Repository, PricoreError]]]":
        found = await find_repositories(services.store, await find_organization(services.store, org), repos)
        with session.progress() as bar:

            def progress(number: int, repository: Repository) -> "OnProgress":
                about = f"{repository.identifier} ({number}/{len(found)}): " if len(found) > 1 else ""
                return steps_of(bar, about=about)

            return await repositories.sync_repositories(services, found, progress=progress)

    reports, failures = session.run_with_services(work)
    document = {
        "synced": [msgspec.to_builtins(report) for report in reports],
        "failed": [{"repository": repository.url, "error": str(error)} for repository, error in failures],
    }

    def render(console: "Console") -> None:
        for report in reports:
            print_report(console, report)

    session.show(document, render)
    for _, error in failures:
        warn(f"error: {error}")
    if failures:
        raise typer.Exit(1)


@command(app, "backdate")
def backdate(
    session: Session,
    org: Org,
    repos: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REPO]...", help="Ids, names or URLs; by default all."),
    ] = None,
) -> None:
    """Count existing releases as published when they were tagged, if that is earlier.

    Use it after an import: with a cooldown, Composer takes no release that was published in the last few days.
    The date of a tag is chosen by the person who pushes it. Later releases are published when they arrive.
    """

    async def work(services: "Services") -> list[tuple[Repository, int]]:
        found = await find_repositories(services.store, await find_organization(services.store, org), repos)
        return [(item, await services.syncer.backdate(item)) for item in found]

    done = session.run_with_services(work)

    def render(console: "Console") -> None:
        for item, count in done:
            console.print(f"{item.url}: {count} releases have an earlier date now", markup=False, soft_wrap=True)

    session.show([{"repository": item.url, "backdated": count} for item, count in done], render)


@command(app, "remove")
def remove(session: Session, org: Org, repo: Repo, yes: Yes = False) -> None:
    """Stop following a repository, and delete its packages with all their releases."""

    async def find(store: Store) -> tuple[Repository, list[str]]:
        found = await find_repository(store, await find_organization(store, org), repo)
        return found, await store.packages.names(found.id)

    found, packages = session.run(find)
    deletes = f" and deletes {', '.join(packages)} with all versions and archives" if packages else ""
    session.confirm(f"stops following {found.url}{deletes}", yes=yes)

    async def work(services: "Services") -> None:
        await services.syncer.remove(found)

    session.run_with_services(work)
    session.show(
        {"removed": found.url, "packages": packages},
        lambda console: console.print(
            f"Removed {found.url}" + (f" with {', '.join(packages)}." if packages else "."), markup=False
        ),
    )


def _parse(text: str, provider: str | None, host: str | None) -> Address:
    """The address of what is to be followed, which may be owner/name at a host."""
    if host is None:
        return parse_address(text, provider)
    if provider is None:
        raise typer.BadParameter("--host says where a --provider is: give that too")
    if "://" in text or ":" in text or text.startswith(("/", ".", "~")):
        raise typer.BadParameter("--host is for owner/name; a whole address has its host")
    return address_at(parse_instance(provider, host), text)


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)
