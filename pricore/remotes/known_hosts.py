"""The keys of SSH hosts that were met, in a file of OpenSSH's form that ssh itself adds to."""

import asyncio
import base64
import binascii
import hashlib
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from pricore.errors import GitUnavailableError, StoreError
from pricore.system.files import write_file

_SECONDS: Final = 30
_MOST_BYTES: Final = 64 * 1024
_LINE = re.compile(r"(?P<names>[^\s@|#]\S*) (?P<kind>[a-z0-9@.-]+) (?P<key>[A-Za-z0-9+/=]+)")


class HostKey(msgspec.Struct, frozen=True):
    """A key that a host shows; `fingerprint` is what its operator publishes."""

    kind: str
    key: str
    fingerprint: str


def name_of(host: str, port: int | None) -> str:
    """How a host stands in the file."""
    return host if port in (None, 22) else f"[{host}]:{port}"


async def scan(host: str, port: int | None) -> list[HostKey]:
    """The keys that a host shows now. Raises GitUnavailableError where it shows none in time."""
    try:
        process = await asyncio.create_subprocess_exec(
            *("ssh-keyscan", "-T10", f"-p{port or 22}", "-ted25519,ecdsa,rsa", "--", host),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise GitUnavailableError("ssh-keyscan is not installed, or not on PATH") from None
    output = b""
    try:
        assert process.stdout is not None  # noqa: S101  # it was given a pipe
        with suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS):
                while len(output) < _MOST_BYTES and (piece := await process.stdout.read(4096)):
                    output += piece
                # by itself: to be killed while it ends would be told on standard error
                await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    found = [key for line in output.decode(errors="replace").splitlines() if (key := _host_key(line))]
    if not found:
        raise GitUnavailableError(f"cannot reach {name_of(host, port)}: no SSH server there shows a key")
    return sorted(found, key=lambda item: item.kind)


def trust(file: Path, name: str, keys: list[HostKey]) -> None:
    """Let these keys be the ones of a host, and no others. Raises StoreError where the file cannot be written."""
    kept = [line for line in _lines(file) if name not in _names(line)]
    content = "".join(f"{line}\n" for line in [*kept, *(f"{name} {item.kind} {item.key}" for item in keys)])
    try:
        write_file(file, content.encode(errors="surrogateescape"))
    except OSError as error:
        raise StoreError(f"cannot write {file}: {error.strerror}; let this user write it") from None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"cannot read {file}: {error.strerror}; let this user read it") from None


def _names(line: str) -> list[str]:
    match = _LINE.match(line)
    return match["names"].split(",") if match else []


def _host_key(line: str) -> HostKey | None:
    match = _LINE.fullmatch(line.strip())
    if match is None:
        return None
    try:
        digest = hashlib.sha256(base64.b64decode(match["key"], validate=True)).digest()
    except binascii.Error:
        return None
    return HostKey(match["kind"], match["key"], f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}")
