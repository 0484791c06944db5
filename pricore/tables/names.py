"""The names that a shell offers: read beside the store, without waiting, making or migrating anything."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pricore.engine.sqlite import read_beside

_SECONDS: Final = 0.2
_MOST: Final = 2000
_OF_ORGANIZATION: Final = "JOIN organizations ON organizations.id = organization_id WHERE slug = ?"
_QUERIES: Final[Mapping[str, str]] = {
    "organizations": "SELECT slug FROM organizations ORDER BY slug",
    "repositories": f"SELECT identifier FROM repositories {_OF_ORGANIZATION} ORDER BY identifier",
    "packages": f"SELECT packages.name FROM packages {_OF_ORGANIZATION} ORDER BY packages.name",
    "all packages": "SELECT DISTINCT name FROM packages ORDER BY name",
    "tokens": f"""
        SELECT tokens.name FROM tokens JOIN token_organizations ON token_id = tokens.id {_OF_ORGANIZATION}
        ORDER BY tokens.name
    """,
    "credentials": f"SELECT credentials.name FROM credentials {_OF_ORGANIZATION} ORDER BY credentials.name",
    "locks": f"SELECT locks.name FROM locks {_OF_ORGANIZATION} ORDER BY locks.name",
}


def names_of(path: Path, kind: str, slug: str = "") -> list[str]:
    """The names of a kind that an organization has; nothing where the database cannot be read right now."""
    query = f"{_QUERIES[kind]} LIMIT {_MOST}"
    rows = read_beside(path, query, (slug,) if "?" in query else (), seconds=_SECONDS)
    return [name for (name,) in rows]
