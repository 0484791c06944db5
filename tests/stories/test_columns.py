"""What people see on a terminal of 80 columns: what they copy from there stays in one piece."""

import os
import pty
import re
import subprocess
from collections.abc import Callable

from tests.harness import GitRepository, Pricore

TIME = re.compile(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def on_terminal(pricore: Pricore, *arguments: str) -> str:
    """What a command shows there."""
    own, terminal = pty.openpty()
    with subprocess.Popen(
        pricore.command(*arguments),
        env=pricore.environment | {"COLUMNS": "80", "TERM": "xterm"},
        stdout=terminal,
        stdin=subprocess.DEVNULL,
        cwd=pricore.data.parent,
    ) as process:
        os.close(terminal)
        shown = b""
        try:
            while piece := os.read(own, 4096):
                shown += piece
        except OSError:
            pass  # the other end is closed: so Linux tells it
    os.close(own)
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r", "")
    assert all(len(line) <= 80 for line in text.splitlines()), text
    return text


def test_ids_and_times_can_be_copied_from_lists(
    pricore: Pricore, make_repository: Callable[[str], GitRepository]
) -> None:
    """Ids are short there, and taken so; in a pipe they are whole."""
    upstream = make_repository("a-name-of-a-repository-that-is-much-longer-than-others-are")
    upstream.commit({"name": "acme/library"})
    pricore.run("repo", "add", "acme", upstream.url)
    scopes = [part for scope in ("packages:read", "repositories:write") for part in ("--scope", scope)]
    pricore.run("token", "create", "acme", "The pipeline of the shop", "--expires", "90d", *scopes)
    (repository,) = pricore.json("repo", "list", "acme")
    (token,) = pricore.json("token", "list", "acme")

    shown = on_terminal(pricore, "repo", "list", "acme")
    assert re.search(rf"\b{repository['id'][:8]} ", shown), shown
    assert TIME.findall(shown) == [repository["last_synced_at"]], shown
    assert repository["id"] in pricore.run("repo", "list", "acme").stdout

    shown = on_terminal(pricore, "token", "list", "acme")
    assert re.search(rf"\b{token['id'][:8]} ", shown), shown
    assert TIME.findall(shown) == [token["expires_at"]], shown

    (run,) = pricore.json("repo", "history", "acme", repository["id"][:8])
    assert run["started_at"] in TIME.findall(on_terminal(pricore, "repo", "history", "acme", repository["id"]))
