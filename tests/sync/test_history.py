"""A repository's history has every sync that did something: what it did and left out, and why it failed."""

import asyncio
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar
from uuid import uuid4

import pytest

from pricore.errors import GitError, GitUnavailableError, NotFoundError, SyncError
from pricore.hosts.addresses import parse_address
from pricore.models import LeftOut, Repository, Step, SyncRun, Trigger
from pricore.sync import progress
from pricore.sync.progress import ignore
from pricore.system.clock import now
from pricore.vcs.mirror import Mirror
from tests.harness import GitRepository
from tests.registry import Registry
from tests.store.harness import outside

T = TypeVar("T")


class Followed:
    """A repository with acme/library 1.0.0 on main that is followed, and its history."""

    def __init__(self, registry: Registry, upstream: GitRepository, repository: Repository) -> None:
        self.store = registry.store
        self.syncer = registry.syncer
        self.upstream = upstream
        self.repository = repository

    async def sync(self) -> None:
        await self.syncer.sync(self.repository, progress=ignore)

    async def history(self) -> list[SyncRun]:
        """All runs, newest first."""
        runs, total = await self.store.runs.of_repository(self.repository.id, limit=1000, offset=0)
        assert total == len(runs)
        return runs

    async def statuses(self) -> list[str]:
        return [run.status for run in await self.history()]


@pytest.fixture
async def followed(registry: Registry, upstream: GitRepository) -> Followed:
    repository = await registry.store.repositories.add(registry.organization, parse_address(upstream.url))
    return Followed(registry, upstream, repository)


async def test_the_first_import_is_in_the_history(followed: Followed) -> None:
    """A sync that found something tells what it added, how much it read, and when it was."""
    await followed.sync()
    (run,) = await followed.history()

    assert (run.status, run.error) == ("ok", None)
    assert sorted(run.outcome.added) == ["acme/library:1.0.0", "acme/library:dev-main"]
    assert run.outcome.read == 2
    assert run.started_at is not None
    assert run.finished_at is not None
    assert now() - 60 < run.started_at <= run.finished_at <= now()
    assert await followed.store.runs.find(followed.repository.id, run.id) == run
    assert await followed.store.runs.find("another", run.id) is None


async def test_each_change_is_a_run_of_its_own(followed: Followed) -> None:
    """What came, moved, went, and is kept though its tag is gone, stands in the run that found it."""
    followed.upstream.git("branch", "feature")
    await followed.sync()
    followed.upstream.commit(files={"a.txt": "a"})
    followed.upstream.git("branch", "--quiet", "-D", "feature")
    followed.upstream.git("tag", "-d", "1.0.0")
    await followed.sync()
    newest, first = await followed.history()

    assert len(first.outcome.added) == 3
    assert newest.outcome.updated == ["acme/library:dev-main"]
    assert newest.outcome.removed == ["acme/library:dev-feature"]
    assert newest.outcome.kept == ["acme/library:1.0.0"]


async def test_syncs_that_find_nothing_new_are_one_run(followed: Followed) -> None:
    """However often nothing is new, the history has one line for it, of the last time."""
    await followed.sync()
    await followed.sync()
    before = await followed.history()
    await asyncio.sleep(1.1)
    for _ in range(3):
        await followed.sync()
    after = await followed.history()

    assert [run.status for run in after] == ["unchanged", "ok"]
    assert [run.id for run in before] == [run.id for run in after]
    assert (after[0].started_at or 0) > (before[0].started_at or 0)


async def test_every_ref_that_is_left_out_is_told_with_its_reason(followed: Followed) -> None:
    """Refs that make no version stand in the run that read them, and in those behind it."""
    followed.upstream.tag("nightly")
    followed.upstream.git("checkout", "--quiet", "-b", "broken")
    followed.upstream.commit("{ not JSON")
    followed.upstream.git("checkout", "--quiet", "main")
    await followed.sync()
    await followed.sync()

    for run in await followed.history():
        broken, nightly = run.outcome.left_out
        assert broken.ref == "refs/heads/broken"
        assert "not valid JSON" in broken.reason
        assert nightly == LeftOut("refs/tags/nightly", nightly.reason)
        assert nightly.reason


async def test_a_failure_that_lasts_is_one_run(followed: Followed, tmp_path: Path) -> None:
    """The same failure again moves the end of the one before it; another one is a run of its own."""
    await followed.sync()
    followed.upstream.folder.rename(tmp_path / "away")
    for _ in range(3):
        with pytest.raises(GitError):
            await followed.sync()
    newest = (await followed.history())[0]

    assert await followed.statuses() == ["failed", "ok"]
    assert "there is no Git repository at that address" in (newest.error or "")
    assert newest.finished_at is not None
    (tmp_path / "away").rename(followed.upstream.folder)
    followed.upstream.git("checkout", "--quiet", "--detach")
    followed.upstream.git("branch", "--quiet", "-D", "main")
    followed.upstream.git("tag", "-d", "1.0.0")
    for _ in range(2):
        with pytest.raises(SyncError, match="is empty"):
            await followed.sync()
    assert await followed.statuses() == ["failed", "failed", "ok"]
    followed.upstream.git("branch", "main")
    await followed.sync()
    assert (await followed.statuses())[0] == "ok"


async def test_what_was_published_beside_a_failure_is_told(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where some archives could not be made yet, the run failed, and still tells what it added."""
    await followed.sync()
    followed.upstream.commit()
    followed.upstream.tag("1.1.0")
    unlucky = followed.upstream.git("rev-parse", "1.1.0").strip()
    followed.upstream.commit()
    archive = Mirror.archive

    async def fail_for_one(mirror: Mirror, treeish: str, consume: Callable[[IO[bytes]], T]) -> T:
        if treeish == unlucky:
            raise GitUnavailableError("the disk is full")
        return await archive(mirror, treeish, consume)

    monkeypatch.setattr(Mirror, "archive", fail_for_one)
    await followed.sync()
    newest = (await followed.history())[0]

    assert (newest.status, newest.outcome.updated) == ("failed", ["acme/library:dev-main"])
    assert [item.ref for item in newest.outcome.left_out] == ["refs/tags/1.1.0"]
    repository = await followed.store.repositories.find(followed.repository.id)
    assert repository is not None
    assert (repository.sync_status, repository.sync_error) == ("failed", newest.error)
    monkeypatch.undo()
    await followed.sync()
    assert (await followed.history())[0].outcome.added == ["acme/library:1.1.0"]


async def test_a_sync_that_was_asked_for_is_seen_from_its_beginning(followed: Followed, tmp_path: Path) -> None:
    """One for which nobody asked, and which ends at once, writes nothing of what it does."""
    seen: list[Step | None] = []

    def watch(text: str, done: int, total: int, received: int = 0) -> None:
        found = progress.read(tmp_path / "data" / "repositories", followed.repository.id)
        seen.append(None if found is None else found.step)

    await followed.sync()
    await followed.syncer.sync(followed.repository, progress=watch, trigger=Trigger.SCHEDULE)
    assert seen == [None]
    await followed.syncer.sync(followed.repository, progress=watch, run_id=str(uuid4()))
    assert seen == [None, Step.LISTING]


async def test_a_sync_that_waits_for_its_host_is_seen(followed: Followed, tmp_path: Path) -> None:
    """Nobody has asked for it, but it takes a while."""
    acme = await followed.store.organizations.get("acme")
    with socket.create_server(("127.0.0.1", 0)) as silent_host:
        url = f"git://127.0.0.1:{silent_host.getsockname()[1]}/library"
        repository = await followed.store.repositories.add(acme, parse_address(url))
        running = asyncio.create_task(followed.syncer.sync(repository, progress=ignore, trigger=Trigger.SCHEDULE))
        async with asyncio.timeout(10):
            folder = tmp_path / "data" / "repositories"
            while (found := progress.read(folder, repository.id)) is None:  # noqa: ASYNC110  # a file
                await asyncio.sleep(0.02)
        assert found.step is Step.LISTING
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert progress.read(folder, repository.id) is None


async def test_a_sync_that_is_stopped_as_it_begins_is_interrupted(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the moment in which its row is there, and it doesn't know yet."""
    begin = followed.store.runs.begin

    async def begin_and_stop(*arguments: str, **more: Any) -> str:
        await begin(*arguments, **more)
        raise asyncio.CancelledError

    monkeypatch.setattr(followed.store.runs, "begin", begin_and_stop)
    with pytest.raises(NotFoundError):  # what stops it without its caller is a removal
        await followed.sync()
    assert await followed.statuses() == ["interrupted"]


async def test_a_sync_that_is_stopped_is_interrupted(followed: Followed) -> None:
    """The end of the server is the end of a run: it says so, and the next sync goes on."""
    running = asyncio.create_task(followed.sync())
    async with asyncio.timeout(10):
        # a row, of which nobody tells
        while not (await followed.store.runs.of_repository(followed.repository.id, limit=1, offset=0))[0]:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert await followed.statuses() == ["running"]
    assert (await followed.history())[0].finished_at is None
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await followed.statuses() == ["interrupted"]
    await followed.sync()
    assert await followed.statuses() == ["ok", "interrupted"]


@pytest.mark.parametrize("changed", [True, False])
async def test_a_sync_whose_process_died_is_interrupted(followed: Followed, changed: bool) -> None:
    """A run that nobody ended is not left running: the next sync, whatever it finds, ends it."""
    await followed.sync()
    await followed.store.runs.begin(followed.repository.id, started_at=now())
    if changed:
        followed.upstream.tag("1.1.0")
    await followed.sync()
    newest, left, _ = await followed.history()

    assert (newest.status, left.status) == ("ok" if changed else "unchanged", "interrupted")
    assert left.finished_at is not None


async def test_the_history_has_100_runs_at_most(followed: Followed) -> None:
    """The oldest runs go: a repository's history does not grow without end."""
    for number in range(105):
        await followed.store.repositories.record_failure(followed.repository.id, f"{number}", started_at=number)
    errors = [run.error for run in await followed.history()]

    assert errors == [str(number) for number in range(104, 4, -1)]


async def test_a_removed_repository_has_no_history(followed: Followed) -> None:
    """The history goes along, and what a sync that ends later would write goes nowhere."""
    await followed.sync()
    await followed.store.repositories.remove(followed.repository)
    await followed.store.runs.begin(followed.repository.id, started_at=now())
    await followed.store.repositories.record_failure(followed.repository.id, "late", started_at=now())

    assert await followed.history() == []


async def test_a_repository_at_another_address_is_read_anew(followed: Followed) -> None:
    """What was read from the old address while it was changed does not count as seen at the new one."""
    await followed.sync()
    moved = followed.upstream.folder.with_name("moved")
    shutil.copytree(followed.upstream.folder, moved)
    followed.upstream.tag("1.1.0")
    changed = False

    def change(text: str, done: int, total: int, received: int = 0) -> None:
        nonlocal changed
        if text == Step.CHECKSUMS and not changed:
            changed = True
            with outside(followed.store.path) as connection:
                connection.execute("UPDATE repositories SET url = ?, refs_digest = ''", (str(moved),))

    await followed.syncer.sync(followed.repository, progress=change)
    assert changed
    await followed.sync()

    assert (await followed.history())[0].outcome.read == 2
