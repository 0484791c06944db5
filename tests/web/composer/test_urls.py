"""The URLs in documents: absolute, and under the name that clients use."""

from typing import Any

import pytest

from tests.web.composer.harness import Start, World, error

DOCUMENTS = ["/packages.json", "/p2/acme/library.json", "/p2/acme/library~dev.json", "/search.json?q=words"]
every_document = pytest.mark.parametrize("path", DOCUMENTS)
inline_or_not = pytest.mark.parametrize("limit", [0, 64 * 1024])


def urls(document: Any) -> list[str]:
    """Every absolute URL in a document."""
    if isinstance(document, dict | list):
        items = document.values() if isinstance(document, dict) else document
        return [url for item in items for url in urls(item)]
    return [document] if isinstance(document, str) and "://" in document else []


@inline_or_not
@every_document
async def test_every_url_begins_with_the_public_one(start: Start, path: str, limit: int) -> None:
    """Where the public URL is set, it is what clients get, whatever name they used themselves."""
    world = await start(public_url="https://packages.example.com/registry", inline_limit=limit)
    found = urls((await world.get(path, headers={"Host": "evil.example.com"})).json)

    assert found
    assert [url for url in found if not url.startswith("https://packages.example.com/registry/org/acme/")] == []


@inline_or_not
@every_document
async def test_without_a_public_url_it_is_the_one_that_was_asked(start: Start, path: str, limit: int) -> None:
    """Each client gets URLs under the name that it used, never another client's."""
    world = await start(inline_limit=limit)
    secret = await world.token()
    for host in ("packages.internal:8080", "PACKAGES", "[2001:db8::1]:80", "127.0.0.1"):
        found = urls((await world.get(path, secret, headers={"Host": host})).json)

        assert found
        assert [url for url in found if not url.startswith(f"http://{host}/org/acme/")] == []


async def test_a_new_public_url_reaches_clients_that_have_a_copy(start: Start) -> None:
    """After a restart with another public URL no document is answered with 304."""
    world = await start(public_url="https://old.example.com")
    secret = await world.token()
    dates = {path: (await world.get(path, secret)).headers["Last-Modified"] for path in DOCUMENTS[:3]}
    world = await start(public_url="https://new.example.com")

    for path, date in dates.items():
        reply = await world.get(path, secret, headers={"If-Modified-Since": date})
        assert "https://old.example.com" not in reply.body.decode()


@every_document
async def test_a_malformed_host_is_refused(world: World, secret: str, path: str) -> None:
    """What is no host name gets into no document."""
    for host in (
        *("a b", 'a"b', "a/b", "user@a", "a:b", "a:123456", "a\\b", "\u00e9.example.com", "a?b", "a#b", "a,b"),
        *("[::1", "::1", "%61", "${a}", ""),
    ):
        error(await world.ask(path, secret, headers={"Host": host}), 400)
