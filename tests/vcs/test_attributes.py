"""What a .gitattributes says of a path is what git says, or is left to git."""

import subprocess
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from pricore.vcs.attributes import Attributes, PathAttributes
from tests.soak import SEED, TIMES

_PATHS = (
    *("a", "b", "a/", "src/", "tests/", "src/a", "src/b.php", "src/tests/", "src/tests/a", "tests/a"),
    *("tests/a/b", "tests/src/", "tests/src/a.php", ".gitignore", "docs/", "docs/a b.md", "README.md", "a.php"),
)
_PARTS = ("a", "b", "src", "tests", "*", "*.php", "*.md", ".*", "a*", "?", "**", "t*s", "[ab]", "R*D*E.md", "\\a")
_ATTRIBUTES = (
    *("export-ignore", "-export-ignore", "!export-ignore", "export-ignore=yes", "diff", "-diff", "!diff"),
    *("diff=php", "binary", "-binary", "!binary", "text", "-text", "text=auto", "eol=lf", "linguist-vendored"),
)


def _patterns() -> st.SearchStrategy[str]:
    """Patterns, most of them well-formed."""
    inner = st.lists(st.sampled_from(_PARTS), min_size=1, max_size=3).map("/".join)
    return st.builds(
        "{}{}{}".format, st.sampled_from(("", "", "/", "!", "**/")), inner, st.sampled_from(("", "/"))
    )


def _lines() -> st.SearchStrategy[str]:
    words = st.lists(st.sampled_from(_ATTRIBUTES), min_size=1, max_size=3).map(" ".join)
    written = st.builds("{}{}{}".format, _patterns(), st.sampled_from((" ", "\t", "  ")), words)
    return written | st.sampled_from(
        ("", "  ", "# a comment", "  # another", "[attr]binary diff", '"a b" diff', "a")
    )


def _ask_git(folder: Path, content: str) -> list[PathAttributes]:
    """What git says of each path, with these lines in the root's .gitattributes."""
    (folder / ".gitattributes").write_text(content)
    done = subprocess.run(
        ["git", "check-attr", "-z", "--stdin", "export-ignore", "diff"],
        cwd=folder,
        input="\0".join(_PATHS),
        capture_output=True,
        text=True,
        check=True,
    )
    values = done.stdout.split("\0")[2::3]
    texts = {"set": True, "unset": False}
    pairs = zip(values[::2], values[1::2], strict=True)
    return [PathAttributes(ignore == "set", texts.get(diff)) for ignore, diff in pairs]


def test_what_is_said_is_what_git_says(tmp_path: Path) -> None:
    """Of any lines: the last rule counts, for folders and for files, wherever it may match."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    understood = []

    @hypothesis.settings(max_examples=300 * TIMES, deadline=None, database=None)
    @hypothesis.seed(SEED)
    @hypothesis.given(st.lists(_lines(), max_size=6), st.sampled_from(("\n", "\r\n")))
    def compare(lines: list[str], ending: str) -> None:
        content = "".join(line + ending for line in lines)
        attributes = Attributes.parse(content.encode())
        understood.append(attributes is not None)
        if attributes is not None:
            assert [attributes.of(path.encode()) for path in _PATHS] == _ask_git(tmp_path, content), content

    compare()
    assert sum(understood) > len(understood) / 8


@pytest.mark.parametrize(
    "line",
    [
        *("* text eol=crlf", "*.php eol=crlf", "* ident", "*.bin filter=lfs", "* crlf", "* text=input", "* -crlf"),
        *(
            "* working-tree-encoding=UTF-16",
            "[attr]mine export-ignore",
            "* -binary",
            '"a b" export-ignore',
            "ä diff",
        ),
        *(
            "a[b] export-ignore",
            "a\\b export-ignore",
            "!a export-ignore",
            "a/**/b export-ignore",
            "a** diff",
            "// diff",
        ),
        "a " + "export-ignore " * 200,
        "\ufeffa export-ignore",
    ],
)
def test_what_is_rare_is_left_to_git(line: str) -> None:
    """Whatever makes git write other bytes than it keeps, and patterns that hardly anybody uses."""
    assert Attributes.parse(f"{line}\n".encode()) is None


def test_a_flood_is_left_to_git() -> None:
    """More rules than anybody writes by hand are not tried on each path."""
    assert Attributes.parse(b"a diff\n" * 101) is None
    assert Attributes.parse(b"a/" * 21 + b" diff\n") is None
    assert Attributes.parse(b"*a*a*a diff\n") is None
    assert Attributes.parse(b"# " + b"a" * 65536) is None
