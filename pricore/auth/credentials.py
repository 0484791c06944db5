"""What organizations log in to their Git hosts with: tokens and SSH keys, sealed in the database."""

import asyncio
import logging
from typing import Final
from uuid import uuid4

import msgspec

from pricore.auth.sealing import Sealer
from pricore.config import Config
from pricore.errors import GitError, InvalidError, SealError
from pricore.hosts.addresses import host_of, login_place, parse_host
from pricore.hosts.provider import Instance
from pricore.hosts.table import provider_at
from pricore.models import Credential, Login, Organization, Repository
from pricore.remotes import ssh_agent
from pricore.remotes.access import Access, may_use
from pricore.remotes.network_guard import find_outside
from pricore.store import Store
from pricore.system.clock import now

_log = logging.getLogger("pricore.credentials")

_MOST_NAME: Final = 64
_MOST_USERNAME: Final = 255
_MOST_TOKEN: Final = 8192


class Credentials:
    """The credentials of all organizations; each is for one host, with its port, and goes to no other."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._table = store.credentials
        self._sealer = sealer

    async def add_https(
        self,
        organization: Organization,
        name: str,
        *,
        host: str,
        token: str,
        username: str | None = None,
        plain: bool = False,
    ) -> Credential:
        """Keep a user and a token; a `plain` one may also go over http://.

        Raises InvalidError for what cannot be one, ConflictError where the name is taken, SealError.
        """
        host = parse_host(host, "https")
        made = Credential(
            id=str(uuid4()),
            organization_id=organization.id,
            name=_check_name(name),
            kind="https",
            host=host,
            username=_check_username(username or provider_at(host).username),
            public_key=None,
            plain=plain,
            created_at=now(),
        )
        await self._table.add(made, await self._seal(made.id, _check_token(token)))
        return made

    async def add_ssh(self, organization: Organization, name: str, *, host: str) -> Credential:
        """Make a key; its public half is for the host. Raises what `add_https` does."""
        private, public = ssh_agent.create_key(f"pricore-{organization.slug}-{_check_name(name)}")
        made = Credential(
            id=str(uuid4()),
            organization_id=organization.id,
            name=name,
            kind="ssh",
            host=parse_host(host, "ssh"),
            username="",
            public_key=public,
            plain=False,
            created_at=now(),
        )
        await self._table.add(made, await self._seal(made.id, private))
        return made

    async def change(self, credential: Credential, *, token: str, username: str | None = None) -> None:
        """Put another token in the place of one. Raises InvalidError, also for a key, NotFoundError, SealError."""
        if credential.kind != "https":
            raise InvalidError(
                f"{credential.name} is an SSH key, which doesn't change: add another one", field="name"
            )
        username = _check_username(username or credential.username)
        sealed = await self._seal(credential.id, _check_token(token))
        await self._table.change(credential, sealed, username=username)

    async def find(self, repository: Repository) -> Login | None:
        """What a repository is read with; None where its organization has nothing for it.

        Raises GitError where it was given a credential that isn't for its address, and SealError.
        """
        chosen = await self.choose(repository)
        return None if chosen is None else await self.login(chosen)

    async def for_api(
        self, organization: Organization, instance: Instance, name: str | None = None
    ) -> Login | None:
        """What a provider's API is asked with: the credential of that name, else the oldest for the host, or None.

        Raises NotFoundError where there is none of that name, InvalidError where it isn't for the host, SealError.
        """
        if name is not None:
            return await self.login(check_use(await self._table.get(organization, name), f"{instance.url}/"))
        chosen = await self._table.of_host(organization.id, kind="https", host=instance.host, plain=instance.plain)
        return None if chosen is None else await self.login(chosen)

    async def choose(self, repository: Repository) -> Credential | None:
        """The credential that a repository was given, else the oldest of its organization for the host.

        None where there is none for its address, as there is for no http:// address without one that is plain.
        Raises GitError where it was given one that isn't for its address.
        """
        if repository.credential_id is not None:
            given = await self._table.find(repository.credential_id)
            if given is not None:
                try:
                    return check_use(given, repository.url)
                except InvalidError as error:
                    raise GitError(f"cannot read {repository.url}: {error}") from None
        place = login_place(repository.url)
        if place is None:
            return None
        scheme, host = place
        kind = "ssh" if scheme == "ssh" else "https"
        return await self._table.of_host(repository.organization_id, kind=kind, host=host, plain=scheme == "http")

    async def login(self, credential: Credential) -> Login:
        """A credential with its secret. Raises SealError, which doesn't say where this server keeps its key."""
        sealed = await self._table.sealed(credential.id)
        try:
            if sealed is None:
                raise SealError("it was removed")
            # in a thread: it reads a file, and loads a library the first time
            secret = await asyncio.to_thread(self._sealer.open, sealed, purpose=credential_purpose(credential.id))
        except SealError as error:
            _log.info("the credential %s (%s) cannot be opened: %s", credential.name, credential.host, error)
            raise SealError(
                f"the credential {credential.name} cannot be opened: put the key that seals secrets back "
                "from a backup, or add the credential again"
            ) from None
        return Login(
            name=credential.name,
            kind=credential.kind,
            host=credential.host,
            username=credential.username,
            plain=credential.plain,
            secret=secret,
        )

    async def _seal(self, credential_id: str, secret: str) -> bytes:
        return await asyncio.to_thread(self._sealer.seal, secret, purpose=credential_purpose(credential_id))


def check_use(credential: Credential, url: str) -> Credential:
    """Refuse with InvalidError a credential that isn't for an address."""
    if may_use(url, credential):
        return credential
    protocols = "http:// and https://" if credential.plain else f"{credential.kind}://"
    reason = f"the credential {credential.name} is for {protocols} at {credential.host} alone"
    if may_use(url, msgspec.structs.replace(credential, plain=True)):
        reason += ": anybody on the way could read it, unless it is added with --plain-http"
    raise InvalidError(reason, field="credential")


def credential_purpose(credential_id: str) -> str:
    """What a credential's secret is sealed for."""
    return f"credential:{credential_id}"


def _check_name(name: str) -> str:
    allowed = name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    if not allowed or not name[0].isalnum() or len(name) > _MOST_NAME or name == "none":
        raise InvalidError(
            f"{name[:80]!r} is no name of a credential: up to {_MOST_NAME} letters, digits, dots, dashes and "
            "underscores, beginning with a letter or digit, and not `none`",
            field="name",
        )
    return name


def _check_username(username: str) -> str:
    # a line break would be another line of git's protocol for credentials, a colon ends the user in HTTP's
    if not username.isprintable() or ":" in username or not username.strip() or len(username) > _MOST_USERNAME:
        raise InvalidError(
            f"the user must have up to {_MOST_USERNAME} characters that can be shown, and no colon",
            field="username",
        )
    return username


def _check_token(token: str) -> str:
    """A token without blanks around it. Raises InvalidError, which doesn't show it."""
    token = token.strip()
    if not token or not token.isprintable() or len(token) > _MOST_TOKEN:
        raise InvalidError(
            f"the token must be one line of up to {_MOST_TOKEN} characters that can be shown, and not empty",
            field="token",
        )
    return token


async def find_access(store: Store, config: Config, repository: Repository) -> Access:
    """How a repository may be read: a confined one at the addresses of its host, one of the operator's anywhere.

    Without a credential of its organization's, a confined one is read without any login: those that the user has
    are the operator's.

    Asked each time: what the host's name leads to may have changed since the repository was added. Raises
    GitError, SealError.
    """
    only = None
    if repository.confined:
        only = await find_outside(host_of(repository.url), allowed=config.internal_hosts)
    login = await Credentials(store, Sealer(config.key)).find(repository)
    return Access(only=only, login=login, known_hosts=config.known_hosts, proxy=config.git_proxy)
