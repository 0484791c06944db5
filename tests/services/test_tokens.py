"""An access token gives away no more than it has: neither scopes nor packages nor time."""

from typing import Any

import pytest

from pricore.auth.access_tokens import hash_secret
from pricore.errors import ForbiddenError, InvalidError
from pricore.rights.tokens import Token
from pricore.services.tokens import ReachView, TokenChange, change_token, create_token, rotate_token
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


# Changes


async def change(
    registry: Registry, token: Token, by: Token | None = None, about: str = "acme", **wanted: Any
) -> Token:
    organizations = [
        await registry.store.organizations.get(slug) for slug in wanted.pop("slugs", token.organizations)
    ]
    return await change_token(registry.store, token, TokenChange(**wanted), organizations, about=about, by=by)


def seen(token: Token) -> dict[str, Any]:
    """What a token sees of each organization, as it is shown."""
    return {slug: ReachView.of_rights(rights).packages for slug, rights in token.reach.items()}


@pytest.fixture
async def both(registry: Registry, upstream: GitRepository) -> Token:
    """A token of acme and beta, with rules for each."""
    beta = await registry.store.organizations.create("beta", "Beta")
    rules = ["acme/*", "beta:beta/*"]
    return (await create_token(registry.store, [registry.organization, beta], token_name(), packages=rules))[0]


async def test_a_change_gives_no_more_than_its_giver_has(registry: Registry, upstream: GitRepository) -> None:
    """Neither sight nor time for a token with scopes that it lacks, or that lives longer; a name is free."""
    strong = await make(registry, scopes=["packages:write"], packages=["acme/library"], expires="9d")
    weak = await make(registry, scopes=["tokens:write", "packages:read"], expires="1d")
    for wanted in ({"packages": None}, {"expires_at": "12h"}, {"published_before": None}):
        with pytest.raises(ForbiddenError, match="lacks the scope packages:write"):
            await change(registry, strong, weak, **wanted)
    able = await make(registry, scopes=["tokens:write", "packages:write"], expires="1d")
    with pytest.raises(InvalidError, match="cannot outlive it"):
        await change(registry, strong, able, packages=None)
    assert (await change(registry, strong, weak, name="other")).name == "other"
    assert (await change(registry, strong, able, packages=None, expires_at="12h")).reach["acme"].layers == ()


async def test_a_secret_that_was_replaced_replaces_none(registry: Registry) -> None:
    """Who had it for the rest of a day doesn't have it for ever."""
    _, first = await create_token(registry.store, [registry.organization], "CI", scopes=["tokens:write"])
    token = await registry.store.tokens.find(hash_secret(first))
    assert token is not None
    _, second = await rotate_token(registry.store, token)
    thief = await registry.store.tokens.find(hash_secret(first))
    assert thief is not None
    with pytest.raises(InvalidError, match="cannot outlive it"):
        await rotate_token(registry.store, token, overlap="0", by=thief)
    own = await registry.store.tokens.find(hash_secret(second))
    assert own is not None
    assert (await rotate_token(registry.store, own, by=own))[0].id == token.id


async def test_nothing_stays_nothing(registry: Registry, upstream: GitRepository) -> None:
    """A date beside no package at all lets nothing through, when it is made and when it is changed."""
    made = await make(registry, packages=[], published_before="2100-01-01")
    assert not made.reach["acme"].sees("acme/library")
    changed = await change(registry, await make(registry, packages=[]), published_before="2100-01-01")
    assert not changed.reach["acme"].sees("acme/library")


async def test_a_change_is_about_what_it_names(registry: Registry, both: Token) -> None:
    """The rules of other organizations stay, and so does their order, whoever is asked."""
    assert seen(both) == {"acme": ["acme/*"], "beta": ["beta/*"]}
    assert seen(await change(registry, both, packages=["acme/lib*"])) == {
        "acme": ["acme/lib*"],
        "beta": ["beta/*"],
    }
    changed = await change(registry, both, about="beta", packages=["beta/x*"])
    assert seen(changed) == {"acme": ["acme/*"], "beta": ["beta/x*"]}
    assert seen(await change(registry, both, about="beta", packages=None)) == {"acme": ["acme/*"], "beta": None}
    assert seen(await change(registry, both, about="beta", packages=[])) == {"acme": ["acme/*"], "beta": []}
    dated = await change(registry, both, published_before="2030-01-01")
    assert seen(dated) == seen(both)
    assert not dated.reach["beta"].view("beta/x").admits("1.0.0.0", None)  # type: ignore[union-attr]
    assert seen(await change(registry, both, about="beta", organizations=[], slugs=["beta"])) == {
        "beta": ["beta/*"]
    }


async def test_a_rule_stays_when_its_package_goes(registry: Registry, upstream: GitRepository) -> None:
    """What is not changed is not looked at again."""
    token = await make(registry, packages=["acme/library"])
    package = await registry.store.packages.get(registry.organization, "acme/library")
    await registry.store.packages.delete(registry.organization, package)
    assert seen(await change(registry, token, published_before="2030-01-01")) == {"acme": ["acme/library"]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"published_before": "9999-12-31T23:59:59-12:00"}, "is no date"),
        ({"published_before": "1969-01-01"}, "is no date"),
        ({"packages": [f"acme/{name}*:{' || '.join(['1.0.0'] * 300)}" for name in "ab"]}, "characters in all"),
        ({"packages": [f"acme/{number}*" for number in range(101)]}, "at most 100 rules"),
    ],
)
async def test_what_would_cost_everybody_is_refused(
    registry: Registry, options: dict[str, Any], message: str
) -> None:
    """Times that no list could show, and constraints that take seconds for each request."""
    with pytest.raises(InvalidError, match=message):
        await make(registry, **options)
