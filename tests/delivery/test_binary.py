"""The single file is all of the program: nothing is left out, and nothing of this machine is needed."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.harness import Pricore

NEWEST_GLIBC = (2, 36)
"""Debian 12's: what it was built on is no newer, and everything there runs from it on."""


@pytest.fixture(scope="module")
def tree(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What it unpacks itself to."""
    cache = tmp_path_factory.mktemp("cache")
    subprocess.run([binary, "--version"], env={"PRICORE_CACHE": str(cache)}, check=True, capture_output=True)
    (tree,) = cache.iterdir()
    return tree


@pytest.fixture
def program(binary: Path, tree: Path, tmp_path: Path) -> Pricore:
    """The single file on a data folder of its own."""
    pricore = Pricore(tmp_path / "data")
    pricore.program = [str(binary)]
    pricore.environment["PRICORE_CACHE"] = str(tree.parent)
    return pricore


def elves(tree: Path) -> list[Path]:
    return [path for path in tree.rglob("*") if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]


def test_it_runs_on_debian_12_and_newer(binary: Path, tree: Path) -> None:
    """No part of it wants a newer glibc; the launcher wants none at all."""
    assert (
        "not a dynamic executable"
        in subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stderr
    )
    wanted: set[tuple[int, ...]] = set()
    for path in elves(tree):
        symbols = subprocess.run(["objdump", "-T", path], capture_output=True, text=True, check=True).stdout
        wanted |= {tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_(\d+(?:\.\d+)+)", symbols)}
    assert len(wanted) > 5
    assert max(wanted) <= NEWEST_GLIBC


def test_everything_that_it_is_linked_with_is_in_it(tree: Path) -> None:
    """But for glibc; and no path of the machine where it was made is left."""
    glibc = re.compile(r"(linux-vdso|ld-linux\S*|lib(c|m|dl|rt|util|pthread|resolv))\.so\.\d+")
    for path in elves(tree):
        listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
        assert "not found" not in listed, path
        for name, found in re.findall(r"^\s*(\S+) => (\S+)", listed, re.MULTILINE):
            assert glibc.fullmatch(name) or Path(found).is_relative_to(tree), (path, name, found)
        paths = subprocess.run(
            ["patchelf", "--print-rpath", path], capture_output=True, text=True, check=True
        ).stdout
        assert all(part.startswith("$ORIGIN") for part in paths.strip().split(":") if part), (path, paths)


def test_every_module_can_be_loaded(tree: Path) -> None:
    """Also those that only S3, PostgreSQL or a large registry use."""
    script = """
import importlib, pkgutil, pricore, sys
import obstore.store, psycopg, uvloop
assert psycopg.pq.__impl__ == "binary"
for found in pkgutil.walk_packages(pricore.__path__, "pricore."):
    if not found.name.endswith((".__main__", ".recompress")):
        importlib.import_module(found.name)
print(sys.prefix, len(sys.modules))
"""
    done = subprocess.run(
        [tree / "bin" / "pricore", "-I", "-W", "error", "-c", script],
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    prefix, count = done.stdout.split()
    assert Path(prefix) == tree
    assert int(count) > 500


def test_the_users_python_is_not_asked(program: Pricore, tmp_path: Path) -> None:
    """Variables and modules that are for another Python change nothing."""
    (tmp_path / "json.py").write_text("raise SystemExit('another json')")
    program.environment |= {
        "PYTHONPATH": str(tmp_path),
        "PYTHONHOME": "/nowhere",
        "LD_LIBRARY_PATH": str(tmp_path),
    }
    assert program.json("org", "create", "acme")["slug"] == "acme"


def test_it_tells_its_licences(program: Pricore) -> None:
    """Of each part, Python and what that is linked with among them, with the text."""
    parts = {part["name"]: part for part in program.json("licenses")}
    assert {"pricore", "aiohttp", "obstore", "psycopg-binary", "python", "openssl", "sqlite3", "zlib"} <= {*parts}
    assert {name for name, part in parts.items() if part["license"] == "unknown"} == set()
    assert {name for name, part in parts.items() if len(part["text"]) < 200} <= {"obstore"}
    assert parts["pricore"]["license"] == "Apache-2.0"
    assert "PYTHON SOFTWARE FOUNDATION LICENSE" in program.run("licenses", "--text").stdout


def test_its_commands_are_there(program: Pricore, binary: Path) -> None:
    _, version, _ = binary.name.split("-", 2)
    assert program.run("--version").stdout == f"pricore {version}\n"
    assert "Usage: pricore token create" in program.run("token", "create", "--help").stdout
    assert "complete" in program.run("completion", "bash").stdout
    completing = {"_PRICORE_COMPLETE": "complete_bash", "COMP_WORDS": "pricore tok", "COMP_CWORD": "1"}
    program.environment |= completing
    assert program.run().stdout.split() == ["token"]


def test_several_processes_serve(program: Pricore) -> None:
    program.environment["PRICORE_WORKERS"] = "2"
    program.run("org", "create", "acme")
    with program.serving() as server:
        assert json.loads(json.dumps(server))["url"].startswith("http://")
