"""Where figures come from: the machine, and the versions of what takes part."""

import asyncio
import os
import platform
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def cores() -> list[int]:
    """The numbers of the processors that may be used; empty where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def server_and_load() -> tuple[int | None, int | None]:
    """A core for the server and another one for the load; None where there is only one."""
    found = cores()
    return (found[0], found[1]) if len(found) > 1 else (None, None)


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """What is started in the block stays on that core."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def runner() -> Callable[[Coroutine[Any, Any, T]], T]:
    """What runs a coroutine on the kind of loop that `pricore serve` has."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


def facts() -> list[str]:
    """The date, the machine and the versions, a line each."""
    return [
        f"Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"Machine: {len(cores()) or os.cpu_count()} cores, {_processor()}, {platform.system()}",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        + ", ".join(f"{name} {_distribution(name)}" for name in ("aiohttp", "uvloop", "zstandard", "msgspec")),
        ", ".join(f"{name} {_program(name)}" for name in ("git", "composer", "php")),
    ]


def _processor() -> str:
    with_model = Path("/proc/cpuinfo")
    text = with_model.read_text(encoding="utf-8") if with_model.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def _distribution(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _program(name: str) -> str:
    if shutil.which(name) is None:
        return "missing"
    done = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+[.\w]*", done.stdout + done.stderr)
    return found[0] if found else "there"
