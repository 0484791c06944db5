"""Organizations."""

from pricore import auth, views
from pricore.api.routing import Call, Data, Route
from pricore.errors import NotFoundError
from pricore.models import Organization
from pricore.store import Store
from pricore.views import OrganizationSummary, OrganizationView


async def find_organization(store: Store, call: Call) -> Organization:
    """The organization in a call's path. Raises NotFoundError."""
    found = await store.organizations.find(call.path["slug"])
    if found is None:
        raise NotFoundError(auth.NOT_HERE)
    return found


def routes(store: Store) -> list[Route]:
    """The routes of organizations."""

    async def list_organizations(call: Call) -> Data[list[OrganizationSummary]]:
        found = await store.organizations.all()
        return Data(
            [views.organization_summary(item) for item in found if call.token.organization in (item.slug, None)]
        )

    async def get_organization(call: Call) -> Data[OrganizationView]:
        return Data(views.organization(await find_organization(store, call)))

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
    ]
