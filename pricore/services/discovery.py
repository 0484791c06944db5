"""What somebody has at a Git host: listed, followed in one go, and its webhooks registered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pricore.errors import InvalidError, PricoreError
from pricore.hosts.addresses import Address, address_at, parse_address
from pricore.hosts.provider import Api, Found, Instance
from pricore.models import Credential, Organization, Repository
from pricore.services.following import find_followed, follow_all
from pricore.services.webhooks import check_public, register_at

if TYPE_CHECKING:
    from pricore.services.opening import Services

_MOST_PATTERNS: Final = 100


@dataclass
class Discovered:
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


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the repositories that are found count, and whether they are read over ssh.

    Raises InvalidError for more than 100 patterns.
    """

    patterns: Sequence[str] = ()
    forks: bool = False
    archived: bool = False
    ssh: bool = False

    def __post_init__(self) -> None:
        if len(self.patterns) > _MOST_PATTERNS:
            raise InvalidError(f"give up to {_MOST_PATTERNS} patterns; * stands for many", field="match")

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


async def discover(
    services: "Services",
    organization: Organization,
    instance: Instance,
    owner: str,
    wanted: Filter,
    *,
    credential: Credential | None = None,
    add: bool = False,
    webhooks: bool = False,
    bar: Callable[[str, int, int], None],
) -> list[Discovered]:
    """List what an owner has at a Git host; `add` follows what is new, `webhooks` registers those of all followed.

    The host is asked with the credential, else with the organization's for it. What fails for one repository is
    told with it. Raises what the host's API does, and InvalidError where that isn't there, or no public URL.
    """
    from pricore.hosts.client import connect  # loads aiohttp

    if webhooks:
        check_public(services.config)
    login = await services.credentials.for_api(organization, instance, credential.name if credential else None)
    async with connect(instance, login, proxy=services.config.git_proxy) as api:
        found = await _list(api, owner, instance, wanted, await find_followed(services, organization))
        if add:
            await _add(services, organization, found, credential, bar)
        if webhooks:
            for item in found:
                await _register(services, item, instance, api)
    return found


async def _list(
    api: Api, owner: str, instance: Instance, wanted: Filter, followed: Mapping[str, Repository]
) -> list[Discovered]:
    """All that is asked for of what an owner has, by name."""
    listed = []
    async for found in api.repositories(owner):
        if not wanted.fits(found.name):
            continue
        # by its name: the address that a host gives could be any other's
        by_https = address_at(instance, found.name)
        by_ssh = parse_address(found.ssh_url, instance.provider, folders=False) if found.ssh_url else by_https
        repository = followed.get(by_https.key) or followed.get(by_ssh.key)
        listed.append(
            Discovered(
                name=found.name,
                address=by_ssh if wanted.ssh else by_https,
                status=wanted.status(found) if repository is None else "followed",
                repository=repository,
            )
        )
    return sorted(listed, key=lambda item: item.name.lower())


async def _add(
    services: "Services",
    organization: Organization,
    found: Sequence[Discovered],
    credential: Credential | None,
    bar: Callable[[str, int, int], None],
) -> None:
    """Follow those that are new."""
    new = [item for item in found if item.status == "new"]
    addresses = [item.address for item in new]
    results = await follow_all(services, organization, addresses, credential=credential, bar=bar)
    followed = await find_followed(services, organization)
    for item, result in zip(new, results, strict=True):
        item.status, item.packages, item.error = result.status, result.packages, result.error
        item.repository = followed.get(item.address.key)


async def _register(services: "Services", item: Discovered, instance: Instance, api: Api) -> None:
    if item.repository is None:
        return
    try:
        done = await register_at(services, api, instance, item.repository, name=item.name)
        item.webhook = "created" if done.created else "updated"
    except PricoreError as error:
        item.webhook, item.error = "failed", f"its webhook is not registered: {error}"
