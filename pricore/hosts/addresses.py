"""What an operator types for a repository, understood: a URL, an scp-like address, a folder, or owner/name."""

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, UnsetType

from pricore.errors import InvalidError
from pricore.hosts.git import GIT
from pricore.hosts.provider import Instance, Provider
from pricore.hosts.table import get_provider, provider_at
from pricore.models import Repository

_MOST_CHARACTERS: Final = 2000
_LEAST_SECRET: Final = 20
_SCP_LIKE = re.compile(
    r"(?:[A-Za-z0-9_.-]+@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]):(?P<path>(?!//)[^\s:][^\s]*)"
)
_SHORT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)+")
_SCHEMES: Final = ("https", "http", "ssh", "git", "file")
_PORTS: Final[Mapping[str, int]] = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
# git decodes a whole URL before it looks for the host, and finds one in brackets even inside of a user: in any
# other form than this, the host that it connects to can be another one than the one that was read here
_AUTHORITY = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9_.+~-]*@)?(?:[A-Za-z0-9_.][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?"
)

_USER = re.compile(r"[A-Za-z0-9_.%+~-]+")
_BELOW = re.compile(r"(?P<host>[^/]+)(?P<path>(?:/[A-Za-z0-9_][A-Za-z0-9_.~-]*)+)")
_HOST = re.compile(r"(?P<host>[A-Za-z0-9_.][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")


class Address(msgspec.Struct, frozen=True):
    """Where a repository is.

    `identifier` is owner/name where the host is a known provider, else the address in short. `key` is equal for
    addresses that mean the same. `local` is True for a folder of this machine, which clients cannot reach.
    """

    provider: str
    identifier: str
    url: str
    key: str
    local: bool


def parse_address(text: str, provider: str | None = None, *, folders: bool = True) -> Address:
    """Understand the address of a repository.

    A folder counts where it exists or is written as a path; with `folders` False, for who came over the API,
    none does, nobody looks which there are, and git:// is refused. Raises InvalidError for what git could not
    open, for a secret inside the URL, and for options in disguise.
    """
    text = text.strip()
    known = None if provider is None else get_provider(provider)
    if not text or text.startswith("-") or not text.isprintable() or len(text) > _MOST_CHARACTERS:
        raise _invalid(
            f"{without_login(text)!r} is no Git address; give a URL such as https://git.example.com/team/name.git"
        )
    is_path = text.startswith(("/", "./", "../", "~")) or text in (".", "..")
    if not folders and (is_path or text.lower().startswith("file:")):
        raise _invalid(
            "only the command line of this server can follow a folder of it; give the URL of a Git host"
        )
    if "://" in text:
        return _from_url(text, known, folders=folders)
    if is_path:
        return _from_folder(Path(text))
    if known is not None and known.home is not None and _SHORT.fullmatch(text):
        return address_at(Instance(known.name, known.home), text)
    if folders and is_folder(text):
        return _from_folder(Path(text))
    if re.match(r"[^/@:]+:[^/]*@", text):
        raise _holds_password(without_login(text))
    if (match := _SCP_LIKE.fullmatch(text)) and _is_one_host(match["host"], text):
        return _known(text, match["host"].strip("[]"), match["path"], known)
    if _SHORT.fullmatch(text):
        hint = (
            "is neither a URL nor a folder here; for a repository on GitHub add --provider github"
            if folders
            else "is no URL; for a repository on GitHub, its provider is github"
        )
        raise _invalid(f"{text[:200]} {hint}")
    raise _invalid(
        f"{without_login(text)!r} is no Git address; give a URL such as https://git.example.com/team/name.git"
    )


def parse_instance(provider: str, host: str | None = None) -> Instance:
    """A provider where it is, or at a host of one's own: git.example.com:8443, or http://... to go without TLS.

    Some may be below a path there: git.example.com/gitlab. Raises InvalidError for what is no
    provider or no host, and for one that has no host of its own.
    """
    known = get_provider(provider)
    if host is None:
        if known.home is None:
            raise InvalidError(f"say with --host where that {known.name} is", field="host")
        return Instance(known.name, known.home)
    scheme, mark, rest = host.partition("://")
    if not mark:
        scheme, rest = "https", host
    if scheme not in ("https", "http"):
        raise InvalidError(f"{host[:200]!r} is no host such as git.example.com", field="host")
    rest = rest.rstrip("/")
    path = match["path"] if (match := _BELOW.fullmatch(rest)) and known.below_path else ""
    return Instance(known.name, parse_host(rest.removesuffix(path), scheme), plain=scheme == "http", path=path)


def address_at(instance: Instance, name: str) -> Address:
    """The address of owner/name at a provider. Raises InvalidError for what is no such name."""
    return parse_address(
        f"{instance.url}/{name.strip('/').removesuffix('.git')}.git", instance.provider, folders=False
    )


def _from_url(text: str, provider: Provider | None, *, folders: bool = True) -> Address:
    try:
        parts = urlsplit(text)
        host, password = parts.hostname or "", parts.password
        port = parts.port
    except ValueError:
        raise _invalid(f"{without_login(text)} is not a valid URL") from None
    if parts.scheme not in _SCHEMES:
        schemes = _SCHEMES if folders else _SCHEMES[:3]
        raise _invalid(f"git cannot be asked for {parts.scheme}:// here; use one of {', '.join(schemes)}")
    if parts.scheme == "git" and not folders:
        raise _invalid(
            "git:// is neither encrypted nor authenticated, so that only the command line of this server can "
            "follow it; give the https or ssh address"
        )
    if password is not None:
        raise _holds_password(host)
    if parts.scheme in ("http", "https") and parts.username is not None:
        if _is_secret(parts.username) or not _USER.fullmatch(parts.username):
            raise _holds_password(host)
        # as hosts show it; a login is found by the host alone
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        text = parts.geturl()
    if parts.query or parts.fragment:
        raise _invalid(f"the address of {host} goes on behind its path; give it without ? and #")
    text = parts.scheme + text[len(parts.scheme) :]  # git takes it in lower case only
    if parts.scheme == "file":
        return _from_folder(Path(parts.path), url=text)
    # a host or user with a leading dash would be an option of ssh
    if not _AUTHORITY.fullmatch(parts.netloc):
        raise _invalid(f"{without_login(text)} names no repository on a host")
    provider = provider or provider_at(host.lower())
    if parts.scheme in ("http", "https") and (path := provider.repository_path(host, parts.path)) != parts.path:
        text, parts = parts._replace(path=path).geturl(), parts._replace(path=path)
    return _known(text, host, parts.path, provider, port=None if port == _PORTS[parts.scheme] else port)


def _known(url: str, host: str, path: str, provider: Provider | None, *, port: int | None = None) -> Address:
    path = path.strip("/").removesuffix(".git")
    if not path:
        raise _invalid(f"{without_login(url)} names no repository on a host")
    provider = provider or provider_at(host.lower())
    identifier = path if provider is not GIT else f"{host.lower()}/{path}"
    return Address(provider.name, identifier, url, f"{_with_port(host.lower(), port)}/{path}", local=False)


def _is_one_host(host: str, text: str) -> bool:
    """Whether git finds no port in brackets, and no program in front of two colons."""
    if not host.startswith("["):
        return "::" not in text
    try:
        ipaddress.IPv6Address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_secret(user: str) -> bool:
    """Whether what stands for a user may be an access token: those are long, and have digits."""
    return len(user) >= _LEAST_SECRET and any(character.isdigit() for character in user)


def _with_port(host: str, port: int | None) -> str:
    """A host as a key has it: two ports of a machine are two hosts."""
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _from_folder(folder: Path, *, url: str | None = None) -> Address:
    try:
        folder = Path(os.path.normpath(folder.expanduser().absolute()))
    except RuntimeError as error:
        raise _invalid(f"{folder}: {error}") from None
    path = str(folder.parent if folder.name == ".git" else folder).rstrip("/")
    return Address(GIT.name, path, url or path, f"file:{path.removesuffix('.git')}", local=True)


def is_folder(text: str) -> bool:
    """Whether a folder of that path is there."""
    try:
        return Path(text).is_dir()
    except OSError:  # too long for a name
        return False


def change_address(
    before: Repository, *, url: str | None, provider: str | UnsetType | None, folders: bool = True
) -> Address:
    """Where a repository is once its URL (None: the same), its provider or both are others.

    A provider that isn't given stays where the host does, else it is read off the URL, as it is for None.
    Raises InvalidError as `parse_address` does.
    """
    named = None if provider is UNSET else provider
    if url is None:
        return parse_address(before.url, named)
    found = parse_address(url, named, folders=folders)
    if provider is UNSET and not found.local and host_of(found.url) == host_of(before.url):
        return parse_address(found.url, before.provider)
    return found


def host_of(url: str) -> str:
    """The host in a stored address, in lower case; empty for a folder."""
    if is_local(url):
        return ""
    if "://" in url:
        return urlsplit(url).hostname or ""
    match = _SCP_LIKE.fullmatch(url)
    return match["host"].strip("[]").lower() if match else ""


def path_of(url: str) -> str:
    """The path in a stored address on a host, as it stands there."""
    if "://" in url:
        return urlsplit(url).path
    match = _SCP_LIKE.fullmatch(url)
    return match["path"] if match else ""


def login_place(url: str) -> tuple[str, str] | None:
    """The protocol (https, http or ssh) and the host of a stored address, for which a credential has to be.

    The host is in lower case, with the port where that isn't the usual one. None where nobody logs in.
    """
    if is_local(url):
        return None
    if "://" not in url:
        return "ssh", _place(host_of(url), None, "ssh")
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http", "ssh"):
        return None
    return parts.scheme, _place(parts.hostname or "", parts.port, parts.scheme)


def parse_host(text: str, kind: str) -> str:
    """The host of a credential as `login_place` has it. Raises InvalidError for anything but a host and a port."""
    # whatever is below a path there: git asks for a login by the host alone
    below = _BELOW.fullmatch(text)
    match = _HOST.fullmatch(below["host"] if below else text)
    # where git compares hosts for credentials, one with an underscore is none
    if match is None or ("_" in text and kind == "https") or not 0 < int(match["port"] or 1) < 65536:
        raise InvalidError(
            f"{text[:200]!r} is no host such as git.example.com or git.example.com:8443 "
            "(without https://, and a name beyond ASCII as xn--...)",
            field="host",
        )
    port = int(match["port"]) if match["port"] else None
    return _place(match["host"].strip("[]"), port, kind)


def _place(host: str, port: int | None, scheme: str) -> str:
    name = f"[{host.lower()}]" if ":" in host else host.lower()
    return name if port in (None, _PORTS[scheme]) else f"{name}:{port}"


def is_local(url: str) -> bool:
    """Whether a stored address is a folder of this machine."""
    return url.startswith(("/", "file://"))


def without_login(text: str) -> str:
    """An address as it may be shown: short, and without the user and password that it may hold."""
    return re.sub(r"\A([A-Za-z]+://)?.*@", r"\1", text, flags=re.DOTALL)[:200]


def _holds_password(host: str) -> InvalidError:
    return _invalid(
        f"the address of {host} holds a user or password, which lists and logs would show; "
        "give it to `pricore credential add`, or use ssh"
    )


def _invalid(message: str) -> InvalidError:
    return InvalidError(message, field="url")
