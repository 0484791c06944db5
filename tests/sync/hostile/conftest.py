"""The registry that reads hostile repositories, and one that is not hostile yet."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pricore.config import Config
from tests.harness import GitRepository
from tests.sync.hostile.harness import MakeRepository, Registry, opened


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    async with opened(Config(data=tmp_path / "data", git_timeout=60)) as found:
        yield found


@pytest.fixture
def upstream(make_repository: MakeRepository) -> GitRepository:
    """acme/library with a tag 1.0.0 on the branch main."""
    repository = make_repository("library")
    repository.commit({"name": "acme/library"})
    repository.tag("1.0.0")
    return repository
