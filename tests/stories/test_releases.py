"""Releases stay what they are: a tag that moves or vanishes changes nothing before the operator says so."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Composer, GitRepository, Pricore

NAME = "acme/library"


class World:
    """A registry that serves acme/library 1.0.0, and a project that uses it."""

    def __init__(self, pricore: Pricore, upstream: GitRepository, composer: Composer, url: str) -> None:
        self.pricore = pricore
        self.upstream = upstream
        self.composer = composer
        self.url = url
        self.first = upstream.head()

    def move(self, text: str) -> str:
        """Move the tag 1.0.0 to a new commit, which is read and given."""
        commit = self.upstream.commit(files={"file.txt": text})
        self.upstream.git("tag", "--force", "1.0.0")
        self.pricore.run("repo", "sync", "acme")
        return commit

    def version(self) -> Any:
        shown = self.pricore.json("package", "show", "acme", NAME)
        return next((item for item in shown["versions"] if item["version"] == "1.0.0"), None)


@pytest.fixture
def world(
    pricore: Pricore, make_repository: Callable[[str], GitRepository], composer: Composer
) -> Iterator[World]:
    upstream = make_repository("library")
    upstream.commit({"name": NAME}, files={"file.txt": "one"})
    upstream.tag("1.0.0")
    pricore.run("repo", "add", "acme", upstream.url)
    with pricore.serving() as server:
        world = World(pricore, upstream, composer, f"{server['url']}/org/acme")
        composer.write(require={NAME: "^1.0"}, registry=world.url)
        composer.log_in(world.url, pricore.token())
        yield world


def test_a_moved_tag_waits_for_the_operator(world: World) -> None:
    """It is shown and changes nothing; once accepted, new installs get it, and every lock file still installs."""
    world.composer.run("update")
    lock = world.composer.folder / "composer.lock"
    before = lock.read_bytes()

    moved = world.move("two")
    assert world.version()["reference"] == world.first
    assert world.version()["moved_to"] == moved
    assert f"its tag moved to {moved[:12]}" in world.pricore.run("package", "show", "acme", NAME).stdout
    history = world.pricore.json("repo", "history", "acme", world.upstream.url)
    assert history[0]["moved"] == [f"{NAME}:1.0.0"]

    done = world.pricore.json("package", "accept", "acme", NAME, "v1.0")
    assert (done["version"], done["before"], done["reference"]) == ("1.0.0", world.first, moved)
    assert world.version()["moved_to"] is None

    world.composer.forget()
    world.composer.run("install")
    assert world.composer.installed(NAME, "file.txt") == "one"
    assert lock.read_bytes() == before
    world.composer.run("update")
    assert world.composer.installed(NAME, "file.txt") == "two"
    second = lock.read_bytes()

    again = world.move("three")
    assert world.version()["reference"] == moved
    assert world.version()["moved_to"] == again
    world.pricore.run("package", "accept", "acme", NAME, "1.0.0")
    for kept, text in ((before, "one"), (second, "two")):
        lock.write_bytes(kept)
        world.composer.forget()
        world.composer.run("install")
        assert world.composer.installed(NAME, "file.txt") == text


def test_the_api_and_the_log_tell_of_a_moved_tag(world: World) -> None:
    """The version in the API says where its tag is now, and the server's log names the command that accepts it."""
    admin = world.pricore.token("--scope", "packages:read", "--scope", "repositories:write")
    api = world.url.replace("/org/", "/api/organizations/")
    headers = {"Authorization": f"Bearer {admin}"}
    world.upstream.commit(files={"file.txt": "two"})
    world.upstream.git("tag", "--force", "1.0.0")
    repository = world.pricore.json("repo", "show", "acme", world.upstream.url)["id"]
    queue = urllib.request.Request(f"{api}/repositories/{repository}/sync", method="POST", headers=headers)
    urllib.request.urlopen(queue, timeout=10).close()

    log = world.pricore.data.parent / "data-serve.log"
    world.pricore.wait(lambda: "the tag of acme/library:1.0.0 moved" in log.read_text())
    assert "`pricore package accept`" in log.read_text()
    asked = urllib.request.Request(f"{api}/packages/{NAME}", headers=headers)
    with urllib.request.urlopen(asked, timeout=10) as answer:
        versions = {item["version"]: item for item in json.load(answer)["data"]["versions"]}
    assert versions["1.0.0"]["moved_to"] == world.upstream.head()
    assert versions["dev-main"]["moved_to"] is None


def test_only_what_moved_can_be_accepted(world: World) -> None:
    """A tag that stands, a version that isn't there, a commit of which no package can be made: one line each."""
    accept = ("package", "accept", "acme", NAME)
    assert "there is nothing to accept" in world.pricore.fail(*accept, "1.0.0")
    assert "has no version 9.9" in world.pricore.fail(*accept, "9.9")
    world.upstream.commit("{broken")
    world.upstream.git("tag", "--force", "1.0.0")
    world.pricore.run("repo", "sync", "acme")
    assert "composer.json is not valid JSON" in world.pricore.fail(*accept, "1.0.0")
    assert world.version()["reference"] == world.first


def test_a_tag_that_goes_on_after_it_was_accepted_is_refused(world: World) -> None:
    """What is accepted is one commit: a later one that comes before it was read is not."""
    world.move("two")
    world.upstream.commit(files={"file.txt": "three"})
    world.upstream.git("tag", "--force", "1.0.0")
    assert f"stays at {world.first[:12]}" in world.pricore.fail("package", "accept", "acme", NAME, "1.0.0")
    assert world.version()["moved_to"] == world.upstream.head()


def test_a_vanished_release_is_kept_or_removed_as_the_operator_says(world: World) -> None:
    """By default it stays and is marked; with `remove` it goes, whether it vanished before or after that."""
    world.upstream.tag("1.1.0")
    world.pricore.run("repo", "sync", "acme")
    world.upstream.git("tag", "-d", "1.0.0")
    world.pricore.run("repo", "sync", "acme")
    assert world.version()["gone_upstream_at"] is not None

    assert "no policy" in world.pricore.fail("repo", "change", "acme", world.upstream.url, "--vanished", "drop")
    changed = world.pricore.json("repo", "change", "acme", world.upstream.url, "--vanished", "remove")
    assert changed["vanished_versions"] == "remove"
    world.pricore.run("repo", "sync", "acme")
    assert world.version() is None
    world.upstream.git("tag", "-d", "1.1.0")
    report = world.pricore.json("repo", "sync", "acme")["synced"][0]
    assert (report["removed"], report["kept"]) == ([f"{NAME}:1.1.0"], [])
    assert "could not be" in world.composer.run("update", fails=True)


def test_removing_vanished_releases_can_be_the_rule(
    tmp_path: Path, make_repository: Callable[[str], GitRepository]
) -> None:
    """The setting counts for every repository that says nothing else."""
    pricore = Pricore(tmp_path / "data", vanished_versions="remove")
    pricore.found()
    upstream = make_repository("library")
    upstream.commit({"name": NAME})
    upstream.tag("1.0.0")
    upstream.tag("1.1.0")
    pricore.run("repo", "add", "acme", upstream.url)
    upstream.git("tag", "-d", "1.0.0")
    assert pricore.json("repo", "sync", "acme")["synced"][0]["removed"] == [f"{NAME}:1.0.0"]
    pricore.run("repo", "change", "acme", upstream.url, "--vanished", "keep")
    upstream.git("tag", "-d", "1.1.0")
    assert pricore.json("repo", "sync", "acme")["synced"][0]["kept"] == [f"{NAME}:1.1.0"]


def test_a_release_that_goes_makes_room(world: World) -> None:
    """Where 1.0.0 and v1.0.0 mean the same, one waits for the other, and is served once that one is removed."""
    world.upstream.tag("v1.0.0")
    world.pricore.run("repo", "change", "acme", world.upstream.url, "--vanished", "remove")
    report = world.pricore.json("repo", "sync", "acme")["synced"][0]
    assert [item["ref"] for item in report["left_out"]] == ["refs/tags/v1.0.0"]
    world.upstream.git("tag", "-d", "1.0.0")
    report = world.pricore.json("repo", "sync", "acme")["synced"][0]
    assert (report["added"], report["removed"], report["left_out"]) == ([f"{NAME}:v1.0.0"], [f"{NAME}:1.0.0"], [])


def test_a_tag_that_was_respelled_waits_for_the_operator(world: World) -> None:
    """1.0.0 that became v1.0.0 elsewhere is a tag that moved: accepted, it is the same version at that commit."""
    world.composer.run("update")
    lock = world.composer.folder / "composer.lock"
    before = lock.read_bytes()
    moved = world.upstream.commit(files={"file.txt": "two"})
    world.upstream.git("tag", "-d", "1.0.0")
    world.upstream.tag("v1.0.0")
    world.pricore.run("repo", "sync", "acme")

    assert (world.version()["reference"], world.version()["moved_to"]) == (world.first, moved)
    shown = world.pricore.run("package", "show", "acme", NAME).stdout
    assert f"another tag that means it is at {moved[:12]}" in " ".join(shown.split())
    history = world.pricore.json("repo", "history", "acme", world.upstream.url)
    assert history[0]["moved"] == [f"{NAME}:1.0.0"]
    done = world.pricore.json("package", "accept", "acme", NAME, "v1.0")
    assert (done["version"], done["before"], done["reference"]) == ("1.0.0", world.first, moved)
    for _ in range(2):
        assert (world.version()["moved_to"], world.version()["gone_upstream_at"]) == (None, None)
        world.pricore.run("repo", "sync", "acme")

    world.composer.forget()
    world.composer.run("install")
    assert world.composer.installed(NAME, "file.txt") == "one"
    assert lock.read_bytes() == before
    world.composer.run("update")
    assert world.composer.installed(NAME, "file.txt") == "two"
    assert world.composer.locked()[NAME]["version"] == "1.0.0"


def test_a_tag_that_was_respelled_where_it_was_changes_nothing(world: World) -> None:
    """v1.0.0 at the commit of 1.0.0 is that release: it goes on under its name, and is not gone."""
    before = world.version()
    world.upstream.tag("v1.0.0")
    world.upstream.git("tag", "-d", "1.0.0")
    world.pricore.run("repo", "sync", "acme")

    assert world.version() == before
    shown = world.pricore.json("package", "show", "acme", NAME)
    assert [item["version"] for item in shown["versions"]] == ["1.0.0", "dev-main"]
