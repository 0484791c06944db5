"""The checksums of many versions are made in one go, and are those of git's archives whatever happens."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Final

import pytest

from pricore.archives.checksums import Checksums, Digest, checksum
from pricore.errors import GitError, GitUnavailableError
from pricore.git import Git
from pricore.vcs.gitzip import GitZip
from pricore.vcs.mirror import Mirror
from tests.harness import GitRepository

_VERSIONS: Final = 40
_LINKED: Final = 30
"""Which of them has something that is left to git."""


class Repository:
    """A mirror, its commits from old to new, and whether they were made in one go, or by how many gits."""

    def __init__(self, mirror: Mirror, commits: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.mirror = mirror
        self.commits = commits
        self.archives: list[str] = []
        archive = mirror.archive

        async def observed(treeish: str, consume: Callable[..., Digest]) -> Digest:
            self.archives.append(treeish)
            return await archive(treeish, consume)

        monkeypatch.setattr(mirror, "archive", observed)

    async def checksums(self, treeishes: Iterable[str], *, seconds: float = 60) -> dict[str, Digest]:
        async with Checksums(self.mirror, {}, seconds=seconds) as checksums:
            await checksums.begin(treeishes)
            return {treeish: await asyncio.wait_for(checksums.of(treeish), 60) for treeish in treeishes}

    async def check(self, treeishes: list[str], *, by_git: int) -> None:
        """The checksums of all are those of git's archives, and so many of them were made by a git each."""
        made = await self.checksums(treeishes)
        assert len(self.archives) == by_git
        assert made == {treeish: await self.mirror.archive(treeish, checksum) for treeish in treeishes}


@pytest.fixture
async def repository(
    tmp_path: Path, make_repository: Callable[[str], GitRepository], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Repository]:
    upstream = make_repository("library")
    upstream.write({".gitattributes": "/tests export-ignore\n", "tests/a.php": "<?php"})
    commits = []
    for number in range(_VERSIONS):
        files = {"src/a.php": f"<?php {number};", "packages/one/b.php": f"<?php {number // 2};"}
        link = upstream.folder / "link"
        if number == _LINKED:
            link.symlink_to("composer.json")
        else:
            link.unlink(missing_ok=True)
        commits.append(upstream.commit({"name": "acme/library"}, files=files))
    with Git(timeout=60) as git:
        mirror = Mirror(git, tmp_path / "mirror.git")
        await mirror.fetch(upstream.url)
        yield Repository(mirror, commits, monkeypatch)


async def test_many_are_made_together(repository: Repository) -> None:
    """By git are made the first, to compare, and what is rare."""
    await repository.check(repository.commits, by_git=2)


async def test_folders_are_made_together(repository: Repository) -> None:
    """Those of packages in folders, too."""
    folders = [f"{commit}:packages/one" for commit in repository.commits]
    await repository.check(folders, by_git=1)


async def test_few_are_made_by_git(repository: Repository) -> None:
    """Where nothing would be gained, there is no other way than git's."""
    await repository.check(repository.commits[:15], by_git=15)


async def test_what_is_known_is_taken_over(repository: Repository) -> None:
    """Nothing is made of what was advertised before."""
    known = dict.fromkeys(repository.commits, ("0" * 40, 1))
    async with Checksums(repository.mirror, known, seconds=60) as checksums:
        await checksums.begin(repository.commits)
        assert {commit: await checksums.of(commit) for commit in known} == known
    assert repository.archives == []


async def test_more_may_be_begun_meanwhile(repository: Repository) -> None:
    """Few first, then many, among them those few, then more: each is made once."""
    async with Checksums(repository.mirror, {}, seconds=60) as checksums:
        for end in (3, 30, 40):
            await checksums.begin(repository.commits[:end])
        made = {commit: await checksums.of(commit) for commit in repository.commits}
    assert len(made) == _VERSIONS
    assert len(repository.archives) == len(set(repository.archives))
    assert made == {commit: await repository.mirror.archive(commit, checksum) for commit in made}


@pytest.mark.parametrize("kind", ["other bytes", "an error in it"])
async def test_git_makes_all_if_its_archives_are_others(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """A git that writes zips in another way is the one that counts, and it is told; so is what should never be."""

    def make(zips: GitZip, treeish: str) -> bytes:
        if kind == "other bytes":
            return b"other"
        raise ZeroDivisionError

    monkeypatch.setattr(GitZip, "make", make)
    await repository.check(repository.commits, by_git=_VERSIONS)
    assert "archives are made one by one" in caplog.text


async def test_git_makes_the_rest_when_the_conversation_ends(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was made before stays, and the one that was in hand isn't lost."""
    make = GitZip.make
    seen: list[str] = []

    def made(zips: GitZip, treeish: str) -> bytes:
        seen.append(treeish)
        if len(seen) == 10:
            # what git says of a pack that is damaged, it says by ending
            zips.objects.requests.close()
            zips.objects.answers.read()
        return make(zips, treeish)

    monkeypatch.setattr(GitZip, "make", made)
    await repository.check(repository.commits, by_git=_VERSIONS - 8)
    assert "archives are made one by one" in caplog.text


async def test_one_that_git_cannot_make_costs_no_other(repository: Repository) -> None:
    """A commit that isn't there has git's reason, whoever comes before and behind it."""
    missing = "1" * 40
    wanted = [*repository.commits[:20], missing, *repository.commits[20:]]
    async with Checksums(repository.mirror, {}, seconds=60) as checksums:
        await checksums.begin(wanted)
        with pytest.raises(GitError, match=r"not a tree object|not a valid object name"):
            await checksums.of(missing)
        for commit in repository.commits:
            await checksums.of(commit)


async def test_no_more_are_begun_after_the_time_is_up(repository: Repository) -> None:
    """Each says so, and that the next sync goes on."""
    async with Checksums(repository.mirror, {}, seconds=0) as checksums:
        await checksums.begin(repository.commits)
        for commit in repository.commits:
            with pytest.raises(GitError, match="the next sync goes on"):
                await checksums.of(commit)
    assert repository.archives == []


async def test_it_ends_at_once_when_it_is_given_up(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of the conversation, and no git is left behind."""
    make = GitZip.make
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(zips: GitZip, treeish: str) -> bytes:
        if treeish == repository.commits[5]:
            loop.call_soon_threadsafe(begun.set)
            zips.objects.answers.read()  # which comes to an end with git alone
        return make(zips, treeish)

    monkeypatch.setattr(GitZip, "make", slow)
    async with asyncio.timeout(20):
        async with Checksums(repository.mirror, {}, seconds=60) as checksums:
            await checksums.begin(repository.commits)
            await begun.wait()
    with pytest.raises(asyncio.CancelledError):
        await checksums.of(repository.commits[-1])
    assert len(repository.archives) == 1


async def test_a_conversation_has_its_time(repository: Repository, tmp_path: Path) -> None:
    """One in which nobody says anything any more ends when git's time is up."""
    with Git(timeout=1) as git:
        mirror = Mirror(git, repository.mirror.path)
        with pytest.raises(GitUnavailableError, match="took longer than 1 seconds"):
            await mirror.with_zips(lambda zips: zips.objects.answers.read())


async def test_what_is_made_together_rests_while_something_else_computes(repository: Repository) -> None:
    """Nothing is made meanwhile, and all of it afterwards."""
    async with Checksums(repository.mirror, {}, seconds=60) as checksums:
        with checksums.resting():
            await checksums.begin(repository.commits)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(checksums.of(repository.commits[0]), 0.5)
        made = {commit: await asyncio.wait_for(checksums.of(commit), 60) for commit in repository.commits}
    assert made == {commit: await repository.mirror.archive(commit, checksum) for commit in repository.commits}
