"""No statement goes through all rows of a package for each of them: twice as many are twice the work."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from pricore.store import Store
from tests.store.everything import use_everything
from tests.store.statements import record

MANY: Final = {"refs", "versions", "dists"}
"""Tables of which one repository may have thousands of rows."""

_LOOP: Final = re.compile(r"(?:SCAN|SEARCH) (\w+)(?:.*\((.*)\))?")


class Loop(NamedTuple):
    """A loop of a query over a table: by how many columns its rows are found, and what goes on around it."""

    table: str
    columns: int
    outer: list["Loop"]

    @property
    def is_long(self) -> bool:
        return self.table in MANY and self.columns < 2


def loops(plan: list[tuple[int, int, int, str]]) -> Iterator[Loop]:
    """The loops of a plan as SQLite explains it: those of one query are inside each other in their order."""
    beside: dict[int, list[Loop]] = {0: []}
    for number, parent, _, text in plan:
        around = beside.setdefault(parent, [])
        if match := _LOOP.match(text):
            loop = Loop(match[1], (match[2] or "").count("=?"), [*around])
            around.append(loop)
            yield loop
        # what is made once is inside nothing
        beside[number] = [*around] if "CORRELATED" in text else []


async def test_no_statement_is_quadratic(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push to a repository of 20,000 tags once took a minute: each version went through all refs."""
    async with Store(path):
        pass  # a migration has its own tables
    with monkeypatch.context() as patched:
        statements = record(patched)
        async with Store(path, sync_interval=300) as store:
            await use_everything(store, path)
    with closing(sqlite3.connect(path)) as connection:
        wrong = [
            f"{loop.table} inside {outer.table}: {' '.join(sql.split())}"
            for sql, types in statements.seen.items()
            for loop in loops(connection.execute(f"EXPLAIN QUERY PLAN {sql}", [None] * len(types)).fetchall())
            for outer in loop.outer
            if loop.is_long and outer.is_long
        ]
    assert wrong == []
