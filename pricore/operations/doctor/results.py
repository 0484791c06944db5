"""What a check of the doctor's finds."""

from enum import StrEnum

import msgspec


class Status(StrEnum):
    """How something is: a failure keeps the registry from doing what it should, or its secrets from being safe."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


class Result(msgspec.Struct, frozen=True):
    """What was found of one thing, and what to do about it where it isn't ok."""

    name: str
    status: Status
    message: str
    advice: str = ""


def ok(name: str, message: str) -> Result:
    return Result(name, Status.OK, message)


def warning(name: str, message: str, advice: str) -> Result:
    return Result(name, Status.WARNING, message, advice)


def failure(name: str, message: str, advice: str) -> Result:
    return Result(name, Status.FAILURE, message, advice)
