"""The contract of the API, read from contract.yaml and walked: what it says is what a server does."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.web.api.harness import ALL, ORG, assert_fits, call, create_token, read, repository_id
from tests.web.composer.harness import Reply, Start, World
from tests.web.webhooks.harness import HOSTS, Followed, secrets_of

CONTRACT: Any = yaml.safe_load((Path(__file__).parent / "contract.yaml").read_text(encoding="utf-8"))
REST: dict[str, Any] = CONTRACT["rest"]
INDEX, METADATA, ARCHIVE = CONTRACT["composer"]
KINDS = {"uuid": "uuid", "text": "", "count": 1, "time": "2024-01-01T00:00:00Z", "time or null": None}


def example(shape: Any) -> Any:
    """A value of a shape, as `assert_fits` wants it; fails for a kind that there is not."""
    match shape:
        case dict():
            return {name: example(value) for name, value in shape.items()}
        case list():
            return [example(value) for value in shape]
        case _:
            return KINDS[shape]


async def ask(world: World, endpoint: str, *, document: Any = None, query: str = "") -> Reply:
    """The answer of an endpoint, asked about something that is there."""
    method, path = endpoint.split(" ")
    secret = await world.token(scopes=ALL)
    names = {
        "organization": "acme",
        "slug": "acme",
        "vendor": "acme",
        "version": "v1.0.0",
        "package": "acme/library" if path.startswith("/api/") else "library",
        "id": await repository_id(world, "acme/library", secret),
    }
    if "/tokens/{id}" in path:
        names["id"] = (await create_token(world, secret))["id"]
    await world.store.usage.flush()
    return await call(world, method, path.format(**names) + query, secret, document)


def test_the_contract_is_whole() -> None:
    """All that is promised stands in the file: an endpoint that is taken out of it is taken out here, too."""
    assert list(CONTRACT) == ["user", "composer", "rest", "webhooks", "error", "statuses", "limits"]
    assert (len(CONTRACT["composer"]), len(REST), len(CONTRACT["webhooks"])) == (3, 9, 3)
    assert len(CONTRACT["limits"]["headers"]) == 3


@pytest.fixture
async def inline(start: Start) -> World:
    """A server whose packages.json carries the versions."""
    return await start()


@pytest.mark.parametrize("endpoint", REST)
async def test_an_endpoint_of_the_rest_api(world: World, admin: str, endpoint: str) -> None:
    """Each endpoint answers with all fields of its shape, of their kinds, and with its message to the letter."""
    says = REST[endpoint]
    document = says.get("request")
    await read(world, "/api/token", admin)  # tokens that are listed were used
    if document is not None:
        ids = [(await read(world, f"{ORG}/packages/{name}", admin))["data"]["id"] for name in document["packages"]]
        document = document | {"packages": ids}
    reply = await ask(world, endpoint, document=document)

    assert reply.status == says.get("status", 200)
    if "message" in says:
        assert reply.json == {"message": says["message"]}
    else:
        assert_fits(example(says["answer"]), reply.json)
    for part in says.get("exactly", []):
        assert set(reply.json[part]) == set(says["answer"][part])


@pytest.mark.parametrize("endpoint", [name for name, says in REST.items() if "query" in says])
async def test_the_parameters_of_an_endpoint(world: World, endpoint: str) -> None:
    """A parameter is read, up to the most that it may be; one that does not exist would be passed over."""
    says = REST[endpoint]
    reply = await ask(world, endpoint, query="?search=PLUG&page=2&per_page=1")
    assert says["query"] == ["search", "page", "per_page"]
    assert (reply.json["data"], reply.json["meta"]["total"]) == ([], 1)
    assert (reply.json["meta"]["current_page"], reply.json["meta"]["per_page"]) == (2, 1)
    for name, most in says["most"].items():
        assert (await ask(world, endpoint, query=f"?{name}={most}")).status == 200
        assert (await ask(world, endpoint, query=f"?{name}={most + 1}")).status == 422


async def test_packages_json(inline: World) -> None:
    """packages.json has the versions by name and version, and a release says where its archive is."""
    says = CONTRACT["composer"][INDEX]
    packages = (await ask(inline, INDEX)).json[says["field"]]

    versions = packages["acme/library"]
    for version in ("v1.0.0", "dev-main"):
        assert_fits(example(says["version"]), versions[version])
        assert versions[version]["version"] == version
    _, path = ARCHIVE.split(" ")
    names = {"organization": "acme", "vendor": "acme", "package": "library", "version": "v1.0.0"}
    assert versions["v1.0.0"]["dist"]["url"] == inline.base + path.format(**names)


async def test_package_metadata(world: World) -> None:
    """p2 has the package by its name and its versions as a list."""
    says = CONTRACT["composer"][METADATA]
    ((name, versions),) = (await ask(world, METADATA)).json[says["field"]].items()

    assert name == "acme/library"
    assert_fits([example(says["version"])], versions)
    assert {"v1.0.0", "1.2.0+build.5"} <= {version["version"] for version in versions}


async def test_the_archive(world: World) -> None:
    """The path of an archive gives a ZIP archive."""
    reply = await ask(world, ARCHIVE)

    assert (reply.status, reply.headers["Content-Type"]) == (200, CONTRACT["composer"][ARCHIVE]["type"])
    assert reply.decoded.startswith(b"PK")


@pytest.mark.parametrize("endpoint", CONTRACT["webhooks"])
async def test_a_webhook(world: World, admin: str, endpoint: str) -> None:
    """Each host's push to its address queues a sync, in the words of the endpoint that does so by hand."""
    method, path = endpoint.split(" ")
    _, _, provider, parameter = path.split("/")
    assert (method, parameter) == ("POST", "{repository-id}")
    host = next(host for host in HOSTS.values() if host.route == provider)
    repository = await repository_id(world, "acme/library", admin)
    followed = Followed(world, repository, await secrets_of(world).provide(repository))
    reply = await followed.deliver(host)

    by_hand = REST["POST /api/organizations/{slug}/repositories/{id}/sync"]["message"]
    assert (reply.status, reply.json) == (200, {"message": by_hand})


async def test_both_ways_to_authenticate(world: World, admin: str) -> None:
    """A token opens the API as the password of the user, and as a bearer."""
    for path in ("/org/acme/packages.json", "/api/organizations"):
        pair = base64.b64encode(f"{CONTRACT['user']}:{admin}".encode()).decode()
        assert (await world.ask(world.base + path, headers={"Authorization": f"Basic {pair}"})).status == 200
        assert (await call(world, "GET", path, admin)).status == 200


async def test_the_shape_of_errors(world: World, admin: str) -> None:
    """An error has the message and the errors by field, and nothing else."""
    reply = await call(world, "POST", f"{ORG}/tokens", admin, {"name": "", "scopes": ["packages:read"]})

    shape = CONTRACT["error"]
    assert reply.status == 422
    assert set(reply.json) == set(shape)
    assert_fits(example(shape["message"]), reply.json["message"])
    assert list(reply.json["errors"]) == ["name"]
    assert_fits(example(shape["errors"]["field"]), reply.json["errors"]["name"])


async def test_every_status_code(start: Start) -> None:
    """Each code of the contract is answered, for its reason."""
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
    assert CONTRACT["statuses"] == list(replies)


async def test_the_headers_of_the_rate_limit(world: World, admin: str) -> None:
    """Each header of the contract is on answers, with the numbers of the first request."""
    limits = CONTRACT["limits"]
    reply = await call(world, "GET", f"{ORG}/packages", admin)
    download = await world.get("/packages/acme/library/v1.0.0.zip", admin)

    for answer, limit in ((reply, limits["requests"]), (download, limits["downloads"])):
        numbers = {name: int(answer.headers[name]) for name in limits["headers"]}
        assert list(numbers.values())[:2] == [limit, limit - 1]
        assert numbers["X-RateLimit-Reset"] > 0
