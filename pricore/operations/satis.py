"""Following the same repositories as a Satis, with the same logins."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from pricore.models import Organization
from pricore.operations.satis_file import Satis, SatisLogin, SatisRepository
from pricore.services.following import find_followed, follow_all

if TYPE_CHECKING:
    from pricore.services.opening import Services


@dataclass
class Imported:
    """A repository of a satis.json.

    `status` is new, followed or passed over; a new one that was to be followed is added, no package or failed.
    """

    repository: SatisRepository
    status: str
    packages: Sequence[str] = ()
    reason: str | None = None


class ImportResult(msgspec.Struct, frozen=True):
    """What became of the repositories of a satis.json, and the hosts for which credentials were made."""

    repositories: list[Imported]
    hosts: Sequence[str] = ()


def plan_import(satis: Satis, *, followed: Collection[str] = ()) -> ImportResult:
    """What each repository is to an organization that has `followed` some, by the keys of their addresses.

    One that is named twice counts once.
    """
    known = {*followed}
    items = []
    for repository in satis.repositories:
        if repository.address is None:
            items.append(Imported(repository, "passed over", reason=repository.reason))
        elif repository.address.key in known:
            items.append(Imported(repository, "followed"))
        else:
            known.add(repository.address.key)
            items.append(Imported(repository, "new"))
    return ImportResult(items)


async def import_satis(
    services: "Services", satis: Satis, slug: str, *, dry_run: bool, bar: Callable[[str, int, int], None]
) -> ImportResult:
    """Follow the repositories of a satis.json in an organization, which is made if it isn't there.

    The logins become credentials, for hosts that the organization has none for. A `dry_run` only plans it.
    """
    organization = await services.store.organizations.find(slug)
    if organization is None and not dry_run:
        organization = await services.store.organizations.create(slug, satis.name or slug)
    if organization is None:
        return plan_import(satis)
    planned = plan_import(satis, followed=await find_followed(services, organization))
    if dry_run:
        return planned
    hosts = await _keep(services, organization, satis.logins)
    new = [item for item in planned.repositories if item.status == "new"]
    addresses = [item.repository.address for item in new if item.repository.address is not None]
    results = await follow_all(services, organization, addresses, bar=bar)
    for item, result in zip(new, results, strict=True):
        item.status, item.packages, item.reason = result.status, result.packages, result.error
    return ImportResult(planned.repositories, hosts)


async def _keep(services: "Services", organization: Organization, logins: Sequence[SatisLogin]) -> list[str]:
    """Make credentials of logins, for hosts that the organization has none for; gives the hosts."""
    hosts = []
    for login in logins:
        there = await services.store.credentials.of_host(
            organization.id, kind="https", host=login.host, plain=login.plain
        )
        if there is None:
            await services.credentials.add_https(
                organization,
                f"satis-{re.sub('[^A-Za-z0-9.-]', '-', login.host)}"[:64],
                host=login.host,
                username=login.username,
                token=login.token,
                plain=login.plain,
            )
            hosts.append(login.host)
    return hosts
