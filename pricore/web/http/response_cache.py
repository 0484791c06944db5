"""Finished answers, kept as long as the database says that nothing moved, and requests answered out of them."""

import asyncio
import sys
import time
from typing import Final, NamedTuple, TypeAlias

from pricore.auth import access_tokens
from pricore.store import Store
from pricore.system.metrics import Requests
from pricore.web.http.admission import Gate
from pricore.web.http.client_address import Clients
from pricore.web.http.request_head import Headers
from pricore.web.http.responses import Answer, send

_MOST_DOCUMENTS: Final = 64 * 1024 * 1024
_MOST_ARCHIVES: Final = 32 * 1024 * 1024
"""Bytes of finished answers in memory; beyond, the oldest go."""

_ENTRY: Final = 256
"""Bytes of what the dictionaries have for an answer."""

Key: TypeAlias = tuple[str, str, str, frozenset[str] | None]
"""The path as it was sent, the encoding, the origin, and of packages.json to which packages it is restricted."""

_NOT_HERE: Final = ("Composer/1.", access_tokens.PROBE)
"""Who is answered by the routes alone: one is refused, the other counts as nobody."""


class Archive(NamedTuple):
    """What is counted when an archive is sent."""

    version: str
    shasum: str


class Kept(NamedTuple):
    """A finished answer: whose it is, of which package if it is of one, and where its requests are counted.

    `revision` is the organization's before it was made: with a newer one it is true no more.
    """

    answer: Answer
    slug: str
    package: str | None
    counts: Requests
    revision: int
    archive: Archive | None = None


class Shelf(dict[Key, Kept]):
    """Finished answers that take at most so many bytes of memory, with all that is kept for them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sizes: dict[Key, int] = {}
        self.size = 0

    def find(self, key: Key, revision: int) -> Kept | None:
        """An answer that is still true."""
        kept = self.get(key)
        if kept is not None and kept.revision < revision:
            self._drop(key)
            return None
        return kept

    def keep(self, key: Key, kept: Kept) -> None:
        """Put an answer there; where there are too many, the oldest go."""
        if key in self:  # several requests may have missed it at the same time
            self._drop(key)
        self[key] = kept
        self._sizes[key] = size = _size(key, kept)
        self.size += size
        while self.size > self._most:
            self._drop(next(iter(self)))

    def _drop(self, key: Key) -> None:
        del self[key]
        self.size -= self._sizes.pop(key)


def _size(key: Key, kept: Kept) -> int:
    """What an answer takes in memory: paths and hosts, which clients choose, can be longer than what they name."""
    *texts, only = key
    held = [key, kept, *texts, kept.slug, kept.package, only, *(only or ()), kept.archive, *(kept.archive or ())]
    return kept.answer.size + sum(map(sys.getsizeof, held)) + _ENTRY


class Recall:
    """All that was answered before, for the routes that answer and for requests that need no more than it."""

    def __init__(self, store: Store, gate: Gate, clients: Clients, *, public_url: str) -> None:
        self._store = store
        self._gate = gate
        self._clients = clients
        self._public_url = public_url
        self.documents = Shelf(_MOST_DOCUMENTS)
        self.archives = Shelf(_MOST_ARCHIVES)

    def answer(self, path: str, headers: Headers, remote: str, transport: asyncio.Transport) -> bool:
        """Answer a request at once, if it was answered since the organization changed, and its token may have it.

        Whether it did. If not, nothing has happened: the routes answer it.
        """
        began = time.monotonic()
        get = headers.get
        kept = self.archives.get((path, headers.encoding, "", None))
        if kept is None:
            origin = self._public_url or self._clients.origin_of(
                remote,
                get("host", ""),
                proto=get("x-forwarded-proto", ""),
                forwarded_host=get("x-forwarded-host", ""),
            )
            kept = self.documents.get((path, headers.encoding, origin, None))
        if kept is None or kept.answer.is_large or kept.revision < self._store.revision_of(kept.slug):
            return False
        if "if-none-match" in headers or get("user-agent", "").startswith(_NOT_HERE):
            return False
        key = headers.token_key
        if key is None:
            key = headers.token_key = access_tokens.key_of(get("authorization", ""))
        forwarded = get("x-forwarded-for")
        admitted, allowance = self._gate.recall(
            key,
            self._clients.address_of(remote, () if forwarded is None else (forwarded,)),
            organization=kept.slug,
            package=kept.package,
            downloads=kept.archive is not None,
        )
        if not admitted:
            return False
        if kept.archive is not None and kept.package is not None:
            self._store.usage.downloaded(kept.slug, kept.package, kept.archive.version)
            self._store.usage.dist_used(kept.archive.shasum)
        status, head, body = kept.answer.finish(get("if-modified-since"), allowance)
        send(transport, head, body)
        kept.counts.add(status, time.monotonic() - began, len(head) + len(body))
        return True
