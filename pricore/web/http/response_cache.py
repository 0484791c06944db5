"""Finished responses, cached as long as the database says that nothing moved."""

import asyncio
import sys
import time
from collections.abc import Hashable
from typing import Final, NamedTuple, TypeAlias

from pricore.auth import access_tokens
from pricore.store import Store
from pricore.system.metrics import Requests
from pricore.web.http.admission import Access, Admission
from pricore.web.http.client_address import ClientAddresses
from pricore.web.http.request_head import RequestHead
from pricore.web.http.responses import FinishedResponse, send

_MOST_DOCUMENTS: Final = 64 * 1024 * 1024
_MOST_ARCHIVES: Final = 32 * 1024 * 1024
"""Bytes of finished responses in memory; beyond, the oldest go."""

_ENTRY: Final = 256
"""Bytes of what the dictionaries have for a response."""

Key: TypeAlias = tuple[str, str, str, Hashable]
"""The path as it was sent, the encoding, the origin, and what is left of it by rules; None where that is all."""

_ROUTES_ONLY: Final = ("Composer/1.", access_tokens.PROBE)
"""Clients that only the routes serve: one is refused, the other counts as nobody."""


class Download(NamedTuple):
    """What is counted when an archive is sent: the version of a package, and the archive's checksum."""

    organization: str
    package: str
    version: str
    shasum: str


class CachedResponse(NamedTuple):
    """A finished response: what a token has to be good for to get it, and where its requests are counted.

    `revision` is the organization's before it was made: with a newer one it is true no more.
    """

    response: FinishedResponse
    access: Access
    counts: Requests
    revision: int
    download: Download | None = None


class CachedResponses(dict[Key, CachedResponse]):
    """Finished responses that take at most so many bytes of memory, with all that is kept for them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sizes: dict[Key, int] = {}
        self.size = 0

    def find(self, key: Key, revision: int) -> CachedResponse | None:
        """A response that is still true."""
        cached = self.get(key)
        if cached is not None and cached.revision < revision:
            self._drop(key)
            return None
        return cached

    def keep(self, key: Key, cached: CachedResponse) -> None:
        """Put a response there; where there are too many, the oldest go."""
        if key in self:  # several requests may have missed it at the same time
            self._drop(key)
        self[key] = cached
        self._sizes[key] = size = _size(key, cached)
        self.size += size
        while self.size > self._most:
            self._drop(next(iter(self)))

    def _drop(self, key: Key) -> None:
        del self[key]
        self.size -= self._sizes.pop(key)


def _size(key: Key, cached: CachedResponse) -> int:
    """What a response takes in memory: clients choose paths and hosts, which can be longer than what they name."""
    *texts, shown = key
    access, download = cached.access, cached.download
    held = [key, cached, *texts, shown, access, *access[:3], download, *(download or ())]
    return cached.response.size + sum(map(sys.getsizeof, held)) + _ENTRY


class ResponseCache:
    """The responses that routes keep, and requests that need no more than one of them."""

    def __init__(self, store: Store, admission: Admission, clients: ClientAddresses, *, public_url: str) -> None:
        self._store = store
        self._admission = admission
        self._clients = clients
        self._public_url = public_url
        self.documents = CachedResponses(_MOST_DOCUMENTS)
        self.archives = CachedResponses(_MOST_ARCHIVES)

    def respond(self, path: str, head: RequestHead, transport: asyncio.Transport) -> bool:
        """Respond to a request at once, if the response is here and still true, and its token may have it.

        Whether it did. If not, nothing has happened: a route responds. On the hot path.
        """
        began = time.monotonic()
        get, address = head.headers.get, self._clients.address(head)
        client = get("user-agent", "")
        token = self._admission.find_known(head.token_key, address, client)
        if token is None:
            return False
        shown = token.seen.get(path)
        cached = self.archives.get((path, head.encoding, "", None))
        if cached is None:
            origin = self._public_url or self._clients.origin(head)
            cached = self.documents.get((path, head.encoding, origin, shown))
        if cached is None:
            return False
        response, access, counts, revision, download = cached
        if response.is_large or revision < self._store.revision_of(access.organization):
            return False
        if shown is None and not token.sees_all(access.organization):
            return False  # a route decides what is left of it
        if "if-none-match" in head.headers or client.startswith(_ROUTES_ONLY):
            return False
        admitted = self._admission.admit_known(token, address, access)
        if admitted is None:
            return False
        if download is not None:
            self._store.usage.downloaded(download.organization, download.package, download.version)
            self._store.usage.dist_used(download.shasum)
        status, lines, body = response.select(get("if-modified-since"), admitted[1])
        send(transport, lines, body)
        counts.add(status, time.monotonic() - began, len(lines) + len(body))
        return True
