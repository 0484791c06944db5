"""Tests get at what they need by what the product has anyway: no test reaches for a private name of it."""

import ast
from collections.abc import Iterator

from tests.house.sources import walk


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def reached_for(node: ast.AST) -> Iterator[str]:
    """The private names of others that a piece of a program reaches for."""
    match node:
        case ast.Attribute(value=ast.Name(id="self" | "cls")):
            pass
        case ast.Attribute(attr=name) if is_private(name):
            yield ast.unparse(node)
        case ast.ImportFrom(module=str(module), names=names) if module.startswith("pricore"):
            yield from (f"{module}.{item.name}" for item in names if is_private(item.name))
        case ast.Call(args=[ast.Constant(value=str(path)), *_]) if path.startswith("pricore."):
            if any(map(is_private, path.split("."))):
                yield path
        case ast.Call(
            func=ast.Attribute(attr="setattr" | "delattr") | ast.Name(id="setattr" | "getattr" | "delattr"),
            args=[place, ast.Constant(value=str(name)), *_],
        ) if is_private(name):
            yield f"{ast.unparse(place)}.{name}"


def test_tests_reach_for_no_private_name() -> None:
    """They patch none, import none and look at none."""
    found = {f"{path}: {name}" for path, node in walk("tests") for name in reached_for(node)}
    assert found == set()
