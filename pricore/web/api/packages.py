"""Packages that are served."""

from typing import Final

import msgspec

from pricore.auth import access_tokens
from pricore.errors import InvalidError, NotFoundError
from pricore.models import Count, Organization, Package
from pricore.services import management, views
from pricore.services.opening import Services
from pricore.services.views import (
    Day,
    DownloadsView,
    PackageSummary,
    PackageView,
    UploadView,
    VersionView,
)
from pricore.system.clock import now
from pricore.system.threads import DOCUMENTS
from pricore.web.api.organizations import find_organization
from pricore.web.api.routing import (
    Call,
    Data,
    Message,
    Page,
    PageQuery,
    Route,
)
from pricore.web.http.bodies import MEGABYTE, Zip

_ID: Final = "[0-9a-f]+-[0-9a-f]+-4[0-9a-f]+-[0-9a-f]+-[0-9a-f]+"
_WORD: Final = "(?:(?!%2F)[^/])+"
_PACKAGE: Final = f"{{package:{_ID}|{_WORD}%2F{_WORD}|(?!{_ID}/){_WORD}/{_WORD}}}"
"""An id, or a name whose slash comes as it is or as %2F: `acme/versions` is a package, no list of versions."""


class PackagesQuery(PageQuery, frozen=True):
    """Which packages are wanted: those whose name contains `search`."""

    search: str = ""


class UploadQuery(msgspec.Struct, frozen=True):
    """Which version it is: `version`, else the one that its composer.json declares."""

    version: str | None = None


class DownloadsQuery(msgspec.Struct, frozen=True):
    """Which downloads are wanted: from the day `from` to the day `to`, the last 30 days by default, and of which
    version."""

    first: Day | None = msgspec.field(default=None, name="from")
    last: Day | None = msgspec.field(default=None, name="to")
    version: str | None = None


def routes(services: Services) -> list[Route]:
    """The routes of packages."""
    store, uploads, config = services.store, services.uploads, services.config

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
        return Page([PackageSummary.of(item) for item in found], query.meta(total))

    async def find(call: Call) -> tuple[Organization, Package]:
        """The organization and the package in a call's path. Raises NotFoundError."""
        organization = await find_organization(store, call)
        found = await store.packages.find(organization.id, call.path["package"])
        if found is None or not access_tokens.may_see(call.token, found.name):
            raise NotFoundError(access_tokens.NOT_HERE)
        return organization, found

    async def get_package(call: Call) -> Data[PackageView]:
        _, found = await find(call)
        repository = await store.repositories.find(found.repository_id)
        if repository is None and found.repository_id is not None:  # removed between the two questions
            raise NotFoundError(access_tokens.NOT_HERE)
        versions = await store.packages.versions(found)
        return Data(
            await DOCUMENTS.for_all(len(versions), PackageView.of, found, repository=repository, versions=versions)
        )

    async def upload_package(call: Call) -> Data[UploadView]:
        query: UploadQuery = call.query
        organization = await find_organization(store, call)
        async with uploads.receive(call.body) as file:
            name, made = await uploads.add(organization, file, version=query.version, only=call.token.packages)
        return Data(UploadView.of(made, package=name))

    async def delete_package(call: Call) -> Message:
        organization, package = await find(call)
        await management.delete_package(services, organization, package)
        return Message("Package deleted successfully")

    async def list_versions(call: Call) -> Page[VersionView]:
        query: PageQuery = call.query
        _, package = await find(call)
        found = await store.packages.versions(package)
        page = found[query.offset : query.offset + query.per_page]
        return Page([VersionView.of(item) for item in page], query.meta(len(found)))

    async def delete_version(call: Call) -> Message:
        organization, package = await find(call)
        found = await store.packages.find_version(package, call.path["version"])
        if found is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        await management.delete_version(services, organization, package, found.version)
        return Message("Version deleted successfully")

    async def get_downloads(call: Call) -> Data[DownloadsView]:
        query: DownloadsQuery = call.query
        _, package = await find(call)
        first, last = management.parse_period(query.first, query.last, at=now())
        version, served = query.version, None
        if version is not None:
            served = await store.packages.find_version(package, version)
            version = version if served is None else served.version
        found = await store.usage.downloads(package, first=first, last=last, version=version)
        if version is not None and served is None and found.total == Count(0, 0):
            raise InvalidError(f"there is no version {version[:80]}", field="version")
        return Data(views.downloads(found))

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
            method="POST",
            path="/api/organizations/{slug}/packages",
            handler=upload_package,
            scope="packages:write",
            summary="Upload a version of a package: a zip, the body, with a composer.json",
            query=UploadQuery,
            body=Zip,
            most_bytes=config.upload_limit * MEGABYTE,
            status=201,
            errors=(409,),
        ),
        Route(
            method="GET",
            path=f"/api/organizations/{{slug}}/packages/{_PACKAGE}",
            handler=get_package,
            scope="packages:read",
            summary="Get a package by its id or name",
        ),
        Route(
            method="DELETE",
            path=f"/api/organizations/{{slug}}/packages/{_PACKAGE}",
            handler=delete_package,
            scope="packages:write",
            summary="Delete a package; what comes of refs stays deleted until they move",
            errors=(409,),
        ),
        Route(
            method="GET",
            path=f"/api/organizations/{{slug}}/packages/{_PACKAGE}/versions",
            handler=list_versions,
            scope="packages:read",
            summary="List the versions of a package, newest first",
            query=PageQuery,
        ),
        Route(
            method="DELETE",
            path=f"/api/organizations/{{slug}}/packages/{_PACKAGE}/versions/{{version:.+}}",
            handler=delete_version,
            scope="packages:write",
            summary="Delete a version; it stays deleted until its ref moves",
            errors=(409,),
        ),
        Route(
            method="GET",
            path=f"/api/organizations/{{slug}}/packages/{_PACKAGE}/downloads",
            handler=get_downloads,
            scope="packages:read",
            summary="Get the downloads of a package by day and by version",
            query=DownloadsQuery,
        ),
    ]
