"""What can go wrong, in terms of the product.

The message of each is one line: what is wrong, and what to do.
HTTP statuses and exit codes are given in one place each: around the server's handlers, and in the CLI's `main`.
"""

import errno
from pathlib import Path


class PricoreError(Exception):
    """The root of everything that Pricore reports on purpose."""


def explain(error: OSError, *, within: Path | None = None) -> str:
    """What went wrong with which file, and what to do where it is another user's.

    `within` a folder, the file is named as it is there, and none outside of it: for who must not see the rest.
    """
    reason = error.strerror or str(error) or type(error).__name__
    name = error.filename if isinstance(error.filename, str) else ""
    if within is not None:
        name = str(Path(name).relative_to(within)) if name and Path(name).is_relative_to(within) else ""
    if error.errno not in (errno.EACCES, errno.EPERM):
        return f"{reason}: {name}" if name else reason
    return f"{reason}: {name or 'a file'} has to belong to the user who serves; `chown` gives it back"


class ConfigError(PricoreError):
    """A setting that cannot be used: unknown, malformed, or naming a folder that cannot be written."""


class StoreError(PricoreError):
    """The database cannot be opened, is newer than this program, or is busy for too long."""


class NotFoundError(PricoreError):
    """The organization, repository, package or token does not exist, or is not for the caller to know of."""


class ConflictError(PricoreError):
    """Something of that name or address is already there.

    `public` is the message without what not everybody may know of, None where it says nothing like that.
    """

    def __init__(self, message: str, *, public: str | None = None) -> None:
        super().__init__(message)
        self.public = public


class InvalidError(PricoreError):
    """An argument that cannot be understood.

    `field` names the argument as the API spells it.
    """

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class ProviderError(PricoreError):
    """The API of a Git host cannot be reached, refuses what it was asked, or answers with something else."""


class BadRequestError(PricoreError):
    """A request that cannot be read at all."""


class UnauthorizedError(PricoreError):
    """No token, or one that is malformed, unknown, expired or revoked."""


class ForbiddenError(PricoreError):
    """The token is good but lacks the scope that the message names."""


class TooManyRequestsError(PricoreError):
    """A rate limit is used up.

    `retry_after` is the number of seconds until a request is taken again.
    """

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BusyError(PricoreError):
    """Too many others want the same thing at the moment.

    `retry_after` is the number of seconds after which it is worth trying again.
    """

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnsupportedClientError(PricoreError):
    """A client that speaks a protocol which this registry does not serve, such as Composer 1."""


class GitError(PricoreError):
    """Git failed for a reason that lies with the repository or its address; trying again gives the same."""


class GitUnavailableError(GitError):
    """The host of a repository could not be reached or did not answer in time, or a disk is full.

    Trying again may help.
    """


class ArchiveError(GitError):
    """No archive can be made of a commit, however often it is tried: too large, or it would leave its folder."""


class SealError(PricoreError):
    """A sealed secret cannot be opened: the key is missing, unreadable or another one."""


class SyncError(PricoreError):
    """A repository was read, and what is in it cannot be published."""


class NoPackageError(SyncError):
    """No branch and no tag of a repository has a composer.json: it is none for Composer."""


class DistError(PricoreError):
    """An archive cannot be made, or is no longer what was advertised."""


class StorageError(PricoreError):
    """The place where archives are kept cannot be reached, or refuses what it was asked."""


class ComposerJsonError(PricoreError):
    """A composer.json from which no version can be made; the message is the reason that a sync reports."""


class NotReadyError(PricoreError):
    """The server cannot serve right now."""


class CheckError(PricoreError):
    """Something about the registry is not as it should be."""


class BackupError(PricoreError):
    """A backup cannot be written, or a file is none that can be restored, or not there."""
