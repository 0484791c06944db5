"""Rules on versions: whatever is asked, nothing else is there, and what is left out is refused in words."""

import random
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from pricore.composer.versions import normalize
from pricore.system.clock import now
from tests.harness import GitRepository
from tests.rules import layers, rights
from tests.web.composer.harness import Start, Template, World, error, pack

LIBRARY = "acme/library"
RELEASES = ["1.2.0+build.5", "1.1.0-beta1", "v1.0.0"]
BRANCHES = ["dev-main", "dev-feature/x", "dev-a+b"]
RULES = ["acme/library", "acme/library:^1.1", "acme/library:dev-main", "acme/*", "acme/*:<1.1", "beta/tools:^2"]


async def narrowed(world: World, *rules: str) -> str:
    return await world.token(packages=rules)


@pytest.mark.parametrize(
    ("rule", "shown"),
    [
        ("acme/library", {*RELEASES, *BRANCHES}),
        ("acme/*", {*RELEASES, *BRANCHES}),
        ("acme/library:^1.1", {"1.2.0+build.5", "1.1.0-beta1"}),
        ("acme/library:^1.2", {"1.2.0+build.5"}),
        ("acme/library:^1.0 || dev-main", {"1.2.0+build.5", "v1.0.0", "1.1.0-beta1", "dev-main"}),
        ("acme/*:<1.1", {"v1.0.0"}),
        ("acme/library:^7", set()),
    ],
)
async def test_metadata_has_the_versions_of_the_rule(world: World, rule: str, shown: set[str]) -> None:
    """As the whole has them, but for the source; a package without any stays, so that nobody else supplies it."""
    whole = await world.versions(LIBRARY)
    secret = await narrowed(world, rule)
    found = await world.versions(LIBRARY, secret)

    assert set(found) == shown
    for version, entry in found.items():
        assert entry == {key: value for key, value in whole[version].items() if key != "source"}
    assert (await world.get("/list.json", secret)).json["packageNames"][0] == LIBRARY
    assert LIBRARY in (await world.get("/packages.json", secret)).json["available-packages"]


async def test_versions_inside_are_those_of_the_rules(start: Start) -> None:
    """Rules on names leave them inside packages.json, without sources; rules on versions never do."""
    world = await start()
    whole = (await world.get("/packages.json")).json["packages"]
    by_name = (await world.get("/packages.json", await narrowed(world, "acme/*"))).json["packages"]
    assert set(by_name) == {"acme/library", "acme/plugin"}
    for name, versions in by_name.items():
        for version, entry in versions.items():
            assert entry == {key: value for key, value in whole[name][version].items() if key != "source"}
    assert not (await world.get("/packages.json", await narrowed(world, "acme/library:^1"))).json["packages"]


async def test_an_archive_that_a_rule_leaves_out_is_refused_in_words(world: World) -> None:
    """It says what the token has; what isn't there, and what is of another package, is as if it were nothing."""
    secret = await narrowed(world, "acme/library:^1.2")
    await world.get("/packages/acme/library/1.2.0+build.5.zip", secret)
    for version in ("v1.0.0", "1.0.0", "1.1.0-beta1", "dev-main", "3.0.0"):
        message = error(await world.ask(f"/packages/acme/library/{version}.zip", secret), 403)
        assert message == f"acme/library {version} is not for this access token: it has ^1.2"
    missing = error(await world.ask("/packages/acme/library/1.9.9.zip", secret), 404)
    hidden = error(await world.ask("/packages/beta/tools/1.0.0.zip", secret), 404)
    assert missing == hidden
    # however often others have it, and from memory
    for _ in range(3):
        await world.get("/packages/acme/library/v1.0.0.zip")
        error(await world.ask("/packages/acme/library/v1.0.0.zip", secret), 403)
        await world.get("/packages/acme/library/1.2.0+build.5.zip", secret)


async def test_a_commit_is_for_who_sees_what_leads_to_it(world: World, template: Template) -> None:
    """A pinned one is given with the branch that it is on, or a version made of it, and else isn't there."""
    main = (await world.versions(LIBRARY))["dev-main"]["dist"]["reference"]
    other = (await world.versions(LIBRARY))["dev-feature/x"]["dist"]["reference"]
    branch = await narrowed(world, "acme/library:dev-main")
    release = await narrowed(world, "acme/library:^1.1")
    path = "/packages/acme/library/dev-main"

    for commit in (main, template.between, template.between[:12]):
        await world.get(f"{path}/{commit}.zip", branch)
        error(await world.ask(f"{path}/{commit}.zip", release), 404)
    error(await world.ask(f"{path}/{other}.zip", branch), 404)
    both = await narrowed(world, "acme/library:dev-main || dev-feature/x")
    await world.get(f"{path}/{other}.zip", both)
    made = (await world.versions(LIBRARY))["1.2.0+build.5"]["dist"]["reference"]
    await world.get(f"{path}/{made}.zip", release)


async def test_what_was_published_later_is_left_out(world: World) -> None:
    """By when it was first served here; what moves counts anew, and words tell of it."""
    acme = await world.store.organizations.get("acme")
    published = {}
    for version in await world.store.packages.versions(await world.store.packages.get(acme, LIBRARY)):
        published[version.version] = version.published_at
    (at,) = {*published.values()}
    assert at is not None
    for before, shown in ((at, set()), (at + 1, {*RELEASES, *BRANCHES})):
        secret = await world.token(rules=layers([LIBRARY], before=before))
        assert set(await world.versions(LIBRARY, secret)) == shown
        reply = await world.ask("/packages/acme/library/v1.0.0.zip", secret)
        assert reply.status == (200 if shown else 403)
    message = error(
        await world.ask("/packages/acme/library/v1.0.0.zip", await world.token(rules=layers([LIBRARY], before=5))),
        403,
    )
    assert message.endswith("it has what was published before 1970-01-01T00:00:05Z")


async def test_lists_tell_of_the_versions_that_are_seen(world: World, upstream: GitRepository) -> None:
    """Descriptions, types and provided names are those of what is left, as if there were nothing else."""
    upstream.commit({"name": "acme/changing", "description": "first words", "provide": {"psr/first": "1"}})
    upstream.tag("1.0.0")
    upstream.commit({"name": "acme/changing", "description": "secret words", "provide": {"psr/second": "1"}})
    upstream.tag("2.0.0")
    await world.follow(upstream)
    secret = await narrowed(world, "acme/changing:^1")

    (found,) = (await world.get("/search.json?q=changing", secret)).json["results"]
    assert found["description"] == "first words"
    assert (await world.get("/search.json?q=secret", secret)).json["total"] == 0
    (provider,) = (await world.get("/providers/psr/first.json", secret)).json["providers"]
    assert provider["description"] == "first words"
    error(await world.ask("/providers/psr/second.json", secret), 404)
    await world.get("/providers/psr/second.json")


async def test_a_hidden_version_moves_no_date(world: World, upstream: GitRepository) -> None:
    """p2 and packages.json stay 304 while versions come that a rule leaves out, and move with its own."""
    upstream.commit({"name": "acme/late"})
    upstream.tag("1.0.0")
    await world.follow(upstream)
    secret = await narrowed(world, "acme/late:^1")
    paths = ("/p2/acme/late.json", "/p2/acme/late~dev.json", "/packages.json")
    dates = {path: (await world.get(path, secret)).headers["Last-Modified"] for path in paths}
    assert all(abs(parsedate_to_datetime(date).timestamp() - now()) < 120 for date in dates.values())

    upstream.commit({"name": "acme/late"}, files={"a": "b"})
    upstream.tag("2.0.0")
    await world.sync(upstream)
    for path, date in dates.items():
        reply = await world.ask(path, secret, headers={"If-Modified-Since": date})
        assert (reply.status, reply.headers["Last-Modified"]) == (304, date)

    upstream.tag("1.1.0")
    await world.sync(upstream)
    reply = await world.ask(paths[0], secret, headers={"If-Modified-Since": dates[paths[0]]})
    assert reply.status == 200
    assert parsedate_to_datetime(reply.headers["Last-Modified"]) > parsedate_to_datetime(dates[paths[0]])
    for path in paths[1:]:
        assert (await world.ask(path, secret, headers={"If-Modified-Since": dates[path]})).status == 304


@pytest.mark.parametrize("inline", [True, False])
async def test_any_rules_give_what_is_left_of_the_whole(start: Start, inline: bool) -> None:
    """Whatever the rules: each endpoint is the whole one filtered, and no date of one view is another's."""
    world = await start(**({} if inline else {"inline_limit": 0}))
    names = ["acme/library", "acme/plugin", "beta/tools"]
    whole = {name: await world.versions(name) for name in names}
    chance = random.Random(20261201)
    given: dict[str, dict[str, set[str]]] = {}
    for _ in range(25):
        rules = chance.sample(RULES, chance.randint(0, 3))
        secret, seen = await narrowed(world, *rules), rights(*rules)
        left: dict[str, Any] = {}
        for name in names:
            view = seen.view(name)
            if view is None:
                error(await world.ask(f"/p2/{name}.json", secret), 404)
                continue
            left[name] = {v for v, entry in whole[name].items() if view.admits(normalize(v), None)}
            found = await world.versions(name, secret)
            assert {v: {**entry} for v, entry in found.items()} == {
                v: {key: value for key, value in whole[name][v].items() if key != "source"} for v in left[name]
            }
            for version, entry in whole[name].items():
                reply = await world.ask(entry["dist"]["url"], secret)
                assert reply.status == (
                    200 if version in left[name] else 403 if not version.startswith("dev-") else 404
                )
        root = await world.get("/packages.json", secret)
        assert root.json.get("available-packages", []) == [*left]
        carried = {name: {*found} for name, found in root.json["packages"].items()}
        by_name = all((view := seen.view(name)) is not None and view.has_all for name in left)
        assert carried == ({name: found for name, found in left.items() if found} if inline and by_name else {})
        for path in ("/packages.json", *(f"/p2/{name}{half}.json" for name in left for half in ("", "~dev"))):
            reply = await world.get(path, secret)
            given.setdefault(path, {}).setdefault(reply.headers["Last-Modified"], set()).add(reply.body.decode())
    for path, dates in given.items():
        dates.setdefault((await world.get(path)).headers["Last-Modified"], set()).add(
            (await world.get(path)).body.decode()
        )
        assert all(len(bodies) == 1 for bodies in dates.values()), path


async def test_what_was_uploaded_is_seen_by_its_version(world: World) -> None:
    """An archive of an upload, which is of no commit, is given with the versions of the rule alone."""
    admin = await world.token(scopes=("packages:write",))
    for version in ("1.0.0", "2.0.0", "dev-main"):
        content = pack({"composer.json": f'{{"name": "acme/up", "version": "{version}"}}'})
        reply = await world.ask(
            world.base + "/api/organizations/acme/packages", admin, method="POST", body=content
        )
        assert reply.status == 201
    urls = {version: entry["dist"]["url"] for version, entry in (await world.versions("acme/up")).items()}
    secret = await narrowed(world, "acme/up:^1 || dev-main")
    found = {version: (await world.ask(url, secret)).status for version, url in urls.items()}
    assert found == {"1.0.0": 200, "dev-main": 200, "2.0.0": 403}
