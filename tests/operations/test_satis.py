"""A satis.json is understood as Satis does: its repositories, and what their hosts are logged in to with."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pricore.errors import InvalidError
from pricore.operations.satis_file import Satis, SatisLogin, read_satis
from tests.harness import GitRepository


def read(folder: Path, document: Any, auth: Any = None) -> Satis:
    (folder / "satis.json").write_text(document if isinstance(document, str) else json.dumps(document))
    if auth is not None:
        (folder / "auth.json").write_text(json.dumps(auth))
    return read_satis(folder / "satis.json")


def repositories(folder: Path, *items: Any, **more: Any) -> list[tuple[str, str | None, str]]:
    """Where each repository is, which provider's it is, and why it isn't followed."""
    found = read(folder, {"repositories": items, **more}).repositories
    return [
        (item.url, None if item.address is None else item.address.provider, re.split("[:,]", item.reason)[0])
        for item in found
    ]


def test_repositories_of_git_are_followed(tmp_path: Path) -> None:
    """Of any type that Composer reads with Git, at the provider that the type or a setting names."""
    GitRepository(tmp_path / "local")
    assert repositories(
        tmp_path,
        {"type": "vcs", "url": "https://github.com/acme/a"},
        {"type": "git", "url": "git@git.example.com:acme/b.git"},
        {"type": "gitlab", "url": "https://git.example.com/acme/c"},
        {"type": "vcs", "url": "https://gitlab.corp.example/acme/d.git"},
        {"type": "vcs", "url": "./local"},
        {"type": "vcs", "url": "local"},
        config={"gitlab-domains": ["gitlab.corp.example"]},
    ) == [
        ("https://github.com/acme/a", "github", ""),
        ("git@git.example.com:acme/b.git", "git", ""),
        ("https://git.example.com/acme/c", "gitlab", ""),
        ("https://gitlab.corp.example/acme/d.git", "gitlab", ""),
        (f"{tmp_path}/local", "git", ""),
        (f"{tmp_path}/local", "git", ""),
    ]


def test_repositories_by_name(tmp_path: Path) -> None:
    """An object of repositories counts as a list does, and what switches packagist.org off is none."""
    found = read(
        tmp_path, {"repositories": {"a": {"type": "vcs", "url": "https://x.example/a"}, "packagist.org": False}}
    )
    assert [item.url for item in found.repositories] == ["https://x.example/a"]
    assert read(tmp_path, {"repositories": [{"packagist.org": False}]}).repositories == []
    assert read(tmp_path, {}).repositories == []


def test_what_is_no_git_repository_is_passed_over(tmp_path: Path) -> None:
    """Each with what to do about it; no password in a URL is shown."""
    assert repositories(
        tmp_path,
        {"type": "composer", "url": "https://me:secret@repo.example.com"},
        {"type": "package", "package": {"name": "acme/x", "version": "1.0"}},
        {"type": "artifact", "url": "zips/"},
        {"type": "path", "url": "../packages/*"},
        {"type": "svn", "url": "https://svn.example.com/x"},
        {"type": "vcs", "url": "ssh://git:secret@git.example.com/x"},
        {"type": "vcs"},
        {"url": "https://git.example.com/x"},
        {"type": ["vcs"], "url": {}},
    ) == [
        ("https://repo.example.com", None, "another registry"),
        ("", None, "a package that stands in satis.json alone"),
        ("zips/", None, "a folder of archives"),
        ("../packages/*", None, "a folder without history"),
        ("https://svn.example.com/x", None, "a repository of the type svn"),
        ("ssh://git.example.com/x", None, "the address of git.example.com holds a user or password"),
        ("", None, "'' is no Git address; give a URL such as https"),
        ("https://git.example.com/x", None, "a repository of the type ?"),
        ("", None, "a repository of the type ['vcs']"),
    ]  # fmt: skip


def test_the_tokens_of_hosts_that_are_followed_are_kept(tmp_path: Path) -> None:
    """Out of URLs, satis.json and auth.json, in Composer's order; those of other hosts are nobody's business."""
    found = read(
        tmp_path,
        {
            "config": {
                "github-oauth": {"github.com": "gh-token"},
                "http-basic": {"git.example.com": {"username": "ada", "password": "pw"}, "b.example": "nonsense"},
                "gitlab-token": {"gitlab.com": "of satis.json"},
            },
            "repositories": [
                {"type": "vcs", "url": "https://github.com/acme/a"},
                {"type": "vcs", "url": "http://git.example.com/acme/b"},
                {"type": "vcs", "url": "https://gitlab.com/acme/c"},
                {"type": "vcs", "url": "https://url-token:x-oauth-basic@c.example:8443/acme/d"},
                {"type": "vcs", "url": "https://me:p%40ss@d.example/acme/e"},
            ],
        },
        auth={
            "gitlab-token": {"gitlab.com": {"username": "deploy", "token": "of auth.json"}},
            "bearer": {"elsewhere.example": "x"},
        },
    )
    assert {login.host: login for login in found.logins} == {
        "github.com": SatisLogin("github.com", None, "gh-token"),
        "git.example.com": SatisLogin("git.example.com", "ada", "pw", plain=True),
        "gitlab.com": SatisLogin("gitlab.com", "oauth2", "of satis.json"),
        "c.example:8443": SatisLogin("c.example:8443", None, "url-token"),
        "d.example": SatisLogin("d.example", "me", "p@ss"),
    }
    assert "gh-token" not in repr(found.logins)
    assert [item.url for item in found.repositories][-2:] == [
        "https://c.example:8443/acme/d",
        "https://d.example/acme/e",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{\n]", "is no JSON, line 2"),
        ("[]", "is no satis.json"),
        ("[" * 100_000, "is no JSON"),
        (" " * (17 * 1024**2), "has more than 16 MB"),
    ],
)
def test_what_is_no_satis_json(tmp_path: Path, content: str, message: str) -> None:
    """One line that names the file."""
    with pytest.raises(InvalidError, match=message):
        read(tmp_path, content)
    with pytest.raises(InvalidError, match=r"cannot read .*: No such file or directory"):
        read_satis(tmp_path / "nothing")


def test_a_list_of_addresses(tmp_path: Path) -> None:
    """What other registries have in their databases: a line each, with logins or without."""
    found = read(
        tmp_path, "\ufeff# from a database\n\nhttps://a.example/x.git\r\n  https://t:x-oauth-basic@b.example/y\n"
    )
    assert [item.url for item in found.repositories] == ["https://a.example/x.git", "https://b.example/y"]
    assert found.logins == [SatisLogin("b.example", None, "t")]
    assert read(tmp_path, "").repositories == []
    (tmp_path / "satis.json").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidError, match="is no text"):
        read_satis(tmp_path / "satis.json")


@pytest.mark.parametrize(
    "document",
    [
        {"repositories": 1, "name": [], "config": "x", "require": 3},
        {"repositories": [1, None, "x", [], {"url": "a\0b", "type": "vcs"}], "config": {"github-oauth": []}},
        {"repositories": [{"type": "vcs", "url": "https://[/x"}, {"type": "vcs", "url": "x" * 5000}]},
        {"repositories": [{"type": "vcs", "url": "./\0"}, {"type": "vcs", "url": "~nobody-here/x"}]},
        {"repositories": [{"type": "vcs", "url": "\ud800"}], "config": {"gitlab-domains": 5}},
    ],
)
def test_nonsense_is_passed_over(tmp_path: Path, document: Any) -> None:
    """Whatever stands there, nothing of it is followed, and nothing breaks."""
    assert all(item.address is None for item in read(tmp_path, document).repositories)
