"""What an upload does inside its transaction: its package, and whether there is room for it."""

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pricore.composer import versions
from pricore.composer.candidates import NewVersion
from pricore.composer.discovery import MOST_OF_PACKAGE, too_much
from pricore.errors import ConflictError
from pricore.system.clock import now

if TYPE_CHECKING:
    from pricore.engine.transaction import Transaction


async def uploaded_package(db: "Transaction", organization_id: str, name: str) -> tuple[str, bool]:
    """The id of a package that is uploaded, and whether it was made. Raises ConflictError where it is followed."""
    rows: Any = await db.execute_fetchall(
        """
        SELECT packages.id, url FROM packages LEFT JOIN repositories ON repositories.id = repository_id
        WHERE packages.organization_id = ? AND packages.name = ?
        """,
        (organization_id, name),
    )
    for package_id, url in rows:
        if url is not None:
            advice = "push there, nothing can be uploaded to it"
            raise ConflictError(
                f"the package {name} comes from {url}: {advice}",
                public=f"the package {name} comes from a repository: {advice}",
            )
        return package_id, False
    package_id = str(uuid4())
    await db.execute(
        """
        INSERT INTO packages (id, organization_id, name, description, type, inline_size, created_at)
        VALUES (?, ?, ?, '', 'library', 0, ?)
        """,
        (package_id, organization_id, name, now()),
    )
    return package_id, True


async def same_version(db: "Transaction", package_id: str, item: NewVersion) -> str | None:
    """The version of a package, as it is shown, that an upload is already; None where it is new to it.

    Raises ConflictError for a release that is there with another content, and for a branch by another name.
    """
    rows: Any = await db.execute_fetchall(
        "SELECT version, normalized, reference FROM versions WHERE package_id = ?", (package_id,)
    )
    for version, normalized, reference in rows:
        if _meaning(normalized) != _meaning(item.normalized):
            continue
        if versions.is_dev(normalized):
            if version != item.version:
                raise ConflictError(f"{item.version} means {version}, which is there already: upload it as that")
            return version if reference == item.reference else None
        if reference != item.reference:
            raise ConflictError(
                f"{item.package.lower()} {version} is there already with another content, and a released version "
                "stays what it is: upload this one as another version"
            )
        return str(version)
    return None


async def check_room(db: "Transaction", package_id: str, item: NewVersion) -> None:
    """Refuse with ConflictError an upload for whose metadata its package has no room."""
    rows: Any = await db.execute_fetchall(
        "SELECT version, length(entry) FROM versions WHERE package_id = ?", (package_id,)
    )
    sizes: dict[str, int] = dict(rows)
    more = len(item.entry) - sizes.get(item.version, 0)
    if more > 0 and sum(sizes.values()) + more > MOST_OF_PACKAGE:
        raise ConflictError(too_much(item.package.lower(), MOST_OF_PACKAGE))


def _meaning(normalized: str) -> object:
    """What no two versions of a package have: releases are told apart by their order (1.0 is 01.0)."""
    return normalized if versions.is_dev(normalized) else versions.sort_key(normalized)
