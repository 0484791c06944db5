"""Bodies of requests: whole, unpacked, and neither larger nor longer on their way than they may be."""

import asyncio
import zlib
from typing import Final

from aiohttp import hdrs, web

from pricore.errors import BadRequestError

MEGABYTE: Final = 1024 * 1024
_SECONDS: Final = 30


async def read_body(request: web.Request, *, most: int = MEGABYTE) -> bytes:
    """The body of a request, unpacked where its Content-Encoding is gzip or deflate.

    Raises BadRequestError where it is packed otherwise, damaged, or not here in time, and
    HTTPRequestEntityTooLarge where it has more than `most` bytes, packed or unpacked.
    """
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower()
    if encoding not in ("", "identity", "gzip", "deflate"):
        raise BadRequestError("the Content-Encoding of a request body can be gzip or deflate")
    try:
        async with asyncio.timeout(_SECONDS):
            content = await request.clone(client_max_size=most).read()
    except TimeoutError:
        raise BadRequestError(f"the request body took longer than {_SECONDS} seconds") from None
    return _unpack(content, most) if encoding in ("gzip", "deflate") else content


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
