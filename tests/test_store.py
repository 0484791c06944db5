"""The database keeps what it was told, whole or not at all, and says when something changed."""

import asyncio
import contextlib
import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from pricore import metadata, versions
from pricore.auth import create_secret, hash_secret
from pricore.clock import now
from pricore.errors import ConflictError, NotFoundError, StoreError
from pricore.models import Document, NewVersion, Organization, Repository, Token
from pricore.store import Store
from pricore.tables.packages import Publication
from tests.harness import Pricore

COMMIT = "a" * 40
OTHER_COMMIT = "b" * 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database of a test is."""
    return tmp_path / "data/pricore.sqlite3"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with Store(path) as opened:
        yield opened


@pytest.fixture
async def acme(store: Store) -> Organization:
    return await store.organizations.create("acme", "Acme")


@pytest.fixture
async def repository(store: Store, acme: Organization) -> Repository:
    return await follow(store, acme, "library")


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> int:
    """The one second in which everything happens."""
    moment = now()
    for table in ("organizations", "packages", "repositories"):
        monkeypatch.setattr(f"pricore.tables.{table}.now", lambda: moment)
    return moment


async def follow(store: Store, organization: Organization, name: str) -> Repository:
    url = f"https://git.example.com/{name}"
    return await store.repositories.add(
        organization, provider="git", identifier=name, url=url, url_key=f"git.example.com/{name}"
    )


def released(
    version: str = "1.0.0",
    *,
    package: str = "acme/library",
    reference: str = COMMIT,
    description: str = "A library",
) -> NewVersion:
    """A version as a sync hands it over: a tag's, or a branch's where it is written dev-."""
    normalized = versions.normalize(version)
    entry = metadata.version_entry(
        {"description": description},
        name=package,
        version=version,
        normalized=normalized,
        reference=reference,
        released_at=1_700_000_000,
        source_url=None,
    )
    ref = f"refs/heads/{version[4:]}" if version.startswith("dev-") else f"refs/tags/{version}"
    return NewVersion(
        package=package,
        version=version,
        normalized=normalized,
        ref=ref,
        reference=reference,
        released_at=1_700_000_000,
        default_branch=False,
        entry=entry,
        shasum=reference,
        size=1,
    )


async def publish(store: Store, repository: Repository, *versions: NewVersion, **change: Any) -> None:
    await store.packages.publish(repository, Publication(versions=versions, digest="seen", **change))


async def document(store: Store, half: str, name: str = "acme/library") -> Document:
    found = await store.packages.document("acme", name, half)
    assert found is not None
    return found


async def dates(store: Store) -> dict[str, int]:
    """Every Last-Modified of acme's."""
    root = await store.organizations.root("acme")
    assert root is not None
    return {
        "root": root[1],
        "stable": (await document(store, "stable")).last_modified,
        "dev": (await document(store, "dev")).last_modified,
    }


def served(found: Document, name: str = "acme/library") -> list[str]:
    """The versions in a document."""
    body = msgspec.json.decode(zstandard.ZstdDecompressor().decompress(found.body))
    return [item["version"] for item in body["packages"][name]]


@contextlib.contextmanager
def outside(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of somebody else's."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as connection:
        yield connection


def everything(path: Path) -> dict[str, list[Any]]:
    """All rows of all tables, as another process finds them."""
    with outside(path) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
        return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for (name,) in tables}


def occupy(path: Path, content: bytes) -> None:
    """Put a file where the database would be."""
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def content_of(path: Path) -> bytes:
    return path.read_bytes()


async def make_token(store: Store, organization: Organization, **options: Any) -> Token:
    return await store.tokens.create(
        organization, name="test", token_hash=hash_secret(create_secret()), scopes=["packages:read"], **options
    )


async def test_a_database_is_made_out_of_nothing_and_opened_again(path: Path) -> None:
    """The first opening makes folder and file for this user alone; the second finds what was kept."""
    async with Store(path) as store:
        made = await store.organizations.create("acme", "Acme", description="Tools")
    async with Store(path) as store:
        assert [made] == await store.organizations.all()

    assert [stat.S_IMODE(item.stat().st_mode) for item in (path.parent, path)] == [0o700, 0o600]


async def test_an_empty_file_is_a_new_database(path: Path) -> None:
    """A file of no bytes, as a failed start leaves behind, is made a database of."""
    occupy(path, b"")
    async with Store(path) as store:
        assert await store.organizations.all() == []


async def test_several_openings_at_once_make_one_database(path: Path) -> None:
    """Processes that start together on an empty folder don't get in each other's way."""
    async with contextlib.AsyncExitStack() as stack:
        stores = await asyncio.gather(*(stack.enter_async_context(Store(path)) for _ in range(4)))
        await stores[0].organizations.create("acme", "Acme")
        for store in stores:
            assert await store.organizations.find("acme") is not None


async def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    """A database that a newer Pricore wrote is not touched, and the error says to upgrade."""
    async with Store(path):
        pass
    with outside(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = everything(path)
    with pytest.raises(StoreError, match=r"written by a newer Pricore \(schema 99.*upgrade this program$"):
        async with Store(path):
            pass

    assert before == everything(path)


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    """Whatever else lies under the database's name stays as it is."""
    content = b"Dear diary, " * 1000
    occupy(path, content)
    with pytest.raises(StoreError, match="cannot open the database"):
        async with Store(path):
            pass

    assert content == content_of(path)


async def test_a_folder_under_the_name_of_the_database_is_refused(path: Path) -> None:
    """A folder where the database should be is an error of one line."""
    occupy(path / "file", b"")
    with pytest.raises(StoreError):
        async with Store(path):
            pass


async def test_a_folder_that_cannot_be_used_is_refused_with_the_setting(path: Path) -> None:
    """Where the data folder cannot be written, the error says how to give another."""
    if os.geteuid() == 0:  # root may write everywhere, but not into a file as if it were a folder
        path.parent.touch()
    else:
        path.parent.mkdir(mode=0o500)
    with pytest.raises(StoreError, match=r"^cannot use the data folder .* with --data or PRICORE_DATA$"):
        async with Store(path):
            pass


async def test_a_transaction_that_fails_leaves_nothing(path: Path, store: Store, acme: Organization) -> None:
    """An exception takes back everything that was written before it, and the next transaction works."""
    before, revision = everything(path), store.revision()

    async def work() -> None:
        async with store.transaction() as db:
            await db.execute("DELETE FROM organizations")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()

    assert before == everything(path)
    assert revision == store.revision()
    await store.organizations.delete(acme.id)
    assert await store.organizations.all() == []


async def test_a_transaction_that_is_cancelled_leaves_nothing(
    path: Path, store: Store, acme: Organization
) -> None:
    """A task that is stopped in the middle of its transaction changes nothing and blocks nobody."""
    before = everything(path)
    reached = asyncio.Event()

    async def work() -> None:
        async with store.transaction() as db:
            await db.execute("DELETE FROM organizations")
            reached.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert before == everything(path)
    await store.organizations.delete(acme.id)
    assert await store.organizations.all() == []


async def test_a_transaction_can_be_cancelled_at_any_step(path: Path, store: Store) -> None:
    """Wherever a task is stopped, its change is there as a whole or not at all, and the next one works."""

    async def work(number: int) -> None:
        async with store.transaction() as db:
            for half in ("a", "b"):
                await db.execute(
                    "INSERT INTO served_settings (name, value) VALUES (?, ?)", (f"{number}{half}", "test")
                )

    steps = range(40)
    for number in steps:
        task = asyncio.create_task(work(number))
        for _ in range(number):
            await asyncio.sleep(0.0001)
        task.cancel()
        await asyncio.wait([task])
    await work(len(steps))

    names = {name for name, _ in everything(path)["served_settings"]}
    assert {"40a", "40b"} <= names
    assert all({f"{number}a", f"{number}b"} <= names for number in steps if names & {f"{number}a", f"{number}b"})


async def test_who_waits_for_another_process_can_be_cancelled(path: Path, store: Store) -> None:
    """A task that is stopped while another process writes leaves no transaction behind."""
    with outside(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(store.organizations.create("acme", "Acme"))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.sleep(0.1)
        connection.execute("ROLLBACK")
    await asyncio.wait([task])

    assert task.cancelled()
    assert await store.organizations.all() == []
    await store.organizations.create("acme", "Acme")


async def test_a_database_that_is_busy_for_too_long_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that doesn't get its turn gives up with an error of one line; readers go on."""
    monkeypatch.setattr("pricore.store._BUSY_SECONDS", 0.1)
    async with Store(path) as store:
        with outside(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="database is locked"):
                await store.organizations.create("acme", "Acme")
            assert await store.organizations.all() == []
            connection.execute("ROLLBACK")
        await store.organizations.create("acme", "Acme")


async def test_the_revision_moves_with_every_change_that_shows(store: Store, acme: Organization) -> None:
    """Whatever changes an answer moves the revision, and reading leaves it where it is."""
    seen = [store.revision()]
    token = await make_token(store, acme)
    seen.append(store.revision())
    repository = await follow(store, acme, "library")
    seen.append(store.revision())
    await publish(store, repository, released())
    seen.append(store.revision())
    await store.tokens.revoke(acme, token.id)
    seen.append(store.revision())
    await store.repositories.remove(repository)
    seen.append(store.revision())

    assert sorted(set(seen)) == seen
    await store.packages.of_organization(acme.id)
    assert seen[-1] == store.revision()


async def test_the_revision_moves_for_changes_of_other_connections(path: Path, store: Store) -> None:
    """What another store on the same file changes is seen by the very next question."""
    before = store.revision()
    async with Store(path) as other:
        await other.organizations.create("acme", "Acme")
        assert before < store.revision()
        assert other.revision() == store.revision()


async def test_the_revision_moves_for_changes_of_other_processes(path: Path, store: Store) -> None:
    """What the command line changes while the server runs is seen by the very next question."""
    before = store.revision()
    await asyncio.to_thread(Pricore(path.parent).run, "org", "create", "acme")

    assert before < store.revision()
    assert await store.organizations.find("acme") is not None


async def test_the_revision_stays_for_bookkeeping(
    store: Store, acme: Organization, repository: Repository
) -> None:
    """Token use, downloads and syncs that find nothing are written without emptying any cache."""
    token = await make_token(store, acme)
    await publish(store, repository, released())
    before = store.revision()
    store.usage.token_used(token.id, now())
    store.usage.installed(acme.id, "acme/library", "1.0.0.0")
    await store.usage.flush()
    await store.repositories.record_unchanged(repository.id)
    await store.repositories.record_failure(repository.id, "unreachable")

    assert before == store.revision()
    assert [token.id] == [item.id for item in await store.tokens.of_organization(acme.id) if item.last_used_at]


async def test_an_organization_is_made_once(store: Store, acme: Organization) -> None:
    """A slug that is taken is refused, and the one that has it stays as it was."""
    with pytest.raises(ConflictError):
        await store.organizations.create("acme", "Another")

    assert [acme] == await store.organizations.all()


async def test_a_repository_is_followed_once(store: Store, acme: Organization, repository: Repository) -> None:
    """The same repository is refused however its address is written; another organization may follow it too."""
    with pytest.raises(ConflictError, match=r"^acme follows .* already"):
        await store.repositories.add(
            acme,
            provider="git",
            identifier="library",
            url="ssh://git@git.example.com/library.git",
            url_key="git.example.com/library",
        )
    other = await store.organizations.create("other", "Other")
    await follow(store, other, "library")

    assert [repository] == await store.repositories.of_organization(acme.id)


@pytest.mark.parametrize("limit", [0, 64 * 1024])
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


@pytest.mark.parametrize("limit", [0, 64 * 1024])
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


@pytest.mark.parametrize("limit", [0, 64 * 1024])
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


async def test_a_repository_that_was_removed_meanwhile_publishes_nothing(
    path: Path, store: Store, repository: Repository
) -> None:
    """A sync that ends after its repository was removed brings nothing back."""
    await store.repositories.remove(repository)
    before = everything(path)
    with pytest.raises(NotFoundError):
        await publish(store, repository, released())

    assert before == everything(path)


async def test_equal_names_in_two_organizations_are_two_packages(store: Store, repository: Repository) -> None:
    """One organization's packages are nothing to another's."""
    other = await store.organizations.create("other", "Other")
    await publish(store, repository, released())
    await publish(store, await follow(store, other, "library"), released("2.0.0"))
    found = await store.packages.document("other", "acme/library", "stable")
    assert found is not None

    assert served(await document(store, "stable")) == ["1.0.0"]
    assert served(found) == ["2.0.0"]


async def test_a_package_without_one_half_has_an_empty_one(store: Store, repository: Repository) -> None:
    """Both halves of a package are documents, and a package that isn't there has none."""
    await publish(store, repository, released())

    assert served(await document(store, "dev")) == []
    assert await store.packages.document("acme", "acme/missing", "stable") is None


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


async def is_inline(store: Store) -> bool:
    root = await store.organizations.root("acme")
    assert root is not None
    return root[2]


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


def downloads(path: Path) -> list[tuple[str, int]]:
    """What was counted: (version, count)."""
    with outside(path) as connection:
        return connection.execute(
            "SELECT version, sum(count) FROM downloads GROUP BY version ORDER BY 1"
        ).fetchall()


async def test_downloads_are_counted_by_the_version_as_it_is_shown(
    path: Path, store: Store, acme: Organization, repository: Repository
) -> None:
    """Clients report normalized versions: the counts are those of the versions that people see."""
    await publish(store, repository, released("v1.0.0"), released("dev-main"), released("1.1.0-beta.2"))
    for version in ("1.0.0.0", "v1.0.0", "1.0.0.0", "dev-main", "1.1.0.0-beta2"):
        store.usage.installed(acme.id, "acme/library", version)
    await store.usage.flush()
    store.usage.installed(acme.id, "acme/library", "1.0.0.0")
    await store.usage.flush()

    assert downloads(path) == [("1.1.0-beta.2", 1), ("dev-main", 1), ("v1.0.0", 4)]


async def test_downloads_of_what_is_not_here_are_passed_over(
    path: Path, store: Store, acme: Organization, repository: Repository
) -> None:
    """Unknown packages, versions and organizations in a report take nothing from the others in it."""
    other = await store.organizations.create("other", "Other")
    await publish(store, repository, released())
    store.usage.installed(acme.id, "acme/missing", "1.0.0.0")
    store.usage.installed(acme.id, "acme/library", "9.0.0.0")
    store.usage.installed(other.id, "acme/library", "1.0.0.0")
    store.usage.installed("nobody", "acme/library", "1.0.0.0")
    store.usage.installed(acme.id, "acme/library", "1.0.0.0")
    await store.usage.flush()

    assert downloads(path) == [("1.0.0", 1)]


async def test_the_use_of_a_token_is_written_with_the_next_flush(store: Store, acme: Organization) -> None:
    """A token shows when it was used last; an earlier time doesn't take the place of a later one."""
    token = await make_token(store, acme)
    seen = []
    for moment in (100, 300, 200):
        store.usage.token_used(token.id, moment)
        await store.usage.flush()
        seen.append([item.last_used_at for item in await store.tokens.of_organization(acme.id)])

    assert token.last_used_at is None
    assert seen == [[100], [300], [300]]


async def test_the_use_of_a_token_that_was_revoked_is_passed_over(store: Store, acme: Organization) -> None:
    """A token that was revoked since its last use doesn't keep the others' use from being written."""
    gone, kept = await make_token(store, acme), await make_token(store, acme)
    store.usage.token_used(gone.id, 100)
    store.usage.token_used(kept.id, 100)
    await store.tokens.revoke(acme, gone.id)
    await store.usage.flush()

    assert [item.last_used_at for item in await store.tokens.of_organization(acme.id)] == [100]


async def test_a_flush_that_fails_keeps_the_counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is written with the next flush, together with what came meanwhile."""
    monkeypatch.setattr("pricore.store._BUSY_SECONDS", 0.1)
    async with Store(path) as store:
        acme = await store.organizations.create("acme", "Acme")
        token = await make_token(store, acme)
        await publish(store, await follow(store, acme, "library"), released())
        store.usage.token_used(token.id, 100)
        store.usage.installed(acme.id, "acme/library", "1.0.0.0")
        with outside(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError):
                await store.usage.flush()
            connection.execute("ROLLBACK")
        store.usage.installed(acme.id, "acme/library", "1.0.0.0")
        await store.usage.flush()

        assert downloads(path) == [("1.0.0", 2)]
        assert [item.last_used_at for item in await store.tokens.of_organization(acme.id)] == [100]


async def test_a_flush_that_is_cancelled_counts_once(
    path: Path, store: Store, acme: Organization, repository: Repository
) -> None:
    """Wherever the end of the program interrupts a flush, each download is counted, and none twice."""
    await publish(store, repository, released())
    for number in range(30):
        store.usage.installed(acme.id, "acme/library", "1.0.0.0")
        task = asyncio.create_task(store.usage.flush())
        for _ in range(number):
            await asyncio.sleep(0.0001)
        task.cancel()
        await asyncio.wait([task])
    await store.usage.flush()

    assert downloads(path) == [("1.0.0", 30)]


async def test_a_token_is_found_by_the_hash_of_its_secret(store: Store, acme: Organization) -> None:
    """A token comes back as it was made, by its secret alone; the secret itself is nowhere."""
    secret = create_secret()
    made = await store.tokens.create(
        acme,
        name="CI",
        token_hash=hash_secret(secret),
        scopes=["packages:read", "tokens:read"],
        packages=["acme/b", "acme/a"],
        expires_at=2_000_000_000,
    )

    assert made == await store.tokens.find(hash_secret(secret))
    assert await store.tokens.find(hash_secret(create_secret())) is None
    assert secret not in str(everything(store.path))


async def test_a_token_is_revoked_by_its_own_organization_only(store: Store, acme: Organization) -> None:
    """An id of another organization's token is as good as none."""
    token = await make_token(store, acme)
    other = await store.organizations.create("other", "Other")
    with pytest.raises(NotFoundError):
        await store.tokens.revoke(other, token.id)

    assert [token] == await store.tokens.of_organization(acme.id)


async def test_a_restricted_token_stays_restricted_when_its_package_goes(
    store: Store, acme: Organization, repository: Repository
) -> None:
    """A restriction is to names: it doesn't vanish with the package, and is the same when that comes back."""
    await publish(store, repository, released())
    secret = create_secret()
    await store.tokens.create(
        acme, name="test", token_hash=hash_secret(secret), scopes=["packages:read"], packages=["acme/library"]
    )
    await store.repositories.remove(repository)
    token = await store.tokens.find(hash_secret(secret))
    assert token is not None

    assert frozenset({"acme/library"}) == token.packages
    assert await store.packages.of_organization(acme.id) == []


async def test_a_token_restricted_to_nothing_is_restricted(store: Store, acme: Organization) -> None:
    """An empty list of packages means none of them, not all."""
    secret = create_secret()
    await store.tokens.create(
        acme, name="test", token_hash=hash_secret(secret), scopes=["packages:read"], packages=[]
    )
    token = await store.tokens.find(hash_secret(secret))
    assert token is not None

    assert frozenset() == token.packages


async def test_an_organization_goes_with_everything_in_it(
    path: Path, store: Store, acme: Organization, repository: Repository
) -> None:
    """Of an organization that is deleted nothing is left, and of the others nothing goes."""
    other = await store.organizations.create("other", "Other")
    await make_token(store, acme, packages=["acme/library"])
    await publish(store, repository, released())
    store.usage.installed(acme.id, "acme/library", "1.0.0.0")
    await store.usage.flush()
    kept = await make_token(store, other)
    await store.organizations.delete(acme.id)

    left = {name for name, rows in everything(path).items() if rows}
    assert left - {"served_settings", "sqlite_stat1"} == {"organizations", "revisions", "tokens"}
    assert [kept] == await store.tokens.of_organization(other.id)


async def test_checksums_that_nothing_else_needs_are_told_on_removal(
    store: Store, acme: Organization, repository: Repository
) -> None:
    """Removing a repository tells which kept archives can go: not those that another one advertises too."""
    await publish(store, repository, released(), released("1.1.0", reference=OTHER_COMMIT))
    await publish(store, await follow(store, acme, "second"), released(package="acme/second"))

    assert {OTHER_COMMIT} == await store.repositories.remove(repository)
