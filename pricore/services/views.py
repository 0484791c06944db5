"""What views are made of: records as the outside sees them, in the API and in the CLI's --json.

Each view stands with its subject, in repositories.py and so on. It has the attributes of its record by name;
`rename` has the names outside where those are others.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self

import msgspec

from pricore.config import VANISHED
from pricore.hosts.table import PROVIDERS
from pricore.models import LOCK_NAME, SCOPES


def one_of(*values: str) -> msgspec.Meta:
    """What is one of these texts. For documentation: what comes in is checked by rules with better words."""
    return msgspec.Meta(extra_json_schema={"enum": list(values)})


Id = Annotated[str, msgspec.Meta(extra_json_schema={"format": "uuid"})]
Time = Annotated[datetime, msgspec.Meta(extra_json_schema={"format": "date-time"})]
Day = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date"})]
Scope = Annotated[str, one_of(*SCOPES)]
ProviderName = Annotated[str, one_of(*PROVIDERS)]
LockName = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{LOCK_NAME}$"})]
Vanished = Annotated[str, one_of(*VANISHED)]
Interval = Annotated[int, msgspec.Meta(ge=0, le=31 * 24 * 3600)]
Name = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": 255})]


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What the outside sees of a record."""

    @classmethod
    def of(cls, record: object, **more: object) -> Self:
        """The view of a record; `more` are attributes that it doesn't have itself."""
        whole = _Extended(record, more) if more else record
        return msgspec.convert(whole, cls, strict=False, from_attributes=True)  # not strict: numbers are times


class _Extended:
    """A record with more attributes."""

    def __init__(self, record: object, more: Mapping[str, object]) -> None:
        self._record = record
        self._more = more

    def __getattr__(self, name: str) -> Any:
        return self._more[name] if name in self._more else getattr(self._record, name)
