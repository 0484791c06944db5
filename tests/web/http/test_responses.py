"""Responses that are kept take the memory that they are counted with, and no more of it than they may."""

import random
import tracemalloc
from collections.abc import Callable

import msgspec
import pytest

from pricore.system.metrics import Metrics
from pricore.web.http.admission import Access
from pricore.web.http.response_cache import CachedResponse, CachedResponses, Download
from pricore.web.http.responses import FinishedResponse, document_response

COUNTS = Metrics().route("GET", "/p2")
DOCUMENT = msgspec.json.encode([{"reference": random.Random(1).randbytes(20).hex()} for _ in range(1000)])


def growth(work: Callable[[], object]) -> int:
    """Bytes that are taken after some work and weren't before."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def document(number: int, encoding: str) -> FinishedResponse:
    return document_response(bytes(bytearray(DOCUMENT)), 1_700_000_000 + number, encoding)


@pytest.mark.parametrize("encoding", ["zstd", "gzip", "identity"])
@pytest.mark.parametrize("host", ["h{}.example.com", "h{}." + "example." * 500])
def test_what_is_kept_takes_what_is_counted(encoding: str, host: str) -> None:
    """One document for a hundred hosts: what a compressor needed in the worst case isn't kept, and names count."""
    cache = CachedResponses(2**40)

    def fill() -> None:
        for number in range(100):
            key = f"/org/acme/p2/acme/{number}.json", encoding, host.format(number), frozenset([f"acme/{number}"])
            access = Access(f"{number}", "packages:read", f"acme/{number}")
            cache.keep(key, CachedResponse(document(number, encoding), access, COUNTS, 1))

    assert growth(fill) < cache.size
    assert len(cache) == 100


@pytest.mark.parametrize("body", [b"", b"x" * 10_000])
def test_however_many_are_kept_they_take_no_more_than_they_may(body: bytes) -> None:
    """The oldest go, also of those that are all name and no body; what is kept once more is counted once."""
    most = 1024 * 1024
    cache = CachedResponses(most)

    def fill() -> None:
        for number in range(20_000 // (1 + len(body) // 1000)):
            key = f"/org/acme/packages/acme/library/{number}{'0' * (number % 1000)}.zip", "zstd", "", None
            access = Access("acme", "packages:read", "acme/library", downloads=True)
            download = Download("acme", "acme/library", "1", "s")
            response = FinishedResponse(bytes(bytearray(body)), {})
            kept = CachedResponse(response, access, COUNTS, 1, download)
            cache.keep(key, kept)
            cache.keep(key, kept)

    assert growth(fill) < most
    assert most / 2 < cache.size <= most
