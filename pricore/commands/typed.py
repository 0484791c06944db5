"""Groups and commands that take what is typed as it is.

Typer loads pydantic for any value, none too, which takes longer than most commands (docs/decisions/typer.md). Each
parameter says by `get_runtime_param` how it comes to its value: with a Typer that has another way, nothing but the
time is lost.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

_NUMBER: Final = re.compile(r"[0-9]{1,15}")


class Command(TyperCommand):
    """A command of that kind."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its arguments and options, --help too."""
        return _as_typed(super().get_params(ctx))


class Group(TyperGroup):
    """A group of that kind."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its options, --help too."""
        return _as_typed(super().get_params(ctx))


def _as_typed(parameters: Sequence[Any]) -> list[Any]:
    for item in parameters:
        item.get_runtime_param = _Values
    return [*parameters]


class _Values:
    """What Typer asks for the value of a parameter."""

    def coerce(self, value: Any, param: Any, ctx: typer.Context) -> Any:
        """The value of what was typed. Raises BadParameter."""
        several = param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        kind, texts = param.type_descriptor.annotation, value if several else [value]
        if all(isinstance(text, str) for text in texts):
            if kind == Path and not several:
                return Path(value)
            if kind is int and not (several or param.type_descriptor.is_ranged) and _NUMBER.fullmatch(value):
                return int(value)
            if kind == (list[str] if several else str):
                return [*map(_check_text, texts)] if several else _check_text(value)
        return type(param).get_runtime_param(param).coerce(value, param=param, ctx=ctx)


def _check_text(text: str) -> str:
    """The text. Raises BadParameter for bytes that are none: what follows could not store or show it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter(f"{text!a} is not UTF-8") from None
    return text
