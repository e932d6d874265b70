"""Writes: bring what is booked of orders in line with their facts, and post it.

Everything works inside the caller's unit of work, which has locked the orders, by id. What was booked is never changed:
what differs is added, each cause by itself, as accruals of lines and one ledger transaction. Month's volumes are locked
after orders, SKUs and listings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from core.commissions import queries
from core.commissions.facts import Bucket, Part, Step, TermsOf, sold_amounts, steps
from core.commissions.queries import NOTHING_BOOKED, BookedOrder, SaleRow
from core.commissions.rules import (
    BASES,
    KINDS,
    Amount,
    Base,
    Context,
    Four,
    Rule,
    Terms,
    TermsKey,
)
from core.commissions.windows import note_windows
from core.db import execute, fetch
from core.ledger import operations as ledger
from core.ledger.rules import AccountName, Transaction

VolumeKey = tuple[str, str, int, str, date]
"""(kind, base, party, currency, first day of the month)"""


def settle(
    conn: Connection, shop_id: int, order_ids: Collection[int], now: datetime, edited: Collection[int] = ()
) -> int:
    """Book what the money of some (locked) orders comes to and is not booked yet; returns how many facts were added.

    `edited`: those among them of which it is known that lines were changed after they were placed.
    """
    if not order_ids:
        return 0
    rows = queries.sales(conn, shop_id, order_ids, edited)
    if not rows:
        return 0
    batch = _Batch.of(conn, shop_id, rows, now)
    found = [(row, step) for row in rows for step in batch.steps(row)]
    _write_volumes(conn, shop_id, batch.volumes)
    _write(conn, shop_id, batch, found, now)
    _write_windows(conn, shop_id, batch, rows)
    return sum(len(step.parts) for _, step in found)


@dataclass(slots=True)
class _Batch:
    """What a batch of orders is booked by."""

    now: datetime
    booked: Mapping[int, BookedOrder]
    terms_of_line: dict[int, int]
    """Line -> the id of its terms."""
    terms: dict[int, dict[str, Any]]
    rules: dict[int, Rule]
    volumes: dict[VolumeKey, int]
    zone: ZoneInfo
    made: dict[int, dict[Base, Terms]] = field(default_factory=dict)
    first_volumes: dict[tuple[int, str], Four] = field(default_factory=dict)
    """Of lines that are booked by tiered rules for the first time: the month's volumes before them."""

    @classmethod
    def of(cls, conn: Connection, shop_id: int, rows: Sequence[SaleRow], now: datetime) -> _Batch:
        booked = queries.booked_orders(conn, shop_id, [row.sale.id for row in rows])
        terms_of_line = {line: terms for one in booked.values() for line, terms in one.terms.items()}
        terms = queries.terms_rows(conn, shop_id, set(terms_of_line.values()))
        book = queries.rule_book(conn, shop_id, rows)
        keys = _new_terms(rows, book.terms, terms_of_line)
        ids = freeze_terms(conn, shop_id, set(keys.values()), now)
        terms |= queries.terms_rows(conn, shop_id, set(ids.values()) - terms.keys())
        terms_of_line |= {line: ids[key] for line, key in keys.items()}
        rules = {rule.id: rule for rule in book.rules}
        named = {number for one in terms.values() for base in BASES for number in one[f"{base}_rules"] if number}
        rules |= queries.rules_by_id(conn, shop_id, named - rules.keys())
        batch = cls(now, booked, terms_of_line, terms, rules, {}, ZoneInfo(queries.zone_of(conn, shop_id)))
        batch._count_volumes(conn, shop_id, rows, keys.keys())
        return batch

    def rules_of(self, terms_id: int) -> dict[Base, Terms]:
        """The rules of some terms, looked up, for items and for carriage."""
        found = self.made.get(terms_id)
        if found is None:
            found = self.made[terms_id] = terms_of(self.terms[terms_id], self.rules)
        return found

    def steps(self, row: SaleRow) -> list[Step]:
        booked = self.booked.get(row.sale.id, NOTHING_BOOKED)
        of_lines: TermsOf = {
            line.id: self.rules_of(self.terms_of_line[line.id])
            for line in row.sale.lines
            if line.id in self.terms_of_line
        }
        volumes = booked.volumes
        if self.first_volumes:
            volumes = volumes | {
                (line.id, base): self.first_volumes[line.id, base]
                for line in row.sale.lines
                for base in BASES
                if (line.id, base) in self.first_volumes
            }
        return steps(row.sale, booked.known, of_lines, volumes, self.now)

    def _count_volumes(
        self, conn: Connection, shop_id: int, rows: Sequence[SaleRow], new_lines: Collection[int]
    ) -> None:
        """Give each line that is booked by tiered rules its place in the month's volume, in the order of sale."""
        wanted = list(self._tiered(rows, new_lines))
        if not wanted:
            return
        self.volumes = _lock_volumes(conn, shop_id, {key for _, _, keys, _ in wanted for key in keys.values()})
        for line_id, base, keys, sold in wanted:
            before = [0, 0, 0, 0]
            for at, key in keys.items():
                before[at] = self.volumes[key]
                self.volumes[key] += max(0, sold[at])
            self.first_volumes[line_id, base] = (before[0], before[1], before[2], before[3])

    def _tiered(
        self, rows: Sequence[SaleRow], new_lines: Collection[int]
    ) -> Iterable[tuple[int, Base, dict[int, VolumeKey], list[int]]]:
        tiered = {number for number in self.terms if any(one.is_tiered for one in self.rules_of(number).values())}
        if not tiered:
            return
        for row in rows:
            if not any(self.terms_of_line.get(line.id) in tiered for line in row.sale.lines):
                continue
            month = queries.first_of_month(row.sale.placed_at, self.zone)
            for bucket, amount in sold_amounts(row.sale, None).items():
                terms_id = self.terms_of_line.get(bucket.line_id)
                if bucket.base == "other" or bucket.line_id not in new_lines or terms_id not in tiered:
                    continue
                terms = self.rules_of(terms_id)[bucket.base]
                keys = volume_keys(terms, volume_owners(self.terms[terms_id]), bucket, month)
                sold = volumes_sold(terms, amount)
                if keys:
                    yield bucket.line_id, bucket.base, keys, sold


def volume_owners(terms: Mapping[str, Any]) -> Four:
    """Whose volume decides of each kind of rule: the seller's of the platform's fee, their own of creator and referrer,
    the company's (0) of what the channel keeps."""
    return terms["seller_id"] or 0, terms["creator_id"] or 0, terms["referrer_id"] or 0, 0


def volume_keys(terms: Terms, owners: Four, bucket: Bucket, month: date) -> dict[int, VolumeKey]:
    """Which volumes decide of an amount's rates, by position among KINDS: those of the rules that are tiered."""
    return {
        at: (KINDS[at], bucket.base, owners[at], bucket.currency, month)
        for at, rule in enumerate(terms.rules)
        if rule is not None and rule.form == "tiered"
    }


def volumes_sold(terms: Terms, amount: Amount) -> list[int]:
    """What an amount adds to the volume of each kind of rule: as it was sold, with taxes where the rule counts them."""
    return [
        amount.sold_net + (amount.sold_tax if rule is not None and rule.tax_basis == "gross" else 0)
        for rule in terms.rules
    ]


def terms_of(row: Mapping[str, Any], rules: Mapping[int, Rule]) -> dict[Base, Terms]:
    """Terms with their rules looked up. Who takes taxes is said by the platform's fee on items, for carriage too."""
    item = rules.get(row["item_rules"][0])
    tax_to = "authority" if item is None else item.tax_to or "authority"
    made: dict[Base, Terms] = {}
    for base in BASES:
        platform, creator, referrer, channel = (rules.get(number) for number in row[f"{base}_rules"])
        made[base] = Terms(row["seller_id"] is not None, platform, creator, referrer, channel, tax_to)
    return made


def _new_terms(rows: Sequence[SaleRow], terms: Any, known: Collection[int]) -> dict[int, TermsKey]:
    """What mapped lines without terms are booked by; `terms` answers a context."""
    found: dict[int, TermsKey] = {}
    for row in rows:
        # Lines of one order differ only by SKU and category.
        answers: dict[tuple[int | None, str | None], TermsKey] = {}
        for line, sku_id, category, is_mapped in zip(
            row.sale.lines, row.sku_ids, row.categories, row.is_mapped, strict=True
        ):
            if not is_mapped or line.id in known:
                continue
            key = answers.get((sku_id, category))
            if key is None:
                context = Context(
                    row.connection_id,
                    sku_id,
                    category,
                    row.customer_ref,
                    row.codes,
                    row.sale.placed_at,
                    row.sale.currency,
                )
                key = answers[sku_id, category] = terms(context)
            found[line.id] = key
    return found


def freeze_terms(conn: Connection, shop_id: int, keys: Collection[TermsKey], now: datetime) -> dict[TermsKey, int]:
    """The ids of terms, each written down when first a line is booked by it."""
    ordered = sorted(keys, key=lambda key: (key.item_rules, key.shipping_rules, key.window_days, repr(key)))
    found = _find_terms(conn, shop_id, ordered)
    missing = [key for key in ordered if key not in found]
    if missing:
        execute(
            conn,
            f"""
            insert into commission_terms (shop_id, seller_id, creator_id, referrer_id, category, window_days,
                item_rules, shipping_rules, frozen_at)
            select %(shop)s, n.seller, n.creator, n.referrer, n.category, n.days, {_RULES}, %(now)s
            from {_KEYS} on conflict do nothing
            """,
            shop=shop_id,
            now=now,
            **_key_columns(missing),
        )
        found |= _find_terms(conn, shop_id, missing)
    return found


_KEYS = """
    unnest(%(sellers)b::int8[], %(creators)b::int8[], %(referrers)b::int8[], %(categories)b::text[],
        %(days)b::int4[], %(items)b::text[], %(shippings)b::text[])
        with ordinality as n (seller, creator, referrer, category, days, items, shippings, number)
"""
_RULES = "n.items::int8[], n.shippings::int8[]"


def _find_terms(conn: Connection, shop_id: int, keys: Sequence[TermsKey]) -> dict[TermsKey, int]:
    if not keys:
        return {}
    rows = fetch(
        conn,
        f"""
        select t.id, n.number from {_KEYS}
        join commission_terms t on t.shop_id = %(shop)s and (t.item_rules, t.shipping_rules) = ({_RULES})
            and t.window_days = n.days and t.seller_id is not distinct from n.seller
            and t.creator_id is not distinct from n.creator and t.referrer_id is not distinct from n.referrer
            and t.category is not distinct from n.category
        """,
        shop=shop_id,
        **_key_columns(keys),
    )
    return {keys[row["number"] - 1]: row["id"] for row in rows}


def _key_columns(keys: Sequence[TermsKey]) -> dict[str, list[Any]]:
    return {
        "sellers": [key.parties.seller_id for key in keys],
        "creators": [key.parties.creator_id for key in keys],
        "referrers": [key.parties.referrer_id for key in keys],
        "categories": [key.category for key in keys],
        "days": [key.window_days for key in keys],
        "items": [_array(key.item_rules) for key in keys],
        "shippings": [_array(key.shipping_rules) for key in keys],
    }


def _array(numbers: Iterable[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"


# --- volumes ----------------------------------------------------------------------------------------------------------


def _lock_volumes(conn: Connection, shop_id: int, keys: Collection[VolumeKey]) -> dict[VolumeKey, int]:
    ordered = sorted(keys)
    columns = list(zip(*ordered, strict=True))
    params = dict(zip(("kinds", "bases", "parties", "currencies", "months"), map(list, columns), strict=True))
    execute(
        conn,
        f"""
        insert into commission_volumes (shop_id, kind, base, party_id, currency, month, volume_minor)
        select %(shop)s, n.*, 0 from {_VOLUMES} order by 1, 2, 3, 4, 5, 6 on conflict do nothing
        """,
        shop=shop_id,
        **params,
    )
    rows = fetch(
        conn,
        f"""
        select v.kind, v.base, v.party_id, v.currency, v.month, v.volume_minor from {_VOLUMES}
        join commission_volumes v on v.shop_id = %(shop)s
            and (v.kind, v.base, v.party_id, v.currency, v.month) = (n.kind, n.base, n.party, n.currency, n.month)
        order by 1, 2, 3, 4, 5 for update of v
        """,
        shop=shop_id,
        **params,
    )
    return {
        (row["kind"], row["base"], row["party_id"], row["currency"], row["month"]): row["volume_minor"] for row in rows
    }


_VOLUMES = """
    unnest(%(kinds)b::text[], %(bases)b::text[], %(parties)b::int8[], %(currencies)b::text[], %(months)b::date[])
        as n (kind, base, party, currency, month)
"""


def _write_volumes(conn: Connection, shop_id: int, volumes: Mapping[VolumeKey, int]) -> None:
    if not volumes:
        return
    ordered = sorted(volumes)
    columns = list(zip(*ordered, strict=True))
    execute(
        conn,
        """
        update commission_volumes v set volume_minor = n.volume
        from unnest(%(kinds)b::text[], %(bases)b::text[], %(parties)b::int8[], %(currencies)b::text[],
            %(months)b::date[], %(volumes)b::int8[]) as n (kind, base, party, currency, month, volume)
        where v.shop_id = %(shop)s
            and (v.kind, v.base, v.party_id, v.currency, v.month) = (n.kind, n.base, n.party, n.currency, n.month)
        """,
        shop=shop_id,
        volumes=[volumes[key] for key in ordered],
        **dict(zip(("kinds", "bases", "parties", "currencies", "months"), map(list, columns), strict=True)),
    )


# --- what is written --------------------------------------------------------------------------------------------------

_WORDS = {
    "sale": "Sale",
    "edit": "Change",
    "refund": "Refund",
    "cancellation": "Cancellation",
    "chargeback": "Chargeback",
    "chargeback_won": "Chargeback won",
    "mapping": "Lines mapped",
    "return": "Return without an order",
}


def _write(conn: Connection, shop_id: int, batch: _Batch, found: Sequence[tuple[SaleRow, Step]], now: datetime) -> None:
    """Write accruals and the ledger's transactions of some steps."""
    if not found:
        return
    counts = {order_id: booked.facts for order_id, booked in batch.booked.items()}
    transactions: list[Transaction] = []
    rows: list[tuple[Any, ...]] = []
    keys: list[str | None] = []
    for row, step in found:
        order_id = row.sale.id
        key = f"order:{order_id}:{counts.get(order_id, 0) + 1}"
        counts[order_id] = counts.get(order_id, 0) + len(step.parts)
        entries = _entries(row, step, batch)
        if entries:
            note = f"{_WORDS[step.cause]}, {row.name}"
            transactions.append(Transaction(key, step.cause, step.at, note, entries, order_id))
        for part in step.parts:
            rows.append(_accrual(row, step, part, batch))
            keys.append(key if entries else None)
    posted = ledger.post(conn, shop_id, transactions, now)
    insert_accruals(conn, shop_id, rows, [posted[key].id if key else None for key in keys], now)


def _entries(row: SaleRow, step: Step, batch: _Batch) -> dict[AccountName, int]:
    """What a step moves between accounts; empty where it moves nothing."""
    released_days = batch.booked.get(row.sale.id, NOTHING_BOOKED).released_days
    sums: defaultdict[tuple[str, str, int | None], int] = defaultdict(int)
    for bucket, net, tax, share, _, _ in step.parts:
        currency = bucket.currency
        sums["channel_receivable", currency, None] += net + tax
        sums["shipping" if bucket.base == "shipping" else "platform", currency, None] -= share.platform
        sums["channel_fees", currency, None] -= share.channel
        sums["tax", currency, None] -= share.authority
        sums["unassigned", currency, None] -= share.unassigned
        terms_id = batch.terms_of_line.get(bucket.line_id)
        if terms_id is not None:
            terms = batch.terms[terms_id]
            of_party = "payable" if terms["window_days"] in released_days else "refund_reserve"
            for column, minor in (
                ("seller_id", share.seller),
                ("creator_id", share.creator),
                ("referrer_id", share.referrer),
            ):
                if minor:
                    sums[of_party, currency, terms[column]] -= minor
    of_channel = ("channel_receivable", "channel_fees")
    return {
        AccountName(kind, currency, party, row.connection_id if kind in of_channel else None): amount  # type: ignore[arg-type]
        for (kind, currency, party), amount in sums.items()
        if amount
    }


def _accrual(row: SaleRow, step: Step, part: Part, batch: _Batch) -> tuple[Any, ...]:
    bucket = part.bucket
    volumes = batch.first_volumes.get((bucket.line_id, bucket.base)) if batch.first_volumes else None
    return (
        row.sale.id,
        bucket.line_id or None,
        None,
        row.connection_id,
        part.ordinal,
        bucket.base,
        step.cause,
        step.refund_id,
        step.chargeback_id,
        batch.terms_of_line.get(bucket.line_id),
        bucket.currency,
        part.net,
        part.tax,
        *part.shares,
        part.sold if bucket.base == "other" and step.cause != "cancellation" else None,
        _array(volumes) if volumes is not None and (part.ordinal == 1 or step.cause == "mapping") else None,
        step.at,
    )


_COLUMNS = (
    ("order_id", "int8"),
    ("order_line_id", "int8"),
    ("customer_return_id", "int8"),
    ("connection_id", "int8"),
    ("ordinal", "int4"),
    ("base", "text"),
    ("cause", "text"),
    ("refund_id", "int8"),
    ("chargeback_id", "int8"),
    ("terms_id", "int8"),
    ("currency", "text"),
    ("net_minor", "int8"),
    ("tax_minor", "int8"),
    ("seller_minor", "int8"),
    ("platform_minor", "int8"),
    ("creator_minor", "int8"),
    ("referrer_minor", "int8"),
    ("channel_minor", "int8"),
    ("authority_minor", "int8"),
    ("unassigned_minor", "int8"),
    ("sold_minor", "int8"),
    ("volumes_minor", "text"),
    ("event_at", "timestamptz"),
)
_NAMES = ", ".join(name for name, _ in _COLUMNS)
_VALUES = ", ".join(f"n.{name}" + ("::int8[]" if name == "volumes_minor" else "") for name, _ in _COLUMNS)
_ARRAYS = ", ".join(f"%({name})b::{kind}[]" for name, kind in _COLUMNS)


def insert_accruals(
    conn: Connection,
    shop_id: int,
    rows: Sequence[tuple[Any, ...]],
    transaction_ids: Sequence[int | None],
    now: datetime,
) -> None:
    """Write accruals, each in the order of `_COLUMNS`; the statement's trigger checks what they refer to."""
    columns = zip(*rows, strict=True)
    execute(
        conn,
        f"""
        insert into commission_accruals (shop_id, {_NAMES}, transaction_id, recorded_at)
        select %(shop)s, {_VALUES}, n.transaction_id, %(now)s
        from unnest({_ARRAYS}, %(transactions)b::int8[]) as n ({_NAMES}, transaction_id)
        """,
        shop=shop_id,
        now=now,
        transactions=list(transaction_ids),
        **{name: list(column) for (name, _), column in zip(_COLUMNS, columns, strict=True)},
    )


def _write_windows(conn: Connection, shop_id: int, batch: _Batch, rows: Sequence[SaleRow]) -> None:
    """Note from when on what was earned of these orders is payable, for each length of window among their lines."""
    wanted = sorted(
        {
            (row.sale.id, batch.terms[batch.terms_of_line[line.id]]["window_days"])
            for row in rows
            for line in row.sale.lines
            if line.id in batch.terms_of_line
        }
    )
    note_windows(conn, shop_id, wanted)
