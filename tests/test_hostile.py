"""What a hostile repository or its server does costs its own sync, with a reason, and nobody else anything."""

import asyncio
import contextlib
import io
import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from pricore.addresses import parse_address
from pricore.config import Config
from pricore.errors import GitError, SyncError
from pricore.git import Bounds, Git
from pricore.jobs import Queue
from pricore.mirror import Mirror
from pricore.models import Organization, Repository
from pricore.run import Report
from pricore.store import Store
from pricore.sync import Syncer
from tests.harness import GitRepository, Pricore, need

MakeRepository = Callable[[str], GitRepository]

Entry = tuple[str, bytes, str]
"""What stands in a tree: mode, name, object."""


def _silent(text: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


class Registry:
    """An organization, and what syncs its repositories."""

    def __init__(self, store: Store, git: Git, config: Config, organization: Organization) -> None:
        self.store = store
        self.git = git
        self.config = config
        self.organization = organization
        self.syncer = Syncer(store, git, config)

    async def add(self, upstream: GitRepository) -> Report:
        return await self.syncer.add(self.organization, parse_address(upstream.url), progress=_silent)

    async def sync(self, upstream: GitRepository) -> Report:
        return await self.syncer.sync(await self.repository(upstream), progress=_silent)

    async def repository(self, upstream: GitRepository) -> Repository:
        return await self.store.repositories.get(self.organization, upstream.url)

    async def mirror(self, upstream: GitRepository) -> Mirror:
        return self.syncer.mirror((await self.repository(upstream)).id)

    async def versions(self, name: str = "acme/library") -> set[str]:
        package = await self.store.packages.get(self.organization, name)
        return {item.version for item in await self.store.packages.versions(package)}


@contextlib.asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Registry]:
    """A registry with these settings."""
    with Git(timeout=config.git_timeout) as git:
        async with Store(config.database) as store:
            yield Registry(store, git, config, await store.organizations.create("acme", "Acme"))


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    async with opened(Config(data=tmp_path / "data", git_timeout=60)) as found:
        yield found


@pytest.fixture
def upstream(make_repository: MakeRepository) -> GitRepository:
    """acme/library with a tag 1.0.0 on the branch main."""
    repository = make_repository("library")
    repository.commit({"name": "acme/library"})
    repository.tag("1.0.0")
    return repository


def blob(repository: GitRepository, content: bytes) -> str:
    return repository.git("hash-object", "-w", "--stdin", stdin=content)


def tree(repository: GitRepository, entries: Sequence[Entry]) -> str:
    """A tree object as it is given, which no git would make."""
    content = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(value) for mode, name, value in entries)
    return repository.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", stdin=content)


def tag_tree(repository: GitRepository, tag: str, *entries: Entry) -> str:
    """Tag a commit of a composer.json and these entries; gives the commit."""
    manifest = "100644", b"composer.json", blob(repository, b'{"name": "acme/library"}')
    commit = repository.git("commit-tree", "-m", "x", tree(repository, sorted([*entries, manifest], key=_name)))
    repository.git("update-ref", f"refs/tags/{tag}", commit)
    return commit


def _name(entry: Entry) -> bytes:
    return entry[1]


def reasons(report: Report) -> dict[str, str]:
    return {item.ref: item.reason for item in report.left_out}


# what is in trees


@pytest.mark.parametrize("name", [b"..", b".", b".git", b"../../evil", b"/etc/evil", b"a/../../evil"])
async def test_a_name_that_leaves_the_folder_makes_no_version(
    registry: Registry, upstream: GitRepository, name: bytes
) -> None:
    """A tree with `..`, `.git` or an absolute name in it is left out for good, and everything else is served."""
    tag_tree(upstream, "2.0.0", ("100644", name, blob(upstream, b"evil")))
    report = await registry.add(upstream)
    assert await registry.versions() == {"1.0.0", "dev-main"}
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
    assert await registry.versions() == {"1.0.0", "dev-main"}


@pytest.mark.parametrize("spelled", [b"link", b"LINK"])
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


async def test_a_tree_that_unfolds_to_a_billion_files_is_stopped(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few objects that name each other make no archive: git is stopped by its memory, others are served."""
    monkeypatch.setattr("pricore.mirror._ARCHIVE_BOUNDS", Bounds(memory=64 * 1024**2))
    bomb = tree(upstream, [("100644", b"f%d" % n, blob(upstream, b"x")) for n in range(10)])
    for _ in range(9):
        bomb = tree(upstream, [("40000", b"d%d" % n, bomb) for n in range(10)])
    tag_tree(upstream, "2.0.0", ("40000", b"bomb", bomb))
    began = time.monotonic()
    report = await registry.add(upstream)
    assert time.monotonic() - began < 20
    assert reasons(report)["refs/tags/2.0.0"].startswith("too large for an archive: ")
    assert await registry.versions() == {"1.0.0", "dev-main"}


async def test_a_huge_file_makes_no_version(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that git cannot hold in the memory that it may take keeps its own version out, and no other."""
    monkeypatch.setattr("pricore.mirror._ARCHIVE_BOUNDS", Bounds(memory=64 * 1024**2))
    tag_tree(upstream, "2.0.0", ("100644", b"huge", blob(upstream, bytes(100 * 1024**2))))
    report = await registry.add(upstream)
    assert reasons(report)["refs/tags/2.0.0"].startswith("too large for an archive: git needs more than 512 MB")
    assert await registry.versions() == {"1.0.0", "dev-main"}


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("pricore.archives.MOST_FILES", 10, "it has more than 10 files"),
        ("pricore.archives._MOST_DIRECTORY", 100, "it has more than 100,000 files"),
        ("pricore.dists._MOST_BYTES", 10_000, "more than 0 GB"),
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
        monkeypatch.setattr("pricore.dists._CHUNK", 64)
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
    async with opened(Config(data=tmp_path / "data", git_timeout=60)) as registry:
        await registry.add(upstream)
        upstream.commit(files={"a": "b"})
        upstream.tag("1.1.0")
        hurried = Syncer(registry.store, registry.git, Config(data=tmp_path / "data", git_timeout=0))
        report = await hurried.sync(await registry.repository(upstream), progress=_silent)
        assert "the next sync goes on" in reasons(report)["refs/tags/1.1.0"]
        assert await registry.versions() == {"1.0.0", "dev-main"}
        assert (await registry.sync(upstream)).added == ["acme/library:1.1.0"]


# composer.json


async def test_a_composer_json_that_composer_would_not_read_costs_its_own_ref(
    registry: Registry, upstream: GitRepository
) -> None:
    """Whatever a composer.json is, the reason is told ref by ref, and every other version is served."""
    head = '{"name": "acme/library", '
    bad = {
        "fifty megabytes": (head + '"x": "' + "x" * 50_000_000 + '"}', "larger than 256 kB"),
        "five megabytes of description": (head + f'"description": "{"d" * 5_000_000}"}}', "larger than 256 kB"),
        "10,000 deep": (head + '"x": ' + "[" * 10_000 + "]" * 10_000 + "}", "nested too deeply"),
        "half a surrogate": (head + '"x": "\\ud800"}', "not valid JSON"),
        "NUL": (head + '"x": 1}\0', "not valid JSON"),
        "BOM": ("\ufeff" + head + '"x": 1}', "not valid JSON"),
        "huge number": (head + '"x": 1e999}', "not valid JSON"),
    }
    good = {
        "3.0.0": head + '"type": "library", "type": "metapackage"}',
        "3.1.0": head + '"extra": {"x": 123456789012345678901234567890}}',
        "3.2.0": head + '"description": "<script>\\u202e\\u001b[31m"}',
    }
    expected = {}
    for n, (content, reason) in enumerate(bad.values()):
        upstream.commit(content)
        upstream.tag(f"2.{n}.0")
        expected[f"refs/tags/2.{n}.0"] = reason
    for tag, content in good.items():
        upstream.commit(content)
        upstream.tag(tag)
    found = reasons(await registry.add(upstream))
    assert found.keys() == expected.keys()
    assert all(expected[ref] in reason for ref, reason in found.items()), found
    assert await registry.versions() == {"1.0.0", "dev-main", *good}


async def test_a_huge_composer_json_is_not_unpacked(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size is enough to refuse it: gigabytes that are packed well are not read to be thrown away."""
    monkeypatch.setattr("pricore.git.BOUNDS", Bounds(memory=64 * 1024**2))
    for n in range(5):
        tag_tree(upstream, f"2.{n}.0")
    huge = "100644", b"composer.json", blob(upstream, bytes(200 * 1024**2))
    for n in range(100):
        commit = upstream.git("commit-tree", "-m", str(n), tree(upstream, [huge]))
        upstream.git("update-ref", f"refs/tags/3.0.{n}", commit)
    began = time.monotonic()
    found = reasons(await registry.add(upstream))
    assert time.monotonic() - began < 10
    assert set(found.values()) == {"composer.json is larger than 256 kB"}


async def test_all_of_composer_json_has_a_limit(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of files that are just small enough must not fill the server's memory; what is served stays."""
    await registry.add(upstream)
    monkeypatch.setattr("pricore.mirror._MOST_CONTENT", 300_000)
    for n in range(2):
        upstream.commit({"name": "acme/library", "description": f"{n}" * 200_000})
        upstream.tag(f"2.{n}.0")
    with pytest.raises(GitError, match=r"MB of composer\.json in its versions$"):
        await registry.sync(upstream)
    assert await registry.versions() == {"1.0.0", "dev-main"}


@pytest.mark.parametrize("kind", ["link to a file", "link up", "submodule", "folder"])
async def test_a_composer_json_that_is_no_file_makes_no_version(
    registry: Registry, upstream: GitRepository, kind: str
) -> None:
    """Neither a link, to whatever, nor a submodule nor a folder is followed; the ref says why it is left out."""
    entry = {
        "link to a file": ("120000", b"composer.json", blob(upstream, b"/etc/passwd")),
        "link up": ("120000", b"composer.json", blob(upstream, b"../composer.json")),
        "submodule": ("160000", b"composer.json", upstream.head()),
        "folder": ("40000", b"composer.json", upstream.git("rev-parse", "HEAD^{tree}")),
    }[kind]
    upstream.git("update-ref", "refs/tags/2.0.0", upstream.git("commit-tree", "-m", "x", tree(upstream, [entry])))
    report = await registry.add(upstream)
    assert report.left_out
    assert list(reasons(report)) == ["refs/tags/2.0.0"]
    assert await registry.versions() == {"1.0.0", "dev-main"}


# refs


async def test_a_hundred_thousand_refs_are_refused(
    registry: Registry, upstream: GitRepository, make_repository: MakeRepository
) -> None:
    """One line says how many there are; what is served stays, and nobody waits for the list to be read."""
    await registry.add(upstream)
    commit = upstream.head()
    lines = [f"{commit} refs/tags/9.0.{n}\n" for n in sorted(range(100_000), key=str)]
    (upstream.folder / ".git" / "packed-refs").write_text("# pack-refs with: peeled fully-peeled sorted \n")
    with (upstream.folder / ".git" / "packed-refs").open("a") as file:
        file.writelines(lines)
    longest, watching = 0.0, True

    async def watch() -> None:
        nonlocal longest
        while watching:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - began)

    task = asyncio.create_task(watch())
    with pytest.raises(GitError) as caught:
        await registry.sync(upstream)
    watching = False
    await task
    message = str(caught.value)
    assert message == (
        f"{upstream.url} has 100,002 branches and tags, more than the 20,000 that are read: delete some there"
    )
    assert longest < 0.1, longest
    assert await registry.versions() == {"1.0.0", "dev-main"}
    assert (await registry.repository(upstream)).sync_error == message
    assert not (await registry.mirror(upstream)).path.joinpath("refs/tags/9.0.1").exists()


async def test_more_refs_than_were_listed_are_refused_too(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that offers more to a fetch than it listed gains nothing by it."""
    await registry.add(upstream)
    upstream.commit()
    monkeypatch.setattr("pricore.mirror.MOST_REFS", 1)
    with pytest.raises(GitError, match="has more than 1 branches and tags"):
        await registry.sync(upstream)
    assert await registry.versions() == {"1.0.0", "dev-main"}


async def test_a_list_of_refs_has_a_size(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of kilobytes cannot make the list longer than what is read of one."""
    monkeypatch.setattr("pricore.git._MOST_LISTING", 50)
    with pytest.raises(GitError, match=r"^git ls-remote of .* gives more than 0 MB$"):
        await registry.add(upstream)


@pytest.mark.parametrize("name", ["x" * 3_900, "x" * 251, "x/" * 500 + "x"])
async def test_a_name_that_no_file_can_have_is_told(
    registry: Registry, upstream: GitRepository, name: str
) -> None:
    """A branch of four thousand letters stops its own repository, with a reason; what is served stays."""
    await registry.add(upstream)
    with (upstream.folder / ".git" / "packed-refs").open("w") as file:
        file.write(f"# pack-refs with: peeled fully-peeled sorted \n{upstream.head()} refs/heads/{name}\n")
    with pytest.raises(
        GitError, match=r"has a branch or tag with a name too long for a file, refs/heads/x.{1,50}\.\.\.$"
    ):
        await registry.sync(upstream)
    assert await registry.versions() == {"1.0.0", "dev-main"}


HOSTILE_NAMES = [
    "<script>alert(1)</script>",
    "x';DROP-TABLE-versions;--",
    '"},{"',
    "a/%2e%2e/b",
    "\u202egnp.exe",
    "\u009b31mred",
    "\u2028line",
    "$(touch-x)",
    "`id`",
    "x" * 200,
]


async def test_hostile_names_are_names(pricore: Pricore, upstream: GitRepository) -> None:
    """Refs that mean something to HTML, SQL, shells or terminals are shown without doing it, and break nothing."""
    commit = upstream.head()
    lines = sorted(f"{commit} refs/{kind}/{name}\n" for kind in ("heads", "tags") for name in HOSTILE_NAMES)
    with (upstream.folder / ".git" / "packed-refs").open("w", encoding="utf-8") as file:
        file.writelines(["# pack-refs with: peeled fully-peeled sorted \n", *lines])
    await asyncio.to_thread(pricore.run, "repo", "add", "acme", upstream.url)
    for command in (
        ("repo", "show", "acme", upstream.url),
        ("repo", "history", "acme", upstream.url),
        ("package", "show", "acme", "acme/library"),
    ):
        shown = (await asyncio.to_thread(pricore.run, *command)).stdout
        assert all(line.isprintable() for line in shown.split("\n")), ascii(shown)
        document = await asyncio.to_thread(pricore.json, *command)
        assert document
    versions = (await asyncio.to_thread(pricore.json, "package", "show", "acme", "acme/library"))["versions"]
    assert {"1.0.0", "dev-main"} <= {item["version"] for item in versions}


# how much comes, and how slowly


async def test_a_repository_has_a_size(
    upstream: GitRepository, make_repository: MakeRepository, tmp_path: Path
) -> None:
    """What is larger than repository_limit is refused on its way; what came of it goes, what was there stays."""
    async with opened(Config(data=tmp_path / "data", git_timeout=60, repository_limit=1)) as registry:
        await registry.add(upstream)
        mirror = await registry.mirror(upstream)
        before = _files(mirror.path)
        (upstream.folder / "huge").write_bytes(os.urandom(3 * 1024**2))
        upstream.commit()
        upstream.tag("2.0.0")
        with pytest.raises(GitError) as caught:
            await registry.sync(upstream)
        assert "more than the 1 MB that repository_limit allows" in str(caught.value)
        assert _files(mirror.path) == before
        assert await registry.versions() == {"1.0.0", "dev-main"}
        other = make_repository("other")
        other.commit({"name": "acme/other"})
        assert (await registry.add(other)).added == ["acme/other:dev-main"]


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def test_a_full_mirror_takes_no_more(upstream: GitRepository, tmp_path: Path) -> None:
    """Where the mirror has come to its limit, nothing is fetched any more, and what is served stays."""
    async with opened(Config(data=tmp_path / "data", git_timeout=60)) as registry:
        (upstream.folder / "large").write_bytes(os.urandom(2 * 1024**2))
        upstream.commit()
        await registry.add(upstream)
        (upstream.folder / "more").write_bytes(os.urandom(100_000))
        upstream.commit()
        small = Config(data=tmp_path / "data", git_timeout=60, repository_limit=1)
        with pytest.raises(GitError, match="more than the 1 MB that repository_limit allows"):
            await Syncer(registry.store, registry.git, small).sync(
                await registry.repository(upstream), progress=_silent
            )
        assert await registry.versions() == {"1.0.0", "dev-main"}


class Trickle:
    """A git:// server that lists what it has, and sends the pack byte by byte."""

    def __init__(self, base: Path, port: int) -> None:
        self._base = base
        self.port = port
        self.url = f"git://127.0.0.1:{port}/library/.git"
        self.begun = asyncio.Event()
        self._connections = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        slow = self._connections > 1  # the first one is ls-remote's
        daemon = await asyncio.create_subprocess_exec(
            "git", "daemon", "--inetd", "--export-all", f"--base-path={self._base}", str(self._base),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert daemon.stdin is not None
        assert daemon.stdout is not None
        forward = asyncio.create_task(_pump(reader, daemon.stdin))
        try:
            with contextlib.suppress(ConnectionError):
                while piece := await daemon.stdout.read(65536):
                    if slow and b"PACK" in piece:
                        self.begun.set()
                        for n in range(len(piece)):
                            writer.write(piece[n : n + 1])
                            await writer.drain()
                            await asyncio.sleep(60)
                    writer.write(piece)
                    await writer.drain()
        finally:
            forward.cancel()
            with contextlib.suppress(ProcessLookupError):
                daemon.kill()
            await daemon.wait()
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.close()


async def test_a_pack_that_comes_byte_by_byte_costs_its_timeout(
    upstream: GitRepository, make_repository: MakeRepository, tmp_path: Path, unused_tcp_port: int
) -> None:
    """Who sends a byte a minute keeps one worker until git_timeout; another repository is synced meanwhile."""
    server = Trickle(upstream.folder.parent, unused_tcp_port)
    async with (
        opened(Config(data=tmp_path / "data", git_timeout=3)) as registry,
        await asyncio.start_server(server.answer, "127.0.0.1", server.port),
    ):
        other = make_repository("other")
        other.commit({"name": "acme/other"})
        slow = await registry.store.repositories.add(registry.organization, parse_address(server.url))
        quick = await registry.store.repositories.add(registry.organization, parse_address(other.url))
        queue = Queue(registry.store, registry.syncer, workers=2)
        work = asyncio.create_task(queue.work())
        try:
            await queue.add(slow.id)
            await asyncio.wait_for(server.begun.wait(), 10)
            await queue.add(quick.id)
            await _until(registry, quick.id, "ok")
            failed = await _until(registry, slow.id, "failed")
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        assert failed.sync_error is not None
        assert "took longer than 3 seconds; git_timeout allows more" in failed.sync_error
        assert not [*registry.syncer.mirror(slow.id).path.rglob("tmp_*")]


async def _until(registry: Registry, repository_id: str, status: str) -> Repository:
    async with asyncio.timeout(10):
        while True:
            found = await registry.store.repositories.find(repository_id)
            assert found is not None
            if found.sync_status == status:
                return found
            await asyncio.sleep(0.02)


# the host machine


async def test_the_git_of_the_host_machine_plays_no_part(
    registry: Registry, upstream: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither configuration, nor hooks, templates, attributes or GIT_* variables of the machine do anything."""
    trace = tmp_path / "trace"
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$0" >> {trace}\nexit 1\n')
    program.chmod(0o755)
    template = tmp_path / "template"
    for folder in (template / "hooks", upstream.folder / ".git" / "hooks", tmp_path / "hooks"):
        folder.mkdir(parents=True, exist_ok=True)
        for hook in ("reference-transaction", "post-update", "pre-receive", "post-checkout", "pre-auto-gc"):
            shutil.copy(program, folder / hook)
    (tmp_path / "included").write_text(f"[core]\n\tfsmonitor = {program}\n")
    settings = f"""
[core]
    hooksPath = {tmp_path / "hooks"}
    fsmonitor = {program}
    sshCommand = {program}
    gitProxy = {program}
    bigFileThreshold = 1
[uploadpack]
    packObjectsHook = {program}
[init]
    templateDir = {template}
[credential]
    helper = {program}
[safe]
    bareRepository = explicit
[includeIf "gitdir:/"]
    path = {tmp_path / "included"}
[url "file:///nowhere"]
    insteadOf = {upstream.folder}
"""
    home = tmp_path / "home"
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".gitconfig").write_text(settings)
    (home / ".config" / "git" / "config").write_text(settings)
    (home / ".config" / "git" / "attributes").write_text("* export-ignore\n")
    for name, value in {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_SYSTEM": str(home / ".gitconfig"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": str(tmp_path / "hooks"),
        "GIT_DIR": str(tmp_path / "elsewhere"),
        "GIT_TEMPLATE_DIR": str(template),
        "GIT_EXEC_PATH": str(tmp_path),
        "GIT_SSH_COMMAND": str(program),
        "GIT_PROXY_COMMAND": str(program),
        "GIT_EXTERNAL_DIFF": str(program),
        "GIT_OBJECT_DIRECTORY": str(tmp_path / "objects"),
        "GIT_TRACE": str(trace),
        "GIT_ATTR_SOURCE": "nowhere",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NAMESPACE": "elsewhere",
    }.items():
        monkeypatch.setenv(name, value)
    report = await registry.add(upstream)
    monkeypatch.undo()
    assert sorted(report.added) == ["acme/library:1.0.0", "acme/library:dev-main"]
    assert not trace.exists(), trace.read_text()
    mirror = await registry.mirror(upstream)
    assert not (mirror.path / "hooks").exists()
    names = await mirror.archive(
        upstream.head(), lambda output: zipfile.ZipFile(io.BytesIO(output.read())).namelist()
    )
    assert f"{upstream.head()[:12]}/composer.json" in names
