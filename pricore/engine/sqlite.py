"""The database as a file: its schema and how it gets there, copies of it, and whether it is whole."""

import os
import pwd
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, Final

from pricore.errors import PricoreError, StoreError
from pricore.system.files import sync_folder, sync_path

BUSY_SECONDS: Final = 30
"""How long a writer waits for another process; the longest transaction here takes far less."""

_MOST_COPIES: Final = 3
_LEAST_ROOM: Final = 1024 * 1024
_MOST_DAMAGE: Final = 20


def uri(path: Path, mode: str) -> str:
    """How SQLite opens a file: ro, rw."""
    return f"{path.absolute().as_uri()}?mode={mode}"


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(uri(path, mode), uri=True, isolation_level=None, timeout=BUSY_SECONDS)


def read_beside(path: Path, sql: str, parameters: Sequence[Any], *, seconds: float) -> list[Any]:
    """The rows of a query, without opening the store; nothing where they cannot be read within so many seconds."""
    try:
        check_there(path)
        with closing(sqlite3.connect(uri(path, "ro"), uri=True, timeout=seconds)) as connection:
            return connection.execute(sql, parameters).fetchall()
    except (PricoreError, OSError, sqlite3.Error):
        return []


@cache
def scripts() -> Sequence[Path]:
    """The files of the schema, in their order."""
    return sorted((Path(__file__).parents[1] / "schema").glob("*.sql"))


def newest_schema() -> int:
    """The number of the schema that this program works with."""
    return len(scripts())


def migrate(path: Path) -> None:
    """Bring the file to the newest schema, all of it in one transaction; `PRAGMA user_version` counts the steps.

    What was there is copied beside it first, as pricore.sqlite3.schema-<number>; the latest few of those are kept.
    Raises StoreError where a newer Pricore wrote it, and where there is no room for the copy.
    """
    path.touch(mode=0o600)
    with closing(_connect(path, "rw")) as connection:
        if _user_version(connection) == newest_schema():
            return
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = OFF")  # a table that is made anew must not take others along
        connection.execute("BEGIN IMMEDIATE")
        # asked again inside: another process may have migrated in between
        version = _user_version(connection)
        check_schema(path, version)
        if 0 < version < newest_schema():
            _keep_copy(path, version)  # nobody else can write meanwhile
        for number, script in enumerate(scripts()[version:], start=version + 1):
            for statement in statements(script.read_text(encoding="utf-8")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    for copied in _copies(path)[_MOST_COPIES:]:
        copied.unlink(missing_ok=True)


def check_schema(path: Path, version: int) -> None:
    """Refuse with StoreError what a newer Pricore wrote."""
    if version > newest_schema():
        raise StoreError(
            f"the database {path} was written by a newer Pricore (schema {version}, this one knows "
            f"{newest_schema()}): upgrade this program"
        )


def _keep_copy(path: Path, version: int) -> None:
    """Put a copy beside the database, whole or not at all."""
    copied = path.with_name(f"{path.name}.schema-{version}")
    new = copied.with_name(f"{copied.name}.new")
    try:
        needed, free = room_to_migrate(path)
        if free < needed:
            raise _no_copy(path, f"that takes {_megabytes(needed)}, and {_megabytes(free)} are free")
        new.unlink(missing_ok=True)  # of a process that was killed
        copy(path, new)
        new.replace(copied)
        sync_folder(path.parent)
    except OSError as error:
        raise _no_copy(path, error.strerror or str(error)) from None
    except sqlite3.Error as error:
        raise _no_copy(path, str(error)) from None


def room_to_migrate(path: Path) -> tuple[int, int]:
    """How many bytes a migration of a database takes on its disk, and how many are free."""
    size = path.stat().st_size + _size(path.with_name(f"{path.name}-wal"))
    # the copy, and every page anew
    return 2 * size + _LEAST_ROOM, shutil.disk_usage(path.parent).free


def _no_copy(path: Path, reason: str) -> StoreError:
    return StoreError(
        f"the database {path} has to be migrated, and cannot be copied before that: {reason}; "
        "make room on that disk and start again, nothing was changed"
    )


def _megabytes(size: int) -> str:
    return f"{size / 1024**2:.1f} MB"


def _copies(path: Path) -> list[Path]:
    """The copies from before migrations, the latest first."""
    found = path.parent.glob(f"{path.name}.schema-*[0-9]")
    return sorted(found, key=lambda item: item.stat().st_mtime_ns, reverse=True)


def copy(path: Path, target: Path) -> None:
    """Copy a database that may be in use to a new file, as it is at one moment; it is on the disk then.

    Writers go on meanwhile. Raises OSError and sqlite3.Error, and then leaves nothing behind.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        # all pages in one step: between two, somebody who writes would make it begin anew
        with closing(_connect(path, "ro")) as source, closing(_connect(target, "rw")) as copied:
            source.backup(copied)
        sync_path(target)
    except BaseException:
        for left in (target, target.with_name(f"{target.name}-journal")):
            left.unlink(missing_ok=True)
        raise


def check_owner(path: Path) -> None:
    """Refuse with StoreError root in a data folder of another user, who could not read what root makes there.

    SQLite makes files beside the database even for who only reads. Whose it is the database says, or the folder
    that it will be in.
    """
    if os.geteuid() != 0:
        return
    found = next(place for place in (path, *path.parents) if place.exists())
    owner = found.stat().st_uid
    if owner != 0:
        name = user_name(owner)
        made = "" if found in (path, path.parent) else ", or make the folder first"
        raise StoreError(
            f"{found} belongs to {name}, who could not read what root makes there: run this as {name} "
            f"(sudo -u {'#' if name.isdecimal() else ''}{name} pricore ...){made}"
        )


def user_name(number: int) -> str:
    """The name of a user, or the number where the user has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def check_there(path: Path) -> None:
    """Refuse with StoreError a folder without a database, for who is not to make one, and one of another user."""
    try:
        there = path.exists()
    except OSError as error:
        raise StoreError(
            f"cannot look into {path.parent}: {error.strerror}; run this as the user who serves"
        ) from None
    if not there:
        raise StoreError(
            f"there is no registry in {path.parent}; give its folder with --data or PRICORE_DATA "
            "(`pricore org create` makes one)"
        )
    check_owner(path)


def schema_of(path: Path) -> int:
    """The number of a database's schema, 0 for one without any. Raises StoreError where it cannot be read."""
    try:
        with closing(_connect(path, "ro")) as connection:
            return _user_version(connection)
    except sqlite3.Error as error:
        raise StoreError(f"cannot read the database {path}: {error}") from None


def find_damage(path: Path, *, thorough: bool) -> list[str]:
    """What is wrong with a database that is in use or not, a line each; nothing where it is whole.

    A thorough look compares indexes with their tables, and checks what rows refer to.
    """
    try:
        with closing(_connect(path, "ro")) as connection:
            kind = "integrity_check" if thorough else "quick_check"
            found = [text for (text,) in connection.execute(f"PRAGMA {kind}({_MOST_DAMAGE})") if text != "ok"]
            if thorough and not found:
                rows = connection.execute("PRAGMA foreign_key_check").fetchmany(_MOST_DAMAGE)
                found = [f"a row of {table} refers to none of {parent}" for table, _, parent, _ in rows]
    except sqlite3.Error as error:
        return [str(error)]
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _user_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def statements(script: str) -> Iterable[str]:
    """The statements of a script one by one: `executescript` would commit the transaction around them."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
