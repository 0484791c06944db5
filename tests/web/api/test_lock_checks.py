"""Checks of lock files make archives within the limits that downloads have."""

import shutil
import threading
from typing import Any

import pytest

from pricore.vcs.mirror import Mirror
from pricore.web.api import locks
from pricore.web.api.docs import build_page
from tests.web.api.harness import ORG, call, refusal
from tests.web.composer.harness import Start, Template, World

CHECK = f"{ORG}/lock-checks"


def _lock(world: World, *versions: str) -> dict[str, Any]:
    url = f"{world.base}/org/acme/packages/acme/library"
    return {
        "packages": [
            {"name": "acme/library", "version": version, "dist": {"url": f"{url}/{version}.zip", "shasum": ""}}
            for version in versions
        ]
    }


async def test_archives_that_a_check_makes_count_as_downloads(start: Start) -> None:
    """What isn't kept is made as often as it could be downloaded; what is kept can be checked at will."""
    world = await start(downloads_per_minute=2)
    secret = await world.token()
    for _ in range(2):
        shutil.rmtree(world.config.dists, ignore_errors=True)
        for _ in range(4):
            reply = await call(world, "POST", CHECK, secret, _lock(world, "v1.0.0"))
            assert [item["problem"] for item in reply.json["data"]] == [None]
    shutil.rmtree(world.config.dists)
    reply = await call(world, "POST", CHECK, secret, _lock(world, "v1.0.0"))
    assert refusal(reply, 429)[0].startswith("2 archives of acme/library a minute are the limit")
    assert int(reply.headers["Retry-After"]) > 0
    assert world.kept() == []
    # another token has a limit of its own
    assert (await call(world, "POST", CHECK, await world.token(), _lock(world, "v1.0.0"))).status == 200


async def test_a_check_that_takes_too_long_goes_on_when_it_is_asked_for_again(
    world: World, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends before a reverse proxy gives up, says when to ask again, and what it made by then is kept."""
    monkeypatch.setattr(locks, "MOST_SECONDS", 0)
    reply = await call(world, "POST", CHECK, admin, _lock(world, "v1.0.0"))
    assert refusal(reply, 503)[0].startswith("0 of 1 packages are checked")
    assert reply.headers["Retry-After"] == "5"
    monkeypatch.setattr(locks, "MOST_SECONDS", 50)
    assert (await call(world, "POST", CHECK, admin, _lock(world, "v1.0.0"))).status == 200


def _pinned(world: World, commit: str) -> dict[str, Any]:
    url = f"{world.base}/org/acme/packages/acme/library/dev-main/{commit}.zip"
    dist = {"url": url, "reference": commit, "shasum": ""}
    return {"packages": [{"name": "acme/library", "version": "dev-main", "dist": dist}]}


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commits that histories were walked through for."""
    found: list[str] = []
    led_to = Mirror.led_to

    async def noted(mirror: Mirror, commit: str, *arguments: Any) -> Any:
        found.append(commit)
        return await led_to(mirror, commit, *arguments)

    monkeypatch.setattr(Mirror, "led_to", noted)
    return found


@pytest.mark.parametrize(("method", "path"), [("POST", CHECK), ("PUT", f"{ORG}/locks/production")])
async def test_commits_that_are_looked_up_count_as_downloads(
    start: Start, looked_up: list[str], method: str, path: str
) -> None:
    """Who invents commits has as many of them looked up as could be downloaded, by a check or a registration."""
    world = await start(downloads_per_minute=2)
    secret = await world.token(scopes=("packages:read", "packages:write"))
    invented = [f"{number:040x}" for number in range(3)]
    for commit in invented[:2]:
        assert (await call(world, method, path, secret, _pinned(world, commit))).status == 200
    reply = await call(world, method, path, secret, _pinned(world, invented[2]))
    assert refusal(reply, 429)[0].startswith("2 archives of acme/library a minute are the limit")
    assert looked_up == invented[:2]
    # what is known needs no look-up
    assert (await call(world, "PUT", f"{ORG}/locks/x", secret, _lock(world, "v1.0.0"))).status == 200


async def test_a_commit_that_is_looked_up_and_made_counts_once(
    start: Start, looked_up: list[str], template: Template
) -> None:
    """A check of a commit that a project is pinned to is one download of its package."""
    world = await start(downloads_per_minute=1)
    secret = await world.token()
    for _ in range(2):
        reply = await call(world, "POST", CHECK, secret, _pinned(world, template.between))
        assert [item["problem"] for item in reply.json["data"]] == [None]
    assert looked_up == [template.between]


async def test_registering_that_takes_too_long_says_when_to_ask_again(
    world: World, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends before a reverse proxy gives up, like a check, and nothing is registered."""
    monkeypatch.setattr(locks, "MOST_SECONDS", 0)
    reply = await call(world, "PUT", f"{ORG}/locks/production", admin, _pinned(world, "a" * 40))
    assert refusal(reply, 503)[0].startswith("0 of 1 packages are checked")
    assert reply.headers["Retry-After"] == "5"
    assert (await call(world, "GET", f"{ORG}/locks", admin)).json["data"] == []


async def test_the_documentation_is_made_once_and_by_another_thread(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who needs no token to ask for it makes nobody else wait."""
    made: list[threading.Thread] = []

    def observed(document: Any) -> str:
        made.append(threading.current_thread())
        return build_page(document)

    monkeypatch.setattr("pricore.web.api.build_page", observed)
    pages = [await call(world, "GET", "/api/docs") for _ in range(3)]
    assert {page.status for page in pages} == {200}
    assert (await call(world, "GET", "/api/openapi.json")).json["openapi"] == "3.1.0"
    assert len(made) == 1
    assert made[0] is not threading.main_thread()
