"""The least that aiohttp can do for the same answer: one route, no authentication, nothing looked up.

A program: it reads the answer from standard input as JSON, prints its URL, and serves until SIGTERM.
"""

import asyncio
import base64
import json
import signal
import sys

from aiohttp import hdrs, web
from multidict import CIMultiDict

from bench.machine import runner


async def main() -> None:
    """Serve the answer; where `not_modified` is set, 304 to whoever has that date."""
    given = json.load(sys.stdin)
    body = base64.b64decode(given["body"])
    headers = CIMultiDict[str](given["headers"])
    date = given["not_modified"]

    async def full(_: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    async def conditional(request: web.Request) -> web.Response:
        if request.headers.get(hdrs.IF_MODIFIED_SINCE) == date:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers)

    app = web.Application()
    app.add_routes([web.get("/org/{organization}/p2/{vendor}/{package}.json", conditional if date else full)])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    web_runner = web.AppRunner(app, access_log=None)
    await web_runner.setup()
    try:
        site = web.TCPSite(web_runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        print(json.dumps({"url": f"http://127.0.0.1:{web_runner.addresses[0][1]}"}), flush=True)
        await stop.wait()
    finally:
        await web_runner.cleanup()


if __name__ == "__main__":
    runner()(main())
