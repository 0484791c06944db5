"""The log of the server: lines for people or documents for programs, on standard error, without secrets."""

import json
import logging
import re
import sys
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from pricore.config import Config

ACCESS: Final = "pricore.access"
"""The logger that has a line for each request."""

answering: ContextVar[tuple[Callable[[Any], str], object]] = ContextVar("answering")
"""What gives the id of the request that is being answered, and that request; it is set for each of them."""

_SECRETS: Final = re.compile(r"pri_[0-9A-Za-z]{38}|whsec_[0-9A-Za-z+/=_-]{20,}")
_USERINFO: Final = re.compile(r"(?<=://)[^/\s\"']+@")


def configure(config: Config) -> None:
    """Write the log as the settings say; called again, by the new ones.

    What is not Pricore's own is told from info on, whatever the level: aiosqlite's debugging repeats what is in
    the database.
    """
    handler = _Handler(sys.stderr)
    handler.setFormatter(_Json() if config.log_format == "json" else _Console())
    root = logging.getLogger()
    for old in [item for item in root.handlers if isinstance(item, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    level = logging.getLevelNamesMapping()[config.log_level.upper()]
    root.setLevel(max(level, logging.INFO))
    logging.getLogger("pricore").setLevel(level)
    logging.getLogger(ACCESS).setLevel(logging.INFO if config.access_log else logging.CRITICAL)


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Adds the id of the request to what is logged while it is answered."""

    def emit(self, record: logging.LogRecord) -> None:
        answered = answering.get(None)
        if answered is not None and not hasattr(record, "request"):
            identify, request = answered
            record.request = identify(request)
        super().emit(record)


class _Console(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # a name of logging's
        line = super().formatMessage(record)
        request = getattr(record, "request", "")
        if request and request not in line:
            line += f" [request {request}]"
        # one line, whatever of a request or a repository is repeated in it
        return _printable(line)

    def format(self, record: logging.LogRecord) -> str:
        # a traceback has more lines, and repeats in them what the exception says
        lines = super().format(record).split("\n")
        return _without_secrets("\n".join(map(_printable, lines)))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request := getattr(record, "request", ""):
            document["request"] = request
        document |= getattr(record, "fields", {})
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return escape_unprintable(_without_secrets(msgspec.json.encode(document).decode()))


def escape_unprintable(document: str) -> str:
    """The same JSON without characters that steer a terminal or turn the order of what it shows.

    JSON has its own way for all below U+0020 alone, and none of them is anywhere but in its strings.
    """
    return "".join(
        character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1]
        for character in document
    )


def _printable(line: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in line)


def _without_secrets(text: str) -> str:
    """A text without tokens and webhook secrets, whoever wrote them where, and without users in addresses."""
    return _USERINFO.sub("***@", _SECRETS.sub("***", text))
