"""Uploaded zips: read as what anybody may send, and written again as archives of our own.

What is served is never a byte that came, but what was read and checked. The new archive depends on names, on
contents, on which files can be executed and when each was modified, and not on a compressor. So it is written
here: `zipfile` may write the same files in other bytes one day, and a release would be another one.
"""

import io
import itertools
import re
import stat
import struct
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import IO, TYPE_CHECKING, Final, NoReturn

import msgspec

from pricore.archives.safety import MOST_DIRECTORY, MOST_FILES, fold, is_git_folder, read_entries
from pricore.errors import InvalidError

if TYPE_CHECKING:
    from hashlib import _Hash

MOST_BYTES: Final = 2 * 1024**3
"""Bytes of all files together, as they are unpacked."""

COMPOSER_JSON: Final = "composer.json"
_ROOT: Final = "package/"
_PIECE: Final = 256 * 1024
_MOST_NAME: Final = 1000
_MOST_PART: Final = 255
_MOST_COMMENT: Final = 65535
# Composer's Platform::METADATA_NAME_REGEX: what a Mac or a Windows puts into folders that somebody looked at
RUBBISH: Final = re.compile(
    r"\._.*|\.DS_Store|__MACOSX|\.AppleDouble|\.fseventsd|\.Spotlight-V100|\.Trashes|(?i:thumbs\.db|desktop\.ini)"
)
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_ENCRYPTED: Final = 0x1 | 0x40 | 0x2000
_EXECUTABLE: Final = 0o111
_MOST_TARGET: Final = 1000

# https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")
_VERSION: Final = 20
_VERSION64: Final = 45
_UNIX: Final = 3 << 8
_UTF8: Final = 0x800
_NEW_YEAR_1980: Final = 1 << 5 | 1
_TIMELESS: Final = (_NEW_YEAR_1980 << 16, b"")
_EXTRA: Final = struct.Struct("<2H")
_UNIX_TIME: Final = struct.Struct("<2HBL")
_UNIX_TIME_ID: Final = 0x5455
_MOST_16: Final = 0xFFFF


class _Member(msgspec.Struct, frozen=True):
    """A file in a zip: its path below the package's root, in UTF-8, and where it is."""

    path: bytes
    info: zipfile.ZipInfo


class Upload:
    """A zip that was looked through: nothing in its directory is refused, and the `rubbish` in it is left out."""

    def __init__(self, archive: zipfile.ZipFile, members: Sequence[_Member], rubbish: Sequence[_Member]) -> None:
        self.rubbish = rubbish
        self._archive = archive
        self._members = members

    def composer_json(self, *, limit: int) -> bytes:
        """The composer.json of its package; of one that has more bytes than `limit`, one more than that."""
        (member,) = (item for item in self._members if item.path == COMPOSER_JSON.encode())
        with self._archive.open(member.info) as content:
            return content.read(limit + 1)

    def rewrite(self, content: "_Hash", *, as_before: bool = False) -> Iterator[bytes]:
        """The archive of its files, piece by piece: stored, in one folder, in order, modified when they were.

        `content` is fed with the same archive without times: what two uploads have in common however they were
        packed. `as_before` there were times, and rubbish was served, both are that archive. Raises InvalidError
        where a file is not what the directory says of it.
        """
        timed, plain = _Directory(), _Directory()
        members = sorted((*self._members, *self.rubbish), key=_path) if as_before else self._members
        for member in members:
            info = member.info
            name = _ROOT.encode() + member.path
            content.update(plain.add(name, info, *_TIMELESS))
            yield timed.add(name, info, *(_TIMELESS if as_before else _modified(info)))
            for piece in self._content(info):
                content.update(piece)
                yield piece
        content.update(plain.end())
        yield timed.end()

    def _content(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        size = 0
        with self._archive.open(info) as content:
            # it never gives more than the directory says, and compares the checksum at the end
            while piece := content.read(_PIECE):
                size += len(piece)
                yield piece
        if size != info.file_size:
            _refuse(f"{_shown(info.orig_filename)} has another size than its directory says")


class _Directory:
    """The headers of an archive that is being written: those in front of files, and the directory behind them."""

    def __init__(self) -> None:
        self._entries = bytearray()
        self._count = 0
        self._offset = 0

    def add(self, name: bytes, info: zipfile.ZipInfo, modified: int, extra: bytes) -> bytes:
        """What stands in front of the content of a file, modified then (date and time as DOS has them)."""
        time, date = modified & _MOST_16, modified >> 16
        fields = (_UTF8, zipfile.ZIP_STORED, time, date, info.CRC, info.file_size, info.file_size)
        mode = stat.S_IFREG | (0o755 if info.external_attr >> 16 & _EXECUTABLE else 0o644)
        if _is_link(info):
            mode = stat.S_IFLNK | 0o777
        made_by = _UNIX | _VERSION
        lengths = (len(name), len(extra), 0, 0, 0)
        self._entries += _CENTRAL.pack(b"PK\1\2", made_by, _VERSION, *fields, *lengths, mode << 16, self._offset)
        self._entries += name + extra
        self._count += 1
        self._offset += _LOCAL.size + len(name) + len(extra) + info.file_size
        return _LOCAL.pack(b"PK\3\4", _VERSION, *fields, len(name), len(extra)) + name + extra

    def end(self) -> bytes:
        """What stands behind the last file."""
        return bytes(self._entries) + _end(self._count, self._offset, len(self._entries))


@contextmanager
def read_upload(file: IO[bytes]) -> Iterator[Upload]:
    """A zip that somebody sent, open as long as it is read.

    Raises InvalidError, also while it is read, for anything that no package has: what would be unpacked outside of
    its folder, what is not a file, what is damaged or in two places at once, and what is too much.
    """
    start, count = _find_directory(file)
    try:
        with zipfile.ZipFile(file, metadata_encoding="utf-8") as archive:
            infos = archive.infolist()
            if (archive.start_dir, len(infos)) != (start, count):
                _refuse("its directory is damaged")
            _check_places(file, infos, end=start)
            members, rubbish = _members(infos)
            for member in members:
                if _is_link(member.info):
                    _check_link(archive, member)
            yield Upload(archive, members, rubbish)
    except UnicodeDecodeError:
        _refuse("a name in it is not UTF-8")
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OverflowError, struct.error, zlib.error) as error:
        _refuse(f"it is damaged: {error}")


def _find_directory(file: IO[bytes]) -> tuple[int, int]:
    """Where a zip's directory begins, and how many entries it has: before anybody makes objects of them."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _END.size - _MOST_COMMENT))
    before, tail = file.tell(), file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        _refuse("it is no zip, or was cut off")
    _, disk, first, here, count, length, offset, comment = _END.unpack_from(tail, at)
    end = before + at
    if end + _END.size + comment != size:
        _refuse("there is data after its end")
    disks = 1
    if end >= _LOCATOR.size + _END64.size:
        file.seek(end - _LOCATOR.size - _END64.size)
        content = file.read(_LOCATOR.size + _END64.size)
        mark, _, _, disks = _LOCATOR.unpack_from(content, _END64.size)
        if mark == b"PK\6\7" and content.startswith(b"PK\6\6"):
            _, _, _, _, disk, first, here, count, length, offset = _END64.unpack_from(content)
            end -= _LOCATOR.size + _END64.size
        else:
            disks = 1
    if disk or first or here != count or disks > 1:
        _refuse("it is a part of a zip of several disks")
    if count > MOST_FILES or length > MOST_DIRECTORY:
        _refuse(f"it has more than {MOST_FILES:,} files, or too long names")
    if offset + length != end:
        _refuse("its directory is not where it says, or there is data before it")
    file.seek(offset)
    if sum(1 for _ in read_entries(file.read(length), 0, length)) != count:
        _refuse("its directory is damaged")
    return offset, count


def _check_places(file: IO[bytes], infos: Sequence[zipfile.ZipInfo], *, end: int) -> None:
    """Refuse entries that have bytes in common: a small file can be unpacked to any size that way."""
    free = 0
    for info in sorted(infos, key=lambda item: item.header_offset):
        # before it is looked at: what 64 bits can say is more than a file's position can be
        if not free <= info.header_offset <= end - _LOCAL.size:
            _refuse(f"{_shown(info.orig_filename)} overlaps another entry, or is outside of the zip")
        file.seek(info.header_offset)
        header = file.read(_LOCAL.size)
        if not header.startswith(b"PK\3\4"):
            _refuse(f"{_shown(info.orig_filename)} overlaps another entry, or is outside of the zip")
        *_, name, extra = _LOCAL.unpack(header)
        free = info.header_offset + _LOCAL.size + name + extra + info.compress_size
        if free > end:
            _refuse(f"{_shown(info.orig_filename)} overlaps another entry, or is outside of the zip")


def _members(infos: Sequence[zipfile.ZipInfo]) -> tuple[list[_Member], list[_Member]]:
    """The files of the package, by their path below its root, and the rubbish; folders are made of those."""
    for info in infos:
        _check_entry(info)
    _check_names([info for info in infos if not _is_rubbish(info.orig_filename)])
    found = {info.orig_filename: info for info in infos if not info.orig_filename.endswith("/")}
    files = {name: info for name, info in found.items() if not _is_rubbish(name)}
    if sum(info.file_size for info in found.values()) > MOST_BYTES:
        _refuse(f"it has more than {MOST_BYTES // 1024**3} GB, unpacked")
    root = _find_root(files)
    members = {name: _Member(name.removeprefix(root).encode(), info) for name, info in found.items()}
    return (
        sorted((members[name] for name in files), key=_path),
        [member for name, member in members.items() if name not in files],
    )


def _path(member: _Member) -> bytes:
    return member.path


def _check_entry(info: zipfile.ZipInfo) -> None:
    """Refuse what is no plain file or folder with a name that stays in its folder, on any system."""
    name = info.orig_filename
    shown = _shown(name)
    if not name.isprintable():
        _refuse(f"the name {shown} has a character that cannot be shown")
    if "\\" in name:
        _refuse(f"the name {shown} has a backslash")
    parts = name.removesuffix("/").split("/")
    # a drive's letter after a folder as well: that may be the one that goes when it is unpacked
    if name.startswith("/") or any(map(_DRIVE.match, parts)):
        _refuse(f"the name {shown} is absolute, or has a drive's letter")
    if any(not part.strip(" .") for part in parts):
        _refuse(f"the name {shown} would be unpacked outside of its folder, or nowhere")
    if len(name.encode()) > _MOST_NAME or any(len(part.encode()) > _MOST_PART for part in parts):
        _refuse(f"the name {shown} is too long")
    if any(map(is_git_folder, parts)):
        _refuse(f"{shown} belongs to git: pack the package without it")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, *((stat.S_IFDIR,) if name.endswith("/") else (stat.S_IFREG, stat.S_IFLNK))):
        _refuse(f"{shown} is neither a file, a folder, nor a symbolic link")
    if info.flag_bits & _ENCRYPTED:
        _refuse(f"{shown} is encrypted")
    if info.volume:
        _refuse("it is a part of a zip of several disks")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        _refuse(f"{shown} is neither stored nor deflated")


def _is_rubbish(name: str) -> bool:
    """Whether an entry is nothing of the package's, but what the system on which it was packed made for itself."""
    return any(RUBBISH.fullmatch(part) for part in name.split("/"))


def _is_link(info: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(info.external_attr >> 16)


def _check_link(archive: zipfile.ZipFile, member: _Member) -> None:
    """Refuse a symbolic link that may lead out of the package's folder, by way of other links too.

    It may go up from the folder in which it is, which is no link, and never up again: behind a link, up is
    elsewhere.
    """
    name = _shown(member.path.decode())
    if member.path == COMPOSER_JSON.encode():
        _refuse(f"{name} is a symbolic link")
    with archive.open(member.info) as file:
        content = file.read(_MOST_TARGET + 1)
    target = content.decode(errors="replace")
    parts = target.split("/")
    up = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
    if (
        not 0 < len(content) <= _MOST_TARGET
        or not target.isprintable()
        or "\\" in target
        or _DRIVE.match(target)
        or target.startswith("/")
        or up > member.path.count(b"/")
        or any(not part.strip(" .") and part not in ("", ".") for part in parts[up:])
        or any(map(is_git_folder, parts))
    ):
        _refuse(f"the symbolic link {name} leads to {_shown(target)}, which is not in the package")


def _check_names(infos: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse what is there twice, and what is a file and a folder, also where capitals don't count.

    There, a link is nothing else's name either: what is written to that would go where the link leads.
    """
    names = [info.orig_filename for info in infos]
    links = {info.orig_filename for info in infos if _is_link(info)}
    ordered = sorted((name.removesuffix("/"), name) for name in names)
    for (key, name), (next_key, next_name) in itertools.pairwise(ordered):
        if key == next_key:
            _refuse(f"{_shown(name)} and {_shown(next_name)} are one name")
    folded = sorted((fold(name), name) for name in names)  # a folder's own ends with a slash
    for (key, name), (next_key, next_name) in itertools.pairwise(folded):
        if key == next_key and not links.isdisjoint((name, next_name)):
            _refuse(f"{_shown(name)} and {_shown(next_name)} are one name")
    keys = [key for key, _ in folded]
    for key, name in folded:
        place = bisect_left(keys, key + "/")
        if not name.endswith("/") and place < len(keys) and keys[place].startswith(key + "/"):
            _refuse(f"{_shown(name)} is a file and a folder at the same time")


def _find_root(names: Collection[str]) -> str:
    """The folder of the package: of everything, or the one in which everything is."""
    if COMPOSER_JSON in names:
        return ""
    folders = dict.fromkeys(name.partition("/")[0] for name in names)
    found = [folder for folder in folders if f"{folder}/{COMPOSER_JSON}" in names]
    if not found:
        _refuse("it has no composer.json, neither at its root nor in the one folder in which everything is")
    if len(found) > 1:
        _refuse(
            f"{_shown(found[0])} and {_shown(found[1])} both have a composer.json: upload one package at a time"
        )
    if len(folders) > 1:
        other = next(folder for folder in folders if folder != found[0])
        _refuse(f"{_shown(other)} is beside the folder {_shown(found[0])}, in which everything has to be")
    return f"{found[0]}/"


def _modified(info: zipfile.ZipInfo) -> tuple[int, bytes]:
    """When a file was modified: by a clock on some wall (date and time as DOS has them), and a field with the
    moment itself where its packer knew that."""
    try:
        moment = datetime(*info.date_time)  # noqa: DTZ001  # a zip says nothing about the zone
    except ValueError:
        return _TIMELESS
    date = (moment.year - 1980) << 9 | moment.month << 5 | moment.day
    time = moment.hour << 11 | moment.minute << 5 | moment.second // 2
    return date << 16 | time, _unix_time(info.extra)


def _unix_time(extra: bytes) -> bytes:
    """The field with the seconds since 1970 among extra fields, without what else it holds; empty for none."""
    while len(extra) >= _EXTRA.size:
        kind, length = _EXTRA.unpack_from(extra)
        if kind == _UNIX_TIME_ID and length >= 5 and len(extra) >= _UNIX_TIME.size:
            *_, flags, seconds = _UNIX_TIME.unpack_from(extra)
            return _UNIX_TIME.pack(_UNIX_TIME_ID, 5, 1, seconds) if flags & 1 else b""
        extra = extra[_EXTRA.size + length :]
    return b""


def _end(count: int, offset: int, length: int) -> bytes:
    """The end of a zip whose directory has so many entries and bytes, and begins at `offset`."""
    end64 = b""
    if count >= _MOST_16:
        version = (_UNIX | _VERSION64, _VERSION64)
        end64 = _END64.pack(b"PK\6\6", _END64.size - 12, *version, 0, 0, count, count, length, offset)
        end64 += _LOCATOR.pack(b"PK\6\7", 0, offset + length, 1)
    shown = min(count, _MOST_16)
    return end64 + _END.pack(b"PK\5\6", 0, 0, shown, shown, length, offset, 0)


def _shown(name: str) -> str:
    return ascii(name[:100])


def _refuse(reason: str) -> NoReturn:
    raise InvalidError(f"the archive is refused: {reason}", field="file")
