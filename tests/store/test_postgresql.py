"""What the store asks of SQLite, PostgreSQL reads as well: every statement is prepared there.

All of them run here first, on SQLite. One that is in the code and does not run is a failure, too.
"""

from pathlib import Path
from typing import Final

import pytest

from pricore.store import Store
from tests.store.everything import use_everything
from tests.store.postgresql import schema_of, serving
from tests.store.statements import Statements, numbered, record, written

TYPES: Final = ((bool, {"boolean"}), (int, {"bigint", "integer"}), (str, {"text"}), (bytes, {"bytea"}))
"""What PostgreSQL has to take a parameter for whose type here is that, or one of that kind."""

GIVEN: Final = {"boolean", "bigint", "integer", "text", "bytea"}
"""What Python gets as what SQLite gives."""


@pytest.fixture
async def statements(path: Path, monkeypatch: pytest.MonkeyPatch) -> Statements:
    """Every statement that there is, after it ran."""
    async with Store(path):
        pass  # its schema is each engine's own
    statements = record(monkeypatch)
    async with Store(path, sync_interval=300) as store:
        await use_everything(store, path)
    return statements


async def test_every_statement_runs_here(statements: Statements) -> None:
    """What is in the code, and is not among what ran, would be read by no PostgreSQL."""
    missing = [
        place for place, pattern in written().items() if not any(pattern.search(sql) for sql in statements.seen)
    ]
    assert missing == [], "call them in tests/store/everything.py"


async def test_postgresql_reads_every_statement(statements: Statements, path: Path) -> None:
    """It knows what each means, takes each parameter for what it is, and gives what SQLite gives."""
    lines = {numbered(sql): types for sql, types in statements.seen.items()}
    with serving() as postgresql:
        found, errors = postgresql.prepare(schema_of(path), lines)
        given = postgresql.describe(lines)
    wrong = [
        f"${place} is {kind.__name__} here and {type_} there: {line}"
        for (line, types), known in zip(lines.items(), found, strict=True)
        for place, (kinds, type_) in enumerate(zip(types, known, strict=False), start=1)
        for kind in kinds
        if type_ not in next(names for base, names in TYPES if issubclass(kind, base))
    ]

    assert errors == {}
    assert wrong == []
    others = {line: types for line, types in given.items() if not GIVEN.issuperset(types)}
    assert others == {}, "the sum of a column is no integer there unless it is cast"
