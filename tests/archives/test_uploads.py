"""The folder of uploaded archives: what is in it is named by a version, and whatever goes is named by none."""

import asyncio
import fcntl
import io
import json
import os
import re
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pricore.archives import uploaded_zips
from pricore.archives.uploads import Uploads
from pricore.errors import ConflictError, NotFoundError
from pricore.models import Organization
from pricore.store import Store
from tests.web.composer.harness import pack

LATER = 2**33


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "data" / "pricore.sqlite3") as opened:
        yield opened


@pytest.fixture
async def acme(store: Store) -> Organization:
    return await store.organizations.create("acme", "Acme")


@pytest.fixture
def uploads(store: Store, tmp_path: Path) -> Uploads:
    return Uploads(store, tmp_path / "data" / "uploads")


async def add(uploads: Uploads, organization: Organization, *, text: str = "one", version: str = "1.0.0") -> str:
    """The checksum of what is uploaded."""
    content = pack({"composer.json": json.dumps({"name": "acme/words"}), "file.txt": text})
    _, made = await uploads.add(organization, io.BytesIO(content), version=version)
    return made.shasum


async def test_a_sweep_leaves_what_a_version_names(store: Store, acme: Organization, uploads: Uploads) -> None:
    """Whatever else has the form of an archive goes, and so do halves of files."""
    kept = {await add(uploads, acme), await add(uploads, acme, text="old", version="dev-main")}
    kept.add(await add(uploads, acme, text="new", version="dev-main"))
    stray = uploads.path("f" * 40)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"killed before it was committed")
    half = stray.parent.parent / ".new-abc"
    half.write_bytes(b"killed before it was whole")
    await uploads.sweep(before=LATER)

    assert await store.archives.uploaded_checksums() == kept
    assert all(uploads.path(shasum).exists() for shasum in kept)
    assert not stray.exists()
    assert not half.exists()


async def test_a_sweep_leaves_what_somebody_still_writes(acme: Organization, uploads: Uploads) -> None:
    """A half that is younger than the server, or that a command beside it has open."""
    shasum = await add(uploads, acme)
    folder = uploads.path(shasum).parent.parent
    young, held = folder / ".new-young", folder / ".new-held"
    for path in (young, held):
        path.write_bytes(b"half")
    os.utime(held, (0, 0))
    with held.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        await uploads.sweep(before=time.time() - 60)
    assert young.exists()
    assert held.exists()
    await uploads.sweep(before=time.time() - 60)
    assert not held.exists()


async def test_a_database_that_was_lost_takes_no_archive_along(acme: Organization, uploads: Uploads) -> None:
    """Where it knows of none, nobody can tell what is left over: what is there may be all that there is."""
    stray = uploads.path("f" * 40)
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"of another database")
    await uploads.sweep(before=LATER)
    assert stray.exists()


async def test_what_a_version_names_is_not_removed(acme: Organization, uploads: Uploads) -> None:
    """Who deletes asks in the same transaction: a version of the same content may have come in between."""
    shasum = await add(uploads, acme)
    await uploads.remove({shasum, "f" * 40})
    assert uploads.path(shasum).exists()


async def test_deleting_and_uploading_the_same_loses_nothing(
    store: Store, acme: Organization, uploads: Uploads
) -> None:
    """However they come between each other, what is served in the end has its archive."""
    for _ in range(20):
        shasum = await add(uploads, acme)
        package = await store.packages.get(acme, "acme/words")

        async def delete() -> None:
            await uploads.remove(await store.packages.delete(acme, package))  # noqa: B023  # awaited below

        await asyncio.gather(delete(), add(uploads, acme), add(uploads, acme, version="2.0.0"))
        for shasum in await store.archives.uploaded_checksums():
            assert uploads.path(shasum).exists()


async def test_what_is_refused_leaves_nothing(store: Store, acme: Organization, uploads: Uploads) -> None:
    """Neither a file nor a package, wherever it is found out."""
    first = await add(uploads, acme)
    with pytest.raises(ConflictError):
        await add(uploads, acme, text="two")
    gone = await store.organizations.create("gone", "Gone")
    await store.organizations.delete(gone)
    with pytest.raises(NotFoundError):
        await add(uploads, gone, text="three")
    files = [path for path in uploads.path(first).parent.parent.rglob("*") if path.is_file()]
    assert files == [uploads.path(first)]


async def test_who_gives_up_leaves_nothing(acme: Organization, uploads: Uploads) -> None:
    """Wherever an upload is stopped, it is there whole or not at all."""
    content = pack(
        {"composer.json": '{"name": "acme/words", "version": "1.0.0"}'} | {f"{n}": "x" for n in range(500)}
    )
    for number in range(20):
        task = asyncio.create_task(uploads.add(acme, io.BytesIO(content)))
        await asyncio.sleep(number * 0.002)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.05)  # a thread that had begun ends
        assert not [*uploads.path("f").parent.parent.glob(".new-*")]
    await uploads.add(acme, io.BytesIO(content))


def packed(text: str = "one", **fields: Any) -> bytes:
    """A zip of acme/words whose files have those fields."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in (("composer.json", '{"name": "acme/words", "version": "1.0.0"}'), ("file.txt", text)):
            info = zipfile.ZipInfo(name)
            for key, value in fields.items():
                setattr(info, key, value)
            archive.writestr(info, data)
    return content.getvalue()


async def test_a_release_keeps_its_archive_when_it_is_uploaded_with_other_times(
    store: Store, acme: Organization, uploads: Uploads
) -> None:
    """Same content, so the same release: the first archive stays, and nothing is left of the second."""
    _, first = await uploads.add(acme, io.BytesIO(packed(date_time=(2024, 1, 1, 0, 0, 0))))
    _, again = await uploads.add(acme, io.BytesIO(packed(date_time=(2025, 1, 1, 0, 0, 0))))
    _, branch = await uploads.add(acme, io.BytesIO(packed(date_time=(2026, 1, 1, 0, 0, 0))), version="dev-main")

    assert first == again
    assert (branch.reference, branch.shasum) == (first.reference, first.shasum)
    assert await store.archives.uploaded_checksums() == {first.shasum}
    kept = [path for path in uploads.path(first.shasum).parent.parent.rglob("*") if path.is_file()]
    assert kept == [uploads.path(first.shasum)]


async def test_an_archive_that_is_lost_comes_back_from_the_same_zip_alone(
    acme: Organization, uploads: Uploads
) -> None:
    """Of other times another archive would be made: that is refused, and not called served."""
    zip_ = packed(date_time=(2024, 1, 1, 0, 0, 0))
    _, first = await uploads.add(acme, io.BytesIO(zip_))
    uploads.path(first.shasum).unlink()
    with pytest.raises(ConflictError, match="its archive is lost"):
        await uploads.add(acme, io.BytesIO(packed(date_time=(2025, 1, 1, 0, 0, 0))))
    await uploads.add(acme, io.BytesIO(zip_))
    assert uploads.path(first.shasum).exists()


async def test_what_was_uploaded_before_there_were_times_stays_what_it_is(
    store: Store, acme: Organization, uploads: Uploads
) -> None:
    """Its archive names no checksum but its content's; a zip of that content brings it back as it was."""
    _, first = await uploads.add(acme, io.BytesIO(packed(date_time=(2024, 1, 1, 0, 0, 0))))
    async with store.transaction() as db:
        await db.execute("UPDATE versions SET shasum = reference")
        await db.execute("UPDATE dists SET shasum = reference, treeish = NULL")
    _, again = await uploads.add(acme, io.BytesIO(packed(date_time=(2025, 1, 1, 0, 0, 0))))
    assert again.shasum == first.reference != first.shasum
    size = await uploads.archive(again.shasum, lambda archive: len(archive.read()))
    assert size > 0


async def test_what_was_uploaded_with_rubbish_stays_what_it_is(
    store: Store, acme: Organization, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same zip again is the same release, with all that it had when it was first uploaded."""
    zip_ = pack({"composer.json": '{"name": "acme/words", "version": "1.0.0"}', ".DS_Store": "x"})
    with monkeypatch.context() as once:
        once.setattr(uploaded_zips, "RUBBISH", re.compile("(?!)"))
        _, first = await uploads.add(acme, io.BytesIO(zip_))
    async with store.transaction() as db:
        await db.execute("UPDATE versions SET shasum = reference")
        await db.execute("UPDATE dists SET shasum = reference, treeish = NULL")
    _, again = await uploads.add(acme, io.BytesIO(zip_))

    assert again == msgspec.structs.replace(first, shasum=first.reference)
    assert await uploads.archive(again.shasum, lambda archive: b".DS_Store" in archive.read())
