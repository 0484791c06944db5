"""The Composers that the stories run with: the installed one, and the newest that can be had.

The newest is Debian unstable's. apt fetches and checks it, and it is unpacked in the user's cache, to be run
by the PHP that is there; nothing is installed. `python -m tests.composers` says which there are.
"""

import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import platformdirs

CACHE: Final = platformdirs.user_cache_path("pricore-tests") / "composer"
_FRESH_SECONDS: Final = 7 * 86400
_FAILED_SECONDS: Final = 600
"""How long it isn't looked for again: not by every worker of a run, where there is no network."""

_COMMAND_SECONDS: Final = 120

# PHP itself and its extensions, which are those of this machine
_OWN: Final = {
    *("php-cli", "php-common", "php-curl", "php-intl", "php-json", "php-mbstring", "php-xml", "php-zip"),
}

# functions of newer PHPs, which Debian's packages use without the polyfills that Composer's own have
_POLYFILLS: Final = """<?php
if (!function_exists('array_find_key')) {
    function array_find_key(array $array, callable $fits) {
        foreach ($array as $key => $value) {
            if ($fits($value, $key)) {
                return $key;
            }
        }
        return null;
    }
    function array_find(array $array, callable $fits) {
        $key = array_find_key($array, $fits);
        return $key === null ? null : $array[$key];
    }
    function array_any(array $array, callable $fits) {
        return array_find_key($array, $fits) !== null;
    }
    function array_all(array $array, callable $fits) {
        return !array_any($array, fn ($value, $key) => !$fits($value, $key));
    }
}
if (!function_exists('json_validate')) {
    function json_validate(string $text) {
        json_decode($text);
        return json_last_error() === JSON_ERROR_NONE;
    }
}
"""


class UnavailableError(Exception):
    """A Composer cannot be had; the text says why in one line."""


class Release(msgspec.Struct, frozen=True):
    """A Composer: its version, and the folder that comes first on PATH to have it as `composer`, "" for none."""

    version: str
    folder: str = ""

    def path(self) -> str:
        """PATH with this Composer."""
        return os.pathsep.join(filter(None, (self.folder, os.environ["PATH"])))


class _Looked(msgspec.Struct, frozen=True):
    """What the last look for the newest gave: it or an older one that was there before, and why it failed."""

    release: Release | None = None
    error: str = ""


def installed() -> Release:
    """The Composer on PATH."""
    if shutil.which("composer") is None:
        raise UnavailableError("composer is not installed")
    return Release(_version(os.environ["PATH"]))


def newest() -> Release:
    """The newest Composer that can be had, unpacked where it isn't yet; many processes may ask at once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as long as another one looks, which is bounded
        looked = _look()
    if looked.release is None:
        raise UnavailableError(looked.error)
    return looked.release


def _look() -> _Looked:
    file = CACHE / "newest.json"
    before = _Looked()
    if file.exists():
        before = msgspec.json.decode(file.read_bytes(), type=_Looked)
        there = before.release is None or Path(before.release.folder).exists()
        if there and time.time() - file.stat().st_mtime < (_FAILED_SECONDS if before.error else _FRESH_SECONDS):
            return before
        before = before if there else _Looked()
    try:
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            looked = _Looked(_fetch(Path(folder)))
    except (UnavailableError, OSError) as error:
        looked = _Looked(before.release, str(error))
    made = file.with_suffix(".new")
    made.write_bytes(msgspec.json.encode(looked))
    made.replace(file)
    return looked


def _fetch(folder: Path) -> Release:
    """Unpack Debian unstable's Composer, by way of an empty folder."""
    for program in ("apt-get", "dpkg-deb", "php"):
        if shutil.which(program) is None:
            raise UnavailableError(f"{program} is not installed")
    apt = _apt(folder)
    apt("apt-get", "update")
    found = re.search(r"^Version: (\S+)", apt("apt-cache", "show", "--no-all-versions", "composer"), re.MULTILINE)
    if found is None:
        raise UnavailableError("apt knows no Composer in Debian unstable")
    home = CACHE / found[1].replace(":", "_")
    if not home.exists():
        others = ("recommends", "suggests", "enhances", "conflicts", "breaks", "replaces")
        needed = ("depends", "--recurse", *(f"--no-{relation}" for relation in others))
        names = apt("apt-cache", *needed, "composer").splitlines()
        wanted = {name for name in names if re.match(r"(composer|jsonlint|php-)", name)} - _OWN
        apt("apt-get", "download", *sorted(wanted))
        root = folder / "root"
        for package in sorted(folder.glob("*.deb")):
            _run("dpkg-deb", "--extract", str(package), str(root), folder=folder)
        _settle(root, home)
        root.rename(home)
    release = Release("", str(home / "bin"))
    return Release(_version(release.path()), release.folder)


def _apt(folder: Path) -> Callable[..., str]:
    """A runner of apt's programs on a state in a folder, which knows Debian unstable alone."""
    targets = ("Created-By: Packages", "Origin: Debian", "Label: Debian")
    mirrors = _run("apt-get", "indextargets", "--format", "$(REPO_URI)", *targets, folder=folder).split()
    if not mirrors:
        raise UnavailableError("apt knows no mirror of Debian")
    (folder / "sources.list").write_text(f"deb [arch=all] {mirrors[0]} sid main\n")
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Acquire::Languages": "none",
        "Acquire::Retries": 1,
        "Acquire::http::Timeout": 20,
        "APT::Sandbox::User": "",  # the folder is ours alone
        "APT::Update::Error-Mode": "any",
    }
    options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
    return lambda program, *arguments: _run(program, *options, *arguments, folder=folder)


def _settle(root: Path, home: Path) -> None:
    """Let what was unpacked be found where it will be, by `bin/composer`."""
    for file in [root / "usr/bin/composer", *(root / "usr/share/php").rglob("*.php")]:
        content = file.read_bytes()
        if b"/usr/share/" in content and not file.is_symlink():
            for shared in ("php", "composer"):
                content = content.replace(f"/usr/share/{shared}".encode(), f"{home}/usr/share/{shared}".encode())
            file.write_bytes(content)
    (root / "polyfills.php").write_text(_POLYFILLS)
    options = (f"auto_prepend_file={home}/polyfills.php", f"include_path={home}/usr/share/php:.")
    command = ["php", *(part for option in options for part in ("-d", option)), f"{home}/usr/bin/composer"]
    (root / "bin").mkdir()
    (root / "bin/composer").write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    (root / "bin/composer").chmod(0o755)


def _version(path: str) -> str:
    """The version of `composer` on a PATH, which shows that it runs."""
    with tempfile.TemporaryDirectory() as home:
        environment = {"PATH": path, "HOME": home, "COMPOSER_ALLOW_SUPERUSER": "1"}
        output = _run("composer", "--no-ansi", "--version", folder=Path(home), environment=environment)
    found = re.search(r"Composer version (\S+)", output)
    if found is None:
        raise UnavailableError(f"composer --version says {output[:100]!r}")
    return found[1]


def _run(*command: str, folder: Path, environment: dict[str, str] | None = None) -> str:
    """The output of a command; raises UnavailableError with the line that says why it failed."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{command[0]} took more than {_COMMAND_SECONDS} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"status {done.returncode}"]
        raise UnavailableError(
            f"{command[0]}: {next((line for line in said if line.startswith('E: ')), said[-1])}"
        )
    return done.stdout


def main() -> None:
    """Print which Composers there are; status 1 where there is none."""
    found = 0
    for name, find in {"installed": installed, "newest": newest}.items():
        try:
            release = find()
        except UnavailableError as error:
            print(f"Composer, {name}: cannot be had: {error}")
        else:
            found += 1
            print(f"Composer, {name}: {release.version}")
    sys.exit(0 if found else 1)


if __name__ == "__main__":
    main()
