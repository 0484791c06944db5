"""A p2 document as it is for who may not see all of it: without some versions, without where the source is.

Pure: bytes in, bytes out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final, TypeAlias

import msgspec

from pricore.composer.metadata import UNSET, finish_document, minified

Admits: TypeAlias = Callable[[str, int | None], bool]
"""Whether a version is shown: given its normalized form, and when it was first served at its commit, if known."""


class _Minified(msgspec.Struct):
    packages: dict[str, list[msgspec.Raw]]


_UNSET: Final = bytes(UNSET)
_minified: Final = msgspec.json.Decoder(_Minified)
_entry: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text: Final = msgspec.json.Decoder(str)


def narrow(document: bytes, admits: Admits | None, *, sources: bool, dated: bool = True) -> Iterator[bytes]:
    """A finished document, in pieces, of the versions that are admitted, None for all; with or without source.

    Where it isn't `dated`, `admits` isn't told when a version was first served.
    """
    ((name, changes),) = _minified.decode(document).packages.items()
    return finish_document(name, _choose(changes, admits, sources=sources, dated=dated))


def _choose(
    changes: Iterable[msgspec.Raw], admits: Admits | None, *, sources: bool, dated: bool
) -> Iterator[Mapping[str, msgspec.Raw]]:
    """What is left of minified entries, minified again where one is left out between two."""
    entry: dict[str, msgspec.Raw] = {}
    before: dict[str, msgspec.Raw] | None = None
    follows = False
    for text in changes:
        change = _entry.decode(text)
        if not sources:
            change.pop("source", None)
        entry = entry | change
        if _UNSET in bytes(text):
            entry = {key: value for key, value in entry.items() if value != UNSET}
        if admits is not None and not _is_admitted(entry, admits, dated=dated):
            follows = False
            continue
        if before is None:
            yield entry
        else:
            yield change if follows else minified(before, entry)
        before, follows = entry, True


def _is_admitted(entry: Mapping[str, msgspec.Raw], admits: Admits, *, dated: bool) -> bool:
    published = entry.get("published-time") if dated else None
    at = None if published is None else int(datetime.fromisoformat(_text.decode(published)).timestamp())
    return admits(_text.decode(entry["version_normalized"]), at)
