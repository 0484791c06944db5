"""Tokens to live with: a name means one, a secret is replaced without a pause, and who used one is told."""

import time
from collections.abc import Callable

import pytest

from tests.harness import Client, GitRepository, Pricore


@pytest.fixture
def served(pricore: Pricore, make_repository: Callable[[str], GitRepository]) -> Pricore:
    """acme with a library."""
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"})
    upstream.tag("1.0.0")
    pricore.run("repo", "add", "acme", upstream.url)
    return pricore


def test_a_name_means_one_token(pricore: Pricore) -> None:
    """Another token of that name is refused, by the API with 409; one that was revoked is not in the way."""
    pricore.run("org", "create", "beta")
    pricore.run("token", "create", "acme", "CI")
    assert (
        pricore.fail("token", "create", "acme", "CI") == "error: acme has a token CI already; choose another name"
    )
    pricore.run("token", "create", "beta", "CI")
    assert "beta has a token CI already" in pricore.fail("token", "change", "acme", "CI", "--also", "beta")
    pricore.run("token", "change", "acme", "CI", "--name", "Shop CI")
    pricore.run("token", "create", "acme", "CI")
    pricore.run("token", "revoke", "acme", "CI", "--yes")
    pricore.run("token", "create", "acme", "CI")
    admin = pricore.json("token", "create", "acme", "admin", "--scope", "tokens:write")["token"]
    with pricore.serving() as server:
        status, body = Client(server["url"], admin).ask(
            "POST", "/api/organizations/acme/tokens", {"name": "CI", "scopes": ["tokens:write"]}
        )
        assert (status, b"acme has a token CI already" in body) == (409, True)


def test_a_secret_is_replaced_without_a_pause(served: Pricore) -> None:
    """The old one is good for a while, and says when it ends; with an overlap of 0 it isn't."""
    first = served.json("token", "create", "acme", "CI")["token"]
    with served.serving() as server:
        old = Client(server["url"], first)
        assert set(old.versions("acme/library"))
        second = served.json("token", "rotate", "acme", "CI")["token"]
        new = Client(server["url"], second)
        for client in (old, new):
            assert set(client.versions("acme/library"))
        assert new.read("/api/token")["data"]["expires_at"] is None
        assert old.read("/api/token")["data"]["expires_at"] is not None

        third = served.json("token", "rotate", "acme", "CI", "--overlap", "0")["token"]
        assert [client.ask("GET", "/org/acme/packages.json")[0] for client in (old, new)] == [401, 401]
        assert set(Client(server["url"], third).versions("acme/library"))


def test_changed_rules_count_from_the_next_request(served: Pricore) -> None:
    """What a token sees is changed under its secret; its documents have a later date then."""
    secret = served.json("token", "create", "acme", "CI")["token"]
    with served.serving() as server:
        client = Client(server["url"], secret)
        assert set(client.versions("acme/library")) == {"1.0.0", "dev-main"}
        served.run("token", "change", "acme", "CI", "--package", "acme/library:^1")
        assert set(client.versions("acme/library")) == {"1.0.0"}
        served.run("token", "change", "acme", "CI", "--package", "acme/other*")
        assert client.versions("acme/library") == {}
        served.run("token", "change", "acme", "CI", "--all-packages")
        assert set(client.versions("acme/library")) == {"1.0.0", "dev-main"}


def test_it_is_shown_who_used_a_token_and_which_will_expire(served: Pricore) -> None:
    """When, from where and with which client; and how many days are left, of which the log warns once."""
    secret = served.json("token", "create", "acme", "CI", "--expires", "3d")["token"]
    with served.serving() as server:
        Client(server["url"], secret).ask(
            "GET", "/org/acme/packages.json", User_Agent="Composer/2.11.0 (Linux; CI)"
        )

        while (item := served.json("token", "list", "acme")[0])["last_used_at"] is None:
            time.sleep(0.1)
        assert (item["last_used_from"], item["last_used_by"]) == ("127.0.0.1", "Composer/2.11.0 (Linux; CI)")
        shown = served.run("token", "list", "acme").stdout
        assert "from 127.0.0.1 with Composer/2.11.0" in " ".join(shown.split())
        assert "(in 2 days)" in " ".join(shown.split())
