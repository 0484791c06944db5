"""The database: connections and transactions. The queries are in `tables/`, one file a subject.

SQLite in WAL mode. One connection writes and another one keeps books, both behind one lock; several read, some of
them only what is found by a key; other processes (the CLI beside the server) work on the same file.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiosqlite

from pricore.engine import sqlite
from pricore.engine.readers import Readers
from pricore.engine.sqlite import BUSY_SECONDS, uri
from pricore.engine.transaction import Transaction
from pricore.errors import NotFoundError, StoreError
from pricore.system.files import LockedError, hold_lock

T = TypeVar("T")

_MOST_READERS: Final = 3
_MOST_FINDERS: Final = 2
"""How many queries go on at the same time: any, and beside them those for what is found by a key."""

_SLOW_SECONDS: Final = 0.002
_PAUSE_SECONDS: Final = 1.0
"""A look-up on the loop that takes longer had to wait for the disk; so long none is made there then."""


class Database:
    """An open database; use it as an async context manager.

    Opening creates or migrates the file, which is copied before that. Raises StoreError where the folder cannot be
    written, the file is not ours, or was written by a newer Pricore.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = asyncio.Lock()
        self._opened: AsyncExitStack
        self._writer: aiosqlite.Connection
        self._readers = Readers(path, _MOST_READERS, name="reads")
        self._finders = Readers(path, _MOST_FINDERS, name="finds")
        self._watch: sqlite3.Connection
        self._books: sqlite3.Connection
        self._keeper: ThreadPoolExecutor
        self._disk_waits_until = 0.0
        self._asked = False
        self._data_version = -1
        self._revision = 0
        self._common = 0
        self._revisions: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        try:
            sqlite.check_owner(self.path)
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            async with one_at_a_time(self.path.parent), AsyncExitStack() as opened:
                await asyncio.to_thread(sqlite.migrate, self.path)
                self._writer = await opened.enter_async_context(self._open_writer())
                opened.push_async_callback(self._readers.close)
                opened.push_async_callback(self._finders.close)
                self._watch = opened.enter_context(
                    closing(sqlite3.connect(uri(self.path, "ro"), uri=True, isolation_level=None, timeout=1))
                )
                self._books = opened.enter_context(closing(self._open_books()))
                self._keeper = opened.enter_context(ThreadPoolExecutor(1, thread_name_prefix="books"))
                self._opened = opened.pop_all()
        except OSError as error:
            raise StoreError(
                f"cannot use the data folder {self.path.parent}: {error.strerror}; "
                "give one that this user can write with --data or PRICORE_DATA"
            ) from None
        except sqlite3.Error as error:
            advice = "check that this user may write the folder, and that there is space on its disk"
            if not isinstance(error, sqlite3.OperationalError):
                advice = "move what is there away, or give another --data"
            raise StoreError(f"cannot open the database {self.path}: {error}; {advice}") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.aclose()

    @asynccontextmanager
    async def _open_writer(self) -> AsyncIterator[aiosqlite.Connection]:
        async with aiosqlite.connect(
            uri(self.path, "rw"), uri=True, isolation_level=None, timeout=BUSY_SECONDS
        ) as connection:
            # FULL: a revoked token stays revoked when the power fails a moment later
            await connection.executescript(
                "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; SELECT value FROM revisions;"
            )
            yield connection

    def _open_books(self) -> sqlite3.Connection:
        books = sqlite3.connect(
            uri(self.path, "rw"),
            uri=True,
            isolation_level=None,
            timeout=BUSY_SECONDS,
            check_same_thread=False,  # used in the keeper's, opened and closed in this one
        )
        # NORMAL: a commit doesn't wait for the disk, and is there after a crash of all but the machine
        books.executescript("PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL;")
        return books

    def revision(self) -> int:
        """The number of the newest change that an answer can show, whichever process made it.

        For every request: it never waits on a writer, and asks SQLite once in a turn of the event loop, because
        `PRAGMA data_version` takes a file lock and gives it back, which is a quarter of a whole request. What was
        committed before a request was received is seen: that request's step waits behind `_forget`.
        """
        if not self._asked:
            asyncio.get_running_loop().call_soon(self._forget)
            self._asked = True
            (data_version,) = self._watch.execute("PRAGMA data_version").fetchone()
            if data_version != self._data_version:
                self._learn()
                self._data_version = data_version
        return self._revision

    def revision_of(self, slug: str | None) -> int:
        """The number of the newest change that an answer about an organization can show.

        For None that of what is no organization's: such a change can show in every answer. For every request, too.
        """
        self.revision()
        return self._common if slug is None else max(self._common, self._revisions.get(slug, 0))

    def _learn(self) -> None:
        """Take over the numbers of what has changed."""
        rows = self._watch.execute(
            "SELECT value, common, slug, revision FROM revisions LEFT JOIN organizations ON revision > ?",
            (self._revision,),
        ).fetchall()
        value, common, _, _ = rows[0]
        if value == self._revision:
            return  # it was bookkeeping
        changed = {slug: revision for _, _, slug, revision in rows if slug is not None}
        if max([common, *changed.values()]) < value:
            common = value  # whoever made the newest change didn't say whose it is, or it is gone
        self._common = max(self._common, common)
        self._revisions |= changed
        self._revision = value

    def changes(self) -> int:
        """A number that is another one after every commit, of whichever process, also of what no answer shows."""
        self.revision()
        return self._data_version

    def _forget(self) -> None:
        self._asked = False

    @asynccontextmanager
    async def transaction(
        self, *, revise: bool = True, organization_id: str | None = None
    ) -> AsyncIterator[Transaction]:
        """All or nothing: commits at the end, rolls back on any exception, cancellation included.

        It ends what is kept of the organization's answers, for None of all. `revise` False is for bookkeeping that
        no answer shows, and leaves caches standing. Raises NotFoundError for a row whose owner was deleted since
        it was looked up.
        """
        async with self._lock:
            try:
                await self.whole(self._writer.execute("BEGIN IMMEDIATE"))
                yield self._writer
                if revise and organization_id is None:
                    await self._writer.execute("UPDATE revisions SET value = value + 1, common = value + 1")
                elif revise:
                    await self._writer.execute("UPDATE revisions SET value = value + 1")
                    await self._writer.execute(
                        "UPDATE organizations SET revision = (SELECT value FROM revisions) WHERE id = ?",
                        (organization_id,),
                    )
                await self.whole(self._writer.commit())
            except BaseException as error:
                if self._writer.in_transaction:
                    await self.whole(self._writer.rollback())
                if getattr(error, "sqlite_errorname", "") == "SQLITE_CONSTRAINT_FOREIGNKEY":
                    raise NotFoundError("what this belongs to was deleted in the meantime") from error
                if isinstance(error, sqlite3.OperationalError):
                    raise self._unwritten(error) from error
                raise

    async def note(self, *statements: tuple[str, Sequence[Any]]) -> bool:
        """Keep books by statements that each have to find a row: gives whether all did, else nothing is written.

        For what may be lost: it is one step, which doesn't wait for the disk. Only a power failure a moment later
        undoes it, and never what was written before it. It leaves caches standing. Raises StoreError.
        """
        loop = asyncio.get_running_loop()
        async with self._lock:
            try:
                return await self.whole(loop.run_in_executor(self._keeper, self._note, statements))
            except sqlite3.OperationalError as error:
                raise self._unwritten(error) from error

    def _note(self, statements: Iterable[tuple[str, Sequence[Any]]]) -> bool:
        books = self._books
        books.execute("BEGIN IMMEDIATE")
        try:
            if all(books.execute(*statement).rowcount for statement in statements):
                books.execute("COMMIT")
                return True
            return False
        finally:
            if books.in_transaction:
                books.execute("ROLLBACK")

    def _unwritten(self, error: sqlite3.OperationalError) -> StoreError:
        """What is raised where others wrote for too long, or on a full or failing disk."""
        advice = "; make room on its disk" if "is full" in str(error) else ""
        return StoreError(f"cannot write the database {self.path}: {error}{advice}")

    @staticmethod
    async def whole(step: Awaitable[T]) -> T:
        """Let a step of the database end even when the task that waits for it is cancelled; gives what it gives.

        The database's thread would go through with it all the same, unseen.
        """
        task = asyncio.ensure_future(step)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # seen: the cancellation is what is told
            raise

    async def check(self) -> None:
        """Ask the database for something small; raises what goes wrong with that."""
        await self.fetch_one("SELECT value FROM revisions", by_key=True)

    async def sizes(self) -> tuple[int, int]:
        """Bytes of the database's file, and of the log beside it that is to be brought into it."""

        def read() -> tuple[int, int]:
            log = self.path.with_name(self.path.name + "-wal")
            return self.path.stat().st_size, log.stat().st_size if log.exists() else 0

        return await asyncio.to_thread(read)

    async def copy_to(self, path: Path) -> None:
        """Copy everything that is committed now to a new file, which is whole and on the disk; others write on.

        Raises StoreError.
        """
        try:
            await asyncio.to_thread(sqlite.copy, self.path, path)
        except OSError as error:
            raise StoreError(f"cannot copy the database to {path}: {error.strerror or error}") from None
        except sqlite3.Error as error:
            raise StoreError(f"cannot copy the database {self.path}: {error}") from None

    async def fetch_all(self, sql: str, parameters: Sequence[Any] = (), *, by_key: bool = False) -> list[Any]:
        """Rows of a query outside of any transaction, as tuples.

        `by_key` is for what an index leads to, and many wait for: it never waits behind what reads a lot.
        """
        return await (self._finders if by_key else self._readers).fetch(sql, parameters)

    def look_up(self, sql: str, parameters: Sequence[Any]) -> Any | None:
        """The row with a key, or None: that takes less than the way to the thread in which others are fetched."""
        return self._watch.execute(sql, parameters).fetchone()

    async def find(self, sql: str, parameters: Sequence[Any]) -> Any | None:
        """The same for what may not be in memory: after one that the disk let wait, threads fetch for a while."""
        began = time.monotonic()
        if began < self._disk_waits_until:
            return await self.fetch_one(sql, parameters, by_key=True)
        row = self.look_up(sql, parameters)
        if time.monotonic() - began > _SLOW_SECONDS:
            self._disk_waits_until = began + _PAUSE_SECONDS
        return row

    async def fetch_one(self, sql: str, parameters: Sequence[Any] = (), *, by_key: bool = False) -> Any | None:
        """The first row of what `fetch_all` gives, or None."""
        return first(await self.fetch_all(sql, parameters, by_key=by_key))


def first(rows: Iterable[Any]) -> Any | None:
    """The first of some rows, or None."""
    return next(iter(rows), None)


@asynccontextmanager
async def one_at_a_time(folder: Path) -> AsyncIterator[None]:
    """Let one process after another open the database in a folder, or put one there.

    While it is turned to WAL, or the last connection to it is closed, SQLite tells others that it is locked.
    Raises StoreError where another one takes too long.
    """
    async with AsyncExitStack() as locked:
        try:
            await locked.enter_async_context(hold_lock(folder, create=False, seconds=BUSY_SECONDS, pause=0.005))
        except LockedError:
            raise StoreError(f"another process has been opening {folder} for too long") from None
        yield
