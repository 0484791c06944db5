"""Records as the outside sees them: the shapes of the API reference, which the CLI's --json prints too."""

from typing import Any

from pricore.clock import rfc3339
from pricore.discovery import TAGS
from pricore.models import Organization, Package, Ref, Repository, Token, Version


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)


def organization(item: Organization) -> dict[str, Any]:
    return {
        "id": item.id,
        "name": item.name,
        "slug": item.slug,
        "description": item.description,
        "created_at": _time(item.created_at),
    }


def repository(item: Repository) -> dict[str, Any]:
    return {
        "id": item.id,
        "provider": item.provider,
        "repo_identifier": item.identifier,
        "url": item.url,
        "default_branch": item.default_branch,
        "sync_status": item.sync_status,
        "sync_error": item.sync_error,
        "last_synced_at": _time(item.last_synced_at),
        "created_at": _time(item.created_at),
    }


def ref(item: Ref) -> dict[str, Any]:
    return {
        "ref": item.name,
        "commit": item.commit,
        "package": item.package,
        "version": item.version,
        "left_out": item.reason,
    }


def package(item: Package) -> dict[str, Any]:
    return {
        "id": item.id,
        "name": item.name,
        "description": item.description,
        "type": item.type,
        "latest_version": item.latest_version,
        "abandoned": item.replaced_by or False,
        "created_at": _time(item.created_at),
    }


def version(item: Version) -> dict[str, Any]:
    return {
        "version": item.version,
        "normalized_version": item.normalized,
        "kind": "tag" if item.ref.startswith(TAGS) else "branch",
        "reference": item.reference,
        "shasum": item.shasum,
        "released_at": _time(item.released_at),
        "gone_upstream_at": _time(item.gone_at),
    }


def token(item: Token) -> dict[str, Any]:
    return {
        "id": item.id,
        "name": item.name,
        "scopes": list(item.scopes),
        "packages": None if item.packages is None else sorted(item.packages),
        "last_used_at": _time(item.last_used_at),
        "expires_at": _time(item.expires_at),
        "created_at": _time(item.created_at),
    }
