"""p2 documents and packages.json: what they name, and in which order."""

import json
from collections.abc import Sequence

import msgspec
import pytest

from pricore.composer import composer_json, metadata
from pricore.errors import ComposerJsonError
from tests.composer.harness import COMMIT, publish, release


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
    branch = metadata.dist_path("Acme/Library", version, COMMIT, movable=True)
    assert f"/packages/acme/library/{expected}/{COMMIT}.zip" == branch
    # a branch may have slashes; a "version" in the composer.json of a tag may be 1.0+/../x
    stable = metadata.dist_path("Acme/Library", version, COMMIT, movable=False)
    assert f"/packages/acme/library/{expected.replace('/', '%2F')}.zip" == stable


def test_a_half_without_versions_is_an_empty_list() -> None:
    """A package that has only branches has a stable half too: a 404 would let others supply the name."""
    expected = {"packages": {"acme/library": []}, "minified": "composer/2.0"}
    assert expected == json.loads(b"".join(metadata.build_document("Acme/Library", [])))


def test_a_document_names_the_archive_of_each_version() -> None:
    """A tag's URL is the version's, into a branch's Composer puts the commit; the host comes when it is served."""
    published = [release("1.0", "1.0.0.0"), release("dev-main", "dev-main")]
    document = json.loads(b"".join(metadata.build_document("acme/library", published)))
    urls = [entry["dist"]["url"] for entry in document["packages"]["acme/library"]]
    path = f"{metadata.BASE}/packages/acme/library"
    assert [f"{path}/1.0.zip", f"{path}/dev-main/%reference%.zip"] == urls


def test_a_replaced_package_says_so_in_each_version() -> None:
    """Who still requires the old name is told the new one, whatever composer.json said of it."""
    published = [publish('{"abandoned": true}', 1), publish('{"name": "acme/library"}', 2)]
    document = json.loads(b"".join(metadata.build_document("acme/library", published, replaced_by="acme/new")))
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
    content = metadata.build_root(packages=["acme/b", "acme/a"], inline=inline)
    root = json.loads(b"".join(metadata.with_base([content], url)))
    assert root["available-packages"] == ["acme/a", "acme/b"]
    assert "available-package-patterns" not in root
    for key in ("metadata-url", "list", "search", "providers-api", "notify-batch"):
        assert root[key].startswith(f"{url}/"), key
    assert root["security-advisories"]["api-url"] == f"{url}/security-advisories"
    assert root["packages"]["acme/library"]["1.0"]["dist"]["url"] == f"{url}/packages/acme/library/1.0.zip"


def test_the_root_of_an_empty_organization_matches_no_name() -> None:
    """An empty list of packages counts as none given: Composer would ask for every public name here."""
    root = json.loads(metadata.build_root(packages=[], inline={}))
    assert "available-packages" not in root
    assert root["available-package-patterns"] == ["-/-"]
    assert root["packages"] == {}
    with pytest.raises(ComposerJsonError):
        composer_json.check_package_name("-/-")


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
    latest = metadata.find_latest(metadata.newest_first(release(*pair) for pair in published))
    assert expected == (latest.version if latest else None)
