"""How the vendor writes ids and dates."""

import hashlib
from datetime import UTC, datetime
from functools import lru_cache

PREFIX = "$custom:::$default:::"
DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"


def ulid(wall: float, kind: str, number: int) -> str:
    """26 digits in Crockford's base 32: the time in milliseconds, and what tells it from others of that time."""
    digest = hashlib.blake2b(f"{kind} {number}".encode(), digest_size=10).digest()
    value = (int(wall * 1000) << 80) | int.from_bytes(digest, "big")
    return "".join(DIGITS[(value >> (5 * place)) & 31] for place in range(25, -1, -1))


def short_id(kind: str, number: int) -> str:
    """Six letters and digits, as accounts and metrics have them."""
    value = int.from_bytes(hashlib.blake2b(f"{kind} {number}".encode(), digest_size=8).digest(), "big")
    return "".join(LETTERS[(value // len(LETTERS) ** place) % len(LETTERS)] for place in range(6))


def compound(external_id: str) -> str:
    return PREFIX + external_id


def external(compound_id: str) -> str | None:
    """The id that the account gave, or None when this is no compound id of its own catalogue."""
    rest = compound_id.removeprefix(PREFIX)
    return rest if rest and rest != compound_id else None


def written(wall: float) -> str:
    """Seconds since 1970 as an ISO instant, whole seconds."""
    return _written(int(wall))


@lru_cache(maxsize=4096)
def _written(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()
