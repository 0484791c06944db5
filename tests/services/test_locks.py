"""Which packages in a lock file come from this registry is read off the URLs of their archives."""

import pytest

from pricore.services.lock_files import LockedDist, LockedEntry, LockFile, packages_of

SHA1 = "a" * 40
BASE = "https://packages.example.com"


def found(*urls: str, public_url: str = "") -> list[tuple[str, str, str]]:
    """The organization, package and address of each archive that counts."""
    lock = LockFile([LockedEntry("a/b", "1.0.0", LockedDist(url, SHA1)) for url in urls])
    return [(item.organization, item.package, item.address) for item in packages_of(lock, public_url=public_url)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/org/acme/packages/acme/library/1.0.0.zip", ("acme", "acme/library", "1.0.0")),
        (f"/org/acme/packages/acme/library/dev-main/{SHA1}.zip", ("acme", "acme/library", f"dev-main/{SHA1}")),
        ("/org/acme/packages/Acme/Library/dev-a%2Fb.zip", ("acme", "acme/library", "dev-a/b")),
        ("/org/acme/packages/acme/library/a/b/c.zip.zip", ("acme", "acme/library", "a/b/c.zip")),
        (
            f"/org/{'a' * 64}/packages/{'b' * 200}/{'c' * 200}/{'1' * 500}.zip",
            ("a" * 64, f"{'b' * 200}/{'c' * 200}", "1" * 500),
        ),
    ],
)
def test_the_url_of_an_archive_says_whose_it_is(path: str, expected: tuple[str, str, str]) -> None:
    """Organization, package and address stand in the URL, whether the registry knows its own or not."""
    assert found(f"{BASE}{path}") == [expected]
    assert found(f"{BASE}/below{path}") == [expected]
    assert found(f"{BASE}{path}", public_url=BASE) == [expected]
    assert found(f"{BASE}/below{path}", public_url=f"{BASE}/below") == [expected]
    assert found(f"{BASE}/below{path}", public_url=BASE) == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/org/acme/packages/acme/library/1.0.0.zip",
        "ftp://example.com/org/acme/packages/acme/library/1.0.0.zip",
        "https://org/acme/packages/acme/library/1.0.0.zip",
        f"{BASE}/org/acme/packages/acme/library/1.0.0.zip?x",
        f"{BASE}/org/acme/packages/acme/library/1.0.0.zip#x",
        f"{BASE}/org/acme/packages/acme/library/1.0.0.tar",
        f"{BASE}/org/acme/packages/acme/library/.zip",
        f"{BASE}/org/acme/packages/acme/library.zip",
        f"{BASE}/org/acme/packages/acme//1.0.0.zip",
        f"{BASE}/org/Acme/packages/acme/library/1.0.0.zip",
        f"{BASE}/org/acme/package/acme/library/1.0.0.zip",
        f"{BASE}/org/{'a' * 65}/packages/acme/library/1.0.0.zip",
        f"{BASE}/org/acme/packages/{'a' * 201}/library/1.0.0.zip",
        f"{BASE}/org/acme/packages/acme/library/{'1' * 501}.zip",
    ],
)
def test_any_other_url_counts_for_nothing(url: str) -> None:
    """What is no archive's URL of a registry like this one is passed over."""
    assert found(url) == found(url, public_url=BASE) == []


def test_the_first_place_of_the_form_counts() -> None:
    """A registry may be below a path that looks like an archive's, and an address may look like one as well."""
    path = "/org/acme/packages/acme/library/1.0.0"
    assert found(f"{BASE}{path}{path}.zip") == [("acme", "acme/library", f"1.0.0{path}")]
    assert found(f"{BASE}/org{path}.zip") == [("acme", "acme/library", "1.0.0")]


@pytest.mark.parametrize("end", [".zip", ".tar", ".zip?", f"/{'1' * 501}.zip"])
def test_the_time_for_a_url_grows_with_its_length_alone(end: str) -> None:
    """A URL that begins to be an archive's at each of its parts is looked through once.

    A megabyte of it would take days if it were tried from each part to the end.
    """
    url = f"{BASE}{'/org/a/packages/a/b' * 50_000}{end}"
    assert len(found(url)) <= 1
    assert found(url, public_url=BASE) == []
