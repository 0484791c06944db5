"""How much a server sends, how slowly, and what it says: its own sync pays for it."""

import asyncio
import contextlib
import itertools
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from pricore.config import Config
from pricore.errors import GitError, GitUnavailableError, SyncError
from pricore.hosts.addresses import parse_address
from pricore.models import Repository
from pricore.services.opening import Services
from pricore.sync.progress import ignore
from pricore.sync.queue import Queue
from tests.harness import GitRepository
from tests.registry import MakeRepository, Registry, open_registry


async def test_a_repository_has_a_size(
    upstream: GitRepository, make_repository: MakeRepository, tmp_path: Path
) -> None:
    """What is larger than repository_limit is refused on its way; what came of it goes, what was there stays."""
    async with open_registry(tmp_path / "data", repository_limit=1) as registry:
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
        assert set(await registry.versions()) == {"1.0.0", "dev-main"}
        other = make_repository("other")
        other.commit({"name": "acme/other"})
        assert (await registry.add(other)).added == ["acme/other:dev-main"]


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def test_a_full_mirror_takes_no_more(upstream: GitRepository, tmp_path: Path) -> None:
    """Where the mirror has come to its limit, nothing is fetched any more, and what is served stays."""
    async with open_registry(tmp_path / "data") as registry:
        (upstream.folder / "large").write_bytes(os.urandom(2 * 1024**2))
        upstream.commit()
        await registry.add(upstream)
        (upstream.folder / "more").write_bytes(os.urandom(100_000))
        upstream.commit()
        small = Config(data=tmp_path / "data", git_timeout=60, repository_limit=1)
        with pytest.raises(GitError, match="more than the 1 MB that repository_limit allows"):
            await Services(small, registry.store, registry.git).syncer.sync(
                await registry.repository(upstream), progress=ignore
            )
        assert set(await registry.versions()) == {"1.0.0", "dev-main"}


Change = Callable[[int, bytes, asyncio.StreamWriter], Awaitable[bytes]]
"""What becomes of a piece of a server's answer, with the number of the connection and the way to its client."""


@contextlib.asynccontextmanager
async def between(upstream: GitRepository, port: int, change: Change) -> AsyncIterator[str]:
    """The address of a git:// server of a repository, whose answers somebody changes on their way."""
    connections = itertools.count(1)
    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        number = next(connections)
        await reader.readexactly(int(await reader.readexactly(4), 16) - 4)  # what it wants is clear
        program = await asyncio.create_subprocess_exec(
            "git", "upload-pack", upstream.url,
            env={"PATH": os.environ["PATH"], "GIT_PROTOCOL": "version=2"}, start_new_session=True,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert program.stdin is not None
        assert program.stdout is not None
        forward = asyncio.create_task(_pump(reader, program.stdin))
        try:
            with contextlib.suppress(ConnectionError):
                while piece := await program.stdout.read(65536):
                    writer.write(await change(number, piece, writer))
                    await writer.drain()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            forward.cancel()
            program.stdin.close()
            writer.close()
            await program.stdout.read()
            await program.wait()

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        try:
            yield f"git://127.0.0.1:{port}/library/.git"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


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
    begun = asyncio.Event()

    async def trickle(connection: int, piece: bytes, writer: asyncio.StreamWriter) -> bytes:
        if connection == 1 or b"PACK" not in piece:  # the first one is ls-remote's
            return piece
        begun.set()
        for n in range(len(piece)):
            writer.write(piece[n : n + 1])
            await writer.drain()
            await asyncio.sleep(60)
        return b""

    async with (
        open_registry(tmp_path / "data", git_timeout=3) as registry,
        between(upstream, unused_tcp_port, trickle) as url,
    ):
        other = make_repository("other")
        other.commit({"name": "acme/other"})
        slow = await registry.store.repositories.add(registry.organization, parse_address(url))
        quick = await registry.store.repositories.add(registry.organization, parse_address(other.url))
        queue = Queue(registry.store, registry.syncer, workers=2)
        work = asyncio.create_task(queue.work())
        try:
            await queue.add(slow.id)
            await asyncio.wait_for(begun.wait(), 10)
            await queue.add(quick.id)
            await _until(registry, quick.id, "ok")
            failed = await _until(registry, slow.id, "failed")
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        assert failed.sync_error is not None
        assert "took longer than 3 seconds; git_timeout allows more" in failed.sync_error
        assert not [*registry.sources.mirror(slow.id).path.rglob("tmp_*")]


async def test_hosts_of_one_organization_stop_no_other(
    upstream: GitRepository,
    make_repository: MakeRepository,
    tmp_path: Path,
    unused_tcp_port_factory: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two fetches that get next to nothing keep the only worker no longer than a sync may wait for its host."""
    monkeypatch.setattr("pricore.sync.queue.SLOW_SECONDS", 0.2)
    monkeypatch.setattr("pricore.sync.queue.POLL_SECONDS", 0.1)
    fetching = asyncio.Semaphore(0)

    async def trickle(connection: int, piece: bytes, writer: asyncio.StreamWriter) -> bytes:
        if connection > 1 and b"PACK" in piece:  # the first one is ls-remote's
            fetching.release()
            await asyncio.sleep(3600)
        return piece

    async with (
        open_registry(tmp_path / "data") as registry,
        between(upstream, unused_tcp_port_factory(), trickle) as first,
        between(upstream, unused_tcp_port_factory(), trickle) as second,
    ):
        other = make_repository("other")
        other.commit({"name": "umbrella/other"})
        umbrella = await registry.store.organizations.create("umbrella", "Umbrella")
        quick = await registry.store.repositories.add(umbrella, parse_address(other.url))
        slow = [
            await registry.store.repositories.add(registry.organization, parse_address(url))
            for url in (first, second)
        ]
        queue = Queue(registry.store, registry.syncer, workers=1)
        work = asyncio.create_task(queue.work())
        try:
            for repository in slow:
                await queue.add(repository.id)
            async with asyncio.timeout(10):
                await fetching.acquire()
                await fetching.acquire()
            await queue.add(quick.id)
            await _until(registry, quick.id, "ok")
            for repository in slow:
                await _until(registry, repository.id, "pending")
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def _until(registry: Registry, repository_id: str, status: str) -> Repository:
    async with asyncio.timeout(10):
        while True:
            found = await registry.store.repositories.find(repository_id)
            assert found is not None
            if found.sync_status == status:
                return found
            await asyncio.sleep(0.02)


async def test_messages_without_an_end_are_not_kept(
    registry: Registry,
    upstream: GitRepository,
    tmp_path: Path,
    unused_tcp_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that talks for ever, where git passes on what it says, fills no disk: it is hung up on."""
    sent = 0

    async def talk(connection: int, piece: bytes, writer: asyncio.StreamWriter) -> bytes:
        nonlocal sent
        before, found, _ = piece.partition(b"packfile\n")
        if not found:
            return piece
        writer.write(before + found)
        message = b"\x02" + b"blah " * 2000 + b"\n"
        while True:
            writer.write(b"%04x" % (len(message) + 4) + message)
            await writer.drain()
            sent += len(message)

    async with between(upstream, unused_tcp_port, talk) as url:
        with pytest.raises(GitError) as caught:
            await registry.add_url(url)
    assert str(caught.value) == f"git fetch of {url} was stopped: its host sends messages without end"
    assert 16_000_000 < sent < 64_000_000


async def test_what_a_server_says_is_shown_as_text(
    registry: Registry, upstream: GitRepository, unused_tcp_port: int
) -> None:
    """An error of the server's own words does nothing to a terminal, and is no longer than a line."""

    async def curse(connection: int, piece: bytes, writer: asyncio.StreamWriter) -> bytes:
        message = b"ERR \x1b[2J\x1b]0;title\x07\r\xc2\x9b31m" + b"x" * 5000
        return b"%04x" % (len(message) + 4) + message

    async with between(upstream, unused_tcp_port, curse) as url:
        with pytest.raises(GitError) as caught:
            await registry.add_url(url)
    assert str(caught.value).isprintable()
    assert "[2J" in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "name",
    [
        "refs/heads/../../../../../evil",
        "refs/heads/../../hooks/evil.sh",
        "refs/heads/-/../../../config",
        "refs/heads/info/attribs.lock",
        "refs/pricore/9999999999999999",
    ],
)
async def test_a_name_that_git_allows_nobody_is_no_ref(
    registry: Registry, upstream: GitRepository, unused_tcp_port: int, name: str
) -> None:
    """What a server calls its branches leads to no file outside of the mirror's branches and tags."""
    honest = "refs/heads/" + "a" * (len(name) - len("refs/heads/"))
    upstream.git("update-ref", honest, upstream.head())

    async def rename(connection: int, piece: bytes, writer: asyncio.StreamWriter) -> bytes:
        return piece.replace(honest.encode(), name.encode())

    async with between(upstream, unused_tcp_port, rename) as url:
        await registry.add_url(url)
        (repository,) = await registry.store.repositories.of_organization(registry.organization.id)
    assert set(await registry.sources.mirror(repository.id).refs()) == {
        "refs/heads/main",
        "refs/tags/1.0.0",
    }
    assert not [*registry.config.data.rglob("evil*")]


async def test_a_list_with_lines_of_its_own_changes_nothing(
    registry: Registry, upstream: GitRepository, unused_tcp_port: int
) -> None:
    """What is published is what was fetched; a list in which a name has line ends cannot add to that."""
    forged = f"refs/heads/a\n{'0' * 40}\trefs/tags/9.9.9"
    honest = "refs/heads/" + "a" * (len(forged) - len("refs/heads/"))
    upstream.git("update-ref", honest, upstream.head())

    async def forge(connection: int, piece: bytes, writer: asyncio.StreamWriter) -> bytes:
        return piece.replace(honest.encode(), forged.encode()) if connection == 1 else piece

    async with between(upstream, unused_tcp_port, forge) as url:
        report = await registry.add_url(url)
    assert sorted(report.added) == sorted(
        ["acme/library:1.0.0", "acme/library:dev-main", f"acme/library:dev-{honest.removeprefix('refs/heads/')}"]
    )


async def test_a_damaged_upstream_is_told_as_what_it_is(registry: Registry, upstream: GitRepository) -> None:
    """Its server says so; that the connection ends then is not what is wrong, and what is served stays."""
    await registry.add(upstream)
    upstream.write({"lost.txt": "lost"})
    upstream.commit()
    lost = upstream.git("rev-parse", "HEAD:lost.txt")
    (upstream.folder / ".git" / "objects" / lost[:2] / lost[2:]).unlink()
    with pytest.raises(GitUnavailableError) as caught:
        await registry.sync(upstream)
    assert str(caught.value) == (
        f"cannot read {upstream.url}: it is damaged there, says its server (unable to read {lost}); "
        "`git fsck` in it tells more"
    )
    assert set(await registry.versions()) == {"1.0.0", "dev-main"}


async def test_damage_that_upstream_does_not_notice_is_told_as_that(
    registry: Registry, upstream: GitRepository
) -> None:
    """Its server sends such a pack as it is, and git here says no more than where reading it ended."""
    (upstream.folder / "large").write_bytes(random.Random(1).randbytes(300_000))
    upstream.commit()
    upstream.git("repack", "-adq")
    (pack,) = (upstream.folder / ".git" / "objects" / "pack").glob("*.pack")
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)
    with pytest.raises(GitUnavailableError, match=r"what it sends is damaged .*; `git fsck` in it tells more"):
        await registry.add(upstream)


async def test_a_page_is_not_an_empty_repository(registry: Registry) -> None:
    """A web page that git takes for a list of nothing: whoever gave that address is told what it may be."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p>Welcome</p>")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/acme/library"
        with pytest.raises(SyncError) as caught:
            await registry.add_url(url)
    assert str(caught.value) == (
        f"{url} lists no branch or tag: push one with a composer.json to it, "
        "or correct the address if it is that of a web page"
    )
