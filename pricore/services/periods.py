"""Periods that statistics are asked for: from a day to a day."""

from datetime import UTC, date, datetime
from typing import Final

from pricore.errors import InvalidError

_MOST_DAYS: Final = 366
_DAYS: Final = 30


def parse_period(first: str | None, last: str | None, *, at: int) -> tuple[date, date]:
    """The first and the last day that statistics are asked for, both included: up to today at `at`, for 30 days.

    Raises InvalidError for what is no date, for an end before the beginning, and for more than 366 days.
    """
    to = datetime.fromtimestamp(at, UTC).date() if last is None else _parse_date(last, field="to")
    if first is None:
        return date.fromordinal(max(1, to.toordinal() - _DAYS + 1)), to
    since = _parse_date(first, field="from")
    if since > to:
        raise InvalidError(f"{since} is after {to}", field="from" if last is None else "to")
    if (to - since).days >= _MOST_DAYS:
        raise InvalidError(f"from {since} to {to} is more than {_MOST_DAYS} days", field="from")
    return since, to


def _parse_date(text: str, *, field: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.isoformat() != text:  # Python takes weeks too
        raise InvalidError(f"{text[:40]!r} is not a date such as 2027-01-01", field=field)
    return found
