"""Against the oracle: Pricore serves the versions that Composer finds when it reads the repository itself.

Each scenario is a repository with one kind of trap. Composer reads all of them in one run (tests/oracle.php),
and loads what Pricore serves of them in the same run.
"""

import json
import os
import random
import subprocess
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.harness import GitRepository, Pricore, need

ORACLE = Path(__file__).parents[1] / "oracle.php"


class Scenario(msgspec.Struct, frozen=True):
    """How a repository is made, and the versions in it that Composer takes and Pricore leaves out on purpose."""

    build: Callable[[GitRepository, str], None]
    left_out: frozenset[str] = frozenset()


def _package(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "require": {"php": ">=7.4", "acme/other": "self.version"}} | more


def _tag_all(repository: GitRepository, names: Iterable[str]) -> None:
    """Tag the head with names that `git tag` wouldn't all take."""
    _update_refs(repository, "refs/tags/", names)


def _branch_all(repository: GitRepository, names: Iterable[str]) -> None:
    _update_refs(repository, "refs/heads/", names)


def _update_refs(repository: GitRepository, prefix: str, names: Iterable[str]) -> None:
    lines = "".join(f"create {prefix}{name} {repository.head()}\n" for name in names)
    repository.git("update-ref", "--stdin", stdin=lines.encode())


def annotated_tags(repository: GitRepository, name: str) -> None:
    repository.commit(_package(name))
    repository.tag("v1.0.0", annotated=True)
    repository.tag("v1.0.1")
    repository.git("tag", "--annotate", "--message=a tag of a tag", "v1.0.2", "v1.0.0")
    repository.git("tag", "--annotate", "--message=of a tag of a tag", "v1.0.3", "v1.0.2")
    repository.commit(_package(name, description="later"))
    repository.tag("v1.1.0", annotated=True)


def tag_names(repository: GitRepository, name: str) -> None:
    repository.commit(_package(name))
    _tag_all(
        repository,
        [
            *("1.0", "v1.1.0", "V1.2", "v.1.3", "release-1.4", "release-v1.5.0", "v1.6-release-", "version-1.7"),
            *("1.8.0.1", "1.8.0.1.2", "1", "v2", "0", "99999", "100000", "007", "nightly", "latest", "v", "x"),
            *("2023.01.15", "20230115", "2023-01-16", "3.0+build.5", "3.0.1+a,b", "3.0.2+a|b", "3.1@beta"),
            *("3.2#x", "3.3,4", "3.4/5", "3.6(1)", "1,5", "v3.7/v3.8", "über", "3.9.x"),
        ],
    )


def prerelease_tags(repository: GitRepository, name: str) -> None:
    repository.commit(_package(name))
    _tag_all(
        repository,
        [
            *("1.0.0-alpha", "1.0.0-beta2", "1.0.0RC1", "1.0.0-rc.2", "1.0.0-patch", "1.0.0-pl3", "1.0.0-p4"),
            *("1.1.0-a1", "1.1.0b.2", "1.1.0_beta-3", "1.1.0-alpha.1.2", "1.1.0-Beta9", "1.2-stable"),
            *("1.3-STABLE", "1.4-gamma", "1.5-1", "1.6-rc", "1.7-beta-dev", "1.8-dev", "1.9.dev", "2.0dev"),
            *("2.x-dev", "dev-main", "dev-2.1", "master", "trunk", "default", "2.2-DEV", "2.3-RC1+build"),
        ],
    )


def tags_that_mean_one_version(repository: GitRepository, name: str) -> None:
    for number, tag in enumerate(
        [
            *("1.0", "v1.0.0", "1.0.0.0", "release-1.0", "1.0+build", "01.0"),
            *("v2.0.0", "2.0", "2.0.0-stable", "3.0-beta", "v3.0.0-b", "3.0-beta.1", "3.0-b1", "3.0.0_beta1"),
            *("4.0-rc1.2", "4.0-rc1-2", "5.0-p1", "5.0-patch1", "5.0-pl1"),
        ]
    ):
        repository.commit(_package(name, description=f"commit {number}"))
        repository.tag(tag)


def numeric_branches(repository: GitRepository, name: str) -> None:
    repository.commit(_package(name))
    _branch_all(
        repository,
        [
            *("2.0", "1.x", "v3.x", "2.1.0", "1", "V4.x", "5.X", "6.x.x", "7.x.x.x", "8.x.x.x.x", "v9"),
            *("v10.1.2.3", "11.1.2.3.4", "2.0.x", "v2.0", "9999999", "1.9999999", "12.x-dev", "13.0-beta"),
            *("v", "x", "20230115", "007"),
        ],
    )


def named_branches(repository: GitRepository, name: str) -> None:
    repository.commit(_package(name))
    _branch_all(
        repository,
        [
            *("feature/x", "Feature/X", "FEATURE/x", "a/b/c/d", "a+b", "a,b", "a,1.0", "a@b", "user@dev", "@"),
            *("a=b", "a|b", "a||1", "a;b", "100%", "%41", "(x)", "<1", ">1", "!x", "$x", "'q'", '"q"', "a&b"),
            *("über", "日本", "dev-x", "x-dev", "1.0-dev", "dev", "DEV-y", "1.0+build", "_x"),
            *("release-1.0", "master", "trunk", "default", "x-as-y", "{x}", "`x`", "-dash"),
        ],
    )


def branches_with_a_hash_sign(repository: GitRepository, name: str) -> None:
    repository.commit(_package(name))
    _branch_all(repository, ["fix#12", "fix/#13", "#14", "15#", "1.x#16"])


def line_separators_in_names(repository: GitRepository, name: str) -> None:
    repository.commit(_package(name))
    _branch_all(repository, ["a\u2028b", "c\u0085d", "e\u00a0f", "g\u3000h"])
    _tag_all(repository, ["1.0\u20282.0", "3.0"])


def a_tag_and_a_branch_of_one_name(repository: GitRepository, name: str) -> None:
    repository.commit(_package(name))
    _tag_all(repository, ["1.0", "2.x", "main", "v3.0"])
    repository.commit(_package(name, description="later"))
    _branch_all(repository, ["1.0", "2.x", "v3.0"])


def branch_aliases(repository: GitRepository, name: str) -> None:
    def branch(branch: str, **aliases: str) -> None:
        repository.git("checkout", "--quiet", "-B", branch)
        repository.commit(_package(name, extra={"branch-alias": aliases}))

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
    repository.commit(_package(name, extra={"branch-alias": ["1.x-dev"]}))
    repository.git("checkout", "--quiet", "-B", "text")
    repository.commit(_package(name, extra={"branch-alias": "1.x-dev"}))
    repository.git("checkout", "--quiet", "-B", "extra-list")
    repository.commit(_package(name, extra=["branch-alias"]))
    repository.git("checkout", "--quiet", "-B", "main")
    repository.commit(_package(name, extra={"branch-alias": {"dev-main": "4.x-dev"}}))
    repository.tag("1.0")


def a_numeric_default_branch(repository: GitRepository, name: str) -> None:
    repository.git("checkout", "--quiet", "-b", "3.x")
    repository.commit(_package(name))
    _branch_all(repository, ["main", "2.x"])


def a_default_branch_of_another_name(repository: GitRepository, name: str) -> None:
    repository.git("checkout", "--quiet", "-b", "develop")
    repository.commit(_package(name))
    _branch_all(repository, ["main", "master"])
    repository.commit(_package(name, description="later"))


def a_head_that_names_no_branch(repository: GitRepository, name: str) -> None:
    repository.git("checkout", "--quiet", "-b", "master")
    repository.commit(_package(name))
    _branch_all(repository, ["feature"])
    repository.git("symbolic-ref", "HEAD", "refs/heads/nothing")


def a_detached_head(repository: GitRepository, name: str) -> None:
    repository.commit(_package(f"{name}-old"))
    repository.tag("1.0")
    repository.commit(_package(name))
    repository.git("checkout", "--quiet", "--detach")


def renamed_packages(repository: GitRepository, name: str) -> None:
    repository.commit(_package(f"{name}-oldest"))
    repository.tag("1.0")
    repository.commit({"description": "without a name"})
    repository.tag("1.1")
    repository.commit(_package(f"{name}-older"))
    repository.tag("2.0")
    _branch_all(repository, ["2.x"])
    repository.commit(_package(name))
    repository.tag("3.0")


def a_default_branch_without_composer_json(repository: GitRepository, name: str) -> None:
    repository.commit(_package(f"{name}-old"))
    repository.tag("1.0")
    _branch_all(repository, ["old"])
    repository.commit({"description": "without a name"})
    repository.tag("1.1")
    repository.commit(_package(name))
    repository.tag("v1.0.0")
    repository.tag("2.0")
    _branch_all(repository, ["new"])
    repository.git("rm", "--quiet", "composer.json")
    repository.commit()


def a_default_branch_with_a_broken_composer_json(repository: GitRepository, name: str) -> None:
    repository.commit(_package(f"{name}-old"))
    repository.tag("1.0")
    repository.commit(_package(name))
    repository.tag("2.0")
    repository.commit('{"name": ')


def a_default_branch_without_a_name(repository: GitRepository, name: str) -> None:
    repository.commit(_package(f"{name}-old"))
    repository.tag("1.0")
    repository.commit(_package(name))
    repository.tag("2.0")
    repository.commit({"description": "without a name"})


def broken_composer_json(repository: GitRepository, name: str) -> None:
    good = json.dumps(_package(name))
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
        repository.commit(_package(name, version=version, version_normalized="9.9.9.9"))
        repository.tag(tag)
    _branch_all(repository, ["feature", "1.x"])


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
    _branch_all(repository, ["feature/x", "v2.x", "a,1.0"])
    repository.commit({"name": name})


def tags_without_a_commit(repository: GitRepository, name: str) -> None:
    repository.commit(_package(name))
    repository.git("tag", "1.0", "HEAD^{tree}")
    repository.git("tag", "--annotate", "--message=a tree", "1.1", "HEAD^{tree}")
    repository.git("tag", "1.2", "HEAD:composer.json")
    repository.git("tag", "--annotate", "--message=a file", "1.3", "HEAD:composer.json")
    repository.tag("1.4")


def tags_without_composer_json(repository: GitRepository, name: str) -> None:
    repository.commit(files={"README.md": "a start"})
    repository.tag("0.1")
    repository.commit(files={"library/composer.json": json.dumps(_package(name))})
    repository.tag("0.2")
    _branch_all(repository, ["old"])
    repository.commit(_package(name))
    repository.tag("0.3")
    repository.git("checkout", "--quiet", "--orphan", "docs")
    repository.git("rm", "--quiet", "-r", "--force", ".")
    repository.commit(files={"index.html": "documentation"})
    repository.git("checkout", "--quiet", "main")


def odd_fields(repository: GitRepository, name: str) -> None:
    fields: dict[str, list[object]] = {
        "type": ["Composer-PLUGIN", "", None, "metapackage"],
        "description": [["text"], 5, "", "__unset", "</script>\u2028"],
        "keywords": ["one", [], ["a", "b"]],
        "license": ["MIT", ["MIT", "Apache-2.0"], [], None],
        "authors": ["Ada", [], [{"name": "Ada"}]],
        "extra": ["text", [], {}, 1, {"a": {}}],
        "autoload": [{}, {"psr-4": {"Acme\\": "src/"}}],
        "bin": ["bin/x", ["bin/x"], []],
        "abandoned": [True, False, "acme/other", None],
        "default-branch": [True, "yes"],
        "minimum-stability": ["dev", 1],
        "scripts": [{"test": "phpunit"}, [], "x"],
        "config": ["x", {"platform": {"php": "5.3"}}],
    }
    for major, (field, values) in enumerate(fields.items()):
        for minor, value in enumerate(values):
            repository.commit(_package(name, **{field: value}))
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
    repository.commit(_package(name.title()))
    repository.tag("1.0")
    repository.commit(_package(name.upper()))
    repository.tag("1.1")


def author_dates(repository: GitRepository, name: str) -> None:
    for minor, date in enumerate(
        ["2001-02-03T04:05:06+09:00", "1971-01-01T00:00:00-11:30", "2030-12-31T23:59:59Z"]
    ):
        repository.commit(_package(name))
        repository.git("commit", "--quiet", "--amend", "--no-edit", "--allow-empty", f"--date={date}")
        repository.tag(f"1.{minor}", annotated=True)


def branches_of_tools(repository: GitRepository, name: str) -> None:
    repository.commit(_package(name))
    _branch_all(
        repository,
        [
            *("gh-pages", "renovate/php-9.x", "dependabot/composer/x", "gh-readonly-queue/main/pr-1"),
            *("gh-pages-2", "renovate-x", "dependabot-x/y", "my/renovate/x", "Renovate/x"),
        ],
    )


def names_that_are_none(repository: GitRepository, name: str) -> None:
    for minor, other in enumerate(["no-vendor", "acme/nul", "../acme/x", "acme/x.json", "acme/spa ce", "", name]):
        repository.commit(_package(other))
        repository.tag(f"1.{minor}")
    repository.git("rm", "--quiet", "composer.json")
    repository.commit()


def larger_than_any(repository: GitRepository, name: str) -> None:
    repository.commit(_package(name, extra={"large": "x" * 1024 * 1024}))
    repository.tag("1.0")
    deep = "[" * 150 + "]" * 150
    repository.commit(json.dumps(_package(name))[:-1] + f', "extra": {deep}}}')
    repository.tag("1.1")
    repository.commit(_package(name))
    repository.tag("1.2")


def _random_refs(seed: int) -> Callable[[GitRepository, str], None]:
    """A repository with random tags and branches, the same for the same seed."""

    def build(repository: GitRepository, name: str) -> None:
        chance = random.Random(seed)
        digits = ["0", "1", "2", "01", "10", "x", "X", "1.0", "1.0.0", "2.1", "1.x", "3.4.5.6", "2023.01.15", "b"]
        starts = ["", "", "", "v", "V", "release-", "dev-", "r", "#", "+"]
        ends = [
            *("", "", "", "-alpha", "-beta2", "RC1", ".rc.3", "-patch", "_p2", "-dev", ".x", ".x-dev", "-stable"),
            *("+build", "+b,c", "@beta", "#x", "-1", "/x", ",1", "|2", "-release-", "@dev", ".", "é", "=1", ">2"),
        ]
        words = ["main", "feature", "Feature", "fix", "x", "dev", "HEAD2", "ab", "1", "2.0", "9999999"]
        joints = ["/", "-", "_", ".", "+", "#", ",", "@", "|", "||", "=", "!", "<", "%", "", "é", "-as-", "&"]

        def tag() -> str:
            return "".join(map(chance.choice, [starts, digits, ends, ["", chance.choice(ends)]]))

        def branch() -> str:
            if chance.random() < 0.4:
                return tag()
            return chance.choice(words) + "".join(
                chance.choice(joints) + chance.choice(words) for _ in range(chance.randrange(4))
            )

        for number in range(5):
            version = chance.choice([{}, {}, {"version": "1.0"}])
            repository.commit(_package(name, description=f"commit {number}", **version))
            for make, prefix, count in ((tag, "refs/tags/", 6), (branch, "refs/heads/", 4)):
                for _ in range(count):
                    _create(repository, prefix + make())

    return build


def _create(repository: GitRepository, ref: str) -> None:
    """Create a ref, unless git takes no such name, or has it, or has one that would be its folder."""
    done = subprocess.run(["git", "check-ref-format", ref], check=False)
    taken = repository.git("for-each-ref", "--format=%(refname)").splitlines()
    clash = any(other == ref or other.startswith(f"{ref}/") or ref.startswith(f"{other}/") for other in taken)
    if done.returncode == 0 and not clash:
        repository.git("update-ref", ref, "HEAD")


SCENARIOS = {
    function.__name__.replace("_", "-"): Scenario(function)
    for function in (
        annotated_tags,
        tag_names,
        prerelease_tags,
        tags_that_mean_one_version,
        numeric_branches,
        named_branches,
        branches_with_a_hash_sign,
        line_separators_in_names,
        a_tag_and_a_branch_of_one_name,
        branch_aliases,
        a_numeric_default_branch,
        a_default_branch_of_another_name,
        a_head_that_names_no_branch,
        a_detached_head,
        renamed_packages,
        a_default_branch_without_composer_json,
        a_default_branch_with_a_broken_composer_json,
        a_default_branch_without_a_name,
        declared_versions,
        links,
        tags_without_a_commit,
        tags_without_composer_json,
        odd_fields,
        upper_case_names,
        author_dates,
    )
} | {
    "random-refs-1": Scenario(_random_refs(1)),
    "random-refs-2": Scenario(_random_refs(2)),
    # Packagist leaves them out too
    "branches-of-tools": Scenario(
        branches_of_tools,
        frozenset(
            {
                *("dev-gh-pages", "dev-renovate/php-9.x", "dev-dependabot/composer/x"),
                "dev-gh-readonly-queue/main/pr-1",
            }
        ),
    ),
    # Composer makes a version without any fields out of a list
    "broken-composer-json": Scenario(broken_composer_json, frozenset({"2.9"})),
    # a registry could not serve them: they are no names, or no paths
    "names-that-are-none": Scenario(names_that_are_none, frozenset({f"1.{minor}" for minor in range(6)})),
    # who only wants to cost us memory has to stay below these
    "larger-than-any": Scenario(larger_than_any, frozenset({"1.0", "1.1"})),
}


STOPPER = "fields-that-stop-composer"


class Answers(msgspec.Struct, frozen=True):
    """Of one scenario: what Composer found, what Pricore shows, and what Composer loads of what it serves.

    The two of Composer's are texts where it died.
    """

    found: list[dict[str, Any]] | str
    shown: set[tuple[str, str, str]]
    loaded: list[dict[str, Any]] | str


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answers]:
    """The answers by scenario: everything is asked at once, since programs take their time to start."""
    need("php", "composer")
    folder = tmp_path_factory.mktemp("oracle")
    pricore = Pricore(folder / "data")
    pricore.run("org", "create", "acme")
    upstream = {scenario: folder / "upstream" / scenario for scenario in (*SCENARIOS, STOPPER)}

    def register(scenario: str) -> tuple[list[str], set[tuple[str, str, str]]]:
        """The packages of a scenario, and their versions."""
        repository = GitRepository(upstream[scenario])
        build = fields_that_stop_composer if scenario == STOPPER else SCENARIOS[scenario].build
        build(repository, f"acme/{scenario}")
        names = pricore.json("repo", "add", "acme", repository.url)["packages"]
        return names, {
            (name, version["version"], version["normalized_version"])
            for name in names
            for version in pricore.json("package", "show", "acme", name)["versions"]
        }

    with ThreadPoolExecutor(2) as pool:
        registered = dict(zip(upstream, pool.map(register, upstream), strict=True))
    with pricore.serving() as server:
        secret = pricore.token()
        url = f"{server['url']}/org/acme/p2"
        documents = {
            scenario: [_get(f"{url}/{name}{half}.json", secret) for name in names for half in ("", "~dev")]
            for scenario, (names, _) in registered.items()
        }
    answered = _ask_composer(
        folder / "composer",
        repositories={scenario: str(path) for scenario, path in upstream.items()},
        documents=documents,
    )
    return {
        scenario: Answers(answered["repositories"][scenario], shown, answered["documents"][scenario])
        for scenario, (_, shown) in registered.items()
    }


def _get(url: str, secret: str) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {secret}"})
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())


def _ask_composer(home: Path, **question: object) -> Any:
    done = subprocess.run(
        ["php", str(ORACLE)],
        input=json.dumps({"repositories": {}, "documents": {}} | question),
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "COMPOSER_HOME": str(home),
            "COMPOSER_ALLOW_SUPERUSER": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def _first_of_each(packages: list[dict[str, Any]] | str) -> dict[tuple[str, str], dict[str, Any]]:
    """The packages by (name, version); of branches that make the same version, the first one counts."""
    assert isinstance(packages, list), packages
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for package in packages:
        found.setdefault((package["name"], package["version"]), package)
    return found


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_versions_are_those_that_composer_finds(answers: dict[str, Answers], scenario: str) -> None:
    """Names, pretty and normalized versions are those of Composer's own `vcs` repository."""
    found = _first_of_each(answers[scenario].found)
    expected = {(name, version, package["normalized"]) for (name, version), package in found.items()}
    left_out = {version for version in expected if version[1] in SCENARIOS[scenario].left_out}
    assert {version for _, version, _ in left_out} == SCENARIOS[scenario].left_out
    assert expected - left_out == answers[scenario].shown


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_metadata_loads_as_what_composer_reads(answers: dict[str, Answers], scenario: str) -> None:
    """What is served means to Composer what the repository does: commit, time, type, links and branch aliases."""
    found = _first_of_each(answers[scenario].found)
    expected = {key: package for key, package in found.items() if key[1] not in SCENARIOS[scenario].left_out}
    assert expected == _first_of_each(answers[scenario].loaded)


def test_fields_of_odd_types_stop_nobody(answers: dict[str, Answers]) -> None:
    """A field that Composer dies of is dropped, and the version and all others of its package load."""
    assert str(answers[STOPPER].found).startswith("TypeError")
    loaded = _first_of_each(answers[STOPPER].loaded)
    assert {version for _, version, _ in answers[STOPPER].shown} == {version for _, version in loaded}
    assert len(loaded) == 30
    assert loaded[f"acme/{STOPPER}", "dev-main"]["type"] == "library"
