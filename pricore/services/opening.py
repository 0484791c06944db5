"""What the use cases work with, made once for a process: the same for the server and for a command."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self

from pricore.archives.dists import open_dists
from pricore.archives.sources import Sources
from pricore.archives.uploads import Uploads
from pricore.auth.credentials import Credentials
from pricore.auth.sealing import Sealer
from pricore.config import Config
from pricore.git import Git
from pricore.services.dist_finder import DistFinder
from pricore.store import Store
from pricore.sync.syncer import Syncer
from pricore.system.certificates import trust
from pricore.system.threads import cores


class Services:
    """All that works on one data folder, by the settings in `config`.

    `on_made` is called for each archive that is made.
    """

    def __init__(
        self, config: Config, store: Store, git: Git, *, on_made: Callable[[], None] = lambda: None
    ) -> None:
        self.config = config
        self.store = store
        self.git = git
        # of several processes that serve a data folder, each makes archives: its share of the cores
        self.dists = open_dists(config, at_once=max(1, cores() // config.workers), on_made=on_made)
        self.uploads = Uploads(store, config.uploads)
        self.sources = Sources(git, self.uploads, config)
        self.sealer = Sealer(config.key)
        self.credentials = Credentials(store, self.sealer)
        self.syncer = Syncer(store, git, self.sources, self.dists, config)
        self.dist_finder = DistFinder(store, self.dists, self.sources, most=config.most_pinned)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: Config, *, on_made: Callable[[], None] = lambda: None) -> AsyncIterator[Self]:
        """Open the data folder, which is created or migrated. Raises StoreError where that fails."""
        async with Store(config.database, sync_interval=config.sync_interval) as store:
            trust(config)
            with Git(timeout=config.git_timeout) as git:
                yield cls(config, store, git, on_made=on_made)

    async def remove_archives(self, shasums: set[str]) -> None:
        """Delete archives that are for nothing else: what was uploaded, and what is kept of it or of a commit."""
        await self.uploads.remove(shasums)
        await self.dists.remove(shasums)

    def use(self, config: Config) -> None:
        """Follow other settings in all that begins from now on."""
        self.config = config
        self.git.timeout = config.git_timeout
        self.sealer = Sealer(config.key)
        self.credentials = Credentials(self.store, self.sealer)
        self.sources.use(config)
        self.syncer.use(config)
        self.dist_finder.most = config.most_pinned
