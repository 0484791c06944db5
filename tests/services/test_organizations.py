"""An organization is created and changed as a whole, or not at all."""

import pytest

from pricore.errors import ConflictError, InvalidError
from pricore.services.organizations import change_organization, create_organization
from tests.registry import Registry


async def test_a_slug_is_made_of_the_name_where_none_is_given(registry: Registry) -> None:
    """Both are checked, and what the organization is for."""
    made = await create_organization(registry.store, " Köln & Co ", description=" Our own\n")
    assert (made.slug, made.name, made.description) == ("koeln-co", "Köln & Co", "Our own")
    with pytest.raises(ConflictError, match="koeln-co already"):
        await create_organization(registry.store, "Another", slug="koeln-co")
    for name, slug, description, field in (
        ("", "x", "", "name"),
        ("X", "X", "", "slug"),
        ("X", "x", "\x00", "description"),
        ("X", "x", "x" * 1001, "description"),
    ):
        with pytest.raises(InvalidError) as caught:
            await create_organization(registry.store, name, slug=slug, description=description)
        assert caught.value.field == field
    assert [item.slug for item in await registry.store.organizations.all()] == ["acme", "koeln-co"]


async def test_a_change_that_is_refused_leaves_all_as_it_was(registry: Registry) -> None:
    """An interval is not set beside a name that cannot be one."""
    with pytest.raises(InvalidError):
        await change_organization(registry.store, registry.organization, name="", sync_interval=5)
    with pytest.raises(InvalidError):
        await change_organization(registry.store, registry.organization, description="\x00", sync_interval=5)
    with pytest.raises(InvalidError, match="give a name"):
        await change_organization(registry.store, registry.organization)
    assert await registry.store.organizations.get("acme") == registry.organization

    changed = await change_organization(registry.store, registry.organization, name="New", sync_interval=5)
    assert (changed.name, changed.description, changed.sync_interval) == ("New", "", 5)
    assert changed == await registry.store.organizations.get("acme")
