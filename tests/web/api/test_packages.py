"""A package's versions and downloads over the API, and what is left when one is deleted."""

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.harness import GitRepository
from tests.store.harness import follow, publish, released
from tests.web.api.harness import ALL, ORG, assert_fits, call, eventually, links, read, refusal
from tests.web.composer.harness import DEV, LIBRARY, STABLE, World, error

PACKAGE = f"{ORG}/packages/acme/library"
NAMES = ("acme/versions", "acme/downloads", "versions/versions", "downloads/versions")


async def modified(world: World, path: str, secret: str) -> int:
    """The Last-Modified of a document, seconds."""
    reply = await world.get(path, secret)
    return int(parsedate_to_datetime(reply.headers["Last-Modified"]).timestamp())


async def install(world: World, secret: str, **versions: int) -> None:
    """Report installs of acme/library as Composer does: `v1_0_0_0=2` is twice 1.0.0.0."""
    items = [
        {"name": "acme/library", "version": version[1:].replace("_", ".")}
        for version, count in versions.items()
        for _ in range(count)
    ]
    body = json.dumps({"downloads": items}).encode()
    assert (await world.ask("/downloads", secret, method="POST", body=body)).status == 204
    await world.store.usage.flush()


def backdate(world: World, version: str, day: date) -> None:
    """Let what was counted for a version today be of another day."""
    with world.database() as connection:
        connection.execute("UPDATE downloads SET day = ? WHERE version = ?", (day.toordinal() - 719163, version))


def today() -> date:
    return datetime.now(UTC).date()


# How a package is addressed


@pytest.fixture
async def named(world: World) -> World:
    """acme has packages that are named as the things below a package, each with a version of its own."""
    acme = await world.store.organizations.get("acme")
    for number, name in enumerate(NAMES):
        repository = await follow(world.store, acme, name.replace("/", "-"))
        await publish(world.store, repository, released(f"{number}.0.0", package=name))
    return world


@pytest.mark.parametrize("name", ["acme/library", *NAMES])
async def test_every_name_is_reached_with_what_is_below_it(named: World, admin: str, name: str) -> None:
    """By id and by name, its slash raw or encoded, a package is found, and so are its versions and downloads."""
    package = (await read(named, f"{ORG}/packages/{name}", admin))["data"]
    assert package["name"] == name
    for address in (name, name.replace("/", "%2F"), name.replace("/", "%2f"), package["id"]):
        path = f"{ORG}/packages/{address}"
        assert (await read(named, path, admin))["data"] == package
        versions = (await read(named, f"{path}/versions", admin))["data"]
        assert versions == package["versions"]
        assert (await read(named, f"{path}/downloads", admin))["data"]["total"] == 0
        refusal(await call(named, "DELETE", f"{path}/versions/9.9.9", admin), 404)


@pytest.mark.parametrize(
    "path",
    [
        f"{ORG}/packages/acme%252Flibrary/versions",
        f"{ORG}/packages/acme/versions/downloads/versions",
        f"{ORG}/packages/acme%2Flibrary/library",
        f"{PACKAGE}/versions/",
        f"{PACKAGE}/downloads/1.0.0",
        f"{PACKAGE}/missing",
    ],
)
async def test_what_is_no_address_of_a_package_is_404(named: World, admin: str, path: str) -> None:
    """Nothing is taken for a package that is none."""
    refusal(await call(named, "GET", path, admin), 404)


# Versions


async def test_list_versions(world: World, admin: str) -> None:
    """A page at a time, newest first, as the package itself shows them."""
    whole = (await read(world, PACKAGE, admin))["data"]["versions"]
    reply = await call(world, "GET", f"{PACKAGE}/versions?per_page=4", admin)

    assert [item["version"] for item in whole if item["kind"] == "tag"] == STABLE
    assert_fits({"current_page": 1, "last_page": 2, "per_page": 4, "total": 6}, reply.json["meta"])
    assert reply.json["meta"]["total"] == len(STABLE) + len(DEV)
    rest = await read(world, links(reply)["next"], admin)
    assert reply.json["data"] + rest["data"] == whole
    refusal(await call(world, "GET", f"{PACKAGE}/versions?per_page=101", admin), 422)


# Deleting


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("v1.0.0", "v1.0.0"),
        ("1.0", "v1.0.0"),
        ("1.2.0+build.5", "1.2.0+build.5"),
        ("dev-feature/x", "dev-feature/x"),
        ("dev-feature%2Fx", "dev-feature/x"),
        ("dev-a+b", "dev-a+b"),
        ("dev-a%2Bb", "dev-a+b"),
    ],
)
async def test_delete_version(world: World, admin: str, path: str, version: str) -> None:
    """Exactly that version is gone from what Composer gets, at once, and a second time there is nothing."""
    before = await world.versions("acme/library", admin)
    reply = await call(world, "DELETE", f"{PACKAGE}/versions/{path}", admin)

    assert (reply.status, reply.json) == (200, {"message": "Version deleted successfully"})
    assert before.keys() - {version} == (await world.versions("acme/library", admin)).keys()
    assert version in before
    error(await world.ask(before[version]["dist"]["url"], admin), 404)
    refusal(await call(world, "DELETE", f"{PACKAGE}/versions/{path}", admin), 404)


async def test_the_archive_of_a_deleted_version_is_gone(world: World, admin: str) -> None:
    """The kept file goes in every encoding; by its commit it is not found either; others stay."""
    entries = await world.versions("acme/library", admin)
    commit = entries["v1.0.0"]["dist"]["reference"]
    for version in ("v1.0.0", "1.1.0-beta1"):
        for encoding in ("zstd", "gzip"):
            headers = {"Accept-Encoding": encoding}
            await world.get(f"/packages/acme/library/{version}.zip", admin, headers=headers)
    assert len(world.kept()) == 4
    await call(world, "DELETE", f"{PACKAGE}/versions/v1.0.0", admin)

    assert {name.partition(".")[0] for name in world.kept()} == {entries["1.1.0-beta1"]["dist"]["shasum"]}
    assert len(world.kept()) == 2
    error(await world.ask(f"/packages/acme/library/v1.0.0/{commit}.zip", admin), 404)


async def test_a_deleted_version_moves_the_dates(world: World, admin: str) -> None:
    """No client goes on with a document that it has: the half without the version is new, the other is not."""
    paths = ("/p2/acme/library.json", "/p2/acme/library~dev.json")
    before = [await modified(world, path, admin) for path in paths]
    await call(world, "DELETE", f"{PACKAGE}/versions/v1.0.0", admin)
    after = [await modified(world, path, admin) for path in paths]

    assert (before[0] < after[0], before[1]) == (True, after[1])


async def test_a_package_without_versions_stays(world: World, admin: str) -> None:
    """Its last version gone, a package is there with empty documents, as when its last branch goes upstream."""
    await install(world, admin, v1_0_0_0=1)
    for item in (await read(world, PACKAGE, admin))["data"]["versions"]:
        assert (await call(world, "DELETE", f"{PACKAGE}/versions/{item['version']}", admin)).status == 200
    package = (await read(world, PACKAGE, admin))["data"]

    assert (package["versions"], package["latest_version"]) == ([], None)
    assert await world.versions("acme/library", admin) == {}
    assert (await read(world, f"{PACKAGE}/downloads", admin))["data"]["total"] == 1


async def test_delete_package(world: World, admin: str) -> None:
    """It is gone from every list, with its documents and archives; the repository is followed as before."""
    await world.get("/packages/acme/library/v1.0.0.zip", admin)
    repositories = (await read(world, f"{ORG}/repositories", admin))["data"]
    root = await modified(world, "/packages.json", admin)
    reply = await call(world, "DELETE", PACKAGE, admin)

    assert (reply.status, reply.json) == (200, {"message": "Package deleted successfully"})
    refusal(await call(world, "GET", PACKAGE, admin), 404)
    refusal(await call(world, "DELETE", PACKAGE, admin), 404)
    names = [item["name"] for item in (await read(world, f"{ORG}/packages", admin))["data"]]
    assert names == ["acme/plugin", "beta/tools"]
    assert (await world.get("/packages.json", admin)).json["available-packages"] == names
    assert root < await modified(world, "/packages.json", admin)
    for path in ("/p2/acme/library.json", "/packages/acme/library/v1.0.0.zip"):
        error(await world.ask(path, admin), 404)
    assert world.kept() == []
    assert repositories == (await read(world, f"{ORG}/repositories", admin))["data"]


async def test_a_package_that_comes_back_is_new_to_everyone(
    world: World, admin: str, upstream: GitRepository
) -> None:
    """The next commit brings it back, with later dates than any that it had, and without its history."""
    upstream.commit(LIBRARY | {"name": "acme/words"})
    await world.follow(upstream)
    path = "/p2/acme/words~dev.json"
    for number in range(3):
        upstream.commit(files={"a.txt": str(number)})
        await world.sync(upstream)
    before = await modified(world, path, admin)
    await call(world, "DELETE", f"{ORG}/packages/acme/words", admin)
    await world.sync(upstream)
    error(await world.ask(path, admin), 404)
    upstream.commit(files={"a.txt": "new"})
    await world.sync(upstream)

    assert before < await modified(world, path, admin)
    (version,) = (await world.versions("acme/words", admin)).values()
    assert version["dist"]["reference"] == upstream.head()


async def test_a_restricted_token_deletes_within_its_packages(world: World, restricted: str, admin: str) -> None:
    """What it does not see it cannot delete: that is as what isn't there."""
    missing = refusal(await call(world, "DELETE", f"{ORG}/packages/acme/missing", restricted), 404)
    plugin = (await read(world, f"{ORG}/packages/acme/plugin", admin))["data"]
    for address in ("acme/plugin", "acme%2Fplugin", plugin["id"]):
        for below in ("", "/versions/dev-main"):
            path = f"{ORG}/packages/{address}{below}"
            assert missing == refusal(await call(world, "DELETE", path, restricted), 404)
        for below in ("/versions", "/downloads"):
            assert missing == refusal(
                await call(world, "GET", f"{ORG}/packages/{address}{below}", restricted), 404
            )
    assert (await read(world, f"{ORG}/packages/acme/plugin", admin))["data"] == plugin

    assert (await call(world, "DELETE", f"{PACKAGE}/versions/v1.0.0", restricted)).status == 200
    assert (await call(world, "DELETE", PACKAGE, restricted)).status == 200


async def test_to_read_is_not_to_delete(world: World) -> None:
    """packages:write deletes and reads nothing; every other scope deletes nothing."""
    writer = await world.token(scopes=("packages:write",))
    others = await world.token(scopes=tuple(scope for scope in ALL if scope != "packages:write"))
    refusal(await call(world, "GET", f"{PACKAGE}/versions", writer), 403)
    refusal(await call(world, "DELETE", PACKAGE, others), 403)
    refusal(await call(world, "DELETE", f"{PACKAGE}/versions/v1.0.0", others), 403)
    assert (await call(world, "DELETE", f"{PACKAGE}/versions/v1.0.0", writer)).status == 200


@pytest.mark.parametrize("path", [PACKAGE, f"{PACKAGE}/versions/v1.0.0"])
async def test_of_many_who_delete_one_does(world: World, admin: str, path: str) -> None:
    """Whoever comes second finds nothing, and nothing fails."""
    replies = await asyncio.gather(*(call(world, "DELETE", path, admin) for _ in range(5)))

    assert sorted(reply.status for reply in replies) == [200, 404, 404, 404, 404]


# Downloads


async def test_downloads_by_day_and_by_version(world: World, admin: str) -> None:
    """Each day of the period is there, with the versions that were installed; all-time is more than the period."""
    await install(world, admin, v1_0_0_0=3)
    backdate(world, "v1.0.0", today() - timedelta(days=40))
    await install(world, admin, v1_0_0_0=1, **{"v1_1_0_0-beta1": 2})
    backdate(world, "1.1.0-beta1", today() - timedelta(days=29))
    found = (await read(world, f"{PACKAGE}/downloads", admin))["data"]

    first = today() - timedelta(days=29)
    assert (found["total"], found["from"], found["to"]) == (6, first.isoformat(), today().isoformat())
    dates = [(first + timedelta(days=number)).isoformat() for number in range(30)]
    assert [item["date"] for item in found["days"]] == dates
    none = {"archives": 0, "archive_versions": {}}
    assert {item["date"]: item for item in found["days"] if item["downloads"]} == {
        dates[0]: {"date": dates[0], "downloads": 2, "versions": {"1.1.0-beta1": 2}} | none,
        dates[-1]: {"date": dates[-1], "downloads": 1, "versions": {"v1.0.0": 1}} | none,
    }
    assert found["versions"] == [
        {"version": "1.1.0-beta1", "downloads": 2, "archives": 0},
        {"version": "v1.0.0", "downloads": 1, "archives": 0},
    ]


async def test_archives_are_counted_apart_from_installs(world: World, admin: str) -> None:
    """By day and version too: what only one of the two has is shown with 0 of the other."""
    await install(world, admin, v1_0_0_0=1, **{"v1_1_0_0-beta1": 1})
    for version in ("v1.0.0", "1.0", "dev-main"):
        await world.get(f"/packages/acme/library/{version}.zip", admin)
    await read(world, PACKAGE, admin)  # on the same connection: what was asked before is done, not only here
    await world.store.usage.flush()
    found = (await read(world, f"{PACKAGE}/downloads", admin))["data"]

    assert (found["total"], found["total_archives"]) == (2, 3)
    assert found["days"][-1] == {
        "date": today().isoformat(),
        "downloads": 2,
        "archives": 3,
        "versions": {"1.1.0-beta1": 1, "v1.0.0": 1},
        "archive_versions": {"dev-main": 1, "v1.0.0": 2},
    }
    assert found["versions"] == [
        {"version": "v1.0.0", "downloads": 1, "archives": 2},
        {"version": "1.1.0-beta1", "downloads": 1, "archives": 0},
        {"version": "dev-main", "downloads": 0, "archives": 1},
    ]
    only = (await read(world, f"{PACKAGE}/downloads?version=dev-main", admin))["data"]
    assert (only["total"], only["total_archives"]) == (0, 1)


@pytest.mark.parametrize("version", ["v1.0.0", "1.0", "1.0.0.0"])
async def test_downloads_of_a_version(world: World, admin: str, version: str) -> None:
    """A version is asked for by any of its forms, also after it was deleted by the one that it was shown by."""
    await install(world, admin, v1_0_0_0=2, **{"v1_1_0_0-beta1": 5})
    found = (await read(world, f"{PACKAGE}/downloads?version={version}", admin))["data"]
    await call(world, "DELETE", f"{PACKAGE}/versions/v1.0.0", admin)

    assert (found["total"], found["versions"]) == (2, [{"version": "v1.0.0", "downloads": 2, "archives": 0}])
    assert found["days"][-1]["versions"] == {"v1.0.0": 2}
    assert (await read(world, f"{PACKAGE}/downloads?version=v1.0.0", admin))["data"] == found


async def test_what_was_just_installed_is_counted_within_seconds(world: World, admin: str) -> None:
    """What is only in memory shows once it was written, which the server does every second."""
    body = b'{"downloads": [{"name": "acme/library", "version": "1.0.0.0"}]}'
    await world.ask("/downloads", admin, method="POST", body=body)

    async def counted() -> bool:
        return bool((await read(world, f"{PACKAGE}/downloads", admin))["data"]["total"])

    await eventually(counted, "the install is counted")


async def test_the_downloads_of_a_deleted_package_are_gone(world: World, admin: str) -> None:
    """A package that has its name later begins at nothing."""
    await install(world, admin, v1_0_0_0=2)
    await call(world, "DELETE", PACKAGE, admin)
    acme = await world.store.organizations.get("acme")
    await publish(world.store, await follow(world.store, acme, "library"), released(reference="c" * 40))

    assert (await read(world, f"{PACKAGE}/downloads", admin))["data"]["total"] == 0


@pytest.mark.parametrize(
    ("query", "first", "last", "days"),
    [
        ("from=2026-01-01&to=2026-01-01", "2026-01-01", "2026-01-01", 1),
        ("from=2024-01-01&to=2024-12-31", "2024-01-01", "2024-12-31", 366),
        ("to=2026-03-01", "2026-01-31", "2026-03-01", 30),
        ("to=0001-01-02", "0001-01-01", "0001-01-02", 2),
        ("from=9999-12-01&to=9999-12-31", "9999-12-01", "9999-12-31", 31),
    ],
)
async def test_a_period_is_given_by_its_days(
    world: World, admin: str, query: str, first: str, last: str, days: int
) -> None:
    """Both ends are included; without a beginning it is thirty days."""
    found = (await read(world, f"{PACKAGE}/downloads?{query}", admin))["data"]

    assert (found["from"], found["to"], len(found["days"])) == (first, last, days)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=2026-01-02&to=2026-01-01", "to"),
        ("from=9999-01-01", "from"),
        ("from=2025-01-01&to=2026-01-02", "from"),
        ("from=2000-01-01", "from"),
        ("from=x&to=2026-01-01", "from"),
        ("from=", "from"),
        ("to=2026-W01-1", "to"),
        ("to=20260101", "to"),
        ("to=2026-02-30", "to"),
        ("to=2026-01-01T00:00:00Z", "to"),
        ("version=9.9.9", "version"),
        ("version=", "version"),
    ],
)
async def test_a_period_that_cannot_be_is_refused(world: World, admin: str, query: str, field: str) -> None:
    """422 names the field that is wrong."""
    _, errors = refusal(await call(world, "GET", f"{PACKAGE}/downloads?{query}", admin), 422)

    assert set(errors) == {field}


async def test_each_package_has_its_own_downloads(world: World, admin: str) -> None:
    """Installs of one package are nothing to another."""
    await install(world, admin, v1_0_0_0=2)
    found: Any = await read(world, f"{ORG}/packages/acme/plugin/downloads", admin)

    assert (found["data"]["total"], found["data"]["versions"]) == (0, [])
