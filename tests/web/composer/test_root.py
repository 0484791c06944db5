"""packages.json: what it names, and what is in it as a whole."""

from tests.harness import as_composer_reads
from tests.web.composer.harness import Start, World, error


async def test_the_root_tells_where_everything_is(world: World) -> None:
    """packages.json names every package and the absolute address of every other endpoint."""
    url = f"{world.base}/org/acme"

    assert (await world.get("/packages.json")).json == {
        "packages": {},
        "metadata-url": f"{url}/p2/%package%.json",
        "available-packages": ["acme/library", "acme/plugin", "beta/tools"],
        "list": f"{url}/list.json",
        "search": f"{url}/search.json?q=%query%&type=%type%",
        "providers-api": f"{url}/providers/%package%.json",
        "notify-batch": f"{url}/downloads",
        "security-advisories": {"metadata": False, "api-url": f"{url}/security-advisories"},
    }


async def test_a_small_organization_is_in_the_root_as_a_whole(start: Start) -> None:
    """Inline versions are keyed by their version, whole, the same as in p2, and each has a uid in its package.

    It says nothing of how many versions there are that are not shown.
    """
    world = await start()
    packages = (await world.get("/packages.json")).json["packages"]
    for versions in packages.values():
        assert [entry.pop("uid") for entry in versions.values()] == [*range(1, len(versions) + 1)]

    assert sorted(packages) == ["acme/library", "acme/plugin", "beta/tools"]
    for name, versions in packages.items():
        read = {version: as_composer_reads(entry) for version, entry in versions.items()}
        assert await world.versions(name) == read
        assert list(versions) == [entry["version"] for entry in versions.values()]


async def test_composer_1_is_told_to_upgrade(world: World, secret: str) -> None:
    """The first Composer, which knows none of this, gets a sentence that it shows."""
    reply = await world.ask("/packages.json", secret, headers={"User-Agent": "Composer/1.10.27 (Linux; PHP 7.4)"})

    assert "composer self-update" in error(reply, 400)
    assert reply.json["warning"] == reply.json["message"]
