"""The program itself: each command loads what it needs, and is listed and suggested all the same."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.harness import Pricore

HEAVY = ("aiohttp", "cryptography", "email.message", "pydantic", "rich", "uvloop", "yaml")
"""What takes longer to load than most commands run; all of it is for few of them."""

SHARED = {f"pricore.commands.{name}" for name in ("completing", "finding", "session", "typed")}

RUN = """
import sys
from pricore.cli import main
try:
    main()
finally:
    print(*(name for name in sys.modules if not name.startswith("_")), file=sys.stderr)
"""


def loaded(data: Path, *arguments: str) -> set[str]:
    """The modules that a command has loaded at its end; it has to succeed."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(data.parent), "PRICORE_DATA": str(data)}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [("token", "list", "acme"), ("org", "list"), ("package", "list", "acme", "--json")],
    ids=lambda arguments: " ".join(arguments),
)
def test_a_command_loads_nothing_heavy_that_it_does_not_use(pricore: Pricore, arguments: tuple[str, ...]) -> None:
    """What lists rows of the database is there as soon as the database is, whatever other commands need."""
    modules = loaded(pricore.data, *arguments)

    assert "pricore.store" in modules
    assert not modules.intersection(HEAVY)
    others = {name for name in modules if name.startswith("pricore.commands.")}
    assert others - SHARED == {f"pricore.commands.{arguments[0]}"}


def test_a_number_is_taken_as_quickly(pricore: Pricore) -> None:
    """No library that checks values is loaded for one, as for `pricore serve --port`."""
    with pricore.serving() as server:
        modules = loaded(pricore.data, "healthcheck", "--port", server["url"].rpartition(":")[2])
    assert "pydantic" not in modules
    assert "a whole number" in pricore.fail("serve", "--port", "99999")
    assert pricore.run("serve", "--port", "1e3", status=2).stdout == ""


def test_all_commands_are_listed_in_their_order(pricore: Pricore) -> None:
    """--help knows those that are loaded only then, also those that are in another's group."""
    listed = pricore.run("--help").stdout
    places = [
        listed.index(f" {name} ") for name in ("serve", "quickstart", "import", "org", "repo", "token", "lock")
    ]
    assert places == sorted(places)
    assert "webhook" in pricore.run("repo", "--help").stdout


def test_the_program_says_its_version(pricore: Pricore) -> None:
    """`pricore --version` is one line, for whoever reports a fault."""
    assert pricore.run("--version").stdout == f"pricore {version('pricore')}\n"


def test_a_mistyped_command_is_told_what_was_meant(pricore: Pricore) -> None:
    """Names are known without what is behind them."""
    assert "'token'" in pricore.run("tokn", status=2).stderr
    assert "'discover'" in pricore.run("repo", "discovr", status=2).stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("serve", "--port", "many"), "--port"),
        (("token", "list", "acme", "--config", "/nowhere"), "/nowhere"),
        (("org", "show", b"caf\xe9"), "not utf-8"),
    ],
    ids=["a number", "a file", "no text"],
)
def test_a_value_of_the_wrong_form_is_refused(
    pricore: Pricore, arguments: tuple[str | bytes, ...], word: str
) -> None:
    """Numbers, files and text that is none are refused in one message that shows which it is."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(pricore.data.parent), "PRICORE_DATA": str(pricore.data)}
    done = subprocess.run(
        [sys.executable, "-m", "pricore", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in (1, 2)
    assert word in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
