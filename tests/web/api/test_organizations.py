"""Organizations are made, changed and deleted over the API, by those who may."""

import asyncio
from typing import Any

import pytest

from tests.web.api.harness import ORG, TIME, assert_fits, call, instance_token, read, refusal
from tests.web.composer.harness import World, error

ORGANIZATIONS = "/api/organizations"


async def test_create_organization(world: World, instance: str) -> None:
    """201 with the organization as it is shown from then on; its slug is made of its name."""
    reply = await call(world, "POST", ORGANIZATIONS, instance, {"name": " Beta & Söhne ", "description": "a\nb"})

    assert reply.status == 201
    made = reply.json["data"]
    assert_fits({"id": "uuid", "created_at": "2024-01-01T00:00:00Z"}, made)
    assert (made["name"], made["slug"], made["description"]) == ("Beta & Söhne", "beta-soehne", "a\nb")
    assert await read(world, f"{ORGANIZATIONS}/beta-soehne", instance) == reply.json
    assert (await world.ask("/packages.json", instance, org="beta-soehne")).status == 200


async def test_a_slug_may_be_chosen(world: World, instance: str) -> None:
    """Null is as not given; a slug that is taken is 409, and the one that has it stays as it was."""
    before = await read(world, ORG, instance)
    chosen = await call(world, "POST", ORGANIZATIONS, instance, {"name": "Acme", "slug": "acme-2"})
    made = await call(world, "POST", ORGANIZATIONS, instance, {"name": "Acme 3", "slug": None})

    assert [reply.json["data"]["slug"] for reply in (chosen, made)] == ["acme-2", "acme-3"]
    for document in ({"name": "Acme"}, {"name": "x", "slug": "acme"}):
        message, _ = refusal(await call(world, "POST", ORGANIZATIONS, instance, document), 409)
        assert "acme already" in message
    assert before == await read(world, ORG, instance)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "!!!"}, "slug"),
        ({"name": "x", "slug": ""}, "slug"),
        ({"name": "x", "slug": "A"}, "slug"),
        ({"name": "x", "slug": "a/b"}, "slug"),
        ({"name": "x", "slug": "a\n"}, "slug"),
        ({"name": "x", "slug": "a" * 65}, "slug"),
        ({"name": "x", "slug": 1}, "slug"),
        ({"name": "x", "description": "x" * 1001}, "description"),
        ({"name": "x", "description": "\x1b[2J"}, "description"),
        ({"name": "x", "description": None}, "description"),
        ({"name": "x", "id": "1"}, "id"),
        ([], "body"),
    ],
)
async def test_what_cannot_be_an_organization_is_refused(
    world: World, instance: str, document: Any, field: str
) -> None:
    """422 names the field, and nothing is made."""
    _, errors = refusal(await call(world, "POST", ORGANIZATIONS, instance, document), 422)

    assert set(errors) == {field}
    assert len((await read(world, ORGANIZATIONS, instance))["data"]) == 2


async def test_the_longest_of_everything_is_taken(world: World, instance: str) -> None:
    """255 characters of a name, 64 of a slug, 1000 of a description."""
    wanted = {"name": "n" * 255, "slug": "s" * 64, "description": "d" * 1000}
    reply = await call(world, "POST", ORGANIZATIONS, instance, wanted)

    assert (reply.status, {name: reply.json["data"][name] for name in wanted}) == (201, wanted)


async def test_only_the_instance_makes_organizations(world: World, admin: str, restricted: str) -> None:
    """A token of an organization has nothing to do with others, whatever its scopes."""
    for secret in (admin, restricted):
        message, _ = refusal(await call(world, "POST", ORGANIZATIONS, secret, {"name": "x"}), 403)
        assert message == "only a token of the instance can make organizations"


async def test_change_organization(world: World, admin: str) -> None:
    """What is given changes, what is not given stays, and an empty description is one."""
    before = (await read(world, ORG, admin))["data"]
    seen = []
    for document in ({"name": " Acme Inc "}, {"description": "Tools\nfor all"}, {"name": "A", "description": ""}):
        reply = await call(world, "PATCH", ORG, admin, document)
        assert reply.status == 200
        assert await read(world, ORG, admin) == reply.json
        seen.append(reply.json["data"])

    assert [(item["name"], item["description"]) for item in seen] == [
        ("Acme Inc", before["description"]),
        ("Acme Inc", "Tools\nfor all"),
        ("A", ""),
    ]
    assert {(item["id"], item["slug"], item["created_at"]) for item in [before, *seen]} == {
        (before["id"], "acme", before["created_at"])
    }


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"description": "x" * 1001}, "description"),
        ({"name": "x", "slug": "other"}, "slug"),
        ({"slug": "acme"}, "slug"),
    ],
)
async def test_a_change_that_cannot_be_is_refused(world: World, admin: str, document: Any, field: str) -> None:
    """422 names the field; the slug, which stands in every lock file, is none that can change."""
    before = await read(world, ORG, admin)
    _, errors = refusal(await call(world, "PATCH", ORG, admin, document), 422)

    assert set(errors) == {field}
    assert before == await read(world, ORG, admin)


async def test_delete_organization(world: World, admin: str, instance: str) -> None:
    """Everything of it is gone, its mirrors and kept archives too; nothing of another organization is."""
    await world.get("/packages/acme/library/v1.0.0.zip", admin)
    await world.get("/packages/other/thing/1.0.0.zip", instance, org="other")
    other = (await read(world, f"{ORGANIZATIONS}/other/repositories", instance))["data"][0]["id"]
    assert len(world.kept()) == 2
    reply = await call(world, "DELETE", ORG, admin)

    assert (reply.status, reply.json) == (200, {"message": "Organization deleted successfully"})
    refusal(await call(world, "GET", ORG, admin), 401)
    refusal(await call(world, "GET", ORG, instance), 404)
    error(await world.ask("/packages.json", instance), 404)
    error(await world.ask("/packages/acme/library/v1.0.0.zip", instance), 404)
    await world.get("/packages/other/thing/1.0.0.zip", instance, org="other")
    assert len(world.kept()) == 1
    assert {path.stem for path in world.config.repositories.iterdir()} == {other}


async def test_a_restricted_token_changes_and_deletes_no_organization(world: World, restricted: str) -> None:
    """Who sees a part of an organization cannot take away the rest: 403 says why."""
    before = await read(world, ORG, restricted)
    for method, document in (("PATCH", {"name": "x"}), ("DELETE", None)):
        message, _ = refusal(await call(world, method, ORG, restricted, document), 403)
        assert "restricted to packages" in message
    assert before == await read(world, ORG, restricted)


async def test_two_at_once_are_one(world: World) -> None:
    """However many make, change or delete the same organization at once, one does and the others are told."""
    secret = await instance_token(world)
    path = f"{ORGANIZATIONS}/made"

    async def at_once(method: str, path: str, document: Any = None) -> list[int]:
        replies = await asyncio.gather(*(call(world, method, path, secret, document) for _ in range(4)))
        return sorted(reply.status for reply in replies)

    assert await at_once("POST", ORGANIZATIONS, {"name": "made"}) == [201, 409, 409, 409]
    assert await at_once("DELETE", path) == [200, 404, 404, 404]
    assert set(await at_once("DELETE", ORG)) == {200, 404}
    assert await at_once("PATCH", ORG, {"name": "x"}) == [404] * 4


async def test_an_organization_that_is_made_anew_is_another(world: World, admin: str, instance: str) -> None:
    """With the slug come neither the tokens nor the packages of the one that had it before."""
    await call(world, "DELETE", ORG, admin)
    reply = await call(world, "POST", ORGANIZATIONS, instance, {"name": "acme"})

    assert reply.status == 201
    assert TIME.fullmatch(reply.json["data"]["created_at"])
    refusal(await call(world, "GET", ORG, admin), 401)
    assert (await read(world, f"{ORG}/packages", instance))["data"] == []
