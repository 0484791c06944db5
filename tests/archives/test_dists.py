"""Archives: what is kept is what was advertised, or nothing."""

import asyncio
import contextlib
import errno
import fcntl
import gzip
import hashlib
import io
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import pytest

from pricore.archives.bucket import Bucket
from pricore.archives.checksums import checksum
from pricore.archives.compression import Encoding, name_of, read_plain
from pricore.archives.dists import Dists
from pricore.archives.storage import Folder
from pricore.errors import BusyError, ConfigError, DistError, GitError, StorageError
from pricore.git import Git
from pricore.models import Dist
from pricore.system.threads import cores
from pricore.vcs.mirror import Mirror
from tests.harness import DataFolder, GitRepository, Place, prose
from tests.swift import ACCESS_KEY, S3, SECRET_KEY

T = TypeVar("T")


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


@pytest.fixture
def start(place: Place, tmp_path: Path) -> Callable[[], Dists]:
    """Begins as a new process does, which knows nothing of what is kept."""
    return lambda: Dists(tmp_path / "data" / "dists", place.open())


async def _read(dists: Dists, dist: Dist, mirror: Mirror, encoding: Encoding) -> bytes:
    with await dists.open(dist, mirror, encoding) as opened:
        return b"".join([piece async for piece in opened.pieces()])


async def test_every_encoding_is_kept_compressed_and_unpacks_to_the_same(
    mirror: Mirror, start: Callable[[], Dists], place: Place, tmp_path: Path
) -> None:
    """zstd, and gzip made of it or of the commit, hold the bytes whose checksum was advertised."""
    dist = await _advertised(mirror)
    dists = start()
    kept = await _read(dists, dist, mirror, "zstd")
    assert hashlib.sha1(b"".join(read_plain(io.BytesIO(kept)))).hexdigest() == dist.shasum
    assert len(kept) < dist.size / 4
    made_of_kept = await _read(dists, dist, mirror, "gzip")
    made_of_commit = await _read(Dists(tmp_path / "other"), dist, mirror, "gzip")
    assert made_of_kept == made_of_commit
    assert place.files() == {
        name_of(dist.shasum, "zstd"): len(kept),
        name_of(dist.shasum, "gzip"): len(made_of_kept),
    }


async def test_an_archive_with_another_checksum_is_not_kept(
    mirror: Mirror, start: Callable[[], Dists], place: Place, tmp_path: Path
) -> None:
    """Bytes that aren't those that were advertised go nowhere; the message names both checksums."""
    dist = await _advertised(mirror)
    wrong = Dist(dist.repository_id, dist.treeish, "0" * 40, dist.size)
    with pytest.raises(DistError, match=f"{dist.shasum}, but {'0' * 40} was advertised"):
        await start().open(wrong, mirror, "zstd")
    assert place.files() == DataFolder(tmp_path / "data").files() == {}


async def test_as_many_are_made_at_once_as_there_are_cores(mirror: Mirror, tmp_path: Path) -> None:
    """However many are asked for by however many: others' requests have a processor, too."""
    commit = (await mirror.refs())["refs/heads/main"]
    counted = _Counted(mirror)
    dists = Dists(tmp_path / "dists", at_once=2)
    wrong = [Dist("repository", commit, f"{number:040x}", 1) for number in range(9)]
    asking = [
        dists.open(dist, counted, "zstd", who=("acme", str(number % 3))) for number, dist in enumerate(wrong)
    ]
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(answer) for answer in answers] == [DistError] * 9
    assert (counted.made, counted.most) == (9, 2)
    assert Dists(tmp_path / "dists").at_once == cores()


async def test_kept_archives_are_checked_as_many_at_once_as_there_are_cores(
    mirror: Mirror, tmp_path: Path
) -> None:
    """After a start, many that are asked for have to be read whole: that takes processors as well."""
    dist = await _advertised(mirror)
    before = await _read(Dists(tmp_path / "dists"), dist, mirror, "zstd")
    dists = Dists(tmp_path / "dists", at_once=1)
    busy = _Busy()
    making = asyncio.create_task(dists.make(dist, busy, "zstd"))
    await busy.begun.wait()
    asking = asyncio.create_task(_read(dists, dist, mirror, "zstd"))
    done, _ = await asyncio.wait([asking], timeout=0.3)
    assert not done
    busy.ended.set()
    assert await asking == before
    await asyncio.wait([making])
    assert isinstance(making.exception(), GitError)


class _Busy:
    """A mirror at which making an archive takes until it is told to end."""

    def __init__(self) -> None:
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    async def archive(self, treeish: str, consume: Callable[[IO[bytes]], T]) -> T:
        self.begun.set()
        await self.ended.wait()
        raise GitError("it was told to end")

    async def has(self, treeishes: Sequence[str]) -> set[str]:
        return set(treeishes)


class _Counted:
    """A mirror that counts how many archives are made of it, and how many at most at once."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self.made = self.most = self._now = 0

    async def archive(self, treeish: str, consume: Callable[[IO[bytes]], T], /) -> T:
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            return await self._mirror.archive(treeish, consume)
        finally:
            self._now -= 1
            self.made += 1

    async def has(self, treeishes: Sequence[str], /) -> set[str]:
        return await self._mirror.has(treeishes)


async def test_a_failure_of_git_is_told_as_such(
    mirror: Mirror, start: Callable[[], Dists], place: Place, tmp_path: Path
) -> None:
    """Where git cannot make an archive, its own reason is told and nothing is left behind."""
    dist = Dist("repository", "0" * 40, "0" * 40, 1)
    with pytest.raises(GitError, match=r"not a tree object|not a valid object name"):
        await start().open(dist, mirror, "zstd")
    assert place.files() == DataFolder(tmp_path / "data").files() == {}


async def test_removing_deletes_every_encoding(mirror: Mirror, start: Callable[[], Dists], place: Place) -> None:
    """What no package advertises any more takes no space."""
    dist = await _advertised(mirror)
    dists = start()
    await _read(dists, dist, mirror, "zstd")
    await _read(dists, dist, mirror, "gzip")
    await dists.remove({dist.shasum, "0" * 40})
    assert place.files() == {}


@pytest.mark.parametrize("damage", [b"", b"not compressed at all"], ids=["cut", "replaced"])
async def test_a_damaged_archive_is_made_again(
    mirror: Mirror, start: Callable[[], Dists], place: Place, damage: bytes
) -> None:
    """What a disk or a copy spoilt is noticed by the next process, and replaced by what was advertised."""
    dist = await _advertised(mirror)
    encodings: tuple[Encoding, ...] = ("zstd", "gzip")
    for encoding in encodings:
        whole = await _read(start(), dist, mirror, encoding)
        place.write(name_of(dist.shasum, encoding), damage or whole[:100])
        assert await _read(start(), dist, mirror, encoding) == whole
        assert place.read(name_of(dist.shasum, encoding)) == whole


async def test_what_is_deleted_is_made_again(mirror: Mirror, start: Callable[[], Dists], place: Place) -> None:
    """An archive that goes while a process knows it, such as by being pruned, is made when it is asked for."""
    dist = await _advertised(mirror)
    dists = start()
    whole = await _read(dists, dist, mirror, "zstd")
    place.delete(name_of(dist.shasum, "zstd"))
    assert await _read(dists, dist, mirror, "zstd") == whole


async def test_one_that_is_open_is_read_to_its_end(mirror: Mirror, tmp_path: Path) -> None:
    """In the folder, who reads an archive has it whole, though it is deleted meanwhile."""
    dist = await _advertised(mirror)
    with await Dists(tmp_path / "data" / "dists").open(dist, mirror, "zstd") as opened:
        DataFolder(tmp_path / "data").delete(name_of(dist.shasum, "zstd"))
        assert len(b"".join([piece async for piece in opened.pieces()])) == opened.size


@pytest.fixture
async def large(git: Git, tmp_path: Path, make_repository: Callable[[str], GitRepository]) -> Mirror:
    """A mirror of a repository whose archive is worth packing harder."""
    upstream = make_repository("large")
    upstream.commit({"name": "acme/large"}, files={"a.php": prose(200_000)})
    mirror = Mirror(git, tmp_path / "large.git")
    await mirror.fetch(upstream.url)
    return mirror


async def _until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not done():  # noqa: ASYNC110  # others do it
            await asyncio.sleep(0.005)


def _packers() -> list[str]:
    """The processes of this one that pack."""
    found = subprocess.run(
        ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True, check=False
    )
    return [line for line in found.stdout.splitlines() if "recompress.py" in line]


async def _repack(dists: Dists, dist: Dist) -> None:
    """Let what waits be packed harder, as the server does."""
    working = asyncio.create_task(dists.recompress())
    try:
        await _until(lambda: not dists.will_shrink(dist))
    finally:
        working.cancel()
        await asyncio.wait([working])


async def test_what_is_kept_becomes_smaller_and_stays_the_same(
    large: Mirror, start: Callable[[], Dists], place: Place
) -> None:
    """Once: another process that is asked for it finds that it was done."""
    dist = await _advertised(large)
    name = name_of(dist.shasum, "zstd")
    dists = start()
    before = await _read(dists, dist, large, "zstd")
    with await dists.open(dist, large, "zstd") as begun:
        await _repack(dists, dist)
        if begun.path is not None:
            assert await begun.read() == before  # who reads goes on with what there was
    packed = await _read(dists, dist, large, "zstd")
    assert len(packed) < 0.95 * len(before)
    assert hashlib.sha1(b"".join(read_plain(io.BytesIO(packed)))).hexdigest() == dist.shasum
    assert place.files() == {name: len(packed)}

    dists = start()
    assert await _read(dists, dist, large, "zstd") == packed
    await _repack(dists, dist)
    assert place.read(name) == packed


async def test_what_was_packed_before_is_packed_harder_when_it_is_asked_for(
    large: Mirror, start: Callable[[], Dists], place: Place
) -> None:
    """As after an upgrade, or a stop before its turn came."""
    dist = await _advertised(large)
    before = await _read(start(), dist, large, "zstd")
    dists = start()
    assert await _read(dists, dist, large, "zstd") == before
    await _repack(dists, dist)
    assert len(await _read(dists, dist, large, "zstd")) < len(before)


async def test_another_pythons_settings_do_not_keep_it_from_packing(
    large: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment may be for another Python than that of the single file."""
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    dist = await _advertised(large)
    dists = Dists(tmp_path / "dists")
    before = await _read(dists, dist, large, "zstd")
    await _repack(dists, dist)
    assert len(await _read(dists, dist, large, "zstd")) < len(before)


async def test_what_is_deleted_while_it_is_packed_stays_gone(
    large: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where it is deleted by another process at the very moment at which it would be replaced."""
    dist = await _advertised(large)
    name = name_of(dist.shasum, "zstd")
    dists, other = Dists(tmp_path / "dists"), Dists(tmp_path / "dists")
    deleting: list[asyncio.Task[None]] = []
    put = dists.folder.put

    async def put_late(name: str, file: Path) -> None:
        deleting.append(asyncio.create_task(other.delete(other.folder, [name])))
        await asyncio.sleep(0.2)
        await put(name, file)

    await _read(dists, dist, large, "zstd")
    monkeypatch.setattr(dists.folder, "put", put_late)
    await _repack(dists, dist)
    await asyncio.gather(*deleting)
    assert len(deleting) == 1
    assert [path.name for path in (tmp_path / "dists").rglob("*") if path.is_file()] == []

    monkeypatch.undo()
    await _read(dists, dist, large, "zstd")
    assert dists.will_shrink(dist)
    await dists.delete(dists.folder, [name])
    await _repack(dists, dist)
    assert dists.kept(dist.shasum) == []


async def test_what_was_damaged_is_not_packed_but_made_again(
    large: Mirror, start: Callable[[], Dists], place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays until it is asked for, and the log says so in one line."""
    dist = await _advertised(large)
    name = name_of(dist.shasum, "zstd")
    dists = start()
    before = await _read(dists, dist, large, "zstd")
    place.write(name, before[:-9])
    await _repack(dists, dist)
    assert place.files() == {name: len(before) - 9}
    assert "is damaged; the next request makes it again" in caplog.text
    assert await _read(dists, dist, large, "zstd") == before


async def test_packing_ends_at_once_and_leaves_nothing(
    git: Git, tmp_path: Path, make_repository: Callable[[str], GitRepository]
) -> None:
    """Cancelled in the middle, its process is gone and its file too, and what was kept is kept."""
    upstream = make_repository("slow")  # packing it takes seconds, and seeing a process some hundredths
    upstream.commit({"name": "acme/slow"}, files={"a.php": prose(4_000_000)})
    slow = Mirror(git, tmp_path / "slow.git")
    await slow.fetch(upstream.url)
    dist = await _advertised(slow)
    dists = Dists(tmp_path / "dists")
    before = await _read(dists, dist, slow, "zstd")
    working = asyncio.create_task(dists.recompress())
    await _until(lambda: _packers() != [])
    working.cancel()
    await asyncio.wait([working])
    assert [path.read_bytes() for path in (tmp_path / "dists").rglob("*") if path.is_file()] == [before]
    assert _packers() == []


async def test_while_the_bucket_is_away_archives_are_served_and_kept_in_the_folder(
    mirror: Mirror, s3: S3, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What git can make does not depend on the bucket, and the log says in one line that it is away."""
    dist = await _advertised(mirror)
    folder = DataFolder(tmp_path / "data")
    with s3.outage():
        dists = Dists(folder.path, s3.open())
        whole = await _read(dists, dist, mirror, "zstd")
    assert [*folder.files()] == [name_of(dist.shasum, "zstd")]
    assert f"{s3.address}: HTTP error" in caplog.text
    assert "Traceback" not in caplog.text
    assert SECRET_KEY not in caplog.text
    # once it is back, one that was made before goes on being served from where it is
    dists = Dists(folder.path, s3.open())
    assert await _read(dists, dist, mirror, "zstd") == whole
    assert s3.files() == {}
    assert dists.bucket is not None
    await dists.move(name_of(dist.shasum, "zstd"), dists.folder, dists.bucket)
    assert await _read(dists, dist, mirror, "zstd") == whole
    assert (folder.files(), s3.files()) == ({}, {name_of(dist.shasum, "zstd"): len(whole)})


def test_without_what_speaks_s3_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that is named can be pasted: it installs into the Python that Pricore runs with."""
    monkeypatch.setitem(sys.modules, "obstore", None)  # what isn't installed cannot be imported
    with pytest.raises(ConfigError) as caught:
        Bucket("s3://packages")
    _, _, advice = str(caught.value).rpartition(": ")
    assert advice == f"{sys.executable} -m pip install obstore"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"secret_key": "another"}, "SignatureDoesNotMatch: The request signature"),
        ({"address": "s3://no-such-bucket-here"}, "NoSuchBucket: The specified bucket does not exist"),
    ],
)
async def test_a_bucket_that_refuses_says_why(s3: S3, settings: dict[str, str], reason: str) -> None:
    """The message is one line with the store's own reason, and has no secret in it."""
    known = {
        "address": s3.address,
        "endpoint": s3.endpoint,
        "region": "us-east-1",
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
    }
    with pytest.raises(StorageError, match=reason) as caught:
        await Bucket(**(known | settings)).list()
    message = str(caught.value)
    assert "\n" not in message
    assert SECRET_KEY not in message
    assert "another" not in message


async def test_others_files_in_a_bucket_are_left_alone(s3: S3) -> None:
    """What doesn't have the name of an archive is not ours: it is neither listed nor counted."""
    for name in ("README", "ab/notes.zip.zst", f"ab/{'ab' * 20}.zip.zst.bak", f"x/ab/{'ab' * 20}.zip.zst"):
        s3.write(name, b"precious")
    assert await s3.open().list() == []


def test_half_of_the_keys_is_refused() -> None:
    """One key without the other is a mistake, and not a way to say that there are none."""
    with pytest.raises(ConfigError, match="s3_access_key and s3_secret_key belong together"):
        Bucket("s3://bucket", access_key="only")


@contextlib.contextmanager
def locked(folder: Path, operation: int) -> Iterator[None]:
    """Another process that deletes (shared) or replaces archives in a folder, and does not come to an end."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


async def test_a_deletion_waits_for_no_other(
    mirror: Mirror, start: Callable[[], Dists], place: Place, tmp_path: Path
) -> None:
    """However long somebody prunes, a package is deleted with its archives."""
    dist, dists = await _advertised(mirror), start()
    await _read(dists, dist, mirror, "zstd")
    with locked(dists.folder.path, fcntl.LOCK_SH):
        await dists.remove([dist.shasum])
    assert place.files() == {}


async def test_a_deletion_does_not_wait_for_ever(
    mirror: Mirror,
    start: Callable[[], Dists],
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where somebody replaces an archive without an end, it says so, and what is left is for `prune`."""
    monkeypatch.setattr("pricore.archives.storage.MOST_LOCK_SECONDS", 0.1)
    dist, dists = await _advertised(mirror), start()
    await _read(dists, dist, mirror, "zstd")
    with locked(dists.folder.path, fcntl.LOCK_EX):
        await dists.remove([dist.shasum])
        with pytest.raises(StorageError, match=r"^somebody replaces an archive in .*; try again later$"):
            await dists.delete(dists.storages[-1], [name_of(dist.shasum, "zstd")])
    assert len(place.files()) == 1
    assert "`pricore dist prune` deletes them when that is over" in caplog.text


async def test_a_package_is_deleted_though_its_archives_take_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever deletes it is not kept waiting for a place that does not answer; `prune` has the rest."""
    monkeypatch.setattr("pricore.archives.dists.MOST_REMOVE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections, and says nothing
        port = silent.getsockname()[1]
        bucket = Bucket(
            "s3://bucket",
            endpoint=f"http://127.0.0.1:{port}",
            region="r",
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
        )
        async with asyncio.timeout(15):  # less than one request to such a place may take
            await Dists(tmp_path / "dists", bucket).remove(["a" * 40])
    assert "`pricore dist prune` deletes those that are left" in caplog.text


async def test_many_are_deleted_without_keeping_others_out(tmp_path: Path) -> None:
    """A part at a time: between two, somebody who replaces one has a turn."""
    dists, parts = Dists(tmp_path / "dists"), []

    class Counting(Folder):
        async def delete(self, names: Collection[str]) -> None:
            parts.append(len(names))

    await dists.delete(Counting(tmp_path / "dists"), [f"{number}" for number in range(250)])
    assert parts == [100, 100, 50]


def _no_room(*_: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_an_archive_without_room_is_sent_and_not_kept(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In each encoding, with what was advertised; told once, and kept again as soon as there is room."""
    dist = await _advertised(mirror)
    dists = Dists(tmp_path / "data" / "dists")
    with monkeypatch.context() as full:
        full.setattr(Folder, "create", _no_room)
        for _ in range(2):
            for encoding in ("zstd", "gzip"):
                with await dists.lend(dist, mirror, encoding) as lent:
                    assert not lent.kept
                    sent = b"".join([piece async for piece in lent.pieces()])
                    assert (await lent.fetch(tmp_path)).read() == sent
                assert len(sent) == lent.size
                plain = gzip.decompress(sent) if encoding == "gzip" else b"".join(read_plain(io.BytesIO(sent)))
                assert hashlib.sha1(plain).hexdigest() == dist.shasum
        with pytest.raises(DistError, match="cannot keep"):
            await dists.open(dist, mirror, "zstd")
    assert caplog.text.count("sent without being kept") == 1
    assert DataFolder(tmp_path / "data").files() == {}
    with await dists.lend(dist, mirror, "zstd") as lent:
        assert lent.kept


async def test_what_is_sent_without_room_is_bounded(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at a time, each until it is sent, and none that is too large for memory; no client waits for ever."""
    dist = await _advertised(mirror)
    dists = Dists(tmp_path / "data" / "dists", patience=0)
    monkeypatch.setattr(Folder, "create", _no_room)
    first, second = [await dists.lend(dist, mirror, "zstd") for _ in range(2)]
    third = asyncio.create_task(dists.lend(dist, mirror, "zstd"))
    done, _ = await asyncio.wait([third], timeout=0.5)
    assert not done
    with pytest.raises(BusyError, match="try again in"):
        await dists.lend(dist, mirror, "zstd", who=("acme", "client"))
    with first:
        pass
    with await third, second:
        pass
    monkeypatch.setattr("pricore.archives.dists.MOST_UNKEPT", dist.size - 1)
    with pytest.raises(DistError, match="cannot keep"):
        await dists.lend(dist, mirror, "zstd")
