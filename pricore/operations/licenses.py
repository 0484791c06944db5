"""What the program is made of, and under which licences."""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import msgspec

if TYPE_CHECKING:
    from email.message import Message

_PROGRAM: Final = "pricore"
_REQUIREMENT: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)\s*(?:\[(?P<extras>[^\]]*)\])?")


class Part(msgspec.Struct, frozen=True):
    """A part of the program; `license` is SPDX's expression where it says one, `text` what its files have."""

    name: str
    version: str
    license: str
    text: str


def parts() -> list[Part]:
    """Pricore, the packages that it uses, and in the single file also Python and what that is linked with."""
    packages = sorted(
        _packages(), key=lambda item: (item.metadata["Name"] != _PROGRAM, item.metadata["Name"].lower())
    )
    return [*(_part(item) for item in packages), *_bundled(Path(sys.prefix) / "share" / "licenses" / "parts.json")]


def _packages() -> Iterator[Distribution]:
    """Those that are there of what Pricore requires, and what those require."""
    # what developers need is no part of the program
    wanted, seen = [(_PROGRAM, {"postgresql", "s3", "speed"})], set[str]()
    while wanted:
        name, extras = wanted.pop()
        name = re.sub(r"[-_.]+", "-", name).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        yield found
        for requirement in found.requires or ():
            needed, _, marker = requirement.partition(";")
            extra = re.search(r"extra == [\"'](.+?)[\"']", marker)
            if match := _REQUIREMENT.match(needed) if extra is None or extra[1] in extras else None:
                wanted.append((match["name"], {*re.split(r"[,\s]+", match["extras"] or "")}))


def _part(package: Distribution) -> Part:
    metadata = cast("Message", package.metadata)  # it is one, and says of itself only what all kinds have
    classifiers = [
        line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", ()) if "License ::" in line
    ]
    short = (
        metadata["License-Expression"]
        or " and ".join(classifiers)
        or (metadata["License"] or "").partition("\n")[0]
    )
    files = metadata.get_all("License-File") or ["LICENSE"]
    texts = [package.read_text(f"licenses/{file}") or package.read_text(file) or "" for file in files]
    if not any(texts):
        places = [url.partition(", ")[2] for url in metadata.get_all("Project-URL", ())]
        texts = [f"It brings no text of its licence along; see {' or '.join(places) or metadata['Home-page']}"]
    return Part(metadata["Name"], metadata["Version"], short or "unknown", "\n".join(texts))


def _bundled(file: Path) -> list[Part]:
    return msgspec.json.decode(file.read_bytes(), type=list[Part]) if file.is_file() else []
