"""Quantities as people write them: intervals (10m), ages (90d), sizes (500M)."""

import re
from typing import Final

from pricore.errors import InvalidError

LONGEST_INTERVAL: Final = 31 * 24 * 3600


def parse_interval(text: str) -> int | None:
    """An interval, seconds: a number of them, or 10m, 2h, 1d; 0 or off for none; None for `default`.

    Raises InvalidError for anything else, and for more than 31 days.
    """
    if text == "default":
        return None
    if text == "off":
        return 0
    match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    seconds = int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]] if match else -1
    if not 0 <= seconds <= LONGEST_INTERVAL:
        raise InvalidError(
            f"{text[:40]!r} is no interval such as 10m or 2h, up to 31d; off is none, default as the one above",
            field="sync_interval",
        )
    return seconds


def parse_size(text: str, *, field: str) -> int:
    """A size, bytes: a number of them, or 500M, 5G. Raises InvalidError for anything else."""
    match = re.fullmatch(r"([0-9]{1,9})([KMGT]?)", text)
    if match is None:
        raise InvalidError(f"{text[:40]!r} is no size such as 500M or 5G", field=field)
    return int(match[1]) * {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}[match[2]]


def parse_age(text: str, *, field: str) -> int:
    """A span of time, seconds: 12h, 90d, 8w. Raises InvalidError for anything else."""
    match = re.fullmatch(r"([0-9]{1,5})([smhdw])", text)
    if match is None:
        raise InvalidError(f"{text[:40]!r} is no span of time such as 90d or 8w", field=field)
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}[match[2]]
