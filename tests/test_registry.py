"""What Composer gets over HTTP, and who gets it: a real server on real repositories, one request at a time."""

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import re
import shutil
import sqlite3
import zipfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import zstandard
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient
from yarl import URL

from pricore.addresses import parse_address
from pricore.auth import create_secret, hash_secret
from pricore.clock import now
from pricore.config import Config
from pricore.git import Git, Mirror
from pricore.registry import Answer, _Cache
from pricore.server import build_app
from pricore.store import Store
from pricore.sync import Syncer
from tests.harness import GitRepository

LIBRARY = {
    "name": "acme/library",
    "description": "Words for everyone",
    "require": {"php": ">=8.1"},
    "provide": {"psr/log-implementation": "1.0"},
}
PLUGIN = {
    "name": "acme/plugin",
    "description": "Words, plugged in",
    "type": "composer-plugin",
    "provide": {"PSR/log-implementation": "1.0"},
}
TOOLS = {"name": "beta/tools", "description": "Tools"}
STABLE = ["1.2.0+build.5", "1.1.0-beta1", "v1.0.0"]
DEV = {"dev-main", "dev-feature/x", "dev-a+b"}

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


class Reply(msgspec.Struct, frozen=True):
    """An answer as it came over the wire, nothing decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["Content-Type"].startswith("application/json")
        return json.loads(self.decoded)

    @property
    def decoded(self) -> bytes:
        match self.headers.get("Content-Encoding"):
            case "zstd":
                return zstandard.ZstdDecompressor().decompressobj().decompress(self.body)
            case "gzip":
                return zlib.decompress(self.body, wbits=31)
            case None:
                return self.body
            case other:
                raise AssertionError(f"nobody asked for {other}")


class World:
    """A server on a data folder of its own, and the store and syncer that stand behind it."""

    def __init__(
        self, store: Store, syncer: Syncer, config: Config, client: TestClient[web.Request, web.Application]
    ) -> None:
        self.store = store
        self.syncer = syncer
        self.config = config
        self.client = client
        self.base = f"http://{client.host}:{client.port}"

    async def token(
        self, *, org: str = "acme", scopes: tuple[str, ...] = ("packages:read",), **options: Any
    ) -> str:
        """A new token's secret."""
        secret = create_secret()
        organization = await self.store.organizations.get(org)
        await self.store.tokens.create(
            organization, name="test", token_hash=hash_secret(secret), scopes=scopes, **options
        )
        return secret

    async def ask(
        self,
        path: str,
        secret: str | None = None,
        *,
        method: str = "GET",
        org: str = "acme",
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Reply:
        """The answer to a request; `path` is below the organization, or a whole URL of this server."""
        sent = {"Authorization": f"Bearer {secret}"} if secret is not None else {}
        url = URL(path.removeprefix(self.base) if "://" in path else f"/org/{org}{path}", encoded=True)
        async with self.client.request(method, url, headers=sent | dict(headers or {}), data=body) as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str, secret: str | None = None, **options: Any) -> Reply:
        """The answer where there has to be one; without a secret it is asked with a token that sees all."""
        reply = await self.ask(path, secret or await self.token(), **options)
        assert reply.status == 200, reply
        return reply

    async def versions(self, name: str, secret: str | None = None) -> dict[str, dict[str, Any]]:
        """Both halves of a package's metadata, whole, by version."""
        found = {}
        for half in ("", "~dev"):
            document = (await self.get(f"/p2/{name}{half}.json", secret)).json
            entry: dict[str, Any] = {}
            for change in document["packages"][name]:
                entry = {key: value for key, value in (entry | change).items() if value != "__unset"}
                found[entry["version"]] = entry
        return found

    async def follow(self, upstream: GitRepository) -> None:
        organization = await self.store.organizations.get("acme")
        await self.syncer.add(organization, parse_address(upstream.url), progress=_silent)

    async def sync(self, upstream: GitRepository) -> None:
        organization = await self.store.organizations.get("acme")
        repository = await self.store.repositories.get(organization, upstream.url)
        await self.syncer.sync(repository, progress=_silent)

    def database(self) -> contextlib.closing[sqlite3.Connection]:
        """A connection of somebody else's."""
        return contextlib.closing(sqlite3.connect(self.config.database, isolation_level=None, timeout=5))

    def kept(self) -> list[str]:
        """The names of all files in the folder of archives."""
        return sorted(path.name for path in self.config.dists.rglob("*") if path.is_file())


Start = Callable[..., Awaitable[World]]


def _silent(text: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


class Template(msgspec.Struct, frozen=True):
    """A data folder with two organizations; `between` is a commit of acme/library that was never advertised."""

    data: Path
    between: str


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """acme with acme/library, acme/plugin (branches alone) and beta/tools (tags alone); other with other/thing."""
    folder = tmp_path_factory.mktemp("template")
    library = GitRepository(folder / "library")
    library.commit(LIBRARY, files={"src/words.txt": "one\n" * 1000})
    library.tag("v1.0.0", annotated=True)
    library.commit(LIBRARY, files={"src/words.txt": "two\n" * 1000})
    library.tag("1.1.0-beta1")
    library.commit(LIBRARY, files={"src/words.txt": "three\n" * 1000})
    library.tag("1.2.0+build.5")
    between = library.commit(files={"src/words.txt": "four\n" * 1000})
    for branch in ("feature/x", "a+b"):
        library.git("checkout", "--quiet", "-b", branch)
        library.commit(files={"src/words.txt": branch})
    library.git("checkout", "--quiet", "main")
    library.commit(files={"src/words.txt": "five\n" * 1000})
    plugin = GitRepository(folder / "plugin")
    plugin.commit(PLUGIN)
    tools = GitRepository(folder / "tools")
    tools.commit(TOOLS)
    tools.tag("1.0.0")
    tools.git("rm", "--quiet", "composer.json")
    tools.commit(files={"README.md": "The tools moved."})
    thing = GitRepository(folder / "thing")
    thing.commit({"name": "other/thing"})
    thing.tag("1.0.0")

    async def build(config: Config) -> None:
        with Git(timeout=60) as git:
            async with Store(config.database) as store:
                syncer = Syncer(store, git, config)
                for slug, upstreams in {"acme": (library, plugin, tools), "other": (thing,)}.items():
                    organization = await store.organizations.create(slug, slug)
                    for upstream in upstreams:
                        await syncer.add(organization, parse_address(upstream.url), progress=_silent)

    asyncio.run(build(Config(data=folder / "data", git_timeout=60)))
    return Template(folder / "data", between)


@pytest.fixture
async def stack() -> AsyncIterator[contextlib.AsyncExitStack]:
    """What is closed after the servers were stopped."""
    async with contextlib.AsyncExitStack() as opened:
        yield opened


@pytest.fixture
def start(
    stack: contextlib.AsyncExitStack, aiohttp_client: AiohttpClient, template: Template, tmp_path: Path
) -> Start:
    """A starter of servers with settings of their own, all on one data folder."""
    shutil.copytree(template.data, tmp_path / "data")

    async def run(**settings: Any) -> World:
        config = Config(data=tmp_path / "data", git_timeout=60, **settings)
        store = await stack.enter_async_context(Store(config.database))
        git = stack.enter_context(Git(timeout=60))
        client = await aiohttp_client(
            build_app(store, git, config), auto_decompress=False, headers={"Accept-Encoding": "identity"}
        )
        return World(store, Syncer(store, git, config), config, client)

    return run


@pytest.fixture
async def world(start: Start) -> World:
    return await start(inline_limit=0)


def error(reply: Reply, status: int) -> str:
    """The message of an error; it has the shape of the API reference."""
    assert status == reply.status
    document = reply.json
    assert set(document) <= {"message", "errors", "warning"}
    message = document["message"]
    assert isinstance(message, str)
    assert message
    return message


# Who may see what


async def test_the_tests_know_every_route(world: World) -> None:
    """No route goes untested: each answers a good token."""
    routes = {
        (route.method, route.resource.canonical.removeprefix("/org/{organization}"))
        for route in world.client.app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/org/") and route.method != "HEAD"
    }

    assert {(method, route) for method, route, _ in ROUTES} == routes
    secret = await world.token()
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
async def test_a_token_is_taken_in_every_form(world: World, form: str) -> None:
    """Bearer, the password of Basic and its user name are equally good."""
    text = form.format(await world.token())
    header = text if " " in text else "Basic " + base64.b64encode(text.encode()).decode()

    assert (await world.ask("/packages.json", headers={"Authorization": header})).status == 200


async def test_a_token_expires_while_it_is_in_use(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The expiry counts for tokens that were good a moment ago."""
    secret = await world.token(expires_at=now() + 1000)
    await world.get("/p2/acme/library.json", secret)
    monkeypatch.setattr("pricore.registry.time", SimpleNamespace(time=lambda: now() + 1000.0))

    error(await world.ask("/p2/acme/library.json", secret), 401)


async def test_a_token_that_was_revoked_elsewhere_is_refused_at_once(world: World) -> None:
    """A token that the command line revokes is refused by the very next request, though it was good before."""
    secret = await world.token()
    await world.get("/p2/acme/library.json", secret)
    async with Store(world.config.database) as other:
        organization = await other.organizations.get("acme")
        (token,) = await other.tokens.of_organization(organization.id)
        await other.tokens.revoke(organization, token.id)

    for _, _, path in ROUTES[:3]:
        error(await world.ask(path, secret), 401)


async def test_the_use_of_a_token_is_noted(world: World) -> None:
    """A token shows when it was used last, without a write for each request."""
    secret = await world.token()
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


# Metadata


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
    """A version has its archive with commit and checksum, its time and its requirements."""
    entry = (await world.versions("acme/library"))["v1.0.0"]
    dist = entry.pop("dist")

    assert entry == {
        "name": "acme/library",
        "version": "v1.0.0",
        "version_normalized": "1.0.0.0",
        "description": "Words for everyone",
        "type": "library",
        "time": entry["time"],
        "require": {"php": ">=8.1"},
        "provide": {"psr/log-implementation": "1.0"},
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", entry["time"])
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
async def test_an_unknown_package_is_not_there(world: World, name: str) -> None:
    """A name that isn't here is 404, and Composer goes on with its other repositories."""
    error(await world.ask(f"/p2/{name}.json", await world.token()), 404)


async def test_capitals_in_a_name_make_no_difference(world: World) -> None:
    """Metadata, archives and providers are found by a name in any case, restricted or not."""
    secret = await world.token(packages=["acme/library"])
    document = (await world.get("/p2/Acme/LIBRARY.json", secret)).json

    assert list(document["packages"]) == ["acme/library"]
    assert (await world.get("/p2/ACME/library.json", secret)).json == document
    await world.get("/packages/Acme/Library/v1.0.0.zip", secret)
    await world.get("/providers/Psr/Log-Implementation.json", secret)


@pytest.mark.parametrize("path", ["/packages.json", "/p2/acme/library.json", "/p2/acme/library~dev.json"])
async def test_what_a_client_has_is_not_sent_again(world: World, path: str) -> None:
    """The exact date of a document is answered with 304 and no body, any other date with the document."""
    secret = await world.token()
    first = await world.get(path, secret)
    date = first.headers["Last-Modified"]
    moment = int(parsedate_to_datetime(date).timestamp())
    again = await world.ask(path, secret, headers={"If-Modified-Since": date})

    assert (again.status, again.body) == (304, b"")
    for header in ("Last-Modified", "Vary", "Cache-Control"):
        assert first.headers[header] == again.headers[header]
    for other in (formatdate(moment - 1, usegmt=True), formatdate(moment + 1, usegmt=True), "", "yesterday"):
        reply = await world.get(path, secret, headers={"If-Modified-Since": other})
        assert first.body == reply.body


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


async def test_two_views_never_have_one_date(start: Start) -> None:
    """A client that changes its token never takes the other token's packages.json for its own."""
    world = await start()
    views: list[list[str] | None] = [
        *(None, [], ["acme/library"], ["acme/plugin"], ["acme/library", "acme/plugin"]),
        *(["beta/tools"], ["acme/library", "acme/plugin", "beta/tools"]),
    ]
    secrets = [await world.token(packages=view) for view in views]
    dates = [(await world.get("/packages.json", secret)).headers["Last-Modified"] for secret in secrets]

    assert len(views) == len(set(dates))
    for secret, own in zip(secrets, dates, strict=True):
        for date in dates:
            reply = await world.ask("/packages.json", secret, headers={"If-Modified-Since": date})
            assert reply.status == (304 if date == own else 200)


async def test_equal_views_have_one_date(world: World) -> None:
    """Two tokens that see the same share a date, and a client that changes between them keeps its copy."""
    first, second = [await world.token(packages=["acme/plugin", "acme/library"]) for _ in range(2)]

    dates = [(await world.get("/packages.json", secret)).headers["Last-Modified"] for secret in (first, second)]
    assert dates[0] == dates[1]


@pytest.mark.parametrize("path", ["/packages.json", "/p2/acme/library.json", "/p2/acme/plugin.json"])
async def test_documents_are_for_one_client_and_asked_for_again(world: World, path: str) -> None:
    """No proxy keeps a document for others, and no client uses it without asking whether it is still right."""
    headers = (await world.get(path)).headers

    assert headers["Cache-Control"] == "private, no-cache"
    assert headers["Vary"] == "Authorization, Accept-Encoding"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["/list.json", "/search.json", "/security-advisories"])
async def test_lists_are_for_one_client(world: World, path: str) -> None:
    """What depends on the token says so to proxies."""
    headers = (await world.get(path)).headers

    assert headers["Cache-Control"] == "private, no-cache"
    assert "Authorization" in headers["Vary"]


ENCODINGS = [
    ("deflate, gzip, br, zstd", "zstd"),
    ("gzip", "gzip"),
    ("gzip, deflate", "gzip"),
    ("gzip;q=0.5", "gzip"),
    ("identity", None),
    ("br", None),
    ("", None),
    ("zstd;q=0, gzip;q=0", None),
]


@pytest.mark.parametrize("path", ["/packages.json", "/p2/acme/library.json", "/packages/acme/library/v1.0.0.zip"])
async def test_every_encoding_gives_the_same_bytes(world: World, path: str) -> None:
    """zstd for who takes it, gzip for who doesn't, neither for who takes none: decoded they are equal."""
    plain = await world.get(path)
    for accepted, encoding in ENCODINGS:
        reply = await world.get(path, headers={"Accept-Encoding": accepted})

        assert encoding == reply.headers.get("Content-Encoding")
        assert str(len(reply.body)) == reply.headers["Content-Length"]
        assert plain.body == reply.decoded
        assert encoding is None or len(reply.body) < len(plain.body)


@pytest.mark.parametrize("path", ["/packages.json", "/p2/acme/library.json", "/packages/acme/library/v1.0.0.zip"])
@pytest.mark.parametrize("accepted", ["zstd", "gzip", "identity"])
async def test_head_is_get_without_the_body(world: World, path: str, accepted: str) -> None:
    """HEAD tells what GET would, length included."""
    secret = await world.token()
    headers = {"Accept-Encoding": accepted}
    head = await world.get(path, secret, method="HEAD", headers=headers)
    full = await world.get(path, secret, headers=headers)

    assert head.body == b""
    told = [{key: value for key, value in item.headers.items() if key != "Date"} for item in (head, full)]
    assert told[0] == told[1]
    error(await world.ask(path, method="GET", headers=headers), 401)
    assert (await world.ask(path, method="HEAD", headers=headers)).status == 401


async def test_what_is_synced_is_served_by_the_next_request(world: World, tmp_path: Path) -> None:
    """A new version is in the answers as soon as its sync has ended, under a later date."""
    upstream = GitRepository(tmp_path / "upstream")
    upstream.commit({"name": "acme/new"})
    secret = await world.token()
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


async def test_many_at_once_get_the_same_answer(world: World) -> None:
    """Clients that ask at the same time for what isn't in memory yet all get it."""
    secret = await world.token()
    for path in ("/p2/acme/library.json", "/p2/acme/plugin~dev.json", "/packages.json"):
        replies = await asyncio.gather(*(world.ask(path, secret) for _ in range(20)))

        assert {200} == {reply.status for reply in replies}
        assert len({reply.body for reply in replies}) == 1


def test_an_answer_takes_its_room_in_memory_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer made for several clients at a time drives no other out; beyond the limit the oldest go."""
    answer = Answer(b"x" * 1000, 0, "identity")
    monkeypatch.setattr("pricore.registry._MOST_KEPT", 3 * answer.size)
    cache = _Cache(revision=0)
    cache.keep(("first",), answer)
    for _ in range(10):
        cache.keep(("second",), answer)
    cache.keep(("third",), answer)
    assert list(cache.answers) == [("first",), ("second",), ("third",)]
    cache.keep(("fourth",), answer)
    assert list(cache.answers) == [("second",), ("third",), ("fourth",)]


async def test_a_package_that_was_renamed_is_served_under_its_old_name(world: World, tmp_path: Path) -> None:
    """After a rename upstream the old name goes on, marked abandoned in favour of the new, archives included."""
    upstream = GitRepository(tmp_path / "upstream")
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
        assert entry["dist"]["shasum"] == hashlib.sha1(archive.body).hexdigest()
    renamed = await world.versions("acme/renamed")
    assert {"1.0.0", "1.1.0", "dev-main"} == set(renamed)
    assert {None} == {entry.get("abandoned") for entry in renamed.values()}
    found = (await world.get("/search.json?q=renamed")).json["results"]
    assert {item["name"]: item.get("abandoned") for item in found} == {
        "acme/old": "acme/renamed",
        "acme/renamed": None,
    }
    assert {"acme/old", "acme/renamed"} <= set((await world.get("/packages.json")).json["available-packages"])


# packages.json


async def test_the_root_tells_where_everything_is(world: World) -> None:
    """packages.json names every package and the absolute address of every other endpoint."""
    url = f"{world.base}/org/acme"

    assert (await world.get("/packages.json")).json == {
        "packages": {},
        "metadata-url": f"{url}/p2/%package%.json",
        "available-packages": ["acme/library", "acme/plugin", "beta/tools"],
        "list": f"{url}/list.json",
        "search": f"{url}/search.json?q=%query%&type=%type%",
        "providers-api": f"{url}/providers/%package%.json",
        "notify-batch": f"{url}/downloads",
        "security-advisories": {"metadata": False, "api-url": f"{url}/security-advisories"},
    }


async def test_a_small_organization_is_in_the_root_as_a_whole(start: Start) -> None:
    """Inline versions are keyed by their version, whole, the same as in p2, and each has a uid of its own."""
    world = await start()
    packages = (await world.get("/packages.json")).json["packages"]
    uids = [entry.pop("uid") for versions in packages.values() for entry in versions.values()]

    assert sorted(packages) == ["acme/library", "acme/plugin", "beta/tools"]
    for name, versions in packages.items():
        assert await world.versions(name) == versions
        assert list(versions) == [entry["version"] for entry in versions.values()]
    assert all(isinstance(uid, int) for uid in uids)
    assert len(uids) == len(set(uids))


async def test_composer_1_is_told_to_upgrade(world: World) -> None:
    """The first Composer, which knows none of this, gets a sentence that it shows."""
    reply = await world.ask(
        "/packages.json", await world.token(), headers={"User-Agent": "Composer/1.10.27 (Linux; PHP 7.4)"}
    )

    assert "composer self-update" in error(reply, 400)
    assert reply.json["warning"] == reply.json["message"]


def urls(document: Any) -> list[str]:
    """Every absolute URL in a document."""
    if isinstance(document, dict | list):
        items = document.values() if isinstance(document, dict) else document
        return [url for item in items for url in urls(item)]
    return [document] if isinstance(document, str) and "://" in document else []


DOCUMENTS = ["/packages.json", "/p2/acme/library.json", "/p2/acme/library~dev.json", "/search.json?q=words"]


@pytest.mark.parametrize("limit", [0, 64 * 1024])
@pytest.mark.parametrize("path", DOCUMENTS)
async def test_every_url_begins_with_the_public_one(start: Start, path: str, limit: int) -> None:
    """Where the public URL is set, it is what clients get, whatever name they used themselves."""
    world = await start(public_url="https://packages.example.com/registry", inline_limit=limit)
    found = urls((await world.get(path, headers={"Host": "evil.example.com"})).json)

    assert found
    assert [url for url in found if not url.startswith("https://packages.example.com/registry/org/acme/")] == []


@pytest.mark.parametrize("limit", [0, 64 * 1024])
@pytest.mark.parametrize("path", DOCUMENTS)
async def test_without_a_public_url_it_is_the_one_that_was_asked(start: Start, path: str, limit: int) -> None:
    """Each client gets URLs under the name that it used, never another client's."""
    world = await start(inline_limit=limit)
    secret = await world.token()
    for host in ("packages.internal:8080", "PACKAGES", "[2001:db8::1]:80", "127.0.0.1"):
        found = urls((await world.get(path, secret, headers={"Host": host})).json)

        assert found
        assert [url for url in found if not url.startswith(f"http://{host}/org/acme/")] == []


async def test_a_new_public_url_reaches_clients_that_have_a_copy(start: Start) -> None:
    """After a restart with another public URL no document is answered with 304."""
    world = await start(public_url="https://old.example.com")
    secret = await world.token()
    dates = {path: (await world.get(path, secret)).headers["Last-Modified"] for path in DOCUMENTS[:3]}
    world = await start(public_url="https://new.example.com")

    for path, date in dates.items():
        reply = await world.get(path, secret, headers={"If-Modified-Since": date})
        assert "https://old.example.com" not in reply.body.decode()


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_a_malformed_host_is_refused(world: World, path: str) -> None:
    """What is no host name gets into no document."""
    secret = await world.token()
    for host in (
        *("a b", 'a"b', "a/b", "user@a", "a:b", "a:123456", "a\\b", "\u00e9.example.com", "a?b", "a#b", "a,b"),
        *("[::1", "::1", "%61", "${a}", ""),
    ):
        error(await world.ask(path, secret, headers={"Host": host}), 400)


# Archives


async def test_an_archive_is_what_was_advertised(world: World) -> None:
    """Every version's archive has the advertised checksum in each encoding, and one folder with its files."""
    secret = await world.token()
    found = await world.versions("acme/library", secret)
    assert {*STABLE, *DEV} == set(found)
    for entry in found.values():
        for accepted in ("zstd", "gzip", "identity"):
            reply = await world.get(entry["dist"]["url"], secret, headers={"Accept-Encoding": accepted})

            assert entry["dist"]["shasum"] == hashlib.sha1(reply.decoded).hexdigest()
            assert reply.headers["Content-Type"] == "application/zip"
            assert reply.headers["Vary"] == "Authorization, Accept-Encoding"
        names = zipfile.ZipFile(io.BytesIO(reply.body)).namelist()
        assert len({name.partition("/")[0] for name in names}) == 1
        assert {"composer.json", "src/words.txt"} <= {name.partition("/")[2] for name in names}


async def test_versions_with_signs_in_them_have_urls(world: World) -> None:
    """A version with `/` or `+` is advertised at an address that works, with the commit where it is a branch."""
    found = await world.versions("acme/library")
    base = f"{world.base}/org/acme/packages/acme/library"

    assert f"{base}/1.2.0+build.5.zip" == found["1.2.0+build.5"]["dist"]["url"]
    for version in ("dev-feature/x", "dev-a+b"):
        dist = found[version]["dist"]
        assert f"{base}/{version}/{dist['reference']}.zip" == dist["url"]
    # as clients that escape more would ask
    for path in ("1.2.0%2Bbuild.5", "dev-a%2Bb", "dev-feature/x", "dev%2Dfeature/x"):
        await world.get(f"/packages/acme/library/{path}.zip")


@pytest.mark.parametrize("version", ["v1.0.0", "1.0.0", "1.0", "1", "V1.0.0.0"])
async def test_a_tag_is_found_however_it_is_spelled(world: World, version: str) -> None:
    """v1.0.0 and 1.0 mean the same release: locks that name either are installed."""
    shasum = (await world.versions("acme/library"))["v1.0.0"]["dist"]["shasum"]

    assert shasum == hashlib.sha1((await world.get(f"/packages/acme/library/{version}.zip")).body).hexdigest()


@pytest.mark.parametrize(
    "path",
    [
        *("acme/library/9.0.0", "acme/library/dev-missing", "acme/library/latest", "acme/missing/v1.0.0"),
        *("missing/library/v1.0.0", "acme/plugin/v1.0.0", "acme/library/v1.0.0/", "acme/library/..%2f..%2fx"),
        f"acme/library/dev-main/{'0' * 40}",
    ],
)
async def test_an_unknown_archive_is_not_there(world: World, path: str) -> None:
    """A version or commit that was never advertised for the package is 404."""
    error(await world.ask(f"/packages/{path}.zip", await world.token()), 404)


async def test_a_commit_that_was_never_advertised_is_not_there(world: World, template: Template) -> None:
    """A commit can be in the repository, and is still 404 as long as no version was made of it."""
    for version in ("dev-main", "v1.0.0"):
        path = f"/packages/acme/library/{version}/{template.between}.zip"
        error(await world.ask(path, await world.token()), 404)


async def test_a_commit_of_another_package_is_not_there(world: World) -> None:
    """A commit is an archive of its own package only."""
    reference = (await world.versions("acme/plugin"))["dev-main"]["dist"]["reference"]
    await world.get(f"/packages/acme/plugin/dev-main/{reference}.zip")

    error(await world.ask(f"/packages/acme/library/dev-main/{reference}.zip", await world.token()), 404)


async def test_a_commit_that_was_pushed_away_is_still_there(world: World, tmp_path: Path) -> None:
    """What a lock file names installs after a force-push, even if nobody had downloaded it before."""
    upstream = GitRepository(tmp_path / "upstream")
    upstream.commit({"name": "acme/pushed"}, files={"file.txt": "old"})
    await world.follow(upstream)
    old = (await world.versions("acme/pushed"))["dev-main"]["dist"]
    upstream.git("commit", "--quiet", "--amend", "--message=other")
    upstream.git("reflog", "expire", "--expire=now", "--all")
    upstream.git("gc", "--quiet", "--prune=now")
    await world.sync(upstream)
    new = (await world.versions("acme/pushed"))["dev-main"]["dist"]

    assert old["reference"] != new["reference"]
    for dist in (old, new):
        assert dist["shasum"] == hashlib.sha1((await world.get(dist["url"])).body).hexdigest()


async def test_a_branch_that_was_deleted_leaves_its_archives(world: World, tmp_path: Path) -> None:
    """A branch that is gone upstream is no version any more, and what a lock file names of it still installs."""
    upstream = GitRepository(tmp_path / "upstream")
    upstream.commit({"name": "acme/branched"})
    upstream.git("checkout", "--quiet", "-b", "gone")
    upstream.commit(files={"file.txt": "gone"})
    upstream.git("checkout", "--quiet", "main")
    await world.follow(upstream)
    dist = (await world.versions("acme/branched"))["dev-gone"]["dist"]
    upstream.git("branch", "--quiet", "-D", "gone")
    await world.sync(upstream)

    assert "dev-gone" not in await world.versions("acme/branched")
    assert dist["shasum"] == hashlib.sha1((await world.get(dist["url"])).body).hexdigest()
    error(await world.ask("/packages/acme/branched/dev-gone.zip", await world.token()), 404)


async def test_only_what_never_changes_is_kept_for_ever(world: World) -> None:
    """A release and a commit may be kept by the client without asking again; a branch by its name may not."""
    url = (await world.versions("acme/library"))["dev-main"]["dist"]["url"]
    for path in ("/packages/acme/library/v1.0.0.zip", url):
        assert "immutable" in (await world.get(path)).headers["Cache-Control"]
    for path in ("/packages/acme/library/dev-main.zip", "/packages/acme/library/dev-feature/x.zip"):
        assert (await world.get(path)).headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("accepted", ["zstd", "gzip", "identity"])
async def test_an_archive_is_made_once(world: World, monkeypatch: pytest.MonkeyPatch, accepted: str) -> None:
    """However many ask for a missing archive at the same time, it is made once, and then it is there."""
    archive = Mirror.archive
    made: list[str] = []

    async def count(self: Mirror, commit: str, consume: Callable[[Any], Any]) -> Any:
        made.append(commit)
        return await archive(self, commit, consume)

    monkeypatch.setattr(Mirror, "archive", count)
    secret = await world.token()
    assert world.kept() == []
    replies = await asyncio.gather(
        *(
            world.ask("/packages/acme/library/v1.0.0.zip", secret, headers={"Accept-Encoding": accepted})
            for _ in range(10)
        )
    )

    assert {200} == {reply.status for reply in replies}
    assert len({reply.decoded for reply in replies}) == 1
    shasum = hashlib.sha1(replies[0].decoded).hexdigest()
    kept = [f"{shasum}.zip.{'gz' if accepted == 'gzip' else 'zst'}"]
    assert (1, kept) == (len(made), world.kept())
    await world.get("/packages/acme/library/v1.0.0.zip", secret, headers={"Accept-Encoding": accepted})
    assert (1, kept) == (len(made), world.kept())


async def test_other_bytes_than_advertised_are_not_served(world: World) -> None:
    """An archive that no longer has its checksum is an error of the server, and nothing of it is kept."""
    secret = await world.token()
    with world.database() as connection:
        connection.execute("UPDATE dists SET shasum = ?", ("0" * 40,))
    for accepted in ("zstd", "gzip", "identity"):
        reply = await world.ask("/packages/acme/library/v1.0.0.zip", secret, headers={"Accept-Encoding": accepted})
        error(reply, 500)

    assert world.kept() == []


async def test_an_archive_that_failed_is_tried_again(world: World) -> None:
    """Once the reason is gone, the next request gets the archive."""
    secret = await world.token()
    path = "/packages/acme/library/v1.0.0.zip"
    world.config.repositories.rename(world.config.data / "away")
    error(await world.ask(path, secret), 500)
    (world.config.data / "away").rename(world.config.repositories)

    await world.get(path, secret)


async def test_an_error_of_the_server_does_not_tell_where_things_are(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """What fails here is for the log: a client learns no path of this machine."""
    world.config.dists.write_text("a file where a folder should be")
    reply = await world.ask("/packages/acme/library/v1.0.0.zip", await world.token())

    assert error(reply, 500) == "the registry failed; its log says why"
    assert str(world.config.data) in caplog.text


# The small endpoints


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["acme/library", "acme/plugin", "beta/tools"]),
        ("filter=acme/*", ["acme/library", "acme/plugin"]),
        ("filter=*", ["acme/library", "acme/plugin", "beta/tools"]),
        ("filter=*/tools", ["beta/tools"]),
        ("filter=a*l*", ["acme/library", "acme/plugin"]),
        ("filter=a*y", ["acme/library"]),
        ("filter=ACME/Lib*", ["acme/library"]),
        ("filter=acme/library", ["acme/library"]),
        ("filter=acme", []),
        ("filter=acme/", []),
        ("filter=*acme/library*acme/library*", []),
        ("filter=acme/librar[y]", []),
        ("vendor=beta", ["beta/tools"]),
        ("vendor=Acme", ["acme/library", "acme/plugin"]),
        ("vendor=ac", []),
        ("vendor=acme&filter=*in", ["acme/plugin"]),
        ("vendor=beta&filter=acme/*", []),
    ],
)
async def test_names_are_listed_by_pattern_and_vendor(world: World, query: str, names: list[str]) -> None:
    """`filter` takes a name in which * stands for anything, `vendor` the first half of names."""
    assert {"packageNames": names} == (await world.get(f"/list.json?{query}")).json


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("q=", ["acme/library", "acme/plugin", "beta/tools"]),
        ("", ["acme/library", "acme/plugin", "beta/tools"]),
        ("q=words", ["acme/library", "acme/plugin"]),
        ("q=WORDS", ["acme/library", "acme/plugin"]),
        ("q=everyone+words", ["acme/library"]),
        ("q=acme%20plugged", ["acme/plugin"]),
        ("q=lib", ["acme/library"]),
        ("q=nothing", []),
        ("q=words+nothing", []),
        ("q=&type=composer-plugin", ["acme/plugin"]),
        ("q=words&type=library", ["acme/library"]),
        ("q=words&type=", ["acme/library", "acme/plugin"]),
        ("q=tools&type=composer-plugin", []),
    ],
)
async def test_packages_are_searched_by_words_and_type(world: World, query: str, names: list[str]) -> None:
    """Every word has to be in the name or the description; a type, where one is given, has to be the package's."""
    found = (await world.get(f"/search.json?{query}")).json

    assert (names, len(names)) == ([item["name"] for item in found["results"]], found["total"])


async def test_a_search_result_describes_the_package(world: World) -> None:
    """A result has what `composer search` shows."""
    expected = {
        "name": "acme/library",
        "description": "Words for everyone",
        "url": f"{world.base}/org/acme/p2/acme/library.json",
    }

    assert {"results": [expected], "total": 1} == (await world.get("/search.json?q=library")).json


async def test_who_provides_a_virtual_package_is_listed(world: World) -> None:
    """Providers are found whatever case composer.json uses; a name that nobody provides is 404."""
    expected = [
        {"name": "acme/library", "description": "Words for everyone", "type": "library"},
        {"name": "acme/plugin", "description": "Words, plugged in", "type": "composer-plugin"},
    ]

    assert {"providers": expected} == (await world.get("/providers/psr/log-implementation.json")).json
    error(await world.ask("/providers/psr/cache-implementation.json", await world.token()), 404)
    restricted = await world.token(packages=["beta/tools"])
    error(await world.ask("/providers/psr/log-implementation.json", restricted), 404)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("packages%5B0%5D=acme%2Flibrary&packages%5B1%5D=public%2Fother", ["acme/library"]),
        ("packages[]=ACME/Library&packages[]=acme/plugin", ["acme/library", "acme/plugin"]),
        ("packages%5B0%5D=acme%2Flibrary&packages%5B1%5D=acme%2Flibrary", ["acme/library"]),
        ("names[]=acme/library", []),
        ("", []),
        ("%ff&&==", []),
    ],
)
async def test_advisories_are_of_packages_asked_for(world: World, body: str, names: list[str]) -> None:
    """The answer has the packages that were named and are here, whether the question came by GET or by POST."""
    expected: dict[str, dict[str, list[object]]] = {"advisories": {name: [] for name in names}}
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    assert (
        expected == (await world.get("/security-advisories", method="POST", body=body.encode(), headers=form)).json
    )
    assert expected == (await world.get(f"/security-advisories?{body}")).json


async def test_too_many_names_at_once_are_refused(world: World) -> None:
    """A question for more packages than any project has is 400."""
    body = "&".join(f"packages[]=a/{number}" for number in range(10_001))

    error(await world.ask("/security-advisories", await world.token(), method="POST", body=body.encode()), 400)


async def count_downloads(world: World) -> dict[tuple[str, str], int]:
    """What was counted, by package and version."""
    await world.store.usage.flush()
    with world.database() as connection:
        rows = connection.execute(
            """
            SELECT packages.name, version, sum(count) FROM downloads
            JOIN packages ON packages.id = package_id GROUP BY packages.name, version
            """
        ).fetchall()
    return {(name, version): count for name, version, count in rows}


async def test_installs_are_counted(world: World) -> None:
    """What clients report is counted by the version that people see; what isn't here is passed over."""
    report = {
        "downloads": [
            {"name": "acme/library", "version": "1.0.0.0"},
            {"name": "ACME/library", "version": "1.0.0.0", "downloaded": True},
            {"name": "acme/library", "version": "dev-feature/x"},
            {"name": "acme/library", "version": "9.9.9.9"},
            {"name": "public/other", "version": "1.0.0.0"},
            {"name": "other/thing", "version": "1.0.0.0"},
        ]
    }
    secret = await world.token()
    replies = [
        await world.ask("/downloads", secret, method="POST", body=json.dumps(report).encode()) for _ in range(2)
    ]

    assert [(reply.status, reply.body) for reply in replies] == [(204, b"")] * 2
    expected = {("acme/library", "v1.0.0"): 4, ("acme/library", "dev-feature/x"): 2}
    assert expected == await count_downloads(world)


async def test_installs_of_hidden_packages_are_not_counted(world: World) -> None:
    """A restricted token cannot move the counts of what it doesn't see."""
    report = {
        "downloads": [
            {"name": "acme/library", "version": "1.0.0.0"},
            {"name": "acme/plugin", "version": "dev-main"},
        ]
    }
    secret = await world.token(packages=["acme/library"])
    reply = await world.ask("/downloads", secret, method="POST", body=json.dumps(report).encode())

    assert reply.status == 204
    assert await count_downloads(world) == {("acme/library", "v1.0.0"): 1}


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"{}", b'"downloads"', b"null", b'{"downloads": {}}', b'{"downloads": [1]}'),
        *(b'{"downloads": [{"name": "acme/library"}]}', b'{"downloads": [{"name": 1, "version": "1.0.0.0"}]}'),
        *(b'{"downloads": [{"name": "\xff", "version": "1"}]}', b"downloads[]=acme/library"),
        pytest.param(b'{"more": ' + b"[" * 100_000 + b"]" * 100_000 + b', "downloads": []}', id="nested"),
    ],
)
async def test_a_malformed_report_is_refused(world: World, body: bytes) -> None:
    """What is no report is 400 and counts nothing."""
    error(await world.ask("/downloads", await world.token(), method="POST", body=body), 400)
    assert await count_downloads(world) == {}


# Errors


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "/org/acme",
            "/org/acme/",
            "/org/acme/p2/library.json",
            "/org/acme/p2/acme/library",
            "/packages.json",
        ),
        *(
            "/org/acme/packages/acme/library.zip",
            "/org/acme/packages/acme/library/v1.0.0.tar",
            "/org//packages.json",
        ),
        *("/org/acme/p2/a/b/c.json", "/favicon.ico", "/org/acme/p2/acme%2Flibrary.json", "/org/acme/%00"),
    ],
)
async def test_an_unknown_address_is_not_there(world: World, path: str) -> None:
    """What is no route is 404 in the shape of every error, with a token and without."""
    for secret in (await world.token(), None):
        error(await world.ask(world.base + path, secret), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/packages.json", "GET,HEAD"),
        ("DELETE", "/p2/acme/library.json", "GET,HEAD"),
        ("PUT", "/packages/acme/library/v1.0.0.zip", "GET,HEAD"),
        ("OPTIONS", "/list.json", "GET,HEAD"),
        ("PATCH", "/security-advisories", "GET,HEAD,POST"),
        ("GET", "/downloads", "POST"),
    ],
)
async def test_a_wrong_method_is_refused(world: World, method: str, path: str, allowed: str) -> None:
    """A method that a route doesn't take is 405, with those that it takes."""
    reply = await world.ask(path, await world.token(), method=method)

    error(reply, 405)
    assert allowed == reply.headers["Allow"]


@pytest.mark.parametrize("path", ["/downloads", "/security-advisories"])
async def test_a_large_body_is_refused(world: World, path: str) -> None:
    """A body of more than a megabyte is 413."""
    body = io.BytesIO(b"x" * (1024 * 1024 + 1))
    reply = await world.ask(path, await world.token(), method="POST", body=body)

    error(reply, 413)


async def test_who_is_refused_is_told_by_composer(world: World) -> None:
    """The errors that a person can do something about are in the field that Composer prints."""
    for secret in (None, await world.token(scopes=())):
        document = (await world.ask("/packages.json", secret)).json
        assert document["message"] == document["warning"]
