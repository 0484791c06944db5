"""From a composer.json to what Composer reads: version entries, p2 documents and packages.json.

Pure: bytes and records in, bytes out. Values are kept as the JSON text that they came in (`msgspec.Raw`)
wherever they are only passed on: PHP tells `{}` from `[]` and compares arrays with their order, and equal
compact text is exactly PHP's `===`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal
from urllib.parse import quote

import msgspec

from pricore.composer import versions
from pricore.composer.fields import FIELDS, parse_time
from pricore.errors import ComposerJsonError
from pricore.models import Entry

MAX_COMPOSER_JSON: Final = 256 * 1024
"""Bytes of a composer.json that is read; real ones stay below 100 kB."""

TOO_LARGE: Final = f"composer.json is larger than {MAX_COMPOSER_JSON // 1024} kB"
NO_COMPOSER_JSON: Final = "no composer.json"

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

_MAX_DEPTH: Final = 100
"""Levels of nesting; PHP stops reading a document at 512, and a p2 document adds some of its own."""

_MOST_NAME: Final = 255

_NAME = re.compile(r"[a-z0-9](?:[_.-]?[a-z0-9]++)*+/[a-z0-9](?:(?:[_.]|-{1,2})?[a-z0-9]++)*+")
_RESERVED = frozenset(
    ("nul", "con", "prn", "aux", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10)))
)
_SAFE: Final = "+@:,~!$&="  # what may stand in a path as it is, besides letters, digits and ._-
_REFERENCE = re.compile(r"[0-9a-f]{7,64}")
_PHP_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_LINKS = ("require", "require-dev", "conflict", "provide", "replace")

_JsonObject = dict[str, Any]
_encode = msgspec.json.Encoder().encode
_raw_entry = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Providing(msgspec.Struct):
    provide: Any = None


_providing = msgspec.json.Decoder(_Providing)


def check_package_name(name: str) -> None:
    """Refuse with ComposerJsonError what Composer doesn't take for a package name; upper case passes."""
    lower = name.lower()
    if not name.isascii() or len(name) > _MOST_NAME or not _NAME.fullmatch(lower):
        raise ComposerJsonError(f'"{name[:80]}" is not a package name such as vendor/package')
    if not _RESERVED.isdisjoint(lower.split("/")):
        raise ComposerJsonError(f'"{name}" uses a name that Windows reserves')
    if lower.endswith(".json"):
        raise ComposerJsonError(f'"{name}" ends in .json, which Composer refuses')


def parse_composer_json(content: bytes | None) -> _JsonObject:
    """The object in a composer.json.

    Raises ComposerJsonError where the file is missing (None), empty, too large, or not JSON as PHP reads it.
    """
    if content is None or not content.strip():
        raise ComposerJsonError(NO_COMPOSER_JSON)
    if len(content) > MAX_COMPOSER_JSON:
        raise ComposerJsonError(TOO_LARGE)
    try:
        data = msgspec.json.decode(content)
        _encode(data)  # what can be read but not written again, such as half a surrogate pair, is no JSON
    except RecursionError:
        raise ComposerJsonError("composer.json is nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeError, OverflowError) as error:
        raise ComposerJsonError(f"composer.json is not valid JSON: {error}") from None
    if not isinstance(data, dict) or not data:
        raise ComposerJsonError("composer.json holds no JSON object")
    level: list[Any] = [data]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for value in level
            if isinstance(value, dict | list)
            for child in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return data
    raise ComposerJsonError(f"composer.json is nested deeper than {_MAX_DEPTH} levels")


def package_name(data: Mapping[str, Any]) -> str | None:
    """The name that a composer.json gives itself, as spelled; None where it has none."""
    name = data.get("name")
    # a longer one is no name either, and it is told and kept
    return name[: _MOST_NAME + 1] if isinstance(name, str) and name else None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A composer.json as versions are made of it: checked and encoded once, however many refs have it.

    `version` is the one that it declares, False for one that is no string; `time` is what it says of that, as
    Composer writes it. `fields`, `support` (its own, with the names in it in `supported`) and `links` are members
    of an entry as compact JSON, each behind a comma. `own` is the first link whose constraint is the version
    itself. `problem` is why no version can be made of it: a link that Composer cannot parse, a binary outside.
    """

    name: str | None
    version: str | Literal[False] | None
    time: str | None
    fields: bytes
    support: bytes
    supported: frozenset[str]
    links: bytes
    own: str | None
    problem: str | None


def read_manifest(data: _JsonObject) -> Manifest:
    """What versions take over from a composer.json.

    Root-only keys go; a field of a type that Composer's loader dies of goes too, since one such version stops
    everybody who requires the package.
    """
    fields: _JsonObject = {}
    links = {kind: found for kind in _LINKS if (found := _links(data.get(kind)))}
    own, problem = None, None
    try:
        for key, clean in FIELDS.items():
            value = clean(data.get(key))
            # "__unset" would read as "this key went away" in a minified document
            if value is not None and value != "__unset":
                fields[key] = value
        own = _check_links(links)
    except ComposerJsonError as error:
        problem = str(error)
    fields.setdefault("type", "library")
    support: Mapping[str, str] = fields.pop("support", {})
    version, declared = data.get("version"), parse_time(data.get("time"))
    return Manifest(
        name=package_name(data),
        version=version if version is None or isinstance(version, str) else False,
        time=None if declared is None else declared.isoformat(timespec="seconds"),
        fields=_members(fields),
        support=_members(support),
        supported=frozenset(support),
        links=_members(links),
        own=own,
        problem=problem,
    )


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
        _check_link(manifest.own, version)
    first = {"name": name, "version": version, "version_normalized": normalized}
    own: _JsonObject = {}
    if source_url is not None:
        own["source"] = {"type": "git", "url": source_url, "reference": reference}
    own["time"] = _time(released_at) if manifest.time is None else manifest.time
    if default_branch:
        own["default-branch"] = True
    where = {key: page for key, page in (support or {}).items() if key not in manifest.supported}
    helped = (b',"support":{', _members(where)[1:], manifest.support[0 if where else 1 :], b"}")
    return Entry(
        (
            _encode(first)[:-1],
            manifest.fields,
            *(helped if where or manifest.support else ()),
            _members(own),
            manifest.links,
            b"}",
        )
    )


def _members(data: Mapping[str, Any]) -> bytes:
    """The members of an object as they stand behind others."""
    return b"," + _encode(data)[1:-1] if data else b""


def _links(value: object) -> dict[str, str]:
    """The links of one kind; what isn't a string is passed over, as Composer does."""
    if not isinstance(value, dict):
        return {}
    return {
        target: constraint
        for target, constraint in value.items()
        # PHP turns the key "0" into a number, which stops the client; a list has such keys only
        if isinstance(constraint, str) and not _PHP_INTEGER.fullmatch(target)
    }


def _check_links(links: Mapping[str, Mapping[str, str]]) -> str | None:
    """The first link whose constraint is the version itself; others are checked, with ComposerJsonError."""
    own = None
    for kind, found in links.items():
        for target, constraint in found.items():
            if constraint != "self.version":
                _check_link(f"{kind}.{target[:100]}", constraint)
            elif own is None:
                own = f"{kind}.{target[:100]}"
    return own


def _check_link(link: str, constraint: str) -> None:
    try:
        versions.check_constraint(constraint)
    except ValueError as error:
        raise ComposerJsonError(f"{link}: {error}") from None


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
    # one version at a time: while one is written, no other thread gets on
    yield b'{"packages":{' + _encode(name.lower()) + b":["
    comma = b""
    for changed in minify(_with_dist(item, replaced_by) for item in published):
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


def build_inline(published: Iterable[Published], *, replaced_by: str | None = None) -> msgspec.Raw:
    """A package's versions by number as packages.json carries them: whole, each with the `uid` it needs.

    That is its place in the package, which is all that Composer compares: it tells nothing of other packages.
    """
    versions_by_number = {}
    for place, item in enumerate(published, start=1):
        entry = _with_dist(item, replaced_by)
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


_UNSET: Final = msgspec.Raw(b'"__unset"')


def minify(entries: Iterable[Mapping[str, msgspec.Raw]]) -> Iterator[Mapping[str, msgspec.Raw]]:
    """composer/metadata-minifier's format: the first entry whole, each later one what changed.

    Entries map keys to compact JSON; none is `null` or `"__unset"`.
    """
    before: Mapping[str, msgspec.Raw] | None = None
    for entry in entries:
        if before is None:
            yield entry
        else:
            changed = {key: value for key, value in entry.items() if key not in before or before[key] != value}
            changed.update((key, _UNSET) for key in before if key not in entry)
            yield changed
        before = entry


def build_root(url: str, *, packages: Iterable[str], inline: Mapping[str, msgspec.Raw]) -> bytes:
    """packages.json of an organization whose public URL is `url`.

    `packages` are all names that the caller may see. `inline` holds their versions while they are small enough
    to be carried along. URLs are absolute: Composer opens a relative one as a local file.
    """
    names = sorted(packages)
    root: _JsonObject = {
        "packages": inline,
        "metadata-url": f"{url}/p2/%package%.json",
        "available-packages": names,
        "list": f"{url}/list.json",
        "search": f"{url}/search.json?q=%query%&type=%type%",
        "providers-api": f"{url}/providers/%package%.json",
        "notify-batch": f"{url}/downloads",
        "security-advisories": {"metadata": False, "api-url": f"{url}/security-advisories"},
    }
    if not names:
        # an empty list counts as absent: Composer would ask for every name there is, public ones too
        del root["available-packages"]
        root["available-package-patterns"] = ["-/-"]
    return _encode(root).replace(BASE.encode(), url.encode())


def find_latest(published: Sequence[Published]) -> Published | None:
    """The highest stable version, else the highest of any kind, out of versions newest first."""
    stable = (item for item in published if versions.parse_stability(item.normalized) == "stable")
    return next(stable, published[0] if published else None)
