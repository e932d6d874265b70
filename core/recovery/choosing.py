"""Which failures are meant, and whether they are still those that somebody looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection

from core.db import fetch_one, scalar
from core.errors import Anticipated, BadInput, Permanent
from core.recovery.masking import COVERED

Source = Literal["job", "message", "outbox"]
SOURCES: tuple[Source, ...] = ("job", "message", "outbox")

Check = Callable[[str, Mapping[str, object]], None]
"""Raises BadInput or Permanent where a job of that name with those arguments may not be queued."""


class FactsChanged(Anticipated):
    """What was previewed is no longer what is there; nothing was done."""

    def __init__(self, before: int, now: int) -> None:
        if now > before:
            text = f"{now - before:,} more failed since you looked"
        elif now < before:
            text = f"{before - now:,} of the {before:,} failures were dealt with since you looked"
        else:
            text = "they are other failures than those you looked at"
        super().__init__(f"Nothing was done: {text}. Look again.")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Open failures: one of them, all of a group, or, without either, every one of the shop."""

    group_key: str | None = None
    source: Source | None = None
    item_id: int | None = None

    def __post_init__(self) -> None:
        if (self.source is None) != (self.item_id is None) or (self.source and self.group_key):
            raise BadInput("failures are chosen by source and id, by group, or all")
        if self.source is not None and self.source not in SOURCES:
            raise BadInput(f"there is no source {self.source!r}: it is job, message or outbox")

    @property
    def subject(self) -> str:
        """How the audit log names them."""
        if self.source is not None:
            return f"failure:{self.source}:{self.item_id}"
        return f"failure_group:{self.group_key}" if self.group_key else "failures:all"


MEANT = """
    f.shop_id = %(shop)s and f.state = 'open' and (%(kind)s::int8 is null or f.kind_id = %(kind)s)
    and (%(source)s::text is null or (f.source = %(source)s and f.item_id = %(item)s))
"""
"""Open failures `f` of the parameters that `parameters` gives."""


def parameters(conn: Connection, shop_id: int, chosen: Chosen) -> dict[str, Any]:
    """What MEANT takes. Raises BadInput for a group that there is not."""
    kind = None
    if chosen.group_key is not None:
        kind = scalar(
            conn,
            "select id from failure_kinds where shop_id = %(shop)s and key = %(key)s",
            shop=shop_id,
            key=chosen.group_key,
        )
        if kind is None:
            raise BadInput(f"there is no group of failures {chosen.group_key!r}: list them again")
    return {"shop": shop_id, "kind": kind, "source": chosen.source, "item": chosen.item_id}


def token_of(conn: Connection, meant: Mapping[str, Any], *, lock: bool = False) -> tuple[int, str]:
    """How many failures are meant, and the token that names exactly these; locked in the order of their keys if asked.

    A failure that was dealt with and failed again is another one, though it has the same id.
    """
    row = fetch_one(
        conn,
        f"""
        with meant as (
            select f.source, f.item_id, f.at from failures f where {MEANT}
            order by f.source, f.item_id {"for update" if lock else ""}
        )
        select count(*) as items, coalesce(left(md5(string_agg(
            source || item_id::text || '@' || extract(epoch from at)::text, ',' order by source, item_id)), 16), '')
            as digest
        from meant
        """,
        **meant,
    )
    assert row is not None
    return row["items"], f"{row['items']}-{row['digest']}"


def claim(conn: Connection, meant: Mapping[str, Any], token: str) -> int:
    """Lock the failures of a token until the unit of work ends; returns how many. Raises FactsChanged.

    Of two who come with the same token the second finds them dealt with, and is told so.
    """
    items, is_now = token_of(conn, meant, lock=True)
    if items == 0 or is_now != token:
        before = token.partition("-")[0]
        raise FactsChanged(int(before) if before.isdigit() else 0, items)
    return items


def obstacle_of(works: Sequence[tuple[str, Mapping[str, object]]], check: Check) -> list[str]:
    """Why some of the works may not be queued, each reason once."""
    reasons: dict[str, None] = {}
    for function, arguments in works:
        if any(isinstance(value, str) and COVERED in value for value in arguments.values()):
            reasons[f"what {function} was called with is covered on record, so that nobody knows it any more"] = None
            continue
        try:
            check(function, arguments)
        except (BadInput, Permanent) as error:
            reasons[str(error)] = None
    return list(reasons)
