"""A repository that is removed is gone at once and leaves nothing behind, also while it is being read."""

import asyncio
import fcntl
import logging
import time
import uuid
from collections.abc import AsyncIterator

import pytest

from pricore.errors import GitError, NotFoundError
from pricore.hosts.addresses import parse_address
from pricore.models import Repository, Step
from pricore.services.opening import Services
from pricore.sync.progress import ignore
from pricore.sync.report import Report
from pricore.sync.syncer import Syncer
from tests.registry import MakeRepository, Registry
from tests.store.harness import everything


class Host:
    """A Git host that accepts whoever comes, and says nothing until it hangs up."""

    def __init__(self, port: int) -> None:
        self.url = f"git://127.0.0.1:{port}/library"
        self.reached = asyncio.Event()
        self.hang_up = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached.set()
        await self.hang_up.wait()
        writer.close()


class Watched:
    """acme, which follows one repository that was synced, with the syncers of two processes."""

    def __init__(self, registry: Registry, repository: Repository) -> None:
        self.store = registry.store
        self.here = registry.syncer
        self.there = Services(registry.config, registry.store, registry.git).syncer
        self.repository = repository
        self.folder = registry.config.repositories

    async def begin(self, syncer: Syncer, host: Host) -> asyncio.Task[Report]:
        """A sync that waits for its host."""
        await self.store.repositories.change(self.repository, parse_address(host.url), confined=False)
        task = asyncio.create_task(syncer.sync(self.repository, progress=ignore))
        await host.reached.wait()
        return task

    def left(self) -> list[str]:
        """What is there of mirrors and locks."""
        return sorted(path.name for path in self.folder.iterdir())

    def rows(self) -> dict[str, int]:
        """How many rows of a repository's there are."""
        tables = everything(self.store.path)
        return {name: len(tables[name]) for name in ("repositories", "packages", "refs", "jobs", "sync_runs")}


NOTHING = dict.fromkeys(("repositories", "packages", "refs", "jobs", "sync_runs"), 0)


@pytest.fixture
async def watched(registry: Registry, make_repository: MakeRepository) -> Watched:
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"})
    await registry.add(upstream)
    return Watched(registry, await registry.repository(upstream))


@pytest.fixture
async def host(unused_tcp_port: int) -> AsyncIterator[Host]:
    made = Host(unused_tcp_port)
    server = await asyncio.start_server(made.answer, "127.0.0.1", unused_tcp_port)
    async with server:
        yield made
        made.hang_up.set()


async def test_a_sync_of_this_process_is_stopped(
    watched: Watched, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """Who removes a repository does not wait for its sync, which ends with it and says why."""
    caplog.set_level(logging.INFO)
    running = await watched.begin(watched.here, host)
    began = time.monotonic()
    await watched.here.remove(watched.repository)

    assert time.monotonic() - began < 2
    assert watched.left() == []
    assert watched.rows() == NOTHING
    with pytest.raises(NotFoundError, match="was removed"):
        await running
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_the_sync_of_another_process_takes_the_mirror_along(watched: Watched, host: Host) -> None:
    """A removal does not wait for another process either: that one tidies up, and brings nothing back."""
    running = await watched.begin(watched.there, host)
    began = time.monotonic()
    await watched.here.remove(watched.repository)

    assert time.monotonic() - began < 2
    assert watched.rows() == NOTHING
    assert watched.left() == [f"{watched.repository.id}.{kind}" for kind in ("git", "lock", "progress")]
    host.hang_up.set()
    with pytest.raises(NotFoundError, match="was removed"):
        await running
    assert watched.left() == []
    assert watched.rows() == NOTHING


@pytest.mark.parametrize("step", [Step.FETCHING, Step.READING, Step.CHECKSUMS])
async def test_a_sync_brings_nothing_back(watched: Watched, step: Step) -> None:
    """Wherever a sync is when its repository goes, nothing of it is there afterwards."""
    removing: list[asyncio.Task[None]] = []

    def watch(text: str, done: int, total: int, received: int = 0) -> None:
        if text == step and not removing:
            removing.append(asyncio.create_task(watched.here.remove(watched.repository)))

    await watched.store.repositories.change(
        watched.repository, parse_address(watched.repository.url), confined=False
    )
    with pytest.raises(NotFoundError, match="was removed"):
        await watched.there.sync(watched.repository, progress=watch)
    await removing[0]

    assert watched.left() == []
    assert watched.rows() == NOTHING


async def test_a_sync_that_waits_for_another_is_told(watched: Watched, host: Host) -> None:
    """All syncs of a repository end with it, those too that had not begun."""
    running = await watched.begin(watched.here, host)
    waiting = asyncio.create_task(watched.here.sync(watched.repository, progress=ignore))
    await asyncio.sleep(0.1)
    await watched.here.remove(watched.repository)
    for task in (running, waiting):
        with pytest.raises(NotFoundError):
            await task

    assert watched.left() == []


async def test_a_cancelled_caller_is_cancelled(watched: Watched, host: Host) -> None:
    """A sync whose caller goes away ends as cancelled, and its git with it."""
    running = await watched.begin(watched.here, host)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    host.hang_up.set()
    with pytest.raises(GitError):
        await watched.there.sync(watched.repository, progress=ignore)


async def test_what_a_killed_process_left_is_swept_away(watched: Watched) -> None:
    """Mirrors and locks of repositories that are no more go; others, and what isn't ours, stay."""
    gone, busy = str(uuid.uuid4()), str(uuid.uuid4())
    for repository_id in (gone, busy):
        (watched.folder / f"{repository_id}.git" / "objects").mkdir(parents=True)
        (watched.folder / f"{repository_id}.lock").touch()
    (watched.folder / "mine.git").mkdir()
    kept = [f"{watched.repository.id}.git", f"{watched.repository.id}.lock", "mine.git"]
    with (watched.folder / f"{busy}.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        await watched.here.sweep()
        assert watched.left() == sorted([*kept, f"{busy}.git", f"{busy}.lock"])
    await watched.here.sweep()

    assert watched.left() == sorted(kept)
    await watched.here.sync(watched.repository, progress=ignore)


async def test_a_database_without_repositories_sweeps_nothing(watched: Watched) -> None:
    """Where the database was put aside, the mirrors stay: they hold commits that may be nowhere else."""
    async with watched.store.transaction() as db:
        await db.execute("DELETE FROM repositories")
    await watched.here.sweep()

    assert len(watched.left()) == 2
