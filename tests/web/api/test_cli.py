"""`pricore token --instance`: tokens that see every organization, made and ended beside a running server."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.harness import GitRepository, Pricore


@pytest.fixture
def registry(pricore: Pricore, make_repository: Callable[[str], GitRepository]) -> Pricore:
    """acme with acme/library, and other with other/thing."""
    pricore.run("org", "create", "other")
    for org, name in (("acme", "library"), ("other", "thing")):
        repository = make_repository(name)
        repository.commit({"name": f"{org}/{name}"})
        pricore.run("repo", "add", org, repository.url)
    return pricore


def ask(url: str, secret: str) -> tuple[int, Any]:
    """The status and the document of an answer."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {secret}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_an_instance_token_is_created_listed_and_revoked(pricore: Pricore) -> None:
    """`--instance` takes the place of the organization in create, list and revoke."""
    made = pricore.json("token", "create", "--instance", "operator", "--scope", "organizations:read")
    pricore.run("token", "create", "acme", "ci")

    assert (made["name"], made["scopes"], made["packages"]) == ("operator", ["organizations:read"], None)
    (listed,) = pricore.json("token", "list", "--instance")
    assert listed == {name: value for name, value in made.items() if name != "token"}
    assert [item["name"] for item in pricore.json("token", "list", "acme")] == ["ci"]
    pricore.run("token", "revoke", "--instance", made["id"], "--yes")
    assert pricore.json("token", "list", "--instance") == []
    assert len(pricore.json("token", "list", "acme")) == 1


def test_a_server_that_runs_knows_an_instance_token_at_once(registry: Pricore) -> None:
    """It opens every organization, for Composer and for the API, until it is revoked."""
    with registry.serving() as serving:
        base = serving["url"]
        made = registry.json(
            "token", "create", "--instance", "ops", "--scope", "packages:read", "--scope", "organizations:read"
        )
        status, organizations = ask(f"{base}/api/organizations", made["token"])
        assert (status, [item["slug"] for item in organizations["data"]]) == (200, ["acme", "other"])
        addresses = [f"{base}/org/acme/packages.json", f"{base}/org/other/packages.json"]
        assert [ask(url, made["token"])[0] for url in addresses] == [200, 200]
        registry.run("token", "revoke", "--instance", made["id"], "--yes")
        assert [ask(url, made["token"])[0] for url in addresses] == [401, 401]


def test_an_instance_token_expires(pricore: Pricore) -> None:
    """`--expires` is for tokens of the instance too."""
    made = pricore.json("token", "create", "--instance", "ops", "--expires", "2099-01-01")

    assert made["expires_at"] == "2099-01-02T00:00:00Z"


def test_tokens_are_revoked_where_they_belong(pricore: Pricore) -> None:
    """An organization's token is not the instance's, nor the other way round; the error says where to look."""
    of_instance = pricore.json("token", "create", "--instance", "ops")
    of_acme = pricore.json("token", "create", "acme", "ci")

    assert "`pricore token list acme`" in pricore.fail("token", "revoke", "acme", of_instance["id"])
    assert "`pricore token list --instance`" in pricore.fail("token", "revoke", "--instance", of_acme["id"])
    assert len(pricore.json("token", "list", "acme")) == 1
    assert len(pricore.json("token", "list", "--instance")) == 1


def test_people_see_the_secret_alone(pricore: Pricore) -> None:
    """What `create` prints is the secret and nothing else, so that it goes through a pipe."""
    done = pricore.run("token", "create", "--instance", "ops")

    assert len(done.stdout.split()) == 1
    assert done.stdout.startswith("pri_")
    assert "only time" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "ci"], "ORG and NAME"),
        (["create"], "Missing argument"),
        (["create", "--instance"], "Missing argument"),
        (["create", "acme", "ci", "more"], "ORG and NAME"),
        (["create", "--instance", "acme", "ci"], "NAME"),
        (["create", "--instance", "ci", "--package", "acme/library"], "an instance token sees everything"),
        (["list"], "ORG"),
        (["list", "acme", "other"], "ORG"),
        (["list", "--instance", "acme"], "nothing more"),
        (["revoke", "1"], "ORG and ID"),
        (["revoke", "--instance", "acme", "1"], "ID"),
        (["revoke", "--instance"], "Missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_exits_2_and_makes_nothing(pricore: Pricore, arguments: list[str], said: str) -> None:
    """An organization where none belongs, or none where one does, is a mistake in the command itself."""
    done = pricore.run("token", *arguments, status=2)

    assert said in done.stderr
    assert done.stdout == ""
    assert pricore.json("token", "list", "--instance") == pricore.json("token", "list", "acme") == []
