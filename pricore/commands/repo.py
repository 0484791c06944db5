"""`pricore repo`: the Git repositories that are followed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from msgspec import UNSET

from pricore.auth.credentials import Credentials, check_use
from pricore.auth.sealing import Sealer
from pricore.commands.completing import offer
from pricore.commands.finding import find_credential, find_organization, find_repository
from pricore.commands.session import (
    Bar,
    Session,
    SyncInterval,
    Yes,
    command,
    describe,
    print_fields,
    print_table,
    printable,
    steps_of,
    warn,
)
from pricore.errors import PricoreError
from pricore.hosts.addresses import (
    Address,
    address_at,
    change_address,
    parse_address,
    parse_instance,
)
from pricore.hosts.table import NAMES
from pricore.models import Progress, Ref, Repository, SyncRun
from pricore.services import views
from pricore.services.management import parse_interval, parse_paths, parse_vanished
from pricore.services.opening import Services
from pricore.store import Store
from pricore.sync import progress
from pricore.sync.report import Report
from pricore.sync.syncer import Syncer
from pricore.system.clock import rfc3339

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(name="repo", help="Git repositories that are followed.", no_args_is_help=True)

_LATEST = 20
"""Syncs among which there is one that read something, most of the time."""

Org = Annotated[
    str,
    typer.Argument(metavar="ORG", help="The organization's slug.", autocompletion=offer("organizations")),
]
Host = Annotated[
    str | None,
    typer.Option(metavar="HOST", help="Where the provider is, unless at its usual host: git.example.com:8443."),
]
Paths = Annotated[
    list[str] | None,
    typer.Option(
        "--path", help="A folder that is a package, or packages/* for several; once or more. . is the root."
    ),
]
Repo = Annotated[
    str,
    typer.Argument(
        metavar="REPO",
        help="Id, name or URL of a repository, or a package of it.",
        autocompletion=offer("repositories"),
    ),
]


@command(app, "add")
def add(
    session: Session,
    org: Org,
    url: Annotated[str, typer.Argument(metavar="URL", help="Any address that git takes, or owner/name.")],
    provider: Annotated[str | None, typer.Option(help=f"{NAMES}; read off the URL if not given.")] = None,
    host: Host = None,
    path: Paths = None,
    sync: Annotated[bool, typer.Option("--sync/--no-sync", help="Read it now.")] = True,
    backdate: Annotated[
        bool, typer.Option("--backdate", help="Its releases count as published when they were tagged, not now.")
    ] = False,
    credential: Annotated[
        str | None, typer.Option(metavar="NAME", help="Read it with this one; the host's if not given.")
    ] = None,
) -> None:
    """Follow a repository, and read it for the first time."""
    address = _parse(url, provider, host)
    paths = parse_paths(path or ())
    if backdate and not sync:
        raise typer.BadParameter("--backdate needs what a sync reads: run `pricore repo backdate` after that")

    async def work(services: Services) -> Report | None:
        store = services.store
        organization = await find_organization(store, org)
        given = None
        if credential is not None:
            given = check_use(await find_credential(store, organization, credential), address.url).id
        with session.progress() as bar:
            if sync:
                report = await services.syncer.add(
                    organization, address, paths=paths, progress=steps_of(bar), credential_id=given
                )
                if backdate:
                    added = await store.repositories.get(organization, address.url, url_key=address.key)
                    await services.syncer.backdate(added)
                return report
        await store.repositories.add(organization, address, paths=paths, credential_id=given)
        return None

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
        [views.RepositoryView.of(item) for item in found],
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
    """Show a repository, what a sync of it is doing now, and which of its refs make no version and why."""

    async def work(store: Store) -> tuple[Repository, str | None, list[str], list[Ref], list[str]]:
        found = await find_repository(store, await find_organization(store, org), repo)
        refs = await store.repositories.refs(found.id)
        chosen = await Credentials(store, Sealer(session.config.key)).choose(found)
        name = None if chosen is None else chosen.name
        runs, _ = await store.runs.of_repository(found.id, limit=_LATEST, offset=0)
        notes = next((run.outcome.notes for run in runs if run.status == "ok"), [])
        return found, name, await store.packages.names(found.id), list(refs.values()), notes

    found, credential, packages, refs, notes = session.run(work)
    doing = progress.read(session.config.repositories, found.id)
    shown = msgspec.to_builtins(views.RepositoryView.of(found)) | {
        "credential": credential,
        "progress": None if doing is None else views.ProgressView.of(doing),
    }
    # a mark of a deletion outlives its ref
    refs = [item for item in refs if item.deleted_at is None or item.reason]
    document = shown | {"packages": packages, "notes": notes, "refs": [views.RefView.of(item) for item in refs]}

    def render(console: "Console") -> None:
        words = {
            "paths": ", ".join(found.paths) or None,
            "packages": ", ".join(packages) or None,
            "progress": None if doing is None else _describe(doing),
        }
        print_fields(console, list((shown | words).items()))
        for note in notes:
            console.print(f"note: {note}", markup=False, soft_wrap=True)
        left_out = [(item.name, item.reason) for item in refs if item.reason]
        console.print(f"{len(refs)} refs, {len(left_out)} left out")
        if left_out:
            print_table(console, ("left out", "why"), left_out)

    session.show(document, render)


@command(app, "history")
def history(
    session: Session,
    org: Org,
    repo: Repo,
    limit: Annotated[int, typer.Option(help="How many syncs at most.", min=1)] = 20,
) -> None:
    """List the syncs of a repository, newest first; those that found nothing new in a row are one."""

    async def work(store: Store) -> list[SyncRun]:
        found = await find_repository(store, await find_organization(store, org), repo)
        runs, _ = await store.runs.of_repository(found.id, limit=limit, offset=0)
        return [await progress.follow(store, session.config.repositories, found.id, run) for run in runs]

    found = session.run(work)
    session.show(
        [views.sync_run(item) for item in found],
        lambda console: print_table(
            console,
            ("started", "took", "by", "status", "what"),
            [
                (
                    _time(item.started_at),
                    None if item.finished_at is None else f"{item.finished_at - (item.started_at or 0)} s",
                    item.cause,
                    item.status,
                    _told(item),
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
    url: Annotated[str | None, typer.Option(metavar="URL", help="Where it is now.")] = None,
    provider: Annotated[str | None, typer.Option(help=f"{NAMES}.")] = None,
    path: Paths = None,
    sync_interval: SyncInterval = None,
    vanished: Annotated[
        str | None,
        typer.Option(metavar="POLICY", help="Releases whose tag is gone upstream: keep, remove, or default."),
    ] = None,
    credential: Annotated[
        str | None, typer.Option(metavar="NAME", help="Read it with this one; none: with the host's.")
    ] = None,
) -> None:
    """Follow a repository at another address, as one of another provider, by other rules, or otherwise read.

    What is served stays.
    """
    if all(option is None for option in (url, provider, path, sync_interval, vanished, credential)):
        raise typer.BadParameter("give --url, --provider, --path, --sync-interval, --vanished or --credential")
    paths = parse_paths(path or ())
    policy = None if vanished is None else parse_vanished(vanished)
    interval = None if sync_interval is None else parse_interval(sync_interval)
    moves = url is not None or provider is not None

    async def work(store: Store) -> Repository:
        organization = await find_organization(store, org)
        found = await find_repository(store, organization, repo)
        address = None
        if moves:
            address = change_address(found, url=url, provider=UNSET if provider is None else provider)
        given = None
        if credential not in (None, "none"):
            given = check_use(
                await find_credential(store, organization, credential), address.url if address else found.url
            ).id
        if address is not None:
            await store.repositories.change(found, address, confined=found.confined and url is None)
        if sync_interval is not None:
            await store.schedule.set_interval(found.organization_id, found.id, interval)
        if path is not None:
            await store.repositories.set_paths(found.id, paths)
        if vanished is not None:
            await store.repositories.set_vanished(found.id, policy)
        if credential is not None:
            await store.credentials.give(found.id, given)
        return await store.repositories.find(found.id) or found

    changed = session.run(work)

    def render(console: "Console") -> None:
        if moves:
            text = f"{org} follows {changed.url} now; the server reads it next, or `pricore repo sync {org}` does."
        else:
            text = f"Changed how {changed.url} is followed."
        console.print(text, markup=False, soft_wrap=True)

    session.show(views.RepositoryView.of(changed), render)


@command(app, "sync")
def sync(
    session: Session,
    org: Org,
    repos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[REPO]...",
            help="Ids, names or URLs, or packages of them.",
            autocompletion=offer("repositories"),
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All repositories of the organization.")] = False,
) -> None:
    """Read repositories again; without REPO, all of them. One that fails doesn't stop the others."""
    if everything and repos:
        raise typer.BadParameter("give repositories or --all, not both")

    async def work(services: Services) -> tuple[list[Report], list[tuple[str, str]]]:
        store = services.store
        organization = await find_organization(store, org)
        found = (
            [await find_repository(store, organization, repo) for repo in repos]
            if repos
            else await store.repositories.of_organization(organization.id)
        )
        with session.progress() as bar:
            return await _sync_all(services.syncer, found, bar)

    reports, failures = session.run_with_services(work)
    document = {
        "synced": [msgspec.to_builtins(report) for report in reports],
        "failed": [{"repository": url, "error": error} for url, error in failures],
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
        typer.Argument(metavar="[REPO]...", help="Ids, identifiers or URLs; all if none is given."),
    ] = None,
) -> None:
    """Let the releases that are there count as published when they were tagged, if that is earlier.

    For after an import: with a cooldown, Composer takes no release that was published a few days ago. Whoever can
    push a tag chooses its date. Releases that come later are published when they come.
    """

    async def work(services: Services) -> list[tuple[Repository, int]]:
        store = services.store
        organization = await find_organization(store, org)
        found = (
            [await find_repository(store, organization, repo) for repo in repos]
            if repos
            else await store.repositories.of_organization(organization.id)
        )
        return [(item, await services.syncer.backdate(item)) for item in found]

    done = session.run_with_services(work)

    def render(console: "Console") -> None:
        for item, count in done:
            console.print(f"{item.url}: {count} releases have an earlier date now", markup=False, soft_wrap=True)

    session.show([{"repository": item.url, "backdated": count} for item, count in done], render)


@command(app, "remove")
def remove(session: Session, org: Org, repo: Repo, yes: Yes = False) -> None:
    """Stop following a repository, and delete its packages with all that was released of them."""

    async def find(store: Store) -> tuple[Repository, list[str]]:
        found = await find_repository(store, await find_organization(store, org), repo)
        return found, await store.packages.names(found.id)

    found, packages = session.run(find)
    deletes = f" and deletes {', '.join(packages)} with all versions and archives" if packages else ""
    session.confirm(f"stops following {found.url}{deletes}", yes=yes)

    async def work(services: Services) -> None:
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


async def _sync_all(
    syncer: Syncer, repositories: list[Repository], bar: Bar
) -> tuple[list[Report], list[tuple[str, str]]]:
    """What became of each: reports, and (address, error) of those that failed."""
    reports, failures = [], []
    for number, repository in enumerate(repositories, start=1):
        about = f"{repository.identifier} ({number}/{len(repositories)}): " if len(repositories) > 1 else ""
        try:
            reports.append(await syncer.sync(repository, progress=steps_of(bar, about=about)))
        except PricoreError as error:
            failures.append((repository.url, str(error)))
    return reports, failures


def print_report(console: "Console", report: Report) -> None:
    """What a sync found, for people."""

    def say(text: str) -> None:
        console.print(printable(text), markup=False, soft_wrap=True)

    if not (report.read or report.added or report.removed or report.kept):
        say(f"{report.repository}: nothing new")
    else:
        say(f"{report.repository}: {', '.join(report.packages) or 'no packages'}")
        for verb, items in (
            ("added", report.added),
            ("updated", report.updated),
            ("removed", report.removed),
            ("kept, though gone upstream", report.kept),
            ("kept as they were, though their tags moved", report.moved),
        ):
            if items:
                several = len(report.packages) > 1
                names = ", ".join(item if several else item.partition(":")[2] for item in items[:10])
                more = f" and {len(items) - 10} more" if len(items) > 10 else ""
                say(f"  {len(items)} {verb}: {names}{more}")
    for note in report.notes:
        say(f"  note: {note}")
    if report.left_out:
        print_table(console, ("left out", "why"), [(item.ref, item.reason) for item in report.left_out])


def _names(versions: Sequence[str]) -> str:
    """The first versions by name: what is no more can be seen nowhere else."""
    names = [version.partition(":")[2] for version in versions[:3]]
    return ", ".join(names) + (f" and {len(versions) - 3} more" if len(versions) > 3 else "") or "0"


def _describe(doing: Progress) -> str:
    """A progress in words, such as "Making checksums, 12 of 646"."""
    far = f", {doing.done} of {doing.total} ({100 * doing.done // doing.total}%)" if doing.total else ""
    return describe(doing.step, doing.received) + far


def _told(run: SyncRun) -> str | None:
    """What came of a sync, in words."""
    outcome = run.outcome
    counts: dict[str, Sequence[object]] = {
        "added": outcome.added,
        "updated": outcome.updated,
        "kept": outcome.kept,
    }
    counts["left out"] = outcome.left_out
    parts = [f"{len(items)} {what}" for what, items in counts.items() if items]
    if outcome.removed:
        parts.append(f"{len(outcome.removed)} removed ({_names(outcome.removed)})")
    return "; ".join([*([", ".join(parts)] if parts else []), *([run.error] if run.error else [])]) or None


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)
