"""When a version was published: when it was first served at its commit, which no author can influence."""

from typing import Any

import msgspec
import pytest
import zstandard

from pricore.composer.discovery import TAGS
from pricore.models import Organization, Outcome, Repository
from pricore.store import Store
from tests.store.harness import COMMIT, OTHER_COMMIT, dates, document, outside, publish, released

WAITING = ("documents", "organizations", "publishing", "repositories", "rebuilding", "runs")


class Clock:
    """The time that the store goes by."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000

    def __call__(self) -> int:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for table in WAITING:
        monkeypatch.setattr(f"pricore.tables.{table}.now", clock)
    return clock


async def published(store: Store, half: str = "stable") -> dict[str, str]:
    """The published-time of each version, in the minutes and seconds of the clock's hour."""
    body = zstandard.ZstdDecompressor().decompress((await document(store, half)).body)
    entry: dict[str, Any] = {}
    found = {}
    for change in msgspec.json.decode(body)["packages"]["acme/library"]:
        entry |= change
        found[entry["version"]] = str(entry["published-time"])[11:19]
    return found


async def test_it_is_when_it_was_first_served_at_its_commit(
    store: Store, repository: Repository, clock: Clock
) -> None:
    """Read anew at the same commit, with other metadata too, it stays; a branch moves with each commit."""
    await publish(store, repository, released("1.0.0"), released("dev-main"))
    clock.seconds += 60
    await publish(store, repository, released("1.0.0", description="x"), released("dev-main", description="x"))
    assert await published(store) == {"1.0.0": "08:00:00"}
    assert await published(store, "dev") == {"dev-main": "08:00:00"}
    clock.seconds += 60
    await publish(store, repository, released("1.0.0"), released("dev-main", reference=OTHER_COMMIT))
    assert await published(store) == {"1.0.0": "08:00:00"}
    assert await published(store, "dev") == {"dev-main": "08:02:00"}


async def test_a_release_that_moved_or_came_back_is_published_anew(
    store: Store, acme: Organization, repository: Repository, clock: Clock
) -> None:
    """Whoever waits some days before a release is used waits for what it is now."""
    await publish(store, repository, released("1.0.0"), released("2.0.0"))
    clock.seconds += 60
    await publish(store, repository, released("1.0.0", reference=OTHER_COMMIT))
    assert await published(store) == {"1.0.0": "08:01:00", "2.0.0": "08:00:00"}
    package = await store.packages.get(acme, "acme/library")
    await store.packages.delete_version(acme, package, "2.0.0")
    clock.seconds += 60
    await publish(store, repository, released("2.0.0", reference=OTHER_COMMIT))
    assert await published(store) == {"1.0.0": "08:01:00", "2.0.0": "08:02:00"}


async def test_what_there_was_before_an_upgrade_gets_the_time_that_is_known(
    store: Store, repository: Repository, clock: Clock
) -> None:
    """Of a branch what the history says of its commit, of what nothing is known the upgrade's; its date moves."""
    await publish(store, repository, released("1.0.0"), released("dev-main"), released("dev-old"))
    run = await store.runs.begin(repository.id, started_at=clock.seconds)
    clock.seconds += 60
    await store.runs.finish(run, Outcome(added=["acme/library:1.0.0"], updated=["Acme/Library:dev-main"]))
    with outside(store.path) as database:
        database.execute("UPDATE versions SET published_at = NULL WHERE ref NOT LIKE 'refs/tags/%'")
        database.execute("UPDATE packages SET document_format = 0")
        database.execute("UPDATE documents SET body = x'00'")
    clock.seconds += 60
    before = await dates(store)
    assert await store.rebuilding.left() == 1
    assert await store.rebuilding.go_on()
    assert not await store.rebuilding.go_on()
    assert await store.rebuilding.left() == 0
    assert await published(store) == {"1.0.0": "08:00:00"}
    assert await published(store, "dev") == {"dev-main": "08:01:00", "dev-old": "08:02:00"}
    after = await dates(store)
    assert all(before[name] < after[name] for name in ("stable", "dev"))


async def test_the_operator_can_let_the_tags_dates_count_once(
    store: Store, repository: Repository, clock: Clock
) -> None:
    """Only for tags that are where their release is, only to an earlier time, and nothing that comes later."""
    await publish(store, repository, released("1.0.0"), released("2.0.0"), released("3.0.0"), released("dev-main"))
    tagged = {
        f"{TAGS}1.0.0": (COMMIT, clock.seconds - 120),
        f"{TAGS}2.0.0": (OTHER_COMMIT, clock.seconds - 120),
        f"{TAGS}3.0.0": (COMMIT, clock.seconds + 1),
        "refs/heads/main": (COMMIT, 0),
    }
    before = await dates(store)
    assert await store.rebuilding.backdate(repository, tagged) == 1
    assert await published(store) == {"1.0.0": "07:58:00", "2.0.0": "08:00:00", "3.0.0": "08:00:00"}
    after = await dates(store)
    assert (before["stable"], before["dev"]) < (after["stable"], after["dev"] + 1)
    assert before["dev"] == after["dev"]
    assert await store.rebuilding.backdate(repository, tagged) == 0
    clock.seconds += 60
    await publish(store, repository, released("4.0.0"))
    assert (await published(store))["4.0.0"] == "08:01:00"
