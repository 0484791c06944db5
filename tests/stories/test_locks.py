"""What a lock file in use names is kept, and whether it can be installed is told before anybody tries."""

import http.client
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Client, Composer, GitRepository, Pricore

NAME = "acme/library"


class World:
    """A registry with acme/library 1.0.0 and a branch, and a project with a lock file that names both."""

    def __init__(self, pricore: Pricore, upstream: GitRepository, composer: Composer, url: str) -> None:
        self.pricore = pricore
        self.upstream = upstream
        self.composer = composer
        self.url = url
        self.client = Client(url, pricore.token("--scope", "packages:read", "--scope", "packages:write"))

    @property
    def lock(self) -> Path:
        return self.composer.folder / "composer.lock"

    def check(self, *, status: int = 0) -> Any:
        found = self.pricore.json("lock", "check", str(self.lock), status=status)
        return {item["name"]: item["problem"] for item in found}


@pytest.fixture
def world(
    pricore: Pricore, make_repository: Callable[[str], GitRepository], composer: Composer
) -> Iterator[World]:
    upstream = make_repository("library")
    upstream.commit({"name": NAME}, files={"file.txt": "one"})
    upstream.tag("1.0.0")
    tools = make_repository("tools")
    tools.commit({"name": "acme/tools"})
    pricore.run("repo", "add", "acme", upstream.url)
    pricore.run("repo", "add", "acme", tools.url)
    with pricore.serving() as server:
        world = World(pricore, upstream, composer, server["url"])
        registry = f"{server['url']}/org/acme"
        composer.write(require={NAME: "^1.0"}, registry=registry, **{"require-dev": {"acme/tools": "dev-main"}})
        composer.log_in(registry, pricore.token())
        composer.run("update")
        yield world


def test_a_registered_lock_keeps_what_it_names(world: World) -> None:
    """While it is registered, none of its packages is deleted, by the command line or over the API."""
    made = world.pricore.json("lock", "register", str(world.lock), "--name", "production")
    assert [(item["organization"], item["name"]) for item in made] == [("acme", "production")]
    assert {item["name"] for item in made[0]["packages"]} == {NAME, "acme/tools"}
    assert world.check() == {NAME: None, "acme/tools": None}

    for command in (
        ("package", "delete", "acme", NAME, "1.0.0", "--yes"),
        ("package", "delete", "acme", NAME, "--yes"),
        ("repo", "remove", "acme", world.upstream.url, "--yes"),
        ("org", "delete", "acme", "--yes"),
    ):
        message = world.pricore.fail(*command)
        assert f"the lock production names {NAME} 1.0.0" in message
        assert "`pricore lock remove acme production`" in message
    api = "/api/organizations/acme"
    assert world.client.ask("DELETE", f"{api}/packages/{NAME}/versions/1.0.0")[0] == 409
    world.composer.forget()
    world.composer.run("install")

    assert [item["name"] for item in world.pricore.json("lock", "list", "acme")] == ["production"]
    world.pricore.run("lock", "remove", "acme", "production", "--yes")
    assert "has no lock production" in world.pricore.fail("lock", "remove", "acme", "production")
    world.pricore.run("package", "delete", "acme", NAME, "1.0.0", "--yes")
    assert world.check(status=1) == {NAME: "it is not served any more", "acme/tools": None}


def test_a_check_does_what_an_install_would(world: World) -> None:
    """An archive that is lost is made again; one that cannot be, or would be another, is told with the reason."""
    shutil.rmtree(world.pricore.data / "dists")
    assert world.check() == {NAME: None, "acme/tools": None}
    assert len([*(world.pricore.data / "dists").glob("*/*")]) == 2

    document = json.loads(world.lock.read_text())
    document["packages"][0]["dist"]["shasum"] = "0" * 40
    world.lock.write_text(json.dumps(document))
    assert "and the lock file says 0000" in world.check(status=1)[NAME]

    shutil.rmtree(world.pricore.data / "dists")
    repository = world.pricore.json("repo", "show", "acme", str(world.upstream.folder.parent / "tools"))["id"]
    shutil.rmtree(world.pricore.data / "repositories" / f"{repository}.git")
    done = world.pricore.run("lock", "check", str(world.lock), status=1)
    assert "2 of 2 packages cannot be installed" in done.stderr
    assert "acme/tools" in done.stdout


def test_a_pipeline_registers_over_the_api(world: World) -> None:
    """A lock file is the body of a request: registered, checked, listed, and let go."""
    api = "/api/organizations/acme"
    document = json.loads(world.lock.read_text())
    status, body = world.client.ask("PUT", f"{api}/locks/staging", document)
    assert status == 200, body
    assert len(json.loads(body)["data"]["packages"]) == 2
    status, body = world.client.ask("POST", f"{api}/lock-checks", document)
    assert status == 200, body
    assert [item["installable"] for item in json.loads(body)["data"]] == [True, True]
    assert [item["name"] for item in world.client.read(f"{api}/locks")["data"]] == ["staging"]

    padded = document | {"_padding": "x" * 2_000_000}
    assert world.client.ask("PUT", f"{api}/locks/staging", padded)[0] == 200
    try:
        status = world.client.ask("PUT", f"{api}/locks/staging", document | {"_padding": "x" * 9_000_000})[0]
    except (OSError, http.client.HTTPException):  # it is answered before all of it was sent
        status = 413
    assert status == 413
    assert world.client.ask("PUT", f"{api}/locks/..%2Fx", document)[0] == 422
    assert world.client.ask("PUT", f"{api}/locks/empty", {"packages": []})[0] == 422
    assert world.client.ask("DELETE", f"{api}/locks/staging")[0] == 200
    assert world.client.ask("DELETE", f"{api}/locks/staging")[0] == 404


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is no composer.lock"),
        (b"[]", "is no composer.lock"),
        (b'{"packages": [{"name": 5}]}', "is no composer.lock"),
        (b"\xff", "is no composer.lock"),
        (b"[" * 100_000, "is no composer.lock"),
        (b'{"packages": []}', "comes from this registry"),
        (
            b'{"packages": [{"name": "a/b", "version": "1", "dist": {"url": "https://api.github.com/x.zip"}}]}',
            "comes",
        ),
        (None, "cannot read"),
    ],
)
def test_what_is_no_lock_file_is_refused(
    pricore: Pricore, tmp_path: Path, content: bytes | None, message: str
) -> None:
    """One line says what is wrong with it."""
    file = tmp_path / "composer.lock"
    if content is not None:
        file.write_bytes(content)

    assert message in pricore.fail("lock", "register", str(file), "--name", "shop")
    assert message in pricore.fail("lock", "check", str(file))


def test_a_lock_of_another_registry_counts_for_nothing(tmp_path: Path) -> None:
    """Where the registry knows its own URL, archives that are elsewhere are not its own."""
    pricore = Pricore(tmp_path / "data", public_url="https://packages.example.com")
    pricore.found()
    file = tmp_path / "shop" / "composer.lock"
    file.parent.mkdir()

    def write(host: str) -> None:
        dist = {"url": f"https://{host}/org/acme/packages/{NAME}/dev-main/{'a' * 40}.zip", "shasum": "b" * 40}
        package = {"name": NAME, "version": "dev-main", "dist": dist}
        file.write_text(json.dumps({"packages": [package], "packages-dev": None}))

    write("elsewhere.example.com")
    assert "(https://packages.example.com)" in pricore.fail("lock", "register", str(file))
    write("packages.example.com")
    done = pricore.run("lock", "register", str(file))
    assert "Registered shop in acme" in done.stdout
    assert f"warning: {NAME} dev-main cannot be installed now: it is not served" in done.stderr
