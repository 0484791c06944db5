"""What tries the single file and the packages runs where they were made: `make delivery` names them."""

import os
from pathlib import Path

import pytest

_NEED = {
    "PRICORE_TEST_BINARY": [
        *("test_binary.py", "test_bare.py", "test_gits.py"),
        *("test_upgrades.py", "test_workflows.py"),
    ],
    "PRICORE_TEST_DEB": ["test_deb.py", "test_image.py", "test_release.py"],
}
collect_ignore = [name for variable, names in _NEED.items() if not os.environ.get(variable) for name in names]


@pytest.fixture(scope="session")
def binary() -> Path:
    """The single file that was made."""
    return Path(os.environ["PRICORE_TEST_BINARY"]).absolute()


@pytest.fixture(scope="session")
def deb() -> Path:
    """The Debian package that was made."""
    return Path(os.environ["PRICORE_TEST_DEB"]).absolute()
