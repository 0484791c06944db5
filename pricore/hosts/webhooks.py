"""How a kind of Git host delivers webhooks: what proves who sends one, and what it tells."""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping

import msgspec

from pricore.errors import UnauthorizedError


class SecretHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The secret itself in a header, behind the name of a scheme where that is not empty."""

    header: str
    scheme: str = ""

    def read(self, headers: Mapping[str, str]) -> str | None:
        """What stands there for the secret; None where nothing does, or something of another scheme."""
        value = headers.get(self.header)
        if value is None or not self.scheme:
            return value
        scheme, _, credentials = value.partition(" ")
        return credentials.strip() if scheme.lower() == self.scheme else None


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """An HMAC with SHA-256 over the raw body in a header, in hexadecimal digits behind a prefix.

    A `standard` one has the form of Standard Webhooks: the key is what the secret's base64 says, an id and a time
    are in front of the body, and there may be several signatures, in base64, with blanks between them.
    """

    header: str
    prefix: str = ""
    standard: bool = False


class Signed:
    """A body that arrives, and the signature that came with it."""

    def __init__(self, signature: Signature, headers: Mapping[str, str], secret: str) -> None:
        self._signature = signature
        given = headers[signature.header]
        self._claims = given.split() if signature.standard else [given]
        key = base64.b64decode(secret.partition("_")[2]) if signature.standard else secret.encode()
        self._mac = hmac.new(key, digestmod=hashlib.sha256)
        if signature.standard:
            for name in ("webhook-id", "webhook-timestamp"):
                self._mac.update(_bytes(headers.get(name, "") + "."))

    def update(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        self._mac.update(piece)

    def check(self) -> None:
        """Raise UnauthorizedError where the signature doesn't fit the body that has arrived."""
        digest = self._mac.digest()
        written = base64.b64encode(digest).decode() if self._signature.standard else digest.hex()
        if not any(_equal(claim, self._signature.prefix + written) for claim in self._claims):
            raise UnauthorizedError(
                f"the signature in {self._signature.header} fits neither the body nor the secret; "
                "`pricore repo webhook` prints the one in force"
            )


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind of Git host sends, and how people set it up.

    The first of `signatures` that is there has to hold; where none is, one of `secrets` has to be the secret. The
    event is in the first of `event_headers` that is there: those in `syncs` move refs (empty: each does),
    `pings` ask whether anybody is there, `unsigned` are pings that come without a signature. `steps` tell people,
    in some lines, where to paste the `{url}` and the `{secret}`.
    """

    signatures: tuple[Signature, ...] = ()
    secrets: tuple[SecretHeader, ...] = ()
    event_headers: tuple[str, ...] = ()
    syncs: frozenset[str] = frozenset()
    pings: frozenset[str] = frozenset()
    unsigned: frozenset[str] = frozenset()
    steps: str

    @property
    def proofs(self) -> str:
        """The headers that can hold the proof, for people."""
        return " or ".join([item.header for item in self.signatures] + [item.header for item in self.secrets])

    def event(self, headers: Mapping[str, str]) -> str:
        """What a delivery is about; empty where it doesn't say."""
        return _first(headers, self.event_headers) or ""

    def is_signed(self, headers: Mapping[str, str]) -> bool:
        """Whether there is a signature, good or not."""
        return _first(headers, (item.header for item in self.signatures)) is not None

    def prove(self, headers: Mapping[str, str], secret: str) -> Signed | None:
        """What the body of a delivery has to pass; None where the secret itself is in the headers.

        Raises UnauthorizedError where nothing in the headers can prove that the sender knows the secret.
        """
        for signature in self.signatures:
            if signature.header in headers:
                return Signed(signature, headers, secret)
        shown = [found for item in self.secrets if (found := item.read(headers)) is not None]
        if not shown:
            raise UnauthorizedError(
                f"the webhook shows no secret, in {self.proofs}; `pricore repo webhook` prints the one to set"
            )
        if not any(_equal(found, secret) for found in shown):
            raise UnauthorizedError("this is not the secret in force; `pricore repo webhook` prints that one")
        return None

    def moves_refs(self, event: str) -> bool:
        """Whether branches or tags are others after such an event."""
        return not self.syncs or event in self.syncs


def _first(headers: Mapping[str, str], names: Iterable[str]) -> str | None:
    """The value of the first of these headers that is there."""
    return next((headers[name] for name in names if name in headers), None)


def _equal(given: str, wanted: str) -> bool:
    """Whether two texts are the same, in a time that tells nothing about where they differ."""
    return hmac.compare_digest(_bytes(given), _bytes(wanted))


def _bytes(text: str) -> bytes:
    """A header as it came: what is no UTF-8 in it is text too, for aiohttp."""
    return text.encode(errors="surrogateescape")
