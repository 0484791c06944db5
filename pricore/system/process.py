"""A child process that is held: within bounds of what it takes, and killed and reaped however it ends."""

import asyncio
import os
import re
import resource
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import IO, Final, Self, TypeVar

from pricore.errors import GitError

T = TypeVar("T")

_PIECE: Final = 64 * 1024
_MOST_END: Final = 8 * 1024
_MOST_MESSAGES: Final = 48 * 1024 * 1024
"""A fetch names each branch and tag that came or went, which a listing of 16 MB bounds."""


OnReceived = Callable[[int, int, int], None]
"""Told how many objects a fetch has, how many there are, and the bytes that were received.

That begins anew for what the host prepares, what it sends, what is made of that here, and for refs, of which git
doesn't say how many there are: 0.
"""

_RECEIVED: Final = re.compile(
    rb"[A-Z][a-z]+ (?:objects|deltas): +[0-9]+% \(([0-9]{1,12})/([0-9]{1,12})\)"
    rb"(?:, ([0-9]{1,9}(?:\.[0-9]{1,3})?) (bytes|[KMG]iB))?"
)
_REFS: Final = re.compile(rb"^From [^\n]*\n", re.MULTILINE)
"""After this, git names each ref that it has brought to what it is upstream."""

_PROGRESS: Final = re.compile(
    rb"(?:remote: )?[A-Z][a-z]+ [a-z]+: +[0-9]+% \([0-9]+/[0-9]+\)[^\r\n]*[\r\n]*"
    rb"|^(?:From |remote: (?:Enumerating|Total) | [*+t-] \[| {3}[0-9a-f]+\.\.| \+ [0-9a-f]+\.{3})[^\n]*\n",
    re.MULTILINE,
)
"""What git says of how far it is, and of refs that it has; where it fails, that is not the reason."""

_UNITS: Final = {b"bytes": 1, b"KiB": 1024, b"MiB": 1024**2, b"GiB": 1024**3}
_MOST_LINE: Final = 400

_NICE: Final = 5
"""By how much git is less urgent than this process, which somebody waits for."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What git and its helpers may take, each process: bytes of memory, and of a file that it writes.

    `seconds` are of a processor's time. Where the kernel has no such limit for another process (it has on Linux),
    nothing holds them.
    """

    memory: int = 1024**3
    file: int | None = None
    seconds: int | None = None

    def apply_to(self, process: int) -> None:
        """Hold a process that has just begun, and all that it begins."""
        if not hasattr(resource, "prlimit"):
            return
        with suppress(ProcessLookupError):  # it has ended
            resource.prlimit(process, resource.RLIMIT_DATA, (self.memory, self.memory))
            if self.file is not None:
                resource.prlimit(process, resource.RLIMIT_FSIZE, (self.file, self.file))
            if self.seconds is not None:
                resource.prlimit(process, resource.RLIMIT_CPU, (self.seconds, self.seconds + 1))


BOUNDS: Final = Bounds()
"""Enough to take in the largest repositories that have been seen."""


class GitProcess:
    """One git process and the thread that reads it; `kill` may come from any other thread at any time."""

    def __init__(self, environment: Mapping[str, str], bounds: Bounds) -> None:
        self._environment = environment
        self._bounds = bounds
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    def kill(self) -> None:
        with self._lock:
            self._killed = True
            # the whole group: fetch has helpers (ssh, git-remote-https) that would live on
            if self._process is not None and self._process.poll() is None:
                # its thread may have reaped it a moment ago, which would be told instead of a cancellation
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def run(
        self,
        arguments: Sequence[str],
        consume: Callable[[IO[bytes]], T],
        *,
        errors: int,
        lines: Iterable[str] | None,
        passed: Sequence[int],
    ) -> tuple[T, int]:
        """What `consume` gives, and git's exit status; `errors` is the descriptor of its standard error."""
        with _input(lines) as requests, self._started(arguments, errors, requests, passed) as process:
            assert process.stdout is not None  # noqa: S101  # Popen was given a pipe
            with process.stdout as output:
                result = consume(output)
            return result, process.wait()

    def converse(
        self,
        arguments: Sequence[str],
        talk: Callable[[IO[bytes], IO[bytes]], T],
        *,
        errors: int,
        passed: Sequence[int],
    ) -> tuple[T, int]:
        """The same, where `talk` writes to git, and reads what it answers."""
        with self._started(arguments, errors, subprocess.PIPE, passed) as process:
            assert process.stdin is not None  # noqa: S101  # Popen was given a pipe
            assert process.stdout is not None  # noqa: S101  # and another
            with process.stdout as answers:
                try:
                    result = talk(process.stdin, answers)
                finally:
                    with suppress(BrokenPipeError):  # it has ended before
                        process.stdin.close()
            return result, process.wait()

    @contextmanager
    def _started(
        self, arguments: Sequence[str], errors: int, requests: IO[bytes] | int, passed: Sequence[int]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Git, while it runs; it is gone afterwards."""
        process = self._start(arguments, errors, requests, passed)
        try:
            yield process
        finally:
            self.kill()
            process.wait()

    def _start(
        self,
        arguments: Sequence[str],
        errors: int,
        requests: IO[bytes] | int,
        passed: Sequence[int],
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._killed:
                raise GitError("git was stopped before it began")
            try:
                self._process = subprocess.Popen(
                    ["git", *arguments],
                    stdin=requests,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=self._environment,
                    cwd="/",
                    # a group to be killed; on a terminal a session, too, or its helpers would ask there
                    start_new_session=_on_terminal(),
                    process_group=None if _on_terminal() else 0,
                    pass_fds=passed,
                )
            except FileNotFoundError:
                raise GitError("git is not installed, or not on PATH") from None
            self._bounds.apply_to(self._process.pid)
            _give_way(self._process.pid)
            return self._process


@cache
def _on_terminal() -> bool:
    """Whether this process has a terminal, which its children could ask."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _give_way(process: int) -> None:
    """Let this process be served before one that has just begun, and before all that that begins."""
    with suppress(OSError):  # it has ended
        os.setpriority(os.PRIO_PROCESS, process, os.getpriority(os.PRIO_PROCESS, 0) + _NICE)
    # Linux gives each session the same share, however urgent those in it are; this is the share of one
    if _on_terminal():
        with suppress(OSError):
            Path(f"/proc/{process}/autogroup").write_text(str(_NICE), encoding="ascii")


@contextmanager
def _input(lines: Iterable[str] | None) -> Iterator[IO[bytes] | int]:
    """What a process reads these lines from."""
    if lines is None:
        yield subprocess.DEVNULL
        return
    # a file, not a pipe: it cannot fill up and block
    with tempfile.TemporaryFile() as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
        file.seek(0)
        yield file


class Messages:
    """What git and its helpers write to standard error, read by the loop: the end of it, and no more than a limit.

    `flood` is called where there is more: a server can send them for ever. `on_received` is told how far a fetch
    is, as git says it among them. `descriptor` is for git.
    """

    def __init__(self, flood: Callable[[], None], on_received: OnReceived | None = None) -> None:
        self.too_many = False
        self._flood = flood
        self._on_received = on_received
        self._end = b""
        self._count = 0
        self._received = 0
        # refs that were named; None as long as objects are fetched
        self._refs: int | None = None
        self._own, self.descriptor = os.pipe()

    def __enter__(self) -> Self:
        os.set_blocking(self._own, False)
        asyncio.get_running_loop().add_reader(self._own, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._own)
        os.close(self._own)
        os.close(self.descriptor)

    def end(self) -> str:
        """The last of them, where git has ended."""
        while not self.too_many and self._read():
            pass
        return _PROGRESS.sub(b"", self._end).decode(errors="replace")

    def _read(self) -> bool:
        """Take what is there; whether there was anything."""
        try:
            piece = os.read(self._own, _PIECE)
        except BlockingIOError:
            return False
        self._end = (self._end + piece)[-_MOST_END:]
        self._count += len(piece)
        if self._on_received is not None:
            self._tell(piece, self._on_received)
        if self._count > _MOST_MESSAGES and not self.too_many:
            self.too_many = True
            self._flood()
        return True

    def _tell(self, piece: bytes, on_received: OnReceived) -> None:
        """Tell how far a fetch is by what came last, of which a piece is new."""
        if self._refs is not None:
            self._refs += piece.count(b"\n")
            on_received(self._refs, 0, self._received)
        elif _REFS.search(self._end):
            self._refs = 0
        elif found := [*_RECEIVED.finditer(self._end[-_MOST_LINE:])]:
            done, total, size, unit = found[-1].groups()
            if size is not None:
                self._received = int(float(size) * _UNITS[unit])
            on_received(int(done), int(total), self._received)
