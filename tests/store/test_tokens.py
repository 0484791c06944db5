"""Tokens are found by their hash, and stay as narrow as they were made."""

import pytest

from pricore.auth.access_tokens import create_secret, hash_secret
from pricore.errors import NotFoundError
from pricore.models import Organization, Repository
from pricore.store import Store
from pricore.system.clock import now
from tests.rules import packages_of, reach
from tests.store.harness import everything, make_token, publish, released


async def test_a_token_is_found_by_the_hash_of_its_secret(store: Store, acme: Organization) -> None:
    """A token comes back as it was made, by its secret alone; the secret itself is nowhere."""
    secret = create_secret()
    made = await store.tokens.create(
        reach(acme, ["acme/b", "acme/a"]),
        name="CI",
        token_hash=hash_secret(secret),
        scopes=["packages:read", "tokens:read"],
        expires_at=2_000_000_000,
    )

    assert made == await store.tokens.find(hash_secret(secret))
    assert await store.tokens.find(hash_secret(create_secret())) is None
    assert secret not in str(everything(store.path))


async def test_a_token_is_revoked_by_its_own_organization_only(
    store: Store, acme: Organization, other: Organization
) -> None:
    """An id of another organization's token is as good as none."""
    token = await make_token(store, acme)
    with pytest.raises(NotFoundError):
        await store.tokens.revoke(other, token.id)

    assert [token] == await store.tokens.of_organization(acme.id)


async def test_a_restricted_token_stays_restricted_when_its_package_goes(
    store: Store, acme: Organization, repository: Repository
) -> None:
    """A restriction is to names: it doesn't vanish with the package, and is the same when that comes back."""
    await publish(store, repository, released())
    secret = create_secret()
    await store.tokens.create(
        reach(acme, ["acme/library"]), name="test", token_hash=hash_secret(secret), scopes=["packages:read"]
    )
    await store.repositories.remove(repository)
    token = await store.tokens.find(hash_secret(secret))
    assert token is not None

    assert packages_of(token) == ["acme/library"]
    assert await store.packages.of_organization(acme.id) == []


async def test_a_token_restricted_to_nothing_is_restricted(store: Store, acme: Organization) -> None:
    """An empty list of packages means none of them, not all."""
    secret = create_secret()
    await store.tokens.create(
        reach(acme, []), name="test", token_hash=hash_secret(secret), scopes=["packages:read"]
    )
    token = await store.tokens.find(hash_secret(secret))
    assert token is not None

    assert packages_of(token) == []


async def test_that_a_token_expires_is_told_once(store: Store, acme: Organization) -> None:
    """And again where it was given another end, of which that is true as well."""
    soon = await make_token(store, acme, expires_at=now() + 100)
    await make_token(store, acme, expires_at=now() + 100_000)
    await make_token(store, acme, expires_at=now() - 1)
    assert [[token.id for token in await store.tokens.tell_expiring(now() + 1000)] for _ in range(2)] == [
        [soon.id],
        [],
    ]
    await store.tokens.change(soon, name="other", scopes=soon.scopes, expires_at=soon.expires_at)
    assert await store.tokens.tell_expiring(now() + 1000) == []
    await store.tokens.change(soon, name="other", scopes=soon.scopes, expires_at=now() + 200)
    assert [token.id for token in await store.tokens.tell_expiring(now() + 1000)] == [soon.id]
