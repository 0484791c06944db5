"""What the doctor looks at on this machine, whatever is in the database."""

import asyncio
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pricore.config import Config
from pricore.engine.sqlite import user_name
from pricore.errors import GitError
from pricore.git import LEAST_VERSION, Git
from pricore.operations.doctor.results import Result, failure, ok, warning

_LEAST_SPACE: Final = 100 * 1024**2
_LITTLE_SPACE: Final = 1024**3
_LEAST_FILES: Final = 1000
_MEGABYTE: Final = 1024**2


async def check_git(config: Config) -> Result:
    """Git is there, new enough, and does what it is asked."""
    advice = f"install git {'.'.join(map(str, LEAST_VERSION))} or newer"
    with Git(timeout=min(config.git_timeout, 30)) as git:
        try:
            shown = await git.check()
        except GitError as error:
            return failure("git", str(error), advice)
        made = (await git.run(["hash-object", "--stdin"], lines=["pricore"])).decode().strip()
    if made != hashlib.sha1(b"blob 8\0pricore\n", usedforsecurity=False).hexdigest():
        return failure("git", f"{shown} doesn't work: it gives a wrong checksum", advice)
    return ok("git", shown)


async def check_ssh(urls: list[str]) -> Result:
    """Ssh is there for the repositories that are read with it."""
    used = [url for url in urls if url.startswith("ssh://") or ("://" not in url and re.match(r"[^/]+:", url))]
    missing = [program for program in ("ssh", "ssh-keyscan") if shutil.which(program) is None]
    if not missing:
        return ok("ssh", "it is there")
    message = f"{' and '.join(missing)} is not installed, or not on PATH"
    if used:
        return failure("ssh", f"{message}: {used[0]} cannot be read", "install OpenSSH's client")
    return warning("ssh", message, "install OpenSSH's client before a repository is followed over ssh")


async def check_disk(config: Config) -> Result:
    """There is room for what is to come."""
    disk = os.statvfs(config.data)
    free = disk.f_bavail * disk.f_frsize
    message = f"{free / _MEGABYTE:,.0f} MB are free for {config.data}"
    advice = "make room there, or move the data folder to a larger disk"
    if free < _LEAST_SPACE:
        return failure("disk", message, advice)
    if disk.f_files and disk.f_favail < _LEAST_FILES:
        return failure("disk", f"only {disk.f_favail} more files fit on the disk of {config.data}", advice)
    if free < _LITTLE_SPACE:
        return warning("disk", message, advice)
    return ok("disk", message)


async def check_permissions(config: Config) -> Result:
    """The data folder and the key are for one user alone, who also has what is in them."""
    return await asyncio.to_thread(_check_permissions, config)


def _check_permissions(config: Config) -> Result:
    folder = config.data.stat()
    paths = [config.data, config.key] if config.key.exists() else [config.data]
    for path in paths:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o007:
            right = "700" if path.is_dir() else "600"
            return failure("permissions", f"others can read {path} (mode {mode:03o})", f"chmod {right} {path}")
    owner = user_name(folder.st_uid)
    for path in [*_within(config.data), *paths]:
        try:
            found = path.lstat().st_uid
        except FileNotFoundError:
            continue  # gone meanwhile
        if found != folder.st_uid:
            return failure(
                "permissions",
                f"{path} belongs to {user_name(found)}, and the data folder to {owner}",
                f"chown -R {owner} {config.data}" if path != config.key else f"chown {owner} {path}",
            )
    if folder.st_uid != os.geteuid():
        return warning(
            "permissions",
            f"the data folder belongs to {owner}, and this command runs as {user_name(os.geteuid())}",
            f"run commands as {owner}: what they make has to belong to the server",
        )
    if any(stat.S_IMODE(path.stat().st_mode) & 0o070 for path in paths):
        return warning("permissions", f"the group can read {config.data} or the key", f"chmod -R g= {paths[0]}")
    return ok("permissions", f"what is in {config.data} is for {owner} alone")


def _within(folder: Path) -> Iterator[Path]:
    """What is in the data folder, two levels deep: mirrors, and the folders of archives."""
    for path in folder.iterdir():
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from path.iterdir()
