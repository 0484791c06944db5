"""Reports of installs, and archives that are sent: what is counted, passed over and refused."""

import asyncio
import json
from collections.abc import Mapping

import pytest

from tests.harness import GitRepository
from tests.web.composer.harness import Reply, World, error


async def report(world: World, secret: str, *installs: Mapping[str, object]) -> Reply:
    """The answer to a report of installs, as Composer sends it."""
    body = json.dumps({"downloads": installs}).encode()
    return await world.ask("/downloads", secret, method="POST", body=body)


async def count_downloads(world: World) -> dict[tuple[str, str], int]:
    """What was counted, by package and version."""
    await world.store.usage.flush()
    with world.database() as connection:
        rows = connection.execute(
            """
            SELECT packages.name, version, sum(count) FROM downloads
            JOIN packages ON packages.id = package_id GROUP BY packages.name, version
            """
        ).fetchall()
    return {(name, version): count for name, version, count in rows}


async def count_archives(world: World) -> dict[str, int]:
    """How often archives were sent since the last time, by version."""
    await world.get("/list.json")  # on the same connection: what was asked before is done, not only here
    await world.store.usage.flush()
    with world.database() as connection:
        rows = connection.execute("SELECT version, archives FROM downloads WHERE archives > 0").fetchall()
        connection.execute("DELETE FROM downloads")
    return dict(rows)


async def test_installs_are_counted(world: World, secret: str) -> None:
    """What clients report is counted by the version that people see; what isn't here is passed over."""
    installs: list[dict[str, object]] = [
        {"name": "acme/library", "version": "1.0.0.0"},
        {"name": "ACME/library", "version": "1.0.0.0", "downloaded": True},
        {"name": "acme/library", "version": "dev-feature/x"},
        {"name": "acme/library", "version": "9.9.9.9"},
        {"name": "public/other", "version": "1.0.0.0"},
        {"name": "other/thing", "version": "1.0.0.0"},
    ]
    replies = [await report(world, secret, *installs) for _ in range(2)]

    assert [(reply.status, reply.body) for reply in replies] == [(204, b"")] * 2
    expected = {("acme/library", "v1.0.0"): 4, ("acme/library", "dev-feature/x"): 2}
    assert expected == await count_downloads(world)


async def test_installs_of_hidden_packages_are_not_counted(world: World) -> None:
    """A restricted token cannot move the counts of what it doesn't see."""
    reply = await report(
        world,
        await world.token(packages=["acme/library"]),
        {"name": "acme/library", "version": "1.0.0.0"},
        {"name": "acme/plugin", "version": "dev-main"},
    )

    assert reply.status == 204
    assert await count_downloads(world) == {("acme/library", "v1.0.0"): 1}


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"{}", b'"downloads"', b"null", b'{"downloads": {}}', b'{"downloads": [1]}'),
        *(b'{"downloads": [{"name": "acme/library"}]}', b'{"downloads": [{"name": 1, "version": "1.0.0.0"}]}'),
        *(b'{"downloads": [{"name": "\xff", "version": "1"}]}', b"downloads[]=acme/library"),
        pytest.param(b'{"more": ' + b"[" * 100_000 + b"]" * 100_000 + b', "downloads": []}', id="nested"),
    ],
)
async def test_a_malformed_report_is_refused(world: World, secret: str, body: bytes) -> None:
    """What is no report is 400 and counts nothing."""
    error(await world.ask("/downloads", secret, method="POST", body=body), 400)
    assert await count_downloads(world) == {}


@pytest.mark.parametrize("encoding", ["zstd", "gzip", "identity"])
@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("v1.0.0", "v1.0.0"),
        ("1.0", "v1.0.0"),
        ("dev-feature/x", "dev-feature/x"),
        ("dev-feature/x/{commit}", "dev-feature/x"),
    ],
)
async def test_an_archive_that_is_sent_is_counted(
    world: World, secret: str, encoding: str, path: str, version: str
) -> None:
    """Each time, by the version as it is shown, in whatever form it was asked for."""
    commit = (await world.versions("acme/library", secret))[version]["dist"]["reference"]
    path = f"/packages/acme/library/{path.format(commit=commit)}.zip"
    for _ in range(2):
        await world.get(path, secret, headers={"Accept-Encoding": encoding})

    assert await count_archives(world) == {version: 2}


@pytest.mark.parametrize(
    ("method", "headers", "status", "count"),
    [
        ("HEAD", {}, 200, 0),
        ("GET", {"If-None-Match": "*", "Range": "bytes=0-"}, 304, 0),
        ("GET", {"If-None-Match": '"other"'}, 200, 1),
        ("GET", {"Accept-Encoding": "identity", "Range": "bytes=0-9"}, 206, 1),
        ("GET", {"Accept-Encoding": "identity", "Range": "bytes=10-"}, 206, 0),
        ("GET", {"Accept-Encoding": "identity", "Range": "bytes=999999999-"}, 416, 0),
        ("GET", {"Authorization": "Bearer none"}, 401, 0),
    ],
)
async def test_what_is_no_download_is_not_counted(
    world: World, secret: str, method: str, headers: Mapping[str, str], status: int, count: int
) -> None:
    """Not a question, not what the client has already, not the rest of what was begun, and no error."""
    path = "/packages/acme/library/v1.0.0.zip"
    reply = await world.ask(path, secret, method=method, headers={"Accept-Encoding": "zstd", **headers})

    assert reply.status == status
    assert (await count_archives(world)).get("v1.0.0", 0) == count


async def test_an_archive_of_what_is_no_version_any_more_counts_for_nothing(
    world: World, secret: str, upstream: GitRepository
) -> None:
    """What a lock file names of a branch that is gone is sent, and there is no version to count it for."""
    upstream.commit({"name": "acme/branched"})
    upstream.git("checkout", "--quiet", "-b", "gone")
    upstream.commit(files={"file.txt": "gone"})
    await world.follow(upstream)
    dist = (await world.versions("acme/branched"))["dev-gone"]["dist"]
    upstream.git("checkout", "--quiet", "main")
    upstream.git("branch", "--quiet", "-D", "gone")
    await world.sync(upstream)
    await world.get(dist["url"], secret)

    assert await count_archives(world) == {}


async def test_a_large_report_gives_others_a_turn(
    world: World, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop does not go through all of the installs that one request reports in a single step."""
    counted, most = 0, 0
    installed = world.store.usage.installed

    async def look() -> None:
        """Have a turn whenever there is one."""
        nonlocal counted, most
        while True:
            most, counted = max(most, counted), 0
            await asyncio.sleep(0)

    def count(*install: str) -> None:
        nonlocal counted
        counted += 1
        installed(*install)

    monkeypatch.setattr(world.store.usage, "installed", count)
    report = {"downloads": [{"name": "acme/library", "version": f"{number}.0"} for number in range(5000)]}
    looking = asyncio.create_task(look())
    reply = await world.ask("/downloads", secret, method="POST", body=json.dumps(report).encode())
    looking.cancel()
    assert reply.status == 204
    assert 0 < most <= 200
