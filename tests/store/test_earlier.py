"""A data folder of an earlier Pricore is served on byte for byte, with the dates that clients know.

`earlier/` was made by the commit a70e913: its database as SQL, its mirrors as bundles, and what it answered.
"""

import contextlib
import hashlib
import http.client
import shutil
import sqlite3
import subprocess
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.harness import Pricore

EARLIER: Final = Path(__file__).parent / "earlier"


class Answers(msgspec.Struct):
    """What was answered: by whose token and by path, the status, Last-Modified and the sha256 of the body."""

    settings: dict[str, str]
    secrets: dict[str, str]
    answers: dict[str, dict[str, tuple[int, str | None, str]]]


@pytest.fixture(scope="module")
def answers() -> Answers:
    return msgspec.json.decode((EARLIER / "answers.json").read_bytes(), type=Answers)


@pytest.fixture
def pricore(tmp_path: Path, answers: Answers) -> Pricore:
    """The program on the data folder as it was left; no archive is made yet but for the uploaded ones."""
    data = tmp_path / "data"
    shutil.copytree(EARLIER / "uploads", data / "uploads")
    with contextlib.closing(sqlite3.connect(data / "pricore.sqlite3")) as connection:
        connection.executescript((EARLIER / "database.sql").read_text(encoding="utf-8"))
    for bundle in (EARLIER / "repositories").iterdir():
        mirror = data / "repositories" / f"{bundle.stem}.git"
        subprocess.run(["git", "init", "--quiet", "--bare", str(mirror)], check=True)
        subprocess.run(["git", "-C", str(mirror), "fetch", "--quiet", str(bundle), "+refs/*:refs/*"], check=True)
    return Pricore(data, restricted_sources="on", **answers.settings)


def test_everything_is_served_as_before(pricore: Pricore, answers: Answers) -> None:
    """Both halves of each package, packages.json for each token, lists, and archives that are made anew.

    packages.json of a restricted token has dates of its own since then, which are later ones.
    """
    found: dict[str, dict[str, tuple[int, str | None, str]]] = {}
    with pricore.serving() as server:
        for who, asked in answers.answers.items():
            for path in asked:
                found.setdefault(who, {})[path] = ask(server["listens"], path, answers.secrets[who])

    assert answers.answers["all"] == found["all"]
    for path, (status, date, content) in answers.answers["some"].items():
        then_status, then, then_content = found["some"][path]
        assert (then_status, then_content) == (status, content), path
        if path.endswith("/packages.json"):
            assert parsedate_to_datetime(str(then)) > parsedate_to_datetime(str(date))
        else:
            assert then == date


def ask(address: str, path: str, secret: str) -> tuple[int, str | None, str]:
    with contextlib.closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {secret}"})
        response = connection.getresponse()
        body = response.read()
    return response.status, response.getheader("Last-Modified"), hashlib.sha256(body).hexdigest()


def test_every_order_is_as_before(pricore: Pricore) -> None:
    """What was made one after the other in a second is listed in that order."""
    listed = {name: pricore.json(name, "list", "acme") for name in ("token", "repo")}
    (repository, _) = listed["repo"]
    runs = pricore.json("repo", "history", "acme", repository["id"])

    assert [item["packages"] is None for item in listed["token"]] == [True, False]
    assert [Path(item["url"]).name for item in listed["repo"]] == ["one", "mono"]
    assert [item["status"] for item in runs] == ["unchanged", "ok", "ok", "ok"]
