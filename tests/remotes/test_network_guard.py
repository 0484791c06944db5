"""A host on the inside is known as one however it is written, and whatever its name leads to."""

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest

from pricore.errors import GitError, GitUnavailableError
from pricore.remotes import network_guard
from pricore.remotes.network_guard import find_outside
from pricore.system.threads import ARCHIVES, DOCUMENTS, PUBLISHING, SYNCS, UPLOADS

INSIDE = [
    *("127.0.0.1", "127.8.9.10", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "134744072"),
    *(
        "127.0.0.1.",
        "2130706433.",
        "0X7F000001",
        "localhost",
        "LOCALHOST.",
        "localhost.localdomain",
        "x.localhost",
    ),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "fe80::1"),
    *("fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2002:7f00:1::", "2002:a9fe:a9fe::1"),
    *("64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::808:808", "2001:0:808:808::1", "2001:db8::1", "100::1"),
    *("intranet", "gitlab", "db", "alias-of-ssh"),
]


@pytest.mark.parametrize("host", INSIDE)
async def test_a_host_on_the_inside_is_refused(host: str) -> None:
    """Loopback, link-local, private and other addresses that are no public ones, in each of their forms."""
    with pytest.raises(GitError, match="is inside the network"):
        await find_outside(host, allowed=())


REGISTERED = [
    *("0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/31"),
    *("192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.88.99.2/32", "192.168.0.0/16"),
    *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "224.0.0.0/4"),
    *("255.255.255.255/32", "::1/128", "::/128", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23"),
    *("2001::/32", "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32", "fec0::/10"),
    *("2001:4:112::/48", "2001:10::/28", "2001:20::/28", "2001:30::/28", "2001:db8::/32", "2620:4f:8000::/48"),
    *("3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "ff00::/8"),
]
"""IANA's registries of special purposes, in 2025, and multicast; but what carries another address."""


@pytest.mark.parametrize("network", REGISTERED)
async def test_what_has_a_special_purpose_is_inside(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first and the last address, on a Python that knows nothing of them, and also where IPv6 carries them."""
    for kind in (IPv4Address, IPv6Address):
        monkeypatch.setattr(kind, "is_global", True)
        for name in ("is_private", "is_reserved", "is_multicast", "is_unspecified"):
            monkeypatch.setattr(kind, name, False)
    block = ip_network(network)
    for address in (block[0], block[-1]):
        forms = [str(address)]
        if isinstance(address, IPv4Address):
            number = f"{int(address) >> 16:x}:{int(address) & 0xFFFF:x}"
            forms += [f"::ffff:{address}", f"64:ff9b::{address}", f"2002:{number}::1"]
        for form in forms:
            with pytest.raises(GitError, match="is inside the network"):
                await find_outside(form, allowed=())


@pytest.mark.parametrize(
    "host",
    [
        *("1.0.0.0", "9.255.255.255", "11.0.0.0", "126.255.255.255", "128.0.0.0", "191.255.255.255", "192.0.1.0"),
        *("192.88.98.255", "192.88.100.0", "198.17.255.255", "198.20.0.0", "223.255.255.255"),
        *("2001:200::", "2001:db7:ffff::", "2001:db9::", "3ffe::1", "2002:808:808::1"),
    ],
)
async def test_the_neighbours_of_special_addresses_are_outside(host: str) -> None:
    """What has no special purpose is the internet's."""
    assert await find_outside(host, allowed=()) == [str(ip_address(host))]


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
async def test_a_public_address_is_outside(host: str) -> None:
    """An address of the internet is what it is, also where IPv6 carries it."""
    assert len(await find_outside(host, allowed=())) == 1


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1", ip_network("127.0.0.1")),
        ("10.1.2.3", ip_network("10.0.0.0/8")),
        ("::ffff:10.1.2.3", ip_network("10.0.0.0/8")),
        ("fd00::1", ip_network("fd00::/8")),
        ("gitlab", "gitlab"),
        ("GitLab.corp.example.", "gitlab.corp.example"),
        ("localhost", "localhost"),
    ],
)
async def test_the_configuration_can_allow_a_host(host: str, allowed: Any) -> None:
    """internal_hosts lets names through as they are, and addresses by their network."""
    await find_outside(host, allowed=[ip_network("203.0.113.0/24"), "other", allowed])


@pytest.mark.parametrize("host", ["127.0.0.2", "gitlab.corp.example", "sub.gitlab", "localhost"])
async def test_what_is_allowed_is_that_alone(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the neighbours of an address nor the names below a name come along."""
    lead(monkeypatch, {"gitlab.corp.example": ["10.0.0.1"], "sub.gitlab": ["127.0.0.1", "127.0.0.2"]})
    with pytest.raises(GitError, match="is inside the network"):
        await find_outside(host, allowed=[ip_network("127.0.0.1"), "gitlab"])


def lead(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> None:
    """Let names lead to addresses: there is no DNS here that would."""

    def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in names[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_a_name_is_what_all_of_its_addresses_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is outside if every address of it is: one on the inside is enough to refuse it."""
    lead(monkeypatch, {"git.example.com": ["8.8.8.8", "8.8.4.4"], "two.example.com": ["8.8.8.8", "10.0.0.1"]})

    assert await find_outside("Git.Example.com", allowed=()) == ["8.8.8.8", "8.8.4.4"]
    with pytest.raises(GitError, match=r"^two\.example\.com is inside the network"):
        await find_outside("two.example.com", allowed=())


@pytest.mark.parametrize("host", ["missing.example.com", "git..example.com", f"{'a' * 64}.example.com"])
async def test_a_name_that_leads_nowhere_is_told_so(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without an address, and what can be none, is unavailable: trying again may help."""
    if host.startswith("missing"):
        lead(monkeypatch, {})
    with pytest.raises(GitUnavailableError, match="leads to no address"):
        await find_outside(host, allowed=())


async def test_slow_names_keep_no_thread_from_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many name servers don't answer: downloads, documents, archives and syncs have threads of their own.

    Only so many names are asked for at once, and who waits for one is told so in time.
    """
    asked = threading.Semaphore(0)
    answer = threading.Event()
    names: list[str] = []

    def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        names.append(host)
        asked.release()
        answer.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    looking = [asyncio.create_task(find_outside(f"slow{number}.example.com", allowed=())) for number in range(20)]
    try:
        async with asyncio.timeout(20):
            for _ in range(8):
                await SYNCS.run(asked.acquire)
            assert await asyncio.to_thread(int, "1") == 1
            for kind in (ARCHIVES, DOCUMENTS, PUBLISHING, SYNCS, UPLOADS):
                assert await kind.run(int, "1") == 1
            assert len(names) == 8
            monkeypatch.setattr(network_guard, "RESOLVE_SECONDS", 0)
            with pytest.raises(GitUnavailableError, match=r"late\.example\.com: its name servers do not answer"):
                await find_outside("late.example.com", allowed=())
    finally:
        answer.set()
    found = await asyncio.gather(*looking, return_exceptions=True)
    assert {type(item) for item in found} == {GitUnavailableError}
    assert "late.example.com" not in names
