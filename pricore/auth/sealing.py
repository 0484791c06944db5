"""Secrets that have to be read again, such as those of webhooks: sealed with a key that is not in the database."""

import asyncio
import base64
import binascii
import secrets
from pathlib import Path
from typing import Final

from pricore.errors import InvalidError, NotFoundError, SealError
from pricore.store import Store
from pricore.system.files import write_file

_VERSION: Final = b"\x01"
"""Stands in front of what is sealed: AES-256-GCM, a nonce, the text with its tag."""

_NONCE: Final = 12
_KEY: Final = 32
_SALT: Final = 16
_KEPT: Final = "key"
_LEAST_PASSPHRASE: Final = 12


class Sealer:
    """Seals texts with the key in a file, which is made when the first one is sealed, and never otherwise.

    The file holds 32 random bytes as a line of base64. It is read each time, so that one put back counts at once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def seal(self, secret: str, *, purpose: str) -> bytes:
        """A text sealed for one purpose, such as a repository's webhooks; it opens for no other.

        Raises SealError where the key is no key, or can be neither read nor made.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # only who has secrets pays for it

        nonce = secrets.token_bytes(_NONCE)
        return _VERSION + nonce + AESGCM(self._key(make=True)).encrypt(nonce, secret.encode(), _bound(purpose))

    def open(self, sealed: bytes, *, purpose: str) -> str:
        """The text that was sealed for a purpose.

        Raises SealError where the key is missing or unreadable, and where it was another key or purpose.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if not sealed.startswith(_VERSION):
            raise SealError("a secret was sealed by a newer Pricore: upgrade this program")
        nonce, text = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            return AESGCM(self._key()).decrypt(nonce, text, _bound(purpose)).decode()
        except (InvalidTag, ValueError):  # ValueError: it was cut off
            raise SealError(
                f"the key in {self._path} is not the one that sealed this secret: "
                "put that one back from a backup, or create the secret again"
            ) from None

    def read(self) -> bytes:
        """The key itself, to be kept elsewhere. Raises SealError where there is none."""
        return self._key()

    def _key(self, *, make: bool = False) -> bytes:
        try:
            key = base64.b64decode(self._path.read_bytes().strip(), validate=True)
        except FileNotFoundError:
            if make:
                self.put(secrets.token_bytes(_KEY))
                return self._key()  # which may be another process's
            raise SealError(
                f"the key that seals secrets is missing: put {self._path} back from a backup, "
                "or create the secret again"
            ) from None
        except OSError as error:
            raise SealError(
                f"cannot read the key that seals secrets, {self._path}: {error.strerror}; let this user read it"
            ) from None
        except binascii.Error:
            key = b""
        if len(key) != _KEY:
            raise SealError(
                f"{self._path} holds no key, which is 32 bytes as base64: put the key back from a backup, "
                "or move the file away and create the secrets again"
            )
        return key

    def put(self, key: bytes) -> None:
        """Write the key, whole or not at all; where there is one, that one stays. Raises SealError."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # on the disk when this returns: what is sealed must not outlive its key
            write_file(self._path, base64.b64encode(key) + b"\n", replace=False)
        except OSError as error:
            raise SealError(
                f"cannot make the key that seals secrets, {self._path}: {error.strerror}; "
                "let this user write that folder, or name a file in another one as key_file"
            ) from None


def _bound(purpose: str) -> bytes:
    """What a sealed text is bound to beside its key, so that it means nothing in another row."""
    return _VERSION + purpose.encode()


def check_passphrase(passphrase: str) -> str:
    """Refuse with InvalidError one that would not keep anybody out for long."""
    if len(passphrase) < _LEAST_PASSPHRASE:
        raise InvalidError(f"the passphrase must have {_LEAST_PASSPHRASE} characters or more", field="passphrase")
    return passphrase


def seal_with_passphrase(key: bytes, passphrase: str) -> bytes:
    """The key in a form that may lie beside what it opens."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce = secrets.token_bytes(_SALT), secrets.token_bytes(_NONCE)
    return _VERSION + salt + nonce + AESGCM(_stretched(passphrase, salt)).encrypt(nonce, key, _bound(_KEPT))


def open_with_passphrase(sealed: bytes, passphrase: str) -> bytes:
    """The key that was sealed with a passphrase. Raises SealError where it was another one."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if not sealed.startswith(_VERSION):
        raise SealError("the key was sealed by a newer Pricore: upgrade this program")
    salt, nonce, text = sealed[1 : 1 + _SALT], sealed[1 + _SALT :][:_NONCE], sealed[1 + _SALT + _NONCE :]
    try:
        key = AESGCM(_stretched(passphrase, salt)).decrypt(nonce, text, _bound(_KEPT))
    except (InvalidTag, ValueError):  # ValueError: it was cut off
        raise SealError("the passphrase is not the one with which the key was sealed") from None
    return key


def _stretched(passphrase: str, salt: bytes) -> bytes:
    """A key out of a passphrase; it takes 128 MB and some tenths of a second, for who tries them all too."""
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt=salt, length=_KEY, n=2**17, r=8, p=1).derive(passphrase.encode())


class WebhookSecrets:
    """What Git hosts show or sign their webhooks with: a secret a repository, sealed in the database."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._repositories = store.repositories
        self._sealer = sealer

    async def find(self, repository_id: str) -> str | None:
        """The secret in force; None where none was made. Raises SealError."""
        sealed = await self._repositories.webhook_secret(repository_id)
        if sealed is None:
            return None
        # in a thread: it reads a file, and loads a library the first time
        return await asyncio.to_thread(self._sealer.open, sealed, purpose=webhook_purpose(repository_id))

    async def provide(self, repository_id: str, *, rotate: bool = False) -> str:
        """The secret in force, made where there is none, or anew on request.

        Who asks at the same time gets the same one. Raises SealError, and NotFoundError where the repository
        is gone.
        """
        sealed = await self._repositories.webhook_secret(repository_id)
        if sealed is None or rotate:
            made = self._sealer.seal(_create_secret(), purpose=webhook_purpose(repository_id))
            await self._repositories.set_webhook_secret(repository_id, made, replacing=sealed)
        secret = await self.find(repository_id)
        if secret is None:
            raise NotFoundError("the repository was removed in the meantime")
        return secret


def _create_secret() -> str:
    """256 random bits in the form of Standard Webhooks, which GitLab asks for and all others take as any text."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def webhook_purpose(repository_id: str) -> str:
    """What the secret of a repository's webhooks is sealed for."""
    return f"webhook:{repository_id}"
