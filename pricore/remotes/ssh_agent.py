"""An SSH agent with one Ed25519 key: ssh asks it for signatures, and the key stays in this process."""

import asyncio
import struct
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pricore.errors import GitError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SOCKET: Final = "agent"
PUBLIC_KEY: Final = "key.pub"

# https://datatracker.ietf.org/doc/html/draft-ietf-sshm-ssh-agent
_FAILURE: Final = b"\x05"
_REQUEST_IDENTITIES: Final = 11
_IDENTITIES_ANSWER: Final = b"\x0c"
_SIGN_REQUEST: Final = 13
_SIGN_RESPONSE: Final = b"\x0e"
_KIND: Final = b"ssh-ed25519"
_MOST_REQUEST: Final = 256 * 1024


def create_key(comment: str) -> tuple[str, str]:
    """A new key in OpenSSH's form: the private half, and the line of the public one."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return private.decode(), f"{_public_line(key)} {comment}"


@asynccontextmanager
async def serving(private_key: str) -> AsyncIterator[Path]:
    """A folder for this user alone with the socket of an agent that has the key, and with its public half."""
    key = await asyncio.to_thread(_load, private_key)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_answer(key, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    with tempfile.TemporaryDirectory(prefix="pricore-") as name:
        folder = Path(name)
        public = folder / PUBLIC_KEY
        public.touch(mode=0o600)
        public.write_text(_public_line(key) + "\n", encoding="ascii")
        try:
            server = await asyncio.start_unix_server(connected, str(folder / SOCKET))
        except OSError as error:  # such as a path that is too long for a socket
            raise GitError(
                f"cannot lend an SSH key: no socket can be made in the folder for temporary files ({error}); "
                "TMPDIR names another one"
            ) from None
        try:
            yield folder
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(key: "Ed25519PrivateKey", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while (size := int.from_bytes(await reader.readexactly(4))) <= _MOST_REQUEST:
                writer.write(_string(_reply(key, await reader.readexactly(size))))
                await writer.drain()
    finally:
        writer.close()


def _reply(key: "Ed25519PrivateKey", request: bytes) -> bytes:
    """The answer to one message: the list of the key, a signature, or a failure for all else."""
    blob = _blob(key)
    if request[:1] == bytes([_REQUEST_IDENTITIES]):
        return _IDENTITIES_ANSWER + struct.pack(">I", 1) + _string(blob) + _string(b"")
    if request[:1] == bytes([_SIGN_REQUEST]):
        wanted, rest = _take(request[1:])
        data, _ = _take(rest)
        if wanted == blob:
            return _SIGN_RESPONSE + _string(_string(_KIND) + _string(key.sign(data)))
    return _FAILURE


def _load(private_key: str) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    key = load_ssh_private_key(private_key.encode(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError("only Ed25519 keys are made here")
    return key


def _public_line(key: "Ed25519PrivateKey") -> str:
    from cryptography.hazmat.primitives import serialization

    form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(*form).decode()


def _blob(key: "Ed25519PrivateKey") -> bytes:
    return _string(_KIND) + _string(key.public_key().public_bytes_raw())


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _take(content: bytes) -> tuple[bytes, bytes]:
    """The string at the beginning, and what is behind it."""
    end = 4 + int.from_bytes(content[:4])
    return content[4:end], content[end:]
