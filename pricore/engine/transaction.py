"""What statements run with inside a transaction, whichever engine that is."""

from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, Protocol


class Changed(Protocol):
    """What a statement did."""

    @property
    def rowcount(self) -> int:
        """How many rows it made, changed or took away."""


class Transaction(Protocol):
    """An open transaction; statements are in the SQL that SQLite and PostgreSQL share."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Awaitable[Changed]:
        """Run a statement."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> Awaitable[Changed]:
        """Run a statement for each of some parameters, which are made one by one: there may be many."""

    def execute_fetchall(self, sql: str, parameters: Sequence[Any] = ()) -> Awaitable[Iterable[Any]]:
        """Run a statement; gives its rows, as tuples."""
