"""Where a request comes from: its connection says so, or a proxy that the operator trusts."""

import logging
from collections.abc import Iterator, Sequence
from typing import Final

from aiohttp import web

from pricore.auth.networks import network_of, parse_ip
from pricore.config import Network

_log = logging.getLogger("pricore.clients")

_FORWARDED_FOR: Final = "X-Forwarded-For"
_FORWARDED_PROTO: Final = "X-Forwarded-Proto"
_FORWARDED_HOST: Final = "X-Forwarded-Host"


class Clients:
    """Tells the clients of a server apart; only the headers of trusted proxies count."""

    def __init__(self, trusted_proxies: Sequence[Network]) -> None:
        self._trusted = tuple(trusted_proxies)
        self._is_told = False

    def address(self, request: web.BaseRequest) -> str:
        """The client's address, of IPv6 the network: whoever has one address there has them all."""
        headers = request.headers
        # of what could not be parsed there are none, in a plain dict that knows no `getall`
        return self.address_of(request.remote or "", headers.getall(_FORWARDED_FOR, ()) if headers else ())

    def address_of(self, remote: str, forwarded: Sequence[str]) -> str:
        """The same by the other end of a connection, and by what X-Forwarded-For says, once or several times."""
        address = remote
        if forwarded and self._is_proxy(remote):
            for hop in _hops(forwarded):
                if parse_ip(hop) is None:
                    break  # what stands before it can be anybody's invention
                address = hop
                if not self._is_trusted(hop):
                    break
        return network_of(address)

    def origin(self, request: web.Request) -> str:
        """The scheme and host that the client asked; the host is as it came, and can be malformed."""
        headers = request.headers
        if _FORWARDED_PROTO in headers and not self._is_proxy(request.remote or ""):
            self._tell_of_proxy(request.remote or "")
        return self.origin_of(
            request.remote or "",
            request.host,
            proto=headers.get(_FORWARDED_PROTO, ""),
            forwarded_host=headers.get(_FORWARDED_HOST, ""),
        )

    def origin_of(self, remote: str, host: str, *, proto: str, forwarded_host: str) -> str:
        """The same by the other end of a connection, and by what the headers of these names say."""
        scheme = "http"  # TLS ends in front of this server
        if self._is_proxy(remote):
            forwarded = proto.partition(",")[0].strip().lower()
            if forwarded in ("http", "https"):
                scheme = forwarded
            host = forwarded_host.partition(",")[0].strip() or host
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

    def is_proxied(self, request: web.BaseRequest) -> bool:
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
