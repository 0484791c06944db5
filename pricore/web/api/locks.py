"""Lock files that are in use: what they name is kept."""

import logging
from collections.abc import Callable
from typing import Final

from pricore.auth import access_tokens
from pricore.errors import ArchiveError, InvalidError, NotFoundError, PricoreError
from pricore.models import Lock, LockedPackage
from pricore.rights.visibility import Rights
from pricore.services import lock_files, locks, visible
from pricore.services.lock_files import LockFile
from pricore.services.locks import FindingView, LockView
from pricore.services.opening import Services
from pricore.system.threads import DOCUMENTS
from pricore.web.api.finding import find_organization, rights_of
from pricore.web.api.routing import Call, Data, Message, Route
from pricore.web.http.admission import Admission

_log = logging.getLogger("pricore.locks")

_ALL: Final = "/api/organizations/{slug}/locks"
_ONE: Final = f"{_ALL}/{{name}}"

_MOST_CHECKED: Final = 1000
"""Packages of one request: an archive that isn't kept is made."""

MOST_SECONDS: Final = 50.0
"""What a check, or registering, takes at most: reverse proxies give up after 60."""


class LocksApi:
    """What the API does with lock files."""

    def __init__(self, services: Services, admission: Admission) -> None:
        self._services = services
        self._store = services.store
        self._checker = locks.Checker(services, explain=_explain)
        self._admission = admission

    def routes(self) -> list[Route]:
        """The routes of lock files."""
        read, write = "packages:read", "packages:write"
        return [
            Route("GET", _ALL, self.list_locks, read, "List the lock files that are registered"),
            Route(
                "PUT",
                _ONE,
                self.register_lock,
                write,
                "Register a composer.lock, the body: what it names is neither pruned nor deleted",
                body=LockFile,
                most_bytes=lock_files.MOST_BYTES,
                errors=(503,),
            ),
            Route(
                "POST",
                "/api/organizations/{slug}/lock-checks",
                self.check_lock,
                read,
                "Check whether each package in a composer.lock, the body, can be installed right now",
                body=LockFile,
                most_bytes=lock_files.MOST_BYTES,
                errors=(503,),
            ),
            Route("DELETE", _ONE, self.remove_lock, write, "Let go of a lock file"),
        ]

    async def list_locks(self, call: Call) -> Data[list[LockView]]:
        found = await self._store.locks.of_organization(await find_organization(self._store, call))
        rights = rights_of(call)
        count = sum(len(item.packages) for item in found)
        seen = await DOCUMENTS.for_all(count, lambda: [item for item in found if _visible(rights, item)])
        return Data([LockView.of(item) for item in seen])

    async def register_lock(self, call: Call) -> Data[LockView]:
        organization = await find_organization(self._store, call)
        name = locks.check_name(call.path["name"])
        packages = await self._read(call)
        await self._check_hidden(call, name)
        for item in packages:
            if not visible.sees_version(rights_of(call), item.package, item.version):
                raise InvalidError(f"{item.package} {item.version[:80]} is not for this token", field="packages")
        (made,) = await locks.register_lock(
            self._services,
            name,
            packages,
            [organization],
            rights=rights_of(call),
            admit=self._count(call),
            seconds=MOST_SECONDS,
        )
        return Data(LockView.of(made))

    async def check_lock(self, call: Call) -> Data[list[FindingView]]:
        await find_organization(self._store, call)
        who = call.path["slug"], call.token.id
        packages = await self._read(call)
        found = await self._checker.check(
            packages, who=who, rights=rights_of(call), admit=self._count(call), seconds=MOST_SECONDS
        )
        return Data([locks.view_finding(item) for item in found])

    async def remove_lock(self, call: Call) -> Message:
        organization = await find_organization(self._store, call)
        await self._check_hidden(call, call.path["name"])
        await self._store.locks.remove(organization, call.path["name"])
        return Message("Lock removed successfully")

    async def _read(self, call: Call) -> list[LockedPackage]:
        """What a lock file names of the organization. Raises InvalidError where the caller may not see it."""
        wanted: LockFile = call.body
        # a large one takes long enough for others to wait
        public_url = self._services.config.public_url
        named = await DOCUMENTS.run(lock_files.packages_of, wanted, public_url=public_url)
        found = [item for item in named if item.organization == call.path["slug"]]
        if not found:
            raise InvalidError("no package in it comes from this organization", field="packages")
        if len(found) > _MOST_CHECKED:
            raise InvalidError(f"it has more than {_MOST_CHECKED} packages of this registry", field="packages")
        for item in found:
            if not rights_of(call).sees(item.package):  # which version, a check tells
                raise InvalidError(f"there is no package {item.package[:80]}", field="packages")
        return found

    def _count(self, call: Call) -> Callable[[LockedPackage], None]:
        """What counts an archive that is made, or a commit that is looked up, as a download of its package."""

        def admit(package: LockedPackage) -> None:
            self._admission.admit_archive(
                call.token, call.address, organization=package.organization, package=package.package
            )

        return admit

    async def _check_hidden(self, call: Call, name: str) -> None:
        """Raise NotFoundError where a lock file of that name has packages that the caller may not see."""
        organization = await find_organization(self._store, call)
        found = await self._store.locks.of_organization(organization, name=name)
        if any(not _visible(rights_of(call), item) for item in found):
            raise NotFoundError(access_tokens.NOT_HERE)


def _explain(error: PricoreError) -> str:
    """Why an archive cannot be had, for who must not know folders and addresses: the log has them."""
    if isinstance(error, ArchiveError):
        return str(error)  # it is about what is in the commit
    _log.warning("a lock file was checked: %s", error)
    return "its archive is not there and cannot be made; the log of the registry says why"


def _visible(rights: Rights, lock: Lock) -> bool:
    return all(visible.sees_version(rights, item.package, item.version) for item in lock.packages)
