"""A repository that is removed is gone at once and leaves nothing behind, also while it is being read."""

import asyncio
import fcntl
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pricore.config import Config
from pricore.errors import GitError, NotFoundError
from pricore.git import Git
from pricore.hosts.addresses import parse_address
from pricore.models import Repository, Step
from pricore.services.opening import Services
from pricore.store import Store
from pricore.sync.run import Report
from pricore.sync.syncer import Syncer
from tests.harness import GitRepository
from tests.store.harness import everything


def silent(text: str, done: int, total: int, received: int = 0) -> None:
    """Progress that nobody watches."""


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


class Registry:
    """acme, which follows one repository that was synced, with the syncers of two processes."""

    def __init__(self, store: Store, here: Syncer, there: Syncer, repository: Repository, folder: Path) -> None:
        self.store = store
        self.here = here
        self.there = there
        self.repository = repository
        self.folder = folder

    async def begin(self, syncer: Syncer, host: Host) -> asyncio.Task[Report]:
        """A sync that waits for its host."""
        await self.store.repositories.change(self.repository, parse_address(host.url), confined=False)
        task = asyncio.create_task(syncer.sync(self.repository, progress=silent))
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
async def registry(tmp_path: Path, make_repository: Callable[[str], GitRepository]) -> AsyncIterator[Registry]:
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"})
    config = Config(data=tmp_path / "data", git_timeout=60)
    with Git(timeout=60) as git:
        async with Store(config.database) as store:
            acme = await store.organizations.create("acme", "Acme")
            here, there = Services(config, store, git).syncer, Services(config, store, git).syncer
            await here.add(acme, parse_address(upstream.url), progress=silent)
            (repository,) = await store.repositories.of_organization(acme.id)
            yield Registry(store, here, there, repository, config.repositories)


@pytest.fixture
async def host(unused_tcp_port: int) -> AsyncIterator[Host]:
    made = Host(unused_tcp_port)
    server = await asyncio.start_server(made.answer, "127.0.0.1", unused_tcp_port)
    async with server:
        yield made
        made.hang_up.set()


async def test_a_sync_of_this_process_is_stopped(
    registry: Registry, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """Who removes a repository does not wait for its sync, which ends with it and says why."""
    caplog.set_level(logging.INFO)
    running = await registry.begin(registry.here, host)
    began = time.monotonic()
    await registry.here.remove(registry.repository)

    assert time.monotonic() - began < 2
    assert registry.left() == []
    assert registry.rows() == NOTHING
    with pytest.raises(NotFoundError, match="was removed"):
        await running
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_the_sync_of_another_process_takes_the_mirror_along(registry: Registry, host: Host) -> None:
    """A removal does not wait for another process either: that one tidies up, and brings nothing back."""
    running = await registry.begin(registry.there, host)
    began = time.monotonic()
    await registry.here.remove(registry.repository)

    assert time.monotonic() - began < 2
    assert registry.rows() == NOTHING
    assert registry.left() == [f"{registry.repository.id}.{kind}" for kind in ("git", "lock", "progress")]
    host.hang_up.set()
    with pytest.raises(NotFoundError, match="was removed"):
        await running
    assert registry.left() == []
    assert registry.rows() == NOTHING


@pytest.mark.parametrize("step", [Step.FETCHING, Step.READING, Step.CHECKSUMS])
async def test_a_sync_brings_nothing_back(registry: Registry, step: Step) -> None:
    """Wherever a sync is when its repository goes, nothing of it is there afterwards."""
    removing: list[asyncio.Task[None]] = []

    def watch(text: str, done: int, total: int, received: int = 0) -> None:
        if text == step and not removing:
            removing.append(asyncio.create_task(registry.here.remove(registry.repository)))

    await registry.store.repositories.change(
        registry.repository, parse_address(registry.repository.url), confined=False
    )
    with pytest.raises(NotFoundError, match="was removed"):
        await registry.there.sync(registry.repository, progress=watch)
    await removing[0]

    assert registry.left() == []
    assert registry.rows() == NOTHING


async def test_a_sync_that_waits_for_another_is_told(registry: Registry, host: Host) -> None:
    """All syncs of a repository end with it, those too that had not begun."""
    running = await registry.begin(registry.here, host)
    waiting = asyncio.create_task(registry.here.sync(registry.repository, progress=silent))
    await asyncio.sleep(0.1)
    await registry.here.remove(registry.repository)
    for task in (running, waiting):
        with pytest.raises(NotFoundError):
            await task

    assert registry.left() == []


async def test_a_cancelled_caller_is_cancelled(registry: Registry, host: Host) -> None:
    """A sync whose caller goes away ends as cancelled, and its git with it."""
    running = await registry.begin(registry.here, host)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    host.hang_up.set()
    with pytest.raises(GitError):
        await registry.there.sync(registry.repository, progress=silent)


async def test_what_a_killed_process_left_is_swept_away(registry: Registry) -> None:
    """Mirrors and locks of repositories that are no more go; others, and what isn't ours, stay."""
    gone, busy = str(uuid.uuid4()), str(uuid.uuid4())
    for repository_id in (gone, busy):
        (registry.folder / f"{repository_id}.git" / "objects").mkdir(parents=True)
        (registry.folder / f"{repository_id}.lock").touch()
    (registry.folder / "mine.git").mkdir()
    kept = [f"{registry.repository.id}.git", f"{registry.repository.id}.lock", "mine.git"]
    with (registry.folder / f"{busy}.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        await registry.here.sweep()
        assert registry.left() == sorted([*kept, f"{busy}.git", f"{busy}.lock"])
    await registry.here.sweep()

    assert registry.left() == sorted(kept)
    await registry.here.sync(registry.repository, progress=silent)


async def test_a_database_without_repositories_sweeps_nothing(registry: Registry) -> None:
    """Where the database was put aside, the mirrors stay: they hold commits that may be nowhere else."""
    async with registry.store.transaction() as db:
        await db.execute("DELETE FROM repositories")
    await registry.here.sweep()

    assert len(registry.left()) == 2
