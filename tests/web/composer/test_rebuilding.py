"""After an upgrade metadata is built anew while the old one is served."""

import asyncio

import zstandard

from tests.web.composer.harness import Start


async def test_documents_of_before_are_served_until_they_are_built_anew(start: Start) -> None:
    """Nothing is missing at any moment, and the date moves with what a client gets."""
    first = await start(inline_limit=0)
    path = "/p2/acme/library~dev.json"
    with first.database() as database:
        # as a program of before had them
        for package, half, body in database.execute("SELECT package_id, half, body FROM documents").fetchall():
            old = zstandard.decompress(body).replace(b"%reference%", b"old")
            database.execute(
                "UPDATE documents SET body = ? WHERE package_id = ? AND half = ?",
                (zstandard.compress(old), package, half),
            )
        database.execute("UPDATE packages SET document_format = 0")
        database.execute("UPDATE revisions SET value = value + 1")
    before = await first.get(path)
    assert b"/old.zip" in before.body

    second = await start(inline_limit=0)
    async with asyncio.timeout(20):
        while await second.store.rebuilding.left():
            assert (await second.get("/p2/acme/library.json")).json["packages"]["acme/library"]
    after = await second.get(path)
    assert before.body.replace(b"/old.zip", b"/%reference%.zip") == after.body.replace(
        second.base.encode(), first.base.encode()
    )
    assert after.headers["Last-Modified"] != before.headers["Last-Modified"]
