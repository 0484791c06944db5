"""How git gets to a remote: the addresses that it is kept to, what it is lent to log in, and whom ssh trusts.

A secret is in no argument, variable, address or file with a name: a token is in a file without one, which git
inherits open, and an SSH key stays in this process, which signs for ssh.
"""

import os
import tempfile
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from pricore.errors import GitError
from pricore.hosts.addresses import host_of, login_place
from pricore.models import Credential, Login
from pricore.remotes import known_hosts, ssh_agent

PROXIES: Final = frozenset(
    name for word in ("http_proxy", "https_proxy", "all_proxy") for name in (word, word.upper())
)
"""The variables that send git through a proxy."""

AGENT: Final = "SSH_AUTH_SOCK"
_SSH: Final = ("ssh", "-oBatchMode=yes", "-oConnectTimeout=15")
_NO_KEY: Final = ("-oPreferredAuthentications=none", "-oIdentityAgent=none", "-oIdentityFile=none")


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How a remote may be read.

    `only` confines git to the host, at these addresses if there are any; None lets the host send it elsewhere.
    `login` is what it is lent. Without one, a confined git has nothing to log in with, and another one what the
    user has. `known_hosts` is the file in which ssh keeps the keys of hosts that it meets; None leaves it the
    user's. `proxy` is the URL of the one for http and https; empty is the environment's, and for a confined git
    none.
    """

    only: Sequence[str] | None = None
    login: Login | None = None
    known_hosts: Path | None = None
    proxy: str = ""

    @property
    def confined(self) -> bool:
        """Whether it is for an address that came over the API."""
        return self.only is not None


BY_ITSELF: Final = Access()
"""As git does it by itself, with what the user has."""


class GitSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of git gets for an access: its configuration, the command of ssh, variables and open files.

    `withheld` are variables of this process that it doesn't get.
    """

    settings: Sequence[str] = ()
    ssh: Sequence[str] = _SSH
    environment: Mapping[str, str] = {}
    withheld: Collection[str] = ()
    descriptors: Sequence[int] = ()


def may_use(url: str, credential: Credential | Login) -> bool:
    """Whether an address is one that a credential is for: exactly its host and port, by its protocol."""
    place = login_place(url)
    allowed = (credential.kind, "http") if credential.plain else (credential.kind,)
    return place is not None and place[0] in allowed and place[1] == credential.host


@asynccontextmanager
async def prepare(url: str, access: Access) -> AsyncIterator[GitSetup]:
    """What a run of git needs to read `url` so, as long as it runs.

    Raises GitError for git://, which cannot be kept to an address, and for a login of another host.
    """
    settings, ssh, login = _settings(url, access), _ssh(url, access), access.login
    environment: dict[str, str] = {}
    if urlsplit(url).scheme == "https":
        # a redirect must not lead to where anybody on the way can read what ~/.netrc has for that host
        environment["GIT_ALLOW_PROTOCOL"] = "https"
    if login is not None or access.confined:
        environment["HOME"] = os.devnull  # curl would take a user out of ~/.netrc first
    withheld = {AGENT, *PROXIES} if access.confined else ()
    setup = GitSetup(settings=settings, ssh=ssh, environment=environment, withheld=withheld)
    if login is None:
        yield msgspec.structs.replace(setup, ssh=[*ssh, *_NO_KEY]) if access.confined else setup
    elif not may_use(url, login):
        raise GitError(f"cannot read {url}: the credential {login.name} is for {login.host} by {login.kind}")
    elif login.kind == "ssh":
        async with ssh_agent.serving(login.secret) as folder:
            yield msgspec.structs.replace(setup, ssh=[*ssh, *_own_key(folder)])
    else:
        with _open_nameless(f"username={login.username}\npassword={login.secret}\n") as descriptor:
            scheme, host = urlsplit(url).scheme, login.host
            # git asks it for this host alone; what it adds, "get" or "erase", is a comment
            helper = f"credential.{scheme}://{host}.helper=!cat /dev/fd/{descriptor} #"
            yield msgspec.structs.replace(setup, settings=[*settings, helper], descriptors=[descriptor])


@contextmanager
def _open_nameless(text: str) -> Iterator[int]:
    """The descriptor of a file that has no name and is gone with the processes that have it open."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pricore", os.MFD_CLOEXEC)
        os.fchmod(descriptor, 0o600)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.write(descriptor, text.encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _settings(url: str, access: Access) -> list[str]:
    """The configuration of git for an address: its proxy, and where it is confined, that it stays at the host.

    By itself git goes where the first answer sends it, which is how renamed repositories on GitHub are found: a
    host on the outside could send it to one on the inside. And without the addresses that were looked at, the
    name could mean others a moment later. (A proxy looks it up itself: it has to keep git from the inside.)
    Raises GitError for git://, which cannot be kept to an address.
    """
    settings = [f"http.proxy={access.proxy}"] if access.proxy else []
    if access.only is None:
        return settings
    settings.append("http.followRedirects=false")
    parts = urlsplit(url)
    if parts.scheme == "git":
        raise GitError(f"cannot read {url}: git:// is not followed for who came over the API; give https or ssh")
    if access.only and parts.scheme in ("http", "https"):
        port = parts.port or (443 if parts.scheme == "https" else 80)
        addresses = ",".join(f"[{address}]" if ":" in address else address for address in access.only)
        settings.append(f"http.curloptResolve={parts.hostname}:{port}:{addresses}")
    return settings


def _ssh(url: str, access: Access) -> list[str]:
    """The command with which git uses ssh; it connects to the first address of `only`, if there is any.

    The host's key is the one that known_hosts has for its name and port. Where it is confined, nothing of the
    user's own configuration plays a part: no other address, no jump host, no connection that is open already, and
    no agent that is lent to the host.
    """
    place = login_place(url)
    if place is None or place[0] != "ssh":
        return [*_SSH]
    command = [*_SSH, *_trusted(access.known_hosts)]
    if access.confined:
        command.append(f"-F{os.devnull}")
    if access.only:
        port = urlsplit(url).port if "://" in url else None
        name = known_hosts.name_of(host_of(url), port)
        command += [f"-oHostName={access.only[0]}", f"-oHostKeyAlias={name}"]
    return command


def _trusted(file: Path | None) -> list[str]:
    """Trust on first use: afterwards a host has the key that it had, and none of another kind either."""
    if file is None:
        return ["-oStrictHostKeyChecking=accept-new"]
    quoted = str(file).replace("%", "%%")
    return [
        "-oStrictHostKeyChecking=accept-new",
        f'-oUserKnownHostsFile="{quoted}" ~/.ssh/known_hosts',  # it writes the first and reads both
        "-oHashKnownHosts=no",  # `known_hosts.trust` finds a host by its name
    ]


def _own_key(folder: Path) -> list[str]:
    """The options with which ssh offers an agent's one key, and none of the user's own."""
    return [
        f"-F{os.devnull}",
        f"-oIdentityAgent={folder / ssh_agent.SOCKET}",
        f"-oIdentityFile={folder / ssh_agent.PUBLIC_KEY}",
        "-oIdentitiesOnly=yes",
    ]
