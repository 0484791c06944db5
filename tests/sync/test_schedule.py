"""What is synced without being asked, in which order, and when again where it failed."""

import asyncio
import random
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pricore.errors import GitError, InvalidError, PricoreError
from pricore.hosts.addresses import parse_address
from pricore.models import Organization, Repository, Step, Trigger
from pricore.services.quantities import parse_interval
from pricore.sync.progress import ignore
from pricore.sync.queue import Queue
from pricore.system.concurrency import both
from pricore.tables.jobs import BY_HAND, BY_WEBHOOK
from tests.registry import MakeRepository, Registry, open_registry
from tests.web.api.harness import eventually

INTERVAL = 1000


class Scheduled:
    """A data folder that is synced with a clock of its own."""

    def __init__(self, registry: Registry) -> None:
        self.store = registry.store
        self.syncer = registry.syncer
        self.acme = registry.organization
        self.at = 1_700_000_000

    async def follow(self, organization: Organization, url: str) -> Repository:
        return await self.store.repositories.add(organization, parse_address(url))

    async def now(self, repository: Repository) -> Repository:
        """A repository as it is on record."""
        found = await self.store.repositories.find(repository.id)
        assert found is not None
        return found

    async def sync(self, repository: Repository, *, trigger: Trigger = Trigger.SCHEDULE) -> Repository:
        """The record after a sync, which may fail."""
        with suppress(PricoreError):
            await self.syncer.sync(repository, progress=ignore, trigger=trigger)
        return await self.now(repository)

    def wait(self, after: Repository) -> int:
        """Seconds until a repository is looked at again."""
        assert after.next_sync_at is not None
        return after.next_sync_at - self.at

    async def due(self) -> list[str]:
        return [item.repository_id for item in await self.store.schedule.due([])]


@pytest.fixture
async def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scheduled]:
    async with open_registry(tmp_path / "data", sync_interval=INTERVAL) as opened:
        registry = Scheduled(opened)
        for module in ("schedule", "repositories", "runs"):
            monkeypatch.setattr(f"pricore.tables.{module}.now", lambda: registry.at)
        yield registry


@pytest.fixture
def acme(registry: Scheduled) -> Organization:
    return registry.acme


@pytest.fixture
async def library(registry: Scheduled, acme: Organization, make_repository: MakeRepository) -> Repository:
    """acme/library, synced a moment ago."""
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"})
    repository = await registry.follow(acme, upstream.url)
    return await registry.sync(repository)


async def test_a_repository_is_due_when_its_interval_is_over(registry: Scheduled, library: Repository) -> None:
    """After a good sync comes the next one an interval later, a tenth sooner or later at random."""
    waits = {registry.wait(await registry.sync(library)) for _ in range(20)}

    assert all(0.9 * INTERVAL <= wait <= 1.1 * INTERVAL for wait in waits)
    assert len(waits) > 5
    assert await registry.due() == []
    registry.at += max(waits)
    assert await registry.due() == [library.id]


async def test_an_unreachable_host_is_tried_ever_later(registry: Scheduled, library: Repository) -> None:
    """Network trouble is tried again after half a minute, then after twice as long each time, up to an hour."""
    await registry.store.repositories.change(
        library, parse_address("http://127.0.0.1:1/library.git"), confined=False
    )
    began, waits = registry.at, []
    for number in range(1, 12):
        after = await registry.sync(library)
        assert (after.sync_status, after.failures, after.failing_since) == ("failed", number, began)
        waits.append(registry.wait(after))
        registry.at += waits[-1]

    expected = [min(30 * 2**number, 3600) for number in range(11)]
    assert all(0.9 * at - 1 <= wait <= 1.1 * at for wait, at in zip(waits, expected, strict=True)), waits


async def test_a_good_sync_ends_the_failures(
    registry: Scheduled, library: Repository, make_repository: MakeRepository
) -> None:
    """Once the host is there again nothing is left of the failures, and the interval counts again."""
    hidden = f"{library.url}-hidden"
    shutil.move(library.url, hidden)
    failed = await registry.sync(library)
    assert (failed.failures, failed.failing_since) == (1, registry.at)
    shutil.move(hidden, library.url)
    after = await registry.sync(library)

    assert (after.sync_status, after.failures, after.failing_since) == ("ok", 0, None)
    assert registry.wait(after) >= 0.9 * INTERVAL


async def test_what_fails_for_good_is_not_tried_before_it_changes(
    registry: Scheduled, acme: Organization, make_repository: MakeRepository
) -> None:
    """A repository without a package is read once, and again when something was pushed, or somebody asks."""
    upstream = make_repository("empty")
    upstream.commit(files={"README.md": "nothing"})
    repository = await registry.follow(acme, upstream.url)

    async def runs() -> int:
        return (await registry.store.runs.of_repository(repository.id, limit=10, offset=0))[1]

    first = await registry.sync(repository)
    assert (first.sync_status, first.failures, await runs()) == ("failed", 1, 1)
    assert registry.wait(first) >= 0.9 * INTERVAL, "no retry, only the next look"
    registry.at += 2 * INTERVAL
    again = await registry.sync(repository)
    assert (again.failures, again.failing_since, again.sync_error) == (1, first.failing_since, first.sync_error)
    assert registry.wait(again) >= 0.9 * INTERVAL
    assert (await registry.sync(repository, trigger=Trigger.MANUAL)).failures == 2, "somebody asked"
    upstream.commit({"name": "acme/empty"})
    assert (await registry.sync(repository)).sync_status == "ok"


async def test_what_found_no_space_is_tried_again_soon(
    registry: Scheduled, acme: Organization, make_repository: MakeRepository
) -> None:
    """A database that is full fails a sync for now, not for good: it is tried like an unreachable host."""
    upstream = make_repository("large")
    upstream.commit({"name": "acme/large"})
    repository = await registry.sync(await registry.follow(acme, upstream.url))
    noise = random.Random(1).randbytes(50_000).hex()
    upstream.commit({"name": "acme/large", "extra": {"noise": noise}})

    async def limit(pages: int) -> None:
        async with registry.store.transaction() as db:
            rows: Any = await db.execute_fetchall("PRAGMA page_count")
            ((count,),) = rows
            await db.execute(f"PRAGMA max_page_count = {count + pages}")

    await limit(4)
    failed = await registry.sync(repository)
    assert failed.sync_error == "the database cannot be written: database or disk is full"
    assert 27 <= registry.wait(failed) <= 33
    await limit(10_000)
    assert (await registry.sync(failed)).sync_status == "ok"


async def test_a_name_that_becomes_free_is_taken_by_the_schedule(
    registry: Scheduled, acme: Organization, library: Repository, make_repository: MakeRepository
) -> None:
    """Who lost a conflict about a name is read again once the winner is gone, though nothing was pushed."""
    second = make_repository("second")
    second.commit({"name": "acme/library"})
    loser = await registry.follow(acme, second.url)
    assert (await registry.sync(loser)).sync_status == "failed"
    await registry.syncer.remove(library)

    assert (await registry.sync(loser)).sync_status == "ok"


@pytest.mark.parametrize(
    ("organization", "own", "expected"),
    [(None, None, INTERVAL), (50, None, 50), (None, 70, 70), (50, 70, 70), (0, None, None), (50, 0, None)],
)
async def test_the_nearest_interval_counts(
    registry: Scheduled,
    acme: Organization,
    library: Repository,
    organization: int | None,
    own: int | None,
    expected: int | None,
) -> None:
    """A repository's own interval goes before its organization's, and that before the instance's; 0 is none."""
    await registry.store.organizations.change(acme, sync_interval=organization)
    await registry.store.repositories.change(library, sync_interval=own)
    after = await registry.sync(library)

    if expected is None:
        assert after.next_sync_at is None
    else:
        assert 0.9 * expected - 1 <= registry.wait(after) <= 1.1 * expected


async def test_a_shorter_interval_counts_at_once(registry: Scheduled, library: Repository) -> None:
    """Nobody waits for the end of the long interval that was set before, and one that was off begins."""
    repositories = registry.store.repositories
    registry.at = int(time.time())
    await repositories.change(library, sync_interval=86400)
    await registry.sync(library)
    await repositories.change(library, sync_interval=60)
    assert 0 <= registry.wait(await registry.now(library)) <= 60
    await repositories.change(library, sync_interval=0)
    assert (await registry.now(library)).next_sync_at is None
    await repositories.change(library, sync_interval=60)
    assert 0 <= registry.wait(await registry.now(library)) <= 60


async def test_a_start_spreads_what_is_due(registry: Scheduled, acme: Organization) -> None:
    """What has no time, or one beyond the interval, gets one at random within it; the rest keeps its own."""
    registry.at = int(time.time())
    store = registry.store
    repositories = [await registry.follow(acme, f"https://git.example.com/{number}") for number in range(50)]
    async with store.transaction() as db:
        await db.execute("UPDATE repositories SET next_sync_at = NULL")
        await db.execute("UPDATE repositories SET next_sync_at = 5 WHERE id = ?", (repositories[0].id,))
        await db.execute("UPDATE repositories SET next_sync_at = 99999999999 WHERE id = ?", (repositories[1].id,))
    await store.schedule.begin()

    waits = [registry.wait(await registry.now(repository)) for repository in repositories]
    assert waits[0] == 5 - registry.at
    assert all(-1 <= wait <= INTERVAL for wait in waits[1:])
    assert len(set(waits)) > 25


class Recorder:
    """Stands for the syncer: it notes what begins and ends, and lets a test say when."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, Trigger]] = []
        self.at_work = 0
        self.most = 0
        self.stopped = 0
        self.reading = False
        self.gate = asyncio.Semaphore(0)

    async def sync(self, repository: Repository, *, progress: Any, run_id: str | None, trigger: Trigger) -> None:
        self.begun.append((repository.identifier.rpartition("/")[2], trigger))
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        progress(Step.READING if self.reading else Step.FETCHING, 0, 0)
        try:
            await self.gate.acquire()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        self.at_work -= 1

    async def wait_for(self, count: int) -> list[str]:
        """The names of those that were begun, once there are so many."""

        async def enough() -> bool:
            return len(self.begun) >= count

        await eventually(enough, f"{count} were begun")
        await asyncio.sleep(0.05)
        assert len(self.begun) == count
        return [name for name, _ in self.begun]


@pytest.fixture
async def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def begin(registry: Scheduled, recorder: Recorder) -> AsyncIterator[Callable[[int], Queue]]:
    """A starter of a queue with so many workers."""
    tasks = []

    def start(workers: int) -> Queue:
        queue = Queue(registry.store, recorder, workers=workers)  # type: ignore[arg-type]
        tasks.append(asyncio.create_task(queue.work()))
        return queue

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def add(registry: Scheduled, slug: str, names: str) -> dict[str, Repository]:
    """An organization with repositories of these one-letter names, which nothing is due of."""
    organization = await registry.store.organizations.find(slug) or await registry.store.organizations.create(
        slug, slug
    )
    return {name: await registry.follow(organization, f"https://git.example.com/{slug}/{name}") for name in names}


async def test_webhooks_come_before_people_and_people_before_the_schedule(
    registry: Scheduled, recorder: Recorder, begin: Callable[[int], Queue]
) -> None:
    """One worker does first what hosts told of, then what was asked for, then what is due."""
    found = await add(registry, "acme", "abcde")
    jobs = registry.store.jobs
    for name, priority in (("a", BY_HAND), ("b", BY_WEBHOOK), ("c", BY_HAND), ("d", BY_WEBHOOK)):
        await jobs.add(found[name].id, priority=priority)
    await jobs.add(found["c"].id, priority=BY_WEBHOOK)  # asked for by hand before, and told of now
    registry.at += 3600  # e is due, and the others are too
    begin(1)
    for _ in range(5):
        recorder.gate.release()
        await asyncio.sleep(0.1)

    names = [name for name, _ in recorder.begun]
    assert names[:4] == ["b", "c", "d", "a"]
    triggers = [trigger for _, trigger in recorder.begun[:5]]
    assert triggers == [*[Trigger.WEBHOOK] * 3, Trigger.CHANGE, Trigger.SCHEDULE]


async def test_an_organization_with_many_does_not_keep_others_waiting(
    registry: Scheduled, recorder: Recorder, begin: Callable[[int], Queue]
) -> None:
    """Organizations take turns, however many repositories one of them has in the queue."""
    many = await add(registry, "many", "abcdef")
    few = await add(registry, "few", "xy")
    for repository in (*many.values(), *few.values()):
        await registry.store.jobs.add(repository.id)
    begin(2)
    assert set(await recorder.wait_for(2)) == {"a", "x"}
    for count in range(3, 9):
        recorder.gate.release()
        await recorder.wait_for(count)

    assert "y" in [name for name, _ in recorder.begun[:4]]
    assert recorder.most == 2


async def test_an_organization_with_all_workers_leaves_one_more_to_others(
    registry: Scheduled, recorder: Recorder, begin: Callable[[int], Queue]
) -> None:
    """What its hosts keep back stops no other organization, and there is never more than one worker more."""
    many = await add(registry, "many", "abcd")
    queue = begin(2)
    for repository in many.values():
        await queue.add(repository.id)
    assert set(await recorder.wait_for(2)) == {"a", "b"}
    few = await add(registry, "few", "xy")
    for repository in few.values():
        await queue.add(repository.id)
    assert (await recorder.wait_for(3))[2] == "x"
    recorder.gate.release()
    await recorder.wait_for(3)
    recorder.gate.release()

    assert (await recorder.wait_for(4))[3] == "c"
    assert recorder.most == 3


async def test_what_is_due_gets_the_worker_that_is_left_to_others(
    registry: Scheduled, recorder: Recorder, begin: Callable[[int], Queue], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what nobody asked for is read while one organization has all workers."""
    monkeypatch.setattr("pricore.sync.queue.POLL_SECONDS", 0.05)
    many = await add(registry, "many", "ab")
    queue = begin(2)
    for repository in many.values():
        await queue.add(repository.id)
    await recorder.wait_for(2)
    await add(registry, "few", "x")
    registry.at += 3600

    assert (await recorder.wait_for(3))[2] == "x"


async def test_one_worker_stays_one(
    registry: Scheduled, recorder: Recorder, begin: Callable[[int], Queue]
) -> None:
    """Who sets one gets one; then organizations take turns."""
    many, few = await add(registry, "many", "ab"), await add(registry, "few", "x")
    for repository in (*many.values(), *few.values()):
        await registry.store.jobs.add(repository.id)
    begin(1)
    assert await recorder.wait_for(1) == ["a"]
    recorder.gate.release()

    assert await recorder.wait_for(2) == ["a", "x"]
    assert recorder.most == 1


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sync that doesn't read yet has been waiting for its host for long."""
    monkeypatch.setattr("pricore.sync.queue.SLOW_SECONDS", 0.0)
    monkeypatch.setattr("pricore.sync.queue.POLL_SECONDS", 0.05)


@pytest.mark.usefixtures("slow")
async def test_what_waits_for_its_host_for_long_needs_no_worker(
    registry: Scheduled, recorder: Recorder, begin: Callable[[int], Queue]
) -> None:
    """Hosts of one organization that send next to nothing stop nobody else, also where there is one worker."""
    many, few = await add(registry, "many", "abcd"), await add(registry, "few", "x")
    queue = begin(1)
    for repository in many.values():
        await queue.add(repository.id)
    assert await recorder.wait_for(2) == ["a", "b"]
    recorder.reading = True
    await queue.add(few["x"].id)

    assert (await recorder.wait_for(3))[2] == "x"


@pytest.mark.usefixtures("slow")
async def test_an_organization_waits_for_its_own_hosts_alone(
    registry: Scheduled, recorder: Recorder, begin: Callable[[int], Queue]
) -> None:
    """One more than there are workers may wait for its hosts; then it begins nothing, of what is due neither."""
    await add(registry, "many", "abcdef")
    registry.at += 3600
    begin(2)
    await recorder.wait_for(3)
    ours = (await registry.store.organizations.get("many")).id
    assert await registry.store.schedule.next_at([], held=[ours]) is None, "nobody waits for what can't begin"
    recorder.reading = True
    recorder.gate.release()

    await recorder.wait_for(5)
    assert recorder.most == 4, "two wait for their hosts, and two read"


@pytest.mark.usefixtures("slow")
async def test_those_that_wait_for_their_hosts_are_bounded(
    registry: Scheduled, recorder: Recorder, begin: Callable[[int], Queue], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond so many in all, whichever organizations they are of, each takes a worker."""
    monkeypatch.setattr("pricore.sync.queue.MOST_SLOW", 3)
    for number in range(10):
        (repository,) = (await add(registry, f"org-{number}", "a")).values()
        await registry.store.jobs.add(repository.id)
    begin(2)

    await recorder.wait_for(5)


async def test_what_reads_needs_a_worker(
    registry: Scheduled, recorder: Recorder, begin: Callable[[int], Queue], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes: a processor is what there are few of."""
    many, few = await add(registry, "many", "a"), await add(registry, "few", "x")
    recorder.reading = True
    queue = begin(1)
    await queue.add(many["a"].id)
    assert await recorder.wait_for(1) == ["a"]
    monkeypatch.setattr("pricore.sync.queue.SLOW_SECONDS", 0.0)
    await queue.add(few["x"].id)

    assert await recorder.wait_for(1) == ["a"]


async def test_webhooks_of_one_organization_do_not_stop_what_is_due_of_another(
    registry: Scheduled, recorder: Recorder, begin: Callable[[int], Queue]
) -> None:
    """Of four syncs, one is of an organization that has asked for none."""
    many = await add(registry, "many", "abcdefgh")
    await add(registry, "few", "xy")
    registry.at += 3600
    for repository in many.values():
        await registry.store.jobs.add(repository.id, priority=BY_WEBHOOK)
    begin(1)
    for count in range(1, 9):
        await recorder.wait_for(count)
        recorder.gate.release()

    triggers = [trigger for _, trigger in recorder.begun[:8]]
    assert triggers == [*[Trigger.WEBHOOK] * 3, Trigger.SCHEDULE] * 2
    assert {name for name, trigger in recorder.begun[:8] if trigger is Trigger.SCHEDULE} <= {"x", "y"}


async def test_webhooks_of_one_organization_do_not_come_before_all_that_others_ask_for(
    registry: Scheduled, recorder: Recorder, begin: Callable[[int], Queue]
) -> None:
    """Organizations take turns first; webhooks come before people within each."""
    many, few = await add(registry, "many", "abc"), await add(registry, "few", "xy")
    for repository in many.values():
        await registry.store.jobs.add(repository.id, priority=BY_WEBHOOK)
    await registry.store.jobs.add(few["x"].id, priority=BY_HAND)
    await registry.store.jobs.add(few["y"].id, priority=BY_WEBHOOK)
    begin(1)
    for count in range(1, 5):
        await recorder.wait_for(count)
        recorder.gate.release()

    assert await recorder.wait_for(5) == ["a", "y", "b", "x", "c"]


async def test_due_repositories_take_turns_too(
    registry: Scheduled, recorder: Recorder, begin: Callable[[int], Queue]
) -> None:
    """What is due of one organization doesn't come after all that is due of another."""
    await add(registry, "many", "abcdef")
    await add(registry, "few", "x")
    registry.at += 3600
    begin(1)
    await recorder.wait_for(1)
    recorder.gate.release()

    assert "x" in await recorder.wait_for(2)


async def test_a_repository_is_never_at_work_twice(
    registry: Scheduled, recorder: Recorder, begin: Callable[[int], Queue]
) -> None:
    """What is asked for while it is being synced waits for the end of that, though workers are free."""
    found = await add(registry, "acme", "ab")
    await registry.store.jobs.add(found["a"].id)
    queue = begin(4)
    await recorder.wait_for(1)
    await queue.add(found["a"].id, by_webhook=True)
    await queue.add(found["b"].id)
    assert await recorder.wait_for(2) == ["a", "b"]
    recorder.gate.release()

    assert await recorder.wait_for(3) == ["a", "b", "a"]


@contextmanager
def refusing(registry: Scheduled, what: str) -> Iterator[None]:
    """A database that refuses something to the queue, which it has nothing to say against otherwise."""
    with closing(sqlite3.connect(registry.store.path, isolation_level=None)) as connection:
        connection.execute(
            f"CREATE TRIGGER refusal BEFORE {what} ON jobs BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
        yield
        connection.execute("DROP TRIGGER refusal")


async def told(caplog: pytest.LogCaptureFixture) -> None:
    """Return once the log says that the queue cannot be used."""

    async def failed() -> bool:
        return "nothing is synced until that works again" in caplog.text

    await eventually(failed, "the failure is in the log")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again soon."""
    monkeypatch.setattr("pricore.sync.queue.POLL_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
async def test_a_job_that_cannot_be_ended_takes_no_other_along(
    registry: Scheduled, recorder: Recorder, begin: Callable[[int], Queue], caplog: pytest.LogCaptureFixture
) -> None:
    """What is synced beside it goes on, nothing is synced twice, and it is off the queue as soon as that works."""
    found = await add(registry, "acme", "ab")
    for repository in found.values():
        await registry.store.jobs.add(repository.id)
    begin(2)
    await recorder.wait_for(2)
    with refusing(registry, "DELETE"):
        recorder.gate.release()
        await told(caplog)
        assert recorder.at_work == 1
        await registry.store.jobs.add(found["b"].id)
    recorder.gate.release()
    assert await recorder.wait_for(3) == ["a", "b", "b"]
    recorder.gate.release()

    async def empty() -> bool:
        return not await registry.store.fetch_all("SELECT id FROM jobs")

    await eventually(empty, "the queue is empty")
    assert recorder.stopped == 0


@pytest.mark.usefixtures("impatient")
async def test_a_queue_that_cannot_be_used_leaves_who_is_at_work(
    registry: Scheduled, recorder: Recorder, begin: Callable[[int], Queue], caplog: pytest.LogCaptureFixture
) -> None:
    """A sync that has begun ends as if nothing were wrong, and what waits begins when the queue is there again."""
    found = await add(registry, "acme", "ab")
    await registry.store.jobs.add(found["a"].id)
    begin(2)
    await recorder.wait_for(1)
    with refusing(registry, "UPDATE"):
        await registry.store.jobs.add(found["b"].id)
        await told(caplog)
    assert await recorder.wait_for(2) == ["a", "b"]
    assert (recorder.at_work, recorder.stopped) == (2, 0)


async def test_of_two_steps_none_outlives_the_other() -> None:
    """What a step of a sync would go on with, after the one beside it failed, is stopped first."""
    began, ended = asyncio.Event(), []

    async def go_on() -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            ended.append("stopped")

    async def fail() -> None:
        await began.wait()
        raise GitError("no such host")

    with pytest.raises(GitError, match="no such host"):
        await both(go_on(), fail())
    assert ended == ["stopped"]


async def test_the_schedule_finds_what_nobody_told_of(
    registry: Scheduled, library: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tag whose webhook was lost is served after the interval, and an idle check leaves the job table alone."""
    monkeypatch.setattr("pricore.sync.queue.POLL_SECONDS", 0.05)
    upstream = Path(library.url)
    task = asyncio.create_task(Queue(registry.store, registry.syncer, workers=2).work())
    await asyncio.sleep(0.2)
    done = await asyncio.create_subprocess_exec("git", "-C", str(upstream), "tag", "1.0.0")
    assert await done.wait() == 0
    registry.at += 2 * INTERVAL

    async def served() -> bool:
        return ("acme/library", "1.0.0") in await registry.store.packages.of_repository(library.id)

    await eventually(served, "the tag is served")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("off", 0), ("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("default", None)],
)
def test_an_interval_is_written_as_people_do(text: str, seconds: int | None) -> None:
    """Seconds, or with a unit behind; `default` takes a setting back."""
    assert seconds == parse_interval(text)


@pytest.mark.parametrize("text", ["", "-1", "1.5h", "h", "10 m", "32d", "999999999d", "weekly", "1h30m", "\u0661"])
def test_what_is_no_interval_is_refused(text: str) -> None:
    """Anything else is one line that shows how to write it."""
    with pytest.raises(InvalidError, match="is no interval such as 10m") as caught:
        parse_interval(text)
    assert caught.value.field == "sync_interval"
