"""What the doctor looks at as Composer would: at the public URL, with a token that lives as long as it looks."""

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp import ClientTimeout, TCPConnector, encode_basic_auth, hdrs
from multidict import CIMultiDictProxy

from pricore.auth import access_tokens
from pricore.auth.networks import network_of
from pricore.composer.metadata import PLACEHOLDER
from pricore.composer.versions import is_dev
from pricore.config import Config
from pricore.operations.doctor.results import Result, failure, ok, warning
from pricore.tables.health import Trial

_TIMEOUT: Final = ClientTimeout(total=30, sock_connect=10)
_ARCHIVE_TIMEOUT: Final = ClientTimeout(total=300, sock_connect=10)
_CONNECT_SECONDS: Final = 10
_MOST_BYTES: Final = 64 * 1024**2
_MOST_ARCHIVE: Final = 2 * 1024**3
_MOST_SKEW: Final = 60
_DAY: Final = 24 * 3600
_SOON: Final = 14 * _DAY
"""Before that, what renews certificates has done so."""

_INVENTED: Final = "192.0.2.1"
"""An address of nobody's, for documentation."""

_OWN_LOOPBACK: Final = "127.0.0.2"
"""This machine as well as 127.0.0.1 is, and told from a proxy that is there."""


class Problem(Exception):  # noqa: N818  # it is what a check finds, not an error of the program's
    """What is wrong, and what to do about it."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


class Reply(msgspec.Struct, frozen=True):
    """An answer; its body as it was before it was compressed."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How the registry is reached: the own address there, and until when its certificate is good (None: none).

    It is `loopback` where it leads to this machine alone, so that the own address can be another of its own.
    """

    source: str
    loopback: bool
    expires_at: int | None


class Visit:
    """A client of the registry at a URL: with a good token, of one organization, for one version."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, way: Way, trial: Trial, secret: str, config: Config
    ) -> None:
        self.url = url
        self.way = way
        self.trial = trial
        self.config = config
        self._session = session
        self._secret = secret

    @property
    def organization_url(self) -> str:
        return f"{self.url}/org/{self.trial.organization}"

    async def get(self, url: str, *, secret: str | None = None, **headers: str) -> Reply:
        """The answer to a request like Composer's. No redirect is followed: the token is for nobody else."""
        async with self._request(url, secret, headers, patience=_TIMEOUT) as answer:
            return Reply(answer.status, answer.headers, await read(answer))

    async def document(self, url: str, **headers: str) -> tuple[Any, Reply]:
        """The JSON at a URL. Raises Problem for anything else."""
        reply = await self.get(url, **headers)
        self._check(url, reply)
        try:
            return msgspec.json.decode(reply.body), reply
        except (msgspec.MsgspecError, UnicodeDecodeError):
            kind = reply.headers.get(hdrs.CONTENT_TYPE, "no type")
            raise Problem(
                f"{url} answers with {kind[:80]} instead of JSON",
                "something in front answers itself, such as a page to log in: let these requests through",
            ) from None

    async def checksum(self, url: str) -> str:
        """The sha1 of an archive. Raises Problem where it cannot be had."""
        digest, size = hashlib.sha1(usedforsecurity=False), 0
        async with self._request(url, None, {}, patience=_ARCHIVE_TIMEOUT) as answer:
            if answer.status != 200:
                self._check(url, Reply(answer.status, answer.headers, await read(answer)))
            async for piece in answer.content.iter_chunked(256 * 1024):
                digest.update(piece)
                size += len(piece)
                if size > _MOST_ARCHIVE:
                    raise Problem(f"{url} has no end", "look at what is in front of the server")
        return digest.hexdigest()

    async def entry(self) -> dict[str, Any]:
        """The metadata of the version that is tried out."""
        document, _ = await self.document(self.metadata_url)
        found: dict[str, Any] = {}
        for change in document["packages"][self.trial.package]:
            found = found | change
            if found["version"] == self.trial.version:
                return found
        raise Problem(
            f"{self.metadata_url} has no {self.trial.version}",
            "something in front answers from a cache: let it cache nothing",
        )

    @property
    def metadata_url(self) -> str:
        half = "~dev" if is_dev(self.trial.normalized) else ""
        return f"{self.organization_url}/p2/{self.trial.package}{half}.json"

    @asynccontextmanager
    async def _request(
        self, url: str, secret: str | None, headers: Mapping[str, str], *, patience: ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        sent = {
            hdrs.AUTHORIZATION: encode_basic_auth("token", secret or self._secret),
            hdrs.ACCEPT_ENCODING: "gzip",
            hdrs.USER_AGENT: access_tokens.PROBE,
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.get(url, headers=sent, allow_redirects=False, timeout=patience) as answer:
            yield answer

    def _check(self, url: str, reply: Reply) -> None:
        if reply.status == 200:
            return
        try:
            said = str(msgspec.json.decode(reply.body, type=dict[str, Any]).get("message", ""))[:300]
        except (msgspec.MsgspecError, UnicodeDecodeError):
            said = ""
        message = f"{url} answers with {reply.status}" + (f": {said}" if said else ", and not Pricore does")
        if reply.status == 401 and said == access_tokens.NEEDED:
            advice = "the token got lost on the way: let the proxy pass the Authorization header on"
        elif reply.status == 401:
            advice = "another data folder is served there: look at --data and public_url"
        elif reply.status in (301, 302, 303, 307, 308):
            advice = f"it sends to {reply.headers.get(hdrs.LOCATION, '?')[:200]}: set public_url to where it ends"
        elif reply.status in (502, 503, 504) and not said:
            advice = "the proxy doesn't reach the server: does it run, and where the proxy looks for it?"
        elif reply.status >= 500 and said:
            advice = "the server's log has the reason"
        else:
            advice = "look at public_url, and whether the proxy passes requests on to the server as they are"
        raise Problem(message, advice)


async def read(answer: aiohttp.ClientResponse) -> bytes:
    """The body of an answer. Raises Problem for one that is larger than any document."""
    pieces, size = [], 0
    async for piece in answer.content.iter_chunked(64 * 1024):
        pieces.append(piece)
        size += len(piece)
        if size > _MOST_BYTES:
            raise Problem(f"{answer.url} has no end", "look at what answers there")
    return b"".join(pieces)


async def find_way(url: str) -> Way:
    """How a URL is reached. Raises OSError, ssl.SSLError among them, and TimeoutError."""
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    context = ssl.create_default_context() if secure else None
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_CONNECT_SECONDS):
        found = [ip_address(row[4][0]) for row in await loop.getaddrinfo(host, port)]
        # as another address of this machine's, where there are several: to see which one the server sees
        loopback = any(isinstance(item, IPv4Address) and item.is_loopback for item in found)
        local = (_OWN_LOOPBACK, 0) if loopback else None
        try:
            _, writer = await asyncio.open_connection(host, port, ssl=context, local_addr=local)
        except ssl.SSLError:
            raise
        except OSError:
            if local is None:
                raise
            loopback = False
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        certificate = writer.get_extra_info("peercert")
        expires_at = int(ssl.cert_time_to_seconds(certificate["notAfter"])) if certificate else None
        source = str(writer.get_extra_info("sockname")[0])
        return Way(source=source, loopback=loopback, expires_at=expires_at)
    finally:
        writer.transport.abort()


def connector(way: Way) -> TCPConnector:
    """What makes connections by that way."""
    return TCPConnector(local_addr=(_OWN_LOOPBACK, 0) if way.loopback else None, ssl=ssl.create_default_context())


def is_local(url: str) -> bool:
    """Whether a URL leads to nowhere but this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def check_tls(visit: Visit) -> Result:
    """Nobody on the way reads tokens, and the certificate is good for a while."""
    expires_at = visit.way.expires_at
    if expires_at is None:
        if is_local(visit.url):
            return ok("tls", "not needed on this machine alone")
        return failure("tls", f"{visit.url} is not encrypted", "put a proxy with TLS in front: tokens can be read")
    days = (expires_at - time.time()) / _DAY
    if expires_at - time.time() < _SOON:
        return warning("tls", f"the certificate is good for {days:.0f} days", "look at what renews it")
    return ok("tls", f"the certificate is good for {days:.0f} days")


async def check_root(visit: Visit) -> Result:
    """packages.json is there, and leads to where it came from."""
    url = f"{visit.organization_url}/packages.json"
    root, _ = await visit.document(url)
    found = str(root.get("metadata-url", "")) if isinstance(root, dict) else ""
    if not found.startswith(f"{visit.organization_url}/"):
        return failure(
            "packages.json",
            f"{url} sends clients to {found[:200] or 'nowhere'}",
            "set public_url for the server to where clients reach it",
        )
    return ok("packages.json", url)


async def check_metadata(visit: Visit) -> Result:
    """A package's metadata is there, and says where its archive is."""
    url = str((await visit.entry())["dist"]["url"])
    if not url.startswith(f"{visit.organization_url}/"):
        return failure("metadata", f"an archive is said to be at {url[:200]}", "set public_url for the server")
    return ok("metadata", f"{visit.trial.package} {visit.trial.version}")


async def check_unchanged(visit: Visit) -> Result:
    """A client that has the metadata already is told so."""
    _, reply = await visit.document(visit.metadata_url)
    date = reply.headers.get(hdrs.LAST_MODIFIED, "")
    again = await visit.get(visit.metadata_url, If_Modified_Since=date)
    if not date or again.status != 304:
        return warning(
            "unchanged",
            f"metadata that a client has is sent again ({again.status} instead of 304)",
            "let the proxy pass Last-Modified and If-Modified-Since on",
        )
    return ok("unchanged", "metadata that a client has is not sent again")


async def check_archive(visit: Visit) -> Result:
    """An archive can be downloaded, and is what its checksum says."""
    dist = (await visit.entry())["dist"]
    url = str(dist["url"]).replace(PLACEHOLDER, str(dist["reference"]))
    found, made = await visit.checksum(url), visit.trial.shasum
    if found != made:
        return failure(
            "archive",
            f"{url} has the checksum {found}, and {made} was advertised",
            "something on the way changes it: let the proxy pass archives on as they are",
        )
    return ok("archive", "it is what its checksum says")


async def check_wrong_token(visit: Visit) -> Result:
    """A token that there isn't gets nothing, also not what another one has just got."""
    url = f"{visit.organization_url}/packages.json"
    reply = await visit.get(url, secret=access_tokens.create_secret())
    if reply.status not in (401, 429):
        return failure(
            "wrong token",
            f"{url} answers with {reply.status} to a token that does not exist",
            "something in front answers for everybody: let it cache nothing",
        )
    return ok("wrong token", "it is refused")


async def check_compression(visit: Visit) -> Result:
    """Answers come as small as they were made."""
    _, reply = await visit.document(f"{visit.organization_url}/packages.json")
    if reply.headers.get(hdrs.CONTENT_ENCODING) != "gzip":
        return warning(
            "compression", "answers come uncompressed", "let the proxy pass Accept-Encoding and the answer on"
        )
    return ok("compression", "answers come compressed")


async def check_address(visit: Visit) -> Result:
    """The server sees who asks: not the proxy, and not what clients say of themselves."""
    seen, own = await _seen(visit), network_of(visit.way.source)
    if seen != own:
        address = ip_address(seen)
        trusted = any(address in network for network in visit.config.trusted_proxies)
        if trusted:
            return failure(
                "proxy",
                f"the server sees {seen} for every client: the proxy doesn't tell whose request it passes on",
                "let it set X-Forwarded-For to the client's address",
            )
        if address.is_loopback or address.is_private:
            return failure(
                "proxy",
                f"the server sees {seen} for this client, which is {own}: limits count all clients as one",
                f"set trusted_proxies to {seen} if that is the proxy",
            )
    if await _seen(visit, X_Forwarded_For=_INVENTED) == _INVENTED:
        return failure(
            "proxy",
            "the server believes any address that a client claims: rate limits have no effect",
            "let the proxy overwrite X-Forwarded-For, or remove it from trusted_proxies",
        )
    return ok("proxy", f"the server sees clients' addresses (this one's as {seen})")


async def _seen(visit: Visit, **headers: str) -> str:
    document, _ = await visit.document(f"{visit.url}/api/token", **headers)
    return str(document["data"]["limits"]["address"])


async def check_clock(visit: Visit) -> Result:
    """Who answers there has the same time."""
    before = time.time()
    reply = await visit.get(f"{visit.organization_url}/packages.json")
    try:
        found = parsedate_to_datetime(reply.headers.get(hdrs.DATE, "")).timestamp()
    except (TypeError, ValueError):
        return ok("clock", "answers have no date")
    if (away := max(before - found - 1, found - time.time())) > _MOST_SKEW:
        return failure(
            "clock",
            f"answers are dated {away:.0f} seconds away from this machine's time",
            "set both clocks, by NTP: tokens expire by them",
        )
    return ok("clock", "answers have this machine's time")


CHECKS: Final = {
    "tls": check_tls,
    "packages.json": check_root,
    "metadata": check_metadata,
    "unchanged": check_unchanged,
    "archive": check_archive,
    "wrong token": check_wrong_token,
    "compression": check_compression,
    "proxy": check_address,
    "clock": check_clock,
}
"""Each check by the name of its line."""
