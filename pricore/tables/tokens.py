"""Access tokens, by the sha256 of their secret."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec

from pricore.errors import NotFoundError
from pricore.models import Organization, Token
from pricore.system.clock import now

if TYPE_CHECKING:
    from pricore.engine.database import Database

_SELECT = """
    SELECT tokens.id, organization_id, organizations.slug, tokens.name, scopes, restricted, package,
        expires_at, last_used_at, tokens.created_at
    FROM tokens LEFT JOIN organizations ON organizations.id = tokens.organization_id
    LEFT JOIN token_packages ON token_id = tokens.id
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
        order = "ORDER BY tokens.created_at, tokens.number"
        if organization_id is None:
            rows = await self._database.fetch_all(f"{_SELECT} WHERE organization_id IS NULL {order}")
        else:
            rows = await self._database.fetch_all(
                f"{_SELECT} WHERE organization_id = ? {order}", (organization_id,)
            )
        return _tokens(rows)

    async def find(self, token_hash: bytes) -> Token | None:
        """The token whose secret has that sha256, expired or not; None where there is none."""
        rows = await self._database.fetch_all(f"{_SELECT} WHERE hash = ?", (token_hash,), by_key=True)
        return next(iter(_tokens(rows)), None)

    async def revoke(self, organization: Organization | None, token_id: str) -> None:
        """Remove a token: the next request with it is refused. Raises NotFoundError."""
        organization_id = organization.id if organization else None
        async with self._database.transaction(organization_id=organization_id) as db:
            cursor = await db.execute(
                """
                DELETE FROM tokens
                WHERE id = ?1 AND (organization_id = ?2 OR (organization_id IS NULL AND ?2 IS NULL))
                """,
                (token_id, organization_id),
            )
            if not cursor.rowcount:
                where = organization.slug if organization else "this instance"
                listing = f"pricore token list {organization.slug if organization else '--instance'}"
                raise NotFoundError(f"{where} has no token {token_id}; `{listing}` shows those it has")


def _tokens(rows: Iterable[Sequence[Any]]) -> list[Token]:
    """Tokens of which each has a row for every package that it may see, or one alone."""
    return [_token(list(own)) for _, own in groupby(rows, key=itemgetter(0))]


def _token(rows: Sequence[Sequence[Any]]) -> Token:
    token_id, organization_id, slug, name, scopes, restricted, _, expires_at, last_used_at, created_at = rows[0]
    return Token(
        id=token_id,
        organization_id=organization_id,
        organization=slug,
        name=name,
        scopes=tuple(msgspec.json.decode(scopes, type=list[str])),
        packages=frozenset(row[6] for row in rows if row[6] is not None) if restricted else None,
        expires_at=expires_at,
        last_used_at=last_used_at,
        created_at=created_at,
    )
