"""What the path of a call names, as far as its token may see it: what it may not see does not exist for it."""

from pricore.auth import access_tokens
from pricore.errors import ForbiddenError, NotFoundError
from pricore.models import Organization, Package
from pricore.store import Store
from pricore.web.api.routing import Call


async def find_organization(store: Store, call: Call) -> Organization:
    """The organization in a call's path. Raises NotFoundError."""
    return await store.organizations.get(call.path["slug"])


async def find_package(store: Store, call: Call) -> tuple[Organization, Package]:
    """The organization and the package in a call's path. Raises NotFoundError."""
    organization = await find_organization(store, call)
    found = await store.packages.find(organization.id, call.path["package"])
    if found is None or not access_tokens.may_see(call.token, found.name):
        raise NotFoundError(access_tokens.NOT_HERE)
    return organization, found


def check_unrestricted(call: Call, what: str) -> None:
    """Refuse with ForbiddenError a call whose token is restricted to packages; `what` it then cannot do."""
    if call.token.packages is not None:
        raise ForbiddenError(f"the access token is restricted to packages, so that it cannot {what}")
