"""A life of a store in which each of its functions is called, and each of their statements runs."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import pytest

from pricore.auth.access_tokens import hash_secret
from pricore.composer.candidates import NewVersion
from pricore.errors import ConflictError
from pricore.hosts.addresses import parse_address
from pricore.models import Credential, Dist, LockedPackage, Organization, Outcome, Ref, Repository, Trigger
from pricore.rights.visibility import ALL
from pricore.store import Store
from pricore.system.clock import now
from pricore.tables.names import names_of
from tests.rules import reach, rights
from tests.store.harness import COMMIT, OTHER_COMMIT, follow, publish, released

THIRD_COMMIT: Final = "c" * 40
NAME: Final = "acme/library"
TAG: Final = "refs/tags/1.0.0"


async def use_everything(store: Store, path: Path) -> None:
    await store.organizations.apply_settings(public_url="", inline_limit=1000)
    await store.check()
    acme = await store.organizations.create("acme", "Acme")
    await use_credentials(store, acme)
    repository = await follow(store, acme, "library")
    await use_repositories(store, acme, repository)
    await use_syncs(store, repository)
    await use_packages(store, acme, repository)
    await use_uploads(store, acme)
    await use_pins(store, acme, repository)
    await use_tokens(store, acme)
    await use_usage(store, acme)
    await use_archives(store, acme)
    await use_locks(store, acme)
    await build_anew(store, path, repository)
    for kind in ("organizations", "repositories", "packages", "all packages", "tokens", "credentials", "locks"):
        names_of(path, kind, "acme")
    await look_after(store)
    await delete_everything(store, acme, repository)


async def use_credentials(store: Store, acme: Organization) -> None:
    credential = Credential(
        id="c1",
        organization_id=acme.id,
        name="host",
        kind="https",
        host="git.example.com",
        username="me",
        public_key=None,
        plain=False,
        created_at=now(),
    )
    await store.credentials.add(credential, b"sealed")
    assert await store.credentials.of_organization(acme.id) == [credential]
    assert await store.credentials.get(acme, "host") == credential
    assert await store.credentials.find("c1") == credential
    for plain in (False, True):
        found = await store.credentials.of_host(acme.id, kind="https", host="git.example.com", plain=plain)
        assert (found is None) == plain
    assert await store.credentials.sealed("c1") == b"sealed"
    await store.credentials.change(credential, b"other", username="you")
    repository = await follow(store, acme, "private")
    await store.repositories.change(repository, credential_id="c1")
    with pytest.raises(ConflictError):
        await store.credentials.remove(credential)
    await store.repositories.change(repository, credential_id=None)
    await store.credentials.remove(credential)


async def use_repositories(store: Store, acme: Organization, repository: Repository) -> None:
    moved = await store.repositories.change(repository, parse_address("https://git.example.com/b"), confined=True)
    await store.repositories.change(moved, parse_address(repository.url), confined=False)
    for policy in ("remove", None):
        await store.repositories.change(moved, paths=["packages/*"], vanished_versions=policy)
    assert len(await store.repositories.of_organization(acme.id)) == 2
    assert (await store.repositories.get(acme, repository.url)).id == repository.id
    assert (await store.repositories.find(repository.id)) is not None
    await store.repositories.set_webhook_secret(repository.id, b"sealed", replacing=None)
    await store.repositories.set_webhook_secret(repository.id, b"other", replacing=b"sealed")
    assert await store.repositories.webhook_secret(repository.id) == b"other"
    assert await store.repositories.count_by_status() == {"pending": 2}
    assert repository.id in await store.repositories.ids()


async def use_syncs(store: Store, repository: Repository) -> None:
    """The queue, the schedule, and the history."""
    for priority in (1, 0):
        await store.jobs.add(repository.id, priority=priority)
    assert await store.jobs.first([repository.id]) == {}
    ((_, number),) = (await store.jobs.first([])).values()
    job = await store.jobs.take(number)
    assert job is not None
    await store.jobs.put_back(job)
    await store.jobs.put_back()
    ((_, number),) = (await store.jobs.first([])).values()
    job = await store.jobs.take(number)
    assert job is not None
    await store.jobs.waiting()
    run_id = await store.runs.begin(repository.id, run_id=job.id, started_at=now(), cause=Trigger.WEBHOOK)
    assert await store.runs.find(repository.id, run_id) is not None
    await store.runs.interrupt(run_id)
    for error in (None, "it failed"):
        run_id = await store.runs.begin(repository.id, started_at=now())
        await store.runs.finish(run_id, Outcome(added=[f"{NAME}:1.0.0"]), error=error)
    await store.jobs.finish(job)
    assert (await store.runs.of_repository(repository.id, limit=10, offset=0))[1] == 3
    for _ in range(2):
        await store.repositories.record_unchanged(repository.id, started_at=now(), cause=Trigger.SCHEDULE)
    for retry in (False, True):
        await store.repositories.record_failure(
            repository.id, "it failed", started_at=now(), digest="x", retry=retry, cause=Trigger.API
        )
    async with store.transaction() as db:
        await db.execute("UPDATE repositories SET next_sync_at = NULL")
    await store.schedule.begin()
    await store.schedule.put_off(repository.id)
    await store.repositories.change(repository, sync_interval=60)
    async with store.transaction() as db:
        await db.execute("UPDATE repositories SET next_sync_at = 1")
    assert [item.repository_id for item in await store.schedule.due([repository.id])] != [repository.id]
    assert await store.schedule.next_at([repository.id], held=["nobody"]) == 1
    assert await store.schedule.next_at([]) == 1


def reffed(item: NewVersion, reason: str | None = None) -> Ref:
    return Ref(item.ref, item.reference, item.package, item.version, reason)


async def use_packages(store: Store, acme: Organization, repository: Repository) -> None:
    first = [released("1.0.0"), released("1.1.0"), released("dev-main"), released("dev-old")]
    first = [msgspec.structs.replace(item, treeish=f"{item.reference}:a") for item in first]
    changed = msgspec.structs.replace(first[2], default_branch=True)
    left_out = Ref("refs/tags/v1.0.0", COMMIT, None, None, "it means the same")
    for versions in (first, [changed]):
        refs = [*map(reffed, versions), left_out]
        await publish(store, repository, *versions, refs=refs, default_names={"": NAME}, default_branch="main")
    await publish(
        store,
        repository,
        removed=[(NAME, "dev-old")],
        gone=[(NAME, "1.1.0")],
        forgotten=["refs/heads/old"],
        refs=[Ref(TAG, OTHER_COMMIT, NAME, "1.0.0", "it moved")],
        default_branch="other",
        default_names={"": "acme/renamed"},
    )
    await publish(store, repository, default_names={"": NAME}, back=["refs/tags/1.1.0"])
    package = await store.packages.get(acme, NAME)
    assert [item.name for item in await store.packages.of_organization(acme.id)] == [NAME]
    for seen in (ALL, rights(NAME)):
        assert await store.packages.search(acme.id, text="LIB", rights=seen, limit=10, offset=0) == ([package], 1)
    assert await store.packages.names(repository.id) == [NAME]
    assert await store.packages.owners(acme.id, [NAME]) == {NAME: (repository.id, repository.url)}
    assert len(await store.packages.versions(package)) == 3
    version = await store.packages.find_version(package, "v1.0")
    assert version is not None
    assert version.moved_to == OTHER_COMMIT
    await store.packages.accept(package, version)
    assert len(await store.packages.of_repository(repository.id)) == 3
    assert len(await store.packages.metadata_sizes(repository.id)) == 3
    assert await store.archives.checksums(repository.id)
    assert await store.documents.find("acme", NAME, "stable") is not None
    for seen in (ALL, rights(NAME)):
        assert await store.documents.inline(acme.id, seen)
        assert await store.organizations.root("acme", seen) is not None
    package = await store.packages.get(acme, NAME)
    assert await store.documents.published(package)
    served = await store.packages.served(package.id)
    assert await store.documents.entries([item.id for item in served])
    for content in (b"one", b"other"):
        assert await store.views.date(acme.id, NAME, view=b"view", content=content) is not None
    await store.views.forget()
    await publish(store, repository, released("1.3.0", provide={"psr/log": "1"}), released("2.0.0"))
    assert await store.packages.providers(acme.id, "psr/log") == [await store.packages.get(acme, NAME)]
    for reference in (None, COMMIT):
        assert await store.packages.dist("acme", NAME, version="1.0.0", reference=reference) is not None
    await store.packages.delete_version(acme, package, "2.0.0")
    await publish(store, repository, released("2.0.0"), back=["refs/tags/2.0.0"])
    assert await store.repositories.refs(repository.id)
    assert await store.repositories.left_out(repository.id)
    await store.repositories.made_of(repository.id)
    await store.repositories.default_names(repository.id)


async def use_uploads(store: Store, acme: Organization) -> None:
    async def keep() -> None:
        pass

    item = released(package="acme/uploaded", reference=THIRD_COMMIT)
    for _ in range(2):
        await store.packages.upload(acme, item, keep=keep)
    assert await store.archives.uploaded_as(acme.id, "acme/uploaded", THIRD_COMMIT) == THIRD_COMMIT
    for organization_id in (acme.id, None):
        assert await store.archives.uploaded_checksums(organization_id) == {THIRD_COMMIT}
    assert THIRD_COMMIT in await store.archives.all_checksums()
    async with store.archives.unnamed([THIRD_COMMIT, "none"]) as unnamed:
        assert unnamed == {"none"}


async def use_pins(store: Store, acme: Organization, repository: Repository) -> None:
    found = await store.pins.look_up("acme", NAME, "dev-main")
    assert found is not None
    for most, reference in ((None, "d" * 40), (0, "e" * 40)):
        dist = Dist(repository.id, reference, reference, 10)
        await store.pins.add(found, reference[:8], reference, dist, most=most)
    assert await store.pins.of_repository(repository.id) == ["e" * 40]


async def use_tokens(store: Store, acme: Organization) -> None:
    for owner in (acme, None):
        for packages in (None, [NAME, "acme/uploaded"]):
            secret = f"{owner}{packages}"
            token = await store.tokens.create(
                reach(owner, packages), name=secret, token_hash=hash_secret(secret), scopes=["packages:read"]
            )
            assert await store.tokens.find(hash_secret(secret)) == token
        assert len(await store.tokens.of_organization(None if owner is None else owner.id)) == 2
        await store.tokens.revoke(owner, token.id)
        store.usage.token_used(token.id, now())
    (left,) = await store.tokens.of_organization(acme.id)
    changed = await store.tokens.change(
        left, name="other", scopes=left.scopes, expires_at=now() + 5, reach=reach(acme, ["acme/*"])
    )
    await store.tokens.rotate(changed, token_hash=hash_secret("new"), former_until=now() + 5)
    assert await store.tokens.find(hash_secret("new")) is not None
    assert [token.id for token in await store.tokens.tell_expiring(now() + 100)] == [left.id]
    await store.tokens.leave(acme, left.id)


async def use_usage(store: Store, acme: Organization) -> None:
    for version in ("1.0.0", "1.0.0.0"):
        store.usage.installed(acme.id, NAME, version)
        store.usage.downloaded("acme", NAME, version)
    store.usage.dist_used(COMMIT)
    await store.usage.flush()
    package, today = await store.packages.get(acme, NAME), datetime.fromtimestamp(now(), UTC).date()
    for chosen in (None, "1.0.0"):
        found = await store.usage.downloads(package, first=today, last=today, version=chosen)
        assert found.total.installs == 2


async def use_archives(store: Store, acme: Organization) -> None:
    assert await store.archives.advertised()
    await store.archives.unrecorded()
    assert await store.archives.uses()
    await store.archives.forget([COMMIT])
    assert await store.archives.uses() == {}


async def use_locks(store: Store, acme: Organization) -> None:
    locked = LockedPackage(organization="acme", package=NAME, version="1.0.0", address="1.0.0", shasum=COMMIT)
    await store.locks.register(acme, "app", [locked])
    for name in (None, "app"):
        assert len(await store.locks.of_organization(acme, name=name)) == 1
    with pytest.raises(ConflictError):
        await store.locks.check_unused(acme)
    assert await store.locks.protected_shasums() == {COMMIT}


async def build_anew(store: Store, path: Path, repository: Repository) -> None:
    async with store.transaction() as db:
        await db.execute("UPDATE packages SET document_format = 0")
        await db.execute("UPDATE versions SET published_at = NULL")
    assert await store.rebuilding.left() == 2
    while await store.rebuilding.go_on():
        pass
    assert await store.rebuilding.backdate(repository, {TAG: (COMMIT, 1)}) == 1


async def look_after(store: Store) -> None:
    assert await store.health.latest_time()
    await store.health.sealed()
    await store.health.failing(before=now())
    assert await store.health.urls()
    assert await store.health.public_url() == ""
    assert await store.health.trial() is not None
    await store.organizations.apply_settings(public_url="https://a.example.com", inline_limit=1000)


async def delete_everything(store: Store, acme: Organization, repository: Repository) -> None:
    await store.locks.remove(acme, "app")
    await store.packages.delete(acme, await store.packages.get(acme, "acme/uploaded"))
    await store.packages.delete(acme, await store.packages.get(acme, NAME))
    await publish(store, repository, released(reference=OTHER_COMMIT))
    await store.repositories.remove(repository)
    assert await store.organizations.all() == [await store.organizations.get("acme")]
    await store.organizations.change(acme, name="Other", sync_interval=60)
    await store.organizations.delete(acme)
    await store.organizations.create("acme", "Acme")
    store.revision_of("acme")
