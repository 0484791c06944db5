"""Requests that are read in one go: what is accepted, aiohttp's parser reads just so."""

import asyncio
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, HttpVersion11
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pricore.web.http.request_head import RequestHeadReader
from tests.soak import TIMES

PLAIN = (
    b"GET /org/acme/p2/acme/library.json HTTP/1.1\r\nHost: packages.example.com\r\nAccept: */*\r\n"
    b"Accept-Encoding: deflate, gzip, br, zstd\r\nUser-Agent: Composer/2.5.5 (Linux; 6.1; PHP 8.2; cURL 7.88)\r\n"
    b"Authorization: Basic dG9rZW46cHJp\r\nIf-Modified-Since: Wed, 25 Nov 2026 21:39:02 GMT\r\n\r\n"
)
GOOD = [
    "Accept: */*",
    "Accept-Encoding: gzip, zstd;q=0.5",
    "X-Forwarded-For: 10.0.0.1, ::1",
    "Range:bytes=0-",
    "X: !~ : ",
]
LINES = [
    *(
        "Host: a",
        "host: b",
        "Accept:x",
        "Accept:  y ",
        "X_Y: 1",
        "Empty:",
        "X: caf\u00e9",
        "X: \t",
        'X: a, b; c="d"',
        "X: \x01",
    ),
    *(
        "Content-Length: 5",
        "Content-Length: 0",
        "content-length:",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: x",
    ),
    *(
        "Connection: close",
        "Connection: keep-alive",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Connection: TE",
    ),
    *(
        "Expect: 100-continue",
        "Trailer: x",
        "TE: trailers",
        " folded",
        "No colon",
        ": no name",
        "Proxy-Connection: close",
    ),
]
PATHS = [
    "/",
    "/org/acme",
    "/a?b#c",
    "//a/../%2e%00",
    "/a:80",
    "http://localhost/a",
    "*",
    "/a b",
    "/\u00e9",
    "",
    '/{}|\\^`"<>',
]
ODD = [
    b" ",
    b"\t",
    b":",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b"\x7f",
    b"\xe9",
    b"GET / HTTP/1.1\r\n\r\n",
    b"HTTP/1.0",
]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """What looks like a request, with or without something odd in it."""
    lines = draw(st.lists(st.sampled_from(GOOD) | st.sampled_from(LINES), unique=True, max_size=3))
    lines.insert(draw(st.integers(0, len(lines))), "Host: localhost")
    data = "\r\n".join(
        [f"GET {draw(st.just('/org/acme') | st.sampled_from(PATHS))} HTTP/1.1", *lines, "", ""]
    ).encode()
    if draw(st.booleans()):
        place = draw(st.integers(0, len(data)))
        data = data[:place] + draw(st.sampled_from(ODD)) + data[place + draw(st.integers(0, 3)) :]
    return data


def parsed(data: bytes) -> list[Any]:
    """What aiohttp reads out of the first bytes of a connection; raises where it refuses them."""
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16, max_line_size=8190, max_field_size=8190)
        messages, upgraded, tail = parser.feed_data(data)
        assert (upgraded, tail) == (False, b"")
        # nothing is left open: what comes next is a request of its own
        assert len(parser.feed_data(PLAIN)[0]) == 1
        return [*messages]
    finally:
        loop.close()


@settings(max_examples=1000 * TIMES, deadline=None)
@given(requests())
@example(PLAIN)
@example(PLAIN.replace(b"Accept: */*", b"Accept:*/*"))
@example(PLAIN.replace(b"Accept: */*", b"Connection: Keep-Alive"))
def test_what_is_read_at_once_is_one_request_without_a_body(data: bytes) -> None:
    """Path and headers are those that aiohttp finds, and it finds no second request, no body, and no end."""
    found = RequestHeadReader(remote="192.0.2.1").read(data)
    if found is None:
        return
    ((message, payload),) = parsed(data)
    path, head = found
    headers = head.headers
    assert (message.method, message.path, message.version) == ("GET", path, HttpVersion11)
    assert {name.lower(): value for name, value in message.headers.items()} == headers
    assert len(message.headers) == len(headers)
    assert payload.is_eof()
    assert not message.should_close
    assert not message.upgrade
    assert not message.chunked


def test_what_composer_sends_is_read_at_once() -> None:
    """Again with the same headers and another path, and then with other headers."""
    reader = RequestHeadReader(remote="192.0.2.1")
    for path in ("/org/acme/p2/acme/library.json", "/org/acme/p2/acme/other.json"):
        found = reader.read(PLAIN.replace(b"/org/acme/p2/acme/library.json", path.encode()))
        assert found is not None
        assert found[0] == path
        assert found[1].headers["user-agent"].startswith("Composer/2.5.5 ")
        assert found[1].encoding == "zstd"
    found = reader.read(PLAIN.replace(b", zstd", b"").replace(b"dG9rZW46cHJp", b"b3RoZXI6cHJp"))
    assert found is not None
    assert (found[1].encoding, found[1].headers["authorization"]) == ("gzip", "Basic b3RoZXI6cHJp")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN[:-2],
        PLAIN + PLAIN,
        PLAIN + b"x",
        PLAIN.replace(b"GET", b"HEAD"),
        PLAIN.replace(b"GET", b"POST"),
        PLAIN.replace(b"1.1\r\n", b"1.0\r\n"),
        PLAIN.replace(b"1.1\r\n", b"1.1\n"),
        PLAIN.replace(b"Accept: */*", b"Connection: close"),
        PLAIN.replace(b"Accept: */*", b"Content-Length: 3"),
        PLAIN.replace(b"Accept: */*", b"Transfer-Encoding: chunked"),
        PLAIN.replace(b"Accept: */*", b"Expect: 100-continue"),
        PLAIN.replace(b"Accept: */*", b"Upgrade: h2c"),
        PLAIN.replace(b"Accept: */*", b"Authorization: Basic dG9rZW46cHJp"),
        PLAIN.replace(b"Accept: */*", b"AUTHORIZATION: Basic dG9rZW46cHJp"),
        PLAIN.replace(b"Accept: */*", b"Accept: */*\r\n folded"),
        PLAIN.replace(b"Accept: */*", b"Accept : */*"),
        PLAIN.replace(b"Accept: */*", b"Accept: \x00"),
        PLAIN.replace(b"Accept: */*", b"Accept: caf\xc3\xa9"),
        PLAIN.replace(b"Accept: */*", b"Accept: " + b"a" * 4096),
        PLAIN.replace(b"/org/acme", b"http://localhost/org/acme"),
        PLAIN.replace(b"/org/acme", b"/org /acme"),
    ],
)
def test_what_is_unusual_is_left_to_the_parser(data: bytes) -> None:
    """Whatever is no whole plain request, or more than one, or could be read in two ways."""
    assert RequestHeadReader(remote="192.0.2.1").read(data) is None
