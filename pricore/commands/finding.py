"""How commands find what is named: by its id, the beginning of that, or any name that means one thing alone.

What means several is refused with all of them, and what means nothing with what may have been meant.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from pricore.commands.session import shorten
from pricore.errors import ConflictError, InvalidError, NotFoundError
from pricore.hosts.addresses import parse_address
from pricore.models import Credential, Organization, Package, Repository, Version
from pricore.rights.tokens import Token
from pricore.store import Store

T = TypeVar("T")

_LEAST_PREFIX: Final = 4
"""Characters of an id that are taken for it."""

_MOST_SHOWN: Final = 10


async def find_organization(store: Store, slug: str) -> Organization:
    """The organization of that slug. Raises NotFoundError, which names the data folder: it may be another one."""
    found = await store.organizations.find(slug)
    if found is not None:
        return found
    meant = guess(slug, [item.slug for item in await store.organizations.all()])
    raise NotFoundError(
        f"there is no organization {slug} in {store.path.parent}{meant}; `pricore org list` shows those there are"
    )


async def find_repository(store: Store, organization: Organization, text: str) -> Repository:
    """The repository that an id, a name, a package of it, or any way to write its address means.

    Raises NotFoundError, and ConflictError where it means several.
    """
    try:
        key = parse_address(text).key
    except InvalidError:
        key = ""  # an id or a name, then
    with suppress(NotFoundError, ConflictError):
        return await store.repositories.get(organization, text, url_key=key)
    packages: dict[str, list[str]] = {}
    for package in await store.packages.of_organization(organization.id):
        packages.setdefault(package.repository_id or "", []).append(package.name)
    return _choose(
        text,
        await store.repositories.of_organization(organization.id),
        item_id=lambda item: item.id,
        names=lambda item: (
            [item.identifier, item.url],
            [
                *_ends(item.identifier),
                *(name for full in packages.get(item.id, ()) for name in (full, _last(full))),
            ],
        ),
        what="repositories",
        missing=f"{organization.slug} follows no repository {text}",
        advice=f"`pricore repo list {organization.slug}` shows those it follows",
    )


async def find_repositories(
    store: Store, organization: Organization, texts: Sequence[str] | None
) -> list[Repository]:
    """Those that texts mean, as in `find_repository`; all of the organization's for none."""
    if not texts:
        return await store.repositories.of_organization(organization.id)
    return [await find_repository(store, organization, text) for text in texts]


async def find_package(store: Store, organization: Organization, text: str) -> Package:
    """The package of that name, id, or name without its vendor. Raises NotFoundError, ConflictError."""
    found = await store.packages.find(organization.id, text)
    if found is not None:
        return found
    return _choose(
        text,
        await store.packages.of_organization(organization.id),
        item_id=lambda item: item.id,
        names=lambda item: ([item.name], [_last(item.name)]),
        what="packages",
        missing=f"{organization.slug} has no package {text}",
        advice=f"`pricore package list {organization.slug}` shows those it has",
    )


async def find_version(store: Store, organization: Organization, package: Package, text: str) -> Version:
    """A version of a package in any form that means the same. Raises NotFoundError."""
    found = await store.packages.find_version(package, text)
    if found is not None:
        return found
    meant = guess(text, [item.version for item in await store.packages.versions(package)])
    raise NotFoundError(
        f"{package.name} has no version {text}{meant}; "
        f"`pricore package show {organization.slug} {package.name}` shows those it has"
    )


async def find_token(store: Store, organization: Organization | None, text: str) -> Token:
    """The access token of that id or name; of the instance for None. Raises NotFoundError, ConflictError."""
    return _choose(
        text,
        await store.tokens.of_organization(organization.id if organization else None),
        item_id=lambda item: item.id,
        names=lambda item: ([item.name], []),
        what="tokens",
        missing=f"{organization.slug if organization else 'this instance'} has no token {text}",
        advice=f"`pricore token list {organization.slug if organization else '--instance'}` shows those it has",
    )


async def find_credential(store: Store, organization: Organization, text: str) -> Credential:
    """The credential of that name or id. Raises NotFoundError."""
    return _choose(
        text,
        await store.credentials.of_organization(organization.id),
        item_id=lambda item: item.id,
        names=lambda item: ([item.name], []),
        what="credentials",
        missing=f"{organization.slug} has no credential {text[:80]}",
        advice=f"`pricore credential list {organization.slug}` shows those it has",
    )


async def find_lock(store: Store, organization: Organization, text: str) -> str:
    """The name of the registered lock file of that name. Raises NotFoundError."""
    found = await store.locks.of_organization(organization)
    return _choose(
        text,
        found,
        item_id=lambda item: item.id,
        names=lambda item: ([item.name], []),
        what="locks",
        missing=f"{organization.slug} has no lock {text}",
        advice=f"`pricore lock list {organization.slug}` shows those it has",
    ).name


def guess(text: str, names: Iterable[str]) -> str:
    """Which of the names may have been meant, as a part of an error; empty where none is like it."""
    from difflib import get_close_matches  # only an error pays for it

    known = {name.lower(): name for name in names}
    close: list[str] = []
    for name in get_close_matches(text.lower(), known, n=3):
        # `library` and `acme/library` are one guess: the one that is more like it
        if not any(
            f"/{one}".endswith(f"/{other}") for kept in close for one, other in ((name, kept), (kept, name))
        ):
            close.append(known[name])
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def _choose(
    text: str,
    items: Sequence[T],
    *,
    item_id: Callable[[T], str],
    names: Callable[[T], tuple[Sequence[str], Sequence[str]]],
    what: str,
    missing: str,
    advice: str,
) -> T:
    """The one of some items that a text means.

    `names` gives its names, and those that others can have as well: what is found by the first isn't looked for by
    the second. Raises ConflictError with the candidates, NotFoundError with what is like it.
    """
    folded = text.lower()
    by_id = [item for item in items if item_id(item) == text]
    exact = [item for item in items if text in names(item)[0]]
    loose = [item for item in items if any(folded == name.lower() for part in names(item) for name in part)]
    begun = [item for item in items if len(text) >= _LEAST_PREFIX and item_id(item).startswith(folded)]
    found = by_id or exact or loose or begun
    if len(found) == 1:
        return found[0]
    if found:
        short = shorten(map(item_id, items))
        shown = [f"{short[item_id(item)]} ({names(item)[0][0]})" for item in found[:_MOST_SHOWN]]
        more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
        raise ConflictError(f"{text} means {len(found)} {what}: {', '.join(shown)}{more}; give one of these ids")
    meant = guess(text, [name for item in items for part in names(item) for name in part])
    raise NotFoundError(f"{missing}{meant}; {advice}")


def _ends(path: str) -> list[str]:
    """The last part of a path, the last two, and so on."""
    parts = path.rstrip("/").removesuffix(".git").strip("/").split("/")
    return ["/".join(parts[-count:]) for count in range(1, len(parts) + 1)]


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].removesuffix(".git")
