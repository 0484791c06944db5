"""Functions fit a screen and files a subject; what doesn't is named here, with the reason."""

import ast
from collections.abc import Mapping
from typing import Final

from tests.house.sources import ROOT, walk

MOST_LINES_OF_FUNCTION = 60
MOST_LINES_OF_FILE = 400

LONG_FUNCTIONS: Final[Mapping[str, str]] = {}

LONG_FILES: Final[Mapping[str, str]] = {}


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function without those of its docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and ast.get_docstring(function, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def test_a_function_fits_a_screen() -> None:
    """None has more than sixty lines, except for those that are named, all of which still have."""
    found = {
        f"{path}:{node.name}"
        for path, node in walk("pricore")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines_of(node) > MOST_LINES_OF_FUNCTION
    }
    assert found == {*LONG_FUNCTIONS}


def test_a_file_has_a_subject() -> None:
    """None has more than four hundred lines, except for those that are named, all of which still have."""
    files = [*(ROOT / "pricore").rglob("*.py")]
    lengths = {path.relative_to(ROOT / "pricore").as_posix(): path.read_bytes().count(b"\n") for path in files}
    assert {path for path, lines in lengths.items() if lines > MOST_LINES_OF_FILE} == {*LONG_FILES}
