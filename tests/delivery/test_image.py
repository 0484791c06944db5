"""The container image of deploy/, built by buildah from a base made on the spot, and run on a volume."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pricore.engine.sqlite import newest_schema
from tests.delivery.debians import make_debian
from tests.harness import Pricore
from tests.proxies import free_ports
from tests.store.test_earlier import EARLIER

ROOT = Path(__file__).parents[2]
MOST_BYTES = 200_000_000
"""Of the image, beyond its base."""
USER = 10001

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="without root, buildah needs settings of the machine")


def buildah(*arguments: str | Path) -> str:
    """Run buildah without a daemon; gives what it prints."""
    environment = os.environ | {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}
    done = subprocess.run(["buildah", *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout.strip()


def unpacked(image: str) -> int:
    """The bytes of all files of an image."""
    container = buildah("from", "--pull-never", image)
    try:
        folder = Path(buildah("mount", container))
        return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    finally:
        buildah("rm", container)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What stands for the image that the Dockerfile begins with."""
    name = next(
        line.split()[1] for line in (ROOT / "deploy" / "Dockerfile").read_text().splitlines() if "FROM" in line
    )
    folder = tmp_path_factory.mktemp("base")
    make_debian(folder / "base.tar", "bookworm", "python3,python3-venv,ca-certificates")
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, folder / "base.tar", "/")
    buildah("run", container, "--", "ln", "-s", "/usr/bin/python3", "/usr/local/bin/python")
    buildah("commit", "--quiet", "--rm", container, f"docker.io/library/{name}")
    return f"docker.io/library/{name}"


@pytest.fixture(scope="module")
def image(base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image, made as its head says; pip finds packages as it does on this machine."""
    settings = tmp_path_factory.mktemp("pip") / "pip.conf"
    listed = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    lines = [line.removeprefix("global.") for line in listed.splitlines() if line.startswith("global.")]
    settings.write_text("[global]\n" + "".join(line.replace("'", "") + "\n" for line in lines))
    shared = [f"{settings}:/etc/pip.conf:ro", "/etc/ssl/certs:/etc/ssl/certs:ro"]
    shared += [f"{folder}:{folder}:ro" for folder in ("/etc/xdg/pip",) if Path(folder).is_dir()]
    volumes = [part for volume in shared for part in ("--volume", volume)]
    buildah("bud", "--pull-never", *volumes, "--file", ROOT / "deploy" / "Dockerfile", "--tag", "pricore", ROOT)
    return "localhost/pricore"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A volume, which belongs to the image's user."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder


@contextlib.contextmanager
def container(image: str) -> Iterator[str]:
    name = buildah("from", "--pull-never", image)
    buildah("config", "--volume", "/data-", name)  # it would put one of its own over the one that is given
    try:
        yield name
    finally:
        buildah("rm", name)


def run(container: str, data: Path, *arguments: str) -> str:
    return buildah("run", "--volume", f"{data}:/data", container, "--", "pricore", *arguments)


def test_it_is_small(base: str, image: str) -> None:
    assert unpacked(image) - unpacked(base) < MOST_BYTES


def test_it_serves_as_its_user_and_upgrades_a_volume(image: str, data: Path, tmp_path: Path) -> None:
    """A volume of an earlier version is migrated; the health check sees the server, which ends when told to."""
    shutil.copytree(EARLIER / "uploads", data / "uploads")
    with contextlib.closing(sqlite3.connect(data / "pricore.sqlite3")) as connection:
        connection.executescript((EARLIER / "database.sql").read_text(encoding="utf-8"))
    subprocess.run(["chown", "--recursive", f"{USER}:{USER}", data], check=True)
    (port,) = free_ports(1)
    # buildah ends what runs in a container when something else in it has ended: the check has another
    with container(image) as name, container(image) as other:
        assert "migrates to" in run(name, data, "upgrade", "check")
        environment = os.environ | {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}
        with (tmp_path / "log").open("wb") as log:
            serve = ["pricore", "serve", "--port", str(port)]
            server = subprocess.Popen(
                ["buildah", "run", "--volume", f"{data}:/data", name, "--", *serve],
                env=environment,
                stdout=log,
                stderr=log,
            )
        try:
            Pricore.wait(lambda: b"Pricore serves" in (tmp_path / "log").read_bytes(), seconds=60)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
                assert answer.status == 200
            assert run(other, data, "healthcheck", "--port", str(port)) == "ready"
            found = Path("/proc").glob("[0-9]*/cmdline")
            commands = {path.parent.name: path.read_bytes().split(b"\0") for path in found}
            (pid,) = [
                int(number)
                for number, words in commands.items()
                if words[0] == b"/venv/bin/python" and str(port).encode() in words
            ]
            assert Path(f"/proc/{pid}").stat().st_uid == USER
            os.kill(pid, signal.SIGTERM)
            assert server.wait(timeout=30) == 0
        finally:
            server.kill()
            server.wait()
        assert f'"schema": {newest_schema()}' in run(name, data, "upgrade", "check", "--json")
    assert {path.stat().st_uid for path in data.rglob("*")} == {USER}
