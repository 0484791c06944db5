"""What Pricore writes for Composer: version entries, p2 documents, packages.json."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricore import metadata
from pricore.errors import ComposerJsonError
from pricore.metadata import Published
from tests.harness import need

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RELEASED = 1_700_000_000

# PHP finds composer/metadata-minifier on its include path, where distributions put it. The order of a version's
# own keys isn't kept by the format, that of everything below them is.
EXPAND = """
    require 'Composer/MetadataMinifier/autoload.php';
    use Composer\\MetadataMinifier\\MetadataMinifier;
    $in_order = function (array $version): array {
        ksort($version);
        return $version;
    };
    $question = json_decode(stream_get_contents(STDIN), true, 512, JSON_THROW_ON_ERROR);
    $answers = [];
    foreach ($question as ['whole' => $whole, 'document' => $document]) {
        $document = json_decode($document, true, 512, JSON_THROW_ON_ERROR);
        $whole = json_decode($whole, true, 512, JSON_THROW_ON_ERROR);
        $expanded = MetadataMinifier::expand(reset($document['packages']));
        $answers[] = array_map($in_order, $expanded) === array_map($in_order, $whole);
    }
    echo json_encode($answers);
"""


def make_entry(data: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """The entry of a version of acme/library, decoded."""
    entry: dict[str, Any] = json.loads(encode_entry(data, **options))
    return entry


def encode_entry(data: Mapping[str, Any] | None = None, **options: Any) -> bytes:
    fields: dict[str, Any] = {
        "name": "acme/library",
        "version": "v1.0",
        "normalized": "1.0.0.0",
        "reference": COMMIT,
        "released_at": RELEASED,
        "source_url": None,
    }
    return metadata.version_entry(dict(data or {}), **fields | options)


def publish(text: str, number: int) -> Published:
    """A version of acme/library with this composer.json."""
    data = metadata.parse_composer_json(text.encode())
    version, normalized = f"v1.{number}", f"1.{number}.0.0"
    return Published(
        name="acme/library",
        version=version,
        normalized=normalized,
        reference=f"{number:040x}",
        shasum=f"{number:040x}",
        entry=encode_entry(data, version=version, normalized=normalized),
        uid=number,
    )


def release(version: str, normalized: str) -> Published:
    """A version of Acme/Library without anything in it."""
    return Published(
        name="Acme/Library",
        version=version,
        normalized=normalized,
        reference=COMMIT,
        shasum="",
        entry=encode_entry(version=version, normalized=normalized),
        uid=1,
    )


def whole_entries(published: Sequence[Published]) -> bytes:
    """What a client has to end up with: each version's entry and its dist, nothing left out."""
    entries = []
    for item in published:
        entry = msgspec.json.decode(item.entry, type=dict[str, msgspec.Raw])
        path = metadata.dist_path(item.name, item.version, item.reference, branch=False)
        dist = {"type": "zip", "url": metadata.BASE + path, "reference": item.reference, "shasum": item.shasum}
        entries.append(entry | {"dist": msgspec.Raw(msgspec.json.encode(dist))})
    return msgspec.json.encode(entries)


# Minifying

HISTORIES = {
    "nothing changes": ['{"x": 1}', '{"x": 2}', '{"x": 3}'],
    "keys come and go": [
        '{"description": "a"}',
        '{"keywords": ["x"]}',
        '{"description": "a", "keywords": ["x"], "license": "MIT"}',
        '{"description": "b", "license": ["MIT"]}',
        '{"x": 1}',
        '{"description": "a"}',
    ],
    "the order of links": [
        '{"require": {"php": "*", "acme/a": "1.0", "acme/b": "1.0"}}',
        '{"require": {"acme/b": "1.0", "php": "*", "acme/a": "1.0"}}',
        '{"require": {"acme/b": "1.0", "php": "*", "acme/a": "1.0"}}',
        '{"require": {"acme/b": "1.0", "php": "*"}}',
    ],
    "objects and lists": [
        '{"extra": {"a": {}}, "autoload": {"psr-4": {"A\\\\": "src/"}}}',
        '{"extra": {"a": []}, "autoload": {"psr-4": {"A\\\\": ["src/"]}}}',
        '{"extra": {"a": [{}]}, "autoload": {"psr-4": {"A\\\\": {"0": "src/"}}}}',
        '{"extra": {"a": [[]]}, "autoload": {"classmap": []}}',
        '{"extra": ["a"]}',
        '{"extra": {"a": null, "b": {"": {"": null}}}}',
    ],
    "numbers": [
        '{"extra": {"n": 1}}',
        '{"extra": {"n": 1.0}}',
        '{"extra": {"n": 1e0}}',
        '{"extra": {"n": "1"}}',
        '{"extra": {"n": true}}',
        '{"extra": {"n": -0.0}}',
        '{"extra": {"n": 0.1, "m": 1e22, "o": 1.7976931348623157e308, "p": 5e-324}}',
        '{"extra": {"n": 9223372036854775807}}',
        '{"extra": {"n": 9223372036854775808}}',
        '{"extra": {"n": 18446744073709551616}}',
        '{"extra": {"n": -12345678901234567890123}}',
    ],
    "text": [
        '{"description": "\\u00fc"}',
        '{"description": "ü"}',
        '{"description": "u\\u0308 \\ud83d\\ude00 \\u2028 \\u0000 \\u007f"}',
        '{"description": "<a href=\\"x\\">\\/ & \' \\\\ </a>"}',
        '{"description": "<a href=\\"x\\">/ & \' \\\\ </a>"}',
        '{"homepage": "https:\\/\\/example.com\\/"}',
        '{"homepage": "https://example.com/"}',
    ],
    "the mark for a missing key": [
        '{"description": "a", "homepage": "b"}',
        '{"description": "__unset", "homepage": "b"}',
        '{"description": "__unset", "homepage": "__unset", "extra": {"a": "__unset"}}',
        '{"extra": {"__unset": "__unset"}, "keywords": ["__unset"]}',
        '{"extra": ["__unset"]}',
    ],
    "nested values": [
        '{"extra": {"a": {"b": {"c": [1, {"d": 2}]}}, "x": 1}}',
        '{"extra": {"a": {"b": {"c": [1, {"d": 3}]}}, "x": 1}}',
        '{"extra": {"x": 1, "a": {"b": {"c": [1, {"d": 3}]}}}}',
        '{"authors": [{"name": "A", "email": "a@b"}], "support": {"issues": "x"}}',
        '{"authors": [{"email": "a@b", "name": "A"}], "support": {"issues": "x", "docs": "y"}}',
    ],
}


def test_composer_expands_a_document_to_what_was_put_in() -> None:
    """Composer's own expander gives every version back as it was, to the order of keys and the type of numbers."""
    need("php", "composer")
    question = {}
    for name, texts in HISTORIES.items():
        published = [publish(text, number) for number, text in enumerate(texts)]
        question[name] = {
            "whole": whole_entries(published).decode(),
            "document": metadata.build_document("Acme/Library", published).decode(),
        }
    done = subprocess.run(
        ["php", "-r", EXPAND], input=json.dumps(question), capture_output=True, text=True, timeout=60, check=True
    )
    assert dict.fromkeys(HISTORIES, True) == dict(zip(question, json.loads(done.stdout), strict=True))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)
histories = st.lists(
    st.dictionaries(
        st.sampled_from(["name", "require", "extra", "", "ü"]),
        values.filter(lambda value: value is not None and value != "__unset"),
        min_size=1,
    ),
    max_size=6,
)


@settings(deadline=None)
@given(histories)
def test_minifying_loses_nothing_and_repeats_nothing(history: list[dict[str, Any]]) -> None:
    """Whatever versions hold, each one is its predecessor with the changes, and only changes are written."""
    entries = [{key: msgspec.Raw(msgspec.json.encode(value)) for key, value in whole.items()} for whole in history]
    before: dict[str, bytes] = {}
    expanded = []
    for changes in metadata.minify(entries):
        assert all(before.get(key) != bytes(value) for key, value in changes.items())
        after = before | {key: bytes(value) for key, value in changes.items()}
        before = {key: value for key, value in after.items() if value != b'"__unset"'}
        expanded.append(before)
    assert [{key: bytes(value) for key, value in entry.items()} for entry in entries] == expanded


# composer.json


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no composer.json"),
        (b"", "no composer.json"),
        (b" \n\t\r\n", "no composer.json"),
        (b"{}", "holds no JSON object"),
        (b"[]", "holds no JSON object"),
        (b'[{"name": "acme/library"}]', "holds no JSON object"),
        (b"null", "holds no JSON object"),
        (b"0", "holds no JSON object"),
        (b'"acme/library"', "holds no JSON object"),
        (b'\xef\xbb\xbf{"name": "acme/library"}', "not valid JSON"),
        ('{"name": "acme/library"}'.encode("utf-16"), "not valid JSON"),
        (b'{"name": "acme/library"', "not valid JSON"),
        (b'{"name": "acme/library",}', "not valid JSON"),
        (b'{"name": "acme/library"} // a comment', "not valid JSON"),
        (b'{"name": "acme/library"}\0', "not valid JSON"),
        (b"{'name': 'acme/library'}", "not valid JSON"),
        (b'{"x": NaN}', "not valid JSON"),
        (b'{"x": 01}', "not valid JSON"),
        (b'{"x": 1e999}', "not valid JSON"),
        (b'{"x": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"x": "\xff"}', "not valid JSON"),
        (b'{"x": "\xed\xa0\x80"}', "not valid JSON"),
        (b'{"x": "\\ud800"}', "not valid JSON"),
        (b'{"x": "\\udc00\\ud800"}', "not valid JSON"),
        (b'{"\\udfff": 1}', "not valid JSON"),
        (b'{"x": ' * 100 + b"1" + b"}" * 100, "nested deeper than 100 levels"),
        (b'{"x": ' + b"[" * 100 + b"]" * 100 + b"}", "nested deeper than 100 levels"),
        (b'{"x": ' + b"[" * 400_000 + b"]" * 400_000 + b"}", "nested too deeply"),
        (b'{"x": "' + b"x" * metadata.MAX_COMPOSER_JSON + b'"}', "larger than 1024 kB"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_composer_json_that_composer_could_not_read_is_refused(content: bytes | None, reason: str) -> None:
    """What isn't an object in JSON as PHP reads it makes no version, and the reason says which it is."""
    with pytest.raises(ComposerJsonError, match=reason):
        metadata.parse_composer_json(content)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'\n{"name": "acme/library"}\r\n', {"name": "acme/library"}),
        (b'{"x": 1, "y": 2, "x": 3}', {"x": 3, "y": 2}),
        (b'{"": {"": ""}}', {"": {"": ""}}),
        (b'{"x": 18446744073709551616}', {"x": 2**64}),
        (b'{"x": -99999999999999999999}', {"x": -99999999999999999999}),
        (b'{"x": 1.5e300}', {"x": 1.5e300}),
        (b'{"x": "\\ud83d\\ude00\\u0000\\/"}', {"x": "\U0001f600\0/"}),
        ('{"x": "\u2028"}'.encode(), {"x": "\u2028"}),
    ],
)
def test_odd_json_is_read_as_php_reads_it(content: bytes, expected: object) -> None:
    """The last of two equal keys counts, numbers have no limit that people reach, escapes are resolved."""
    assert expected == metadata.parse_composer_json(content)


def test_the_limits_of_a_composer_json_are_exact() -> None:
    """The largest and the deepest composer.json that are allowed are read."""
    frame = b'{"x": ""}'
    largest = b'{"x": "' + b"x" * (metadata.MAX_COMPOSER_JSON - len(frame)) + b'"}'
    assert len(largest) == metadata.MAX_COMPOSER_JSON
    metadata.parse_composer_json(largest)
    metadata.parse_composer_json(b'{"x": ' * 99 + b"1" + b"}" * 99)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Acme/Library", "Acme/Library"), ("", None), (None, None), (1, None), (["acme/library"], None)],
)
def test_a_name_is_text_or_there_is_none(name: object, expected: str | None) -> None:
    """A name is kept as it is spelled; one of another type counts as missing."""
    assert expected == metadata.package_name({"name": name})


# Package names


@pytest.mark.parametrize(
    "name",
    [
        *("acme/library", "Acme/Library", "ACME/LIBRARY", "a/b", "1/2", "acme/a--b", "acme/a-b.c_d", "a-b.c_d/x"),
        *("nul1/x", "com0/x", "com10/x", "console/nullable", "acme/json", "acme/x.json5", f"a/{'b' * 253}"),
    ],
)
def test_a_package_name_of_composers_is_accepted(name: str) -> None:
    """Names that Composer takes pass, in upper case too."""
    metadata.check_package_name(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *((name, "is not a package name") for name in ("", "php", "/", "acme/", "/library", "a/b/c", "a//b")),
        *((name, "is not a package name") for name in ("a/../b", "../b", "./b", "a/.", "a/..", "-a/b", "a/-b")),
        *((name, "is not a package name") for name in ("a--b/c", "a/b---c", "a/b__c", "a/b-", "a_/b", "a/b c")),
        *((name, "is not a package name") for name in ("a/b\n", "a/\u00fc", "a/\u212a", "a\\b/c", "a/%62")),
        *((name, "is not a package name") for name in (f"a/{'b' * 254}", f"{'a' * 300}/b", "a/b\0", "a/b?")),
        *((name, "Windows") for name in ("nul/x", "x/nul", "CON/x", "x/Prn", "aux/aux", "com1/x", "x/LPT9")),
        *((name, r"\.json") for name in ("x/y.json", "x/Y.JSON")),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_package_name_is_refused(name: str, reason: str) -> None:
    """A name that Composer, a path or a file system would trip over never gets into the registry."""
    with pytest.raises(ComposerJsonError, match=reason):
        metadata.check_package_name(name)
    with pytest.raises(ComposerJsonError, match=reason):
        encode_entry(name=name)


@settings(deadline=None)
@given(st.from_regex(r"[a-c._/-]{1,40}", fullmatch=True))
def test_names_are_paths_that_stay_where_they_are(name: str) -> None:
    """No accepted name has an empty part, or one that starts with a dot or dash."""
    try:
        metadata.check_package_name(name)
    except ComposerJsonError:
        return
    assert len(name.split("/")) == 2
    assert all(part[0].isalnum() for part in name.split("/"))


# Version entries


def test_an_entry_has_what_clients_need() -> None:
    """Everything that Composer uses of a dependency's composer.json is passed on as it is."""
    kept: dict[str, Any] = {
        "description": "A library",
        "type": "symfony-bundle",
        "keywords": ["a", "b"],
        "homepage": "https://example.com/",
        "license": ["MIT"],
        "authors": [{"name": "Ada", "email": "ada@example.com", "homepage": "https://ada", "role": "all"}],
        "support": {"issues": "https://example.com/issues"},
        "funding": [{"type": "other", "url": "https://example.com/fund"}],
        "target-dir": "Acme/Library",
        "autoload": {"psr-4": {"Acme\\": "src/"}, "files": []},
        "extra": {"branch-alias": {"dev-main": "1.x-dev"}, "empty": {}, "list": [], "null": None},
        "include-path": ["lib/"],
        "bin": ["bin/acme"],
        "suggest": {"ext-intl": "for more languages"},
        "abandoned": "acme/other",
        "php-ext": {"extension-name": "acme"},
        "require": {"php": ">=8.1", "acme/a": "^1.0 || dev-main"},
        "require-dev": {"acme/b": "self.version"},
        "conflict": {"acme/c": "<2"},
        "provide": {"psr/log-implementation": "1.0|2.0"},
        "replace": {"acme/d": "self.version"},
    }
    expected = {
        "name": "Acme/Library",
        "version": "dev-main",
        "version_normalized": "dev-main",
        "source": {"type": "git", "url": "https://example.com/library.git", "reference": COMMIT},
        "time": "2023-11-14T22:13:20+00:00",
        "default-branch": True,
    }
    entry = make_entry(
        kept,
        name="Acme/Library",
        version="dev-main",
        normalized="dev-main",
        source_url="https://example.com/library.git",
        default_branch=True,
    )
    assert expected | kept == entry


def test_an_entry_has_nothing_else() -> None:
    """What only counts in a root package stays out, and nobody sets what the registry says for itself."""
    data = {
        "name": "evil/other",
        "version": "9.9",
        "version_normalized": "9.9.0.0",
        "time": "2030-01-01",
        "source": {"type": "git", "url": "https://evil.example", "reference": "x"},
        "dist": {"type": "zip", "url": "https://evil.example"},
        "default-branch": True,
        "uid": 1,
        "notification-url": "https://evil.example",
        "transport-options": {"http": {"header": "x"}},
        "autoload-dev": {"psr-4": {"Tests\\": "tests/"}},
        "scripts": {"test": "phpunit"},
        "config": {"platform": {"php": "8.1"}},
        "repositories": [{"type": "vcs", "url": "https://example.com"}],
        "minimum-stability": "dev",
        "prefer-stable": True,
        "archive": {"exclude": ["tests"]},
        "_comment": "x",
    }
    expected = {
        "name": "acme/library",
        "version": "v1.0",
        "version_normalized": "1.0.0.0",
        "type": "library",
        "time": "2023-11-14T22:13:20+00:00",
    }
    assert expected == make_entry(data)


DROPPED: dict[str, list[object]] = {
    "description": [1, None, "", ["text"], {"a": "b"}, "__unset"],
    "homepage": [1, None, "", False, "__unset"],
    "target-dir": [1, [], "", "__unset"],
    "abandoned": [False, None, "", 1, [], {}, "__unset"],
    "keywords": [1, [], {}, {"a": "b"}, [1]],
    "license": [{"type": "MIT"}],
    "bin": [{"x": "bin/x"}],
    "authors": ["Ada", {"name": "Ada"}, [], None],
    "funding": [{"type": "x"}],
    "support": ["a@b", ["a@b"], {}, {"irc": 1}],
    "suggest": [["acme/a"]],
    "autoload": ["src/", ["src/"], {}, [], 1],
    "php-ext": ["x", [], {}],
    "extra": ["x", 1, {}, [], None, "__unset"],
    "require": ["php", ["^1.0"], {}, [], None, 1],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in DROPPED.items() for value in values]
)
def test_a_field_of_an_odd_type_is_dropped(field: str, value: object) -> None:
    """What Composer's loader could die of goes, and the version stays."""
    assert make_entry() == make_entry({field: value})


@pytest.mark.parametrize("value", [123, None, "", [], ["x"], {}, True, "__unset"])
def test_a_type_that_is_none_counts_as_library(value: object) -> None:
    """Every version has a type: Composer installs a package by it."""
    assert make_entry({"type": value})["type"] == "library"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("abandoned", True, True),
        ("keywords", "one", ["one"]),
        ("keywords", ["a", 1, None, ["b"], "c"], ["a", "c"]),
        ("license", "MIT", ["MIT"]),
        ("license", ["MIT", None], ["MIT"]),
        ("bin", "bin/x", ["bin/x"]),
        ("include-path", "lib/", ["lib/"]),
        ("authors", [{"name": "Ada", "age": 36}, "Bob", {}, {"name": None}], [{"name": "Ada"}]),
        ("funding", [{"type": "x", "url": 1}], [{"type": "x"}]),
        ("support", {"email": "a@b", "irc": 1}, {"email": "a@b"}),
        ("suggest", {"acme/a": "why", "acme/b": None}, {"acme/a": "why"}),
        ("extra", ["x"], ["x"]),
        ("extra", {"branch-alias": "1.x-dev"}, {"branch-alias": {}}),
        ("extra", {"a": 1, "branch-alias": {"x": 1, "y": "z"}}, {"a": 1, "branch-alias": {"y": "z"}}),
        ("require", {"php": "*", "acme/a": 1, "acme/b": None, "acme/c": ["*"]}, {"php": "*"}),
        ("require", {"0": "*", "7": "not valid", "-12": "*", "007": "*", "1.0": "*"}, {"007": "*", "1.0": "*"}),
    ],
)
def test_what_is_sound_in_an_odd_field_stays(field: str, value: object, expected: object) -> None:
    """Only those items go that Composer has no use for; a text stands for the list of it."""
    assert expected == make_entry({field: value})[field]


@pytest.mark.parametrize("kind", ["require", "require-dev", "conflict", "provide", "replace"])
@pytest.mark.parametrize("constraint", ["latest", "", " self.version ", ">=1.0,,<2", "1.0 - ", "dev-a,b"])
def test_an_invalid_constraint_is_refused_by_name(kind: str, constraint: str) -> None:
    """One link that Composer cannot parse would stop everybody: the version stays out, and the link is named."""
    with pytest.raises(ComposerJsonError, match=rf'^{kind}\.acme/b: invalid version constraint "{constraint}"$'):
        encode_entry({kind: {"acme/a": "1.0", "acme/b": constraint, "acme/c": "self.version"}})


def test_self_version_is_refused_where_the_version_is_no_constraint() -> None:
    """A tag may be 1.0+a,b, and "self.version" there would be a constraint that Composer cannot parse."""
    encode_entry(version="1.0+a,b")
    encode_entry({"require": {"acme/a": "self.version"}}, version="1.0+a.b")
    with pytest.raises(ComposerJsonError, match=r'^require\.acme/a: invalid version constraint "1\.0\+a,b"$'):
        encode_entry({"require": {"acme/a": "self.version"}}, version="1.0+a,b")


@pytest.mark.parametrize(
    "seconds", [0, 1, RELEASED, 2**31, int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())]
)
def test_the_time_is_that_of_the_commit_in_utc(seconds: int) -> None:
    """Every time that git can hold is written so that it reads back as the same second."""
    time = make_entry(released_at=seconds)["time"]
    assert time.endswith("+00:00")
    assert seconds == datetime.fromisoformat(time).timestamp()


def test_objects_and_lists_stay_what_they_were() -> None:
    """An empty object in composer.json doesn't become an empty list, as it would in PHP."""
    data = metadata.parse_composer_json(b'{"extra": {"a": {}, "b": [], "c": {"0": {}}, "d": 1.0}}')
    assert b'"extra":{"a":{},"b":[],"c":{"0":{}},"d":1.0}' in encode_entry(data)


# Documents


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("v1.0.0", "v1.0.0"),
        ("1.0+build.5", "1.0+build.5"),
        ("1.0@beta", "1.0@beta"),
        ("1.0+/../x", "1.0+/../x"),
        ("dev-feature/x", "dev-feature/x"),
        ("dev-%version%", "dev-%25version%25"),
        ("dev-%41", "dev-%2541"),
        ("dev-a b", "dev-a%20b"),
        ("dev-a#b", "dev-a%23b"),
        ("dev-a?b", "dev-a%3Fb"),
        ("dev-a;b|c", "dev-a%3Bb%7Cc"),
        ("dev-\u00fc", "dev-%C3%BC"),
        ("dev-'\"<>`{}", "dev-%27%22%3C%3E%60%7B%7D"),
    ],
)
def test_an_archive_has_a_url_whatever_its_version(version: str, expected: str) -> None:
    """No version can end a path, begin a query, or leave one of Composer's %placeholders% in it."""
    branch = metadata.dist_path("Acme/Library", version, COMMIT, branch=True)
    assert f"/packages/acme/library/{expected}/{COMMIT}.zip" == branch
    # a branch may have slashes; a "version" in the composer.json of a tag may be 1.0+/../x
    stable = metadata.dist_path("Acme/Library", version, COMMIT, branch=False)
    assert f"/packages/acme/library/{expected.replace('/', '%2F')}.zip" == stable


def test_a_half_without_versions_is_an_empty_list() -> None:
    """A package that has only branches has a stable half too: a 404 would let others supply the name."""
    expected = {"packages": {"acme/library": []}, "minified": "composer/2.0"}
    assert expected == json.loads(metadata.build_document("Acme/Library", []))


def test_a_document_names_the_archive_of_each_version() -> None:
    """A tag's URL is the version's, a branch's has the commit; the host is filled in when it is served."""
    published = [release("1.0", "1.0.0.0"), release("dev-main", "dev-main")]
    document = json.loads(metadata.build_document("acme/library", published))
    urls = [entry["dist"]["url"] for entry in document["packages"]["acme/library"]]
    path = f"{metadata.BASE}/packages/acme/library"
    assert [f"{path}/1.0.zip", f"{path}/dev-main/{COMMIT}.zip"] == urls


def test_a_replaced_package_says_so_in_each_version() -> None:
    """Who still requires the old name is told the new one, whatever composer.json said of it."""
    published = [publish('{"abandoned": true}', 1), publish('{"name": "acme/library"}', 2)]
    document = json.loads(metadata.build_document("acme/library", published, replaced_by="acme/new"))
    first, second = document["packages"]["acme/library"]
    assert first["abandoned"] == "acme/new"
    assert "abandoned" not in second  # minified: as in the first one
    inline = msgspec.json.decode(metadata.build_inline(published, replaced_by="acme/new"))
    assert {"acme/new"} == {entry["abandoned"] for entry in inline.values()}


def test_inline_versions_are_whole_and_have_a_uid() -> None:
    """Beside a metadata-url, Composer dies of an inline version without a uid."""
    text = '{"type": "symfony-bundle", "description": "the same"}'
    inline = msgspec.json.decode(metadata.build_inline([publish(text, number) for number in (1, 2)]))
    assert {version: entry["uid"] for version, entry in inline.items()} == {"v1.1": 1, "v1.2": 2}
    assert all({"name", "version", "type", "dist"} <= entry.keys() for entry in inline.values())


def test_the_root_lists_what_there_is_with_absolute_urls() -> None:
    """Composer opens a relative URL as a local file: every one begins with the organization's own."""
    url = "https://packages.example.com/org/acme"
    inline = {"acme/library": metadata.build_inline([release("1.0", "1.0.0.0")])}
    root = json.loads(metadata.build_root(url, packages=["acme/b", "acme/a"], inline=inline))
    assert root["available-packages"] == ["acme/a", "acme/b"]
    assert "available-package-patterns" not in root
    for key in ("metadata-url", "list", "search", "providers-api", "notify-batch"):
        assert root[key].startswith(f"{url}/"), key
    assert root["security-advisories"]["api-url"] == f"{url}/security-advisories"
    assert root["packages"]["acme/library"]["1.0"]["dist"]["url"] == f"{url}/packages/acme/library/1.0.zip"


def test_the_root_of_an_empty_organization_matches_no_name() -> None:
    """An empty list of packages counts as none given: Composer would ask for every public name here."""
    root = json.loads(metadata.build_root("https://example.com/org/acme", packages=[], inline={}))
    assert "available-packages" not in root
    assert root["available-package-patterns"] == ["-/-"]
    assert root["packages"] == {}
    with pytest.raises(ComposerJsonError):
        metadata.check_package_name("-/-")


# Order

ORDER = [
    ("2.0.0", "2.0.0.0"),
    ("v10.0.0-RC1", "10.0.0.0-RC1"),
    ("1.10.0", "1.10.0.0"),
    ("dev-main", "dev-main"),
    ("1.9.0", "1.9.0.0"),
    ("2.x-dev", "2.9999999.9999999.9999999-dev"),
    ("1.10.0-p1", "1.10.0.0-patch1"),
    ("2.0.0-beta2", "2.0.0.0-beta2"),
    ("2.0.0-beta10", "2.0.0.0-beta10"),
]


def test_documents_are_newest_first() -> None:
    """Versions are ordered as Composer compares them, branches with a number at the end of it."""
    expected = ["v10.0.0-RC1", "2.x-dev", "2.0.0", "2.0.0-beta10", "2.0.0-beta2", "1.10.0-p1", "1.10.0", "1.9.0"]
    published = [release(*pair) for pair in ORDER]
    assert [*expected, "dev-main"] == [item.version for item in metadata.newest_first(published)]


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        (ORDER, "2.0.0"),
        ([pair for pair in ORDER if pair[0] != "2.0.0"], "1.10.0-p1"),
        ([pair for pair in ORDER if "-" in pair[1]], "1.10.0-p1"),
        ([("2.0-RC1", "2.0.0.0-RC1"), ("dev-main", "dev-main"), ("2.0-b1", "2.0.0.0-beta1")], "2.0-RC1"),
        ([("dev-main", "dev-main"), ("1.x-dev", "1.9999999.9999999.9999999-dev")], "1.x-dev"),
        ([("dev-main", "dev-main")], "dev-main"),
        ([], None),
    ],
)
def test_the_latest_version_is_the_highest_stable_one(
    published: Sequence[tuple[str, str]], expected: str | None
) -> None:
    """Lists show a release where there is one, however new the pre-releases and branches are."""
    assert expected == metadata.latest_version(published)
    assert expected == metadata.latest_version(reversed(published))
