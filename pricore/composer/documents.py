"""What is made of the versions of a package: its documents as they are stored, and what lists show of it. Pure."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import zstandard

from pricore.composer import metadata, versions
from pricore.composer.metadata import Published

T = TypeVar("T")

_MOST_DESCRIPTION: Final = 1000
"""Characters of a description that lists and searches go through; the metadata has it whole."""

_MOST_TYPE: Final = 255
"""Characters of a type that lists go through, likewise."""

_DIST_SIZE: Final = 300
"""Bytes that `dist` and `uid` add to a version, about; for deciding what is small enough to be inline."""

_LEVEL: Final = 6
_PORTION: Final = 256 * 1024


class Shown(NamedTuple):
    """What lists show of a package; `abandoned` is the one to use instead, empty where it names none."""

    description: str
    type: str
    abandoned: str | None


class Built(NamedTuple):
    """What is made of the versions of a package: documents by half, compressed, and what is known of all of them.

    `inline_size` is the bytes of all versions as packages.json would carry them.
    """

    documents: Mapping[str, bytes]
    latest_version: str | None
    shown: Shown
    inline_size: int
    provided: Collection[str]


def build(name: str, published: Iterable[Published], *, main: bytes | None, replaced_by: str | None) -> Built:
    """What is made of versions in any order, each let go as it gets into a document.

    `main` is the metadata of the default branch, where there is one.
    """
    ordered = metadata.newest_first(published)
    latest = metadata.find_latest(ordered)
    size = sum(len(item.entry) + _DIST_SIZE for item in ordered)
    provided = metadata.provided_names(ordered)
    return Built(
        latest_version=None if latest is None else latest.version,
        shown=_show(b"{}" if latest is None else latest.entry, main),
        inline_size=size,
        provided=provided,
        documents=_build_documents(name, ordered, replaced_by),
    )


def _show(latest: bytes, main: bytes | None) -> Shown:
    entry = msgspec.json.decode(latest, type=dict[str, Any])
    # people mark what they abandon on its default branch, and seldom in a release
    abandoned = (entry if main is None else msgspec.json.decode(main, type=dict[str, Any])).get("abandoned")
    return Shown(
        description=entry.get("description", "")[:_MOST_DESCRIPTION],
        type=entry.get("type", "library")[:_MOST_TYPE],
        abandoned="" if abandoned is True else abandoned,
    )


def _build_documents(name: str, published: list[Published], replaced_by: str | None) -> dict[str, bytes]:
    """Both documents of versions given newest first, which are let go as they get into them."""
    halves: dict[str, list[Published]] = {"stable": [], "dev": []}
    for item in take(published):
        halves["dev" if versions.is_dev(item.normalized) else "stable"].append(item)
    return {
        half: compress(metadata.build_document(name, take(items), replaced_by=replaced_by))
        for half, items in halves.items()
    }


def take(items: list[T]) -> Iterator[T]:
    """The items of a list, which has them no longer: they go one by one."""
    rest = deque(items)
    items.clear()
    while rest:
        yield rest.popleft()


def compress(document: Iterable[bytes]) -> bytes:
    """A document as it is stored: a large one is never whole for that, and its size isn't told."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    first: list[bytes] = []
    portions = _in_portions(document)
    while sum(map(len, first)) < metadata.LARGE:
        portion = next(portions, None)
        if portion is None:
            return compressor.compress(b"".join(first))
        first.append(portion)
    stream = compressor.compressobj()
    return b"".join([*map(stream.compress, chain(first, portions)), stream.flush()])


def _in_portions(document: Iterable[bytes]) -> Iterator[bytes]:
    """A document in few pieces, which depend on nothing but what it is."""
    portion = bytearray()
    for piece in document:
        portion += piece
        if len(portion) >= _PORTION:
            yield bytes(portion)
            portion.clear()
    yield bytes(portion)
