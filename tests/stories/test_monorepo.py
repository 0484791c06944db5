"""Several packages out of one repository, with the real client."""

import json
from collections.abc import Callable

from tests.harness import Composer, GitRepository, Pricore


def test_packages_in_folders_are_installed(
    pricore: Pricore, make_repository: Callable[[str], GitRepository], composer: Composer
) -> None:
    """Each folder is required by its own name, installs its own files alone, and needs its siblings by theirs."""
    upstream = make_repository("mono")
    for name, require in (("core", {}), ("http", {"acme/core": "self.version"})):
        folder = f"src/{name}"
        upstream.write(
            {
                f"{folder}/composer.json": json.dumps({"name": f"acme/{name}", "require": require}),
                f"{folder}/{name}.php": "<?php",
                f"{folder}/tests/test.php": "<?php",
                f"{folder}/.gitattributes": "/tests export-ignore\n",
            }
        )
    upstream.commit({"name": "acme/mono", "replace": {"acme/core": "self.version"}})
    upstream.tag("v2.1.0", annotated=True)

    added = pricore.json("repo", "add", "acme", upstream.url, "--path", "src/*")
    assert added["packages"] == ["acme/core", "acme/http"]
    shown = pricore.json("repo", "show", "acme", upstream.url)
    assert (shown["paths"], shown["packages"]) == (["src/*"], ["acme/core", "acme/http"])
    with pricore.serving() as server:
        registry = f"{server['url']}/org/acme"
        composer.write(require={"acme/http": "^2.0"}, registry=registry)
        composer.log_in(registry, pricore.token())
        composer.run("update")
        locked = composer.locked()
        assert {name: item["version"] for name, item in locked.items()} == {
            "acme/core": "v2.1.0",
            "acme/http": "v2.1.0",
        }
        assert "source" not in locked["acme/http"]
        for name in ("core", "http"):
            installed = composer.folder / "vendor" / "acme" / name
            assert sorted(path.name for path in installed.iterdir()) == [
                ".gitattributes",
                "composer.json",
                f"{name}.php",
            ]

        # the operator follows one folder less: what is locked is installed all the same
        pricore.run("repo", "change", "acme", upstream.url, "--path", "src/core")
        pricore.run("repo", "sync", "acme")
        composer.forget()
        composer.run("install")
        assert composer.installed("acme/http", "http.php") == "<?php"


def test_paths_that_are_none_are_refused(
    pricore: Pricore, make_repository: Callable[[str], GitRepository]
) -> None:
    """A path out of the repository, and one where nothing is: one line each, and nothing is left behind."""
    upstream = make_repository("mono")
    upstream.commit({"name": "acme/mono"})
    assert "is no folder of a repository" in pricore.fail("repo", "add", "acme", upstream.url, "--path", "../x")
    assert "no folder libs/* in it has a composer.json" in pricore.fail(
        "repo", "add", "acme", upstream.url, "--path", "libs/*"
    )
    assert pricore.json("repo", "list", "acme") == []
    assert [*(pricore.data / "repositories").glob("*.git")] == []
