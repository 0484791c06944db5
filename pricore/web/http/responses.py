"""Finished answers: made once, and sent as they are to as many as ask."""

import asyncio
import sys
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import Final

import zstandard
from aiohttp import HttpVersion11, hdrs, web

from pricore.auth.rate_limits import Allowance
from pricore.web.http.admission import allowance_lines, allowance_of

SERVER: Final = "Pricore"
"""What answers say of the program; aiohttp would tell its version and Python's."""

_SMALL: Final = 64 * 1024
"""Bytes of a body up to which it is sent in one piece with its head, and waits for nobody."""

_ZSTD_LEVEL: Final = 6
_ZSTD_LEVEL_ABOVE: Final = 1
"""The level for bodies that are not small: as few bytes as level 9 on documents of 200 kB and more, in a tenth of
its time."""

_GZIP_LEVEL: Final = 6


class Answer:
    """A finished body with its headers; `last_modified` is the date by which a client knows it, if it can.

    `size` is the memory that it takes, in bytes.

    A large one is in pieces, which are sent one after the other: many may read it slowly, and nobody has a copy.
    """

    def __init__(
        self, body: bytes | Sequence[bytes], headers: Mapping[str, str], *, last_modified: str | None = None
    ) -> None:
        self._pieces = None if isinstance(body, bytes) else body
        self._body = body if isinstance(body, bytes) else b""
        self._headers = dict(headers)
        self._modified = last_modified
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._found = f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {len(self._body)}\r\n".encode()
        self._unchanged = f"HTTP/1.1 304 Not Modified\r\n{lines}".encode()
        held = (self._found, self._unchanged, self._headers, *self._headers.values())
        bodies = (body,) if self._pieces is None else (self._pieces, *self._pieces)
        self.size = sys.getsizeof(self) + sum(map(sys.getsizeof, (*held, *bodies)))

    def respond(self, request: web.Request) -> web.StreamResponse:
        """The answer to one request: 304 where the client has it already."""
        known = request.headers.get(hdrs.IF_MODIFIED_SINCE)
        if self._pieces is not None:
            if not self._is_known(known):
                return _Pieces(self._pieces, self._headers, request.method)
        elif _may_be_finished(request):
            return _Finished(*self.finish(known, allowance_of(request)))
        if self._is_known(known):
            return web.Response(status=304, headers=self._headers)
        return web.Response(body=self._body, headers=self._headers)

    @property
    def is_large(self) -> bool:
        """Whether it is in pieces, each of which waits for the client: `finish` has no such body."""
        return self._pieces is not None

    def finish(self, known: str | None, allowance: Allowance | None) -> tuple[int, bytes, bytes]:
        """The status, the whole head and the body for who has what was modified at `known`, and that allowance."""
        if self._is_known(known):
            status, head, body = 304, self._unchanged, b""
        else:
            status, head, body = 200, self._found, self._body
        return status, b"%bDate: %b\r\n%b\r\n" % (head, _date(int(time.time())), allowance_lines(allowance)), body

    def _is_known(self, known: str | None) -> bool:
        # clients send back the exact text; an earlier date is another view's, not an older answer
        return known is not None and known == self._modified


def document_answer(plain: bytes, last_modified: int, encoding: str) -> Answer:
    """The answer that brings a JSON document in an encoding."""
    headers = _document_headers(last_modified, encoding)
    if encoding == "zstd":
        packed = zstandard.ZstdCompressor(level=_level(len(plain))).compress(plain)
        plain = memoryview(packed).tobytes()  # behind what it gives, it leaves the rest of its worst case
    elif encoding == "gzip":
        compressor = _gzip()
        plain = compressor.compress(plain) + compressor.flush()
    return Answer(plain, headers, last_modified=headers[hdrs.LAST_MODIFIED])


def large_answer(plain: Iterable[bytes], last_modified: int, encoding: str) -> Answer:
    """The same of a large document that comes in pieces; there are never more of it than those of the answer."""
    headers = _document_headers(last_modified, encoding)
    pieces: list[bytes] = []
    if encoding == "identity":
        pieces.extend(plain)
    else:
        compressor = (
            zstandard.ZstdCompressor(level=_ZSTD_LEVEL_ABOVE).compressobj() if encoding == "zstd" else _gzip()
        )
        pieces.extend(filter(None, map(compressor.compress, plain)))
        pieces.append(compressor.flush())
    return Answer(pieces, headers, last_modified=headers[hdrs.LAST_MODIFIED])


def _document_headers(last_modified: int, encoding: str) -> dict[str, str]:
    headers: dict[str, str] = {
        hdrs.LAST_MODIFIED: formatdate(last_modified, usegmt=True),
        hdrs.CACHE_CONTROL: "private, no-cache",
        hdrs.VARY: "Authorization, Accept-Encoding",
        hdrs.CONTENT_TYPE: "application/json",
        hdrs.SERVER: SERVER,
    }
    if encoding != "identity":
        headers[hdrs.CONTENT_ENCODING] = encoding
    return headers


def _level(size: int) -> int:
    return _ZSTD_LEVEL if size < _SMALL else _ZSTD_LEVEL_ABOVE


def _gzip() -> "zlib._Compress":
    return zlib.compressobj(_GZIP_LEVEL, wbits=31)  # 31: with gzip's header


class _Pieces(web.StreamResponse):
    """A body in pieces, of which the next one waits until the client has read the one before."""

    def __init__(self, pieces: Sequence[bytes], headers: Mapping[str, str], method: str) -> None:
        super().__init__(headers=headers)
        self.content_length = sum(map(len, pieces))
        self._pieces = () if method == hdrs.METH_HEAD else pieces

    async def write_eof(self, data: bytes = b"") -> None:
        """Send all of it."""
        pieces, self._pieces = self._pieces, ()
        for piece in pieces:
            await self.write(piece)
        await super().write_eof(data)


def _may_be_finished(request: web.Request) -> bool:
    """Whether an answer can go past aiohttp: to a client that has read what it got before.

    Else aiohttp writes it and waits: who asks again and again without reading must not fill the memory.
    """
    transport = request.transport
    return (
        transport is not None
        and transport.get_write_buffer_size() == 0
        and request.method == hdrs.METH_GET
        and request.version == HttpVersion11
        and request.keep_alive
    )


class _Finished(web.StreamResponse):
    """A response that is bytes already, and keeps the connection.

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
        send(request.transport, self._head, self._content)
        if len(self._content) > _SMALL:
            # until the client has read it, there is no next request on its connection
            await request.writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""


class _Last(_Finished):
    """One after which the connection ends."""

    keep_alive = False


def answer_last(response: web.Response) -> web.StreamResponse:
    """The same answer as HTTP/1.1, after which the connection ends.

    For who sent what is no HTTP: aiohttp takes that for HTTP/1.0, and would answer so.
    """
    body = response.body if isinstance(response.body, bytes) else b""
    fields = {**response.headers, hdrs.CONTENT_LENGTH: str(len(body)), hdrs.CONNECTION: "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    head = f"HTTP/1.1 {response.status} {response.reason}\r\n{lines}".encode()
    return _Last(response.status, b"%bDate: %b\r\n\r\n" % (head, _date(int(time.time()))), body)


def send(transport: asyncio.Transport, head: bytes, body: bytes) -> None:
    """Send a head and a body; a large one is never copied."""
    if len(body) <= _SMALL:
        transport.write(head + body)
    else:
        transport.writelines((head, body))


@lru_cache(maxsize=1)
def _date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()
