"""Before a channel is written to: what writing would change of it, and whether that is known; and the word to begin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection

from core.audit import Actor
from core.connections import switches
from core.connections.queries import UnknownConnection
from core.db import fetch, fetch_one
from core.errors import Anticipated

Verdict = Literal[
    "equal", "raised", "lowered", "zeroed", "refused", "unread", "waiting", "untracked", "unmapped", "gone"
]
"""What becomes of a listing once its channel is written to. Only raised, lowered and zeroed are written."""

ZEROED_MAX = 20
"""More listings than that go to 0 only on an explicit word: most often it is a mistake about a whole catalogue."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Listings of one verdict; `units` that they would show more (or, negative, less) in all."""

    listings: int = 0
    units: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What writing to a connection would change.

    `reasons`: why listings are not written, the most frequent first, as (verdict, reason, listings).
    `open_orders_from`: older open orders were hidden from us. `missing`: what is still to be done before all this is
    known.
    """

    connection: str
    write_mode: Literal["live", "shadow"]
    tallies: dict[Verdict, Tally]
    reasons: Sequence[tuple[Verdict, str, int]]
    duplicates: int
    open_orders: int
    open_orders_from: datetime | None
    unmapped_lines: int
    parked: int
    missing: Sequence[str]

    @property
    def is_complete(self) -> bool:
        """Whether everything that decides on it is known."""
        return not self.missing

    def of(self, verdict: Verdict) -> Tally:
        """How many listings have that verdict."""
        return self.tallies.get(verdict, Tally())

    @property
    def listings(self) -> int:
        """All listings of the connection."""
        return sum(tally.listings for tally in self.tallies.values())

    def sentence(self) -> str:
        """What would happen, as one says it before one does it."""
        raised, lowered, zeroed = self.of("raised"), self.of("lowered"), self.of("zeroed")
        changed = raised.listings + lowered.listings + zeroed.listings
        if not changed:
            return f"{self.connection} shows what it should on all {self.of('equal').listings:,} listings we write."
        return (
            f"{changed:,} of {self.listings:,} listings of {self.connection} would be written: "
            f"{raised.listings:,} raised by {raised.units:,} units, {lowered.listings:,} lowered by "
            f"{-lowered.units:,}, {zeroed.listings:,} taken to 0 from {-zeroed.units:,}; "
            f"{self.of('equal').listings:,} are equal."
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """One listing, as it is shown and as it should be."""

    listing_id: int
    channel_ref: str
    channel_code: str | None
    title: str
    code: str | None
    location: str | None
    shows_units: int | None
    should_show_units: int | None
    difference_units: int | None
    verdict: Verdict
    reason: str | None
    is_duplicate: bool


def compare(conn: Connection, shop_id: int, connection_id: int) -> Comparison:
    """What writing to a connection would change, in sums. Raises UnknownConnection."""
    where = {"shop": shop_id, "id": connection_id}
    facts = fetch_one(conn, _FACTS, **where)
    if facts is None:
        raise UnknownConnection(shop_id, connection_id)
    rows = fetch(
        conn,
        """
        select verdict, count(*) as listings, coalesce(sum(difference_units), 0)::int8 as units,
            count(*) filter (where is_duplicate) as duplicates
        from listing_comparison where shop_id = %(shop)s and connection_id = %(id)s group by 1
        """,
        **where,
    )
    return Comparison(
        connection=facts["name"],
        write_mode=facts["write_mode"],
        tallies={row["verdict"]: Tally(row["listings"], row["units"]) for row in rows},
        reasons=[(row["verdict"], row["reason"], row["listings"]) for row in fetch(conn, _REASONS, **where)],
        duplicates=sum(row["duplicates"] for row in rows),
        open_orders=facts["open_orders"],
        open_orders_from=facts["open_orders_from"],
        unmapped_lines=facts["unmapped_lines"],
        parked=facts["parked"],
        missing=_missing(dict(facts)),
    )


# Refusals carry the channel's code before their own words, which may name the listing.
_REASONS = """
select verdict, split_part(reason, ': ', 1) as reason, count(*) as listings from listing_comparison
where shop_id = %(shop)s and connection_id = %(id)s and verdict in ('refused', 'waiting', 'unmapped')
    and reason is not null
group by 1, 2 order by 3 desc, 1, 2 limit 20
"""

_FACTS = """
select c.name, c.write_mode, c.catalogue_read_at, c.reads_orders, c.open_orders_read_at, c.open_orders_from,
    c.orders_polled_at,
    (select count(*) from orders o where o.shop_id = c.shop_id and o.connection_id = c.id
        and o.channel_created_at < c.created_at and o.cancelled_at is null) as open_orders,
    (select count(*) from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        where l.shop_id = c.shop_id and l.mapping = 'unmapped' and o.connection_id = c.id) as unmapped_lines,
    (select count(*) from inbox_messages m where m.shop_id = c.shop_id and m.connection_id = c.id
        and m.state = 'received') as unread,
    (select count(*) from inbox_messages m where m.shop_id = c.shop_id and m.connection_id = c.id
        and m.state = 'parked' and m.cause <> 'unknown_item') as parked,
    (select count(*) from listings l where l.shop_id = c.shop_id and l.connection_id = c.id and l.is_to_push
        and l.unseen_units <> 0) as unexplained,
    exists (select from policy_versions v where v.shop_id = c.shop_id and v.finished_at is null) as is_replanned
from connections c where c.shop_id = %(shop)s and c.id = %(id)s
"""


def _missing(facts: dict[str, Any]) -> list[str]:
    """What has to be done before the comparison can be believed."""
    missing = []
    if facts["catalogue_read_at"] is None:
        missing.append("its catalogue and levels were never read to the end: sync it")
    if facts["reads_orders"] and facts["catalogue_read_at"] is not None and facts["open_orders_read_at"] is None:
        missing.append("its open orders are not read yet: sync it")
    if facts["reads_orders"] and facts["orders_polled_at"] is None:
        missing.append("its orders were never polled to the end: the next poll does it")
    if facts["unread"]:
        missing.append(f"{facts['unread']:,} messages of it are not handled yet: wait a moment")
    if facts["unexplained"]:
        missing.append(
            f"what it did by itself at {facts['unexplained']:,} listings is not explained yet: wait for a poll"
        )
    if facts["is_replanned"]:
        missing.append("channel rules that were saved are still being followed: wait a moment")
    return missing


def differences(
    conn: Connection,
    shop_id: int,
    connection_id: int,
    *,
    limit: int = 100,
    after: tuple[int, int] | None = None,
    verdicts: Sequence[Verdict] = ("raised", "lowered", "zeroed"),
) -> list[Difference]:
    """Listings of some verdicts, those that differ most first, by page.

    `after` is `position` of the last one of the page before.
    """
    rows = fetch(
        conn,
        """
        select listing_id, channel_ref, channel_code, title, code, location, shows_units, should_show_units,
            difference_units, verdict, reason, is_duplicate
        from listing_comparison
        where shop_id = %(shop)s and connection_id = %(id)s and verdict = any(%(verdicts)s)
            and (-abs(coalesce(difference_units, 0)), listing_id) > (%(size)s, %(listing)s)
        order by -abs(coalesce(difference_units, 0)), listing_id limit %(limit)s
        """,
        shop=shop_id,
        id=connection_id,
        verdicts=list(verdicts),
        size=-(2**31) if after is None else -after[0],
        listing=0 if after is None else after[1],
        limit=limit,
    )
    return [Difference(**row) for row in rows]


def position(last: Difference) -> tuple[int, int]:
    """Where the next page of `differences` begins."""
    return abs(last.difference_units or 0), last.listing_id


def all_differences(
    conn: Connection, shop_id: int, connection_id: int, verdicts: Sequence[Verdict]
) -> Iterator[Difference]:
    """Every listing of some verdicts, page by page."""
    after: tuple[int, int] | None = None
    while page := differences(conn, shop_id, connection_id, limit=1000, after=after, verdicts=verdicts):
        yield from page
        after = position(page[-1])


class NotCompared(Anticipated):
    """What writing would change is not known yet."""

    def __init__(self, comparison: Comparison) -> None:
        super().__init__(f"{comparison.connection} cannot go live yet: {'; '.join(comparison.missing)}")


class TooManyZeroed(Anticipated):
    """Going live would take many listings to 0, and nobody said that this is meant."""

    def __init__(self, comparison: Comparison, allowed: int) -> None:
        zeroed = comparison.of("zeroed")
        super().__init__(
            f"going live would take {zeroed.listings:,} listings of {comparison.connection} to 0, which show "
            f"{-zeroed.units:,} units now; {allowed:,} may be: look at `switchyard compare`, and say how many are meant"
        )


def go_live(
    conn: Connection,
    shop_id: int,
    connection_id: int,
    actor: Actor,
    now: datetime,
    *,
    zeroed_max: int = ZEROED_MAX,
) -> Comparison | None:
    """Begin to write what differs to a connection in shadow mode; None where it is live already.

    Returns what there was to write. Raises NotCompared where that is not known, TooManyZeroed where it would take more
    than `zeroed_max` listings to 0, UnknownConnection.
    """
    found = compare(conn, shop_id, connection_id)
    if found.write_mode == "live":
        return None
    if not found.is_complete:
        raise NotCompared(found)
    if found.of("zeroed").listings > zeroed_max:
        raise TooManyZeroed(found, zeroed_max)
    switches.to_live(conn, shop_id, connection_id, actor, now)
    return found
