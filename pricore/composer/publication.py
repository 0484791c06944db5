"""What one transaction of a sync changes, and how it fits with what people deleted: which refs stay out. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from pricore.composer import discovery
from pricore.composer.candidates import NewVersion
from pricore.models import Ref

Marks: TypeAlias = dict[str, tuple[str | None, str | None, str]]
"""Refs that make no version, before they move: with the package, version and commit that they were."""


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction of a sync changes.

    `versions` come or change. `removed` go; `gone` stay and are marked, as (package, version). `refs` are
    what became of refs, `forgotten` the names of those that are no more, `back` of those whose version was deleted
    while they were none, and that stand where they stood. `deleted` are the refs that the sync
    knew to make a deleted version, `there` the packages (lower case) that it found or made itself.
    `default_names` are those of packages in the default branch, by folder. `digest` is what was seen upstream,
    given by the last transaction of a complete sync; None while it goes on.
    """

    versions: Sequence[NewVersion] = ()
    removed: Sequence[tuple[str, str]] = ()
    gone: Sequence[tuple[str, str]] = ()
    refs: Sequence[Ref] = ()
    forgotten: Sequence[str] = ()
    back: Sequence[str] = ()
    deleted: frozenset[str] = frozenset()
    there: frozenset[str] = frozenset()
    default_branch: str | None = None
    default_names: Mapping[str, str] = {}
    digest: str | None = None

    @property
    def size(self) -> int:
        """How much it has to go through."""
        return sum(map(len, (self.versions, self.removed, self.gone, self.refs, self.forgotten, self.back)))


class Touched(NamedTuple):
    """The packages that get versions, with a folder; those in the default branch, with theirs; and all of them."""

    supplied: Mapping[str, str]
    moved: Mapping[str, str]
    names: set[str]


def find_touched(change: Publication) -> Touched:
    """What packages a change is about, by their names in lower case."""
    supplied: dict[str, str] = {}
    moved: dict[str, str] = {}
    for item in change.versions:
        _, path = discovery.split_place(item.ref)
        supplied.setdefault(item.package.lower(), path)
        if item.default_branch:
            moved[item.package.lower()] = path
    others = {package.lower() for package, _ in (*change.removed, *change.gone)}
    return Touched(supplied, moved, supplied.keys() | others)


class Deletion(NamedTuple):
    """What becomes of refs when versions are deleted: which stay out, and which of those are nowhere upstream.

    With `read_anew` the next sync has something to do with the repository though nothing moved there.
    """

    marks: Marks
    nowhere: set[str]
    read_anew: bool


def delete_refs(
    package: str,
    refs: Sequence[tuple[str, str, str | None, str | None]],
    deleted: Sequence[tuple[str, str, str]],
) -> Deletion:
    """What becomes of a repository's refs when versions of a package, as (ref, version, commit), are deleted.

    `refs` are (name, commit, package in lower case, reason). Marked too are those that were left out because they
    mean the same versions (1.0.0 beside v1.0.0). Where a version's own tag is gone, such a one that is at another
    commit is what it has become, and is let in now.
    """
    others = {ref for ref, _, supplies, _ in refs if supplies not in (None, package)}
    commits = {ref: commit for ref, commit, _, _ in refs if ref not in others}
    there = {ref for ref, *_ in refs}
    # not the commit of the ref, but of what it made: a tag that moved and was refused is let in now
    made = {ref: (package, version) for ref, version, _ in deleted}
    marks = {ref: commit for ref, _, commit in deleted if ref not in others}
    claims = {discovery.claim(ref) for ref in made} - {None}
    gone = {discovery.claim(ref): commit for ref, _, commit in deleted if ref not in there}
    same = {ref: commit for ref, commit in commits.items() if discovery.claim(ref) in claims}
    let_in = {ref for ref, commit in same.items() if gone.get(discovery.claim(ref), commit) != commit}
    marked = {ref: commit for ref, commit in same.items() if ref not in let_in} | marks
    moved = any(commits.get(ref, commit) != commit for ref, commit in marks.items())
    # what there was no room for, too
    waiting = any((reason or "").startswith(discovery.NO_ROOM) for _, _, _, reason in refs)
    return Deletion(
        {ref: (*made.get(ref, (None, None)), commit) for ref, commit in marked.items()},
        marked.keys() - there,
        bool(let_in) or moved or waiting,
    )


def find_late(change: Publication, *, deleted: Mapping[str, str], left: set[str]) -> Marks:
    """The refs of a change whose versions were deleted while its sync ran, and are not marked as that yet.

    `deleted` are the commits of those that are, by ref; `left` are the packages that its repository still has.
    """
    gone = change.there - left
    # of a package that was deleted between two batches: the refs of this one make nothing either
    marks: Marks = {
        item.ref: (item.package, item.version, item.reference)
        for item in change.versions
        if item.package.lower() in gone
    }
    # and those that were left out because they mean the same
    claims = {discovery.claim(ref) for ref in (deleted.keys() | marks.keys()) - change.deleted} - {None}
    return marks | {
        ref.name: (None, None, ref.commit)
        for ref in change.refs
        if ref.reason and ref.name not in deleted and discovery.claim(ref.name) in claims
    }


def leave_out(change: Publication, deleted: Mapping[str, str]) -> Publication:
    """A change without what was deleted, given as the commits of refs."""
    return msgspec.structs.replace(
        change,
        versions=[item for item in change.versions if deleted.get(item.ref) != item.reference],
        refs=[ref for ref in change.refs if deleted.get(ref.name) != ref.commit],
        # the sync decided by what was served when it began: the next one looks at everything
        digest="" if change.digest is not None and deleted.keys() - change.deleted else change.digest,
    )
