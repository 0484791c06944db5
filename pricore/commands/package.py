"""`pricore package`: what is served."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import msgspec
import typer

from pricore.commands.completing import offer
from pricore.commands.finding import find_organization, find_package, find_version
from pricore.commands.session import Org, Session, Yes, command, print_fields, print_table, steps_of
from pricore.errors import InvalidError
from pricore.models import Downloads, Organization, Package, Version
from pricore.services import packages
from pricore.services.periods import parse_period
from pricore.store import Store
from pricore.system.clock import now, rfc3339

if TYPE_CHECKING:
    from rich.console import Console

    from pricore.services.opening import Services

app = typer.Typer(name="package", help="Packages that are served.", no_args_is_help=True)

_Name = Annotated[
    str,
    typer.Argument(metavar="VENDOR/NAME", help="The package's name.", autocompletion=offer("packages")),
]


@command(app, "list")
def show_all(session: Session, org: Org) -> None:
    """List the packages of an organization."""

    async def work(store: Store) -> list[Package]:
        return await store.packages.of_organization((await find_organization(store, org)).id)

    found = session.run(work)
    session.show(
        [packages.PackageSummary.of(item) for item in found],
        lambda console: print_table(
            console,
            ("name", "latest", "type", "description"),
            [(item.name, item.latest_version, item.type, item.description) for item in found],
        ),
    )


@command(app, "show")
def show(
    session: Session,
    org: Org,
    name: _Name,
) -> None:
    """Show a package and its versions."""

    async def work(store: Store) -> tuple[Package, list[Version]]:
        found = await find_package(store, await find_organization(store, org), name)
        return found, await store.packages.versions(found)

    found, versions = session.run(work)
    summary = msgspec.to_builtins(packages.PackageSummary.of(found))
    document = summary | {"versions": [packages.VersionView.of(item) for item in versions]}

    def render(console: "Console") -> None:
        print_fields(console, list(summary.items()))
        print_table(
            console,
            ("version", "commit", "released", ""),
            [
                (
                    item.version,
                    item.reference[:12],
                    rfc3339(item.released_at),
                    _remark(item),
                )
                for item in versions
            ],
        )

    session.show(document, render)


@command(app, "upload")
def upload(
    session: Session,
    org: Org,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A zip with a composer.json.")],
    version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Its version; by default the one in composer.json.")
    ] = None,
) -> None:
    """Upload a package as a zip, if it is in no Git repository.

    A release never changes. Branch versions such as dev-main can be uploaded again.
    """

    async def work(services: "Services") -> tuple[str, Version]:
        organization = await find_organization(services.store, org)
        with _open(file, limit=session.config.upload_limit) as content:
            return await services.uploads.add(organization, content, version=version)

    name, made = session.run_with_services(work)
    session.show(
        packages.UploadView.of(made, package=name),
        lambda console: console.print(f"{name} {made.version} is served.", markup=False, soft_wrap=True),
    )


@command(app, "accept")
def accept(
    session: Session,
    org: Org,
    name: _Name,
    version: Annotated[str, typer.Argument(help="The version whose tag moved.")],
) -> None:
    """Accept a moved tag: the released version moves to the new commit of its tag.

    Lock files that name the old commit still install it.
    """

    async def work(services: "Services") -> tuple[Package, Version, Version]:
        organization = await find_organization(services.store, org)
        package, found = await _find_both(services.store, organization, name, version)
        with session.progress() as bar:
            served = await packages.accept_version(services, package, found, progress=steps_of(bar))
        return package, found, served

    package, before, after = session.run_with_services(work)
    session.show(
        {
            "package": package.name,
            "version": after.version,
            "before": before.reference,
            "reference": after.reference,
        },
        lambda console: console.print(
            f"{package.name} {after.version} is {after.reference[:12]} now, and was {before.reference[:12]}.",
            markup=False,
        ),
    )


@command(app, "delete")
def delete(
    session: Session,
    org: Org,
    name: _Name,
    version: Annotated[str | None, typer.Argument(help="The version; by default the whole package.")] = None,
    yes: Yes = False,
) -> None:
    """Delete a package or a version. From Git, it stays deleted until upstream has another commit for it."""

    async def find(store: Store) -> tuple[Organization, Package, Version | None]:
        organization = await find_organization(store, org)
        if version is None:
            return organization, await find_package(store, organization, name), None
        return organization, *await _find_both(store, organization, name, version)

    organization, package, found = session.run(find)
    what = package.name if found is None else f"{package.name} {found.version}"
    session.confirm(f"deletes {what} with its archives", yes=yes)

    async def work(services: "Services") -> None:
        if found is None:
            await packages.delete_package(services, organization, package)
        else:
            await packages.delete_version(services, organization, package, found.version)

    session.run_with_services(work)
    session.show(
        {"deleted": package.name, "version": None if found is None else found.version},
        lambda console: console.print(f"Deleted {what}.", markup=False),
    )


@command(app, "downloads")
def downloads(
    session: Session,
    org: Org,
    name: _Name,
    first: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="The first day; by default 30 days ago.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="The last day; by default today.")
    ] = None,
) -> None:
    """Show how often a package was installed and how often its archives were sent, by day and version.

    Composer reports installs, also from its cache. Other programs that download archives do not.
    """
    since, to = parse_period(first, last, at=now())

    async def work(store: Store) -> Downloads:
        package = await find_package(store, await find_organization(store, org), name)
        return await packages.count_downloads(store, package, first=since, last=to)

    document = packages.view_downloads(session.run(work))

    def render(console: "Console") -> None:
        print_fields(
            console,
            [
                ("installs since ever", document.total),
                ("archives since ever", document.total_archives),
                ("from", document.first),
                ("to", document.last),
            ],
        )
        print_table(
            console,
            ("version", "installs", "archives"),
            [(item.version, item.downloads, item.archives) for item in document.versions],
        )
        print_table(
            console,
            ("day", "installs", "archives"),
            [
                (item.date, item.downloads, item.archives)
                for item in document.days
                if item.versions or item.archives
            ],
        )

    session.show(document, render)


async def _find_both(store: Store, organization: Organization, name: str, version: str) -> tuple[Package, Version]:
    package = await find_package(store, organization, name)
    return package, await find_version(store, organization, package, version)


@contextmanager
def _open(file: Path, *, limit: int) -> Iterator[IO[bytes]]:
    """A file to be uploaded. Raises InvalidError where it cannot be read, or has more megabytes than the limit."""
    try:
        content = file.open("rb")
    except OSError as error:
        raise InvalidError(f"cannot read {file}: {error.strerror}", field="file") from None
    with content:
        if not content.seekable():
            raise InvalidError(f"{file} is not a file", field="file")
        if content.seek(0, io.SEEK_END) > limit * 1024**2:
            raise InvalidError(f"{file} has more than the {limit} MB that upload_limit allows", field="file")
        yield content


def _remark(item: Version) -> str:
    """What an operator should know of a version."""
    gone = "" if item.gone_at is None else f"gone upstream since {rfc3339(item.gone_at)}"
    if item.moved_to is None:
        return gone
    return (
        f"{gone}; another tag that means it is at {item.moved_to[:12]}"
        if gone
        else (f"its tag moved to {item.moved_to[:12]}")
    )
