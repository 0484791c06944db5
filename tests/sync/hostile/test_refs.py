"""Names and numbers of branches and tags that somebody thought up."""

import asyncio
import time

import pytest

from pricore.errors import GitError
from tests.harness import GitRepository, Pricore
from tests.registry import MakeRepository, Registry


async def test_a_hundred_thousand_refs_are_refused(
    registry: Registry, upstream: GitRepository, make_repository: MakeRepository
) -> None:
    """One line says how many there are; what is served stays, and nobody waits for the list to be read."""
    await registry.add(upstream)
    commit = upstream.head()
    lines = [f"{commit} refs/tags/9.0.{n}\n" for n in sorted(range(100_000), key=str)]
    (upstream.folder / ".git" / "packed-refs").write_text("# pack-refs with: peeled fully-peeled sorted \n")
    with (upstream.folder / ".git" / "packed-refs").open("a") as file:
        file.writelines(lines)
    longest, watching = 0.0, True

    async def watch() -> None:
        nonlocal longest
        while watching:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - began)

    task = asyncio.create_task(watch())
    with pytest.raises(GitError) as caught:
        await registry.sync(upstream)
    watching = False
    await task
    message = str(caught.value)
    assert message == (
        f"{upstream.url} has 100,002 branches and tags, more than the 20,000 that are read: delete some there"
    )
    assert longest < 0.1, longest
    assert set(await registry.versions()) == {"1.0.0", "dev-main"}
    assert (await registry.repository(upstream)).sync_error == message
    assert not (await registry.mirror(upstream)).path.joinpath("refs/tags/9.0.1").exists()


async def test_more_refs_than_were_listed_are_refused_too(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that offers more to a fetch than it listed gains nothing by it."""
    await registry.add(upstream)
    upstream.commit()
    monkeypatch.setattr("pricore.vcs.bare_repository.MOST_REFS", 1)
    with pytest.raises(GitError, match="has more than 1 branches and tags"):
        await registry.sync(upstream)
    assert set(await registry.versions()) == {"1.0.0", "dev-main"}


async def test_a_list_of_refs_has_a_size(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of kilobytes cannot make the list longer than what is read of one."""
    monkeypatch.setattr("pricore.git.MAX_LISTING", 50)
    with pytest.raises(GitError, match=r"^git ls-remote of .* gives more than 0 MB$"):
        await registry.add(upstream)


@pytest.mark.parametrize("name", ["x" * 3_900, "x" * 251, "x/" * 500 + "x"])
async def test_a_name_that_no_file_can_have_is_told(
    registry: Registry, upstream: GitRepository, name: str
) -> None:
    """A branch of four thousand letters stops its own repository, with a reason; what is served stays."""
    await registry.add(upstream)
    with (upstream.folder / ".git" / "packed-refs").open("w") as file:
        file.write(f"# pack-refs with: peeled fully-peeled sorted \n{upstream.head()} refs/heads/{name}\n")
    with pytest.raises(
        GitError, match=r"has a branch or tag with a name too long for a file, refs/heads/x.{1,50}\.\.\.$"
    ):
        await registry.sync(upstream)
    assert set(await registry.versions()) == {"1.0.0", "dev-main"}


HOSTILE_NAMES = [
    "<script>alert(1)</script>",
    "x';DROP-TABLE-versions;--",
    '"},{"',
    "a/%2e%2e/b",
    "\u202egnp.exe",
    "\u009b31mred",
    "\u2028line",
    "$(touch-x)",
    "`id`",
    "x" * 200,
]


async def test_hostile_names_are_names(pricore: Pricore, upstream: GitRepository) -> None:
    """Refs that mean something to HTML, SQL, shells or terminals are shown without doing it, and break nothing."""
    commit = upstream.head()
    lines = sorted(f"{commit} refs/{kind}/{name}\n" for kind in ("heads", "tags") for name in HOSTILE_NAMES)
    with (upstream.folder / ".git" / "packed-refs").open("w", encoding="utf-8") as file:
        file.writelines(["# pack-refs with: peeled fully-peeled sorted \n", *lines])
    await asyncio.to_thread(pricore.run, "repo", "add", "acme", upstream.url)
    for command in (
        ("repo", "show", "acme", upstream.url),
        ("repo", "history", "acme", upstream.url),
        ("package", "show", "acme", "acme/library"),
    ):
        shown = (await asyncio.to_thread(pricore.run, *command)).stdout
        assert all(line.isprintable() for line in shown.split("\n")), ascii(shown)
        document = await asyncio.to_thread(pricore.json, *command)
        assert document
    versions = (await asyncio.to_thread(pricore.json, "package", "show", "acme", "acme/library"))["versions"]
    assert {"1.0.0", "dev-main"} <= {item["version"] for item in versions}
