"""What an operator sets is shown with where it comes from, checked, and completed by the shell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import Pricore, need


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


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script(shell: str, tmp_path: Path) -> None:
    """It is one that the shell itself can read."""
    script = Pricore(tmp_path / "data").run("completion", shell).stdout
    assert "_PRICORE_COMPLETE=complete_" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)
    Pricore(tmp_path / "data").run("completion", "tcsh", status=2)
