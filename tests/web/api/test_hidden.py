"""What a token may not see is in no words of an error: addresses of repositories, folders, names of lock files."""

import shutil
from collections.abc import Sequence

import pytest

from pricore.auth.access_tokens import create_secret, hash_secret
from pricore.hosts.addresses import parse_address
from pricore.models import LockedPackage
from pricore.rights.visibility import Layers
from tests.rules import token_name
from tests.web.api.harness import ALL, ORG, call, refusal, token_id
from tests.web.composer.harness import World, pack

LIBRARY = ["acme/library"]
UPLOAD = pack({"composer.json": '{"name": "acme/library", "version": "9.0.0"}'})
NARROW = pytest.mark.parametrize(
    ("scopes", "packages"),
    [
        (ALL, LIBRARY),
        (("packages:write",), None),
        (("packages:read", "packages:write"), None),
        (("packages:write", "repositories:read"), None),
    ],
)


async def narrow(world: World, scopes: Sequence[str], packages: Sequence[str] | None) -> str:
    return await world.token(scopes=tuple(scopes), packages=packages)


async def lock(world: World, name: str, package: str = "acme/library") -> None:
    """Register a lock file that names the release 1.0.0 of acme/library, and another package."""
    acme = await world.store.organizations.get("acme")
    dist = (await world.versions("acme/library"))["v1.0.0"]["dist"]
    shasum = dist["shasum"]
    locked = [
        LockedPackage(organization="acme", package=item, version="1.0.0", address="v1.0.0", shasum=shasum)
        for item in ("acme/library", package)
    ]
    await world.store.locks.register(acme, name, locked)


@NARROW
async def test_an_upload_is_refused_without_the_address_of_the_repository(
    world: World, scopes: Sequence[str], packages: Sequence[str] | None
) -> None:
    """That the package comes from one is told; where that is only to who may read repositories."""
    path = f"{ORG}/packages"
    secret = await narrow(world, scopes, packages)
    message, _ = refusal(await call(world, "POST", path, secret, body=UPLOAD), 409)
    assert message == "the package acme/library comes from a repository: push there, nothing can be uploaded to it"

    message, _ = refusal(await call(world, "POST", path, await world.token(scopes=ALL), body=UPLOAD), 409)
    assert "comes from /" in message


@pytest.mark.parametrize("path", [f"{ORG}/packages/acme/library", f"{ORG}/packages/acme/library/versions/v1.0.0"])
@NARROW
async def test_a_deletion_is_refused_without_the_name_of_the_lock_file(
    world: World, path: str, scopes: Sequence[str], packages: Sequence[str] | None
) -> None:
    """A lock file that names other packages as well is named to who sees them all."""
    await lock(world, "hidden-production", "acme/plugin")
    if "packages:read" not in scopes or packages is not None:
        message, _ = refusal(await call(world, "DELETE", path, await narrow(world, scopes, packages)), 409)
        assert "hidden-production" not in message
        assert "a lock file that is registered names acme/library 1.0.0" in message

    message, _ = refusal(await call(world, "DELETE", path, await world.token(scopes=ALL)), 409)
    assert "the lock hidden-production names acme/library 1.0.0" in message


async def test_a_repository_that_is_followed_is_named_as_it_was_given(world: World) -> None:
    """Who may add repositories and not read them learns no other spelling of an address."""
    acme = await world.store.organizations.get("acme")
    await world.store.repositories.add(acme, parse_address("ssh://deploy@1.1.1.1/acme/inner.git"))
    given = {"url": "https://1.1.1.1/acme/inner"}
    for scopes, shown in (
        (("repositories:write",), "https://1.1.1.1/acme/inner"),
        (ALL, "ssh://deploy@1.1.1.1"),
    ):
        secret = await world.token(scopes=scopes)
        message, _ = refusal(await call(world, "POST", f"{ORG}/repositories", secret, given), 409)
        assert message.startswith(f"acme follows {shown}")


async def test_a_hidden_lock_file_is_as_one_that_is_not_there(world: World) -> None:
    """Letting go of it is refused in the same words."""
    await lock(world, "production", "acme/plugin")
    secret = await narrow(world, ALL, LIBRARY)
    hidden = refusal(await call(world, "DELETE", f"{ORG}/locks/production", secret), 404)
    assert hidden == refusal(await call(world, "DELETE", f"{ORG}/locks/missing", secret), 404)


async def test_a_checked_lock_file_tells_no_folder_of_this_machine(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """An archive that is lost is a problem with the reason in the log."""
    lost = pack({"composer.json": '{"name": "acme/lost", "version": "1.0.0"}'})
    assert (await call(world, "POST", f"{ORG}/packages", await world.token(scopes=ALL), body=lost)).status == 201
    dist = (await world.versions("acme/lost"))["1.0.0"]["dist"]
    shutil.rmtree(world.config.uploads)
    document = {"packages": [{"name": "acme/lost", "version": "1.0.0", "dist": {"url": dist["url"]}}]}
    reply = await call(world, "POST", f"{ORG}/lock-checks", await world.token(), document)

    (finding,) = reply.json["data"]
    assert finding["problem"] == "its archive is not there and cannot be made; the log of the registry says why"
    assert f"the uploaded archive {world.config.uploads}" in caplog.text


async def test_a_lock_file_with_a_version_that_is_not_seen_is_hidden(world: World) -> None:
    """A rule on versions hides it as one on packages does, and nobody else's archives can be let go of."""
    await lock(world, "production", "beta/tools")
    secret = await narrow(world, ALL, ["acme/library:^1.2", "beta/*"])
    assert (await call(world, "GET", f"{ORG}/locks", secret)).json["data"] == []
    refusal(await call(world, "DELETE", f"{ORG}/locks/production", secret), 404)
    other = await narrow(world, ALL, ["acme/library:^1.0", "beta/*"])
    assert [item["name"] for item in (await call(world, "GET", f"{ORG}/locks", other)).json["data"]] == [
        "production"
    ]


async def test_a_token_is_revoked_where_one_may(world: World) -> None:
    """Who sees nothing of the other organization takes the token away from the own one alone."""
    acme, other = [await world.store.organizations.get(slug) for slug in ("acme", "other")]

    async def make(layers: Layers) -> str:
        secret = create_secret()
        await world.store.tokens.create(
            {acme: (), other: layers}, name=token_name(), token_hash=hash_secret(secret), scopes=ALL
        )
        return secret

    shared, half, whole = await make(()), await make(((),)), await make(())
    path = f"{ORG}/tokens/{await token_id(world, shared)}"
    assert (await call(world, "DELETE", path, half)).status == 200
    found = await world.store.tokens.find(hash_secret(shared))
    assert found is not None
    assert found.organizations == ["other"]
    path = f"/api/organizations/other/tokens/{found.id}"
    assert (await call(world, "DELETE", path, whole)).status == 200
    assert await world.store.tokens.find(hash_secret(shared)) is None
