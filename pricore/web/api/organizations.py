"""Organizations: who owns repositories, packages and tokens."""

from typing import Annotated, Final

import msgspec

from pricore.errors import ForbiddenError
from pricore.models import Organization
from pricore.services import organizations
from pricore.services.opening import Services
from pricore.services.organizations import OrganizationSummary, OrganizationView
from pricore.services.slugs import SLUG
from pricore.services.views import Interval, Name
from pricore.web.api.finding import check_unrestricted, find_organization
from pricore.web.api.routing import Call, Data, Message, Route

Slug = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{SLUG}$", "maxLength": 64})]
Description = Annotated[str, msgspec.Meta(extra_json_schema={"maxLength": organizations.MOST_DESCRIPTION})]

_ALL: Final = "/api/organizations"
_ONE: Final = f"{_ALL}/{{slug}}"


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


class OrganizationsApi:
    """What the API does with organizations."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    def routes(self) -> list[Route]:
        """The routes of organizations."""
        read, write = "organizations:read", "organizations:write"
        return [
            Route("GET", _ALL, self.list_organizations, read, "List the organizations that the token sees"),
            Route("GET", _ONE, self.get_organization, read, "Get an organization"),
            Route(
                "POST",
                _ALL,
                self.create_organization,
                write,
                "Create an organization",
                body=NewOrganization,
                status=201,
                errors=(409,),
            ),
            Route(
                "PATCH", _ONE, self.change_organization, write, "Change an organization", body=OrganizationChange
            ),
            Route(
                "DELETE",
                _ONE,
                self.delete_organization,
                write,
                "Delete an organization with everything in it",
                errors=(409,),
            ),
        ]

    async def list_organizations(self, call: Call) -> Data[list[OrganizationSummary]]:
        found = await self._store.organizations.all()
        seen = [item for item in found if call.token.rights(item.slug) is not None]
        return Data([OrganizationSummary.of(item) for item in seen])

    async def get_organization(self, call: Call) -> Data[OrganizationView]:
        return Data(OrganizationView.of(await find_organization(self._store, call)))

    async def create_organization(self, call: Call) -> Data[OrganizationView]:
        wanted: NewOrganization = call.body
        if not call.token.instance:
            raise ForbiddenError("only a token of the instance can make organizations")
        made = await organizations.create_organization(
            self._store, wanted.name, slug=wanted.slug, description=wanted.description
        )
        return Data(OrganizationView.of(made))

    async def change_organization(self, call: Call) -> Data[OrganizationView]:
        wanted: OrganizationChange = call.body
        changed = await organizations.change_organization(
            self._store,
            await self._find_whole(call),
            name=wanted.name,
            description=wanted.description,
            sync_interval=wanted.sync_interval,
        )
        return Data(OrganizationView.of(changed))

    async def delete_organization(self, call: Call) -> Message:
        await organizations.delete_organization(self._services, await self._find_whole(call))
        return Message("Organization deleted successfully")

    async def _find_whole(self, call: Call) -> Organization:
        """The organization in a call's path for who sees all of it. Raises ForbiddenError for others."""
        organization = await find_organization(self._store, call)
        check_unrestricted(call, "change or delete an organization")
        return organization
