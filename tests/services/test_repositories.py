"""A repository is added and changed as a whole, or not at all, whoever asks for it."""

from pathlib import Path

import msgspec
import pytest

from pricore.errors import ConflictError, InvalidError
from pricore.hosts.addresses import parse_address
from pricore.models import Repository
from pricore.services.repositories import RepositoryChange, add_repository, change_repository, sync_repositories
from pricore.sync.progress import OnProgress, ignore
from tests.harness import GitRepository
from tests.registry import MakeRepository, Registry

EVERYTHING = RepositoryChange(
    url="https://git.example.com/team/other",
    provider="gitlab",
    sync_interval=600,
    vanished_versions="remove",
    paths=["packages/*"],
)


@pytest.fixture
async def followed(registry: Registry) -> Repository:
    """A repository that nobody has read."""
    return await add_repository(
        registry.services, registry.organization, parse_address("https://git.example.com/team/library")
    )


async def jobs(registry: Registry) -> int:
    return (await registry.store.jobs.waiting())[0]


async def test_all_is_changed_at_once(registry: Registry, followed: Repository) -> None:
    """Address, rules and credential come together, with one sync that reads all."""
    secret = await registry.services.credentials.add_https(
        registry.organization, "robot", host="git.example.com", token="secret"
    )
    changed = await change_repository(registry.services, followed, EVERYTHING, credential=secret)

    assert changed == await registry.store.repositories.find(followed.id)
    assert (changed.url, changed.provider, changed.identifier) == (EVERYTHING.url, "gitlab", "team/other")
    assert (changed.sync_interval, changed.vanished_versions) == (600, "remove")
    assert (changed.paths, changed.credential_id) == (("packages/*",), secret.id)
    assert changed.refs_digest.startswith("anew:")
    assert await jobs(registry) == 1


async def test_a_change_that_is_refused_leaves_all_as_it_was(registry: Registry, followed: Repository) -> None:
    """Where one part of it cannot be, none of it happens: an address that is followed, a path, a credential."""
    services, organization = registry.services, registry.organization
    other = await add_repository(services, organization, parse_address("https://git.example.com/team/other"))
    with pytest.raises(ConflictError, match="is followed already"):
        await change_repository(services, followed, EVERYTHING)
    with pytest.raises(InvalidError) as caught:
        await change_repository(services, followed, msgspec.structs.replace(EVERYTHING, paths=["../x"]))
    assert caught.value.field == "paths"
    elsewhere = await services.credentials.add_https(
        organization, "robot", host="elsewhere.example.com", token="x"
    )
    with pytest.raises(InvalidError, match="robot is for https://"):
        await change_repository(services, followed, RepositoryChange(sync_interval=5), credential=elsewhere)

    assert [followed, other] == await registry.store.repositories.of_organization(organization.id)
    assert await jobs(registry) == 0


async def test_what_is_not_given_stays(registry: Registry, followed: Repository) -> None:
    """One part is changed without the others, and what isn't about what is read asks for no sync."""
    changed = await change_repository(registry.services, followed, RepositoryChange(sync_interval=0))

    assert changed == msgspec.structs.replace(followed, sync_interval=0, next_sync_at=None)
    assert await jobs(registry) == 0
    again = await change_repository(registry.services, changed, RepositoryChange(sync_interval=None))
    assert again == msgspec.structs.replace(followed, next_sync_at=again.next_sync_at)


async def test_an_address_from_outside_stays_outside(registry: Registry, followed: Repository) -> None:
    """What came over the network reaches nothing inside, by no change; the operator's own address may."""
    services, inside = registry.services, parse_address("https://127.0.0.1/team/library")
    with pytest.raises(InvalidError, match=r"127\.0\.0\.1"):
        await add_repository(services, registry.organization, inside, confined=True)
    moved = RepositoryChange(url=inside.url)
    with pytest.raises(InvalidError, match=r"127\.0\.0\.1"):
        await change_repository(services, followed, moved, confined=True)
    assert not (await change_repository(services, followed, moved)).confined


async def test_a_repository_that_fails_stops_no_other(
    registry: Registry, make_repository: MakeRepository, tmp_path: Path
) -> None:
    """Of several that are synced in one go each has its report or its error, in their order."""
    services, upstream = registry.services, GitRepository(tmp_path / "gone")
    gone = await add_repository(services, registry.organization, parse_address(upstream.url))
    library = make_repository("library")
    library.commit({"name": "acme/library"})
    there = await add_repository(services, registry.organization, parse_address(library.url))
    upstream.folder.rename(tmp_path / "elsewhere")
    seen: list[tuple[int, str]] = []

    def progress(number: int, repository: Repository) -> OnProgress:
        seen.append((number, repository.id))
        return ignore

    reports, failures = await sync_repositories(services, [gone, there], progress=progress)

    assert [report.repository for report in reports] == [library.url]
    assert [repository for repository, _ in failures] == [gone]
    assert seen == [(1, gone.id), (2, there.id)]
