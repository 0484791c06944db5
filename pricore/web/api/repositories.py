"""Repositories that are followed, and the history of their syncs."""

from collections.abc import Iterable
from typing import Final

import msgspec

from pricore.auth import access_tokens
from pricore.errors import InvalidError, NotFoundError
from pricore.hosts.addresses import parse_address
from pricore.models import Organization, Repository, SyncRun
from pricore.rights.tokens import Token
from pricore.rights.visibility import Rights
from pricore.services import repositories, visible
from pricore.services.opening import Services
from pricore.services.paths import parse_paths
from pricore.services.repositories import RepositoryChange, RepositoryView, SyncRunView
from pricore.services.views import ProviderName
from pricore.sync.queue import Queue
from pricore.system.threads import DOCUMENTS
from pricore.web.api.finding import check_unrestricted, find_organization, rights_of
from pricore.web.api.routing import Call, Data, Message, Page, PageQuery, Route
from pricore.web.api.streams import Events

_NOT_SEEN: Final = "the reason can name packages that this access token does not see"
_CHANGING: Final = "add, change or delete repositories"
"""What a restricted token cannot do: what a repository supplies may be what it cannot see."""

_ALL: Final = "/api/organizations/{slug}/repositories"
_ONE: Final = f"{_ALL}/{{id}}"
_RUN: Final = f"{_ONE}/sync-runs/{{run}}"


class NewRepository(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A repository to follow: its URL, or owner/name with a provider; a provider of null is read off the URL.

    `paths` are the folders that are packages, such as packages/*; none where the repository is one package.
    """

    url: str
    provider: ProviderName | None = None
    paths: list[str] = []


class RepositoriesApi:
    """What the API does with repositories, whose addresses it takes from outside: none may reach inside."""

    def __init__(self, services: Services, queue: Queue) -> None:
        self._services = services
        self._store = services.store
        self._queue = queue

    def routes(self) -> list[Route]:
        """The routes of repositories."""
        read, write = "repositories:read", "repositories:write"
        return [
            Route("GET", _ALL, self.list_repositories, read, "List repositories"),
            Route(
                "POST",
                _ALL,
                self.add_repository,
                write,
                "Follow a repository",
                body=NewRepository,
                status=201,
                errors=(409,),
            ),
            Route("GET", _ONE, self.get_repository, read, "Get a repository"),
            Route(
                "PATCH",
                _ONE,
                self.change_repository,
                write,
                "Change where a repository is, and by which rules it is followed",
                body=RepositoryChange,
                errors=(409,),
            ),
            Route(
                "DELETE",
                _ONE,
                self.delete_repository,
                write,
                "Stop following a repository, and serving its packages",
            ),
            Route("POST", f"{_ONE}/sync", self.sync_repository, write, "Trigger a sync of a repository"),
            Route(
                "GET",
                f"{_ONE}/sync-runs",
                self.list_sync_runs,
                read,
                "List the syncs of a repository",
                query=PageQuery,
            ),
            Route("GET", _RUN, self.get_sync_run, read, "Get a sync of a repository"),
            Route("GET", f"{_RUN}/events", self.watch_sync_run, read, "Follow a sync of a repository to its end"),
        ]

    async def list_repositories(self, call: Call) -> Data[list[RepositoryView]]:
        organization = await find_organization(self._store, call)
        found = await self._store.repositories.of_organization(organization.id)
        seen = await self._visible(call.token, organization, found)
        return Data([_repository(item, rights_of(call)) for item in seen])

    async def get_repository(self, call: Call) -> Data[RepositoryView]:
        return Data(_repository(await self._find(call), rights_of(call)))

    async def add_repository(self, call: Call) -> Data[RepositoryView]:
        wanted: NewRepository = call.body
        organization = await find_organization(self._store, call)
        check_unrestricted(call, _CHANGING)
        address = parse_address(wanted.url, wanted.provider, folders=False)
        paths = parse_paths(wanted.paths)
        made = await repositories.add_repository(
            self._services, organization, address, paths=paths, confined=True, queued=True
        )
        self._queue.notify()
        return Data(RepositoryView.of(made))

    async def change_repository(self, call: Call) -> Data[RepositoryView]:
        wanted: RepositoryChange = call.body
        if wanted == RepositoryChange():
            raise InvalidError(f"give one of {', '.join(wanted.__struct_fields__)}", field="url")
        found = await self._find(call)
        check_unrestricted(call, _CHANGING)
        changed = await repositories.change_repository(self._services, found, wanted, confined=True)
        self._queue.notify()
        return Data(RepositoryView.of(changed))

    async def delete_repository(self, call: Call) -> Message:
        found = await self._find(call)
        check_unrestricted(call, _CHANGING)
        await self._services.syncer.remove(found)
        return Message("Repository deleted successfully")

    async def sync_repository(self, call: Call) -> Message:
        await self._queue.add((await self._find(call)).id)
        return Message("Sync queued successfully")

    async def list_sync_runs(self, call: Call) -> Page[SyncRunView]:
        query: PageQuery = call.query
        repository = await self._find(call)
        found, total = await repositories.list_runs(
            self._services, repository, limit=query.per_page, offset=query.offset
        )
        return Page([_sync_run(item, rights_of(call)) for item in found], query.meta(total))

    async def get_sync_run(self, call: Call) -> Data[SyncRunView]:
        now = await repositories.follow_run(self._services, *await self._find_run(call))
        return Data(_sync_run(now, rights_of(call)))

    async def watch_sync_run(self, call: Call) -> Events[SyncRunView]:
        seen = self._store.changes()  # before it is read: what comes in between is seen by the next look
        found = await self._find_run(call)

        async def look(token: Token) -> SyncRunView:
            nonlocal seen, found
            if (newest := self._store.changes()) != seen:
                found = await self._find_run(msgspec.structs.replace(call, token=token))
                seen = newest
            rights = access_tokens.rights_of(token, call.path["slug"])
            return _sync_run(await repositories.follow_run(self._services, *found), rights)

        return Events(look, lambda view: view.status not in ("queued", "running"))

    async def _visible(
        self, token: Token, organization: Organization, found: list[Repository]
    ) -> list[Repository]:
        """Those of an organization's repositories that a token may know of.

        For a restricted one, that are those that its packages come from.
        """
        rights = access_tokens.rights_of(token, organization.slug)
        if not rights.restricted or not found:
            return found
        packages = await self._store.packages.of_organization(organization.id)
        ids = await DOCUMENTS.for_all(
            len(packages), lambda: {item.repository_id for item in packages if rights.sees(item.name)}
        )
        return [item for item in found if item.id in ids]

    async def _find(self, call: Call) -> Repository:
        """The repository in a call's path. Raises NotFoundError where the token may not know of it."""
        organization = await find_organization(self._store, call)
        item = await self._store.repositories.find(call.path["id"])
        own = [] if item is None or item.organization_id != organization.id else [item]
        for found in await self._visible(call.token, organization, own):
            return found
        raise NotFoundError(access_tokens.NOT_HERE)

    async def _find_run(self, call: Call) -> tuple[Repository, SyncRun]:
        """The run in a call's path, as it is on record, with its repository. Raises NotFoundError."""
        repository = await self._find(call)
        found = await self._store.runs.find(repository.id, call.path["run"])
        if found is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        return repository, found


def _repository(item: Repository, rights: Rights) -> RepositoryView:
    view = RepositoryView.of(item)
    if not rights.restricted or view.sync_error is None:
        return view
    return msgspec.structs.replace(view, sync_error=_NOT_SEEN)


def _sync_run(item: SyncRun, rights: Rights) -> SyncRunView:
    """A sync as it may be seen: by who is restricted, only what became of the versions that they have.

    A reason or a ref can tell of others, also of such that are no more.
    """
    view = repositories.view_sync_run(item)
    if not rights.restricted:
        return view

    def seen(versions: Iterable[str]) -> list[str]:
        return [text for text in versions if _is_seen(text, rights)]

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


def _is_seen(text: str, rights: Rights) -> bool:
    """Whether a version, as vendor/name:version, is seen."""
    name, _, version = text.partition(":")
    return visible.sees_version(rights, name.lower(), version)
