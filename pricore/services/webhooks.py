"""Webhooks of repositories: where Git hosts send them, what they are signed with, and registering them there."""

import asyncio
from typing import TYPE_CHECKING

import msgspec

from pricore.auth.sealing import WebhookSecrets
from pricore.config import Config
from pricore.errors import InvalidError
from pricore.hosts.addresses import host_of, login_place, parse_address, parse_instance
from pricore.hosts.provider import Api, Hook, Instance
from pricore.models import Organization, Repository
from pricore.system.lease import holder, listening_url

if TYPE_CHECKING:
    from pricore.services.opening import Services


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that is registered at its Git host now; whether it was `created`, or was there and is updated."""

    url: str
    created: bool


async def provide_webhook(
    services: "Services", repository: Repository, *, provider: str | None = None, rotate: bool = False
) -> Hook:
    """What is to be pasted at a provider, the repository's if none is given.

    The secret is made the first time, and anew to `rotate` it. Raises SealError, and NotFoundError where the
    repository is gone.
    """
    base = await _base_url(services)
    secret = await WebhookSecrets(services.store, services.sealer).provide(repository.id, rotate=rotate)
    return Hook(url=_url(base, provider or repository.provider, repository), secret=secret)


async def register_webhook(
    services: "Services",
    organization: Organization,
    repository: Repository,
    *,
    provider: str | None = None,
    host: str | None = None,
    credential: str | None = None,
    rotate: bool = False,
) -> Registration:
    """Register the webhook of a repository, or bring it up to date, at a provider and host, else at its own.

    That is asked with the credential of a name, else with the organization's for the host. Raises what
    `provide_webhook` and the provider's API do, and InvalidError where there is none, or no public URL.
    """
    from pricore.hosts.client import connect  # loads aiohttp

    check_public(services.config)
    instance = _instance_of(repository, provider or repository.provider, host)
    name = instance.name_of(parse_address(repository.url, instance.provider).identifier)
    login = await services.credentials.for_api(organization, instance, credential)
    async with connect(instance, login, proxy=services.config.git_proxy) as api:
        return await register_at(services, api, instance, repository, name=name, rotate=rotate)


async def register_at(
    services: "Services", api: Api, instance: Instance, repository: Repository, *, name: str, rotate: bool = False
) -> Registration:
    """Register the webhook of a repository, owner/name there, by an API that is connected to.

    Raises what that does, and SealError.
    """
    secret = await WebhookSecrets(services.store, services.sealer).provide(repository.id, rotate=rotate)
    url = _url(services.config.public_url, instance.provider, repository)
    return Registration(url=url, created=await api.register(name, Hook(url=url, secret=secret)))


def check_public(config: Config) -> None:
    """Refuse with InvalidError to register webhooks where nobody knows where this registry is reached."""
    if not config.public_url:
        raise InvalidError(
            "set public_url (PRICORE_PUBLIC_URL) to where the Git host reaches this registry", field="public_url"
        )


async def _base_url(services: "Services") -> str:
    """Where clients reach the registry: as configured here or for the server, else where that listens."""
    if url := services.config.public_url or await services.store.health.public_url():
        return url
    return await asyncio.to_thread(holder, services.config.data) or listening_url(services.config)


def _url(base: str, provider: str, repository: Repository) -> str:
    return f"{base}/webhooks/{provider}/{repository.id}"


def _instance_of(repository: Repository, provider: str, host: str | None) -> Instance:
    """Where a repository is, unless the host is said."""
    if host is None:
        place = login_place(repository.url)
        if place is None:
            raise InvalidError(f"{repository.url} is at no Git host with an API", field="provider")
        # the port of ssh is none of the API's
        host = host_of(repository.url) if place[0] == "ssh" else f"{place[0]}://{place[1]}"
    return parse_instance(provider, host)
