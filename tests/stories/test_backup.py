"""A backup that is taken while the registry is used is a whole registry, on another machine too."""

import asyncio
import contextlib
import gc
import hashlib
import io
import json
import random
import shutil
import signal
import stat
import subprocess
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import zstandard

from pricore.config import Config
from pricore.engine.sqlite import newest_schema
from pricore.operations.backup import Choice, destination
from pricore.operations.backup import write as write_backup
from pricore.services.opening import Services
from tests.harness import Client, Composer, GitRepository, Pricore, Upstream, any_composer, as_composer_reads
from tests.rules import token_name

NAME: Final = "acme/library"
SCOPES: Final = (
    *("packages:read", "repositories:read", "repositories:write", "tokens:read", "tokens:write"),
    *("organizations:read",),
)
PASSPHRASE: Final = "correct horse battery staple"


def all_scopes() -> list[str]:
    return [part for scope in SCOPES for part in ("--scope", scope)]


def members(backup: Path) -> dict[str, bytes]:
    """What is in a backup."""
    content = zstandard.ZstdDecompressor().stream_reader(backup.read_bytes()).read()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {item.name: tar.extractfile(item).read() for item in tar}  # type: ignore[union-attr]  # all are files


def write(backup: Path, content: dict[str, bytes], *, kind: bytes = tarfile.REGTYPE) -> None:
    """A file of that form with anything in it; what is no member of a backup is of that kind."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, body in content.items():
            info = tarfile.TarInfo(name)
            if name not in ("backup.json", "SHA256SUMS", "pricore.sqlite3"):
                info.type, info.linkname = kind, "/etc/passwd"
            info.size = len(body) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(body) if info.isreg() else None)
    backup.write_bytes(zstandard.ZstdCompressor().compress(packed.getvalue()))


def sums(content: dict[str, bytes]) -> bytes:
    lines = [
        f"{hashlib.sha256(body).hexdigest()}  {name}" for name, body in content.items() if name != "SHA256SUMS"
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def references(client: Client) -> dict[str, str]:
    """The commit of each version that is served."""
    return {version: entry["dist"]["reference"] for version, entry in client.versions("acme/busy").items()}


class Load:
    """Clients that push, change tokens and download until they are told to stop, and what was answered."""

    def __init__(self, client: Client, upstream: Upstream, repository: str) -> None:
        self._client = client
        self._upstream = upstream
        self._sync = f"/api/organizations/acme/repositories/{repository}/sync"
        self.good: dict[str, str] = {}
        self.revoked: set[str] = set()
        self.tags: dict[str, str] = {}
        self.served: dict[str, dict[str, Any]] = {}
        self.downloads = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        stop, errors = threading.Event(), list[BaseException]()

        def work(step: Callable[[], None]) -> None:
            try:
                while not stop.is_set():
                    step()
            except BaseException as error:  # noqa: BLE001  # told by the test's own thread
                errors.append(error)

        threads = [threading.Thread(target=work, args=(step,)) for step in (self._push, self._change, self._read)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not errors, errors

    def _push(self) -> None:
        tag, commit = self._upstream.release()
        status, body = self._client.ask("POST", self._sync)
        assert status == 200, body
        self.tags[tag] = commit
        time.sleep(0.05)

    def _change(self) -> None:
        path = "/api/organizations/acme/tokens"
        status, body = self._client.ask("POST", path, {"name": token_name()})
        assert status == 201, body
        made = json.loads(body)["data"]
        self.good[made["id"]] = made["token"]
        if len(self.good) > 3:
            chosen = random.choice([*self.good])
            secret = self.good.pop(chosen)
            assert self._client.ask("DELETE", f"{path}/{chosen}")[0] == 200
            self.revoked.add(secret)
        time.sleep(0.01)

    def _read(self) -> None:
        found = self._client.versions("acme/busy")
        self._client.download(random.choice([*found.values()]))
        self.downloads += 1
        self.served |= {version: entry for version, entry in found.items() if not version.startswith("dev-")}


@pytest.fixture
def upstream(make_repository: Callable[[str], GitRepository]) -> GitRepository:
    repository = make_repository("library")
    repository.commit({"name": NAME}, files={"a.txt": "one"})
    repository.tag("1.0.0")
    return repository


@pytest.mark.long
@any_composer
def test_a_round_trip_under_load_loses_nothing(
    tmp_path: Path, pricore: Pricore, upstream: GitRepository, composer: Composer
) -> None:
    """All that was answered before the backup began is in what is restored, commits that upstream lost too."""
    pricore = Pricore(pricore.data, rate_limits="off")
    busy = Upstream(tmp_path / "busy.git", "acme/busy", commits=150)
    busy.release()
    pricore.run("repo", "add", "acme", upstream.url)
    pricore.run("repo", "add", "acme", str(busy.folder))
    (repository,) = (item for item in pricore.json("repo", "list", "acme") if item["url"] == str(busy.folder))
    secret = pricore.token(*all_scopes())
    webhook = pricore.json("repo", "webhook", "acme", upstream.url)["secret"]
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(f"{PASSPHRASE}\n")
    with pricore.serving() as served:
        composer.write(require={NAME: "dev-main"}, registry=f"{served['url']}/org/acme")
        composer.log_in(served["url"], secret)
        composer.run("update")
        locked = composer.locked()[NAME]["dist"]
        upstream.git("commit", "--quiet", "--amend", "--message=other")
        pricore.run("repo", "sync", "acme", upstream.url)
        load = Load(Client(served["url"], secret), busy, repository["id"])
        with load.running():
            pricore.wait(lambda: len(load.tags) > 5 and len(load.revoked) > 5 and load.downloads > 3)
            good, revoked = dict(load.good), set(load.revoked)
            tags, versions = dict(load.tags), dict(load.served)
            made = pricore.json(
                "backup",
                str(tmp_path / "backup"),
                *("--with-repositories", "--with-dists", "--with-key", "--passphrase-file", str(passphrase)),
            )
        assert (made["repositories"], made["key"], made["left_out"]) == (2, True, {})
        assert made["dists"] > 0

    shutil.move(pricore.data, tmp_path / "lost")
    other = Pricore(tmp_path / "elsewhere" / "data", rate_limits="off")
    other.data.parent.mkdir()
    done = other.json("restore", str(tmp_path / "backup"), "--passphrase-file", str(passphrase))
    assert (done["key"], done["repositories"], done["queued"]) == ("restored", 2, 0)
    assert sorted(item.name for item in other.data.iterdir()) == [
        "dists",
        "key",
        "pricore.sqlite3",
        "repositories",
    ]
    with other.serving() as served:
        client = Client(served["url"], secret)
        for token in good.keys() & load.good.keys():
            assert client.ask("GET", "/api/token", secret=good[token])[0] == 200, "a token that was shown is lost"
        for token in revoked:
            assert client.ask("GET", "/api/token", secret=token)[0] == 401, "a token that was revoked works"
        found = client.versions("acme/busy")
        for version, entry in versions.items():
            assert found[version]["dist"].get("shasum") == entry["dist"].get("shasum")
        for name in client.read("/org/acme/packages.json")["available-packages"]:
            for entry in client.versions(name).values():
                client.download(entry)
        client.download(as_composer_reads({"dist": locked}))
        # what was queued is done, as if nothing had been in between
        other.wait(lambda: tags.items() <= references(client).items())
        composer.forget()
        lock = composer.folder / "composer.lock"
        lock.write_text(lock.read_text().replace(locked["url"].split("/org/")[0], served["url"]))
        composer.write(require={NAME: "dev-main"}, registry=f"{served['url']}/org/acme")
        composer.log_in(served["url"], secret)
        composer.run("install")
        assert composer.installed(NAME, "a.txt") == "one"
    assert other.json("repo", "webhook", "acme", upstream.url)["secret"] == webhook


def test_without_mirrors_everything_is_read_anew(
    pricore: Pricore, upstream: GitRepository, tmp_path: Path
) -> None:
    """Though upstream has nothing new, what is advertised can be downloaded a moment after the start."""
    pricore.run("repo", "add", "acme", upstream.url)
    secret = pricore.token()
    with pricore.serving() as served:
        before = Client(served["url"], secret).versions(NAME)
    made = pricore.run("backup", str(tmp_path / "backup"))
    assert "The key that opens secrets is not in it" in made.stdout
    assert sorted(members(tmp_path / "backup")) == ["SHA256SUMS", "backup.json", "pricore.sqlite3"]

    other = Pricore(tmp_path / "other")
    done = other.run("restore", str(tmp_path / "backup"))
    assert "Repositories that are synced again once it serves: 1." in done.stdout
    with other.serving() as served:
        client = Client(served["url"], secret)
        after = client.versions(NAME)
        assert {
            version: (entry["dist"]["reference"], entry["dist"].get("shasum")) for version, entry in after.items()
        } == {
            version: (entry["dist"]["reference"], entry["dist"].get("shasum")) for version, entry in before.items()
        }
        other.wait(
            lambda: [run["status"] for run in other.json("repo", "history", "acme", upstream.url)] == ["ok", "ok"]
        )
        for entry in after.values():
            client.download(entry)


def test_the_key_needs_its_passphrase(pricore: Pricore, upstream: GitRepository, tmp_path: Path) -> None:
    """Nothing is restored with a wrong one; without the key, the operator is told where to put it."""
    pricore.run("repo", "add", "acme", upstream.url)
    pricore.run("repo", "webhook", "acme", upstream.url)
    key = (pricore.data / "key").read_bytes()
    backup, right, wrong, short = (tmp_path / name for name in ("backup", "right", "wrong", "short"))
    right.write_text(PASSPHRASE)
    wrong.write_text("another one, which is long enough")
    short.write_text("short")
    asked = pricore.fail("backup", str(backup), "--with-key")
    assert "give --passphrase-file" in asked
    assert "12 characters" in pricore.fail("backup", str(backup), "--with-key", "--passphrase-file", str(short))
    pricore.run("backup", str(backup), "--with-key", "--passphrase-file", str(right))
    assert key.strip() not in b"".join(members(backup).values())

    other = Pricore(tmp_path / "other")
    assert "not the one" in other.fail("restore", str(backup), "--passphrase-file", str(wrong))
    assert "give --passphrase-file" in other.fail("restore", str(backup))
    assert not other.data.exists()
    assert "put yours at" in other.run("restore", str(backup), "--without-key").stdout
    assert not (other.data / "key").exists()
    shutil.rmtree(other.data)
    elsewhere = Pricore(other.data, key_file=str(tmp_path / "keys" / "key"))
    elsewhere.run("restore", str(backup), "--passphrase-file", str(right))
    assert (tmp_path / "keys" / "key").read_bytes() == key
    shutil.rmtree(other.data)
    (tmp_path / "keys" / "key").write_text("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
    assert "is another one" in elsewhere.fail("restore", str(backup), "--passphrase-file", str(right))


def test_a_backup_is_for_nobody_else(pricore: Pricore, tmp_path: Path) -> None:
    """It cannot be read by others, takes the place of the one before it whole, and leaves nothing beside it."""
    folder = tmp_path / "backups"
    folder.mkdir()
    backup = folder / "pricore.tar.zst"
    backup.write_text("the one before")
    backup.chmod(0o644)
    pricore.run("backup", str(backup))

    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert [item.name for item in folder.iterdir()] == [backup.name]
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    for name, content in members(backup).items():
        (unpacked / name).write_bytes(content)
    subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=unpacked, check=True, capture_output=True
    )


def test_a_backup_goes_through_a_pipe(pricore: Pricore, tmp_path: Path) -> None:
    """`-` is the standard output and the standard input, and what is said goes elsewhere."""
    secret = pricore.token()
    backup = tmp_path / "backup"
    with backup.open("wb") as file:
        made = subprocess.run(
            pricore.command("backup", "-"),
            env=pricore.environment,
            stdout=file,
            stderr=subprocess.PIPE,
            check=True,
        )
    assert b"Backed up to standard output" in made.stderr
    other = Pricore(tmp_path / "other")
    with backup.open("rb") as file:
        subprocess.run(other.command("restore", "-"), env=other.environment, stdin=file, check=True)
    with other.serving() as served:
        assert Client(served["url"], secret).ask("GET", "/api/token")[0] == 200


def test_what_was_uploaded_is_always_in_it(pricore: Pricore, tmp_path: Path) -> None:
    """Nobody could make it again: after a restore it is served with the checksum that it had."""
    zipped = tmp_path / "tools.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("composer.json", '{"name": "acme/tools", "version": "1.0.0"}')
    pricore.run("package", "upload", "acme", str(zipped))
    secret = pricore.token()
    pricore.run("backup", str(tmp_path / "backup"))

    other = Pricore(tmp_path / "other")
    other.run("restore", str(tmp_path / "backup"))
    with other.serving() as served:
        client = Client(served["url"], secret)
        assert client.download(client.versions("acme/tools")["1.0.0"]).startswith(b"PK")


@pytest.fixture
def backup(pricore: Pricore, upstream: GitRepository, tmp_path: Path) -> Path:
    """A good backup with everything in it."""
    pricore.run("repo", "add", "acme", upstream.url)
    pricore.run("backup", str(tmp_path / "backup"), "--with-repositories")
    return tmp_path / "backup"


def refused(tmp_path: Path, backup: Path) -> str:
    """Why a backup is not restored; nothing of it may be left."""
    other = Pricore(tmp_path / "other")
    message = other.fail("restore", str(backup))
    assert not other.data.exists()
    assert not (tmp_path / "outside").exists()
    return message


def change_a_bit(packed: bytes, position: int) -> bytes:
    """Change a bit at a position or behind it, the first that matters: in zeros, many say the same."""
    unpacked = unpack(packed)
    for at in range(position, len(packed)):
        changed = packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]
        try:
            if unpack(changed) != unpacked:
                return changed
        except zstandard.ZstdError:
            return changed
    raise AssertionError("no bit matters")


def unpack(packed: bytes) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(packed) as plain:
        return plain.read()


def test_what_is_damaged_is_refused(backup: Path, tmp_path: Path) -> None:
    """Wherever it was cut off or changed: all of it was checked before anything is in its place."""
    content = backup.read_bytes()
    damaged = tmp_path / "damaged"
    for part in (0, 10, len(content) // 3, len(content) - 200):
        damaged.write_bytes(content[:part])
        assert "the backup" in refused(tmp_path, damaged)
    for position in (len(content) // 5, len(content) // 2):
        damaged.write_bytes(change_a_bit(content, position))
        assert "the backup" in refused(tmp_path, damaged)
    damaged.write_text("Dear diary, nothing happened today. " * 100)
    assert "the backup is damaged, or none at all" in refused(tmp_path, damaged)
    assert "No such file" in refused(tmp_path, tmp_path / "nowhere")


def test_what_was_tampered_with_is_refused(backup: Path, tmp_path: Path) -> None:
    """Nothing is written to a place that is not a backup's, and nothing is taken that it does not name."""
    good, forged = members(backup), tmp_path / "forged"
    (bundle,) = (name for name in good if name.endswith(".bundle"))

    def forge(more: dict[str, bytes], *, kind: bytes = tarfile.REGTYPE, name: bool = True) -> str:
        content = {key: body for key, body in good.items() if key != "SHA256SUMS"} | more
        content = {key: body for key, body in content.items() if body}
        write(forged, content | {"SHA256SUMS": sums(content) if name else good["SHA256SUMS"]}, kind=kind)
        return refused(tmp_path, forged)

    for place in ("../outside", "/outside", "dists/../../outside", "repositories/x/hooks/post-update", "key"):
        assert "no backup has" in forge({place: b"x"})
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
        assert "no backup has" in forge({"known_hosts": b"x"}, kind=kind)
    assert "doesn't name" in forge({"known_hosts": b"x"}, name=False)
    assert "its checksum is another" in forge({bundle: good[bundle] + b"x"}, name=False)
    assert f"{bundle} is missing" in forge({bundle: b""}, name=False)
    assert "no database" in forge({"pricore.sqlite3": b""})
    assert "database in the backup is damaged" in forge({"pricore.sqlite3": good["pricore.sqlite3"][:-8192]})
    assert f"the mirror {bundle.split('/')[1]} in the backup cannot be read" in forge({bundle: good[bundle][:-40]})
    write(forged, good | {"known_hosts": b"x"})
    assert "behind its end" in refused(tmp_path, forged)


def test_what_is_newer_is_refused(backup: Path, tmp_path: Path) -> None:
    """One of a newer form, or of a newer schema, says to upgrade this program."""
    good, newer = members(backup), tmp_path / "newer"
    head = msgspec.json.decode(good["backup.json"])
    assert (head["format"], head["schema"]) == (1, newest_schema())
    for change in ({"format": 2}, {"schema": head["schema"] + 1}):
        content = {"backup.json": msgspec.json.encode(head | change)} | {"from the future": b"x"}
        write(newer, content)
        assert "made by a newer Pricore" in refused(tmp_path, newer)
        assert "upgrade this program" in refused(tmp_path, newer)


def test_a_folder_in_use_is_left_alone(backup: Path, pricore: Pricore, tmp_path: Path) -> None:
    """A data folder with anything in it is refused, and so is a backup of a folder without a registry."""
    assert "is not empty" in pricore.fail("restore", str(backup))
    assert [item["slug"] for item in pricore.json("org", "list")] == ["acme"]
    empty = Pricore(tmp_path / "empty")
    assert "there is no registry in" in empty.fail("backup", str(tmp_path / "none"))
    assert not empty.data.exists()
    assert not (tmp_path / "none").exists()


def test_a_mirror_that_cannot_be_read_is_told(backup: Path, pricore: Pricore) -> None:
    """The rest is in the backup, and who made it knows that it is not all."""
    (mirror,) = (pricore.data / "repositories").glob("*.git")
    for pack in (mirror / "objects" / "pack").iterdir():
        pack.unlink()
    done = pricore.run("backup", str(backup), "--with-repositories", status=1)
    assert "Left out: the mirror of" in done.stdout
    assert "1 mirrors are not in" in done.stderr
    assert "pricore.sqlite3" in members(backup)


def test_a_relative_name_keeps_the_mirrors(pricore: Pricore, upstream: GitRepository) -> None:
    """Git runs in another folder than the command was typed in."""
    pricore.run("repo", "add", "acme", upstream.url)
    made = pricore.json("backup", "here.tar.zst", "--with-repositories")
    assert (made["repositories"], made["left_out"]) == (1, {})
    assert any(name.endswith(".bundle") for name in members(pricore.data.parent / "here.tar.zst"))


async def test_a_backup_tells_how_far_it_is_and_ends_clean(
    pricore: Pricore, upstream: GitRepository, tmp_path: Path
) -> None:
    """It tells each part; stopped in any of them, nothing is left behind, nor complains when it is forgotten."""
    pricore.run("repo", "add", "acme", upstream.url)
    config = Config(data=pricore.data)
    choice = Choice(repositories=True, dists=True)
    told: list[str] = []

    async def back_up(*, stop_at: str = "") -> None:
        task = asyncio.current_task()
        assert task is not None

        def progress(text: str, done: int, total: int, received: int = 0) -> None:
            told.append(text)
            if text == stop_at:
                task.cancel()

        async with Services.open(config) as services:
            with destination(tmp_path / "made" / "backup") as (file, scratch):
                await write_backup(file, scratch, services, choice, progress=progress)

    (tmp_path / "made").mkdir()
    for part in ("Copying the database", "Packing the database", "Packing mirrors"):
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(back_up(stop_at=part))
        assert [*(tmp_path / "made").iterdir()] == [], part
        gc.collect()  # what complains then is an error of this test
    await back_up()
    assert {"Copying the database", "Packing the database", "Packing mirrors"} <= {*told}


def test_ctrl_c_ends_a_backup_quietly(pricore: Pricore, upstream: GitRepository, tmp_path: Path) -> None:
    """Exit status 130, not a word, and the file of before."""
    upstream.commit(files={"large": random.Random(1).randbytes(30_000_000)})
    pricore.run("repo", "add", "acme", upstream.url)
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / "x").write_bytes(b"before")
    statuses: list[int] = []
    while 130 not in statuses:  # a quick machine may have done it before
        assert len(statuses) < 10
        log = tmp_path / f"log-{len(statuses)}"
        process = pricore.start("backup", str(folder / "x"), "--with-repositories", log=log)
        ended = process.poll
        pricore.wait(lambda ended=ended: len([*folder.iterdir()]) > 1 or ended() is not None)  # type: ignore[misc]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        statuses.append(process.returncode)
        assert log.read_text().strip() == ""
        assert [path.name for path in folder.iterdir()] == ["x"]
    assert (folder / "x").read_bytes() == b"before" or 0 in statuses
