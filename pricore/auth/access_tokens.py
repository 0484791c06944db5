"""Access tokens: how a secret is made, recognized and read out of a request, and what a token may do."""

import base64
import hashlib
import re
import secrets
import zlib
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final

from pricore.errors import ForbiddenError, InvalidError, NotFoundError, UnauthorizedError
from pricore.models import SCOPES
from pricore.rights.tokens import Token
from pricore.rights.visibility import Rights
from pricore.store import Store

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM: Final = 32
_CHECK: Final = 6
LATEST: Final = 253_402_300_799
"""The last second of the year 9999: what RFC 3339 can say ends there."""

_MOST_KNOWN: Final = 500_000
_TOKEN: Final = 10
"""What a token counts as, besides its rules."""

NOT_HERE: Final = "there is nothing here, or it is not for this access token"
"""What is said of what does not exist, and in the same words of what a token may not see."""

NEEDED: Final = "an access token is needed: as the password of HTTP Basic, or as Bearer"
"""What is said to a request without one."""

PROBE: Final = "pricore doctor"
"""How the doctor calls itself, and each of its tokens with a number: what it asks for is nobody's download."""

_SECRET = re.compile(rf"pri_[0-9A-Za-z]{{{_RANDOM + _CHECK}}}")


def create_secret() -> str:
    """A new token's secret: `pri_`, 32 random letters and digits (190 bits), and 6 that check them.

    The check tells a mistyped or cut token, and a scanner of leaked secrets, that it is one of ours.
    """
    random = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return f"pri_{random}{_check(random)}"


def _check(random: str) -> str:
    number = zlib.crc32(random.encode())
    digits = []
    for _ in range(_CHECK):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def hash_secret(secret: str) -> bytes:
    """What is kept of a secret. It is long and random: a slow hash would add nothing."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()


def is_well_formed(secret: str) -> bool:
    """Whether a text can be a secret of ours at all; if not, no database needs to be asked."""
    return bool(_SECRET.fullmatch(secret)) and _check(secret[4 : 4 + _RANDOM]) == secret[4 + _RANDOM :]


def read_secret(authorization: str) -> str:
    """The secret in an Authorization header: Bearer, or Basic with it as the password or as the user name.

    Raises UnauthorizedError where there is none.
    """
    scheme, _, credentials = authorization.strip().partition(" ")
    candidates: Iterable[str] = ()
    if scheme.lower() == "bearer":
        candidates = (credentials.strip(),)
    elif scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
        except ValueError:  # no base64, or no text in it
            raise UnauthorizedError("the Authorization header is malformed") from None
        candidates = (password, user)
    for secret in candidates:
        if is_well_formed(secret):
            return secret
    raise UnauthorizedError("this is not an access token of this registry: it is mistyped, or cut off")


class _Known(dict[bytes, tuple[Token, int]]):
    """Tokens by their keys, with the number of the newest change before each was looked up; the oldest go."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0

    def keep(self, key: bytes, token: Token, revision: int) -> None:
        """Remember a token."""
        self.drop(key)
        self[key] = token, revision
        self._size += _weight(token)
        while self._size > self._most:
            self.drop(next(iter(self)))

    def drop(self, key: bytes) -> None:
        """Forget a token, if it is there."""
        if found := self.pop(key, None):
            self._size -= _weight(found[0])


def _weight(token: Token) -> int:
    return _TOKEN + sum(len(rules) for rights in token.reach.values() for rules in rights.layers)


class Authenticator:
    """Finds the token that a request carries; it is remembered until something of its organization changes.

    `most_known` bounds what is remembered: the rules of tokens, and ten for each token. `restricted_sources` is
    whether those with rules get the addresses of sources.
    """

    def __init__(self, store: Store, *, restricted_sources: bool = False, most_known: int = _MOST_KNOWN) -> None:
        self._store = store
        self._restricted_sources = restricted_sources
        self._known = _Known(most_known)

    async def identify(
        self, authorization: str | None, *, at: float, address: str = "", client: str = ""
    ) -> Token:
        """The token in an Authorization header, which counts as used then from an address, by a client.

        Raises UnauthorizedError where there is none, or one that is malformed, unknown, revoked or expired.
        """
        if authorization is None:
            raise UnauthorizedError(NEEDED)
        key = key_of(authorization)
        token = self._find(key)
        if token is None:
            revision = self._store.revision()  # before it is looked up: what changes meanwhile ends it
            token = await self._store.tokens.find(hash_secret(read_secret(authorization)))
            if token is None:
                self._known.drop(key)
                raise UnauthorizedError("the access token is unknown here, or was revoked")
            if self._restricted_sources:
                token = token.with_sources()
            self._known.keep(key, token, revision)
        if token.expires_at is not None and token.expires_at <= at:
            raise UnauthorizedError("the access token has expired; ask for a new one")
        self._store.usage.token_used(token.id, int(at), address, client)
        return token

    def find_known(self, key: bytes, *, at: float, address: str = "", client: str = "") -> Token | None:
        """The token with a key, if it was identified before and is still good; it counts as used then and so."""
        token = self._find(key)
        if token is None or (token.expires_at is not None and token.expires_at <= at):
            return None
        self._store.usage.token_used(token.id, int(at), address, client)
        return token

    def _find(self, key: bytes) -> Token | None:
        """What is known of a token and still true: it ends with a change of its organizations, or of nobody's."""
        found = self._known.get(key)
        if found is None:
            return None
        token, revision = found
        for organization in token.reach or (None,):
            if self._store.revision_of(organization) > revision:
                return None
        return token


def key_of(authorization: str) -> bytes:
    """Under which the token in an Authorization header is known: a hash, so that no secret stays in memory."""
    # blake2b is set up in half the time of sha256
    return hashlib.blake2b(authorization.encode(errors="surrogateescape"), digest_size=32).digest()


def check_access(token: Token, *, organization: str | None, scope: str | None) -> None:
    """Refuse with NotFoundError another organization's token, with ForbiddenError one without the scope."""
    if organization is not None and token.rights(organization) is None:
        raise NotFoundError(NOT_HERE)
    if scope is not None and scope not in token.scopes:
        raise ForbiddenError(f"the access token lacks the scope {scope}")


def rights_of(token: Token, organization: str) -> Rights:
    """What a token sees of an organization, given by its slug. Raises NotFoundError for another's token."""
    rights = token.rights(organization)
    if rights is None:
        raise NotFoundError(NOT_HERE)
    return rights


def check_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes without repetition, in the order of the list. Raises InvalidError for an unknown one."""
    given = set(scopes)
    if unknown := sorted(given.difference(SCOPES)):
        raise InvalidError(f"there is no scope {unknown[0]}; choose from {', '.join(SCOPES)}", field="scopes")
    return tuple(scope for scope in SCOPES if scope in given)


def check_name(name: str) -> str:
    """A name for people without blanks around it. Raises InvalidError for none, or for what cannot be shown."""
    name = name.strip()
    if not 1 <= len(name) <= 255 or not name.isprintable():
        raise InvalidError("the name must have 1 to 255 characters that can be shown", field="name")
    return name


def parse_expiry(text: str, *, at: int) -> int:
    """When a token expires, seconds: a date (to its end, UTC), a time, or a span from `at` such as 90d or 12h.

    Raises InvalidError for anything else, and for what is past.
    """
    if match := re.fullmatch(r"([0-9]{1,5})([dhw])", text):
        unit = {"h": 3600, "d": 86400, "w": 7 * 86400}[match[2]]
        expires_at = at + int(match[1]) * unit
    else:
        try:
            moment = datetime.fromisoformat(text)
            if _is_date(text):
                moment += timedelta(days=1)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            expires_at = int(moment.timestamp())
        except (ValueError, OverflowError):
            raise InvalidError(
                f"{text[:40]!r} is neither a date such as 2027-01-01 nor a span such as 90d", field="expires_at"
            ) from None
    if expires_at <= at:
        raise InvalidError(f"{text} is in the past", field="expires_at")
    if expires_at > LATEST:
        raise InvalidError(f"{text} is after the year 9999", field="expires_at")
    return expires_at


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
