"""Use of tokens and downloads: collected in memory, written in batches, so that no request costs a write."""

from datetime import date
from typing import TYPE_CHECKING, Final, TypeAlias

from pricore.clock import now
from pricore.models import Count, Downloads, Package
from pricore.versions import normalized_or_none

if TYPE_CHECKING:
    from pricore.store import Store

_EPOCH: Final = date(1970, 1, 1).toordinal()
_MOST: Final = 10_000
"""Kinds of downloads that are remembered between two batches; more are dropped, not kept."""

_Counts: TypeAlias = dict[tuple[str, str, str], int]
"""By organization (id or slug), package and version."""


class Usage:
    """The part of the store that counts; `flush` brings to the file what was noted since the last time."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._tokens: dict[str, int] = {}
        self._installs: _Counts = {}
        self._archives: _Counts = {}
        self._dists: dict[str, int] = {}

    def token_used(self, token_id: str, at: int) -> None:
        """Note that a token was used at that time."""
        self._tokens[token_id] = at

    def dist_used(self, shasum: str) -> None:
        """Note that an archive was asked for now."""
        self._dists[shasum] = now()

    def installed(self, organization_id: str, package: str, version: str) -> None:
        """Note that a client reported the install of a version, pretty or normalized."""
        _count(self._installs, (organization_id, package, version))

    def downloaded(self, slug: str, package: str, version: str) -> None:
        """Note that the archive of a version, in any form of it, was sent; `slug` is the organization's."""
        _count(self._archives, (slug, package, version))

    async def downloads(
        self, package: Package, *, first: date, last: date, version: str | None = None
    ) -> Downloads:
        """The downloads of a package, or of a version as it is shown, that were written by now."""
        parameters = (package.id, version)
        where = "package_id = ?1 AND (?2 IS NULL OR version = ?2)"
        ((installs, archives),) = await self._store.fetch_all(
            f"SELECT coalesce(sum(count), 0), coalesce(sum(archives), 0) FROM downloads WHERE {where}", parameters
        )
        rows = await self._store.fetch_all(
            f"""
            SELECT day, version, count, archives FROM downloads WHERE {where} AND day BETWEEN ?3 AND ?4
            ORDER BY day, count DESC, archives DESC, version
            """,
            (*parameters, first.toordinal() - _EPOCH, last.toordinal() - _EPOCH),
        )
        days: dict[date, dict[str, Count]] = {
            date.fromordinal(day): {} for day in range(first.toordinal(), last.toordinal() + 1)
        }
        for day, name, *counts in rows:
            days[date.fromordinal(_EPOCH + day)][name] = Count(*counts)
        return Downloads(Count(installs, archives), days)

    async def flush(self) -> None:
        """Write what was noted; what cannot be written now is kept for the next time."""
        tokens, self._tokens = self._tokens, {}
        installs, self._installs = self._installs, {}
        archives, self._archives = self._archives, {}
        dists, self._dists = self._dists, {}
        if tokens or installs or archives or dists:
            # whole: what is committed while the caller is cancelled must not be kept and counted again
            await self._store.whole(self._write(tokens, installs, archives, dists))

    async def _write(
        self, tokens: dict[str, int], installs: _Counts, archives: _Counts, dists: dict[str, int]
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
                    [(now() // 86400, count, *key) for key, count in installs.items()],
                )
                # what is in a URL can be any form of a version
                await db.executemany(
                    """
                    INSERT INTO downloads (package_id, version, day, count, archives)
                    SELECT packages.id, versions.version, ?1, 0, ?2 FROM packages
                    JOIN organizations ON organizations.id = organization_id
                    JOIN versions ON versions.package_id = packages.id
                    WHERE slug = ?3 AND packages.name = ?4 AND (version = ?5 OR normalized = ?6)
                    ORDER BY version = ?5 DESC, versions.id LIMIT 1
                    ON CONFLICT (package_id, version, day) DO UPDATE SET archives = archives + excluded.archives
                    """,
                    [
                        (now() // 86400, count, slug, package, version, normalized_or_none(version))
                        for (slug, package, version), count in archives.items()
                    ],
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
            for kept, counts in ((self._installs, installs), (self._archives, archives)):
                for key, count in counts.items():
                    kept[key] = kept.get(key, 0) + count
            raise


def _count(counts: _Counts, key: tuple[str, str, str]) -> None:
    if key in counts or len(counts) < _MOST:
        counts[key] = counts.get(key, 0) + 1
