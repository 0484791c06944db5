"""What the registry's tests ask: a server on a data folder of its own, and its answers as they came."""

import asyncio
import contextlib
import hashlib
import io
import json
import socket
import sqlite3
import zipfile
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import zstandard
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from pricore.auth.access_tokens import create_secret, hash_secret
from pricore.rights.visibility import Layers
from pricore.server import SERVER, UNREAD_SECONDS, listen
from pricore.services.opening import Services
from pricore.web.http.connection import Connection
from tests.harness import GitRepository, as_composer_reads
from tests.registry import Registry
from tests.rules import reach, token_name

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


class Server(TestServer):
    """The server as `pricore serve` runs it, in this process; who reads nothing for `unread_seconds` is let go."""

    unread_seconds = UNREAD_SECONDS

    async def start_server(self, loop: asyncio.AbstractEventLoop | None = None, **kwargs: Any) -> None:
        """Listen on a free port."""
        self.runner = runner = web.AppRunner(self.app)
        await runner.setup()
        bound = socket.create_server((self.host, 0))
        self._listener = await listen(
            runner, bound, self.app[SERVER].application, unread_seconds=self.unread_seconds
        )
        self.port = bound.getsockname()[1]
        self.scheme = "http"
        self._root = URL(f"http://{self.host}:{self.port}")

    async def close(self) -> None:
        """Take no more connections, and end those that there are."""
        self._listener.close()
        await super().close()


class World:
    """A server on a data folder of its own, and the store and syncer that stand behind it."""

    def __init__(self, services: Services, client: TestClient[Any, Any]) -> None:
        self.services = services
        self.store = services.store
        self.sources = services.sources
        self.syncer = services.syncer
        self.config = services.config
        self.client = client
        self.base = f"http://{client.host}:{client.port}"

    async def token(
        self,
        *,
        org: str = "acme",
        scopes: tuple[str, ...] = ("packages:read",),
        packages: Iterable[str] | None = None,
        rules: Layers | None = None,
        **options: Any,
    ) -> str:
        """A new token's secret; `packages` are the rules on what it sees, or `rules` sets of them."""
        secret = create_secret()
        organization = await self.store.organizations.get(org)
        await self.store.tokens.create(
            reach(organization, packages) if rules is None else {organization: rules},
            name=token_name(),
            token_hash=hash_secret(secret),
            scopes=scopes,
            **options,
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
                found[entry["version"]] = as_composer_reads(entry)
        return found

    async def follow(self, upstream: GitRepository, *paths: str) -> None:
        await (await self.acme()).add(upstream, *paths)

    async def sync(self, upstream: GitRepository) -> None:
        await (await self.acme()).sync(upstream)

    async def acme(self) -> Registry:
        """acme without the server in front of it."""
        return Registry(self.services, await self.store.organizations.get("acme"))

    def database(self) -> contextlib.closing[sqlite3.Connection]:
        """A connection of somebody else's."""
        return contextlib.closing(sqlite3.connect(self.config.database, isolation_level=None, timeout=5))

    def kept(self) -> list[str]:
        """The names of all files in the folder of archives."""
        return sorted(path.name for path in self.config.dists.rglob("*") if path.is_file())


Start = Callable[..., Awaitable[World]]


class Template(msgspec.Struct, frozen=True):
    """A data folder with two organizations; `between` is a commit of acme/library that was never advertised."""

    data: Path
    between: str


def connections(world: World) -> list[Connection]:
    """Those of a server."""
    runner = world.client.server.runner
    assert runner is not None
    assert runner.server is not None
    return [item for item in runner.server.connections if isinstance(item, Connection)]


def handled(world: World) -> int:
    """How many requests a server has begun to handle, apart from those that were answered at once."""
    runner = world.client.server.runner
    assert runner is not None
    assert runner.server is not None
    return runner.server.requests_count


def pack(files: Mapping[str, str | bytes]) -> bytes:
    """A zip with files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def shasum(content: bytes) -> str:
    """The checksum of an archive, as metadata advertises it."""
    return hashlib.sha1(content).hexdigest()


def error(reply: Reply, status: int) -> str:
    """The message of an error; it has the shape of the API contract, and no cache may keep it."""
    assert status == reply.status
    assert (reply.headers["Cache-Control"], reply.headers["Vary"]) == ("no-store", "Authorization")
    document = reply.json
    assert set(document) <= {"message", "errors", "warning"}
    message = document["message"]
    assert isinstance(message, str)
    assert message
    return message
