"""The revision moves with what changes an answer, whoever changed it, and with nothing else."""

import asyncio
from pathlib import Path

from pricore.clock import now
from pricore.models import Organization, Repository
from pricore.store import Store
from tests.harness import Pricore
from tests.store.harness import follow, make_token, publish, released


async def test_the_revision_moves_with_every_change_that_shows(store: Store, acme: Organization) -> None:
    """Whatever changes an answer moves the revision, and reading leaves it where it is."""
    seen = [store.revision()]
    token = await make_token(store, acme)
    seen.append(store.revision())
    repository = await follow(store, acme, "library")
    seen.append(store.revision())
    await publish(store, repository, released())
    seen.append(store.revision())
    await store.tokens.revoke(acme, token.id)
    seen.append(store.revision())
    await store.repositories.remove(repository)
    seen.append(store.revision())

    assert sorted(set(seen)) == seen
    await store.packages.of_organization(acme.id)
    assert seen[-1] == store.revision()


async def test_the_revision_moves_for_changes_of_other_connections(path: Path, store: Store) -> None:
    """What another store on the same file changes is seen by the very next question."""
    before = store.revision()
    async with Store(path) as other:
        await other.organizations.create("acme", "Acme")
        assert before < store.revision()
        assert other.revision() == store.revision()


async def test_the_revision_moves_for_changes_of_other_processes(path: Path, store: Store) -> None:
    """What the command line changes while the server runs is seen by the very next question."""
    before = store.revision()
    await asyncio.to_thread(Pricore(path.parent).run, "org", "create", "acme")

    assert before < store.revision()
    assert await store.organizations.find("acme") is not None


async def test_the_revision_stays_for_bookkeeping(
    store: Store, acme: Organization, repository: Repository
) -> None:
    """Token use, downloads and syncs that find nothing are written without emptying any cache."""
    token = await make_token(store, acme)
    await publish(store, repository, released())
    before = store.revision()
    store.usage.token_used(token.id, now())
    store.usage.installed(acme.id, "acme/library", "1.0.0.0")
    await store.usage.flush()
    await store.repositories.record_unchanged(repository.id, started_at=now())
    await store.repositories.record_failure(repository.id, "unreachable", started_at=now())

    assert before == store.revision()
    assert [token.id] == [item.id for item in await store.tokens.of_organization(acme.id) if item.last_used_at]
