"""What a token sees, with the real client: of several organizations, by patterns, constraints and dates."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Client, Composer, GitRepository, Pricore


class World:
    """acme with a library and a plugin in two releases and a branch, beta with a tool, and a project of theirs."""

    def __init__(self, pricore: Pricore, composer: Composer, url: str) -> None:
        self.pricore = pricore
        self.composer = composer
        self.url = url
        self.made = 0

    def create(self, *options: str) -> str:
        self.made += 1
        return str(self.pricore.json("token", "create", "acme", f"Shop {self.made}", *options)["token"])

    def require(self, secret: str, **constraints: str) -> None:
        """A project that requires acme's and beta's packages, which are from one host, with one login for both."""
        repositories = [
            *({"type": "composer", "url": f"{self.url}/org/{slug}"} for slug in ("acme", "beta")),
            {"packagist.org": False},
        ]
        names = {name.replace("_", "/"): constraint for name, constraint in constraints.items()}
        self.composer.write(require=names, repositories=repositories)
        self.composer.log_in(self.url, secret)


@pytest.fixture
def world(tmp_path: Path, make_repository: Callable[[str], GitRepository], composer: Composer) -> Iterator[World]:
    pricore = Pricore(tmp_path / "data")
    pricore.found()
    pricore.run("org", "create", "beta")
    for slug, name in (("acme", "acme/library"), ("acme", "acme/plugin"), ("beta", "beta/tool")):
        upstream = make_repository(name.replace("/", "-"))
        for version in ("1.0.0", "2.0.0"):
            upstream.commit({"name": name}, files={"version.txt": version})
            upstream.tag(version)
        upstream.commit(files={"version.txt": "main"})
        pricore.run("repo", "add", slug, upstream.url)
    with pricore.serving() as server:
        yield World(pricore, composer, server["url"])


def test_one_login_installs_from_two_organizations(world: World) -> None:
    """A host has one login in Composer: a token of both organizations is that, with rules for each of them."""
    secret = world.create(
        "--also", "beta", "--package", "acme/*", "--package", "acme/plugin:^1", "--package", "beta:beta/*"
    )
    world.require(secret, acme_library="*", acme_plugin="*", beta_tool="*")
    world.composer.run("update")

    assert {name: world.composer.installed(name, "version.txt") for name in world.composer.locked()} == {
        "acme/library": "2.0.0",
        "acme/plugin": "1.0.0",
        "beta/tool": "2.0.0",
    }
    assert all("source" not in package for package in world.composer.locked().values())
    world.composer.forget()
    world.composer.run("install")

    told = Client(world.url, secret).read("/api/token")["data"]
    assert told["organization"] == "acme"
    assert [(item["slug"], item["packages"]) for item in told["organizations"]] == [
        ("acme", ["acme/*", "acme/plugin:^1"]),
        ("beta", ["beta/*"]),
    ]


def test_what_a_rule_leaves_out_cannot_be_installed_from_a_lock_file_either(world: World) -> None:
    """The client prints which versions the token has."""
    world.require(world.create(), acme_plugin="^2")
    world.composer.run("update")
    world.composer.forget()
    world.require(world.create("--package", "acme/plugin:^1"), acme_plugin="^2")
    output = world.composer.run("install", fails=True)

    assert "acme/plugin 2.0.0 is not for this access token: it has ^1" in " ".join(output.split())


def test_a_date_leaves_out_what_came_later(world: World) -> None:
    """Versions count by when this registry served them first."""
    for before, versions in (("2020-01-01", set()), ("2100-01-01", {"1.0.0", "2.0.0", "dev-main"})):
        secret = world.create("--published-before", before)
        assert set(Client(world.url, secret).versions("acme/plugin")) == versions
    shown = world.pricore.json("token", "list", "acme")
    assert [item["published_before"] for item in shown] == ["2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--package", "*"], "'*' is everything: leave the rule out for that, or name a vendor (acme/*)"),
        (["--package", "acme/plugin:^x"], "the rule 'acme/plugin:^x': invalid version constraint \"^x\""),
        (["--package", "acme/missing"], "acme has no package acme/missing"),
        (
            ["--package", "beta:beta/*"],
            "the rule 'beta:beta/*' is of beta, which is none of the token's organizations",
        ),
        (["--also", "gamma"], "there is no organization gamma"),
        (
            ["--published-before", "soon"],
            "'soon' is no date such as 2027-01-01, nor a time such as 2027-01-01T12:00Z",
        ),
        (["--package", "acme/*"] + [f"--package=acme/x{n}*" for n in range(100)], "a token has at most 100 rules"),
    ],
)
def test_what_cannot_be_a_rule_is_told_in_one_line(pricore: Pricore, options: list[str], message: str) -> None:
    """Which rule, and what is wrong with it; nothing is made."""
    pricore.run("org", "create", "beta")
    assert pricore.fail("token", "create", "acme", "CI", *options).startswith(f"error: {message}")
    assert json.loads(pricore.run("token", "list", "acme", "--json").stdout) == []
