"""Access tokens as they are known: what they may do, where, and what they see there."""

from collections.abc import Hashable
from typing import Final

import msgspec

from pricore.rights.visibility import ALL, Reach, Rights

_MOST_SEEN: Final = 1000


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """An access token; its secret is known to nobody but its holder.

    `reach` has what it sees of each of its organizations, by their slugs, the one first that it was made in; an
    `instance` token has none, and sees them all. `seen` is what it was shown of paths of which it doesn't see all:
    that lasts as long as what is known of it, which ends with any change. `last_used_from` is a network address,
    and `last_used_by` what the client called itself. Until `former_until` its secret before the present one is
    good, too.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    instance: bool
    reach: Reach
    expires_at: int | None
    last_used_at: int | None
    created_at: int
    last_used_from: str | None = None
    last_used_by: str | None = None
    former_until: int | None = None
    seen: dict[str, Hashable] = msgspec.field(default_factory=dict)

    @property
    def organization(self) -> str | None:
        """The slug of the organization that it was made in; None for an instance token."""
        return next(iter(self.reach), None)

    @property
    def organizations(self) -> list[str]:
        """The slugs of all its organizations."""
        return list(self.reach)

    def rights(self, organization: str) -> Rights | None:
        """What it sees of an organization, given by its slug; None where it has nothing to do with it."""
        return ALL if self.instance else self.reach.get(organization)

    def sees_all(self, organization: str | None) -> bool:
        """Whether nothing of an organization is left out for it, given by its slug; for None, of none at all."""
        if self.instance:
            return True
        if organization is None:
            return False
        rights = self.reach.get(organization)
        return rights is not None and rights.whole

    def show(self, path: str, shown: Hashable) -> None:
        """Remember what it was shown of a path."""
        if len(self.seen) >= _MOST_SEEN:  # clients choose paths
            self.seen.clear()
        self.seen[path] = shown

    def with_sources(self) -> "Token":
        """The same, with the addresses of sources in what it is shown."""
        reach = {
            slug: Rights(rights.layers, sources=True, since=rights.since) for slug, rights in self.reach.items()
        }
        return msgspec.structs.replace(self, reach=reach)
