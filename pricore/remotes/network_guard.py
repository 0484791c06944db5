"""Which hosts are inside the network of this server: no address that came over the API may lead to one."""

import asyncio
import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from pricore.config import Network
from pricore.errors import GitError, GitUnavailableError
from pricore.system.threads import NAMES

RESOLVE_SECONDS: Final = 10
_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_SPECIAL: Final = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        *("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20"),
    )
)
"""What no Git host of the internet has, and a network may have inside; of IPv6 what is within its unicast.

Of our own, because `ipaddress` has what IANA's registries said when that Python was made:
https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry.
"""

_ODD = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)")
"""What the resolver takes for a number: 127.1, 0x7f000001, 2130706433, 0177.0.0.1."""


async def find_outside(host: str, *, allowed: Sequence[Network | str]) -> list[str]:
    """The addresses of a host, of which none is inside; empty where it is `allowed` by its name.

    `allowed` are names and networks that may be inside. Raises GitError for any other host that is, and
    GitUnavailableError for a name that leads nowhere.
    """
    name = host.lower().removesuffix(".")
    if name in allowed:
        return []
    refusal = GitError(
        f"{host[:200]} is inside the network of this server: only its command line can follow what is there, "
        "unless internal_hosts names it"
    )
    try:
        found = [ip_address(name)]
    except ValueError:
        # without a dot it is this machine, a neighbour, or an alias in the configuration of ssh
        if "." not in name or name.endswith((".localhost", ".localdomain")) or _ODD.fullmatch(name):
            raise refusal from None
        found = await _resolve(name)
    if not all(_is_outside(item) or _is_allowed(item, allowed) for item in found):
        raise refusal
    return [str(item) for item in found]


async def _resolve(name: str) -> list[IPv4Address | IPv6Address]:
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            rows = await NAMES.run(socket.getaddrinfo, name, None, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise GitUnavailableError(
            f"cannot find {name[:200]}: its name servers do not answer within {RESOLVE_SECONDS} seconds"
        ) from None
    except (OSError, UnicodeError):  # UnicodeError: a part that is empty or too long
        raise GitUnavailableError(f"cannot find {name[:200]}: the name leads to no address") from None
    return [ip_address(address[0]) for *_, address in rows]


def _is_outside(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the public internet's, and hides no other."""
    if isinstance(address, IPv6Address):
        embedded = _embedded(address)
        if embedded is not None:
            return _is_outside(embedded)
        if address not in _UNICAST:
            return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address to which an IPv6 one leads: mapped, by NAT64 or by 6to4."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def _is_allowed(address: IPv4Address | IPv6Address, allowed: Sequence[Network | str]) -> bool:
    embedded = _embedded(address) if isinstance(address, IPv6Address) else None
    return any(
        not isinstance(network, str) and (address in network or (embedded is not None and embedded in network))
        for network in allowed
    )
