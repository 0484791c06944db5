"""A newer single file takes the place of an older one, with the data of before and while that one runs."""

import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from delivery.binary import pack
from tests.harness import GitRepository, Pricore

OLDER = "0.0.9"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The same program with a smaller number."""
    environment = {"PRICORE_CACHE": str(tmp_path / "unpacked")}
    subprocess.run([os.environ["PRICORE_TEST_BINARY"], "--version"], env=environment, check=True)
    (tree,) = (tmp_path / "unpacked").iterdir()
    (tree / ".complete").unlink()
    (metadata,) = tree.glob("lib/python3.*/site-packages/pricore-*.dist-info/METADATA")
    metadata.write_text(metadata.read_text().replace(f"Version: {version('pricore')}\n", f"Version: {OLDER}\n"))
    metadata.parent.rename(metadata.parent.with_name(f"pricore-{OLDER}.dist-info"))
    return pack(tree, tmp_path, version=OLDER)


def test_a_newer_file_takes_over(older: Path, tmp_path: Path) -> None:
    """Both run for a while; what the older one published is served, and its folder goes when nobody needs it."""
    program = tmp_path / "pricore"
    upstream = GitRepository(tmp_path / "upstream")
    upstream.commit({"name": "acme/library"})
    upstream.tag("1.0.0")
    pricore = Pricore(tmp_path / "data")
    pricore.program = [str(program)]
    pricore.environment["PRICORE_CACHE"] = str(tmp_path / "cache")

    def put(file: str | Path) -> None:
        subprocess.run(["install", file, program], check=True)

    put(older)
    assert pricore.run("--version").stdout == f"pricore {OLDER}\n"
    pricore.run("org", "create", "acme")
    pricore.run("repo", "add", "acme", upstream.url)
    before = pricore.json("package", "show", "acme", "acme/library")
    with pricore.serving() as server:
        put(os.environ["PRICORE_TEST_BINARY"])
        pricore.environment["PRICORE_PORT"] = server["listens"].rpartition(":")[2]
        found = pricore.json("upgrade", "check")
        assert (found["serves"], found["installed"]) == (OLDER, "single file")
        assert [item["version"] for item in found["changes"]] == [version("pricore")]
        assert len([*(tmp_path / "cache").iterdir()]) == 2, "the server still runs the older one"
        assert pricore.json("package", "show", "acme", "acme/library") == before
    with pricore.serving():
        pass
    assert pricore.json("package", "show", "acme", "acme/library") == before
    shutil.rmtree(next((tmp_path / "cache").glob(f"pricore-{version('pricore')}-*")))
    pricore.run("org", "list")  # unpacks again, and looks who is left
    assert len([*(tmp_path / "cache").iterdir()]) == 1
