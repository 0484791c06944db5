"""What an operator sets is shown with where it comes from, checked, and completed by the shell."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pricore.models import SCOPES
from tests.harness import GitRepository, Pricore, need


def test_the_settings_are_shown_with_where_they_come_from(tmp_path: Path) -> None:
    """The file, a variable and a flag are each named beside the value that they gave."""
    file = tmp_path / "pricore.yaml"
    file.write_text("port: 8443\naccess_log: on\ntrusted_proxies: [127.0.0.1, '::1']\n")
    pricore = Pricore(tmp_path / "data", config=str(file), sync_workers="4")

    shown = pricore.json("config", "show", "--data", "elsewhere")

    assert shown["port"] == {"value": 8443, "from": str(file)}
    assert shown["access_log"] == {"value": True, "from": str(file)}
    assert shown["trusted_proxies"] == {"value": ["127.0.0.1/32", "::1/128"], "from": str(file)}
    assert shown["sync_workers"] == {"value": 4, "from": "PRICORE_SYNC_WORKERS"}
    assert shown["data"] == {"value": str(tmp_path / "elsewhere"), "from": "--data"}
    assert shown["host"] == {"value": "127.0.0.1", "from": "default"}
    assert not pricore.data.exists(), "looking at settings makes nothing"
    lines = {
        line.split()[0]: line.split()[1:]
        for line in pricore.run("config", "show").stdout.splitlines()
        if line.strip()
    }
    assert lines["trusted_proxies"] == ["127.0.0.1/32,", "::1/128", str(file)]
    assert lines["access_log"] == ["on", str(file)]
    assert lines["key_file"] == ["-", "default"]


def test_mistakes_are_found_before_a_restart(tmp_path: Path) -> None:
    """Each is a line, of the file and the environment alike; without any the exit status is 0."""
    file = tmp_path / "pricore.yaml"
    file.write_text("port: 8443\n")
    assert "can be used" in Pricore(tmp_path / "data").run("config", "check", "--config", str(file)).stdout

    file.write_text("port: 99999\nprot: 1\n")
    pricore = Pricore(tmp_path / "data", public_url="packages.example.com", sync_wrokers="4")
    lines = pricore.run("config", "check", "--config", str(file), status=1).stdout.splitlines()
    assert [line.split(" must ")[0].split("; ")[0] for line in lines] == [
        f"{file}: port",
        f"{file}: unknown setting 'prot'",
        "PRICORE_PUBLIC_URL",
        "PRICORE_SYNC_WROKERS is no setting",
    ]
    assert pricore.json("config", "check", "--config", str(file), status=1) == {"mistakes": lines}
    assert f"{file}: port must be" in pricore.fail("serve", "--config", str(file))

    none = tmp_path / "none.pem"
    checked = Pricore(tmp_path / "data", ca_file=str(none)).run("config", "check", status=1).stdout
    assert checked == f"ca_file: cannot read {none}: No such file or directory\n"


def complete(script: str, words: str, folder: Path) -> list[str]:
    """What bash offers for an unfinished line, as it would on Tab."""
    asked = (
        f"{script}\nCOMP_WORDS=({words})\nCOMP_CWORD=$((${{#COMP_WORDS[@]}}-1))\n_pricore_completion pricore\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder)}
    done = subprocess.run(
        ["bash", "--norc", "-eu", "-c", asked], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    """The printed script makes bash offer what can come next."""
    need("bash")
    pricore = Pricore(tmp_path / "data")
    script = pricore.run("completion", "bash").stdout
    assert complete(script, "pricore hea", tmp_path) == ["healthcheck"]
    assert set(complete(script, "pricore config ''", tmp_path)) == {"show", "check"}
    assert "--expires" in complete(script, "pricore token create --", tmp_path)


def test_bash_completes_what_there_is(pricore: Pricore, make_repository: Callable[[str], GitRepository]) -> None:
    """Organizations, and what one has: repositories, packages, tokens; and the scopes of tokens."""
    need("bash")
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"})
    pricore.run("repo", "add", "acme", upstream.url)
    pricore.run("token", "create", "acme", "CI")
    script = f"export PRICORE_DATA={pricore.data}\n" + pricore.run("completion", "bash").stdout
    folder = pricore.data.parent
    for words in ("repo list ''", "package show a", "token list ''", "org delete ac", "credential add ''"):
        assert complete(script, f"pricore {words}", folder) == ["acme"], words
    assert complete(script, "pricore repo sync acme ''", folder) == [upstream.url]
    assert complete(script, "pricore package show acme acme/", folder) == ["acme/library"]
    assert complete(script, "pricore token revoke acme ''", folder) == ["CI"]
    assert complete(script, "pricore token create acme x --package ''", folder) == ["acme/library"]
    assert complete(script, "pricore token create acme x --scope packages", folder) == [
        "packages:read",
        "packages:write",
    ]
    assert complete(script, f"pricore repo list --data {folder}/nowhere ''", folder) == []


def test_completion_says_and_makes_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    """No registry, a file that is none, settings that are wrong: nothing is offered, and the line stays clean."""
    pricore = Pricore(tmp_path / "data")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "pricore.sqlite3").write_text("no database")
    for settings in ({}, {"PRICORE_DATA": str(tmp_path / "broken")}, {"PRICORE_PORT": "x"}):
        environment = (
            pricore.environment
            | settings
            | {
                "_PRICORE_COMPLETE": "complete_bash",
                "COMP_WORDS": "pricore repo list ",
                "COMP_CWORD": "3",
            }
        )
        program = Path(sys.executable).with_name("pricore")
        done = subprocess.run([program], env=environment, capture_output=True, text=True, check=False)
        assert (done.stdout.strip(), done.stderr) == ("", ""), settings
    assert not pricore.data.exists()


def test_the_help_of_tokens_says_all_that_can_be_given(pricore: Pricore) -> None:
    """Every scope, and the units of a span."""
    shown = pricore.run("token", "create", "--help").stdout
    assert all(scope in shown for scope in SCOPES)
    assert all(span in shown for span in ("12h", "90d", "8w"))


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script(shell: str, tmp_path: Path) -> None:
    """It is one that the shell itself can read."""
    script = Pricore(tmp_path / "data").run("completion", shell).stdout
    assert "_PRICORE_COMPLETE=complete_" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)
    Pricore(tmp_path / "data").run("completion", "tcsh", status=2)
