"""Who has a Satis moves with one command: the same repositories, with the same logins."""

import json
import subprocess
from pathlib import Path

import pytest

from tests import documents
from tests.githost import GitHost
from tests.harness import Composer, GitRepository, Pricore

TOKEN = "tok-3n1gm4-of-satis"


@pytest.fixture
def satis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a Satis with three repositories in `upstream`, and the file that it is run with."""
    monkeypatch.setenv("no_proxy", "*")
    for name, package in (("private", "acme/library"), ("local", "acme/tool"), ("website", None)):
        upstream = GitRepository(tmp_path / "upstream" / name)
        upstream.commit(None if package is None else {"name": package})
        upstream.tag("1.0.0")
    return tmp_path / "satis.json"


def test_a_satis_moves_with_one_command(satis: Path, tmp_path: Path, composer: Composer) -> None:
    """Shown first, then done; Composer installs what it did before; done again, nothing is doubled."""
    pricore = Pricore(tmp_path / "data")
    with GitHost(tmp_path / "upstream", {TOKEN: "private/"}).running() as host:
        satis.write_text(
            json.dumps(
                {
                    "name": "acme/packages",
                    "homepage": "https://packages.example.com",
                    "repositories": [
                        {"type": "vcs", "url": host.url("private")},
                        {"type": "git", "url": "./upstream/local"},
                        {"type": "vcs", "url": "./upstream/website"},
                        {"type": "composer", "url": "https://repo.example.com"},
                    ],
                    "require": {"acme/library": "*"},
                }
            )
        )
        (tmp_path / "auth.json").write_text(
            json.dumps({"http-basic": {host.host: {"username": "ci", "password": TOKEN}}})
        )
        shown = pricore.run("import", str(satis), "--dry-run").stdout
        assert "3 repositories would be followed in acme." in shown
        assert not pricore.data.exists()

        done = pricore.json("import", str(satis))
        assert [item["status"] for item in done["repositories"]] == ["added", "added", "no package", "passed over"]
        assert done["credentials"] == [host.host]
        with pricore.serving() as served:
            composer.write(
                require={"acme/library": "^1.0", "acme/tool": "*"}, registry=f"{served['url']}/org/acme"
            )
            composer.log_in(served["url"], pricore.token())
            composer.run("update")
            assert composer.locked().keys() == {"acme/library", "acme/tool"}

            # the lock names archives of the old registry; Composer takes the new one's with the same versions
            pricore.run("import", "-", "--org", "next", stdin=f"{tmp_path}/upstream/local\n")
            pricore.run("import", str(satis), "--org", "next")
            composer.write(
                require={"acme/library": "^1.0", "acme/tool": "*"}, registry=f"{served['url']}/org/next"
            )
            composer.log_in(served["url"], pricore.token(org="next"))
            moved = documents.script("moving.md", "php -r").replace("https://satis.example.com/", served["url"])
            subprocess.run(["sh", "-c", moved], cwd=composer.folder, env=composer.environment(), check=True)
            composer.run("update", "mirrors")
            assert {package["dist"]["url"].split("/")[4] for package in composer.locked().values()} == {"next"}

        again = pricore.json("import", str(satis))
        assert [item["status"] for item in again["repositories"]] == [
            *("followed", "followed", "no package", "passed over"),
        ]
        assert again["credentials"] == []
        assert "chooses among packages or versions" in pricore.run("import", str(satis), "--org", "other").stdout
        assert TOKEN not in shown + str(done) + pricore.run("credential", "list", "acme").stdout


def test_mistakes_are_told(satis: Path, tmp_path: Path) -> None:
    """A file that isn't there or isn't one, and a repository that cannot be read: the others are followed."""
    pricore = Pricore(tmp_path / "data")
    assert "No such file" in pricore.fail("import", str(satis))
    satis.write_text("{")
    assert "is no JSON, line 1" in pricore.fail("import", str(satis))
    satis.write_text(
        json.dumps(
            {
                "name": "Satis",
                "repositories": [{"type": "vcs", "url": f"./upstream/{name}"} for name in ("gone", "local")],
            }
        )
    )
    assert "is not a slug" in pricore.fail("import", str(satis), "--org", "Not A Slug")
    done = pricore.run("import", str(satis), "--json", status=1)
    assert [item["status"] for item in json.loads(done.stdout)["repositories"]] == ["failed", "added"]
    assert (
        done.stderr == f"error: cannot read {tmp_path}/upstream/gone: there is no Git repository at that address\n"
    )
    assert [item["slug"] for item in pricore.json("org", "list")] == ["satis"]
    satis.write_text("https://git.example.com/a.git\n")
    assert "doesn't name an organization: say which with --org" in pricore.fail("import", str(satis))
