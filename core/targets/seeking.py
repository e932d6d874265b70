"""Jobs whose reply got lost: which of those that the target has is ours, and when to give it up.

The target has no key by which it would know a repetition, so a lost job is never handed in again before it is known
what became of it. One that has as many entries, was created since and is nobody's we know is ours if the ids in it are.
Of a delete nobody can say: its ids are read back once everything that it might be has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection

from core.catalogue_target import OVER, TargetJob
from core.db import fetch
from core.targets.contents import Target
from core.targets.settling import OpenJob

ON_ITS_WAY = timedelta(seconds=30)
"""Of the target's time: for so long a request whose reply got lost may still arrive."""

CLOCKS = timedelta(minutes=1)
"""How far the target's clock and ours may be apart."""


@dataclass(frozen=True, slots=True)
class Found:
    """What looking for a job came to: ours is `ref`; it may still show up; or it never will."""

    verdict: Literal["ours", "wait", "never"]
    ref: str | None = None


def search(
    job: OpenJob,
    names: frozenset[str],
    jobs: Sequence[TargetJob],
    names_in: Callable[[str], frozenset[str]],
    now: datetime,
    factor: float = 1.0,
) -> Found:
    """Decide by the target's `jobs` of that kind that are nobody's; `names_in` asks for the ids in one of them.

    While one that might be ours is unfinished and does not say whose it is, nothing is decided; nor while the request
    may still be on its way. Deletes never tell their ids, and as many entries say nothing: once none of them that might
    be is unfinished, what they did is read back.
    """
    is_open = False
    for one in jobs:
        if job.verb == "delete":
            is_open = is_open or (one.state not in OVER and one.created_at <= job.sent_at + ON_ITS_WAY + CLOCKS)
        elif one.total == job.entries:
            told = names_in(one.ref)
            if told and told <= names:
                return Found("ours", one.ref)
            is_open = is_open or (not told and one.state not in OVER)
    if is_open or now - job.sent_at < ON_ITS_WAY / factor:
        return Found("wait")
    return Found("never")


def unknown_refs(conn: Connection, target: Target, refs: Sequence[str]) -> set[str]:
    """Which of the target's jobs are none of ours by any row; an account may have several connections."""
    rows = fetch(
        conn,
        """
        select n.ref from unnest(%(refs)b::text[]) as n (ref) where not exists (
            select from connections mine
            join connections c on c.shop_id = mine.shop_id and c.vendor = mine.vendor
                and lower(c.account_ref) = lower(mine.account_ref)
            join target_jobs j on j.shop_id = c.shop_id and j.connection_id = c.id and j.ref = n.ref
            where mine.shop_id = %(shop)s and mine.id = %(connection)s)
        """,
        shop=target.shop_id,
        connection=target.connection_id,
        refs=list(refs),
    )
    return {row["ref"] for row in rows}
