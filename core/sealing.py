"""Sealing what nobody may read: credentials and addresses as Fernet tokens, under the keys of the installation.

Keys stand in SWITCHYARD_SECRET_KEYS, newest first: the newest seals, any of them opens.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Sequence
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import BadInput, Permanent


class NoSecretKeys(Permanent):
    """Credentials cannot be sealed or opened without a key."""

    def __init__(self) -> None:
        super().__init__("SWITCHYARD_SECRET_KEYS is empty: give one or more Fernet keys, newest first")


class BadSecretKey(BadInput):
    """What stands among the keys is none."""

    def __init__(self, position: int) -> None:
        super().__init__(
            f"key {position} of SWITCHYARD_SECRET_KEYS is no Fernet key (32 bytes in URL-safe base64):"
            " `switchyard keys new` prints one"
        )


def fernets(keys: Sequence[str]) -> list[Fernet]:
    """The keys ready for use, newest first. Raises NoSecretKeys, BadSecretKey."""
    if not keys:
        raise NoSecretKeys
    made = []
    for position, key in enumerate(keys, start=1):
        try:
            made.append(Fernet(key))
        except ValueError:
            # Not as the cause: its text may hold the key.
            raise BadSecretKey(position) from None
    return made


def seal(keys: Sequence[str], text: str) -> bytes:
    """`text` sealed under the newest key. Raises NoSecretKeys, BadSecretKey."""
    return MultiFernet(fernets(keys)).encrypt(text.encode())


def unseal(keys: Sequence[str], token: bytes) -> str | None:
    """What was sealed; None where none of the keys opens it. Raises NoSecretKeys, BadSecretKey."""
    try:
        return MultiFernet(fernets(keys)).decrypt(bytes(token)).decode()
    except InvalidToken:
        return None


@lru_cache(maxsize=16)
def derived(keys: tuple[str, ...], purpose: str) -> tuple[bytes, ...]:
    """From each key one of 32 bytes for another purpose, newest first: what signs never seals, and says nothing of it.

    Raises NoSecretKeys, BadSecretKey.
    """
    fernets(keys)
    return tuple(HKDF(SHA256(), 32, salt=None, info=purpose.encode()).derive(urlsafe_b64decode(key)) for key in keys)
