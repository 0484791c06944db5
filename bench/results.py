"""What a measurement gives, and how it is shown."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from rich.table import Table
from rich.text import Text

COLUMNS = ("what", "ours", "against", "ratio (middle half, min-max)", "goal", "met")


@dataclass(frozen=True)
class Spread:
    """The median of some measurements, the middle half of them, and the range in which all of them lie."""

    median: float
    half: tuple[float, float]
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of at least one value."""
        ordered = sorted(values)
        quarter = len(ordered) // 4
        return cls(statistics.median(ordered), (ordered[quarter], ordered[-1 - quarter]), ordered[0], ordered[-1])

    def __str__(self) -> str:
        low, high = self.half
        return f"{self.median:.2f} ({low:.2f}-{high:.2f}, {self.low:.2f}-{self.high:.2f})"


@dataclass(frozen=True)
class Goal:
    """Up to where a figure is good: it has to be at most `limit`, or at least."""

    limit: float
    at_least: bool = False
    unit: str = ""

    def met(self, figure: float) -> bool:
        """Whether a figure is on the right side."""
        return figure >= self.limit if self.at_least else figure <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One figure: `ours` and `against` as text, `ratio` of ours to theirs; `met` is None without a goal."""

    what: str
    ours: str
    against: str = ""
    ratio: Spread | None = None
    goal: Goal | None = None
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """The texts of the row in the order of COLUMNS."""
        return (
            self.what,
            self.ours,
            self.against,
            str(self.ratio or ""),
            str(self.goal or ""),
            {None: "", True: "yes", False: "NO"}[self.met],
        )


def compare(
    what: str,
    ours: Sequence[float],
    against: Sequence[float],
    show: Callable[[float], str],
    *,
    name: str = "",
    goal: Goal | None = None,
) -> Result:
    """The result of measurements that were taken in pairs; `name` says what the others are."""
    ratio = Spread.of([mine / other for mine, other in zip(ours, against, strict=True)])
    return Result(
        what=what,
        ours=show(statistics.median(ours)),
        against=f"{name} {show(statistics.median(against))}".strip(),
        ratio=ratio,
        goal=goal,
        met=None if goal is None else goal.met(ratio.median),
    )


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that as many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[-(-len(ordered) * percent // 100) - 1]


def rate(value: float) -> str:
    """Requests a second as text."""
    return f"{value:,.0f}/s"


def seconds(value: float) -> str:
    """A time as text, in milliseconds where it is short."""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.3g} ms"


def size(value: float) -> str:
    """Bytes as text."""
    return f"{value / 1000:.1f} kB"


def table(results: Sequence[Result]) -> Table:
    """All results as a table for the terminal."""
    shown = Table(*COLUMNS)
    for result in results:
        style = "bold red" if result.met is False else ""
        shown.add_row(*(Text(cell) for cell in result.cells()), style=style)
    return shown


def markdown(results: Sequence[tuple[str, Result]], facts: Sequence[str]) -> str:
    """All results as a page: facts of the machine, then a table in which each figure has its command."""
    rows = [
        (f"`{command}`", *(cell.replace("|", "\\|") for cell in result.cells())) for command, result in results
    ]
    header = ("command", *COLUMNS)
    lines = ["# What it measured", "", *(f"- {fact}" for fact in facts), ""]
    lines += ["| " + " | ".join(cells) + " |" for cells in (header, ("---",) * len(header), *rows)]
    return "\n".join(lines) + "\n"
