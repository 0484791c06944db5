"""What a sync is doing, as other processes read it: whole, of a process that lives, and of the right run."""

import contextlib
import multiprocessing
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pricore.hosts.addresses import parse_address
from pricore.models import Progress, Repository, Step
from pricore.store import Store
from pricore.sync.progress import follow, publish, read


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "pricore.db") as made:
        yield made


@pytest.fixture
async def repository(store: Store) -> Repository:
    acme = await store.organizations.create("acme", "Acme")
    return await store.repositories.add(acme, parse_address("https://git.example.com/acme/library"))


def test_it_is_there_as_long_as_it_is_published(tmp_path: Path) -> None:
    """What was told last is read, and nothing before or after; nothing of it is left."""
    assert read(tmp_path, "library") is None
    with publish(tmp_path, "library", "run") as tell:
        assert read(tmp_path, "library") is None
        tell(Step.LISTING, 0, 0)
        assert read(tmp_path, "library") == Progress("run", Step.LISTING, 0, 0)
        tell(Step.CHECKSUMS, 1_000_000, 2_000_000)
        tell(Step.READING, 1, 2)
        assert read(tmp_path, "library") == Progress("run", Step.READING, 1, 2)
        assert read(tmp_path, "other") is None
    assert read(tmp_path, "library") is None
    assert list(tmp_path.iterdir()) == []


def test_what_is_told_too_late_goes_nowhere(tmp_path: Path) -> None:
    """Neither into the file that was opened in the place of the first, nor into a new one that nobody deletes."""
    with publish(tmp_path, "library", "run") as late, publish(tmp_path, "other", "run") as never:
        late(Step.READING, 1, 2)
    # opened next, they have the descriptors that became free
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context((tmp_path / f"{number}.log").open("wb")) for number in range(3)]
        for tell in (late, late, never, never):
            tell(Step.READING, 2, 2)
        assert [Path(file.name).read_bytes() for file in files] == [b"", b"", b""]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.log", "1.log", "2.log"]


def test_half_a_record_is_not_read(tmp_path: Path) -> None:
    """Where the newest is half written, what was told before it is read."""
    with publish(tmp_path, "library", "run") as tell:
        tell(Step.READING, 100, 999)
        tell(Step.READING, 200, 999)
        path = tmp_path / "library.progress"
        before, after = path.read_bytes(), path.read_bytes().replace(b"200", b"290")
        assert before != after
        path.write_bytes(after)
        assert read(tmp_path, "library") == Progress("run", Step.READING, 100, 999)


def count(folder: Path, number: int) -> None:
    """Publish numbers that belong together, of all lengths, until killed."""
    with publish(folder, "library", "run") as tell:
        while True:
            number = (number * 7 + 1) % 10**12
            tell(Step.CHECKSUMS, number, number)


def test_it_is_read_whole_and_of_who_lives_alone(tmp_path: Path) -> None:
    """Another process that writes without pause is never read in between; once it is killed nothing is read."""
    process = multiprocessing.get_context("spawn").Process(target=count, args=(tmp_path, 1))
    process.start()
    try:
        while read(tmp_path, "library") is None:
            assert process.is_alive()
        seen: set[int] = set()
        deadline = time.monotonic() + 20
        while len(seen) < 500:
            found = read(tmp_path, "library")
            assert found is not None
            assert found.done == found.total
            assert time.monotonic() < deadline
            seen.add(found.done)
    finally:
        process.kill()
        process.join()
    assert (tmp_path / "library.progress").exists()
    assert read(tmp_path, "library") is None
    with publish(tmp_path, "library", "next") as tell:
        tell(Step.LISTING, 0, 0)
        assert read(tmp_path, "library") == Progress("next", Step.LISTING, 0, 0)


def test_what_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    """Where there is no room for the file, the sync goes on unseen."""
    with publish(tmp_path / "missing", "library", "run") as tell:
        tell(Step.FETCHING, 0, 0)
        assert read(tmp_path / "missing", "library") is None


async def test_it_wakes_nobody(store: Store, repository: Repository, tmp_path: Path) -> None:
    """However often it changes, what is kept in memory stays there: the database knows nothing of it."""
    before = store.changes(), store.revision()
    with publish(tmp_path, repository.id, "run") as tell:
        for number in range(1000):
            tell(Step.CHECKSUMS, number, 1000)

    assert before == (store.changes(), store.revision())


async def test_a_job_is_the_run_that_comes_of_it(store: Store, repository: Repository, tmp_path: Path) -> None:
    """Queued, then waiting for another sync, then at work, and ended, under one id."""

    async def now(run_id: str) -> tuple[str, Step | None]:
        found = await store.runs.find(repository.id, run_id)
        assert found is not None
        run = await follow(store, tmp_path, repository.id, found)
        (newest,), total = await store.runs.of_repository(repository.id, limit=10, offset=0)
        assert (newest.id, total) == (run_id, 1)
        return run.status, None if run.progress is None else run.progress.step

    await store.jobs.add(repository.id)
    (queued,), _ = await store.runs.of_repository(repository.id, limit=1, offset=0)
    assert (queued.started_at, await now(queued.id)) == (None, ("queued", None))
    ((_, number),) = (await store.jobs.first([])).values()
    job = await store.jobs.take(number)
    assert job is not None
    assert job.id == queued.id
    with publish(tmp_path, repository.id, "of another") as tell:
        tell(Step.LISTING, 0, 0)
        assert await now(job.id) == ("running", Step.WAITING)
    with publish(tmp_path, repository.id, job.id) as tell:
        tell(Step.LISTING, 0, 0)
        assert await now(job.id) == ("running", Step.LISTING)
        await store.runs.begin(repository.id, started_at=1, run_id=job.id)
        tell(Step.FETCHING, 0, 0)
        assert await now(job.id) == ("running", Step.FETCHING)
        await store.runs.interrupt(job.id)
    await store.jobs.finish(job)
    assert await now(job.id) == ("interrupted", None)


async def test_a_run_that_ends_while_it_is_looked_at_is_not_interrupted(
    store: Store, repository: Repository, tmp_path: Path
) -> None:
    """Between the look at its record and the look at its progress a run may end: then it has its end."""
    run_id = await store.runs.begin(repository.id, started_at=1)
    running = await store.runs.find(repository.id, run_id)
    assert running is not None
    assert (await follow(store, tmp_path, repository.id, running)).status == "interrupted"
    await store.repositories.record_failure(repository.id, "it broke", started_at=1, run_id=run_id)
    assert (await follow(store, tmp_path, repository.id, running)).status == "failed"


async def test_a_job_that_is_put_back_is_another_run(store: Store, repository: Repository) -> None:
    """What was cut off stays in the history as it ended; what is done instead has an id of its own."""
    await store.jobs.add(repository.id)
    ((_, number),) = (await store.jobs.first([])).values()
    job = await store.jobs.take(number)
    assert job is not None
    await store.runs.begin(repository.id, started_at=1, run_id=job.id)
    await store.runs.interrupt(job.id)
    await store.jobs.put_back()
    runs, _ = await store.runs.of_repository(repository.id, limit=10, offset=0)

    assert [run.status for run in runs] == ["queued", "interrupted"]
    assert (runs[0].id != job.id, runs[1].id) == (True, job.id)


@pytest.mark.parametrize("error", [None, "it broke"])
async def test_who_asked_finds_the_run_that_was_joined(
    store: Store, repository: Repository, error: str | None
) -> None:
    """A sync that ended as the one before is one run with it, and is found under the id that was asked for."""
    for run_id in (None, "asked for", None):
        if error is None:
            await store.repositories.record_unchanged(repository.id, started_at=1, run_id=run_id)
        else:
            await store.repositories.record_failure(repository.id, error, started_at=1, run_id=run_id)
    runs, _ = await store.runs.of_repository(repository.id, limit=10, offset=0)

    assert [run.id for run in runs] == ["asked for"]
