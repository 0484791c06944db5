"""The package for Debian 12 and newer, and for what is made of it: dist/pricore_<version>_<arch>.deb."""

import gzip
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Final

from delivery.wheel import ROOT, committed_at

_FILES: Final = Path(__file__).with_name("debian")
_MAINTAINER: Final = "The Pricore authors <pricore@example.com>"
_CONTROL: Final = """\
Package: pricore
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {size}
Depends: libc6 (>= 2.36), git (>= 1:2.37), ca-certificates, passwd
Recommends: openssh-client
Section: web
Priority: optional
Description: private Composer (PHP) package registry
 It follows Git repositories, makes packages of their tags and branches, and
 serves them to Composer behind access tokens. It is one process, one SQLite
 file and one folder.
"""


def package(root: Path, output: Path, *, version: str) -> Path:
    """Make the package of a folder that holds /usr/lib/pricore; gives its path."""
    asked = ["dpkg", "--print-architecture"]
    architecture = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    _put(_FILES / "pricore", root / "usr" / "bin" / "pricore", mode=0o755)
    _put(_FILES / "config.yaml", root / "etc" / "pricore" / "config.yaml")
    unit = root / "usr" / "lib" / "systemd" / "system" / "pricore.service"
    _put(ROOT / "deploy" / "pricore.service", unit)
    unit.write_text(unit.read_text().replace("/usr/local/bin/pricore", "/usr/bin/pricore"))
    documents = root / "usr" / "share" / "doc" / "pricore"
    _put(_FILES / "copyright", documents / "copyright")
    date = format_datetime(datetime.fromtimestamp(committed_at(), UTC))
    changes = f"pricore ({version}) stable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- {_MAINTAINER}  {date}\n"
    (documents / "changelog.gz").write_bytes(gzip.compress(changes.encode(), 9, mtime=0))
    _put(_FILES / "lintian-overrides", root / "usr" / "share" / "lintian" / "overrides" / "pricore")
    control = root / "DEBIAN"
    for name in ("postinst", "prerm", "postrm"):
        _put(_FILES / name, control / name, mode=0o755)
    (control / "conffiles").write_text("/etc/pricore/config.yaml\n")
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) // 1024
    fields = {"version": version, "architecture": architecture, "maintainer": _MAINTAINER, "size": size}
    (control / "control").write_text(_CONTROL.format_map(fields))
    for folder, _, files in os.walk(root):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            path.chmod(0o755 if path.stat().st_mode & 0o100 and not re.search(r"\.so(\.|$)", name) else 0o644)
    file = output / f"pricore_{version}_{architecture}.deb"
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(committed_at())}
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, file],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    return file


def _put(source: Path, target: Path, *, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)
