"""A repository is followed once, and takes along what it alone needs."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pricore.errors import ConflictError, NotFoundError
from pricore.hosts.addresses import parse_address
from pricore.models import Organization, Repository
from pricore.store import Store
from tests.store.harness import OTHER_COMMIT, everything, follow, publish, released


async def test_a_repository_is_followed_once(
    store: Store, acme: Organization, repository: Repository, other: Organization
) -> None:
    """The same repository is refused however its address is written; another organization may follow it too."""
    with pytest.raises(ConflictError, match=rf"^acme follows {repository.url} already"):
        await store.repositories.add(acme, parse_address("ssh://git@git.example.com/library.git"))
    await follow(store, other, "library")

    assert [repository] == await store.repositories.of_organization(acme.id)


async def test_another_port_is_another_repository(
    path: Path, store: Store, acme: Organization, repository: Repository
) -> None:
    """Two ports of a machine are two hosts; an address is refused twice also where its key is of another time."""
    address = parse_address("https://git.example.com:8443/library")
    second = await store.repositories.add(acme, address)
    assert [repository, second] == await store.repositories.of_organization(acme.id)

    with closing(sqlite3.connect(path)) as database, database:  # ports counted for nothing
        database.execute("UPDATE repositories SET url_key = 'old' WHERE id = ?", (second.id,))
    with pytest.raises(ConflictError, match=rf"^acme follows {address.url} already"):
        await store.repositories.add(acme, address)
    with pytest.raises(ConflictError, match=rf"^{address.url} is followed already"):
        await store.repositories.change(repository, address, confined=False)


async def test_a_repository_that_was_removed_meanwhile_publishes_nothing(
    path: Path, store: Store, repository: Repository
) -> None:
    """A sync that ends after its repository was removed brings nothing back."""
    await store.repositories.remove(repository)
    before = everything(path)
    with pytest.raises(NotFoundError):
        await publish(store, repository, released())

    assert before == everything(path)


async def test_a_sync_of_a_repository_that_was_removed_meanwhile_is_not_asked_for(
    path: Path, store: Store, repository: Repository
) -> None:
    """Who asks for a sync a moment too late changes nothing, and is no failure."""
    await store.repositories.remove(repository)
    await store.jobs.add(repository.id)

    assert everything(path)["jobs"] == []


async def test_a_change_is_of_a_repository_that_is_there(
    store: Store, acme: Organization, repository: Repository
) -> None:
    """A repository that was removed in the meantime comes back by no change, and an address has one repository."""
    second = await follow(store, acme, "second")
    with pytest.raises(ConflictError, match="is followed already"):
        await store.repositories.change(second, parse_address(repository.url), confined=False)
    await store.repositories.remove(second)
    with pytest.raises(NotFoundError, match="was removed"):
        await store.repositories.change(second, parse_address(second.url), confined=False)

    assert [repository] == await store.repositories.of_organization(acme.id)


async def test_checksums_that_nothing_else_needs_are_told_on_removal(
    store: Store, acme: Organization, repository: Repository
) -> None:
    """Removing a repository tells which kept archives can go: not those that another one advertises too."""
    await publish(store, repository, released(), released("1.1.0", reference=OTHER_COMMIT))
    await publish(store, await follow(store, acme, "second"), released(package="acme/second"))

    assert {OTHER_COMMIT} == await store.repositories.remove(repository)


async def test_a_webhook_secret_replaces_the_one_that_was_read(store: Store, repository: Repository) -> None:
    """Of two that set the first secret, the earlier one stays; a later one has to know what it replaces."""
    revision = store.revision()
    assert await store.repositories.webhook_secret(repository.id) is None
    await store.repositories.set_webhook_secret(repository.id, b"first", replacing=None)
    await store.repositories.set_webhook_secret(repository.id, b"second", replacing=None)
    assert await store.repositories.webhook_secret(repository.id) == b"first"
    await store.repositories.set_webhook_secret(repository.id, b"third", replacing=b"first")
    await store.repositories.set_webhook_secret(repository.id, b"fourth", replacing=b"first")

    assert await store.repositories.webhook_secret(repository.id) == b"third"
    assert store.revision() == revision, "no answer shows it"
    assert await store.repositories.webhook_secret("nobody") is None
