"""Versions by the stamps of vendors, which come in whole seconds."""

from __future__ import annotations

from datetime import datetime, timedelta

_SECOND = timedelta(microseconds=999_999)


def refined(updated_at: datetime, seen_at: datetime | None) -> datetime:
    """`updated_at`, which comes in whole seconds, moved within its second by when the vendor spoke or was read.

    Two changes within one second carry the same updated_at; the later of them was also spoken of later.
    """
    if seen_at is None or seen_at <= updated_at:
        return updated_at
    return min(seen_at, updated_at.replace(microsecond=0) + _SECOND)
