"""Lists are as long as they are, and NULL stays what it means, whatever a statement takes."""

from pricore.models import Organization, Repository
from pricore.store import Store
from pricore.tables.sql import MOST_PARAMETERS, chosen, in_chunks
from tests.store.harness import COMMIT, publish, released


async def test_a_list_can_be_longer_than_a_statement(
    store: Store, acme: Organization, repository: Repository
) -> None:
    """Of more checksums, names and packages than SQLite takes parameters, all are looked up."""
    await publish(store, repository, released())
    many = [f"{number:040x}" for number in range(2 * MOST_PARAMETERS + 1)]
    async with store.archives.unnamed([*many, COMMIT]) as unnamed:
        assert unnamed == set(many)
    owners = await store.packages.owners(acme.id, [*many, "acme/library"])
    assert owners == {"acme/library": (repository.id, repository.url)}


def test_a_list_of_nothing_is_a_list() -> None:
    """PostgreSQL has no empty one: it holds what is no id and no name."""
    assert (chosen([]), chosen(["a"]), chosen(["a", "b"])) == ("('')", "(?)", "(?, ?)")
    assert list(in_chunks([], 2)) == []
    assert list(in_chunks(range(5), 2)) == [[0, 1], [2, 3], [4]]


async def test_never_stays_never(store: Store, acme: Organization, repository: Repository) -> None:
    """What is looked at on request alone isn't scheduled by what lets others be looked at sooner."""
    await store.repositories.change(repository, sync_interval=0)
    await store.repositories.change(repository, credential_id=None)
    await store.repositories.record_failure(repository.id, "it failed", started_at=1)
    async with store.transaction() as db:
        await db.execute("UPDATE repositories SET failed_digest = 'x'")
    await publish(store, repository, released())
    await store.packages.upload(acme, released(package="acme/uploaded"), keep=nothing)
    await store.packages.delete(acme, await store.packages.get(acme, "acme/uploaded"))

    found = await store.repositories.find(repository.id)
    assert found is not None
    assert found.refs_digest.startswith("anew:"), "it is to be read anew, when somebody asks"
    assert found.next_sync_at is None


async def nothing() -> None: ...
