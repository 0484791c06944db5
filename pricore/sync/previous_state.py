"""What earlier syncs left of a repository: what is served of it, and what its refs were."""

from collections.abc import Mapping
from functools import cached_property
from typing import Self

import msgspec

from pricore.archives.checksums import Sum
from pricore.composer.discovery import NOT_READ, TAGS
from pricore.models import Ref, Version
from pricore.store import Store


class Past(msgspec.Struct, frozen=True, dict=True):
    """What there was when a sync began.

    `served` are the versions by (package in lower case, version), `refs` what became of refs by full name,
    `names` the default names by folder, `made` the archives that were advertised, by commit or commit:folder.
    """

    served: Mapping[tuple[str, str], Version] = {}
    refs: Mapping[str, Ref] = {}
    names: Mapping[str, str] = {}
    made: Mapping[str, Sum] = {}

    @classmethod
    async def read(cls, store: Store, repository_id: str) -> Self:
        """The past of a repository."""
        # in this order: what is deleted in between must not look as if it had never been there
        return cls(
            served=await store.packages.of_repository(repository_id),
            refs=await store.repositories.refs(repository_id),
            names=await store.repositories.default_names(repository_id),
            made=await store.packages.checksums(repository_id),
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
