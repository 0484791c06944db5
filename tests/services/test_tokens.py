"""An access token gives away no more than it has: neither scopes nor packages nor time."""

from typing import Any

import pytest

from pricore.auth.access_tokens import hash_secret
from pricore.errors import ForbiddenError, InvalidError
from pricore.rights.tokens import Token
from pricore.services.tokens import create_token
from tests.harness import GitRepository
from tests.registry import MakeRepository, Registry
from tests.rules import packages_of, token_name

YEAR = 365


@pytest.fixture
async def upstream(registry: Registry, make_repository: MakeRepository) -> GitRepository:
    """acme/library, which is served."""
    repository = make_repository("library")
    repository.commit({"name": "acme/library"})
    await registry.add(repository)
    return repository


async def make(registry: Registry, **options: Any) -> Token:
    return (await create_token(registry.store, [registry.organization], token_name(), **options))[0]


async def test_an_operator_makes_any(registry: Registry, upstream: GitRepository) -> None:
    """Without anything said it reads packages, all of them, for ever; its secret is known to who made it alone."""
    made, secret = await create_token(registry.store, [registry.organization], " ci ")
    assert (made.name, made.scopes, packages_of(made), made.expires_at) == ("ci", ("packages:read",), None, None)
    assert made == await registry.store.tokens.find(hash_secret(secret))
    package = await registry.store.packages.get(registry.organization, "acme/library")
    for named in (package.id, "acme/library", "Acme/Library"):
        assert packages_of(await make(registry, packages=[named])) == ["acme/library"]
    assert packages_of(await make(registry, packages=[])) == []


async def test_a_token_makes_none_that_can_do_more(registry: Registry) -> None:
    """A scope that it lacks is refused, and an end after its own, or none."""
    by = await make(registry, scopes=["tokens:write", "packages:read"], expires=f"{YEAR}d")
    with pytest.raises(ForbiddenError, match="lacks the scope packages:write"):
        await make(registry, scopes=["packages:write"], expires="1d", by=by)
    for expires in (None, f"{YEAR + 1}d"):
        with pytest.raises(InvalidError) as caught:
            await make(registry, expires=expires, by=by)
        assert caught.value.field == "expires_at"
    assert (await make(registry, expires="1d", by=by)).scopes == ("packages:read",)


async def test_a_restricted_token_makes_restricted_ones(registry: Registry, upstream: GitRepository) -> None:
    """Where nothing is said of packages, what it makes sees those that it sees itself."""
    by = await make(registry, scopes=["tokens:write", "packages:read"], packages=["acme/library"])
    assert packages_of(await make(registry, by=by)) == ["acme/library"]
    assert packages_of(await make(registry, by=by, packages=[])) == []


@pytest.mark.parametrize(
    ("options", "field"),
    [({"scopes": ["packages:all"]}, "scopes"), ({"expires": "2001-01-01"}, "expires_at")],
)
async def test_what_cannot_be_makes_none(registry: Registry, options: dict[str, Any], field: str) -> None:
    """It says which part is wrong, and nothing is made."""
    with pytest.raises(InvalidError) as caught:
        await make(registry, **options)
    assert caught.value.field == field
    with pytest.raises(InvalidError, match="the name must have"):
        await create_token(registry.store, None, " ")
    assert await registry.store.tokens.of_organization(registry.organization.id) == []
