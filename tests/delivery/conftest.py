"""What tries the single file and the packages runs where they were made: `make delivery` names them."""

import os

_NEED = {
    "PRICORE_TEST_BINARY": [
        *("test_binary.py", "test_bare.py", "test_gits.py"),
        *("test_upgrades.py", "test_workflows.py"),
    ],
    "PRICORE_TEST_DEB": ["test_deb.py", "test_image.py", "test_release.py"],
}
collect_ignore = [name for variable, names in _NEED.items() if not os.environ.get(variable) for name in names]
