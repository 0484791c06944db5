"""Where a request comes from: its connection says so, or a proxy that the operator trusts."""

import logging
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from pricore.auth.networks import network_of, parse_ip
from pricore.config import Network

_log = logging.getLogger("pricore.clients")

_FORWARDED_FOR: Final = "x-forwarded-for"
_FORWARDED_PROTO: Final = "x-forwarded-proto"
_FORWARDED_HOST: Final = "x-forwarded-host"


class Fields(Protocol):
    """The header fields of a request, by their names in lower case."""

    def get(self, name: str, default: str, /) -> str: ...

    def getall(self, name: str, default: Sequence[str], /) -> Sequence[str]: ...


class Received(Protocol):
    """What is known of a request by its connection and its head, whoever read that."""

    @property
    def remote(self) -> str | None:
        """The other end of the connection."""

    @property
    def host(self) -> str: ...

    @property
    def headers(self) -> Fields: ...


class ClientAddresses:
    """Tells the clients of a server apart; only the headers of trusted proxies count."""

    def __init__(self, trusted_proxies: Sequence[Network]) -> None:
        self._trusted = tuple(trusted_proxies)
        self._is_told = False

    def address(self, request: Received) -> str:
        """The client's address, of IPv6 the network: whoever has one address there has them all."""
        remote, headers = request.remote or "", request.headers
        address = remote
        # of what could not be parsed there are none, in a plain dict that knows no `getall`
        if self._is_proxy(remote) and headers:
            for hop in _hops(headers.getall(_FORWARDED_FOR, ())):
                if parse_ip(hop) is None:
                    break  # what stands before it can be anybody's invention
                address = hop
                if not self._is_trusted(hop):
                    break
        return network_of(address)

    def origin(self, request: Received) -> str:
        """The scheme and host that the client asked; the host is as it came, and can be malformed."""
        remote, headers, host = request.remote or "", request.headers, request.host
        scheme = "http"  # TLS ends in front of this server
        forwarded = headers.get(_FORWARDED_PROTO, "")
        if self._is_proxy(remote):
            forwarded = forwarded.partition(",")[0].strip().lower()
            if forwarded in ("http", "https"):
                scheme = forwarded
            host = headers.get(_FORWARDED_HOST, "").partition(",")[0].strip() or host
        elif forwarded:
            self._tell_of_proxy(remote)
        return f"{scheme}://{host}"

    def _tell_of_proxy(self, remote: str) -> None:
        """Say once what a proxy that is not trusted does to URLs, if it is near enough to be the operator's."""
        address = parse_ip(remote)
        if self._is_told or address is None or not address.is_private:
            return
        self._is_told = True
        _log.warning(
            "a proxy at %s sends X-Forwarded-Proto, but is not among trusted_proxies, and public_url is not set: "
            "clients may get http:// URLs; set both (docs/settings.md)",
            remote,
        )

    def is_proxied(self, request: Received) -> bool:
        """Whether a request comes through a trusted proxy."""
        return self._is_proxy(request.remote or "")

    def _is_proxy(self, remote: str) -> bool:
        return bool(self._trusted) and self._is_trusted(remote)

    def _is_trusted(self, text: str) -> bool:
        address = parse_ip(text)
        return address is not None and any(address in network for network in self._trusted)


def _hops(forwarded: Sequence[str]) -> Iterator[str]:
    """The addresses that proxies added, the nearest first."""
    for header in reversed(forwarded):
        yield from reversed(header.split(","))
