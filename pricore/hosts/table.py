"""The kinds of Git hosts that there are, a line for each: what is known of one is in its own file."""

from collections.abc import Mapping, Sequence
from typing import Final

from pricore.errors import InvalidError
from pricore.hosts.bitbucket import BITBUCKET
from pricore.hosts.git import GIT
from pricore.hosts.gitea import GITEA
from pricore.hosts.github import GITHUB
from pricore.hosts.gitlab import GITLAB
from pricore.hosts.provider import Provider

_ALL: Final = (
    GITHUB,
    GITLAB,
    BITBUCKET,
    GITEA,
    GIT,
)

PROVIDERS: Final[Mapping[str, Provider]] = {item.name: item for item in _ALL}
"""Each by its name. The last is for all hosts that are none of the others."""

_BY_ANY_NAME: Final = {**PROVIDERS} | {alias: item for item in _ALL for alias in item.aliases}
_BY_HOME: Final = {item.home: item for item in _ALL if item.home is not None}


def _list(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


NAMES: Final = _list([*PROVIDERS])
"""All names, for people."""

NAMES_WITH_API: Final = _list([name for name, item in _BY_ANY_NAME.items() if item.api is not None])
"""The names of those that can be asked for what somebody has there, for people."""


def find_provider(name: str) -> Provider | None:
    """The provider of a name or an alias."""
    return _BY_ANY_NAME.get(name)


def get_provider(name: str) -> Provider:
    """The provider of a name or an alias. Raises InvalidError, which lists those that there are."""
    found = _BY_ANY_NAME.get(name)
    if found is None:
        raise InvalidError(
            f"there is no provider {name[:80]}; choose one of {', '.join(_BY_ANY_NAME)}", field="provider"
        )
    return found


def provider_at(host: str) -> Provider:
    """The provider that is at a host, given in lower case, as far as anybody can tell."""
    return _BY_HOME.get(host, GIT)
