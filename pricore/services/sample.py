"""A small package in a Git repository of its own, so that a newcomer has something to install."""

from pathlib import Path
from typing import Final

from pricore.git import Git

_FILES: Final = {
    "composer.json": """\
{
    "name": "pricore/hello",
    "description": "Says hello from your own registry",
    "type": "library",
    "license": "MIT",
    "require": {
        "php": ">=7.4"
    },
    "autoload": {
        "psr-4": {
            "Pricore\\\\Hello\\\\": "src/"
        }
    },
    "extra": {
        "branch-alias": {
            "dev-main": "1.x-dev"
        }
    }
}
""",
    "src/Hello.php": """\
<?php

namespace Pricore\\Hello;

final class Hello
{
    public static function to(string $name): string
    {
        return "Hello, {$name}, from your own registry.";
    }
}
""",
    "README.md": """\
# pricore/hello

A sample. Change something, commit, `git tag 1.1.0`, then `pricore repo sync my-organization`,
and `composer update` finds the new version.
""",
}


async def create(git: Git, folder: Path) -> Path:
    """Make the repository with a branch `main` and a tag `1.0.0`; one that is there already is left alone."""
    repository = folder / ".git"
    if (repository / "refs" / "tags" / "1.0.0").exists():
        return folder
    for name, content in _FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    await git.run(
        ["init", "--quiet", "--initial-branch=main", "--template=", "--", str(folder)], about="the sample"
    )
    author = ("-c", "user.name=Pricore", "-c", "user.email=pricore@localhost")
    await git.run([f"--work-tree={folder}", "add", "--all"], folder=repository, about="the sample")
    await git.run(
        [*author, f"--work-tree={folder}", "commit", "--quiet", "--message=A sample package"],
        folder=repository,
        about="the sample",
    )
    await git.run([*author, "tag", "1.0.0"], folder=repository, about="the sample")
    return folder
