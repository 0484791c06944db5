"""`pricore upgrade check` tells what this version would do with a data folder, and does nothing to it."""

import contextlib
import shutil
import sqlite3
from importlib.metadata import version
from pathlib import Path

from pricore.engine.sqlite import newest_schema
from tests.harness import Pricore
from tests.store.test_earlier import EARLIER


def content(data: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in data.iterdir() if path.is_file()}


def test_a_database_of_before_is_looked_at_and_left_alone(tmp_path: Path) -> None:
    """How it will be migrated, and how much room that takes."""
    pricore = Pricore(tmp_path / "data")
    pricore.data.mkdir()
    database = pricore.data / "pricore.sqlite3"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.executescript((EARLIER / "database.sql").read_text(encoding="utf-8"))
        (before,) = connection.execute("PRAGMA user_version").fetchone()
    was = content(pricore.data)
    found = pricore.json("upgrade", "check")
    assert content(pricore.data) == was
    assert (found["schema"], found["newest_schema"]) == (before, newest_schema())
    assert len(found["migrations"]) == newest_schema() - before > 0
    assert 2 * database.stat().st_size < found["room"] < found["free"]
    assert found["serves"] is None
    assert f"migrates to {newest_schema()} when it opens it" in pricore.run("upgrade", "check").stdout

    pricore.run("org", "list")
    found = pricore.json("upgrade", "check")
    assert (found["schema"], found["migrations"], found["room"]) == (newest_schema(), [], 0)


def test_what_serves_and_what_changed_since(pricore: Pricore) -> None:
    """The version that is running is where one comes from; `--since` names another."""
    with pricore.serving() as server:
        pricore.environment["PRICORE_PORT"] = server["listens"].rpartition(":")[2]
        found = pricore.json("upgrade", "check")
    assert found["serves"] == found["version"] == version("pricore")
    assert [item["version"] for item in found["changes"]] == []
    changes = pricore.json("upgrade", "check", "--since", "0.0.1")["changes"]
    assert changes[0]["version"] == found["version"]
    assert "### Added" in changes[0]["notes"]
    assert changes[0]["notes"] in pricore.run("upgrade", "check", "--since", "0.0.1").stdout


def test_a_way_is_told_for_how_it_was_installed(pricore: Pricore) -> None:
    """These tests run a checkout."""
    found = pricore.json("upgrade", "check")
    assert found["installed"] == "checkout"
    assert "git pull" in found["upgrade"]


def test_what_a_newer_one_wrote_is_told(pricore: Pricore) -> None:
    with contextlib.closing(sqlite3.connect(pricore.data / "pricore.sqlite3")) as connection:
        connection.execute(f"PRAGMA user_version = {newest_schema() + 1}")
    assert "was written by a newer Pricore" in pricore.fail("upgrade", "check")
    assert "there is no registry in" in Pricore(pricore.data / "none").fail("upgrade", "check")


def test_licences_are_told(pricore: Pricore) -> None:
    """Of Pricore and of the packages that it uses, and of no other that happens to be there."""
    parts = {part["name"]: part for part in pricore.json("licenses")}
    assert {"pricore", "aiohttp", "msgspec", "cffi"} <= {*parts}
    assert not {"pytest", "mypy", "pip"} & {*parts}
    assert [name for name, part in parts.items() if part["license"] == "unknown"] == []
    assert parts["pricore"]["license"] == "Apache-2.0"
    assert "Apache License" in parts["pricore"]["text"]
    assert "aiohttp" in pricore.run("licenses").stdout
    assert "Apache License" in pricore.run("licenses", "--text").stdout


def test_a_backup_is_restored_beside_the_single_files_folder(pricore: Pricore, tmp_path: Path) -> None:
    """Where a user has no cache, the single file unpacks itself in the data folder first."""
    pricore.run("backup", str(tmp_path / "backup.tar.zst"))
    new = Pricore(tmp_path / "new")
    (new.data / "program").mkdir(parents=True)
    new.run("restore", str(tmp_path / "backup.tar.zst"))
    assert new.json("org", "list") == pricore.json("org", "list")
    shutil.rmtree(new.data)
