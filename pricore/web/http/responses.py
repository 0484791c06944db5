"""Finished responses: made once, and sent as they are to as many as ask."""

import asyncio
import sys
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import Final

import zstandard
from aiohttp import HttpVersion10, hdrs, web

from pricore.auth.rate_limits import Allowance
from pricore.web.http.admission import allowance_lines, allowance_of

SERVER_NAME: Final = "Pricore"
"""What responses say of the program; aiohttp would tell its version and Python's."""

_SMALL: Final = 64 * 1024
"""Bytes of a body up to which it is sent in one piece with its head, and waits for nobody."""

_LINES_NEVER_PAUSE: Final = (3, 12) <= sys.version_info < (3, 12, 9) or (3, 13) <= sys.version_info < (3, 13, 2)
"""Whether asyncio's `writelines` never tells that its buffer is full (CVE-2024-12254)."""

_ZSTD_LEVEL: Final = 6
_ZSTD_LEVEL_ABOVE: Final = 1
"""The level for bodies that are not small: as few bytes as level 9 on documents of 200 kB and more, in a tenth of
its time."""

_GZIP_LEVEL: Final = 6


class FinishedResponse:
    """A finished body with its headers; `last_modified` is the date by which a client knows it, if it can.

    `size` is the memory that it takes, in bytes. The body of a large one is in `pieces`, which are sent one after
    the other: many may read it slowly, and nobody has a copy.
    """

    def __init__(
        self, body: bytes | Sequence[bytes], headers: Mapping[str, str], *, last_modified: str | None = None
    ) -> None:
        self.is_large = not isinstance(body, bytes)
        self.has_date = last_modified is not None
        self.body = body if isinstance(body, bytes) else b""
        self.pieces = () if isinstance(body, bytes) else body
        self._modified = last_modified
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        length = len(self.body) + sum(map(len, self.pieces))
        self._found = f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {length}\r\n".encode()
        self._unchanged = f"HTTP/1.1 304 Not Modified\r\n{lines}".encode()
        held = (self._found, self._unchanged, self.body, self.pieces, *self.pieces)
        self.size = sys.getsizeof(self) + sum(map(sys.getsizeof, held))

    def select(
        self, known: str | None, allowance: Allowance | None, more: bytes = b""
    ) -> tuple[int, bytes, bytes]:
        """The status, the whole head and the body for who has what was modified at `known`, and that allowance.

        `more` are lines for the head. A large body is in `pieces` alone, and follows where the status is 200.
        """
        # clients send back the exact text; an earlier date is another view's, not an older document
        if known is not None and known == self._modified:
            status, head, body = 304, self._unchanged, b""
        else:
            status, head, body = 200, self._found, self.body
        date = _date(int(time.time()))
        return status, b"%bDate: %b\r\n%b%b\r\n" % (head, date, allowance_lines(allowance), more), body

    def respond(self, request: web.Request) -> web.StreamResponse:
        """The response to one request: 304 where the client has it already."""
        known = request.headers.get(hdrs.IF_MODIFIED_SINCE)
        status, head, body = self.select(known, allowance_of(request), _connection_line(request))
        if request.version == HttpVersion10:
            head = head.replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        pieces = self.pieces if status == 200 else ()
        if request.method == hdrs.METH_HEAD:
            body, pieces = b"", ()
        return _Written(status, head, body, pieces, keep_alive=request.keep_alive)


def _connection_line(request: web.Request) -> bytes:
    """What a head says of the connection where its client would expect something else."""
    if request.version == HttpVersion10:
        return b"Connection: keep-alive\r\n" if request.keep_alive else b""
    return b"" if request.keep_alive else b"Connection: close\r\n"


def document_response(plain: bytes, last_modified: int | None, encoding: str) -> FinishedResponse:
    """The response with a JSON document in an encoding."""
    headers = _document_headers(last_modified, encoding)
    if encoding == "zstd":
        packed = zstandard.ZstdCompressor(level=_level(len(plain))).compress(plain)
        plain = memoryview(packed).tobytes()  # behind what it gives, it leaves the rest of its worst case
    elif encoding == "gzip":
        compressor = _gzip()
        plain = compressor.compress(plain) + compressor.flush()
    return FinishedResponse(plain, headers, last_modified=headers.get(hdrs.LAST_MODIFIED))


def large_response(plain: Iterable[bytes], last_modified: int | None, encoding: str) -> FinishedResponse:
    """The same of a large document that comes in pieces; there are never more of it than those of the response."""
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
    return FinishedResponse(pieces, headers, last_modified=headers.get(hdrs.LAST_MODIFIED))


def _document_headers(last_modified: int | None, encoding: str) -> dict[str, str]:
    headers: dict[str, str] = {
        hdrs.CACHE_CONTROL: "private, no-cache",
        hdrs.VARY: "Authorization, Accept-Encoding",
        hdrs.CONTENT_TYPE: "application/json",
        hdrs.SERVER: SERVER_NAME,
    }
    if last_modified is not None:
        headers[hdrs.LAST_MODIFIED] = formatdate(last_modified, usegmt=True)
    if encoding != "identity":
        headers[hdrs.CONTENT_ENCODING] = encoding
    return headers


def _level(size: int) -> int:
    return _ZSTD_LEVEL if size < _SMALL else _ZSTD_LEVEL_ABOVE


def _gzip() -> "zlib._Compress":
    return zlib.compressobj(_GZIP_LEVEL, wbits=31)  # 31: with gzip's header


class _Written(web.StreamResponse):
    """A response that is bytes already: aiohttp takes a fifth of a request to write a head."""

    prepared = True
    """Its head is closed: nobody can add to it."""

    keep_alive: bool | None = None  # aiohttp asks for no more than this

    def __init__(
        self, status: int, head: bytes, body: bytes, pieces: Sequence[bytes] = (), *, keep_alive: bool
    ) -> None:
        super().__init__(status=status)
        self.keep_alive = keep_alive
        self._head = head
        self._content = body
        self._pieces = pieces

    @property
    def body_length(self) -> int:
        """What is sent, with the head, as aiohttp counts it."""
        return len(self._head) + len(self._content) + sum(map(len, self._pieces))

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send everything; what is large, or comes while the client has not read what it got before, waits for it.

        Who asks again and again without reading must not fill the memory.
        """
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone away")
        waits = transport.get_write_buffer_size() > 0
        send(transport, self._head, self._content)
        if waits or len(self._content) > _SMALL:
            # until the client has read it, there is no next request on its connection
            await request.writer.drain()
        for piece in self._pieces:
            await request.writer.write(piece)

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""


def last_response(response: web.Response) -> web.StreamResponse:
    """The same response as HTTP/1.1, after which the connection ends.

    For who sent what is no HTTP: aiohttp takes that for HTTP/1.0, and would answer so.
    """
    body = response.body if isinstance(response.body, bytes) else b""
    fields = {**response.headers, hdrs.CONTENT_LENGTH: str(len(body)), hdrs.CONNECTION: "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    head = f"HTTP/1.1 {response.status} {response.reason}\r\n{lines}".encode()
    return _Written(
        response.status, b"%bDate: %b\r\n\r\n" % (head, _date(int(time.time()))), body, keep_alive=False
    )


def send(transport: asyncio.Transport, head: bytes, body: bytes) -> None:
    """Send a head and a body; a large one is not joined to its head."""
    if len(body) <= _SMALL:
        transport.write(head + body)
    elif _LINES_NEVER_PAUSE:
        transport.write(head)
        transport.write(body)
    else:
        transport.writelines((head, body))


@lru_cache(maxsize=1)
def _date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()
