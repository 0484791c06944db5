"""Instances of any size, made without Git: rows as a sync would have left them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from bench import registries, repositories
from pricore.composer import composer_json, metadata
from pricore.composer.candidates import NewVersion
from pricore.composer.publication import Publication
from pricore.composer.versions import normalize
from pricore.hosts.addresses import parse_address


def path(number: int) -> str:
    """Where the metadata of a package is, from 0."""
    return f"/org/{registries.ORGANIZATION}/p2/{name(number)}.json"


def name(number: int) -> str:
    """The name of that package."""
    return f"acme/package-{number:04}"


async def generate(data: Path, *, packages: int, versions: int, secrets: Sequence[str]) -> None:
    """A data folder with that many repositories, each with a package of so many versions, as if they were synced.

    It has a token for each of the secrets.
    """
    async with registries.opened(data) as registry:
        for secret in secrets:
            await registry.create_token(secret=secret)
        for number in range(packages):
            address = parse_address(f"https://git.example.com/{name(number)}.git")
            repository = await registry.store.repositories.add(registry.organization, address)
            change = Publication(
                versions=[_version(name(number), item) for item in range(versions)], digest="seen"
            )
            await registry.store.publications.publish(repository, change)


def _version(package: str, number: int) -> NewVersion:
    version = repositories.release(number)
    content = repositories.composer_json(package, number)
    reference = hashlib.sha1(f"{package} {version}".encode(), usedforsecurity=False).hexdigest()
    normalized = normalize(version)
    released_at = 1_500_000_000 + number * 86_400
    return NewVersion(
        package=package,
        version=version,
        normalized=normalized,
        ref=f"refs/tags/{version}",
        reference=reference,
        released_at=released_at,
        default_branch=False,
        entry=metadata.version_entry(
            composer_json.read_manifest(composer_json.parse_composer_json(content.encode())),
            name=package,
            version=version,
            normalized=normalized,
            reference=reference,
            released_at=released_at,
            source_url=f"https://git.example.com/{package}.git",
        ),
        shasum=reference[::-1],
        size=100_000,
    )
