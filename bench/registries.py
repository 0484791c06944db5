"""Data folders to measure on: Pricore's own parts, opened in this process."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Final

from pricore.auth import access_tokens
from pricore.auth.sealing import Sealer, WebhookSecrets
from pricore.config import Config
from pricore.git import Git
from pricore.hosts.addresses import parse_address
from pricore.models import Organization, Repository, Trigger
from pricore.rights.rules import parse_rule
from pricore.services.opening import Services
from pricore.store import Store
from pricore.sync.report import Report

ORGANIZATION: Final = "acme"


@dataclass(frozen=True)
class Opened:
    """An open data folder with one organization."""

    store: Store
    git: Git
    config: Config
    organization: Organization

    async def follow(self, url: str) -> Repository:
        """Add a repository and sync it."""
        await Services(self.config, self.store, self.git).syncer.add(
            self.organization, parse_address(url), progress=unobserved
        )
        (found,) = [
            item for item in await self.store.repositories.of_organization(self.organization.id) if item.url == url
        ]
        return found

    async def sync(self, repository: Repository, *, trigger: Trigger = Trigger.MANUAL) -> Report:
        """Sync a repository as it stands in the database, for whatever reason."""
        syncer = Services(self.config, self.store, self.git).syncer
        return await syncer.sync(repository, progress=unobserved, trigger=trigger)

    async def webhook_secret(self, repository: Repository) -> str:
        """What a repository's webhooks are signed with."""
        return await WebhookSecrets(self.store, Sealer(self.config.key)).provide(repository.id)

    async def add(self, url: str) -> str:
        """The id of a repository that is followed from now on, and not read yet."""
        return (await self.store.repositories.add(self.organization, parse_address(url))).id

    async def create_token(
        self, *, scopes: Sequence[str] = ("packages:read",), secret: str = "", rules: Sequence[str] | None = None
    ) -> str:
        """The secret of a new token, one that is given or a new one; without rules it sees all packages."""
        secret = secret or access_tokens.create_secret()
        layers = () if rules is None else (tuple(map(parse_rule, rules)),)
        await self.store.tokens.create(
            {self.organization: layers},
            name=f"bench {token_hex(8)}",
            token_hash=access_tokens.hash_secret(secret),
            scopes=list(scopes),
        )
        return secret


@asynccontextmanager
async def opened(data: Path) -> AsyncIterator[Opened]:
    """Open a data folder; the organization is made where it isn't there."""
    config = Config(data=data)
    async with Store(config.database) as store:
        with Git(timeout=config.git_timeout) as git:
            organizations = store.organizations
            found = await organizations.find(ORGANIZATION) or await organizations.create(ORGANIZATION, "Acme")
            yield Opened(store, git, config, found)


def unobserved(_text: str, _done: int, _total: int, _received: int = 0) -> None:
    """A progress that nobody looks at."""
