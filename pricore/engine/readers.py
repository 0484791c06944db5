"""Connections that read the database, several at a time."""

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pricore.engine.sqlite import BUSY_SECONDS, uri


class Readers:
    """As many queries as `most` go on at the same time, each on a thread and a connection of its own.

    Both are made when they are needed: commands ask for little, one thing after the other.
    """

    def __init__(self, path: Path, most: int, *, name: str) -> None:
        self._path = path
        self._threads = ThreadPoolExecutor(most, thread_name_prefix=name)
        self._own = threading.local()
        self._opened: list[sqlite3.Connection] = []

    async def fetch(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        """The rows of a query, as tuples."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._fetch, sql, parameters)

    def _fetch(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = sqlite3.connect(
                uri(self._path, "ro"),
                uri=True,
                isolation_level=None,
                timeout=BUSY_SECONDS,
                check_same_thread=False,  # used in this thread, closed in another one
            )
            self._opened.append(connection)
        return connection.execute(sql, parameters).fetchall()

    async def close(self) -> None:
        """Give up what still goes on, for which nobody waits any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for connection in self._opened:
            connection.interrupt()
        await asyncio.to_thread(self._threads.shutdown)
        for connection in self._opened:
            connection.close()
