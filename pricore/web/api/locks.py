"""Lock files that are in use: what they name is kept."""

import logging
from collections.abc import Callable
from typing import Final

from pricore.auth import access_tokens
from pricore.errors import ArchiveError, InvalidError, NotFoundError, PricoreError
from pricore.models import Lock, LockedPackage, Token
from pricore.services import locks, views
from pricore.services.locks import Checker, LockFile
from pricore.services.opening import Services
from pricore.services.views import FindingView, LockView
from pricore.system.threads import DOCUMENTS
from pricore.web.api.organizations import find_organization
from pricore.web.api.routing import (
    Call,
    Data,
    Message,
    Route,
)
from pricore.web.http.admission import Admission

_log = logging.getLogger("pricore.locks")

_MOST_CHECKED: Final = 1000
"""Packages of one request: an archive that isn't kept is made."""

MOST_SECONDS: Final = 50.0
"""What a check, or registering, takes at most: reverse proxies give up after 60."""


def routes(services: Services, admission: Admission) -> list[Route]:
    """The routes of lock files."""
    store, config = services.store, services.config
    checker = Checker(services, explain=_explain)

    async def read(call: Call) -> list[LockedPackage]:
        """What a lock file names of the organization. Raises InvalidError where the caller may not see it."""
        wanted: LockFile = call.body
        # a large one takes long enough for others to wait
        named = await DOCUMENTS.run(locks.packages_of, wanted, public_url=config.public_url)
        found = [item for item in named if item.organization == call.path["slug"]]
        if not found:
            raise InvalidError("no package in it comes from this organization", field="packages")
        if len(found) > _MOST_CHECKED:
            raise InvalidError(f"it has more than {_MOST_CHECKED} packages of this registry", field="packages")
        for item in found:
            if not access_tokens.may_see(call.token, item.package):
                raise InvalidError(f"there is no package {item.package[:80]}", field="packages")
        return found

    def counting(call: Call) -> Callable[[LockedPackage], None]:
        """What counts an archive that is made, or a commit that is looked up, as a download of its package."""

        def admit(package: LockedPackage) -> None:
            admission.admit_archive(
                call.token, call.address, organization=package.organization, package=package.package
            )

        return admit

    async def list_locks(call: Call) -> Data[list[LockView]]:
        found = await store.locks.of_organization(await find_organization(store, call))
        return Data([LockView.of(item) for item in found if _visible(call.token, item)])

    async def register_lock(call: Call) -> Data[LockView]:
        organization = await find_organization(store, call)
        name = locks.check_name(call.path["name"])
        packages = await read(call)
        await hidden(call, name)
        packages = await checker.name_archives(packages, admit=counting(call), seconds=MOST_SECONDS)
        return Data(LockView.of(await store.locks.register(organization, name, packages)))

    async def check_lock(call: Call) -> Data[list[FindingView]]:
        await find_organization(store, call)
        who = call.path["slug"], call.token.id
        found = await checker.check(await read(call), who=who, admit=counting(call), seconds=MOST_SECONDS)
        return Data([views.finding(item) for item in found])

    async def remove_lock(call: Call) -> Message:
        organization = await find_organization(store, call)
        await hidden(call, call.path["name"])
        await store.locks.remove(organization, call.path["name"])
        return Message("Lock removed successfully")

    async def hidden(call: Call, name: str) -> None:
        """Raise NotFoundError where a lock file of that name has packages that the caller may not see."""
        found = await store.locks.of_organization(await find_organization(store, call), name=name)
        if any(not _visible(call.token, item) for item in found):
            raise NotFoundError(access_tokens.NOT_HERE)

    return [
        Route(
            method="GET",
            path="/api/organizations/{slug}/locks",
            handler=list_locks,
            scope="packages:read",
            summary="List the lock files that are registered",
        ),
        Route(
            method="PUT",
            path="/api/organizations/{slug}/locks/{name}",
            handler=register_lock,
            scope="packages:write",
            summary="Register a composer.lock, the body: what it names is neither pruned nor deleted",
            body=LockFile,
            most_bytes=locks.MOST_BYTES,
            errors=(503,),
        ),
        Route(
            method="POST",
            path="/api/organizations/{slug}/lock-checks",
            handler=check_lock,
            scope="packages:read",
            summary="Check whether each package in a composer.lock, the body, can be installed right now",
            body=LockFile,
            most_bytes=locks.MOST_BYTES,
            errors=(503,),
        ),
        Route(
            method="DELETE",
            path="/api/organizations/{slug}/locks/{name}",
            handler=remove_lock,
            scope="packages:write",
            summary="Let go of a lock file",
        ),
    ]


def _explain(error: PricoreError) -> str:
    """Why an archive cannot be had, for who must not know folders and addresses: the log has them."""
    if isinstance(error, ArchiveError):
        return str(error)  # it is about what is in the commit
    _log.warning("a lock file was checked: %s", error)
    return "its archive is not there and cannot be made; the log of the registry says why"


def _visible(token: Token, lock: Lock) -> bool:
    return all(access_tokens.may_see(token, item.package) for item in lock.packages)
