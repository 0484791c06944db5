"""Repositories with traps in their tags, branches and HEAD."""

import random
import subprocess

from tests.harness import GitRepository
from tests.stories.oracle.scenario import Build, Scenario, branch_all, by_name, package, tag_all


def annotated_tags(repository: GitRepository, name: str) -> None:
    repository.commit(package(name))
    repository.tag("v1.0.0", annotated=True)
    repository.tag("v1.0.1")
    repository.git("tag", "--annotate", "--message=a tag of a tag", "v1.0.2", "v1.0.0")
    repository.git("tag", "--annotate", "--message=of a tag of a tag", "v1.0.3", "v1.0.2")
    repository.commit(package(name, description="later"))
    repository.tag("v1.1.0", annotated=True)


def tag_names(repository: GitRepository, name: str) -> None:
    repository.commit(package(name))
    tag_all(
        repository,
        [
            *("1.0", "v1.1.0", "V1.2", "v.1.3", "release-1.4", "release-v1.5.0", "v1.6-release-", "version-1.7"),
            *("1.8.0.1", "1.8.0.1.2", "1", "v2", "0", "99999", "100000", "007", "nightly", "latest", "v", "x"),
            *("2023.01.15", "20230115", "2023-01-16", "3.0+build.5", "3.0.1+a,b", "3.0.2+a|b", "3.1@beta"),
            *("3.2#x", "3.3,4", "3.4/5", "3.6(1)", "1,5", "v3.7/v3.8", "über", "3.9.x"),
        ],
    )


def prerelease_tags(repository: GitRepository, name: str) -> None:
    repository.commit(package(name))
    tag_all(
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
        repository.commit(package(name, description=f"commit {number}"))
        repository.tag(tag)


def numeric_branches(repository: GitRepository, name: str) -> None:
    repository.commit(package(name))
    branch_all(
        repository,
        [
            *("2.0", "1.x", "v3.x", "2.1.0", "1", "V4.x", "5.X", "6.x.x", "7.x.x.x", "8.x.x.x.x", "v9"),
            *("v10.1.2.3", "11.1.2.3.4", "2.0.x", "v2.0", "9999999", "1.9999999", "12.x-dev", "13.0-beta"),
            *("v", "x", "20230115", "007"),
        ],
    )


def named_branches(repository: GitRepository, name: str) -> None:
    repository.commit(package(name))
    branch_all(
        repository,
        [
            *("feature/x", "Feature/X", "FEATURE/x", "a/b/c/d", "a+b", "a,b", "a,1.0", "a@b", "user@dev", "@"),
            *("a=b", "a|b", "a||1", "a;b", "100%", "%41", "(x)", "<1", ">1", "!x", "$x", "'q'", '"q"', "a&b"),
            *("über", "日本", "dev-x", "x-dev", "1.0-dev", "dev", "DEV-y", "1.0+build", "_x"),
            *("release-1.0", "master", "trunk", "default", "x-as-y", "{x}", "`x`", "-dash"),
        ],
    )


def branches_with_a_hash_sign(repository: GitRepository, name: str) -> None:
    repository.commit(package(name))
    branch_all(repository, ["fix#12", "fix/#13", "#14", "15#", "1.x#16"])


def line_separators_in_names(repository: GitRepository, name: str) -> None:
    repository.commit(package(name))
    branch_all(repository, ["a\u2028b", "c\u0085d", "e\u00a0f", "g\u3000h"])
    tag_all(repository, ["1.0\u20282.0", "3.0"])


def a_tag_and_a_branch_of_one_name(repository: GitRepository, name: str) -> None:
    repository.commit(package(name))
    tag_all(repository, ["1.0", "2.x", "main", "v3.0"])
    repository.commit(package(name, description="later"))
    branch_all(repository, ["1.0", "2.x", "v3.0"])


def a_numeric_default_branch(repository: GitRepository, name: str) -> None:
    repository.git("checkout", "--quiet", "-b", "3.x")
    repository.commit(package(name))
    branch_all(repository, ["main", "2.x"])


def a_default_branch_of_another_name(repository: GitRepository, name: str) -> None:
    repository.git("checkout", "--quiet", "-b", "develop")
    repository.commit(package(name))
    branch_all(repository, ["main", "master"])
    repository.commit(package(name, description="later"))


def a_head_that_names_no_branch(repository: GitRepository, name: str) -> None:
    repository.git("checkout", "--quiet", "-b", "master")
    repository.commit(package(name))
    branch_all(repository, ["feature"])
    repository.git("symbolic-ref", "HEAD", "refs/heads/nothing")


def a_detached_head(repository: GitRepository, name: str) -> None:
    repository.commit(package(f"{name}-old"))
    repository.tag("1.0")
    repository.commit(package(name))
    repository.git("checkout", "--quiet", "--detach")


def tags_without_a_commit(repository: GitRepository, name: str) -> None:
    repository.commit(package(name))
    repository.git("tag", "1.0", "HEAD^{tree}")
    repository.git("tag", "--annotate", "--message=a tree", "1.1", "HEAD^{tree}")
    repository.git("tag", "1.2", "HEAD:composer.json")
    repository.git("tag", "--annotate", "--message=a file", "1.3", "HEAD:composer.json")
    repository.tag("1.4")


def author_dates(repository: GitRepository, name: str) -> None:
    for minor, date in enumerate(
        ["2001-02-03T04:05:06+09:00", "1971-01-01T00:00:00-11:30", "2030-12-31T23:59:59Z"]
    ):
        repository.commit(package(name))
        repository.git("commit", "--quiet", "--amend", "--no-edit", "--allow-empty", f"--date={date}")
        repository.tag(f"1.{minor}", annotated=True)


def branches_of_tools(repository: GitRepository, name: str) -> None:
    repository.commit(package(name))
    branch_all(
        repository,
        [
            *("gh-pages", "renovate/php-9.x", "dependabot/composer/x", "gh-readonly-queue/main/pr-1"),
            *("gh-pages-2", "renovate-x", "dependabot-x/y", "my/renovate/x", "Renovate/x"),
        ],
    )


def _random_refs(seed: int) -> Build:
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
            repository.commit(package(name, description=f"commit {number}", **version))
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


SCENARIOS = by_name(
    annotated_tags,
    tag_names,
    prerelease_tags,
    tags_that_mean_one_version,
    numeric_branches,
    named_branches,
    branches_with_a_hash_sign,
    line_separators_in_names,
    a_tag_and_a_branch_of_one_name,
    a_numeric_default_branch,
    a_default_branch_of_another_name,
    a_head_that_names_no_branch,
    a_detached_head,
    tags_without_a_commit,
    author_dates,
) | {
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
}
