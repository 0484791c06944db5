"""What organizations log in to Git hosts with; the secrets are sealed before they come here."""

from typing import TYPE_CHECKING, Any

import msgspec

from pricore.errors import ConflictError, NotFoundError
from pricore.models import Credential, Organization
from pricore.system.clock import now
from pricore.tables.sql import sooner

if TYPE_CHECKING:
    from pricore.engine.database import Database

_COLUMNS = ", ".join(Credential.__struct_fields__)


class Credentials:
    """The part of the store that holds credentials."""

    def __init__(self, database: "Database") -> None:
        self._database = database

    async def add(self, credential: Credential, sealed: bytes) -> None:
        """Keep a credential and its sealed secret. Raises ConflictError where its organization has the name."""
        async with self._database.transaction(revise=False) as db:
            cursor = await db.execute(
                f"""
                INSERT INTO credentials ({_COLUMNS}, secret) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (organization_id, name) DO NOTHING
                """,
                (*msgspec.structs.astuple(credential), sealed),
            )
            if not cursor.rowcount:
                raise ConflictError(f"there is a credential {credential.name} already; choose another name")
            await self._look_soon(db, credential)

    async def of_organization(self, organization_id: str) -> list[Credential]:
        """The credentials of an organization, oldest first."""
        rows = await self._database.fetch_all(
            f"SELECT {_COLUMNS} FROM credentials WHERE organization_id = ? ORDER BY created_at, number",
            (organization_id,),
        )
        return [_credential(row) for row in rows]

    async def get(self, organization: Organization, name: str) -> Credential:
        """The credential of that name. Raises NotFoundError."""
        row = await self._database.fetch_one(
            f"SELECT {_COLUMNS} FROM credentials WHERE organization_id = ? AND name = ?", (organization.id, name)
        )
        if row is None:
            raise NotFoundError(
                f"{organization.slug} has no credential {name[:80]}; "
                f"`pricore credential list {organization.slug}` shows those it has"
            )
        return _credential(row)

    async def find(self, credential_id: str) -> Credential | None:
        """The credential of that id, or None."""
        row = await self._database.fetch_one(f"SELECT {_COLUMNS} FROM credentials WHERE id = ?", (credential_id,))
        return None if row is None else _credential(row)

    async def of_host(
        self, organization_id: str, *, kind: str, host: str, plain: bool = False
    ) -> Credential | None:
        """The oldest credential of an organization for exactly that host; a `plain` one is asked of http://."""
        row = await self._database.fetch_one(
            f"""
            SELECT {_COLUMNS} FROM credentials
            WHERE organization_id = ? AND kind = ? AND host = ? AND plain >= ? ORDER BY created_at, number
            """,
            (organization_id, kind, host, plain),
        )
        return None if row is None else _credential(row)

    async def sealed(self, credential_id: str) -> bytes | None:
        """The secret of a credential as it was sealed; None where that was removed."""
        row = await self._database.fetch_one("SELECT secret FROM credentials WHERE id = ?", (credential_id,))
        return None if row is None else row[0]

    async def change(self, credential: Credential, sealed: bytes, *, username: str) -> None:
        """Put another secret in the place of one. Raises NotFoundError where that was removed."""
        async with self._database.transaction(revise=False) as db:
            cursor = await db.execute(
                "UPDATE credentials SET secret = ?, username = ? WHERE id = ?",
                (sealed, username, credential.id),
            )
            if not cursor.rowcount:
                raise NotFoundError(f"the credential {credential.name} was removed")
            await self._look_soon(db, credential)

    async def remove(self, credential: Credential) -> None:
        """Forget a credential. Raises ConflictError where repositories were given it, NotFoundError."""
        async with self._database.transaction(revise=False) as db:
            rows: Any = await db.execute_fetchall(
                "SELECT url FROM repositories WHERE credential_id = ? ORDER BY url", (credential.id,)
            )
            if rows:
                more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
                raise ConflictError(
                    f"{rows[0][0]}{more} was given {credential.name}, and would be read with something else; "
                    "`pricore repo change --credential` gives it another one, or none"
                )
            cursor = await db.execute("DELETE FROM credentials WHERE id = ?", (credential.id,))
            if not cursor.rowcount:
                raise NotFoundError(f"the credential {credential.name} was removed")

    @staticmethod
    async def _look_soon(db: Any, credential: Credential) -> None:
        """Look again at what failed: it may have waited for this credential."""
        await db.execute(
            f"""
            UPDATE repositories SET next_sync_at = {sooner("next_sync_at", "?2")}
            WHERE organization_id = ?1 AND sync_status = 'failed'
            """,
            (credential.organization_id, now()),
        )


def _credential(row: Any) -> Credential:
    return msgspec.convert(dict(zip(Credential.__struct_fields__, row, strict=True)), Credential, strict=False)
