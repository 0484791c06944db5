"""A disk without space: what is served is served on, the rest is refused in one line until there is space."""

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.harness import Client, GitRepository, Pricore

NAME: Final = "acme/library"
_SCOPES: Final = (
    "packages:read",
    "packages:write",
    "repositories:read",
    "repositories:write",
    "tokens:read",
    "tokens:write",
)


class Disk:
    """A small disk, mounted on a folder, that can be filled to the last byte."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, *, leave: int = 0) -> None:
        """Leave that many bytes, and nothing that the database had set aside."""
        with contextlib.closing(sqlite3.connect(self.folder / "pricore.sqlite3")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with self._ballast.open("wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        pass
            file.truncate(file.tell() - leave)

    def free(self) -> None:
        self._ballast.unlink()


class World:
    """A registry on a small disk, with one package of which one archive is kept and another not made yet."""

    def __init__(self, folder: Path, disk: Disk, upstream: GitRepository) -> None:
        self.disk = disk
        self.upstream = upstream
        self.pricore = Pricore(
            disk.folder, git_timeout="30", sync_interval="3600", sync_workers="1", inline_limit="0"
        )
        self.pricore.found()
        upstream.commit({"name": NAME}, files={"a.txt": "one"})
        upstream.tag("1.0.0")
        upstream.commit(files={"a.txt": "two"})
        upstream.tag("1.1.0")
        self.pricore.run("repo", "add", "acme", upstream.url)
        self.id: str = self.show()["id"]
        self.secret = self.pricore.token(*(part for scope in _SCOPES for part in ("--scope", scope)))
        self.log = folder / "data-serve.log"

    @contextlib.contextmanager
    def serving(self) -> Iterator[Client]:
        with self.pricore.serving() as served:
            client = Client(served["url"], self.secret)
            client.download(client.versions(NAME)["1.0.0"])
            yield client

    def show(self, url: str | None = None) -> Any:
        return self.pricore.json("repo", "show", "acme", url or self.upstream.url)

    def sync_path(self, repository_id: str | None = None) -> str:
        return f"/api/organizations/acme/repositories/{repository_id or self.id}/sync"

    def let_time_pass(self) -> None:
        """Let what is due one day be due now."""
        with contextlib.closing(sqlite3.connect(self.disk.folder / "pricore.sqlite3")) as connection:
            connection.execute("UPDATE repositories SET next_sync_at = unixepoch()")
            connection.commit()


@pytest.fixture
def world(tmp_path: Path, make_repository: Callable[[str], GitRepository]) -> Iterator[World]:
    folder = tmp_path / "data"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.decode().strip()}")
    try:
        yield World(tmp_path, Disk(folder), make_repository("library"))
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _refused(answer: tuple[int, bytes]) -> None:
    """It is answered like every failure of the registry's own, with the id under which the log has the reason."""
    status, body = answer
    assert status == 500, body
    assert "its log has the reason" in json.loads(body)["message"]


def test_what_is_served_needs_no_space(world: World) -> None:
    """Metadata and archives are served; tokens, webhooks and syncs are refused, and taken after it."""
    webhook = world.pricore.json("repo", "webhook", "acme", world.id, "--provider", "git")["secret"]

    def push() -> tuple[int, bytes]:
        return client.ask("POST", f"/webhooks/git/{world.id}", {}, X_Webhook_Secret=webhook)

    with world.serving() as client:
        before = client.versions(NAME)
        tokens = "/api/organizations/acme/tokens"
        world.disk.fill()
        assert client.read("/org/acme/packages.json")["available-packages"] == [NAME]
        assert client.versions(NAME) == before
        client.download(before["1.0.0"])
        client.download(before["1.1.0"])
        _refused(client.ask("POST", tokens, {"name": "no space"}))
        _refused(push())
        _refused(client.ask("POST", world.sync_path()))
        world.upstream.tag("1.2.0")
        for command in (["token", "create", "acme", "x"], ["org", "create", "other"], ["repo", "sync", "acme"]):
            assert "disk is full; make room on its disk" in world.pricore.fail(*command)

        world.disk.free()
        status, body = client.ask("POST", tokens, {"name": "space"})
        assert status == 201, body
        assert [token["name"] for token in client.read(tokens)["data"]][1:] == ["space"]
        assert push()[0] == 200
        world.pricore.wait(lambda: "1.2.0" in client.versions(NAME))
        for entry in client.versions(NAME).values():
            client.download(entry)
        assert not list(world.disk.folder.rglob(".new-*"))
    assert len(world.log.read_text().splitlines()) < 20, "it repeats itself"


def test_a_sync_without_space_is_tried_again(world: World) -> None:
    """What cannot be fetched for want of space is said so, and comes by itself once there is some."""
    (world.upstream.folder / "large.bin").write_bytes(os.urandom(4 << 20))
    with world.serving() as client:
        before = client.versions(NAME)
        world.disk.fill(leave=2 << 20)
        world.upstream.commit()
        world.upstream.tag("1.2.0")
        assert client.ask("POST", world.sync_path())[0] == 200
        world.pricore.wait(lambda: world.show()["sync_status"] == "failed")
        shown = world.show()
        assert "no space" in shown["sync_error"].lower()
        assert str(world.disk.folder) not in shown["sync_error"]
        assert shown["failing_since"] < shown["next_sync_at"]
        assert client.versions(NAME) == before
        client.download(before["1.0.0"])

        world.disk.free()
        world.let_time_pass()
        world.pricore.wait(lambda: "1.2.0" in client.versions(NAME))
        assert world.show()["sync_error"] is None


def test_the_queue_goes_on_by_itself(world: World) -> None:
    """A full disk in the middle of a sync, where not even the failure can be recorded, ends no worker."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"git://127.0.0.1:{listener.getsockname()[1]}/silent"
        world.pricore.run("repo", "add", "acme", url, "--no-sync")
        silent = world.show(url)["id"]
        with world.serving() as client:
            assert client.ask("POST", world.sync_path(silent))[0] == 200
            connection, _ = listener.accept()
            world.upstream.tag("1.2.0")
            assert client.ask("POST", world.sync_path())[0] == 200
            world.disk.fill()
            connection.close()
            world.pricore.wait(lambda: "disk is full" in world.log.read_text())
            world.disk.free()
            listener.close()
            world.pricore.wait(lambda: "1.2.0" in client.versions(NAME))
            world.pricore.wait(lambda: world.show(url)["sync_status"] == "failed")
            # refused, or reset where it was tried again just before
            assert f"cannot reach {url}: " in world.show(url)["sync_error"]


def test_an_upload_without_space_is_as_if_it_had_never_come(world: World, tmp_path: Path) -> None:
    """Whether there is none for what comes or for what is made of it; afterwards the same is taken."""
    file = tmp_path / "words.zip"
    upload = ("package", "upload", "acme", str(file))
    api = "/api/organizations/acme/packages"
    with world.serving() as client:
        for size, leave in ((100, 0), (1 << 20, 0), (1 << 20, 1 << 19)):
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("composer.json", json.dumps({"name": "acme/words", "version": "1.0.0"}))
                archive.writestr("data.bin", os.urandom(size))
            world.disk.fill(leave=leave)
            assert "No space left on device" in world.pricore.fail(*upload)
            _refused(client.send("POST", api, file.read_bytes()))
            assert [item["name"] for item in client.read(api)["data"]] == [NAME]
            assert not [path for path in (world.disk.folder / "uploads").rglob("*") if path.is_file()]
            world.disk.free()
        world.pricore.run(*upload)
        assert client.send("POST", api, file.read_bytes())[0] == 201
        client.download(client.versions("acme/words")["1.0.0"])


def test_a_start_without_space_says_so(world: World) -> None:
    """The one line says what is full; nothing is damaged."""
    world.disk.fill()
    assert "space" in world.pricore.fail("serve", "--port", "0")
    world.disk.free()
    with world.serving() as client:
        assert client.versions(NAME)


def test_a_migration_without_space_is_refused(world: World) -> None:
    """Without room for a copy nothing is begun; with it, the server starts as if nothing had been."""
    path = world.disk.folder / "pricore.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {schema - 1}")
    world.disk.fill(leave=512 * 1024)
    before = path.read_bytes()
    refusal = world.pricore.fail("serve", "--port", "0")
    assert "has to be migrated, and cannot be copied before that" in refusal
    assert "MB are free" in refusal
    assert [path.read_bytes(), [*world.disk.folder.glob("*.schema-*")]] == [before, []]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema}")
    world.disk.free()
    with world.serving() as client:
        assert client.versions(NAME)


def test_a_backup_without_space_leaves_nothing(world: World, tmp_path: Path) -> None:
    """Neither half a backup beside the one before, nor half a registry; with space both go well."""
    backup = world.disk.folder / "backup"
    backup.write_text("the one before")
    other = Pricore(world.disk.folder / "other")
    world.pricore.run("backup", str(tmp_path / "backup"), "--with-repositories")
    before = sorted(world.disk.folder.rglob("*"))
    world.disk.fill(leave=128 * 1024)
    assert "disk is full" in world.pricore.fail("backup", str(backup))
    assert "No space left on device" in other.fail("restore", str(tmp_path / "backup"))
    world.disk.free()
    assert sorted(world.disk.folder.rglob("*")) == before
    assert backup.read_text() == "the one before"

    world.pricore.run("backup", str(backup))
    other.run("restore", str(tmp_path / "backup"))
    assert [item["slug"] for item in other.json("org", "list")] == ["acme"]
