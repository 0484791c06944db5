"""`make binary`, `make deb`: what is delivered, made of what is committed."""

import argparse
import tempfile
from pathlib import Path

from delivery.binary import pack
from delivery.deb import package
from delivery.tree import assemble
from delivery.wheel import build_wheel, version_of


def main() -> None:
    """Make the kinds that are asked for, and print where each is."""
    options = argparse.ArgumentParser(prog="python -m delivery", description=__doc__)
    options.add_argument("folder", type=Path, help="where the files are put")
    options.add_argument("kinds", nargs="+", choices=("binary", "deb"), metavar="binary|deb")
    given = options.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        wheel = build_wheel(Path(temporary))
        tree = Path(temporary) / "root" / "usr" / "lib" / "pricore"
        assemble(tree, wheel)
        if "binary" in given.kinds:
            _tell(pack(tree, given.folder, version=version_of(wheel)))
        if "deb" in given.kinds:
            _tell(package(Path(temporary) / "root", given.folder, version=version_of(wheel)))


def _tell(file: Path) -> None:
    print(f"{file}: {file.stat().st_size / 1024**2:.1f} MB")


if __name__ == "__main__":
    main()
