"""A mirror stays as quick as a new one: the refs and packs of many pushes are put together, and nothing goes."""

import asyncio
import contextlib
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pricore.archives.checksums import checksum
from pricore.errors import GitUnavailableError, SyncError
from pricore.hosts.addresses import parse_address
from pricore.vcs.mirror import Mirror
from tests.harness import GitRepository
from tests.registry import Registry

MOST_LOOSE_REFS = 20
MOST_PACKS = 5


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less is enough than by itself, so that a test takes seconds."""
    monkeypatch.setattr("pricore.vcs.mirror.MOST_LOOSE_REFS", MOST_LOOSE_REFS)
    monkeypatch.setattr("pricore.vcs.mirror.MOST_PACKS", MOST_PACKS)


def _packs(mirror: Mirror) -> int:
    return len([*(mirror.path / "objects" / "pack").glob("*.pack")])


def _check_whole(mirror: Mirror) -> None:
    subprocess.run(["git", f"--git-dir={mirror.path}", "fsck", "--full", "--strict"], check=True)


def _loose_refs(mirror: Mirror) -> list[str]:
    refs = mirror.path / "refs"
    return sorted(str(path.relative_to(mirror.path)) for path in refs.rglob("*") if path.is_file())


async def _archives(registry: Registry, mirror: Mirror, commits: set[str]) -> dict[str, tuple[str, int]]:
    """The checksum and the size of the archive of each commit."""
    return {commit: await mirror.archive(commit, checksum) for commit in commits}


async def test_many_refs_go_into_one_file(registry: Registry, upstream: GitRepository) -> None:
    """After a first import, and again when enough have come; those that hold served commits too."""
    for number in range(MOST_LOOSE_REFS // 2):
        upstream.commit()
        upstream.tag(f"1.1.{number}")
    await registry.add(upstream)
    mirror = await registry.mirror(upstream)
    assert _loose_refs(mirror) == []
    refs = await mirror.refs()
    assert len(refs) == MOST_LOOSE_REFS // 2 + 2

    upstream.commit()
    upstream.tag("2.0.0")
    upstream.git("tag", "--delete", "1.1.0")
    await registry.sync(upstream)
    kept = f"refs/pricore/{upstream.head()}"
    assert _loose_refs(mirror) == ["refs/heads/main", kept, "refs/tags/2.0.0"]
    assert (await mirror.refs()).keys() == refs.keys() - {"refs/tags/1.1.0"} | {"refs/tags/2.0.0"}
    assert {"1.1.0", "2.0.0"} <= (await registry.versions()).keys()


async def test_packs_are_put_together_and_lose_nothing(registry: Registry, upstream: GitRepository) -> None:
    """What was served before a force-push still is, from a mirror with a handful of packs."""
    await registry.add(upstream)
    mirror = await registry.mirror(upstream)
    served = {upstream.head()}
    first, most = await _archives(registry, mirror, served), 0
    for number in range(4 * MOST_PACKS):
        upstream.commit({"name": "acme/library"}, files={f"{number % 7}.txt": f"{number}"})
        if number % 3 == 0:
            upstream.git("commit", "--quiet", "--amend", "--message=rewritten")
        await registry.sync(upstream)
        served.add(upstream.head())
        first |= await _archives(registry, mirror, served - first.keys())
        most = max(most, _packs(mirror))
        if number % 5 == 4:
            upstream.git("reset", "--quiet", "--hard", "HEAD~1")
    assert most <= MOST_PACKS
    assert _packs(mirror) <= MOST_PACKS
    assert await _archives(registry, mirror, served) == first


async def test_pushes_that_cannot_be_published_are_put_together_too(
    registry: Registry, upstream: GitRepository
) -> None:
    """A repository that fails again and again is one in which somebody works all the same."""
    upstream.git("rm", "--quiet", "composer.json")
    upstream.git("tag", "--delete", "1.0.0")
    await registry.store.repositories.add(registry.organization, parse_address(upstream.url))
    mirror = await registry.mirror(upstream)
    for number in range(2 * MOST_PACKS):
        upstream.commit(files={"a.txt": f"{number}"})
        with pytest.raises(SyncError, match="no branch or tag of"):
            await registry.sync(upstream)
    assert _packs(mirror) < MOST_PACKS


@pytest.mark.parametrize(
    "name",
    ["packed-refs.lock", "packed-refs.new", "objects/pack/tmp_pack_1", "objects/pack/.tmp-77-pack-0123.pack"],
)
async def test_leftovers_of_a_killed_git_stop_nothing(
    registry: Registry, upstream: GitRepository, name: str
) -> None:
    """What is left where refs and packs were being put together is cleared away by the next sync."""
    for number in range(MOST_LOOSE_REFS):
        upstream.tag(f"1.1.{number}")
    await registry.add(upstream)
    mirror = await registry.mirror(upstream)
    (mirror.path / name).write_bytes(b"half")
    upstream.git("tag", "--delete", "1.1.0")  # it is in packed-refs: that has to be written anew
    upstream.commit()
    await registry.sync(upstream)
    assert "refs/tags/1.1.0" not in await mirror.refs()
    assert not (mirror.path / name).exists()
    assert (await registry.versions())["dev-main"] == upstream.head()


async def test_a_mirror_that_cannot_be_put_in_order_is_told_and_stops_nothing(
    registry: Registry, upstream: GitRepository, caplog: pytest.LogCaptureFixture
) -> None:
    """What was read is published before that, and the sync is a good one."""
    await registry.add(upstream)
    mirror = await registry.mirror(upstream)
    (mirror.path / "packed-refs.lock").mkdir()
    _fill(mirror.path / "refs" / "pricore", upstream.head())
    upstream.commit()
    with caplog.at_level(logging.WARNING, logger="pricore"):
        report = await registry.sync(upstream)
    assert report.updated == ["acme/library:dev-main"]
    assert (await registry.repository(upstream)).sync_status == "ok"
    (line,) = [record.getMessage() for record in caplog.records]
    assert "cannot be put in order" in line
    assert str(mirror.path) not in line


@pytest.mark.parametrize("with_commit", [True, False], ids=["a commit", "a tag alone"])
async def test_a_disk_that_is_full_at_any_moment_costs_one_more_sync(
    registry: Registry, upstream: GitRepository, small_disk: Path, with_commit: bool
) -> None:
    """Whichever file it has no room for, of a pack, a ref or what is put together: nothing fails for good."""
    for number in range(MOST_LOOSE_REFS - 8):
        upstream.tag(f"1.1.{number}")
    await registry.add(upstream)
    failed = 0
    for pages in range(10):
        if with_commit:
            upstream.commit(files={"a.txt": f"{pages}"})
        upstream.tag(f"2.0.{pages}")
        ballast = _fill_up(small_disk, leave=pages)
        try:
            await registry.sync(upstream)
        except GitUnavailableError:  # which is tried again
            failed += 1
        ballast.unlink()
        await registry.sync(upstream)
        assert (await registry.versions())[f"2.0.{pages}"] == upstream.head()
    assert 1 <= failed < 10, "it never had, or never lacked, the room"
    _check_whole(await registry.mirror(upstream))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Where the mirrors are, and nothing else."""
    folder = tmp_path / "data" / "repositories"
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _fill_up(disk: Path, *, leave: int) -> Path:
    """The file that fills a disk, but for some pages."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        file.truncate(file.tell() - 4096 * leave)
    return ballast


async def test_a_sync_is_good_before_its_mirror_is_put_in_order(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stops the server meanwhile finds it in the history as it was."""
    begun = asyncio.Event()

    async def maintain(_: Mirror) -> None:
        begun.set()
        await asyncio.Event().wait()

    await registry.add(upstream)
    upstream.commit()
    monkeypatch.setattr(Mirror, "maintain", maintain)
    task = asyncio.create_task(registry.sync(upstream))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    repository = await registry.repository(upstream)
    runs, _ = await registry.store.runs.of_repository(repository.id, limit=1, offset=0)
    assert [(run.status, run.outcome.updated) for run in runs] == [("ok", ["acme/library:dev-main"])]
    assert repository.sync_status == "ok"


def _fill(folder: Path, commit: str) -> None:
    """More loose refs than are left alone."""
    for number in range(MOST_LOOSE_REFS + 1):
        (folder / f"{number}").write_text(f"{commit}\n")


async def test_many_commits_are_kept_by_one_ref(registry: Registry, upstream: GitRepository) -> None:
    """Nothing of what was served goes with its tags, even where somebody collects what no ref leads to."""
    served = {upstream.head()}
    for number in range(MOST_LOOSE_REFS // 2):
        served.add(upstream.commit())
        upstream.tag(f"1.1.{number}")
    await registry.add(upstream)
    mirror = await registry.mirror(upstream)
    before = await _archives(registry, mirror, served)
    assert len(upstream.git(f"--git-dir={mirror.path}", "for-each-ref", "refs/pricore").splitlines()) < 20

    upstream.git("checkout", "--quiet", "--orphan", "fresh")
    upstream.commit({"name": "acme/library"}, files={"other": "other"})
    upstream.git("branch", "--quiet", "--force", "main", "fresh")
    for tag in upstream.git("tag").split():
        upstream.git("tag", "--delete", tag)
    await registry.sync(upstream)
    upstream.git(f"--git-dir={mirror.path}", "-c", "gc.auto=1", "gc", "--quiet", "--prune=now")
    upstream.git(f"--git-dir={mirror.path}", "fsck", "--strict", "--no-dangling")
    assert await _archives(registry, mirror, served) == before
