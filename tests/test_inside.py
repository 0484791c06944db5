"""A host on the inside is known as one however it is written, and whatever its name leads to."""

import asyncio
import socket
from ipaddress import ip_network
from typing import Any

import pytest

from pricore.errors import GitError, GitUnavailableError
from pricore.inside import find_outside

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

    async def getaddrinfo(_: Any, host: str, *__: Any, **___: Any) -> list[Any]:
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in names[host]]

    monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", getaddrinfo)


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
