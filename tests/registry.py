"""A registry without its server: a data folder with an organization, and what works on it, in this process."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from pricore.config import Config
from pricore.hosts.addresses import parse_address
from pricore.models import Organization, Repository, Trigger
from pricore.services.opening import Services
from pricore.sync.progress import ignore
from pricore.sync.report import Report
from pricore.vcs.mirror import Mirror
from tests.harness import GitRepository

MakeRepository = Callable[[str], GitRepository]


class Registry:
    """An organization of an opened data folder, and the repositories that it follows."""

    def __init__(self, services: Services, organization: Organization) -> None:
        self.services = services
        self.config = services.config
        self.store = services.store
        self.git = services.git
        self.sources = services.sources
        self.syncer = services.syncer
        self.organization = organization

    async def add(self, upstream: GitRepository, *paths: str) -> Report:
        """Follow a repository, or its folders, and sync it."""
        return await self.add_url(upstream.url, *paths)

    async def add_url(self, url: str, *paths: str) -> Report:
        return await self.syncer.add(self.organization, parse_address(url), paths=paths, progress=ignore)

    async def sync(self, upstream: GitRepository, *, trigger: Trigger = Trigger.MANUAL) -> Report:
        return await self.syncer.sync(await self.repository(upstream), progress=ignore, trigger=trigger)

    async def repository(self, upstream: GitRepository) -> Repository:
        """The record of a repository that is followed."""
        return await self.store.repositories.get(self.organization, upstream.url)

    async def mirror(self, upstream: GitRepository) -> Mirror:
        return self.sources.mirror((await self.repository(upstream)).id)

    async def reasons(self, upstream: GitRepository) -> dict[str, str]:
        """Why refs make no version, by ref, as it is on record."""
        refs = await self.store.repositories.refs((await self.repository(upstream)).id)
        return {ref.name: ref.reason for ref in refs.values() if ref.reason}

    async def versions(self, name: str = "acme/library") -> dict[str, str]:
        """Version to commit, as served."""
        package = await self.store.packages.get(self.organization, name)
        return {item.version: item.reference for item in await self.store.packages.versions(package)}


@contextlib.asynccontextmanager
async def open_registry(data: Path, **settings: Any) -> AsyncIterator[Registry]:
    """A registry on a new data folder, which looks at repositories only when asked, unless `settings` say else."""
    config = Config(data=data, **{"git_timeout": 60, "sync_interval": 0, **settings})
    async with Services.open(config) as services:
        yield Registry(services, await services.store.organizations.create("acme", "Acme"))
