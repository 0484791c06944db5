"""Which process serves a data folder, and where: a small file in it, on which that process holds a lock."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pricore.config import Config
from pricore.errors import ConfigError
from pricore.system.files import lock

_NAME: Final = "serve.lock"
_MOST_BYTES: Final = 1000


@contextmanager
def hold(data: Path, url: str) -> Iterator[None]:
    """Be the only server of a data folder, which listens at `url`: only one may take jobs that were cut off.

    The kernel lets go of the lock with the process. Raises ConfigError where another server has it.
    """
    # not truncated before it is ours: what is in it is another server's until then
    descriptor = os.open(data / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not lock(descriptor):
            raise ConfigError(f"another `pricore serve` serves {data} already; stop it, or give another --data")
        with suppress(OSError):  # on a full disk it serves all the same
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, url.encode(), 0)
        yield
    finally:
        os.close(descriptor)


def holder(data: Path) -> str | None:
    """Where the server of a data folder listens, as a URL; empty if it doesn't say, None if there is none."""
    try:
        descriptor = os.open(data / _NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if lock(descriptor, shared=True):
            return None
        return os.pread(descriptor, _MOST_BYTES, 0).decode(errors="replace")
    finally:
        os.close(descriptor)


def listening_url(config: Config, *, port: int | None = None) -> str:
    """Where it listens as the settings say (on `port`, where that is known), as a URL for others."""
    host = config.host if config.host not in ("0.0.0.0", "::", "") else socket.gethostname()  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{port or config.port}"
