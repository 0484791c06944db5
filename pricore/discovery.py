"""Which versions a repository has: the walk over tags and branches of Composer's own VcsRepository.

Pure. Same versions, same order, same names as the client finds when it reads the repository itself, with the
exceptions that a registry owes its users: a released version never changes its commit, and a version that
would stop every client stays out.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from pricore import metadata, versions
from pricore.errors import ComposerJsonError
from pricore.models import Candidate, CommitFile, Version

TAGS: Final = "refs/tags/"
BRANCHES: Final = "refs/heads/"
_FOREIGN_NAMES: Final = ("gh-pages", "gh-readonly-queue/", "renovate/", "dependabot/")
"""Branches that tools make for themselves; Packagist leaves them out too."""


_MOST_REASON: Final = 500


class Discovery(msgspec.Struct, frozen=True):
    """What refs became: versions, and for the others the reason by full ref name."""

    candidates: list[Candidate]
    left_out: dict[str, str]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the walk depends on besides the refs.

    `default_name` names every version where it is set. `source_url` is where clients clone from, None for
    nowhere. `served` are the versions in service by (package in lower case, version). `accepted` are the commits
    to which released versions may move, by ref.
    """

    default_branch: str | None
    default_name: str | None
    source_url: str | None
    served: Mapping[tuple[str, str], Version]
    accepted: Mapping[str, str] = {}


def discover(refs: Mapping[str, str], files: Mapping[str, CommitFile], rules: Rules) -> Discovery:
    """The versions that `refs` (full name to commit, in git's order) make.

    `files` has the composer.json of each commit.
    """
    walk = _Walk(files, rules)
    for ref in _in_order(refs, rules.default_branch):
        try:
            walk.candidates.append(walk.candidate(ref, refs[ref]))
        except (ComposerJsonError, ValueError) as error:
            walk.left_out[ref] = str(error)[:_MOST_REASON]
    return Discovery(walk.candidates, walk.left_out)


def default_name(file: CommitFile | None) -> str | None:
    """The package name in the default branch's composer.json, None where it gives none."""
    try:
        return metadata.package_name(metadata.parse_composer_json(file.content if file else None))
    except ComposerJsonError:
        return None


def claim(ref: str) -> object | None:
    """What no two refs may make of one package, by the ref's name alone; None for a name that makes no version."""
    try:
        if ref.startswith(TAGS):
            version, normalized = versions.tag_version(ref.removeprefix(TAGS))
        else:
            version, normalized = versions.branch_version(ref.removeprefix(BRANCHES))
    except ValueError:
        return None
    return _identity("", version, normalized, released=ref.startswith(TAGS))


def _in_order(refs: Iterable[str], default_branch: str | None) -> Iterator[str]:
    """Tags, then the default branch, then the other branches."""
    first = f"{BRANCHES}{default_branch or ''}"
    yield from (ref for ref in refs if ref.startswith(TAGS))
    yield from (ref for ref in refs if ref == first)
    yield from (ref for ref in refs if ref.startswith(BRANCHES) and ref != first)


class _Walk:
    """The state of one walk: what was found so far decides on what comes later."""

    def __init__(self, files: Mapping[str, CommitFile], rules: Rules) -> None:
        self.candidates: list[Candidate] = []
        self.left_out: dict[str, str] = {}
        self._files = files
        self._rules = rules
        # what _identity says -> ref and commit that have it
        self._taken = {
            _identity(package, version.version, version.normalized, released=version.ref.startswith(TAGS)): (
                version.ref,
                version.reference,
            )
            for (package, _), version in rules.served.items()
        }

    def candidate(self, ref: str, commit: str) -> Candidate:
        """The version that a ref makes. Raises ComposerJsonError or ValueError with the reason for none."""
        if "\\" in ref:
            raise ValueError("its name is not UTF-8")
        tag = ref.removeprefix(TAGS) if ref.startswith(TAGS) else None
        branch = ref.removeprefix(BRANCHES)
        if tag is None and (branch in _FOREIGN_NAMES or branch.startswith(_FOREIGN_NAMES[1:])):
            raise ValueError("a branch that a tool made for itself")
        if tag is None and branch.startswith("-"):
            raise ValueError("git would take its name for an option")
        if tag is not None:
            versions.tag_version(tag)
        else:
            versions.branch_version(branch)
        file = self._files[commit]
        if not file.found:
            raise ValueError("it leads to no commit")
        data = metadata.parse_composer_json(file.content)
        name = self._rules.default_name or metadata.package_name(data)
        if name is None:
            raise ComposerJsonError('composer.json has no "name"')
        if tag is not None:
            version, normalized = versions.tag_version(tag, _declared_version(data))
        else:
            version, normalized = versions.branch_version(branch)
        identity = _identity(name, version, normalized, released=tag is not None)
        self._claim(identity, version if tag is None else normalized, ref, commit, released=tag is not None)
        default = tag is None and branch == self._rules.default_branch
        entry = metadata.version_entry(
            data,
            name=name,
            version=version,
            normalized=normalized,
            reference=commit,
            released_at=file.authored_at,
            source_url=self._rules.source_url,
            default_branch=default,
        )
        self._taken[identity] = (ref, commit)
        return Candidate(
            package=name,
            version=version,
            normalized=normalized,
            ref=ref,
            reference=commit,
            released_at=file.authored_at,
            default_branch=default,
            entry=entry,
        )

    def _claim(self, identity: object, version: str, ref: str, commit: str, *, released: bool) -> None:
        """Refuse with ValueError a version that another ref has, or that was released from another commit."""
        owner, reference = self._taken.get(identity, (ref, commit))
        if owner != ref:
            short = owner.removeprefix(TAGS).removeprefix(BRANCHES)
            raise ValueError(f"it means {version}, and so does {short}, which has it already")
        if released and reference != commit and self._rules.accepted.get(ref) != commit:
            raise ValueError(
                f"the tag moved from {reference[:12]} to {commit[:12]}, and a released version stays what it is: "
                f"{version} is served as it was; `pricore package accept` takes the new one"
            )


def _identity(package: str, version: str, normalized: str, *, released: bool) -> object:
    """What no two refs may share: releases are told apart by their order (1.0 is 01.0), branches by name."""
    return package.lower(), versions.sort_key(normalized) if released else version


def _declared_version(data: Mapping[str, Any]) -> str | None:
    declared = data.get("version")
    if declared is not None and not isinstance(declared, str):
        raise ComposerJsonError('"version" in composer.json is not a string')
    return declared
