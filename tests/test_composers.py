"""Stories run with the newest Composer that can be had, too, and where none can be had it is said why."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import composers
from tests.composers import UnavailableError
from tests.harness import need

ROOT = Path(__file__).parent.parent


def test_many_may_look_for_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several processes that find no Composer in the cache one unpacks it, and all have it."""
    need("composer", "php")
    try:
        composers.newest()
    except UnavailableError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    command = [sys.executable, "-m", "tests.composers"]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {process.communicate(timeout=300)[0] for process in started}
    assert said == {
        f"Composer, installed: {composers.installed().version}\nComposer, newest: {composers.newest().version}\n"
    }
    folder = tmp_path / "pricore-tests" / "composer"
    assert len([path for path in folder.iterdir() if path.is_dir()]) == 1


def test_the_reason_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none can be had the reason is one line, and it isn't looked for again by everybody who asks."""
    monkeypatch.setattr(composers, "CACHE", tmp_path)
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        with pytest.raises(UnavailableError, match=r"^apt-get is not installed$"):
            composers.newest()
    with pytest.raises(UnavailableError, match=r"^apt-get is not installed$"):
        composers.newest()
