"""`make quickstart` and `make test` say in one line what a machine lacks, before anything is made."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import need

ROOT = Path(__file__).parent.parent


def make(folder: Path, programs: Path, *goals: str) -> subprocess.CompletedProcess[str]:
    """Run make in a folder with the Makefile alone, where only some programs are found."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    environment = {"PATH": str(programs)}
    return subprocess.run(
        [str(programs / "make"), *goals],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder of programs as a fresh machine has them; `python3` is this one."""
    need("make", "git")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("make", "git", "sh", "touch"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    (folder / "python3").symlink_to(sys.executable)
    return folder


def replace(program: Path, script: str) -> None:
    """Put a shell script in a program's place."""
    program.unlink()
    program.write_text(f"#!{shutil.which('sh', path=os.defpath)}\n{script}\n")
    program.chmod(0o755)


def lacks(folder: Path, programs: Path) -> str:
    """The one line that make says, besides its own that it failed."""
    done = make(folder, programs, "quickstart")
    said = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert (done.returncode, done.stdout, len(said)) == (2, "", 1), done
    assert not (folder / ".venv").exists()
    return said[0]


def test_without_git(tmp_path: Path, programs: Path) -> None:
    """A machine without Git is told so."""
    (programs / "git").unlink()
    assert lacks(tmp_path, programs) == "error: git is missing: apt install git"


def test_without_python(tmp_path: Path, programs: Path) -> None:
    """A machine without Python is told so."""
    (programs / "python3").unlink()
    assert lacks(tmp_path, programs) == "error: python3 is missing: apt install python3-venv"


def test_an_old_python(tmp_path: Path, programs: Path) -> None:
    """A Python that is too old is named, and how to take another."""
    old = "import sys; sys.hexversion = 0x030a0fff"
    replace(programs / "python3", f'exec {sys.executable} -c "{old}; exec(sys.argv[1])" "$2"')
    said = lacks(tmp_path, programs)
    assert said == "error: python3 is older than 3.11: name a newer one with make PYTHON=python3.13 quickstart"


def test_without_venv(tmp_path: Path, programs: Path) -> None:
    """Debian's python3 is without venv unless its package is installed, which the line says."""
    absent = "import sys; sys.modules['ensurepip'] = None"
    replace(programs / "python3", f'exec {sys.executable} -c "{absent}; exec(sys.argv[1])" "$2"')
    said = lacks(tmp_path, programs)
    assert said == "error: python3 cannot make virtual environments: apt install python3-venv"


def test_nothing_is_said_where_nothing_is_missing(tmp_path: Path, programs: Path) -> None:
    """With all of it there, make goes on to the virtual environment."""
    replace(programs / "python3", f'[ "$1" = -c ] && exec {sys.executable} "$@"; echo "$@"; exit 9')
    done = make(tmp_path, programs, "test")
    assert "-m venv .venv" in done.stdout
    assert "error: " not in done.stderr
