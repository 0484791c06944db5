"""What a repository costs is counted where it is spent, and what is too much leaves out its oldest versions."""

import re
import threading
from collections.abc import Sequence

import pytest

from pricore.composer import composer_json
from pricore.errors import ConflictError
from pricore.models import Package
from tests.harness import GitRepository
from tests.registry import Registry
from tests.store.harness import released
from tests.sync.hostile.harness import blob, reasons, tree

NO_ROOM = (
    "too much metadata: the versions of {} have 1 MB of it already; "
    "`pricore package delete` makes room, and so does a smaller composer.json"
)
LARGE = 200_000


class Reads:
    """The composer.json that were read, and the threads in which that happened."""

    def __init__(self) -> None:
        self.texts: list[object] = []
        self.threads: set[int] = set()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    found, read = Reads(), composer_json.read_manifest

    def note(data: dict[str, object]) -> composer_json.Manifest:
        found.texts.append(data.get("description"))
        found.threads.add(threading.get_ident())
        return read(data)

    monkeypatch.setattr("pricore.composer.composer_json.read_manifest", note)
    return found


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for five versions of LARGE."""
    monkeypatch.setattr("pricore.composer.discovery.MOST_OF_PACKAGE", 1024**2)
    monkeypatch.setattr("pricore.tables.uploads.MOST_OF_PACKAGE", 1024**2)


def release(
    repository: GitRepository, tag: str, *, at: int, size: int = LARGE, name: str = "acme/library"
) -> None:
    """A tag with so many bytes of metadata, whose commit has a time."""
    manifest = blob(repository, metadata_of(name, size))
    commit = commit_at(repository, tree(repository, [("100644", b"composer.json", manifest)]), at)
    repository.git("update-ref", f"refs/tags/{tag}", commit)


def metadata_of(name: str, size: int) -> bytes:
    return f'{{"name": "{name}", "description": "{"d" * size}"}}'.encode()


def commit_at(repository: GitRepository, files: str, at: int) -> str:
    who = f"Ada <ada@example.com> {1_700_000_000 + at} +0000"
    text = f"tree {files}\nauthor {who}\ncommitter {who}\n\nx\n".encode()
    return repository.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=text)


def left_out(tags: Sequence[str], reason: str) -> dict[str, str]:
    return {f"refs/tags/{tag}": reason for tag in tags}


async def package(registry: Registry, name: str = "acme/library") -> Package:
    return await registry.store.packages.get(registry.organization, name)


async def bytes_of(registry: Registry, upstream: GitRepository) -> int:
    repository = await registry.repository(upstream)
    return sum((await registry.store.packages.metadata_sizes(repository.id)).values())


@pytest.mark.usefixtures("little")
async def test_one_composer_json_counts_for_every_ref_that_has_it(
    registry: Registry, upstream: GitRepository
) -> None:
    """A thousand tags on one commit cost a thousand entries: what a package has no room for is left out."""
    release(upstream, "2.0.0", at=1)
    commit = upstream.git("rev-parse", "refs/tags/2.0.0")
    for n in range(1, 100):
        upstream.git("update-ref", f"refs/tags/2.{n}.0", commit)
    report = await registry.add(upstream)
    assert len(report.left_out) == 95
    assert {item.reason for item in report.left_out} == {NO_ROOM.format("acme/library")}
    assert {"1.0.0", "dev-main"} < set(await registry.versions())
    assert await bytes_of(registry, upstream) <= 1024**2
    _, kept = await registry.store.repositories.made_of((await registry.repository(upstream)).id)
    assert kept == reasons(report)


@pytest.mark.usefixtures("little")
async def test_what_there_is_no_room_for_is_the_oldest(registry: Registry, upstream: GitRepository) -> None:
    """The newest versions are served, whatever their names, and the default branch in any case."""
    for n, at in enumerate((70, 20, 60, 10, 50, 30, 40)):
        release(upstream, f"2.{n}.0", at=at)
    assert reasons(await registry.add(upstream)) == left_out(["2.1.0", "2.3.0"], NO_ROOM.format("acme/library"))


@pytest.mark.usefixtures("little")
async def test_what_is_served_stays_when_there_is_no_more_room(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package with more than there is room for keeps it: new versions wait, and what doesn't grow may move."""
    monkeypatch.setattr("pricore.composer.discovery.MOST_OF_PACKAGE", 10 * 1024**2)
    for n in range(6):
        release(upstream, f"2.{n}.0", at=n)
    upstream.git("branch", "large", "refs/tags/2.0.0")
    await registry.add(upstream)
    served = set(await registry.versions())
    assert len(served) == 9

    monkeypatch.setattr("pricore.composer.discovery.MOST_OF_PACKAGE", 1024**2)
    release(upstream, "3.0.0", at=10)
    release(upstream, "moved", at=11)
    upstream.git("update-ref", "refs/heads/large", "refs/tags/moved")
    upstream.git("tag", "-d", "moved")
    report = await registry.sync(upstream)
    assert reasons(report) == left_out(["3.0.0"], NO_ROOM.format("acme/library"))
    assert report.updated == ["acme/library:dev-large"]
    assert set(await registry.versions()) == served

    release(upstream, "grown", at=12, size=LARGE + 1)
    upstream.git("update-ref", "refs/heads/large", "refs/tags/grown")
    upstream.git("tag", "-d", "grown")
    assert reasons(await registry.sync(upstream)).keys() == {"refs/tags/3.0.0", "refs/heads/large"}
    assert set(await registry.versions()) == served


@pytest.mark.usefixtures("little")
async def test_deleting_a_version_makes_room(registry: Registry, upstream: GitRepository) -> None:
    """What was left out comes in by the next sync when an operator has deleted something, though nothing moved."""
    for n in range(6):
        release(upstream, f"2.{n}.0", at=n)
    assert reasons(await registry.add(upstream)) == left_out(["2.0.0"], NO_ROOM.format("acme/library"))
    await registry.store.packages.delete_version(registry.organization, await package(registry), "2.3.0")
    report = await registry.sync(upstream)
    assert report.added == ["acme/library:2.0.0"]
    assert "2.3.0" not in await registry.versions()


@pytest.mark.usefixtures("little")
async def test_uploads_have_no_more_room(registry: Registry) -> None:
    """A package that is uploaded has the same limit: what is there stays, and moves as long as it doesn't grow."""

    async def upload(version: str, size: int) -> None:
        item = released(version, description="d" * size, reference=f"{size:040x}")
        await registry.store.packages.upload(registry.organization, item, keep=nothing)

    async def nothing() -> None:
        """Nobody asks for its archive."""

    for n in range(5):
        await upload(f"dev-b{n}", LARGE)
    with pytest.raises(ConflictError, match=re.escape(NO_ROOM.format("acme/library"))):
        await upload("dev-b5", LARGE)
    with pytest.raises(ConflictError):
        await upload("dev-b1", LARGE + 50_000)
    await upload("dev-b1", LARGE - 1)
    assert set(await registry.versions()) == {f"dev-b{n}" for n in range(5)}


async def test_all_packages_of_a_repository_have_a_limit(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are for nothing: a repository that makes a package of every tag has no more room than others."""
    monkeypatch.setattr("pricore.composer.discovery.MOST_OF_REPOSITORY", 1024**2)
    upstream.commit("{}")
    for n in range(6):
        release(upstream, f"2.{n}.0", at=n, name=f"acme/p{n}")
    found = reasons(await registry.add(upstream))
    assert found.pop("refs/heads/main")
    assert found == left_out(["2.0.0"], NO_ROOM.format("the repository"))


async def test_a_repository_makes_so_many_packages(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its documents and its place in packages.json; those that are there go on."""
    monkeypatch.setattr("pricore.composer.discovery.MOST_PACKAGES", 3)
    for n in range(3):
        upstream.write({f"packages/p{n}/composer.json": f'{{"name": "acme/p{n}"}}'})
    upstream.commit()
    assert reasons(await registry.add(upstream, "packages/*"))["refs/tags/1.0.0"].startswith("no folder ")

    for n in range(5):
        upstream.write({f"packages/p{n}/composer.json": f'{{"name": "acme/p{n}", "description": "new"}}'})
    upstream.commit()
    upstream.tag("1.1.0")
    found = reasons(await registry.sync(upstream))
    del found["refs/tags/1.0.0"]
    assert found == {
        f"refs/{ref}:packages/p{n}": "too many packages: a repository makes 3 at most"
        for ref in ("heads/main", "tags/1.1.0")
        for n in (3, 4)
    }
    for n in range(3):
        assert set(await registry.versions(f"acme/p{n}")) == {"1.1.0", "dev-main"}

    await registry.store.packages.delete(registry.organization, await package(registry, "acme/p1"))
    await registry.sync(upstream)
    assert set(await registry.versions("acme/p3")) == {"1.1.0", "dev-main"}


async def test_versions_with_one_composer_json_share_it(
    registry: Registry, upstream: GitRepository, reads: Reads
) -> None:
    """It is read and checked once, in a thread, however many commits and tags have it."""
    for n in range(20):
        release(upstream, f"2.{n}.0", at=n, size=10)
        upstream.git("update-ref", f"refs/tags/3.{n}.0", f"refs/tags/2.{n}.0")
    await registry.add(upstream)
    assert len(await registry.versions()) == 42
    assert sorted(map(str, reads.texts)) == ["None", "d" * 10]
    assert threading.get_ident() not in reads.threads


async def test_what_differs_is_read_in_portions(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sync has more than so many bytes of composer.json in memory; each goes on where the last one stopped."""
    monkeypatch.setattr("pricore.sync.manifests.MOST_BYTES", 2 * 1024**2)
    for n in range(25):
        release(upstream, f"2.{n}.0", at=n, size=LARGE + n)
    found = reasons(await registry.add(upstream))
    assert found == left_out(
        [f"2.{n}.0" for n in range(15)],
        "not read yet: a sync reads 2 MB of composer.json that differ, newest first; the next one goes on",
    )
    assert reasons(await registry.sync(upstream)).keys() == {f"refs/tags/2.{n}.0" for n in range(5)}
    assert reasons(await registry.sync(upstream)) == {}
    assert len(await registry.versions()) == 27
    assert (await registry.sync(upstream)).read == 0


async def test_the_seconds_of_our_own_are_counted(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch, reads: Reads
) -> None:
    """A sync takes so many seconds of a processor for composer.json and no more; the next one goes on."""
    monkeypatch.setattr("pricore.sync.manifests.MOST_SECONDS", 0.0)
    for n in range(3):
        release(upstream, f"2.{n}.0", at=n, size=n)
    found = reasons(await registry.add(upstream))
    assert found == left_out(
        ["2.0.0", "2.1.0", "2.2.0"],
        "not read yet: checking composer.json of newer versions took more than 0 seconds; the next sync goes on",
    )
    assert len(reads.texts) == 1
    monkeypatch.setattr("pricore.sync.manifests.MOST_SECONDS", 10.0)
    assert reasons(await registry.sync(upstream)) == {}
    assert len(reads.texts) == 5


async def test_lists_have_no_more_of_a_package_than_they_show(registry: Registry, upstream: GitRepository) -> None:
    """A type or a name of 200 kB in a composer.json costs its version, not every answer that lists packages."""
    upstream.commit({"name": "acme/library", "type": "t" * 100_000, "description": "d" * 100_000})
    upstream.tag("2.0.0")
    await registry.add(upstream)
    shown = await package(registry)
    assert (len(shown.type), len(shown.description)) == (255, 1000)

    upstream.commit({"name": "n" * LARGE})
    found = reasons(await registry.sync(upstream))
    assert found.keys() == {f"refs/{ref}" for ref in ("heads/main", "tags/1.0.0", "tags/2.0.0")}
    repository = await registry.repository(upstream)
    names = await registry.store.repositories.default_names(repository.id)
    assert max(map(len, names.values())) < 300
    assert max(map(len, found.values())) < 300
