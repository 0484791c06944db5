"""Credentials: which repositories are read with one, and whether it opens what it is for."""

from typing import TYPE_CHECKING

from msgspec.structs import force_setattr

from pricore.auth.credentials import check_use, find_access
from pricore.errors import GitError, NotFoundError
from pricore.hosts.addresses import parse_address
from pricore.models import Credential, Repository
from pricore.remotes.access import Access
from pricore.services.views import Id, Time, View

if TYPE_CHECKING:
    from pricore.services.opening import Services


class CredentialView(View, frozen=True, kw_only=True, rename={"plain": "plain_http"}):
    """A credential without its secret; `plain_http` ones may also go over http://."""

    id: Id
    name: str
    kind: str
    host: str
    username: str | None
    public_key: str | None
    plain: bool
    created_at: Time

    def __post_init__(self) -> None:
        force_setattr(self, "username", self.username or None)


async def find_readers(services: "Services", credential: Credential) -> list[Repository]:
    """The repositories that are read with a credential."""
    found = []
    for repository in await services.store.repositories.of_organization(credential.organization_id):
        try:
            chosen = await services.credentials.choose(repository)
        except GitError:  # it was given one that isn't for its address
            continue
        if chosen is not None and chosen.id == credential.id:
            found.append(repository)
    return found


async def try_credential(services: "Services", credential: Credential, url: str | None) -> tuple[str, int]:
    """List a repository with a credential: the one at a URL, or for None the first that is read with it.

    Gives its address, and how many branches and tags it has. Raises NotFoundError where none is read with it,
    InvalidError where it isn't for the URL, GitError where it doesn't open it, SealError.
    """
    config = services.config
    if url is None:
        for repository in await find_readers(services, credential):
            address, access = repository.url, await find_access(services.store, config, repository)
            break
        else:
            raise NotFoundError(f"no repository is read with {credential.name} yet; give the URL of one")
    else:
        address = parse_address(url).url
        login = await services.credentials.login(check_use(credential, address))
        access = Access(login=login, known_hosts=config.known_hosts, proxy=config.git_proxy)
    return address, len((await services.git.ls_remote(address, access=access)).refs)
