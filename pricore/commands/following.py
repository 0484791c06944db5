"""Following many repositories in one go: several are read at a time, and one that fails stops no other."""

import asyncio
from collections.abc import Sequence

import msgspec

from pricore.auth.credentials import check_use
from pricore.commands.session import Bar
from pricore.errors import NoPackageError, PricoreError
from pricore.hosts.addresses import Address
from pricore.models import Credential, Organization
from pricore.sync.progress import ignore
from pricore.sync.syncer import Syncer


class Outcome(msgspec.Struct, frozen=True):
    """What became of a repository that was to be followed: added, no package, or failed with an error."""

    status: str
    packages: Sequence[str] = ()
    error: str | None = None


async def follow_all(
    syncer: Syncer,
    organization: Organization,
    addresses: Sequence[Address],
    *,
    credential: Credential | None = None,
    together: int,
    bar: Bar,
) -> list[Outcome]:
    """Follow repositories and read them for the first time, `together` at once; gives what became of each.

    A credential that is given is for those that it fits.
    """
    outcomes: list[Outcome | None] = [None] * len(addresses)
    left = iter(enumerate(addresses))

    async def work() -> None:
        for number, address in left:
            outcomes[number] = await _follow(syncer, organization, address, credential)
            show()

    def show() -> None:
        done = sum(1 for outcome in outcomes if outcome is not None)
        bar(f"Reading repositories of {organization.slug}", done, len(addresses))

    show()
    async with asyncio.TaskGroup() as group:
        for _ in range(together):
            group.create_task(work())
    return [outcome for outcome in outcomes if outcome is not None]


async def _follow(
    syncer: Syncer, organization: Organization, address: Address, credential: Credential | None
) -> Outcome:
    try:
        given = None
        if credential is not None and address.url.startswith("http"):
            given = check_use(credential, address.url).id
        report = await syncer.add(organization, address, credential_id=given, progress=ignore)
    except NoPackageError:
        return Outcome("no package")
    except PricoreError as error:
        return Outcome("failed", error=str(error))
    except Exception as error:  # noqa: BLE001  # of hundreds, one that fails in an unknown way must not end all
        return Outcome("failed", error=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
    return Outcome("added", report.packages)
