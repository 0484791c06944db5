"""An organization of a Git host is followed in one go, webhooks included, and again when something is new."""

import base64
import hashlib
import hmac
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.githost import GitHost
from tests.harness import Composer, GitRepository, Pricore, any_composer

READER = "tok-3n1gm4-reads"
ADMIN = "tok-3n1gm4-may-do-all"


class Forgejo(GitHost):
    """A GitHost with the API of a Forgejo: one organization, acme, for who has a token."""

    page_size = 2

    def __init__(self, root: Path, below: str = "") -> None:
        super().__init__(root, {READER: "", ADMIN: ""})
        self.below = below
        self.repositories: dict[str, dict[str, Any]] = {}
        self.hooks: dict[str, list[dict[str, Any]]] = {}

    def add(self, name: str, composer: dict[str, Any] | None, **more: Any) -> GitRepository:
        """A repository of acme's, with a release."""
        repository = GitRepository(self.root / "acme" / f"{name}.git")
        repository.commit(composer)
        repository.tag("1.0.0")
        self.repositories[name] = {
            "id": len(self.repositories) + 1,
            "name": name,
            "full_name": f"acme/{name}",
            "clone_url": f"https://elsewhere.example.com/acme/{name}.git",
            "ssh_url": f"ssh://git@127.0.0.1:2222/acme/{name}.git",
            "empty": False,
            "archived": False,
            "fork": False,
        } | more
        return repository

    def allows(self, path: str, header: str) -> bool:
        path = path.removeprefix(self.below)
        if not path.startswith("/api/"):
            return super().allows(path, header)
        writes = "/hooks" in path
        return header.removeprefix("token ") in ({ADMIN} if writes else {READER, ADMIN})

    def backend(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        if not path.startswith(f"{self.below}/"):
            return self._say(404, {})
        path = path.removeprefix(self.below)
        if not path.startswith("/api/v1/"):
            return super().backend(method, path, headers, body)
        path, _, query = path.removeprefix("/api/v1").partition("?")
        if path == "/orgs/acme/repos":
            return self._page(int(query.partition("page=")[2] or 1))
        _, *repository, name, part = path.removesuffix("/1").split("/")
        if repository != ["repos", "acme"] or name not in self.repositories or part != "hooks":
            return self._say(404, {"message": "not found"})
        hooks = self.hooks.setdefault(name, [])
        if method == "PATCH":
            hooks[0] |= json.loads(body)
        if method == "POST":
            made = json.loads(body)
            hooks.append(made | {"id": len(hooks) + 1})
            return self._say(201, hooks[-1])
        return self._say(200, hooks)

    def _page(self, number: int) -> Any:
        start = (number - 1) * self.page_size
        shown = list(self.repositories.values())[start : start + self.page_size]
        link = {}
        if start + self.page_size < len(self.repositories):
            after = f"{self.below}/api/v1/orgs/acme/repos?limit=50&page={number + 1}"
            link = {"Link": f'<http://{self.host}{after}>; rel="next"'}
        return self._say(200, shown, link)

    @staticmethod
    def _say(status: int, document: Any, headers: dict[str, str] | None = None) -> Any:
        return status, {"Content-Type": "application/json"} | (headers or {}), json.dumps(document).encode()


@pytest.fixture
def pricore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pricore:
    """The program, with an organization `acme`, and no proxy in between."""
    monkeypatch.setenv("no_proxy", "*")
    program = Pricore(tmp_path / "data")
    program.found()
    return program


@pytest.fixture
def forgejo(tmp_path: Path) -> Iterator[Forgejo]:
    """Two packages, one repository without a composer.json, an empty one, an archived one and a fork."""
    host = Forgejo(tmp_path / "host")
    host.add("library", {"name": "acme/library"})
    host.add("lib-http", {"name": "acme/http", "require": {"acme/library": "^1.0"}})
    host.add("website", None)
    host.add("begun", None, empty=True)
    host.add("old", {"name": "acme/old"}, archived=True)
    host.add("monolog", {"name": "monolog/monolog"}, fork=True)
    with host.running():
        yield host


def log_in(pricore: Pricore, host: GitHost, name: str, token: str) -> None:
    pricore.run("credential", "add", "acme", name, "--host", host.host, "--plain-http", stdin=f"{token}\n")


def statuses(document: Any) -> dict[str, str]:
    return {item["name"].removeprefix("acme/"): item["status"] for item in document["repositories"]}


ALL = {
    "library": "new",
    "lib-http": "new",
    "website": "new",
    "begun": "empty",
    "old": "archived",
    "monolog": "fork",
}


@any_composer
def test_an_organization_is_followed_in_one_go(pricore: Pricore, forgejo: Forgejo, composer: Composer) -> None:
    """Listed, added, installed with Composer; the next run finds what is new since, and nothing else."""
    where = ("acme", "forgejo", "acme", "--host", f"http://{forgejo.host}")
    assert "refuses GET /api/v1/orgs/acme/repos to who has no credential" in pricore.fail(
        "repo", "discover", *where
    )
    log_in(pricore, forgejo, "reader", READER)

    listed = pricore.run("repo", "discover", *where).stdout
    assert "3 of 6 new to acme; --add follows them." in listed
    assert pricore.json("repo", "list", "acme") == [], "a list adds nothing"

    added = pricore.json("repo", "discover", *where, "--add")
    assert statuses(added) == ALL | {"library": "added", "lib-http": "added", "website": "no package"}
    assert {item["url"] for item in added["repositories"]} == {
        f"http://{forgejo.host}/acme/{name}.git" for name in ALL
    }, "not where the host says that they are"
    with pricore.serving() as served:
        composer.write(require={"acme/http": "^1.0"}, registry=f"{served['url']}/org/acme")
        composer.log_in(served["url"], pricore.token())
        composer.run("update")
        assert composer.locked().keys() == {"acme/http", "acme/library"}

    forgejo.add("lib-log", {"name": "acme/log"})
    again = pricore.json("repo", "discover", *where, "--add", "--match", "lib*", "--archived")
    assert statuses(again) == {"library": "followed", "lib-http": "followed", "lib-log": "added"}
    more = pricore.json("repo", "discover", *where, "--archived", "--forks", "--match", "acme/[om]*")
    assert statuses(more) == {"old": "new", "monolog": "new"}


def test_one_that_fails_stops_no_other(pricore: Pricore, forgejo: Forgejo) -> None:
    """The others are followed, the failure is told with its name, and it isn't half there."""
    log_in(pricore, forgejo, "reader", READER)
    forgejo.add("copy", {"name": "acme/library"})
    forgejo.add("broken", None).commit("{ not JSON")
    where = ("acme", "gitea", "acme", "--host", f"http://{forgejo.host}")
    done = pricore.run("repo", "discover", *where, "--add", "--match", "*br*", "--json", status=1)
    assert statuses(json.loads(done.stdout)) == {"broken": "failed", "library": "added"}
    assert done.stderr.startswith("error: acme/broken: no version can be made of")
    assert len(done.stderr.splitlines()) == 1
    done = pricore.run("repo", "discover", *where, "--add", status=1)
    assert "acme/library comes from" in done.stderr
    followed = {item["url"].rpartition("/")[2] for item in pricore.json("repo", "list", "acme")}
    assert followed == {"library.git", "lib-http.git"}


def test_a_host_below_a_path_is_one(pricore: Pricore, tmp_path: Path) -> None:
    """host/git, for the credential, the list, what is added and the webhooks."""
    host = Forgejo(tmp_path / "host", below="/git")
    host.add("library", {"name": "acme/library"})
    public = Pricore(pricore.data, public_url="https://packages.example.com")
    with host.running():
        pricore.run(
            *("credential", "add", "acme", "admin", "--host", f"{host.host}/git", "--plain-http"),
            stdin=f"{ADMIN}\n",
        )
        at = ("--host", f"http://{host.host}/git/")
        added = public.json("repo", "discover", "acme", "gitea", "acme", *at, "--add", "--webhooks")
        ((name, status, hook),) = (
            (item["name"], item["status"], item["webhook"]) for item in added["repositories"]
        )
        assert (name, status, hook) == ("acme/library", "added", "created")
        (found,) = pricore.json("repo", "list", "acme")
        assert found["url"] == f"http://{host.host}/git/acme/library.git"
        assert "is updated." in public.run("repo", "webhook", "acme", found["id"], "--register", *at).stdout
    assert len(host.hooks["library"]) == 1


def test_webhooks_are_registered_by_who_may(pricore: Pricore, forgejo: Forgejo) -> None:
    """Reading and registering have a credential each; done again, nothing is registered twice; the hook works."""
    log_in(pricore, forgejo, "reader", READER)
    log_in(pricore, forgejo, "admin", ADMIN)
    where = ("acme", "forgejo", "acme", "--host", f"http://{forgejo.host}")
    public = Pricore(pricore.data, public_url="https://packages.example.com")
    done = public.run("repo", "discover", *where, "--add", "--match", "library", "--webhooks", status=1)
    assert "error: acme/library: its webhook is not registered: 127.0.0.1" in done.stderr
    assert "refuses GET /api/v1/repos/acme/library/hooks to the credential reader" in done.stderr

    made = public.json("repo", "discover", *where, "--webhooks", "--credential", "admin")
    assert {item["name"]: item["webhook"] for item in made["repositories"] if item["webhook"]} == {
        "acme/library": "created"
    }
    (hook,) = forgejo.hooks["library"]
    (repository,) = pricore.json("repo", "list", "acme")
    assert hook["config"]["url"] == f"https://packages.example.com/webhooks/gitea/{repository['id']}"
    with pricore.serving() as served:
        url = served["url"] + hook["config"]["url"].removeprefix("https://packages.example.com")
        body = json.dumps({"ref": "refs/heads/main", "repository": {"full_name": "acme/library"}}).encode()
        request = urllib.request.Request(url, body, {"X-Gitea-Event": "push", "Content-Type": "application/json"})
        request.add_header("X-Gitea-Signature", sign(hook["config"]["secret"], body))
        with urllib.request.urlopen(request) as answer:
            assert answer.status in (200, 202)

    pricore.run(
        "repo", "add", "acme", "acme/lib-http", "--provider", "forgejo", "--host", f"http://{forgejo.host}"
    )
    register = ("repo", "webhook", "acme", "acme/lib-http", "--register", "--credential", "admin")
    forgejo.hooks["lib-http"] = []
    assert "is created." in public.run(*register).stdout
    assert len(forgejo.hooks["lib-http"]) == 1
    assert hook["config"]["secret"] not in public.run(*register).stdout


def test_mistakes_are_told_before_anything_is_asked(pricore: Pricore, forgejo: Forgejo) -> None:
    """A wrong provider, host, owner or credential is one line, and nothing was added."""
    host = f"http://{forgejo.host}"
    log_in(pricore, forgejo, "reader", READER)
    for arguments, message in (
        (("acme", "svn", "acme"), "there is no provider svn"),
        (("acme", "git", "acme"), "say with --host where that git is"),
        (("acme", "git", "acme", "--host", host), "git has no API to ask"),
        (("acme", "gitea", "acme", "--host", "ftp://x"), "is no host such as git.example.com"),
        (("acme", "gitea", "acme", "--host", "me@x"), "is no host such as git.example.com"),
        (("acme", "bitbucket", "acme", "--host", host), "only bitbucket.org can be asked"),
        (("acme", "gitea", "..", "--host", host), "is no owner of repositories"),
        (("nobody", "gitea", "acme", "--host", host), "nobody"),
        (
            ("acme", "gitea", "acme", "--credential", "reader"),
            f"is for http:// and https:// at {forgejo.host} alone",
        ),
        (("acme", "gitea", "acme", "--credential", "other"), "acme has no credential other"),
        (("acme", "gitea", "acme", "--host", forgejo.host), "cannot reach 127.0.0.1"),  # https, which it isn't
    ):
        assert message in pricore.fail("repo", "discover", *arguments)
    assert not [path for path, _ in forgejo.seen if path.startswith("/api/")]
    assert "set public_url (PRICORE_PUBLIC_URL)" in pricore.fail(
        "repo", "discover", "acme", "gitea", "acme", "--webhooks"
    )
    assert pricore.json("repo", "list", "acme") == []


def test_the_token_is_seen_nowhere(pricore: Pricore, forgejo: Forgejo) -> None:
    """Neither in what is printed, nor in a URL that the host is asked for."""
    log_in(pricore, forgejo, "reader", READER)
    where = ("acme", "gitea", "acme", "--host", f"http://{forgejo.host}")
    shown = pricore.run("repo", "discover", *where, "--add", "--json").stdout + str(
        pricore.json("repo", "list", "acme")
    )
    assert READER not in shown
    assert base64.b64encode(READER.encode()).decode() not in shown
    assert not any(READER in path for path, _ in forgejo.seen)


def sign(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
