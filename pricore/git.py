"""Everything that runs git: listing a remote, mirroring it, reading files out of commits, archives.

Each run is a child process in a session of its own with an argument list, an allow-list of protocols, none of
the host's configuration, and a timeout. It is killed and reaped when its time is up or its caller is
cancelled, which GitPython's runner cannot do.
"""

import asyncio
import hashlib
import itertools
import logging
import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import IO, Final, Self, TypeVar
from urllib.parse import urlsplit

from pricore.addresses import host_of
from pricore.errors import GitError, GitUnavailableError
from pricore.models import CommitFile

T = TypeVar("T")

_log = logging.getLogger("pricore.git")

_CONFIG: Final = Path(__file__).with_name("gitconfig")
_PASSED_ON: Final = (
    "HOME",
    "PATH",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "USER",
    *(name for word in ("http_proxy", "https_proxy", "no_proxy", "all_proxy") for name in (word, word.upper())),
)
_MOST_OUTPUT: Final = 64 * 1024 * 1024
_MOST_COMMIT: Final = 64 * 1024
_MOST_LISTING_SECONDS: Final = 60
"""What a remote may take to list its refs: a host that sends a trickle must not keep a worker for long."""

_SSH: Final = ("ssh", "-oBatchMode=yes", "-oConnectTimeout=15", "-oStrictHostKeyChecking=accept-new")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Remote:
    """What a remote offers; `digest` is equal for equal offers."""

    def __init__(self, listing: bytes) -> None:
        self.digest = hashlib.sha256(listing).hexdigest()
        self._listing = listing

    @cached_property
    def refs(self) -> Mapping[str, str]:
        """The object that each branch and tag points to, by full ref name."""
        fields = (line.partition("\t") for line in _lines(self._listing))
        return {name: value for value, _, name in fields if name.startswith(("refs/heads/", "refs/tags/"))}

    @cached_property
    def default_branch(self) -> str | None:
        """The branch that HEAD names, else `master`, if it is there."""
        named = re.search(rb"^ref: refs/heads/(.+)\tHEAD$", self._listing, re.MULTILINE)
        candidates = (named[1].decode(errors="backslashreplace") if named else "", "master")
        return next((branch for branch in candidates if f"refs/heads/{branch}" in self.refs), None)


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

    async def ls_remote(self, url: str, *, only: Sequence[str] | None = None) -> Remote:
        """The branches and tags of a remote, within a minute. Raises GitError, GitUnavailableError.

        `only` confines it to its own host, at these addresses if there are any; None lets it send git elsewhere.
        """
        return Remote(
            await self.run(
                ["ls-remote", "--symref", "--", url, "HEAD", "refs/heads/*", "refs/tags/*"],
                url=url,
                only=only,
                seconds=_MOST_LISTING_SECONDS,
            )
        )

    async def run(
        self,
        arguments: Sequence[str],
        *,
        folder: Path | None = None,
        about: str = "the mirror",
        url: str = "",
        only: Sequence[str] | None = None,
        lines: Iterable[str] | None = None,
        accept: Sequence[int] = (0,),
        hold: int | None = None,
        seconds: float | None = None,
    ) -> bytes:
        """The output of one git command, at most 64 MB. `lines` are its standard input.

        Errors speak of `url`, and where the trouble is in `folder`, of `about`: never of where that folder is.
        `only` confines git as it does `ls_remote`. `seconds` bound it where they are less than the timeout.

        `hold` is a descriptor that git gets too: a lock on it ends with git, even when this process is killed.

        Raises GitError, or GitUnavailableError where the host of `url` is the trouble.
        """

        def read(output: IO[bytes]) -> bytes:
            content = output.read(_MOST_OUTPUT + 1)
            if len(content) > _MOST_OUTPUT:
                raise GitError(f"git {arguments[0]} of {url or about} gives more than 64 MB")
            return content

        return await self.read(
            arguments,
            read,
            folder=folder,
            about=about,
            url=url,
            only=only,
            lines=lines,
            accept=accept,
            hold=hold,
            seconds=seconds,
        )

    async def read(
        self,
        arguments: Sequence[str],
        consume: Callable[[IO[bytes]], T],
        *,
        folder: Path | None = None,
        about: str = "the mirror",
        url: str = "",
        only: Sequence[str] | None = None,
        lines: Iterable[str] | None = None,
        accept: Sequence[int] = (0,),
        hold: int | None = None,
        seconds: float | None = None,
    ) -> T:
        """What `consume` makes of a command's output, read in a thread of its own; the rest is as for `run`."""
        child = _Child(_environment(_ssh(url, only)))
        options = [part for setting in _settings(url, only) for part in ("-c", setting)]
        if folder is not None:
            options.append(f"--git-dir={folder}")
        work = asyncio.get_running_loop().run_in_executor(
            self._threads, child.run, [*options, *arguments], consume, lines, hold
        )
        limit = self.timeout if seconds is None else min(self.timeout, seconds)
        try:
            async with asyncio.timeout(limit):
                result, status, message = await asyncio.shield(work)
        except (asyncio.CancelledError, TimeoutError) as error:
            child.kill()
            await asyncio.wait([work])
            work.exception()  # seen: it ended because it was killed
            if isinstance(error, TimeoutError):
                hint = "; git_timeout allows more" if limit == self.timeout else ""
                raise GitUnavailableError(
                    f"git {arguments[0]} of {url or about} took longer than {limit:g} seconds{hint}"
                ) from None
            raise
        if status in accept:
            return result
        if folder is not None and (not url or str(folder) in _reason(message)):
            _log.info("git %s in %s: %r", arguments[0], folder, message)
            raise _mirror_failure(arguments[0], message, folder, about)
        _log.debug("git %s of %s: %r", arguments[0], url or about, message)
        if folder is not None:
            message = _without_paths(message, folder)
        raise _failure(arguments[0], message, url or about)


class _Child:
    """One git process and the thread that reads it; `kill` may come from any other thread at any time."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
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
        lines: Iterable[str] | None,
        hold: int | None,
    ) -> tuple[T, int, str]:
        """What `consume` gives, git's exit status, and the end of what it wrote to standard error."""
        # files, not pipes, on the sides that nobody reads meanwhile: they cannot fill up and block
        with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as requests:
            if lines is not None:
                requests.write("".join(f"{line}\n" for line in lines).encode())
                requests.seek(0)
            process = self._start(arguments, errors, requests, hold)
            try:
                assert process.stdout is not None  # noqa: S101  # Popen was given a pipe
                with process.stdout as output:
                    result = consume(output)
                status = process.wait()
            finally:
                self.kill()
                process.wait()
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - 8192))
            return result, status, errors.read().decode(errors="replace")

    def _start(
        self,
        arguments: Sequence[str],
        errors: IO[bytes],
        requests: IO[bytes],
        hold: int | None,
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
                    start_new_session=True,
                    pass_fds=() if hold is None else (hold,),
                )
            except FileNotFoundError:
                raise GitError("git is not installed, or not on PATH") from None
            return self._process


def _settings(url: str, only: Sequence[str] | None) -> list[str]:
    """The configuration that keeps git at the host of `url`; nothing for None.

    By itself git goes where the first answer sends it, which is how renamed repositories on GitHub are found: a
    host on the outside could send it to one on the inside. And without the addresses that were looked at, the
    name could mean others a moment later. Raises GitError for git://, which cannot be kept to an address.
    """
    if only is None:
        return []
    settings = ["http.followRedirects=false"]
    parts = urlsplit(url)
    if parts.scheme == "git":
        raise GitError(f"cannot read {url}: git:// is not followed for who came over the API; give https or ssh")
    if only and parts.scheme in ("http", "https"):
        port = parts.port or (443 if parts.scheme == "https" else 80)
        addresses = ",".join(f"[{address}]" if ":" in address else address for address in only)
        settings.append(f"http.curloptResolve={parts.hostname}:{port}:{addresses}")
    return settings


def _ssh(url: str, only: Sequence[str] | None) -> list[str]:
    """The command with which git uses ssh; it connects to the first address of `only`, if there is any.

    The host's key is the one that known_hosts has for its name and port. Nothing of the user's own configuration
    leads elsewhere: no other address, no jump host, and no connection that is open already.
    """
    if not only or url.startswith(("http:", "https:")):
        return [*_SSH]
    host = host_of(url)
    port = urlsplit(url).port if "://" in url else None
    return [
        *_SSH,
        f"-oHostName={only[0]}",
        f"-oHostKeyAlias={host if port in (None, 22) else f'[{host}]:{port}'}",
        "-oProxyCommand=none",  # goes for ProxyJump too
        "-oControlPath=none",
    ]


def _environment(ssh: Sequence[str]) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed_on | {
        "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file",
        "GIT_ASKPASS": "",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(_CONFIG),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_SSH_COMMAND": shlex.join(ssh),
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",  # zip archives carry local time
    }


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
_ADVICE: Final = (
    ("Host key verification failed", "its SSH host key is not the one in known_hosts"),
    ("Permission denied (publickey", "it refuses this user's SSH key"),
    ("could not read Username", "it asks for a user and password; put them into ~/.netrc, or use ssh"),
    ("Authentication failed", "it refuses the user or password in ~/.netrc"),
    ("The requested URL returned error: 401", "it refuses the user or password in ~/.netrc"),
    ("The requested URL returned error: 403", "it forbids access"),
    ("The requested URL returned error: 30", "it redirects to another address; give that one"),
    ("detected dubious ownership", "the folder belongs to another user; run Pricore as that one, or use ssh"),
    ("does not exist", "there is no repository at that address, or it is not for this user"),
    ("not found", "there is no repository at that address, or it is not for this user"),
    ("does not appear to be a git repository", "there is no Git repository at that address"),
    ("not a git repository", "there is no Git repository at that address"),
)


def _failure(command: str, message: str, target: str) -> GitError:
    """The error in one line, out of what git wrote."""
    for sign in _UNAVAILABLE:
        if sign in message:
            detail = next(line for line in message.splitlines() if sign in line)
            return GitUnavailableError(f"cannot reach {target}: {_short(detail)}")
    for sign, meaning in _ADVICE:
        if sign in message:
            return GitError(f"cannot read {target}: {meaning}")
    return GitError(f"git {command} of {target} failed: {_short(_reason(message))}")


_MIRROR_ADVICE: Final = (
    ("not a git repository", "it is not there, or not whole; a sync makes it anew"),
    ("detected dubious ownership", "it belongs to another user; run Pricore as that one"),
)


def _mirror_failure(command: str, message: str, folder: Path, about: str) -> GitError:
    """The error where the trouble is on this side; it doesn't say where this server keeps its data."""
    for sign, meaning in _MIRROR_ADVICE:
        if sign in message:
            return GitError(f"cannot read {about}: {meaning}")
    reason = _short(_without_paths(_reason(message), folder))
    return GitError(f"git {command} of {about} failed: {reason} (look at its folder in the data folder)")


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


class Mirror:
    """A bare repository that follows a remote's branches and tags.

    Commits that were ever served stay: `keep` holds them by refs of our own, below refs/pricore/. Who writes
    to it holds a lock, and gives its descriptor as `hold`. `url` is what errors say that it follows.
    """

    def __init__(self, git: Git, path: Path, *, url: str = "", hold: int | None = None) -> None:
        self._git = git
        self._about = f"the mirror of {url}" if url else "the mirror"
        self.path = path
        self._hold = hold

    def exists(self) -> bool:
        """Whether it is there; not whether it has everything."""
        return all((self.path / name).exists() for name in ("HEAD", "config", "objects", "refs"))

    async def fetch(self, url: str, *, only: Sequence[str] | None = None) -> None:
        """Bring branches and tags to what `url` has now. Raises GitError, GitUnavailableError.

        `only` confines it as it does `Git.ls_remote`.
        """
        if not self.exists():
            # one that was killed on the way leaves the lock of its configuration
            await asyncio.to_thread(_remove_lock_files, self.path)
            await self._write(["init", "--quiet", "--bare", "--template="])
        attributes = self.path / "info" / "attributes"
        if not attributes.exists():
            attributes.parent.mkdir(exist_ok=True)
            # $Format:%d$ would put the names of today's refs into an archive: its bytes have to depend on
            # the commit alone, or the checksum could not be kept
            attributes.write_text("* -export-subst\n", encoding="ascii")
        await self._write(
            [
                "fetch",
                "--quiet",
                "--prune",
                "--no-tags",
                "--no-write-fetch-head",
                "--no-recurse-submodules",
                "--",
                url,
                "+refs/heads/*:refs/heads/*",
                "+refs/tags/*:refs/tags/*",
            ],
            url=url,
            only=only,
        )

    async def _write(
        self,
        arguments: Sequence[str],
        *,
        url: str = "",
        only: Sequence[str] | None = None,
        lines: Iterable[str] | None = None,
    ) -> None:
        """Run a command that changes refs; lock files that a killed git left behind don't stop it."""
        for attempt in (1, 2):
            try:
                await self._git.run(
                    arguments,
                    folder=self.path,
                    about=self._about,
                    url=url,
                    only=only,
                    lines=lines,
                    hold=self._hold,
                )
            except GitError as error:
                # whoever writes here holds our lock: these belong to nobody any more
                if attempt == 2 or ".lock': File exists" not in str(error):
                    raise
                await asyncio.to_thread(_remove_lock_files, self.path)
            else:
                return

    async def refs(self) -> dict[str, str]:
        """Branches and tags by full name, in git's order, with the object that each leads to in the end.

        A name that isn't UTF-8 has backslashes, which no other can have.
        """
        output = await self._git.run(
            ["show-ref", "--heads", "--tags", "--dereference"],
            folder=self.path,
            about=self._about,
            accept=(0, 1),
        )
        refs: dict[str, str] = {}
        for line in _lines(output):
            value, _, name = line.partition(" ")
            refs[name.removesuffix("^{}")] = value  # an annotated tag's second line is the commit
        return refs

    async def read_files(self, commits: Sequence[str], name: str, *, limit: int) -> dict[str, CommitFile]:
        """One file out of many commits, through a single process; `limit` is in bytes."""
        requests = [request for commit in commits for request in (commit, f"{commit}:{name}")]

        def consume(output: IO[bytes]) -> dict[str, CommitFile]:
            # where git ends early its status says so; StopIteration would never get out of a thread
            answers = itertools.chain(_batch_answers(output, limit), itertools.repeat((b"", b"")))
            return {commit: _commit_file(next(answers), next(answers)) for commit in commits}

        return await self._git.read(
            ["cat-file", "--batch"], consume, folder=self.path, about=self._about, lines=requests
        )

    async def keep(self, commits: Iterable[str]) -> None:
        """Hold commits for good, whatever happens to the branches and tags that led to them."""
        lines = [f"update refs/pricore/{commit} {commit}" for commit in dict.fromkeys(commits)]
        if lines:
            await self._write(["update-ref", "--stdin"], lines=lines)

    async def archive(self, commit: str, consume: Callable[[IO[bytes]], T]) -> T:
        """What `consume` makes of the zip of a commit: stored, not compressed, in one root folder.

        The bytes depend on the commit alone.
        """
        if not _COMMIT.fullmatch(commit):
            raise GitError(f"{commit[:80]!r} is not a commit")
        return await self._git.read(
            ["archive", "--format=zip", "-0", f"--prefix={commit[:12]}/", commit],
            consume,
            folder=self.path,
            about=self._about,
        )


def _lines(output: bytes) -> list[str]:
    """The lines of a list of refs. `splitlines` would also part a name at other line ends, U+2028 and the like."""
    text = output.decode(errors="backslashreplace").rstrip("\n")
    return text.split("\n") if text else []


def _remove_lock_files(mirror: Path) -> None:
    for path in (*mirror.glob("*.lock"), *(mirror / "refs").rglob("*.lock")):
        path.unlink(missing_ok=True)


def _batch_answers(output: IO[bytes], limit: int) -> Iterator[tuple[bytes, bytes]]:
    """The (type, content) of each answer of `cat-file --batch`; type is empty where nothing was found."""
    equal: dict[bytes, bytes] = {}  # most versions share a file with their neighbours: keep it once
    while header := output.readline():
        fields = header.split()
        if len(fields) != 3 or not fields[2].isdigit():
            yield b"", b""
            continue
        size = int(fields[2])
        wanted = min(size, _MOST_COMMIT if fields[1] == b"commit" else limit + 1)
        content = output.read(wanted)
        if fields[1] == b"blob":
            content = equal.setdefault(content, content)
        rest = size - wanted + 1  # the line feed behind it
        while rest > 0 and (skipped := output.read(min(rest, 1 << 16))):
            rest -= len(skipped)
        yield fields[1], content


def _commit_file(commit: tuple[bytes, bytes], file: tuple[bytes, bytes]) -> CommitFile:
    kind, header = commit
    authored = re.search(rb"^author .*> (\d{1,12}) [+-]\d{4}$", header, re.MULTILINE)
    # what RFC 3339 can say ends with the year 9999
    authored_at = min(int(authored[1]), 253_402_300_799) if authored else 0
    return CommitFile(kind == b"commit", authored_at, file[1] if file[0] == b"blob" else None)
