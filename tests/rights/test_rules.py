"""Rules say which packages and versions somebody has, and what is wrong in them is told by name."""

import re
import tracemalloc
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricore.composer.constraints import grants, parse_constraint
from pricore.composer.versions import normalize
from pricore.errors import InvalidError
from pricore.rights.rules import Condition, Rule, RuleSet, parse_rule
from pricore.rights.visibility import ALL, WHOLE, Rights
from tests.rules import layers, rights

PACKAGES = ["acme/lib", "acme/lib-extra", "acme/plugin", "beta/lib"]
VERSIONS = [
    *map(normalize, ["1.0.0", "1.5.0", "2.0.0", "2.1.0-beta1"]),
    "dev-main",
    "2.9999999.9999999.9999999-dev",
]
TIMES = [None, 100, 200]

PATTERNS = ["acme/lib", "acme/lib*", "acme/lib-*", "acme/*", "acme/plugin", "beta/*", "beta/lib"]
CONSTRAINTS = ["", "^1.0", "^2.0@beta", "dev-main", "^1.0 || 2.x-dev", "*", "<1.2"]
rules = st.builds(
    Rule, st.sampled_from(PATTERNS), st.builds(Condition, st.sampled_from(CONSTRAINTS), st.sampled_from([0, 150]))
)
sets = st.lists(st.lists(rules, max_size=5).map(tuple), max_size=3).map(tuple)


@pytest.mark.parametrize(
    ("text", "pattern", "constraint"),
    [
        ("acme/lib", "acme/lib", ""),
        ("Acme/Lib", "acme/lib", ""),
        ("acme/*", "acme/*", ""),
        ("acme/lib-*", "acme/lib-*", ""),
        ("acme/plugin:^2.1", "acme/plugin", "^2.1"),
        (" acme/* : >=1.0 <2.0 || dev-main ", "acme/*", ">=1.0 <2.0 || dev-main"),
    ],
)
def test_a_rule_is_read_as_it_is_typed(text: str, pattern: str, constraint: str) -> None:
    """Names are in lower case, as they are in URLs; blanks around the colon don't matter."""
    assert parse_rule(text, before=5) == Rule(pattern, Condition(constraint, 5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("*", "'*' is everything: leave the rule out"),
        ("*/*", "is everything"),
        ("*/lib", "is no pattern such as acme/*"),
        ("acme/*-lib", "is no pattern such as acme/*"),
        ("ac*/lib", "is no pattern such as acme/*"),
        ("acme*", "is no pattern such as acme/*"),
        ("acme", "is not a package name"),
        ("acme/lib:^x", 'invalid version constraint "^x"'),
        ("acme/lib:", "no constraint behind the colon"),
        ("acme/*:latest greatest", "invalid version constraint"),
        ("", "is not a package name"),
    ],
)
def test_what_is_no_rule_is_refused_by_name(text: str, message: str) -> None:
    """One line says which rule, and what is wrong with it."""
    with pytest.raises(InvalidError, match=re.escape(message)) as caught:
        parse_rule(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.field == "packages"


def test_the_most_specific_rule_decides() -> None:
    """A name is more than a pattern, a longer pattern more than a shorter one; of equals any suffices."""
    seen = rights("acme/*", "acme/lib:^1", "acme/lib:dev-main", "acme/lib-*:^2")

    def shown(package: str) -> Any:
        view = seen.view(package)
        return view and {version for version in VERSIONS if view.admits(version, None)}

    assert shown("acme/plugin") == set(VERSIONS)
    assert shown("acme/lib") == {"1.0.0.0", "1.5.0.0", "dev-main"}
    assert shown("acme/lib-extra") == {"2.0.0.0", "2.1.0.0-beta1"}
    assert shown("beta/lib") is None


@given(sets)
def test_every_set_has_to_let_a_version_through(given_sets: tuple[tuple[Rule, ...], ...]) -> None:
    """What is seen is what each set alone would show: by the most specific rules, of which any suffices."""
    seen = Rights(given_sets, sources=False)
    for package in PACKAGES:
        choices = [
            [rule for rule in own if _weight(rule) == max(map(_weight, own))]
            for own in ([rule for rule in each if _covers(rule, package)] for each in given_sets)
        ]
        view = seen.view(package)
        assert (view is None) == any(not own for own in choices)
        for version, at in product(VERSIONS, TIMES) if view is not None else ():
            expected = all(any(_admits(rule, version, at) for rule in own) for own in choices)
            assert view is not None
            assert view.admits(version, at) == expected


def _covers(rule: Rule, package: str) -> bool:
    return re.fullmatch(re.escape(rule.pattern).replace(r"\*", ".*"), package) is not None


def _weight(rule: Rule) -> tuple[bool, int]:
    return rule.is_name, len(rule.pattern)


def _admits(rule: Rule, version: str, at: int | None) -> bool:
    constraint, before = rule.condition.constraint, rule.condition.before
    in_time = not before or (at is not None and at < before)
    return in_time and (not constraint or grants(parse_constraint(constraint), version))


@given(sets, sets)
def test_what_is_within_shows_no_more(
    one: tuple[tuple[Rule, ...], ...], other: tuple[tuple[Rule, ...], ...]
) -> None:
    """Who is called narrower sees nothing that the other doesn't."""
    narrow, wide = Rights(one), Rights(other)
    if not narrow.is_within(wide):
        return
    for package in PACKAGES:
        view, theirs = narrow.view(package), wide.view(package)
        if view is not None:
            assert theirs is not None
            for version, at in product(VERSIONS, TIMES):
                assert not view.admits(version, at) or theirs.admits(version, at)


def test_who_sees_the_same_by_the_same_rules_shares_what_is_kept() -> None:
    """Documents are kept by what is left of them, packages.json by the rules; the whole has no name."""
    assert Rights().key is None
    assert Rights().view("acme/lib") == WHOLE
    assert WHOLE.key is None
    one, other = rights("acme/lib:^1"), rights("acme/*:^1")
    assert one.key != other.key
    assert one.view("acme/lib") == other.view("acme/lib") != None  # noqa: E711
    assert rights("acme/lib").view("acme/lib") != WHOLE  # it has no source
    assert Rights(layers(["acme/lib"]), sources=True).view("acme/lib") == WHOLE
    changed = Rights(layers(["acme/lib:^1"]), sources=False, since=7)
    assert changed.key != one.key
    assert changed.view("acme/lib") != one.view("acme/lib")


def test_no_rule_about_a_package_is_no_condition_on_it() -> None:
    """None means that there is no such package; no condition means all of its versions."""
    assert RuleSet([]).decide("acme/lib") is None
    assert RuleSet([Rule("beta/*")]).decide("acme/lib") is None
    assert RuleSet([Rule("acme/*")]).decide("acme/lib") == ()
    assert RuleSet([Rule("acme/*", Condition("^1")), Rule("acme/*")]).decide("acme/lib") == ()


def test_what_clients_ask_for_is_not_remembered_for_ever() -> None:
    """Names that somebody makes up, and long ones, take no room that others need."""
    seen = rights("acme/*")
    tracemalloc.start()
    try:
        for number in range(20_000):
            for rights_of in (seen, ALL):
                rights_of.view(f"acme/{number}{'x' * 200}")
                rights_of.view(f"other/{number}{'x' * 200}")
        seen.view("acme/" + "x" * 1_000_000)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000
