"""The head of a request, where it is the whole request and nothing unusual: what Composer sends."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from aiohttp import hdrs, web

from pricore.auth.access_tokens import key_of

_MOST_BYTES: Final = 4096

# possessive: what does not match is known at once
_LINE: Final = re.compile(rb"GET (/[!-~]++) HTTP/1\.1")
_HEADERS: Final = re.compile(rb"(?:[A-Za-z0-9-]++: ?+[!-~][ -~]*+\r\n)++\r\n")
_UNUSUAL: Final = frozenset(
    ("content-length", "transfer-encoding", "expect", "upgrade", "te", "trailer", "proxy-connection")
)
"""Headers of requests that have more than a head, or become something else."""

_WEIGHT: Final = re.compile(r"0(?:\.[0-9]*)?|1(?:\.0*)?")
_UNNAMED: Final = 0.0001
"""The weight of identity where nobody speaks of it: it is taken, but after what is asked for."""


class Headers(dict[str, str]):
    """The header fields of a request, each of them once, by their names in lower case."""

    def getall(self, name: str, default: Sequence[str]) -> Sequence[str]:
        """The values of a field, as aiohttp gives them."""
        value = self.get(name)
        return default if value is None else (value,)


class RequestHead:
    """What a request says of itself below its first line, and where it comes from.

    `remote` is the other end of the connection, `encoding` the one chosen for the response.
    """

    __slots__ = ("_token_key", "encoding", "headers", "host", "remote")

    def __init__(self, headers: Headers, *, remote: str) -> None:
        self.remote = remote
        self.headers = headers
        self.host = headers.get("host", "")
        self.encoding = choose_encoding(headers.get("accept-encoding", ""))
        self._token_key: bytes | None = None

    @property
    def token_key(self) -> bytes:
        """The key of the token in it, see `access_tokens.key_of`."""
        key = self._token_key
        if key is None:
            key = self._token_key = key_of(self.headers.get("authorization", ""))
        return key


class RequestHeadReader:
    """Reads the requests of one connection; as a client sends the same headers each time, it reads those once."""

    __slots__ = ("_head", "_lines", "_remote")

    def __init__(self, *, remote: str) -> None:
        self._remote = remote
        self._lines = b""
        self._head = RequestHead(Headers(), remote=remote)

    def read(self, data: bytes) -> tuple[str, RequestHead] | None:
        """The path, as it was sent, and the head of the one request that some bytes are, from first to last.

        It is a GET without a body, after which the connection is kept. None for anything else: what is no plain
        text, or could be understood in two ways, is left to a parser that knows all of HTTP.
        """
        line, _, lines = data.partition(b"\r\n")
        match = _LINE.fullmatch(line)
        if match is None or len(data) > _MOST_BYTES:
            return None
        if lines != self._lines:
            headers = _read_headers(lines)
            if headers is None:
                return None
            self._lines, self._head = lines, RequestHead(headers, remote=self._remote)
        return match[1].decode(), self._head


def _read_headers(data: bytes) -> Headers | None:
    if not _HEADERS.fullmatch(data):
        return None
    lines = data[:-4].decode().split("\r\n")
    headers = Headers()
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if len(headers) < len(lines) or "host" not in headers or not _UNUSUAL.isdisjoint(headers):
        return None
    return headers if headers.get("connection", "keep-alive").lower() == "keep-alive" else None


def encoding_of(request: web.Request) -> str:
    """The encoding for the response to a request; its header may be there several times."""
    return choose_encoding(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, ())))


@lru_cache(maxsize=256)  # clients of a kind send the same
def choose_encoding(accepted: str) -> str:
    """zstd, gzip or identity: what an Accept-Encoding header (RFC 9110, 12.5.3) gives most weight, in this order.

    A weight that cannot be read refuses its encoding. Where all three are refused, it is identity. What accepts
    everything with `*` gets zstd only where it takes neither of the others: not all that say so can read that.
    """
    weights = dict(_read_weights(accepted))
    others = weights.get("*", 0.0)
    ranks = {
        "zstd": (weights.get("zstd", others), 3 if "zstd" in weights else 0),
        "gzip": (weights.get("gzip", weights.get("x-gzip", others)), 2),
        "identity": (weights.get("identity", weights.get("*", _UNNAMED)), 1),
    }
    best = max(ranks, key=ranks.__getitem__)
    return best if ranks[best][0] else "identity"


def _read_weights(accepted: str) -> Iterator[tuple[str, float]]:
    """The encodings that are named, in lower case, with their weights from 0 to 1."""
    for part in accepted.lower().split(","):
        name, *parameters = (text.strip() for text in part.split(";"))
        given = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        yield name, float(given) if _WEIGHT.fullmatch(given) else 0.0
