"""What it means when git fails: its messages, turned into errors that say what to do.

They are git's own words in the C locale. Where none is known, its reason is told as it is.
"""

import logging
import os
import re
from pathlib import Path
from typing import Final

from pricore.errors import GitError, GitUnavailableError
from pricore.remotes.access import PROXIES, Access

_log = logging.getLogger("pricore.git")

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


def explain_failure(
    command: str, message: str, *, url: str, folder: Path | None, about: str, access: Access
) -> GitError:
    """The error of a git that ended badly, in one line, out of what it wrote to standard error.

    It speaks of `url`, the remote that it was to read so (`access`), and where the trouble is in `folder`, of
    `about`: never of where that folder is. A GitUnavailableError may be over the next time.
    """
    target = url or about
    if full := next((line for line in message.splitlines() if any(sign in line for sign in _FULL)), None):
        detail = shorten(full if folder is None else _without_paths(full, folder))
        return GitUnavailableError(f"git {command} of {target} failed: {detail}")
    here = str(folder) in _reason(message) or "insufficient permission" in message or "FETCH_HEAD" in message
    if folder is not None and (not url or here):
        _log.info("git %s in %s: %r", command, folder, message)
        return _mirror_failure(command, message, folder, about)
    _log.debug("git %s of %s: %r", command, target, message)
    if folder is not None:
        message = _without_paths(message, folder)
    return _remote_failure(command, message, target, access)


def _remote_failure(command: str, message: str, target: str, access: Access) -> GitError:
    """The error in one line, out of what git wrote."""
    if _DAMAGED in message:
        # what follows from it on this side looks like a connection that was lost
        detail = next((line for line in message.splitlines() if line.startswith(_SAID)), _DAMAGED)
        return GitUnavailableError(
            f"cannot read {target}: it is damaged there, says its server ({shorten(detail.removeprefix(_SAID))}); "
            "`git fsck` in it tells more"
        )
    if _DAMAGED_PACK in message:
        detail = next(line for line in message.splitlines() if _DAMAGED_PACK in line)
        return GitUnavailableError(
            f"cannot read {target}: what it sends is damaged ({shorten(detail.removeprefix('fatal: '))}); "
            "`git fsck` in it tells more"
        )
    for sign in _UNAVAILABLE:
        if sign in message:
            detail = next(line for line in message.splitlines() if sign in line)
            hint = ""
            if access.confined and not access.proxy and any(name in os.environ for name in PROXIES):
                hint = " (the proxy in the environment is not for what was added over the API: git_proxy sets one)"
            return GitUnavailableError(f"cannot reach {target}: {shorten(detail)}{hint}")
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
    return kind(f"git {command} of {target} failed: {shorten(_reason(message))}")


_MIRROR_ADVICE: Final = (
    (
        "not a git repository",
        "it is missing or damaged; the next sync makes it again, without the commits that upstream no longer has",
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
    reason = shorten(_without_paths(_reason(message), folder))
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


def shorten(line: str) -> str:
    """A line of git's without what cannot be shown, and not longer than anybody reads."""
    return "".join(c if c.isprintable() else "?" for c in line.removeprefix("fatal: ").strip())[:300]
