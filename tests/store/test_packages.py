"""A package belongs to one repository, and is two documents."""

from pathlib import Path

import pytest

from pricore.errors import ConflictError
from pricore.models import Organization, Repository
from pricore.store import Store
from tests.store.harness import document, everything, follow, publish, released, served


async def test_a_package_of_another_repository_is_refused(
    path: Path, store: Store, acme: Organization, repository: Repository
) -> None:
    """Whoever supplies a name first keeps it: the second is told who, and nothing of its sync is kept."""
    await publish(store, repository, released())
    second = await follow(store, acme, "second")
    before = everything(path)
    with pytest.raises(ConflictError) as caught:
        await publish(store, second, released(package="acme/second"), released("2.0.0", package="ACME/library"))

    expected = (
        "the package acme/library comes from https://git.example.com/library already; "
        "remove that repository first, or rename this package"
    )
    assert expected == str(caught.value)
    assert before == everything(path)


async def test_equal_names_in_two_organizations_are_two_packages(
    store: Store, repository: Repository, other: Organization
) -> None:
    """One organization's packages are nothing to another's."""
    await publish(store, repository, released())
    await publish(store, await follow(store, other, "library"), released("2.0.0"))
    found = await store.documents.find("other", "acme/library", "stable")
    assert found is not None

    assert served(await document(store, "stable")) == ["1.0.0"]
    assert served(found) == ["2.0.0"]


async def test_a_package_without_one_half_has_an_empty_one(store: Store, repository: Repository) -> None:
    """Both halves of a package are documents, and a package that isn't there has none."""
    await publish(store, repository, released())

    assert served(await document(store, "dev")) == []
    assert await store.documents.find("acme", "acme/missing", "stable") is None
