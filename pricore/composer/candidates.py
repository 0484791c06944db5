"""Versions on their way: as rules find them in a repository, and with the archive that publishing one takes."""

import msgspec


class Entry(msgspec.Struct, frozen=True, gc=False):
    """The metadata of one version as compact JSON, complete but for `dist`, in parts that versions share.

    `bytes()` joins them: a repository has thousands of versions with one composer.json, which is in memory once.
    """

    parts: tuple[bytes, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)


class Candidate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A version that Composer's rules find in a repository.

    `package` is the name as spelled, `entry` the metadata as compact JSON, without `dist`; `ref` is the full
    name of the ref that it comes from, with its folder if it is in one; `reference` is the commit.
    """

    package: str
    version: str
    normalized: str
    ref: str
    reference: str
    released_at: int
    default_branch: bool
    entry: Entry


class NewVersion(Candidate, frozen=True, kw_only=True, gc=False):
    """A candidate with the sha1 and size of its archive: all that publishing it takes.

    `treeish` is what that is made of, as commit:folder; None for the whole commit. Of an upload: its checksum.
    """

    shasum: str
    size: int
    treeish: str | None = None
