"""Packages that are served."""

from typing import Final

import msgspec

from pricore.auth import access_tokens
from pricore.errors import NotFoundError
from pricore.services import packages, visible
from pricore.services.opening import Services
from pricore.services.packages import DownloadsView, PackageSummary, PackageView, UploadView, VersionView
from pricore.services.periods import parse_period
from pricore.services.views import Day
from pricore.system.clock import now
from pricore.system.threads import DOCUMENTS
from pricore.web.api.finding import check_whole, find_organization, find_package, rights_of
from pricore.web.api.routing import Call, Data, Message, Page, PageQuery, Route
from pricore.web.http.bodies import MEGABYTE, Zip

_ID: Final = "[0-9a-f]+-[0-9a-f]+-4[0-9a-f]+-[0-9a-f]+-[0-9a-f]+"
_WORD: Final = "(?:(?!%2F)[^/])+"
_PACKAGE: Final = f"{{package:{_ID}|{_WORD}%2F{_WORD}|(?!{_ID}/){_WORD}/{_WORD}}}"
"""An id, or a name whose slash comes as it is or as %2F: `acme/versions` is a package, no list of versions."""

_ALL: Final = "/api/organizations/{slug}/packages"
_ONE: Final = f"{_ALL}/{_PACKAGE}"


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


class PackagesApi:
    """What the API does with packages."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    def routes(self) -> list[Route]:
        """The routes of packages."""
        read, write = "packages:read", "packages:write"
        return [
            Route("GET", _ALL, self.list_packages, read, "List packages", query=PackagesQuery),
            Route(
                "POST",
                _ALL,
                self.upload_package,
                write,
                "Upload a version of a package: a zip, the body, with a composer.json",
                query=UploadQuery,
                body=Zip,
                most_bytes=self._services.config.upload_limit * MEGABYTE,
                status=201,
                errors=(409,),
            ),
            Route("GET", _ONE, self.get_package, read, "Get a package by its id or name"),
            Route(
                "DELETE",
                _ONE,
                self.delete_package,
                write,
                "Delete a package; what comes of refs stays deleted until they move",
                errors=(409,),
            ),
            Route(
                "GET",
                f"{_ONE}/versions",
                self.list_versions,
                read,
                "List the versions of a package, newest first",
                query=PageQuery,
            ),
            Route(
                "DELETE",
                f"{_ONE}/versions/{{version:.+}}",
                self.delete_version,
                write,
                "Delete a version; it stays deleted until its ref moves",
                errors=(409,),
            ),
            Route(
                "GET",
                f"{_ONE}/downloads",
                self.get_downloads,
                read,
                "Get the downloads of a package by day and by version",
                query=DownloadsQuery,
            ),
        ]

    async def list_packages(self, call: Call) -> Page[PackageSummary]:
        query: PackagesQuery = call.query
        organization = await find_organization(self._store, call)
        found, total = await self._store.packages.search(
            organization.id,
            text=query.search,
            rights=rights_of(call),
            limit=query.per_page,
            offset=query.offset,
        )
        shown = await visible.show(self._store, found, rights_of(call))
        return Page([PackageSummary.of(item) for item in shown], query.meta(total))

    async def get_package(self, call: Call) -> Data[PackageView]:
        _, found, view = await find_package(self._store, call)
        repository = await self._store.repositories.find(found.repository_id)
        if repository is None and found.repository_id is not None:  # removed between the two questions
            raise NotFoundError(access_tokens.NOT_HERE)
        versions = await visible.versions(self._store, found, view)
        return Data(
            await DOCUMENTS.for_all(len(versions), PackageView.of, found, repository=repository, versions=versions)
        )

    async def upload_package(self, call: Call) -> Data[UploadView]:
        query: UploadQuery = call.query
        organization = await find_organization(self._store, call)
        uploads, rights = self._services.uploads, rights_of(call)

        def may_change(name: str) -> bool:
            view = rights.view(name)
            return view is not None and view.has_all

        async with uploads.receive(call.body) as file:
            name, made = await uploads.add(organization, file, version=query.version, allowed=may_change)
        return Data(UploadView.of(made, package=name))

    async def delete_package(self, call: Call) -> Message:
        organization, package, view = await find_package(self._store, call)
        check_whole(view, package.name, "delete it")
        await packages.delete_package(self._services, organization, package)
        return Message("Package deleted successfully")

    async def list_versions(self, call: Call) -> Page[VersionView]:
        query: PageQuery = call.query
        _, package, view = await find_package(self._store, call)
        found = await visible.versions(self._store, package, view)
        page = found[query.offset : query.offset + query.per_page]
        return Page([VersionView.of(item) for item in page], query.meta(len(found)))

    async def delete_version(self, call: Call) -> Message:
        organization, package, view = await find_package(self._store, call)
        found = await self._store.packages.find_version(package, call.path["version"])
        if found is None or not view.admits(found.normalized, found.published_at):
            raise NotFoundError(access_tokens.NOT_HERE)
        await packages.delete_version(self._services, organization, package, found.version)
        return Message("Version deleted successfully")

    async def get_downloads(self, call: Call) -> Data[DownloadsView]:
        query: DownloadsQuery = call.query
        _, package, view = await find_package(self._store, call)
        first, last = parse_period(query.first, query.last, at=now())
        found = await packages.count_downloads(
            self._store, package, first=first, last=last, version=query.version, view=view
        )
        return Data(packages.view_downloads(found))
