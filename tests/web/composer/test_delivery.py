"""How archives travel: the same whether they are kept in the data folder or in a bucket."""

import asyncio
import os
import re
from collections.abc import Mapping

import aiohttp
import pytest
from yarl import URL

from pricore.archives.compression import name_of
from tests.harness import GitRepository, Place
from tests.swift import S3
from tests.web.composer.harness import Reply, Start, World, error, shasum

RELEASE = "/packages/acme/library/v1.0.0.zip"
BRANCH = "/packages/acme/library/dev-main.zip"


@pytest.fixture
async def world(start: Start, place: Place) -> World:
    return await start(inline_limit=0, **place.settings)


async def ask(world: World, path: str = RELEASE, *, method: str = "GET", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await world.ask(path, await world.token(), method=method, headers=named)


def named(reply: Reply, *names: str) -> Mapping[str, str | None]:
    return {name: reply.headers.get(name) for name in names}


@pytest.mark.parametrize("accepted", ["zstd", "gzip", "identity"])
async def test_head_says_what_get_would(world: World, place: Place, accepted: str) -> None:
    """HEAD has the headers of GET and no body."""
    whole = await ask(world, Accept_Encoding=accepted)
    head = await ask(world, Accept_Encoding=accepted, method="HEAD")
    names = (
        "Content-Type",
        "Content-Length",
        "Content-Encoding",
        "ETag",
        "Cache-Control",
        "Vary",
        "Accept-Ranges",
    )

    assert (head.status, head.body) == (200, b"")
    assert named(head, *names) == named(whole, *names)
    assert head.headers["Content-Length"] == str(len(whole.body))
    assert [*place.files()] == [name_of(shasum(whole.decoded), "gzip" if accepted == "gzip" else "zstd")]


@pytest.mark.parametrize("accepted", ["zstd", "gzip", "identity"])
async def test_an_etag_is_the_checksum(world: World, accepted: str) -> None:
    """It is strong where the bytes are the archive's own; with it nothing is sent again, and nothing is made."""
    whole = await ask(world, Accept_Encoding=accepted)
    tag = f'"{shasum(whole.decoded)}"'
    assert whole.headers["ETag"] == (tag if accepted == "identity" else f"W/{tag}")

    for known in (tag, f"W/{tag}", f'"other", W/{tag}', "*"):
        again = await ask(world, Accept_Encoding=accepted, If_None_Match=known)
        assert (again.status, again.body) == (304, b"")
        names = ("ETag", "Cache-Control", "Vary")
        assert named(again, *names) == named(whole, *names)
    assert (await ask(world, Accept_Encoding=accepted, If_None_Match='"other"')).body == whole.body


async def test_a_branch_has_an_etag_of_what_it_is_now(world: World) -> None:
    """By its name a branch is asked for each time, and only sent where it moved."""
    whole = await ask(world, BRANCH)
    assert whole.headers["Cache-Control"] == "private, no-cache"
    assert (await ask(world, BRANCH, If_None_Match=whole.headers["ETag"])).status == 304


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=100-", 100, None),
        ("bytes=-7", -7, None),
        ("bytes=5-99999999999", 5, None),
        ("bytes=-99999999999", 0, None),
    ],
)
async def test_a_part_of_what_is_not_packed(world: World, asked: str, begin: int, end: int | None) -> None:
    """A part has its bytes and says which of how many they are; HEAD says the same of it."""
    whole = (await ask(world)).body
    expected = whole[begin:end]
    first = len(whole) + begin if begin < 0 else begin

    reply = await ask(world, Range=asked)
    assert (reply.status, reply.body) == (206, expected)
    assert reply.headers["Content-Range"] == f"bytes {first}-{first + len(expected) - 1}/{len(whole)}"
    assert reply.headers["ETag"] == f'"{shasum(whole)}"'
    head = await ask(world, Range=asked, method="HEAD")
    assert head.body == b""
    assert named(head, "Content-Range", "Content-Length") == named(reply, "Content-Range", "Content-Length")


@pytest.mark.parametrize(
    "asked", ["bytes=", "bytes=-", "bytes=9-5", "bytes=a-b", "bytes=0-1,5-6", "lines=1-2", "x"]
)
async def test_what_is_no_part_is_the_whole(world: World, asked: str) -> None:
    """A range that cannot be read, and several at once, count as none."""
    reply = await ask(world, Range=asked)
    assert (reply.status, reply.body) == (200, (await ask(world)).body)
    assert "Content-Range" not in reply.headers


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
async def test_a_part_behind_the_end_is_refused(world: World, asked: str) -> None:
    """416 says how much there is, in the shape of every error, and the connection goes on."""
    reply = await ask(world, Range=asked)
    assert error(reply, 416) == "the archive ends before the range that was asked for"
    assert reply.headers["Content-Range"] == f"bytes */{len((await ask(world)).body)}"


async def test_a_part_of_another_archive_is_not_joined_to_this_one(world: World) -> None:
    """If-Range gives the part only where the client has the rest of the same bytes."""
    whole = await ask(world)
    tag = whole.headers["ETag"]
    assert (await ask(world, Range="bytes=1-2", If_Range=tag)).status == 206
    for other in (f"W/{tag}", '"other"', "Wed, 21 Oct 2026 07:28:00 GMT"):
        assert (await ask(world, Range="bytes=1-2", If_Range=other)).body == whole.body


@pytest.mark.parametrize("accepted", ["zstd", "gzip"])
async def test_what_is_packed_comes_whole(world: World, accepted: str) -> None:
    """Packed bytes can be others tomorrow, after another version of the packer: there are no parts of them."""
    reply = await ask(world, Accept_Encoding=accepted, Range="bytes=0-9")
    assert reply.status == 200
    assert "Accept-Ranges" not in reply.headers
    assert shasum(reply.decoded) == reply.headers["ETag"][3:-1]


async def test_what_is_damaged_meanwhile_is_mended_by_the_next_request(world: World, place: Place) -> None:
    """A body that cannot be had whole breaks the connection, once."""
    whole = (await ask(world, Accept_Encoding="identity")).body
    (name,) = place.files()
    place.write(name, place.read(name)[:60])
    with pytest.raises(aiohttp.ClientError):
        async with asyncio.timeout(10):
            await ask(world, Accept_Encoding="identity")
    assert (await ask(world, Accept_Encoding="identity")).body == whole


async def test_a_redirect_leads_to_the_kept_bytes(start: Start, s3: S3) -> None:
    """Who takes what is kept gets a URL that needs nothing else, and holds only for a while."""
    world = await start(inline_limit=0, dist_redirect=True, **s3.settings)
    for accepted in ("zstd", "gzip"):
        url = URL(f"/org/acme{RELEASE}")
        headers = {"Authorization": f"Bearer {await world.token()}", "Accept-Encoding": accepted}
        async with world.client.get(url, headers=headers, allow_redirects=False) as response:
            assert (response.status, response.headers["Cache-Control"]) == (302, "private, no-store")
            target = URL(response.headers["Location"], encoded=True)
        assert 0 < int(target.query["X-Amz-Expires"]) <= 300
        async with aiohttp.ClientSession(auto_decompress=False) as other, other.get(target) as response:
            reply = Reply(response.status, response.headers, await response.read())
        assert reply.headers["Content-Encoding"] == accepted
        direct = await world.ask(
            RELEASE, await world.token(), method="HEAD", headers={"Accept-Encoding": accepted}
        )
        assert shasum(reply.decoded) in direct.headers["ETag"]
    assert (await ask(world, Accept_Encoding="identity")).status == 200


async def test_without_the_bucket_what_can_be_made_is_served(
    start: Start, s3: S3, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage costs nothing but room in the folder; what cannot be made either is told without a traceback."""
    world = await start(inline_limit=0, dist_redirect=True, **s3.settings)
    before = await ask(world, Accept_Encoding="gzip")
    with s3.outage():
        for accepted in ("zstd", "gzip", "identity"):
            reply = await ask(world, Accept_Encoding=accepted)
            assert (reply.status, shasum(reply.decoded)) == (200, shasum(before.decoded))
        world.config.repositories.rename(world.config.data / "away")
        error(await ask(world, BRANCH), 500)
    assert "Traceback" not in caplog.text
    assert s3.settings["s3_secret_key"] not in caplog.text


@pytest.mark.parametrize("accepted", ["zstd", "identity"])
async def test_what_is_sent_is_counted(world: World, upstream: GitRepository, accepted: str) -> None:
    """Also where the kernel sends it by itself, as for large archives on a disk."""
    upstream.commit({"name": "acme/large"}, files={"noise": os.urandom(2_000_000)})
    upstream.tag("1.0.0")
    await world.follow(upstream)
    sent = [len((await ask(world, "/packages/acme/large/1.0.0.zip", Accept_Encoding=accepted)).body) for _ in "ab"]
    async with world.client.get("/metrics") as response:
        text = await response.text()
    line = r'^pricore_sent_bytes_total.*method="GET".*/packages/.* (\S+)$'
    (counted,) = re.findall(line, text, re.MULTILINE)
    assert sum(sent) <= float(counted) < sum(sent) + 2000
