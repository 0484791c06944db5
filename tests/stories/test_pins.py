"""A branch that a project pins to a commit (dev-main#<commit>) is installed at that commit, by the real client."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Composer, GitRepository, Pricore

NAME = "acme/library"


class World:
    """A registry that serves acme/library, whose branch went from `one` over `two` to `three`, and a project."""

    def __init__(self, pricore: Pricore, upstream: GitRepository, composer: Composer, url: str) -> None:
        self.pricore = pricore
        self.upstream = upstream
        self.composer = composer
        self.url = url
        self.secret = pricore.token()

    def require(self, constraint: str) -> None:
        self.composer.write(require={NAME: constraint}, registry=self.url)
        self.composer.log_in(self.url, self.secret)

    def content(self) -> str:
        return self.composer.installed(NAME, "file.txt")

    @property
    def lock(self) -> Path:
        return self.composer.folder / "composer.lock"

    def problem(self, *, status: int = 0) -> Any:
        ((found),) = self.pricore.json("lock", "check", str(self.lock), status=status)
        return found["problem"]


@pytest.fixture(params=["inline", "p2"])
def world(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make_repository: Callable[[str], GitRepository],
    composer: Composer,
) -> Iterator[World]:
    settings = {"inline_limit": "0"} if request.param == "p2" else {}
    pricore = Pricore(tmp_path / "data", **settings)
    pricore.found()
    upstream = make_repository("library")
    for content in ("one", "two", "three"):
        upstream.commit({"name": NAME}, files={"file.txt": content})
    pricore.run("repo", "add", "acme", upstream.url)
    with pricore.serving() as server:
        yield World(pricore, upstream, composer, f"{server['url']}/org/acme")


def test_the_pinned_commit_is_installed(world: World) -> None:
    """What the lock file says is what is in vendor/, also when it is installed from the lock again."""
    one = world.upstream.git("rev-parse", "HEAD~2")
    world.require(f"dev-main#{one}")
    world.composer.run("update")
    assert world.content() == "one"
    assert world.composer.locked()[NAME]["dist"]["reference"] == one

    world.composer.forget()
    world.composer.run("install")
    assert world.content() == "one"
    assert world.problem() is None


def test_a_branch_without_a_pin_is_installed_at_its_newest_commit(world: World) -> None:
    """And a lock file of it goes on being installed when the branch has moved."""
    world.require("dev-main")
    world.composer.run("update")
    assert world.content() == "three"
    world.upstream.commit(files={"file.txt": "four"})
    world.pricore.run("repo", "sync", "acme")
    world.composer.forget()
    world.composer.run("install")
    assert world.content() == "three"


def test_a_short_pin_means_the_same_for_ever(world: World) -> None:
    """Seven digits are enough, and what they meant is installed after a force-push took the commit away."""
    two = world.upstream.git("rev-parse", "HEAD~1")
    world.require(f"dev-main#{two[:7]}")
    world.composer.run("update")
    assert world.content() == "two"

    world.upstream.git("reset", "--quiet", "--hard", "HEAD~2")
    world.upstream.commit(files={"file.txt": "another history"})
    world.upstream.git("reflog", "expire", "--expire=now", "--all")
    world.upstream.git("gc", "--quiet", "--prune=now")
    world.pricore.run("repo", "sync", "acme")
    world.composer.forget()
    world.composer.run("install")
    assert world.content() == "two"
    assert world.problem() is None


def test_an_absent_commit_fails_to_install(world: World) -> None:
    """Nothing else is installed in its place."""
    world.require(f"dev-main#{'0123456789' * 4}")
    assert "404" in world.composer.run("update", fails=True)
    assert not (world.composer.folder / "vendor" / NAME).exists()


def test_an_old_lock_file_is_installed_as_it_was_and_told_when_it_is_wrong(world: World) -> None:
    """Before, the URL had the branch's commit and its checksum, also where another commit was pinned."""
    one, three = world.upstream.git("rev-parse", "HEAD~2"), world.upstream.head()
    world.require("dev-main")
    world.composer.run("update")
    document = json.loads(world.lock.read_text())
    (package,) = document["packages"]
    shasum = next(
        item["shasum"]
        for item in world.pricore.json("package", "show", "acme", NAME)["versions"]
        if item["version"] == "dev-main"
    )
    package["dist"] |= {"url": f"{world.url}/packages/{NAME}/dev-main/{three}.zip", "shasum": shasum}
    world.lock.write_text(json.dumps(document))
    world.composer.forget()
    world.composer.run("install")
    assert world.content() == "three"
    assert world.problem() is None

    package["dist"]["reference"] = one
    world.lock.write_text(json.dumps(document))
    problem = world.problem(status=1)
    assert f"pinned to {one}" in problem
    assert "composer update --lock" in problem


def test_a_registered_lock_keeps_what_is_pinned(world: World) -> None:
    """Its package is not deleted, though nothing but the lock file names the commit."""
    world.require(f"dev-main#{world.upstream.git('rev-parse', 'HEAD~2')}")
    world.composer.run("update")
    world.pricore.run("lock", "register", str(world.lock), "--name", "shop")
    assert "the lock shop names" in world.pricore.fail("package", "delete", "acme", NAME, "--yes")
