"""How a scenario's repository is made."""

from collections.abc import Callable, Iterable

import msgspec

from tests.harness import GitRepository

Build = Callable[[GitRepository, str], None]
"""Makes the repository of a package with this name."""


class Scenario(msgspec.Struct, frozen=True):
    """How a repository is made, and the versions in it that Composer takes and Pricore leaves out on purpose."""

    build: Build
    left_out: frozenset[str] = frozenset()


def by_name(*builds: Build) -> dict[str, Scenario]:
    """Scenarios in which Composer and Pricore agree on everything, named as their functions."""
    return {build.__name__.replace("_", "-"): Scenario(build) for build in builds}


def package(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "require": {"php": ">=7.4", "acme/other": "self.version"}} | more


def tag_all(repository: GitRepository, names: Iterable[str]) -> None:
    """Tag the head with names that `git tag` wouldn't all take."""
    _update_refs(repository, "refs/tags/", names)


def branch_all(repository: GitRepository, names: Iterable[str]) -> None:
    _update_refs(repository, "refs/heads/", names)


def _update_refs(repository: GitRepository, prefix: str, names: Iterable[str]) -> None:
    lines = "".join(f"create {prefix}{name} {repository.head()}\n" for name in names)
    repository.git("update-ref", "--stdin", stdin=lines.encode())
