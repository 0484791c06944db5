"""Root and the user who serves: root leaves their data folder as it was, and errors say what to mend."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.harness import Client, GitRepository, Pricore, need

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")

OTHER = 12345


def owners(folder: Path) -> Mapping[str, int]:
    return {str(path.relative_to(folder)): path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


def give(path: Path, user: int) -> None:
    """Let a file, or a folder with what is in it, be a user's, for nobody else to read."""
    subprocess.run(["chown", "-R", str(user), str(path)], check=True)
    subprocess.run(["chmod", "-R", "go-rwx", str(path)], check=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["org", "list"],
        ["org", "create", "other"],
        ["token", "create", "acme", "x"],
        ["repo", "sync", "acme"],
        ["credential", "trust", "127.0.0.1:1", "--yes"],
        ["serve", "--port", "0"],
        ["backup", "backup.tar.zst"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_root_is_refused_in_the_data_folder_of_another_user(pricore: Pricore, arguments: list[str]) -> None:
    """Who reads makes files too: SQLite's beside the database, which the server could not open."""
    give(pricore.data, OTHER)
    before = owners(pricore.data)
    line = pricore.fail(*arguments)
    assert (
        f"belongs to {OTHER}, who could not read what root makes there: run this as {OTHER} (sudo -u #{OTHER}"
        in line
    )
    assert owners(pricore.data) == before
    assert not (pricore.data.parent / "backup.tar.zst").exists()


@pytest.mark.parametrize("where", ["data", "data/below"])
def test_root_is_refused_as_the_very_first(tmp_path: Path, where: str) -> None:
    """A folder that was made for the server, such as systemd's StateDirectory, gets no database of root's."""
    (tmp_path / "data").mkdir(mode=0o700)
    os.chown(tmp_path / "data", OTHER, OTHER)
    line = Pricore(tmp_path / where).fail("org", "create", "acme")
    assert f"{tmp_path / 'data'} belongs to {OTHER}" in line
    assert list((tmp_path / "data").iterdir()) == []


@pytest.fixture
def weak(tmp_path: Path, make_repository: Callable[[str], GitRepository]) -> Iterator[Pricore]:
    """acme with acme/library, whose commands may read and write no more than what is their user's."""
    need("setpriv")
    pricore = Pricore(tmp_path / "data")
    pricore.found()
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"})
    upstream.tag("1.0.0")
    pricore.run("repo", "add", "acme", upstream.url)
    upstream.commit()
    dropped = "--bounding-set=-dac_override,-dac_read_search,-fowner"
    pricore.program = ["setpriv", "--inh-caps=-all", dropped, *pricore.program]
    yield pricore
    shutil.rmtree(pricore.data)


@pytest.mark.parametrize("pattern", ["*.lock", "*.git", "*.git/objects", "*.git/refs/tags", "*.git/config"])
def test_a_sync_says_which_file_is_another_user_s_and_what_to_do(weak: Pricore, pattern: str) -> None:
    """The file as it is in the data folder, in one line and in the repository's record."""
    (path,) = (weak.data / "repositories").glob(pattern)
    give(path, OTHER)
    done = weak.run("repo", "sync", "acme", status=1)
    line = done.stderr.strip().splitlines()[-1]
    assert "Permission denied" in line
    assert "`chown" in line
    assert f"repositories/{path.relative_to(weak.data / 'repositories').parts[0]}" in line
    shown = weak.json("repo", "show", "acme", "library")
    assert (shown["sync_status"], shown["sync_error"]) == ("failed", line.removeprefix("error: "))
    assert str(weak.data) not in shown["sync_error"]
    give(path, 0)
    weak.run("repo", "sync", "acme")


def test_an_archive_says_which_file_is_another_user_s_and_what_to_do(weak: Pricore) -> None:
    """The log does; the client is told no folder of this machine."""
    dists = weak.data / "dists"
    dists.mkdir(mode=0o700)
    give(dists, OTHER)
    with weak.serving() as server:
        client = Client(server["url"], weak.token())
        status, body = client.ask("GET", "/org/acme/packages/acme/library/1.0.0.zip")
    log = (weak.data.parent / "data-serve.log").read_text()
    assert status == 500
    assert str(dists).encode() not in body
    assert f"Permission denied: {dists}" in log
    assert "has to belong to the user who serves; `chown` gives it back" in log
