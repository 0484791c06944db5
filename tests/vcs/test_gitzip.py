"""The zips that are made of objects are, byte for byte, those that `git archive` makes, or left to git."""

import asyncio
import hashlib
import subprocess
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final, TypeAlias

import hypothesis
import pytest
from hypothesis import strategies as st

from pricore.errors import GitError
from pricore.git import Git
from pricore.vcs.gitzip import GitZip
from pricore.vcs.mirror import Mirror
from pricore.vcs.objects import UnusualError
from tests.soak import SEED, TIMES

_USUAL: Final = ("a", "B.php", "composer.json", "src", "tests", ".github", "a b", "x" * 200, "[a]", "$a", "-")
_RARE: Final = ("ä", "a\\b", '"', "a\tb", "git~1", ".git", ".GIT", ".git ", "..", "...", "y" * 300)
_CONTENTS: Final = (b"", b"crlf\r\n", b"\0", b"a" * 7999 + b"\0", b"a" * 8000 + b"\0", b"$Format:%H$ $Id$")
_ATTRIBUTES: Final = (
    *("tests export-ignore", "/src/ export-ignore", "* export-ignore", "*.php -export-ignore", "* text=auto"),
    *("src/* export-ignore", "src/** export-ignore", "* diff", "*.php binary", "a -diff", "* export-subst"),
    *("* diff=php", "* eol=crlf", "* ident", "[attr]x diff", "a[b] diff", "** export-ignore", "c* export-ignore"),
)
_TIMES: Final = (0, 1, 315_532_799, 315_532_800, 1_700_000_001, 2**31 - 1, 2**31, 2**32, 253_402_300_800)
_ZONES: Final = ("+0000", "-0730", "+1400", "+9999")

Tree: TypeAlias = "Mapping[str, Tree | tuple[str, bytes]]"
"""What is in a folder by name: another one, or a mode and a content."""


class Repository:
    """A bare repository, into which objects are put as they are given, which no git would do."""

    def __init__(self, path: Path, ids: str) -> None:
        subprocess.run(["git", "init", "--quiet", "--bare", f"--object-format={ids}", path], check=True)
        (path / "info" / "attributes").write_text("* -export-subst\n")
        self.path = path
        self._ids = ids

    def put(self, kind: str, content: bytes) -> str:
        whole = f"{kind} {len(content)}\0".encode() + content
        name = hashlib.new(self._ids, whole).hexdigest()
        path = self.path / "objects" / name[:2] / name[2:]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(whole))
        return name

    def put_tree(self, tree: Tree) -> str:
        entries: list[tuple[bytes, bytes, str]] = []
        for name, item in tree.items():
            if isinstance(item, Mapping):
                entries.append((name.encode() + b"/", b"40000", self.put_tree(item)))
            else:
                mode, content = item
                entries.append((name.encode(), mode.encode(), self.put("blob", content)))
        listed = sorted(entries)  # a folder is where its name with a slash belongs
        return self.put(
            "tree",
            b"".join(b"%b %b\0%b" % (m, name.removesuffix(b"/"), bytes.fromhex(id_)) for name, m, id_ in listed),
        )

    def commit(self, tree: str, when: str = "1700000001 +0000", who: str = "Ada <ada@example.com>") -> str:
        return self.put("commit", f"tree {tree}\nauthor A <a> 1 +0000\ncommitter {who} {when}\n\nx\n".encode())


@pytest.fixture(params=["sha1", "sha256"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    return Repository(tmp_path / "mirror.git", request.param)


def _read(output: IO[bytes]) -> bytes:
    return output.read()


def _compare(repository: Repository, treeishes: Sequence[str]) -> list[bool]:
    """Whether a zip was made of each; those that were are git's. All are made in one conversation."""

    def make(zips: GitZip) -> list[bytes | None]:
        made: list[bytes | None] = []
        for treeish in treeishes:
            try:
                made.append(zips.make(treeish))
            except UnusualError:
                made.append(None)
        return made

    async def compare() -> list[bool]:
        with Git(timeout=60) as git:
            mirror = Mirror(git, repository.path)
            zips = await mirror.with_zips(make)
            for treeish, made in zip(treeishes, zips, strict=True):
                try:
                    archive: bytes | None = await mirror.archive(treeish, _read)
                except GitError:
                    archive = None
                assert made is None or made == archive, treeish
            return [made is not None for made in zips]

    return asyncio.run(compare())


def _files(*, rare: bool) -> st.SearchStrategy[tuple[str, bytes]]:
    modes = ("100644", "100644", "100755", "100664") * 3 + (("120000", "160000") if rare else ())
    return st.tuples(st.sampled_from(modes), st.sampled_from(_CONTENTS))


def _trees(*, rare: bool) -> st.SearchStrategy[Tree]:
    """Trees of any form, with attributes; the rare have what is left to git, too."""
    names = st.sampled_from(_USUAL * 6 + (_RARE if rare else ()))
    lines = st.lists(st.sampled_from(_ATTRIBUTES[: None if rare else 12]), max_size=4)
    attributes = lines.map(lambda lines: ("100644", "".join(f"{line}\n" for line in lines).encode()))
    folders: st.SearchStrategy[Tree] = st.recursive(
        st.just({}), lambda inner: st.dictionaries(names, inner | _files(rare=rare), max_size=5), max_leaves=8
    )
    if rare:
        folders |= st.builds(lambda inner, said: {**inner, ".gitattributes": said}, folders, attributes)
        folders |= st.builds(lambda inner, one: {**inner, "src": one}, folders, folders)
    return folders | st.builds(lambda inner, said: {**inner, ".gitattributes": said}, folders, attributes)


@pytest.mark.parametrize("rare", [False, True], ids=["usual", "rare"])
def test_a_zip_is_the_one_that_git_makes(repository: Repository, rare: bool) -> None:
    """Of any trees, attributes and times, one after the other; of usual ones, it is hardly ever left to git."""
    made: list[bool] = []

    @hypothesis.settings(max_examples=60 * TIMES, deadline=None, database=None)
    @hypothesis.seed(SEED)
    @hypothesis.given(
        st.lists(
            st.tuples(
                _trees(rare=rare),
                st.integers(315_532_800, 2**31 - 1) | st.sampled_from(_TIMES if rare else (1_700_000_001,)),
                st.sampled_from(_ZONES),
            ),
            min_size=1,
            max_size=4,
        )
    )
    def compare(commits: Sequence[tuple[Tree, int, str]]) -> None:
        names = [repository.commit(repository.put_tree(tree), f"{time} {zone}") for tree, time, zone in commits]
        made.extend(_compare(repository, names))

    compare()
    assert any(made) if rare else sum(made) > len(made) * 0.9


def _file(content: bytes = b"x") -> tuple[str, bytes]:
    return "100644", content


_IGNORING: Final = _file(b"/tests export-ignore\n")

_LEFT_TO_GIT: Final[Mapping[str, Tree]] = {
    "a link": {"a": ("120000", b"b")},
    "a submodule": {"a": ("160000", b"")},
    "a name that is no ASCII": {"ä": _file()},
    "a long name": {"a" * 256: _file()},
    "a name that git refuses": {"a": {".git": _file()}},
    "a name that git refuses in what is left out": {"tests": {"..": _file()}, ".gitattributes": _IGNORING},
    "attributes in a folder": {"a": {".gitattributes": _file(b"b export-ignore\n"), "b": _file()}},
    "attributes that are a folder": {".gitattributes": {"a": _file()}},
    "attributes that convert": {"a": _file(b"\n"), ".gitattributes": _file(b"* text eol=crlf\n")},
    "a large file": {"a": _file(bytes(4 * 1024**2 + 1))},
    "many large files": {f"{number}": _file(bytes([number]) * 3 * 1024**2) for number in range(3)},
}


@pytest.mark.parametrize("case", _LEFT_TO_GIT)
def test_what_is_rare_is_left_to_git(repository: Repository, case: str) -> None:
    """It doesn't stand in the way of others in the same conversation, in which it comes twice."""
    usual, rare = (repository.commit(repository.put_tree(tree)) for tree in ({"a": _file()}, _LEFT_TO_GIT[case]))
    assert _compare(repository, [usual, rare, usual, rare]) == [True, False, True, False]


@pytest.mark.parametrize(
    "tree",
    [
        {"tests": {"a": _file()}, "b": _file(), ".gitattributes": _file(b"tests/* export-ignore\n")},
        {"tests": {"a": {"b": _file()}}, "b": _file(), ".gitattributes": _file(b"tests/* export-ignore\n")},
        {"tests": {".gitattributes": _file(b"* eol=crlf")}, ".gitattributes": _IGNORING},
        {"a": {}, "b": {"c": {}}},
        {},
    ],
    ids=["ignored files", "ignored folders", "attributes in what is ignored", "empty folders", "nothing"],
)
def test_folders_are_there_where_git_has_them(repository: Repository, tree: Tree) -> None:
    """Git has those that it found a file in, though it may have left that out."""
    assert _compare(repository, [repository.commit(repository.put_tree(tree))]) == [True]


def test_folders_have_archives_of_their_own(repository: Repository) -> None:
    """A folder of a commit is the same in one conversation as by itself; one that isn't there is left to git."""
    folder = {"composer.json": _file(), ".gitattributes": _file(b"c export-ignore\n"), "c": _file()}
    tree: Tree = {"a": {"b": folder}, "link": ("120000", b"a")}
    commit = repository.commit(repository.put_tree(tree))
    assert _compare(repository, [f"{commit}:a/b", f"{commit}:a"]) == [True, False]
    assert _compare(repository, [f"{commit}:b", f"{commit}:a/b/c"]) == [False, False]


def test_what_is_no_commit_is_left_to_git(repository: Repository) -> None:
    """Something else, something that is missing, or a commit whose lines git would not write."""
    tree = repository.put_tree({"a": _file()})
    names = [
        *(
            tree,
            "0" * len(tree),
            repository.commit("0" * len(tree)),
            repository.commit(repository.put("blob", b"")),
        ),
        *(
            repository.commit(tree, who="<Ada> <ada>"),
            repository.commit(tree, when=""),
            repository.put("commit", b"x"),
        ),
    ]
    assert _compare(repository, names) == [False] * len(names)


@pytest.mark.parametrize("names", [(b"b", b"a"), (b"a", b"a"), (b"", b"a"), (b"a/b", b"c")])
def test_trees_that_git_would_not_write_are_left_to_it(repository: Repository, names: Sequence[bytes]) -> None:
    """In another order, with one name twice, or with names that are none."""
    blob = bytes.fromhex(repository.put("blob", b"x"))
    tree = repository.put("tree", b"".join(b"100644 %b\0%b" % (name, blob) for name in names))
    cut = repository.put("tree", b"100644 a\0" + blob[:-1])
    assert _compare(repository, [repository.commit(tree), repository.commit(cut)]) == [False, False]


@pytest.mark.parametrize("levels", [30, 100])
def test_a_few_trees_that_unfold_to_billions_end_at_once(repository: Repository, levels: int) -> None:
    """Each level has the one below twice; nobody waits for what is in them all."""
    tree = repository.put_tree({})
    for _ in range(levels):
        entry = bytes.fromhex(tree)
        tree = repository.put("tree", b"40000 a\0" + entry + b"40000 b\0" + entry)
    commit = repository.commit(tree)

    def make(zips: GitZip) -> None:
        with pytest.raises(UnusualError):
            zips.make(commit)

    async def ask() -> None:
        with Git(timeout=60) as git:
            await Mirror(git, repository.path).with_zips(make)

    asyncio.run(asyncio.wait_for(ask(), 20))
