"""Pricore reads versions, tags, branches and constraints as Composer does, and orders versions as PHP does."""

import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pricore.composer import versions

VECTORS = Path(__file__).parents[1] / "vectors" / "composer-versions.jsonl"

# PHP finds composer/semver on its include path, where distributions put it.
SEMVER_IS_THERE = """
    echo json_encode((bool) stream_resolve_include_path('Composer/Semver/autoload.php'));
"""

ARE_CONSTRAINTS = """
    require 'Composer/Semver/autoload.php';
    $parser = new Composer\\Semver\\VersionParser();
    $valid = [];
    foreach (json_decode(stream_get_contents(STDIN)) as $constraint) {
        try {
            $parser->parseConstraints($constraint);
            $valid[] = true;
        } catch (UnexpectedValueException $e) {
            $valid[] = false;
        }
    }
    echo json_encode($valid);
"""

COMPARE_ALL = """
    $versions = json_decode(stream_get_contents(STDIN));
    echo json_encode(array_map(
        fn ($left) => array_map(fn ($right) => version_compare($left, $right), $versions),
        $versions,
    ));
"""

CONSTRAINTS = [
    *("", " ", "*", "x", "v*", "*.*", "x.X.*", "v", "self.version", "latest", "master", "trunk", "1"),
    *("1.", ".1", "^1.2", "^v1.2", "^ 1.2", "^", "^^1", "^1.x-dev", "^1.2.3.4.5", "^1.0-beta.2"),
    *("^1.0@dev", "^20230131", "^x", "~1.2", "~>1.2", "~> 1.2", "~", "~1.x", "~1.x-dev", "~2.1.x-dev"),
    *("~1.2.3.4.x-dev", "~1-", "~123456789", "1.*", "1.x", "v1.*", "V1.*", "1.*.*", "1.2.3.*"),
    *("1.2.3.4.*", "1.*.2", "20230131.*", "1.*-dev", "1.*@beta", "1.0 - 2.0", "1.0-2.0", "1.0 -2.0"),
    *("1.0  -  2", "v1 - v2", "1.0 - 2.x", "1.0-beta - 2.0-dev", "1 - 2 - 3", "1.0 - 2.0 || 3.0 - 4.0"),
    *("1.0 - 999999", "1.x-dev - 2.x-dev", "^1 - 2", "1.0 - 2.0, <3", "1.0+b - 2.0+b", ">=1.0"),
    *(">= 1.0", "=>1.0", "=1", "==1", "===1", "<>1", "><1", "!=1", "!1", "<", ">=dev-main", ">=1.0-dev"),
    *(">=1.0 <2.0", ">=1.0,<2.0", ">=1.0 , <2.0", ">=1.0,,<2.0", ">=1.0,", ",>=1.0", "> = 1.0"),
    *(">=1.0 as 2.0", "^7.4 || ^8.0", "^7.4|^8.0", "^7.4|||^8.0", "||^8.0", "^7.4||", "|"),
    *("^7.4 | | ^8.0", " ^7.4\t||\n^8.0 ", "dev-main", "dev-", "DEV-main", "main-dev", "feature/x-dev"),
    *("fea ture-dev", "-dev", ">foo-dev", "a_b-dev", "dev-main#abc", "dev-main#", "dev-main#a b"),
    *("1.x-dev#abc", "1.0#abc", "dev-a,b", "dev-a,1", "dev-a b", "dev-a|b", "dev-main as 1.0"),
    *("dev-main as", "as 1.0", "1.0 as 2.0 as 3.0", "dev-main as 1.0.x-dev", "1.0 as  2.0", "1as2"),
    *("@dev", "@stable", "@foo", "@", "1.0@", "1.0@dev", "1.0@DEV", "1.0@dev@beta", ">=1.0@RC"),
    *("dev-main@dev", "a@dev", "1.0-stable", "1.0-STABLE2", "1.0.dev", "1.0--dev", "1.0-rc.1"),
    *("1.0-p1.2.3", "1.0b", "1.0c", "1.0-b-1", "1.0_a", "2023-01-31", "2023-01-31 - 2024.01.31"),
    *("^2023.01.31", "~20230131", "<20230131-beta", "202301", "1.0+build", "1.0+build+b", "1.0+"),
    *("^1.0+build", "1.0-beta+5 <2", "1.0\n", "1.0\n@dev", "^1.0\nfoo", "1.0\nfoo", "\u0967.\u0966"),
    *("^1.\u0966", "1.0\u00a0||2.0", "1.0\u2003<2", "\f1.0", "1.0\f||2", "\0001.0\000", "deV-\u212a"),
    "1.0-\u017ftable",
]

OPERATORS = [
    *("", "", "^", "~", ">=", ">", "<", "<=", "=", "==", "!=", "<>", "~>", "!", "^ ", ">= ", "v"),
]

NUMBERS = [
    *("1", "0", "2.0", "1.2.3", "1.10.0.4", "v1", "V2.0", "01.02", "999", "*", "x", "1.*", "2.x"),
    *("dev-main", "develop", "dev-feature/x", "1.0.0.0.0", "main", ""),
]

SUFFIXES = [
    *("", "", "-beta", "-b2", "-RC1", "-rc.10", "a1", ".alpha", "_a-1", ".pl.2", "p", "-patch-3"),
    *("-stable", "-STABLE2", "-dev", ".dev", ".x-dev", ".*", "~2", "é", "/x", "#abc", "@dev", "@stable"),
    *("@rc", "@", "+build", "+b.1 ", "", " as 2.0"),
]

SEPARATORS = [
    *(" ", "  ", ",", ", ", " , ", "|", "||", " || ", " - ", " - ", "-", " as ", "\n", "\t||", "", ",,"),
]

HOSTILE = [
    *("1", "1.", ".1", " ", "\n", "|", "||", " | ", ",", ", ", "-", "^1 ", "~1,", "1 - ", "x.", "*"),
    *("dev", "-dev", "dev-#", "#", "#\n", ".x-dev#", "@dev", "@", "+", "+\n", "a1.", "p1", "1 as "),
    *("20", "<", "\000", "é", "1.9999999"),
]


def require_oracle(is_there: bool, name: str) -> None:
    """Skip the test where what it compares with is missing; fail instead under PRICORE_TEST_STRICT=1."""
    if not is_there:
        (pytest.fail if os.environ.get("PRICORE_TEST_STRICT") == "1" else pytest.skip)(f"{name} is not there")


def ask_php(script: str, question: list[str]) -> Any:
    """Run a PHP script on a JSON list and return the JSON that it answers."""
    require_oracle(shutil.which("php") is not None, "php")
    done = subprocess.run(
        ["php", "-r", script], input=json.dumps(question), capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


def random_texts(count: int, *slots: list[str]) -> list[str]:
    """Return texts with a piece out of each slot, the same in every run."""
    chance = random.Random(20240229)
    return ["".join(map(chance.choice, slots)) for _ in range(count)]


def is_valid_constraint(constraint: str) -> bool:
    try:
        versions.check_constraint(constraint)
    except ValueError:
        return False
    return True


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


def test_constraints_are_valid_exactly_where_composer_parses_them() -> None:
    """Composer's own parser accepts and refuses the same constraints, odd spellings included."""
    part = (OPERATORS, NUMBERS, SUFFIXES)
    mixture = [*OPERATORS, *NUMBERS, *SUFFIXES, *SEPARATORS]
    generated = random_texts(6_000, *part, SEPARATORS, *part) + random_texts(3_000, *[mixture] * 4)
    # Four digits may begin a date, of which semver 3.4 reads more than the 3.3 that distributions have.
    constraints = CONSTRAINTS + [text for text in generated if not re.search(r"\d{4}", text)]
    require_oracle(ask_php(SEMVER_IS_THERE, []), "composer/semver for PHP")

    expected = dict(zip(constraints, ask_php(ARE_CONSTRAINTS, constraints), strict=True))

    assert 1_000 < sum(expected.values()) < len(expected) - 1_000
    assert expected == {constraint: is_valid_constraint(constraint) for constraint in constraints}


@pytest.mark.parametrize("constraint", ["latest", "~> 1.2", "^1.2 || ", ">=1.0,,<2.0", "self.version"])
def test_an_invalid_constraint_is_refused_by_name_each_time(constraint: str) -> None:
    """The error for an invalid constraint quotes the whole constraint, also when it is asked for again."""
    for _ in range(2):
        with pytest.raises(ValueError, match=rf'^invalid version constraint "{re.escape(constraint)}"$'):
            versions.check_constraint(constraint)


@pytest.mark.parametrize(
    ("branch", "pretty", "normalized"),
    [
        ("main", "dev-main", "dev-main"),
        ("master", "dev-master", "dev-master"),
        ("feature/login", "dev-feature/login", "dev-feature/login"),
        ("1.x", "1.x-dev", "1.9999999.9999999.9999999-dev"),
        ("2.0", "2.0.x-dev", "2.0.9999999.9999999-dev"),
        ("2.1.0", "2.1.0.x-dev", "2.1.0.9999999-dev"),
        ("v2.0", "v2.0.x-dev", "2.0.9999999.9999999-dev"),
        ("V2", "2.x-dev", "2.9999999.9999999.9999999-dev"),
        ("1.2.3.4", "1.2.3.4-dev", "1.2.3.4-dev"),
        ("1.0-beta", "dev-1.0-beta", "dev-1.0-beta"),
        ("dev-main", "dev-dev-main", "dev-dev-main"),
        ("fix#12", "dev-fix+12", "dev-fix+12"),
    ],
)
def test_a_branch_is_named_as_composer_names_it(branch: str, pretty: str, normalized: str) -> None:
    """No branch is ever a release: "2.0" is 2.0.x-dev, "1.x" is 1.x-dev, and a name gets its dev- prefix."""
    assert (pretty, normalized) == versions.branch_version(branch)
    assert versions.is_dev(normalized)


@pytest.mark.parametrize("branch", ["a,b", "a||b", "one two", "feature/x,y"])
def test_a_branch_that_no_constraint_can_name_is_refused(branch: str) -> None:
    """A branch name that reads as two constraints is invalid, and the error quotes it."""
    with pytest.raises(ValueError, match=rf'^invalid branch name "{re.escape(branch)}"$'):
        versions.branch_version(branch)


@pytest.mark.parametrize(
    ("tag", "declared", "pretty", "normalized"),
    [
        ("v1.2.3", None, "v1.2.3", "1.2.3.0"),
        ("1.0.0", None, "1.0.0", "1.0.0.0"),
        ("release-1.0", None, "1.0", "1.0.0.0"),
        ("v1.0release-", None, "v1.0", "1.0.0.0"),
        ("1.0+build.5", None, "1.0+build.5", "1.0.0.0"),
        ("v1.0-RC1", None, "v1.0-RC1", "1.0.0.0-RC1"),
        ("v1.0", "1.0.0", "1.0.0", "1.0.0.0"),
        ("v1.0", "v1.0-dev", "v1.0", "1.0.0.0"),
        ("v1.0", "1.0.dev", "1.0", "1.0.0.0"),
    ],
)
def test_a_tag_is_named_as_composer_names_it(tag: str, declared: str | None, pretty: str, normalized: str) -> None:
    """The pretty version keeps its "v", since lock files hold it; only "release-" and dev suffixes go."""
    assert (pretty, normalized) == versions.tag_version(tag, declared)


@pytest.mark.parametrize(
    ("tag", "declared", "reason"),
    [
        ("latest", None, 'invalid tag name "latest"'),
        ("release-", None, 'invalid tag name ""'),
        ("dev-main", None, 'invalid tag name "dev-main": tags can not use dev prefixes or suffixes'),
        ("master", None, 'invalid tag name "master": tags can not use dev prefixes or suffixes'),
        ("1.0-dev", None, 'invalid tag name "1.0-dev": tags can not use dev prefixes or suffixes'),
        ("1.x-dev", "1.0", 'invalid tag name "1.x-dev": tags can not use dev prefixes or suffixes'),
        ("dev-main", "dev-dev-main", 'invalid tag name "dev-main": tags can not use dev prefixes or suffixes'),
        ("1.0", "one", 'composer.json: invalid version string "one"'),
        ("1.0", "", 'composer.json: invalid version string ""'),
        ("v1.1", "1.0", 'tag "v1.1" does not match version "1.0" in composer.json'),
        ("20230131", "2023.01.31", 'tag "20230131" does not match version "2023.01.31" in composer.json'),
        ("1.0", "1.0-beta", 'tag "1.0" does not match version "1.0-beta" in composer.json'),
    ],
)
def test_a_tag_that_is_no_release_is_refused_with_a_reason(tag: str, declared: str | None, reason: str) -> None:
    """The operator reads why a tag gave no version, with the names on both sides of a contradiction."""
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        versions.tag_version(tag, declared)


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

    for limit in (versions.VERSION_LIMIT, versions.CONSTRAINT_LIMIT, len(text)):
        start = text[: limit - len(end)] + end
        normalized_or_none(start)
        is_valid_constraint(start)
        versions.normalize_branch(start)
        versions.parse_stability(start)
        versions.parse_numeric_alias_prefix(start)
        versions.sort_key(start)


def test_text_beyond_the_limits_is_refused_in_a_short_message() -> None:
    """A version of 256 or a constraint of 4,097 characters is invalid, and the error does not repeat all of it."""
    versions.normalize("1.0+" + "b" * 251)
    versions.check_constraint("|".join(["1.*"] * 1024))
    for refuse in (versions.normalize, versions.check_constraint, versions.branch_version, versions.tag_version):
        with pytest.raises(ValueError, match=r"^invalid .{,100}\(\d+ characters\)$"):
            refuse("1.0+" + "b" * 4093)
