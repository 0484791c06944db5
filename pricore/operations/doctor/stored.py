"""What the doctor looks at in the database."""

import asyncio
from typing import Final

from pricore.auth.credentials import credential_purpose
from pricore.auth.sealing import Sealer, webhook_purpose
from pricore.config import Config
from pricore.engine.sqlite import find_damage, newest_schema, schema_of
from pricore.errors import SealError
from pricore.operations.doctor.machine import check_ssh
from pricore.operations.doctor.results import Result, failure, ok, warning
from pricore.store import Store
from pricore.system.clock import now, rfc3339

_DAY: Final = 24 * 3600
_MOST_AHEAD: Final = 600
"""Seconds that a time on record may be ahead: dates of documents are moved forward when much changes at once."""

_MOST_SHOWN: Final = 3


async def check_database(config: Config) -> Result:
    """The database is whole, and of the schema that this program knows."""
    schema = await asyncio.to_thread(schema_of, config.database)
    if schema != newest_schema():
        advice = "upgrade this program" if schema > newest_schema() else "restart the server, which migrates it"
        return failure("database", f"its schema is {schema}, and this program's {newest_schema()}", advice)
    if damage := await asyncio.to_thread(find_damage, config.database, thorough=False):
        return failure(
            "database", f"{config.database} is damaged: {damage[0]}", "stop the server, restore a backup"
        )
    return ok("database", f"it is whole (schema {schema})")


async def check_times(store: Store, _: Config) -> Result:
    """Nothing has happened in the future, as it would have where the clock was put back."""
    latest, present = await store.health.latest_time(), now()
    if latest > present + _MOST_AHEAD:
        return failure(
            "times",
            f"the database has something of {rfc3339(latest)}, and it is {rfc3339(present)}",
            "set this machine's clock; clients keep what they have until it has caught up",
        )
    return ok("times", f"it is {rfc3339(present)}")


async def check_key(store: Store, config: Config) -> Result:
    """The key opens every secret that was sealed."""
    sealer, sealed = Sealer(config.key), await store.health.sealed()
    purposes = {"credential": credential_purpose, "webhook": webhook_purpose}

    def closed() -> dict[str, SealError]:
        found = {}
        for (kind, owner), secret in sealed.items():
            try:
                sealer.open(secret, purpose=purposes[kind](owner))
            except SealError as error:
                found[f"{kind} {owner}"] = error
        return found

    if found := await asyncio.to_thread(closed):
        name, error = next(iter(found.items()))
        problem, _, advice = str(error).partition(": ")
        return failure(
            "key", f"{len(found)} of {len(sealed)} secrets cannot be opened ({name}): {problem}", advice
        )
    return ok("key", f"it opens all {len(sealed)} secrets" if sealed else "nothing is sealed so far")


async def check_hosts(store: Store, _: Config) -> Result:
    """The programs are there that followed repositories are read with."""
    return await check_ssh(await store.health.urls())


async def check_repositories(store: Store, _: Config) -> Result:
    """No repository has been failing for a day."""
    found = await store.health.failing(before=now() - _DAY)
    if not found:
        return ok("repositories", f"none of {len(await store.health.urls())} has been failing for a day")
    shown = "; ".join(
        f"{item.url} ({item.organization}) since {rfc3339(item.since)}: {item.error}"
        for item in found[:_MOST_SHOWN]
    )
    more = f", and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return warning("repositories", f"{shown}{more}", "`pricore repo show` says more; mend or remove them")


async def check_settings(store: Store, config: Config) -> Result:
    """The server was started with the public URL that this command knows."""
    served = await store.health.public_url()
    if served is not None and served != config.public_url:
        return failure(
            "settings",
            f"public_url is {served or 'not set'} for the server, and {config.public_url or 'not set'} here",
            "give both the same settings: the same file, or the same environment",
        )
    return ok("settings", f"public_url is {config.public_url or 'not set'}")
