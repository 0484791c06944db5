"""Where people find the source and the issues of a version: on the pages that Composer's own drivers name."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pricore.composer import composer_json
from pricore.composer.discovery import CommitFile, Rules, discover
from pricore.hosts.pages import support_of
from tests.githost import GitHost
from tests.harness import Client, GitRepository, Pricore

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def support(provider: str, url: str | None, ref: str, **composer: object) -> dict[str, str] | None:
    """The `support` of the version that a ref makes."""
    manifest = composer_json.read_manifest({"name": "acme/library", **composer})
    rules = Rules(default_branch="main", default_names={}, source_url=url, provider=provider, served={})
    (found,) = discover({ref: COMMIT}, {COMMIT: CommitFile(True, 1, manifest)}, rules).candidates
    supported: dict[str, str] | None = json.loads(bytes(found.entry)).get("support")
    return supported


@pytest.mark.parametrize(
    ("provider", "url", "ref", "source", "issues"),
    [
        (
            "github",
            "git@github.com:acme/library.git",
            "refs/tags/v1.0.0",
            "https://github.com/acme/library/tree/v1.0.0",
            "https://github.com/acme/library/issues",
        ),
        (
            "github",
            "https://git.example.com/acme/library",
            "refs/heads/feature/x",
            "https://git.example.com/acme/library/tree/feature/x",
            "https://git.example.com/acme/library/issues",
        ),
        (
            "gitlab",
            "https://git.example.com:8443/gitlab/acme/sub/library.git",
            "refs/tags/1.0.0",
            "https://git.example.com:8443/gitlab/acme/sub/library/-/tree/1.0.0",
            "https://git.example.com:8443/gitlab/acme/sub/library/-/issues",
        ),
        (
            "gitlab",
            "ssh://git@gitlab.com:2222/acme/library.git",
            "refs/heads/main",
            "https://gitlab.com/acme/library/-/tree/main",
            "https://gitlab.com/acme/library/-/issues",
        ),
        (
            "bitbucket",
            "https://bitbucket.org/acme/library.git",
            "refs/tags/1.0.0",
            f"https://bitbucket.org/acme/library/src/{COMMIT}/?at=1.0.0",
            None,
        ),
        (
            "gitea",
            "https://codeberg.org/acme/library.git",
            "refs/tags/1.0.0",
            "https://codeberg.org/acme/library/tag/1.0.0",
            "https://codeberg.org/acme/library/issues",
        ),
        (
            "gitea",
            "http://git.example.com:3000/acme/library.git",
            "refs/heads/main",
            "http://git.example.com:3000/acme/library/branch/main",
            "http://git.example.com:3000/acme/library/issues",
        ),
    ],
)
def test_a_version_says_where_its_source_and_issues_are(
    provider: str, url: str, ref: str, source: str, issues: str | None
) -> None:
    """Of what composer.json lacks, each by itself."""
    added = {"source": source} | ({} if issues is None else {"issues": issues})
    assert support(provider, url, ref) == added
    assert support(provider, url, ref, support="mail@example.com") == added
    own = {"source": "https://example.com/a", "issues": "https://example.com/b", "email": "a@example.com"}
    assert support(provider, url, ref, support=own) == own
    assert support(provider, url, ref, support={"source": "https://a"}) == added | {"source": "https://a"}


@pytest.mark.parametrize(
    ("provider", "url"),
    [("git", "https://git.example.com/acme/library.git"), ("github", "/srv/library"), ("gitlab", None)],
)
def test_a_host_without_pages_has_none(provider: str, url: str | None) -> None:
    """A folder, a plain Git server, and what clients cannot reach."""
    assert support(provider, url, "refs/tags/1.0.0") is None
    assert url is None or support_of(provider, url, "1.0.0", COMMIT, tag=True) is None


def test_a_client_is_told_where_the_source_is(
    tmp_path: Path, pricore: Pricore, make_repository: Callable[[str], GitRepository]
) -> None:
    """As the provider of the repository says."""
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"})
    upstream.tag("1.0.0")
    with GitHost(upstream.folder.parent).running() as host:
        pricore.run("repo", "add", "acme", host.url("library"), "--provider", "gitea")
        with pricore.serving() as server:
            served = Client(server["url"], pricore.token()).versions("acme/library")
    page = f"http://{host.host}/library"
    assert served["1.0.0"]["support"] == {"source": f"{page}/tag/1.0.0", "issues": f"{page}/issues"}
