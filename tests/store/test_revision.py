"""The revision moves with what changes an answer, whoever changed it, and with nothing else."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path

from pricore.models import Organization, Repository
from pricore.store import Store
from pricore.system.clock import now
from tests.harness import Pricore
from tests.store.harness import follow, make_token, outside, publish, released


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


async def test_a_change_in_one_organization_is_no_matter_for_another(
    path: Path, store: Store, acme: Organization, repository: Repository
) -> None:
    """Whoever makes it; what is nobody's, such as a token of the instance, counts for all."""
    other = await store.organizations.create("other", "Other")

    async def moved(work: Awaitable[object]) -> list[str]:
        before = {slug: store.revision_of(slug) for slug in ("acme", "other", None)}
        revision = store.revision()
        await work
        await asyncio.sleep(0)
        assert store.revision() > revision
        await bookkeeping()
        after = {slug: store.revision_of(slug) for slug in before}
        assert all(after[slug] >= before[slug] for slug in before)
        return [str(slug) for slug in before if after[slug] > before[slug]]

    async def bookkeeping() -> None:
        store.usage.dist_used("a" * 40)
        await store.usage.flush()
        await asyncio.sleep(0)
        store.revision()

    everybody = ["acme", "other", "None"]
    assert await moved(publish(store, repository, released())) == ["acme"]
    package = await store.packages.get(acme, "acme/library")
    assert await moved(store.packages.delete_version(acme, package, "1.0.0")) == ["acme"]
    assert await moved(follow(store, other, "thing")) == ["other"]
    assert await moved(make_token(store, other)) == ["other"]
    async with Store(path) as outer:
        token = await make_token(outer, acme)
        assert await moved(outer.tokens.revoke(acme, token.id)) == ["acme"]
        assert await moved(outer.organizations.create("third", "Third")) == everybody
    assert await moved(store.tokens.create(None, name="all", token_hash=b"x", scopes=())) == everybody
    assert await moved(store.organizations.apply_settings(public_url="https://a", inline_limit=1)) == everybody
    assert await moved(store.organizations.delete(other)) == everybody


async def test_a_change_that_says_not_whose_it_is_counts_for_all(
    path: Path, store: Store, acme: Organization
) -> None:
    """As every process of an earlier Pricore makes them, which still had the database open."""
    before = store.revision_of("acme")
    with outside(path) as connection:
        connection.execute("UPDATE revisions SET value = value + 1")
    await asyncio.sleep(0)
    assert store.revision_of("acme") == store.revision() > before
