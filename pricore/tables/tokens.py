"""Access tokens, by the sha256 of their secret."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec

from pricore.errors import ConflictError, NotFoundError
from pricore.models import Organization
from pricore.rights.rules import Condition, Rule
from pricore.rights.tokens import Token
from pricore.rights.visibility import Layers, Rights
from pricore.system.clock import now

if TYPE_CHECKING:
    from pricore.engine.database import Database
    from pricore.engine.transaction import Transaction

_COLUMNS = """
    tokens.id, tokens.name, scopes, instance, expires_at, last_used_at, last_used_from, last_used_by, former_until,
    tokens.created_at
"""
_SELECT = f"""
    SELECT {_COLUMNS}, slug, layers, changed_at, layer, pattern, versions, published_before
    FROM tokens LEFT JOIN token_organizations ON token_organizations.token_id = tokens.id
    LEFT JOIN organizations ON organizations.id = token_organizations.organization_id
    LEFT JOIN token_rules ON token_rules.token_id = tokens.id
        AND token_rules.organization_id = token_organizations.organization_id
"""
_ORDER = "ORDER BY tokens.created_at, tokens.number, token_organizations.number, layer, token_rules.number"


class Tokens:
    """The part of the store that holds access tokens."""

    def __init__(self, database: "Database") -> None:
        self._database = database

    async def create(
        self,
        reach: Mapping[Organization, Layers] | None,
        *,
        name: str,
        token_hash: bytes,
        scopes: Sequence[str],
        expires_at: int | None = None,
    ) -> Token:
        """Add a token of some organizations, with the sets of rules in each; for None one of the instance.

        Raises ConflictError where one of them has a token of that name.
        """
        token_id, created_at = str(uuid4()), now()
        async with self._transaction(next(iter(reach or ()), None)) as db:
            await db.execute(
                """
                INSERT INTO tokens (id, instance, name, hash, scopes, expires_at, expiry_told, created_at)
                VALUES (?, ?, ?, ?, ?, ?, FALSE, ?)
                """,
                (
                    token_id,
                    reach is None,
                    name,
                    token_hash,
                    msgspec.json.encode(scopes).decode(),
                    expires_at,
                    created_at,
                ),
            )
            for number, (organization, layers) in enumerate((reach or {}).items(), start=1):
                await _put_rules(db, token_id, organization.id, number, layers)
            await _check_name(db, token_id)
            await self._revise(db, token_id)
            (made,) = _tokens(await db.execute_fetchall(f"{_SELECT} WHERE tokens.id = ? {_ORDER}", (token_id,)))
        return made

    async def of_organization(self, organization_id: str | None) -> list[Token]:
        """The tokens of an organization, or for None those of the instance, oldest first."""
        if organization_id is None:
            rows = await self._database.fetch_all(f"{_SELECT} WHERE instance {_ORDER}")
        else:
            rows = await self._database.fetch_all(
                f"""
                {_SELECT} WHERE tokens.id IN (SELECT token_id FROM token_organizations WHERE organization_id = ?)
                {_ORDER}
                """,
                (organization_id,),
            )
        return _tokens(rows)

    async def find(self, token_hash: bytes) -> Token | None:
        """The token whose secret has that sha256, expired or not; None where there is none.

        With the secret before the present one, it expires when that ends.
        """
        rows = await self._database.fetch_all(
            f"{_SELECT} WHERE hash = ?1 OR former_hash = ?1 {_ORDER}", (token_hash,), by_key=True
        )
        found = next(iter(_tokens(rows)), None)
        if found is None or found.former_until is None:
            return found
        present = await self._database.fetch_one("SELECT 1 FROM tokens WHERE hash = ?", (token_hash,), by_key=True)
        if present is not None:
            return found
        ends = [at for at in (found.expires_at, found.former_until) if at is not None]
        return msgspec.structs.replace(found, expires_at=min(ends))

    async def change(
        self,
        token: Token,
        *,
        name: str,
        scopes: Sequence[str],
        expires_at: int | None,
        reach: Mapping[Organization, Layers] | None = None,
    ) -> Token:
        """Put others in the place of what a token has; None leaves what it sees. Gives it as it is then.

        Raises NotFoundError where it is gone, ConflictError where one of its organizations has a token of that
        name.
        """
        async with self._transaction(next(iter(reach or ()), None)) as db:
            await self._revise(db, token.id)
            cursor = await db.execute(
                """
                UPDATE tokens SET name = ?2, scopes = ?3, expires_at = ?4,
                    expiry_told = expiry_told AND ?5
                WHERE id = ?1
                """,
                (
                    token.id,
                    name,
                    msgspec.json.encode(scopes).decode(),
                    expires_at,
                    expires_at == token.expires_at,
                ),
            )
            if not cursor.rowcount:
                raise NotFoundError(f"the token {token.name} was revoked in the meantime")
            if reach is not None:
                await db.execute("DELETE FROM token_organizations WHERE token_id = ?", (token.id,))
                for number, (organization, layers) in enumerate(reach.items(), start=1):
                    await _put_rules(db, token.id, organization.id, number, layers, changed_at=now())
            await _check_name(db, token.id)
            await self._revise(db, token.id)
            (changed,) = _tokens(await db.execute_fetchall(f"{_SELECT} WHERE tokens.id = ? {_ORDER}", (token.id,)))
        return changed

    async def rotate(self, token: Token, *, token_hash: bytes, former_until: int) -> Token:
        """Give a token another secret; the one before it is good until then.

        Raises NotFoundError where it is gone.
        """
        async with self._transaction() as db:
            cursor = await db.execute(
                """
                UPDATE tokens SET former_hash = hash, former_until = ?3, hash = ?2 WHERE id = ?1
                """,
                (token.id, token_hash, former_until),
            )
            if not cursor.rowcount:
                raise NotFoundError(f"the token {token.name} was revoked in the meantime")
            (changed,) = _tokens(await db.execute_fetchall(f"{_SELECT} WHERE tokens.id = ? {_ORDER}", (token.id,)))
        return changed

    async def tell_expiring(self, before: int) -> list[Token]:
        """The tokens that expire before then and that nobody was told of yet; they are told of now."""
        async with self._database.transaction(revise=False) as db:
            rows = await db.execute_fetchall(
                f"{_SELECT} WHERE NOT expiry_told AND expires_at > ? AND expires_at < ? {_ORDER}", (now(), before)
            )
            found = _tokens(rows)
            await db.executemany(
                "UPDATE tokens SET expiry_told = TRUE WHERE id = ?", [(item.id,) for item in found]
            )
        return found

    async def revoke(self, organization: Organization | None, token_id: str) -> None:
        """Remove a token: the next request with it is refused. Raises NotFoundError."""
        async with self._transaction(organization) as db:
            await self._revise(db, token_id)
            if organization is None:
                cursor = await db.execute("DELETE FROM tokens WHERE id = ? AND instance", (token_id,))
            else:
                cursor = await db.execute(
                    """
                    DELETE FROM tokens WHERE id = ?1 AND EXISTS (
                        SELECT 1 FROM token_organizations WHERE token_id = ?1 AND organization_id = ?2
                    )
                    """,
                    (token_id, organization.id),
                )
            if not cursor.rowcount:
                raise _unknown(organization, token_id)

    async def leave(self, organization: Organization, token_id: str) -> None:
        """Take an organization out of a token; one that has no other is removed. Raises NotFoundError."""
        async with self._transaction(organization) as db:
            await self._revise(db, token_id)
            cursor = await db.execute(
                "DELETE FROM token_organizations WHERE token_id = ? AND organization_id = ?",
                (token_id, organization.id),
            )
            if not cursor.rowcount:
                raise _unknown(organization, token_id)
            await remove_homeless(db)

    def _transaction(self, organization: Organization | None = None) -> AbstractAsyncContextManager["Transaction"]:
        return self._database.transaction(organization_id=None if organization is None else organization.id)

    @staticmethod
    async def _revise(db: "Transaction", token_id: str) -> None:
        """Let what is kept of all organizations of a token end with this transaction."""
        await db.execute(
            """
            UPDATE organizations SET revision = (SELECT value + 1 FROM revisions)
            WHERE id IN (SELECT organization_id FROM token_organizations WHERE token_id = ?)
            """,
            (token_id,),
        )


def _tokens(rows: Iterable[Sequence[Any]]) -> list[Token]:
    """Tokens of which each has a row for every rule, or one for every organization without any."""
    return [_token(list(own)) for _, own in groupby(rows, key=itemgetter(0))]


def _token(rows: Sequence[Sequence[Any]]) -> Token:
    token_id, name, scopes, instance, expires_at, used_at, used_from, used_by, former_until, created_at = rows[0][
        :10
    ]
    reach: dict[str, Rights] = {}
    for slug, own in groupby((row[10:] for row in rows), key=itemgetter(0)):
        if slug is not None:
            reach[slug] = _rights(list(own))
    return Token(
        id=token_id,
        name=name,
        scopes=tuple(msgspec.json.decode(scopes, type=list[str])),
        instance=bool(instance),
        reach=reach,
        expires_at=expires_at,
        last_used_at=used_at,
        last_used_from=used_from,
        last_used_by=used_by,
        former_until=former_until,
        created_at=created_at,
    )


def _rights(rows: Sequence[Sequence[Any]]) -> Rights:
    _, count, changed_at = rows[0][:3]
    layers: list[list[Rule]] = [[] for _ in range(count)]
    for _, _, _, layer, pattern, versions, before in rows:
        if layer is not None:
            layers[layer - 1].append(Rule(pattern, Condition(versions, before)))
    return Rights(tuple(map(tuple, layers)), sources=not count, since=changed_at)


async def _put_rules(
    db: "Transaction", token_id: str, organization_id: str, number: int, layers: Layers, *, changed_at: int = 0
) -> None:
    await db.execute(
        """
        INSERT INTO token_organizations (token_id, organization_id, number, layers, changed_at)
        VALUES (?, ?, ?, ?, ?)
        """,
        (token_id, organization_id, number, len(layers), changed_at),
    )
    await db.executemany(
        """
        INSERT INTO token_rules
            (token_id, organization_id, layer, number, pattern, versions, published_before)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        """,
        [
            (
                token_id,
                organization_id,
                layer,
                place,
                rule.pattern,
                rule.condition.constraint,
                rule.condition.before,
            )
            for layer, rules in enumerate(layers, start=1)
            for place, rule in enumerate(rules, start=1)
        ],
    )


async def _check_name(db: "Transaction", token_id: str) -> None:
    """Refuse with ConflictError a token whose name another one has that is as good, in an organization of both."""
    rows: Any = await db.execute_fetchall(
        """
        SELECT tokens.name, slug FROM tokens AS own JOIN tokens ON tokens.name = own.name AND tokens.id <> own.id
        LEFT JOIN token_organizations ON token_organizations.token_id = tokens.id
        LEFT JOIN organizations ON organizations.id = token_organizations.organization_id
        WHERE own.id = ?1 AND (tokens.expires_at IS NULL OR tokens.expires_at > ?2)
            AND (own.expires_at IS NULL OR own.expires_at > ?2)
            AND (own.instance AND tokens.instance OR organization_id IN (
                SELECT organization_id FROM token_organizations WHERE token_id = ?1
            ))
        """,
        (token_id, now()),
    )
    for name, slug in rows:
        raise ConflictError(f"{slug or 'this instance'} has a token {name} already; choose another name")


async def remove_homeless(db: "Transaction") -> None:
    """Remove the tokens that have lost the last of their organizations."""
    await db.execute(
        """
        DELETE FROM tokens WHERE NOT instance AND NOT EXISTS (
            SELECT 1 FROM token_organizations WHERE token_id = tokens.id
        )
        """
    )


def _unknown(organization: Organization | None, token_id: str) -> NotFoundError:
    where = organization.slug if organization else "this instance"
    listing = f"pricore token list {organization.slug if organization else '--instance'}"
    return NotFoundError(f"{where} has no token {token_id}; `{listing}` shows those it has")
