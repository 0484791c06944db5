"""However many versions a repository has, no step of the event loop goes through all of them."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import pytest

from pricore.composer import metadata, versions
from pricore.composer.metadata import Published
from pricore.sync.progress import ignore
from pricore.vcs.objects import RecentCache
from tests.harness import Upstream
from tests.registry import Registry, open_registry

_STEP = "Handle._run"
"""What asyncio's loop calls for each step."""


class Steps:
    """Counts the lines that run in each step of the loop, in the loop's own thread."""

    def __init__(self) -> None:
        self.longest: tuple[int, str] = 0, ""
        self._lines: Counter[str] = Counter()

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_qualname
        if name == _STEP:
            lines, self._lines = self._lines, Counter()
            if event != "call" and lines.total() > self.longest[0]:  # what comes before it is the loop's own
                self.longest = lines.total(), str(lines.most_common(5))
        else:
            self._lines[name] += 1
        return self._trace

    @contextmanager
    def counting(self) -> Iterator[None]:
        traced = sys.gettrace()
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(traced)


class Work:
    """What a registry does with a repository of so many versions: everything that goes through all of them."""

    def __init__(self, folder: Path, count: int) -> None:
        self.upstream = Upstream(folder / "upstream.git", "acme/library", commits=count + 1)
        self.data = folder / "data"
        for _ in range(count):
            self.upstream.release()

    async def longest(self) -> dict[str, tuple[int, str]]:
        """The lines of the longest step of each kind of work, and where most of them are."""
        found: dict[str, tuple[int, str]] = {}
        async with open_registry(self.data, git_timeout=120) as registry:
            work = self._all(registry)
            while True:
                steps = Steps()
                with steps.counting():
                    name = await asyncio.create_task(_next(work))
                if name is None:
                    return found
                found[name] = steps.longest

    async def _all(self, registry: Registry) -> Any:
        store, organization = registry.store, registry.organization
        await registry.add_url(str(self.upstream.folder))
        yield "first sync"
        (repository,) = await store.repositories.of_organization(organization.id)
        self.upstream.release()
        (self.upstream.folder / "refs" / "tags" / "1.0.0").unlink()
        await registry.syncer.sync(repository, progress=ignore)
        yield "next sync"
        package = await store.packages.get(organization, "acme/library")
        assert len(await store.packages.versions(package)) > 100
        yield "list of versions"
        await store.packages.delete_version(organization, package, "1.1.0")
        yield "deletion of a version"
        await store.packages.delete(organization, package)
        yield "deletion"


async def _next(work: Any) -> str | None:
    name: str | None = await anext(work, None)
    return name


@pytest.mark.long
async def test_no_step_of_the_loop_grows_with_the_versions(tmp_path: Path) -> None:
    """Syncs, lists and deletions go through versions in other threads, or give everybody else a turn."""
    few = await Work(tmp_path / "few", 300).longest()
    many = await Work(tmp_path / "many", 1500).longest()
    assert few.keys() == many.keys()
    assert all(lines > 0 for lines, _ in few.values()), "the steps of the loop were seen"
    grown = {name: (few[name], many[name]) for name in few if many[name][0] > 2 * few[name][0]}
    assert grown == {}


def test_versions_are_ordered_in_parts_as_at_once() -> None:
    """The order is what sorting all of them gives, equal ones as they came."""
    items = [(f"{number % 7}.{number * 37 % 2000}.0", number) for number in range(3000)]
    expected = sorted(items, key=lambda item: versions.sort_key(item[0]), reverse=True)
    assert versions.newest_first(items, lambda item: item[0]) == expected


def test_a_large_document_is_made_in_parts_as_at_once() -> None:
    """What is put together of parts is what was there before, to the byte; the URL is in every version."""
    published = [
        Published(
            name="acme/library",
            version=f"{number}.0",
            normalized=f"{number}.0.0.0",
            reference="a" * 40,
            shasum="b" * 40,
            entry=b'{"name":"acme/library","extra":{"number":%d}}' % (number // 3),
        )
        for number in range(1300)
    ]
    inline = msgspec.json.decode(metadata.build_inline(published), type=dict[str, dict[str, msgspec.Raw]])
    for entry in inline.values():
        del entry["uid"]  # which only packages.json has
    expected = msgspec.json.encode(
        {"packages": {"acme/library": [*metadata.minify(inline.values())]}, "minified": "composer/2.0"}
    )
    pieces = [*metadata.build_document("acme/library", published)]
    assert b"".join(pieces) == expected
    assert max(map(len, pieces)) < 1000
    url = "https://packages.example.com/org/acme"
    assert b"".join(metadata.with_base(pieces, url)) == expected.replace(metadata.BASE.encode(), url.encode())
    assert b"".join(metadata.build_document("acme/library", [])) == (
        b'{"packages":{"acme/library":[]},"minified":"composer/2.0"}'
    )


def test_what_is_forgotten_goes_bit_by_bit() -> None:
    """No step frees more than a few values, however many small ones were kept."""
    alive = 0

    class Value:
        def __init__(self) -> None:
            nonlocal alive
            alive += 1

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    recent: RecentCache[int, Value] = RecentCache(1000)
    most = 0
    for number in range(10_000):
        before = alive
        recent.keep(number, Value(), 1)
        most = max(most, before + 1 - alive)
    assert most <= 4
    assert alive <= 2600
    recent.clear()
    assert alive == 0
