"""Repositories to measure with: always the same ones, made with one `git fast-import`."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

_WORDS = (
    "array",
    "class",
    "const",
    "final",
    "function",
    "null",
    "private",
    "public",
    "return",
    "static",
    "string",
)
_CHANGED = 5
"""Files that each commit changes."""

_BEGAN = 1_500_000_000
_STEP = 3 * 3600
"""Seconds from one commit to the next: twenty thousand of them end before today."""


def git(*arguments: str, folder: Path, stdin: bytes | None = None) -> None:
    """Run git without what only this machine has configured. Raises CalledProcessError."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in _PERSON},
    }
    subprocess.run(["git", *arguments], cwd=folder, env=environment, input=stdin, capture_output=True, check=True)


_PERSON = (("NAME", "Ada"), ("EMAIL", "ada@example.com"))


def create(folder: Path, *, name: str, tags: int, files: int, source: Path | None = None) -> str:
    """Make a bare repository of the package `name` and give its URL.

    It has that many tagged releases, the oldest first, and one commit more on `main`; the same arguments give the
    same commits. Its files are made up, or those of `source`.
    """
    folder.mkdir(parents=True)
    git("init", "--quiet", "--bare", "--initial-branch=main", folder=folder)
    git("fast-import", "--quiet", folder=folder, stdin=b"".join(_stream(name, tags, files, source)))
    git("repack", "-a", "-d", "-q", folder=folder)  # as a host keeps it
    git("pack-refs", "--all", folder=folder)
    return folder.as_uri()


def release(number: int) -> str:
    """The version that comes at this place, from 0."""
    return f"{number // 100 + 1}.{number // 10 % 10}.{number % 10}"


def _contents(name: str, files: int, source: Path | None) -> dict[str, str]:
    """The first files, by path."""
    if source is not None:
        return {
            str(path.relative_to(source)): path.read_text(encoding="utf-8")
            for path in sorted(source.rglob("*.php"))
        }
    random = Random(name)
    return {f"Part{file // 20}/File{file}.php": _text(random) for file in range(files)}


def _stream(name: str, tags: int, files: int, source: Path | None) -> Iterator[bytes]:
    random, contents = Random(name), _contents(name, files, source)
    for number in range(tags + 1):
        changed = list(contents) if number == 0 else random.sample(list(contents), min(_CHANGED, len(contents)))
        yield (
            f"commit refs/heads/main\nmark :{number + 1}\n"
            f"committer Ada <ada@example.com> {_BEGAN + number * _STEP} +0000\n"
        ).encode()
        yield _data(f"Change {number}\n")
        yield b"M 100644 inline composer.json\n" + _data(composer_json(name, number))
        for file in sorted(changed):
            if number:
                contents[file] = _text(random) if source is None else f"{contents[file]}// change {number}\n"
            yield f"M 100644 inline src/{file}\n".encode() + _data(contents[file])
        if number < tags:
            yield f"reset refs/tags/{release(number)}\nfrom :{number + 1}\n".encode()


def _data(text: str) -> bytes:
    content = text.encode()
    return b"data %d\n%b\n" % (len(content), content)


def _text(random: Random) -> str:
    """A file of one to three kilobytes."""
    wanted, lines = random.randrange(1000, 3000), ["<?php"]
    while sum(map(len, lines)) < wanted:
        lines.append("    " + " ".join(random.choices(_WORDS, k=8)) + f" ${random.randrange(10_000)};")
    return "\n".join(lines) + "\n"


def composer_json(name: str, number: int) -> str:
    """What a release of a package has for a composer.json."""
    vendor, _, short = name.partition("/")
    content = {
        "name": name,
        "description": f"The {short} of {vendor}, as it is measured",
        "type": "library",
        "license": "MIT",
        "keywords": [vendor, short, "measured"],
        "authors": [{"name": "Ada", "email": "ada@example.com"}],
        # Composer leaves out a package that the machine's PHP is too old for
        "require": {"php": f">=7.{number // 150}", "ext-json": "*"},
        "require-dev": {"phpunit/phpunit": f"^{9 + number // 200}.0"},
        "autoload": {"psr-4": {f"{vendor.title()}\\{short.title()}\\": "src/"}},
        "extra": {"branch-alias": {"dev-main": f"{number // 100 + 2}.x-dev"}},
    }
    return json.dumps(content, indent=4)
