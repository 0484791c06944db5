"""A registry without its server, and repositories that no git would make."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from pricore.config import Config
from pricore.git import Git
from pricore.hosts.addresses import parse_address
from pricore.models import Organization, Repository
from pricore.services.opening import Services
from pricore.store import Store
from pricore.sync.run import Report
from pricore.vcs.mirror import Mirror
from tests.harness import GitRepository

MakeRepository = Callable[[str], GitRepository]

Entry = tuple[str, bytes, str]
"""What stands in a tree: mode, name, object."""


def silent(text: str, done: int, total: int, received: int = 0) -> None:
    """Progress that nobody watches."""


class Registry:
    """An organization, and what syncs its repositories."""

    def __init__(self, store: Store, git: Git, config: Config, organization: Organization) -> None:
        self.store = store
        self.git = git
        self.config = config
        self.organization = organization
        services = Services(config, store, git)
        self.sources = services.sources
        self.syncer = services.syncer

    async def add(self, upstream: GitRepository, *paths: str) -> Report:
        return await self.syncer.add(self.organization, parse_address(upstream.url), paths=paths, progress=silent)

    async def sync(self, upstream: GitRepository) -> Report:
        return await self.syncer.sync(await self.repository(upstream), progress=silent)

    async def repository(self, upstream: GitRepository) -> Repository:
        return await self.store.repositories.get(self.organization, upstream.url)

    async def mirror(self, upstream: GitRepository) -> Mirror:
        return self.sources.mirror((await self.repository(upstream)).id)

    async def versions(self, name: str = "acme/library") -> set[str]:
        package = await self.store.packages.get(self.organization, name)
        return {item.version for item in await self.store.packages.versions(package)}


@contextlib.asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Registry]:
    """A registry with these settings."""
    with Git(timeout=config.git_timeout) as git:
        async with Store(config.database) as store:
            yield Registry(store, git, config, await store.organizations.create("acme", "Acme"))


def blob(repository: GitRepository, content: bytes) -> str:
    return repository.git("hash-object", "-w", "--stdin", stdin=content)


def tree(repository: GitRepository, entries: Sequence[Entry]) -> str:
    """A tree object as it is given, which no git would make."""
    content = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(value) for mode, name, value in entries)
    return repository.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", stdin=content)


def tag_tree(repository: GitRepository, tag: str, *entries: Entry) -> str:
    """Tag a commit of a composer.json and these entries; gives the commit."""
    manifest = "100644", b"composer.json", blob(repository, b'{"name": "acme/library"}')
    commit = repository.git("commit-tree", "-m", "x", tree(repository, sorted([*entries, manifest], key=_name)))
    repository.git("update-ref", f"refs/tags/{tag}", commit)
    return commit


def _name(entry: Entry) -> bytes:
    return entry[1]


def reasons(report: Report) -> dict[str, str]:
    return {item.ref: item.reason for item in report.left_out}
