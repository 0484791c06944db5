"""The main job with the real client: Git repositories in, `composer install` out."""

import hashlib
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.harness import Composer, GitRepository, Pricore

Package = dict[str, object]
LIBRARY: Package = {"name": "acme/library", "autoload": {"psr-4": {"Acme\\": "src/"}}}


class World:
    """A registry that serves acme/library, and a project that uses it."""

    def __init__(self, pricore: Pricore, upstream: GitRepository, composer: Composer, url: str) -> None:
        self.pricore = pricore
        self.upstream = upstream
        self.composer = composer
        self.url = url

    def require(self, constraint: str, secret: str, **more: object) -> None:
        self.composer.write(require={"acme/library": constraint}, registry=self.url, **more)
        self.composer.log_in(self.url, secret)

    def sync(self) -> None:
        self.pricore.run("repo", "sync", "acme")


@pytest.fixture(params=["inline", "p2"])
def world(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make_repository: Callable[[str], GitRepository],
    composer: Composer,
) -> Iterator[World]:
    """Once with the versions inside packages.json, once with a document a package."""
    settings = {"inline_limit": "0"} if request.param == "p2" else {}
    pricore = Pricore(tmp_path / "data", **settings)
    pricore.found()
    upstream = make_repository("library")
    upstream.commit(LIBRARY, files={"file.txt": "one"})
    upstream.tag("v1.0.0", annotated=True)
    pricore.run("repo", "add", "acme", upstream.url)
    with pricore.serving() as server:
        yield World(pricore, upstream, composer, f"{server['url']}/org/acme")


def test_update_and_install_give_the_tagged_files(world: World) -> None:
    """`update` locks the version with its commit and checksum, `install` brings its files."""
    world.require("^1.0", world.pricore.token())
    world.composer.run("update")
    locked = world.composer.locked()["acme/library"]
    assert locked["version"] == "v1.0.0"
    assert locked["dist"]["url"] == f"{world.url}/packages/acme/library/v1.0.0.zip"
    assert locked["dist"]["reference"] == world.upstream.head()
    assert len(locked["dist"]["shasum"]) == 40
    assert locked["time"] == "2023-11-14T22:16:20+00:00"

    world.composer.forget()
    world.composer.run("install")
    assert world.composer.installed("acme/library", "file.txt") == "one"


def test_archives_are_kept_once_somebody_asks(world: World) -> None:
    """A sync keeps no archive, however many versions it finds; an install keeps the one that it fetched."""
    dists = world.pricore.data / "dists"
    assert not dists.exists()
    world.require("^1.0", world.pricore.token())
    world.composer.run("update")
    locked = world.composer.locked()["acme/library"]["dist"]
    assert [path.name for path in dists.rglob("*.zip*")] == [f"{locked['shasum']}.zip.zst"]


def test_installs_and_archives_are_counted(world: World) -> None:
    """What Composer reports is counted apart from what it fetches, which is less where it has a cache."""

    def counted() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = world.pricore.json("package", "downloads", "acme", "acme/library")[
            "versions"
        ]
        return found

    world.require("^1.0", world.pricore.token())
    world.composer.run("update")
    world.pricore.wait(lambda: counted() == [{"version": "v1.0.0", "downloads": 1, "archives": 1}])
    shutil.rmtree(world.composer.folder / "vendor")
    world.composer.run("install")
    world.pricore.wait(lambda: counted() == [{"version": "v1.0.0", "downloads": 2, "archives": 1}])
    assert world.pricore.json("token", "list", "acme")[0]["last_used_at"] is not None


def test_a_new_tag_is_seen_after_a_sync(world: World) -> None:
    """A tag that is pushed and synced is what the next `update` installs, whatever the client has cached."""
    world.require("^1.0", world.pricore.token())
    world.composer.run("update")
    world.upstream.commit(files={"file.txt": "two"})
    world.upstream.tag("v1.1.0")
    world.sync()
    world.composer.run("update")
    assert world.composer.locked()["acme/library"]["version"] == "v1.1.0"
    assert world.composer.installed("acme/library", "file.txt") == "two"


def test_a_deleted_version_is_no_longer_installed(world: World) -> None:
    """`update` falls back to the version before, whatever the client has cached; a lock file with it fails."""
    world.upstream.commit(files={"file.txt": "a secret"})
    world.upstream.tag("v1.1.0")
    world.upstream.commit(files={"file.txt": "removed"})
    world.sync()
    world.require("^1.0", world.pricore.token())
    world.composer.run("update")
    lock = (world.composer.folder / "composer.lock").read_text()
    leaked = world.composer.locked()["acme/library"]["dist"]["shasum"]
    kept = {path.name.partition(".")[0] for path in (world.pricore.data / "dists").rglob("*.zip*")}
    assert leaked in kept
    world.pricore.run("package", "delete", "acme", "acme/library", "v1.1.0", "--yes")
    assert kept - {leaked} == {
        path.name.partition(".")[0] for path in (world.pricore.data / "dists").rglob("*.zip*")
    }

    for _ in range(2):
        world.composer.run("update")
        assert world.composer.locked()["acme/library"]["version"] == "v1.0.0"
        assert world.composer.installed("acme/library", "file.txt") == "one"
        world.sync()
    world.composer.forget()
    (world.composer.folder / "composer.lock").write_text(lock)
    assert "404" in world.composer.run("install", fails=True)

    world.upstream.git("tag", "--force", "v1.1.0")
    world.sync()
    world.composer.run("update")
    assert world.composer.locked()["acme/library"]["version"] == "v1.1.0"
    assert world.composer.installed("acme/library", "file.txt") == "removed"


def test_two_changes_within_a_second_are_both_seen(world: World) -> None:
    """Last-Modified counts in seconds, and still no change hides behind another one's 304."""
    world.require("^1.0", world.pricore.token())
    for version in ("v1.1.0", "v1.2.0", "v1.3.0"):
        world.upstream.commit(files={"file.txt": version})
        world.upstream.tag(version)
        world.sync()
        world.composer.run("update", "--no-install")
        assert world.composer.locked()["acme/library"]["version"] == version


def test_a_branch_can_be_required(world: World) -> None:
    """`dev-main` is the branch's commit, which Composer puts into the URL; `@dev` finds the default branch."""
    world.require("dev-main", world.pricore.token())
    world.composer.run("update")
    locked = world.composer.locked()["acme/library"]
    assert locked["dist"]["url"].endswith("/packages/acme/library/dev-main/%reference%.zip")
    assert locked["dist"]["reference"] == world.upstream.head()
    world.upstream.commit(files={"file.txt": "newer"})
    world.sync()
    world.require("@dev", world.pricore.token())
    world.composer.run("update")
    assert world.composer.locked()["acme/library"]["version"] == "dev-main"
    assert world.composer.installed("acme/library", "file.txt") == "newer"


def test_a_lock_from_before_a_force_push_still_installs(world: World) -> None:
    """The commit in an old lock file is served, with its checksum, after the branch was rewritten."""
    world.upstream.commit(files={"file.txt": "rewritten later"})
    world.sync()
    world.require("dev-main", world.pricore.token())
    world.composer.run("update", "--no-install")
    world.upstream.git("reset", "--quiet", "--hard", "HEAD~1")
    world.upstream.commit(files={"file.txt": "other history"})
    world.upstream.git("reflog", "expire", "--expire=now", "--all")
    world.upstream.git("gc", "--quiet", "--prune=now")
    world.sync()

    world.composer.forget()
    world.composer.run("install")
    assert world.composer.installed("acme/library", "file.txt") == "rewritten later"
    world.composer.run("update")
    assert world.composer.installed("acme/library", "file.txt") == "other history"


def test_a_deleted_branch_disappears_and_its_locks_still_install(world: World) -> None:
    """A branch that is gone cannot be required any more; who has it locked can install it."""
    world.upstream.git("checkout", "--quiet", "-b", "feature/x")
    world.upstream.commit(files={"file.txt": "feature"})
    world.upstream.git("checkout", "--quiet", "main")
    world.sync()
    world.require("dev-feature/x", world.pricore.token())
    world.composer.run("update", "--no-install")
    world.upstream.git("branch", "--quiet", "-D", "feature/x")
    world.sync()

    world.composer.forget()
    world.composer.run("install")
    assert world.composer.installed("acme/library", "file.txt") == "feature"
    assert "acme/library dev-feature/x" in world.composer.run("update", fails=True)


def test_a_revoked_token_is_refused_by_the_next_request(world: World) -> None:
    """Revoking in a shell takes effect on a server that has just accepted the token."""
    made = world.pricore.json("token", "create", "acme", "ci")
    world.require("^1.0", made["token"])
    world.composer.run("update")
    world.pricore.run("token", "revoke", "acme", made["id"], "--yes")
    world.composer.forget()
    output = world.composer.run("update", fails=True)
    assert "the access token is unknown here, or was revoked" in output


def test_a_wrong_token_is_told_so(world: World) -> None:
    """Who mistypes a token reads that in Composer's own output."""
    world.require("^1.0", "pri_" + "x" * 38)
    assert "it is mistyped, or cut off" in world.composer.run("update", fails=True)


def test_a_restricted_token_sees_only_its_packages(
    world: World, make_repository: Callable[[str], GitRepository]
) -> None:
    """Another package can neither be found nor installed, not even from a lock file that names it."""
    other = make_repository("other")
    other.commit({"name": "acme/other"})
    other.tag("1.0.0")
    world.pricore.run("repo", "add", "acme", other.url)
    full, restricted = world.pricore.token(), world.pricore.token("--package", "acme/library")

    world.composer.write(require={"acme/library": "*", "acme/other": "*"}, registry=world.url)
    world.composer.log_in(world.url, full)
    world.composer.run("update")

    world.composer.log_in(world.url, restricted)
    output = world.composer.run("update", fails=True)
    assert "acme/other" in output
    world.composer.forget()
    assert "acme/other" in world.composer.run("install", fails=True)

    world.require("*", restricted)
    world.composer.run("update")
    assert list(world.composer.locked()) == ["acme/library"]


def test_the_token_can_be_the_user_name(world: World) -> None:
    """It counts wherever a client puts it."""
    world.require("^1.0", "unused")
    host = world.url.split("/")[2]
    credentials = {"http-basic": {host: {"username": world.pricore.token(), "password": ""}}}
    (world.composer.folder / "auth.json").write_text(json.dumps(credentials))
    world.composer.run("update")


def test_an_altered_archive_is_refused(world: World) -> None:
    """The client checks what it gets against the lock: a changed byte in a kept archive does not get in."""
    world.require("^1.0", world.pricore.token())
    world.composer.run("update")
    world.composer.forget()
    (kept,) = (world.pricore.data / "dists").rglob("*.zip.zst")
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(kept.read_bytes())
    assert hashlib.sha1(plain).hexdigest() == world.composer.locked()["acme/library"]["dist"]["shasum"]
    altered = plain.replace(b"one", b"two")
    kept.write_bytes(zstandard.ZstdCompressor().compress(altered))
    world.pricore.token()  # any change: until then the server has the archive in its memory
    output = world.composer.run("install", fails=True)
    assert "checksum verification of the file failed" in output


def test_search_list_and_audit_answer(world: World) -> None:
    """`composer search`, `show --all` and `audit` work with this registry."""
    world.require("^1.0", world.pricore.token())
    world.composer.run("update")
    assert "acme/library" in world.composer.run("search", "librar")
    assert "v1.0.0" in world.composer.run("show", "--all", "acme/library")
    assert "No security vulnerability advisories found" in world.composer.run("audit")


def test_packages_of_other_registries_are_never_asked_for_here(
    world: World, make_repository: Callable[[str], GitRepository]
) -> None:
    """An organization without packages says so, instead of being asked for every name there is."""
    world.pricore.run("org", "create", "empty")
    secret = world.pricore.token(org="empty")
    url = world.url.replace("/org/acme", "/org/empty")
    world.composer.write(require={"public/name": "*"}, registry=url)
    world.composer.log_in(url, secret)
    output = world.composer.run("update", "-vvv", fails=True)
    assert "/org/empty/packages.json" in output
    assert "/org/empty/p2/" not in output


def test_quickstart_can_be_pasted(tmp_path: Path, composer: Composer) -> None:
    """What quickstart prints is all that a newcomer types, up to running the sample's code."""
    pricore = Pricore(tmp_path / "data")
    with pricore.serving("quickstart") as made:
        script = "\n".join(["set -e", *made["composer"]])
        done = subprocess.run(
            ["sh", "-c", script],
            cwd=composer.folder,
            env=composer.environment() | {"COMPOSER_NO_INTERACTION": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        code = 'require "vendor/autoload.php"; echo Pricore\\Hello\\Hello::to("you");'
        hello = subprocess.check_output(["php", "-r", code], cwd=composer.folder, text=True)
        assert hello == "Hello, you, from your own registry."

    before = sorted(path for path in (tmp_path / "data").rglob("*") if path.suffix in (".git", ".zst"))
    with pricore.serving("quickstart") as again:
        assert again["token"] is None
        assert again["synced"] == []
        assert again["packages"] == ["pricore/hello"]
        assert sorted(p for p in (tmp_path / "data").rglob("*") if p.suffix in (".git", ".zst")) == before


def test_composer_1_is_told_to_upgrade(world: World) -> None:
    """The old client gets a sentence that it prints, not a document that it cannot read."""
    request = urllib.request.Request(
        f"{world.url}/packages.json",
        headers={
            "Authorization": f"Bearer {world.pricore.token()}",
            "User-Agent": "Composer/1.10.27 (Linux; 6.1; PHP 7.4)",
        },
    )
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(request):
        pass
    with caught.value as answer:
        assert answer.code == 400
        assert answer.headers["Content-Type"] == "application/json"
        assert "needs Composer 2" in json.loads(answer.read())["warning"]
