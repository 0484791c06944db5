"""What an upgrade to this program would do, told before it touches anything."""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Final

import msgspec

from pricore.config import Config
from pricore.engine.sqlite import check_schema, check_there, newest_schema, room_to_migrate, schema_of, scripts
from pricore.operations.doctor import served_version
from pricore.system.lease import holder

_CHANGELOG: Final = Path(__file__).parents[1] / "changelog.md"
_HEADING: Final = re.compile(r"^## \[(?P<version>[^\]]+)\](?: - (?P<date>\S+))?\n", re.MULTILINE)

_WAYS: Final = {
    "single file": "put the new file in the place of the old one, and restart the server",
    "Debian package": "apt install ./pricore_VERSION_ARCH.deb, which restarts the server",
    "container image": "run the new image on the same volume",
    "pipx": "pipx upgrade pricore, and restart the server",
    "uv": "uv tool upgrade pricore, and restart the server",
    "checkout": "git pull && make quickstart, or restart the server",
    "pip": "pip install --upgrade pricore, and restart the server",
}
"""How each kind of installation is upgraded."""


class Change(msgspec.Struct, frozen=True):
    """A release: its number, when it was made as YYYY-MM-DD, and its notes in Markdown."""

    version: str
    date: str | None
    notes: str


class Upgrade(msgspec.Struct, frozen=True):
    """What is installed and how, what serves now, and what happens to the database when this program opens it.

    `room` is how many bytes that takes on the data folder's disk, of which `free` are free.
    """

    version: str
    installed: str
    upgrade: str
    serves: str | None
    schema: int
    newest_schema: int
    migrations: list[str]
    room: int
    free: int
    changes: list[Change]


async def look_ahead(config: Config, *, since: str | None = None) -> Upgrade:
    """What opening the data folder would do, with what changed since a version, or else since the one that serves.

    Raises StoreError where there is no registry, or one of a newer Pricore.
    """
    check_there(config.database)
    schema = await asyncio.to_thread(schema_of, config.database)
    check_schema(config.database, schema)
    # what listens there may have another data folder
    holds = await asyncio.to_thread(holder, config.data) is not None
    serves = await served_version(config) if holds else None
    installed = _installed()
    room, free = room_to_migrate(config.database)
    steps = [script.stem.partition("_")[2].replace("_", " ") for script in scripts()[schema:]]
    return Upgrade(
        version=version("pricore"),
        installed=installed,
        upgrade=_WAYS[installed],
        serves=serves,
        schema=schema,
        newest_schema=newest_schema(),
        migrations=steps,
        room=room if steps else 0,
        free=free,
        changes=[*_changes(since or serves)],
    )


def _installed() -> str:
    """How this program was installed, as `_WAYS` names it."""
    prefix = Path(sys.prefix)
    if (prefix / "share" / "licenses" / "parts.json").is_file():
        return "Debian package" if prefix == Path("/usr/lib/pricore") else "single file"
    found = distribution("pricore")
    direct = json.loads(found.read_text("direct_url.json") or "{}")
    if direct.get("dir_info", {}).get("editable"):
        return "checkout"
    if (prefix / "pipx_metadata.json").is_file():
        return "pipx"
    if (prefix / "uv-receipt.toml").is_file():
        return "uv"
    if any(Path(path).exists() for path in ("/.dockerenv", "/run/.containerenv")):
        return "container image"
    return "pip"


def _changes(since: str | None) -> Iterator[Change]:
    """The releases after one, the newest first; of an unknown one, the newest alone."""
    text = _CHANGELOG.read_text(encoding="utf-8")
    headings = [*_HEADING.finditer(text)]
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        if heading["version"] == since:
            return
        notes = text[heading.end() : following.start() if following else None].strip()
        if notes and heading["date"] is not None:  # what has no date is in no version yet
            yield Change(heading["version"], heading["date"], notes)
            if since is None:
                return
