"""`pricore repo change` and `repo history`: what the API can, beside a running server or without one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import GitRepository, Pricore


@pytest.fixture
def upstream(pricore: Pricore, make_repository: Callable[[str], GitRepository]) -> GitRepository:
    """acme/library 1.0.0, which acme follows."""
    repository = make_repository("library")
    repository.commit({"name": "acme/library"})
    repository.tag("1.0.0")
    pricore.run("repo", "add", "acme", repository.url)
    return repository


def test_the_history_is_shown(pricore: Pricore, upstream: GitRepository) -> None:
    """A line for each sync that did something, newest first; with --json all there is to tell."""
    upstream.tag("nightly")
    pricore.run("repo", "sync", "acme")
    newest, first = pricore.json("repo", "history", "acme", upstream.url)

    assert [item["ref"] for item in newest["left_out"]] == ["refs/tags/nightly"]
    assert (newest["status"], newest["added"], newest["read"]) == ("ok", [], 1)
    assert sorted(first["added"]) == ["acme/library:1.0.0", "acme/library:dev-main"]
    assert pricore.json("repo", "history", "acme", upstream.url, "--limit", "1") == [newest]
    shown = pricore.run("repo", "history", "acme", upstream.url).stdout.splitlines()
    assert [line.split()[4] for line in shown if line.strip().startswith("2")] == ["ok", "ok"]


def test_a_repository_is_followed_to_another_address(
    pricore: Pricore, upstream: GitRepository, tmp_path: Path
) -> None:
    """The operator moves it anywhere, a folder included; what is served stays, and the next sync reads all."""
    moved = tmp_path / "moved"
    upstream.folder.rename(moved)
    changed = pricore.json("repo", "change", "acme", upstream.url, "--url", str(moved))

    assert (changed["url"], changed["sync_status"]) == (str(moved), "pending")
    assert len(pricore.json("package", "show", "acme", "acme/library")["versions"]) == 2
    (report,) = pricore.json("repo", "sync", "acme")["synced"]
    assert (report["read"], report["added"], report["removed"]) == (2, [], [])
    assert "follows" in pricore.fail("repo", "add", "acme", str(moved))


def test_a_provider_is_changed(pricore: Pricore) -> None:
    """A GitLab of one's own is one by saying so, later too."""
    pricore.run("repo", "add", "acme", "https://git.example.com/team/library.git", "--no-sync")
    changed = pricore.json("repo", "change", "acme", "git.example.com/team/library", "--provider", "gitlab")

    assert (changed["provider"], changed["repo_identifier"]) == ("gitlab", "team/library")


def test_a_change_needs_something_to_change(pricore: Pricore, upstream: GitRepository) -> None:
    """Wrong usage is told as such; an address that is followed already is an error."""
    assert "--provider" in pricore.run("repo", "change", "acme", upstream.url, status=2).stderr
    pricore.run("repo", "add", "acme", "https://git.example.com/a/b", "--no-sync")
    error = pricore.fail("repo", "change", "acme", "https://git.example.com/a/b", "--url", upstream.url)

    assert "is followed already" in error
    assert "there is no provider" in pricore.fail("repo", "change", "acme", upstream.url, "--provider", "x")


def test_a_server_reads_what_the_command_line_changed(
    pricore: Pricore, upstream: GitRepository, tmp_path: Path
) -> None:
    """A change asks for a sync, which a server does that runs or is started later."""
    moved = tmp_path / "moved"
    upstream.tag("1.1.0")
    upstream.folder.rename(moved)
    pricore.run("repo", "change", "acme", upstream.url, "--url", str(moved))
    with pricore.serving():
        for _ in range(100):
            runs = pricore.json("repo", "history", "acme", str(moved))
            if runs[0]["status"] == "ok" and len(runs) == 2:
                break

    assert runs[0]["added"] == ["acme/library:1.1.0"], json.dumps(runs)
