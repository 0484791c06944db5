"""Archives of real packages have the same checksum with every git that can be had: no upgrade breaks a lock."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.delivery.debians import chroot, inside

SUITES = ("bookworm", "trixie")
LEAST = 50
SOURCES = Path("/usr/share/php")
"""The PHP packages of Debian, which Composer needs."""

ATTRIBUTES = ("", "* text=auto\n*.php ident\n", "tests export-ignore\nREADME* export-subst\n", "*.php eol=crlf\n")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a chroot")


@pytest.fixture(scope="module")
def upstreams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of each package, some with attributes that change what is in an archive."""
    folders = [path for path in sorted(SOURCES.rglob("*")) if path.is_dir() and len([*path.glob("*.php")]) >= 4]
    assert len(folders) >= LEAST
    place = tmp_path_factory.mktemp("upstreams")
    date = {"GIT_AUTHOR_DATE": "2024-02-29T12:00:00+0530", "GIT_COMMITTER_DATE": "2024-02-29T12:00:00+0530"}
    for number, folder in enumerate(folders[:LEAST]):
        package = place / f"p{number}"
        shutil.copytree(folder, package)
        (package / "composer.json").write_text(json.dumps({"name": f"acme/p{number}"}))
        (package / "README").write_text("$Format:%H %ad %d$ ümläut\n")
        (package / ".gitattributes").write_text(ATTRIBUTES[number % len(ATTRIBUTES)])
        git = ["git", "-C", str(package), "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
        subprocess.run([*git, "init", "--quiet", "--initial-branch=main"], check=True)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "--quiet", "-m", "all"], check=True, env=os.environ | date)
        subprocess.run([*git, "tag", "1.0.0"], check=True)
    return place


@pytest.fixture(scope="module")
def debians(tmp_path_factory: pytest.TempPathFactory, upstreams: Path) -> Iterator[list[Path]]:
    """One of each suite, with the single file and the repositories."""
    with ExitStack() as stack:
        made = []
        for suite in SUITES:
            folder = stack.enter_context(chroot(tmp_path_factory.mktemp("chroots"), suite, "git,ca-certificates"))
            shutil.copy2(os.environ["PRICORE_TEST_BINARY"], folder / "usr" / "local" / "bin" / "pricore")
            shutil.copytree(upstreams, folder / "srv" / "packages")
            made.append(folder)
        yield made


def test_checksums_are_those_of_every_git(debians: list[Path]) -> None:
    """What Pricore publishes, by its own code or by git's, of each package and in each Debian."""
    found = {}
    for debian in debians:
        git = inside(debian, "git --version").stdout.split()[2]
        lines = ["git config --global --add safe.directory '*'", "pricore org create acme >/dev/null"]
        lines += [f"pricore repo add acme /srv/packages/p{number} >/dev/null" for number in range(LEAST)]
        lines += [f"pricore package show acme acme/p{number} --json" for number in range(LEAST)]
        done = inside(debian, "\n".join(lines))
        assert done.returncode == 0, done.stderr
        found[git] = [line.strip() for line in done.stdout.splitlines() if '"shasum"' in line]
    assert len(found) == len(SUITES), "each has another git"
    first, *others = found.values()
    assert len(first) >= LEAST
    assert all(other == first for other in others)
