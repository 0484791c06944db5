"""A client that asks several servers the same question over and over, a slice of time each, in turn.

A program: it reads what to ask from standard input as JSON, and prints the rates of each server as JSON.
"""

import asyncio
import functools
import json
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from bench.machine import runner

_LENGTH: Final = re.compile(rb"^content-length: *(\d+)\r$", re.IGNORECASE | re.MULTILINE)
_WARM_UP: Final = 3
"""Slices that do not count; never more than those that do."""


class _Connection(asyncio.Protocol):
    """One kept connection with one request on its way at a time; `failed` says what went wrong.

    `taken` are the seconds that each answer took.
    """

    def __init__(self, request: bytes, start: bytes) -> None:
        self.answers = 0
        self.failed = ""
        self.taken: list[float] = []
        self.idle = asyncio.Event()
        self._request = request
        self._start = start
        self._received = b""
        self._left = 0
        self._asked_at = 0.0
        self._running = False
        self._transport: asyncio.WriteTransport

    def run(self) -> None:
        """Ask, and again after every answer."""
        if self.failed:
            sys.exit(self.failed)
        self.idle.clear()
        self._running = True
        self._ask()

    def stop(self) -> None:
        """Ask no more."""
        self._running = False

    async def pause(self) -> None:
        """Wait for the last answer."""
        async with asyncio.timeout(10):
            await self.idle.wait()
        if self.failed:
            sys.exit(self.failed)

    def close(self) -> None:
        """End the connection."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is one without saying so

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
            if self._left <= 0:
                self._answered()
            return
        self._received += data
        end = self._received.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        if not self._received.startswith(self._start):
            self.failed = self._received[:end].decode(errors="replace")
            self.idle.set()
            return
        length = _LENGTH.search(self._received, 0, end)
        self._left = end + (int(length[1]) if length else 0) - len(self._received)
        self._received = b""
        if self._left <= 0:
            self._answered()

    def _ask(self) -> None:
        self._asked_at = time.perf_counter()
        self._transport.write(self._request)

    def _answered(self) -> None:
        self.answers += 1
        self.taken.append(time.perf_counter() - self._asked_at)
        if self._running:
            self._ask()
        else:
            self.idle.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.failed = self.failed or f"the connection was lost: {exc}"
        self.idle.set()


class _Target:
    """A server under load, and how it did in each slice."""

    def __init__(self, pids: list[int], connections: list[_Connection]) -> None:
        self.connections = connections
        self.by_clock: list[float] = []
        self.by_processor: list[float] = []
        self.slowest: list[float] = []
        self._schedules = [path for pid in pids if (path := Path(f"/proc/{pid}/schedstat")).exists()]

    async def load(self, seconds: float, *, counts: bool) -> None:
        """Put load on it for a slice."""
        answers, before, began = -self._answers(), self._processor_times(), time.perf_counter()
        for connection in self.connections:
            connection.run()
        await asyncio.sleep(seconds)
        for connection in self.connections:  # all of them at once: one after the other takes a crowd a minute
            connection.stop()
        for connection in self.connections:
            await connection.pause()
        taken = sorted(seconds for connection in self.connections for seconds in connection.taken)
        for connection in self.connections:
            connection.taken.clear()
        elapsed, answers = time.perf_counter() - began, answers + self._answers()
        if counts:
            self.by_clock.append(answers / elapsed)
            self.slowest.append(taken[-(-len(taken) * 99 // 100) - 1])
            pairs = zip(self._processor_times(), before, strict=True)
            if busy := max((now - then for now, then in pairs), default=0):
                self.by_processor.append(answers / busy)  # the busiest would be the last to have answered

    def _answers(self) -> int:
        return sum(connection.answers for connection in self.connections)

    def _processor_times(self) -> list[float]:
        """Seconds that the main thread of each of the server's processes has been running."""
        return [int(schedule.read_text().split()[0]) / 1e9 for schedule in self._schedules]


async def main() -> None:
    """Load the servers; exits with what was wrong where an answer was."""
    given: dict[str, Any] = json.load(sys.stdin)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    targets = [await _connect(given, server) for server in given["servers"]]
    warm_up = min(_WARM_UP, given["slices"])
    for number in range(warm_up + given["slices"]):
        for target in targets:
            await target.load(given["seconds"], counts=number >= warm_up)
    for target in targets:
        for connection in target.connections:
            connection.close()
    rates = (
        {"by_clock": target.by_clock, "by_processor": target.by_processor, "slowest": target.slowest}
        for target in targets
    )
    print(json.dumps([*rates]))


async def _connect(given: dict[str, Any], server: dict[str, Any]) -> _Target:
    parts = urlsplit(server["url"])
    start = b"HTTP/1.1 %d " % given["status"]
    connections = []
    for headers in server["connections"]:
        fields = {"Host": parts.netloc, **headers}
        lines = [f"GET {server['path']} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        connection = _Connection("\r\n".join(lines).encode(), start)
        await asyncio.get_running_loop().create_connection(
            functools.partial(_itself, connection), parts.hostname, parts.port
        )
        connections.append(connection)
    return _Target(server["pids"], connections)


def _itself(connection: _Connection) -> _Connection:
    return connection


if __name__ == "__main__":
    runner()(main())
