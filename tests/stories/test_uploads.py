"""Packages that are in no Git repository: uploaded as zips, installed by Composer, and never lost."""

import contextlib
import http.client
import io
import json
import os
import random
import signal
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from tests.harness import Client, Composer, GitRepository, Pricore

NAME: Final = "acme/words"
API: Final = "/api/organizations/acme/packages"
SCOPES: Final = ("--scope", "packages:read", "--scope", "packages:write")


def pack(name: str = NAME, *, text: str = "one", folder: str = "", **composer: Any) -> bytes:
    """A zip with a package, as a pipeline packs it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{folder}composer.json", json.dumps({"name": name, **composer}))
        archive.writestr(f"{folder}file.txt", text)
    return content.getvalue()


class World:
    """A registry, with a project that requires acme/words."""

    def __init__(self, pricore: Pricore, composer: Composer, url: str) -> None:
        self.pricore = pricore
        self.composer = composer
        self.client = Client(url, pricore.token(*SCOPES))
        self.registry = f"{url}/org/acme"
        self._folder = pricore.data.parent

    def require(self, constraint: str) -> None:
        self.composer.write(require={NAME: constraint}, registry=self.registry)
        self.composer.log_in(self.registry, self.pricore.token())

    def file(self, content: bytes) -> str:
        path = self._folder / "words.zip"
        path.write_bytes(content)
        return str(path)

    def upload(self, content: bytes, *options: str) -> Any:
        """Upload by the command line."""
        return self.pricore.json("package", "upload", "acme", self.file(content), *options)

    def post(self, content: bytes, query: str = "") -> tuple[int, Any]:
        """Upload over the API."""
        return post(self.client, content, query)

    def uploads(self) -> list[str]:
        """The names of all files among the uploads."""
        return sorted(path.name for path in (self.pricore.data / "uploads").rglob("*") if path.is_file())


def post(client: Client, content: bytes, query: str = "") -> tuple[int, Any]:
    status, body = client.send("POST", API + query, content)
    return status, json.loads(body)


@pytest.fixture
def world(pricore: Pricore, composer: Composer) -> Iterator[World]:
    with pricore.serving() as server:
        yield World(pricore, composer, server["url"])


def test_composer_installs_what_was_uploaded(world: World) -> None:
    """By the command line beside a server, or over the API: a client sees it at once, with its checksum."""
    made = world.upload(pack(version="1.0.0", description="Words", folder="words-1.0.0/"))
    assert (made["package"], made["version"], made["kind"]) == (NAME, "1.0.0", "upload")
    world.require("^1.0")
    world.composer.run("update")
    locked = world.composer.locked()[NAME]
    assert locked["dist"] == {
        "type": "zip",
        "url": f"{world.registry}/packages/{NAME}/1.0.0.zip",
        "reference": made["reference"],
        "shasum": made["shasum"],
    }
    assert "source" not in locked
    assert world.composer.installed(NAME, "file.txt") == "one"

    status, document = world.post(pack(text="two"), "?version=v1.1.0")
    assert (status, document["data"]["version"]) == (201, "v1.1.0")
    world.composer.run("update")
    assert world.composer.locked()[NAME]["version"] == "v1.1.0"
    assert world.composer.installed(NAME, "file.txt") == "two"

    (listed,) = world.pricore.json("package", "list", "acme")
    assert (listed["name"], listed["latest_version"]) == (NAME, "v1.1.0")
    shown = world.client.read(f"{API}/{NAME}")["data"]
    assert (shown["repository"], [item["kind"] for item in shown["versions"]]) == (None, ["upload"] * 2)


def test_a_command_uploads_without_a_server(pricore: Pricore, composer: Composer) -> None:
    """What is uploaded while nobody serves is there when somebody does."""
    file = pricore.data.parent / "words.zip"
    file.write_bytes(pack())
    done = pricore.run("package", "upload", "acme", str(file), "--version", "1.0.0")
    assert done.stdout == f"{NAME} 1.0.0 is served.\n"
    with pricore.serving() as server:
        world = World(pricore, composer, server["url"])
        world.require("1.0.0")
        composer.run("update")
        assert composer.installed(NAME, "file.txt") == "one"


def test_a_lock_file_installs_what_a_branch_was(world: World) -> None:
    """A branch is uploaded again and again; what a lock file names of it stays, for any client."""
    world.upload(pack(text="old"), "--version", "dev-main")
    world.require("dev-main")
    world.composer.run("update")
    old = world.client.versions(NAME)["dev-main"]
    assert world.post(pack(text="new"), "?version=dev-main")[0] == 201
    world.composer.forget()
    world.composer.run("install")
    assert world.composer.installed(NAME, "file.txt") == "old"
    assert world.composer.locked()[NAME]["dist"]["reference"] == old["dist"]["reference"]

    world.composer.run("update")
    assert world.composer.installed(NAME, "file.txt") == "new"
    world.client.download(old)
    for encoding in ("gzip", "zstd"):
        status, _ = world.client.ask("HEAD", "/" + old["dist"]["url"].split("/", 3)[3], Accept_Encoding=encoding)
        assert status == 200


def test_a_release_stays_what_it_is(world: World) -> None:
    """The same content again changes nothing, however it was packed; another one is refused."""
    first = world.upload(pack(version="1.0.0"))
    before = world.client.ask("GET", f"/org/acme/p2/{NAME}.json")[1]
    assert world.upload(pack(version="1.0.0", folder="x/")) == first
    assert world.post(pack(version="1.0.0"), "?version=1.0") == (201, {"data": first})
    status, document = world.post(pack(version="1.0.0", text="two"))
    assert status == 409
    assert f"{NAME} 1.0.0 is there already with another content" in document["message"]
    message = world.pricore.fail("package", "upload", "acme", world.file(pack(text="two")), "--version", "v1.0")
    assert "is there already with another content" in message

    assert world.client.ask("GET", f"/org/acme/p2/{NAME}.json")[1] == before
    assert len(world.uploads()) == 1


def test_a_name_has_one_origin(world: World, make_repository: Callable[[str], GitRepository]) -> None:
    """What comes from a repository cannot be uploaded to, and no repository takes over what is uploaded."""
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"})
    upstream.tag("1.0.0")
    world.pricore.run("repo", "add", "acme", upstream.url)
    status, document = world.post(pack("acme/library", version="2.0.0"))
    assert status == 409
    assert document["message"].startswith("the package acme/library comes from a repository: push there")
    refused = world.pricore.fail("package", "upload", "acme", world.file(pack("acme/library", version="2.0.0")))
    assert f"the package acme/library comes from {upstream.url}" in refused

    world.upload(pack(version="1.0.0"))
    other = make_repository("words")
    other.commit({"name": NAME})
    assert f"the package {NAME} is uploaded" in world.pricore.fail("repo", "add", "acme", other.url)
    assert set(world.client.versions(NAME)) == {"1.0.0"}

    world.pricore.run("package", "delete", "acme", NAME, "--yes")
    world.pricore.run("repo", "add", "acme", other.url)
    assert set(world.client.versions(NAME)) == {"dev-main"}


def test_what_is_deleted_goes_with_its_archive(world: World) -> None:
    """Unless a registered lock file names it; what another version has as well stays."""
    world.upload(pack(version="1.0.0"))
    world.upload(pack(text="two"), "--version", "dev-main")
    world.upload(pack(text="two"), "--version", "2.0.0")
    world.require("1.0.0")
    world.composer.run("update")
    lock = str(world.composer.folder / "composer.lock")
    world.pricore.run("lock", "register", lock, "--name", "production")
    assert "the lock production names" in world.pricore.fail("package", "delete", "acme", NAME, "1.0.0", "--yes")
    assert "the lock production names" in world.pricore.fail("package", "delete", "acme", NAME, "--yes")
    world.pricore.run("lock", "check", lock)

    world.pricore.run("lock", "remove", "acme", "production", "--yes")
    entry = world.client.versions(NAME)["1.0.0"]
    world.pricore.run("package", "delete", "acme", NAME, "1.0.0", "--yes")
    assert world.client.ask("GET", "/" + entry["dist"]["url"].split("/", 3)[3])[0] == 404
    world.pricore.run("package", "delete", "acme", NAME, "dev-main", "--yes")
    world.client.download(world.client.versions(NAME)["2.0.0"])
    world.composer.forget()
    world.composer.run("install", fails=True)
    world.pricore.run("package", "delete", "acme", NAME, "--yes")
    assert world.uploads() == []
    assert [*(world.pricore.data / "dists").glob("*/*")] == []


def test_an_organization_goes_with_its_uploads(world: World) -> None:
    """And takes none of what another one has, though it is the same."""
    world.pricore.run("org", "create", "other")
    file = world.file(pack(version="1.0.0"))
    world.pricore.run("package", "upload", "other", file)
    world.upload(pack(version="1.0.0"))
    world.pricore.run("org", "delete", "other", "--yes")
    assert len(world.uploads()) == 1
    world.client.download(world.client.versions(NAME)["1.0.0"])
    world.pricore.run("org", "delete", "acme", "--yes")
    assert world.uploads() == []


def test_all_that_was_made_of_uploads_can_be_made_again(world: World) -> None:
    """The folder of archives can go at any time: what was uploaded is in another one."""
    world.upload(pack(version="1.0.0"))
    entry = world.client.versions(NAME)["1.0.0"]
    world.client.download(entry)
    for path in (world.pricore.data / "dists").glob("*/*"):
        path.unlink()
    world.upload(pack("acme/other", version="1.0.0"))  # what was answered from memory is asked for anew
    world.client.download(entry)
    (kept,) = (world.pricore.data / "dists").glob("*/*")
    assert kept.name == f"{entry['dist']['shasum']}.zip.zst"


def test_an_upload_that_is_lost_is_told(world: World) -> None:
    """Where a disk lost an archive, one line says so, and the same zip uploaded again mends it."""
    content = pack(version="1.0.0")
    world.upload(content)
    entry = world.client.versions(NAME)["1.0.0"]
    (kept,) = (world.pricore.data / "uploads").glob("*/*")
    kept.write_bytes(kept.read_bytes()[:-10])
    status, body = world.client.ask("GET", "/" + entry["dist"]["url"].split("/", 3)[3])
    assert (status, "its log has the reason" in json.loads(body)["message"]) == (500, True)
    kept.unlink()
    assert world.client.ask("GET", "/" + entry["dist"]["url"].split("/", 3)[3])[0] == 500
    log = (world.pricore.data.parent / "data-serve.log").read_text()
    assert log.count("is lost or damaged") == 2
    world.upload(content)
    world.client.download(entry)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"no zip", (), "the archive is refused: it is no zip"),
        (pack(), (), "it has no version: give one"),
        (pack("words", version="1.0.0"), (), '"words" is not a package name'),
        (pack(version="1.0.0"), ("--version", "1.1.0"), 'version "1.1.0" does not match version "1.0.0"'),
    ],
    ids=lambda value: (
        "zip" if isinstance(value, bytes) else None
    ),  # a zip has the time in it: workers would differ
)
def test_what_cannot_be_a_version_is_refused(
    pricore: Pricore, content: bytes, options: tuple[str, ...], message: str
) -> None:
    """One line says why, and nothing is left behind."""
    file = pricore.data.parent / "words.zip"
    file.write_bytes(content)
    assert message in pricore.fail("package", "upload", "acme", str(file), *options)
    assert [path for path in (pricore.data / "uploads").rglob("*") if path.is_file()] == []


def test_what_is_no_file_is_refused(pricore: Pricore, tmp_path: Path) -> None:
    """And what is larger than the limit, before it is read."""
    large = tmp_path / "large.zip"
    with large.open("wb") as file:
        file.truncate(101 * 1024**2)
    assert "more than the 100 MB that upload_limit allows" in pricore.fail("package", "upload", "acme", str(large))
    assert "cannot read" in pricore.fail("package", "upload", "acme", str(tmp_path))


def test_a_large_upload_takes_no_memory(pricore: Pricore) -> None:
    """Neither the megabytes that come, nor those that another one unpacks to, are ever all in memory."""
    zeros = io.BytesIO()
    with zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("composer.json", json.dumps({"name": "acme/zeros", "version": "1.0.0"}))
        with archive.open("data.bin", "w") as file:
            for _ in range(256):
                file.write(bytes(1024**2))
    with pricore.serving() as server:
        client = Client(server["url"], pricore.token(*SCOPES))
        assert post(client, pack("acme/first", version="1.0.0"))[0] == 201
        before = peak(server["pid"])
        for content in (large(64), zeros.getvalue()):
            assert post(client, content)[0] == 201
        body = client.download(client.versions(NAME)["1.0.0"])
        assert len(body) > 64 * 1024**2
        assert peak(server["pid"]) - before < 48 * 1024**2


def large(megabytes: int) -> bytes:
    """A zip of many megabytes that cannot be packed any smaller."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("composer.json", json.dumps({"name": NAME, "version": "1.0.0"}))
        archive.writestr("data.bin", random.Random(5).randbytes(megabytes * 1024**2))
    return content.getvalue()


def peak(pid: int) -> int:
    """The most memory that a process has had, bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.parametrize("over", ["api", "command"])
def test_killed_at_any_moment_it_is_there_whole_or_not_at_all(pricore: Pricore, over: str) -> None:
    """Nothing is advertised that cannot be installed, and what is left over goes at the next start."""
    file = pricore.data.parent / "words.zip"
    file.write_bytes(pack("acme/first", version="1.0.0"))
    pricore.run("package", "upload", "acme", str(file))
    content = large(24)
    file.write_bytes(content)
    secret = pricore.token(*SCOPES)
    uploads = pricore.data / "uploads"
    halves = 0
    for seconds in (0, 0.1, 0.3):
        with begun(pricore, over, file, secret):
            # from when the first byte is on the disk, ever later
            pricore.wait(lambda: any(uploads.glob(".new-*")))
            time.sleep(seconds)
        halves += any(uploads.glob(".new-*"))
        with pricore.serving() as server:
            client = Client(server["url"], secret)
            found = client.versions(NAME)
            entries = (*found.values(), *client.versions("acme/first").values())
            pricore.wait(partial(has_only, uploads, {entry["dist"]["shasum"] for entry in entries}))
            for entry in found.values():
                client.download(entry)
        if found:
            pricore.run("package", "delete", "acme", NAME, "--yes")
    assert halves


def has_only(uploads: Path, names: set[str]) -> bool:
    """Whether those archives are there, and nothing else."""
    return names == {path.name.partition(".")[0] for path in uploads.rglob("*.*")}


@contextlib.contextmanager
def begun(pricore: Pricore, over: str, file: Path, secret: str) -> Iterator[None]:
    """An upload that goes on, by a command or over the API; whoever takes it is killed at the end."""
    command = ("package", "upload", "acme", str(file)) if over == "command" else ("serve", "--port", "0", "--json")
    process = pricore.start(*command, log=pricore.data.parent / "kill.log")
    assert process.stdout is not None
    client = threading.Thread(target=send, args=(process, secret, file.read_bytes()))
    try:
        if over == "api":
            client.start()
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if over == "api":
            client.join()
        process.stdout.close()


def send(server: subprocess.Popen[str], secret: str, content: bytes) -> None:
    """Upload to a server that goes away meanwhile, as soon as it says where it is."""
    text = ""
    assert server.stdout is not None
    while not text.endswith("}\n"):
        text += server.stdout.readline()
    with contextlib.suppress(OSError, http.client.HTTPException):
        post(Client(json.loads(text)["url"], secret), content)
