"""What a version's entry takes from composer.json, and what it leaves out."""

import json
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from pricore.composer import composer_json
from pricore.errors import ComposerJsonError
from tests.composer.harness import COMMIT, RELEASED, encode_entry
from tests.harness import need


def make_entry(data: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """The entry of a version of acme/library, decoded."""
    entry: dict[str, Any] = json.loads(encode_entry(data, **options))
    return entry


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
    "keywords": [[], {}, [True, None], {"a": ["b"]}],
    "license": [1, {"type": ["MIT"]}],
    "bin": [7, {"x": 1}, [["bin/x"]]],
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
        ("keywords", ["a", None, ["b"], True, "c"], ["a", "c"]),
        ("keywords", ["php", 8.1, 2024], ["php", "8.1", "2024"]),
        ("keywords", {"a": "b", "c": 1}, ["b", "1"]),
        ("license", {"type": "MIT"}, ["MIT"]),
        ("bin", {"x": "bin/x"}, ["bin/x"]),
        ("authors", {"1": {"name": "Ada"}}, [{"name": "Ada"}]),
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


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *(("8.1", "8.1"), ("1.0", "1"), ("-0.5", "-0.5"), ("7", "7"), ("100000.0", "100000"), ("1e14", "1.0E+14")),
        *(
            ("1e25", "1.0E+25"),
            ("1.5e-7", "1.5E-7"),
            ("0.0001", "0.0001"),
            ("3.14159265358979312", "3.1415926535898"),
        ),
        *(("9223372036854775807", "9223372036854775807"), ("12345678901234567890123", "1.2345678901235E+22")),
    ],
)
def test_a_number_among_keywords_is_what_php_writes(number: str, text: str) -> None:
    """As Composer's loader does with strval()."""
    need("php")
    data = composer_json.parse_composer_json(f'{{"keywords": [{number}]}}'.encode())
    written = subprocess.run(
        ["php", "-r", "echo strval(json_decode($argv[1]));", "--", number],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [text] == [written.stdout] == make_entry(data)["keywords"]


@pytest.mark.parametrize("binary", ["..", "../x", "a/../../x", "a/..", "..\\x", "a\\..", "/../x"])
def test_a_binary_outside_of_the_package_is_refused_by_name(binary: str) -> None:
    """Composer aborts as soon as it selects such a version, whoever asks for it."""
    with pytest.raises(ComposerJsonError, match=f"^bin {re.escape(binary)} leads outside of the package"):
        encode_entry({"bin": ["bin/good", binary]})
    with pytest.raises(ComposerJsonError, match="leads outside of the package"):
        encode_entry({"bin": binary})


@pytest.mark.parametrize("binary", ["bin/a..b", "..bin/x", "bin/x..", ".../x", "./bin/x", "/bin/x"])
def test_a_binary_that_only_looks_so_stays(binary: str) -> None:
    """Two dots are a way up only where they stand alone."""
    assert make_entry({"bin": binary})["bin"] == [binary]


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
    ("time", "expected"),
    [
        ("2020-02-03", "2020-02-03T00:00:00+00:00"),
        ("2020-02-03 04:05:06", "2020-02-03T04:05:06+00:00"),
        ("2020-02-03 04:05", "2020-02-03T04:05:00+00:00"),
        (" 2020-02-03T04:05:06Z ", "2020-02-03T04:05:06+00:00"),
        ("2020-02-03T04:05:06.789+02:00", "2020-02-03T04:05:06+02:00"),
        ("2020-02-03 04:05:06 -0730", "2020-02-03T04:05:06-07:30"),
        ("2020-02-03 04:05:06 UTC", "2020-02-03T04:05:06+00:00"),
        (1_600_000_000, "2020-09-13T12:26:40+00:00"),
        ("1600000000", "2020-09-13T12:26:40+00:00"),
    ],
)
def test_the_time_in_composer_json_counts(time: object, expected: str) -> None:
    """As it does for Composer, Satis and packagist.org: a package that is mirrored keeps its dates."""
    assert make_entry({"time": time})["time"] == expected


@pytest.mark.parametrize(
    "time",
    [
        *("", "yesterday", "now", "@0", "2020-02-30", "2020-13-01", "0000-01-01", "2020-02-03T25:00:00"),
        *("2020-02-03T04:05:06+99:99", "x" * 1000, "9" * 1000, "\u0662\u0660\u0662\u0660-01-01"),
        *(0, -1, 1.5, True, None, [], ["2020-01-01"], {"date": "2020-01-01"}, 10**30),
    ],
)
def test_a_time_that_is_none_is_the_commits(time: object) -> None:
    """What is no date, or would be another one every day."""
    assert make_entry({"time": time}) == make_entry()


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
    data = composer_json.parse_composer_json(b'{"extra": {"a": {}, "b": [], "c": {"0": {}}, "d": 1.0}}')
    assert b'"extra":{"a":{},"b":[],"c":{"0":{}},"d":1.0}' in encode_entry(data)
