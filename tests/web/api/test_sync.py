"""A sync that was asked for over the API is on disk before the answer, and is done whatever happens."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.harness import GitRepository
from tests.web.api.harness import ALL, ORG, call, eventually, held, jobs, read, repository_id, wait_for_jobs
from tests.web.composer.harness import Start, World

COMPOSER = {"name": "acme/followed"}


@pytest.fixture
async def followed(world: World, upstream: GitRepository) -> GitRepository:
    """A repository that is followed, with acme/followed 1.0.0."""
    upstream.commit(COMPOSER)
    upstream.tag("1.0.0")
    await world.follow(upstream)
    return upstream


def release(upstream: GitRepository, version: str) -> None:
    upstream.commit(COMPOSER, files={"version.txt": version})
    upstream.tag(version)


async def ask_for_sync(world: World, repository: str, secret: str) -> None:
    reply = await call(world, "POST", f"{ORG}/repositories/{repository}/sync", secret)
    assert (reply.status, reply.json) == (200, {"message": "Sync queued successfully"})


async def wait_for_version(world: World, package: str, version: str, secret: str) -> None:
    """Wait until Composer's metadata has a version."""

    async def served() -> bool:
        return version in await world.versions(package, secret)

    await eventually(served, f"{package} {version} is served")


async def view(world: World, repository: str, secret: str) -> Any:
    found = {item["id"]: item for item in (await read(world, f"{ORG}/repositories", secret))["data"]}
    return found[repository]


async def test_what_was_asked_for_is_served_afterwards(world: World, admin: str, followed: GitRepository) -> None:
    """The server itself syncs: a tag that was pushed before the request is served soon after."""
    repository = await repository_id(world, "acme/followed", admin)
    release(followed, "1.1.0")
    await ask_for_sync(world, repository, admin)

    await wait_for_version(world, "acme/followed", "1.1.0", admin)
    await wait_for_jobs(world, [])
    assert (await view(world, repository, admin))["sync_status"] == "ok"


async def test_a_sync_is_on_disk_before_the_answer(world: World, admin: str, followed: GitRepository) -> None:
    """When "queued" was said, another process finds the job in the database."""
    repository = await repository_id(world, "acme/followed", admin)
    with held(world, repository):
        await ask_for_sync(world, repository, admin)
        assert len(jobs(world)) == 1
    await wait_for_jobs(world, [])


async def test_twenty_requests_while_one_runs_are_one_more_run(
    world: World, admin: str, followed: GitRepository
) -> None:
    """However often a sync is asked for while one runs, one more follows it, and sees what came in between."""
    repository = await repository_id(world, "acme/followed", admin)
    with held(world, repository):
        await ask_for_sync(world, repository, admin)
        await wait_for_jobs(world, [True])
        for _ in range(20):
            await ask_for_sync(world, repository, admin)
            assert jobs(world) == [True, False]
        release(followed, "1.1.0")

    await wait_for_version(world, "acme/followed", "1.1.0", admin)
    await wait_for_jobs(world, [])


async def test_the_jobs_of_two_repositories_are_both_done(
    world: World, admin: str, followed: GitRepository
) -> None:
    """What waits behind another repository's sync is not dropped in its favour."""
    first = await repository_id(world, "acme/library", admin)
    second = await repository_id(world, "acme/followed", admin)
    release(followed, "1.1.0")
    with held(world, first):
        await ask_for_sync(world, first, admin)
        await wait_for_jobs(world, [True])
        await ask_for_sync(world, second, admin)
        assert jobs(world) == [True, False]

    await wait_for_version(world, "acme/followed", "1.1.0", admin)
    await wait_for_jobs(world, [])


@pytest.mark.parametrize("again", [False, True], ids=["begun", "begun and asked for again"])
async def test_a_sync_that_was_cut_off_is_done_after_the_restart(
    start: Start, world: World, admin: str, followed: GitRepository, again: bool
) -> None:
    """A job that was begun when the process ended is done by the next one, once."""
    repository = await repository_id(world, "acme/followed", admin)
    release(followed, "1.1.0")
    with held(world, repository):
        await ask_for_sync(world, repository, admin)
        await wait_for_jobs(world, [True])
        if again:
            await ask_for_sync(world, repository, admin)
        await world.client.close()
    assert jobs(world) == [False], "it was put back, once"

    restarted = await start(inline_limit=0)
    await wait_for_version(restarted, "acme/followed", "1.1.0", admin)
    await wait_for_jobs(restarted, [])


async def test_a_failing_repository_does_not_stop_the_next(
    world: World, admin: str, followed: GitRepository, tmp_path: Path
) -> None:
    """A sync that fails is on record with its reason, is not tried without end, and the next one runs."""
    broken = GitRepository(tmp_path / "broken")
    broken.commit({"name": "acme/broken"})
    broken.tag("1.0.0")
    await world.follow(broken)
    first = await repository_id(world, "acme/broken", admin)
    second = await repository_id(world, "acme/followed", admin)
    shutil.rmtree(broken.folder)
    release(followed, "1.1.0")
    await ask_for_sync(world, first, admin)
    await ask_for_sync(world, second, admin)

    await wait_for_version(world, "acme/followed", "1.1.0", admin)
    await wait_for_jobs(world, [])
    failed = await view(world, first, admin)
    assert failed["sync_status"] == "failed"
    assert failed["sync_error"]
    assert set(await world.versions("acme/broken", admin)) == {"1.0.0", "dev-main"}, "what was served stays"


async def test_a_repository_that_is_removed_takes_its_jobs_along(
    world: World, admin: str, followed: GitRepository
) -> None:
    """A removal leaves nothing in the queue that could never be done, and the queue goes on."""
    busy = await repository_id(world, "acme/library", admin)
    gone = await repository_id(world, "acme/followed", admin)
    with held(world, busy):
        await ask_for_sync(world, busy, admin)
        await wait_for_jobs(world, [True])
        await ask_for_sync(world, gone, admin)
        repository = await world.store.repositories.find(gone)
        assert repository is not None
        await world.syncer.remove(repository)
        assert jobs(world) == [True]
    await wait_for_jobs(world, [])
    await ask_for_sync(world, busy, admin)
    await wait_for_jobs(world, [])


async def test_a_job_of_another_process_is_seen(
    start: Start, world: World, followed: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process put into the queue is done without anybody telling the server."""
    monkeypatch.setattr("pricore.sync.queue.POLL_SECONDS", 0.05)
    restarted = await start(inline_limit=0)
    await world.client.close()
    secret = await restarted.token(scopes=ALL)
    release(followed, "1.1.0")
    await world.store.jobs.add(await repository_id(restarted, "acme/followed", secret))

    await wait_for_version(restarted, "acme/followed", "1.1.0", secret)


async def test_syncing_goes_on_when_the_database_works_again(
    start: Start, world: World, followed: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that could not be read for a while is worked on afterwards: the worker did not end with it."""
    monkeypatch.setattr("pricore.sync.queue.POLL_SECONDS", 0.05)
    await world.client.close()
    with world.database() as connection:
        connection.execute("ALTER TABLE jobs RENAME TO hidden")
    restarted = await start(inline_limit=0)
    secret = await restarted.token(scopes=ALL)
    repository = await repository_id(restarted, "acme/followed", secret)
    reply = await call(restarted, "POST", f"{ORG}/repositories/{repository}/sync", secret)
    assert reply.status == 500
    with world.database() as connection:
        connection.execute("ALTER TABLE hidden RENAME TO jobs")
    release(followed, "1.1.0")
    await ask_for_sync(restarted, repository, secret)

    await wait_for_version(restarted, "acme/followed", "1.1.0", secret)
