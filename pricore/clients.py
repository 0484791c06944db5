"""Where a request comes from: its connection says so, or a proxy that the operator trusts."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from aiohttp import web

from pricore.config import Network

_FORWARDED_FOR: Final = "X-Forwarded-For"
_FORWARDED_PROTO: Final = "X-Forwarded-Proto"
_FORWARDED_HOST: Final = "X-Forwarded-Host"


class Clients:
    """Tells the clients of a server apart; only the headers of trusted proxies count."""

    def __init__(self, trusted_proxies: Sequence[Network]) -> None:
        self._trusted = tuple(trusted_proxies)

    def address(self, request: web.Request) -> str:
        """The client's address, of IPv6 the network: whoever has one address there has them all."""
        address = request.remote or ""
        if self._trusted and self._is_trusted(address):
            for hop in _hops(request):
                if _parse(hop) is None:
                    break  # what stands before it can be anybody's invention
                address = hop
                if not self._is_trusted(hop):
                    break
        return network_of(address)

    def origin(self, request: web.Request) -> str:
        """The scheme and host that the client asked; the host is as it came, and can be malformed."""
        scheme, host = "http", request.host  # TLS ends in front of this server
        if self._trusted and self._is_trusted(request.remote or ""):
            forwarded = request.headers.get(_FORWARDED_PROTO, "").partition(",")[0].strip().lower()
            if forwarded in ("http", "https"):
                scheme = forwarded
            host = request.headers.get(_FORWARDED_HOST, "").partition(",")[0].strip() or host
        return f"{scheme}://{host}"

    def _is_trusted(self, text: str) -> bool:
        address = _parse(text)
        return address is not None and any(address in network for network in self._trusted)


def _hops(request: web.Request) -> Iterator[str]:
    """The addresses that proxies added, the nearest first."""
    for header in reversed(request.headers.getall(_FORWARDED_FOR, [])):
        yield from reversed(header.split(","))


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """An address as it stands in a header or comes from a socket: with a port or a zone too."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=4096)
def network_of(text: str) -> str:
    """An address as limits count it: of IPv6 the network."""
    address = _parse(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> 64 << 64))
    return str(address)
