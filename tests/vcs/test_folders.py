"""Folders of one repository as packages of their own: which are found, what they have, and how they change."""

import hashlib
import io
import zipfile
from typing import IO

import pytest

from pricore.errors import GitError, InvalidError, SyncError
from pricore.services.paths import parse_paths
from pricore.sync.report import Report
from tests.harness import GitRepository
from tests.registry import MakeRepository, Registry

PACKAGES = ("packages/*",)


@pytest.fixture
def upstream(make_repository: MakeRepository) -> GitRepository:
    """acme/one and acme/two in folders of a repository whose root is a package that nobody should get."""
    repository = make_repository("mono")
    put(repository, "one")
    put(repository, "two")
    repository.commit({"name": "acme/mono"}, files={"docs/readme.md": "all of it"})
    repository.tag("1.0.0")
    return repository


def put(repository: GitRepository, folder: str, *, name: str | None = None, text: str = "") -> None:
    repository.write(
        {
            f"packages/{folder}/composer.json": f'{{"name": "{name or f"acme/{folder}"}"}}',
            f"packages/{folder}/src/a.txt": text or folder,
        }
    )


async def follow(registry: Registry, upstream: GitRepository, *paths: str) -> Report:
    return await registry.add(upstream, *(paths or PACKAGES))


async def names(registry: Registry) -> list[str]:
    return [item.name for item in await registry.store.packages.of_organization(registry.organization.id)]


async def archive(
    registry: Registry, upstream: GitRepository, name: str, version: str
) -> tuple[str, dict[str, str]]:
    """The sha1 that is advertised of a version, and the files that its archive has."""
    dist = await registry.store.packages.dist("acme", name, version=version, reference=None)
    assert dist is not None
    mirror = await registry.mirror(upstream)

    def read(output: IO[bytes]) -> bytes:
        return output.read()

    content = await mirror.archive(dist.treeish, read)
    assert hashlib.sha1(content).hexdigest() == dist.shasum
    assert len(content) == dist.size
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        files = {item: opened.read(item).decode() for item in opened.namelist() if not item.endswith("/")}
    return dist.shasum, {item.partition("/")[2]: text for item, text in files.items()}


async def test_each_folder_is_a_package(registry: Registry, upstream: GitRepository) -> None:
    """Tags and branches make versions of each; an archive has that folder alone, with the time of the commit."""
    report = await follow(registry, upstream)
    assert report.packages == await names(registry) == ["acme/one", "acme/two"]
    for name in report.packages:
        assert await registry.versions(name) == {"1.0.0": upstream.head(), "dev-main": upstream.head()}
        short = name.removeprefix("acme/")
        _, files = await archive(registry, upstream, name, "1.0.0")
        assert files == {"composer.json": f'{{"name": "{name}"}}', "src/a.txt": short}
    assert report.left_out == []


async def test_the_bytes_of_an_archive_are_for_ever(registry: Registry, upstream: GitRepository) -> None:
    """A checksum that was advertised once holds for each later version of this program."""
    await follow(registry, upstream)
    shasum, _ = await archive(registry, upstream, "acme/one", "1.0.0")
    assert (upstream.head(), shasum) == (
        "47b0f5a967debfd2300d4f85c33b721c2f883d01",
        "e58be280a478319905b4dc2c275501312cd26d05",
    )


async def test_a_folder_that_did_not_change_is_one_archive(registry: Registry, upstream: GitRepository) -> None:
    """Versions whose folder is alike share their archive; those whose folder changed have one of their own."""
    put(upstream, "two", text="changed")
    upstream.commit()
    upstream.tag("1.1.0")
    await follow(registry, upstream)
    one = {(await archive(registry, upstream, "acme/one", version))[0] for version in ("1.0.0", "1.1.0")}
    two = {(await archive(registry, upstream, "acme/two", version))[0] for version in ("1.0.0", "1.1.0")}
    assert (len(one), len(two)) == (1, 2)


async def test_folders_come_go_and_move(registry: Registry, upstream: GitRepository) -> None:
    """A new folder is a new package; one that went leaves its releases; one that moved is the same package."""
    await follow(registry, upstream)
    put(upstream, "three")
    upstream.git("rm", "-r", "--quiet", "packages/two")
    upstream.git("mv", "packages/one", "packages/uno")
    upstream.commit()
    report = await registry.sync(upstream)
    assert sorted(report.added) == ["acme/three:dev-main"]
    assert report.removed == ["acme/two:dev-main"]
    assert report.updated == ["acme/one:dev-main"]
    assert await registry.versions("acme/two") == {"1.0.0": upstream.git("rev-parse", "1.0.0")}
    _, files = await archive(registry, upstream, "acme/one", "dev-main")
    assert files["src/a.txt"] == "one"
    assert (await registry.sync(upstream)).read == 0


async def test_a_renamed_folder_package_goes_on_under_both_names(
    registry: Registry, upstream: GitRepository
) -> None:
    """The name in the default branch counts for all versions of its folder, and for no other folder's."""
    await follow(registry, upstream)
    put(upstream, "one", name="acme/first")
    upstream.commit()
    await registry.sync(upstream)
    assert await names(registry) == ["acme/first", "acme/one", "acme/two"]
    assert set(await registry.versions("acme/first")) == {"1.0.0", "dev-main"}
    replaced = {
        item.name: item.replaced_by
        for item in await registry.store.packages.of_organization(registry.organization.id)
    }
    assert replaced == {"acme/first": None, "acme/one": "acme/first", "acme/two": None}


async def test_a_ref_without_any_of_the_folders_is_left_out(registry: Registry, upstream: GitRepository) -> None:
    """It says which folders were looked for; the package in its root is not taken instead."""
    upstream.git("checkout", "--quiet", "--orphan", "old")
    upstream.git("rm", "-r", "-f", "--quiet", ".")
    upstream.commit({"name": "acme/mono"})
    report = await follow(registry, upstream)
    assert [(item.ref, item.reason) for item in report.left_out] == [
        ("refs/heads/old", "no folder packages/* in it has a composer.json")
    ]
    assert await names(registry) == ["acme/one", "acme/two"]


async def test_a_broken_folder_does_not_touch_the_others(registry: Registry, upstream: GitRepository) -> None:
    """What is in service stays, and the rest is updated."""
    await follow(registry, upstream)
    before = upstream.head()
    upstream.write({"packages/one/composer.json": "{broken"})
    put(upstream, "two", text="new")
    after = upstream.commit()
    report = await registry.sync(upstream)
    assert [item.ref for item in report.left_out] == ["refs/heads/main:packages/one"]
    assert (await registry.versions("acme/one"))["dev-main"] == before
    assert (await registry.versions("acme/two"))["dev-main"] == after


async def test_two_folders_with_one_name_are_told_apart(registry: Registry, upstream: GitRepository) -> None:
    """The first one has the name; the other is left out, and says who has it."""
    put(upstream, "zwei", name="acme/two")
    upstream.commit()
    report = await follow(registry, upstream)
    assert [(item.ref, item.reason) for item in report.left_out] == [
        (
            "refs/heads/main:packages/zwei",
            "it means dev-main, and so does main:packages/two, which has it already",
        )
    ]


async def test_a_release_of_a_folder_is_immutable(registry: Registry, upstream: GitRepository) -> None:
    """A tag that moved is refused for each of its packages, and accepted one by one."""
    await follow(registry, upstream)
    before = upstream.head()
    put(upstream, "one", text="new")
    after = upstream.commit()
    upstream.git("tag", "--force", "1.0.0")
    report = await registry.sync(upstream)
    assert sorted(report.moved) == ["acme/one:1.0.0", "acme/two:1.0.0"]
    package = await registry.store.packages.get(registry.organization, "acme/one")
    version = await registry.store.packages.find_version(package, "1.0.0")
    assert version is not None
    await registry.store.packages.accept(package, version)
    await registry.sync(upstream)
    assert (await registry.versions("acme/one"))["1.0.0"] == after
    assert (await registry.versions("acme/two"))["1.0.0"] == before


async def test_a_deleted_version_of_a_folder_stays_deleted(registry: Registry, upstream: GitRepository) -> None:
    """It takes nothing from the other folders of its tag, and comes back with none of them."""
    await follow(registry, upstream)
    package = await registry.store.packages.get(registry.organization, "acme/one")
    await registry.store.packages.delete_version(registry.organization, package, "1.0.0")
    upstream.commit(files={"packages/one/src/b.txt": "b"})
    await registry.sync(upstream)
    assert set(await registry.versions("acme/one")) == {"dev-main"}
    assert set(await registry.versions("acme/two")) == {"1.0.0", "dev-main"}


async def test_paths_can_be_changed(registry: Registry, upstream: GitRepository) -> None:
    """Releases of folders that are looked for no more are kept as if they had vanished; their branches go."""
    await follow(registry, upstream)
    repository = await registry.repository(upstream)
    await registry.store.repositories.change(repository, paths=["packages/two", "."])
    report = await registry.sync(upstream)
    assert sorted(report.added) == ["acme/mono:1.0.0", "acme/mono:dev-main"]
    assert report.removed == ["acme/one:dev-main"]
    assert report.kept == ["acme/one:1.0.0"]
    await registry.store.repositories.change(repository, paths=[])
    assert (await registry.sync(upstream)).removed == ["acme/two:dev-main"]
    assert set(await registry.versions("acme/mono")) == {"1.0.0", "dev-main"}


async def test_what_was_advertised_of_a_commit_stays(registry: Registry, upstream: GitRepository) -> None:
    """Where another folder of the same commit becomes the package, its checksum is the one that locks name."""
    upstream.write({"other/one/composer.json": '{"name": "acme/one"}'})
    upstream.commit()
    await follow(registry, upstream)
    before = await archive(registry, upstream, "acme/one", "dev-main")
    repository = await registry.repository(upstream)
    await registry.store.repositories.change(repository, paths=["other/*"])
    await registry.sync(upstream)
    assert await archive(registry, upstream, "acme/one", "dev-main") == before
    package = await registry.store.packages.get(registry.organization, "acme/one")
    version = await registry.store.packages.find_version(package, "dev-main")
    assert version is not None
    assert version.shasum == before[0]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["packages/one"], ["packages/one"]),
        (["packages/o*", "packages/[t]wo"], ["packages/one", "packages/two"]),
        (["*/*", "packages/one"], ["packages/one", "packages/two"]),
        (["packages/*/src"], []),
        ([".", "packages/t?o"], ["", "packages/two"]),
        (["packages/*/*/*"], ["packages/one/src/deep"]),
        (["*/.hidden"], ["packages/.hidden"]),
        (["Packages/*"], []),
    ],
)
async def test_patterns_name_folders(
    registry: Registry, upstream: GitRepository, patterns: list[str], expected: list[str]
) -> None:
    """A wildcard stands for a part of one name, never for a slash, nor for the dot that a name begins with."""
    upstream.write(dict.fromkeys(("packages/.hidden/composer.json", "packages/one/src/deep/composer.json"), "{}"))
    upstream.write({"packages/none/composer.json/readme.md": "a folder of that name is no composer.json"})
    upstream.commit()
    await registry.add(upstream)
    mirror = await registry.mirror(upstream)
    found = await mirror.find_folders([upstream.head(), "0" * 40], patterns)
    assert {upstream.head(): expected, "0" * 40: []} == {commit: list(paths) for commit, paths in found.items()}


async def test_more_folders_than_can_be_meant_are_refused(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a pattern may match is limited, and the message says what to do."""
    monkeypatch.setattr("pricore.vcs.folders.MOST_TREES", 3)
    with pytest.raises(GitError, match="say more exactly"):
        await follow(registry, upstream)
    monkeypatch.setattr("pricore.vcs.folders.MOST_TREES", 100)
    monkeypatch.setattr("pricore.sync.run.MOST_PLACES", 3)
    with pytest.raises(SyncError, match=r"make 4 versions of .* say more exactly"):
        await follow(registry, upstream)


async def test_an_archive_of_no_folder_is_refused(registry: Registry, upstream: GitRepository) -> None:
    """What isn't there, or is a file, makes no archive."""
    await follow(registry, upstream)
    mirror = await registry.mirror(upstream)
    for path in ("nowhere", "packages/one/composer.json", "--output=x"):
        with pytest.raises(GitError, match="there is no folder"):
            await mirror.archive(f"{upstream.head()}:{path}", lambda output: output.read())


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], ()),
        (["."], ()),
        (["./"], ()),
        (["packages/*/", "./packages/*"], ("packages/*",)),
        ([".", "a//b"], (".", "a/b")),
    ],
)
def test_paths_are_understood(patterns: list[str], expected: tuple[str, ...]) -> None:
    """What makes no difference is left off; the root alone is a repository as any other."""
    assert parse_paths(patterns) == expected


@pytest.mark.parametrize(
    "pattern", ["", " ", "/packages", "../x", "a/../b", "a/**", "a:b", "a\\b", "a\nb", ".git", "x" * 201, "a/" * 9]
)
def test_other_paths_are_refused(pattern: str) -> None:
    """What can be no folder in a repository is refused before anything is written."""
    with pytest.raises(InvalidError) as caught:
        parse_paths([pattern])
    assert caught.value.field == "paths"
