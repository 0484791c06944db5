"""Which statements there are in the code, which of them ran, and with what parameters."""

import ast
import re
import sqlite3
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

import pricore

ROOMS: Final = ("tables", "engine")
_BEGIN: Final = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\s")
_COMMENT: Final = re.compile(r"--[^\n]*")
_PLACEHOLDER: Final = re.compile(r"\?(\d*)")


class Statements:
    """What ran: each statement with the types of parameters that it ever had, by their places."""

    def __init__(self) -> None:
        self.seen: dict[str, list[set[type]]] = {}

    def note(self, sql: str, parameters: Iterable[Any]) -> None:
        if not _BEGIN.match(sql):
            return
        types = self.seen.setdefault(sql, [])
        for place, value in enumerate(parameters):
            if place == len(types):
                types.append(set())
            if value is not None:
                types[place].add(type(value))


def record(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """Note what runs on every connection that is made from now on."""
    statements = Statements()

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            statements.note(sql, parameters)
            return super().execute(sql, parameters)

        def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
            def noted() -> Iterator[Any]:
                for row in parameters:
                    statements.note(sql, row)
                    yield row

            return super().executemany(sql, noted())

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Connection))
    return statements


def numbered(sql: str) -> str:
    """A statement in one line, with its placeholders as PostgreSQL has them: those without a number get one."""
    line = " ".join(_COMMENT.sub("", sql).split())
    numbers = _PLACEHOLDER.findall(line)
    assert len({bool(number) for number in numbers}) < 2, f"with numbers and without: {line}"
    places = iter(range(1, len(numbers) + 1))
    return _PLACEHOLDER.sub(lambda found: f"${found[1] or next(places)}", line)


def written() -> dict[str, re.Pattern[str]]:
    """Every text in the code that begins as a statement, by its place, as a pattern for what comes of it."""
    found = {}
    package = Path(pricore.__file__).parent
    for path in sorted(path for room in ROOMS for path in (package / room).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if id(node) in inner or not isinstance(node, ast.Constant | ast.JoinedStr):
                continue
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = [part.value if isinstance(part, ast.Constant) else None for part in parts]
            if isinstance(texts[0], str) and _BEGIN.match(texts[0]):
                pattern = "".join("(?s:.*)" if text is None else re.escape(str(text)) for text in texts)
                found[f"{path.relative_to(package)}:{node.lineno}"] = re.compile(pattern)
    return found
