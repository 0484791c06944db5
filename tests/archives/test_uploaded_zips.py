"""Uploaded zips: what is read of them, what is refused, and the archive that is made of what is left."""

import contextlib
import hashlib
import io
import os
import stat
import struct
import subprocess
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import hypothesis
import pytest
from hypothesis import strategies as st

from pricore.archives import uploaded_zips
from pricore.archives.uploaded_zips import read_upload
from pricore.errors import InvalidError
from tests.soak import SEED, TIMES

COMPOSER: Final = b'{"name": "acme/words", "version": "1.0.0"}'
LINK: Final = (stat.S_IFLNK | 0o777) << 16
Change = Callable[[bytearray], Any]


def entry(name: str, **fields: Any) -> zipfile.ZipInfo:
    """An entry as a packer writes it, with whatever in its fields."""
    info = zipfile.ZipInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def pack(
    *entries: tuple[zipfile.ZipInfo | str, bytes], composer: str | None = "composer.json", **options: Any
) -> bytes:
    """A zip with a composer.json and more entries."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for info, data in ((composer, COMPOSER), *entries) if composer else entries:
            archive.writestr(info, data)
    return content.getvalue()


def read(content: bytes, *, as_before: bool = False) -> bytes:
    """The archive that is made of a zip."""
    with read_upload(io.BytesIO(content)) as upload:
        return b"".join(upload.rewrite(hashlib.sha1(), as_before=as_before))


def content_of(content: bytes) -> str:
    """What stands for the content of a zip."""
    digest = hashlib.sha1()
    with read_upload(io.BytesIO(content)) as upload:
        assert sum(map(len, upload.rewrite(digest)))
    return digest.hexdigest()


def refused(content: bytes) -> str:
    """Why a zip is refused, in one line."""
    with pytest.raises(InvalidError) as caught:
        read(content)
    message = str(caught.value)
    assert message.startswith("the archive is refused: ")
    assert message.isprintable()
    return message.removeprefix("the archive is refused: ")


def files(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def directory(content: bytes) -> int:
    """Where the directory of a zip begins."""
    return content.index(b"PK\1\2")


# What is made of a good one


def test_the_archive_has_its_files_in_one_folder() -> None:
    """Stored, in order, and no folder but those that files make."""
    content = read(pack(("src/b.php", b"b" * 1000), ("a.txt", b""), ("src/", b""), ("empty/", b"")))

    assert files(content) == {
        "package/a.txt": b"",
        "package/composer.json": COMPOSER,
        "package/src/b.php": b"b" * 1000,
    }
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert list(files(content)) == sorted(archive.namelist())
        assert {item.compress_type for item in archive.infolist()} == {zipfile.ZIP_STORED}


def test_a_content_is_the_same_however_it_is_packed() -> None:
    """Whatever its times, order, compression, comments, folders, and whether everything is in one folder."""
    expected = content_of(pack(("a.txt", b"a"), ("src/b.txt", b"b")))
    others = [
        pack(("src/b.txt", b"b"), ("a.txt", b"a")),
        pack((entry("a.txt", date_time=(2020, 2, 2, 2, 2, 2), comment=b"x"), b"a"), ("src/b.txt", b"b")),
        pack(("words-1.0/src/b.txt", b"b"), ("words-1.0/a.txt", b"a"), composer="words-1.0/composer.json"),
        pack(("src/", b""), ("src/b.txt", b"b"), (entry("a.txt", compress_type=zipfile.ZIP_STORED), b"a")),
        pack((entry("a.txt", external_attr=0o100600 << 16), b"a"), ("src/b.txt", b"b"), compresslevel=1),
    ]

    assert [content_of(item) for item in others] == [expected] * len(others)
    # golden: a release that is uploaded again, to whatever version of this program, has to be the same one
    assert expected == "0d9fbe25d1310a2f4309327c6fd70e3f48f87af9"
    assert [hashlib.sha1(read(item, as_before=True)).hexdigest() for item in others] == [expected] * len(others)
    assert content_of(pack(("a.txt", b"A"), ("src/b.txt", b"b"))) != expected


def test_a_file_was_modified_when_its_packer_says(tmp_path: Path) -> None:
    """By the clock of DOS, and at the very moment where the packer knew that; what is no date is 1980."""
    moment = 1_700_000_001
    extended = struct.pack("<2HBL", 0x5455, 5, 1, moment)
    content = read(
        pack(
            (entry("clock", date_time=(2024, 2, 29, 23, 59, 58)), b""),
            (entry("moment", date_time=(2024, 2, 29, 0, 0, 0), extra=b"\1\0\2\0xx" + extended), b""),
            (entry("never", date_time=(1980, 0, 0, 0, 0, 0)), b""),
        )
    )
    archive = tmp_path / "archive.zip"
    archive.write_bytes(content)
    with zipfile.ZipFile(archive) as read_back:
        times = {item.filename.removeprefix("package/"): item.date_time for item in read_back.infolist()}
    subprocess.run(["unzip", "-q", archive, "-d", tmp_path], check=True, env={"TZ": "Asia/Tokyo", **os.environ})

    assert times["clock"] == (2024, 2, 29, 23, 59, 58)
    assert times["never"] == (1980, 1, 1, 0, 0, 0)
    assert (tmp_path / "package/moment").stat().st_mtime == moment


def test_the_bytes_of_an_archive_stay() -> None:
    """Golden: of the same zip, every version of this program makes the same archive."""
    moment = (2024, 2, 29, 23, 59, 58)
    composer = (entry("composer.json", date_time=moment), COMPOSER)
    content = read(pack(composer, (entry("a.txt", date_time=moment), b"a"), composer=None))
    assert hashlib.sha1(content).hexdigest() == "0b9129b83d05f9d5e40a554209654bbd17be557d"


@pytest.mark.parametrize("folder", ["", "words-1.0/"])
def test_what_a_mac_or_windows_leaves_behind_is_left_out(folder: str) -> None:
    """Beside the one folder and inside, as Composer leaves it out; names that are only like it stay."""
    rubbish: tuple[str, ...] = (
        "__MACOSX/._words",
        ".DS_Store",
        "Thumbs.db",
        "src/.DS_Store",
        "src/._a.php",
        "src/DESKTOP.INI",
    )
    rubbish += (".AppleDouble/x", ".fseventsd/x", ".Spotlight-V100/x", ".Trashes/x", "src/thumbs.DB", "__MACOSX/")
    beside = ("__MACOSX/._words", "__MACOSX/words-1.0/._a", ".DS_Store", "Thumbs.db")
    kept = ("src/a.php", ".ds_store", "DS_Store", "_.a", "__MACOSX.txt", "my-thumbs.db")
    names = dict.fromkeys((*(folder + name for name in (*rubbish, *kept)), *beside))
    content = read(pack(*((name, b"") for name in names), composer=f"{folder}composer.json"))

    assert set(files(content)) == {f"package/{name}" for name in (*kept, "composer.json")}


def test_nothing_is_left_out_unseen() -> None:
    """What would be refused anywhere else is refused in what is left out, too."""
    assert "outside of its folder" in refused(pack(("__MACOSX/../../x", b"")))


def test_what_can_be_executed_stays_so() -> None:
    """The one thing of a file's mode that a package needs; all else of it goes."""
    content = read(
        pack(
            (entry("bin/run", external_attr=(stat.S_IFREG | 0o4700) << 16), b"#!"),
            (entry("secret", external_attr=(stat.S_IFREG | 0o600) << 16), b""),
        )
    )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        modes = {item.filename: item.external_attr >> 16 for item in archive.infolist()}

    assert modes["package/bin/run"] == stat.S_IFREG | 0o755
    assert modes["package/secret"] == stat.S_IFREG | 0o644


def test_what_packers_do_is_read() -> None:
    """A comment, as git leaves one; zip64 fields; descriptors behind contents; names in UTF-8 without a mark."""
    commented = io.BytesIO(pack(("a.txt", b"a")))
    with zipfile.ZipFile(commented, "a") as archive:
        archive.comment = b"8e3a0f6c"
    streamed = Pipe()
    with zipfile.ZipFile(streamed, "w") as archive:
        archive.writestr("composer.json", COMPOSER)
        with archive.open("a.txt", "w", force_zip64=True) as file:
            file.write(b"a")
    unmarked = bytearray(pack(("ü.txt", b"a")))
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        unmarked[unmarked.rindex(mark) + at + 1] &= ~0x08
    expected = content_of(pack(("a.txt", b"a")))

    assert content_of(commented.getvalue()) == expected
    assert content_of(streamed.getvalue()) == expected
    assert list(files(read(bytes(unmarked)))) == ["package/composer.json", "package/ü.txt"]


class Pipe(io.BytesIO):
    """A file in which nobody can go back."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise io.UnsupportedOperation


def test_as_many_files_as_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than 65,535 files need the long form of a zip's end; one more than there may be is refused."""
    content = pack(*((f"f/{number}", b"") for number in range(65_600)))
    with zipfile.ZipFile(io.BytesIO(read(content))) as archive:
        assert len(archive.namelist()) == 65_601
    monkeypatch.setattr(uploaded_zips, "MOST_FILES", 65_600)
    assert "more than 65,600 files" in refused(content)


# What is refused


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.php", "outside of its folder"),
        ("src/../../evil.php", "outside of its folder"),
        ("src/..", "outside of its folder"),
        ("./a", "outside of its folder"),
        ("src//a", "outside of its folder"),
        ("src/.. /a", "outside of its folder"),
        ("...", "outside of its folder"),
        ("..\\evil.php", "has a backslash"),
        ("src\\a", "has a backslash"),
        ("/etc/passwd", "is absolute"),
        ("//host/share", "is absolute"),
        ("C:/Windows/a", "is absolute"),
        ("c:evil", "is absolute"),
        ("a\nb", "cannot be shown"),
        ("a\x1b[31m", "cannot be shown"),
        ("a\x7f", "cannot be shown"),
        ("a\u202egpj.exe", "cannot be shown"),
        ("src/C:/Windows/a", "is absolute"),
        *(
            (f"{folder}/config", "belongs to git")
            for folder in (
                *(".git", "src/.GIT", ".git ", ".git.", ".git. .", "git~1", "src/GIT~1", "git~1 "),
                *(".git::$INDEX_ALLOCATION", ".git:x", ".Git ::$INDEX_ALLOCATION"),
            )
        ),
        (".git", "belongs to git"),
        (".git/", "belongs to git"),
        ("x" * 256, "too long"),
        ("/".join(["x" * 200] * 6), "too long"),
        ("composer.json/a", "a file and a folder at the same time"),
        ("Composer.JSON/a", "a file and a folder at the same time"),
        ("composer.json./a", "a file and a folder at the same time"),
        ("composer.json/", "are one name"),
    ],
)
def test_a_name_that_is_dangerous_is_refused(name: str, reason: str) -> None:
    """Whatever else is in it: where it leads out, is another one elsewhere, or steers a terminal."""
    assert reason in refused(pack((name, b"" if name.endswith("/") else b"x")))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *(("README.md", "readme.md"), ("Src/b", "src/b"), ("Src/", "src/b"), ("a", "a."), ("a", "a ")),
        *(("stra\u00dfe", "STRASSE"), ("\u00e9.php", "e\u0301.php"), (".gitignore", ".gitattributes")),
    ],
)
def test_files_that_are_one_elsewhere_are_taken(first: str, second: str) -> None:
    """Where capitals and the like don't count, one takes the other's place: that does no harm."""
    made = files(read(pack((first, b"" if first.endswith("/") else b"1"), (second, b"2"))))
    expected = {f"package/{name}" for name in ("composer.json", first, second) if not name.endswith("/")}
    assert set(made) == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (entry("A", external_attr=LINK), "a"),
        (entry("stra\u00dfe", external_attr=LINK), entry("STRASSE", external_attr=LINK)),
        (entry("a.", external_attr=LINK), "a"),
    ],
)
def test_a_link_that_is_another_name_elsewhere_is_refused(
    first: zipfile.ZipInfo, second: zipfile.ZipInfo | str
) -> None:
    """Where capitals make no difference, what is written to a file would go where a link leads."""
    assert "are one name" in refused(pack((first, b"x"), (second, b"x")))


LINKS: Final = {
    "bin/run": "../src/run.php",
    "here": "src",
    "src/self": ".",
    "src/deep/root": "../..",
    "src/up": "../composer.json",
    "way": "here/deep",
    "nowhere": "missing/file",
    "dots": "...a/..b/c..",
}


@pytest.mark.parametrize("folder", ["", "words-1.0/"])
def test_links_within_a_package_stay(tmp_path: Path, folder: str) -> None:
    """As files that lead where they led, wherever it is unpacked; their content is their target."""
    entries = [(entry(folder + name, external_attr=LINK), target.encode()) for name, target in LINKS.items()]
    archive = tmp_path / "archive.zip"
    archive.write_bytes(read(pack(*entries, (f"{folder}src/run.php", b"run"), composer=f"{folder}composer.json")))
    subprocess.run(["unzip", "-q", archive, "-d", tmp_path], check=True)
    root = tmp_path / "package"

    assert {name: str((root / name).readlink()) for name in LINKS} == LINKS
    assert (root / "bin/run").read_bytes() == b"run"
    assert all((root / name).resolve().is_relative_to(root) for name in LINKS)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("link", ".."),
        ("link", "../x"),
        ("link", "/etc/passwd"),
        ("link", "//host/share"),
        ("link", "C:/Windows"),
        ("link", "..\\x"),
        ("link", "src/../../x"),
        # behind another link, up is elsewhere: to src/deep/root, and from there out
        ("link", "src/deep/root/.."),
        ("link", "src/.. /x"),
        ("src/link", "../../x"),
        ("src/link", "../src/../.."),
        ("link", ""),
        ("link", "a\0b"),
        ("link", "a\nb"),
        ("link", "x" * 1001),
    ],
)
@pytest.mark.parametrize("folder", ["", "words-1.0/"])
def test_a_link_that_leads_out_is_refused(folder: str, name: str, target: str) -> None:
    """By way of what else is in the package, too."""
    deep = (entry(f"{folder}src/deep/root", external_attr=LINK), b"../..")
    link = (entry(folder + name, external_attr=LINK), target.encode())
    assert "which is not in the package" in refused(pack(deep, link, composer=f"{folder}composer.json"))


def test_nothing_is_written_through_a_link() -> None:
    """A link is no folder, whatever its capitals; and composer.json is a file."""
    link = entry("src", external_attr=LINK)
    assert "a file and a folder" in refused(pack((link, b"."), ("SRC/a", b"x")))
    composer = entry("composer.json", external_attr=LINK)
    assert "'composer.json' is a symbolic link" in refused(pack((composer, b"x"), ("x", COMPOSER), composer=None))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused() -> None:
    """Which of the two is meant depends on who unpacks it."""
    assert "'a.php' and 'a.php' are one name" in refused(pack(("a.php", b"1"), ("a.php", b"2")))


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (entry("link/", external_attr=LINK), "neither a file, a folder"),
        (entry("pipe", external_attr=(stat.S_IFIFO | 0o644) << 16), "neither a file, a folder"),
        (entry("disk", external_attr=(stat.S_IFBLK | 0o644) << 16), "neither a file, a folder"),
        (entry("socket", external_attr=(stat.S_IFSOCK | 0o644) << 16), "neither a file, a folder"),
        (entry("file", external_attr=(stat.S_IFDIR | 0o755) << 16), "neither a file, a folder"),
        (entry("folder/", external_attr=(stat.S_IFREG | 0o755) << 16), "neither a file, a folder"),
        (entry("a", compress_type=zipfile.ZIP_BZIP2), "neither stored nor deflated"),
        (entry("a", compress_type=zipfile.ZIP_LZMA), "neither stored nor deflated"),
    ],
)
def test_what_is_no_plain_file_is_refused(info: zipfile.ZipInfo, reason: str) -> None:
    """Devices, and what is packed in a way of which nobody can say how large it gets."""
    assert reason in refused(pack((info, b"")))


def patch(mark: bytes, at: int, form: str, value: int) -> Change:
    """Put a number into the last header of a kind."""

    def change(content: bytearray) -> None:
        struct.pack_into(form, content, content.rindex(mark) + at, value)

    return change


LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"


def long_end() -> bytes:
    """A zip whose end has the long form, as those of many files have."""
    content = pack(("a.txt", b"a"))
    at = content.rindex(END)
    count, _, length, offset = struct.unpack_from("<2H2L", content, at + 8)
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, offset)
    wide += struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    return content[:at] + wide + struct.pack("<4s4H2LH", END, 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param([patch(CENTRAL, 8, "<H", 1), patch(LOCAL, 6, "<H", 1)], "is encrypted", id="encrypted"),
        pytest.param([patch(CENTRAL, 8, "<H", 0x41)], "is encrypted", id="strongly encrypted"),
        pytest.param([patch(CENTRAL, 8, "<H", 0x2000)], "is encrypted", id="directory encrypted"),
        pytest.param([patch(CENTRAL, 8, "<H", 0x20)], "is damaged", id="patch data"),
        pytest.param([patch(CENTRAL, 34, "<H", 1)], "several disks", id="entry on another disk"),
        pytest.param([patch(END, 4, "<H", 1)], "several disks", id="second disk"),
        pytest.param([patch(END, 6, "<H", 1)], "several disks", id="directory on another disk"),
        pytest.param([patch(END, 8, "<H", 1)], "several disks", id="some entries here"),
        pytest.param([patch(CENTRAL, 6, "<H", 99)], "is damaged", id="a later version"),
        pytest.param([patch(CENTRAL, 16, "<L", 0)], "is damaged", id="another checksum"),
        pytest.param([patch(CENTRAL, 24, "<L", 1)], "is damaged", id="inflates to more than it says"),
        pytest.param([patch(CENTRAL, 24, "<L", 10**6)], "has another size", id="inflates to less than it says"),
        pytest.param([patch(CENTRAL, 24, "<L", 0xFFFFFFF0)], "more than 2 GB", id="says that it is huge"),
        pytest.param([patch(CENTRAL, 42, "<L", 0)], "overlaps another entry", id="the place of another entry"),
        pytest.param([patch(CENTRAL, 42, "<L", 10**6)], "overlaps another entry", id="a place behind the end"),
        pytest.param([patch(CENTRAL, 20, "<L", 10**6)], "overlaps another entry", id="goes on behind the end"),
        pytest.param([patch(LOCAL, 28, "<H", 60_000)], "overlaps another entry", id="extra field behind the end"),
        pytest.param([patch(LOCAL, 30, "<B", ord("b"))], "is damaged", id="two names"),
        pytest.param([patch(CENTRAL, 0, "<L", 0)], "directory is damaged", id="no entry"),
        pytest.param([patch(END, 12, "<L", 10)], "not where it says", id="directory too short"),
        pytest.param([patch(END, 16, "<L", 10)], "not where it says", id="directory elsewhere"),
        pytest.param([patch(END, 8, "<L", 0x00030003)], "directory is damaged", id="more entries than there are"),
        pytest.param([patch(END, 8, "<L", 0x00010001)], "directory is damaged", id="less entries than there are"),
        pytest.param([patch(END, 20, "<H", 9)], "data after its end", id="comment cut off"),
        pytest.param([lambda content: content.extend(b"more")], "data after its end", id="more behind"),
        pytest.param([lambda content: content.__delitem__(slice(-1, None))], "no zip", id="cut off"),
        pytest.param([lambda content: content.__delitem__(slice(len(content) // 2, None))], "no zip", id="half"),
        pytest.param([bytearray.clear], "no zip", id="empty"),
        pytest.param(
            [lambda content: content.__setitem__(slice(0, 0), b"MZ" * 50)], "data before it", id="program"
        ),
        pytest.param([patch(LOCAL, 60, "<L", 0xFFFFFFFF)], "is damaged", id="content damaged"),
    ],
)
def test_a_zip_that_is_not_what_it_says_is_refused(changes: list[Change], reason: str) -> None:
    """Of two things that it says of itself, one is not so: programs that unpack it would not agree."""
    content = bytearray(pack(("a-long-name.txt", bytes(range(256)) * 4)))
    for change in changes:
        change(content)

    assert reason in refused(bytes(content))


def wide() -> bytes:
    """A zip whose entries have sizes and places of 64 bits."""
    content = bytearray(pack(("b.txt", b"b" * 100)))
    at, (start,) = content.rindex(CENTRAL), struct.unpack_from("<L", content, content.rindex(END) + 16)
    fields = struct.unpack_from("<2L", content, at + 20)
    (place,) = struct.unpack_from("<L", content, at + 42)
    extra = struct.pack("<2H3Q", 1, 24, fields[1], fields[0], place)
    struct.pack_into("<2L", content, at + 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", content, at + 30, len(extra))
    struct.pack_into("<L", content, at + 42, 0xFFFFFFFF)
    end = content.rindex(END)
    content[end:end] = extra
    struct.pack_into("<L", content, content.rindex(END) + 12, content.rindex(END) - start)
    return bytes(content)


@pytest.mark.parametrize("place", [2**64 - 1, 2**63, 2**63 - 1, 2**62])
def test_a_place_of_64_bits_is_looked_at_before_it_is_gone_to(tmp_path: Path, place: int) -> None:
    """No file is that long: neither one in memory nor one on a disk is asked for what is there."""
    assert files(read(wide()))["package/b.txt"] == b"b" * 100
    content = wide()
    at = content.rindex(struct.pack("<2H", 1, 24)) + 20
    content = content[:at] + struct.pack("<Q", place) + content[at + 8 :]
    assert "'b.txt' overlaps another entry" in refused(content)
    file = tmp_path / "a.zip"
    file.write_bytes(content)
    with (
        file.open("rb") as opened,
        pytest.raises(InvalidError, match="overlaps another entry"),
        read_upload(opened),
    ):
        raise AssertionError("it was read")


NUMBERS: Final = [0, 1, 8, 0xFF, 0x7FFF, 0xFFFF, 2**31, 2**32 - 2, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
EDITS: Final = st.lists(
    st.tuples(
        st.sampled_from([LOCAL, CENTRAL, END, b"PK\6\6", b"PK\6\7", b"\1\0\x18\0", b"composer", b""]),
        st.sampled_from(range(0, 60, 2)),
        st.sampled_from([0, 1, 2, 4, 8]),
        st.sampled_from(NUMBERS) | st.integers(0, 2**64 - 1) | st.binary(max_size=8),
    ),
    min_size=1,
    max_size=4,
)
"""Places in a zip, behind one of its marks or an entry's numbers of 64 bits: what goes, and what comes in."""


def test_whatever_a_zip_says_it_is_read_or_refused() -> None:
    """Numbers that are changed, pieces that are taken out or put in: nothing comes of it but that."""
    many = io.BytesIO(pack(*((f"f/{number}", b"") for number in range(3)), ("\u00fc", b"x" * 99)))
    with zipfile.ZipFile(many, "a") as archive:
        archive.comment = b"comment"
    bases = [pack(("a.txt", b"a" * 100)), wide(), many.getvalue(), long_end()]

    @hypothesis.settings(max_examples=2000 * TIMES, deadline=None, database=None)
    @hypothesis.seed(SEED)
    @hypothesis.given(st.sampled_from(bases), EDITS)
    def attempt(base: bytes, edits: list[tuple[bytes, int, int, int | bytes]]) -> None:
        content = bytearray(base)
        for mark, behind, width, value in edits:
            at = max(0, content.rfind(mark)) + behind
            piece = value if isinstance(value, bytes) else value.to_bytes(8, "little")[:width]
            content[at : at + width] = piece
        with contextlib.suppress(InvalidError), read_upload(io.BytesIO(content)) as upload:
            upload.composer_json(limit=1000)
            for piece in upload.rewrite(hashlib.sha1()):
                assert len(piece) <= 2**20

    attempt()


def test_entries_that_overlap_are_refused() -> None:
    """One piece of compressed data under many names is how a small file becomes petabytes."""
    content = bytearray(pack(("a", b"\0" * 100_000), ("b", b"\0" * 100_000)))
    first, second = content.index(CENTRAL, content.index(CENTRAL) + 1), content.rindex(CENTRAL)
    (offset,) = struct.unpack_from("<L", content, first + 42)
    struct.pack_into("<L", content, second + 42, offset)

    assert "overlaps another entry" in refused(bytes(content))


def test_an_entry_within_another_is_refused() -> None:
    """A zip that is stored in a zip holds headers: none of them is an entry of the outer one."""
    inner = pack(("b", b"x"), composer=None)
    content = bytearray(pack((entry("a.zip", compress_type=zipfile.ZIP_STORED), inner), ("b", b"x")))
    second = content.rindex(CENTRAL)
    struct.pack_into("<L", content, second + 42, content.index(inner))

    assert "overlaps another entry" in refused(bytes(content))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    """What all files say that they have together counts, and none gives more than it says."""
    zeros = zlib.compressobj(9, wbits=-15)
    piece = b"\0" * 2**20
    packed = b"".join(zeros.compress(piece) for _ in range(300)) + zeros.flush()
    size, crc = 300 * 2**20, 0
    for _ in range(300):
        crc = zlib.crc32(piece, crc)
    content, entries = bytearray(), bytearray()
    for number in range(8):
        name = f"{number}".encode()
        fields = struct.pack("<4H3L2H", 0, 8, 0, 33, crc, len(packed), size, len(name), 0)
        entries += b"PK\1\2" + struct.pack("<2H", 20, 20) + fields + struct.pack("<3H2L", 0, 0, 0, 0, len(content))
        entries += name
        content += b"PK\3\4" + struct.pack("<H", 20) + fields + name + packed
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 8, 8, len(entries), len(content), 0)

    assert len(content) < 3 * 2**20
    assert "more than 2 GB, unpacked" in refused(bytes(content + entries + end))


def test_a_directory_of_millions_is_refused_before_it_is_read() -> None:
    """Each entry of a directory becomes an object: too many are counted first, whatever its end says of them."""
    one = b"PK\1\2" + bytes(42)
    many = one * 200_000

    def end(count: int) -> bytes:
        return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(many), 0, 0)

    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 200_000, 200_000, len(many), 0)
    wide += struct.pack("<4sLQL", b"PK\6\7", 0, len(many), 1)
    tracemalloc.start()
    assert "more than 100,000 files" in refused(many + wide + end(0xFFFF))
    assert "directory is damaged" in refused(many + end(9))
    assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"a.txt": b""}, "it has no composer.json"),
        ({}, "it has no composer.json"),
        ({"a/b/composer.json": COMPOSER}, "it has no composer.json"),
        ({"a/composer.json": COMPOSER, "b/composer.json": COMPOSER}, "'a' and 'b' both have a composer.json"),
        ({"a/composer.json": COMPOSER, "README": b""}, "'README' is beside the folder 'a'"),
    ],
)
def test_there_is_one_composer_json(content: Mapping[str, bytes], reason: str) -> None:
    """At the root, or in the one folder in which everything is; what is meant is never guessed."""
    assert reason in refused(pack(*content.items(), composer=None))


def test_a_composer_json_that_is_too_large_is_not_read_whole() -> None:
    """No more than one byte over the limit, so that whoever parses it can say so."""
    content = pack(("composer.json", b" " * 1_000_000), composer=None)
    with read_upload(io.BytesIO(content)) as upload:
        assert len(upload.composer_json(limit=1000)) == 1001
