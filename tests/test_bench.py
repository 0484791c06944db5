"""The benchmark runs and reports; how fast anything is says only `make bench`."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import _PARTS
from bench.results import COLUMNS
from tests.harness import need

# each figure by a part of its caption, and what it is measured against, "" where it stands alone
FIGURES = {
    "p2 GET 200, 30 versions": "bare aiohttp",
    "p2 GET 304": "bare aiohttp",
    "p2 GET 200, 32 connections, by processor time": "nginx, htpasswd of apr1",
    "p2 GET, 100 connections with a token each": "32 connections",
    "p2 GET of two processes": "one process",
    "p2 GET 200, processor time of each, 10 packages": "2 packages",
    "packages.json 304, processor time of each, 10 packages": "2 packages",
    "first import of 30 tags": "git | sha1sum",
    "the newest 20 are served": "",
    "sync with nothing new": "git ls-remote",
    "git push to served": "",
    "webhook to served": "git fetch and git archive",
    "p2 GET during the first sync of 60 tags": "without it",
    "start to first answer, 10 repositories with 500 versions": "",
    "looking at 10 idle repositories": "",
    "first download of an archive": "git archive --format=zip",
    "bytes of an archive": "git's zip",
    "content of a kept archive": "nginx, git's zip",
    "p2 GET in memory beside 4 first downloads at once": "two git archive",
    "p2 GET not in memory beside 4 first downloads at once": "two git archive",
    "p2 GET in memory beside first downloads that leave a core": "",
    "p2 GET not in memory beside a client that asks for providers among 200 versions": "",
    "p2 GET in memory beside a first sync of 61 versions in one package": "",
    "p2 GET/s beside a change in another organization every 50 ms": "without",
    "p2 GET in memory beside lock checks and install reports at the limit": "",
    "memory for 300 answers that are kept": "counted",
    "pricore token list": "python -c",
    "resident memory of a server": "",
    "composer update of 2 of 2 packages": "p2",
}
ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def rows_of(page: str) -> list[dict[str, str]]:
    """The rows of the page's table by the names of the columns, and `command`."""
    lines = [line.replace("\\|", "\0") for line in page.splitlines() if line.startswith("| `")]
    cells = [[cell.strip().replace("\0", "|") for cell in line.strip("|").split(" | ")] for line in lines]
    return [dict(zip(("command", *COLUMNS), row, strict=True)) for row in cells]


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in NUMBER.findall(text)]


def check_row(row: dict[str, str]) -> None:
    """A row measured something: a figure that is not 0, a ratio in its spread, a goal with a verdict."""
    assert any(numbers(row["ours"])), row
    assert not row["against"] or any(numbers(row["against"])), row
    ratio = numbers(row["ratio (middle half, min-max)"].replace("-", " "))
    if ratio:
        median, low, high, least, most = ratio
        assert 0 < least <= low <= median <= high <= most, row
    assert (row["met"] in ("yes", "NO")) == bool(row["goal"]), row


@pytest.mark.long
def test_a_small_run_reports_every_figure(tmp_path: Path) -> None:
    """Each part measures against its peer, and the page names the command that gives each figure again."""
    need("composer", "php", "nginx")
    page = tmp_path / "results.md"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--output", str(page)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = rows_of(page.read_text())
    skipped = [row for row in rows if row["ours"].startswith("skipped")]
    there = {"satis": bool(shutil.which("satis")), "binary": any((ROOT / "dist").glob("pricore-*-linux-*"))}
    assert skipped == [row for row in rows if there.get(row["command"].split()[4]) is False]
    for row in rows:
        if row not in skipped:
            check_row(row)
    ours = [
        row for row in rows if "--only satis " not in row["command"]
    ]  # its rows have one peer, where it is there
    for caption, peer in FIGURES.items():
        found = [row for row in ours if caption in row["what"]]
        assert found, f"{caption} was not measured"
        assert all(peer in row["against"] and bool(peer) == bool(row["against"]) for row in found), found
    commands = [f"`python -m bench --only {part} --quick`" for part in _PARTS]
    assert list(dict.fromkeys(row["command"] for row in rows)) == commands


@pytest.mark.parametrize(
    "change",
    [
        {"ours": "0 ms"},
        {"ours": ""},
        {"against": "nginx 0/s"},
        {"ratio (middle half, min-max)": "0.00 (0.00-0.00, 0.00-0.00)"},
        {"met": ""},
        {"goal": ""},
    ],
)
def test_a_row_that_measured_nothing_is_seen(change: dict[str, str]) -> None:
    """A figure of nothing, or a goal that nobody looked at, would be told."""
    row = dict(zip(COLUMNS, ("x", "14 ms", "git 7 ms", "2.0 (1.9-2.1, 1.5-3)", "≤ 3", "yes"), strict=True))
    check_row(row)
    with pytest.raises(AssertionError):
        check_row(row | change)
