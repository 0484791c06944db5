"""Bodies of requests: whole, or as they come; neither larger nor longer on their way than they may be."""

import asyncio
import zlib
from typing import Final, Self

from aiohttp import BodyPartReader, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from pricore.errors import BadRequestError

MEGABYTE: Final = 1024 * 1024
BODY_SECONDS: Final = 30
_PIECE: Final = 64 * 1024
_LEAST_PACE: Final = 100 * 1024
"""Bytes a second that a body has to come with which is too large to be here in that time."""


async def read_body(request: web.Request, *, most: int = MEGABYTE) -> bytes:
    """The body of a request, unpacked where its Content-Encoding is gzip or deflate.

    Raises BadRequestError where it is packed otherwise, damaged, or not here in time, and
    HTTPRequestEntityTooLarge where it has more than `most` bytes, packed or unpacked.
    """
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower()
    if encoding not in ("", "identity", "gzip", "deflate"):
        raise BadRequestError("the Content-Encoding of a request body can be gzip or deflate")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            content = await request.clone(client_max_size=most).read()
    except TimeoutError:
        raise BadRequestError(f"the request body took longer than {BODY_SECONDS} seconds") from None
    return _unpack(content, most) if encoding in ("gzip", "deflate") else content


class Zip:
    """The body of a request that is a zip, or a form with one file, as it comes: nobody holds the whole of it.

    While it is read it raises BadRequestError where it is packed once more, or too slow, and
    HTTPRequestEntityTooLarge where it has more than `most` bytes, before any of them where it says so itself.
    """

    def __init__(self, request: web.Request, *, most: int) -> None:
        self._request = request
        self._most = most
        self._size = 0
        self._form = request.content_type == "multipart/form-data"
        self._file: BodyPartReader | None = None
        self._seconds = BODY_SECONDS + (request.content_length or most) // _LEAST_PACE
        self._deadline = asyncio.get_running_loop().time() + self._seconds

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._request.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower() not in ("", "identity"):
            raise BadRequestError("a zip is sent as it is, without a Content-Encoding")
        self._check_size(self._request.content_length or 0)
        try:
            async with asyncio.timeout_at(self._deadline):
                piece = await (self._read_form() if self._form else self._request.content.readany())
        except TimeoutError:
            raise BadRequestError(f"the request body took longer than {self._seconds} seconds") from None
        if not piece:
            raise StopAsyncIteration
        self._size += len(piece)
        self._check_size(self._size)
        return piece

    async def _read_form(self) -> bytes:
        """The next piece of the file in a form, empty at its end."""
        try:
            if self._file is None:
                self._parts = await self._request.multipart()
                part = await self._parts.next()
                if not isinstance(part, BodyPartReader) or part.filename is None:
                    raise BadRequestError(
                        "a form has one file, and nothing else: with curl -F file=@words.zip (and the @), "
                        "and the version in the address, as ?version=1.0.0"
                    )
                self._file = part
            if piece := await self._file.read_chunk(_PIECE):
                return piece
            if await self._parts.next() is not None:
                raise BadRequestError("a form has one file, and nothing else: upload one package at a time")
        except (ValueError, AssertionError, HttpProcessingError):
            raise BadRequestError("the form is damaged") from None
        return b""

    def _check_size(self, size: int) -> None:
        if size > self._most:
            raise web.HTTPRequestEntityTooLarge(max_size=self._most, actual_size=size)


def _unpack(content: bytes, most: int) -> bytes:
    """What was packed, without ever holding more than so many bytes of it."""
    unpacker = zlib.decompressobj(wbits=47)  # 47: with gzip's header or zlib's, whichever is there
    try:
        plain = unpacker.decompress(content, most + 1)
    except zlib.error:
        raise BadRequestError("the request body is damaged") from None
    if len(plain) > most:
        raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=len(plain))
    if not unpacker.eof or unpacker.unused_data:
        raise BadRequestError("the request body is damaged")
    return plain
