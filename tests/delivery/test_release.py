"""`make release` makes all that is published, of a clean tag alone, and the same again."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two clones of what is committed, with the tag of its version."""
    made = []
    for name in ("one", "another"):
        clone = tmp_path_factory.mktemp(name) / "pricore"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        (clone / ".venv").symlink_to(ROOT / ".venv")
        (clone / ".git" / "info" / "exclude").write_text("/.venv\n")
        made.append(clone)
    return made


def release(clone: Path, key: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [".venv/bin/python", "-m", "delivery.release", "dist/release"],
        cwd=clone,
        env=os.environ | {"PRICORE_SIGNING_KEY": key},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A key to throw away."""
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)
    gpg = ["gpg", "--batch", "--quiet", "--homedir", str(home), "--pinentry-mode", "loopback", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-generate-key", "release@example.com", "ed25519", "sign"], check=True)
    export = [*gpg, "--armor", "--export-secret-keys"]
    return subprocess.run(export, check=True, capture_output=True, text=True).stdout


def test_it_takes_a_clean_tag(clones: list[Path]) -> None:
    done = release(clones[0])
    assert done.returncode == 1
    assert done.stderr.startswith("error: what is checked out is not the tag v")
    (clones[0] / "more").touch()
    assert "not committed" in release(clones[0]).stderr
    (clones[0] / "more").unlink()
    assert not (clones[0] / "dist").exists()


def test_two_releases_are_one(clones: list[Path], key: str, tmp_path: Path) -> None:
    """All files are there, sound, and the same, but for the signature, which has the time in it."""
    version = next(
        line.split('"')[1] for line in (ROOT / "pyproject.toml").read_text().splitlines() if "version = " in line
    )
    made = []
    for clone in clones:
        git(clone, "tag", f"v{version}")
        done = release(clone, key)
        assert done.returncode == 0, done.stderr
        folder = clone / "dist" / "release"
        made.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()})
        made[-1].pop("SHA256SUMS.asc")
    assert made[0] == made[1]

    folder = clones[0] / "dist" / "release"
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    assert len((folder / "SHA256SUMS").read_text().splitlines()) == len(made[0]) - 1
    gpg = ["gpg", "--batch", "--homedir", str(tmp_path)]
    tmp_path.chmod(0o700)
    subprocess.run([*gpg, "--import"], input=key.encode(), check=True)
    subprocess.run([*gpg, "--verify", folder / "SHA256SUMS.asc", folder / "SHA256SUMS"], check=True)
    packages = [str(path) for path in folder.iterdir() if path.suffix in (".whl", ".gz")]
    subprocess.run([".venv/bin/twine", "check", "--strict", *packages], cwd=ROOT, check=True)
    (bom,) = folder.glob("*.cdx.json")
    components = {item["name"] for item in json.loads(bom.read_text())["components"]}
    assert {"aiohttp", "python", "openssl"} <= components
    assert "### Added" in (folder / "NOTES.md").read_text()


@pytest.mark.parametrize("tool", ["pipx", "uv"])
def test_a_wheel_is_installed_as_people_do(clones: list[Path], tool: str, tmp_path: Path) -> None:
    """With its extras, into an environment of its own."""
    (wheel,) = (clones[0] / "dist" / "release").glob("*.whl")
    places = {"PIPX_HOME": "home", "PIPX_BIN_DIR": "bin", "UV_TOOL_DIR": "home", "UV_TOOL_BIN_DIR": "bin"}
    environment = os.environ | {name: str(tmp_path / place) for name, place in places.items()}
    install = {"pipx": ["-m", "pipx", "install"], "uv": ["-m", "uv", "tool", "install"]}[tool]
    subprocess.run(
        [ROOT / ".venv" / "bin" / "python", *install, f"{wheel}[speed,s3]"], env=environment, check=True
    )
    program = tmp_path / "bin" / "pricore"
    said = subprocess.run([program, "licenses"], capture_output=True, text=True, check=True).stdout
    assert {"uvloop", "obstore"} <= {line.split()[0] for line in said.splitlines()}
    data = os.environ | {"PRICORE_DATA": str(tmp_path / "data")}
    subprocess.run([program, "org", "create", "acme"], env=data, check=True)
    found = subprocess.run(
        [program, "upgrade", "check", "--json"], env=data, capture_output=True, text=True, check=True
    )
    assert json.loads(found.stdout)["installed"] == tool
