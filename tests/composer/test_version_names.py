"""Tags, branches and uploads make the versions that they make in Composer."""

import re

import pytest

from pricore.composer.version_names import branch_version, tag_version
from pricore.composer.versions import is_dev


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
    assert (pretty, normalized) == branch_version(branch)
    assert is_dev(normalized)


@pytest.mark.parametrize("branch", ["a,b", "a||b", "one two", "feature/x,y"])
def test_a_branch_that_no_constraint_can_name_is_refused(branch: str) -> None:
    """A branch name that reads as two constraints is invalid, and the error quotes it."""
    with pytest.raises(ValueError, match=rf'^invalid branch name "{re.escape(branch)}"$'):
        branch_version(branch)


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
    assert (pretty, normalized) == tag_version(tag, declared)


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
        tag_version(tag, declared)


def test_a_tag_beyond_the_limit_is_refused_in_a_short_message() -> None:
    """A name of more than 255 characters is invalid, and the error does not repeat all of it."""
    for refuse in (branch_version, tag_version):
        with pytest.raises(ValueError, match=r"^invalid .{,100}\(\d+ characters\)$"):
            refuse("1.0+" + "b" * 4093)
