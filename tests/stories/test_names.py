"""What commands take for what: ids and the beginnings of them, names in full and in short, and guesses."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import GitRepository, Pricore


@pytest.fixture
def registry(pricore: Pricore, make_repository: Callable[[str], GitRepository]) -> Pricore:
    """acme with the repositories `one` and `two`, which have acme/library and acme/tools, and a token `CI`."""
    for folder, package in (("one", "acme/library"), ("two", "acme/tools")):
        upstream = make_repository(folder)
        upstream.commit({"name": package})
        upstream.tag("1.0.0")
        pricore.run("repo", "add", "acme", upstream.url)
    pricore.run("token", "create", "acme", "CI")
    return pricore


def test_a_repository_goes_by_any_name_that_means_it_alone(registry: Pricore) -> None:
    """Its id, the beginning of that, its address, the end of its path, or a package, also without its vendor."""
    one = registry.json("repo", "list", "acme")[0]
    ends = [one["repo_identifier"].lstrip("/"), "/".join(one["repo_identifier"].split("/")[-2:]), "one"]
    for name in (one["id"], one["id"][:8], one["url"], *ends, "acme/library", "Acme/Library", "library"):
        assert registry.json("repo", "show", "acme", name)["id"] == one["id"], name
    assert registry.json("repo", "sync", "acme", "one")["synced"][0]["repository"] == one["url"]


def test_a_package_goes_by_its_name_without_the_vendor(registry: Pricore) -> None:
    """As long as no other one is called so."""
    assert registry.json("package", "show", "acme", "library")["name"] == "acme/library"
    assert registry.json("package", "downloads", "acme", "tools")["total"] == 0


def test_a_token_goes_by_its_name_and_the_beginning_of_its_id(registry: Pricore) -> None:
    """What it was made for is what people know of it."""
    (made,) = registry.json("token", "list", "acme")
    assert registry.json("token", "revoke", "acme", "CI", "--yes") == {"revoked": made["id"]}
    made = registry.json("token", "create", "acme", "other")
    assert registry.json("token", "revoke", "acme", made["id"][:8], "--yes") == {"revoked": made["id"]}


def test_what_means_several_is_refused_with_all_of_them(
    registry: Pricore, make_repository: Callable[[str], GitRepository]
) -> None:
    """Nothing is done to the wrong one; what is shown can be given instead."""
    again = make_repository("elsewhere/one")
    again.commit({"name": "other/library"})
    registry.run("repo", "add", "acme", again.url)
    line = registry.fail("repo", "remove", "acme", "one")
    candidates = [item["id"][:8] for item in registry.json("repo", "list", "acme") if item["url"].endswith("/one")]
    assert len(candidates) == 2
    assert all(f"{candidate} (" in line for candidate in candidates), line
    assert registry.json("repo", "show", "acme", "elsewhere/one")["url"] == again.url
    assert "library means 2 packages" in registry.fail("package", "show", "acme", "library")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["org", "show", "amce"], "acme"),
        (["repo", "list", "Acme"], "acme"),
        (["repo", "show", "acme", "acme/libary"], "acme/library"),
        (["package", "show", "acme", "acme/tolls"], "acme/tools"),
        (["package", "delete", "acme", "acme/library", "1.0.1", "--yes"], "1.0.0"),
        (["token", "revoke", "acme", "CII"], "CI"),
        (["credential", "show", "acme", "depoly"], "deploy"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_a_mistyped_name_is_told_what_was_meant(registry: Pricore, arguments: list[str], meant: str) -> None:
    """As a mistyped command is."""
    if arguments[0] == "credential":
        registry.run("credential", "add", "acme", "deploy", "--host", "git.example.com", "--ssh")
    assert f"(did you mean {meant}?)" in registry.fail(*arguments)


def test_an_organization_that_is_not_there_is_told_with_the_data_folder(pricore: Pricore) -> None:
    """It may be in another folder: the command was run without PRICORE_DATA."""
    line = pricore.fail("repo", "list", "nowhere")
    assert f"there is no organization nowhere in {pricore.data};" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["org", "list"],
        ["repo", "add", "acme", "https://git.example.com/a/b.git"],
        ["repo", "list", "acme"],
        ["package", "list", "acme"],
        ["token", "list", "acme"],
        ["token", "create", "--instance", "x"],
        ["credential", "list", "acme"],
        ["credential", "trust", "127.0.0.1:1", "--yes"],
        ["lock", "list", "acme"],
        ["dist", "prune", "--max-size", "1G"],
        ["dist", "move", "--to", "folder"],
        ["verify"],
        ["doctor"],
        ["backup", "x.tar.zst"],
    ],
    ids=" ".join,
)
def test_only_what_is_meant_to_makes_a_registry(tmp_path: Path, arguments: list[str]) -> None:
    """All others say which folder they looked into: a forgotten PRICORE_DATA looked like a lost registry."""
    pricore = Pricore(tmp_path / "data")
    assert f"there is no registry in {pricore.data}; give its folder with --data" in pricore.fail(*arguments)
    assert not pricore.data.exists()


def test_an_import_that_is_only_looked_at_makes_nothing(tmp_path: Path) -> None:
    """What would be followed is known without a registry."""
    satis = tmp_path / "satis.json"
    satis.write_text('{"name": "acme/x", "repositories": [{"type": "vcs", "url": "https://git.example.com/a/b"}]}')
    pricore = Pricore(tmp_path / "data")
    assert [item["status"] for item in pricore.json("import", str(satis), "--dry-run")["repositories"]] == ["new"]
    assert not pricore.data.exists()
