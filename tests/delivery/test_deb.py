"""The Debian package, in a Debian of its own: installed, upgraded, removed and purged."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.delivery.debians import chroot, inside
from tests.harness import Pricore

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a chroot")


@pytest.fixture(scope="module")
def older(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a smaller number."""
    folder = tmp_path_factory.mktemp("older")
    root = folder / "root"
    subprocess.run(["dpkg-deb", "--raw-extract", deb, root], check=True)
    control = root / "DEBIAN" / "control"
    lines = control.read_text().splitlines()
    control.write_text(
        "\n".join("Version: 0.0.1" if line.startswith("Version:") else line for line in lines) + "\n"
    )
    file = folder / "pricore_0.0.1.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", root, file], check=True)
    return file


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with chroot(tmp_path_factory.mktemp("chroot"), "bookworm", "ca-certificates,git") as folder:
        yield folder


def install(debian: Path, deb: Path) -> None:
    shutil.copy2(deb, debian / "tmp" / "pricore.deb")
    done = inside(debian, "DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet /tmp/pricore.deb")
    assert done.returncode == 0, done.stdout + done.stderr


def test_lintian_finds_no_error(deb: Path) -> None:
    done = subprocess.run(
        ["lintian", "--fail-on", "error", "--tag-display-limit", "0", deb],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_every_override_is_needed_and_has_its_reason(deb: Path) -> None:
    done = subprocess.run(
        ["lintian", "--info", "--tags", "unused-override,mismatched-override", deb],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""


def test_it_is_installed_upgraded_and_purged(debian: Path, older: Path, deb: Path, tmp_path: Path) -> None:
    """A user of its own has the data; settings that were changed stay; a purge leaves nothing of it."""
    install(debian, older)
    data = debian / "var" / "lib" / "pricore"
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    owner = inside(debian, "stat --format=%U:%G /var/lib/pricore; id pricore").stdout
    assert owner.startswith("pricore:pricore\n")
    enabled = debian / "etc" / "systemd" / "system" / "multi-user.target.wants" / "pricore.service"
    assert enabled.is_symlink()
    as_user = "runuser -u pricore -- pricore"
    assert inside(debian, f"{as_user} org create Acme").returncode == 0
    assert "belongs to pricore" in inside(debian, "pricore org list || true").stderr
    settings = debian / "etc" / "pricore" / "config.yaml"
    settings.write_text(settings.read_text() + "sync_workers: 3\n")

    install(debian, deb)
    version = inside(debian, "pricore --version").stdout
    assert version != "pricore 0.0.1\n"
    assert "sync_workers: 3" in settings.read_text()
    assert "acme" in inside(debian, f"{as_user} org list").stdout
    served = Pricore(tmp_path / "data")
    served.program = ["chroot", "--userspec=pricore:pricore", str(debian), "pricore"]
    served.environment["PRICORE_DATA"] = "/var/lib/pricore"
    with served.serving() as server:
        assert server["url"].startswith("http://")

    assert inside(debian, "apt-get remove --yes --quiet pricore").returncode == 0
    assert (data / "pricore.sqlite3").exists()
    assert settings.exists()
    done = inside(debian, "apt-get purge --yes --quiet pricore")
    assert done.returncode == 0, done.stderr
    left = inside(debian, "find / -xdev -path /proc -prune -o -name '*pricore*' -print").stdout.split()
    assert [
        path for path in left if not path.startswith(("/tmp/", "/var/lib/dpkg/", "/var/log/", "/var/cache/"))
    ] == []
    assert not enabled.is_symlink()
