"""Packages that are served."""

from pricore import auth, views
from pricore.api.organizations import find_organization
from pricore.api.routing import Call, Data, Page, PageQuery, Route
from pricore.errors import NotFoundError
from pricore.store import Store
from pricore.views import PackageSummary, PackageView


class PackagesQuery(PageQuery, frozen=True):
    """Which packages are wanted: those whose name contains `search`."""

    search: str = ""


def routes(store: Store) -> list[Route]:
    """The routes of packages."""

    async def list_packages(call: Call) -> Page[PackageSummary]:
        query: PackagesQuery = call.query
        organization = await find_organization(store, call)
        found, total = await store.packages.search(
            organization.id,
            text=query.search,
            only=call.token.packages,
            limit=query.per_page,
            offset=query.offset,
        )
        return Page([views.package_summary(item) for item in found], query.meta(total))

    async def get_package(call: Call) -> Data[PackageView]:
        organization = await find_organization(store, call)
        # aiohttp has decoded it: the slash in a name may come as it is or as %2F
        found = await store.packages.find(organization.id, call.path["package"])
        if found is None or not auth.may_see(call.token, found.name):
            raise NotFoundError(auth.NOT_HERE)
        repository = await store.repositories.find(found.repository_id)
        if repository is None:  # removed between the two questions
            raise NotFoundError(auth.NOT_HERE)
        return Data(views.package(found, repository, await store.packages.versions(found)))

    return [
        Route(
            method="GET",
            path="/api/organizations/{slug}/packages",
            handler=list_packages,
            scope="packages:read",
            summary="List packages",
            query=PackagesQuery,
        ),
        Route(
            method="GET",
            path="/api/organizations/{slug}/packages/{package:.+}",
            handler=get_package,
            scope="packages:read",
            summary="Get a package by its id or name",
        ),
    ]
