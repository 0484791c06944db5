"""Texts that may be versions and constraints, and what PHP says of them."""

import json
import os
import random
import shutil
import subprocess
from typing import Any

import pytest

OPERATORS = [
    *("", "", "^", "~", ">=", ">", "<", "<=", "=", "==", "!=", "<>", "~>", "!", "^ ", ">= ", "v"),
]

NUMBERS = [
    *("1", "0", "2.0", "1.2.3", "1.10.0.4", "v1", "V2.0", "01.02", "999", "*", "x", "1.*", "2.x"),
    *("dev-main", "develop", "dev-feature/x", "1.0.0.0.0", "main", ""),
]

SUFFIXES = [
    *("", "", "-beta", "-b2", "-RC1", "-rc.10", "a1", ".alpha", "_a-1", ".pl.2", "p", "-patch-3"),
    *("-stable", "-STABLE2", "-dev", ".dev", ".x-dev", ".*", "~2", "é", "/x", "#abc", "@dev", "@stable"),
    *("@rc", "@", "+build", "+b.1 ", "", " as 2.0"),
]

SEPARATORS = [
    *(" ", "  ", ",", ", ", " , ", "|", "||", " || ", " - ", " - ", "-", " as ", "\n", "\t||", "", ",,"),
]

HOSTILE = [
    *("1", "1.", ".1", " ", "\n", "|", "||", " | ", ",", ", ", "-", "^1 ", "~1,", "1 - ", "x.", "*"),
    *("dev", "-dev", "dev-#", "#", "#\n", ".x-dev#", "@dev", "@", "+", "+\n", "a1.", "p1", "1 as "),
    *("20", "<", "\000", "é", "1.9999999"),
]


def require_oracle(is_there: bool, name: str) -> None:
    """Skip the test where what it compares with is missing; fail instead under PRICORE_TEST_STRICT=1."""
    if not is_there:
        (pytest.fail if os.environ.get("PRICORE_TEST_STRICT") == "1" else pytest.skip)(f"{name} is not there")


def ask_php(script: str, question: object) -> Any:
    """Run a PHP script on JSON and return the JSON that it answers."""
    require_oracle(shutil.which("php") is not None, "php")
    done = subprocess.run(
        ["php", "-r", script], input=json.dumps(question), capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


def random_texts(count: int, *slots: list[str]) -> list[str]:
    """Return texts with a piece out of each slot, the same in every run."""
    chance = random.Random(20240229)
    return ["".join(map(chance.choice, slots)) for _ in range(count)]
