"""Last-Modified moves with every change of a document, and only then."""

import hashlib
from itertools import pairwise
from pathlib import Path

import pytest

from pricore.composer import metadata
from pricore.models import Organization, Repository
from pricore.rights.visibility import ALL
from pricore.store import Store
from pricore.system.clock import now
from tests.rules import rights
from tests.store.harness import OTHER_COMMIT, dates, document, follow, make_earlier, publish, released, served


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> int:
    """The one second in which everything happens."""
    moment = now()
    for table in ("documents", "organizations", "publishing", "repositories", "views"):
        monkeypatch.setattr(f"pricore.tables.{table}.now", lambda: moment)
    return moment


inline_or_not = pytest.mark.parametrize("limit", [0, 64 * 1024])


@inline_or_not
async def test_two_changes_within_a_second_have_two_dates(
    frozen: int, store: Store, repository: Repository, limit: int
) -> None:
    """Every change of a document moves its Last-Modified forward, however fast they come."""
    await store.organizations.apply_settings(public_url="", inline_limit=limit)
    seen = []
    for number in range(4):
        await publish(store, repository, released(f"1.{number}.0"), released("dev-main", description=str(number)))
        seen.append(await dates(store))

    for name in ("root", "stable", "dev") if limit else ("stable", "dev"):
        moments = [moment[name] for moment in seen]
        assert sorted(set(moments)) == moments
        assert frozen <= moments[0]


@inline_or_not
async def test_a_removal_moves_the_date(frozen: int, store: Store, repository: Repository, limit: int) -> None:
    """A document that lost a version is a new one to every client."""
    await store.organizations.apply_settings(public_url="", inline_limit=limit)
    await publish(store, repository, released("dev-main"), released("dev-old"))
    before = await dates(store)
    await publish(store, repository, removed=[("acme/library", "dev-old")])
    after = await dates(store)

    assert served(await document(store, "dev")) == ["dev-main"]
    assert before["dev"] < after["dev"]
    assert (before["root"] < after["root"]) == (limit > 0)


@inline_or_not
async def test_a_deletion_moves_the_date(
    frozen: int, store: Store, acme: Organization, repository: Repository, limit: int
) -> None:
    """A document that lost a version on purpose is a new one, and so is packages.json where it shows there."""
    await store.organizations.apply_settings(public_url="", inline_limit=limit)
    await publish(store, repository, released("1.0.0"), released("1.1.0"), released("dev-main"))
    before = await dates(store)
    package = await store.packages.get(acme, "acme/library")
    await store.packages.delete_version(acme, package, "1.1.0")
    after = await dates(store)

    assert served(await document(store, "stable")) == ["1.0.0"]
    assert (before["stable"] < after["stable"], before["dev"]) == (True, after["dev"])
    assert (before["root"] < after["root"]) == (limit > 0)


@inline_or_not
async def test_what_was_deleted_comes_back_with_a_new_date(
    frozen: int, store: Store, acme: Organization, repository: Repository, limit: int
) -> None:
    """A package that is deleted and published again never has a date that its old documents had."""
    await store.organizations.apply_settings(public_url="", inline_limit=limit)
    for number in range(3):
        await publish(store, repository, released(description=str(number)), released("dev-main"))
    before = await dates(store)
    await store.packages.delete(acme, await store.packages.get(acme, "acme/library"))
    await publish(store, repository, released(reference=OTHER_COMMIT))
    after = await dates(store)

    for name in ("root", "stable", "dev"):
        assert max(before["stable"], before["dev"], before[name]) < after[name]


async def test_a_half_that_did_not_change_keeps_its_date(store: Store, repository: Repository) -> None:
    """A push to a branch costs nobody the released versions again, nor does a sync that changes nothing."""
    await publish(store, repository, released(), released("dev-main"))
    before = await dates(store)
    await publish(store, repository, released("dev-main", reference=OTHER_COMMIT))
    pushed = await dates(store)
    await publish(store, repository, released(), released("dev-main", reference=OTHER_COMMIT))

    assert before["stable"] == pushed["stable"]
    assert before["dev"] < pushed["dev"]
    after = await dates(store)
    assert (pushed["stable"], pushed["dev"]) == (after["stable"], after["dev"])


async def test_the_root_keeps_its_date_where_it_shows_no_versions(store: Store, repository: Repository) -> None:
    """packages.json without versions inside changes only when a name comes or goes."""
    await store.organizations.apply_settings(public_url="", inline_limit=0)
    await publish(store, repository, released())
    first = (await dates(store))["root"]
    await publish(store, repository, released("1.1.0"))
    same = (await dates(store))["root"]
    await publish(store, repository, released(package="acme/other"))

    assert first == same
    assert first < (await dates(store))["root"]


@inline_or_not
async def test_what_comes_back_within_a_second_has_a_new_date(
    frozen: int, store: Store, acme: Organization, repository: Repository, limit: int
) -> None:
    """A package that is removed and added again never has a date that its old documents had."""
    await store.organizations.apply_settings(public_url="", inline_limit=limit)
    for number in range(3):
        await publish(store, repository, released(description=str(number)), released("dev-main"))
    before = await dates(store)
    await store.repositories.remove(repository)
    await publish(store, await follow(store, acme, "library"), released("2.0.0"))
    after = await dates(store)

    for name in ("root", "stable", "dev"):
        assert max(before["stable"], before["dev"], before[name]) < after[name]


async def test_a_new_public_url_moves_every_date(store: Store, repository: Repository) -> None:
    """The public URL is part of every document: when it changes, no client goes on with the old one."""
    await store.organizations.apply_settings(public_url="", inline_limit=1000)
    await publish(store, repository, released())
    before, revision = await dates(store), store.revision()
    await store.organizations.apply_settings(public_url="https://packages.example.com", inline_limit=1000)
    after = await dates(store)

    assert all(before[name] < after[name] for name in before)
    assert revision < store.revision()


async def test_equal_settings_move_no_date(store: Store, repository: Repository) -> None:
    """A restart with the settings of before costs no client anything."""
    await store.organizations.apply_settings(public_url="https://packages.example.com", inline_limit=1000)
    await publish(store, repository, released())
    before, revision = await dates(store), store.revision()
    await store.organizations.apply_settings(public_url="https://packages.example.com", inline_limit=1000)

    assert before == await dates(store)
    assert revision == store.revision()


# What a restricted token sees


async def view(store: Store, *names: str) -> tuple[int, bool]:
    """The date of packages.json for who sees these packages, and whether it carries their versions."""
    date, inline, _ = await shown(store, *names)
    return date, inline


async def shown(store: Store, *names: str) -> tuple[int, bool, bytes]:
    """The same, with what it has."""
    seen = rights(*names)
    root = await store.organizations.root("acme", seen)
    assert root is not None
    inline = await store.documents.inline(root.organization_id, seen) if root.inline else {}
    content = hashlib.sha256(metadata.build_root(root.names, inline)).digest()
    date = await store.views.date(root.organization_id, "", view=b"view", content=content)
    assert date is not None
    return date, root.inline, content


@inline_or_not
async def test_hidden_packages_move_no_date(
    frozen: int, store: Store, acme: Organization, repository: Repository, limit: int
) -> None:
    """Whatever comes, changes, grows and goes beside what a token sees, its dates are as if there were nothing."""
    await store.organizations.apply_settings(public_url="", inline_limit=limit)
    await publish(store, repository, released())
    before, document_before = await view(store, "acme/library"), await dates(store)
    for number in range(50):
        await publish(store, repository, released("dev-main", package="acme/hidden", description=str(number)))
    await publish(store, repository, released(package="acme/large", description="x" * limit))
    await store.packages.delete(acme, await store.packages.get(acme, "acme/hidden"))
    assert await view(store, "acme/library") == before
    assert (await dates(store))["stable"] == document_before["stable"]
    await publish(store, repository, released(package="acme/late"))

    assert await view(store, "acme/library") == before
    assert (await document(store, "stable", "acme/late")).last_modified <= document_before["stable"] + 1


@inline_or_not
async def test_each_change_of_what_is_seen_moves_the_date(
    frozen: int, store: Store, acme: Organization, repository: Repository, limit: int
) -> None:
    """Versions that come, change and go, and packages, in turns, within a second: each date is a later one."""
    await store.organizations.apply_settings(public_url="", inline_limit=limit)
    names = ("acme/library", "acme/other")
    seen = [await shown(store, *names)]

    async def look() -> None:
        seen.append(await shown(store, *names))

    for description in ("one", "two"):
        for name in names:
            await publish(store, repository, released(package=name, description=description))
            await look()
    await publish(store, repository, released("dev-main"))
    await look()
    await publish(store, repository, removed=[("acme/library", "dev-main")])
    await look()
    for name in names:
        package = await store.packages.get(acme, name)
        await store.packages.delete_version(acme, package, "1.0.0")
        await look()
        await store.packages.delete(acme, package)
        await look()
    other = await follow(store, acme, "other")
    await publish(store, other, released())
    await look()
    await store.repositories.remove(other)
    await look()
    await store.organizations.delete(acme)
    await store.organizations.create("acme", "Acme")
    await look()

    for (before, _, had), (after, _, has) in pairwise(seen):
        assert before < after if had != has else before <= after


async def test_a_view_carries_versions_by_what_is_in_it(store: Store, repository: Repository) -> None:
    """A large package that a token does not see takes no versions out of its packages.json."""
    await store.organizations.apply_settings(public_url="", inline_limit=4000)
    await publish(store, repository, released(), released(package="acme/large", description="x" * 4000))

    assert not await is_inline(store)
    assert [(await view(store, name))[1] for name in ("acme/library", "acme/large")] == [True, False]


async def test_a_database_of_before_gives_later_dates(path: Path) -> None:
    """What views had for a date before they had their own is never given again, and sizes are those of before."""
    path.parent.mkdir(exist_ok=True)
    make_earlier(path, 10)
    async with Store(path) as store:
        await store.organizations.apply_settings(public_url="", inline_limit=5)
        assert (await view(store, "a/b"))[0] > 5
        assert [(await view(store, name))[1] for name in ("a/b", "a/c")] == [False, True]


# Versions in packages.json


async def is_inline(store: Store) -> bool:
    root = await store.organizations.root("acme", ALL)
    assert root is not None
    return root.inline


async def test_versions_are_inline_up_to_the_limit(store: Store, repository: Repository) -> None:
    """Versions travel in packages.json as long as all of them together are small enough."""
    await store.organizations.apply_settings(public_url="", inline_limit=4000)
    await publish(store, repository, released("dev-main"))
    seen = [(await is_inline(store), (await dates(store))["root"])]
    await publish(store, repository, released("dev-large", description="x" * 4000))
    seen.append((await is_inline(store), (await dates(store))["root"]))
    await publish(store, repository, removed=[("acme/library", "dev-large")])
    seen.append((await is_inline(store), (await dates(store))["root"]))

    assert [inline for inline, _ in seen] == [True, False, True]
    assert seen[0][1] < seen[1][1] < seen[2][1]


async def test_a_new_limit_counts_for_what_is_there(store: Store, repository: Repository) -> None:
    """A changed limit takes versions out of packages.json or puts them in without a sync; 0 keeps them out."""
    await publish(store, repository, released())
    seen = []
    for limit in (64 * 1024, 0, 64 * 1024, 10):
        await store.organizations.apply_settings(public_url="", inline_limit=limit)
        seen.append(await is_inline(store))

    assert seen == [True, False, True, False]


async def test_an_organization_that_is_made_anew_repeats_no_date(store: Store, acme: Organization) -> None:
    """Dates ran ahead of the clock, the organization was deleted and made again: its dates go on from there."""
    repository = await follow(store, acme, "library")
    for number in range(30):
        await publish(store, repository, released("dev-main", description=str(number)))
    before = await dates(store)
    await store.organizations.delete(acme)
    again = await store.organizations.create("acme", "Acme")
    root = await store.organizations.root("acme", ALL)
    assert root is not None
    assert root.last_modified > max(before.values())
    await publish(store, await follow(store, again, "library"), released("dev-main", description="other"))

    assert min((await dates(store)).values()) > max(before.values())
    made = (await store.organizations.create("other", "Other")).created_at
    assert await now_root(store, "other") in (made, made + 1)


async def now_root(store: Store, slug: str) -> int:
    root = await store.organizations.root(slug, ALL)
    assert root is not None
    return root.last_modified
