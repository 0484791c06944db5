"""Secrets are recognized before any database is asked, and expiry and scopes are what the operator said."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pricore.auth import access_tokens
from pricore.errors import ForbiddenError, InvalidError, NotFoundError, UnauthorizedError
from pricore.models import SCOPES
from pricore.rights.tokens import Token
from pricore.store import Store
from tests.rules import reach, token_name

NOW = int(datetime(2026, 6, 15, 12, 0, tzinfo=UTC).timestamp())


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Door:
    """An authenticator on a store with the organizations `acme` and `other`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.authenticator = access_tokens.Authenticator(store)

    async def token(
        self,
        *,
        org: str | None = "acme",
        scopes: tuple[str, ...] = (),
        secret: str = "",
        packages: Sequence[str] | None = None,
        **options: Any,
    ) -> str:
        """A new token's secret."""
        secret = secret or access_tokens.create_secret()
        organization = None if org is None else await self.store.organizations.get(org)
        await self.store.tokens.create(
            reach(organization, packages),
            name=token_name(),
            token_hash=access_tokens.hash_secret(secret),
            scopes=scopes,
            **options,
        )
        return secret

    async def identify(self, secret: str, *, at: float) -> Token:
        return await self.authenticator.identify(f"Bearer {secret}", at=at)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with Store(tmp_path / "data/pricore.sqlite3") as store:
        for slug in ("acme", "other"):
            await store.organizations.create(slug, slug)
        yield Door(store)


def test_a_new_secret_is_well_formed_and_one_of_its_kind() -> None:
    """Every secret has the form that scanners of leaked secrets look for, and no two are equal."""
    secrets = [access_tokens.create_secret() for _ in range(1000)]

    assert len(secrets) == len(set(secrets))
    assert all(re.fullmatch(r"pri_[0-9A-Za-z]{38}", secret) for secret in secrets)
    assert all(access_tokens.is_well_formed(secret) for secret in secrets)


def test_one_changed_character_is_seen() -> None:
    """A secret with any one character mistyped is not well formed, and isn't looked up."""
    secret = access_tokens.create_secret()
    changed = [
        secret[:index] + ("x" if secret[index] != "x" else "y") + secret[index + 1 :]
        for index in range(len(secret))
    ]

    assert [text for text in changed if access_tokens.is_well_formed(text)] == []


def test_two_exchanged_characters_are_seen() -> None:
    """Neighbours typed in the wrong order are not a well-formed secret."""
    secret = access_tokens.create_secret()
    exchanged = {
        secret[:index] + secret[index + 1] + secret[index] + secret[index + 2 :]
        for index in range(len(secret) - 1)
    }

    assert [text for text in exchanged - {secret} if access_tokens.is_well_formed(text)] == []


def test_a_secret_that_is_cut_or_has_more_is_not_well_formed() -> None:
    """What was not copied as a whole, or with something around it, is not a secret."""
    secret = access_tokens.create_secret()
    others = ["", "pri_", secret[:-1], secret[1:], secret + "a", secret + "\n", " " + secret, secret.upper()]

    assert [text for text in others if access_tokens.is_well_formed(text)] == []


def test_what_is_kept_of_a_secret_does_not_tell_it() -> None:
    """The hash is a sha256, equal for equal secrets only."""
    first, second = access_tokens.create_secret(), access_tokens.create_secret()

    assert len(access_tokens.hash_secret(first)) == 32
    assert access_tokens.hash_secret(first) == access_tokens.hash_secret(first)
    assert access_tokens.hash_secret(first) != access_tokens.hash_secret(second)


@pytest.mark.parametrize(
    "form",
    [
        "Bearer {secret}",
        "bearer {secret}",
        "BEARER   {secret} ",
        "basic password",
        "basic user",
        "basic both",
        "basic lower",
    ],
)
def test_a_secret_is_read_from_every_place_where_clients_put_it(form: str) -> None:
    """Bearer, and Basic with the secret as the password or as the user name, are all understood."""
    secret = access_tokens.create_secret()
    headers = {
        "basic password": basic("token", secret),
        "basic user": basic(secret, ""),
        "basic both": basic(secret, "x-oauth-basic"),
        "basic lower": basic("", secret).replace("Basic", "basic"),
    }

    assert secret == access_tokens.read_secret(headers.get(form) or form.format(secret=secret))


def test_the_password_counts_before_the_user_name() -> None:
    """Where both are secrets, the password is the one that is used."""
    first, second = access_tokens.create_secret(), access_tokens.create_secret()

    assert second == access_tokens.read_secret(basic(first, second))


@pytest.mark.parametrize(
    "header",
    [
        *("Basic %%%", "Basic a", "Basic YTpi=x", "Basic \u00e9", "Basic \udce9", "Basic /w=="),
        "Basic " + base64.b64encode(b"token:\xff\xfe").decode(),
    ],
)
def test_a_malformed_header_is_said_to_be_malformed(header: str) -> None:
    """Bytes that are no base64, or no text, are unauthorized and nothing worse."""
    with pytest.raises(UnauthorizedError, match=r"^the Authorization header is malformed$"):
        access_tokens.read_secret(header)


@pytest.mark.parametrize("scheme", ["Digest", "Token", "Negotiate", ""])
def test_other_schemes_hold_no_secret(scheme: str) -> None:
    """Only Bearer and Basic are read, even where a good secret stands behind another word."""
    with pytest.raises(UnauthorizedError):
        access_tokens.read_secret(f"{scheme} {access_tokens.create_secret()}")


@pytest.mark.parametrize(
    "header", ["", " ", "Bearer", "Bearer ", "Bearer pri_abc", "Basic", "Basic ", basic("a", "b")]
)
def test_what_is_no_secret_of_ours_is_unauthorized(header: str) -> None:
    """A header without a well-formed secret is refused without asking anything."""
    with pytest.raises(UnauthorizedError, match="not an access token of this registry"):
        access_tokens.read_secret(header)


def test_an_error_does_not_repeat_the_secret() -> None:
    """A mistyped secret is still most of a good one: no message shows it."""
    secret = access_tokens.create_secret()
    with pytest.raises(UnauthorizedError) as caught:
        access_tokens.read_secret(f"Bearer {secret[:-1]}")

    assert secret[4:20] not in str(caught.value)


async def test_a_token_ends_with_the_second_of_its_expiry(door: Door) -> None:
    """A token is good until its expiry and not at it, however often it was used; one without is good for ever."""
    ending, lasting = await door.token(expires_at=NOW), await door.token()

    for at in (NOW - 0.001, NOW - 1000.0):
        assert (await door.identify(ending, at=at)).expires_at == NOW
    assert (await door.identify(lasting, at=2.0**40)).expires_at is None
    for at in (float(NOW), NOW + 0.5):
        with pytest.raises(UnauthorizedError, match="expired"):
            await door.identify(ending, at=at)


async def test_a_missing_scope_is_named(door: Door) -> None:
    """The error for a missing scope says which one it is; expiry is told first."""
    scoped = await door.identify(await door.token(scopes=("tokens:read", "packages:read")), at=NOW)
    access_tokens.check_access(scoped, organization="acme", scope="packages:read")
    access_tokens.check_access(scoped, organization="acme", scope=None)
    with pytest.raises(ForbiddenError, match=r"lacks the scope packages:write$"):
        access_tokens.check_access(scoped, organization="acme", scope="packages:write")
    with pytest.raises(UnauthorizedError, match="expired"):
        await door.identify(await door.token(scopes=(), expires_at=NOW), at=NOW)


async def test_a_token_is_of_its_organization(door: Door) -> None:
    """Elsewhere it finds nothing, told before a missing scope; a token of the instance is at home everywhere."""
    token = await door.identify(await door.token(scopes=("packages:read",)), at=NOW)
    instance = await door.identify(await door.token(org=None, scopes=("packages:read",)), at=NOW)

    access_tokens.check_access(token, organization=None, scope="packages:read")
    for organization in ("other", "missing", ""):
        for scope in ("packages:read", "packages:write", None):
            with pytest.raises(NotFoundError) as caught:
                access_tokens.check_access(token, organization=organization, scope=scope)
            assert str(caught.value) == access_tokens.NOT_HERE
        access_tokens.check_access(instance, organization=organization, scope="packages:read")
        with pytest.raises(ForbiddenError, match=r"lacks the scope packages:write$"):
            access_tokens.check_access(instance, organization=organization, scope="packages:write")


async def test_a_restriction_names_what_may_be_seen(door: Door) -> None:
    """A token sees the names that it is restricted to; without a restriction all, with an empty one none."""
    names = ("acme/library", "acme/lib", "acme/library2", "")
    seen = {}
    for packages in (None, ("acme/library",), ()):
        token = await door.identify(await door.token(packages=packages), at=NOW)
        rights = access_tokens.rights_of(token, "acme")
        seen[packages] = tuple(name for name in names if rights.sees(name))

    assert seen == {None: names, ("acme/library",): ("acme/library",), (): ()}


async def test_no_header_is_asked_for_one(door: Door) -> None:
    """Without a header the error says how a token is sent."""
    with pytest.raises(UnauthorizedError, match=r"^an access token is needed: as the password of HTTP Basic"):
        await door.authenticator.identify(None, at=NOW)


async def test_a_secret_that_nobody_was_given_is_unknown(door: Door) -> None:
    """A well-formed secret of no token is unauthorized, and is found once it is a token's."""
    secret = access_tokens.create_secret()
    with pytest.raises(UnauthorizedError, match="unknown here, or was revoked"):
        await door.identify(secret, at=NOW)
    await door.token(secret=secret)

    assert (await door.identify(secret, at=NOW)).organization == "acme"


async def test_a_revoked_token_is_refused_though_it_was_good(door: Door) -> None:
    """What is remembered of a token ends with its revocation, by another process too."""
    revoked, kept = await door.token(), await door.token()
    token = await door.identify(revoked, at=NOW)
    await door.identify(kept, at=NOW)
    async with Store(door.store.path) as other:
        await other.tokens.revoke(await other.organizations.get("acme"), token.id)
    await asyncio.sleep(0)  # another request: a revision is asked for once in a turn of the loop

    with pytest.raises(UnauthorizedError, match="unknown here, or was revoked"):
        await door.identify(revoked, at=NOW)
    await door.identify(kept, at=NOW)


async def test_the_last_use_is_noted(door: Door) -> None:
    """A token that was let in counts as used then; one that had expired does not."""
    used, expired = await door.token(), await door.token(expires_at=NOW)
    for at in (NOW + 5.9, NOW + 1.0):
        await door.identify(used, at=at)
    with pytest.raises(UnauthorizedError):
        await door.identify(expired, at=NOW)
    await door.store.usage.flush()

    found = [await door.store.tokens.find(access_tokens.hash_secret(secret)) for secret in (used, expired)]
    assert [token.last_used_at for token in found if token] == [NOW + 1, None]


def test_scopes_are_kept_once_and_in_order() -> None:
    """However scopes are given, they are kept as the list of all scopes has them."""
    assert access_tokens.check_scopes(["tokens:write", "packages:read", "tokens:write"]) == (
        "packages:read",
        "tokens:write",
    )
    assert access_tokens.check_scopes(reversed(SCOPES)) == SCOPES
    assert access_tokens.check_scopes([]) == ()


@pytest.mark.parametrize("scope", ["packages", "packages:*", "Packages:read", "packages:read ", "", "*"])
def test_an_unknown_scope_is_refused_with_those_there_are(scope: str) -> None:
    """The error for an unknown scope lists all of them."""
    with pytest.raises(InvalidError) as caught:
        access_tokens.check_scopes(["packages:read", scope])

    assert f"there is no scope {scope}; choose from {', '.join(SCOPES)}" == str(caught.value)
    assert caught.value.field == "scopes"


@pytest.mark.parametrize("text", ["2027-01-31", "20270131", "2027-W04-7"])
def test_a_date_means_the_end_of_that_day(text: str) -> None:
    """A token that expires on a day is good through all of it, in UTC."""
    assert int(datetime(2027, 2, 1, tzinfo=UTC).timestamp()) == access_tokens.parse_expiry(text, at=NOW)


def test_today_is_not_past() -> None:
    """A token that expires today is good until midnight."""
    assert int(datetime(2026, 6, 16, tzinfo=UTC).timestamp()) == access_tokens.parse_expiry("2026-06-15", at=NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2027-01-01T12:00:00Z", datetime(2027, 1, 1, 12, tzinfo=UTC)),
        ("2027-01-01T12:00:00", datetime(2027, 1, 1, 12, tzinfo=UTC)),
        ("2027-01-01 12:00", datetime(2027, 1, 1, 12, tzinfo=UTC)),
        ("2027-01-01T12:00:00+02:00", datetime(2027, 1, 1, 10, tzinfo=UTC)),
        ("2027-01-01T00:00:00-05:30", datetime(2027, 1, 1, 5, 30, tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_means_that_moment(text: str, expected: datetime) -> None:
    """A time is taken in its own zone, and in UTC where it has none."""
    assert int(expected.timestamp()) == access_tokens.parse_expiry(text, at=NOW)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12h", 12 * 3600), ("1d", 86400), ("90d", 90 * 86400), ("2w", 14 * 86400), ("007d", 604800)],
)
def test_a_span_counts_from_now(text: str, seconds: int) -> None:
    """Hours, days and weeks are added to the present."""
    assert NOW + seconds == access_tokens.parse_expiry(text, at=NOW)


@pytest.mark.parametrize(
    "text", ["2026-06-14", "2026-06-15T12:00:00Z", "2026-06-15T13:00:00+02:00", "0001-01-01", "0d"]
)
def test_what_is_past_is_refused(text: str) -> None:
    """Nobody makes a token that is expired already."""
    with pytest.raises(InvalidError, match=f"^{re.escape(text)} is in the past$") as caught:
        access_tokens.parse_expiry(text, at=NOW)

    assert caught.value.field == "expires_at"


@pytest.mark.parametrize(
    "text",
    [
        *("", "never", "tomorrow", "90", "90 d", "90m", "1y", "-1d", "1.5d", "٣d", "100000d", "2027", "2027-1-1"),
        *("2027-02-30", "2027-13-01", "01/01/2027", "2027-01-01T25:00", "10000-01-01", "d", "2027-01-01x"),
    ],
)
def test_nonsense_is_refused_with_examples(text: str) -> None:
    """What is neither date nor time nor span is refused with one of each."""
    with pytest.raises(InvalidError, match=r"is neither a date such as 2027-01-01 nor a span such as 90d$"):
        access_tokens.parse_expiry(text, at=NOW)


@pytest.mark.parametrize("text", ["9999-12-31", "9999-12-31T23:59:59-23:59", "9999-W52-5"])
def test_a_time_that_cannot_be_shown_is_refused(text: str) -> None:
    """What lies after the year 9999 has no form in RFC 3339, and every list of tokens would fail on it."""
    with pytest.raises(InvalidError):
        access_tokens.parse_expiry(text, at=NOW)


async def test_what_is_remembered_of_tokens_has_a_bound(tmp_path: Path) -> None:
    """A token that is sent in ever other forms, or that names many packages, drives out the oldest."""
    async with Store(tmp_path / "pricore.sqlite3") as store:
        acme = await store.organizations.create("acme", "Acme")
        secret = access_tokens.create_secret()
        names = [f"acme/{number}" for number in range(90)]
        await store.tokens.create(
            reach(acme, names), name="CI", token_hash=access_tokens.hash_secret(secret), scopes=()
        )
        authenticator = access_tokens.Authenticator(store, most_known=1000)
        sent = [basic(f"user{number}", secret) for number in range(30)]
        for authorization in sent:
            assert await authenticator.identify(authorization, at=0)
        known = [
            authenticator.find_known(access_tokens.key_of(authorization), at=0) is not None
            for authorization in sent
        ]
        assert known == [False] * 20 + [True] * 10
