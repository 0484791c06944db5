"""What a webhook tells of is fetched while it is listed; what is pushed in between is not lost."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pricore.errors import GitError, SyncError
from pricore.git import Git
from pricore.models import Trigger
from pricore.sync.progress import ignore
from pricore.sync.report import Report
from pricore.vcs.mirror import Mirror
from tests.harness import GitRepository
from tests.registry import Registry


class Order:
    """Lets one of listing and fetching happen before the other, and something in between."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, first: str, between: Callable[[], object]) -> None:
        self.happened: list[str] = []
        self._first = first
        self._between = between
        self._done = asyncio.Event()
        monkeypatch.setattr(Git, "ls_remote", self._in_order("list", Git.ls_remote))
        monkeypatch.setattr(Mirror, "fetch", self._in_order("fetch", Mirror.fetch))

    def _in_order(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        async def run(*given: Any, **more: Any) -> Any:
            if name != self._first:
                async with asyncio.timeout(20):  # where the two are not at work at the same time
                    await self._done.wait()
            result = await step(*given, **more)
            self.happened.append(name)
            if name == self._first and not self._done.is_set():
                self._between()
                self._done.set()
            return result

        return run


async def _announce(registry: Registry, upstream: GitRepository) -> Report:
    repository = await registry.repository(upstream)
    return await registry.syncer.sync(repository, progress=ignore, trigger=Trigger.WEBHOOK)


@pytest.mark.parametrize("first", ["list", "fetch"])
async def test_a_push_between_listing_and_fetching_is_not_lost(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Whichever saw it, both look once more at once; the next look finds nothing."""
    await registry.add(upstream)
    upstream.commit()
    upstream.tag("1.1.0")

    def push() -> None:
        upstream.commit()
        upstream.tag("1.2.0")

    with monkeypatch.context() as patched:
        order = Order(patched, first, push)
        await _announce(registry, upstream)
        assert order.happened[0] == first
        assert order.happened[2:] == {"list": ["list"], "fetch": ["list", "fetch"]}[first]
    assert "1.1.0" in await registry.versions()
    assert (await registry.versions())["1.2.0"] == upstream.head()
    assert (await registry.versions())["dev-main"] == upstream.head()
    await _look(registry, upstream)
    assert await _last_run(registry, upstream) == "unchanged"


async def _look(registry: Registry, upstream: GitRepository) -> None:
    """As the schedule does: what was seen before is not read."""
    repository = await registry.repository(upstream)
    await registry.syncer.sync(repository, progress=ignore, trigger=Trigger.SCHEDULE)


async def _last_run(registry: Registry, upstream: GitRepository) -> str:
    repository = await registry.repository(upstream)
    runs, _ = await registry.store.runs.of_repository(repository.id, limit=1, offset=0)
    return runs[0].status


async def test_what_was_announced_and_seen_is_not_read_again(registry: Registry, upstream: GitRepository) -> None:
    """Where nothing was pushed in between, the next look finds nothing new."""
    await registry.add(upstream)
    upstream.commit()
    upstream.tag("1.1.0", annotated=True)
    assert (await _announce(registry, upstream)).added == ["acme/library:1.1.0"]
    await _look(registry, upstream)
    assert await _last_run(registry, upstream) == "unchanged"


async def test_an_announcement_of_nothing_is_given_up(registry: Registry, upstream: GitRepository) -> None:
    """It changes nothing, and the next sync is as good as ever."""
    await registry.add(upstream)
    for _ in range(3):
        report = await _announce(registry, upstream)
        assert (report.read, report.added) == (0, [])
    assert await _last_run(registry, upstream) == "unchanged"
    upstream.tag("1.1.0")
    assert (await _announce(registry, upstream)).added == ["acme/library:1.1.0"]


async def test_an_announcement_from_a_host_that_is_away_fails_as_ever(
    registry: Registry, upstream: GitRepository
) -> None:
    """The reason is on record, and what is served stays."""
    await registry.add(upstream)
    before = await registry.versions()
    upstream.folder.rename(upstream.folder.with_name("away"))
    with pytest.raises(GitError, match="there is no Git repository at that address"):
        await _announce(registry, upstream)
    repository = await registry.repository(upstream)
    assert "there is no Git repository" in (repository.sync_error or "")
    assert await registry.versions() == before


async def test_an_upstream_that_is_empty_when_it_is_announced_removes_nothing(
    registry: Registry, upstream: GitRepository
) -> None:
    """Not even where the fetch was faster than the list; what comes back is read as before."""
    await registry.add(upstream)
    before = await registry.versions()
    refs = upstream.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    upstream.git("checkout", "--quiet", "--detach")
    for ref in refs:
        upstream.git("update-ref", "-d", ref.split()[0])
    upstream.git("symbolic-ref", "HEAD", "refs/heads/main")
    with pytest.raises(SyncError, match="is empty"):
        await _announce(registry, upstream)
    assert await registry.versions() == before
    for ref in refs:
        upstream.git("update-ref", *ref.split())
    await _announce(registry, upstream)
    assert await registry.versions() == before
