"""Following many repositories in one go: several are read at a time, and one that fails stops no other."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from pricore.auth.credentials import check_use
from pricore.errors import NoPackageError, PricoreError
from pricore.hosts.addresses import Address, parse_address
from pricore.models import Credential, Organization, Repository
from pricore.sync.progress import ignore

if TYPE_CHECKING:
    from pricore.services.opening import Services


class FollowResult(msgspec.Struct, frozen=True):
    """What became of a repository that was to be followed: added, no package, or failed with an error."""

    status: str
    packages: Sequence[str] = ()
    error: str | None = None


async def find_followed(services: "Services", organization: Organization) -> dict[str, Repository]:
    """The repositories of an organization, by the keys of their addresses."""
    found = await services.store.repositories.of_organization(organization.id)
    return {parse_address(item.url).key: item for item in found}


async def follow_all(
    services: "Services",
    organization: Organization,
    addresses: Sequence[Address],
    *,
    credential: Credential | None = None,
    bar: Callable[[str, int, int], None],
) -> list[FollowResult]:
    """Follow repositories and read them for the first time, as many at once as there are sync workers.

    Gives what became of each. A credential that is given is for those that it fits. `bar` is told what is going
    on, how much of it is done, and how much there is.
    """
    results: dict[int, FollowResult] = {}
    left = iter(enumerate(addresses))

    async def work() -> None:
        for number, address in left:
            results[number] = await _follow(services, organization, address, credential)
            show()

    def show() -> None:
        bar(f"Reading repositories of {organization.slug}", len(results), len(addresses))

    show()
    async with asyncio.TaskGroup() as group:
        for _ in range(services.config.sync_workers):
            group.create_task(work())
    return [results[number] for number in range(len(addresses))]


async def _follow(
    services: "Services", organization: Organization, address: Address, credential: Credential | None
) -> FollowResult:
    try:
        given = None
        if credential is not None and address.url.startswith("http"):
            given = check_use(credential, address.url).id
        report = await services.syncer.add(organization, address, credential_id=given, progress=ignore)
    except NoPackageError:
        return FollowResult("no package")
    except PricoreError as error:
        return FollowResult("failed", error=str(error))
    except Exception as error:  # noqa: BLE001  # of hundreds, one that fails in an unknown way must not end all
        return FollowResult("failed", error=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
    return FollowResult("added", report.packages)
