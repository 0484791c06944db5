"""Organizations: who owns repositories, packages and tokens."""

from typing import Annotated

import msgspec

from pricore.auth import access_tokens
from pricore.errors import ForbiddenError, InvalidError, NotFoundError
from pricore.models import Organization
from pricore.services import management
from pricore.services.opening import Services
from pricore.services.views import (
    Interval,
    Name,
    OrganizationSummary,
    OrganizationView,
)
from pricore.store import Store
from pricore.web.api.routing import (
    Call,
    Data,
    Message,
    Route,
)

Slug = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{management.SLUG}$", "maxLength": 64})]
Description = Annotated[str, msgspec.Meta(extra_json_schema={"maxLength": management.MOST_DESCRIPTION})]


class NewOrganization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An organization to be made; `slug` is its name in URLs, and made of `name` where it is null."""

    name: Name
    slug: Slug | None = None
    description: Description = ""


class OrganizationChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be changed of an organization; what is not given stays. The slug stays in any case.

    `sync_interval` are the seconds between two looks at its repositories, 0 for none; null follows the instance.
    """

    name: Name | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    sync_interval: Interval | msgspec.UnsetType | None = msgspec.UNSET


async def find_organization(store: Store, call: Call) -> Organization:
    """The organization in a call's path. Raises NotFoundError."""
    found = await store.organizations.find(call.path["slug"])
    if found is None:
        raise NotFoundError(access_tokens.NOT_HERE)
    return found


def routes(services: Services) -> list[Route]:
    """The routes of organizations."""
    store = services.store

    async def list_organizations(call: Call) -> Data[list[OrganizationSummary]]:
        found = await store.organizations.all()
        return Data(
            [OrganizationSummary.of(item) for item in found if call.token.organization in (item.slug, None)]
        )

    async def get_organization(call: Call) -> Data[OrganizationView]:
        return Data(OrganizationView.of(await find_organization(store, call)))

    async def create_organization(call: Call) -> Data[OrganizationView]:
        wanted: NewOrganization = call.body
        if call.token.organization_id is not None:
            raise ForbiddenError("only a token of the instance can make organizations")
        name = access_tokens.check_name(wanted.name)
        slug = management.slug_of(name) if wanted.slug is None else management.check_slug(wanted.slug)
        description = management.check_description(wanted.description)
        return Data(OrganizationView.of(await store.organizations.create(slug, name, description=description)))

    async def change_organization(call: Call) -> Data[OrganizationView]:
        wanted: OrganizationChange = call.body
        organization = await whole_organization(call)
        if wanted.name is wanted.description is wanted.sync_interval is msgspec.UNSET:
            raise InvalidError("give a name, a description or a sync_interval", field="name")
        if wanted.sync_interval is not msgspec.UNSET:
            await store.schedule.set_interval(organization.id, None, wanted.sync_interval)
        changed = await store.organizations.change(
            organization,
            name=None if wanted.name is msgspec.UNSET else access_tokens.check_name(wanted.name),
            description=(
                None if wanted.description is msgspec.UNSET else management.check_description(wanted.description)
            ),
        )
        return Data(OrganizationView.of(changed))

    async def delete_organization(call: Call) -> Message:
        await management.delete_organization(services, await whole_organization(call))
        return Message("Organization deleted successfully")

    async def whole_organization(call: Call) -> Organization:
        """The organization in a call's path for who sees all of it. Raises ForbiddenError for others."""
        organization = await find_organization(store, call)
        if call.token.packages is not None:
            raise ForbiddenError(
                "the access token is restricted to packages, so that it cannot change or delete an organization"
            )
        return organization

    return [
        Route(
            method="GET",
            path="/api/organizations",
            handler=list_organizations,
            scope="organizations:read",
            summary="List the organizations that the token sees",
        ),
        Route(
            method="GET",
            path="/api/organizations/{slug}",
            handler=get_organization,
            scope="organizations:read",
            summary="Get an organization",
        ),
        Route(
            method="POST",
            path="/api/organizations",
            handler=create_organization,
            scope="organizations:write",
            summary="Create an organization",
            body=NewOrganization,
            status=201,
            errors=(409,),
        ),
        Route(
            method="PATCH",
            path="/api/organizations/{slug}",
            handler=change_organization,
            scope="organizations:write",
            summary="Change an organization",
            body=OrganizationChange,
        ),
        Route(
            method="DELETE",
            path="/api/organizations/{slug}",
            handler=delete_organization,
            scope="organizations:write",
            summary="Delete an organization with everything in it",
            errors=(409,),
        ),
    ]
