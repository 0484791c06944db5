"""Who may see what: tokens, scopes, organizations and restrictions to packages."""

import base64
from types import SimpleNamespace

import pytest

from pricore.auth.access_tokens import create_secret, hash_secret
from pricore.store import Store
from pricore.system.clock import now
from tests.web.composer.harness import Start, World, error

ROUTES = [
    ("GET", "/packages.json", "/packages.json"),
    ("GET", "/p2/{vendor}/{package}.json", "/p2/acme/library.json"),
    ("GET", "/packages/{vendor}/{package}/{version}.zip", "/packages/acme/library/v1.0.0.zip"),
    ("GET", "/list.json", "/list.json"),
    ("GET", "/search.json", "/search.json?q=words"),
    ("GET", "/providers/{vendor}/{package}.json", "/providers/psr/log-implementation.json"),
    ("GET", "/security-advisories", "/security-advisories?packages[0]=acme/library"),
    ("POST", "/security-advisories", "/security-advisories"),
    ("POST", "/downloads", "/downloads"),
]
every_route = pytest.mark.parametrize(("method", "path"), [(method, path) for method, _, path in ROUTES])


async def test_the_tests_know_every_route(world: World, secret: str) -> None:
    """No route goes untested: each answers a good token."""
    routes = {
        (route.method, route.resource.canonical.removeprefix("/org/{organization}"))
        for route in world.client.app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/org/") and route.method != "HEAD"
    }

    pages = {("GET", ""), ("GET", "/")}  # for browsers: the same for everybody
    assert {(method, route) for method, route, _ in ROUTES} | pages == routes
    statuses = {
        path: (await world.ask(path, secret, method=method, body=b'{"downloads": []}')).status
        for method, _, path in ROUTES
    }
    assert {200, 204} == set(statuses.values())


@every_route
async def test_nothing_is_there_without_a_token(world: World, method: str, path: str) -> None:
    """A request without a token is 401 and says how to send one, wherever it goes."""
    for org in ("acme", "missing"):
        reply = await world.ask(path, method=method, org=org)

        assert "access token" in error(reply, 401)
        assert reply.headers["WWW-Authenticate"].startswith("Basic realm=")


@every_route
async def test_a_wrong_token_opens_nothing(world: World, method: str, path: str) -> None:
    """A token that is unknown, mistyped or sent in a malformed header is 401, and is not repeated."""
    secret = create_secret()
    for header in (
        *(f"Bearer {secret}", f"Bearer {secret[:-1]}", f"Digest {secret}", secret, "Bearer", ""),
        *("Basic %%%", "Basic \u00e9", "Basic " + base64.b64encode(f"a:{secret}".encode()).decode()),
    ):
        reply = await world.ask(path, method=method, headers={"Authorization": header})

        assert secret[:20] not in error(reply, 401)
        assert reply.headers["WWW-Authenticate"].startswith("Basic realm=")


@every_route
async def test_an_expired_token_opens_nothing(world: World, method: str, path: str) -> None:
    """A token is 401 from the second of its expiry on."""
    reply = await world.ask(path, await world.token(expires_at=now() - 1), method=method)

    assert "expired" in error(reply, 401)
    assert "WWW-Authenticate" in reply.headers


@every_route
async def test_another_organizations_token_finds_nothing(world: World, method: str, path: str) -> None:
    """What belongs to another organization is 404, as what doesn't exist."""
    secret = await world.token(org="other")
    there = await world.ask(path, secret, method=method)
    nowhere = await world.ask(path, secret, method=method, org="missing")

    assert error(there, 404) == error(nowhere, 404)


@every_route
async def test_a_token_without_the_scope_is_told_which(world: World, method: str, path: str) -> None:
    """A token that may not read packages is 403, with the scope that it lacks."""
    reply = await world.ask(path, await world.token(scopes=("tokens:read", "packages:write")), method=method)

    assert "packages:read" in error(reply, 403)


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "token:{}", "{}:", "{}:x-oauth-basic", ":{}"])
async def test_a_token_is_taken_in_every_form(world: World, secret: str, form: str) -> None:
    """Bearer, the password of Basic and its user name are equally good."""
    text = form.format(secret)
    header = text if " " in text else "Basic " + base64.b64encode(text.encode()).decode()

    assert (await world.ask("/packages.json", headers={"Authorization": header})).status == 200


async def test_a_token_expires_while_it_is_in_use(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The expiry counts for tokens that were good a moment ago."""
    secret = await world.token(expires_at=now() + 1000)
    await world.get("/p2/acme/library.json", secret)
    monkeypatch.setattr("pricore.web.http.admission.time", SimpleNamespace(time=lambda: now() + 1000.0))

    error(await world.ask("/p2/acme/library.json", secret), 401)


async def test_a_token_that_was_revoked_elsewhere_is_refused_at_once(world: World, secret: str) -> None:
    """A token that the command line revokes is refused by the very next request, though it was good before."""
    await world.get("/p2/acme/library.json", secret)
    async with Store(world.config.database) as other:
        organization = await other.organizations.get("acme")
        (token,) = await other.tokens.of_organization(organization.id)
        await other.tokens.revoke(organization, token.id)

    for _, _, path in ROUTES[:3]:
        error(await world.ask(path, secret), 401)


async def test_the_use_of_a_token_is_noted(world: World, secret: str) -> None:
    """A token shows when it was used last, without a write for each request."""
    await world.get("/packages.json", secret)
    await world.store.usage.flush()
    token = await world.store.tokens.find(hash_secret(secret))
    assert token is not None
    assert token.last_used_at is not None

    assert abs(now() - token.last_used_at) < 60


async def test_a_restricted_token_sees_its_packages_alone(start: Start) -> None:
    """In packages.json, lists, search, providers and advisories a restriction leaves nothing else to be seen."""
    world = await start()
    secret = await world.token(packages=["acme/library"])
    root = (await world.get("/packages.json", secret)).json
    asked = "&".join(f"packages[]={name}" for name in ("acme/library", "acme/plugin", "beta/tools"))

    assert root["available-packages"] == ["acme/library"]
    assert list(root["packages"]) == ["acme/library"]
    assert (await world.get("/list.json", secret)).json == {"packageNames": ["acme/library"]}
    found = (await world.get("/search.json?q=words", secret)).json
    assert ([item["name"] for item in found["results"]], found["total"]) == (["acme/library"], 1)
    providers = (await world.get("/providers/psr/log-implementation.json", secret)).json["providers"]
    assert [item["name"] for item in providers] == ["acme/library"]
    for method, path, body in (
        ("GET", f"/security-advisories?{asked}", None),
        ("POST", "/security-advisories", asked),
    ):
        assert (await world.get(path, secret, method=method, body=body)).json == {
            "advisories": {"acme/library": []}
        }


async def test_a_restricted_token_finds_nothing_of_the_rest(world: World) -> None:
    """What a restriction hides is 404 in the words for what doesn't exist, archives and commits included."""
    secret = await world.token(packages=["acme/library"])
    hidden = (await world.versions("acme/plugin"))["dev-main"]["dist"]
    missing = error(await world.ask("/p2/acme/missing.json", secret), 404)
    paths = [
        *("/p2/acme/plugin.json", "/p2/acme/plugin~dev.json", "/p2/beta/tools.json", "/p2/ACME/plugin.json"),
        *("/packages/acme/plugin/dev-main.zip", "/packages/beta/tools/1.0.0.zip", hidden["url"]),
        f"/packages/acme/library/dev-main/{hidden['reference']}.zip",
    ]

    assert [missing] * len(paths) == [error(await world.ask(path, secret), 404) for path in paths]
    error(await world.ask("/providers/acme/nothing.json", secret), 404)
    await world.get("/p2/acme/library.json", secret)
    await world.get("/p2/acme/library~dev.json", secret)
    await world.get("/packages/acme/library/v1.0.0.zip", secret)


async def test_a_hidden_package_stays_hidden_after_others_saw_it(world: World) -> None:
    """An answer that is kept for one token is not given to another that may not see it."""
    await world.get("/p2/acme/plugin~dev.json")
    await world.get("/packages/acme/plugin/dev-main.zip")
    secret = await world.token(packages=["acme/library"])

    error(await world.ask("/p2/acme/plugin~dev.json", secret), 404)
    error(await world.ask("/packages/acme/plugin/dev-main.zip", secret), 404)


async def test_a_token_that_sees_nothing_asks_for_nothing(world: World) -> None:
    """packages.json without any package has a pattern that no name fits: an empty list would mean every name."""
    root = (await world.get("/packages.json", await world.token(packages=[]))).json

    assert "available-packages" not in root
    assert root["available-package-patterns"] == ["-/-"]
    assert not root["packages"]


@pytest.mark.parametrize("path", ["/packages.json", "/p2/acme/plugin.json", "/p2/acme/plugin~dev.json"])
async def test_access_is_checked_before_dates(world: World, path: str) -> None:
    """Who may not see a document isn't told either that it is unchanged."""
    date = {"If-Modified-Since": (await world.get(path)).headers["Last-Modified"]}

    error(await world.ask(path, headers=date), 401)
    error(await world.ask(path, create_secret(), headers=date), 401)
    error(await world.ask(path, await world.token(expires_at=now()), headers=date), 401)
    error(await world.ask(path, await world.token(scopes=()), headers=date), 403)
    error(await world.ask(path, await world.token(org="other"), headers=date), 404)
    restricted = await world.ask(path, await world.token(packages=["acme/library"]), headers=date)
    assert restricted.status == (200 if path == "/packages.json" else 404)
