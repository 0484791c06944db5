"""Use of tokens and downloads: collected in memory, written in batches, so that no request costs a write."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import TYPE_CHECKING, Final, TypeAlias

from pricore.composer.versions import normalized_or_none
from pricore.models import Count, Downloads, Package
from pricore.system.clock import now
from pricore.system.threads import DOCUMENTS

if TYPE_CHECKING:
    from pricore.engine.database import Database

_EPOCH: Final = date(1970, 1, 1).toordinal()
_MOST: Final = 10_000
"""Kinds of downloads that are remembered between two batches; more are dropped, not kept."""

_MOST_NAME: Final = 1000
"""Characters of a package or a version; no ref is longer, and a client could send a megabyte."""

_MOST_CLIENT: Final = 200
"""Characters of what a client calls itself that are kept."""

_AT_ONCE: Final = 500
_NONE: Final = Count(0, 0)

Use: TypeAlias = tuple[int, str, str]
"""When a token was used, from where, and by which client."""

_Counts: TypeAlias = dict[tuple[str, str, str], int]
"""By organization (id or slug), package and version."""


class Usage:
    """The part of the store that counts; `flush` brings to the file what was noted since the last time."""

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._tokens: dict[str, Use] = {}
        self._installs: _Counts = {}
        self._archives: _Counts = {}
        self._dists: dict[str, int] = {}

    def token_used(self, token_id: str, at: int, address: str = "", client: str = "") -> None:
        """Note that a token was used at that time, from an address, by what the client calls itself."""
        self._tokens[token_id] = (at, address, client)

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
        self,
        package: Package,
        *,
        first: date,
        last: date,
        version: str | None = None,
        only: Collection[str] | None = None,
    ) -> Downloads:
        """The downloads of a package, or of a version as it is shown, that were written by now.

        `only` are the versions that are counted; None for all.
        """
        parameters = (package.id, version)
        where = "package_id = ?1 AND version = coalesce(?2, version)"
        totals = await self._database.fetch_all(
            f"""
            SELECT version, CAST(sum(count) AS BIGINT), CAST(sum(archives) AS BIGINT)
            FROM downloads WHERE {where} GROUP BY version
            """,
            parameters,
        )
        counted = [counts for name, *counts in totals if only is None or name in only]
        rows = await self._database.fetch_all(
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
            if only is None or name in only:
                days[date.fromordinal(_EPOCH + day)][name] = Count(*counts)
        total = Count(sum(installs for installs, _ in counted), sum(archives for _, archives in counted))
        return Downloads(total, days)

    async def flush(self) -> None:
        """Write what was noted; what cannot be written now is kept for the next time."""
        tokens, self._tokens = self._tokens, {}
        installs, self._installs = self._installs, {}
        archives, self._archives = self._archives, {}
        dists, self._dists = self._dists, {}
        if tokens or installs or archives or dists:
            # whole: what is committed while the caller is cancelled must not be kept and counted again
            await self._database.whole(self._write(tokens, installs, archives, dists))

    async def _write(
        self, tokens: dict[str, Use], installs: _Counts, archives: _Counts, dists: dict[str, int]
    ) -> None:
        try:
            # first, so that what clients invent is gone before the lock: nobody waits for it
            counted = await self._find(installs, archives)
            day = now() // 86400
            async with self._database.transaction(revise=False) as db:
                await db.executemany(
                    """
                    UPDATE tokens SET last_used_at = ?, last_used_from = ?, last_used_by = ?
                    WHERE id = ? AND coalesce(last_used_at, 0) < ?
                    """,
                    [
                        (at, address[:_MOST_CLIENT], _printable(client[:_MOST_CLIENT]), token_id, at)
                        for token_id, (at, address, client) in tokens.items()
                    ],
                )
                # out of packages: it may have been deleted since it was found
                await db.executemany(
                    """
                    INSERT INTO downloads (package_id, version, day, count, archives)
                    SELECT id, ?, ?, ?, ? FROM packages WHERE id = ?
                    ON CONFLICT (package_id, version, day) DO UPDATE
                    SET count = downloads.count + excluded.count, archives = downloads.archives + excluded.archives
                    """,
                    [
                        (version, day, count.installs, count.archives, package_id)
                        for (package_id, version), count in counted.items()
                    ],
                )
                await db.executemany(
                    """
                    INSERT INTO dist_uses (shasum, used_at) VALUES (?, ?)
                    ON CONFLICT (shasum) DO UPDATE SET used_at = excluded.used_at
                    WHERE dist_uses.used_at < excluded.used_at
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

    async def _find(self, installs: _Counts, archives: _Counts) -> dict[tuple[str, str], Count]:
        """The counts by a package's id and a version as it is shown; what is not here is left out."""
        # clients report normalized versions, and what is in a URL can be any form of one
        normalized = await DOCUMENTS.for_all(
            len(archives), lambda: [normalized_or_none(version) for _, _, version in archives]
        )
        reported = [(*key, key[2]) for key in installs]
        sent = [(*key, form) for key, form in zip(archives, normalized, strict=True)]
        found: dict[tuple[str, str], Count] = {}
        for number, version in (await self._look_up("id", reported)).items():
            before = found.get(version, _NONE)
            found[version] = Count(before.installs + installs[reported[number][:3]], before.archives)
        for number, version in (await self._look_up("slug", sent)).items():
            before = found.get(version, _NONE)
            found[version] = Count(before.installs, before.archives + archives[sent[number][:3]])
        return found

    async def _look_up(
        self, owner: str, asked: Sequence[tuple[str, str, str, str | None]]
    ) -> dict[int, tuple[str, str]]:
        """The package's id and the version of each that is here, by its number in `asked`.

        That are an organization's `owner`, a package, a version, and its normalized form.
        """
        found: dict[int, tuple[str, str]] = {}
        for start in range(0, len(asked), _AT_ONCE):
            chunk = asked[start : start + _AT_ONCE]
            rows = await self._database.fetch_all(
                f"""
                WITH asked (number, owner, package, version, normalized) AS (
                    VALUES {", ".join(["(CAST(? AS BIGINT), ?, ?, ?, ?)"] * len(chunk))}
                ), known AS (
                    SELECT number, packages.id AS package_id, asked.version, asked.normalized FROM asked
                    JOIN organizations ON organizations.{owner} = asked.owner
                    JOIN packages ON packages.organization_id = organizations.id AND packages.name = asked.package
                )
                SELECT number, 0 AS rank, versions.id, versions.package_id, versions.version FROM known
                JOIN versions ON versions.package_id = known.package_id AND versions.version = known.version
                UNION ALL
                SELECT number, 1, versions.id, versions.package_id, versions.version FROM known
                JOIN versions ON versions.package_id = known.package_id AND versions.normalized = known.normalized
                ORDER BY 1, 2, 3
                """,
                [value for number, key in enumerate(chunk, start) for value in (number, *key)],
            )
            for number, _, _, *version in rows:
                found.setdefault(number, tuple(version))
        return found


def _count(counts: _Counts, key: tuple[str, str, str]) -> None:
    if key in counts:
        counts[key] += 1
    elif len(counts) < _MOST and len(key[1]) <= _MOST_NAME and len(key[2]) <= _MOST_NAME:
        counts[key] = 1


def _printable(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable())
