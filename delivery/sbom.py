"""The bill of materials of the single file and the package, in CycloneDX."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import msgspec
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from delivery.wheel import committed_at
from pricore.operations.licenses import Part


def write_sbom(file: Path, parts: list[Part], *, bundled: set[str]) -> None:
    """Write that of some parts, the first of which is the program; those `bundled` are no Python packages.

    Raises RuntimeError for one that is not as the standard wants it.
    """
    program, *others = [_component(part, is_package=part.name not in bundled) for part in parts]
    program.type = ComponentType.APPLICATION
    bom = Bom(components=others, serial_number=uuid5(NAMESPACE_URL, f"{program.purl}"))
    bom.metadata.component = program
    bom.metadata.timestamp = datetime.fromtimestamp(committed_at(), UTC)
    bom.register_dependency(program, others)
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise RuntimeError(f"the bill of materials is not CycloneDX: {error}")
    file.write_text(f"{text}\n", encoding="utf-8")


def _component(part: Part, *, is_package: bool) -> Component:
    url = PackageURL("pypi" if is_package else "deb", None if is_package else "debian", part.name, part.version)
    return Component(
        type=ComponentType.LIBRARY,
        name=part.name,
        version=part.version,
        purl=url,
        bom_ref=str(url),
        licenses=[DisjunctiveLicense(name=part.license)],
    )


def parts_of(tree: Path) -> tuple[list[Part], set[str]]:
    """All parts of an assembled folder as its own program lists them, and which of them are no Python packages."""
    asked = [str(tree / "bin" / "pricore"), "-I", "-m", "pricore", "licenses", "--json"]
    listed = subprocess.run(asked, check=True, capture_output=True, env={"HOME": "/nonexistent"}).stdout
    index = tree / "share" / "licenses" / "parts.json"
    bundled = msgspec.json.decode(index.read_bytes(), type=list[Part])
    return msgspec.json.decode(listed, type=list[Part]), {part.name for part in bundled}
