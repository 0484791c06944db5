"""A PostgreSQL of the tests' own, with the schema that Pricore would have there."""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.harness import STRICT

BOOLEANS: Final = {
    "credentials": {"plain"},
    "dists": {"pinned"},
    "organizations": {"inline"},
    "repositories": {"confined"},
    "tokens": {"instance", "expiry_told"},
    "versions": {"default_branch"},
}
"""The columns that hold truth values: 0 and 1 in SQLite, whose strict tables know no other."""

_NEXT: Final = "-- next"
_USER: Final = "postgres"
"""Who runs the server where the tests are root's, whom it refuses; Debian's package makes this one."""


class PostgreSQL:
    """A server that runs, and is asked through `psql`."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder

    def run(self, script: str) -> tuple[str, dict[int, str]]:
        """What a script prints, and the errors by their line; what comes after one runs all the same."""
        done = subprocess.run(
            [self._programs / "psql", "-X", "-q", "-A", "-t", "-h", self._folder, "-U", _USER, "-f", "-", _USER],
            input=script,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        errors = re.findall(r"^psql:<stdin>:(\d+): (?:ERROR|FATAL): +(.*)$", done.stderr, re.MULTILINE)
        assert done.returncode == 0, done.stderr
        return done.stdout, {int(line): message for line, message in errors}

    def prepare(self, schema: str, statements: Iterable[str]) -> tuple[list[list[str]], dict[str, str]]:
        """The types of parameters that it finds in each statement of one line, and what is wrong with which."""
        lines = list(statements)
        script = [f"PREPARE s{number} AS {line};" for number, line in enumerate(lines)]
        first = schema.count("\n") + 1
        printed, errors = self.run(
            f"{schema}{chr(10).join(script)}\nSELECT json_object_agg(name, parameter_types::text[])"
            " FROM pg_prepared_statements;"
        )
        assert not [message for line, message in errors.items() if line < first], errors
        found: Mapping[str, list[str]] = json.loads(printed)
        types = [found.get(f"s{number}", []) for number in range(len(lines))]
        return types, {lines[line - first]: message for line, message in errors.items()}

    def describe(self, statements: Iterable[str]) -> dict[str, list[str]]:
        """The types of the columns that each statement of one line gives; the schema is there by then."""
        lines = list(statements)
        printed, _ = self.run("".join(f"\\echo {_NEXT}\n{line} \\gdesc\n" for line in lines))
        described = printed.split(f"{_NEXT}\n")[1:]
        types = [re.findall(r"\|([^|\n]*)$", item, re.MULTILINE) for item in described]
        return dict(zip(lines, types, strict=True))


@contextlib.contextmanager
def serving() -> Iterator[PostgreSQL]:
    """Run a server on a socket in a folder of its own; where none is installed it is as with `need`."""
    found = [path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    installed = shutil.which("initdb")
    programs = found[-1] if found else Path(installed).parent if installed else None
    if programs is None:
        (pytest.fail if STRICT else pytest.skip)("PostgreSQL is not installed")
    user = _USER if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pricore-postgresql-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        data = folder / "data"
        options = ("--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", f"--username={_USER}")
        subprocess.run([programs / "initdb", "-D", data, *options], user=user, cwd=folder, check=True, stdout=-3)
        with subprocess.Popen(
            [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
            user=user,
            cwd=folder,
            stderr=subprocess.DEVNULL,
        ) as server:
            try:
                _wait(programs, folder)
                yield PostgreSQL(programs, folder)
            finally:
                server.terminate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(programs: Path, folder: Path) -> None:
    deadline = time.monotonic() + 30
    while subprocess.run([programs / "pg_isready", "-q", "-h", folder], check=False).returncode:
        assert time.monotonic() < deadline, "PostgreSQL does not answer"
        time.sleep(0.05)


def schema_of(path: Path) -> str:
    """The tables and indexes of a database of SQLite's, as PostgreSQL makes them; without foreign keys."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type DESC, rowid"
        ).fetchall()
    return "".join(f"{_translate(sql, name) if kind == 'table' else sql};\n" for kind, name, sql in rows)


def _translate(sql: str, table: str) -> str:
    for column in BOOLEANS.get(table, ()):
        sql, count = re.subn(
            rf"\b{column} INTEGER NOT NULL(?: DEFAULT 0)? CHECK \({column} IN \(0, 1\)\)",
            f"{column} BOOLEAN NOT NULL DEFAULT FALSE",
            sql,
        )
        assert count == 1, (table, column)
    for pattern, other in (
        (r"\) STRICT(, WITHOUT ROWID)?$", ")"),
        (r" REFERENCES \w+ \(\w+\)( ON DELETE (CASCADE|SET NULL))?", ""),
        (r"\bINTEGER PRIMARY KEY\b", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
        (r"\bINTEGER\b", "BIGINT"),
        (r"\bBLOB\b", "BYTEA"),
        (r"\bonly\b", '"only"'),
    ):
        sql = re.sub(pattern, other, re.sub(r"--[^\n]*", "", sql))
    return sql
