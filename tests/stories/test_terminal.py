"""What comes from repositories is shown on a terminal, and has it do nothing."""

import json
import os
import pty
import subprocess
from collections.abc import Callable

from tests.harness import GitRepository, Pricore

STEERING = "\x1b]0;x\x07\x9b31m\x7f\u202e\u2066\u200f\U000e0041"
"""What has a terminal do something, or shows a text in another order: of C0, C1 and Unicode."""


def on_a_terminal(pricore: Pricore, *arguments: str) -> str:
    """All that a command writes on a terminal."""
    controller, terminal = pty.openpty()
    try:
        with subprocess.Popen(
            pricore.command(*arguments),
            env=pricore.environment | {"TERM": "dumb", "NO_COLOR": "1"},
            cwd=pricore.data.parent,
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
        ) as process:
            os.close(terminal)
            written = b""
            try:
                while piece := os.read(controller, 65536):
                    written += piece
            except OSError:  # how Linux says that nobody has the terminal open any more
                pass
            process.wait()
    finally:
        os.close(controller)
    return written.decode().replace("\r\n", "\n")


def test_json_on_a_terminal_has_no_character_that_steers_it(
    pricore: Pricore, make_repository: Callable[[str], GitRepository]
) -> None:
    """It is the same document, with such characters written as JSON can; in a pipe they are as they came."""
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library", "description": f"A library{STEERING} for \u00fcber \U0001f600"})
    pricore.run("repo", "add", "acme", upstream.url)

    plain = pricore.run("package", "show", "acme", "acme/library", "--json").stdout
    shown = on_a_terminal(pricore, "package", "show", "acme", "acme/library", "--json")
    assert json.loads(shown) == json.loads(plain)
    assert shown.replace("\n", "").isprintable()
    assert "\\u009b31m" in shown
    assert "\u00fcber \U0001f600" in shown
    assert "\u202e" in plain


def test_nothing_else_on_a_terminal_steers_it(
    pricore: Pricore, make_repository: Callable[[str], GitRepository]
) -> None:
    """Records, lists, and what is said of a lock file that somebody else has written."""
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library", "description": f"A library{STEERING}"})
    pricore.run("repo", "add", "acme", upstream.url)
    dist = {"url": "http://localhost/org/acme/packages/acme/other/1.0.0.zip"}
    package = {"name": "acme/other", "version": f"1.0.0{STEERING}", "dist": dist}
    lock = pricore.data.parent / "composer.lock"
    lock.write_text(json.dumps({"packages": [package]}))
    for arguments in (
        ("package", "show", "acme", "acme/library"),
        ("package", "list", "acme"),
        ("lock", "check", str(lock)),
        ("lock", "register", str(lock), "--name", "shop"),
    ):
        shown = on_a_terminal(pricore, *arguments)
        assert shown.replace("\n", "").isprintable(), shown
        assert "acme/" in shown
