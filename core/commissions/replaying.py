"""Try rules on past orders: what each party would have earned under a draft, against what was booked. Writes nothing.

Orders go through the same functions as when they are booked: what was sold, what is left of it, which rules a line
falls under, what they come to. Of two sides with the same rules therefore nothing differs, to the minor unit.

Tiered rules go by the month's volume before each line. Where a draft changes nothing of which lines count towards a
volume, each line keeps the place in it that it was booked at; else the volume is counted anew, in order of sale.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from core.commissions import queries
from core.commissions.drafts import Draft, numbered
from core.commissions.facts import Bucket, left_after, sold_amounts
from core.commissions.operations import VolumeKey, terms_of, volume_keys, volume_owners, volumes_sold
from core.commissions.queries import NOTHING_BOOKED, BookedOrder, SaleRow
from core.commissions.rules import (
    BASES,
    NO_RULES,
    NOTHING,
    Amount,
    Base,
    Context,
    Four,
    Parties,
    Rule,
    RuleBook,
    Shares,
    Terms,
    TermsKey,
    shares,
)
from core.db import fetch, fetch_one

LINES_MAX = 20_000
"""Lines of one replay, unless it is told otherwise: some seconds of work."""
CHUNK = 500
"""Orders read at once: all that is ever in memory."""
EXAMPLES = 10

Progress = Callable[[int, int], None]
"""Called with lines done, and all there are to do."""


class Who(NamedTuple):
    """Who has a share: a party by its id, a channel by its connection's, else 0."""

    role: Literal["party", "platform", "channel", "authority"]
    id: int = 0


@dataclass(frozen=True, slots=True)
class Earning:
    """What somebody earned, net of refunds, in minor units: as booked, and under the draft."""

    who: Who
    currency: str
    booked_minor: int
    draft_minor: int

    @property
    def change_minor(self) -> int:
        """What the draft would have given more (negative: less)."""
        return self.draft_minor - self.booked_minor


@dataclass(frozen=True, slots=True)
class LineChange:
    """A line of which the draft would have given somebody another share."""

    order_id: int
    order_name: str
    line_id: int
    sku_id: int | None
    earnings: tuple[Earning, ...]

    @property
    def size(self) -> int:
        """How much money would have gone to somebody else, in minor units."""
        return sum(abs(one.change_minor) for one in self.earnings) // 2


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a draft would have changed in orders placed since `since`.

    `asked_at`: when orders are taken to be placed, as what begins holds only later; None: when they were.
    `is_cut`: there were more lines than asked for, the earlier ones are left out. `is_volume_cut`: volumes are counted
    from `since` and not from the beginning of its month. `left_out`: lines that are not mapped, or not booked yet.
    """

    since: datetime
    until: datetime
    asked_at: datetime | None
    orders: int
    lines: int
    changed_lines: int
    left_out: int
    is_cut: bool
    is_volume_cut: bool
    earnings: tuple[Earning, ...]
    examples: tuple[LineChange, ...]

    @property
    def changes(self) -> tuple[Earning, ...]:
        """Who would have earned another amount, the largest difference first."""
        return tuple(sorted((one for one in self.earnings if one.change_minor), key=lambda one: -abs(one.change_minor)))


def replay(
    conn: Connection,
    shop_id: int,
    draft: Draft,
    since: datetime,
    until: datetime,
    limit: int = LINES_MAX,
    progress: Progress | None = None,
) -> Replayed:
    """What a draft would have changed in the orders placed in a period; of more than `limit` lines in the newest.

    `conn` reads one snapshot. Memory does not grow with the period.
    """
    return _Replay.of(conn, shop_id, draft, since, until, limit).run(progress or (lambda _done, _all: None))


@dataclass(slots=True)
class _Replay:
    conn: Connection
    shop_id: int
    draft: Draft
    rules: dict[int, Rule]
    """As they would be; versions that lines were booked by are added as they are met."""
    drafted: list[Rule]
    window_days: int
    windows: Mapping[int, int]
    zone: ZoneInfo
    since: datetime
    until: datetime
    read_from: datetime
    is_cut: bool
    is_volume_cut: bool
    asked_at: datetime | None
    counted_anew: set[VolumeKey] = field(default_factory=set)
    made: dict[object, dict[Base, Terms]] = field(default_factory=dict)

    @classmethod
    def of(cls, conn: Connection, shop_id: int, draft: Draft, since: datetime, until: datetime, limit: int) -> _Replay:
        living = queries.living_rules(conn, shop_id)
        drafted = draft.of_rules(living)
        zone = ZoneInfo(queries.zone_of(conn, shop_id))
        wanted = since
        if any(rule.form == "tiered" for rule in (*living, *drafted)):
            wanted = min(since, datetime.combine(queries.first_of_month(since, zone), time(), zone))
        read_from = _within(conn, shop_id, wanted, until, limit)
        holds_from = draft.holds_from
        return cls(
            conn,
            shop_id,
            draft,
            {rule.id: rule for rule in (*living, *drafted)},
            drafted,
            queries.settings(conn, shop_id).return_window_days,
            queries.windows_of_sellers(conn, shop_id),
            zone,
            max(since, read_from),
            until,
            read_from,
            is_cut=read_from > since,
            is_volume_cut=read_from > wanted,
            asked_at=holds_from if holds_from is not None and holds_from >= until else None,
        )

    def run(self, progress: Progress) -> Replayed:
        lines = _count_lines(self.conn, self.shop_id, self.read_from, self.until)
        total, done = lines * 2, 0
        if any(rule.form == "tiered" for rule in self.rules.values()):
            for chunk in self._chunks():
                self._find_moved(chunk)
                done += chunk.lines
                progress(done, total)
        else:
            total = lines
        tally, volumes = _Tally(), dict[VolumeKey, int]()
        for chunk in self._chunks():
            for row in chunk.rows:
                self._compare(row, chunk, volumes, tally)
            done += chunk.lines
            progress(done, total)
        return Replayed(
            self.since,
            self.until,
            self.asked_at,
            tally.orders,
            tally.lines,
            tally.changed_lines,
            tally.left_out,
            self.is_cut,
            self.is_volume_cut and bool(self.counted_anew),
            _earnings(tally.money),
            tuple(entry[2] for entry in sorted(tally.heap, key=lambda entry: (-entry[0], entry[1]))),
        )

    # --- reading ------------------------------------------------------------------------------------------------------

    def _chunks(self) -> Iterator[_Chunk]:
        """Orders in order of sale, with what is booked of them and what they would be booked by."""
        after = (self.read_from, 0)
        begun = numbered(self.draft.assignments)
        while ids := _next_orders(self.conn, self.shop_id, after, self.until):
            rows = queries.sales(self.conn, self.shop_id, ids)
            after = (rows[-1].sale.placed_at, rows[-1].sale.id)
            booked = queries.booked_orders(self.conn, self.shop_id, ids)
            named = {number for one in booked.values() for number in one.terms.values()}
            frozen = {
                number: _frozen(row) for number, row in queries.terms_rows(self.conn, self.shop_id, named).items()
            }
            met = {rule for key in frozen.values() for rule in (*key.item_rules, *key.shipping_rules) if rule}
            self.rules |= queries.rules_by_id(self.conn, self.shop_id, met - self.rules.keys())
            skus = {sku for row in rows for sku in row.sku_ids if sku is not None}
            living = queries.living_assignments(
                self.conn,
                self.shop_id,
                skus,
                {row.customer_ref for row in rows if row.customer_ref is not None},
                {code for row in rows for code in row.codes},
            )
            assignments = [one for one in living if one.id not in self.draft.ended_assignments]
            assignments += [one for one in begun if one.sku_id is None or one.sku_id in skus]
            book = RuleBook(self.drafted, assignments, self.window_days, self.windows)
            yield _Chunk(rows, booked, frozen, book)

    def _lines(self, row: SaleRow, chunk: _Chunk) -> dict[int, tuple[TermsKey, TermsKey]]:
        """What each line was booked by, and what it would be booked by; lines that are not booked are not in it."""
        terms = chunk.booked.get(row.sale.id, NOTHING_BOOKED).terms
        found: dict[int, tuple[TermsKey, TermsKey]] = {}
        placed_at = row.sale.placed_at if self.asked_at is None else self.asked_at
        for line, sku_id, category, is_mapped in zip(
            row.sale.lines, row.sku_ids, row.categories, row.is_mapped, strict=True
        ):
            if is_mapped and line.id in terms:
                context = Context(
                    row.connection_id, sku_id, category, row.customer_ref, row.codes, placed_at, row.sale.currency
                )
                found[line.id] = chunk.frozen[terms[line.id]], chunk.book.terms(context)
        return found

    def _terms(self, key: TermsKey) -> dict[Base, Terms]:
        found = self.made.get(key)
        if found is None:
            found = self.made[key] = terms_of(_as_row(key), self.rules)
        return found

    # --- volumes ------------------------------------------------------------------------------------------------------

    def _find_moved(self, chunk: _Chunk) -> None:
        """Note the volumes towards which other lines, or other amounts of them, would have counted."""
        for row in chunk.rows:
            lines = self._lines(row, chunk)
            month = queries.first_of_month(row.sale.placed_at, self.zone)
            for bucket, amount in sold_amounts(row.sale, None).items():
                if bucket.line_id in lines:
                    was, would = (self._counted(key, bucket, amount, month) for key in lines[bucket.line_id])
                    self.counted_anew |= {key for key, _ in was ^ would}

    def _counted(self, key: TermsKey, bucket: Bucket, amount: Amount, month: date) -> set[tuple[VolumeKey, int]]:
        terms = self._terms(key)[_base(bucket)]
        sold = volumes_sold(terms, amount)
        return {(volume, sold[at]) for at, volume in self._keys(key, terms, bucket, month).items()}

    def _keys(self, key: TermsKey, terms: Terms, bucket: Bucket, month: date) -> dict[int, VolumeKey]:
        if not terms.is_tiered:
            return {}
        return volume_keys(terms, volume_owners(_as_row(key)), bucket, month)

    def _volumes(
        self,
        row: SaleRow,
        booked: BookedOrder,
        sold: Mapping[Bucket, Amount],
        lines: _Lines,
        anew: dict[VolumeKey, int],
    ) -> dict[Bucket, Four]:
        """The month's volumes before each amount, under the draft."""
        found: dict[Bucket, Four] = {}
        month = queries.first_of_month(row.sale.placed_at, self.zone)
        for bucket, amount in sold.items():
            if bucket.line_id not in lines:
                continue
            key = lines[bucket.line_id][1]
            terms = self._terms(key)[_base(bucket)]
            keys = self._keys(key, terms, bucket, month)
            if not keys:
                continue
            before = list(booked.volumes.get((bucket.line_id, bucket.base), NO_RULES))
            added = volumes_sold(terms, amount)
            for at, volume in keys.items():
                if volume in self.counted_anew:
                    before[at] = anew.get(volume, 0)
                    anew[volume] = before[at] + max(0, added[at])
            found[bucket] = (before[0], before[1], before[2], before[3])
        return found

    # --- comparing ----------------------------------------------------------------------------------------------------

    def _compare(self, row: SaleRow, chunk: _Chunk, anew: dict[VolumeKey, int], tally: _Tally) -> None:
        lines = self._lines(row, chunk)
        booked = chunk.booked.get(row.sale.id, NOTHING_BOOKED)
        sold = sold_amounts(row.sale, None)
        volumes = self._volumes(row, booked, sold, lines, anew)
        if row.sale.placed_at < self.since:
            return
        tally.orders += 1
        tally.lines += len(row.sale.lines)
        tally.left_out += len(row.sale.lines) - len(lines)
        left = self._left(row, booked, sold)
        money: dict[int, _Money] = {line: {} for line in lines}
        for bucket, one in booked.known.booked.items():
            if bucket.line_id in lines:
                parties = lines[bucket.line_id][0].parties
                _add(money[bucket.line_id], 0, row.connection_id, bucket.currency, parties, one.shares)
        for bucket, amount in left.items():
            if bucket.line_id in lines:
                key = lines[bucket.line_id][1]
                its = shares(self._terms(key)[_base(bucket)], amount, volumes.get(bucket, NO_RULES))
                _add(money[bucket.line_id], 1, row.connection_id, bucket.currency, key.parties, its)
        skus = {line.id: sku for line, sku in zip(row.sale.lines, row.sku_ids, strict=True)}
        for line, found in money.items():
            tally.add(row, line, skus[line], found)

    def _left(self, row: SaleRow, booked: BookedOrder, sold: Mapping[Bucket, Amount]) -> dict[Bucket, Amount]:
        if booked.known.is_void or row.sale.void_at is not None:
            return dict.fromkeys(sold, NOTHING)
        backs = [one for one in row.sale.chargebacks if not one.is_won]
        return left_after(sold, row.sale, row.sale.refunds, backs)


_Lines = Mapping[int, tuple[TermsKey, TermsKey]]
_Money = dict[tuple[Who, str], list[int]]
"""(who, currency) -> [booked, under the draft]"""


@dataclass(frozen=True, slots=True)
class _Chunk:
    rows: Sequence[SaleRow]
    booked: Mapping[int, BookedOrder]
    frozen: Mapping[int, TermsKey]
    """Terms that lines were booked by, by id."""
    book: RuleBook

    @property
    def lines(self) -> int:
        return sum(len(row.sale.lines) for row in self.rows)


@dataclass(slots=True)
class _Tally:
    money: _Money = field(default_factory=dict)
    orders: int = 0
    lines: int = 0
    changed_lines: int = 0
    left_out: int = 0
    heap: list[tuple[int, int, LineChange]] = field(default_factory=list)

    def add(self, row: SaleRow, line_id: int, sku_id: int | None, found: _Money) -> None:
        for key, (booked, draft) in found.items():
            total = self.money.setdefault(key, [0, 0])
            total[0] += booked
            total[1] += draft
        if all(booked == draft for booked, draft in found.values()):
            return
        self.changed_lines += 1
        changed = tuple(one for one in _earnings(found) if one.change_minor)
        line = LineChange(row.sale.id, row.name, line_id, sku_id, changed)
        heapq.heappush(self.heap, (line.size, line_id, line))
        if len(self.heap) > EXAMPLES:
            heapq.heappop(self.heap)


def _add(money: _Money, side: int, connection_id: int, currency: str, parties: Parties, its: Shares) -> None:
    for who, amount in (
        (Who("party", parties.seller_id or 0), its.seller),
        (Who("platform"), its.platform),
        (Who("party", parties.creator_id or 0), its.creator),
        (Who("party", parties.referrer_id or 0), its.referrer),
        (Who("channel", connection_id), its.channel),
        (Who("authority"), its.authority),
    ):
        if amount:
            money.setdefault((who, currency), [0, 0])[side] += amount


def _earnings(money: _Money) -> tuple[Earning, ...]:
    return tuple(Earning(who, currency, *sides) for (who, currency), sides in sorted(money.items()))


def _base(bucket: Bucket) -> Base:
    return "item" if bucket.base == "item" else "shipping"


def _frozen(row: Mapping[str, Any]) -> TermsKey:
    parties = Parties(row["seller_id"], row["creator_id"], row["referrer_id"])
    rules: list[Any] = [tuple(row[f"{base}_rules"]) for base in BASES]
    return TermsKey(parties, row["category"], row["window_days"], *rules)


def _as_row(key: TermsKey) -> dict[str, Any]:
    return {
        "seller_id": key.parties.seller_id,
        "creator_id": key.parties.creator_id,
        "referrer_id": key.parties.referrer_id,
        "item_rules": key.item_rules,
        "shipping_rules": key.shipping_rules,
    }


# --- which orders -----------------------------------------------------------------------------------------------------


def _within(conn: Connection, shop_id: int, since: datetime, until: datetime, limit: int) -> datetime:
    """From when on at most so many lines were sold; `since`, if there are no more of them."""
    row = fetch_one(
        conn,
        """
        with newest as (
            select o.id, o.placed_at from orders o
            where o.shop_id = %(shop)s and o.placed_at >= %(since)s and o.placed_at < %(until)s and not o.is_test
            order by o.placed_at desc limit %(limit)s + 1
        ), counted as (
            select n.placed_at, sum(l.lines) over (order by n.placed_at desc range unbounded preceding) as lines
            from newest n cross join lateral (
                select count(*) as lines from order_lines l where l.shop_id = %(shop)s and l.order_id = n.id
            ) l
        )
        select min(placed_at) filter (where lines <= %(limit)s) as first_at, coalesce(max(lines), 0) as lines,
            max(placed_at) as newest_at
        from counted
        """,
        shop=shop_id,
        since=since,
        until=until,
        limit=limit,
    )
    assert row is not None
    if row["lines"] <= limit:
        return since
    # Of one moment alone more were sold than may be read: nothing is read rather than some of them.
    found: datetime = row["first_at"] or until
    return found


def _count_lines(conn: Connection, shop_id: int, since: datetime, until: datetime) -> int:
    row = fetch_one(
        conn,
        """
        select count(*) as lines from orders o join order_lines l on l.shop_id = o.shop_id and l.order_id = o.id
        where o.shop_id = %(shop)s and o.placed_at >= %(since)s and o.placed_at < %(until)s and not o.is_test
        """,
        shop=shop_id,
        since=since,
        until=until,
    )
    return 0 if row is None else int(row["lines"])


def _next_orders(conn: Connection, shop_id: int, after: tuple[datetime, int], until: datetime) -> list[int]:
    rows = fetch(
        conn,
        """
        select id from orders
        where shop_id = %(shop)s and (placed_at, id) > (%(at)s, %(id)s) and placed_at < %(until)s and not is_test
        order by placed_at, id limit %(limit)s
        """,
        shop=shop_id,
        at=after[0],
        id=after[1],
        until=until,
        limit=CHUNK,
    )
    return [row["id"] for row in rows]
