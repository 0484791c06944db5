"""Folders that are packages, where the trees were made to be searched for ever."""

import resource

import pytest

from pricore.errors import GitError, PricoreError
from tests.harness import GitRepository
from tests.registry import Registry
from tests.sync.hostile.harness import Entry, blob, reasons, tag_tree, tree

SECONDS = 8.0
MEGABYTES = 300


def many(folder: str, count: int) -> list[Entry]:
    return [("40000", b"n%06d" % n, folder) for n in range(count)]


def nested(repository: GitRepository, *, with_package: bool) -> str:
    """A few trees that unfold to a billion folders, with a composer.json in each of the innermost, or in none."""
    manifest = blob(repository, b'{"name": "acme/deep"}')
    found = tree(repository, [("100644", b"composer.json" if with_package else b"readme", manifest)])
    for _ in range(9):
        found = tree(repository, [("40000", b"d%d" % n, found) for n in range(10)])
    return found


class Spent:
    """What this process and its gits took for something: seconds of a processor, and megabytes of its memory."""

    def __init__(self) -> None:
        self._began = self._seconds()
        self._before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def check(self) -> None:
        assert self._seconds() - self._began < SECONDS
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self._before) / 1024 < MEGABYTES

    @staticmethod
    def _seconds() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(item.ru_utime + item.ru_stime for item in used)


@pytest.fixture
async def served(registry: Registry, upstream: GitRepository) -> Registry:
    """A registry that serves acme/library from packages/library, and looks for others up to eight folders deep."""
    upstream.write({"packages/library/composer.json": '{"name": "acme/library"}'})
    upstream.commit()
    upstream.tag("1.1.0")
    await registry.add(upstream, "packages/*", "bomb/*/*/*/*/*/*/*")
    assert set(await registry.versions()) == {"1.1.0", "dev-main"}
    return registry


async def refusal(registry: Registry, upstream: GitRepository) -> str:
    """What a sync says that refuses, soon and in little memory; what was served still is."""
    spent = Spent()
    with pytest.raises(PricoreError) as caught:
        await registry.sync(upstream)
    spent.check()
    message = str(caught.value)
    assert len(message) < 400
    assert (await registry.repository(upstream)).sync_error == message
    assert set(await registry.versions()) == {"1.1.0", "dev-main"}
    return message


async def test_two_hundred_thousand_folders_are_refused(served: Registry, upstream: GitRepository) -> None:
    """A folder of 200,000 packages is counted, not followed."""
    package = tree(upstream, [("100644", b"composer.json", blob(upstream, b'{"name": "acme/many"}'))])
    tag_tree(upstream, "2.0.0", ("40000", b"packages", tree(upstream, many(package, 200_000))))
    assert await refusal(served, upstream) == (
        f"packages/* and bomb/*/*/*/*/*/*/* make 200,003 versions of {upstream.url}, "
        "and no more than 200,000 are followed: say more exactly"
    )


async def test_a_billion_packages_are_refused(served: Registry, upstream: GitRepository) -> None:
    """Trees that name each other until there are a billion packages are not unfolded."""
    tag_tree(upstream, "2.0.0", ("40000", b"bomb", nested(upstream, with_package=True)))
    # a folder with a composer.json on the eighth level
    inner = tree(upstream, [("100644", b"composer.json", blob(upstream, b'{"name": "acme/deep"}'))])
    for _ in range(7):
        inner = tree(upstream, [("40000", b"d%d" % n, inner) for n in range(10)])
    tag_tree(upstream, "2.0.1", ("40000", b"bomb", inner))
    assert "match too many folders" in await refusal(served, upstream)


async def test_a_billion_folders_without_a_package_are_none(served: Registry, upstream: GitRepository) -> None:
    """Trees that unfold to a billion folders are searched once each, and what has nothing costs nothing."""
    tag_tree(upstream, "2.0.0", ("40000", b"bomb", nested(upstream, with_package=False)))
    spent = Spent()
    report = await served.sync(upstream)
    spent.check()
    assert "has a composer.json" in reasons(report)["refs/tags/2.0.0"]


async def test_many_commits_of_many_folders_are_counted_first(served: Registry, upstream: GitRepository) -> None:
    """A thousand tags that share a folder of 10,000 packages are ten million versions, and refused as such."""
    package = tree(upstream, [("100644", b"composer.json", blob(upstream, b'{"name": "acme/many"}'))])
    commit = tag_tree(upstream, "2.0.0", ("40000", b"packages", tree(upstream, many(package, 10_000))))
    lines = "".join(f"create refs/tags/3.0.{n} {commit}\n" for n in range(1000))
    upstream.git("update-ref", "--stdin", stdin=lines.encode())
    assert "make 10,010,003 versions" in await refusal(served, upstream)


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("folders.MOST_TREE", 10_000),
        ("folders.MOST_BYTES", 10_000),
        ("folders.MOST_LINKS", 500),
        ("folders.MOST_TREES", 12),
        ("folders.MOST_FOUND", 10_000),
    ],
)
async def test_a_search_has_limits(
    served: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    """Whatever there is too much of, the message says what to do."""
    monkeypatch.setattr(f"pricore.vcs.{limit}", value)
    manifest = "100644", b"composer.json", blob(upstream, b'{"name": "acme/many"}')
    readme = blob(upstream, b"")
    if limit == "folders.MOST_TREES":
        folders = [
            ("40000", b"n%d" % n, tree(upstream, [manifest, ("100644", b"n%d" % n, readme)])) for n in range(9)
        ]
    else:
        folders = many(tree(upstream, [manifest]), 600)
    tag_tree(upstream, "2.0.0", ("40000", b"packages", tree(upstream, folders)))
    message = await refusal(served, upstream)
    assert "packages/* and bomb/*/*/*/*/*/*/* match too many folders in the mirror of " in message
    assert message.endswith(": say more exactly")


async def test_a_package_of_too_many_files_is_none(
    served: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that matches, and whose list is too long, is no package; those beside it are."""
    monkeypatch.setattr("pricore.vcs.folders.MOST_TREE", 10_000)
    manifest = "100644", b"composer.json", blob(upstream, b'{"name": "acme/library"}')
    files = [("100644", b"f%06d" % n, manifest[2]) for n in range(1000)]
    huge = "100644", b"composer.json", blob(upstream, b'{"name": "acme/huge"}')
    packages = tree(
        upstream,
        [
            ("40000", b"huge", tree(upstream, [huge, *files])),
            ("40000", b"library", tree(upstream, [manifest])),
        ],
    )
    tag_tree(upstream, "2.0.0", ("40000", b"packages", packages))
    assert (await served.sync(upstream)).added == ["acme/library:2.0.0"]


async def test_a_name_that_no_file_can_have_is_no_folder(served: Registry, upstream: GitRepository) -> None:
    """Folders whose names are no names are not looked into: too long, with slashes, or for the eyes only."""
    package = tree(upstream, [("100644", b"composer.json", blob(upstream, b'{"name": "acme/odd"}'))])
    odd = [b"x" * 100_000, b"a/b", b"..", b".git", b"a\\b", b"a:b", "\u202egnp".encode(), b"a\nb", b"\xff:"]
    folders = tree(upstream, [("40000", name, package) for name in sorted(odd)])
    tag_tree(upstream, "2.0.0", ("40000", b"packages", folders))
    report = await served.sync(upstream)
    assert (report.added, len(reasons(report))) == ([], 2)
    with pytest.raises(GitError, match="there is no folder"):
        await (await served.mirror(upstream)).archive(f"{upstream.head()}:..", lambda output: output.read())
