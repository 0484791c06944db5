"""A server that is far away: everything to and from it takes its time, and so does a new connection.

A program: it reads `url` and `seconds` (there and back) from standard input as JSON, prints its own URL, and
passes everything on until SIGTERM. The number of bytes, both ways, goes into the file `count` if one is given.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from bench.machine import runner


async def main() -> None:
    """Serve as the far end of a slow line."""
    given = json.load(sys.stdin)
    target, delay = urlsplit(given["url"]), given["seconds"] / 2
    tasks: set[asyncio.Task[None]] = set()
    carried = 0

    def count(data: bytes) -> None:
        nonlocal carried
        carried += len(data)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(2 * delay)  # a connection is made by going there and back
        far_reader, far_writer = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(_carry(reader, far_writer, delay, count), _carry(far_reader, writer, delay, count))

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await stop.wait()
    server.close()
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if "count" in given:
        await asyncio.to_thread(Path(given["count"]).write_text, str(carried))


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, count: Callable[[bytes], None]
) -> None:
    """Pass bytes on, each later by `delay` and all at once: a line has length, not a limit."""
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            count(data)
            loop.call_later(delay, writer.write, data)
    loop.call_later(delay, writer.close)


if __name__ == "__main__":
    runner()(main())
