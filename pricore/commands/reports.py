"""What syncs found and do, in words for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pricore.commands.session import describe, print_table, printable
from pricore.models import Progress, SyncRun

if TYPE_CHECKING:
    from rich.console import Console

    from pricore.sync.report import Report


def print_report(console: "Console", report: "Report") -> None:
    """What a sync found, for people."""

    def say(text: str) -> None:
        console.print(printable(text), markup=False, soft_wrap=True)

    if not (report.read or report.added or report.removed or report.kept):
        say(f"{report.repository}: nothing new")
    else:
        say(f"{report.repository}: {', '.join(report.packages) or 'no packages'}")
        for verb, items in (
            ("added", report.added),
            ("updated", report.updated),
            ("removed", report.removed),
            ("kept, though their tags are gone upstream", report.kept),
            ("back upstream", report.back),
            ("unchanged, though their tags moved", report.moved),
        ):
            if items:
                several = len(report.packages) > 1
                names = ", ".join(item if several else item.partition(":")[2] for item in items[:10])
                more = f" and {len(items) - 10} more" if len(items) > 10 else ""
                say(f"  {len(items)} {verb}: {names}{more}")
    for note in report.notes:
        say(f"  note: {note}")
    if report.left_out:
        print_table(console, ("left out", "why"), [(item.ref, item.reason) for item in report.left_out])


def _names(versions: Sequence[str]) -> str:
    """The first versions by name: what is no more can be seen nowhere else."""
    names = [version.partition(":")[2] for version in versions[:3]]
    return ", ".join(names) + (f" and {len(versions) - 3} more" if len(versions) > 3 else "") or "0"


def describe_progress(doing: Progress) -> str:
    """A progress in words, such as "Making checksums, 12 of 646"."""
    far = f", {doing.done} of {doing.total} ({100 * doing.done // doing.total}%)" if doing.total else ""
    return describe(doing.step, doing.received) + far


def describe_run(run: SyncRun) -> str | None:
    """What came of a sync, in words."""
    outcome = run.outcome
    counts: dict[str, Sequence[object]] = {
        "added": outcome.added,
        "updated": outcome.updated,
        "kept": outcome.kept,
    }
    counts["left out"] = outcome.left_out
    parts = [f"{len(items)} {what}" for what, items in counts.items() if items]
    if outcome.removed:
        parts.append(f"{len(outcome.removed)} removed ({_names(outcome.removed)})")
    return "; ".join([*([", ".join(parts)] if parts else []), *([run.error] if run.error else [])]) or None
