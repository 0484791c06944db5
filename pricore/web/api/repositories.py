"""Repositories that are followed, and the history of their syncs."""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from pricore.auth import access_tokens
from pricore.config import VANISHED
from pricore.errors import ForbiddenError, GitError, InvalidError, NotFoundError
from pricore.hosts.addresses import (
    Address,
    change_address,
    host_of,
    parse_address,
)
from pricore.models import Organization, Repository, SyncRun, Token
from pricore.remotes.network_guard import find_outside
from pricore.services import management, views
from pricore.services.opening import Services
from pricore.services.views import (
    Interval,
    ProviderName,
    RepositoryView,
    SyncRunView,
    Vanished,
)
from pricore.sync.progress import follow
from pricore.sync.queue import Queue
from pricore.web.api.organizations import find_organization
from pricore.web.api.routing import (
    Call,
    Data,
    Message,
    Page,
    PageQuery,
    Route,
)
from pricore.web.api.streams import Events

_NOT_SEEN: Final = "the reason can name packages that this access token does not see"


class NewRepository(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A repository to follow: its URL, or owner/name with a provider; a provider of null is read off the URL.

    `paths` are the folders that are packages, such as packages/*; none where the repository is one package.
    """

    url: str
    provider: ProviderName | None = None
    paths: list[str] = []


class RepositoryChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be changed of a repository; what is not given stays.

    `sync_interval` are the seconds between two looks at it, 0 for none; null follows its organization.
    `vanished_versions` says what becomes of releases whose tag is gone; null follows the instance. `paths` are the
    folders that are packages.
    """

    url: str | UnsetType = UNSET
    provider: ProviderName | UnsetType | None = UNSET
    sync_interval: Interval | UnsetType | None = UNSET
    vanished_versions: Vanished | UnsetType | None = UNSET
    paths: list[str] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if all(getattr(self, name) is UNSET for name in self.__struct_fields__):
            raise InvalidError(f"give one of {', '.join(self.__struct_fields__)}", field="url")
        if self.vanished_versions not in (UNSET, None, *VANISHED):
            raise InvalidError(f"choose one of {', '.join(VANISHED)}, or null", field="vanished_versions")


def routes(services: Services, queue: Queue) -> list[Route]:
    """The routes of repositories."""
    store, syncer, config = services.store, services.syncer, services.config

    async def visible(token: Token, organization: Organization, found: list[Repository]) -> list[Repository]:
        """Those of an organization's repositories that a token may know of.

        For a restricted one, that are those that its packages come from.
        """
        if token.packages is None or not found:
            return found
        owners = await store.packages.owners(organization.id, token.packages)
        ids = {repository_id for repository_id, _ in owners.values()}
        return [item for item in found if item.id in ids]

    async def find_repository(call: Call) -> Repository:
        """The repository in a call's path. Raises NotFoundError where the token may not know of it."""
        organization = await find_organization(store, call)
        item = await store.repositories.find(call.path["id"])
        own = [] if item is None or item.organization_id != organization.id else [item]
        for found in await visible(call.token, organization, own):
            return found
        raise NotFoundError(access_tokens.NOT_HERE)

    async def check_outside(address: Address) -> None:
        """Refuse with InvalidError a host on the inside, and one that isn't found."""
        try:
            await find_outside(host_of(address.url), allowed=config.internal_hosts)
        except GitError as error:
            raise InvalidError(str(error), field="url") from None

    async def list_repositories(call: Call) -> Data[list[RepositoryView]]:
        organization = await find_organization(store, call)
        found = await store.repositories.of_organization(organization.id)
        return Data([_repository(item, call.token) for item in await visible(call.token, organization, found)])

    async def get_repository(call: Call) -> Data[RepositoryView]:
        return Data(_repository(await find_repository(call), call.token))

    async def add_repository(call: Call) -> Data[RepositoryView]:
        wanted: NewRepository = call.body
        organization = await find_organization(store, call)
        _check_unrestricted(call.token)
        address = parse_address(wanted.url, wanted.provider, folders=False)
        await check_outside(address)
        paths = management.parse_paths(wanted.paths)
        made = await store.repositories.add(organization, address, paths=paths, confined=True, queued=True)
        queue.notify()
        return Data(RepositoryView.of(made))

    async def change_repository(call: Call) -> Data[RepositoryView]:
        wanted: RepositoryChange = call.body
        found = await find_repository(call)
        _check_unrestricted(call.token)
        paths = () if wanted.paths is UNSET else management.parse_paths(wanted.paths)
        if wanted.url is not UNSET or wanted.provider is not UNSET:
            await change_place(found, wanted)
        if wanted.sync_interval is not UNSET:
            await store.schedule.set_interval(found.organization_id, found.id, wanted.sync_interval)
        if wanted.paths is not UNSET:
            await store.repositories.set_paths(found.id, paths)
        if wanted.vanished_versions is not UNSET:
            await store.repositories.set_vanished(found.id, wanted.vanished_versions)
        queue.notify()
        return Data(RepositoryView.of(await find_repository(call)))

    async def change_place(found: Repository, wanted: RepositoryChange) -> None:
        url = None if wanted.url is UNSET else wanted.url
        address = change_address(found, url=url, provider=wanted.provider, folders=False)
        if url is not None:
            await check_outside(address)
        # the operator's own address stays what it is where only the provider is another
        await store.repositories.change(found, address, confined=found.confined or url is not None)

    async def delete_repository(call: Call) -> Message:
        found = await find_repository(call)
        _check_unrestricted(call.token)
        await syncer.remove(found)
        return Message("Repository deleted successfully")

    async def sync_repository(call: Call) -> Message:
        await queue.add((await find_repository(call)).id)
        return Message("Sync queued successfully")

    async def list_sync_runs(call: Call) -> Page[SyncRunView]:
        query: PageQuery = call.query
        repository = await find_repository(call)
        found, total = await store.runs.of_repository(repository.id, limit=query.per_page, offset=query.offset)
        items = [await follow(store, config.repositories, repository.id, item) for item in found]
        return Page([_sync_run(item, call.token) for item in items], query.meta(total))

    async def find_run(call: Call) -> tuple[Repository, SyncRun]:
        """The run in a call's path, as it is on record. Raises NotFoundError."""
        repository = await find_repository(call)
        found = await store.runs.find(repository.id, call.path["run"])
        if found is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        return repository, found

    async def get_sync_run(call: Call) -> Data[SyncRunView]:
        repository, found = await find_run(call)
        return Data(_sync_run(await follow(store, config.repositories, repository.id, found), call.token))

    async def watch_sync_run(call: Call) -> Events[SyncRunView]:
        seen = store.changes()  # before it is read: what comes in between is seen by the next look
        repository, found = await find_run(call)

        async def look(token: Token) -> SyncRunView:
            nonlocal seen, repository, found
            if (newest := store.changes()) != seen:
                repository, found = await find_run(msgspec.structs.replace(call, token=token))
                seen = newest
            return _sync_run(await follow(store, config.repositories, repository.id, found), token)

        return Events(look, lambda view: view.status not in ("queued", "running"))

    return [
        Route(
            method="GET",
            path="/api/organizations/{slug}/repositories",
            handler=list_repositories,
            scope="repositories:read",
            summary="List repositories",
        ),
        Route(
            method="POST",
            path="/api/organizations/{slug}/repositories",
            handler=add_repository,
            scope="repositories:write",
            summary="Follow a repository",
            body=NewRepository,
            status=201,
            errors=(409,),
        ),
        Route(
            method="GET",
            path="/api/organizations/{slug}/repositories/{id}",
            handler=get_repository,
            scope="repositories:read",
            summary="Get a repository",
        ),
        Route(
            method="PATCH",
            path="/api/organizations/{slug}/repositories/{id}",
            handler=change_repository,
            scope="repositories:write",
            summary="Change where a repository is, and by which rules it is followed",
            body=RepositoryChange,
            errors=(409,),
        ),
        Route(
            method="DELETE",
            path="/api/organizations/{slug}/repositories/{id}",
            handler=delete_repository,
            scope="repositories:write",
            summary="Stop following a repository, and serving its packages",
        ),
        Route(
            method="POST",
            path="/api/organizations/{slug}/repositories/{id}/sync",
            handler=sync_repository,
            scope="repositories:write",
            summary="Trigger a sync of a repository",
        ),
        Route(
            method="GET",
            path="/api/organizations/{slug}/repositories/{id}/sync-runs",
            handler=list_sync_runs,
            scope="repositories:read",
            summary="List the syncs of a repository",
            query=PageQuery,
        ),
        Route(
            method="GET",
            path="/api/organizations/{slug}/repositories/{id}/sync-runs/{run}",
            handler=get_sync_run,
            scope="repositories:read",
            summary="Get a sync of a repository",
        ),
        Route(
            method="GET",
            path="/api/organizations/{slug}/repositories/{id}/sync-runs/{run}/events",
            handler=watch_sync_run,
            scope="repositories:read",
            summary="Follow a sync of a repository to its end",
        ),
    ]


def _check_unrestricted(token: Token) -> None:
    """Refuse with ForbiddenError a restricted token: what a repository supplies may be what it cannot see."""
    if token.packages is not None:
        raise ForbiddenError(
            "the access token is restricted to packages, so that it cannot add, change or delete repositories"
        )


def _repository(item: Repository, token: Token) -> RepositoryView:
    view = RepositoryView.of(item)
    if token.packages is None or view.sync_error is None:
        return view
    return msgspec.structs.replace(view, sync_error=_NOT_SEEN)


def _sync_run(item: SyncRun, token: Token) -> SyncRunView:
    """A sync as a token may see it: a restricted one, only what became of its packages.

    A reason or a ref can tell of others, also of such that are no more.
    """
    view = views.sync_run(item)
    if token.packages is None:
        return view

    def seen(versions: Iterable[str]) -> list[str]:
        return [version for version in versions if access_tokens.may_see(token, version.partition(":")[0].lower())]

    return msgspec.structs.replace(
        view,
        error=None if view.error is None else _NOT_SEEN,
        progress=None if view.progress is None else msgspec.structs.replace(view.progress, done=0, total=0),
        read=0,
        added=seen(view.added),
        updated=seen(view.updated),
        removed=seen(view.removed),
        kept=seen(view.kept),
        moved=seen(view.moved),
        left_out=[],
        notes=[],
    )
