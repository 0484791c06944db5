"""What is left of a document is what would have been made of the versions that are left."""

import itertools
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pricore.composer import metadata
from pricore.composer.metadata import Published
from pricore.composer.narrowing import narrow
from tests.composer.harness import COMMIT, encode_entry

SOURCE = "https://git.example.com/acme/library"
TEXTS = st.dictionaries(st.sampled_from(["description", "homepage", "type"]), st.sampled_from(["a", "b"]))
VERSIONS = st.lists(st.tuples(TEXTS, st.sampled_from([None, 1_000, 2_000])), max_size=8)


def published(items: list[tuple[dict[str, str], int | None]]) -> list[Published]:
    """Versions of acme/library, the newest first."""
    return [
        Published(
            name="acme/library",
            version=f"1.{number}",
            normalized=f"1.{number}.0.0",
            reference=COMMIT,
            shasum=COMMIT,
            entry=encode_entry(texts, version=f"1.{number}", normalized=f"1.{number}.0.0", source_url=SOURCE),
            published_at=at,
        )
        for number, (texts, at) in reversed([*enumerate(items)])
    ]


def without_source(document: bytes) -> Any:
    """A document as another program reads it, without sources, which are the same in each version here."""
    read = msgspec.json.decode(document)
    for entry in itertools.chain(*read["packages"].values()):
        entry.pop("source", None)
    return read


@given(VERSIONS, st.frozensets(st.integers(0, 7)), st.booleans())
def test_a_narrowed_document_is_that_of_the_versions_that_are_left(
    items: list[tuple[dict[str, str], int | None]], chosen: frozenset[int], sources: bool
) -> None:
    """Which versions, when they were published, and each key of each of them."""
    whole = published(items)
    asked = []

    def admits(normalized: str, at: int | None) -> bool:
        asked.append((normalized, at))
        return int(normalized.split(".")[1]) in chosen

    found = b"".join(narrow(b"".join(metadata.build_document("acme/library", whole)), admits, sources=sources))

    assert asked == [(item.normalized, item.published_at) for item in whole]
    left = [item for item in whole if admits(item.normalized, None)]
    expected = b"".join(metadata.build_document("acme/library", left))
    assert (b'"source"' in found) == (sources and bool(left))
    read = msgspec.json.decode(found) if sources else without_source(found)
    assert read == (msgspec.json.decode(expected) if sources else without_source(expected))


def test_a_document_without_conditions_loses_its_sources_alone() -> None:
    """Who sees all versions gets all of them, in the same order."""
    whole = b"".join(metadata.build_document("acme/library", published([({}, 5), ({"type": "a"}, None)])))
    assert msgspec.json.decode(b"".join(narrow(whole, None, sources=True))) == msgspec.json.decode(whole)
    found = b"".join(narrow(whole, None, sources=False))
    assert msgspec.json.decode(found) == without_source(whole)
