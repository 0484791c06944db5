"""A store with an organization and a repository in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pricore.models import Organization, Repository
from pricore.store import Store
from tests.store.harness import follow


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database of a test is."""
    return tmp_path / "data/pricore.sqlite3"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with Store(path) as opened:
        yield opened


@pytest.fixture
async def acme(store: Store) -> Organization:
    return await store.organizations.create("acme", "Acme")


@pytest.fixture
async def other(store: Store) -> Organization:
    """An organization that acme's doings are nothing to."""
    return await store.organizations.create("other", "Other")


@pytest.fixture
async def repository(store: Store, acme: Organization) -> Repository:
    return await follow(store, acme, "library")
