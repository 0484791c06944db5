"""From `git push` to `composer update` without anybody typing `sync`: a hook, a real server, the real client."""

import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

from tests.harness import Composer, GitRepository, Pricore, any_composer, need

LIBRARY = {"name": "acme/library"}


class Story(msgspec.Struct, frozen=True):
    """A registry that follows the repository which a developer pushes to, and a project that uses it."""

    pricore: Pricore
    developer: GitRepository
    bare: Path
    composer: Composer
    url: str

    def webhook(self, provider: str, *options: str) -> tuple[str, str]:
        """The address that this server has, and the secret."""
        (repository,) = self.pricore.json("repo", "list", "acme")
        made = self.pricore.json("repo", "webhook", "acme", repository["id"], "--provider", provider, *options)
        return f"{self.url}/webhooks/{provider}/{repository['id']}", made["secret"]

    def release(self, version: str) -> None:
        """Commit, tag and push, as a developer does."""
        self.developer.commit(files={"file.txt": version})
        self.developer.tag(version)
        self.developer.git("push", "--quiet", "origin", "main", version)

    def update_until(self, version: str) -> None:
        """Run `composer update` until it locks the version; it is there within seconds, or the test fails."""
        deadline = time.monotonic() + 20
        while True:
            self.composer.run("update")
            if self.composer.locked()["acme/library"]["version"] == version:
                assert self.composer.installed("acme/library", "file.txt") == version
                return
            assert time.monotonic() < deadline, f"{version} is not served"


@pytest.fixture
def story(tmp_path: Path, make_repository: Callable[[str], GitRepository], composer: Composer) -> Iterator[Story]:
    pricore = Pricore(tmp_path / "data")
    pricore.found()
    developer = make_repository("library")
    bare = tmp_path / "host" / "library.git"
    developer.git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    developer.git("remote", "add", "origin", str(bare))
    developer.commit(LIBRARY, files={"file.txt": "1.0.0"})
    developer.tag("1.0.0")
    developer.git("push", "--quiet", "origin", "main", "1.0.0")
    pricore.run("repo", "add", "acme", str(bare))
    with pricore.serving() as server:
        registry = f"{server['url']}/org/acme"
        composer.write(require={"acme/library": "*"}, registry=registry)
        composer.log_in(registry, pricore.token())
        composer.run("update")
        assert composer.locked()["acme/library"]["version"] == "1.0.0"
        yield Story(pricore, developer, bare, composer, server["url"])


def post(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
    """The status and the message with which a delivery is answered."""
    request = urllib.request.Request(url, data=body, headers=dict(headers), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.load(response)["message"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["message"]


def github(secret: str, body: bytes, *, event: str = "push") -> dict[str, str]:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "X-GitHub-Event": event,
        "X-Hub-Signature-256": f"sha256={signature}",
        "Content-Type": "application/json",
    }


@any_composer
def test_a_pushed_tag_is_what_composer_installs_next(story: Story) -> None:
    """The host says that a tag was pushed, and the next `composer update` has it."""
    url, secret = story.webhook("github")
    body = b'{"ref":"refs/tags/1.1.0","repository":{"full_name":"acme/library"}}'
    assert post(url, github(secret, b"{}", event="ping"), b"{}") == (200, "Pong")
    story.release("1.1.0")
    assert post(url, github(secret, body), body) == (200, "Sync queued successfully")

    story.update_until("1.1.0")


def test_a_hook_of_git_s_own_tells_of_a_push(story: Story) -> None:
    """What `repo webhook --provider git` prints is all of hooks/post-receive: afterwards, a push is enough."""
    need("curl")
    url, secret = story.webhook("git")
    (repository,) = story.pricore.json("repo", "list", "acme")
    printed = story.pricore.run("repo", "webhook", "acme", repository["id"]).stdout
    (line,) = [line.strip() for line in printed.splitlines() if "curl" in line]
    assert secret in line
    # a push shows no meter, and doesn't wait for a registry that hangs
    assert {"--silent", "--show-error", "--max-time"} <= {*line.split()}
    hook = story.bare / "hooks" / "post-receive"
    # the server of a test has a port of its own, which the settings don't know
    hook.write_text(f"#!/bin/sh\n{line.rsplit(maxsplit=1)[0]} {url}\n")
    hook.chmod(0o755)
    story.release("1.1.0")

    story.update_until("1.1.0")


def test_a_rotated_secret_ends_the_old_one(story: Story) -> None:
    """Rotating in a shell, beside the running server, refuses the very next delivery with the old secret."""
    url, old = story.webhook("github")
    body = b'{"ref":"refs/tags/1.1.0"}'
    assert post(url, github(old, body), body)[0] == 200
    _, new = story.webhook("github", "--rotate")
    status, message = post(url, github(old, body), body)
    assert status == 401
    assert "`pricore repo webhook`" in message
    story.release("1.1.0")
    assert post(url, github(new, body), body)[0] == 200

    story.update_until("1.1.0")


@pytest.mark.parametrize(
    "settings", [{}, {"public_url": "https://packages.example.com"}], ids=["port", "public URL"]
)
def test_the_printed_url_is_the_running_server_s(tmp_path: Path, settings: dict[str, str]) -> None:
    """Whoever types the command needn't have the settings with which the server was started."""
    server = Pricore(tmp_path / "data", **settings)
    server.found()
    server.run("repo", "add", "acme", "https://git.example.com/acme/library.git", "--no-sync")
    with server.serving() as served:
        shown = Pricore(tmp_path / "data").json("repo", "webhook", "acme", "library")
    assert shown["url"].startswith(f"{settings.get('public_url', served['url'])}/webhooks/git/")
