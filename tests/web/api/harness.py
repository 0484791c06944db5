"""How the API is asked, and how an answer is held against an example of the API contract (contract.yaml)."""

import asyncio
import contextlib
import fcntl
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from pricore.auth.access_tokens import create_secret, hash_secret
from pricore.models import SCOPES
from tests.rules import token_name
from tests.web.composer.harness import Reply, World

ALL: Final = SCOPES
ORG: Final = "/api/organizations/acme"
TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
DEADLINE_SECONDS: Final = 20


async def call(
    world: World, method: str, path: str, secret: str | None = None, document: Any = None, *, body: Any = None
) -> Reply:
    """The answer to a request with a JSON document, or with any body."""
    sent = body if document is None else json.dumps(document).encode()
    return await world.ask(world.base + path, secret, method=method, body=sent)


async def read(world: World, path: str, secret: str) -> Any:
    """The document at a path, which has to be there."""
    reply = await call(world, "GET", path, secret)
    assert reply.status == 200, reply
    return reply.json


async def create_token(world: World, secret: str, **fields: Any) -> Any:
    """A new token as it is shown, the one time."""
    reply = await call(world, "POST", f"{ORG}/tokens", secret, {"name": token_name()} | fields)
    assert reply.status == 201, reply
    return reply.json["data"]


async def repository_id(world: World, package: str, secret: str) -> str:
    """The id of the repository that a package comes from."""
    found: str = (await read(world, f"{ORG}/packages/{package}", secret))["data"]["repository"]["id"]
    return found


async def instance_token(world: World, *, scopes: tuple[str, ...] = ALL, **options: Any) -> str:
    """A new instance token's secret."""
    secret = create_secret()
    await world.store.tokens.create(
        None, name=token_name(), token_hash=hash_secret(secret), scopes=scopes, **options
    )
    return secret


async def token_id(world: World, secret: str) -> str:
    """The id of the token with that secret."""
    token = await world.store.tokens.find(hash_secret(secret))
    assert token is not None
    return token.id


def refusal(reply: Reply, status: int) -> tuple[str, dict[str, list[str]]]:
    """The message and the errors by field; `errors` is there for 422, and for nothing else."""
    assert status == reply.status, reply
    assert (reply.headers["Cache-Control"], reply.headers["Vary"]) == ("no-store", "Authorization")
    document = reply.json
    assert set(document) == ({"message", "errors"} if status == 422 else {"message"})
    message, errors = document["message"], document.get("errors", {})
    assert isinstance(message, str)
    assert message
    for field, messages in errors.items():
        assert field
        assert messages
        assert all(isinstance(item, str) and item for item in messages)
    assert status != 422 or errors
    return message, errors


def assert_fits(example: Any, actual: Any, *, where: str = "$") -> None:
    """Every field of the example is there with a value of its kind; others may be there too.

    "uuid" stands for any UUID and a time for any time; null also for a time; a list for one of any length
    but zero, each of whose items is as its first.
    """
    match example:
        case dict():
            assert isinstance(actual, dict), where
            for name, value in example.items():
                assert name in actual, f"{where}.{name}"
                assert_fits(value, actual[name], where=f"{where}.{name}")
        case list():
            assert isinstance(actual, list), where
            assert actual, where
            for number, item in enumerate(actual):
                assert_fits(example[0], item, where=f"{where}[{number}]")
        case None:
            assert actual is None or TIME.fullmatch(actual), f"{where}: {actual}"
        case "uuid":
            assert str(uuid.UUID(actual)) == actual, where
        case str() if TIME.fullmatch(example):
            assert isinstance(actual, str), where
            assert TIME.fullmatch(actual), f"{where}: {actual}"
        case _:
            assert type(example) is type(actual), f"{where}: {actual!r}"


def links(reply: Reply) -> dict[str, str]:
    """The targets of the Link header by relation."""
    parts = reply.headers["Link"].split(", ")
    found = [re.fullmatch(r'<([^>]+)>; rel="([a-z]+)"', part) for part in parts]
    assert all(found), parts
    return {item[2]: item[1] for item in found if item}


async def eventually(check: Callable[[], Awaitable[bool]], claim: str) -> None:
    """Wait until something is so; fails with the claim where it isn't in time."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not await check():
        assert time.monotonic() < deadline, f"not in {DEADLINE_SECONDS} s: {claim}"
        await asyncio.sleep(0.02)


@contextlib.contextmanager
def held(world: World, repository: str) -> Iterator[None]:
    """Keep whoever syncs a repository waiting, as another process that syncs it does."""
    with (world.config.repositories / f"{repository}.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def jobs(world: World) -> list[bool]:
    """Whether each job that there is on disk was begun, oldest first."""
    with world.database() as connection:
        rows = connection.execute("SELECT started_at IS NOT NULL FROM jobs ORDER BY number").fetchall()
    return [bool(begun) for (begun,) in rows]


async def wait_for_jobs(world: World, expected: list[bool]) -> None:
    """Wait until the jobs on disk are these, by whether each was begun."""

    async def so() -> bool:
        return jobs(world) == expected

    await eventually(so, f"jobs begun: {expected}")
