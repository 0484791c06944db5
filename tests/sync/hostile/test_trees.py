"""What is in a hostile repository's trees costs its own versions, with a reason, and nobody else anything."""

import asyncio
import io
import os
import subprocess
import time
import zipfile
from pathlib import Path

import pytest

from pricore.config import Config
from pricore.errors import SyncError
from pricore.services.opening import Services
from pricore.sync.progress import ignore
from pricore.system.process import Bounds
from tests.harness import GitRepository, need
from tests.registry import Registry, open_registry
from tests.sync.hostile.harness import blob, reasons, tag_tree, tree


@pytest.mark.parametrize("name", [b"..", b".", b".git", b"../../evil", b"/etc/evil", b"a/../../evil"])
async def test_a_name_that_leaves_the_folder_makes_no_version(
    registry: Registry, upstream: GitRepository, name: bytes
) -> None:
    """A tree with `..`, `.git` or an absolute name in it is left out for good, and everything else is served."""
    tag_tree(upstream, "2.0.0", ("100644", name, blob(upstream, b"evil")))
    report = await registry.add(upstream)
    assert set(await registry.versions()) == {"1.0.0", "dev-main"}
    assert "a name that git refuses" in reasons(report)["refs/tags/2.0.0"]
    again = await registry.sync(upstream)
    assert (again.read, reasons(again)) == (0, reasons(report)), "it is not tried until it moves"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"..\\..\\evil", "would be unpacked outside of its folder"),
        (b"src\\..\\..\\..\\evil", "would be unpacked outside of its folder"),
    ],
)
async def test_a_way_up_by_backslashes_makes_no_version(
    registry: Registry, upstream: GitRepository, name: bytes, reason: str
) -> None:
    """What is a file's name to git, and a path to Windows, leads nowhere else there."""
    tag_tree(upstream, "2.0.0", ("100644", name, blob(upstream, b"evil")))
    assert reason in reasons(await registry.add(upstream))["refs/tags/2.0.0"]
    assert set(await registry.versions()) == {"1.0.0", "dev-main"}


async def test_a_repository_of_no_archive_is_told_once(registry: Registry, upstream: GitRepository) -> None:
    """The message says where the fault is, and says so once."""
    upstream.git("tag", "--delete", "1.0.0")
    upstream.git("config", "core.protectNTFS", "false")
    upstream.write({"..\\evil": "x"})
    upstream.commit()
    with pytest.raises(SyncError) as caught:
        await registry.add(upstream)
    assert "heads/main: no archive can be made: " in str(caught.value)
    assert str(caught.value).count("no archive can be made") == 1


SPELLED = [b"LINK", "\u200clink".encode(), b"link.", b"link ", b"link. ."]
"""What is `link` on some system."""


@pytest.mark.parametrize("spelled", [b"link", *SPELLED, b"link\\deep"])
@pytest.mark.parametrize("nested", [True, False])
async def test_no_file_is_unpacked_through_a_link(
    registry: Registry, upstream: GitRepository, tmp_path: Path, spelled: bytes, nested: bool
) -> None:
    """A link, and files below the same name, would be written where the link leads to: that is no version."""
    link = "120000", b"link", blob(upstream, bytes(tmp_path / "outside"))
    evil = blob(upstream, b"evil")
    below = (
        ("40000", spelled, tree(upstream, [("100644", b"evil", evil)]))
        if nested
        else ("100644", spelled + b"/evil", evil)
    )
    tag_tree(upstream, "2.0.0", link, below)
    report = await registry.add(upstream)
    assert "'link' is a link and a folder at the same time" in reasons(report)["refs/tags/2.0.0"]


@pytest.mark.parametrize(
    ("link", "spelled"),
    [*((b"link", name) for name in SPELLED), (b"\xc3\xa9", b"e\xcc\x81"), (b"stra\xc3\x9fe", b"STRASSE")],
)
async def test_no_file_is_written_through_a_link_of_the_same_name(
    registry: Registry, upstream: GitRepository, tmp_path: Path, link: bytes, spelled: bytes
) -> None:
    """A file that has a link's name on another system would be written where the link leads to."""
    outside = blob(upstream, bytes(tmp_path / "outside"))
    tag_tree(upstream, "2.0.0", ("120000", link, outside), ("100644", spelled, blob(upstream, b"evil")))
    report = await registry.add(upstream)
    assert "has the same name on other systems" in reasons(report)["refs/tags/2.0.0"]
    assert set(await registry.versions()) == {"1.0.0", "dev-main"}


@pytest.mark.parametrize("name", [".git ", ".git.", "git~1", ".git::$INDEX_ALLOCATION", ".g\u200cit", ".GIT:a"])
async def test_a_folder_that_is_gits_own_elsewhere_makes_no_version(
    registry: Registry, upstream: GitRepository, name: str
) -> None:
    """Whoever runs git in an installed package would run what its configuration says."""
    config = tree(upstream, [("100644", b"config", blob(upstream, b"[core]\n\tfsmonitor = evil"))])
    tag_tree(upstream, "2.0.0", ("40000", name.encode(), config))
    reason = reasons(await registry.add(upstream))["refs/tags/2.0.0"]
    assert "would be git's own folder elsewhere" in reason or "a name that git refuses" in reason
    assert set(await registry.versions()) == {"1.0.0", "dev-main"}


async def test_files_that_are_one_elsewhere_are_served(registry: Registry, upstream: GitRepository) -> None:
    """Capitals alone are no harm where there is no link: on Linux, both are there."""
    two = (("100644", name, blob(upstream, name)) for name in (b"README.md", b"readme.md", b".gitignore"))
    tag_tree(upstream, "2.0.0", ("120000", b"link", blob(upstream, b"README.md")), *two)
    assert "acme/library:2.0.0" in (await registry.add(upstream)).added


async def test_an_archive_with_links_is_unpacked_into_its_folder(
    registry: Registry, upstream: GitRepository, tmp_path: Path
) -> None:
    """Links are served as they are, as links, with nothing of where they lead; submodules are empty folders."""
    need("unzip")
    commit = tag_tree(
        upstream,
        "2.0.0",
        ("120000", b"passwd", blob(upstream, b"/etc/passwd")),
        ("120000", b"up", blob(upstream, b"..")),
        ("160000", b"module", upstream.head()),
        ("100644", b"a\x1b[31m\n\xe2\x80\xae", blob(upstream, b"hi")),
    )
    assert "acme/library:2.0.0" in (await registry.add(upstream)).added
    content = await (await registry.mirror(upstream)).archive(commit, lambda output: output.read())
    root = commit[:12]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {root}
        assert archive.read(f"{root}/passwd") == b"/etc/passwd", "the link, not the file"
        assert f"{root}/module/" in archive.namelist()
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "a.zip").write_bytes(content)
    await asyncio.to_thread(
        subprocess.run, ["unzip", "-qq", "../a.zip"], cwd=tmp_path / "unpacked", check=True, capture_output=True
    )
    assert os.listdir(tmp_path / "unpacked") == [root]  # noqa: PTH208  # names alone
    assert (tmp_path / "unpacked" / root / "passwd").is_symlink()


@pytest.mark.parametrize(
    ("files", "bounds", "reason"),
    [
        (10, Bounds(memory=64 * 1024**2), "git needs more than 512 MB of memory for its files"),
        (0, Bounds(seconds=1), "git needs more than a minute for its folders"),
    ],
)
async def test_a_tree_that_unfolds_to_a_billion_files_is_stopped(
    registry: Registry,
    upstream: GitRepository,
    monkeypatch: pytest.MonkeyPatch,
    files: int,
    bounds: Bounds,
    reason: str,
) -> None:
    """Few objects that name each other make no archive: git is stopped by what it takes, others are served."""
    monkeypatch.setattr("pricore.vcs.mirror.ARCHIVE_BOUNDS", bounds)
    bomb = tree(upstream, [("100644", b"f%d" % n, blob(upstream, b"x")) for n in range(files)])
    for _ in range(9):
        bomb = tree(upstream, [("40000", b"d%d" % n, bomb) for n in range(10)])
    tag_tree(upstream, "2.0.0", ("40000", b"bomb", bomb))
    began = time.monotonic()
    report = await registry.add(upstream)
    assert time.monotonic() - began < 20
    assert reasons(report)["refs/tags/2.0.0"] == f"too large for an archive: {reason}"
    assert set(await registry.versions()) == {"1.0.0", "dev-main"}
    again = await registry.sync(upstream)
    assert (again.read, reasons(again)) == (0, reasons(report)), "it is not tried until it moves"


async def test_a_huge_file_makes_no_version(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that git cannot hold in the memory that it may take keeps its own version out, and no other."""
    monkeypatch.setattr("pricore.vcs.mirror.ARCHIVE_BOUNDS", Bounds(memory=64 * 1024**2))
    huge = blob(upstream, bytes(100 * 1024**2))
    # two: git may have the memory for the first before it is held, and then waits for whoever reads
    tag_tree(upstream, "2.0.0", ("100644", b"huge", huge), ("100644", b"more", huge))
    report = await registry.add(upstream)
    assert reasons(report)["refs/tags/2.0.0"].startswith("too large for an archive: git needs more than 512 MB")
    assert set(await registry.versions()) == {"1.0.0", "dev-main"}


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("pricore.archives.safety.MOST_FILES", 10, "it has more than 10 files"),
        ("pricore.archives.safety.MOST_DIRECTORY", 100, "it has more than 100,000 files"),
        ("pricore.archives.checksums.MOST_BYTES", 10_000, "more than 0 GB"),
    ],
)
async def test_an_archive_has_so_many_files_and_bytes(
    registry: Registry,
    upstream: GitRepository,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: int,
    reason: str,
) -> None:
    """What would fill the disk of whoever installs it makes no version."""
    monkeypatch.setattr(limit, value)
    if limit.endswith("_DIRECTORY"):
        monkeypatch.setattr("pricore.archives.checksums.CHUNK", 64)
    files = tree(upstream, [("100644", b"%03d" % n, blob(upstream, b"x" * 100)) for n in range(100)])
    tag_tree(upstream, "2.0.0", ("40000", b"files", files))
    left_out = reasons(await registry.add(upstream)) if "_DIRECTORY" not in limit else {}
    if left_out:
        assert left_out["refs/tags/2.0.0"] == f"too large for an archive: {reason}"
    else:
        with pytest.raises(SyncError, match=reason):
            await registry.add(upstream)


async def test_a_sync_ends_and_goes_on_later(upstream: GitRepository, tmp_path: Path) -> None:
    """However many archives there are to be made, others get their turn; the next sync makes the rest."""
    async with open_registry(tmp_path / "data") as registry:
        await registry.add(upstream)
        upstream.commit(files={"a": "b"})
        upstream.tag("1.1.0")
        hurried = Services(Config(data=tmp_path / "data", git_timeout=0), registry.store, registry.git).syncer
        report = await hurried.sync(await registry.repository(upstream), progress=ignore)
        assert "the next sync goes on" in reasons(report)["refs/tags/1.1.0"]
        assert set(await registry.versions()) == {"1.0.0", "dev-main"}
        assert (await registry.sync(upstream)).added == ["acme/library:1.1.0"]


@pytest.mark.parametrize("paths", [(), ("packages/*",)], ids=["whole", "folder"])
async def test_a_date_that_git_cannot_archive_costs_its_own_ref(
    registry: Registry, upstream: GitRepository, paths: tuple[str, ...]
) -> None:
    """It is left out with its reason, once and for all: nobody tries again what never will be."""
    upstream.write({"packages/library/composer.json": '{"name": "acme/library"}'})
    upstream.commit()
    upstream.tag("1.1.0")
    manifest = "100644", b"composer.json", blob(upstream, b'{"name": "acme/library"}')
    other = tree(upstream, [manifest, ("100644", b"other.txt", blob(upstream, b"of these commits alone"))])
    folder = "40000", b"packages", tree(upstream, [("40000", b"library", other)])
    files = tree(upstream, [manifest, folder])
    for n, date in enumerate(("18446744073709551614", "-5")):
        text = f"tree {files}\nauthor A <a@b> 1400000000 +0000\ncommitter A <a@b> {date} +0000\n\nx\n".encode()
        commit = upstream.git("hash-object", "-t", "commit", "-w", "--stdin", "--literally", stdin=text)
        upstream.git("update-ref", f"refs/tags/2.{n}.0", commit)
    report = await registry.add(upstream, *paths)
    found = {ref: reason for ref, reason in reasons(report).items() if "/tags/2." in ref}
    assert {ref.partition(":")[0] for ref in found} == {"refs/tags/2.0.0", "refs/tags/2.1.0"}
    assert set(found.values()) == {"no archive can be made: the date of its commit is one that git cannot write"}
    assert {"1.1.0", "dev-main"} <= set(await registry.versions())
    assert (await registry.sync(upstream)).read == 0
    assert (await registry.repository(upstream)).sync_status == "ok"
