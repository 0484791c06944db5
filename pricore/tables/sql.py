"""Pieces of statements, in the SQL that SQLite and PostgreSQL both read."""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")

MOST_PARAMETERS: Final = 30_000
"""Values in a list of one statement, which has others beside them: SQLite takes 32,766, PostgreSQL 65,535."""


def later(one: str, other: str) -> str:
    """The greater of two values, neither of them NULL."""
    return f"CASE WHEN {one} > {other} THEN {one} ELSE {other} END"


def even(date: int) -> int:
    """The first date from there on that can be a whole document's: an even number. Views have the odd ones."""
    return date + date % 2


def next_date(column: str, at: str) -> str:
    """The date of a whole document that changes: `at`, which is even, where that is after the one in a column."""
    return later(f"{column} + 2 - {column} % 2", at)


def sooner(column: str, other: str) -> str:
    """The smaller of a column's value and another one; a NULL (never) stays NULL, which LEAST would drop."""
    return f"CASE WHEN {column} > {other} THEN {other} ELSE {column} END"


def chosen(values: Collection[object]) -> str:
    """The list behind IN for so many parameters: `(?, ?)`; of nothing it holds '', which is no id and no name."""
    return f"({', '.join('?' * len(values)) or repr('')})"


def in_chunks(values: Iterable[T], size: int = MOST_PARAMETERS) -> Iterator[list[T]]:
    """Some values as lists that are short enough for a statement."""
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk
