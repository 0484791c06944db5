"""The benchmark runs and reports; how fast anything is says only `make bench`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import need


@pytest.mark.long
def test_a_small_run_reports_every_figure(tmp_path: Path) -> None:
    """Each part measures against its peer, and the page names the command that gives each figure again."""
    need("composer", "php", "nginx")
    page = tmp_path / "results.md"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--output", str(page)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    for figure in (
        "p2 GET 200",
        "p2 GET 304",
        "p2 GET, 100 connections with a token each",
        "packages.json 304, processor time of each, 10 packages",
        "first import of 30 tags",
        "the newest 20 are served",
        "sync with nothing new",
        "git push to served",
        "webhook to served",
        "p2 GET during the first sync of 60 tags",
        "start to first answer, 10 repositories with 500 versions",
        "looking at 10 idle repositories",
        "first download of an archive",
        "bytes of an archive",
        "content of a kept archive",
        "pricore token list",
        "htpasswd of apr1",
        "composer update of 2 of 2 packages",
        "Satis",
        "p2 GET of two processes",
        "`python -m bench --only import --quick`",
    ):
        assert figure in text
