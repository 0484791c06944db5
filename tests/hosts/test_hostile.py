"""A Git host that is busy, broken or bad is told in a line, and gets nothing but what is its own."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pricore.errors import InvalidError, ProviderError
from pricore.hosts.client import connect
from pricore.hosts.provider import Instance
from tests.hosts.harness import WITH_API, Handler, Host, login


def always(status: int = 200, text: str = "[]", headers: Mapping[str, str] | None = None) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers=headers)

    return answer


def first(number: int, answer: Callable[[], web.Response]) -> Handler:
    """A host that gives some answers before it has an empty list."""
    left = number

    async def handle(request: web.Request) -> web.Response:
        nonlocal left
        if left:
            left -= 1
            return answer()
        return web.Response(text="[]")

    return handle


async def refused(handler: Handler, **limits: Any) -> str:
    async with Host(handler, **limits) as host:
        with pytest.raises(ProviderError) as caught:
            await host.list("gitlab", "acme", login())
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 400
    assert "tok-" not in message
    return message


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (429, {"Retry-After": "1"}),
        (403, {"Retry-After": "1"}),
        (503, {"Retry-After": "1"}),
        (429, {}),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "{soon}"}),
        (429, {"RateLimit-Remaining": "0", "RateLimit-Reset": "{soon}"}),
    ],
)
async def test_a_limit_is_waited_out(status: int, headers: dict[str, str]) -> None:
    """Who is told to come later does, and gets the list."""

    def limited() -> web.Response:
        soon = str(int(time.time()) + 1)
        return web.Response(
            status=status, headers={name: text.format(soon=soon) for name, text in headers.items()}
        )

    async with Host(first(1, limited)) as host:
        began = time.monotonic()
        assert await host.list("gitlab", "acme", login()) == []
        assert time.monotonic() - began >= 0.9
        assert len(host.seen) == 2


async def test_the_last_request_of_a_limit_is_an_answer() -> None:
    """A good answer that says it was the last one counts; the next request waits."""

    def last() -> web.Response:
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 2)}
        return web.Response(text="[]", headers=headers)

    async with Host(first(1, last)) as host:
        asked = host.api("gitlab", login())
        began = time.monotonic()
        assert [item async for item in asked.repositories("acme")] == []
        assert time.monotonic() - began < 0.9
        assert [item async for item in asked.repositories("acme")] == []
        assert time.monotonic() - began >= 0.9


@pytest.mark.parametrize("after", ["3600", "9" * 400, "\u0669" * 5])
async def test_a_long_limit_is_told(after: str) -> None:
    """Nobody waits for an hour before a terminal: the error says when to come again."""
    message = await refused(always(429, headers={"Retry-After": after}))
    assert message.startswith("git.example.com takes no more requests until 20")


async def test_who_never_lets_in_is_given_up() -> None:
    """A host that says a moment, again and again, is asked so many times."""
    async with Host(always(429, headers={"Retry-After": "0"}), tries=2) as host:
        with pytest.raises(ProviderError, match="takes no more requests, though it said that it would"):
            await host.list("gitlab", "acme")
        assert len(host.seen) == 2


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (always(401), "refuses GET /groups/acme/projects to the credential deploy"),
        (always(403), "refuses GET /groups/acme/projects to the credential deploy"),
        (always(301, headers={"Location": "http://169.254.169.254/"}), "redirects GET /groups/acme/projects"),
        (always(500), "answers GET /groups/acme/projects with 500"),
        (always(text="<html>Sign in</html>"), "unlike such a host"),
        (always(text='{"message": "ok"}'), "unlike such a host"),
        (always(text='[{"path_with_namespace": 1}]'), "unlike such a host"),
        (always(text="[" * 100_000), "unlike such a host"),
        (always(text='["\\ud800"]'), "unlike such a host"),
        (always(text=" " * (17 * 1024**2)), "answers with more than 16 MB"),
        (
            always(headers={"Link": '<http://evil.example.com/2>; rel="next"'}),
            "sends to http://evil.example.com/2",
        ),
        (always(headers={"Link": '<//evil.example.com/2>; rel="next"'}), "sends to http://evil.example.com/2"),
        (always(headers={"Link": '<http://[/>; rel="next"'}), "cannot reach git.example.com"),
        (always(headers={"Link": '<>; rel="next"'}), "doesn't end: 1 pages were read"),
        (always(headers={"Link": '</again>; rel="next"'}), "doesn't end: 2 pages were read"),
    ],
)
async def test_what_is_no_answer_is_told(handler: Handler, message: str) -> None:
    """Each in one line that says what the host did."""
    assert message in await refused(handler)


async def test_a_list_without_an_end() -> None:
    """Pages have a number."""

    async def answer(request: web.Request) -> web.Response:
        page = int(request.query.get("page", "1"))
        return web.Response(text="[]", headers={"Link": f'</list?page={page + 1}>; rel="next"'})

    assert "doesn't end: 5 pages were read" in await refused(answer, most_pages=5)


async def test_a_byte_at_a_time_has_an_end() -> None:
    """The time is for the whole answer, not for each piece of it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.05)

    assert "did not answer within 1 seconds" in await refused(answer, timeout=1)


async def test_a_host_that_is_not_there(unused_tcp_port: int) -> None:
    """It is the host that cannot be reached."""
    instance = Instance("gitea", f"127.0.0.1:{unused_tcp_port}", plain=True)
    async with connect(instance, None) as asked:
        with pytest.raises(ProviderError, match=f"^cannot reach 127.0.0.1:{unused_tcp_port}"):
            _ = [found async for found in asked.repositories("acme")]


@pytest.mark.parametrize("owner", ["", ".", "..", "../..", "acme\r\nX: y", "\u202e", "x" * 2000])
async def test_what_is_no_owner_is_not_asked_for(owner: str) -> None:
    """It would be another path, or a URL of kilobytes."""
    async with Host(always()) as host:
        for kind in WITH_API:
            with pytest.raises(InvalidError, match="is no owner of repositories"):
                await host.list(kind, owner)
        assert not host.seen


@pytest.mark.parametrize("owner", ["../../admin", "acme?per_page=1", "acme#", "a/b", "%2e%2e", "..%2f.."])
async def test_an_owner_is_one_part_of_the_path(owner: str) -> None:
    """Whatever is given, no other part of the API is asked."""
    async with Host(always()) as host:
        for kind in ("github", "gitlab", "gitea"):
            with contextlib.suppress(ProviderError):  # a list is no user
                await host.list(kind, owner)
        assert host.seen
        for request in host.seen:
            parts = request.raw_path.partition("?")[0].split("/")
            assert len(parts) <= 4
            assert parts[1] in ("users", "orgs", "groups")
            assert ".." not in parts


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        (Instance("git", "git.example.com"), "git has no API to ask"),
        (Instance("bitbucket", "git.example.com"), "only bitbucket.org can be asked"),
    ],
)
async def test_hosts_without_an_api(instance: Instance, message: str) -> None:
    """What cannot be asked is told before anything is."""
    with pytest.raises(InvalidError, match=message):
        async with connect(instance, None):
            pass


async def test_a_login_is_the_only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the operator's ~/.netrc has something for the host as well, the credential is sent, and not that."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password netrc-secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("no_proxy", "*")
    async with Host(always()) as host:
        instance = Instance("gitea", host.base.removeprefix("http://"), plain=True)
        async with connect(instance, login()) as provider:
            assert [found async for found in provider.repositories("acme")] == []
    headers = {request.headers["Authorization"] for request in host.seen}
    assert len(headers) == 1
    assert not headers.pop().startswith("Basic ")
