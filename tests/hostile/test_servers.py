"""How much a server sends, how slowly, and what it says: its own sync pays for it."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from pricore.addresses import parse_address
from pricore.config import Config
from pricore.errors import GitError
from pricore.jobs import Queue
from pricore.models import Repository
from pricore.sync import Syncer
from tests.harness import GitRepository
from tests.hostile.harness import MakeRepository, Registry, opened, silent


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
                await registry.repository(upstream), progress=silent
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
