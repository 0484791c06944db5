"""Access tokens, by the sha256 of their secret."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec

from pricore.errors import NotFoundError
from pricore.models import Organization, Token
from pricore.system.clock import now

if TYPE_CHECKING:
    from pricore.engine.database import Database

_SELECT = """
    SELECT tokens.id, organization_id, organizations.slug, tokens.name, scopes,
        CASE WHEN restricted THEN
            (SELECT json_group_array(package) FROM token_packages WHERE token_id = tokens.id)
        END,
        expires_at, last_used_at, tokens.created_at
    FROM tokens LEFT JOIN organizations ON organizations.id = tokens.organization_id
"""


class Tokens:
    """The part of the store that holds access tokens."""

    def __init__(self, database: "Database") -> None:
        self._database = database

    async def create(
        self,
        organization: Organization | None,
        *,
        name: str,
        token_hash: bytes,
        scopes: Sequence[str],
        packages: Iterable[str] | None = None,
        expires_at: int | None = None,
    ) -> Token:
        """Add a token; of the instance where `organization` is None.

        `packages` restricts it to those names; None lets it see all.
        """
        token = Token(
            id=str(uuid4()),
            organization_id=organization.id if organization else None,
            organization=organization.slug if organization else None,
            name=name,
            scopes=tuple(scopes),
            packages=None if packages is None else frozenset(packages),
            expires_at=expires_at,
            last_used_at=None,
            created_at=now(),
        )
        async with self._database.transaction(organization_id=token.organization_id) as db:
            await db.execute(
                """
                INSERT INTO tokens
                    (id, organization_id, name, hash, scopes, restricted, expires_at, created_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                """,
                (
                    token.id,
                    token.organization_id,
                    name,
                    token_hash,
                    msgspec.json.encode(scopes).decode(),
                    packages is not None,
                    expires_at,
                    token.created_at,
                ),
            )
            await db.executemany(
                "INSERT INTO token_packages (token_id, package) VALUES (?, ?)",
                [(token.id, package) for package in sorted(token.packages or ())],
            )
        return token

    async def of_organization(self, organization_id: str | None) -> list[Token]:
        """The tokens of an organization, or for None those of the instance, oldest first."""
        rows = await self._database.fetch_all(
            f"{_SELECT} WHERE organization_id IS ? ORDER BY tokens.created_at, tokens.rowid", (organization_id,)
        )
        return [_token(row) for row in rows]

    async def find(self, token_hash: bytes) -> Token | None:
        """The token whose secret has that sha256, expired or not; None where there is none."""
        row = await self._database.fetch_one(f"{_SELECT} WHERE hash = ?", (token_hash,), by_key=True)
        return None if row is None else _token(row)

    async def revoke(self, organization: Organization | None, token_id: str) -> None:
        """Remove a token: the next request with it is refused. Raises NotFoundError."""
        organization_id = organization.id if organization else None
        async with self._database.transaction(organization_id=organization_id) as db:
            cursor = await db.execute(
                "DELETE FROM tokens WHERE organization_id IS ? AND id = ?", (organization_id, token_id)
            )
            if not cursor.rowcount:
                where = organization.slug if organization else "this instance"
                listing = f"pricore token list {organization.slug if organization else '--instance'}"
                raise NotFoundError(f"{where} has no token {token_id}; `{listing}` shows those it has")


def _token(row: Any) -> Token:
    scopes, packages = row[4], row[5]
    return Token(
        id=row[0],
        organization_id=row[1],
        organization=row[2],
        name=row[3],
        scopes=tuple(msgspec.json.decode(scopes, type=list[str])),
        packages=None if packages is None else frozenset(msgspec.json.decode(packages, type=list[str])),
        expires_at=row[6],
        last_used_at=row[7],
        created_at=row[8],
    )
