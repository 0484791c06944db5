"""Organizations: how they are created, changed, and deleted with everything in them."""

from typing import TYPE_CHECKING, Final

from msgspec import UNSET, UnsetType

from pricore.auth.access_tokens import check_name
from pricore.errors import InvalidError
from pricore.models import Organization
from pricore.services.slugs import check_slug, slug_of
from pricore.services.views import Id, Time, View
from pricore.store import Store

if TYPE_CHECKING:
    from pricore.services.opening import Services

MOST_DESCRIPTION: Final = 1000


class OrganizationSummary(View, frozen=True, kw_only=True):
    """An organization in a list."""

    id: Id
    name: str
    slug: str
    created_at: Time


class OrganizationView(OrganizationSummary, frozen=True, kw_only=True):
    """An organization; `slug` is its name in URLs.

    `sync_interval` are the seconds between two looks at its repositories, 0 for none; null follows the instance.
    """

    description: str
    sync_interval: int | None


async def create_organization(
    store: Store, name: str, *, slug: str | None = None, description: str = ""
) -> Organization:
    """Create an organization; its slug is made of its name for None.

    Raises InvalidError for what cannot be one of the three, ConflictError where the slug is taken.
    """
    name = check_name(name)
    slug = slug_of(name) if slug is None else check_slug(slug)
    return await store.organizations.create(slug, name, description=_check_description(description))


async def change_organization(
    store: Store,
    organization: Organization,
    *,
    name: str | UnsetType = UNSET,
    description: str | UnsetType = UNSET,
    sync_interval: int | UnsetType | None = UNSET,
) -> Organization:
    """Change an organization; what is not given stays.

    `sync_interval` is that of its repositories, seconds, 0 for none; None follows the instance. Raises
    InvalidError for what cannot be a name or a description, and where nothing is given, NotFoundError where it is
    gone.
    """
    if name is description is sync_interval is UNSET:
        raise InvalidError("give a name, a description or a sync_interval", field="name")
    return await store.organizations.change(
        organization,
        name=None if name is UNSET else check_name(name),
        description=None if description is UNSET else _check_description(description),
        sync_interval=sync_interval,
    )


async def delete_organization(services: "Services", organization: Organization) -> None:
    """Delete an organization with its repositories, packages, tokens, mirrors and archives.

    Raises NotFoundError where it is gone, ConflictError where a registered lock file names one of its archives:
    asked first, because its repositories go one after another.
    """
    await services.store.locks.check_unused(organization)
    for repository in await services.store.repositories.of_organization(organization.id):
        await services.syncer.remove(repository)
    uploaded = await services.store.archives.uploaded_checksums(organization.id)
    await services.store.organizations.delete(organization)
    await services.remove_archives(uploaded)


def _check_description(text: str) -> str:
    """A description without blanks around it. Raises InvalidError for a long one, or what cannot be shown."""
    text = text.strip()
    if len(text) > MOST_DESCRIPTION or not text.replace("\n", "").isprintable():
        raise InvalidError(
            f"the description must have up to {MOST_DESCRIPTION} characters that can be shown, and line breaks",
            field="description",
        )
    return text
