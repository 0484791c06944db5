"""Pricore reads constraints as Composer does, and lets through the versions that Composer does."""

import re

import pytest

from pricore.composer import constraints, versions
from tests.composer.texts import (
    HOSTILE,
    NUMBERS,
    OPERATORS,
    SEPARATORS,
    SUFFIXES,
    ask_php,
    random_texts,
    require_oracle,
)

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


def is_valid_constraint(constraint: str) -> bool:
    try:
        constraints.check_constraint(constraint)
    except ValueError:
        return False
    return True


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
            constraints.check_constraint(constraint)


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("end", ["", "\n!", "-dev"])
def test_hostile_text_is_answered(unit: str, end: str) -> None:
    """A constraint of any length and repetition gets an answer: no pattern backtracks out of hand."""
    text = unit * (100_000 // len(unit)) + end

    for limit in (constraints.CONSTRAINT_LIMIT, len(text)):
        is_valid_constraint(text[: limit - len(end)] + end)


def test_a_constraint_beyond_the_limit_is_refused_in_a_short_message() -> None:
    """One of 4,097 characters is invalid, and the error does not repeat all of it."""
    constraints.check_constraint("|".join(["1.*"] * 1024))
    with pytest.raises(ValueError, match=r"^invalid .{,100}\(\d+ characters\)$"):
        constraints.check_constraint("1.0+" + "b" * 4093)


MATCH_ALL = """
    require 'Composer/Semver/autoload.php';
    [$constraints, $versions] = json_decode(stream_get_contents(STDIN));
    $parser = new Composer\\Semver\\VersionParser();
    echo json_encode(array_map(
        fn ($text) => array_map(
            fn ($version) => $parser->parseConstraints($text)->matches(
                new Composer\\Semver\\Constraint\\Constraint('==', $version)
            ),
            $versions
        ),
        $constraints
    ));
"""


def test_a_constraint_lets_through_the_versions_that_composer_lets_through() -> None:
    """Each of many thousand pairs of a constraint and a version is decided as composer/semver decides it."""
    part = (OPERATORS, NUMBERS, SUFFIXES)
    generated = random_texts(4_000, *part, SEPARATORS, *part) + random_texts(1_000, *part)
    texts = [
        text for text in CONSTRAINTS + generated if not re.search(r"\d{4}", text) and is_valid_constraint(text)
    ]
    read = filter(None, map(versions.normalized_or_none, random_texts(400, NUMBERS, SUFFIXES)))
    # of a branch that ends in a separator PHP's order contradicts itself
    compared = sorted({version for version in read if re.fullmatch(r"[^#]*[a-zA-Z0-9]", version)})
    require_oracle(ask_php(SEMVER_IS_THERE, []), "composer/semver for PHP")

    expected = ask_php(MATCH_ALL, [texts, compared])

    assert len(texts) * len(compared) > 10_000
    assert 10_000 < sum(map(sum, expected)) < len(texts) * len(compared) - 10_000
    for text, row in zip(texts, expected, strict=True):
        constraint = constraints.parse_constraint(text)
        answers = {version: constraints.lets_through(constraint, version) for version in compared}
        assert dict(zip(compared, row, strict=True)) == answers, text


@pytest.mark.parametrize(
    ("constraint", "granted"),
    [
        ("*", {"1.0.0.0", "2.0.0.0-beta1"}),
        ("^2.0@beta", {"2.0.0.0-beta1"}),
        ("^1.0 || dev-main", {"1.0.0.0", "dev-main"}),
        ("2.x-dev", {"2.9999999.9999999.9999999-dev"}),
        (">=1.0 <3.0", {"1.0.0.0", "2.0.0.0-beta1"}),
        ("!=1.0", {"2.0.0.0-beta1"}),
        ("dev-main, dev-other", set()),
    ],
)
def test_a_dev_version_is_granted_only_where_it_is_named(constraint: str, granted: set[str]) -> None:
    """2.x-dev is no part of ^2.0, nor of `*`: who may have a branch is told its name."""
    there = ["1.0.0.0", "2.0.0.0-beta1", "2.9999999.9999999.9999999-dev", "dev-main", "dev-other"]
    parsed = constraints.parse_constraint(constraint)

    assert granted == {version for version in there if constraints.grants(parsed, version)}
