"""An organization is made once, and goes as a whole."""

from pathlib import Path

import pytest

from pricore.errors import ConflictError, NotFoundError
from pricore.models import Organization, Repository
from pricore.store import Store
from tests.store.harness import everything, follow, make_token, publish, released


async def test_an_organization_is_made_once(store: Store, acme: Organization) -> None:
    """A slug that is taken is refused, and the one that has it stays as it was."""
    with pytest.raises(ConflictError):
        await store.organizations.create("acme", "Another")

    assert [acme] == await store.organizations.all()


async def test_an_organization_goes_with_everything_in_it(
    path: Path, store: Store, acme: Organization, repository: Repository, other: Organization
) -> None:
    """Of an organization that is deleted nothing is left, and of the others nothing goes."""
    await make_token(store, acme, packages=["acme/library"])
    await publish(store, repository, released())
    store.usage.installed(acme.id, "acme/library", "1.0.0.0")
    await store.usage.flush()
    kept = await make_token(store, other)
    await store.organizations.delete(acme)

    left = {name for name, rows in everything(path).items() if rows}
    # and the dates that were given under its slug
    left -= {"served_settings", "sqlite_stat1", "former_organizations"}
    assert left == {"organizations", "revisions", "tokens", "token_organizations"}
    assert [kept] == await store.tokens.of_organization(other.id)


async def test_nothing_is_put_into_an_organization_that_is_gone(
    store: Store, acme: Organization, repository: Repository
) -> None:
    """Whoever looked an organization up before it was deleted is told so, whatever they want of it."""
    await store.organizations.delete(acme)

    for attempt in (
        make_token(store, acme),
        follow(store, acme, "library"),
        publish(store, repository, released()),
        store.organizations.change(acme, name="Acme Inc"),
        store.organizations.delete(acme),
    ):
        with pytest.raises(NotFoundError):
            await attempt
