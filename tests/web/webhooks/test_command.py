"""`pricore repo webhook`: what to paste at the Git host, and a secret that is nowhere in clear."""

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import Pricore

PUBLIC = "https://packages.example.com/registry"


@pytest.fixture
def pricore(tmp_path: Path) -> Pricore:
    program = Pricore(tmp_path / "data", public_url=PUBLIC)
    program.found()
    program.run("repo", "add", "acme", "https://gitlab.com/acme/library.git", "--no-sync")
    return program


def webhook(pricore: Pricore, *options: str) -> dict[str, str]:
    """What the command prints with --json."""
    document: dict[str, str] = pricore.json("repo", "webhook", "acme", "acme/library", *options)
    return document


def test_the_first_use_makes_the_secret(pricore: Pricore) -> None:
    """The URL has the repository's id below public_url; the secret has the form that all hosts take."""
    (repository,) = pricore.json("repo", "list", "acme")
    made = webhook(pricore)

    assert set(made) == {"url", "secret", "provider"}
    assert made["url"] == f"{PUBLIC}/webhooks/gitlab/{repository['id']}"
    assert made["provider"] == "gitlab"
    assert made["secret"].startswith("whsec_")
    assert len(base64.b64decode(made["secret"].removeprefix("whsec_"), validate=True)) == 32


def test_it_is_the_same_until_it_is_rotated(pricore: Pricore) -> None:
    """Asked again, also for another host, the secret stays; with --rotate it is another one, which stays then."""
    first = webhook(pricore)
    assert webhook(pricore) == first
    elsewhere = webhook(pricore, "--provider", "gitea")
    assert elsewhere["secret"] == first["secret"]
    assert elsewhere["url"] == first["url"].replace("/gitlab/", "/gitea/")

    rotated = webhook(pricore, "--rotate")
    assert rotated["secret"] != first["secret"]
    assert webhook(pricore) == rotated


def test_each_repository_has_its_own(pricore: Pricore) -> None:
    """The secret of one says nothing about another."""
    pricore.run("repo", "add", "acme", "https://gitlab.com/acme/other.git", "--no-sync")
    other = pricore.json("repo", "webhook", "acme", "acme/other")

    assert other["secret"] != webhook(pricore)["secret"]


def test_two_who_begin_at_once_get_the_same(pricore: Pricore) -> None:
    """Where several processes make the first secret at the same time, all print the one that is in force."""
    program = [sys.executable, "-m", "pricore", "repo", "webhook", "acme", "acme/library", "--json"]
    environment = os.environ | {"PRICORE_DATA": str(pricore.data), "PRICORE_PUBLIC_URL": PUBLIC}
    running = [subprocess.Popen(program, env=environment, stdout=subprocess.PIPE) for _ in range(4)]
    printed = [json.loads(process.communicate(timeout=60)[0]) for process in running]

    assert [webhook(pricore)] * 4 == printed


def test_nothing_on_disk_has_it_in_clear(pricore: Pricore) -> None:
    """No file in the data folder holds the secret or its random part; the key is for this user alone."""
    secret = webhook(pricore, "--rotate")["secret"]
    random = secret.removeprefix("whsec_")
    files = [path for path in pricore.data.rglob("*") if path.is_file()]

    assert pricore.data / "key" in files
    assert stat.S_IMODE((pricore.data / "key").stat().st_mode) == 0o600
    for path in files:
        content = path.read_bytes()
        for text in (random.encode(), base64.b64decode(random)):
            assert text not in content, path


def test_commands_that_seal_nothing_make_no_key(pricore: Pricore) -> None:
    """Who has no webhooks has no key to look after."""
    pricore.run("repo", "list", "acme")

    assert not (pricore.data / "key").exists()


def test_the_key_can_be_elsewhere(tmp_path: Path, pricore: Pricore) -> None:
    """`key_file` keeps it out of the data folder, and so out of its backups."""
    elsewhere = Pricore(pricore.data, key_file=str(tmp_path / "keys/pricore"), public_url=PUBLIC)
    webhook(elsewhere)

    assert stat.S_IMODE((tmp_path / "keys/pricore").stat().st_mode) == 0o600
    assert not (pricore.data / "key").exists()


def test_a_lost_key_is_reported_and_rotating_is_the_way_out(pricore: Pricore) -> None:
    """Without the key, or with another one, the command says so in one line; --rotate makes both anew."""
    before = webhook(pricore)
    key = pricore.data / "key"
    key.write_bytes(base64.b64encode(bytes(32)))
    assert "is not the one that sealed" in pricore.fail("repo", "webhook", "acme", "acme/library")
    key.write_text("nonsense")
    assert "holds no key" in pricore.fail("repo", "webhook", "acme", "acme/library")
    key.unlink()
    assert f"put {key} back" in pricore.fail("repo", "webhook", "acme", "acme/library")
    assert not key.exists()

    after = webhook(pricore, "--rotate")
    assert after["secret"] != before["secret"]
    assert webhook(pricore) == after


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("github", ["Payload URL", "application/json", "Pushes", "releases", "SSL verification"]),
        ("gitlab", ["Signing token", "Secret token", "Tag push events", "SSL verification"]),
        ("bitbucket", ["Repository settings", "Repository push", "Mirror synchronized", "SSL"]),
        ("gitea", ["Target URL", "application/json", "Create, Delete, Push, Release"]),
        ("git", ["post-receive", "curl", "Authorization: Bearer"]),
    ],
)
def test_people_read_where_to_paste_it(pricore: Pricore, provider: str, words: list[str]) -> None:
    """For each host: the menu, the fields, the content type, the events."""
    expected = webhook(pricore, "--provider", provider)
    done = pricore.run("repo", "webhook", "acme", "acme/library", "--provider", provider)
    first, second, *_ = done.stdout.splitlines()

    assert (first.split(), second.split()) == (["URL:", expected["url"]], ["secret:", expected["secret"]])
    for word in words:
        assert word.lower() in done.stdout.lower()
    assert done.stderr == ""


def test_without_a_public_url_it_says_what_to_set(pricore: Pricore) -> None:
    """The address that it listens on is a guess: stderr says so, and stdout stays one document."""
    local = Pricore(pricore.data, port="8123")
    done = local.run("repo", "webhook", "acme", "acme/library", "--json")

    assert json.loads(done.stdout)["url"].startswith("http://127.0.0.1:8123/webhooks/gitlab/")
    (line,) = done.stderr.splitlines()
    assert "PRICORE_PUBLIC_URL" in line


def test_what_is_not_there_is_an_error(pricore: Pricore) -> None:
    """An unknown organization, repository or provider is named in one line, and makes nothing."""
    assert "nobody" in pricore.fail("repo", "webhook", "nobody", "acme/library")
    assert "acme/nothing" in pricore.fail("repo", "webhook", "acme", "acme/nothing")
    message = pricore.fail("repo", "webhook", "acme", "acme/library", "--provider", "sourceforge")
    assert "choose one of github, gitlab, bitbucket, gitea, git" in message
    assert not (pricore.data / "key").exists()


def test_what_it_prints_for_a_hook_works(tmp_path: Path, pricore: Pricore) -> None:
    """The line for hooks/post-receive is a command that a shell takes as it is."""
    printed = pricore.run("repo", "webhook", "acme", "acme/library", "--provider", "git").stdout
    (line,) = [line.strip() for line in printed.splitlines() if "curl" in line]
    (tmp_path / "curl").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "curl").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    words = subprocess.check_output(["sh", "-c", line], env={"PATH": path}, text=True).splitlines()
    expected = webhook(pricore, "--provider", "git")

    assert words[-3:] == ["--header", f"X-Webhook-Secret: {expected['secret']}", expected["url"]]
