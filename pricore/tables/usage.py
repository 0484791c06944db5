"""Use of tokens and downloads: collected in memory, written in batches, so that no request costs a write."""

from datetime import date
from typing import TYPE_CHECKING, Final

from pricore.clock import now
from pricore.models import Downloads, Package

if TYPE_CHECKING:
    from pricore.store import Store

_EPOCH: Final = date(1970, 1, 1).toordinal()
_MOST: Final = 10_000
"""Kinds of downloads that are remembered between two batches; more are dropped, not kept."""


class Usage:
    """The part of the store that counts; `flush` brings to the file what was noted since the last time."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._tokens: dict[str, int] = {}
        self._downloads: dict[tuple[str, str, str], int] = {}
        self._dists: dict[str, int] = {}

    def token_used(self, token_id: str, at: int) -> None:
        """Note that a token was used at that time."""
        self._tokens[token_id] = at

    def dist_used(self, shasum: str) -> None:
        """Note that an archive was asked for now."""
        self._dists[shasum] = now()

    def installed(self, organization_id: str, package: str, version: str) -> None:
        """Note that a client reported the install of a version, pretty or normalized."""
        key = (organization_id, package, version)
        if key in self._downloads or len(self._downloads) < _MOST:
            self._downloads[key] = self._downloads.get(key, 0) + 1

    async def downloads(
        self, package: Package, *, first: date, last: date, version: str | None = None
    ) -> Downloads:
        """The installs of a package, or of a version as it is shown, that were written by now."""
        parameters = (package.id, version)
        where = "package_id = ?1 AND (?2 IS NULL OR version = ?2)"
        ((total,),) = await self._store.fetch_all(
            f"SELECT coalesce(sum(count), 0) FROM downloads WHERE {where}", parameters
        )
        rows = await self._store.fetch_all(
            f"""
            SELECT day, version, count FROM downloads WHERE {where} AND day BETWEEN ?3 AND ?4
            ORDER BY day, count DESC, version
            """,
            (*parameters, first.toordinal() - _EPOCH, last.toordinal() - _EPOCH),
        )
        days: dict[date, dict[str, int]] = {
            date.fromordinal(day): {} for day in range(first.toordinal(), last.toordinal() + 1)
        }
        for day, name, count in rows:
            days[date.fromordinal(_EPOCH + day)][name] = count
        return Downloads(total, days)

    async def flush(self) -> None:
        """Write what was noted; what cannot be written now is kept for the next time."""
        tokens, self._tokens = self._tokens, {}
        downloads, self._downloads = self._downloads, {}
        dists, self._dists = self._dists, {}
        if tokens or downloads or dists:
            # whole: what is committed while the caller is cancelled must not be kept and counted again
            await self._store.whole(self._write(tokens, downloads, dists))

    async def _write(
        self, tokens: dict[str, int], downloads: dict[tuple[str, str, str], int], dists: dict[str, int]
    ) -> None:
        try:
            async with self._store.transaction(revise=False) as db:
                await db.executemany(
                    "UPDATE tokens SET last_used_at = max(?, coalesce(last_used_at, 0)) WHERE id = ?",
                    [(at, token_id) for token_id, at in tokens.items()],
                )
                # clients report the normalized version; counts are kept by the pretty one
                await db.executemany(
                    """
                    INSERT INTO downloads (package_id, version, day, count)
                    SELECT packages.id, versions.version, ?, ? FROM packages
                    JOIN versions ON versions.package_id = packages.id
                    WHERE organization_id = ? AND packages.name = ? AND ? IN (normalized, version)
                    ORDER BY versions.id LIMIT 1
                    ON CONFLICT (package_id, version, day) DO UPDATE SET count = count + excluded.count
                    """,
                    [(now() // 86400, count, *key) for key, count in downloads.items()],
                )
                await db.executemany(
                    """
                    INSERT INTO dist_uses (shasum, used_at) VALUES (?, ?)
                    ON CONFLICT (shasum) DO UPDATE SET used_at = max(used_at, excluded.used_at)
                    """,
                    [*dists.items()],
                )
        except BaseException:
            self._tokens = tokens | self._tokens
            self._dists = dists | self._dists
            for key, count in downloads.items():
                self._downloads[key] = self._downloads.get(key, 0) + count
            raise
