"""The program as one folder that runs anywhere: its own Python, what that is linked with, and all that it imports.

bin/pricore                  Python: `bin/pricore -I -m pricore` is the program
lib/                         what is linked dynamically, but for glibc
lib/python3.X/               the standard library and site-packages, compiled
share/licenses/parts.json    the parts that are no Python packages, for `pricore licenses`
"""

import compileall
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final

_HERE: Final = Path(__file__).parent
_PYTHON: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"

_GLIBC: Final = re.compile(r"(linux-vdso|ld-linux.*|lib(c|m|dl|rt|util|pthread|resolv|nsl|anl))\.so(\.\d+)*")
"""What belongs to the machine: it has to fit its kernel and its settings."""

_UNUSED: Final = (
    *("ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter", "turtledemo", "venv", "site-packages"),
    *("dist-packages", "sitecustomize.py"),
    *("config-*", "__pycache__", "turtle.py", "pydoc.py", "*.a", "*.o"),
)
_UNUSED_MODULES: Final = (
    *("_curses*", "_tkinter*", "nis.*", "ossaudiodev*", "readline*", "spwd*", "_crypt*", "_dbm*", "_gdbm*"),
    *("_test*", "_ctypes_test*", "_xxtestfuzz*", "xxlimited*", "_elementtree_test*", "audioop*"),
)
"""What of the standard library a server has no use for, and what only that is linked with."""

_UNUSED_OF_PACKAGES: Final = (
    "__pycache__",
    "tests",
    "*.pyi",
    "*.c",
    "*.h",
    "*.pyx",
    "*.pxd",
    "direct_url.json",
    "RECORD",
)


def assemble(folder: Path, wheel: Path) -> None:
    """Make the folder, which must not be there, of a wheel of Pricore and the locked versions of what it needs.

    Equal inputs give equal files. Raises CalledProcessError where a program fails, whose output says why.
    """
    modules = folder / "lib" / _PYTHON
    (folder / "bin").mkdir(parents=True)
    _copy_python(folder, modules)
    _install(folder / _packages(), wheel)
    libraries = _copy_libraries(folder)
    for binary in _binaries(folder):
        _relocate(binary, folder / "lib")
    _compile(modules)
    _list_licenses(folder / "share" / "licenses" / "parts.json", libraries)


def _copy_python(folder: Path, modules: Path) -> None:
    """The interpreter, and the standard library as far as it is of use."""
    shutil.copy2(Path(sys.executable).resolve(), folder / "bin" / "pricore")
    shutil.copytree(
        sysconfig.get_path("stdlib"), modules, ignore=shutil.ignore_patterns(*_UNUSED, *_UNUSED_MODULES)
    )
    shutil.rmtree(modules / "test", ignore_errors=True)


def _packages() -> Path:
    """Where this Python looks for packages, below its prefix: Debian's has a place of its own."""
    script = "import site, sys, pathlib; print(pathlib.Path(site.getsitepackages()[-1]).relative_to(sys.prefix))"
    asked = [str(Path(sys.executable).resolve()), "-I", "-c", script]
    return Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())


def _install(packages: Path, wheel: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-compile")
    target = ("--target", str(packages))
    locked = ("--requirement", str(_HERE / "locked.txt"), "--require-hashes", "--only-binary=:all:")
    subprocess.run([*pip, *target, *locked], check=True)
    subprocess.run([*pip, *target, "--no-deps", str(wheel)], check=True)
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for pattern in _UNUSED_OF_PACKAGES:
        for path in [*packages.rglob(pattern)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _binaries(folder: Path) -> Iterator[Path]:
    """The programs and libraries of a folder, in order."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def _copy_libraries(folder: Path) -> set[Path]:
    """Put what is linked dynamically beside the rest, but for glibc; gives where it was."""
    found: dict[str, Path] = {}
    for binary in _binaries(folder):
        listed = subprocess.run(["ldd", binary], check=True, capture_output=True, text=True).stdout
        for name, path in re.findall(r"^\s*(\S+) => (/\S+)", listed, re.MULTILINE):
            if not _GLIBC.fullmatch(name) and not Path(path).is_relative_to(folder):
                found[name] = Path(path)
    for name, path in found.items():
        shutil.copy2(path.resolve(), folder / "lib" / name)
    return set(found.values())


def _relocate(binary: Path, libraries: Path) -> None:
    """Drop what only debuggers read, and have it look for libraries here too: wheels have places of their own."""
    binary.chmod(0o755)
    subprocess.run(["strip", "--strip-unneeded", binary], check=True)
    asked = ["patchelf", "--print-rpath", str(binary)]
    known = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip().split(":")
    places = [place for place in known if place.startswith("$ORIGIN")]
    places.append(f"$ORIGIN/{os.path.relpath(libraries, binary.parent)}")
    subprocess.run(["patchelf", "--set-rpath", ":".join(places), binary], check=True)


def _compile(modules: Path) -> None:
    """Leave code as Python runs it, which is never written again: the same bytes each time, whatever the dates."""
    done = compileall.compile_dir(
        modules,
        quiet=1,
        legacy=True,
        optimize=0,
        stripdir=str(modules),
        maxlevels=50,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )
    if not done:
        raise RuntimeError(f"not everything in {modules} could be compiled")
    for source in [*modules.rglob("*.py")]:
        source.unlink()


def _list_licenses(file: Path, libraries: set[Path]) -> None:
    """What Python, and the machine's libraries, are published under; packages have theirs with them.

    What the launcher is linked with counts too.
    """
    text = (Path(sysconfig.get_path("stdlib")) / "LICENSE.txt").read_text(encoding="utf-8")
    parts = [{"name": "python", "version": sysconfig.get_python_version(), "license": "PSF-2.0", "text": text}]
    static = [
        Path(
            subprocess.run(
                ["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True
            ).stdout.strip()
        )
        for name in ("libc.a", "libzstd.a")
    ]
    owners = {_owner(library) for library in [*libraries, *static] if not library.name.startswith("libpython")}
    parts += [_debian_part(owner) for owner in sorted(owners)]
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(parts, indent=1), encoding="utf-8")


def _owner(library: Path) -> str:
    """The Debian package of a library. Raises RuntimeError where there is none."""
    path = str(library.resolve())
    for registered in (path, path.removeprefix("/usr")):  # as the package has it, from before /lib became /usr/lib
        asked = ["dpkg-query", "--search", registered]
        if found := subprocess.run(asked, check=False, capture_output=True, text=True).stdout:
            return found.partition(":")[0]
    raise RuntimeError(f"{library} is of no Debian package, so nobody knows its licence")


def _debian_part(package: str) -> dict[str, str]:
    """A package of Debian's, with its copyright file and the common licences that this refers to."""
    show = ["dpkg-query", "--show", "--showformat=${source:Package} ${Version}\n", package]
    name, _, version = (
        subprocess.run(show, check=True, capture_output=True, text=True).stdout.splitlines()[0].partition(" ")
    )
    text = (Path("/usr/share/doc") / package / "copyright").read_text(encoding="utf-8")
    short = re.search(r"^License: *(\S.*)", text, re.MULTILINE)
    common = sorted(set(re.findall(r"/usr/share/common-licenses/[A-Za-z0-9.-]*[A-Za-z0-9]", text)))
    texts = [text, *(Path(path).read_text(encoding="utf-8") for path in common)]
    return {
        "name": name,
        "version": version,
        "license": short[1] if short else "see --text",
        "text": "\n".join(texts),
    }
