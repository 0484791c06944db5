"""The names that a shell offers: read beside the store, without waiting, making or migrating anything."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from pricore.engine.sqlite import check_there, uri
from pricore.errors import PricoreError

_SECONDS: Final = 0.2
_MOST: Final = 2000
_OF_ORGANIZATION: Final = "JOIN organizations ON organizations.id = organization_id WHERE slug = ?"
_QUERIES: Final[Mapping[str, str]] = {
    "organizations": "SELECT slug FROM organizations WHERE ? IS NOT NULL ORDER BY slug",
    "repositories": f"SELECT identifier FROM repositories {_OF_ORGANIZATION} ORDER BY identifier",
    "packages": f"SELECT packages.name FROM packages {_OF_ORGANIZATION} ORDER BY packages.name",
    "all packages": "SELECT DISTINCT name FROM packages WHERE ? IS NOT NULL ORDER BY name",
    "tokens": f"SELECT tokens.name FROM tokens {_OF_ORGANIZATION} ORDER BY tokens.name",
    "credentials": f"SELECT credentials.name FROM credentials {_OF_ORGANIZATION} ORDER BY credentials.name",
    "locks": f"SELECT locks.name FROM locks {_OF_ORGANIZATION} ORDER BY locks.name",
}


def names_of(path: Path, kind: str, slug: str = "") -> list[str]:
    """The names of a kind that an organization has; nothing where the database cannot be read right now."""
    try:
        check_there(path)
        with closing(sqlite3.connect(uri(path, "ro"), uri=True, timeout=_SECONDS)) as connection:
            return [name for (name,) in connection.execute(f"{_QUERIES[kind]} LIMIT {_MOST}", (slug,))]
    except (PricoreError, OSError, sqlite3.Error):
        return []
