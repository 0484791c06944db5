"""Requests to the APIs of Git hosts: what all of them share. Loads aiohttp.

A token goes to the host that it is for and nowhere else: no redirect is followed, and no link to another host.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec
from aiohttp import ClientTimeout, hdrs

from pricore.errors import InvalidError, NotFoundError, ProviderError
from pricore.hosts.provider import Api, Hook, Instance
from pricore.hosts.table import PROVIDERS
from pricore.models import Login
from pricore.system.clock import rfc3339

T = TypeVar("T")

_CONNECT_SECONDS: Final = 15
_MOST_BYTES: Final = 16 * 1024 * 1024
_LONGEST_WAIT: Final = 60
"""Seconds for which a rate limit is waited out; a longer one is told."""
_MOST_PAUSE: Final = 366 * 24 * 3600
"""Seconds that are believed."""


@asynccontextmanager
async def connect(instance: Instance, login: Login | None, *, proxy: str = "") -> AsyncIterator[Api]:
    """The API of a provider, to be asked with a login if there is one, and by a proxy, else by the environment's.

    Raises InvalidError for one without an API.
    """
    api = PROVIDERS[instance.provider].api
    if api is None:
        asked = ", ".join(name for name, item in PROVIDERS.items() if item.api is not None)
        raise InvalidError(f"{instance.provider} has no API to ask; choose one of {asked}", field="provider")
    base = api.base(instance)
    # a context of now: aiohttp's own is from before it was known whom to trust
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context())
    proxy = proxy or _environments_proxy(base) or ""
    # trust_env: for who has no login, ~/.netrc; with one, aiohttp would refuse to have two
    async with aiohttp.ClientSession(connector=connector, trust_env=login is None, proxy=proxy or None) as session:
        yield api(Client(session, base, instance.host, login, headers=api.headers(login)))


def _environments_proxy(url: str) -> str | None:
    """The proxy that the environment has for a URL, by which git goes as well."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


class _Hook(msgspec.Struct):
    """A webhook in a list: its URL is at the top, or in its config."""

    id: int | None = None
    url: str | None = None
    config: dict[str, Any] = {}


class Client:
    """Requests to one API, no faster than it allows; `host` is what errors call it, `headers` go with each.

    An answer may take `timeout` seconds, and a list have `most_pages`; who is told to come later tries that so
    many times.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        host: str,
        login: Login | None,
        *,
        headers: Mapping[str, str],
        timeout: float = 60,
        tries: int = 5,
        most_pages: int = 500,
    ) -> None:
        self.login = login
        self.host = host
        self._session = session
        self._base = base
        self._headers = {hdrs.USER_AGENT: "Pricore", **headers}
        self._timeout = timeout
        self._tries = tries
        self._most_pages = most_pages
        self._not_before = 0.0

    async def get(self, path: str, kind: type[T]) -> T:
        """The JSON at a path below the API."""
        content, _ = await self._ask("GET", f"{self._base}{path}")
        return self._decode(content, kind)

    async def send(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        """Create or change something."""
        await self._ask(method, f"{self._base}{path}", body)

    async def pages(self, path: str, kind: type[T]) -> AsyncIterator[T]:
        """The pages of a list from a path on, as the host links them: in a header, or as `next` in the page."""
        url, seen = f"{self._base}{path}", set[str]()
        while url:
            if len(seen) >= self._most_pages or url in seen:
                raise ProviderError(f"the list of {self.host} doesn't end: {len(seen)} pages were read")
            seen.add(url)
            content, link = await self._ask("GET", url)
            page = self._decode(content, kind)
            yield page
            after = link or getattr(page, "next", None) or ""
            url = urljoin(url, after) if after else ""
            if url and urlsplit(url)[:2] != urlsplit(self._base)[:2]:
                raise ProviderError(
                    f"{self.host} sends to {url[:200]} for the next page: that is no part of its API here"
                )

    async def pages_of_first(self, paths: Sequence[str], kind: type[T]) -> AsyncIterator[T]:
        """The pages at the first of some paths that is there."""
        for path in paths:
            begun = False
            try:
                async for page in self.pages(path, kind):
                    begun = True
                    yield page
            except NotFoundError:
                if begun or path == paths[-1]:
                    raise
            else:
                return

    async def put_hook(
        self, path: str, hook: Hook, body: Mapping[str, Any], *, paging: str = "per_page=100", change: str
    ) -> bool:
        """Make the webhook of a URL in a list, or change the one that is there, by the method `change`.

        Whether there was none before.
        """
        async for page in self.pages(f"{path}?{paging}", list[_Hook]):
            for item in page:
                if hook.url in (item.url, item.config.get("url")):
                    await self.send(change, f"{path}/{item.id}", body)
                    return False
        await self.send("POST", path, body)
        return True

    async def _ask(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> tuple[bytes, str | None]:
        """The body of a good answer, and the next page that its header links."""
        for attempt in range(self._tries):
            await self._wait()
            try:
                async with self._session.request(
                    method,
                    url,
                    headers=self._headers,
                    json=body,
                    allow_redirects=False,
                    timeout=ClientTimeout(total=self._timeout, sock_connect=_CONNECT_SECONDS),
                ) as answer:
                    if (pause := _pause(answer)) is not None:
                        self._not_before = time.time() + pause
                    if _is_limited(answer):
                        self._not_before = max(self._not_before, time.time() + 2**attempt)
                        continue
                    content = await self._read(answer)
                    self._check(answer, url)
                    return content, str(answer.links["next"]["url"]) if "next" in answer.links else None
            except (aiohttp.ClientError, ValueError) as error:  # ValueError: a link that is none
                raise ProviderError(f"cannot reach {self.host}: {error or type(error).__name__}") from None
            except TimeoutError:
                raise ProviderError(f"{self.host} did not answer within {self._timeout:g} seconds") from None
        raise ProviderError(f"{self.host} takes no more requests, though it said that it would: try again later")

    async def _wait(self) -> None:
        """Wait until the host takes requests again. Raises ProviderError where that is too long."""
        pause = self._not_before - time.time()
        if pause > _LONGEST_WAIT:
            until = rfc3339(int(self._not_before))
            raise ProviderError(f"{self.host} takes no more requests until {until}: try again then")
        if pause > 0:
            await asyncio.sleep(pause)

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for piece in answer.content.iter_chunked(64 * 1024):
            content += piece
            if len(content) > _MOST_BYTES:
                raise ProviderError(f"{self.host} answers with more than {_MOST_BYTES // 1024**2} MB")
        return bytes(content)

    def _check(self, answer: aiohttp.ClientResponse, url: str) -> None:
        """Raise what an answer means that is none."""
        status, shown = answer.status, f"{answer.method} {urlsplit(url).path}"
        if status in (200, 201, 204):
            return
        whom = "who has no credential" if self.login is None else f"the credential {self.login.name}"
        if status == 404:
            raise NotFoundError(f"{self.host} has nothing at {shown}, or doesn't show it to {whom}")
        if status in (401, 403):
            advice = "`pricore credential add` keeps one" if self.login is None else "may its token do that?"
            raise ProviderError(f"{self.host} refuses {shown} to {whom}: {advice}")
        if 300 <= status < 400:
            raise ProviderError(f"{self.host} redirects {shown}: was it renamed, or is the API on another host?")
        raise ProviderError(f"{self.host} answers {shown} with {status}")

    def _decode(self, content: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ProviderError(f"{self.host} answers unlike such a host: is the address right?") from None


def _is_limited(answer: aiohttp.ClientResponse) -> bool:
    """Whether a request was refused for coming too early, and for nothing else."""
    return answer.status == 429 or (answer.status in (403, 503) and _pause(answer) is not None)


def _pause(answer: aiohttp.ClientResponse) -> float | None:
    """Seconds until the host takes another request, None where it does now."""
    headers = answer.headers
    if (after := headers.get(hdrs.RETRY_AFTER, "")).isdecimal():
        return min(float(after), _MOST_PAUSE)
    for prefix in ("X-RateLimit-", "RateLimit-"):
        reset = headers.get(prefix + "Reset", "")
        if headers.get(prefix + "Remaining") == "0" and reset.isdecimal():
            return max(1, min(float(reset) - time.time(), _MOST_PAUSE))
    return None
