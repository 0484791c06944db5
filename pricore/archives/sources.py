"""Where archives come from: the mirrors of repositories, and what was uploaded."""

from pricore.archives.dists import Source
from pricore.archives.uploads import Uploads
from pricore.config import Config
from pricore.git import Git
from pricore.models import Dist
from pricore.vcs.mirror import Mirror


class Sources:
    """The mirrors of one data folder, and the archives that were uploaded to it."""

    def __init__(self, git: Git, uploads: Uploads, config: Config) -> None:
        self._git = git
        self._uploads = uploads
        self._config = config

    def use(self, config: Config) -> None:
        """Follow other settings in all that begins from now on."""
        self._config = config

    def mirror(self, repository_id: str, *, url: str = "", hold: int | None = None) -> Mirror:
        """The mirror of a repository; errors name its `url`, `hold` is its lock's descriptor, for who writes."""
        path = self._config.repositories / f"{repository_id}.git"
        limit = self._config.repository_limit * 1024**2
        return Mirror(self._git, path, url=url, hold=hold, limit=limit)

    def of(self, dist: Dist) -> Source:
        """What an archive is made of."""
        return self._uploads if dist.repository_id is None else self.mirror(dist.repository_id)
