"""The doctor: what it looks at, and in which order. A check that cannot be made is a failure and ends no other."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from secrets import token_hex
from typing import Final

import aiohttp
import msgspec

from pricore.auth import access_tokens
from pricore.config import Config
from pricore.engine.sqlite import check_there
from pricore.errors import PricoreError
from pricore.operations.doctor import client, machine, stored
from pricore.operations.doctor.client import Problem, Visit
from pricore.operations.doctor.results import Result, Status, failure, ok, warning
from pricore.store import Store
from pricore.system.certificates import trust
from pricore.system.clock import now
from pricore.system.lease import holder
from pricore.tables.health import Trial

_TOKEN_SECONDS: Final = 600
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)

_MACHINE: Final[dict[str, Callable[[Config], Awaitable[Result]]]] = {
    "git": machine.check_git,
    "disk": machine.check_disk,
    "permissions": machine.check_permissions,
    "database": stored.check_database,
}
_STORED: Final[dict[str, Callable[[Store, Config], Awaitable[Result]]]] = {
    "settings": stored.check_settings,
    "key": stored.check_key,
    "ssh": stored.check_hosts,
    "times": stored.check_times,
    "repositories": stored.check_repositories,
}


async def examine(config: Config) -> AsyncIterator[Result]:
    """What is found, one thing after another. Raises StoreError where there is no registry at all."""
    check_there(config.database)
    trust(config)
    readable = True
    for name, check in _MACHINE.items():
        result = await _result(name, check(config))
        readable = readable and (name, result.status) != ("database", Status.FAILURE)
        yield result
    yield await _result("server", _check_server(config))
    if not readable:
        return
    try:
        async with Store(config.database, sync_interval=config.sync_interval) as store:
            for name, look in _STORED.items():
                yield await _result(name, look(store, config))
            async for result in _visit(store, config):
                yield result
    except PricoreError as error:
        yield failure("database", str(error), "")


async def _result(name: str, check: Awaitable[Result]) -> Result:
    """What a check finds; what stops it is a failure."""
    try:
        return await check
    except Problem as problem:
        return failure(name, str(problem), problem.advice)
    except ssl.SSLError as error:
        return _refused(name, error)
    except TimeoutError:
        return failure(name, "there was no answer in time", "look at the server's log, and the proxy's")
    except (aiohttp.ClientError, PricoreError, OSError) as error:
        return failure(name, str(error) or type(error).__name__, "")
    except (KeyError, TypeError, ValueError) as error:
        return failure(name, f"the answer is not Pricore's: {error!r}", "look at what answers there")


def _refused(name: str, error: ssl.SSLError) -> Result:
    reason = getattr(error, "verify_message", "") or error.reason or str(error)
    return failure(name, f"the certificate is refused: {reason}", "renew it, for the name in public_url")


async def _check_server(config: Config) -> Result:
    """A server has the data folder, and is the same version as this command."""
    if await asyncio.to_thread(holder, config.data) is None:
        return failure(
            "server",
            f"no `pricore serve` serves {config.data}",
            "start it; `systemctl status pricore` says why not",
        )
    found = await served_version(config)
    if found is None:
        return warning(
            "server",
            f"it runs, and does not listen at {config.host} port {config.port} as the settings say",
            "give the server and this command the same settings",
        )
    if found != version("pricore"):
        return warning(
            "server", f"it is version {found}, and this command {version('pricore')}", "restart the server"
        )
    return ok("server", f"version {found} serves {config.data}")


async def served_version(config: Config) -> str | None:
    """The version of the server that listens where the settings say, None where no Pricore answers there."""
    url = f"{_direct_url(config)}/api/openapi.json"
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            document = msgspec.json.decode(await client.read(answer))
            return str(document["info"]["version"])[:40]
    except (aiohttp.ClientError, OSError, TimeoutError, msgspec.MsgspecError, KeyError, TypeError):
        return None


def _direct_url(config: Config) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(config.host, config.host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{config.port}"


async def _visit(store: Store, config: Config) -> AsyncIterator[Result]:
    """What a client meets at the public URL."""
    trial = await store.health.trial()
    if trial is None:
        yield warning("packages.json", "no package is served so far", "add a repository; `pricore repo add` does")
        return
    url = config.public_url or await store.health.public_url() or _direct_url(config)
    try:
        way = await client.find_way(url)
    except ssl.SSLError as error:
        yield _refused("tls", error)
        return
    except (OSError, TimeoutError) as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
        yield failure(
            "packages.json", f"cannot connect to {url}: {reason}", "look at public_url, and at the proxy"
        )
        return
    try:
        async with (
            _token(store, trial) as secret,
            aiohttp.ClientSession(connector=client.connector(way)) as session,
        ):
            visit = Visit(session, url, way, trial, secret, config)
            for name, check in client.CHECKS.items():
                result = await _result(name, check(visit))
                yield result
                if (name, result.status) == ("packages.json", Status.FAILURE):
                    return  # all others would say the same
    except PricoreError as error:
        yield failure("token", str(error), "")


@asynccontextmanager
async def _token(store: Store, trial: Trial) -> AsyncIterator[str]:
    """A token's secret for as long as this lasts; should its end be missed, it expires."""
    organization = await store.organizations.get(trial.organization)
    for left in await store.tokens.of_organization(organization.id):
        if left.name.startswith(access_tokens.PROBE) and left.expires_at is not None and left.expires_at < now():
            await store.tokens.revoke(organization, left.id)
    secret = access_tokens.create_secret()
    made = await store.tokens.create(
        {organization: ()},
        name=f"{access_tokens.PROBE} {token_hex(4)}",
        token_hash=access_tokens.hash_secret(secret),
        scopes=["packages:read"],
        expires_at=now() + _TOKEN_SECONDS,
    )
    try:
        yield secret
    finally:
        await store.whole(store.tokens.revoke(organization, made.id))
