"""Everything that runs git, and what is asked of a remote. (What is kept of one is in mirror.py.)

Each run is a child process in a session of its own with an argument list, an allow-list of protocols, none of
the host's configuration, and a timeout. It is killed and reaped when its time is up or its caller is
cancelled, which GitPython's runner cannot do.
"""

import asyncio
import hashlib
import logging
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
from pricore.remotes.access import (
    AGENT,
    BY_ITSELF,
    PROXIES,
    Access,
    Way,
    prepare,
)
from pricore.system.process import (
    BOUNDS,
    Bounds,
    Child,
    Messages,
    OnReceived,
)

T = TypeVar("T")

_log = logging.getLogger("pricore.git")

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
_MOST_LISTING_SECONDS: Final = 60
"""What a remote may take to list its refs: a host that sends a trickle must not keep a worker for long."""

_MOST_LISTING: Final = 16 * 1024 * 1024
_LONG_NAME: Final = re.compile(rb"\t(refs/(?=[^\n^]{996}|(?:[^\n^]*/)?[^\n^/]{251})[^\n^]{55})")
"""The beginning of a ref for which file systems have no name that leaves room for `.lock` behind it."""

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
            name = _short(found[1].decode(errors="replace"))
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ls_remote(self, url: str, *, access: Access = BY_ITSELF) -> Remote:
        """The branches and tags of a remote, within a minute; whether they can be followed is not looked at.

        Raises GitError, GitUnavailableError.
        """

        def consume(output: IO[bytes]) -> Remote:
            return Remote(read_all(output, f"git ls-remote of {url}", most=_MOST_LISTING))

        return await self.read(
            ["ls-remote", "--symref", "--", url, "HEAD", "refs/heads/*", "refs/tags/*"],
            consume,
            url=url,
            access=access,
            seconds=_MOST_LISTING_SECONDS,
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

        def work(child: Child, arguments: Sequence[str], errors: int, passed: Sequence[int]) -> tuple[T, int]:
            held = [*passed, *(() if hold is None else (hold,))]
            return child.run(arguments, consume, errors=errors, lines=lines, passed=held)

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

        def work(child: Child, arguments: Sequence[str], errors: int, passed: Sequence[int]) -> tuple[T, int]:
            return child.converse(arguments, talk, errors=errors, passed=passed)

        return await self._ask(arguments, work, folder=folder, about=about, limit=self.timeout, bounds=bounds)

    async def _ask(
        self,
        arguments: Sequence[str],
        work: Callable[[Child, Sequence[str], int, Sequence[int]], tuple[T, int]],
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
        async with prepare(url, access) as way:
            result, status, message = await self._run(
                arguments,
                work,
                way,
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
        if full := next((line for line in message.splitlines() if any(sign in line for sign in _FULL)), None):
            detail = _short(full if folder is None else _without_paths(full, folder))
            raise GitUnavailableError(f"git {arguments[0]} of {url or about} failed: {detail}")
        here = str(folder) in _reason(message) or "insufficient permission" in message or "FETCH_HEAD" in message
        if folder is not None and (not url or here):
            _log.info("git %s in %s: %r", arguments[0], folder, message)
            raise _mirror_failure(arguments[0], message, folder, about)
        _log.debug("git %s of %s: %r", arguments[0], url or about, message)
        if folder is not None:
            message = _without_paths(message, folder)
        raise _failure(arguments[0], message, url or about, access)

    async def _run(
        self,
        arguments: Sequence[str],
        work: Callable[[Child, Sequence[str], int, Sequence[int]], tuple[T, int]],
        way: Way,
        *,
        folder: Path | None,
        limit: float,
        bounds: Bounds,
        target: str,
        on_received: OnReceived | None,
    ) -> tuple[T, int, str]:
        """What `work` gives, git's exit status and its last messages, within the limit, seconds."""
        child = Child(_environment(way), bounds)
        options = [part for setting in way.settings for part in ("-c", setting)]
        if folder is not None:
            options.append(f"--git-dir={folder}")
        command = [*options, *arguments]
        with Messages(child.kill, on_received) as messages:
            working = asyncio.get_running_loop().run_in_executor(
                self._threads, work, child, command, messages.descriptor, way.descriptors
            )
            try:
                async with asyncio.timeout(limit):
                    result, status = await asyncio.shield(working)
            except (asyncio.CancelledError, TimeoutError) as error:
                child.kill()
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
            raise GitError(f"git {arguments[0]} of {target} was stopped: it gets messages without an end")
        return result, status, message


def _environment(way: Way) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ and name not in way.withheld}
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
            "GIT_SSH_COMMAND": shlex.join(way.ssh),
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",  # zip archives carry local time
        }
        | dict(way.environment)
    )


_UNAVAILABLE: Final = (
    "Could not resolve host",
    "Connection refused",
    "Connection timed out",
    "Connection reset",
    "Connection closed",
    "No route to host",
    "Network is unreachable",
    "Name or service not known",
    "Temporary failure in name resolution",
    "unable to connect",
    "unable to look up",
    "Failed to connect",
    "Operation too slow",
    "early EOF",
    "The requested URL returned error: 5",
    "The requested URL returned error: 429",
)
_DAMAGED: Final = "possible repository corruption on the remote side"
_DAMAGED_PACK: Final = "inflate returned"
"""What git says of a pack that comes in, and of none that is here."""
_SAID: Final = "remote: fatal: "
_FULL: Final = ("No space left on device", "Disk quota exceeded", "couldn't write '")
"""What git says of a disk without room; of the file of a ref it says no more than the last."""
_LIMITED: Final = ("ut of memory", "of a processor's time", "died of signal")
_UNKNOWN_AUTHORITY: Final = (
    "its certificate is not for that name, or its authority is not trusted: ca_file names one"
)
_ADVICE: Final = (
    ("server certificate verification failed", _UNKNOWN_AUTHORITY),
    ("SSL certificate problem", _UNKNOWN_AUTHORITY),
    ("ut of memory", "git needs more than 1 GB of memory for it"),
    (
        "Host key verification failed",
        "its SSH host key is not the one in known_hosts; if it has a new one, `pricore credential trust` takes it",
    ),
    ("could not read Username", "it asks for a user and password; `pricore credential add` keeps them"),
    (
        "Permission denied (publickey",
        "it refuses this user's SSH key; `pricore credential add --ssh` makes another",
    ),
    (
        "Authentication failed",
        "it refuses the user or password in ~/.netrc; `pricore credential add` keeps others",
    ),
    ("error: 401", "it refuses the user or password in ~/.netrc; `pricore credential add` keeps others"),
    ("The requested URL returned error: 403", "it forbids access"),
    ("disabled in libcurl", "it redirects to plain http, which is not followed; give another address"),
    ("The requested URL returned error: 30", "it redirects to another address; give that one"),
    ("detected dubious ownership", "the folder belongs to another user; run Pricore as that one, or use ssh"),
    ("does not exist", "there is no repository at that address, or it is not for this user"),
    ("not found", "there is no repository at that address, or it is not for this user"),
    ("does not appear to be a git repository", "there is no Git repository at that address"),
    ("not a git repository", "there is no Git repository at that address"),
)
_LOGIN_ADVICE: Final = (
    ("could not read Username", "it sends to another host, which doesn't get the credential {}"),
    ("Permission denied (publickey", "it refuses the key of the credential {}; is its public half there?"),
    ("Authentication failed", "it refuses the user or token of the credential {}"),
    ("error: 401", "it refuses the user or token of the credential {}"),
    ("error: 403", "it doesn't let the credential {} read that"),
    ("does not exist", "there is no repository at that address, or it is not for the credential {}"),
    ("not found", "there is no repository at that address, or it is not for the credential {}"),
)


def _failure(command: str, message: str, target: str, access: Access) -> GitError:
    """The error in one line, out of what git wrote."""
    if _DAMAGED in message:
        # what follows from it on this side looks like a connection that was lost
        detail = next((line for line in message.splitlines() if line.startswith(_SAID)), _DAMAGED)
        return GitUnavailableError(
            f"cannot read {target}: it is damaged there, says its server ({_short(detail.removeprefix(_SAID))}); "
            "`git fsck` in it tells more"
        )
    if _DAMAGED_PACK in message:
        detail = next(line for line in message.splitlines() if _DAMAGED_PACK in line)
        return GitUnavailableError(
            f"cannot read {target}: what it sends is damaged ({_short(detail.removeprefix('fatal: '))}); "
            "`git fsck` in it tells more"
        )
    for sign in _UNAVAILABLE:
        if sign in message:
            detail = next(line for line in message.splitlines() if sign in line)
            hint = ""
            if access.confined and not access.proxy and any(name in os.environ for name in PROXIES):
                hint = " (the proxy in the environment is not for what was added over the API: git_proxy sets one)"
            return GitUnavailableError(f"cannot reach {target}: {_short(detail)}{hint}")
    if access.login is not None:
        for sign, meaning in _LOGIN_ADVICE:
            if sign in message:
                return GitError(f"cannot read {target}: {meaning.format(access.login.name)}")
    elif access.confined and "Permission denied (" in message:
        return GitError(f"cannot read {target}: it asks for a key; `pricore credential add --ssh` makes one")
    for sign, meaning in _ADVICE:
        if sign in message:
            return GitError(f"cannot read {target}: {meaning}")
    # one that could list its refs a moment ago, and cannot send them, is not well
    kind = _kind(message) if command == "fetch" else GitError
    return kind(f"git {command} of {target} failed: {_short(_reason(message))}")


_MIRROR_ADVICE: Final = (
    (
        "not a git repository",
        "it is not there, or not whole; a sync makes it anew, without the commits that upstream no longer has",
    ),
    ("detected dubious ownership", "it belongs to another user; `chown -R` {} gives it to the one who serves"),
)
_NOT_OURS: Final = ("Permission denied", "insufficient permission")
"""What git says of a file in a mirror that another user has made."""


def _kind(message: str) -> type[GitError]:
    """The error that is not for good, but where a limit was passed: it would be the next time too."""
    return GitError if any(sign in message for sign in _LIMITED) else GitUnavailableError


def _mirror_failure(command: str, message: str, folder: Path, about: str) -> GitError:
    """The error where the trouble is on this side, until that is mended; it names no folder of the server."""
    for sign, meaning in _MIRROR_ADVICE:
        if sign in message:
            return GitUnavailableError(f"cannot read {about}: {meaning.format(_named(folder))}")
    kind = _kind(message)
    reason = _short(_without_paths(_reason(message), folder))
    if any(sign in reason for sign in _NOT_OURS):
        advice = (
            f"a file in it belongs to another user; `chown -R` {_named(folder)} gives it to the one who serves"
        )
        return GitUnavailableError(f"git {command} of {about} failed: {reason}: {advice}")
    return kind(f"git {command} of {about} failed: {reason} (look at its folder in the data folder)")


def _named(folder: Path) -> str:
    """A mirror's folder as it is in the data folder."""
    return f"{folder.parent.name}/{folder.name}"


def _without_paths(text: str, folder: Path) -> str:
    """A text of git's with names inside of a folder alone, and none of the folders that it is in."""
    for path in dict.fromkeys((folder, folder.resolve())):
        text = text.replace(f"{path}/", "").replace(str(path), "the mirror")
        # the folder of mirrors and the data folder
        for parent in [*path.parents][:2]:
            text = re.sub(rf"(?<![^\s'\"]){re.escape(str(parent))}(?![\w.-])", "the data folder", text)
    return text


def _reason(message: str) -> str:
    """The line of git's that says why it failed."""
    lines = [line for line in message.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (fatal or lines or ["no reason given"])[0]


def _short(line: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in line.removeprefix("fatal: ").strip())[:300]


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
