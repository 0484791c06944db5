"""The API reference itself, read from its file and walked: what it says is what a server does."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.api.harness import ALL, ORG, assert_fits, call, create_token, read, repository_id
from tests.registry.harness import Reply, Start, World
from tests.webhooks.harness import HOSTS, Followed, secrets_of

REFERENCE = Path(__file__).parents[3] / "shared/reference/api-reference.txt"
LIBRARY = "/org/acme/packages/acme/library/v1.0.0.zip"


class Section(msgspec.Struct):
    """An endpoint as the reference has it; `request` and `response` are its examples, None where it has none."""

    method: str
    path: str
    request: Any = None
    response: Any = None


def sections() -> dict[str, Section]:
    """The endpoints of the reference by method and path."""
    found: dict[str, Section] = {}
    section, example = Section("", ""), "response"
    lines = iter(REFERENCE.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if match := re.fullmatch(r"(GET|POST|PUT|PATCH|DELETE) (/\S+)", line):
            section, example = Section(match[1], match[2]), "response"
            found[line] = section
        elif line == "Request Body:":
            example = "request"
        elif line in ("Response:", "Error Responses"):
            example = "response"
            if line == "Error Responses":
                section = found[line] = Section("", "")
        elif line == "json":
            text = next(lines)
            while text.count("{") > text.count("}"):
                text += "\n" + next(lines)
            setattr(section, example, json.loads(text.replace("{ ... }", "{}")))
    return found


def lines_with(pattern: str) -> list[re.Match[str]]:
    """Lines of the reference that are of a pattern."""
    found = [re.fullmatch(pattern, line) for line in REFERENCE.read_text(encoding="utf-8").splitlines()]
    return [match for match in found if match]


async def ask(world: World, section: Section, *, document: Any = None) -> Reply:
    """The answer to a section's request about something that is there."""
    secret = await world.token(scopes=ALL)
    of_packages = section.path.startswith("/api/")
    names = {
        "organization": "acme",
        "slug": "acme",
        "vendor": "acme",
        "version": "v1.0.0",
        "package": "acme/library" if of_packages else "library",
        "id": await repository_id(world, "acme/library", secret),
    }
    if "/tokens/{id}" in section.path:
        names["id"] = (await create_token(world, secret))["id"]
    await world.store.usage.flush()
    return await call(world, section.method, section.path.format(**names), secret, document)


@pytest.fixture
async def inline(start: Start) -> World:
    """A server whose packages.json carries the versions."""
    return await start()


def rest() -> dict[str, Section]:
    """The endpoints of the reference that are asked with a token and answer with an example."""
    return {name: item for name, item in sections().items() if item.path.startswith("/api/")}


def test_the_reference_is_read() -> None:
    """The walk below finds every endpoint that the reference has, so that none is passed over."""
    assert len(sections()) == len(lines_with(r"(GET|POST|PUT|PATCH|DELETE) /\S+")) + 1 == 16
    assert len(rest()) == 9
    assert all(item.response for item in rest().values())
    assert [name for name, item in sections().items() if item.request] == ["POST /api/organizations/{slug}/tokens"]


@pytest.mark.parametrize("name", rest())
async def test_an_example_of_the_rest_api(world: World, admin: str, name: str) -> None:
    """Each endpoint answers with all fields of its example, of their types, and with its message to the letter."""
    section = rest()[name]
    document = section.request
    await read(world, "/api/token", admin)  # tokens of the example were used
    if document is not None:
        packages = [
            (await read(world, f"{ORG}/packages/acme/{one}", admin))["data"]["id"] for one in ("library", "plugin")
        ]
        document = document | {"packages": packages, "expires_at": "2099-01-01"}
    reply = await ask(world, section, document=document)

    created = section.method == "POST" and document is not None
    assert reply.status == (201 if created else 200)
    assert_fits(section.response, reply.json)
    if "message" in section.response:
        assert reply.json == section.response
    if "meta" in section.response:
        assert set(reply.json["meta"]) == set(section.response["meta"])


async def test_the_example_of_packages_json(inline: World) -> None:
    """packages.json has the versions by name and version, with the fields of the example."""
    example = sections()["GET /org/{organization}/packages.json"].response["packages"]["vendor/package-name"]
    packages = (await ask(inline, sections()["GET /org/{organization}/packages.json"])).json["packages"]

    versions = packages["acme/library"]
    for version in ("v1.0.0", "dev-main"):
        assert_fits(example["dev-main"], versions[version])
        assert_fits(example["1.0.0"]["dist"], versions[version]["dist"])
        assert versions[version]["version"] == version
    assert versions["v1.0.0"]["dist"]["url"].endswith(LIBRARY)


async def test_the_example_of_package_metadata(world: World) -> None:
    """p2 has the package by its name and its versions; as a list, which is what Composer 2 reads there."""
    section = sections()["GET /org/{organization}/p2/{vendor}/{package}.json"]
    document = (await ask(world, section)).json

    assert set(section.response) <= set(document)
    (versions,) = document["packages"].values()
    assert {"v1.0.0", "1.2.0+build.5"} <= {version["version"] for version in versions}


async def test_the_archive(world: World) -> None:
    """The path of the reference gives a ZIP archive."""
    section = sections()["GET /org/{organization}/packages/{vendor}/{package}/{version}.zip"]
    reply = await ask(world, section)

    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/zip")
    assert reply.decoded.startswith(b"PK")


@pytest.mark.parametrize("name", [name for name in sections() if " /webhooks/" in name])
async def test_a_webhook_of_the_reference(world: World, admin: str, name: str) -> None:
    """Each host's push to its address queues a sync, in the words of the endpoint that does so by hand."""
    _, _, provider, _ = sections()[name].path.split("/")
    host = next(host for host in HOSTS.values() if host.route == provider)
    repository = await repository_id(world, "acme/library", admin)
    followed = Followed(world, repository, await secrets_of(world).provide(repository))
    reply = await followed.deliver(host)

    by_hand = sections()["POST /api/organizations/{slug}/repositories/{id}/sync"].response
    assert (reply.status, reply.json) == (200, by_hand)


async def test_both_ways_to_authenticate(world: World, admin: str) -> None:
    """A token opens the API as the password of `token`, and as a bearer."""
    for path in ("/org/acme/packages.json", "/api/organizations"):
        basic = {"Authorization": "Basic " + base64.b64encode(f"token:{admin}".encode()).decode()}
        assert (await world.ask(world.base + path, headers=basic)).status == 200
        assert (await call(world, "GET", path, admin)).status == 200


async def test_the_shape_of_errors(world: World, admin: str) -> None:
    """An error has the message and, by field, the errors of the example."""
    reply = await call(world, "POST", f"{ORG}/tokens", admin, {"name": "", "scopes": ["packages:read"]})

    (example,) = [item.response for name, item in sections().items() if name == "Error Responses"]
    assert reply.status == 422
    assert set(reply.json) == set(example)
    assert isinstance(reply.json["message"], type(example["message"]))
    assert list(reply.json["errors"]) == ["name"]
    assert_fits(example["errors"]["field"], reply.json["errors"]["name"])


async def test_every_status_code(start: Start) -> None:
    """Each code of the reference's table is answered, for the reason that it gives."""
    world = await start(requests_per_minute=6)
    admin, reader = await world.token(scopes=ALL), await world.token()
    replies = {
        200: await call(world, "GET", f"{ORG}/packages", admin),
        201: await call(world, "POST", f"{ORG}/tokens", admin, {"name": "made"}),
        400: await call(world, "POST", f"{ORG}/tokens", admin, body=b"{"),
        401: await call(world, "GET", f"{ORG}/packages"),
        403: await call(world, "GET", f"{ORG}/tokens", reader),
        404: await call(world, "GET", f"{ORG}/packages/acme/missing", admin),
        422: await call(world, "POST", f"{ORG}/tokens", admin, {"name": "made", "scopes": ["all"]}),
    }
    await call(world, "GET", f"{ORG}/packages", admin)
    replies[429] = await call(world, "GET", f"{ORG}/packages", admin)
    with world.database() as connection:
        connection.execute("ALTER TABLE repositories RENAME TO hidden")
    replies[500] = await call(world, "GET", f"{ORG}/repositories", await world.token(scopes=ALL))

    assert {code: reply.status for code, reply in replies.items()} == {code: code for code in replies}
    assert {int(match[1]) for match in lines_with(r"(\d{3})(?:OK|[A-Z].*)")} == set(replies)


async def test_the_headers_of_the_rate_limit(world: World, admin: str) -> None:
    """Each header of the reference is on answers, with its numbers for the first request."""
    headers = {match[1]: int(match[2]) for match in lines_with(r"(X-[A-Za-z-]+): (\d+)")}
    reply = await call(world, "GET", f"{ORG}/packages", admin)

    assert len(headers) == 3
    assert all(name in reply.headers for name in headers)
    for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining"):
        assert int(reply.headers[name]) == headers[name]
    download = await world.get("/packages/acme/library/v1.0.0.zip", admin)
    (limit,) = [match[1] for match in lines_with(r".*Package downloads: (\d+) downloads per minute per package")]
    assert download.headers["X-RateLimit-Limit"] == limit
