"""Repositories with traps in their composer.json."""

import json

from tests.harness import GitRepository
from tests.stories.oracle.scenario import Scenario, branch_all, by_name, package


def branch_aliases(repository: GitRepository, name: str) -> None:
    def branch(branch: str, **aliases: str) -> None:
        repository.git("checkout", "--quiet", "-B", branch)
        repository.commit(package(name, extra={"branch-alias": aliases}))

    branch("feature", **{"dev-feature": "3.1.x-dev"})
    branch("Case", **{"DEV-case": "3.2.x-dev"})
    branch("no-suffix", **{"dev-no-suffix": "3.3.x"})
    branch("not-numeric", **{"dev-not-numeric": "next-dev"})
    branch("other", **{"dev-main": "3.4.x-dev"})
    branch("two", **{"dev-other": "3.5.x-dev", "dev-two": "3.6-dev"})
    branch("default-alias", **{"dev-default-alias": "9999999-dev"})
    branch("empty-target", **{"dev-empty-target": "-dev"})
    branch("1.x", **{"1.x-dev": "1.5.x-dev"})
    branch("2.x", **{"2.x-dev": "3.0.x-dev"})
    branch("v4.x", **{"v4.x-dev": "4.1.x-dev"})
    branch("5.0", **{"5.0.x-dev": "5.0.1.x-dev"})
    repository.git("checkout", "--quiet", "-B", "list")
    repository.commit(package(name, extra={"branch-alias": ["1.x-dev"]}))
    repository.git("checkout", "--quiet", "-B", "text")
    repository.commit(package(name, extra={"branch-alias": "1.x-dev"}))
    repository.git("checkout", "--quiet", "-B", "extra-list")
    repository.commit(package(name, extra=["branch-alias"]))
    repository.git("checkout", "--quiet", "-B", "main")
    repository.commit(package(name, extra={"branch-alias": {"dev-main": "4.x-dev"}}))
    repository.tag("1.0")


def renamed_packages(repository: GitRepository, name: str) -> None:
    repository.commit(package(f"{name}-oldest"))
    repository.tag("1.0")
    repository.commit({"description": "without a name"})
    repository.tag("1.1")
    repository.commit(package(f"{name}-older"))
    repository.tag("2.0")
    branch_all(repository, ["2.x"])
    repository.commit(package(name))
    repository.tag("3.0")


def a_default_branch_without_composer_json(repository: GitRepository, name: str) -> None:
    repository.commit(package(f"{name}-old"))
    repository.tag("1.0")
    branch_all(repository, ["old"])
    repository.commit({"description": "without a name"})
    repository.tag("1.1")
    repository.commit(package(name))
    repository.tag("v1.0.0")
    repository.tag("2.0")
    branch_all(repository, ["new"])
    repository.git("rm", "--quiet", "composer.json")
    repository.commit()


def a_default_branch_with_a_broken_composer_json(repository: GitRepository, name: str) -> None:
    repository.commit(package(f"{name}-old"))
    repository.tag("1.0")
    repository.commit(package(name))
    repository.tag("2.0")
    repository.commit('{"name": ')


def a_default_branch_without_a_name(repository: GitRepository, name: str) -> None:
    repository.commit(package(f"{name}-old"))
    repository.tag("1.0")
    repository.commit(package(name))
    repository.tag("2.0")
    repository.commit({"description": "without a name"})


def broken_composer_json(repository: GitRepository, name: str) -> None:
    good = json.dumps(package(name))
    contents = [
        *("", " \n", "[]", "{}", "null", "0", '"text"', "not JSON", '{"name": ', "<?php", good + "}"),
        *("\ufeff" + good, good.replace("}", ",}"), "// comment\n" + good, good.replace('"', "'")),
        *(good[:-1] + ', "extra": {"x": "\\ud800"}}', good[:-1] + ', "extra": {"\\udc00": 1}}'),
        *(good[:-1] + ', "extra": NaN}', good[:-1] + ', "extra": 01}', good[:-1] + ', "extra": 1e999}'),
        *(good[:-1] + ', "extra": "\t"}', "\x00" + good, good + "\x00"),
        # and some that look odd, and are fine
        *(f"\n\n {good}\r\n", good[:-1] + ', "name": "acme/twice", "extra": {"": "", "x": 1.10e5}}'),
        good[:-1] + ', "extra": {"x": 12345678901234567890123, "\\u0000": "\\ud83d\\ude00 \\u0000"}}',
    ]
    for number, content in enumerate(contents):
        repository.commit(content)
        repository.tag(f"1.{number}")
    for number, raw in enumerate([good.encode("utf-16"), good.replace("php", "ph\xe9").encode("latin-1")]):
        repository.write({"composer.json": raw})
        repository.commit()
        repository.tag(f"2.{number}")
    repository.commit('["acme/list"]')
    repository.tag("2.9")
    (repository.folder / "composer.json").unlink()
    repository.commit(files={"composer.json/composer.json": good})
    repository.tag("3.0")
    repository.git("rm", "--quiet", "-r", "composer.json")
    repository.commit(files={"other.json": good})
    repository.tag("3.1")
    (repository.folder / "composer.json").symlink_to("other.json")
    repository.commit()
    repository.tag("3.2")
    (repository.folder / "composer.json").unlink()
    repository.commit(good)


def declared_versions(repository: GitRepository, name: str) -> None:
    declared = {
        "1.0": "1.0",
        "v1.1": "1.1.0",
        "1.2": "v1.2.0",
        "1.3": "1.4",
        "1.4": "one",
        "1.5": "",
        "1.6": None,
        "1.7": "1.7.0-dev",
        "1.8": "dev-main",
        "1.9": "1.9.0-DEV",
        "2.0": " 2.0 ",
        "2.1": "2.1@beta",
        "2.2": "2.2+build",
        "2.3": "2.3 as 9.9",
        "release-2.4": "2.4.0",
        "v2.5-beta1": "2.5b1",
        "nightly": "2.6",
        "2.7-dev": "2.7",
        "2.8+a": "2.8+b,c",
        "2.9": "2.9.x-dev",
        "3.0": "3.0",
    }
    for tag, version in declared.items():
        repository.commit(package(name, version=version, version_normalized="9.9.9.9"))
        repository.tag(tag)
    branch_all(repository, ["feature", "1.x"])


def links(repository: GitRepository, name: str) -> None:
    requirements: list[object] = [
        {"acme/a": "^1.0", "acme/b": "~2.0 || dev-main#abc", "ext-json": "*"},
        {"acme/a": "^1.0", "acme/b": "latest please"},
        {"acme/a": ""},
        {"acme/a": ">=1.0 <"},
        {"acme/a": None, "acme/b": 1, "acme/c": 1.5, "acme/d": True, "acme/e": [], "acme/f": {"x": 1}},
        {"acme/a": "self.version", "acme/b": "^1.0 as 2.0"},
        {"acme/a": " self.version "},
        {"Acme/Upper": "1.0", "not a name": "1.0", "": "1.0", "with.dots/and_more": "@dev"},
        [],
        {},
        "^1.0",
        None,
        7,
        {"acme/a": "1.0", "ACME/A": "2.0"},
        {"acme/a": "9999999.9999999.x-dev, !=1.0|2.*"},
    ]
    kinds = ["require", "require-dev", "conflict", "provide", "replace"]
    for minor, requirement in enumerate(requirements):
        repository.commit({"name": name, kinds[minor % 5]: requirement})
        repository.tag(f"1.{minor}")
    for minor, kind in enumerate(kinds):
        repository.commit({"name": name, kind: {"acme/a": "not valid", "acme/b": "1.0"}})
        repository.tag(f"2.{minor}")
        repository.commit({"name": name, kind: {"acme/a": "self.version", "acme/b": "1.0"}})
        repository.tag(f"3.{minor}")
    repository.tag("4.0+a,b")
    repository.tag("v5.0-beta1")
    branch_all(repository, ["feature/x", "v2.x", "a,1.0"])
    repository.commit({"name": name})


def tags_without_composer_json(repository: GitRepository, name: str) -> None:
    repository.commit(files={"README.md": "a start"})
    repository.tag("0.1")
    repository.commit(files={"library/composer.json": json.dumps(package(name))})
    repository.tag("0.2")
    branch_all(repository, ["old"])
    repository.commit(package(name))
    repository.tag("0.3")
    repository.git("checkout", "--quiet", "--orphan", "docs")
    repository.git("rm", "--quiet", "-r", "--force", ".")
    repository.commit(files={"index.html": "documentation"})
    repository.git("checkout", "--quiet", "main")


def odd_fields(repository: GitRepository, name: str) -> None:
    fields: dict[str, list[object]] = {
        "type": ["Composer-PLUGIN", "", None, "metapackage"],
        "description": [["text"], 5, "", "__unset", "</script>\u2028"],
        "keywords": [[], ["a", "b"], ["php", 8.1, 2024, 1.0], {"x": "a", "y": 1.5e30}],
        "license": ["MIT", ["MIT", "Apache-2.0"], [], None, {"type": "MIT"}],
        "authors": ["Ada", [], [{"name": "Ada"}], {"1": {"name": "Ada"}}],
        "funding": [[], [{"type": "other", "url": "https://example.com"}], {"1": {"type": "other"}}],
        "support": [{"issues": "https://example.com"}, []],
        "suggest": [{"acme/a": "why"}, []],
        "extra": ["text", [], {}, 1, {"a": {}}],
        "autoload": [{}, {"psr-4": {"Acme\\": "src/"}}],
        "bin": ["bin/x", ["bin/x"], [], {"x": "bin/x"}, "/bin/x"],
        "abandoned": [True, False, "acme/other", None],
        "default-branch": [True, "yes"],
        "time": ["2001-02-03", "2001-02-03 04:05:06", "2001-02-03T04:05:06+02:00", "", None, "1000000000"],
        "minimum-stability": ["dev", 1],
        "scripts": [{"test": "phpunit"}, [], "x"],
        "config": ["x", {"platform": {"php": "5.3"}}],
    }
    for major, (field, values) in enumerate(fields.items()):
        for minor, value in enumerate(values):
            repository.commit(package(name, **{field: value}))
            repository.tag(f"{major}.{minor}")


def fields_that_stop_composer(repository: GitRepository, name: str) -> None:
    fields: dict[str, list[object]] = {
        "type": [123, ["library"]],
        "target-dir": [["src"]],
        "bin": [[["bin/x"]], {"x": 1}, 7],
        "suggest": [{"acme/a": 1}],
        "autoload": ["src/", 1],
        "autoload-dev": ["tests/"],
        "include-path": ["src/"],
        "keywords": [[["one"]], {"a": ["b"]}],
        "license": [{"name": ["MIT"]}],
        "support": ["mail@example.com"],
        "abandoned": [1.5, ["acme/other"]],
        "time": [["2020-01-01"]],
        "notification-url": [["https://example.com"]],
        "archive": [{"name": ["x"]}],
        "source": ["https://example.com", {"type": ["git"], "url": 1, "reference": 2}],
        "dist": [{"type": ["zip"], "url": 1}],
        "extra": [{"branch-alias": {"dev-main": 1}}, {"branch-alias": {"dev-main": ["1.x-dev"]}}],
        "require": [["^1.0"], {"0": "*"}, {"-12": "*"}],
        "provide": [{"123": "1.0"}],
    }
    for major, (field, values) in enumerate(fields.items()):
        for minor, value in enumerate(values):
            repository.commit({"name": name, field: value})
            repository.tag(f"{major}.{minor}")
    repository.commit({"name": name, "type": 123, "extra": {"branch-alias": {"dev-main": 1, "dev-x": "1.x-dev"}}})


def upper_case_names(repository: GitRepository, name: str) -> None:
    repository.commit(package(name.title()))
    repository.tag("1.0")
    repository.commit(package(name.upper()))
    repository.tag("1.1")


def names_that_are_none(repository: GitRepository, name: str) -> None:
    for minor, other in enumerate(["no-vendor", "acme/nul", "../acme/x", "acme/x.json", "acme/spa ce", "", name]):
        repository.commit(package(other))
        repository.tag(f"1.{minor}")
    repository.git("rm", "--quiet", "composer.json")
    repository.commit()


def larger_than_any(repository: GitRepository, name: str) -> None:
    repository.commit(package(name, extra={"large": "x" * 1024 * 1024}))
    repository.tag("1.0")
    deep = "[" * 150 + "]" * 150
    repository.commit(json.dumps(package(name))[:-1] + f', "extra": {deep}}}')
    repository.tag("1.1")
    repository.commit(package(name))
    repository.tag("1.2")


SCENARIOS = by_name(
    branch_aliases,
    renamed_packages,
    a_default_branch_without_composer_json,
    a_default_branch_with_a_broken_composer_json,
    a_default_branch_without_a_name,
    declared_versions,
    links,
    tags_without_composer_json,
    odd_fields,
    upper_case_names,
) | {
    # Composer makes a version without any fields out of a list
    "broken-composer-json": Scenario(broken_composer_json, frozenset({"2.9"})),
    # a registry could not serve them: they are no names, or no paths
    "names-that-are-none": Scenario(names_that_are_none, frozenset({f"1.{minor}" for minor in range(6)})),
    # who only wants to cost us memory has to stay below these
    "larger-than-any": Scenario(larger_than_any, frozenset({"1.0", "1.1"})),
}
