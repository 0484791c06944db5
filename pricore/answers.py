"""Finished answers: made once, and sent as they are to as many as ask."""

import re
import time
import zlib
from email.utils import formatdate
from functools import lru_cache
from typing import Final

import zstandard
from aiohttp import HttpVersion11, hdrs, web
from multidict import CIMultiDict

from pricore.gate import allowance_lines

SERVER: Final = "Pricore"
"""What answers say of the program; aiohttp would tell its version and Python's."""

_SMALL: Final = 64 * 1024
_ZSTD_LEVEL: Final = 9
_GZIP_LEVEL: Final = 6
_REFUSED = re.compile(r";\s*q=0(?:\.0*)?\s*(?:,|$)")


class Answer:
    """A finished body in one encoding, with its date."""

    __slots__ = ("_body", "_found", "_headers", "_modified", "_unchanged", "size")

    def __init__(self, plain: bytes, last_modified: int, encoding: str) -> None:
        self._modified = formatdate(last_modified, usegmt=True)
        self._headers = CIMultiDict(
            {
                hdrs.LAST_MODIFIED: self._modified,
                hdrs.CACHE_CONTROL: "private, no-cache",
                hdrs.VARY: "Authorization, Accept-Encoding",
                hdrs.CONTENT_TYPE: "application/json",
                hdrs.SERVER: SERVER,
            }
        )
        if encoding == "zstd":
            plain = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(plain)
        elif encoding == "gzip":
            compressor = zlib.compressobj(_GZIP_LEVEL, wbits=31)  # 31: with gzip's header
            plain = compressor.compress(plain) + compressor.flush()
        if encoding != "identity":
            self._headers[hdrs.CONTENT_ENCODING] = encoding
        self._body = plain
        lines = "".join(f"{name}: {value}\r\n" for name, value in self._headers.items())
        self._found = f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {len(plain)}\r\n".encode()
        self._unchanged = f"HTTP/1.1 304 Not Modified\r\n{lines}".encode()
        self.size = len(plain) + 2048

    def respond(self, request: web.Request) -> web.StreamResponse:
        """The answer to one request: 304 where the client has it already."""
        # clients send back the exact text; an earlier date is another view's, not an older answer
        unchanged = request.headers.get(hdrs.IF_MODIFIED_SINCE) == self._modified
        body = b"" if unchanged else self._body
        if _may_be_finished(request, body):
            return _Finished(304, self._unchanged, body) if unchanged else _Finished(200, self._found, body)
        if unchanged:
            return web.Response(status=304, headers=self._headers)
        return web.Response(body=body, headers=self._headers)


def _may_be_finished(request: web.Request, body: bytes) -> bool:
    """Whether an answer can go past aiohttp: small, and to a client that reads what it gets.

    Else aiohttp writes it and waits: who asks again and again without reading must not fill the memory.
    """
    transport = request.transport
    return (
        len(body) <= _SMALL
        and transport is not None
        and transport.get_write_buffer_size() == 0
        and request.method == hdrs.METH_GET
        and request.version == HttpVersion11
        and request.keep_alive
    )


class _Finished(web.StreamResponse):
    """A response that is bytes already, but for the date and the rate limit, and keeps the connection.

    aiohttp takes a fifth of a request to write a head; this goes past that, for what is asked for most.
    """

    prepared = True
    """Its head is closed: nobody can add to it."""

    keep_alive = True

    def __init__(self, status: int, head: bytes, body: bytes) -> None:
        super().__init__(status=status)
        self._head = head
        self._content = body

    @property
    def body_length(self) -> int:
        """What is sent, with the head, as aiohttp counts it."""
        return len(self._head) + len(self._content)

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send everything."""
        if request.transport is None:
            raise ConnectionResetError("the client has gone away")
        head = b"%bDate: %b\r\n%b\r\n" % (self._head, _date(int(time.time())), allowance_lines(request))
        request.transport.write(head + self._content)

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""


@lru_cache(maxsize=1)
def _date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()


def choose_encoding(request: web.Request) -> str:
    """zstd, gzip or identity; a client that refuses anything with q=0 gets identity."""
    accepted = request.headers.get(hdrs.ACCEPT_ENCODING, "")
    if "q=" in accepted and _REFUSED.search(accepted):
        return "identity"
    if "q=0" in accepted and "q=0" in accepted.replace("q=0.", ""):
        return "identity"
    return "zstd" if "zstd" in accepted else "gzip" if "gzip" in accepted else "identity"
