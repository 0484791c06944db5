"""What a shell offers for an argument: names out of the registry, at once or none, and never an error."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import typer

Complete = Callable[[typer.Context, str], Sequence[str]]


def offer(kind: str) -> Complete:
    """Offers the names of a kind that the organization typed before has."""

    def complete(context: typer.Context, incomplete: str) -> Sequence[str]:
        return _names(context, kind, incomplete, slug=str(context.params.get("org") or ""))

    return complete


def offer_words(kind: str = "") -> Complete:
    """Offers organizations for the first of several words, and names of a kind for the second."""

    def complete(context: typer.Context, incomplete: str) -> Sequence[str]:
        words = context.params.get("words") or ()
        if context.params.get("instance"):
            return []
        if not words:
            return _names(context, "organizations", incomplete)
        return _names(context, kind, incomplete, slug=words[0]) if kind and len(words) == 1 else []

    return complete


def offer_packages(context: typer.Context, incomplete: str) -> Sequence[str]:
    """Offers packages of all organizations: what stands before an option without its value isn't told."""
    return _names(context, "all packages", incomplete)


def offer_scopes(incomplete: str) -> Sequence[str]:
    """Offers what a token may be allowed."""
    from pricore.models import SCOPES

    return [scope for scope in SCOPES if scope.startswith(incomplete)]


def _names(context: typer.Context, kind: str, incomplete: str, *, slug: str = "") -> Sequence[str]:
    with suppress(Exception):  # whatever it is, it must not stand in the line that somebody types
        from pricore.config import load_config
        from pricore.tables.names import names_of

        config = load_config(file=context.params.get("config"), flags={"data": context.params.get("data")})
        return [name for name in names_of(config.database, kind, slug) if name.startswith(incomplete)]
    return []
