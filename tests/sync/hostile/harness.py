"""Repositories that no git would make."""

from collections.abc import Sequence

from pricore.sync.report import Report
from tests.harness import GitRepository

Entry = tuple[str, bytes, str]
"""What stands in a tree: mode, name, object."""


def blob(repository: GitRepository, content: bytes) -> str:
    return repository.git("hash-object", "-w", "--stdin", stdin=content)


def tree(repository: GitRepository, entries: Sequence[Entry]) -> str:
    """A tree object as it is given, which no git would make."""
    content = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(value) for mode, name, value in entries)
    return repository.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", stdin=content)


def tag_tree(repository: GitRepository, tag: str, *entries: Entry) -> str:
    """Tag a commit of a composer.json and these entries; gives the commit."""
    manifest = "100644", b"composer.json", blob(repository, b'{"name": "acme/library"}')
    commit = repository.git("commit-tree", "-m", "x", tree(repository, sorted([*entries, manifest], key=_name)))
    repository.git("update-ref", f"refs/tags/{tag}", commit)
    return commit


def _name(entry: Entry) -> bytes:
    return entry[1]


def reasons(report: Report) -> dict[str, str]:
    return {item.ref: item.reason for item in report.left_out}
