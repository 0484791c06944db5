"""The registry's server, and tokens that may do everything."""

from ipaddress import ip_network

import pytest

from tests.web.api.harness import ALL, instance_token
from tests.web.composer.conftest import stack, start, template, upstream
from tests.web.composer.harness import Start, World

__all__ = ["stack", "start", "template", "upstream"]  # pytest finds fixtures by these names


@pytest.fixture
async def world(start: Start) -> World:
    return await start(inline_limit=0, internal_hosts=(ip_network("127.0.0.1"),))


@pytest.fixture
async def admin(world: World) -> str:
    """A token of acme's with every scope, unrestricted."""
    return await world.token(scopes=ALL)


@pytest.fixture
async def restricted(world: World) -> str:
    """A token of acme's with every scope that sees acme/library alone."""
    return await world.token(scopes=ALL, packages=["acme/library"])


@pytest.fixture
async def instance(world: World) -> str:
    """A token of the instance with every scope."""
    return await instance_token(world)
