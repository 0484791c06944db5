"""Archives over HTTP: the advertised bytes for ever, made once, and nothing that was never advertised."""

import asyncio
import io
import random
import re
import shutil
import zipfile
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from pricore.vcs.mirror import Mirror
from tests.harness import GitRepository
from tests.web.composer.harness import DEV, STABLE, Reply, World, error, shasum

RELEASE = "/packages/acme/library/v1.0.0.zip"


async def test_an_archive_is_what_was_advertised(world: World, secret: str) -> None:
    """A release's archive has its checksum in each encoding; every one has one folder with its files.

    A branch advertises none: Composer would hold it against any other commit that a project pins it to.
    """
    found = await world.versions("acme/library", secret)
    assert {*STABLE, *DEV} == set(found)
    for version, entry in found.items():
        assert ("shasum" in entry["dist"]) == (version in STABLE)
        expected = entry["dist"].get("shasum") or shasum((await world.get(entry["dist"]["url"], secret)).body)
        for accepted in ("zstd", "gzip", "identity"):
            reply = await world.get(entry["dist"]["url"], secret, headers={"Accept-Encoding": accepted})

            assert expected == shasum(reply.decoded)
            assert reply.headers["Content-Type"] == "application/zip"
            assert reply.headers["Vary"] == "Authorization, Accept-Encoding"
        names = zipfile.ZipFile(io.BytesIO(reply.body)).namelist()
        assert len({name.partition("/")[0] for name in names}) == 1
        assert {"composer.json", "src/words.txt"} <= {name.partition("/")[2] for name in names}


async def test_versions_with_signs_in_them_have_urls(world: World) -> None:
    """A version with `/` or `+` is advertised at an address that works, with the commit where it is a branch."""
    found = await world.versions("acme/library")
    base = f"{world.base}/org/acme/packages/acme/library"

    assert f"{base}/1.2.0+build.5.zip" == found["1.2.0+build.5"]["dist"]["url"]
    for version in ("dev-feature/x", "dev-a+b"):
        dist = found[version]["dist"]
        assert f"{base}/{version}/{dist['reference']}.zip" == dist["url"]
    # as clients that escape more would ask
    for path in ("1.2.0%2Bbuild.5", "dev-a%2Bb", "dev-feature/x", "dev%2Dfeature/x"):
        await world.get(f"/packages/acme/library/{path}.zip")


@pytest.mark.parametrize("version", ["v1.0.0", "1.0.0", "1.0", "1", "V1.0.0.0"])
async def test_a_tag_is_found_however_it_is_spelled(world: World, version: str) -> None:
    """v1.0.0 and 1.0 mean the same release: locks that name either are installed."""
    advertised = (await world.versions("acme/library"))["v1.0.0"]["dist"]["shasum"]

    assert advertised == shasum((await world.get(f"/packages/acme/library/{version}.zip")).body)


@pytest.mark.parametrize(
    "path",
    [
        *("acme/library/9.0.0", "acme/library/dev-missing", "acme/library/latest", "acme/missing/v1.0.0"),
        *("missing/library/v1.0.0", "acme/plugin/v1.0.0", "acme/library/v1.0.0/", "acme/library/..%2f..%2fx"),
        f"acme/library/dev-main/{'0' * 40}",
    ],
)
async def test_an_unknown_archive_is_not_there(world: World, secret: str, path: str) -> None:
    """A version or commit that was never advertised for the package is 404."""
    error(await world.ask(f"/packages/{path}.zip", secret), 404)


async def test_a_commit_of_another_package_is_not_there(world: World, secret: str) -> None:
    """A commit is an archive of its own package only."""
    reference = (await world.versions("acme/plugin"))["dev-main"]["dist"]["reference"]
    await world.get(f"/packages/acme/plugin/dev-main/{reference}.zip")

    error(await world.ask(f"/packages/acme/library/dev-main/{reference}.zip", secret), 404)


async def test_a_commit_that_was_pushed_away_is_still_there(world: World, upstream: GitRepository) -> None:
    """What a lock file names installs after a force-push, even if nobody had downloaded it before."""
    upstream.commit({"name": "acme/pushed"}, files={"file.txt": "old"})
    await world.follow(upstream)
    old = (await world.versions("acme/pushed"))["dev-main"]["dist"]
    before = (await world.get(old["url"])).body
    shutil.rmtree(world.config.dists)
    upstream.git("commit", "--quiet", "--amend", "--message=other")
    upstream.git("reflog", "expire", "--expire=now", "--all")
    upstream.git("gc", "--quiet", "--prune=now")
    await world.sync(upstream)
    new = (await world.versions("acme/pushed"))["dev-main"]["dist"]

    assert old["reference"] != new["reference"]
    assert before == (await world.get(old["url"])).body != (await world.get(new["url"])).body


async def test_a_branch_that_was_deleted_leaves_its_archives(
    world: World, secret: str, upstream: GitRepository
) -> None:
    """A branch that is gone upstream is no version any more, and what a lock file names of it still installs."""
    upstream.commit({"name": "acme/branched"})
    upstream.git("checkout", "--quiet", "-b", "gone")
    upstream.commit(files={"file.txt": "gone"})
    upstream.git("checkout", "--quiet", "main")
    await world.follow(upstream)
    dist = (await world.versions("acme/branched"))["dev-gone"]["dist"]
    upstream.git("branch", "--quiet", "-D", "gone")
    await world.sync(upstream)

    assert "dev-gone" not in await world.versions("acme/branched")
    assert b"gone" in (await world.get(dist["url"])).body
    error(await world.ask("/packages/acme/branched/dev-gone.zip", secret), 404)


async def test_only_what_never_changes_is_kept_for_ever(world: World) -> None:
    """A release and a commit may be kept by the client without asking again; a branch by its name may not."""
    url = (await world.versions("acme/library"))["dev-main"]["dist"]["url"]
    for path in (RELEASE, url):
        assert "immutable" in (await world.get(path)).headers["Cache-Control"]
    for path in ("/packages/acme/library/dev-main.zip", "/packages/acme/library/dev-feature/x.zip"):
        assert (await world.get(path)).headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("accepted", ["zstd", "gzip", "identity"])
async def test_an_archive_is_made_once(
    world: World, secret: str, monkeypatch: pytest.MonkeyPatch, accepted: str
) -> None:
    """However many ask for a missing archive at the same time, it is made once, and then it is there."""
    archive = Mirror.archive
    made: list[str] = []

    async def count(self: Mirror, commit: str, consume: Callable[[Any], Any]) -> Any:
        made.append(commit)
        return await archive(self, commit, consume)

    monkeypatch.setattr(Mirror, "archive", count)
    assert world.kept() == []
    replies = await asyncio.gather(
        *(world.ask(RELEASE, secret, headers={"Accept-Encoding": accepted}) for _ in range(10))
    )

    assert {200} == {reply.status for reply in replies}
    assert len({reply.decoded for reply in replies}) == 1
    kept = [f"{shasum(replies[0].decoded)}.zip.{'gz' if accepted == 'gzip' else 'zst'}"]
    assert (1, kept) == (len(made), world.kept())
    await world.get(RELEASE, secret, headers={"Accept-Encoding": accepted})
    assert (1, kept) == (len(made), world.kept())


async def test_other_bytes_than_advertised_are_not_served(world: World, secret: str) -> None:
    """An archive that no longer has its checksum is an error of the server, and nothing of it is kept."""
    with world.database() as connection:
        connection.execute("UPDATE dists SET shasum = ?", ("0" * 40,))
    for accepted in ("zstd", "gzip", "identity"):
        reply = await world.ask(RELEASE, secret, headers={"Accept-Encoding": accepted})
        error(reply, 500)

    assert world.kept() == []


async def test_an_archive_that_failed_is_tried_again(world: World, secret: str) -> None:
    """Once the reason is gone, the next request gets the archive."""
    world.config.repositories.rename(world.config.data / "away")
    error(await world.ask(RELEASE, secret), 500)
    (world.config.data / "away").rename(world.config.repositories)

    await world.get(RELEASE, secret)


async def test_an_error_of_the_server_does_not_tell_where_things_are(
    world: World, secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What fails here is for the log: a client learns no path of this machine."""
    world.config.dists.write_text("a file where a folder should be")
    reply = await world.ask(RELEASE, secret)

    message = error(reply, 500)
    assert message == f"the registry failed; its log has the reason under request {reply.headers['X-Request-Id']}"
    assert str(world.config.data) in caplog.text


async def test_an_archive_that_is_damaged_later_breaks_the_connection(world: World, secret: str) -> None:
    """A body that cannot be had whole ends at once and never counts as whole."""
    await world.get(RELEASE, secret, headers={"Accept-Encoding": "identity"})
    for kept in (world.store.path.parent / "dists").rglob("*.zip.zst"):
        kept.write_bytes(kept.read_bytes()[:60])

    with pytest.raises(aiohttp.ClientError):
        async with asyncio.timeout(10):
            await world.ask(RELEASE, secret, headers={"Accept-Encoding": "identity"})


async def test_an_archive_that_is_asked_for_again_comes_from_memory(world: World, secret: str) -> None:
    """What was sent once is sent again without its file, until anything changes; then it is made again."""
    sent = {"Accept-Encoding": "zstd"}
    first = await world.get(RELEASE, secret, headers=sent)
    for kept in world.config.dists.rglob("*.zip.zst"):
        kept.unlink()
    again = await world.get(RELEASE, secret, headers=sent)
    assert (first.body, first.headers["Cache-Control"]) == (again.body, again.headers["Cache-Control"])
    assert not world.kept()

    await world.store.organizations.create("more", "More")
    assert first.body == (await world.get(RELEASE, secret, headers=sent)).body
    assert world.kept()


async def test_an_archive_in_memory_is_for_who_may_see_it(world: World, secret: str) -> None:
    """Neither a restricted token nor one of another organization gets what another one was sent."""
    await world.get(RELEASE, secret, headers={"Accept-Encoding": "zstd"})
    restricted = await world.token(packages=["acme/plugin"])
    foreign = await world.token(org="other")
    await world.get("/packages/acme/plugin/dev-main.zip", restricted)  # both are known now
    await world.ask("/list.json", foreign, org="other")
    await world.get(RELEASE, secret, headers={"Accept-Encoding": "zstd"})

    for stranger in (restricted, foreign):
        error(await world.ask(RELEASE, stranger, headers={"Accept-Encoding": "zstd"}), 404)


@pytest.mark.parametrize("kilobytes", [60, 700, 1500], ids=["one piece", "in memory", "from the disk"])
async def test_a_slow_client_gets_everything(world: World, upstream: GitRepository, kilobytes: int) -> None:
    """Several large archives over one connection come whole and in turn, however slowly they are read."""
    upstream.commit({"name": "acme/large"}, files={"data.txt": random.Random(1).randbytes(kilobytes * 700).hex()})
    await world.follow(upstream)
    dist = (await world.versions("acme/large"))["dev-main"]["dist"]
    expected = (await world.get(dist["url"])).body
    path = dist["url"].removeprefix(world.base)
    head = (
        f"GET {path} HTTP/1.1\r\nHost: {world.client.host}\r\nAccept-Encoding: zstd\r\n"
        f"Authorization: Bearer {await world.token()}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(world.client.host, world.client.port, limit=4096)
    writer.write(head.encode() * 3)
    for _ in range(3):
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", answer)[1])  # type: ignore[index]  # else it is wrong
        await asyncio.sleep(0.05)
        body = await reader.readexactly(length)
        assert expected == Reply(200, {"Content-Encoding": "zstd"}, body).decoded
    writer.close()
    await writer.wait_closed()
