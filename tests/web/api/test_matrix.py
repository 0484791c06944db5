"""Every route with every kind of credential: who gets an answer, and who is told what instead."""

import re
import secrets
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from pricore.auth.access_tokens import create_secret
from pricore.hosts.addresses import parse_address
from pricore.models import SCOPES, LockedPackage
from pricore.server import SERVER
from pricore.system.clock import now
from tests.rules import token_name
from tests.store.harness import follow, publish, released
from tests.web.api.harness import ALL, ORG, call, instance_token, read, refusal, repository_id, token_id
from tests.web.composer.harness import World, error, pack
from tests.web.composer.test_access import ROUTES

UPLOAD = pack({"composer.json": '{"name": "acme/uploaded", "version": "1.0.0"}'})
LOCK = {
    "packages": [
        {
            "name": "acme/library",
            "version": "1.0.0",
            "dist": {"url": "http://127.0.0.1/org/acme/packages/acme/library/1.0.0.zip"},
        }
    ]
}


class Row(NamedTuple):
    """A route as it is asked: `path` with {repository} and {token} for what has to be there, and JSON or a zip.

    `scope` is written here again, so that a change of it is seen. `restricted` is the status for a token that is
    restricted to acme/library, None for that of the others; `instance_only` means 403 for organizations' tokens.
    """

    path: str
    scope: str | None
    status: int = 200
    document: Any = None
    answers_other: bool = False
    restricted: int | None = None
    instance_only: bool = False


ROWS = {
    ("GET", "/api/organizations"): Row("/api/organizations", "organizations:read", answers_other=True),
    ("POST", "/api/organizations"): Row(
        "/api/organizations",
        "organizations:write",
        201,
        {"name": "made"},
        answers_other=True,
        instance_only=True,
    ),
    ("GET", "/api/organizations/{slug}"): Row(ORG, "organizations:read"),
    ("PATCH", "/api/organizations/{slug}"): Row(
        ORG, "organizations:write", 200, {"name": "changed"}, restricted=403
    ),
    ("DELETE", "/api/organizations/{slug}"): Row(ORG, "organizations:write", restricted=403),
    ("GET", "/api/token"): Row("/api/token", None, answers_other=True),
    ("GET", "/api/organizations/{slug}/packages"): Row(f"{ORG}/packages", "packages:read"),
    ("POST", "/api/organizations/{slug}/packages"): Row(
        f"{ORG}/packages", "packages:write", 201, UPLOAD, restricted=403
    ),
    ("GET", "/api/organizations/{slug}/packages/{package}"): Row(f"{ORG}/packages/acme/library", "packages:read"),
    ("DELETE", "/api/organizations/{slug}/packages/{package}"): Row(
        f"{ORG}/packages/acme/library", "packages:write"
    ),
    ("GET", "/api/organizations/{slug}/packages/{package}/versions"): Row(
        f"{ORG}/packages/acme/library/versions", "packages:read"
    ),
    ("DELETE", "/api/organizations/{slug}/packages/{package}/versions/{version}"): Row(
        f"{ORG}/packages/acme/library/versions/9.9.9", "packages:write"
    ),
    ("GET", "/api/organizations/{slug}/packages/{package}/downloads"): Row(
        f"{ORG}/packages/acme/library/downloads", "packages:read"
    ),
    ("GET", "/api/organizations/{slug}/locks"): Row(f"{ORG}/locks", "packages:read"),
    ("PUT", "/api/organizations/{slug}/locks/{name}"): Row(f"{ORG}/locks/shop", "packages:write", 200, LOCK),
    ("POST", "/api/organizations/{slug}/lock-checks"): Row(f"{ORG}/lock-checks", "packages:read", 200, LOCK),
    ("DELETE", "/api/organizations/{slug}/locks/{name}"): Row(f"{ORG}/locks/production", "packages:write"),
    ("GET", "/api/organizations/{slug}/repositories"): Row(f"{ORG}/repositories", "repositories:read"),
    ("POST", "/api/organizations/{slug}/repositories"): Row(
        f"{ORG}/repositories", "repositories:write", 201, {"url": "http://127.0.0.1:1/{new}.git"}, restricted=403
    ),
    ("GET", "/api/organizations/{slug}/repositories/{id}"): Row(
        f"{ORG}/repositories/{{repository}}", "repositories:read"
    ),
    ("PATCH", "/api/organizations/{slug}/repositories/{id}"): Row(
        f"{ORG}/repositories/{{repository}}", "repositories:write", 200, {"provider": "git"}, restricted=403
    ),
    ("DELETE", "/api/organizations/{slug}/repositories/{id}"): Row(
        f"{ORG}/repositories/{{disposable}}", "repositories:write", restricted=404
    ),
    ("GET", "/api/organizations/{slug}/repositories/{id}/sync-runs"): Row(
        f"{ORG}/repositories/{{repository}}/sync-runs", "repositories:read"
    ),
    ("GET", "/api/organizations/{slug}/repositories/{id}/sync-runs/{run}"): Row(
        f"{ORG}/repositories/{{repository}}/sync-runs/{{run}}", "repositories:read"
    ),
    ("GET", "/api/organizations/{slug}/repositories/{id}/sync-runs/{run}/events"): Row(
        f"{ORG}/repositories/{{repository}}/sync-runs/{{run}}/events", "repositories:read"
    ),
    ("POST", "/api/organizations/{slug}/repositories/{id}/sync"): Row(
        f"{ORG}/repositories/{{repository}}/sync", "repositories:write"
    ),
    ("GET", "/api/organizations/{slug}/tokens"): Row(f"{ORG}/tokens", "tokens:read"),
    ("POST", "/api/organizations/{slug}/tokens"): Row(
        f"{ORG}/tokens", "tokens:write", 201, {"name": "made", "scopes": ["tokens:write"]}
    ),
    ("PATCH", "/api/organizations/{slug}/tokens/{id}"): Row(
        f"{ORG}/tokens/{{token}}", "tokens:write", 200, {"name": "made"}
    ),
    ("POST", "/api/organizations/{slug}/tokens/{id}/rotate"): Row(
        f"{ORG}/tokens/{{token}}/rotate", "tokens:write", 200, {"overlap": "1h"}
    ),
    ("DELETE", "/api/organizations/{slug}/tokens/{id}"): Row(f"{ORG}/tokens/{{token}}", "tokens:write"),
}
PUBLIC = {("GET", "/api/openapi.json"), ("GET", "/api/docs")}
every_row = pytest.mark.parametrize(
    ("method", "row"), [(method, row) for (method, _), row in ROWS.items()], ids=[" ".join(key) for key in ROWS]
)


async def credentials(world: World) -> dict[str, str | None]:
    """A secret of each kind by its name; None is no credential at all."""
    revoked = await world.token(scopes=ALL)
    acme = await world.store.organizations.get("acme")
    await world.store.tokens.revoke(acme, await token_id(world, revoked))
    return {
        "none": None,
        "wrong": create_secret(),
        "malformed": "pri_nothing",
        "expired": await world.token(scopes=ALL, expires_at=now() - 1),
        "revoked": revoked,
        "other organization": await world.token(scopes=ALL, org="other"),
        "restricted": await world.token(scopes=ALL, packages=["acme/library"]),
        **{scope: await world.token(scopes=(scope,)) for scope in SCOPES},
        "no scope": await world.token(scopes=()),
        "all scopes": await world.token(scopes=ALL),
        "instance": await instance_token(world),
        "instance, no scope": await instance_token(world, scopes=()),
    }


async def restock(world: World) -> None:
    """Put back what a request may have deleted: acme, its lock, and acme/library with the version 9.9.9."""
    acme = await world.store.organizations.find("acme") or await world.store.organizations.create("acme", "acme")
    locked = LockedPackage(
        organization="acme", package="acme/library", version="0.1.0", address="0.1.0", shasum=secrets.token_hex(20)
    )
    await world.store.locks.register(acme, "production", [locked])
    repositories = [
        item for item in await world.store.repositories.of_organization(acme.id) if item.url.endswith("/library")
    ] or [await follow(world.store, acme, "library")]
    # another commit each time: that of a deleted version would be passed over
    await publish(world.store, repositories[0], released("9.9.9", reference=secrets.token_hex(20)))


async def ask(world: World, method: str, row: Row, secret: str | None, *, org: str = "acme") -> Any:
    """The answer to a row's request; what it names is there, whoever asked before."""
    if method == "DELETE":
        await restock(world)
    admin = await world.token(scopes=ALL)
    disposable = await world.token(packages=["acme/library"], scopes=("tokens:write",))
    repository = await repository_id(world, "acme/library", admin)
    runs, _ = await world.store.runs.of_repository(repository, limit=1, offset=0)
    path = row.path.format(
        repository=repository,
        run=runs[0].id if runs else None,
        disposable=await add_repository(world) if "{disposable}" in row.path else None,
        token=await token_id(world, disposable),
    )
    document = row.document
    if isinstance(document, dict) and "url" in document:
        document = document | {"url": document["url"].format(new=uuid4())}
    if isinstance(document, dict) and "tokens" in path and "name" in document:
        document = document | {"name": token_name()}
    path = path.replace("/acme", f"/{org}", 1)
    if isinstance(document, bytes):
        return await call(world, method, path, secret, body=document)
    return await call(world, method, path, secret, document)


async def add_repository(world: World) -> str:
    """The id of a new repository, of which no package comes."""
    organization = await world.store.organizations.get("acme")
    made = await world.store.repositories.add(organization, parse_address(f"http://127.0.0.1:1/{uuid4()}"))
    return made.id


async def test_the_matrix_has_every_route(world: World) -> None:
    """A route without a row, or served without being in the table, is found here."""
    api = world.client.app[SERVER].application.api
    table = {(route.method, re.sub(r"\{(\w+):[^{}]*\}", r"{\1}", route.path)): route for route in api.table}
    served = {
        (route.method, route.resource.canonical)
        for route in world.client.app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/api/") and route.method != "HEAD"
    }

    assert set(ROWS) == set(table)
    assert set(ROWS) | PUBLIC == served
    assert {key: row.scope for key, row in ROWS.items()} == {key: route.scope for key, route in table.items()}
    assert all("{slug}" in path or row.answers_other for (_, path), row in ROWS.items())


@every_row
async def test_who_is_answered(world: World, method: str, row: Row) -> None:
    """401 without a good token, 404 for other organizations, 403 without the scope, else the answer."""
    kinds = await credentials(world)
    good = row.status
    of_organization = 403 if row.instance_only else good
    scoped = {scope: of_organization if row.scope in (scope, None) else 403 for scope in SCOPES}
    expected = {
        **dict.fromkeys(("none", "wrong", "malformed", "expired", "revoked"), 401),
        "other organization": of_organization if row.answers_other else 404,
        "restricted": row.restricted or of_organization,
        "all scopes": of_organization,
        "instance": good,
        **scoped,
        **dict.fromkeys(("no scope", "instance, no scope"), good if row.scope is None else 403),
    }
    lacking = {*SCOPES, "no scope", "instance, no scope"} - {row.scope}
    actual = {}
    for name in kinds:
        if await world.store.organizations.find("acme") is None:  # deleted with its tokens
            await restock(world)
            kinds = await credentials(world)
        secret = kinds[name]
        reply = await ask(world, method, row, secret)
        actual[name] = reply.status
        if reply.status >= 400:
            message, _ = refusal(reply, reply.status)
            if reply.status == 403:
                assert (message == f"the access token lacks the scope {row.scope}") == (name in lacking)
            assert secret is None or secret not in message

    assert expected == actual


@pytest.mark.parametrize("path", [path for _, path in sorted(PUBLIC)])
async def test_documentation_is_for_everybody(world: World, path: str) -> None:
    """Every credential, and none, gets the same documentation."""
    replies = [await call(world, "GET", path, secret) for secret in (await credentials(world)).values()]

    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1


@every_row
async def test_an_organization_that_is_not_there_is_as_one_of_others(world: World, method: str, row: Row) -> None:
    """Nobody learns from an answer which organizations there are."""
    if row.answers_other:
        pytest.skip("the route is of no organization")
    secret = await world.token(scopes=ALL)
    missing = refusal(await ask(world, method, row, secret, org="missing"), 404)

    assert missing == refusal(await ask(world, method, row, secret, org="other"), 404)
    assert missing == refusal(await ask(world, method, row, await instance_token(world), org="missing"), 404)


async def test_a_restriction_hides_what_is_behind_it(world: World, admin: str, restricted: str) -> None:
    """Of packages and repositories a restricted token sees its own; the rest is as what isn't there."""
    missing = refusal(await call(world, "GET", f"{ORG}/packages/acme/missing", restricted), 404)
    hidden = (await read(world, f"{ORG}/packages/acme/plugin", admin))["data"]

    for name in ("acme/plugin", "acme%2Fplugin", "ACME/Plugin", hidden["id"]):
        assert missing == refusal(await call(world, "GET", f"{ORG}/packages/{name}", restricted), 404)
    repository = f"{ORG}/repositories/{hidden['repository']['id']}"
    run = (await read(world, f"{repository}/sync-runs", admin))["data"][0]["id"]
    for method, path, document in (
        ("GET", repository, None),
        ("PATCH", repository, {"provider": "git"}),
        ("DELETE", repository, None),
        ("POST", f"{repository}/sync", None),
        ("GET", f"{repository}/sync-runs", None),
        ("GET", f"{repository}/sync-runs/{run}", None),
        ("GET", f"{repository}/sync-runs/{run}/events", None),
    ):
        assert missing == refusal(await call(world, method, path, restricted, document), 404)
    packages = await read(world, f"{ORG}/packages", restricted)
    assert ([item["name"] for item in packages["data"]], packages["meta"]["total"]) == (["acme/library"], 1)
    repositories = (await read(world, f"{ORG}/repositories", restricted))["data"]
    assert [item["id"] for item in repositories] == [await repository_id(world, "acme/library", admin)]


async def test_an_instance_token_opens_every_organization_for_composer(world: World) -> None:
    """With packages:read a token of the instance is good for Composer's endpoints of all organizations."""
    secret = await instance_token(world, scopes=("packages:read",))

    for method, _, path in ROUTES:
        reply = await world.ask(path, secret, method=method, body=b'{"downloads": []}')
        assert reply.status in (200, 204), path
    root = (await world.ask("/packages.json", secret, org="other")).json
    assert root["available-packages"] == ["other/thing"]
    for path in ("/p2/other/thing.json", "/packages/other/thing/1.0.0.zip"):
        assert (await world.ask(path, secret, org="other")).status == 200
        error(await world.ask(path, secret, org="acme"), 404)


async def test_an_instance_token_has_its_limits_at_composers_routes(world: World) -> None:
    """It needs the scope as any other, finds no organization that isn't there, and expires."""
    unscoped = await instance_token(world, scopes=tuple(scope for scope in ALL if scope != "packages:read"))
    good = await instance_token(world)
    expired = await instance_token(world, expires_at=now() - 1)

    for method, _, path in ROUTES:
        assert "packages:read" in error(await world.ask(path, unscoped, method=method), 403)
        error(await world.ask(path, good, method=method, org="missing"), 404)
        error(await world.ask(path, expired, method=method), 401)
