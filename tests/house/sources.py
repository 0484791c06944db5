"""The files of the product and of its tests, parsed."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def parsed(folder: str) -> dict[str, ast.Module]:
    """Each Python file below a folder of the repository, by its path from there."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return {path.relative_to(ROOT / folder).as_posix(): ast.parse(path.read_text()) for path in paths}


def walk(folder: str) -> Iterator[tuple[str, ast.AST]]:
    """Everything that stands in the files below a folder, with the path of its file."""
    for path, tree in parsed(folder).items():
        for node in ast.walk(tree):
            yield path, node
