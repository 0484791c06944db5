"""The log is lines for people or documents for programs; secrets and other programs' talk are not in it."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pricore.auth.access_tokens import create_secret
from pricore.config import Config
from pricore.system import logs

LOGGER = logging.getLogger("pricore.test")


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """The loggers are afterwards what they were."""
    loggers = [logging.getLogger(name) for name in (None, "pricore", logs.ACCESS)]
    levels, handlers = [item.level for item in loggers], loggers[0].handlers[:]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    loggers[0].handlers[:] = handlers


def configure(**settings: Any) -> None:
    logs.configure(Config(data=Path("data"), **settings))


def test_a_message_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever of a request or a repository is in it cannot begin a line of its own, nor steer a terminal."""
    configure()
    LOGGER.info("a\n2026 ERROR forged\x1b[31m")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(" INFO pricore.test: a?2026 ERROR forged?[31m")


def test_a_document_has_the_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON also a traceback is within the line, and fields of a message have names of their own."""
    configure(log_format="json")
    try:
        raise RuntimeError("inside")
    except RuntimeError:
        LOGGER.exception("it\nfailed", extra={"fields": {"status": 500}, "request": "0123"})
    (line,) = capsys.readouterr().err.splitlines()
    document = json.loads(line)
    assert (document["message"], document["level"], document["status"]) == ("it\nfailed", "error", 500)
    assert document["request"] == "0123"
    assert "RuntimeError: inside" in document["exception"]


STEERING = "\x1b[31m\x9b31m\x7f\u202e\u2066\u2028\U000e0041"
"""What has a terminal do something, or shows a text in another order: of C0, C1 and Unicode."""


@pytest.mark.parametrize("form", ["console", "json"])
def test_nothing_in_the_log_steers_a_terminal(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a message nor what an exception repeats; in JSON it is still there to be read."""
    configure(log_format=form)
    try:
        raise RuntimeError(f"inside{STEERING}")
    except RuntimeError:
        LOGGER.exception("it failed%s", STEERING)
    text = capsys.readouterr().err
    assert text.replace("\n", "").isprintable()
    if form == "json":
        document = json.loads(text)
        assert document["message"] == f"it failed{STEERING}"
        assert f"inside{STEERING}" in document["exception"]


@pytest.mark.parametrize("form", ["console", "json"])
def test_secrets_are_hidden_wherever_they_come_from(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Tokens, webhook secrets and the users of addresses, in messages and in tracebacks."""
    token, webhook = create_secret(), "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
    configure(log_format=form)
    try:
        raise RuntimeError(f"cannot use {token}")
    except RuntimeError:
        LOGGER.exception("%s of https://ada:hunter2@git.example.com/a.git", webhook)
    text = capsys.readouterr().err
    assert text.count("***") == 3
    assert "https://***@git.example.com/a.git" in text
    for hidden in (token, webhook, "hunter2"):
        assert hidden not in text


def test_levels_are_of_the_registry_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """The database's driver would repeat what is in the database; and the newest settings count, once."""
    configure()
    configure(log_level="debug")
    LOGGER.debug("seen")
    logging.getLogger("aiosqlite").debug("unseen")
    logging.getLogger(logs.ACCESS).info("unseen")
    assert capsys.readouterr().err.count("seen") == 1
    configure(log_level="error", access_log=True)
    LOGGER.warning("unseen")
    logging.getLogger("aiosqlite").warning("unseen")
    logging.getLogger(logs.ACCESS).info("seen")
    assert capsys.readouterr().err.count("seen") == 1
