"""Git hosts as they answer: what was recorded of their APIs, said again by a local server."""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from pricore.hosts.client import Client
from pricore.hosts.provider import Api, Found, Hook
from pricore.hosts.table import PROVIDERS
from pricore.models import Login

RECORDED = Path(__file__).parent / "recorded"
HOOK = "https://packages.example.com/webhooks/{}/0c7f"
SECRET = "whsec_c2VjcmV0"
TOKEN = "tok-3n1gm4"
WITH_API = [name for name, provider in PROVIDERS.items() if provider.api is not None]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def login(username: str = "x-access-token") -> Login:
    return Login(name="deploy", kind="https", host="", username=username, plain=True, secret=TOKEN)


class Host:
    """A server that answers as recorded, or by a handler, and notes what it was asked.

    `limits` are those of a client that differ from production's.
    """

    def __init__(self, answer: str | Handler, **limits: Any) -> None:
        self._limits = limits
        self.seen: list[web.Request] = []
        self.sent: list[Any] = []
        self._recorded: list[Any] = (
            json.loads((RECORDED / f"{answer}.json").read_text()) if isinstance(answer, str) else []
        )
        self._handler = self._replay if isinstance(answer, str) else answer
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        server = TestServer(app)
        await server.start_server()
        self._opened.push_async_callback(server.close)
        self.base = f"http://127.0.0.1:{server.port}"
        self._session = await self._opened.enter_async_context(aiohttp.ClientSession())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    def api(self, kind: str, given: Login | None = None) -> Api:
        """The API of a provider as it is asked in production, but for where it is."""
        api = PROVIDERS[kind].api
        assert api is not None
        headers = api.headers(given)
        return api(Client(self._session, self.base, "git.example.com", given, headers=headers, **self._limits))

    async def list(self, kind: str, owner: str, given: Login | None = None) -> list[Found]:
        return [found async for found in self.api(kind, given).repositories(owner)]

    async def register(self, kind: str, name: str) -> bool:
        hook = Hook(url=HOOK.format(kind), secret=SECRET)
        return await self.api(kind, login()).register(name, hook)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        self.sent.append(json.loads(await request.text() or "null"))
        return await self._handler(request)

    async def _replay(self, request: web.Request) -> web.Response:
        asked = {"method": request.method, "path": request.raw_path}
        if self.sent[-1] is not None:
            asked["body"] = self.sent[-1]
        for exchange in self._recorded:
            if exchange["request"] == asked:
                return self._say(exchange["response"])
        return web.Response(status=599, text=f"nobody asked that: {asked}")

    def _say(self, recorded: Mapping[str, Any]) -> web.Response:
        text = json.dumps(recorded).replace("{base}", self.base)
        answer = json.loads(text)
        return web.Response(
            status=answer["status"], headers=answer["headers"], text=json.dumps(answer.get("body", ""))
        )
