"""What was deleted on purpose stays away however often its repository is read, until its ref moves."""

import asyncio
import re
import shutil
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pricore.composer.publication import Publication
from pricore.errors import NotFoundError
from pricore.models import Repository
from pricore.sync import run
from pricore.sync.report import Report
from tests.harness import GitRepository
from tests.registry import MakeRepository, Registry

REASON = re.compile(r"deleted on \d{4}-\d\d-\d\d: it comes back with another commit")


async def delete(registry: Registry, version: str, name: str = "acme/library") -> set[str]:
    """Delete a version; gives the checksums that nothing has any more."""
    package = await registry.store.packages.get(registry.organization, name)
    return await registry.store.packages.delete_version(registry.organization, package, version)


async def delete_package(registry: Registry, name: str = "acme/library") -> set[str]:
    """Delete a package; gives the checksums that nothing has any more."""
    package = await registry.store.packages.get(registry.organization, name)
    return await registry.store.packages.delete(registry.organization, package)


async def names(registry: Registry) -> list[str]:
    found = await registry.store.packages.of_organization(registry.organization.id)
    return [item.name for item in found]


async def mirror(registry: Registry, upstream: GitRepository) -> None:
    shutil.rmtree(registry.sources.mirror((await registry.repository(upstream)).id).path)


@pytest.mark.parametrize(
    "event", ["a push", "a branch that goes", "a rename", "a lost mirror", "other rules", "all at once"]
)
@pytest.mark.parametrize("whole", [False, True], ids=["version", "package"])
async def test_what_was_deleted_stays_deleted(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch, event: str, whole: bool
) -> None:
    """Whatever makes a sync read refs again, those whose version was deleted make none."""
    upstream.git("branch", "feature")
    upstream.git("branch", "other")
    upstream.commit(files={"a.txt": "a"})
    upstream.tag("1.1.0")
    await registry.add(upstream)
    if whole:
        await delete_package(registry)
        assert await names(registry) == []
    else:
        for version in ("1.0.0", "dev-other"):
            await delete(registry, version)
        assert set(await registry.versions()) == {"1.1.0", "dev-main", "dev-feature"}
    for _ in range(2):
        assert (await registry.sync(upstream)).read == 0

    expected = set() if whole else {"1.1.0", "dev-main", "dev-feature"}
    if event in ("a push", "all at once"):
        upstream.commit(files={"a.txt": "b"})
        upstream.tag("1.2.0")
        expected |= {"1.2.0", "dev-main"}
    if event in ("a branch that goes", "all at once"):
        upstream.git("branch", "--quiet", "-D", "feature")
        expected -= {"dev-feature"}
    if event in ("a rename", "all at once"):
        upstream.commit({"name": "acme/renamed"})
        expected |= {"dev-main"}
    if event in ("a lost mirror", "all at once"):
        await mirror(registry, upstream)
    if event in ("other rules", "all at once"):
        monkeypatch.setattr(run, "RULES", "next")
    name = "acme/renamed" if event in ("a rename", "all at once") else "acme/library"
    for _ in range(2):
        report = await registry.sync(upstream)
        served = await registry.versions(name) if name in await names(registry) else {}
        assert set(served) == expected
    reasons = {item.ref: item.reason for item in report.left_out}
    assert {"refs/tags/1.0.0", "refs/heads/other"} <= set(reasons)
    assert all(REASON.fullmatch(reason) for reason in reasons.values())


async def test_a_ref_that_moves_makes_a_new_version(registry: Registry, upstream: GitRepository) -> None:
    """A tag that is set anew, or a branch with a new commit, is a version as any other, with its own archive."""
    await registry.add(upstream)
    await delete(registry, "1.0.0")
    await delete(registry, "dev-main")
    assert await registry.versions() == {}
    commit = upstream.commit(files={"a.txt": "a"})
    upstream.git("tag", "--force", "1.0.0")
    report = await registry.sync(upstream)

    assert set(report.added) == {"acme/library:1.0.0", "acme/library:dev-main"}
    assert report.left_out == []
    assert await registry.versions() == {"1.0.0": commit, "dev-main": commit}
    assert await registry.store.packages.dist("acme", "acme/library", version="1.0.0", reference=commit)
    upstream.commit({"name": "acme/renamed"})
    await registry.sync(upstream)
    assert set(await registry.versions("acme/renamed")) == {"1.0.0", "dev-main"}


async def test_a_tag_that_moved_and_was_refused_is_let_in(registry: Registry, upstream: GitRepository) -> None:
    """Deleting a release that the tag has left already makes room for what the tag is at now."""
    await registry.add(upstream)
    commit = upstream.commit(files={"a.txt": "a"})
    upstream.git("tag", "--force", "1.0.0")
    await registry.sync(upstream)
    await delete(registry, "1.0.0")
    report = await registry.sync(upstream)

    assert report.left_out == []
    assert (await registry.versions())["1.0.0"] == commit


async def test_a_tag_that_is_set_again_where_it_was_stays_deleted(
    registry: Registry, upstream: GitRepository
) -> None:
    """A ref that goes and comes back has not moved; that it was gone when its version was deleted is the same."""
    upstream.tag("1.1.0")
    await registry.add(upstream)
    await delete(registry, "1.0.0")
    upstream.git("tag", "-d", "1.0.0", "1.1.0")
    assert (await registry.sync(upstream)).kept == ["acme/library:1.1.0"]
    await delete(registry, "1.1.0")
    upstream.tag("1.0.0")
    upstream.tag("1.1.0")
    upstream.commit(files={"a.txt": "a"})
    await registry.sync(upstream)

    assert set(await registry.versions()) == {"dev-main"}


@pytest.mark.parametrize("gone", [False, True])
async def test_no_other_ref_supplies_what_was_deleted(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    """A tag that was left out because it means the same version does not step in, nor does a branch."""
    upstream.commit(files={"a.txt": "a"})
    upstream.tag("v1.0.0")
    upstream.git("branch", "a#b")
    upstream.git("branch", "a+b")
    await registry.add(upstream)
    assert set(await registry.versions()) == {"1.0.0", "dev-main", "dev-a+b"}
    left_out = await registry.reasons(upstream)
    assert set(left_out) == {"refs/tags/v1.0.0", "refs/heads/a+b"}
    await delete(registry, "1.0.0")
    await delete(registry, "dev-a+b")
    if gone:
        upstream.git("tag", "-d", "1.0.0")
        upstream.git("branch", "--quiet", "-D", "a#b")
    monkeypatch.setattr(run, "RULES", "next")
    await registry.sync(upstream)
    assert set(await registry.versions()) == {"dev-main"}

    commit = upstream.commit(files={"a.txt": "b"})
    upstream.git("tag", "--force", "v1.0.0")
    await registry.sync(upstream)
    assert await registry.versions() == {"v1.0.0": commit, "dev-main": commit}


async def test_a_new_tag_may_take_the_place_of_a_deleted_one(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tag that is set after the deletion is a version, though another that meant the same is still there."""
    await registry.add(upstream)
    await delete(registry, "1.0.0")
    commit = upstream.commit(files={"a.txt": "a"})
    upstream.tag("v1.0.0")
    monkeypatch.setattr(run, "RULES", "next")
    await registry.sync(upstream)

    assert await registry.versions() == {"v1.0.0": commit, "dev-main": commit}


async def test_a_deleted_tag_that_is_gone_costs_nothing(registry: Registry, upstream: GitRepository) -> None:
    """Each later sync reads the refs that moved, and no others for the sake of one that is gone for good."""
    upstream.git("branch", "gh-pages")
    await registry.add(upstream)
    await delete(registry, "1.0.0")
    upstream.git("tag", "-d", "1.0.0")
    for number in range(2):
        upstream.commit(files={"a.txt": str(number)})
        assert (await registry.sync(upstream)).read == 1


async def test_other_packages_of_a_repository_lose_nothing(
    registry: Registry, make_repository: MakeRepository
) -> None:
    """Where each ref names its own package, equal versions of the others are served and read as before."""
    upstream = make_repository("many")
    upstream.commit({"description": "each version has its own name"})
    upstream.git("checkout", "--quiet", "-b", "one")
    upstream.commit({"name": "acme/one"})
    upstream.tag("1.0.0")
    upstream.git("checkout", "--quiet", "-b", "two")
    upstream.commit({"name": "acme/two"})
    upstream.tag("v1.0.0")
    upstream.git("checkout", "--quiet", "main")
    await registry.add(upstream)
    await delete(registry, "1.0.0", "acme/one")
    await mirror(registry, upstream)
    await registry.sync(upstream)

    assert set(await registry.versions("acme/one")) == {"dev-one"}
    assert set(await registry.versions("acme/two")) == {"v1.0.0", "dev-two"}
    assert set(await registry.reasons(upstream)) == {"refs/heads/main", "refs/tags/1.0.0"}


async def test_a_name_of_the_past_is_deleted_without_the_present_one(
    registry: Registry, upstream: GitRepository
) -> None:
    """The old name of a renamed package goes, and the new one keeps its versions and gets further ones."""
    upstream.tag("v1.0.0")
    await registry.add(upstream)
    upstream.commit({"name": "acme/renamed"})
    await registry.sync(upstream)
    await delete(registry, "1.0.0")
    assert set(await registry.versions()) == {"dev-main"}
    await delete_package(registry)
    upstream.tag("1.1.0")
    await mirror(registry, upstream)
    assert list((await registry.reasons(upstream)).values()) == [
        "it means 1.0.0.0, and so does 1.0.0, which has it already"
    ]
    await registry.sync(upstream)
    assert await names(registry) == ["acme/renamed"]
    assert set(await registry.versions("acme/renamed")) == {"1.0.0", "1.1.0", "dev-main"}


async def test_a_deleted_name_is_free_for_another_repository(
    registry: Registry, upstream: GitRepository, make_repository: MakeRepository
) -> None:
    """What another repository left out because the name was taken is served by its next sync."""
    await registry.add(upstream)
    second = make_repository("second")
    second.commit({"description": "each version has its own name"})
    second.git("checkout", "--quiet", "-b", "own")
    second.commit({"name": "acme/own"})
    second.git("checkout", "--quiet", "-b", "taken")
    second.commit({"name": "acme/library"})
    second.git("checkout", "--quiet", "main")
    await registry.add(second)
    await delete_package(registry)
    await registry.sync(second)

    assert set(await registry.versions()) == {"dev-taken"}


async def test_an_archive_goes_with_the_last_version_of_its_commit(
    registry: Registry, upstream: GitRepository
) -> None:
    """Of a deleted version no archive is left, unless another version is made of the same commit."""
    await registry.add(upstream)  # 1.0.0 and dev-main are one commit
    commit = upstream.head()
    find = registry.store.packages.dist
    dist = await find("acme", "acme/library", version="1.0.0", reference=None)
    assert dist is not None

    assert await delete(registry, "1.0.0") == set()
    assert await find("acme", "acme/library", version="1.0.0", reference=None) is None
    assert await find("acme", "acme/library", version="1.0.0", reference=commit) == dist
    assert await delete(registry, "dev-main") == {dist.shasum}
    assert await find("acme", "acme/library", version="dev-main", reference=commit) is None


async def test_a_checksum_is_in_use_while_any_package_has_it(registry: Registry, upstream: GitRepository) -> None:
    """Two packages that are made of one commit share an archive, which goes with the second of them."""
    await registry.add(upstream)
    upstream.commit({"name": "acme/renamed"})
    await registry.sync(upstream)
    found = await registry.store.archives.checksums((await registry.repository(upstream)).id)
    released = found[upstream.git("rev-parse", "1.0.0")][0]

    assert await delete_package(registry) == set()
    assert released in await delete_package(registry, "acme/renamed")


@pytest.mark.parametrize("whole", [False, True], ids=["version", "package"])
async def test_of_two_who_delete_one_is_told(registry: Registry, upstream: GitRepository, whole: bool) -> None:
    """Of two who delete the same at once, the second is told that it is gone."""
    await registry.add(upstream)
    package = await registry.store.packages.get(registry.organization, "acme/library")
    store, organization = registry.store.packages, registry.organization
    one, other = await asyncio.gather(
        *(
            store.delete(organization, package) if whole else store.delete_version(organization, package, "1.0.0")
            for _ in range(2)
        ),
        return_exceptions=True,
    )

    assert isinstance(one, set)
    assert isinstance(other, NotFoundError)


# While a sync runs


async def sync_with(
    registry: Registry,
    upstream: GitRepository,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[Registry], Awaitable[object]],
) -> Report:
    """The report of a sync in which something happens between its reading and its publishing."""
    publish = registry.store.publications.publish

    async def publish_late(repository: Repository, change: Publication, **more: Any) -> None:
        await act(registry)
        await publish(repository, change, **more)

    with monkeypatch.context() as patch:
        patch.setattr(registry.store.publications, "publish", publish_late)
        return await registry.sync(upstream)


async def delete_release(registry: Registry) -> None:
    await delete(registry, "1.0.0")


async def test_what_is_deleted_during_a_sync_stays_deleted(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync that has read a version before it was deleted does not publish it, nor say that it did."""
    await registry.add(upstream)
    await mirror(registry, upstream)
    upstream.tag("1.1.0")
    report = await sync_with(registry, upstream, monkeypatch, delete_release)

    assert report.added == ["acme/library:1.1.0"]
    assert [item.ref for item in report.left_out] == ["refs/tags/1.0.0"]
    assert REASON.fullmatch(report.left_out[0].reason)
    for _ in range(2):
        assert set(await registry.versions()) == {"1.1.0", "dev-main"}
        await registry.sync(upstream)


async def test_a_package_that_is_deleted_during_a_sync_is_not_made_again(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what the sync read nor what it takes out brings a package back; a commit that is new does."""
    upstream.git("branch", "feature")
    await registry.add(upstream)
    upstream.git("branch", "--quiet", "-D", "feature")
    await mirror(registry, upstream)
    await sync_with(registry, upstream, monkeypatch, delete_package)
    assert await names(registry) == []

    upstream.commit(files={"a.txt": "a"})
    await registry.sync(upstream)
    assert await registry.versions() == {"dev-main": upstream.head()}


async def test_a_push_that_is_read_while_its_branch_is_deleted_is_served(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted was the version of the commit before."""
    await registry.add(upstream)
    upstream.commit(files={"a.txt": "a"})
    await sync_with(registry, upstream, monkeypatch, lambda registry: delete(registry, "dev-main"))

    assert (await registry.versions())["dev-main"] == upstream.head()
    assert await registry.reasons(upstream) == {}


@pytest.mark.parametrize("before", [False, True], ids=["refused by this sync", "refused before"])
async def test_a_refusal_does_not_outlive_the_version_that_it_was_for(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """A moved tag whose release is deleted while a sync refuses it is let in by the next."""
    await registry.add(upstream)
    commit = upstream.commit(files={"a.txt": "a"})
    upstream.git("tag", "--force", "1.0.0")
    if before:
        await registry.sync(upstream)
        upstream.git("branch", "more")
    await sync_with(registry, upstream, monkeypatch, delete_release)
    assert "1.0.0" not in await registry.versions()
    await registry.sync(upstream)

    assert (await registry.versions())["1.0.0"] == commit


@pytest.mark.parametrize("whole", [False, True], ids=["version", "package"])
async def test_what_is_deleted_between_two_batches_stays_deleted(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """A package that is deleted during its first import is not made again by what is still to be published."""
    for number in range(60):
        upstream.git("tag", f"2.0.{number}")
    publish, batches = registry.store.publications.publish, []

    async def publish_and_delete(repository: Repository, change: Publication, **more: Any) -> None:
        await publish(repository, change, **more)
        batches.append(len(change.versions))
        if len(batches) == 1:
            first = change.versions[-1].version
            await (delete_package(registry) if whole else delete(registry, first))
            deleted.append(first)

    deleted: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(registry.store.publications, "publish", publish_and_delete)
        await registry.add(upstream)
    assert len(batches) > 1
    for _ in range(2):
        if whole:
            assert await names(registry) == []
        else:
            assert set(await registry.versions()) == {
                "1.0.0",
                "dev-main",
                *(f"2.0.{number}" for number in range(60)),
            } - set(deleted)
        await registry.sync(upstream)

    upstream.commit(files={"a.txt": "a"})
    await registry.sync(upstream)
    assert (await registry.versions())["dev-main"] == upstream.head()


async def test_a_refusal_does_not_outlive_the_repository_that_it_was_for(
    registry: Registry, upstream: GitRepository, make_repository: MakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was refused a name while its owner was being removed is read again, and gets it."""
    second = make_repository("second")
    second.commit({"description": "each version has its own name"})
    for branch, name in (("own", "acme/own"), ("shared", "acme/library")):
        second.git("checkout", "--quiet", "-b", branch)
        second.commit({"name": name})
    second.git("checkout", "--quiet", "main")
    await registry.add(upstream)
    owner = await registry.repository(upstream)
    publish = registry.store.publications.publish

    async def remove_first(repository: Repository, change: Publication, **more: Any) -> None:
        if repository.url == second.url and await registry.store.repositories.find(owner.id):
            await registry.syncer.remove(owner)
        await publish(repository, change, **more)

    with monkeypatch.context() as patch:
        patch.setattr(registry.store.publications, "publish", remove_first)
        await registry.add(second)
    assert await names(registry) == ["acme/own"]
    await registry.sync(second)

    assert await names(registry) == ["acme/library", "acme/own"]


async def respelled(registry: Registry, upstream: GitRepository) -> str:
    """1.0.0 becomes v1.0.0 on another commit, which is given, and is read."""
    commit = upstream.commit(files={"a.txt": "another"})
    upstream.git("tag", "-d", "1.0.0")
    upstream.tag("v1.0.0")
    await registry.sync(upstream)
    return commit


async def test_a_tag_that_was_respelled_elsewhere_comes_back_after_a_deletion(
    registry: Registry, upstream: GitRepository
) -> None:
    """It is at another commit than the version was: nothing else would bring that back."""
    await registry.add(upstream)
    commit = await respelled(registry, upstream)
    await delete(registry, "1.0.0")
    report = await registry.sync(upstream)

    assert report.added == ["acme/library:v1.0.0"]
    assert report.left_out == []
    assert await registry.versions() == {"v1.0.0": commit, "dev-main": commit}


async def test_a_tag_that_was_respelled_where_it_was_stays_deleted(
    registry: Registry, upstream: GitRepository
) -> None:
    """By another name it is the same version."""
    await registry.add(upstream)
    upstream.tag("v1.0.0")
    upstream.git("tag", "-d", "1.0.0")
    await registry.sync(upstream)
    await delete(registry, "1.0.0")
    await registry.sync(upstream)

    assert set(await registry.versions()) == {"dev-main"}


async def test_a_deleted_tag_that_is_nowhere_is_not_listed(registry: Registry, upstream: GitRepository) -> None:
    """Why it makes no version is told as long as it is there, and again when it is back."""
    await registry.add(upstream)
    await delete(registry, "1.0.0")
    assert set(await registry.reasons(upstream)) == {"refs/tags/1.0.0"}
    commit = upstream.git("rev-parse", "1.0.0").strip()
    upstream.git("tag", "-d", "1.0.0")
    assert (await registry.sync(upstream)).left_out == []
    assert await registry.reasons(upstream) == {}

    upstream.git("tag", "1.0.0", commit)
    await registry.sync(upstream)
    assert REASON.fullmatch((await registry.reasons(upstream))["refs/tags/1.0.0"])
    assert set(await registry.versions()) == {"dev-main"}


async def test_a_tag_that_is_gone_when_its_version_is_deleted_is_not_listed(
    registry: Registry, upstream: GitRepository
) -> None:
    """It stays deleted all the same, should it come back."""
    await registry.add(upstream)
    commit = upstream.git("rev-parse", "1.0.0").strip()
    upstream.git("tag", "-d", "1.0.0")
    await registry.sync(upstream)
    await delete(registry, "1.0.0")
    assert await registry.reasons(upstream) == {}

    upstream.git("tag", "1.0.0", commit)
    await registry.sync(upstream)
    assert set(await registry.reasons(upstream)) == {"refs/tags/1.0.0"}
    assert set(await registry.versions()) == {"dev-main"}
