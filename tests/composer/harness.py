"""Versions of acme/library, as the metadata's tests write them."""

from collections.abc import Mapping
from typing import Any

from pricore.composer import composer_json, metadata
from pricore.composer.metadata import Published

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RELEASED = 1_700_000_000


def encode_entry(data: Mapping[str, Any] | None = None, **options: Any) -> bytes:
    fields: dict[str, Any] = {
        "name": "acme/library",
        "version": "v1.0",
        "normalized": "1.0.0.0",
        "reference": COMMIT,
        "released_at": RELEASED,
        "source_url": None,
    }
    return bytes(metadata.version_entry(composer_json.read_manifest(dict(data or {})), **fields | options))


def publish(text: str, number: int) -> Published:
    """A version of acme/library with this composer.json."""
    data = composer_json.parse_composer_json(text.encode())
    version, normalized = f"v1.{number}", f"1.{number}.0.0"
    return Published(
        name="acme/library",
        version=version,
        normalized=normalized,
        reference=f"{number:040x}",
        shasum=f"{number:040x}",
        entry=encode_entry(data, version=version, normalized=normalized),
    )


def release(version: str, normalized: str) -> Published:
    """A version of Acme/Library without anything in it."""
    return Published(
        name="Acme/Library",
        version=version,
        normalized=normalized,
        reference=COMMIT,
        shasum="",
        entry=encode_entry(version=version, normalized=normalized),
    )
