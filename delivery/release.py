"""`make release`: all that is published of a tag, in dist/release, made from what is committed.

pricore-<version>-py3-none-any.whl, pricore-<version>.tar.gz
pricore-<version>-linux-<arch>
pricore_<version>_<arch>.deb
pricore-<version>-<arch>.cdx.json    the bill of materials of the file and the package
NOTES.md                             the release's part of the changelog
SHA256SUMS, SHA256SUMS.asc           of all of it, signed with the key in PRICORE_SIGNING_KEY
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from delivery.binary import pack
from delivery.deb import package
from delivery.sbom import parts_of, write_sbom
from delivery.tree import assemble
from delivery.wheel import ROOT, build_sdist, build_wheel, version_of

_KEY: Final = "PRICORE_SIGNING_KEY"
"""An OpenPGP private key without a passphrase, armored."""


def main() -> None:
    options = argparse.ArgumentParser(description="Make all that is published of a tag.")
    options.add_argument("folder", type=Path, help="where the files are put; what is in it goes")
    output: Path = options.parse_args().folder
    if wrong := _not_releasable():
        sys.exit(f"error: {wrong}")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        _make(output, Path(temporary))
    _sum_up(output)
    for path in sorted(output.iterdir()):
        print(f"{path.stat().st_size / 1024**2:8.1f} MB  {path.name}")


def _not_releasable() -> str | None:
    """Why what is here is no release: it has to be a tag, without a change."""
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    wanted = f"v{version[1]}" if version else ""
    if _git("status", "--porcelain"):
        return "there are changes that are not committed: commit them, or make the release in a clone"
    if wanted not in _git("tag", "--points-at", "HEAD").split():
        return f"what is checked out is not the tag {wanted}: git tag {wanted}, or check it out"
    if not _notes(wanted[1:]):
        return f"CHANGELOG.md has no part '## [{wanted[1:]}]': say what is new"
    return None


def _make(output: Path, work: Path) -> None:
    wheel = build_wheel(output)
    version = version_of(wheel)
    build_sdist(output)
    tree = work / "root" / "usr" / "lib" / "pricore"
    assemble(tree, wheel)
    parts, bundled = parts_of(tree)
    binary = pack(tree, output, version=version)
    write_sbom(output / f"pricore-{version}-{binary.name.rpartition('-')[2]}.cdx.json", parts, bundled=bundled)
    package(work / "root", output, version=version)
    (output / "NOTES.md").write_text(_notes(version), encoding="utf-8")


def _notes(version: str) -> str:
    """What the changelog has of a version, empty where it has nothing."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"^## \[{re.escape(version)}\].*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1].strip() + "\n" if found else ""


def _sum_up(output: Path) -> None:
    """Write the checksums of all files, and sign them where there is a key."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(output.iterdir())
    ]
    sums = output / "SHA256SUMS"
    sums.write_text("".join(lines))
    key = os.environ.get(_KEY)
    if not key:
        print(f"note: SHA256SUMS is not signed: {_KEY} is not set", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as home:
        gpg = ["gpg", "--batch", "--quiet", "--homedir", home]
        subprocess.run([*gpg, "--import"], input=key.encode(), check=True)
        subprocess.run([*gpg, "--armor", "--detach-sign", sums], check=True)
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
