"""Archives: what is kept is what was advertised, or nothing."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pricore.dists import Dists, Encoding, checksum, read_plain
from pricore.errors import DistError, GitError
from pricore.git import Git
from pricore.mirror import Mirror
from pricore.models import Dist
from tests.harness import GitRepository


@pytest.fixture
def git() -> Iterator[Git]:
    with Git(timeout=60) as git:
        yield git


@pytest.fixture
async def mirror(git: Git, tmp_path: Path, make_repository: Callable[[str], GitRepository]) -> Mirror:
    """A mirror of a repository whose branch main has one commit."""
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"}, files={"a.txt": "text " * 1000})
    mirror = Mirror(git, tmp_path / "mirror.git")
    await mirror.fetch(upstream.url)
    return mirror


async def _advertised(mirror: Mirror) -> Dist:
    commit = (await mirror.refs())["refs/heads/main"]
    shasum, size = await mirror.archive(commit, checksum)
    return Dist("repository", commit, shasum, size)


async def test_every_encoding_is_kept_compressed_and_unpacks_to_the_same(mirror: Mirror, tmp_path: Path) -> None:
    """zstd, and gzip made of it or of the commit, hold the bytes whose checksum was advertised."""
    dist = await _advertised(mirror)
    dists = Dists(tmp_path / "dists")
    kept = await dists.get(dist, mirror, "zstd")
    assert hashlib.sha1(b"".join(read_plain(kept))).hexdigest() == dist.shasum
    assert kept.stat().st_size < dist.size / 4
    made_of_kept = (await dists.get(dist, mirror, "gzip")).read_bytes()
    made_of_commit = (await Dists(tmp_path / "other").get(dist, mirror, "gzip")).read_bytes()
    assert made_of_kept == made_of_commit


async def test_an_archive_with_another_checksum_is_not_kept(mirror: Mirror, tmp_path: Path) -> None:
    """Bytes that aren't those that were advertised go nowhere; the message names both checksums."""
    dist = await _advertised(mirror)
    wrong = Dist(dist.repository_id, dist.treeish, "0" * 40, dist.size)
    with pytest.raises(DistError, match=f"{dist.shasum}, but {'0' * 40} was advertised"):
        await Dists(tmp_path / "dists").get(wrong, mirror, "zstd")
    assert [path for path in (tmp_path / "dists").rglob("*") if path.is_file()] == []


async def test_a_failure_of_git_is_told_as_such(mirror: Mirror, tmp_path: Path) -> None:
    """Where git cannot make an archive, its own reason is told and nothing is left behind."""
    dist = Dist("repository", "0" * 40, "0" * 40, 1)
    with pytest.raises(GitError, match=r"not a tree object|not a valid object name"):
        await Dists(tmp_path / "dists").get(dist, mirror, "zstd")
    assert [path for path in (tmp_path / "dists").rglob("*") if path.is_file()] == []


async def test_removing_deletes_every_encoding(mirror: Mirror, tmp_path: Path) -> None:
    """What no package advertises any more takes no space."""
    dist = await _advertised(mirror)
    dists = Dists(tmp_path / "dists")
    await dists.get(dist, mirror, "zstd")
    await dists.get(dist, mirror, "gzip")
    await dists.remove({dist.shasum, "0" * 40})
    assert [path for path in (tmp_path / "dists").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("damage", [b"", b"not compressed at all"], ids=["cut", "replaced"])
async def test_a_damaged_archive_is_made_again(mirror: Mirror, tmp_path: Path, damage: bytes) -> None:
    """What a disk or a copy spoilt is noticed by the next process, and replaced by what was advertised."""
    dist = await _advertised(mirror)
    encodings: tuple[Encoding, ...] = ("zstd", "gzip")
    for encoding in encodings:
        kept = await Dists(tmp_path / "dists").get(dist, mirror, encoding)
        whole = kept.read_bytes()
        kept.write_bytes(damage or whole[:100])
        assert (await Dists(tmp_path / "dists").get(dist, mirror, encoding)).read_bytes() == whole
