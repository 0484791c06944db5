"""What publishing does inside its transaction: packages, refs, and the documents that are made of versions."""

import secrets
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from uuid import uuid4

import msgspec
import zstandard

from pricore.composer import metadata, versions
from pricore.composer.discovery import (
    BRANCHES,
    MOST_OF_PACKAGE,
    split_place,
    too_much,
)
from pricore.composer.metadata import Published
from pricore.errors import ConflictError, NotFoundError
from pricore.models import NewVersion, Ref, Repository
from pricore.system.clock import now, rfc3339
from pricore.system.threads import PUBLISHING
from pricore.tables.sql import later

if TYPE_CHECKING:
    import aiosqlite

T = TypeVar("T")

PUBLISHED: Final = """
    version, normalized, reference, shasum, entry, published_at, first_reference IS NOT NULL
"""
"""The columns of a version that documents are made of."""

_MOST_DESCRIPTION: Final = 1000
"""Characters of a description that lists and searches go through; the metadata has it whole."""

_LEVEL: Final = 6
_PORTION: Final = 256 * 1024

_MOST_TYPE: Final = 255
"""Characters of a type that lists go through, likewise."""

_DIST_SIZE: Final = 300
"""Bytes that `dist` and `uid` add to a version, about; for deciding what is small enough to be inline."""


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction of a sync changes.

    `versions` come or change. `removed` go; `gone` stay and are marked, as (package, version). `refs` are
    what became of refs, `forgotten` the names of those that are no more, `back` of those whose version was deleted
    while they were none, and that stand where they stood. `deleted` are the refs that the sync
    knew to make a deleted version, `there` the packages (lower case) that it found or made itself.
    `default_names` are those of packages in the default branch, by folder. `digest` is what was seen upstream,
    given by the last transaction of a complete sync; None while it goes on.
    """

    versions: Sequence[NewVersion] = ()
    removed: Sequence[tuple[str, str]] = ()
    gone: Sequence[tuple[str, str]] = ()
    refs: Sequence[Ref] = ()
    forgotten: Sequence[str] = ()
    back: Sequence[str] = ()
    deleted: frozenset[str] = frozenset()
    there: frozenset[str] = frozenset()
    default_branch: str | None = None
    default_names: Mapping[str, str] = {}
    digest: str | None = None

    @property
    def size(self) -> int:
        """How much it has to go through."""
        return sum(map(len, (self.versions, self.removed, self.gone, self.refs, self.forgotten, self.back)))


def read_anew() -> str:
    """A digest that no upstream has, and none that came before: whoever reads the repository now notices too."""
    return f"anew:{secrets.token_hex(8)}"


async def update_repository(db: "aiosqlite.Connection", repository: Repository, change: Publication) -> None:
    cursor = await db.execute(
        """
        -- none is one too: where it comes back it has to be marked again
        UPDATE repositories SET default_branch = CASE WHEN ?7 THEN ?1 ELSE default_branch END,
            -- changed to another address, or to be read anew, while it was read: the next sync reads all of it
            refs_digest = CASE WHEN ?7 AND url = ?5 AND refs_digest = ?6 THEN ?2 ELSE refs_digest END,
            sync_status = CASE WHEN ?7 THEN 'ok' ELSE sync_status END,
            sync_error = CASE WHEN ?7 THEN NULL ELSE sync_error END,
            last_synced_at = CASE WHEN ?7 THEN ?3 ELSE last_synced_at END
        WHERE id = ?4
        """,
        (
            change.default_branch,
            change.digest,
            now(),
            repository.id,
            repository.url,
            repository.refs_digest,
            change.digest is not None,
        ),
    )
    if not cursor.rowcount:
        raise NotFoundError(f"the repository {repository.url} was removed while it was being read")
    await db.executemany(
        """
        INSERT INTO default_names (repository_id, path, name) VALUES (?, ?, ?)
        ON CONFLICT (repository_id, path) DO UPDATE SET name = excluded.name
        """,
        [(repository.id, path, name) for path, name in change.default_names.items()],
    )


async def package_ids(
    db: "aiosqlite.Connection", repository: Repository, change: Publication
) -> tuple[dict[str, str], bool]:
    """The ids of all packages that the change touches, and whether one was made, as it is for new versions."""
    supplied, moved, names = await PUBLISHING.for_all(change.size, _touched, change)
    ids: dict[str, str] = {}
    made = False
    for name in sorted(names):
        rows: Any = await db.execute_fetchall(
            """
            SELECT packages.id, repository_id, url FROM packages
            LEFT JOIN repositories ON repositories.id = repository_id
            WHERE packages.organization_id = ? AND packages.name = ?
            """,
            (repository.organization_id, name),
        )
        for package_id, owner, url in rows:
            if owner == repository.id:
                ids[name] = package_id
            elif name in supplied:
                raise ConflictError(name_taken(name, url))
        if name in supplied and name not in ids:
            made = True
            ids[name] = str(uuid4())
            await db.execute(
                """
                INSERT INTO packages
                    (id, organization_id, repository_id, name, path, description, type, inline_size, created_at)
                VALUES (?, ?, ?, ?, ?, '', 'library', 0, ?)
                """,
                (ids[name], repository.organization_id, repository.id, name, supplied[name], now()),
            )
    await db.executemany(
        "UPDATE packages SET path = ?1 WHERE id = ?2 AND path <> ?1",
        [(path, ids[name]) for name, path in moved.items()],
    )
    return ids, made


def _touched(change: Publication) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """The packages that get versions, with a folder; those in the default branch, with theirs; and all of them."""
    supplied: dict[str, str] = {}
    moved: dict[str, str] = {}
    for item in change.versions:
        _, path = split_place(item.ref)
        supplied.setdefault(item.package.lower(), path)
        if item.default_branch:
            moved[item.package.lower()] = path
    return supplied, moved, supplied.keys() | {package.lower() for package, _ in (*change.removed, *change.gone)}


async def uploaded_package(db: "aiosqlite.Connection", organization_id: str, name: str) -> tuple[str, bool]:
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


async def same_version(db: "aiosqlite.Connection", package_id: str, item: NewVersion) -> str | None:
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


async def check_room(db: "aiosqlite.Connection", package_id: str, item: NewVersion) -> None:
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


def name_taken(name: str, url: str | None) -> str:
    """What to say where a repository supplies a package of another one, or for None one that is uploaded."""
    if url is None:
        return f"the package {name} is uploaded; delete that first, or rename this package"
    return f"the package {name} comes from {url} already; remove that repository first, or rename this package"


async def put_versions(db: "aiosqlite.Connection", ids: Mapping[str, str], items: Sequence[NewVersion]) -> None:
    """Put versions and their archives into packages given by name; what is there already is brought up to date."""
    await db.executemany(
        """
        INSERT INTO versions (package_id, version, normalized, ref, reference, shasum, entry,
            default_branch, released_at, gone_at, created_at, published_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, NULL, ?10, ?10)
        ON CONFLICT (package_id, version) DO UPDATE SET
            normalized = excluded.normalized, ref = excluded.ref, reference = excluded.reference,
            shasum = excluded.shasum, entry = excluded.entry, default_branch = excluded.default_branch,
            released_at = excluded.released_at, gone_at = NULL,
            published_at = CASE WHEN versions.reference = excluded.reference THEN versions.published_at
                ELSE excluded.published_at END,
            first_reference = CASE
                WHEN substr(excluded.ref, 1, 10) = 'refs/tags/' AND versions.reference <> excluded.reference
                THEN coalesce(versions.first_reference, versions.reference) ELSE versions.first_reference
            END
        """,
        # one by one, in the database's thread: all of them together are many times what they share
        (
            (
                ids[item.package.lower()],
                item.version,
                item.normalized,
                item.ref,
                item.reference,
                item.shasum,
                bytes(item.entry),
                item.default_branch,
                item.released_at,
                now(),
            )
            for item in items
        ),
    )
    await db.executemany(
        """
        INSERT INTO dists (package_id, reference, shasum, size, treeish) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (package_id, reference) DO UPDATE SET pinned = FALSE
        """,
        ((ids[item.package.lower()], item.reference, item.shasum, item.size, item.treeish) for item in items),
    )
    # what was advertised of a commit before is what it stays, though the package is in another folder now
    await db.executemany(
        """
        UPDATE versions SET shasum = dists.shasum FROM dists
        WHERE versions.package_id = ?1 AND version = ?2 AND dists.package_id = ?1
            AND dists.reference = versions.reference AND dists.shasum <> versions.shasum
        """,
        ((ids[item.package.lower()], item.version) for item in items if item.treeish is not None),
    )


async def take_out(db: "aiosqlite.Connection", ids: Mapping[str, str], change: Publication) -> None:
    """Take out what is removed, and mark what is gone upstream."""
    # get: a package that was deleted in the meantime is not there, and its versions neither
    await db.executemany(
        "DELETE FROM versions WHERE package_id = ? AND version = ?",
        # one by one, in the database's thread: there may be many
        ((ids.get(package.lower()), version) for package, version in change.removed),
    )
    await db.executemany(
        "UPDATE versions SET gone_at = ? WHERE package_id = ? AND version = ? AND gone_at IS NULL",
        ((now(), ids.get(package.lower()), version) for package, version in change.gone),
    )


async def update_refs(db: "aiosqlite.Connection", repository: Repository, change: Publication) -> None:
    """Remember what became of refs. A mark of deletion stays when its ref is gone: it may be back tomorrow.

    It has no reason as long: nobody wants to know why a ref makes no version that is nowhere.
    """
    await db.executemany(
        """
        INSERT INTO refs (repository_id, name, reference, package, version, reason) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (repository_id, name) DO UPDATE SET reference = excluded.reference,
            package = excluded.package, version = excluded.version, reason = excluded.reason, deleted_at = NULL,
            -- what is let move to one commit is not for any other
            accepted = CASE
                WHEN excluded.reason IS NOT NULL AND refs.accepted = excluded.reference THEN refs.accepted
            END
        """,
        ((repository.id, ref.name, ref.commit, ref.package, ref.version, ref.reason) for ref in change.refs),
    )
    await db.executemany(
        "DELETE FROM refs WHERE repository_id = ? AND name = ? AND deleted_at IS NULL",
        ((repository.id, name) for name in change.forgotten),
    )
    await db.executemany(
        "UPDATE refs SET reason = NULL WHERE repository_id = ? AND name = ? AND deleted_at IS NOT NULL",
        ((repository.id, name) for name in change.forgotten),
    )
    rows: Any = await db.execute_fetchall(
        "SELECT name, deleted_at FROM refs WHERE repository_id = ? AND deleted_at IS NOT NULL", (repository.id,)
    )
    back = frozenset(change.back)
    await db.executemany(
        "UPDATE refs SET reason = ? WHERE repository_id = ? AND name = ?",
        ((deleted_on(at), repository.id, name) for name, at in rows if name in back),
    )


def deleted_on(at: int) -> str:
    """Why a ref makes no version whose version was deleted then."""
    return f"deleted on {rfc3339(at)[:10]}: it comes back with another commit"


async def mark_replaced(db: "aiosqlite.Connection", repository: Repository, change: Publication) -> dict[str, str]:
    """Packages that a folder supplied under another name are frozen; gives those that changed, by name."""
    changed: dict[str, str] = {}
    for path, name in change.default_names.items():
        rows: Any = await db.execute_fetchall(
            """
            UPDATE packages SET replaced_by = nullif(?1, name)
            WHERE repository_id = ?2 AND path = ?3 AND coalesce(replaced_by, name) <> ?1 RETURNING name, id
            """,
            (name.lower(), repository.id, path),
        )
        changed |= dict(rows)
    return changed


async def unmark(db: "aiosqlite.Connection", repository: Repository, change: Publication) -> dict[str, str]:
    """Take the mark of the default branch from what others make, also unread; gives the packages, by name."""
    if change.digest is None:
        return {}
    branch = f"{BRANCHES}{change.default_branch or ''}"
    rows: Any = await db.execute_fetchall(
        """
        SELECT versions.id, packages.name, packages.id FROM versions
        JOIN packages ON packages.id = package_id
        WHERE repository_id = ?1 AND default_branch AND replaced_by IS NULL
            AND ref <> ?2 AND substr(ref, 1, ?4) <> ?3
        """,
        (repository.id, branch, f"{branch}:", len(branch) + 1),
    )
    for version_id, _, _ in rows:
        # one at a time: in a repository of many folders each has its own
        ((content,),) = await db.execute_fetchall("SELECT entry FROM versions WHERE id = ?", (version_id,))
        entry = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        entry.pop("default-branch", None)
        await db.execute(
            "UPDATE versions SET default_branch = FALSE, entry = ? WHERE id = ?",
            (msgspec.json.encode(entry), version_id),
        )
    return {name: package_id for _, name, package_id in rows}


async def rebuild(db: "aiosqlite.Connection", package_id: str, name: str) -> None:
    """Make both documents of a package anew out of its versions, and what lists show of it."""
    rows: Any = await db.execute_fetchall(f"SELECT {PUBLISHED} FROM versions WHERE package_id = ?", (package_id,))
    ((replaced_by, views_modified, last_modified),) = await db.execute_fetchall(
        """
        SELECT replaced_by, views_modified, coalesce(last_modified, 0) FROM packages
        JOIN organizations ON organizations.id = packages.organization_id
        LEFT JOIN package_dates ON package_dates.organization_id = packages.organization_id
            AND package_dates.name = packages.name
        WHERE packages.id = ?
        """,
        (package_id,),
    )
    made = await PUBLISHING.run(_made_of, name, rows, replaced_by)
    await db.execute("DELETE FROM provided_names WHERE package_id = ?", (package_id,))
    await db.executemany(
        "INSERT INTO provided_names (package_id, name) VALUES (?, ?)",
        [(package_id, item) for item in sorted(made.provided)],
    )
    changed = False
    for half, body in made.documents.items():
        # an unchanged half keeps its Last-Modified, and every client its copy. That of a new one is after all that
        # the package had before under its name, and owes nothing to other packages
        cursor = await db.execute(
            f"""
            INSERT INTO documents (package_id, half, body, last_modified) VALUES (?, ?, ?, ?)
            ON CONFLICT (package_id, half) DO UPDATE SET body = excluded.body,
                last_modified = {later("documents.last_modified + 1", "excluded.last_modified")}
            WHERE documents.body <> excluded.body
            """,
            (package_id, half, body, max(now(), 1 + views_modified, 1 + last_modified)),
        )
        changed |= cursor.rowcount > 0
    if changed:
        await db.execute(
            """
            INSERT INTO package_dates (organization_id, name, changes, last_modified)
            SELECT organization_id, name, 1, 0 FROM packages WHERE id = ?
            ON CONFLICT (organization_id, name) DO UPDATE SET changes = package_dates.changes + 1
            """,
            (package_id,),
        )
    # people mark what they abandon on its default branch, and seldom in a release
    rows = await db.execute_fetchall(
        "SELECT entry FROM versions WHERE package_id = ? AND default_branch ORDER BY id LIMIT 1", (package_id,)
    )
    newest = next((_read_entry(content) for (content,) in rows), made.entry)
    abandoned = newest.get("abandoned")
    await db.execute(
        """
        UPDATE packages SET description = ?, type = ?, latest_version = ?, inline_size = ?, document_format = ?,
            abandoned = ?
        WHERE id = ?
        """,
        (
            made.entry.get("description", "")[:_MOST_DESCRIPTION],
            made.entry.get("type", "library")[:_MOST_TYPE],
            made.latest_version,
            made.inline_size,
            metadata.DOCUMENT_FORMAT,
            "" if abandoned is True else abandoned,
            package_id,
        ),
    )


def _read_entry(content: bytes) -> dict[str, Any]:
    return msgspec.json.decode(content, type=dict[str, Any])


class _Made(NamedTuple):
    """What is made of the versions of a package: documents by half, and what lists show of it.

    `entry` is the metadata of the latest version, empty where there is none.
    """

    documents: Mapping[str, bytes]
    latest_version: str | None
    entry: dict[str, Any]
    inline_size: int
    provided: Collection[str]


def _made_of(name: str, rows: list[Sequence[Any]], replaced_by: str | None) -> _Made:
    """What is made of rows (PUBLISHED), which are let go as they get into documents."""
    published = metadata.newest_first(as_published(name, row) for row in _taken(rows))
    latest = metadata.find_latest(published)
    size = sum(len(item.entry) + _DIST_SIZE for item in published)
    provided = metadata.provided_names(published)
    return _Made(
        entry=_read_entry(b"{}" if latest is None else latest.entry),
        latest_version=None if latest is None else latest.version,
        inline_size=size,
        provided=provided,
        documents=_documents(name, published, replaced_by),
    )


def _documents(name: str, published: list[Published], replaced_by: str | None) -> dict[str, bytes]:
    """Both documents of versions given newest first, which are let go as they get into them."""
    halves: dict[str, list[Published]] = {"stable": [], "dev": []}
    for item in _taken(published):
        halves["dev" if versions.is_dev(item.normalized) else "stable"].append(item)
    return {
        half: _compress(metadata.build_document(name, _taken(items), replaced_by=replaced_by))
        for half, items in halves.items()
    }


def _taken(items: list[T]) -> Iterator[T]:
    """The items of a list, which has them no longer: they go one by one."""
    rest = deque(items)
    items.clear()
    while rest:
        yield rest.popleft()


def _compress(document: Iterable[bytes]) -> bytes:
    """A document as it is stored: a large one is never whole for that, and its size isn't told."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    first: list[bytes] = []
    portions = _in_portions(document)
    while sum(map(len, first)) < metadata.LARGE:
        portion = next(portions, None)
        if portion is None:
            return compressor.compress(b"".join(first))
        first.append(portion)
    stream = compressor.compressobj()
    return b"".join([*map(stream.compress, chain(first, portions)), stream.flush()])


def _in_portions(document: Iterable[bytes]) -> Iterator[bytes]:
    """A document in few pieces, which depend on nothing but what it is."""
    portion = bytearray()
    for piece in document:
        portion += piece
        if len(portion) >= _PORTION:
            yield bytes(portion)
            portion.clear()
    yield bytes(portion)


def as_published(name: str, fields: Sequence[Any]) -> Published:
    """A row of versions (PUBLISHED) as documents are made of it."""
    version, normalized, reference, shasum, entry, published_at, moved = fields
    return Published(
        name=name,
        version=version,
        normalized=normalized,
        reference=reference,
        shasum=shasum,
        entry=entry,
        published_at=published_at,
        moved=bool(moved),
    )
