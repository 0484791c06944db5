"""What operators do on the command line while people go on installing."""

import re
from collections.abc import Callable

import pytest

from tests.harness import GitRepository, Pricore


@pytest.fixture
def registry(pricore: Pricore, make_repository: Callable[[str], GitRepository]) -> Pricore:
    """acme with acme/library: 1.0.0, v1.1.0 and dev-main, a commit each."""
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"})
    upstream.tag("1.0.0")
    upstream.commit(files={"a.txt": "a"})
    upstream.tag("v1.1.0")
    upstream.commit(files={"a.txt": "b"})
    pricore.run("repo", "add", "acme", upstream.url)
    return pricore


def versions(registry: Pricore) -> list[str]:
    return [item["version"] for item in registry.json("package", "show", "acme", "acme/library")["versions"]]


def test_an_organization_is_changed(pricore: Pricore) -> None:
    """`org change` changes what is given and leaves the rest."""
    before = pricore.json("org", "show", "acme")
    changed = pricore.json("org", "change", "acme", "--name", "Acme Inc", "--description", "Tools")
    assert changed == {name: before[name] for name in ("id", "slug", "sync_interval", "created_at")} | {
        "name": "Acme Inc",
        "description": "Tools",
    }
    assert pricore.json("org", "change", "acme", "--description", "") == changed | {"description": ""}
    assert pricore.json("org", "show", "acme")["name"] == "Acme Inc"
    assert "Acme" not in pricore.run("org", "change", "acme", "--name", "Other").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["org", "change", "missing", "--name", "x"], "there is no organization missing"),
        (["org", "change", "acme", "--name", ""], "1 to 255 characters"),
        (["org", "change", "acme", "--description", "x" * 1001], "up to 1000 characters"),
        (["org", "create", "x", "--description", "\x1b[2J"], "up to 1000 characters"),
        (["package", "delete", "acme", "acme/missing", "--yes"], "acme has no package acme/missing"),
        (["package", "delete", "acme", "acme/library", "9.9.9", "--yes"], "acme/library has no version 9.9.9"),
        (["package", "delete", "acme", "acme/library"], "this deletes acme/library with its archives: add --yes"),
        (["package", "delete", "acme", "acme/library", "1.0"], "this deletes acme/library 1.0.0"),
        (["package", "downloads", "acme", "acme/missing"], "acme has no package acme/missing"),
        (["package", "downloads", "acme", "acme/library", "--from", "x"], "'x' is not a date"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(registry: Pricore, arguments: list[str], said: str) -> None:
    """Nothing is changed or deleted by a mistake, nor without --yes where nobody can be asked."""
    assert said in registry.fail(*arguments)
    assert versions(registry) == ["v1.1.0", "1.0.0", "dev-main"]


def test_a_change_of_nothing_is_wrong_usage(pricore: Pricore) -> None:
    """`org change` without an option is a mistake in the command itself."""
    assert "--name, --description or" in pricore.run("org", "change", "acme", status=2).stderr


def test_a_version_is_deleted_and_stays_deleted(registry: Pricore) -> None:
    """`package delete` with a version takes that one out; `repo show` says why it is missing after a sync."""
    assert registry.json("package", "delete", "acme", "acme/library", "1.1.0", "--yes") == {
        "deleted": "acme/library",
        "version": "v1.1.0",
    }
    (repository,) = registry.json("repo", "list", "acme")
    registry.run("repo", "sync", "acme")
    assert versions(registry) == ["1.0.0", "dev-main"]
    refs = registry.json("repo", "show", "acme", repository["id"])["refs"]
    (left_out,) = [item for item in refs if item["left_out"]]
    assert left_out["ref"] == "refs/tags/v1.1.0"
    assert left_out["left_out"].startswith("deleted on 2")


def test_a_package_is_deleted_while_the_server_runs(registry: Pricore) -> None:
    """`package delete` without a version takes out all of it, and the next sync succeeds without it."""
    assert registry.run("package", "delete", "acme", "acme/library", "--yes").stdout == "Deleted acme/library.\n"
    assert registry.json("package", "list", "acme") == []
    (report,) = registry.json("repo", "sync", "acme")["synced"]
    assert (report["packages"], len(report["left_out"])) == ([], 3)


def test_downloads_are_shown(registry: Pricore) -> None:
    """`package downloads` prints what the API answers, for a period or the last 30 days."""
    shown = registry.json(
        "package", "downloads", "acme", "acme/library", "--from", "2026-01-01", "--to", "2026-01-02"
    )
    nothing = {"downloads": 0, "archives": 0, "versions": {}, "archive_versions": {}}
    assert shown == {
        "total": 0,
        "total_archives": 0,
        "from": "2026-01-01",
        "to": "2026-01-02",
        "days": [
            {"date": "2026-01-01"} | nothing,
            {"date": "2026-01-02"} | nothing,
        ],
        "versions": [],
    }
    assert len(registry.json("package", "downloads", "acme", "acme/library")["days"]) == 30
    text = registry.run("package", "downloads", "acme", "acme/library").stdout
    assert re.findall(r"^(\w+) since ever: +0$", text, re.MULTILINE) == ["installs", "archives"]
