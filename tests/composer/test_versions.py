"""Pricore reads versions as Composer does, and orders them as PHP does."""

import json
import random
import re
from pathlib import Path

import pytest

from pricore.composer import versions
from pricore.composer.patterns import VERSION_LIMIT
from tests.composer.texts import HOSTILE, NUMBERS, SUFFIXES, ask_php, random_texts

VECTORS = Path(__file__).parents[1] / "vectors" / "composer-versions.jsonl"

COMPARE_ALL = """
    $versions = json_decode(stream_get_contents(STDIN));
    echo json_encode(array_map(
        fn ($left) => array_map(fn ($right) => version_compare($left, $right), $versions),
        $versions,
    ));
"""


def normalized_or_none(version: str) -> str | None:
    try:
        return versions.normalize(version)
    except ValueError:
        return None


def test_versions_branches_and_stabilities_are_read_as_composer_reads_them() -> None:
    """Every recorded answer of composer/semver is Pricore's answer too."""
    vectors = [json.loads(line) for line in VECTORS.read_text(encoding="utf-8").splitlines()]
    answers = [
        {
            "input": text,
            "normalized": normalized_or_none(text),
            "branch": versions.normalize_branch(text),
            "stability": versions.parse_stability(text),
        }
        for text in (vector["input"] for vector in vectors)
    ]

    assert vectors
    for vector, answer in zip(vectors, answers, strict=True):
        assert vector == answer


@pytest.mark.parametrize(
    ("version", "normalized"),
    [
        ("v1.2", "1.2.0.0"),
        ("1.2.3-b.4", "1.2.3.0-beta4"),
        ("1.0pl1", "1.0.0.0-patch1"),
        ("1.0-stable", "1.0.0.0"),
        ("1.0-rc1-dev", "1.0.0.0-RC1-dev"),
        ("1.0+build.5", "1.0.0.0"),
        ("1.x-dev", "1.9999999.9999999.9999999-dev"),
        ("2023-01-31", "2023.01.31"),
        ("master", "dev-master"),
        ("DEV-Foo", "dev-Foo"),
        ("dev-main as 1.0", "dev-main"),
        ("1.0@beta", "1.0.0.0"),
    ],
)
def test_a_version_has_one_normalized_form(version: str, normalized: str) -> None:
    """However a version is spelled, Composer's normalized form is what it is compared by."""
    assert normalized == versions.normalize(version)


@pytest.mark.parametrize(
    "version", ["", "latest", "1.0.0.0.0", "foo-dev", "1.2.x", "\u0967.0", "1.0\u00a0", "1.0-\u017ftable"]
)
def test_an_invalid_version_is_refused_by_name(version: str) -> None:
    """The error for an invalid version quotes it; digits and letters of other alphabets are none."""
    with pytest.raises(ValueError, match=rf'^invalid version string "{re.escape(version)}"$'):
        versions.normalize(version)


@pytest.mark.parametrize(
    ("version", "stability"),
    [
        ("1.0", "stable"),
        ("1.0-patch1", "stable"),
        ("1.0RC1", "RC"),
        ("1.0-b2+build", "beta"),
        ("1.0.0.0-alpha", "alpha"),
        ("1.x-dev#abc", "dev"),
        ("dev-main", "dev"),
        ("1.0-beta\n", "beta"),
        ("1.0-beta#c\n#d", "stable"),
    ],
)
def test_a_version_tells_its_stability(version: str, stability: str) -> None:
    """The stability is read from the spelling, without commit and build metadata."""
    assert stability == versions.parse_stability(version)


@pytest.mark.parametrize(
    ("branch", "prefix"),
    [
        ("2.1.x-dev", "2.1."),
        ("2-dev", "2."),
        ("2.X-DEV", "2."),
        ("dev-main", None),
        ("2.1", None),
        ("v2.x-dev", None),
    ],
)
def test_a_numeric_branch_alias_has_a_numeric_prefix(branch: str, prefix: str | None) -> None:
    """Only plain numbers before "-dev" or ".x-dev" count as a numeric alias."""
    assert prefix == versions.parse_numeric_alias_prefix(branch)


def test_dev_versions_are_those_that_move_with_a_branch() -> None:
    """Named and numeric branches are dev versions, pre-releases are not."""
    assert versions.is_dev("dev-main")
    assert versions.is_dev("1.9999999.9999999.9999999-dev")
    assert not versions.is_dev("1.0.0.0-beta1")


def test_versions_are_ordered_as_php_orders_them() -> None:
    """Every pair of versions compares as PHP's version_compare says."""
    read = map(normalized_or_none, random_texts(6_000, NUMBERS, SUFFIXES, SUFFIXES))
    # PHP finds a name that ends in a separator smaller than itself, and "#" equal to every number.
    consistent = [version for version in read if version and re.fullmatch(r"[^#]*[a-zA-Z0-9]", version)]
    huge = ["1.2147483648", "1.9223372036854775807", "1.9223372036854775808", "1.99999999999999999999"]
    keys = {version: versions.sort_key(version) for version in consistent + huge}

    expected = ask_php(COMPARE_ALL, list(keys))

    assert len(keys) > 300
    for (version, key), row in zip(keys.items(), expected, strict=True):
        answers = [(key > other) - (key < other) for other in keys.values()]
        assert dict(zip(keys, row, strict=True)) == dict(zip(keys, answers, strict=True)), version


def test_a_release_comes_after_its_prereleases_and_before_its_patches() -> None:
    """Stabilities order before numbers end: unknown names, dev, alpha, beta, RC, release, patch."""
    ordered = [
        *("1.0.0.0-stable", "1.0.0.0-dev", "1.0.0.0-alpha1", "1.0.0.0-beta2", "1.0.0.0-beta10", "1.0.0.0-RC1"),
        *("1.0.0.0", "1.0.0.0-patch1", "1.0.1.0", "1.9999999.9999999.9999999-dev", "2.0.0.0-dev"),
    ]

    assert ordered == sorted(random.Random(1).sample(ordered, len(ordered)), key=versions.sort_key)


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("end", ["", "\n!", "-dev"])
def test_hostile_text_is_answered(unit: str, end: str) -> None:
    """Text of any length and repetition gets an answer: no pattern backtracks out of hand, nothing recurses."""
    text = unit * (100_000 // len(unit)) + end

    for limit in (VERSION_LIMIT, len(text)):
        start = text[: limit - len(end)] + end
        normalized_or_none(start)
        versions.normalize_branch(start)
        versions.parse_stability(start)
        versions.parse_numeric_alias_prefix(start)
        versions.sort_key(start)


def test_text_beyond_the_limit_is_refused_in_a_short_message() -> None:
    """A version of 256 characters is invalid, and the error does not repeat all of it."""
    versions.normalize("1.0+" + "b" * 251)
    with pytest.raises(ValueError, match=r"^invalid .{,100}\(\d+ characters\)$"):
        versions.normalize("1.0+" + "b" * 252)
