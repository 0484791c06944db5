"""Errors of the API have one shape, `{"message", "errors"?}`, and name the field that they are about.

`errors` is there where an argument was not understood (422), with the field as the API spells it.
"""

import io
import json
import uuid
from typing import Any

import pytest

from pricore.models import SCOPES
from pricore.system.clock import now, rfc3339
from tests.web.api.harness import ALL, ORG, call, create_token, instance_token, read, refusal, token_id
from tests.web.composer.harness import World, error

TOKENS = f"{ORG}/tokens"
GOOD: dict[str, Any] = {"name": "made"}


async def count_tokens(world: World) -> int:
    with world.database() as connection:
        (count,) = connection.execute("SELECT count(*) FROM tokens").fetchone()
    return int(count)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b'{"name": "made"', b'{"name": made}', b'{"name": "made"} x', b"name=made", b"\x00"),
        *(b'{"name": "\xff"}', b"\xff\xfe", b'{"name": "\xc3"}', b'{"name": "\\ud800"}', b'{"name": NaN}'),
        *(b'{"name": 1', b'{"name": 1, "x": 2', b'{"scopes": [1], "name": "made"', b'{"a": 1} {"b": 2}'),
        *(b'{"name": 1, "x": "\xff"}', b'{"\\ud800": 1}', b'{"name": "made", "packages": ["\\udc00"]}'),
        pytest.param(b'{"name":' + b"[" * 100_000, id="nested"),
        pytest.param('{"name": "made"}'.encode("utf-16"), id="utf-16"),
    ],
)
async def test_a_body_that_is_not_json_is_400(world: World, admin: str, body: bytes) -> None:
    """What cannot be read to its end, bad UTF-8 included, is no matter of a field, and makes nothing."""
    before = await count_tokens(world)
    message, _ = refusal(await call(world, "POST", TOKENS, admin, body=body), 400)

    assert message == "the body is not valid JSON"
    assert before == await count_tokens(world)


WRONG: dict[str, list[Any]] = {
    "name": [1, None, True, ["made"], {}, "", "   ", "\t\n", "x" * 256],
    "scopes": [
        *("packages:read", None, {}, [1], [None], [["x"]], ["all"], [""], ["*"], ["packages:*"]),
        *(["Packages:read"], ["packages:read", "packages:delete"]),
    ],
    "expires_at": [
        *(1, True, [], {}, "", "soon", "2099-02-30", "2020-01-01", "0d", "10000-01-01", "٣d"),
    ],
    "packages": [
        *("acme/library", 1, {}, [1], [None], [["x"]], ["acme/missing"], [""], ["other/thing"], ["\x00"]),
        ["acme/library", str(uuid.UUID(int=0))],
    ],
    "scope": [["packages:read"]],
    "token": ["pri_mine"],
    "organization": ["other"],
}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        *((GOOD | {field: value}, field) for field, values in WRONG.items() for value in values),
        *(({}, "name"), ({"scopes": ["packages:read"]}, "name"), (GOOD | {"": 1}, "body")),
        *((GOOD | {field: 1}, field) for field in ("a`b", "a.b", "a[0]", "a\nb", "ü")),
        (GOOD | {"scopes": ["packages:read", {"name": []}]}, "scopes"),
        *((document, "body") for document in ([], "made", 1, None, True, [GOOD])),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
async def test_a_field_that_is_wrong_is_named(world: World, admin: str, document: Any, field: str) -> None:
    """A type, a value, a missing or an unknown field: 422, with that one field, and nothing is made."""
    before = await count_tokens(world)
    reply = await call(world, "POST", TOKENS, admin, body=json.dumps(document).encode())

    message, errors = refusal(reply, 422)
    assert errors == {field: [message]}
    assert before == await count_tokens(world)


async def test_the_name_of_an_unknown_field_is_not_repeated_at_length(world: World, admin: str) -> None:
    """Who sends a field with a name of a megabyte doesn't get it back."""
    reply = await call(world, "POST", TOKENS, admin, GOOD | {"x" * 500_000: 1})

    refusal(reply, 422)
    assert len(reply.body) < 1000


async def test_an_unknown_scope_is_answered_with_those_there_are(world: World, admin: str) -> None:
    """Who guesses at a scope is told all of them."""
    message, _ = refusal(await call(world, "POST", TOKENS, admin, GOOD | {"scopes": ["all"]}), 422)

    assert message == f"there is no scope all; choose from {', '.join(SCOPES)}"


@pytest.mark.parametrize("length", [1, 255])
async def test_a_name_has_up_to_255_characters(world: World, admin: str, length: int) -> None:
    """Characters are counted, not bytes, and without the spaces around them."""
    made = await create_token(world, admin, name=f" {'ü' * length} ")

    assert made["name"] == "ü" * length


@pytest.mark.parametrize(
    "query", ["search=%ff", "search=%ED%A0%80", "page=%ff", "per_page=%D9%A3", "%ff=1", "search=%00"]
)
async def test_a_query_of_any_bytes_is_answered(world: World, admin: str, query: str) -> None:
    """What is no text in an address is no failure of the server's."""
    reply = await call(world, "GET", f"{ORG}/packages?{query}", admin)

    assert reply.status in (200, 400, 422)
    if reply.status != 200:
        refusal(reply, reply.status)


@pytest.mark.parametrize("part", ["%ff", "%ED%A0%80", "%00", "..%2f..", "a%0Ab", "'", "%25"])
@pytest.mark.parametrize("path", ["/{}", "/acme/packages/{}", "/acme/packages/acme/{}", "/acme/tokens/{}"])
async def test_a_path_of_any_bytes_is_answered(world: World, instance: str, path: str, part: str) -> None:
    """Whatever stands where a name or an id is expected is not found."""
    method = "DELETE" if "tokens" in path else "GET"

    refusal(await call(world, method, f"/api/organizations{path.format(part)}", instance), 404)


@pytest.mark.parametrize("scope", [scope for scope in SCOPES if scope != "tokens:write"])
async def test_nobody_gives_away_a_scope_that_they_lack(world: World, scope: str) -> None:
    """A token with tokens:write cannot make itself a mightier one: 403 names the scope."""
    secret = await world.token(scopes=("tokens:write",))
    message, _ = refusal(
        await call(world, "POST", TOKENS, secret, GOOD | {"scopes": ["tokens:write", scope]}), 403
    )

    assert scope in message


async def test_the_scope_by_default_has_to_be_had_too(world: World) -> None:
    """A token that cannot read packages cannot make one that can by naming no scope at all."""
    secret = await world.token(scopes=("tokens:write",))
    for document in (GOOD, GOOD | {"scopes": []}):
        message, _ = refusal(await call(world, "POST", TOKENS, secret, document), 403)

        assert "packages:read" in message


async def test_an_instance_token_gives_away_only_its_scopes(world: World) -> None:
    """A token of the instance has the same limits as one of an organization."""
    secret = await instance_token(world, scopes=("tokens:write", "packages:read"))

    assert (await create_token(world, secret))["scopes"] == ["packages:read"]
    refusal(await call(world, "POST", TOKENS, secret, GOOD | {"scopes": ["organizations:write"]}), 403)


async def test_what_an_instance_token_makes_is_the_organizations(world: World, instance: str) -> None:
    """A token that is made in an organization sees that one alone, whoever made it."""
    made = await create_token(world, instance, scopes=list(ALL))

    own = (await read(world, "/api/token", made["token"]))["data"]
    assert own["organization"] == "acme"
    refusal(await call(world, "GET", "/api/organizations/other", made["token"]), 404)
    error(await world.ask("/packages.json", made["token"], org="other"), 404)


@pytest.mark.parametrize("more", [{}, {"packages": None}])
async def test_a_restriction_is_inherited(world: World, restricted: str, more: dict[str, Any]) -> None:
    """A restricted token makes tokens with its own restriction where it names none."""
    made = await create_token(world, restricted, **more)

    assert made["packages"] == ["acme/library"]
    assert (await world.get("/packages.json", made["token"])).json["available-packages"] == ["acme/library"]


async def test_a_restriction_is_not_widened(world: World, admin: str, restricted: str) -> None:
    """A restricted token cannot name a package that it doesn't see, by name or id: as if it weren't there."""
    hidden = (await read(world, f"{ORG}/packages/acme/plugin", admin))["data"]["id"]
    for name in ("acme/plugin", "ACME/plugin", hidden, "acme/missing"):
        reply = await call(world, "POST", TOKENS, restricted, GOOD | {"packages": ["acme/library", name]})
        message, errors = refusal(reply, 422)

        assert (message, set(errors)) == (f"acme has no package {name}", {"packages"})
    assert (await create_token(world, restricted, packages=[]))["packages"] == []


async def test_broader_tokens_are_hidden_from_a_restricted_one(world: World, admin: str, restricted: str) -> None:
    """A restricted token lists those that see no more than itself, and can revoke no other."""
    everything = await create_token(world, admin)
    other = await create_token(world, admin, packages=["acme/plugin"])
    both = await create_token(world, admin, packages=["acme/plugin", "acme/library"])
    same = await create_token(world, admin, packages=["acme/library"])
    nothing = await create_token(world, admin, packages=[])
    listed = {item["id"] for item in (await read(world, TOKENS, restricted))["data"]}

    assert listed == {same["id"], nothing["id"], await token_id(world, restricted)}
    missing = refusal(await call(world, "DELETE", f"{TOKENS}/{uuid.uuid4()}", restricted), 404)
    for hidden in (everything, other, both):
        assert missing == refusal(await call(world, "DELETE", f"{TOKENS}/{hidden['id']}", restricted), 404)
        await read(world, "/api/token", hidden["token"])
    assert (await call(world, "DELETE", f"{TOKENS}/{same['id']}", restricted)).status == 200


@pytest.mark.parametrize("offset", [None, 1, 86400])
async def test_nothing_outlives_the_token_that_made_it(world: World, offset: int | None) -> None:
    """A token that expires cannot make one that never does, or does later."""
    ends = now() + 1000
    secret = await world.token(scopes=ALL, expires_at=ends)
    wanted = None if offset is None else rfc3339(ends + offset)
    for document in [GOOD | {"expires_at": wanted}, *([GOOD] if wanted is None else [])]:
        message, errors = refusal(await call(world, "POST", TOKENS, secret, document), 422)

        assert set(errors) == {"expires_at"}
        assert rfc3339(ends) in message
    assert (await create_token(world, secret, expires_at=rfc3339(ends)))["expires_at"] == rfc3339(ends)


@pytest.mark.parametrize(
    "path",
    [
        *("/api", "/api/", "/api/missing", "/api/organizations/", "/api/organizations//packages", "/api/tokens"),
        *(
            f"{ORG}/",
            f"{ORG}/packages/",
            f"{ORG}/missing",
            f"{ORG}/tokens/a/b",
            "/API/organizations",
            "/api%2Ftoken",
        ),
    ],
)
async def test_an_unknown_address_is_404(world: World, admin: str, path: str) -> None:
    """What is no route is not found, with a token and without."""
    for secret in (admin, None):
        message, _ = refusal(await call(world, "GET", path, secret), 404)

        assert message == "there is nothing at this address"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/organizations", {"GET", "HEAD", "POST"}),
        ("PATCH", "/api/token", {"GET", "HEAD"}),
        ("PUT", ORG, {"GET", "HEAD", "PATCH", "DELETE"}),
        ("PUT", f"{ORG}/packages/acme/library", {"GET", "HEAD", "DELETE"}),
        ("DELETE", f"{ORG}/packages/acme/library/versions", {"GET", "HEAD"}),
        ("GET", f"{ORG}/packages/acme/library/versions/1.0", {"DELETE"}),
        ("GET", f"{ORG}/repositories/1/sync", {"POST"}),
        ("DELETE", TOKENS, {"GET", "HEAD", "POST"}),
        ("GET", f"{TOKENS}/1", {"PATCH", "DELETE"}),
        ("OPTIONS", TOKENS, {"GET", "HEAD", "POST"}),
    ],
)
async def test_a_wrong_method_is_405(world: World, admin: str, method: str, path: str, allowed: set[str]) -> None:
    """A method that a route doesn't take is refused with those that it takes."""
    for secret in (admin, None):
        reply = await call(world, method, path, secret)

        refusal(reply, 405)
        assert allowed == set(reply.headers["Allow"].split(","))


async def test_head_is_get_without_the_body(world: World, admin: str) -> None:
    """HEAD has the status and headers of GET."""
    reply = await call(world, "HEAD", f"{ORG}/packages", admin)

    assert (reply.status, reply.body) == (200, b"")
    assert "last" in reply.headers["Link"]


@pytest.mark.parametrize("extra", [0, 1])
async def test_a_body_of_more_than_a_megabyte_is_413(world: World, admin: str, extra: int) -> None:
    """A megabyte is read, one byte more is not."""
    before = await count_tokens(world)
    body = json.dumps(GOOD).encode().ljust(1024 * 1024 + extra)
    reply = await call(world, "POST", TOKENS, admin, body=io.BytesIO(body))

    if extra:
        refusal(reply, 413)
    else:
        assert reply.status == 201
    assert before + 1 - extra == await count_tokens(world)


async def test_a_large_body_of_a_stranger_is_not_read(world: World) -> None:
    """Who has no token is told that, however much they send."""
    refusal(await call(world, "POST", TOKENS, None, body=io.BytesIO(b"x" * (2 * 1024 * 1024))), 401)


async def test_a_wrong_token_is_not_repeated(world: World, admin: str) -> None:
    """No error shows a secret, or most of one."""
    for secret in (admin[:-1], admin[:-1] + ("a" if admin[-1] != "a" else "b")):
        reply = await call(world, "GET", "/api/token", secret)

        refusal(reply, 401)
        assert admin[4:20].encode() not in reply.body


@pytest.mark.parametrize(
    ("method", "path", "document"),
    [
        ("POST", TOKENS, GOOD | {"scopes": ["a\nb" * 5000]}),
        ("POST", TOKENS, GOOD | {"packages": ["a\nb"]}),
        ("POST", TOKENS, GOOD | {"a\nb": 1}),
        ("POST", f"{ORG}/repositories", {"url": "x", "provider": "x\ny\x1b[2J"}),
        ("GET", f"{ORG}/packages/acme/library/downloads?version=a%0Ab", None),
    ],
)
async def test_an_error_is_one_line(world: World, admin: str, method: str, path: str, document: Any) -> None:
    """Whatever of a request is repeated, a message is a line that can be shown as it is, and not a long one."""
    message, errors = refusal(await call(world, method, path, admin, document), 422)

    for text in (message, *(item for items in errors.values() for item in items)):
        assert text.isprintable()
        assert len(text) <= 1001
