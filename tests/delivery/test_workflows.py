"""What a public forge runs is as it wants it, safe, and calls the same targets as everybody."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROGRAMS = Path(sys.executable).parent


def test_they_are_what_the_forge_takes() -> None:
    checked = [
        str(PROGRAMS / "check-jsonschema"),
        "--builtin-schema",
        "vendor.github-workflows",
        *map(str, WORKFLOWS),
    ]
    done = subprocess.run(checked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_they_give_nothing_away() -> None:
    """No secret reaches what a stranger wrote, and nothing runs that can change behind our back."""
    done = subprocess.run(
        [PROGRAMS / "zizmor", "--offline", "--no-progress", *WORKFLOWS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_they_call_what_there_is() -> None:
    """Targets of the Makefile, and scripts of the tree; each Python that the package names is tried."""
    targets = {*re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)}
    called, pythons = set(), set()
    for path in WORKFLOWS:
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            pythons |= {*job.get("strategy", {}).get("matrix", {}).get("python", ())}
            for step in job["steps"]:
                called |= {*re.findall(r"^make ([a-z]+)", step.get("run", ""), re.MULTILINE)}
                for script in re.findall(r"^(\.\S+)$", step.get("run", ""), re.MULTILINE):
                    assert (ROOT / script).stat().st_mode & 0o100, script
    assert called == {"unit", "release"}
    assert called <= targets
    named = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert pythons == {*named}
