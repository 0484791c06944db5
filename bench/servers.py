"""Servers in processes of their own, and single requests to them."""

import base64
import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from bench.machine import on_core


@dataclass(frozen=True)
class Server:
    """A server that answers at `url`, and the process that it is.

    Where it only watches the processes that answer, those are its `workers`.
    """

    url: str
    pid: int
    workers: tuple[int, ...] = ()

    @property
    def answering(self) -> tuple[int, ...]:
        """The processes that answer."""
        return self.workers or (self.pid,)


@dataclass(frozen=True)
class Answer:
    """What a server answered; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process, MB: what it has, and the most that it had."""

    now: float
    most: float


def memory(server: Server) -> Memory:
    """The memory of a server, without that of the programs that it started."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{server.pid}/status").read_text().splitlines())
    now, most = (int(fields[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))
    return Memory(now, most)


def get(url: str, headers: Mapping[str, str]) -> Answer:
    """The answer as it came over the wire: nothing is decoded, no redirect is followed."""
    return _ask("GET", url, headers, None)


def post(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """The answer to a body, as it came."""
    return _ask("POST", url, headers, body)


def _ask(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request(method, parts.path, body, headers=dict(headers))
        response = connection.getresponse()
        return Answer(
            response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        )
    finally:
        connection.close()


def authorization(secret: str) -> dict[str, str]:
    """The header with which Composer shows a token."""
    return {"Authorization": "Basic " + base64.b64encode(f"token:{secret}".encode()).decode()}


@contextlib.contextmanager
def pricore(data: Path, *, core: int | None = None, **settings: object) -> Iterator[Server]:
    """A `pricore serve` on that data folder; `settings` are those of the environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PRICORE_")}
    environment |= {f"PRICORE_{name.upper()}": str(value) for name, value in settings.items()}
    environment["PRICORE_DATA"] = str(data)
    # limits are counted, and never reached
    environment.setdefault("PRICORE_REQUESTS_PER_MINUTE", "2000000000")
    environment.setdefault("PRICORE_DOWNLOADS_PER_MINUTE", "2000000000")
    with serving(["pricore", "serve", "--port", "0", "--json"], core=core, environment=environment) as server:
        yield server


@contextlib.contextmanager
def serving(
    module: Sequence[str],
    *,
    core: int | None = None,
    request: object = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """A module that prints its URL as JSON once it serves; `request` goes to its standard input as JSON.

    It is stopped at the end. Raises RuntimeError with what it said where it doesn't serve.
    """
    with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryFile("w+") as sent:
        json.dump(request, sent)
        sent.seek(0)
        with on_core(core):
            process = subprocess.Popen(
                [sys.executable, "-m", *module],
                env=environment,
                stdin=sent,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        try:
            yield Server(_read_url(process, errors), process.pid, _children(process.pid))
        finally:
            process.terminate()
            try:
                process.communicate(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def _children(pid: int) -> tuple[int, ...]:
    """What a process has begun, where the system tells."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return tuple(int(child) for child in children.read_text().split()) if children.exists() else ()


def _read_url(process: "subprocess.Popen[str]", errors: IO[str]) -> str:
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        with contextlib.suppress(json.JSONDecodeError):
            return str(json.loads(text)["url"])
    errors.seek(0)
    raise RuntimeError(f"{process.args!r} did not serve: {text}{errors.read()[-2000:]}")
