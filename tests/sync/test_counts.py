"""Whoever follows a sync sees that it goes on, whatever takes long in it."""

import pytest

from pricore.hosts.addresses import parse_address
from pricore.models import Step
from tests.harness import GitRepository
from tests.registry import Registry

COUNT = 3000


def release_many(repository: GitRepository, count: int) -> None:
    """Give a repository that many releases, each with a composer.json of its own, on the branch main."""
    commits = []
    for number in range(1, count + 1):
        composer = f'{{"name": "acme/{repository.folder.name}", "description": "{number}"}}'
        commits.append(
            f"commit refs/heads/main\nmark :{number}\n"
            f"committer Ada <ada@example.com> {1_700_000_000 + number} +0000\ndata 6\nchange\n"
            f"M 644 inline composer.json\ndata {len(composer)}\n{composer}\n"
            f"reset refs/tags/2.0.{number}\nfrom :{number}\n\n"
        )
    repository.git("fast-import", "--quiet", "--force", stdin="".join(commits).encode())


@pytest.fixture
async def told(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> dict[Step, list[tuple[int, int]]]:
    """What is told of the first sync of a repository with thousands of tags: done and total, by step."""
    monkeypatch.setattr("pricore.system.concurrency.TELL_SECONDS", 0.0)
    monkeypatch.setattr("pricore.tables.publishing.AT_A_TIME", 100)
    release_many(upstream, COUNT)
    found: dict[Step, list[tuple[int, int]]] = {}

    def note(step: Step, done: int, total: int, received: int = 0) -> None:
        found.setdefault(step, []).append((done, total))

    await registry.syncer.add(registry.organization, parse_address(upstream.url), progress=note)
    return found


async def test_a_fetch_counts_what_it_makes_of_what_came(told: dict[Step, list[tuple[int, int]]]) -> None:
    """Also when all bytes are here: the refs are written one by one, and git doesn't say how many there are."""
    refs = [done for done, total in told[Step.FETCHING] if total == 0]
    assert len(set(refs)) > 3
    assert max(refs) > COUNT / 2


async def test_reading_counts_on_until_it_is_known_what_it_makes(told: dict[Step, list[tuple[int, int]]]) -> None:
    """Files are found, read and made versions of: each is a third."""
    assert told[Step.READING][0] == (0, 0), "told before it is known how many there are"
    counted = [done for done, total in told[Step.READING] if total]
    total = COUNT + 2
    assert {total for _, total in told[Step.READING]} == {0, total}
    assert counted == sorted(counted)
    assert (counted[0], counted[-1]) == (0, total)
    for third in range(3):
        within = {done for done in counted if third * total / 3 < done < (third + 1) * total / 3}
        assert len(within) > total / 6, f"the {third + 1}. third"


async def test_publishing_counts_what_is_done_of_a_batch(told: dict[Step, list[tuple[int, int]]]) -> None:
    """Half of a batch is done when it has its checksums, and then more, until all of it is in service."""
    counted = [done for done, _ in told[Step.CHECKSUMS]]
    total = COUNT + 2
    assert counted == sorted(counted)
    assert (counted[0], counted[-1]) == (0, total)
    assert {total for _, total in told[Step.CHECKSUMS]} == {total}
    start, size = 0, 20
    while start + size < total:
        start, size = start + size, size * 2
    published = {done for done in counted if start + (total - start) // 2 < done < total}
    assert len(published) > 2, "steps of the last batch"
