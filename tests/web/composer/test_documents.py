"""A package's metadata: its two halves, what they say of a version, and how they follow upstream."""

import re
from email.utils import parsedate_to_datetime

import pytest

from tests.harness import GitRepository
from tests.web.composer.harness import DEV, STABLE, World, error, shasum


async def test_stable_and_dev_versions_are_two_documents(world: World) -> None:
    """Releases with alphas and betas are in one half, branches in the other, newest first, minified."""
    stable = (await world.get("/p2/acme/library.json")).json
    dev = (await world.get("/p2/acme/library~dev.json")).json

    assert [item["version"] for item in stable["packages"]["acme/library"]] == STABLE
    assert {item["version"] for item in dev["packages"]["acme/library"]} == DEV
    for document in (stable, dev):
        assert document["minified"] == "composer/2.0"
        assert list(document["packages"]) == ["acme/library"]


async def test_a_version_says_what_composer_needs(world: World) -> None:
    """A version has its archive with commit and checksum, its times and its requirements."""
    entry = (await world.versions("acme/library"))["v1.0.0"]
    dist = entry.pop("dist")

    assert entry == {
        "name": "acme/library",
        "version": "v1.0.0",
        "version_normalized": "1.0.0.0",
        "description": "Words for everyone",
        "type": "library",
        "time": entry["time"],
        "published-time": entry["published-time"],
        "require": {"php": ">=8.1"},
        "provide": {"psr/log-implementation": "1.0"},
    }
    for time in (entry["time"], entry["published-time"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", time)
    assert f"{world.base}/org/acme/packages/acme/library/v1.0.0.zip" == dist["url"]
    assert (dist["type"], len(dist["reference"]), len(dist["shasum"])) == ("zip", 40, 40)


@pytest.mark.parametrize("name", ["acme/plugin.json", "beta/tools~dev.json"])
async def test_an_empty_half_is_there(world: World, name: str) -> None:
    """The half without versions is 200 and empty: 404 would let another repository supply the name."""
    document = (await world.get(f"/p2/{name}")).json

    assert {re.split("[~.]", name)[0]: []} == document["packages"]


@pytest.mark.parametrize(
    "name",
    ["acme/missing", "missing/library", "acme/missing~dev", "acme/library~DEV", "acme/library~", "~dev/~dev"],
)
async def test_an_unknown_package_is_not_there(world: World, secret: str, name: str) -> None:
    """A name that isn't here is 404, and Composer goes on with its other repositories."""
    error(await world.ask(f"/p2/{name}.json", secret), 404)


async def test_capitals_in_a_name_make_no_difference(world: World) -> None:
    """Metadata, archives and providers are found by a name in any case, restricted or not."""
    secret = await world.token(packages=["acme/library"])
    document = (await world.get("/p2/Acme/LIBRARY.json", secret)).json

    assert list(document["packages"]) == ["acme/library"]
    assert (await world.get("/p2/ACME/library.json", secret)).json == document
    await world.get("/packages/Acme/Library/v1.0.0.zip", secret)
    await world.get("/providers/Psr/Log-Implementation.json", secret)


async def test_what_is_synced_is_served_by_the_next_request(
    world: World, secret: str, upstream: GitRepository
) -> None:
    """A new version is in the answers as soon as its sync has ended, under a later date."""
    upstream.commit({"name": "acme/new"})
    before = await world.get("/packages.json", secret)
    error(await world.ask("/p2/acme/new.json", secret), 404)
    await world.follow(upstream)
    first = await world.get("/p2/acme/new.json", secret)
    upstream.tag("1.0.0")
    await world.sync(upstream)
    second = await world.get("/p2/acme/new.json", secret)
    after = await world.get("/packages.json", secret)

    assert "acme/new" in after.json["available-packages"]
    assert [item["version"] for item in second.json["packages"]["acme/new"]] == ["1.0.0"]
    for old, new in ((before, after), (first, second)):
        assert parsedate_to_datetime(old.headers["Last-Modified"]) < parsedate_to_datetime(
            new.headers["Last-Modified"]
        )


async def test_a_package_that_was_renamed_is_served_under_its_old_name(
    world: World, upstream: GitRepository
) -> None:
    """After a rename upstream the old name goes on, marked abandoned in favour of the new, archives included."""
    upstream.commit({"name": "acme/old", "description": "Renamed"})
    upstream.tag("1.0.0")
    await world.follow(upstream)
    before = await world.versions("acme/old")
    upstream.commit({"name": "acme/renamed", "description": "Renamed"})
    upstream.tag("1.1.0")
    await world.sync(upstream)
    after = await world.versions("acme/old")

    assert set(before) == set(after)
    assert {"acme/renamed"} == {entry.get("abandoned") for entry in after.values()}
    for version, entry in before.items():
        assert entry["dist"] == after[version]["dist"]
        archive = await world.get(entry["dist"]["url"])
        assert entry["dist"].get("shasum") in (None, shasum(archive.body))
    renamed = await world.versions("acme/renamed")
    assert {"1.0.0", "1.1.0", "dev-main"} == set(renamed)
    assert {None} == {entry.get("abandoned") for entry in renamed.values()}
    found = (await world.get("/search.json?q=renamed")).json["results"]
    assert {item["name"]: item.get("abandoned") for item in found} == {
        "acme/old": "acme/renamed",
        "acme/renamed": None,
    }
    assert {"acme/old", "acme/renamed"} <= set((await world.get("/packages.json")).json["available-packages"])
