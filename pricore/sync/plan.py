"""What one sync decides: which refs have to be read, what they may make, and what goes at its end.

Pure, but for reading the previous state; of many refs it takes a while, and goes to a thread.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, Self

import msgspec

from pricore.archives.checksums import Digest
from pricore.composer import discovery
from pricore.composer.candidates import Candidate, NewVersion
from pricore.composer.discovery import BRANCHES, NOT_READ, TAGS, CommitFile, Discovery, Rules, place, split_place
from pricore.composer.publication import Publication
from pricore.hosts.addresses import is_local
from pricore.models import Ref, Repository, Version
from pricore.store import Store

_MOST_AHEAD: Final = 4
"""Archives that are begun before it is known what they are for; after a push there are one or two to make."""


class PreviousState(msgspec.Struct, frozen=True, dict=True):
    """What there was when a sync began.

    `served` are the versions by (package in lower case, version), `refs` what became of refs by full name,
    `names` the default names by folder, `made` the archives that were advertised, by commit or commit:folder.
    """

    served: Mapping[tuple[str, str], Version] = {}
    refs: Mapping[str, Ref] = {}
    names: Mapping[str, str] = {}
    made: Mapping[str, Digest] = {}

    @classmethod
    async def read(cls, store: Store, repository_id: str) -> Self:
        """What there is of a repository."""
        # in this order: what is deleted in between must not look as if it had never been there
        return cls(
            served=await store.packages.of_repository(repository_id),
            refs=await store.repositories.refs(repository_id),
            names=await store.repositories.default_names(repository_id),
            made=await store.archives.checksums(repository_id),
        )

    def packages(self) -> frozenset[str]:
        """The packages that are served of it, in lower case."""
        return frozenset(package for package, _ in self.served)

    @cached_property
    def deleted(self) -> frozenset[str]:
        """The refs whose version was deleted on purpose."""
        return frozenset(ref.name for ref in self.refs.values() if ref.deleted_at is not None)

    def moved(self, refs: Mapping[str, str]) -> dict[str, str]:
        """Those of some refs (name to commit) that are new, or stood elsewhere."""
        return {
            ref: commit for ref, commit in refs.items() if ref not in self.refs or self.refs[ref].commit != commit
        }

    def unread(self, refs: Mapping[str, str]) -> dict[str, str]:
        """Those of some refs that no sync had the time to read."""
        return {
            ref: refs[ref]
            for ref, known in self.refs.items()
            if known.reason is not None and known.reason.startswith(NOT_READ) and ref in refs
        }

    def without_deleted(self, refs: Mapping[str, str]) -> dict[str, str]:
        """Those of some refs that make a version: not where they stood when theirs was deleted."""
        return {
            ref: commit
            for ref, commit in refs.items()
            if ref not in self.deleted or self.refs[ref].commit != commit
        }

    def vanished(self, refs: Mapping[str, str], *, keep: bool) -> list[tuple[str, str]]:
        """The releases whose tag is gone: those to be marked where they are kept, else to be removed."""
        return [
            key
            for key, version in self.served.items()
            if version.ref.startswith(TAGS)
            and version.ref not in refs
            and not (keep and version.gone_at is not None)
        ]

    def left_out(self, ref: str, commit: str, reason: str, *, means: tuple[str, str] | None = None) -> Ref:
        """What to remember of a ref that makes no version now; what it made before goes on being served.

        `means` is the package and version that it would be, had their own tag not been released elsewhere.
        """
        before = self.refs.get(ref)
        package, version = means or ((before.package, before.version) if before else (None, None))
        return Ref(ref, commit, package, version, reason)


class Places:
    """What may be a package: the refs of a repository, or where folders are packages, these in each ref.

    `commits` has the commit of each, by the ref's full name or ref:folder, in git's order. Of folders there are
    the `trees` by commit:folder, and `without_root`, the commits whose root is no package.
    """

    def __init__(self, refs: Mapping[str, str], folders: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.trees: dict[str, str] = {}
        self.without_root: set[str] = set()
        self.commits: dict[str, str] = {}
        if folders is None:
            self.commits |= refs
            return
        for ref, commit in refs.items():
            found = folders[commit]
            # a ref with none stays alone, with the reason for that
            self.commits |= {place(ref, path): commit for path in found} or {ref: commit}
            if "" not in found:
                self.without_root.add(commit)
            self.trees |= {place(commit, path): tree for path, tree in found.items() if path}

    def to_read(
        self, refs: Mapping[str, str], in_default: Mapping[str, str]
    ) -> tuple[list[str], set[str], dict[str, CommitFile]]:
        """The commits, or commit:folder, of which the composer.json has to be read for some refs.

        Besides them those of the default branch, and what is known of the others without reading.
        """
        wanted = dict.fromkeys(treeish(ref, commit) for ref, commit in refs.items())
        # nobody asked for what is in its root
        empty = {at: CommitFile(True, 0) for at in wanted if at in self.without_root}
        first = {treeish(ref, commit) for ref, commit in in_default.items()}
        return [at for at in wanted if at not in empty], first, empty

    def treeishes(self, candidates: Iterable[Candidate]) -> dict[str, str]:
        """What the archive of each candidate is made of, by its ref: of folders that are alike, the first one."""
        first: dict[str, str] = {}
        made: dict[str, str] = {}
        for candidate in candidates:
            at = treeish(candidate.ref, candidate.reference)
            made[candidate.ref] = first.setdefault(self.trees.get(at, at), at)
        return made


class Plan:
    """What a sync of a repository decides by what there was `before`; `keep` lets releases outlive their tags."""

    def __init__(self, repository: Repository, before: PreviousState, *, keep: bool) -> None:
        self.before = before
        self._repository = repository
        self._keep = keep

    def commits_ahead(self, refs: Mapping[str, str]) -> list[str]:
        """The commits of which there will most likely be archives, if they are few: begun while git reads them.

        Where there are more, they are made in another order.
        """
        moved = set(self.before.moved(refs).values())
        return [] if self._repository.paths or len(moved) > _MOST_AHEAD else sorted(moved)

    def to_read(
        self, refs: Mapping[str, str], default_branch: str | None
    ) -> tuple[dict[str, str], dict[str, str]]:
        """The places that have to be read if not all, and those in the default branch.

        What was left out is read again where a ref went away: it may have been left out because of that one.
        """
        before = self.before
        changed = before.moved(refs) | before.unread(refs)
        if before.vanished(refs, keep=self._keep) or any(
            ref not in refs and ref not in before.deleted for ref in before.refs
        ):
            changed |= {ref: refs[ref] for ref, known in before.refs.items() if known.reason and ref in refs}
        default = f"{BRANCHES}{default_branch or ''}"
        in_default = {ref: commit for ref, commit in refs.items() if split_place(ref)[0] == default}
        if default_branch != self._repository.default_branch:
            # the mark of the default branch goes from one to the other
            other = f"{BRANCHES}{self._repository.default_branch or ''}"
            changed |= in_default | {ref: commit for ref, commit in refs.items() if split_place(ref)[0] == other}
        return changed, in_default

    def default_names(self, in_default: Mapping[str, str], files: Mapping[str, CommitFile]) -> dict[str, str]:
        """The default names by folder; a composer.json that broke doesn't take it away from what is served."""
        names = dict(self.before.names)
        for ref, commit in in_default.items():
            if name := discovery.default_name(files[treeish(ref, commit)]):
                names[split_place(ref)[1]] = name
        return names

    def rules(self, refs: Mapping[str, str], default_branch: str | None, names: Mapping[str, str]) -> Rules:
        """By what versions are found in refs."""
        url = self._repository.url
        # a branch that is gone claims its version no longer; a release does, where it is kept
        served = {
            key: version
            for key, version in self.before.served.items()
            if version.ref in refs or (self._keep and version.ref.startswith(TAGS))
        }
        return Rules(
            default_branch=default_branch,
            default_names=names,
            paths=self._repository.paths,
            source_url=None if is_local(url) else url,
            provider=self._repository.provider,
            accepted={ref.name: ref.accepted for ref in self.before.refs.values() if ref.accepted},
            gone={version.ref for version in served.values()} - refs.keys(),
            served=served,
        )

    def last_publication(
        self, change: Publication, found: Discovery, refs: Mapping[str, str], changed: Mapping[str, str]
    ) -> Publication:
        """The transaction that ends the sync: on top of its versions what was left out, went, and was seen."""
        before = self.before
        supplied = {(candidate.package.lower(), candidate.version) for candidate in found.candidates}
        vanished = [key for key in before.vanished(refs, keep=self._keep) if key not in supplied]
        removed = [] if self._keep else vanished
        for ref in before.refs.values():
            version = before.served.get(((ref.package or "").lower(), ref.version or ""))
            if ref.name in refs or ref.name.startswith(TAGS) or version is None or version.ref != ref.name:
                continue
            key = (ref.package or "").lower(), version.version
            if key not in supplied:
                removed.append(key)
        left_out = [
            before.left_out(ref, changed[ref], reason, means=found.respelled.get(ref))
            for ref, reason in found.left_out.items()
        ]
        return msgspec.structs.replace(
            change,
            removed=removed,
            gone=vanished if self._keep else [],
            refs=[*change.refs, *left_out],
            forgotten=[ref for ref in before.refs if ref not in refs],
            back=[ref for ref in before.deleted if ref in refs and before.refs[ref].reason is None],
        )


def treeish(ref: str, commit: str) -> str:
    """The commit itself, or the folder of the ref in it."""
    return place(commit, split_place(ref)[1])


def with_versions(change: Publication, versions: Sequence[NewVersion]) -> Publication:
    """The change with some versions, and what became of their refs."""
    refs = [Ref(item.ref, item.reference, item.package, item.version, None) for item in versions]
    return msgspec.structs.replace(change, versions=versions, refs=refs)


def without_foreign(found: Discovery, taken: Mapping[str, str]) -> Discovery:
    """What was found without packages that others supply, by the reason for their names in lower case."""
    own = [candidate for candidate in found.candidates if candidate.package.lower() not in taken]
    refused = {
        candidate.ref: taken[candidate.package.lower()]
        for candidate in found.candidates
        if candidate.package.lower() in taken
    }
    return Discovery(own, found.left_out | refused, found.respelled)


def has_unread(found: Discovery) -> bool:
    """Whether there was no time to read some of it."""
    return any(reason.startswith(NOT_READ) for reason in found.left_out.values())
