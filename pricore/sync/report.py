"""What a sync did, as it is told and kept in the history. Pure."""

from collections.abc import Mapping, Sequence

from pricore.composer.candidates import Candidate
from pricore.composer.discovery import BRANCHES, TAGS
from pricore.composer.publication import Publication
from pricore.errors import NoPackageError, SyncError
from pricore.models import LeftOut, Outcome, Version


class Report(Outcome, frozen=True, kw_only=True):
    """What a sync of a repository (its address) did, and the packages that it supplies now.

    `back` are released versions whose tag had gone, and is where it was.
    """

    repository: str
    packages: list[str]
    back: Sequence[str] = ()

    def outcome(self) -> Outcome:
        """What of it the history keeps."""
        return Outcome(**{name: getattr(self, name) for name in Outcome.__struct_fields__})


def summarize(
    url: str,
    packages: list[str],
    *,
    served: Mapping[tuple[str, str], Version],
    change: Publication,
    candidates: Sequence[Candidate],
    respelled: Mapping[str, tuple[str, str]],
    read: Mapping[str, str],
    left_out: Mapping[str, str],
    notes: Sequence[str],
) -> Report:
    """The report of a sync that ends with a `change`.

    `served` is what was served before, by (package in lower case, version). `candidates` and `respelled` are what
    was found in what was `read`, the commit by ref; `left_out` has the reason by ref for what is not served of it.
    """
    added, updated, back = [], [], []
    for candidate in sorted(candidates, key=lambda item: item.released_at, reverse=True):
        before = served.get((candidate.package.lower(), candidate.version))
        if candidate.ref in left_out:
            continue
        if before is None:
            added.append(f"{candidate.package}:{candidate.version}")
        elif before.reference != candidate.reference:
            updated.append(f"{candidate.package}:{candidate.version}")
        elif before.gone_at is not None:
            back.append(f"{candidate.package}:{candidate.version}")
    return Report(
        repository=url,
        packages=packages,
        added=added,
        updated=updated,
        removed=[f"{package}:{version}" for package, version in change.removed],
        kept=[f"{package}:{version}" for package, version in change.gone],
        moved=_moved(served, respelled, read, left_out),
        back=back,
        left_out=[LeftOut(ref, reason) for ref, reason in sorted(left_out.items())],
        read=len(read),
        notes=[*notes],
    )


def _moved(
    served: Mapping[tuple[str, str], Version],
    respelled: Mapping[str, tuple[str, str]],
    read: Mapping[str, str],
    left_out: Mapping[str, str],
) -> list[str]:
    """The releases whose tag, or another one that means them, moved and was refused."""
    tags: dict[tuple[str, str], list[str]] = {}
    for ref, (package, shown) in respelled.items():
        tags.setdefault((package.lower(), shown), []).append(ref)
    return [
        f"{package}:{version.version}"
        for (package, _), version in served.items()
        for ref in (version.ref, *tags.get((package, version.version), ()))
        if ref.startswith(TAGS)
        and ref in left_out
        and read.get(ref, version.reference) not in (version.reference, version.moved_to)
    ]


def nothing_found(url: str, left_out: Mapping[str, str]) -> SyncError:
    """The error of a sync that finds no version, by the reason for each ref."""
    reasons = set(left_out.values())
    if reasons <= {"no composer.json"}:
        return NoPackageError(f"no branch or tag of {url} has a composer.json: add one with a name, and push it")
    ref = next((name for name in left_out if name.startswith(BRANCHES)), next(iter(left_out)))
    return SyncError(f"no version can be made of {url}; {ref.removeprefix('refs/')}: {left_out[ref]}")
