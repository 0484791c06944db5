"""The quickstart: an organization with repositories and a token, in one go."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from pricore.hosts.addresses import Address, parse_address
from pricore.models import Organization
from pricore.services import sample
from pricore.services.organizations import create_organization
from pricore.services.slugs import slug_of
from pricore.services.tokens import create_token
from pricore.sync.progress import OnProgress
from pricore.sync.report import Report

if TYPE_CHECKING:
    from pricore.services.opening import Services

_TOKEN_NAME = "quickstart"  # noqa: S105  # a name, not a secret


class Quickstart(msgspec.Struct, frozen=True, kw_only=True):
    """What there is after it: the organization, what was found in new repositories, all packages, and the token.

    `secret` is that of the token, None where it was there already: it was shown when it was made.
    """

    organization: Organization
    reports: Sequence[Report]
    packages: Sequence[str]
    secret: str | None


async def set_up(
    services: "Services", name: str, addresses: Sequence[Address], *, progress: OnProgress
) -> Quickstart:
    """Create an organization of that name with repositories and a token; what is there already stays as it is.

    Where there are no repositories, neither given nor followed, it gets a small sample.
    """
    store = services.store
    # by its name too: a slug that was made of it before may be another one
    named = next((item for item in await store.organizations.all() if item.name == name), None)
    found = named or await store.organizations.find(slug_of(name))
    organization = found or await create_organization(store, name)
    followed = {item.url for item in await store.repositories.of_organization(organization.id)}
    if not addresses and not followed:
        made = await sample.create(services.git, services.config.data / "sample" / "hello")
        addresses = [parse_address(str(made))]
    reports = [
        await services.syncer.add(organization, address, progress=progress)
        for address in addresses
        if address.url not in followed
    ]
    secret = None
    if not any(item.name == _TOKEN_NAME for item in await store.tokens.of_organization(organization.id)):
        _, secret = await create_token(store, [organization], _TOKEN_NAME)
    packages = [item.name for item in await store.packages.of_organization(organization.id)]
    return Quickstart(organization=organization, reports=reports, packages=packages, secret=secret)
