"""Everything that runs git, and what is asked of a remote. (What is kept of one is in vcs/mirror.py.)

Each run is a child process in a session of its own with an argument list, an allow-list of protocols, none of
the host's configuration, and a timeout. It is killed and reaped when its time is up or its caller is
cancelled, which GitPython's runner cannot do (docs/decisions/gitpython.md).
"""

import asyncio
import hashlib
import os
import re
import shlex
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import IO, Final, Self, TypeVar

from pricore.errors import GitError, GitUnavailableError, SyncError
from pricore.remotes.access import AGENT, BY_ITSELF, PROXIES, Access, GitSetup, prepare
from pricore.remotes.failures import explain_failure, shorten
from pricore.system.process import BOUNDS, Bounds, GitProcess, Messages, OnReceived

T = TypeVar("T")

LEAST_VERSION: Final = (2, 37)
"""Older ones connect to other addresses than those that were checked (they have no http.curloptResolve), and those
before 2.32 read the user's configuration instead of ours (GIT_CONFIG_GLOBAL)."""

_CONFIG: Final = Path(__file__).with_name("gitconfig")
_PASSED_ON: Final = (
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "HOME",
    "PATH",
    AGENT,
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "USER",
    "no_proxy",
    "NO_PROXY",
    *PROXIES,
)
_MOST_OUTPUT: Final = 64 * 1024 * 1024
_VERSION: Final = ("--version",)
_VERSION_SECONDS: Final = 30
_MOST_VERSION: Final = 80

LISTING_SECONDS: Final = 60
"""What a remote may take to list its refs: a host that sends a trickle must not keep a worker for long."""

MAX_LISTING: Final = 16 * 1024 * 1024
"""Bytes of that list."""

_LONG_NAME: Final = re.compile(rb"\t(refs/(?=[^\n^]{996}|(?:[^\n^]*/)?[^\n^/]{251})[^\n^]{55})")
"""The beginning of a ref for which file systems have no name that leaves room for `.lock` behind it."""

_NO_NAME: Final = re.compile(r"/\.|\.\.|//|@\{|[\0-\x20~^:?*\[\x7f]|\.lock(?:/|$)|[./]$")
"""What no name of a ref has."""

_LONG_LINE: Final = 251
"""Bytes; a line with such a ref has more."""

MOST_REFS: Final = 20_000
"""Branches and tags that a repository may have; the largest public PHP ones have some 4,000."""


class Remote:
    """What a remote offers; `digest` is equal for equal offers."""

    def __init__(self, listing: bytes) -> None:
        self.digest = hashlib.sha256(listing).hexdigest()
        self._listing = listing

    @cached_property
    def refs(self) -> Mapping[str, str]:
        """Branches and tags by full name, with the object that each leads to in the end, as a mirror has them."""
        refs: dict[str, str] = {}
        for line in split_lines(self._listing):
            value, _, name = line.partition("\t")
            if name.startswith(("refs/heads/", "refs/tags/")):
                refs[name.removesuffix("^{}")] = value  # an annotated tag's second line is the commit
        return refs

    def fetched_refs(self) -> dict[str, str]:
        """Those of them that git fetches: it passes over what cannot be the name of one."""
        return {ref: commit for ref, commit in self.refs.items() if not _NO_NAME.search(ref)}

    @cached_property
    def default_branch(self) -> str | None:
        """The branch that HEAD names, else `master`, if it is there."""
        named = re.search(rb"^ref: refs/heads/(.+)\tHEAD$", self._listing, re.MULTILINE)
        candidates = (named[1].decode(errors="backslashreplace") if named else "", "master")
        return next((branch for branch in candidates if f"refs/heads/{branch}" in self.refs), None)

    def check(self, url: str) -> None:
        """Refuse with GitError or SyncError what cannot be followed; `url` is the remote's.

        So many lines may take a while.
        """
        count = self._listing.count(b"\trefs/") - self._listing.count(b"^{}\n")
        if count > MOST_REFS:
            raise GitError(
                f"{url} has {count:,} branches and tags, more than the {MOST_REFS:,} that are read: "
                "delete some there"
            )
        # the pattern takes a while: first whether there is a line of such a length at all
        longest = max(map(len, self._listing.split(b"\n")))
        if longest > _LONG_LINE and (found := _LONG_NAME.search(self._listing)):
            name = shorten(found[1].decode(errors="replace"))
            raise GitError(f"{url} has a branch or tag with a name too long for a file, {name}...")
        if not self.refs:
            if url.startswith(("http://", "https://")):
                # to git, a page without a line break is a list of nothing
                raise SyncError(
                    f"{url} lists no branch or tag: push one with a composer.json to it, "
                    "or correct the address if it is that of a web page"
                )
            raise SyncError(f"{url} is empty: push a branch with a composer.json to it first")


class Git:
    """The runner of git, a context manager; `timeout` bounds each run, seconds."""

    def __init__(self, *, timeout: float) -> None:
        self.timeout = timeout
        # of its own: a hanging fetch must not keep the threads from which names are resolved
        self._threads = ThreadPoolExecutor(max_workers=32, thread_name_prefix="git")
        self._version: str | None = None
        self._checking = asyncio.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def check(self) -> str:
        """What git says of its version, asked once, before anything else is asked of it.

        Raises GitError where it is not installed, or too old.
        """
        async with self._checking:
            if self._version is None:
                output = await self.run(_VERSION, seconds=_VERSION_SECONDS)
                shown = output.decode(errors="replace").strip()[:_MOST_VERSION]
                found = re.search(r"(\d+)\.(\d+)", shown)
                if found is None or (int(found[1]), int(found[2])) < LEAST_VERSION:
                    least = ".".join(map(str, LEAST_VERSION))
                    raise GitError(f"git {least} or newer is needed, and this is {shown!r}: install a newer one")
                self._version = shown
        return self._version

    async def ls_remote(self, url: str, *, access: Access = BY_ITSELF) -> Remote:
        """The branches and tags of a remote, within a minute; whether they can be followed is not looked at.

        Raises GitError, GitUnavailableError.
        """

        def consume(output: IO[bytes]) -> Remote:
            return Remote(read_all(output, f"git ls-remote of {url}", most=MAX_LISTING))

        return await self.read(
            ["ls-remote", "--symref", "--", url, "HEAD", "refs/heads/*", "refs/tags/*"],
            consume,
            url=url,
            access=access,
            seconds=LISTING_SECONDS,
        )

    async def run(
        self,
        arguments: Sequence[str],
        *,
        folder: Path | None = None,
        about: str = "the mirror",
        url: str = "",
        access: Access = BY_ITSELF,
        lines: Iterable[str] | None = None,
        accept: Sequence[int] = (0,),
        hold: int | None = None,
        seconds: float | None = None,
        bounds: Bounds = BOUNDS,
        on_received: OnReceived | None = None,
    ) -> bytes:
        """The output of one git command, at most 64 MB. `lines` are its standard input.

        Errors speak of `url`, and where the trouble is in `folder`, of `about`: never of where that folder is.
        `access` is how it may read that. `seconds` bound it where they are less than the timeout, `bounds` what it
        takes of the machine.

        `on_received` is told how far a fetch with --progress is.

        `hold` is a descriptor that git gets too: a lock on it ends with git, even when this process is killed.

        Raises GitError, or GitUnavailableError where the host of `url` is the trouble.
        """

        def read(output: IO[bytes]) -> bytes:
            return read_all(output, f"git {arguments[0]} of {url or about}")

        return await self.read(
            arguments,
            read,
            folder=folder,
            about=about,
            url=url,
            access=access,
            lines=lines,
            accept=accept,
            hold=hold,
            seconds=seconds,
            bounds=bounds,
            on_received=on_received,
        )

    async def read(
        self,
        arguments: Sequence[str],
        consume: Callable[[IO[bytes]], T],
        *,
        folder: Path | None = None,
        about: str = "the mirror",
        url: str = "",
        access: Access = BY_ITSELF,
        lines: Iterable[str] | None = None,
        accept: Sequence[int] = (0,),
        hold: int | None = None,
        seconds: float | None = None,
        bounds: Bounds = BOUNDS,
        on_received: OnReceived | None = None,
    ) -> T:
        """What `consume` makes of a command's output, read in a thread of its own; the rest is as for `run`."""

        def work(
            process: GitProcess, arguments: Sequence[str], errors: int, passed: Sequence[int]
        ) -> tuple[T, int]:
            held = [*passed, *(() if hold is None else (hold,))]
            return process.run(arguments, consume, errors=errors, lines=lines, passed=held)

        limit = self.timeout if seconds is None else min(self.timeout, seconds)
        return await self._ask(
            arguments,
            work,
            folder=folder,
            about=about,
            url=url,
            access=access,
            accept=accept,
            limit=limit,
            bounds=bounds,
            on_received=on_received,
        )

    async def converse(
        self,
        arguments: Sequence[str],
        talk: Callable[[IO[bytes], IO[bytes]], T],
        *,
        folder: Path,
        about: str,
        bounds: Bounds = BOUNDS,
    ) -> T:
        """What `talk` makes of a conversation with a command, in a thread of its own; the rest is as for `run`.

        It gets what git reads and what git writes, and has to end when that does.
        """

        def work(
            process: GitProcess, arguments: Sequence[str], errors: int, passed: Sequence[int]
        ) -> tuple[T, int]:
            return process.converse(arguments, talk, errors=errors, passed=passed)

        return await self._ask(arguments, work, folder=folder, about=about, limit=self.timeout, bounds=bounds)

    async def _ask(
        self,
        arguments: Sequence[str],
        work: Callable[[GitProcess, Sequence[str], int, Sequence[int]], tuple[T, int]],
        *,
        folder: Path | None,
        about: str,
        url: str = "",
        access: Access = BY_ITSELF,
        accept: Sequence[int] = (0,),
        limit: float,
        bounds: Bounds,
        on_received: OnReceived | None = None,
    ) -> T:
        """What `work` gives, where git ends well within the limit, seconds."""
        if self._version is None and arguments is not _VERSION:
            await self.check()
        async with prepare(url, access) as setup:
            result, status, message = await self._run(
                arguments,
                work,
                setup,
                folder=folder,
                limit=limit,
                bounds=bounds,
                target=url or about,
                on_received=on_received,
            )
        if status in accept:
            return result
        if status == -signal.SIGXCPU:
            message = f"fatal: more than {bounds.seconds} seconds of a processor's time"
        raise explain_failure(arguments[0], message, url=url, folder=folder, about=about, access=access)

    async def _run(
        self,
        arguments: Sequence[str],
        work: Callable[[GitProcess, Sequence[str], int, Sequence[int]], tuple[T, int]],
        setup: GitSetup,
        *,
        folder: Path | None,
        limit: float,
        bounds: Bounds,
        target: str,
        on_received: OnReceived | None,
    ) -> tuple[T, int, str]:
        """What `work` gives, git's exit status and its last messages, within the limit, seconds."""
        process = GitProcess(_environment(setup), bounds)
        options = [part for setting in setup.settings for part in ("-c", setting)]
        if folder is not None:
            options.append(f"--git-dir={folder}")
        command = [*options, *arguments]
        with Messages(process.kill, on_received) as messages:
            working = asyncio.get_running_loop().run_in_executor(
                self._threads, work, process, command, messages.descriptor, setup.descriptors
            )
            try:
                async with asyncio.timeout(limit):
                    result, status = await asyncio.shield(working)
            except (asyncio.CancelledError, TimeoutError) as error:
                process.kill()
                await asyncio.wait([working])
                working.exception()  # seen: it ended because it was killed
                if isinstance(error, TimeoutError):
                    hint = "; git_timeout allows more" if limit == self.timeout else ""
                    raise GitUnavailableError(
                        f"git {arguments[0]} of {target} took longer than {limit:g} seconds{hint}"
                    ) from None
                raise
            message = messages.end()
        if messages.too_many:
            raise GitError(f"git {arguments[0]} of {target} was stopped: its host sends messages without end")
        return result, status, message


def _environment(setup: GitSetup) -> dict[str, str]:
    names = [name for name in _PASSED_ON if name in os.environ and name not in setup.withheld]
    passed_on = {name: os.environ[name] for name in names}
    # git takes no notice of OpenSSL's variable, unless it was built with that
    authorities = {"GIT_SSL_CAINFO": os.environ["SSL_CERT_FILE"]} if os.environ.get("SSL_CERT_FILE") else {}
    return (
        authorities
        | passed_on
        | {
            "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file",
            "GIT_ASKPASS": "",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(_CONFIG),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_SSH_COMMAND": shlex.join(setup.ssh),
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",  # zip archives carry local time
        }
        | dict(setup.environment)
    )


def read_all(output: IO[bytes], what: str, *, most: int = _MOST_OUTPUT) -> bytes:
    """All that comes. Raises GitError, which says of `what`, for more than `most` bytes."""
    content = output.read(most + 1)
    if len(content) > most:
        raise GitError(f"{what} gives more than {most // 1024**2} MB")
    return content


def split_lines(output: bytes) -> list[str]:
    """The lines of a list of refs. `splitlines` would also part a name at other line ends, U+2028 and the like."""
    text = output.decode(errors="backslashreplace").rstrip("\n")
    return text.split("\n") if text else []
