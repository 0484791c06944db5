"""From a composer.json to what Composer reads: version entries, p2 documents and packages.json.

Pure: bytes and records in, bytes out. Values are kept as the JSON text that they came in (`msgspec.Raw`)
wherever they are only passed on: PHP tells `{}` from `[]` and compares arrays with their order, and equal
compact text is exactly PHP's `===`.
"""

import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec
import zstandard

from pricore.composer import versions
from pricore.composer.candidates import Entry
from pricore.composer.composer_json import Manifest, check_link, check_package_name, encode_members
from pricore.errors import ComposerJsonError

T = TypeVar("T")

BASE: Final = "pricore://base"
"""Stands in stored documents where the organization's public URL goes when they are served."""

LARGE: Final = 1024 * 1024
"""Bytes from which a document is never whole in memory, and has no size in what is stored of it."""

DOCUMENT_FORMAT: Final = 1
"""Moves when documents are built otherwise out of the same versions, so that stored ones are built anew."""

PLACEHOLDER: Final = "%reference%"
"""Composer puts the commit here: that of a branch, or the one that a project pins it to (dev-main#<commit>)."""

MOST_PROVIDED: Final = 2000
"""Names that a package is listed for as their provider; real packages provide some hundred at most."""

_MOST_DESCRIPTION: Final = 1000
"""Characters of a description that lists and searches go through; the metadata has it whole."""

_MOST_TYPE: Final = 255
"""Characters of a type that lists go through, likewise."""

_DIST_SIZE: Final = 300
"""Bytes that `dist` and `uid` add to a version, about; for deciding what is small enough to be inline."""

_LEVEL: Final = 6
_PORTION: Final = 256 * 1024

_SAFE: Final = "+@:,~!$&="  # what may stand in a path as it is, besides letters, digits and ._-
_REFERENCE = re.compile(r"[0-9a-f]{7,64}")
_encode = msgspec.json.Encoder().encode
_raw_entry = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Providing(msgspec.Struct):
    provide: Any = None


_providing = msgspec.json.Decoder(_Providing)


def version_entry(
    manifest: Manifest,
    *,
    name: str,
    version: str,
    normalized: str,
    reference: str,
    released_at: int,
    source_url: str | None,
    default_branch: bool = False,
    support: Mapping[str, str] | None = None,
) -> Entry:
    """The metadata of one version, complete but for `dist`.

    `time` is what composer.json says, as Composer has it, else `released_at`. `source_url` None leaves the source
    out, for repositories that clients cannot reach. `support` fills in what composer.json lacks of it. A link with
    a constraint that Composer cannot parse raises ComposerJsonError, and so does a binary outside of the package.
    """
    check_package_name(name)
    if manifest.problem is not None:
        raise ComposerJsonError(manifest.problem)
    if manifest.own is not None:
        # a tag may have a comma behind its plus sign (1.0+a,b), a constraint may not
        check_link(manifest.own, version)
    first = {"name": name, "version": version, "version_normalized": normalized}
    own: dict[str, Any] = {}
    if source_url is not None:
        own["source"] = {"type": "git", "url": source_url, "reference": reference}
    own["time"] = _time(released_at) if manifest.time is None else manifest.time
    if default_branch:
        own["default-branch"] = True
    where = {key: page for key, page in (support or {}).items() if key not in manifest.supported}
    helped = (b',"support":{', encode_members(where)[1:], manifest.support[0 if where else 1 :], b"}")
    return Entry(
        (
            _encode(first)[:-1],
            manifest.fields,
            *(helped if where or manifest.support else ()),
            encode_members(own),
            manifest.links,
            b"}",
        )
    )


class Published(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One version on its way into a document.

    `published_at` is when it was first served at its commit, seconds; None while that is not known. `moved` is
    True for a released one that was made of another commit before.
    """

    name: str
    version: str
    normalized: str
    reference: str
    shasum: str
    entry: bytes
    published_at: int | None = None
    moved: bool = False


def newest_first(published: Iterable[Published]) -> list[Published]:
    """The versions in the order of a document."""
    return versions.newest_first(published, lambda item: item.normalized)


def dist_path(name: str, version: str, reference: str, *, movable: bool) -> str:
    """The path of a version's archive below its organization's URL.

    That of a branch, or of a release that moved, carries the commit: clients cache by URL, and a lock file goes
    on naming the old one.
    """
    # a tag has no slash; a "version" in its composer.json may, and even "..": it must not become a path
    file = f"{quote(version, safe=_SAFE + '/')}/{reference}" if movable else quote(version, safe=_SAFE)
    return f"/packages/{name.lower()}/{file}.zip"


def split_address(address: str) -> tuple[str, str | None]:
    """The version, and the commit where there is one, in what `dist_path` has behind the package, unquoted.

    Composer puts in a commit as the project spells it: abbreviated to 7 digits and more, too.
    """
    version, slash, reference = address.rpartition("/")
    return (version, reference) if slash and _REFERENCE.fullmatch(reference) else (address, None)


def build_document(
    name: str, published: Iterable[Published], *, replaced_by: str | None = None
) -> Iterator[bytes]:
    """A finished p2 document of the versions given, newest first, in pieces; BASE stands where URLs begin.

    `replaced_by` marks each version abandoned in favour of that package.
    """
    return finish_document(name, minify(_with_dist(item, replaced_by) for item in published))


def finish_document(name: str, minified: Iterable[Mapping[str, msgspec.Raw]]) -> Iterator[bytes]:
    """A p2 document of a package's entries, minified, in pieces."""
    # one version at a time: while one is written, no other thread gets on
    yield b'{"packages":{' + _encode(name.lower()) + b":["
    comma = b""
    for changed in minified:
        yield comma + _encode(changed)
        comma = b","
    yield b']},"minified":"composer/2.0"}'


def with_base(document: Iterable[bytes], url: str) -> Iterator[bytes]:
    """A document, in pieces of whatever size, with `url` where BASE stands."""
    base, rest = BASE.encode(), b""
    for piece in document:
        text = rest + piece
        # what can be the beginning of another one waits for what comes; its first letter is in it once
        start = text.rfind(base[:1], 1 - len(base))
        end = start if start >= 0 and base.startswith(text[start:]) else len(text)
        yield text[:end].replace(base, url.encode())
        rest = text[end:]
    if rest:
        yield rest


def build_inline(
    published: Iterable[Published], *, replaced_by: str | None = None, sources: bool = True
) -> msgspec.Raw:
    """A package's versions by number as packages.json carries them: whole, each with the `uid` it needs.

    That is its place in the package, which is all that Composer compares: it tells nothing of other packages.
    """
    versions_by_number = {}
    for place, item in enumerate(published, start=1):
        entry = _with_dist(item, replaced_by)
        if not sources:
            entry.pop("source", None)
        entry["uid"] = msgspec.Raw(str(place))
        versions_by_number[item.version] = entry
    return msgspec.Raw(_encode(versions_by_number))


def provided_names(published: Iterable[Published]) -> set[str]:
    """What some versions say that they provide, in lower case: MOST_PROVIDED names at most, the first ones."""
    found: set[str] = set()
    for item in published:
        provided = _providing.decode(item.entry).provide
        # each name costs far more in an index than in a composer.json, whose size is all that is bounded elsewhere
        for name in provided if isinstance(provided, dict) else ():
            if len(found) == MOST_PROVIDED:
                return found
            found.add(name.lower())
    return found


def _with_dist(item: Published, replaced_by: str | None) -> dict[str, msgspec.Raw]:
    entry = _raw_entry.decode(item.entry)
    dev = versions.is_dev(item.normalized)
    # with the branch's own commit in it, Composer would install that where a project pins another one
    reference = PLACEHOLDER if dev else item.reference
    path = dist_path(item.name, item.version, reference, movable=dev or item.moved)
    dist = {"type": "zip", "url": BASE + path, "reference": item.reference}
    if not dev:  # Composer would hold it against the archive of whichever commit is pinned
        dist["shasum"] = item.shasum
    entry["dist"] = msgspec.Raw(_encode(dist))
    if item.published_at is not None:
        entry["published-time"] = msgspec.Raw(_encode(_time(item.published_at)))
    if replaced_by is not None:
        entry["abandoned"] = msgspec.Raw(_encode(replaced_by))
    return entry


def _time(seconds: int) -> str:
    """A time as Composer writes it (RFC 3339)."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


UNSET: Final = msgspec.Raw(b'"__unset"')


def minify(entries: Iterable[Mapping[str, msgspec.Raw]]) -> Iterator[Mapping[str, msgspec.Raw]]:
    """composer/metadata-minifier's format: the first entry whole, each later one what changed.

    Entries map keys to compact JSON; none is `null` or `"__unset"`.
    """
    before: Mapping[str, msgspec.Raw] | None = None
    for entry in entries:
        yield entry if before is None else minified(before, entry)
        before = entry


def minified(before: Mapping[str, msgspec.Raw], entry: Mapping[str, msgspec.Raw]) -> Mapping[str, msgspec.Raw]:
    """What changed from one entry to the next."""
    changed = {key: value for key, value in entry.items() if key not in before or before[key] != value}
    changed.update((key, UNSET) for key in before if key not in entry)
    return changed


def build_root(packages: Iterable[str], inline: Mapping[str, msgspec.Raw]) -> bytes:
    """packages.json of an organization; BASE stands where URLs begin.

    `packages` are all names that the caller may see. `inline` holds their versions while they are small enough
    to be carried along. URLs become absolute: Composer opens a relative one as a local file.
    """
    names = sorted(packages)
    root: dict[str, Any] = {
        "packages": inline,
        "metadata-url": f"{BASE}/p2/%package%.json",
        "available-packages": names,
        "list": f"{BASE}/list.json",
        "search": f"{BASE}/search.json?q=%query%&type=%type%",
        "providers-api": f"{BASE}/providers/%package%.json",
        "notify-batch": f"{BASE}/downloads",
        "security-advisories": {"metadata": False, "api-url": f"{BASE}/security-advisories"},
    }
    if not names:
        # an empty list counts as absent: Composer would ask for every name there is, public ones too
        del root["available-packages"]
        root["available-package-patterns"] = ["-/-"]
    return _encode(root)


def find_latest(published: Sequence[Published]) -> Published | None:
    """The highest stable version, else the highest of any kind, out of versions newest first."""
    stable = (item for item in published if versions.parse_stability(item.normalized) == "stable")
    return next(stable, published[0] if published else None)


class Shown(NamedTuple):
    """What lists show of a package; `abandoned` is the one to use instead, empty where it names none."""

    description: str
    type: str
    abandoned: str | None


class BuiltPackage(NamedTuple):
    """What is made of the versions of a package: documents by half, compressed, and what is known of all of them.

    `inline_size` is the bytes of all versions as packages.json would carry them.
    """

    documents: Mapping[str, bytes]
    latest_version: str | None
    shown: Shown
    inline_size: int
    provided: Collection[str]


def build_package(
    name: str, published: Iterable[Published], *, main: bytes | None, replaced_by: str | None
) -> BuiltPackage:
    """What is made of versions in any order, each let go as it gets into a document.

    `main` is the metadata of the default branch, where there is one.
    """
    ordered = newest_first(published)
    latest = find_latest(ordered)
    size = sum(len(item.entry) + _DIST_SIZE for item in ordered)
    provided = provided_names(ordered)
    return BuiltPackage(
        latest_version=None if latest is None else latest.version,
        shown=show(b"{}" if latest is None else latest.entry, main),
        inline_size=size,
        provided=provided,
        documents=_build_documents(name, ordered, replaced_by),
    )


def show(latest: bytes, main: bytes | None) -> Shown:
    entry = msgspec.json.decode(latest, type=dict[str, Any])
    # people mark what they abandon on its default branch, and seldom in a release
    abandoned = (entry if main is None else msgspec.json.decode(main, type=dict[str, Any])).get("abandoned")
    return Shown(
        description=entry.get("description", "")[:_MOST_DESCRIPTION],
        type=entry.get("type", "library")[:_MOST_TYPE],
        abandoned="" if abandoned is True else abandoned,
    )


def _build_documents(name: str, published: list[Published], replaced_by: str | None) -> dict[str, bytes]:
    """Both documents of versions given newest first, which are let go as they get into them."""
    halves: dict[str, list[Published]] = {"stable": [], "dev": []}
    for item in take(published):
        halves["dev" if versions.is_dev(item.normalized) else "stable"].append(item)
    return {
        half: compress(build_document(name, take(items), replaced_by=replaced_by))
        for half, items in halves.items()
    }


def take(items: list[T]) -> Iterator[T]:
    """The items of a list, which has them no longer: they go one by one."""
    rest = deque(items)
    items.clear()
    while rest:
        yield rest.popleft()


def compress(document: Iterable[bytes]) -> bytes:
    """A document as it is stored: a large one is never whole for that, and its size isn't told."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    first: list[bytes] = []
    portions = _in_portions(document)
    while sum(map(len, first)) < LARGE:
        portion = next(portions, None)
        if portion is None:
            return compressor.compress(b"".join(first))
        first.append(portion)
    stream = compressor.compressobj()
    return b"".join([*map(stream.compress, chain(first, portions)), stream.flush()])


def _in_portions(document: Iterable[bytes]) -> Iterator[bytes]:
    """A document in few pieces, which depend on nothing but what it is."""
    portion = bytearray()
    for piece in document:
        portion += piece
        if len(portion) >= _PORTION:
            yield bytes(portion)
            portion.clear()
    yield bytes(portion)
