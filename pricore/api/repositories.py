"""Repositories that are followed."""

from pricore import auth, views
from pricore.api.organizations import find_organization
from pricore.api.routing import Call, Data, Message, Route
from pricore.errors import NotFoundError
from pricore.jobs import Queue
from pricore.models import Organization, Repository, Token
from pricore.store import Store
from pricore.views import RepositoryView


def routes(store: Store, queue: Queue) -> list[Route]:
    """The routes of repositories."""

    async def visible(token: Token, organization: Organization) -> list[Repository]:
        """The repositories that a token may know of: a restricted one, those that its packages come from."""
        found = await store.repositories.of_organization(organization.id)
        if token.packages is None:
            return found
        owners = await store.packages.owners(organization.id, token.packages)
        ids = {repository_id for repository_id, _ in owners.values()}
        return [item for item in found if item.id in ids]

    async def list_repositories(call: Call) -> Data[list[RepositoryView]]:
        organization = await find_organization(store, call)
        return Data([views.repository(item) for item in await visible(call.token, organization)])

    async def sync_repository(call: Call) -> Message:
        organization = await find_organization(store, call)
        if not any(item.id == call.path["id"] for item in await visible(call.token, organization)):
            raise NotFoundError(auth.NOT_HERE)
        await queue.add(call.path["id"])
        return Message("Sync queued successfully")

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
            path="/api/organizations/{slug}/repositories/{id}/sync",
            handler=sync_repository,
            scope="repositories:write",
            summary="Trigger a sync of a repository",
        ),
    ]
