"""A cache in front of the registry, that keeps all it may, hands nobody what is another's or over."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import GitRepository, Pricore
from tests.proxies import Front, free_ports, fronted, nginx

KEPT_SECONDS = 600


class Cached:
    """A registry behind nginx that caches every status for ten minutes, by the address alone."""

    def __init__(self, front: Front, pricore: Pricore) -> None:
        self.front = front
        self.pricore = pricore

    def ask(self, path: str, secret: str | None) -> int:
        """The status of an answer."""
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        return self.front.ask(path, **headers)[0]


@pytest.fixture
def cached(pricore: Pricore, tmp_path: Path) -> Iterator[Cached]:
    (port,) = free_ports(1)
    folder = tmp_path / "nginx"
    changes = {
        "upstream pricore {": f"proxy_cache_path {folder}/kept keys_zone=kept:1m;\n\nupstream pricore {{",
        "proxy_pass http://pricore;": f"proxy_pass http://pricore;\nproxy_cache kept;\nproxy_cache_key $uri;\n"
        f"proxy_cache_valid any {KEPT_SECONDS}s;\nadd_header X-Cache $upstream_cache_status always;",
    }
    with pricore.serving() as served:
        upstream = int(served["listens"].rpartition(":")[2])
        with fronted(nginx, folder, port, upstream, changes=changes) as front:
            yield Cached(front, pricore)


def test_the_cache_keeps_what_it_may(cached: Cached) -> None:
    """It is one: what says that it is for everybody is asked for once."""
    found = [cached.front.ask("/api/openapi.json")[2]["X-Cache"] for _ in range(2)]
    assert found == ["MISS", "HIT"]


def test_what_one_token_may_not_have_another_gets(cached: Cached) -> None:
    """401, 403 and 404 for some token, or none, are handed to no other, in either order."""
    cached.pricore.run("org", "create", "beta")
    mine, beta, nothing = (
        cached.pricore.token(),
        cached.pricore.token(org="beta"),
        cached.pricore.token("--scope", "tokens:read"),
    )
    for path in ("/org/acme/packages.json", "/org/acme/search.json", "/api/organizations/acme/packages"):
        asked = [(beta, 404), (None, 401), (nothing, 403), (mine, 200), (beta, 404), (mine, 200)]
        assert [status for _, status in asked] == [cached.ask(path, secret) for secret, _ in asked]


def test_a_package_that_is_added_is_there_at_once(
    cached: Cached, make_repository: Callable[[str], GitRepository]
) -> None:
    """Its metadata and archive were 404 a moment ago."""
    secret = cached.pricore.token()
    upstream = make_repository("late")
    upstream.commit({"name": "acme/late"})
    upstream.tag("1.0.0")
    paths = [
        "/org/acme/p2/acme/late.json",
        "/org/acme/packages/acme/late/1.0.0.zip",
        "/api/organizations/acme/packages/acme/late",
    ]
    assert [cached.ask(path, secret) for path in paths] == [404, 404, 404]
    cached.pricore.run("repo", "add", "acme", upstream.url)
    assert [cached.ask(path, secret) for path in paths] == [200, 200, 200]
