"""Names, search, providers and advisories."""

from typing import Any

import pytest

from pricore.models import Package
from tests.harness import GitRepository
from tests.web.composer.harness import World, error


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["acme/library", "acme/plugin", "beta/tools"]),
        ("filter=acme/*", ["acme/library", "acme/plugin"]),
        ("filter=*", ["acme/library", "acme/plugin", "beta/tools"]),
        ("filter=*/tools", ["beta/tools"]),
        ("filter=a*l*", ["acme/library", "acme/plugin"]),
        ("filter=a*y", ["acme/library"]),
        ("filter=ACME/Lib*", ["acme/library"]),
        ("filter=acme/library", ["acme/library"]),
        ("filter=acme", []),
        ("filter=acme/", []),
        ("filter=*acme/library*acme/library*", []),
        ("filter=acme/librar[y]", []),
        ("vendor=beta", ["beta/tools"]),
        ("vendor=Acme", ["acme/library", "acme/plugin"]),
        ("vendor=ac", []),
        ("vendor=acme&filter=*in", ["acme/plugin"]),
        ("vendor=beta&filter=acme/*", []),
        ("type=composer-plugin", ["acme/plugin"]),
        ("type=library&vendor=acme", ["acme/library"]),
        ("type=", ["acme/library", "acme/plugin", "beta/tools"]),
        ("type=metapackage", []),
    ],
)
async def test_names_are_listed_by_pattern_and_vendor(world: World, query: str, names: list[str]) -> None:
    """`filter` takes a name in which * stands for anything, `vendor` the first half of names."""
    assert {"packageNames": names} == (await world.get(f"/list.json?{query}")).json


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("q=", ["acme/library", "acme/plugin", "beta/tools"]),
        ("", ["acme/library", "acme/plugin", "beta/tools"]),
        ("q=words", ["acme/library", "acme/plugin"]),
        ("q=WORDS", ["acme/library", "acme/plugin"]),
        ("q=everyone+words", ["acme/library"]),
        ("q=acme%20plugged", ["acme/plugin"]),
        ("q=lib", ["acme/library"]),
        ("q=nothing", []),
        ("q=words+nothing", []),
        ("q=&type=composer-plugin", ["acme/plugin"]),
        ("q=words&type=library", ["acme/library"]),
        ("q=words&type=", ["acme/library", "acme/plugin"]),
        ("q=tools&type=composer-plugin", []),
    ],
)
async def test_packages_are_searched_by_words_and_type(world: World, query: str, names: list[str]) -> None:
    """Every word has to be in the name or the description; a type, where one is given, has to be the package's."""
    found = (await world.get(f"/search.json?{query}")).json

    assert (names, len(names)) == ([item["name"] for item in found["results"]], found["total"])


async def test_a_search_is_read_page_by_page(world: World, secret: str) -> None:
    """`next` leads to the next page until there is none; `total` counts all that were found."""
    pages, url = [], f"{world.base}/org/acme/search.json?q=&per_page=2"
    while url:
        found = (await world.get(url, secret)).json
        pages.append([item["name"] for item in found["results"]])
        assert found["total"] == 3
        url = found.get("next", "")
    assert pages == [["acme/library", "acme/plugin"], ["beta/tools"]]

    found = (await world.get("/search.json?q=a%26b+words&page=1&per_page=1", secret)).json
    assert (found["results"], found.get("next")) == ([], None)
    found = (await world.get("/search.json?q=words%20acme&per_page=1&type=library", secret)).json
    assert ([item["name"] for item in found["results"]], found.get("next")) == (["acme/library"], None)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("per_page=1", ["acme/library"]),
        ("per_page=1&page=3", ["beta/tools"]),
        ("page=1", ["acme/library", "acme/plugin", "beta/tools"]),
        ("page=2", []),
        ("page=999999999&per_page=100", []),
    ],
)
async def test_a_page_has_what_was_asked_for(world: World, query: str, names: list[str]) -> None:
    """Pages have 15 unless they are asked for otherwise; beyond the last one there is nothing."""
    found = (await world.get(f"/search.json?{query}")).json
    assert ([item["name"] for item in found["results"]], found["total"]) == (names, 3)


@pytest.mark.parametrize("query", ["page=0", "page=-1", "page=x", "per_page=0", "per_page=101", "page=9e9"])
async def test_a_page_that_is_none_is_refused(world: World, query: str) -> None:
    """A number that is none, or too large a page, is 400."""
    assert "per_page" in error(await world.ask(f"/search.json?{query}", await world.token()), 400)


async def test_a_search_result_describes_the_package(world: World) -> None:
    """A result has what `composer search` shows."""
    expected = {
        "name": "acme/library",
        "description": "Words for everyone",
        "url": f"{world.base}/org/acme/p2/acme/library.json",
    }

    assert {"results": [expected], "total": 1} == (await world.get("/search.json?q=library")).json


@pytest.mark.parametrize(
    ("released", "branch", "expected"),
    [
        ({}, {"abandoned": "acme/other"}, "acme/other"),
        ({}, {"abandoned": True}, True),
        ({"abandoned": True}, {}, None),
        ({"abandoned": "acme/other"}, {"abandoned": False}, None),
        ({"abandoned": "acme/other"}, None, "acme/other"),
        ({}, {}, None),
    ],
)
async def test_an_abandoned_package_is_marked_in_every_list(
    world: World,
    upstream: GitRepository,
    released: dict[str, Any],
    branch: dict[str, Any] | None,
    expected: str | bool | None,
) -> None:
    """Search and the API say what composer.json of the default branch does, else that of the latest version."""
    upstream.commit({"name": "acme/old"} | released)
    upstream.tag("1.0.0")
    if branch is None:
        upstream.git("rm", "--quiet", "composer.json")
        upstream.commit()
    else:
        upstream.commit({"name": "acme/old"} | branch)
    await world.follow(upstream)

    (found,) = (await world.get("/search.json?q=acme/old")).json["results"]
    assert found.get("abandoned") == expected
    assert ("abandoned" in found) == (expected is not None)
    secret = await world.token()
    url = f"{world.base}/api/organizations/acme/packages"
    (listed,) = (await world.get(f"{url}?search=acme/old", secret)).json["data"]
    shown = (await world.get(f"{url}/acme/old", secret)).json["data"]
    assert (listed["abandoned"], shown["abandoned"]) == (expected, expected)


async def test_who_provides_a_virtual_package_is_listed(world: World, secret: str) -> None:
    """Providers are found whatever case composer.json uses; a name that nobody provides is 404."""
    expected = [
        {"name": "acme/library", "description": "Words for everyone", "type": "library"},
        {"name": "acme/plugin", "description": "Words, plugged in", "type": "composer-plugin"},
    ]

    assert {"providers": expected} == (await world.get("/providers/psr/log-implementation.json")).json
    error(await world.ask("/providers/psr/cache-implementation.json", secret), 404)
    restricted = await world.token(packages=["beta/tools"])
    error(await world.ask("/providers/psr/log-implementation.json", restricted), 404)


async def test_who_provides_a_name_is_looked_up_once_until_something_changes(
    world: World, secret: str, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks again and again costs nothing; each token gets what it may see, and what is new at once."""
    asked = []
    providers = world.store.packages.providers

    async def count(organization_id: str, name: str) -> list[Package]:
        asked.append(name)
        return await providers(organization_id, name)

    monkeypatch.setattr(world.store.packages, "providers", count)
    restricted = await world.token(packages=["acme/plugin"])
    path = "/providers/psr/log-implementation.json"

    async def names(token: str) -> list[str]:
        return [item["name"] for item in (await world.get(path, token)).json["providers"]]

    for _ in range(3):
        assert await names(secret) == ["acme/library", "acme/plugin"]
        assert await names(restricted) == ["acme/plugin"]
    assert len(asked) == 2
    upstream.commit({"name": "acme/another", "provide": {"psr/log-implementation": "1.0"}})
    await world.follow(upstream)
    assert await names(secret) == ["acme/another", "acme/library", "acme/plugin"]
    assert await names(restricted) == ["acme/plugin"]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("packages%5B0%5D=acme%2Flibrary&packages%5B1%5D=public%2Fother", ["acme/library"]),
        ("packages[]=ACME/Library&packages[]=acme/plugin", ["acme/library", "acme/plugin"]),
        ("packages%5B0%5D=acme%2Flibrary&packages%5B1%5D=acme%2Flibrary", ["acme/library"]),
        ("names[]=acme/library", []),
        ("", []),
        ("%ff&&==", []),
    ],
)
async def test_advisories_are_of_packages_asked_for(world: World, body: str, names: list[str]) -> None:
    """The answer has the packages that were named and are here, whether the question came by GET or by POST."""
    expected: dict[str, dict[str, list[object]]] = {"advisories": {name: [] for name in names}}
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    assert (
        expected == (await world.get("/security-advisories", method="POST", body=body.encode(), headers=form)).json
    )
    assert expected == (await world.get(f"/security-advisories?{body}")).json


async def test_too_many_names_at_once_are_refused(world: World, secret: str) -> None:
    """A question for more packages than any project has is 400."""
    body = "&".join(f"packages[]=a/{number}" for number in range(10_001))

    error(await world.ask("/security-advisories", secret, method="POST", body=body.encode()), 400)
