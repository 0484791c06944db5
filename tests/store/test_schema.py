"""The files of the schema: their numbers are those in databases, and what has landed never changes."""

import hashlib
from typing import Final

import pytest

from pricore.engine.sqlite import scripts

LANDED: Final = {
    "0001_registry": "f1ff9fa3ad8e16902d84d5cb0932715f36f84a01e8786fb513c188cf9e731cce",
    "0002_management": "99e28dbfe6dd990740fcf5436082ad432a8a86a3d566d8064fa6864be50707c0",
    "0003_schedule": "f3c860402941d9346640b1ce0051309f8446c66516946038aff1010910caa4d4",
    "0004_credentials": "f803ae54d8dfb9536963747a2451d3c03b99f372bf260cb59d47678e84133599",
    "0005_releases": "4fdd7d3907ce26a7a10ba8cb4c4d102e3b4f343d57bc3687518256bba396c0e4",
    "0006_folders": "265ee97bc14aecaff5bee059c2ff90c7b6e69eaffa19c3e8694fa4aaaeea1d08",
    "0007_locks": "789308bf05e72e871ba6f1096dd204414113ee31aa2b1e49f983e34f130fc29a",
    "0008_downloads": "af8a1c08f68201cce7a508a3461255467e75d525a7f41ca24c745fc8a47706cf",
    "0009_uploads": "62110ad3952be5052d14a39dc6e2cd0308a421f875d20fcc6bcacd1957eea8b5",
    "0010_dist_uses": "065cfbe7a0ba3fd1a7b244019e8e5db6bbb650831f50dc7d7cbcfcac37c7b5ad",
    "0011_published": "a5b339680e230b003fbf24c52f90c3ae487813b64486f02e3a0950563de571ad",
    "0012_version_lookup": "5e4939d28f89760ce809b62305f4e43cd4ee46b0ac605a23db91e87447392731",
    "0013_view_dates": "c7ee1fe8006be48a6c21d7ef4446fdaf2976465b3cb33f66a063c4342db04f96",
    "0014_abandoned": "3e1d7b05ff4f8f93cb799141a19da11f95397974a7ea9194283b827e5e08e537",
    "0015_provided_names": "df063e400ac03d52fb3994d86c7b5027955b167dde5025f51fe0c1f0ae14d412",
    "0016_revisions": "d1aaa61e0bb0be06237263d51115cad3ae3d35e193408f9959b6078939ba5202",
    "0017_triggers": "540e130baee04fb9c7a07374ad6efeacceb81f07b251cf997cb5b0253d0ec4ac",
    "0018_numbers": "884e62742fd89245b712e5d928ffdf38f185d5a600c4b7c470f351355adaef4c",
    "0019_refs_by_version": "e11f8d32f56cb5dfddf7c7fa3ca61968a83da3e8c833b0e471ce1807745b5d55",
    "0020_rights": "7af097d914d5c290a07fc84309864724ce45cffb08be69ba59dacdf7cffda776",
}
"""The sha256 of every file. A new one is added here in the commit that adds it; nothing else changes."""


def test_numbers_have_no_gap() -> None:
    """A database's `user_version` counts files, so the number of each file is its place."""
    numbers = [script.name.partition("_")[0] for script in scripts()]
    assert [f"{number:04}" for number in range(1, len(numbers) + 1)] == numbers


@pytest.mark.parametrize("name", LANDED)
def test_what_has_landed_never_changes(name: str) -> None:
    """Databases have run it: a change, another number or another place would never get to them, or twice."""
    found = {script.stem: hashlib.sha256(script.read_bytes()).hexdigest() for script in scripts()}
    assert found.get(name) == LANDED[name]


def test_every_file_is_held_to_its_checksum() -> None:
    """A file that is not in the list could be changed unseen."""
    assert list(LANDED) == [script.stem for script in scripts()]
