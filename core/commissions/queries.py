"""Reads: what is in force, what is booked of orders, and the facts that their money comes of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.commissions.facts import Booked, Bucket, Chargeback, Known, Line, Refund, Sale
from core.commissions.rules import Assignment, Four, Rule, RuleBook, Shares
from core.db import fetch, fetch_one

RULE_COLUMNS = """
    id, kind, base, seller_id, payee_id, connection_id, category, sku_id, form, rate_ppm, fixed_minor, currency,
    tier_from_minor, tier_ppm, borne_by, on_refund, tax_basis, tax_to, valid_from, valid_to
"""
ASSIGNMENT_COLUMNS = """
    id, role, party_id, connection_id, category, sku_id, customer_ref, order_code, valid_from, valid_to
"""

VOID = ("voided", "expired")
"""Of whose orders no money is to be had."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a shop decided about money; see `money_settings`."""

    return_window_days: int = 14
    window_from: str = "shipped"
    approval_limit_minor: int = 10_000


def settings(conn: Connection, shop_id: int) -> Settings:
    """The shop's settings, or what holds where it decided nothing."""
    row = fetch_one(
        conn,
        "select return_window_days, window_from, approval_limit_minor from money_settings where shop_id = %(shop)s",
        shop=shop_id,
    )
    return Settings() if row is None else Settings(**row)


def rule_of(row: RowMapping) -> Rule:
    """A row of `commission_rules` as a rule."""
    tiers = zip(row["tier_from_minor"] or (), row["tier_ppm"] or (), strict=True)
    plain = {name: row[name] for name in _PLAIN}
    return Rule(**plain, rate_ppm=row["rate_ppm"] or 0, fixed_minor=row["fixed_minor"] or 0, tiers=tuple(tiers))


_PLAIN = (
    "id",
    "kind",
    "base",
    "form",
    "seller_id",
    "payee_id",
    "connection_id",
    "category",
    "sku_id",
    "currency",
    "borne_by",
    "on_refund",
    "tax_basis",
    "tax_to",
    "valid_from",
    "valid_to",
)


def living_rules(conn: Connection, shop_id: int) -> list[Rule]:
    """The rules in force, in order of id."""
    return [
        rule_of(row)
        for row in fetch(
            conn,
            f"select {RULE_COLUMNS} from commission_rules where shop_id = %(shop)s and ended_id is null order by id",
            shop=shop_id,
        )
    ]


def rules_by_id(conn: Connection, shop_id: int, ids: Collection[int]) -> dict[int, Rule]:
    """Versions of rules, ended ones too."""
    if not ids:
        return {}
    rows = fetch(
        conn,
        f"select {RULE_COLUMNS} from commission_rules where shop_id = %(shop)s and id = any(%(ids)b::int8[])",
        shop=shop_id,
        ids=sorted(ids),
    )
    return {row["id"]: rule_of(row) for row in rows}


def living_assignments(
    conn: Connection,
    shop_id: int,
    sku_ids: Collection[int] | None = None,
    customer_refs: Collection[str] = (),
    codes: Collection[str] = (),
) -> list[Assignment]:
    """The assignments in force that may concern lines of these SKUs, buyers and codes; all with `sku_ids` None.

    A party that has ended takes part in no order placed since: its assignments hold until then.
    """
    rows = fetch(
        conn,
        """
        select a.id, a.role, a.party_id, a.connection_id, a.category, a.sku_id, a.customer_ref, a.order_code,
            a.valid_from, least(a.valid_to, p.ended_at) as valid_to
        from party_assignments a join parties p on p.shop_id = a.shop_id and p.id = a.party_id
        where a.shop_id = %(shop)s and a.ended_id is null and (%(all)s
            or (a.sku_id is null or a.sku_id = any(%(skus)b::int8[]))
            and (a.customer_ref is null or a.customer_ref = any(%(customers)b::text[]))
            and (a.order_code is null or a.order_code = any(%(codes)b::text[])))
        order by a.id
        """,
        shop=shop_id,
        all=sku_ids is None,
        skus=sorted(sku_ids or ()),
        customers=sorted(customer_refs),
        codes=sorted(codes),
    )
    return [Assignment(**row) for row in rows]


def windows_of_sellers(conn: Connection, shop_id: int) -> dict[int, int]:
    """Return windows in days of the sellers that have one of their own."""
    rows = fetch(
        conn,
        "select id, return_window_days from parties where shop_id = %(shop)s and return_window_days is not null",
        shop=shop_id,
    )
    return {row["id"]: row["return_window_days"] for row in rows}


def rule_book(conn: Connection, shop_id: int, sales: Iterable[SaleRow]) -> RuleBook:
    """What is in force for the lines of some orders."""
    rows = list(sales)
    return RuleBook(
        living_rules(conn, shop_id),
        living_assignments(
            conn,
            shop_id,
            {sku for row in rows for sku in row.sku_ids if sku is not None},
            {row.customer_ref for row in rows if row.customer_ref is not None},
            {code for row in rows for code in row.codes},
        ),
        settings(conn, shop_id).return_window_days,
        windows_of_sellers(conn, shop_id),
    )


# --- the facts of orders ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SaleRow:
    """An order as its money is worked out of it. `sku_ids`, `categories` and `is_mapped`: of its lines, in order."""

    sale: Sale
    name: str
    connection_id: int
    customer_ref: str | None
    codes: frozenset[str]
    sku_ids: Sequence[int | None]
    categories: Sequence[str | None]
    is_mapped: Sequence[bool]


def sales(conn: Connection, shop_id: int, order_ids: Collection[int], edited: Collection[int] = ()) -> list[SaleRow]:
    """The facts of some orders, the first that was placed first; test orders are left out.

    `edited`: those of which it is known that lines were changed after they were placed.
    """
    ids = sorted(order_ids)
    rows = fetch(
        conn,
        """
        select o.id, o.name, o.connection_id, o.placed_at, o.version_at, o.cancelled_at, o.financial_status,
            o.currency, o.total_minor, coalesce(o.tax_minor, 0) as tax_minor,
            coalesce(o.shipping_minor, 0) as shipping_minor, o.taxes_included, o.customer_ref, o.codes, l.*
        from orders o cross join lateral (
            select array_agg(l.id order by l.ordinal) as line_ids,
                array_agg(l.total_minor order by l.ordinal) as totals, array_agg(l.units order by l.ordinal) as units,
                array_agg(l.tax_minor order by l.ordinal) as taxes, array_agg(l.sku_id order by l.ordinal) as sku_ids,
                array_agg(k.category order by l.ordinal) as categories,
                array_agg(l.mapping <> 'unmapped' order by l.ordinal) as mapped
            from order_lines l left join skus k on k.shop_id = l.shop_id and k.id = l.sku_id
            where l.shop_id = o.shop_id and l.order_id = o.id
        ) l
        where o.shop_id = %(shop)s and o.id = any(%(ids)b::int8[]) and not o.is_test order by o.placed_at, o.id
        """,
        shop=shop_id,
        ids=ids,
    )
    refunds = _refunds(conn, shop_id, ids)
    chargebacks = _chargebacks(conn, shop_id, ids)
    return [_sale(row, refunds.get(row["id"], ()), chargebacks.get(row["id"], ()), edited) for row in rows]


def _sale(
    row: RowMapping, refunds: Sequence[Refund], chargebacks: Sequence[Chargeback], edited: Collection[int]
) -> SaleRow:
    is_void = row["cancelled_at"] is not None or row["financial_status"] in VOID
    lines = zip(row["line_ids"] or (), row["totals"] or (), row["units"] or (), row["taxes"] or (), strict=True)
    sale = Sale(
        id=row["id"],
        currency=row["currency"],
        total_minor=row["total_minor"],
        placed_at=row["placed_at"],
        version_at=row["version_at"],
        lines=tuple(Line(*line) for line in lines),
        is_edited=row["id"] in edited,
        tax_minor=row["tax_minor"],
        shipping_minor=row["shipping_minor"],
        taxes_included=row["taxes_included"],
        void_at=(row["cancelled_at"] or row["version_at"]) if is_void else None,
        refunds=tuple(refunds),
        chargebacks=tuple(chargebacks),
    )
    return SaleRow(
        sale,
        row["name"],
        row["connection_id"],
        row["customer_ref"],
        frozenset(code.upper() for code in row["codes"]),
        row["sku_ids"] or (),
        row["categories"] or (),
        row["mapped"] or (),
    )


def _refunds(conn: Connection, shop_id: int, order_ids: Sequence[int]) -> dict[int, list[Refund]]:
    rows = fetch(
        conn,
        """
        select f.order_id, f.id, f.amount_minor, f.currency, f.refunded_at,
            coalesce(f.shipping_minor, 0) + case when o.taxes_included then 0 else coalesce(f.shipping_tax_minor, 0) end
                as shipping_minor,
            l.lines, l.worths, l.taxes
        from refunds f join orders o on o.shop_id = f.shop_id and o.id = f.order_id
        cross join lateral (
            select array_agg(r.order_line_id order by r.ordinal) as lines,
                array_agg(r.subtotal_minor order by r.ordinal) as worths,
                array_agg(r.tax_minor order by r.ordinal) as taxes
            from refund_lines r where r.shop_id = f.shop_id and r.refund_id = f.id
        ) l
        where f.shop_id = %(shop)s and f.order_id = any(%(ids)b::int8[]) order by f.id
        """,
        shop=shop_id,
        ids=order_ids,
    )
    found: dict[int, list[Refund]] = {}
    for row in rows:
        lines = tuple(zip(row["lines"] or (), row["worths"] or (), row["taxes"] or (), strict=True))
        refund = Refund(
            row["id"], row["amount_minor"], row["currency"], row["refunded_at"], lines, row["shipping_minor"]
        )
        found.setdefault(row["order_id"], []).append(refund)
    return found


def _chargebacks(conn: Connection, shop_id: int, order_ids: Sequence[int]) -> dict[int, list[Chargeback]]:
    found: dict[int, list[Chargeback]] = {}
    for row in fetch(
        conn,
        """
        select order_id, id, amount_minor, opened_at, state = 'won' as is_won, decided_at from chargebacks
        where shop_id = %(shop)s and order_id = any(%(ids)b::int8[]) order by id
        """,
        shop=shop_id,
        ids=order_ids,
    ):
        back = Chargeback(row["id"], row["amount_minor"], row["opened_at"], row["is_won"], row["decided_at"])
        found.setdefault(row["order_id"], []).append(back)
    return found


# --- what is booked of them -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BookedOrder:
    """What is booked of an order. `terms`: by which terms each line; `volumes` before each (line, base), if tiered."""

    known: Known
    terms: dict[int, int]
    volumes: dict[tuple[int, str], Four]
    facts: int
    released_days: frozenset[int]
    """The lengths of its windows that are closed: what is booked under them is payable at once."""


NOTHING_BOOKED = BookedOrder(Known(), {}, {}, 0, frozenset())


def booked_orders(conn: Connection, shop_id: int, order_ids: Collection[int]) -> dict[int, BookedOrder]:
    """What is booked of some orders; those of which nothing is are not in it."""
    rows = fetch(
        conn,
        """
        select order_id, coalesce(order_line_id, 0) as line_id, base, currency, max(terms_id) as terms_id,
            count(*)::int4 as facts, sum(net_minor)::int8 as net, sum(tax_minor)::int8 as tax,
            sum(seller_minor)::int8 as seller, sum(platform_minor)::int8 as platform,
            sum(creator_minor)::int8 as creator, sum(referrer_minor)::int8 as referrer,
            sum(channel_minor)::int8 as channel, sum(authority_minor)::int8 as authority,
            sum(unassigned_minor)::int8 as unassigned, min(volumes_minor) as volumes,
            array_agg(distinct refund_id) filter (where refund_id is not null) as refunds,
            array_agg(distinct chargeback_id) filter (where cause = 'chargeback') as chargebacks,
            array_agg(distinct chargeback_id) filter (where cause = 'chargeback_won') as won,
            bool_or(cause = 'cancellation') as is_void,
            coalesce((array_agg(sold_minor order by id desc) filter (where sold_minor is not null))[1], 0)::int8
                as other
        from commission_accruals
        where shop_id = %(shop)s and order_id = any(%(ids)b::int8[]) group by 1, 2, 3, 4
        """,
        shop=shop_id,
        ids=sorted(order_ids),
    )
    grouped: dict[int, list[RowMapping]] = {}
    for row in rows:
        grouped.setdefault(row["order_id"], []).append(row)
    if not grouped:
        return {}
    released = _released(conn, shop_id, grouped)
    return {order_id: _booked(found, released.get(order_id, frozenset())) for order_id, found in grouped.items()}


def _booked(rows: Sequence[RowMapping], released_days: frozenset[int]) -> BookedOrder:
    booked = {
        Bucket(row["line_id"], row["base"], row["currency"]): Booked(
            row["net"],
            row["tax"],
            Shares(
                row["seller"],
                row["platform"],
                row["creator"],
                row["referrer"],
                row["channel"],
                row["authority"],
                row["unassigned"],
            ),
            row["facts"],
        )
        for row in rows
    }
    known = Known(
        booked,
        _ids(rows, "refunds"),
        _ids(rows, "chargebacks"),
        _ids(rows, "won"),
        any(row["is_void"] for row in rows),
        sum(row["other"] for row in rows),
    )
    return BookedOrder(
        known,
        {row["line_id"]: row["terms_id"] for row in rows if row["terms_id"] is not None},
        {(row["line_id"], row["base"]): tuple(row["volumes"]) for row in rows if row["volumes"] is not None},
        sum(row["facts"] for row in rows),
        released_days,
    )


def _ids(rows: Sequence[RowMapping], name: str) -> frozenset[int]:
    return frozenset(number for row in rows for number in row[name] or ())


def _released(conn: Connection, shop_id: int, order_ids: Iterable[int]) -> dict[int, frozenset[int]]:
    rows = fetch(
        conn,
        """
        select order_id, array_agg(days) as days from commission_windows
        where shop_id = %(shop)s and order_id = any(%(ids)b::int8[]) and released_at is not null group by 1
        """,
        shop=shop_id,
        ids=sorted(order_ids),
    )
    return {row["order_id"]: frozenset(row["days"]) for row in rows}


def terms_rows(conn: Connection, shop_id: int, ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """Terms that lines were booked by, by id."""
    if not ids:
        return {}
    rows = fetch(
        conn,
        """
        select id, seller_id, creator_id, referrer_id, category, item_rules, shipping_rules, window_days
        from commission_terms where shop_id = %(shop)s and id = any(%(ids)b::int8[])
        """,
        shop=shop_id,
        ids=sorted(ids),
    )
    return {row["id"]: dict(row) for row in rows}


def zone_of(conn: Connection, shop_id: int) -> str:
    """The shop's zone, in which its months are counted."""
    row = fetch_one(conn, "select time_zone from shops where shop_id = %(shop)s", shop=shop_id)
    return "UTC" if row is None else str(row["time_zone"])


def first_of_month(at: datetime, zone: Any) -> Any:
    """The first day of the month in which something happened, in a zone."""
    return at.astimezone(zone).date().replace(day=1)
