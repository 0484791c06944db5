"""A server of the registry's, and who asks it."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from pricore.config import Config
from pricore.server import build_app
from pricore.services.opening import Services
from pricore.system.metrics import Metrics
from tests.harness import GitRepository
from tests.registry import Registry
from tests.web.composer.harness import LIBRARY, PLUGIN, TOOLS, Server, Start, Template, World

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient


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
        async with Services.open(config) as services:
            for slug, upstreams in {"acme": (library, plugin, tools), "other": (thing,)}.items():
                registry = Registry(services, await services.store.organizations.create(slug, slug))
                for upstream in upstreams:
                    await registry.add(upstream)

    asyncio.run(build(Config(data=folder / "data", git_timeout=60, sync_interval=0)))
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
        config = Config(data=tmp_path / "data", **{"git_timeout": 60, "sync_interval": 0, **settings})
        metrics = Metrics()
        services = await stack.enter_async_context(Services.open(config, on_made=metrics.archives_made.add))
        client: TestClient[Any, Any] = await aiohttp_client(
            Server(build_app(services, metrics=metrics)),
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
        )
        return World(services, client)

    return run


@pytest.fixture
async def world(start: Start) -> World:
    return await start(inline_limit=0)


@pytest.fixture
async def secret(world: World) -> str:
    """A token that sees all of acme's packages."""
    return await world.token()


@pytest.fixture
def upstream(tmp_path: Path) -> GitRepository:
    """A repository that nobody follows yet."""
    return GitRepository(tmp_path / "upstream")
