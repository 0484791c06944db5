"""Which versions a repository has: the walk over tags and branches of Composer's own VcsRepository.

Pure. Same versions, same order, same names as the client finds when it reads the repository itself, with the
exceptions that a registry owes its users: a released version never changes its commit, and a version that
would stop every client stays out.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from pricore.composer import composer_json, metadata, version_names, versions
from pricore.composer.candidates import Candidate
from pricore.composer.composer_json import Manifest
from pricore.errors import ComposerJsonError
from pricore.hosts.pages import support_of
from pricore.models import Version
from pricore.system.concurrency import OnShare, counted

TAGS: Final = "refs/tags/"
BRANCHES: Final = "refs/heads/"
_FOREIGN_NAMES: Final = ("gh-pages", "gh-readonly-queue/", "renovate/", "dependabot/")
"""Branches that tools make for themselves; Packagist leaves them out too."""


_MOST_REASON: Final = 500

MOST_OF_PACKAGE: Final = 24 * 1024 * 1024
"""Bytes of metadata that the versions of one package have, each counted whole: 1,000 of Symfony's have 8 MB."""

MOST_OF_REPOSITORY: Final = 256 * 1024 * 1024
"""The same of all packages of a repository: a hundred folders of a thousand versions have that."""

MOST_PACKAGES: Final = 2000
"""Of a repository; the largest monorepos have some hundred."""

NO_ROOM: Final = ("too much metadata: ", "too many packages: ")
"""What the reason begins with for what these leave out: it comes in when there is room again."""

NOT_READ: Final = "not read yet: "
"""Likewise for what one sync has no time for: the next one goes on."""


class CommitFile(msgspec.Struct, frozen=True, gc=False):
    """A commit's time (its author's, seconds), and its composer.json; None where that isn't there or isn't a file.

    `found` is False where the object is no commit. `problem` is why a composer.json that is there is no use.
    """

    found: bool
    authored_at: int
    manifest: Manifest | None = None
    problem: str | None = None


class Discovery(msgspec.Struct, frozen=True):
    """What refs became: versions, and for the others the reason by full ref name.

    `respelled` are those of the latter that mean a release whose own tag is gone: its package and version by ref.
    """

    candidates: list[Candidate]
    left_out: dict[str, str]
    respelled: Mapping[str, tuple[str, str]] = {}


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the walk depends on besides the refs.

    `default_names` name every version of a folder ('' is the root) where they are set. `paths` are the patterns of
    folders that are looked for, none for the root alone. `source_url` is where clients clone from, None for
    nowhere; `provider` says which pages it has. `served` are the versions in service by (package in lower case,
    version), and `gone` the refs of those that are no more. `accepted` are the commits to which released versions
    may move, by ref.
    """

    default_branch: str | None
    default_names: Mapping[str, str]
    source_url: str | None
    provider: str = "git"
    served: Mapping[tuple[str, str], Version]
    accepted: Mapping[str, str] = {}
    gone: Collection[str] = ()
    paths: Sequence[str] = ()


def discover(
    refs: Mapping[str, str],
    files: Mapping[str, CommitFile],
    rules: Rules,
    *,
    on_share: OnShare = lambda share: None,
) -> Discovery:
    """The versions that `refs` (full name to commit, in git's order) and the folders in them make.

    A folder of a ref is written as `place` has it; `files` has the composer.json of each commit, or folder of one.
    `on_share` is told how far that is.
    """
    walk = _Walk(files, rules)
    for ref in counted(_in_order(refs, rules.default_branch), len(refs), on_share):
        try:
            walk.candidates.append(walk.candidate(ref, refs[ref]))
        except (ComposerJsonError, ValueError) as error:
            walk.left_out[ref] = str(error)[:_MOST_REASON]
    return Discovery(walk.candidates, walk.left_out, walk.respelled)


def within_limits(found: Discovery, served: Mapping[tuple[str, str], int]) -> Discovery:
    """What of it the metadata of one package, and of all that a repository makes, has room for, newest first.

    `served` are the bytes of what is in service and stays there, by (package in lower case, version). It counts
    before anything new, also where it is more than that: what doesn't grow may always move.
    """
    total = sum(served.values())
    of_package: Counter[str] = Counter()
    for (package, _), size in served.items():
        of_package[package] += size
    reasons: dict[str, str] = {}
    for item in sorted(found.candidates, key=newest_first):
        package = item.package.lower()
        more = len(item.entry) - served.get((package, item.version), 0)
        if package not in of_package and len(of_package) >= MOST_PACKAGES:
            reasons[item.ref] = f"{NO_ROOM[1]}a repository makes {MOST_PACKAGES:,} at most"
        elif more > 0 and of_package[package] + more > MOST_OF_PACKAGE:
            reasons[item.ref] = too_much(package, MOST_OF_PACKAGE)
        elif more > 0 and total + more > MOST_OF_REPOSITORY:
            reasons[item.ref] = too_much("the repository", MOST_OF_REPOSITORY)
        else:
            of_package[package] += more
            total += more
    kept = [item for item in found.candidates if item.ref not in reasons]
    return Discovery(kept, found.left_out | reasons, found.respelled)


def too_much(what: str, most: int) -> str:
    """What to say where a package, or a repository, has no room for another version."""
    return (
        f"{NO_ROOM[0]}the versions of {what} have {most // 1024**2} MB of it already; "
        "`pricore package delete` makes room, and so does a smaller composer.json"
    )


def newest_first(candidate: Candidate) -> tuple[bool, int]:
    """The order in which versions are published, and counted: the default branch, then by time."""
    return not candidate.default_branch, -candidate.released_at


def default_name(file: CommitFile | None) -> str | None:
    """The package name in the default branch's composer.json, None where it gives none."""
    return file.manifest.name if file and file.manifest else None


def place(revision: str, path: str) -> str:
    """A folder in a ref or a commit, as git writes it: `revision:folder`, or the revision itself for its root."""
    return f"{revision}:{path}" if path else revision


def split_place(text: str) -> tuple[str, str]:
    """The revision and the folder in it; no name of a ref has a colon."""
    revision, _, path = text.partition(":")
    return revision, path


def claim(text: str) -> object | None:
    """What no two refs may make of one package, by the ref's name alone; None for a name that makes no version."""
    ref, path = split_place(text)
    try:
        if ref.startswith(TAGS):
            version, normalized = version_names.tag_version(ref.removeprefix(TAGS))
        else:
            version, normalized = version_names.branch_version(ref.removeprefix(BRANCHES))
    except ValueError:
        return None
    return _identity(path, version, normalized, released=ref.startswith(TAGS))


def _in_order(refs: Collection[str], default_branch: str | None) -> Iterator[str]:
    """Tags, then the default branch, then the other branches."""
    branches = {ref: split_place(ref)[0] for ref in refs if ref.startswith(BRANCHES)}
    first = f"{BRANCHES}{default_branch or ''}"
    yield from (ref for ref in refs if ref.startswith(TAGS))
    yield from (ref for ref, branch in branches.items() if branch == first)
    yield from (ref for ref, branch in branches.items() if branch != first)


class _Walk:
    """The state of one walk: what was found so far decides on what comes later."""

    def __init__(self, files: Mapping[str, CommitFile], rules: Rules) -> None:
        self.candidates: list[Candidate] = []
        self.left_out: dict[str, str] = {}
        self.respelled: dict[str, tuple[str, str]] = {}
        self._files = files
        self._rules = rules
        # what _identity says -> ref and commit that have it, and the version as it is shown and normalized
        self._taken = {
            _identity(package, version.version, version.normalized, released=version.ref.startswith(TAGS)): (
                version.ref,
                version.reference,
                (version.version, version.normalized),
            )
            for (package, _), version in rules.served.items()
        }

    def candidate(self, at: str, commit: str) -> Candidate:
        """The version that a ref, or a folder in it, makes.

        Raises ComposerJsonError or ValueError with the reason for none.
        """
        ref, path = split_place(at)
        if "\\" in ref:
            raise ValueError("its name is not UTF-8")
        tag = ref.removeprefix(TAGS) if ref.startswith(TAGS) else None
        branch = ref.removeprefix(BRANCHES)
        if tag is None and (branch in _FOREIGN_NAMES or branch.startswith(_FOREIGN_NAMES[1:])):
            raise ValueError("a branch that a tool made for its own use")
        if tag is None and branch.startswith("-"):
            raise ValueError("git would take its name for an option")
        if tag is not None:
            version_names.tag_version(tag)
        else:
            version_names.branch_version(branch)
        file = self._files[place(commit, path)]
        manifest = self._manifest(file)
        name = self._rules.default_names.get(path) or manifest.name
        if name is None:
            raise ComposerJsonError('composer.json has no "name"')
        if tag is not None:
            version, normalized = version_names.tag_version(tag, _declared_version(manifest))
        else:
            version, normalized = version_names.branch_version(branch)
        identity = _identity(name, version, normalized, released=tag is not None)
        if tag is None:
            self._claim_branch(identity, version, at)
        else:
            version, normalized = self._claim_release(identity, name, (version, normalized), at, commit)
        default = tag is None and branch == self._rules.default_branch
        # what is in a folder of it cannot be cloned
        source_url = None if path else self._rules.source_url
        entry = metadata.version_entry(
            manifest,
            name=name,
            version=version,
            normalized=normalized,
            reference=commit,
            released_at=file.authored_at,
            source_url=source_url,
            default_branch=default,
            support=None if source_url is None else self._support(source_url, tag, branch, commit),
        )
        self._taken[identity] = (at, commit, (version, normalized))
        return Candidate(
            package=name,
            version=version,
            normalized=normalized,
            ref=at,
            reference=commit,
            released_at=file.authored_at,
            default_branch=default,
            entry=entry,
        )

    def _manifest(self, file: CommitFile) -> Manifest:
        if not file.found:
            raise ValueError("it leads to no commit")
        if file.problem is not None:
            raise ComposerJsonError(file.problem)
        if file.manifest is None:
            folders = " or ".join(self._rules.paths)
            raise ComposerJsonError(
                f"no folder {folders} in it has a composer.json" if folders else composer_json.NO_COMPOSER_JSON
            )
        return file.manifest

    def _support(self, url: str, tag: str | None, branch: str, commit: str) -> Mapping[str, str] | None:
        return support_of(self._rules.provider, url, tag or branch, commit, tag=tag is not None)

    def _claim_branch(self, identity: object, version: str, ref: str) -> None:
        """Refuse with ValueError a version that another branch has."""
        owner, *_ = self._taken.get(identity, (ref,))
        if owner != ref:
            raise _means_the_same(version, owner)

    def _claim_release(
        self, identity: object, package: str, version: tuple[str, str], ref: str, commit: str
    ) -> tuple[str, str]:
        """The version as it is shown and normalized: what is served keeps its name, under which lock files ask.

        Raises ValueError for one that another tag has, or that was released from another commit.
        """
        owner, reference, served = self._taken.get(identity, (ref, commit, version))
        shown, _ = served
        if owner != ref and owner not in self._rules.gone:
            raise _means_the_same(version[1], owner)
        if commit not in (reference, self._rules.accepted.get(ref)):
            if owner != ref:
                self.respelled[ref] = (package, shown)
            what = "the tag moved" if owner == ref else f"the tag {_short(owner)} is gone, and this one moved"
            raise ValueError(
                f"{what} from {reference[:12]} to {commit[:12]}, but a released version does not change: "
                f"{shown} is served as before; `pricore package accept` takes the new one"
            )
        return served


def _means_the_same(version: str, owner: str) -> ValueError:
    return ValueError(f"it means {version}, and so does {_short(owner)}, which has it already")


def _short(ref: str) -> str:
    return ref.removeprefix(TAGS).removeprefix(BRANCHES)


def _identity(package: str, version: str, normalized: str, *, released: bool) -> object:
    """What no two refs may share: releases are told apart by their order (1.0 is 01.0), branches by name."""
    return package.lower(), versions.sort_key(normalized) if released else version


def _declared_version(manifest: Manifest) -> str | None:
    if manifest.version is False:
        raise ComposerJsonError('"version" in composer.json is not a string')
    return manifest.version
