"""The REST part of the API contract (contract.yaml), in its order: each example is what the server answers."""

import re
import uuid
from typing import Any
from urllib.parse import quote

import pytest

from tests.web.api.harness import (
    ALL,
    ORG,
    TIME,
    assert_fits,
    call,
    create_token,
    links,
    read,
    refusal,
    repository_id,
    token_id,
)
from tests.web.composer.harness import DEV, STABLE, World, error

CREATED = "2024-01-01T00:00:00Z"
META = {"current_page": 1, "last_page": 5, "per_page": 20, "total": 100}
REPOSITORY = {
    "id": "uuid",
    "provider": "github",
    "repo_identifier": "owner/repo",
    "sync_status": "ok",
    "last_synced_at": CREATED,
}


async def test_list_organizations(world: World, admin: str) -> None:
    """An organization's token sees that organization, with the fields of the contract."""
    document = await read(world, "/api/organizations", admin)

    example = {"data": [{"id": "uuid", "name": "My Organization", "slug": "my-org", "created_at": CREATED}]}
    assert_fits(example, document)
    assert [item["slug"] for item in document["data"]] == ["acme"]


async def test_an_instance_token_lists_every_organization(world: World, instance: str) -> None:
    """A token of the instance has access to all organizations."""
    document = await read(world, "/api/organizations", instance)

    assert [item["slug"] for item in document["data"]] == ["acme", "other"]


async def test_get_organization(world: World, admin: str) -> None:
    """One organization is as it stands in the list, with its description."""
    document = await read(world, ORG, admin)

    example = {
        "id": "uuid",
        "name": "My Organization",
        "slug": "my-org",
        "description": "x",
        "created_at": CREATED,
    }
    assert_fits({"data": example}, document)
    (listed,) = (await read(world, "/api/organizations", admin))["data"]
    assert listed == {name: document["data"][name] for name in listed}


async def test_list_packages(world: World, admin: str) -> None:
    """Packages come by name with their highest stable version, 20 a page, and the page is told."""
    document = await read(world, f"{ORG}/packages", admin)

    example = {
        "id": "uuid",
        "name": "vendor/package-name",
        "description": "Package description",
        "type": "library",
        "latest_version": "1.0.0",
        "created_at": CREATED,
    }
    assert_fits({"data": [example], "meta": META}, document)
    found = {
        item["name"]: (item["description"], item["type"], item["latest_version"]) for item in document["data"]
    }
    assert found == {
        "acme/library": ("Words for everyone", "library", "1.2.0+build.5"),
        "acme/plugin": ("Words, plugged in", "composer-plugin", "dev-main"),
        "beta/tools": ("Tools", "library", "1.0.0"),
    }
    assert list(found) == sorted(found)
    assert document["meta"] == {"current_page": 1, "last_page": 1, "per_page": 20, "total": 3}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("acme", ["acme/library", "acme/plugin"]),
        ("LIB", ["acme/library"]),
        ("e/", ["acme/library", "acme/plugin"]),
        ("beta/tools", ["beta/tools"]),
        ("", ["acme/library", "acme/plugin", "beta/tools"]),
        ("Words", []),
        ("%", []),
        ("_", []),
        ("\x00", []),
    ],
)
async def test_packages_are_filtered_by_name(world: World, admin: str, text: str, names: list[str]) -> None:
    """`search` is a part of the name as it is, in any case; nothing in it is a pattern."""
    document = await read(world, f"{ORG}/packages?search={quote(text, safe='')}", admin)

    assert names == [item["name"] for item in document["data"]]
    assert len(names) == document["meta"]["total"]


async def test_pages_are_walked_by_their_links(world: World, admin: str) -> None:
    """`next` leads through every package once, and keeps the filter and the size of the pages."""
    path: str | None = f"{ORG}/packages?per_page=1&search=a"
    seen = []
    while path is not None:
        reply = await call(world, "GET", path, admin)
        seen.append((reply.json["meta"]["current_page"], *(item["name"] for item in reply.json["data"])))
        path = links(reply).get("next")

    assert seen == [(1, "acme/library"), (2, "acme/plugin"), (3, "beta/tools")]


async def test_a_page_names_its_neighbours(world: World, admin: str) -> None:
    """A page in the middle has first, prev, next and last; the only page has neither prev nor next."""
    middle = await call(world, "GET", f"{ORG}/packages?per_page=1&page=2", admin)
    only = await call(world, "GET", f"{ORG}/packages?per_page=100", admin)

    assert middle.json["meta"] == {"current_page": 2, "last_page": 3, "per_page": 1, "total": 3}
    base = f"{ORG}/packages?per_page=1&page="
    assert links(middle) == {"first": f"{base}1", "prev": f"{base}1", "next": f"{base}3", "last": f"{base}3"}
    assert set(links(only)) == {"first", "last"}


async def test_links_keep_what_was_searched(world: World, admin: str) -> None:
    """Signs that mean something in a URL are in a page's links as they were asked for."""
    path = f"{ORG}/packages?search={quote('a&b=c+d#ü', safe='')}"
    first = await call(world, "GET", path, admin)
    again = await call(world, "GET", links(first)["last"], admin)

    assert (first.json, first.headers["Link"]) == (again.json, again.headers["Link"])
    assert "%26" in first.headers["Link"]


async def test_a_page_behind_the_last_is_empty(world: World, admin: str) -> None:
    """Who asks for more pages than there are gets none, and is told how many there are."""
    document = await read(world, f"{ORG}/packages?per_page=2&page=9", admin)

    assert document == {"data": [], "meta": {"current_page": 9, "last_page": 2, "per_page": 2, "total": 3}}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("per_page", "101"), ("per_page", "0"), ("per_page", "-1"), ("per_page", "many"), ("per_page", "")),
        *(("page", "0"), ("page", "-1"), ("page", "x"), ("page", "9" * 30), ("page", "1e400")),
    ],
)
async def test_a_page_that_cannot_be_is_refused(world: World, admin: str, field: str, value: str) -> None:
    """At most 100 items a page, and pages from 1: all else is 422 and names the parameter."""
    _, errors = refusal(await call(world, "GET", f"{ORG}/packages?{field}={value}", admin), 422)

    assert set(errors) == {field}


async def test_get_package(world: World, admin: str) -> None:
    """A package shows where it comes from and every version, newest first."""
    document = await read(world, f"{ORG}/packages/acme/library", admin)

    example = {
        "id": "uuid",
        "name": "vendor/package-name",
        "description": "Package description",
        "type": "library",
        "repository": {"id": "uuid", "provider": "github", "repo_identifier": "owner/repo"},
        "versions": [{"version": "1.0.0", "normalized_version": "1.0.0.0", "released_at": CREATED}],
        "created_at": CREATED,
    }
    assert_fits({"data": example}, document)
    versions = document["data"]["versions"]
    assert [item["version"] for item in versions if not item["version"].startswith("dev-")] == STABLE
    assert {item["version"] for item in versions} == {*STABLE, *DEV}
    normalized = {item["version"]: item["normalized_version"] for item in versions}
    assert normalized["v1.0.0"] == "1.0.0.0"
    repositories = (await read(world, f"{ORG}/repositories", admin))["data"]
    assert document["data"]["repository"]["id"] in [item["id"] for item in repositories]


async def test_a_package_is_found_by_its_id_and_its_name(world: World, admin: str) -> None:
    """The id, the name with its slash as it is or encoded, and in any case, are the same package."""
    package = await read(world, f"{ORG}/packages/acme/library", admin)

    for name in (package["data"]["id"], "acme%2Flibrary", "acme%2flibrary", "ACME/Library", "%61cme/library"):
        assert package == await read(world, f"{ORG}/packages/{name}", admin), name


@pytest.mark.parametrize(
    "name",
    [
        "acme/missing",
        "acme",
        "other/thing",
        "8810720f-19bc-42d2-afc0-66060308a354",
        "acme%252Flibrary",
        "acme//library",
        "%00",
    ],
)
async def test_a_package_that_is_not_there_is_404(world: World, admin: str, name: str) -> None:
    """What is no package of the organization is not found, whatever it looks like."""
    refusal(await call(world, "GET", f"{ORG}/packages/{name}", admin), 404)


async def test_list_repositories(world: World, admin: str) -> None:
    """Each repository shows how its last sync went and when it was."""
    document = await read(world, f"{ORG}/repositories", admin)

    assert_fits({"data": [REPOSITORY]}, document)
    assert [item["sync_status"] for item in document["data"]] == ["ok"] * 3


async def test_trigger_sync(world: World, admin: str) -> None:
    """A sync is queued, and said to be in the words of the contract."""
    repository = await repository_id(world, "acme/library", admin)
    reply = await call(world, "POST", f"{ORG}/repositories/{repository}/sync", admin)

    assert (reply.status, reply.json) == (200, {"message": "Sync queued successfully"})


@pytest.mark.parametrize("wanted", ["8810720f-19bc-42d2-afc0-66060308a354", "x", "%00", "other"])
async def test_only_a_followed_repository_is_synced(world: World, admin: str, instance: str, wanted: str) -> None:
    """A repository that does not exist, or is another organization's, is not found and not queued."""
    if wanted == "other":
        listing = await read(world, "/api/organizations/other/repositories", instance)
        wanted = listing["data"][0]["id"]

    refusal(await call(world, "POST", f"{ORG}/repositories/{wanted}/sync", admin), 404)
    with world.database() as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (0,)


async def test_list_tokens(world: World, admin: str) -> None:
    """Tokens are listed with their use and their expiry, null where they have none."""
    await create_token(world, admin, name="CI Pipeline", expires_at="2099-01-01")
    await world.store.usage.flush()
    document = await read(world, f"{ORG}/tokens", admin)

    example = {
        "id": "uuid",
        "name": "CI Pipeline",
        "scopes": ["packages:read"],
        "last_used_at": None,
        "expires_at": None,
        "created_at": CREATED,
    }
    assert_fits({"data": [example]}, document)
    found = {item["name"]: item for item in document["data"]}
    (own,) = set(found) - {"CI Pipeline"}
    assert TIME.fullmatch(found[own]["last_used_at"])
    assert (found[own]["expires_at"], found["CI Pipeline"]["last_used_at"]) == (None, None)
    assert found["CI Pipeline"]["expires_at"] == "2099-01-02T00:00:00Z"


async def test_create_token(world: World, admin: str) -> None:
    """The body of the contract makes a token, 201, with its secret."""
    ids = [
        (await read(world, f"{ORG}/packages/{name}", admin))["data"]["id"]
        for name in ("acme/library", "beta/tools")
    ]
    body = {
        "name": "CI Pipeline",
        "scopes": ["packages:read"],
        "expires_at": "2099-01-01",
        "packages": ids,
    }
    reply = await call(world, "POST", f"{ORG}/tokens", admin, body)

    assert reply.status == 201
    example = {
        "id": "uuid",
        "name": "CI Pipeline",
        "token": "pri_xxxxxxxxxxxxxxxxxxxx",
        "scopes": ["packages:read"],
        "created_at": CREATED,
    }
    assert_fits({"data": example}, reply.json)
    made = reply.json["data"]
    assert (made["name"], made["scopes"]) == ("CI Pipeline", ["packages:read"])
    assert re.fullmatch(r"pri_[0-9A-Za-z]{38}", made["token"])
    assert made["expires_at"] == "2099-01-02T00:00:00Z", "the end of that day, UTC"
    assert made["packages"] == ["acme/library", "beta/tools"]


async def test_a_new_token_opens_its_packages_for_composer_at_once(world: World, admin: str) -> None:
    """The request after its creation gets what it is restricted to, and nothing else."""
    package = (await read(world, f"{ORG}/packages/acme/library", admin))["data"]["id"]
    secret = (await create_token(world, admin, packages=[package]))["token"]

    assert (await world.get("/packages.json", secret)).json["available-packages"] == ["acme/library"]
    await world.get("/p2/acme/library.json", secret)
    await world.get("/packages/acme/library/v1.0.0.zip", secret)
    error(await world.ask("/p2/beta/tools.json", secret), 404)
    error(await world.ask("/packages/beta/tools/1.0.0.zip", secret), 404)


async def test_a_secret_is_shown_once(world: World, admin: str) -> None:
    """A token's secret is in the answer that makes it, and never again: not in lists, not in the data folder."""
    made = await create_token(world, admin, name="once")
    listing = await call(world, "GET", f"{ORG}/tokens", admin)
    own = await call(world, "GET", "/api/token", made["token"])

    for reply in (listing, own):
        assert b"once" in reply.body
        assert made["token"].encode() not in reply.body
    assert all("token" not in item for item in listing.json["data"])
    for path in world.config.data.glob("pricore.sqlite3*"):
        assert made["token"].encode() not in path.read_bytes()


async def test_what_is_left_out_has_a_default(world: World, admin: str) -> None:
    """A name alone makes a token that reads all packages and never expires."""
    made = await create_token(world, admin)

    assert (made["scopes"], made["packages"], made["expires_at"]) == (["packages:read"], None, None)
    assert len((await world.get("/packages.json", made["token"])).json["available-packages"]) == 3


async def test_a_token_may_be_given_no_package(world: World, admin: str) -> None:
    """An empty list of packages is a restriction to none, not the lack of one."""
    made = await create_token(world, admin, packages=[])

    assert made["packages"] == []
    error(await world.ask("/p2/acme/library.json", made["token"]), 404)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2099-12-31", "2100-01-01T00:00:00Z"),
        ("2099-01-01T12:00:00Z", "2099-01-01T12:00:00Z"),
        ("2099-01-01T12:00:00+02:00", "2099-01-01T10:00:00Z"),
    ],
)
async def test_an_expiry_is_told_in_utc(world: World, admin: str, text: str, expected: str) -> None:
    """A date is to its end, a time is that moment: both are answered as RFC 3339 in UTC."""
    assert (await create_token(world, admin, expires_at=text))["expires_at"] == expected


async def test_a_token_sees_itself(world: World, restricted: str, instance: str) -> None:
    """Any token may ask what it is: its scopes, its packages and its organization, null for the instance."""
    own = (await read(world, "/api/token", restricted))["data"]
    of_instance = (await read(world, "/api/token", instance))["data"]

    assert own["id"] == await token_id(world, restricted)
    assert (own["organization"], own["packages"], own["scopes"]) == ("acme", ["acme/library"], list(ALL))
    assert (of_instance["organization"], of_instance["packages"]) == (None, None)


async def test_revoke_token(world: World, admin: str) -> None:
    """A revoked token is refused by the next request, and a second revocation finds nothing."""
    made = await create_token(world, admin)
    await world.get("/packages.json", made["token"])
    reply = await call(world, "DELETE", f"{ORG}/tokens/{made['id']}", admin)

    assert (reply.status, reply.json) == (200, {"message": "Token revoked successfully"})
    error(await world.ask("/packages.json", made["token"]), 401)
    refusal(await call(world, "DELETE", f"{ORG}/tokens/{made['id']}", admin), 404)
    assert made["id"] not in [item["id"] for item in (await read(world, f"{ORG}/tokens", admin))["data"]]


async def test_tokens_of_others_are_not_revoked(world: World, admin: str, instance: str) -> None:
    """An organization's token cannot see or revoke those of another, or of the instance."""
    other = await world.token(org="other")
    listed = [item["id"] for item in (await read(world, f"{ORG}/tokens", admin))["data"]]

    for secret in (other, instance):
        wanted = await token_id(world, secret)
        assert wanted not in listed
        refusal(await call(world, "DELETE", f"{ORG}/tokens/{wanted}", admin), 404)
    assert (await world.ask("/packages.json", other, org="other")).status == 200
    assert (await world.ask("/packages.json", instance)).status == 200


async def test_a_token_may_revoke_itself(world: World, admin: str) -> None:
    """Whoever holds a token that leaked can end it with the token alone."""
    reply = await call(world, "DELETE", f"{ORG}/tokens/{await token_id(world, admin)}", admin)

    assert reply.status == 200
    refusal(await call(world, "GET", "/api/token", admin), 401)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", f"{ORG}/tokens", b"{", 400),
        ("GET", f"{ORG}/missing", None, 404),
        ("GET", f"{ORG}/packages?page=0", None, 422),
        ("GET", f"{ORG}/repositories", None, 500),
    ],
)
async def test_error_responses(
    world: World, admin: str, method: str, path: str, body: bytes | None, status: int
) -> None:
    """Each status of the contract comes in its one shape; what failed inside is not told."""
    if status == 500:
        with world.database() as connection:
            connection.execute("ALTER TABLE repositories RENAME TO hidden")
    message, _ = refusal(await call(world, method, path, admin, body=body), status)

    assert status != 500 or "its log has the reason" in message
    assert "sql" not in message.lower()


@pytest.mark.parametrize("status", [401, 403])
async def test_error_responses_to_credentials(world: World, status: int) -> None:
    """No token is 401, with the way to send one; a token without the scope is 403, with the scope."""
    secret = None if status == 401 else await world.token(scopes=("packages:read",))
    reply = await call(world, "GET", f"{ORG}/tokens", secret)
    message, _ = refusal(reply, status)

    expected = "an access token is needed" if status == 401 else "tokens:read"
    assert expected in message
    assert ("WWW-Authenticate" in reply.headers) == (status == 401)


@pytest.mark.parametrize("path", ["/api/organizations", ORG, f"{ORG}/packages", f"{ORG}/tokens", "/api/token"])
async def test_answers_are_kept_by_nobody(world: World, admin: str, path: str) -> None:
    """No proxy and no browser keeps what a token sees."""
    reply = await call(world, "GET", path, admin)

    assert reply.headers["Cache-Control"] == "private, no-store"
    assert reply.headers["Content-Type"].startswith("application/json")


def test_an_example_that_is_not_met_is_noticed() -> None:
    """The comparison with the examples fails for a missing field, a wrong kind, id or time."""
    example: dict[str, Any] = {"data": [{"id": "uuid", "n": 1, "at": CREATED, "expires_at": None}]}
    good: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "n": 5,
        "at": "2025-12-31T23:59:59Z",
        "expires_at": None,
        "more": 1,
    }
    assert_fits(example, {"data": [good]})
    bad: list[dict[str, Any]] = [
        {"n": "5"},
        {"n": None},
        {"at": "2025-12-31 23:59:59"},
        {"at": None},
        {"expires_at": ""},
        {"id": "A"},
    ]
    for change in bad:
        with pytest.raises((AssertionError, ValueError)):
            assert_fits(example, {"data": [good, good | change]})
    documents: list[Any] = [{}, {"data": []}, {"data": {}}, []]
    for document in documents:
        with pytest.raises(AssertionError):
            assert_fits(example, document)
