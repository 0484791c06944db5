"""What the path of a call names, as far as its token may see it: what it may not see does not exist for it."""

from pricore.auth import access_tokens
from pricore.errors import ForbiddenError, NotFoundError
from pricore.models import Organization, Package
from pricore.rights.visibility import Rights, Visibility
from pricore.services import visible
from pricore.store import Store
from pricore.web.api.routing import Call


async def find_organization(store: Store, call: Call) -> Organization:
    """The organization in a call's path. Raises NotFoundError."""
    return await store.organizations.get(call.path["slug"])


def rights_of(call: Call) -> Rights:
    """What the token of a call sees of the organization in its path."""
    return access_tokens.rights_of(call.token, call.path["slug"])


async def find_package(store: Store, call: Call) -> tuple[Organization, Package, Visibility]:
    """The organization and the package in a call's path, and what is seen of that. Raises NotFoundError."""
    organization, rights = await find_organization(store, call), rights_of(call)
    found = await store.packages.find(organization.id, call.path["package"])
    view = None if found is None else rights.view(found.name)
    if found is None or view is None:
        raise NotFoundError(access_tokens.NOT_HERE)
    (shown,) = await visible.show(store, [found], rights)
    return organization, shown, view


def check_unrestricted(call: Call, what: str) -> None:
    """Refuse with ForbiddenError a call whose token is restricted to packages; `what` it then cannot do."""
    if rights_of(call).restricted:
        raise ForbiddenError(f"the access token is restricted to packages, so that it cannot {what}")


def check_whole(view: Visibility, package: str, what: str) -> None:
    """Refuse with ForbiddenError who doesn't see all versions of a package; `what` they then cannot do."""
    if not view.has_all:
        raise ForbiddenError(f"the access token has {view.describe()} of {package}, so that it cannot {what}")
