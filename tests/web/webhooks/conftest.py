"""A server, and a repository that Git hosts tell it about."""

from collections.abc import AsyncIterator

import pytest

from tests.harness import GitRepository
from tests.web.api.conftest import admin, world
from tests.web.api.harness import held, repository_id, wait_for_jobs
from tests.web.composer.conftest import stack, start, template, upstream
from tests.web.composer.harness import World
from tests.web.webhooks.harness import HOSTS, Followed, secrets_of

__all__ = ["admin", "stack", "start", "template", "upstream", "world"]  # pytest finds fixtures by these names


@pytest.fixture
async def followed(world: World, admin: str, upstream: GitRepository) -> Followed:
    """acme/followed with the version 1.0.0."""
    upstream.commit({"name": "acme/followed"})
    upstream.tag("1.0.0")
    await world.follow(upstream)
    repository = await repository_id(world, "acme/followed", admin)
    return Followed(world, repository, await secrets_of(world).provide(repository))


@pytest.fixture
async def busy(followed: Followed) -> AsyncIterator[None]:
    """Nothing in the queue gets done until the test is over: what was put there can be counted."""
    with held(followed.world, followed.id):
        await followed.deliver(HOSTS["git-bearer"])
        await wait_for_jobs(followed.world, [True])
        yield
    await wait_for_jobs(followed.world, [])
