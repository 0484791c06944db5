"""`pricore lock`: composer.lock files that are in use, and whether they can be installed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pricore.commands.completing import offer
from pricore.commands.finding import find_lock, find_organization
from pricore.commands.session import Org, Session, Yes, command, print_table, warn
from pricore.errors import InvalidError, NotFoundError
from pricore.models import Finding, Lock, LockedPackage, Organization
from pricore.services import lock_files, locks
from pricore.services.slugs import slug_of
from pricore.store import Store
from pricore.system.clock import rfc3339

if TYPE_CHECKING:
    from rich.console import Console

    from pricore.services.opening import Services

app = typer.Typer(name="lock", help="Lock files in use; the packages they name are kept.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A composer.lock; - is standard input.")]


@command(app, "register")
def register(
    session: Session,
    file: File,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="What is installed from it, such as production; by default the folder's name."
        ),
    ] = None,
) -> None:
    """Protect the packages in a lock file from being pruned or deleted, until it is replaced or removed."""
    if name is None:
        if str(file) == "-":
            raise InvalidError("a lock file that comes from standard input needs a --name", field="name")
        name = slug_of(file.resolve().parent.name)
    name = locks.check_name(name)
    lock = lock_files.read_lock(file)

    async def work(services: "Services") -> tuple[list[Lock], list[Finding]]:
        packages = await _find_packages(services, lock, file)
        slugs = dict.fromkeys(item.organization for item in packages)
        organizations = [await find_organization(services.store, slug) for slug in slugs]
        made = await locks.register_lock(services, name, packages, organizations)
        return made, await locks.Checker(services).check(packages)

    made, findings = session.run_with_services(work)
    missing = [item for item in findings if item.problem is not None]

    def render(console: "Console") -> None:
        for lock in made:
            text = f"Registered {lock.name} in {lock.organization}: packages that it names: {len(lock.packages)}."
            console.print(text, markup=False, soft_wrap=True)
        for item in missing:
            title = f"{item.package.package} {item.package.version}"
            warn(f"warning: {title} cannot be installed now: {item.problem}")

    session.show([locks.LockView.of(lock) for lock in made], render)


@command(app, "check")
def check(session: Session, file: File) -> None:
    """Check for each package of this registry in a lock file whether it can be installed now.

    It does what a download would do and compares the checksum. Exits with 1 if a package cannot be installed.
    """
    lock = lock_files.read_lock(file)

    async def work(services: "Services") -> list[Finding]:
        return await locks.Checker(services).check(await _find_packages(services, lock, file))

    findings = session.run_with_services(work)
    session.show(
        [locks.view_finding(item) for item in findings],
        lambda console: print_table(
            console,
            ("package", "version", "organization", ""),
            [
                (item.package.package, item.package.version, item.package.organization, item.problem or "ok")
                for item in findings
            ],
        ),
    )
    if missing := sum(item.problem is not None for item in findings):
        raise NotFoundError(f"{missing} of {len(findings)} packages cannot be installed from {file}")


@command(app, "list")
def show_all(session: Session, org: Org) -> None:
    """List the registered lock files."""

    async def work(store: Store) -> list[Lock]:
        return await store.locks.of_organization(await find_organization(store, org))

    found = session.run(work)
    session.show(
        [locks.LockView.of(item) for item in found],
        lambda console: print_table(
            console,
            ("name", "packages", "registered"),
            [(item.name, len(item.packages), rfc3339(item.registered_at)) for item in found],
        ),
    )


@command(app, "remove")
def remove(
    session: Session,
    org: Org,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The name from `lock list`.", autocompletion=offer("locks"))
    ],
    yes: Yes = False,
) -> None:
    """Remove a registered lock file. Its packages are no longer protected."""

    async def find(store: Store) -> tuple[Organization, str]:
        organization = await find_organization(store, org)
        return organization, await find_lock(store, organization, name)

    organization, found = session.run(find)
    session.confirm(f"removes the lock {found}: what it names is no longer kept from deletion", yes=yes)
    session.run(lambda store: store.locks.remove(organization, found))
    session.show({"removed": found}, lambda console: console.print(f"Removed {found}.", markup=False))


async def _find_packages(services: "Services", lock: lock_files.LockFile, file: Path) -> list[LockedPackage]:
    """The packages in a lock file that come from this registry. Raises InvalidError where there are none."""
    # a server that was given it in its own environment has it on record
    public_url = services.config.public_url or await services.store.health.public_url() or ""
    packages = lock_files.packages_of(lock, public_url=public_url)
    if not packages:
        where = f" ({public_url})" if public_url else ""
        raise InvalidError(f"no package in {file} comes from this registry{where}", field="file")
    return packages
