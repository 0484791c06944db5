"""On a bare Debian 12 with git and Composer, and no Python, one command and its lines are all it takes."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.delivery.debians import chroot, inside
from tests.harness import Pricore

MINUTES = 3

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a chroot")


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Debian 12 with the single file, and no Python."""
    with chroot(tmp_path_factory.mktemp("chroot"), "bookworm", "git,composer,ca-certificates,unzip") as folder:
        assert not [*(folder / "usr" / "bin").glob("python*")]
        shutil.copy2(os.environ["PRICORE_TEST_BINARY"], folder / "usr" / "local" / "bin" / "pricore")
        yield folder


def test_from_one_file_to_an_installed_package_in_minutes(debian: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    made = inside(
        debian,
        """
        git init --quiet --initial-branch main /srv/library && cd /srv/library
        echo '{"name": "acme/library", "autoload": {"files": ["hello.php"]}}' > composer.json
        echo '<?php function hello() { return "hello"; }' > hello.php
        git add . && git -c user.name=Ada -c user.email=ada@example.com commit --quiet -m Library && git tag 1.0.0
        """,
    )
    assert made.returncode == 0, made.stderr
    pricore = Pricore(tmp_path / "data")
    pricore.program = ["chroot", str(debian), "pricore"]
    pricore.environment |= {"HOME": "/root", "PRICORE_DATA": "/srv/data"}
    with pricore.serving("quickstart", "/srv/library") as quickstart:
        lines = ["mkdir /root/project && cd /root/project && echo {} > composer.json", *quickstart["composer"]]
        done = inside(debian, "\n".join(lines))
        assert done.returncode == 0, done.stderr
        said = inside(debian, "cd /root/project && php -r 'require \"vendor/autoload.php\"; echo hello();'")
        assert said.stdout == "hello"
    assert time.monotonic() - began < MINUTES * 60


def test_mistakes_are_told_in_a_line(debian: Path) -> None:
    for script, said in {
        "pricore quickstart /srv/nothing --data /root/a --port 0": "/srv/nothing",
        "PATH=/nowhere /usr/local/bin/pricore quickstart --data /root/b --port 0": "git is not installed",
        "pricore serve --data /proc/nothing --port 0": "/proc/nothing",
    }.items():
        done = inside(debian, script)
        assert done.returncode == 1, script
        (line,) = done.stderr.strip().splitlines()
        assert line.startswith("error: ")
        assert said in line


def test_the_program_is_there_once(debian: Path) -> None:
    caches = [*(debian / "root" / ".cache" / "pricore").iterdir()]
    assert len(caches) == 1
    assert list(caches[0].rglob("*.py")) == []
