"""Where a request comes from."""

from collections.abc import Sequence
from ipaddress import ip_network

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from pricore.web.http.client_address import ClientAddresses

PROXIES = tuple(ip_network(text) for text in ("10.0.0.0/8", "::1", "fd00::/8"))
CLIENT = "203.0.113.7"


def request(peer: str, **headers: str | Sequence[str]) -> web.Request:
    """A request as it arrives from a peer."""
    sent = CIMultiDict({"Host": "packages.example.com"})
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            sent.add(name.replace("_", "-"), value)
    return make_mocked_request("GET", "/", headers=sent).clone(remote=peer)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("10.0.0.1", CLIENT, CLIENT),
        ("10.0.0.1", f" {CLIENT}:4711 ", CLIENT),
        ("10.0.0.1", f"198.51.100.1, {CLIENT}", CLIENT),
        ("10.0.0.1", f"198.51.100.1, {CLIENT}, 10.9.9.9", CLIENT),
        ("10.0.0.1", ["198.51.100.1", f"{CLIENT}, 10.9.9.9", "10.1.1.1"], CLIENT),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
        ("10.0.0.1", f"{CLIENT}, nonsense, 10.0.0.3", "10.0.0.3"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("::ffff:10.0.0.1", f"::ffff:{CLIENT}", CLIENT),
        ("::1", CLIENT, CLIENT),
        ("192.0.2.1", CLIENT, "192.0.2.1"),
        ("2001:db8::5", CLIENT, "2001:db8::"),
    ],
)
def test_the_address_is_the_last_one_that_no_trusted_proxy_has(
    peer: str, forwarded: str | list[str], expected: str
) -> None:
    """X-Forwarded-For is believed from the right, as far as trusted proxies wrote it, and from nobody else."""
    assert expected == ClientAddresses(PROXIES).address(request(peer, X_Forwarded_For=forwarded))


def test_without_trusted_proxies_no_header_counts() -> None:
    """Who connects is the client, whatever it says."""
    clients = ClientAddresses(())
    asked = request("127.0.0.1", X_Forwarded_For=CLIENT, X_Forwarded_Proto="https", X_Forwarded_Host="other.test")

    assert clients.address(asked) == "127.0.0.1"
    assert clients.origin(asked) == "http://packages.example.com"


@pytest.mark.parametrize(
    "address", ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "[2001:db8:1:2::5]:4711", "2001:db8:1:2::1%eth0"]
)
def test_a_network_of_ipv6_is_one_client(address: str) -> None:
    """Whoever has one address of a /64 has all of them."""
    assert ClientAddresses(PROXIES).address(request("10.0.0.1", X_Forwarded_For=address)) == "2001:db8:1:2::"


@pytest.mark.parametrize(
    ("peer", "scheme", "host", "expected"),
    [
        ("10.0.0.1", "https", "php.example.com", "https://php.example.com"),
        ("10.0.0.1", "HTTPS, http", "php.example.com:8443, inner", "https://php.example.com:8443"),
        ("10.0.0.1", "javascript", "", "http://packages.example.com"),
        ("192.0.2.1", "https", "php.example.com", "http://packages.example.com"),
    ],
)
def test_the_origin_is_what_the_client_asked(peer: str, scheme: str, host: str, expected: str) -> None:
    """Scheme and host are taken from a trusted proxy's headers, else from the request itself."""
    asked = request(peer, X_Forwarded_Proto=scheme, X_Forwarded_Host=host)

    assert expected == ClientAddresses(PROXIES).origin(asked)
