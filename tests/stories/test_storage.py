"""Archives in a folder and in a bucket: kept, pruned, verified, moved, and installed by Composer all the while."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from pricore.archives.compression import read_plain
from tests.harness import Client, Composer, DataFolder, GitRepository, Place, Pricore, any_composer, prose
from tests.swift import S3

NAME: Final = "acme/library"
UNPACK: Final[dict[str, Callable[[bytes], bytes]]] = {
    "zstd": lambda body: b"".join(read_plain(io.BytesIO(body))),
    "gzip": gzip.decompress,
    "identity": lambda body: body,
}
VERSIONS: Final = ("1.0.0", "1.1.0", "1.2.0")


class World:
    """A registry with three releases of a package, which keeps its archives in a place."""

    def __init__(self, data: Path, upstream: GitRepository, place: Place, **settings: str) -> None:
        self.pricore = Pricore(data, rate_limits="off", **place.settings, **settings)
        self.upstream = upstream
        self.place = place
        self.pricore.found()
        for version in VERSIONS:
            self.release(version)
        self.pricore.run("repo", "add", "acme", upstream.url)
        self.secret = self.pricore.token()

    def release(self, version: str, content: str = "") -> None:
        self.upstream.commit({"name": NAME}, files={"file.txt": content or f"{version}\n" * 1000})
        self.upstream.tag(version)

    @contextlib.contextmanager
    def serving(self) -> Iterator[Client]:
        with self.pricore.serving() as server:
            yield Client(server["url"], self.secret)

    def database(self) -> contextlib.closing[sqlite3.Connection]:
        path = self.pricore.data / "pricore.sqlite3"
        return contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=5))

    def uses(self) -> set[str]:
        """The checksums of archives that are known to have been asked for."""
        with self.database() as connection:
            return {shasum for (shasum,) in connection.execute("SELECT shasum FROM dist_uses")}

    def lose_mirrors(self) -> None:
        shutil.rmtree(self.pricore.data / "repositories")

    def kept(self) -> set[str]:
        """The checksums of all that is kept, whatever else there is."""
        return {match[1] for name in self.place.files() if (match := re.search(r"/([0-9a-f]{40})\.zip", name))}


@pytest.fixture
def world(tmp_path: Path, make_repository: Callable[[str], GitRepository], place: Place) -> World:
    return World(tmp_path / "data", make_repository("library"), place)


def download(client: Client) -> dict[str, str]:
    """Download every release, unpacked, which no server has in its memory; gives the checksum of each."""
    found = {}
    for version in VERSIONS:
        entry = client.versions(NAME)[version]
        path = "/" + entry["dist"]["url"].split("/", 3)[3]
        status, body = client.ask("GET", path)
        assert status == 200, body
        found[version] = hashlib.sha1(body).hexdigest()
        assert found[version] == entry["dist"]["shasum"]
    return found


def log_in(composer: Composer, client: Client, url: str) -> None:
    registry = f"{url}/org/acme"
    composer.write(require={NAME: "1.0.0"}, registry=registry)
    composer.log_in(registry, client.secret)


@pytest.mark.parametrize("redirect", ["off", "on"])
def test_composer_installs_from_a_bucket(
    tmp_path: Path, make_repository: Callable[[str], GitRepository], composer: Composer, s3: S3, redirect: str
) -> None:
    """Streamed, or by a redirect to the bucket: the archive is there, installed, and has its checksum."""
    world = World(tmp_path / "data", make_repository("library"), s3, dist_redirect=redirect)
    with world.pricore.serving() as server:
        log_in(composer, Client(server["url"], world.secret), server["url"])
        composer.run("update")
        assert composer.installed(NAME, "file.txt").startswith("1.0.0")
        assert world.kept() == {composer.locked()[NAME]["dist"]["shasum"]}
        assert not (world.pricore.data / "dists").exists() or DataFolder(world.pricore.data).files() == {}
        # by the lock file, as a new machine
        composer.forget()
        output = composer.run("install", "-vvv")
        assert (f"{s3.endpoint}/{s3.bucket}" in output) == (redirect == "on")
        assert composer.installed(NAME, "file.txt").startswith("1.0.0")
    assert s3.settings["s3_secret_key"] not in (tmp_path / "data-serve.log").read_text()


def test_a_large_archive_goes_in_parts(
    tmp_path: Path, make_repository: Callable[[str], GitRepository], s3: S3
) -> None:
    """What is larger than one upload takes is whole in the bucket, and comes back whole."""
    world = World(tmp_path / "data", make_repository("library"), s3)
    world.upstream.write({"noise.bin": os.urandom(20 * 1024 * 1024)})
    world.release("2.0.0")
    world.pricore.run("repo", "sync", "acme", world.upstream.url)
    with world.serving() as client:
        client.download(client.versions(NAME)["2.0.0"])
    ((_, size),) = s3.files().items()
    assert size > 20 * 1024 * 1024


@any_composer
def test_archives_become_smaller_while_they_are_served(world: World, composer: Composer) -> None:
    """Some time after the first download they take less, in every encoding with their checksum.

    Composer installs them, and who stops the server in the middle of it loses nothing.
    """
    world.release("2.0.0", prose(300_000))
    world.release("3.0.0", prose(3_000_000))
    world.pricore.run("repo", "sync", "acme")
    with world.pricore.serving() as server:
        client = Client(server["url"], world.secret)
        dist = client.versions(NAME)["2.0.0"]["dist"]
        name = f"{dist['shasum'][:2]}/{dist['shasum']}.zip.zst"
        path = "/" + dist["url"].split("/", 3)[3]
        status, first = client.ask("GET", path, Accept_Encoding="zstd")
        assert status == 200
        Pricore.wait(lambda: name in world.place.files() and world.place.files()[name] < 0.95 * len(first))
        for encoding, unpack in UNPACK.items():
            status, body = client.ask("GET", path, Accept_Encoding=encoding)
            assert (status, hashlib.sha1(unpack(body)).hexdigest()) == (200, dist["shasum"])
            if encoding == "zstd":
                assert body == world.place.read(name)
        composer.write(require={NAME: "2.0.0"}, registry=f"{server['url']}/org/acme")
        composer.log_in(f"{server['url']}/org/acme", world.secret)
        composer.run("update")
        assert composer.installed(NAME, "file.txt") == prose(300_000)

        large = client.versions(NAME)["3.0.0"]["dist"]
        client.ask("GET", "/" + large["url"].split("/", 3)[3], Accept_Encoding="zstd")
        folder = world.pricore.data / "dists"
        Pricore.wait(lambda: any(path.stat().st_size for path in folder.glob("*/.new-*")))
    assert [*folder.glob("*/.new-*")] == []
    assert {large["shasum"], dist["shasum"]} <= world.kept()
    assert world.pricore.json("verify")["faults"] == []


@any_composer
def test_pruning_never_takes_what_a_lock_names(world: World, composer: Composer) -> None:
    """What is pruned is made again; what a registered lock names is installed with upstream and mirror gone."""
    with world.pricore.serving() as server:
        client = Client(server["url"], world.secret)
        log_in(composer, client, server["url"])
        composer.run("update")
        world.pricore.run("lock", "register", str(composer.folder / "composer.lock"), "--name", "production")
        shasums = download(client)
        before = world.place.files()

        would = world.pricore.json("dist", "prune", "--max-size", "0", "--dry-run")
        assert {item["shasum"] for item in would["pruned"]} == {shasums["1.1.0"], shasums["1.2.0"]}
        assert world.place.files() == before
        assert "2 files" in world.pricore.run("dist", "prune", "--max-size", "0").stdout
        assert world.kept() == {shasums["1.0.0"]}
        assert download(client) == shasums
        assert world.kept() == {*shasums.values()}

        shutil.rmtree(world.upstream.folder)
        world.pricore.run("dist", "prune", "--max-size", "0", "--older-than", "0s")
        assert world.kept() == {shasums["1.0.0"]}
        assert download(client) == shasums
        # without the mirror nothing could be made again, so that nothing goes
        world.lose_mirrors()
        assert world.pricore.json("dist", "prune", "--max-size", "0", "--older-than", "0s")["pruned"] == []
        composer.forget()
        composer.run("install")
        assert composer.installed(NAME, "file.txt").startswith("1.0.0")


def test_pruning_begins_with_what_nobody_asks_for(world: World) -> None:
    """What was asked for stays by its age, and the longest unused goes first where there is too much."""
    with world.serving() as client:
        shasums = download(client)
        Pricore.wait(lambda: world.uses() == {*shasums.values()})
        client.ask("GET", f"/org/acme/packages/{NAME}/1.0.0.zip", Accept_Encoding="gzip")
    with world.database() as connection:
        for version, seconds in (("1.2.0", 2000), ("1.1.0", 1000)):
            connection.execute(
                "UPDATE dist_uses SET used_at = unixepoch() + ? WHERE shasum = ?", (seconds, shasums[version])
            )

    def prune(*options: str) -> list[tuple[str, str]]:
        done = world.pricore.json("dist", "prune", *options)
        return [(item["shasum"], item["reason"]) for item in done["pruned"]]

    assert prune("--older-than", "90d") == []
    unasked = [(shasums["1.0.0"], "nobody asked for it")] * 2
    # the times that a store tells are of whole seconds, and may be those of a second to come
    Pricore.wait(lambda: prune("--older-than", "1s", "--dry-run") == unasked)
    assert prune("--older-than", "1s") == unasked
    size = max(world.place.files().values())
    assert prune("--max-size", str(size)) == [(shasums["1.1.0"], "there is no room for it")]
    assert world.kept() == {shasums["1.2.0"]}
    # pruned on purpose: nobody misses it
    assert world.pricore.json("verify")["faults"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "say what may stay"),
        (("--older-than", "90"), "'90' is no span of time"),
        (("--max-size", "5X"), "'5X' is no size"),
    ],
)
def test_what_is_to_be_pruned_has_to_be_said(pricore: Pricore, options: tuple[str, ...], message: str) -> None:
    """There is no size and no age that would be right for everybody."""
    assert message in pricore.fail("dist", "prune", *options)


def test_the_server_prunes_by_itself(tmp_path: Path, make_repository: Callable[[str], GitRepository]) -> None:
    """With a setting, what nobody has asked for in so many days is gone after the start of the server."""
    world = World(tmp_path / "data", make_repository("library"), DataFolder(tmp_path / "data"), dist_days="90")
    with world.serving() as client:
        shasums = download(client)
        Pricore.wait(lambda: world.uses() == {*shasums.values()})
    with world.database() as connection:
        connection.execute("UPDATE dist_uses SET used_at = 1 WHERE shasum <> ?", (shasums["1.1.0"],))
    for name in world.place.files():
        os.utime(world.pricore.data / "dists" / name, (1, 1))
    with world.serving() as client:
        Pricore.wait(lambda: world.kept() == {shasums["1.1.0"]})
        assert download(client) == shasums


def faults(document: Any) -> dict[str, tuple[str, bool]]:
    return {item["version"]: (item["problem"], item["mended"]) for item in document["faults"]}


def test_verify_mends_what_is_damaged_or_gone(world: World) -> None:
    """While it is served: each is told with what was wrong, and is what was advertised afterwards."""
    with world.serving() as client:
        shasums = download(client)
        Pricore.wait(lambda: world.uses() == {*shasums.values()})
        before = world.place.files()
        names = {name[3:43]: name for name in before}
        assert world.pricore.json("verify") == {"advertised": 3, "uploaded": 0, "kept": 3, "made": 0, "faults": []}

        cut, other, gone = (names[shasums[version]] for version in VERSIONS)
        orphan = f"ab/{'ab' * 20}.zip.gz"
        content = world.place.read(cut)
        world.place.write(cut, content[:60])
        world.place.write(other, content)
        world.place.delete(gone)
        world.place.write(orphan, b"nobody knows")
        done = world.pricore.json("verify")
        assert faults(done) == {
            "1.0.0": (f"it is damaged: its checksum is {hashlib.sha1(b'').hexdigest()}", True),
            "1.1.0": (f"it is damaged: its checksum is {shasums['1.0.0']}", True),
            "1.2.0": ("it is not kept any more", True),
            "": ("it is damaged: it cannot be unpacked", True),
        }
        assert world.place.files() == before
        assert world.place.read(cut) == content
        assert world.pricore.json("verify")["faults"] == []
        assert download(client) == shasums


def test_verify_fails_where_something_cannot_be_served(world: World) -> None:
    """What is damaged and cannot be made again, and what git would make otherwise, ends it with 1."""
    with world.serving() as client:
        path = "/" + client.versions(NAME)["1.0.0"]["dist"]["url"].split("/", 3)[3]
        assert client.ask("GET", path, Accept_Encoding="gzip")[0] == 200
        Pricore.wait(lambda: len(world.uses()) == 1)
    assert world.pricore.json("verify", "--all") == {
        "advertised": 3,
        "uploaded": 0,
        "kept": 1,
        "made": 2,
        "faults": [],
    }
    with world.database() as connection:
        connection.execute(
            """
            UPDATE dists SET shasum = ? FROM versions
            WHERE version = '1.1.0' AND dists.reference = versions.reference
            """,
            ("0" * 40,),
        )
    done = world.pricore.run("verify", "--all", status=1)
    assert "another archive is made of it: its checksum is " in done.stdout
    assert "no archive with the advertised checksum is on record" in done.stdout
    assert "error: 2 archives that were advertised cannot be served" in done.stderr

    world.lose_mirrors()
    (name,) = world.place.files()
    world.place.write(name, world.place.read(name)[:50])
    found = faults(world.pricore.json("verify", status=1))
    assert not any(mended for _, mended in found.values())
    assert "it is damaged: it cannot be unpacked, and cannot be made again: " in found["1.0.0"][0]
    assert found["1.2.0"][0] == "it is not kept, and git has not what it is made of"


def test_an_upload_is_not_lost_with_what_is_kept_of_it(world: World, tmp_path: Path) -> None:
    """Pruned, it is made again of the upload; where that is damaged, nothing is pruned and `verify` says so."""
    package = tmp_path / "words.zip"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("composer.json", json.dumps({"name": "acme/words", "version": "1.0.0"}))
    world.pricore.run("package", "upload", "acme", str(package))
    with world.serving() as client:
        entry = client.versions("acme/words")["1.0.0"]
        client.download(entry)
        assert len(world.pricore.json("dist", "prune", "--max-size", "0")["pruned"]) == 1
        client.download(entry)
        assert world.kept() == {entry["dist"]["shasum"]}
        assert world.pricore.json("verify")["faults"] == []

        (upload,) = (world.pricore.data / "uploads").rglob("*.zst")
        upload.write_bytes(b"damaged")
        (fault,) = world.pricore.json("verify", status=1)["faults"]
        assert (fault["package"], fault["version"], fault["mended"]) == ("acme/words", "1.0.0", False)
        assert "is lost or damaged: put it back from a backup" in fault["problem"]
        upload.unlink()
        assert world.pricore.json("dist", "prune", "--max-size", "0")["pruned"] == []
        client.download(entry)


@pytest.mark.long
@any_composer
def test_a_move_that_is_killed_goes_on(
    tmp_path: Path, make_repository: Callable[[str], GitRepository], composer: Composer, s3: S3
) -> None:
    """To the bucket and back while it is served: killed in the middle nothing is missing, and it can go on."""
    folder = DataFolder(tmp_path / "data")
    world = World(tmp_path / "data", make_repository("library"), folder)
    for number in range(21):
        world.release(f"2.{number}.0")
    world.pricore.run("repo", "sync", "acme", world.upstream.url)

    def whole(place: DataFolder | S3) -> dict[str, int]:
        """Without the half of a file that was killed on its way: that stays until the next start."""
        return {name: size for name, size in place.files().items() if "/.new-" not in name}

    def download_all(client: Client) -> None:
        for entry in client.versions(NAME).values():
            client.download(entry)

    with world.serving() as client:
        download_all(client)
    before = whole(folder)
    assert len(before) == 24
    message = world.pricore.fail("dist", "move", "--to", "bucket")
    assert "dist_storage names no bucket" in message

    world.pricore = Pricore(tmp_path / "data", rate_limits="off", **s3.settings)
    with world.pricore.serving() as server:
        client = Client(server["url"], world.secret)
        download_all(client)
        for target, there, here in (("bucket", s3, folder), ("folder", folder, s3)):
            with world.pricore.background("dist", "move", "--to", target) as process:
                Pricore.wait(lambda there=there: len(whole(there)) > 5)  # type: ignore[misc]
                process.send_signal(signal.SIGKILL)
                process.wait()
            assert 0 < len(whole(here)) < 24
            download_all(client)
            world.pricore.run("dist", "move", "--to", target)
            assert whole(here) == {}
            assert whole(there) == before
            download_all(client)
            assert world.pricore.json("dist", "move", "--to", target) == {"moved": 0, "failed": {}}
        log_in(composer, client, server["url"])
        composer.run("update")

        name = min(before)
        folder.write(name, folder.read(name)[:40])
        done = world.pricore.run("dist", "move", "--to", "bucket", status=1)
        assert f"warning: {name} in {folder.path}: it is damaged" in done.stderr
        assert "error: 1 files stayed where they are: `pricore verify` mends them" in done.stderr
        # beside it may be the half of a file that was killed on its way, until the next start
        assert [*whole(folder)] == [name]
        assert world.pricore.json("verify")["faults"][0]["mended"] is True
        assert (whole(folder), whole(s3)) == ({}, before)


def test_without_the_store_commands_fail_in_one_line(world: World, tmp_path: Path) -> None:
    """A store that cannot be reached is told with its address and why, and deleting goes on without it."""
    pricore = Pricore(
        tmp_path / "data",
        dist_storage="s3://bucket/prefix",
        s3_endpoint="http://127.0.0.1:1",
        s3_access_key="key",
        s3_secret_key="a-secret",
    )
    for command in (("dist", "prune", "--max-size", "1G"), ("dist", "move", "--to", "folder"), ("verify",)):
        message = pricore.fail(*command)
        assert "cannot list s3://bucket/prefix: HTTP error: error sending request" in message
        assert "a-secret" not in message
    # what speaks S3 has threads that abort the process if they meet Python being torn down: it never is
    program = (
        "import atexit, sys; from pricore.cli import main; "
        "atexit.register(print, 'torn down'); sys.argv = ['pricore', 'verify']; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env=pricore.environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: cannot list s3://bucket/prefix: ")
    done = pricore.run("package", "delete", "acme", NAME, "--yes")
    assert "cannot delete archives in s3://bucket/prefix" in done.stderr
    assert world.pricore.json("package", "list", "acme") == []
