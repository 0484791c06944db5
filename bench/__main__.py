"""`python -m bench`: run the parts, show the table, write the page."""

import argparse
import compileall
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console

import pricore
from bench import (
    access,
    binary,
    commands,
    crowd,
    dists,
    during_sync,
    first_import,
    growth,
    idle,
    inline,
    many,
    others,
    p2,
    push,
    satis,
    workers,
)
from bench.effort import FULL, QUICK, Effort
from bench.machine import facts
from bench.results import Result, markdown, table

_PARTS: Final[Mapping[str, Callable[[Path, Effort], list[Result]]]] = {
    "p2": p2.measure,
    "crowd": crowd.measure,
    "workers": workers.measure,
    "growth": growth.measure,
    "access": access.measure,
    "import": first_import.measure,
    "idle": idle.measure,
    "push": push.measure,
    "during": during_sync.measure,
    "many": many.measure,
    "dists": dists.measure,
    "others": others.measure,
    "commands": commands.measure,
    "binary": binary.measure,
    "inline": inline.measure,
    "satis": satis.measure,
}
_PAGE: Final = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    """Run what was asked for; only a whole and full run writes bench/RESULTS.md."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it works, not how fast")
    parser.add_argument("--only", nargs="+", choices=_PARTS, metavar="PART", help=f"some of: {', '.join(_PARTS)}")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the page there, whatever was run")
    parser.add_argument("--repository", default="", metavar="URL", help="compare with Satis on this one of yours")
    options = parser.parse_args()
    effort = replace(QUICK if options.quick else FULL, repository=options.repository)
    results: list[tuple[str, Result]] = []
    compileall.compile_dir(Path(pricore.__file__).parent, quiet=1)  # as pip does with all that it installs
    try:
        with tempfile.TemporaryDirectory(prefix="pricore-bench-") as folder:
            for name in options.only or _PARTS:
                with Console(stderr=True).status(f"Measuring {name}"):
                    found = _PARTS[name](Path(folder) / name, effort)
                command = f"python -m bench --only {name}" + (" --quick" if options.quick else "")
                if options.repository and name == "satis":
                    command += " --repository URL"
                results += [(command, result) for result in found]
    finally:
        # where a part fails, what the others took minutes to find is still shown
        _show([result for _, result in results])
    page = options.output or (None if options.quick or options.only else _PAGE)
    if page is not None:
        page.write_text(markdown(results, facts()), encoding="utf-8")
        print(f"Written to {page.name}")


def _show(results: Sequence[Result]) -> None:
    console = Console(highlight=False)
    # Rich would squeeze what goes into a pipe into 80 columns
    (console if console.is_terminal else Console(highlight=False, width=220)).print(table(results))


if __name__ == "__main__":
    main()
