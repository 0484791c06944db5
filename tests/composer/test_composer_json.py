"""Which composer.json and which names make a version."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricore.composer import composer_json
from pricore.errors import ComposerJsonError
from tests.composer.harness import encode_entry

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
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"x": "' + b"x" * composer_json.MAX_COMPOSER_JSON + b'"}', "larger than 256 kB"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_composer_json_that_composer_could_not_read_is_refused(content: bytes | None, reason: str) -> None:
    """What isn't an object in JSON as PHP reads it makes no version, and the reason says which it is."""
    with pytest.raises(ComposerJsonError, match=reason):
        composer_json.parse_composer_json(content)


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
    assert expected == composer_json.parse_composer_json(content)


def test_the_limits_of_a_composer_json_are_exact() -> None:
    """The largest and the deepest composer.json that are allowed are read."""
    frame = b'{"x": ""}'
    largest = b'{"x": "' + b"x" * (composer_json.MAX_COMPOSER_JSON - len(frame)) + b'"}'
    assert len(largest) == composer_json.MAX_COMPOSER_JSON
    composer_json.parse_composer_json(largest)
    composer_json.parse_composer_json(b'{"x": ' * 99 + b"1" + b"}" * 99)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Acme/Library", "Acme/Library"), ("", None), (None, None), (1, None), (["acme/library"], None)],
)
def test_a_name_is_text_or_there_is_none(name: object, expected: str | None) -> None:
    """A name is kept as it is spelled; one of another type counts as missing."""
    assert expected == composer_json.package_name({"name": name})


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
    composer_json.check_package_name(name)


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
        composer_json.check_package_name(name)
    with pytest.raises(ComposerJsonError, match=reason):
        encode_entry(name=name)


@settings(deadline=None)
@given(st.from_regex(r"[a-c._/-]{1,40}", fullmatch=True))
def test_names_are_paths_that_stay_where_they_are(name: str) -> None:
    """No accepted name has an empty part, or one that starts with a dot or dash."""
    try:
        composer_json.check_package_name(name)
    except ComposerJsonError:
        return
    assert len(name.split("/")) == 2
    assert all(part[0].isalnum() for part in name.split("/"))
