"""Time in the form that is kept and shown: whole seconds since 1970, RFC 3339 in UTC."""

import time
from datetime import UTC, datetime


def now() -> int:
    """The current time, seconds."""
    return int(time.time())


def rfc3339(seconds: int) -> str:
    """2027-01-01T00:00:00Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
