"""Which commits a branch can be pinned to (dev-main#<commit>), what comes of it, and how much is kept of that."""

import asyncio
import hashlib
import itertools
from collections.abc import Iterable

import pytest

from pricore.models import LockedPackage
from pricore.vcs.mirror import Mirror
from tests.harness import GitRepository
from tests.web.composer.harness import Start, Template, World, error, pack, shasum

NAME = "acme/pinned"


def path_of(commit: str, *, version: str = "dev-main", name: str = NAME) -> str:
    """Where Composer asks for a branch that is pinned to a commit."""
    return f"/packages/{name}/{version}/{commit}.zip"


@pytest.fixture
def commits(upstream: GitRepository) -> list[str]:
    """Four commits of a package, one upon the other."""
    return [upstream.commit({"name": NAME}, files={"file.txt": f"number {number}"}) for number in range(4)]


async def test_any_commit_that_a_version_leads_to_is_sent(world: World, secret: str, template: Template) -> None:
    """Whole and by its first digits, as the branch of the address or any other version leads to it."""
    for commit in (template.between, template.between[:7], template.between[:20]):
        reply = await world.get(path_of(commit, name="acme/library"), secret)
        assert b"four\n" in reply.body
        assert "immutable" in reply.headers["Cache-Control"]
    error(await world.ask(path_of(template.between[:6], name="acme/library"), secret), 404)


async def test_what_no_version_leads_to_is_not_there(world: World, secret: str, upstream: GitRepository) -> None:
    """A branch that is left out, and what isn't a commit, is 404, though the mirror has it."""
    upstream.commit({"name": NAME})
    upstream.git("checkout", "--quiet", "-b", "dependabot/x")
    apart = upstream.commit({"name": NAME}, files={"file.txt": "apart"})
    upstream.git("checkout", "--quiet", "main")
    await world.follow(upstream)
    tree = upstream.git("rev-parse", "HEAD^{tree}")
    for beginning in (apart, apart[:7], tree, tree[:7], "0" * 40, "0" * 7, "f" * 64, "a" * 41):
        error(await world.ask(path_of(beginning), secret), 404)


async def test_another_package_is_not_there(world: World, secret: str, upstream: GitRepository) -> None:
    """A commit at which composer.json has another name, or is none, is no commit of this package."""
    renamed = upstream.commit({"name": "acme/before"})
    broken = upstream.commit(files={"composer.json": "{"})
    upstream.git("rm", "--quiet", "composer.json")
    without = upstream.commit(files={"file.txt": "x"})
    good = upstream.commit({"name": "Acme/Pinned"})
    upstream.commit({"name": NAME}, files={"file.txt": "y"})
    await world.follow(upstream)
    for commit in (renamed, broken, without):
        error(await world.ask(path_of(commit), secret), 404)
    await world.get(path_of(good), secret)


async def test_a_folder_is_pinned_as_the_package_in_it(world: World, secret: str, upstream: GitRepository) -> None:
    """Of a repository of several packages, each gets its own folder, and none where another one was in it."""
    upstream.commit(files={"a/composer.json": '{"name": "acme/b"}', "b/composer.json": '{"name": "acme/b"}'})
    other = upstream.head()
    upstream.commit(files={"a/composer.json": '{"name": "acme/a"}', "a/file.txt": "first"})
    first = upstream.head()
    upstream.commit(files={"a/file.txt": "second"})
    await world.follow(upstream, "*")

    body = (await world.get(path_of(first, name="acme/a"), secret)).body
    assert b"first" in body
    assert b"acme/b" not in body
    error(await world.ask(path_of(other, name="acme/a"), secret), 404)


async def test_what_was_deleted_is_not_brought_back(
    world: World, secret: str, upstream: GitRepository, commits: list[str]
) -> None:
    """Neither the commit of a deleted version, though the branch leads to it, nor after its tag went on."""
    upstream.git("tag", "1.0.0", commits[1])
    upstream.git("tag", "2.0.0", commits[2])
    await world.follow(upstream)
    organization = await world.store.organizations.get("acme")
    package = await world.store.packages.get(organization, NAME)
    await world.store.packages.delete_version(organization, package, "1.0.0")
    for commit in (commits[1], commits[1][:7]):
        error(await world.ask(path_of(commit), secret), 404)
    upstream.git("tag", "--force", "1.0.0", commits[0])
    await world.sync(upstream)
    error(await world.ask(path_of(commits[1]), secret), 404)

    await world.store.packages.delete(organization, package)
    upstream.commit({"name": NAME}, files={"file.txt": "later"})
    await world.sync(upstream)
    assert set(await world.versions(NAME)) == {"dev-main"}
    for commit in (*commits[1:], commits[2][:7]):
        error(await world.ask(path_of(commit), secret), 404)


async def test_it_stays_when_the_branch_is_rewritten(
    world: World, secret: str, upstream: GitRepository, commits: list[str]
) -> None:
    """What was pinned once is what a lock file names for years."""
    await world.follow(upstream)
    before = (await world.get(path_of(commits[1][:8]), secret)).body
    upstream.git("checkout", "--quiet", "--orphan", "other")
    upstream.commit({"name": NAME}, files={"file.txt": "other"})
    upstream.git("branch", "--quiet", "-M", "main")
    await world.sync(upstream)

    for beginning in (commits[1][:8], commits[1]):
        assert before == (await world.get(path_of(beginning), secret)).body
    error(await world.ask(path_of(commits[0]), secret), 404)
    mirror = world.sources.mirror(await repository_of(world, upstream)).path
    assert commits[1] in upstream.git(f"--git-dir={mirror}", "for-each-ref", "refs/pricore")


def alike(parent: str, tree: str) -> tuple[str, str]:
    """Two commits, as git has their content, whose names have the first seven digits in common."""
    seen: dict[str, str] = {}
    for number in itertools.count():
        content = f"tree {tree}\nparent {parent}\nauthor A <a@b> {number} +0000\ncommitter A <a@b> 0 +0000\n\nm\n"
        name = hashlib.sha1(f"commit {len(content)}\0{content}".encode()).hexdigest()[:7]
        if name in seen:
            return seen[name], content
        seen[name] = content
    raise AssertionError


async def test_a_beginning_of_two_commits_is_neither(world: World, secret: str, upstream: GitRepository) -> None:
    """Unless it meant one of them before the other came: then it means that for ever."""
    upstream.commit({"name": NAME})
    one, two = (
        upstream.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=content.encode())
        for content in alike(upstream.head(), upstream.git("rev-parse", "HEAD^{tree}"))
    )
    assert one[:7] == two[:7] and one != two  # noqa: PT018  # one claim
    upstream.git("reset", "--quiet", "--hard", one)
    upstream.commit(files={"file.txt": "upon one"})
    await world.follow(upstream)
    first = (await world.get(path_of(one[:7]), secret)).body
    upstream.git("merge", "--quiet", "--strategy=ours", "-m", "m", two)
    await world.sync(upstream)
    assert first == (await world.get(path_of(one[:7]), secret)).body

    with world.database() as database:
        database.execute("DELETE FROM abbreviations")
        database.execute("DELETE FROM dists WHERE pinned = 1")
        database.execute("UPDATE revisions SET value = value + 1")
    error(await world.ask(path_of(one[:7]), secret), 404)
    for commit in (one, two):
        await world.get(path_of(commit), secret)


async def test_many_askers_make_one_look_up(
    world: World, secret: str, upstream: GitRepository, commits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks while a commit is looked up waits for that."""
    await world.follow(upstream)
    asked = []
    led_to = Mirror.led_to

    async def count(mirror: Mirror, beginning: str, tips: Iterable[str]) -> list[str]:
        asked.append(beginning)
        return await led_to(mirror, beginning, tips)

    monkeypatch.setattr(Mirror, "led_to", count)
    await asyncio.gather(*(world.get(path_of(commits[1]), secret) for _ in range(8)))
    assert asked == [commits[1]]


async def test_unknown_commits_count_against_the_limit(
    start: Start, upstream: GitRepository, commits: list[str]
) -> None:
    """Whoever guesses is refused like whoever downloads too much."""
    world = await start(downloads_per_minute=3)
    await world.follow(upstream)
    secret = await world.token()
    for number in range(3):
        error(await world.ask(path_of(f"{number:040}"), secret), 404)
    error(await world.ask(path_of(commits[1]), secret), 429)


async def test_what_pins_take_is_bounded(start: Start, upstream: GitRepository) -> None:
    """The longest unused go, and come again when they are asked for; what a registered lock file names stays."""
    world = await start(pin_limit=1, downloads_per_minute=0)
    text = "x" * 400_000
    commits = [upstream.commit({"name": NAME}, files={"file.txt": f"{number}{text}"}) for number in range(6)]
    await world.follow(upstream)
    organization, secret = await world.store.organizations.get("acme"), await world.token()

    sums = [shasum((await world.get(path_of(commits[0]), secret)).body)]
    locked = LockedPackage(
        organization="acme", package=NAME, version="dev-main", address=f"dev-main/{commits[0]}", shasum=sums[0]
    )
    await world.store.locks.register(organization, "shop", [locked])
    for commit in commits[1:5]:
        sums.append(shasum((await world.get(path_of(commit), secret)).body))
        await world.store.usage.flush()
        kept = {name.partition(".")[0] for name in world.kept()}
        assert {sums[0], sums[-1]} <= kept
        assert len(kept) <= 2
    assert sums[1] == shasum((await world.get(path_of(commits[1]), secret)).body)
    await world.get(path_of(commits[5]), secret)  # the branch itself, which is no pin
    assert len(await world.store.pins.of_repository(await repository_of(world, upstream))) == 2


async def repository_of(world: World, upstream: GitRepository) -> str:
    organization = await world.store.organizations.get("acme")
    return (await world.store.repositories.get(organization, upstream.url)).id


async def test_a_version_made_of_it_later_is_no_pin(
    world: World, secret: str, upstream: GitRepository, commits: list[str]
) -> None:
    """What is advertised stays for ever, whoever had asked for it before."""
    await world.follow(upstream)
    before = (await world.get(path_of(commits[1]), secret)).body
    upstream.git("tag", "1.0.0", commits[1])
    await world.sync(upstream)
    assert (await world.versions(NAME))["1.0.0"]["dist"]["shasum"] == shasum(before)
    assert await world.store.pins.of_repository(await repository_of(world, upstream)) == []


async def test_who_may_not_see_the_package_learns_nothing(
    world: World, upstream: GitRepository, commits: list[str]
) -> None:
    """The answer to another's token is that for what isn't there, and nothing is looked up."""
    await world.follow(upstream)
    hidden = await world.token(packages=["acme/library"])
    assert (await world.ask(path_of(commits[1]), hidden)).body == (
        await world.ask(path_of(commits[1], name="acme/nothing"), hidden)
    ).body
    assert await world.store.pins.of_repository(await repository_of(world, upstream)) == []


async def test_an_uploaded_branch_is_pinned_by_its_reference(world: World) -> None:
    """Whole or by its first digits, as each upload that ever was served."""
    secret = await world.token(scopes=("packages:read", "packages:write"))
    made = []
    for text in ("one", "two"):
        content = pack({"composer.json": '{"name": "acme/uploaded"}', "file.txt": text})
        reply = await world.ask(
            f"{world.base}/api/organizations/acme/packages?version=dev-main", secret, method="POST", body=content
        )
        made.append(reply.json["data"])
    for item in made:
        for beginning in (item["reference"], item["reference"][:7]):
            assert item["shasum"] == shasum(
                (await world.get(path_of(beginning, name="acme/uploaded"), secret)).body
            )
