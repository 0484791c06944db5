"""A client that asks for one page at a steady pace, and how long each answer took.

A `fresh` one comes by another name of the server each time, so that no answer is in memory.

A program: it reads what to ask from standard input as JSON, prints `{}` once it has had a first answer, and the
seconds that each answer took as JSON when its standard input ends.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count, repeat
from typing import Any, Final
from urllib.parse import urlsplit

from bench.machine import runner
from bench.servers import Server

PACE: Final = 0.01
"""Seconds from one question to the next on a connection."""
CONNECTIONS: Final = 2


@contextmanager
def watching(
    server: Server, path: str, headers: Mapping[str, str], *, fresh: bool = False
) -> Iterator[list[float]]:
    """Ask from another process as long as the block runs; the list has the seconds of each answer afterwards.

    Raises RuntimeError where an answer was no 200.
    """
    seconds: list[float] = []
    request = {"url": server.url, "path": path, "headers": dict(headers), "fresh": fresh}
    with subprocess.Popen(
        [sys.executable, "-m", "bench.latency"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        process.stdout.readline()
        yield seconds
        output, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the client failed: {errors[-500:]}")
    seconds += json.loads(output)


async def main() -> None:
    """Ask until standard input ends; exits with what was wrong where an answer was."""
    given: dict[str, Any] = json.loads(sys.stdin.readline())
    parts = urlsplit(given["url"])
    lines = [f"GET {given['path']} HTTP/1.1", *(f"{name}: {value}" for name, value in given["headers"].items())]
    hosts = (
        (f"h{number}.of{os.getpid()}.example.com" for number in count())
        if given["fresh"]
        else repeat(parts.netloc)
    )
    requests = ("\r\n".join([*lines, f"Host: {host}", "", ""]).encode() for host in hosts)
    end = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    taken: list[float] = []
    asking = [
        asyncio.create_task(_ask(str(parts.hostname), parts.port or 80, requests, taken))
        for _ in range(CONNECTIONS)
    ]
    await asyncio.wait([end, *asking], return_when=asyncio.FIRST_COMPLETED)
    for task in asking:
        if task.done():
            task.result()
        task.cancel()
    print(json.dumps(taken))


async def _ask(host: str, port: int, requests: Iterator[bytes], taken: list[float]) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    while True:
        began = time.perf_counter()
        writer.write(next(requests))
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            sys.exit(head.decode(errors="replace"))
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        await reader.readexactly(int(fields[b"content-length"]))
        if not taken:
            print("{}", flush=True)
        taken.append(time.perf_counter() - began)
        # at a pace, whatever the last answer took: a server that stands still is noticed by each question
        await asyncio.sleep(max(0, began + PACE - time.perf_counter()))


if __name__ == "__main__":
    runner()(main())
