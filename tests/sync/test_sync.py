"""What a sync does to what is served: real Git, real SQLite, one call at a time."""

import asyncio
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import zipfile
from pathlib import Path

import pytest

from pricore.archives.checksums import checksum
from pricore.errors import ConflictError, GitError, GitUnavailableError, NotFoundError, SyncError
from pricore.hosts.addresses import parse_address
from pricore.models import Step
from pricore.rights.visibility import ALL
from pricore.sync.progress import ignore
from tests.harness import GitRepository
from tests.registry import MakeRepository, Registry


async def marked(registry: Registry) -> set[str]:
    """The versions that say they are the default branch."""
    (package,) = (await registry.store.documents.inline(registry.organization.id, ALL)).values()
    return {name for name, entry in json.loads(bytes(package)).items() if entry.get("default-branch")}


async def test_only_refs_that_moved_are_read(registry: Registry, upstream: GitRepository) -> None:
    """A sync reads the refs that are new or moved, and none where nothing did."""
    assert (await registry.add(upstream)).read == 2
    assert (await registry.sync(upstream)).read == 0
    upstream.commit(files={"a.txt": "a"})
    report = await registry.sync(upstream)
    assert (report.read, report.added, report.updated) == (1, [], ["acme/library:dev-main"])


async def test_a_ref_without_composer_json_is_read_once(registry: Registry, upstream: GitRepository) -> None:
    """What makes no version is remembered with its reason, shown by each sync and not read again."""
    upstream.git("checkout", "--quiet", "--orphan", "docs")
    upstream.git("rm", "--quiet", "-rf", ".")
    upstream.commit(files={"a.txt": "a"})
    upstream.git("checkout", "--quiet", "main")
    assert (await registry.add(upstream)).read == 3
    upstream.tag("1.1.0")
    report = await registry.sync(upstream)
    assert report.read == 1
    assert [(item.ref, item.reason) for item in report.left_out] == [("refs/heads/docs", "no composer.json")]


async def test_an_unreachable_upstream_removes_nothing(
    registry: Registry, upstream: GitRepository, tmp_path: Path
) -> None:
    """A failed sync is on record with its reason, and everything goes on being served."""
    await registry.add(upstream)
    before = await registry.versions()
    upstream.folder.rename(tmp_path / "away")
    with pytest.raises(GitError, match="there is no Git repository at that address"):
        await registry.sync(upstream)
    repository = await registry.repository(upstream)
    assert repository.sync_status == "failed"
    assert "there is no Git repository" in (repository.sync_error or "")
    assert await registry.versions() == before

    (tmp_path / "away").rename(upstream.folder)
    await registry.sync(upstream)
    assert (await registry.repository(upstream)).sync_status == "ok"


async def test_an_upstream_without_refs_removes_nothing(registry: Registry, upstream: GitRepository) -> None:
    """An empty list of refs is an accident, not an order to delete."""
    await registry.add(upstream)
    before = await registry.versions()
    upstream.git("checkout", "--quiet", "--detach")
    upstream.git("branch", "--quiet", "-D", "main")
    upstream.git("tag", "-d", "1.0.0")
    with pytest.raises(SyncError, match="is empty"):
        await registry.sync(upstream)
    assert await registry.versions() == before


async def test_a_broken_composer_json_leaves_the_branch_where_it_was(
    registry: Registry, upstream: GitRepository
) -> None:
    """A branch whose newest commit cannot be read is served at its last good one until it is mended."""
    await registry.add(upstream)
    good = upstream.head()
    upstream.commit("{ not JSON")
    report = await registry.sync(upstream)
    assert "not valid JSON" in report.left_out[0].reason
    assert (await registry.versions())["dev-main"] == good
    mended = upstream.commit({"name": "acme/library"})
    report = await registry.sync(upstream)
    assert report.left_out == []
    assert (await registry.versions())["dev-main"] == mended


async def test_a_tag_that_moved_is_refused(registry: Registry, upstream: GitRepository) -> None:
    """A released version stays at its commit; that its tag moved is reported by every sync."""
    await registry.add(upstream)
    released = upstream.head()
    upstream.commit(files={"a.txt": "a"})
    upstream.git("tag", "--force", "1.0.0")
    for _ in range(2):
        report = await registry.sync(upstream)
        assert f"the tag moved from {released[:12]} to {upstream.head()[:12]}" in report.left_out[0].reason
        assert (await registry.versions())["1.0.0"] == released


async def test_a_deleted_tag_is_kept_and_marked(registry: Registry, upstream: GitRepository) -> None:
    """A release that disappears upstream is served on, and says since when it is gone until it is back."""
    await registry.add(upstream)
    upstream.git("tag", "-d", "1.0.0")
    assert (await registry.sync(upstream)).kept == ["acme/library:1.0.0"]
    package = await registry.store.packages.get(registry.organization, "acme/library")
    gone = {item.version: item.gone_at for item in await registry.store.packages.versions(package)}
    assert gone["1.0.0"] is not None
    upstream.tag("1.0.0")
    await registry.sync(upstream)
    back = {item.version: item.gone_at for item in await registry.store.packages.versions(package)}
    assert back == {"1.0.0": None, "dev-main": None}


async def test_a_deleted_branch_goes(registry: Registry, upstream: GitRepository) -> None:
    """A branch is served as long as it is there."""
    upstream.git("branch", "feature")
    await registry.add(upstream)
    upstream.git("branch", "--quiet", "-D", "feature")
    assert (await registry.sync(upstream)).removed == ["acme/library:dev-feature"]
    assert set(await registry.versions()) == {"1.0.0", "dev-main"}


async def test_a_name_that_is_taken_is_refused(
    registry: Registry, upstream: GitRepository, make_repository: MakeRepository
) -> None:
    """A second repository with a package's name is refused by naming the first, and leaves no trace."""
    await registry.add(upstream)
    before = await registry.versions()
    second = make_repository("second")
    second.commit({"name": "acme/library"})
    with pytest.raises(ConflictError, match=f"acme/library comes from {upstream.url} already"):
        await registry.add(second)
    assert await registry.versions() == before
    repositories = await registry.store.repositories.of_organization(registry.organization.id)
    assert [item.url for item in repositories] == [upstream.url]
    assert len(list((registry.store.path.parent / "repositories").iterdir())) == 2  # a mirror and its lock


async def test_a_renamed_package_goes_on_under_both_names(registry: Registry, upstream: GitRepository) -> None:
    """The new name has every version, as in Composer; the old one stays, abandoned in favour of the new."""
    await registry.add(upstream)
    before = await registry.versions()
    upstream.commit({"name": "acme/renamed"})
    await registry.sync(upstream)
    assert set(await registry.versions("acme/renamed")) == {"1.0.0", "dev-main"}
    assert await registry.versions() == before
    old = await registry.store.packages.get(registry.organization, "acme/library")
    assert old.replaced_by == "acme/renamed"

    upstream.commit({"name": "acme/library"})
    await registry.sync(upstream)
    assert (await registry.versions())["dev-main"] == upstream.head()
    old = await registry.store.packages.get(registry.organization, "acme/library")
    assert old.replaced_by is None


async def test_the_mark_of_the_default_branch_moves(registry: Registry, upstream: GitRepository) -> None:
    """When upstream makes another branch the default, exactly that one is marked."""
    upstream.git("branch", "next")
    await registry.add(upstream)
    upstream.git("checkout", "--quiet", "next")
    await registry.sync(upstream)
    assert await marked(registry) == {"dev-next"}


async def test_a_default_branch_that_broke_loses_the_mark(registry: Registry, upstream: GitRepository) -> None:
    """A branch that is served at its last good commit is not marked once another is the default."""
    upstream.git("branch", "next")
    await registry.add(upstream)
    upstream.commit("{ not JSON")
    upstream.git("checkout", "--quiet", "next")
    upstream.commit(files={"a.txt": "a"})
    await registry.sync(upstream)
    assert await marked(registry) == {"dev-next"}
    upstream.git("checkout", "--quiet", "-b", "other")
    upstream.commit("{ not JSON")
    await registry.sync(upstream)
    assert await marked(registry) == set(), "the new one makes no version"


async def test_the_mark_comes_back_with_the_default_branch(registry: Registry, upstream: GitRepository) -> None:
    """Where upstream named a branch that is not there for a while, the one from before is marked again."""
    await registry.add(upstream)
    upstream.git("symbolic-ref", "HEAD", "refs/heads/later")
    await registry.sync(upstream)
    assert await marked(registry) == set()
    upstream.git("symbolic-ref", "HEAD", "refs/heads/main")
    await registry.sync(upstream)
    assert await marked(registry) == {"dev-main"}


async def test_removing_a_repository_leaves_nothing_behind(
    registry: Registry, upstream: GitRepository, tmp_path: Path
) -> None:
    """Packages, mirror and lock of a removed repository are gone."""
    await registry.add(upstream)
    await registry.syncer.remove(await registry.repository(upstream))
    assert await registry.store.packages.of_organization(registry.organization.id) == []
    assert list((tmp_path / "data" / "repositories").iterdir()) == []


@pytest.mark.parametrize(
    ("composer", "message"),
    [
        (None, "has a composer.json"),
        ("{}", "holds no JSON object"),
        ('{"description": "nameless"}', 'has no "name"'),
        ('{"name": "no vendor"}', "is not a package name"),
        ('{"name": "acme/x", "require": {"a/b": "~>1"}}', "require.a/b"),
    ],
)
async def test_a_repository_without_versions_is_not_added(
    registry: Registry, make_repository: MakeRepository, composer: str | None, message: str
) -> None:
    """Where no ref makes a version, the reason is told and the registry stays as it was."""
    upstream = make_repository("bad")
    upstream.commit(composer)
    with pytest.raises(SyncError, match=message):
        await registry.add(upstream)
    assert await registry.store.repositories.of_organization(registry.organization.id) == []
    assert not list((registry.store.path.parent / "repositories").glob("*.git"))


async def test_the_newest_of_a_large_import_are_served_first(registry: Registry, upstream: GitRepository) -> None:
    """While a large import goes on, the newest versions are in service; stopped there, it can be resumed."""
    for minor in range(1, 60):
        upstream.commit(files={"a.txt": str(minor)})
        upstream.tag(f"1.{minor}.0")
    reached = asyncio.Event()

    def watch(text: str, done: int, total: int, received: int = 0) -> None:
        if text == Step.CHECKSUMS and done > 20:
            reached.set()

    repository = await registry.store.repositories.add(registry.organization, parse_address(upstream.url))
    running = asyncio.create_task(registry.syncer.sync(repository, progress=watch))
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    served = await registry.versions()
    assert 20 <= len(served) < 61
    assert {"dev-main", "1.59.0", "1.45.0"} <= set(served)
    await registry.syncer.sync(repository, progress=ignore)
    assert len(await registry.versions()) == 61


async def test_a_fetch_tells_how_far_it_is(registry: Registry, upstream: GitRepository) -> None:
    """In objects, of which there is a number, and in the bytes received; what comes behind counts anew."""
    upstream.commit(files={"large": random.Random(1).randbytes(3_000_000)})
    told: list[tuple[int, int, int]] = []

    def watch(step: str, done: int, total: int, received: int = 0) -> None:
        if step == Step.FETCHING:
            told.append((done, total, received))

    repository = await registry.store.repositories.add(registry.organization, parse_address(upstream.url))
    await registry.syncer.sync(repository, progress=watch)
    assert any(done == total > 3 and received > 2_900_000 for done, total, received in told)
    assert [received for _, _, received in told] == sorted(received for _, _, received in told)


async def test_a_rename_that_was_cut_off_is_finished(registry: Registry, upstream: GitRepository) -> None:
    """Killed in the middle of giving all versions a new name, the next sync gives it to the rest."""
    for minor in range(1, 60):
        upstream.commit(files={"a.txt": str(minor)})
        upstream.tag(f"1.{minor}.0")
    await registry.add(upstream)
    upstream.commit({"name": "acme/renamed"})
    repository = await registry.repository(upstream)
    reached = asyncio.Event()

    def watch(text: str, done: int, total: int, received: int = 0) -> None:
        if text == Step.CHECKSUMS and done > 20:
            reached.set()

    running = asyncio.create_task(registry.syncer.sync(repository, progress=watch))
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(await registry.versions("acme/renamed")) < 61
    await registry.sync(upstream)
    assert len(await registry.versions("acme/renamed")) == 61


async def test_a_first_sync_that_was_killed_on_the_way_is_begun_anew(
    registry: Registry, upstream: GitRepository
) -> None:
    """A mirror of which there is nothing yet but the lock of its configuration doesn't stop the next sync."""
    repository = await registry.store.repositories.add(registry.organization, parse_address(upstream.url))
    mirror = registry.sources.mirror(repository.id).path
    mirror.mkdir(parents=True)
    (mirror / "config.lock").write_text("")
    await registry.sync(upstream)

    assert set(await registry.versions()) == {"1.0.0", "dev-main"}


async def test_what_a_killed_git_left_behind_stops_nothing(registry: Registry, upstream: GitRepository) -> None:
    """Lock files of a git that is no more, half a pack and half a mirror are cleared away by the next sync."""
    await registry.add(upstream)
    mirror = (await registry.mirror(upstream)).path
    for name in ("packed-refs.lock", "refs/tags/1.1.0.lock", "refs/heads/main.lock"):
        (mirror / name).touch()
    half = mirror / "objects" / "pack" / "tmp_pack_Vsq0xb"
    half.touch()
    upstream.commit(files={"a.txt": "a"})
    upstream.tag("1.1.0")
    assert (await registry.sync(upstream)).added == ["acme/library:1.1.0"]
    assert not half.exists()

    shutil.rmtree(mirror / "objects")
    (mirror / "config").unlink()
    upstream.tag("1.2.0")
    assert (await registry.sync(upstream)).added == ["acme/library:1.2.0"]


async def test_a_lost_mirror_is_made_again(registry: Registry, upstream: GitRepository) -> None:
    """Where the mirrors are gone, a sync brings them back, so that every archive can be made again."""
    await registry.add(upstream)
    repository = await registry.repository(upstream)
    mirror = registry.sources.mirror(repository.id)
    shutil.rmtree(mirror.path)
    report = await registry.sync(upstream)
    assert (report.added, report.updated, report.removed) == ([], [], [])
    dist = await registry.store.packages.dist("acme", "acme/library", version="1.0.0", reference=None)
    assert dist is not None
    assert await mirror.archive(dist.treeish, checksum) == (dist.shasum, dist.size)


async def test_the_loser_of_a_conflict_gets_its_turn(
    registry: Registry, upstream: GitRepository, make_repository: MakeRepository
) -> None:
    """A ref that was left out for another's sake is served once that one is gone; so is another repository's."""
    upstream.git("branch", "a#b")
    upstream.git("branch", "a+b")
    await registry.add(upstream)
    assert "so does a#b" in (await registry.reasons(upstream))["refs/heads/a+b"]
    upstream.git("branch", "--quiet", "-D", "a#b")
    await registry.sync(upstream)
    assert set(await registry.versions()) == {"1.0.0", "dev-main", "dev-a+b"}

    second = make_repository("second")
    second.git("checkout", "--quiet", "-b", "unnamed")
    second.commit({"description": "each version has its own name"})
    second.git("checkout", "--quiet", "-b", "own")
    second.commit({"name": "acme/own"})
    second.git("checkout", "--quiet", "-b", "taken")
    second.commit({"name": "acme/library"})
    second.git("checkout", "--quiet", "unnamed")
    await registry.add(second)
    assert "comes from" in (await registry.reasons(second))["refs/heads/taken"]
    await registry.syncer.remove(await registry.repository(upstream))
    await registry.sync(second)
    assert set(await registry.versions()) == {"dev-taken"}


async def test_a_repository_that_is_removed_meanwhile_is_not_synced(
    registry: Registry, upstream: GitRepository
) -> None:
    """Who waited for a repository that was removed is told so."""
    await registry.add(upstream)
    repository = await registry.repository(upstream)
    await registry.syncer.remove(repository)
    with pytest.raises(NotFoundError, match="was removed"):
        await registry.syncer.sync(repository, progress=ignore)


async def test_two_syncs_of_one_repository_wait_for_each_other(
    registry: Registry, upstream: GitRepository
) -> None:
    """However many ask at once, one repository is read by one at a time, and all of them succeed."""
    await registry.add(upstream)
    upstream.tag("1.1.0")
    reports = await asyncio.gather(*(registry.sync(upstream) for _ in range(4)))
    assert sorted(report.read for report in reports) == [0, 0, 0, 1]


async def test_the_checksum_of_an_archive_depends_on_the_commit_alone(
    registry: Registry, make_repository: MakeRepository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither the host's git configuration nor later refs change an archive: this one is the same everywhere."""
    upstream = make_repository("golden")
    files = {"src/A.php": "<?php\n", "tests/T.php": "<?php\n", "VERSION": "$Format:%d %h$\n"}
    upstream.commit(
        {"name": "acme/golden"},
        files=files | {".gitattributes": "tests export-ignore\nVERSION export-subst\n"},
    )
    (tmp_path / ".gitconfig").write_text("[core]\n\tautocrlf = true\n\tattributesFile = ~/attributes\n")
    (tmp_path / "attributes").write_text("*.php export-ignore\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    await registry.add(upstream)
    upstream.tag("1.0.0")
    await registry.sync(upstream)

    mirror = await registry.mirror(upstream)
    content = await mirror.archive(upstream.head(), lambda archive: archive.read())
    root = upstream.head()[:12]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        assert names == {f"{root}/{name}" for name in ("composer.json", ".gitattributes", "src/A.php", "VERSION")}
        assert archive.read(f"{root}/VERSION") == b"$Format:%d %h$\n"
        assert archive.infolist()[0].date_time == (2023, 11, 14, 22, 16, 20)
    assert hashlib.sha1(content).hexdigest() == GOLDEN
    assert checksum(io.BytesIO(content)) == (GOLDEN, len(content))


GOLDEN = "792f69949be5e08d808187969b41f24084d728f0"
"""The sha1 of that archive. If a new version of git changes it, checksums in lock files break: find a way."""


async def test_refs_that_look_like_options_are_only_names(registry: Registry, upstream: GitRepository) -> None:
    """A ref that begins with a dash reaches no command line as an option, and makes no version."""
    upstream.git("update-ref", "refs/heads/--upload-pack=touch", "HEAD")
    upstream.git("update-ref", "refs/tags/--output=x", "HEAD")
    report = await registry.add(upstream)
    assert [item.ref for item in report.left_out] == ["refs/heads/--upload-pack=touch", "refs/tags/--output=x"]


async def test_a_name_that_is_not_utf_8_stays_out(registry: Registry, upstream: GitRepository) -> None:
    """A branch whose name is no text is left out, with a name that can be shown."""
    path = upstream.folder / ".git/refs/heads"
    (path / b"caf\xe9".decode("utf-8", "surrogateescape")).write_text(upstream.head() + "\n")
    report = await registry.add(upstream)
    assert [(item.ref, item.reason) for item in report.left_out] == [
        ("refs/heads/caf\\xe9", "its name is not UTF-8")
    ]


async def test_what_is_no_file_is_no_composer_json(registry: Registry, make_repository: MakeRepository) -> None:
    """A composer.json that is a folder or a link to another file makes no version and breaks nothing."""
    upstream = make_repository("odd")
    upstream.commit(files={"composer.json/file": "x"})
    upstream.tag("1.0.0")
    upstream.git("rm", "--quiet", "-r", "composer.json")
    (upstream.folder / "composer.json").symlink_to("/etc/passwd")
    upstream.commit()
    upstream.tag("1.1.0")
    (upstream.folder / "composer.json").unlink()
    upstream.commit({"name": "acme/odd"})
    tree = upstream.git("rev-parse", "HEAD^{tree}")
    upstream.git("update-ref", "refs/tags/1.2.0", tree)
    report = await registry.add(upstream)
    assert report.added == ["acme/odd:dev-main"]
    reasons = {item.ref: item.reason for item in report.left_out}
    assert reasons["refs/tags/1.0.0"] == "no composer.json"
    assert "not valid JSON" in reasons["refs/tags/1.1.0"]
    assert reasons["refs/tags/1.2.0"] == "it leads to no commit"


async def test_a_remote_is_read_over_the_wire(
    registry: Registry, upstream: GitRepository, unused_tcp_port: int
) -> None:
    """A repository behind git:// is followed; its address is where clients clone the source from."""
    daemon = await asyncio.create_subprocess_exec(
        "git",
        "daemon",
        "--export-all",
        "--listen=127.0.0.1",
        f"--port={unused_tcp_port}",
        f"--base-path={upstream.folder.parent}",
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"git://127.0.0.1:{unused_tcp_port}/library/.git"
    address = parse_address(url)
    try:
        for attempt in range(50):
            try:
                await registry.syncer.add(registry.organization, address, progress=ignore)
                break
            except GitUnavailableError:
                assert attempt < 49
                await asyncio.sleep(0.1)
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        await daemon.wait()
    (package,) = (await registry.store.documents.inline(registry.organization.id, ALL)).values()
    assert json.loads(bytes(package))["1.0.0"]["source"] == {
        "type": "git",
        "url": url,
        "reference": upstream.head(),
    }


async def test_a_version_that_composer_aborts_for_stays_out_with_a_reason(
    registry: Registry, make_repository: MakeRepository
) -> None:
    """A binary outside of its package: the tag is named, and what else there is is served."""
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library", "bin": "../../x"})
    upstream.tag("1.0.0")
    upstream.commit({"name": "acme/library"})
    report = await registry.add(upstream)

    (left_out,) = report.left_out
    assert left_out.ref == "refs/tags/1.0.0"
    assert left_out.reason == "bin ../../x leads outside of the package: it must not contain .."
    assert list(await registry.versions()) == ["dev-main"]


LFS = "*.png filter=lfs diff=lfs merge=lfs -text\n"
MODULES = '[submodule "lib"]\n\tpath = lib\n\turl = https://example.com/lib.git\n'


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({".gitattributes": LFS}, ["Git LFS"]),
        ({".gitattributes": f"* text=auto\r\n{LFS.strip()}\r\n"}, ["Git LFS"]),
        ({".gitmodules": MODULES}, ["submodules"]),
        ({".gitattributes": LFS, ".gitmodules": MODULES}, ["Git LFS", "submodules"]),
        ({".gitattributes": f"#{LFS}* filter=lfsx\n", ".gitmodules": "# path\n"}, []),
        ({"src/.gitattributes": LFS}, []),
        ({}, []),
    ],
)
async def test_what_archives_leave_out_is_told(
    registry: Registry, make_repository: MakeRepository, files: dict[str, str], words: list[str]
) -> None:
    """Of each sync that reads something, in its report and in the history; and no longer once it is mended."""
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"}, files=files)
    report = await registry.add(upstream)
    assert [word for note, word in zip(report.notes, words, strict=True) if word in note] == words
    runs, _ = await registry.store.runs.of_repository((await registry.repository(upstream)).id, limit=1, offset=0)
    assert runs[0].outcome.notes == report.notes

    for name in files:
        (upstream.folder / name).unlink()
    upstream.commit()
    assert (await registry.sync(upstream)).notes == []
