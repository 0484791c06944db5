"""`pricore lock` knows the archives of its registry by their URLs, as the server's settings have it."""

import json
from pathlib import Path

from tests.harness import Pricore


def test_the_public_url_is_the_servers(pricore: Pricore, tmp_path: Path) -> None:
    """What only the server was given, as a flag or in its environment, holds for the command line as well."""
    with pricore.serving("serve", "--public-url", "https://packages.example.com"):
        pass
    file = tmp_path / "shop" / "composer.lock"
    file.parent.mkdir()

    def write(host: str) -> None:
        dist = {"url": f"https://{host}/org/acme/packages/acme/library/1.0.0.zip", "shasum": "b" * 40}
        file.write_text(json.dumps({"packages": [{"name": "acme/library", "version": "1.0.0", "dist": dist}]}))

    write("elsewhere.example.com")
    for command in ("register", "check"):
        assert "(https://packages.example.com)" in pricore.fail("lock", command, str(file))
    write("packages.example.com")
    assert "Registered shop in acme" in pricore.run("lock", "register", str(file)).stdout
