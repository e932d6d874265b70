"""Reads of the money screens: what was earned, balances of parties, why they changed, the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple, TypeVar

import streamlit as st
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from core.commissions import breakdowns, explaining
from core.commissions import queries as commissions
from core.commissions.breakdowns import By, Chosen
from core.commissions.directory import directory, named_skus
from core.commissions.explaining import CauseOrder, Cursor, Explanation
from core.commissions.sentences import say_rule
from core.db import read_only
from core.ledger import queries as ledger
from core.ledger.queries import Balance, Line, PartyAccounts, Period, Seal, Standing
from dashboard import queries
from dashboard.queries import Unreadable, one, rows

PAGE = 50
HELD_PAGE = 25
ACCRUALS_MAX = 400
"""Facts of an order that are shown; the rest is counted."""

Found = TypeVar("Found")

ROLES = {
    "all": "true",
    "sellers": "p.kind in ('brand_shop', 'affiliate_retailer', 'social_seller')",
    "creators": "p.kind = 'creator'",
    "referrers": "p.kind = 'referrer'",
}


class Page(NamedTuple):
    """One page; `more` says whether another follows."""

    rows: list[Any]
    more: bool


def read(ask: Callable[[Connection], Found]) -> Found:
    """What a core read says of one state of the database. Raises Unreadable."""
    try:
        with read_only(queries.engine()) as conn:
            return ask(conn)
    except SQLAlchemyError as cause:
        raise Unreadable(cause) from cause


def forget() -> None:
    """Read afresh after a write."""
    for cached in (
        breakdown,
        trend,
        parties,
        party,
        earnings,
        totals,
        explanation,
        cause_orders,
        held_reasons,
        held,
        statement_page,
        waiting,
        adjustments,
        trial_balance,
    ):
        cached.clear()


def now() -> datetime:
    """The database's clock. Raises Unreadable."""
    return queries.database_time()


# --- commissions ------------------------------------------------------------------------------------------------------


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def breakdown(shop_id: int, scope: str, by: By, chosen: Chosen) -> list[breakdowns.Row]:
    """Who has how much of what was sold."""
    return read(lambda conn: breakdowns.breakdown(conn, shop_id, by, chosen))


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def trend(shop_id: int, scope: str, chosen: Chosen, is_weekly: bool) -> list[dict[str, Any]]:
    """The same by day or week."""
    return read(lambda conn: breakdowns.trend(conn, shop_id, chosen, is_weekly))


def newest_accruals(shop_id: int, chosen: Chosen, before: int | None) -> tuple[list[dict[str, Any]], bool]:
    """Facts of a seller, channel or category, the newest first, older than `before`, whatever their days."""
    found = rows(
        f"""
        select accrual_id, order_id, sku_code, line_title, base, cause, currency, net_minor, tax_minor, seller_minor,
            platform_minor, creator_minor, referrer_minor, channel_minor, seller, event_at, transaction_id,
            (select o.name from orders o where o.shop_id = s.shop_id and o.id = s.order_id) as order_name
        from order_split s
        where shop_id = %(shop)s and (%(before)s::int8 is null or accrual_id < %(before)s)
            and (%(category)s::text is null or coalesce(category, '') = %(category)s)
            and (%(seller)s::text is null or coalesce(seller_id::text, '') = %(seller)s)
            and (%(channel)s::text is null or (select o.connection_id::text from orders o
                where o.shop_id = s.shop_id and o.id = s.order_id) = %(channel)s)
        order by accrual_id desc limit {HELD_PAGE + 1}
        """,
        shop=shop_id,
        seller=chosen.seller,
        channel=chosen.channel,
        category=chosen.category,
        before=before,
    )
    return found[:HELD_PAGE], len(found) > HELD_PAGE


# --- parties ----------------------------------------------------------------------------------------------------------


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def parties(
    shop_id: int, scope: str, role: str, text: str, after: tuple[str, int] | None, week_ago: date, month: date
) -> Page:
    """One page of parties by name, each with its balances, what changed since a week ago, and the month's earnings.

    Each is a list with one entry for each currency.
    """
    found = rows(
        f"""
        with page as (
            select p.shop_id, p.party_id, p.kind, p.code, p.name, p.ended_at, p.hold_id, p.waiting_adjustments
            from party_list p
            where p.shop_id = %(shop)s and {ROLES[role]}
                and (%(text)s::text = '' or p.name ilike %(inside)s or p.code ilike %(inside)s)
                and (%(name)s::text is null or (lower(p.name), p.party_id) > (%(name)s, %(party)s))
            order by lower(p.name), p.party_id limit {PAGE + 1}
        )
        select g.*, now() as as_of,
            coalesce((select jsonb_agg(jsonb_build_object('currency', b.currency, 'payable', b.payable_minor,
                    'held', b.held_minor) order by b.currency)
                from party_balances b where b.shop_id = g.shop_id and b.party_id = g.party_id), '[]') as balances,
            coalesce((select jsonb_agg(jsonb_build_object('currency', c.currency, 'payable', c.payable)
                    order by c.currency)
                from (select d.currency, sum(d.payable_minor)::int8 as payable from party_balance_days d
                    where d.shop_id = g.shop_id and d.party_id = g.party_id and d.day >= %(week)s group by 1) c), '[]')
                as changes,
            coalesce((select jsonb_agg(jsonb_build_object('currency', e.currency, 'item', e.item,
                    'shipping', e.shipping) order by e.currency)
                from (select m.currency, sum(m.earned_minor) filter (where m.base = 'item')::int8 as item,
                        sum(m.earned_minor) filter (where m.base = 'shipping')::int8 as shipping
                    from party_earnings m where m.shop_id = g.shop_id and m.party_id = g.party_id
                        and m.day >= %(month)s group by 1) e), '[]') as earned
        from page g order by lower(g.name), g.party_id
        """,
        shop=shop_id,
        text=text,
        inside=f"%{_like(text)}%",
        name=after[0] if after else None,
        party=after[1] if after else None,
        week=week_ago,
        month=month,
    )
    return Page(found[:PAGE], len(found) > PAGE)


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


@st.cache_data(ttl=5, max_entries=50, show_spinner=False)
def totals(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """What all parties together may be paid and what is held of it, by currency, with how many are below zero."""
    return rows(
        """
        select currency, sum(payable_minor)::int8 as payable_minor, sum(held_minor)::int8 as held_minor,
            coalesce(sum(payable_minor) filter (where payable_minor > 0), 0)::int8 as owed_minor,
            count(*) filter (where payable_minor < 0)::int4 as negative
        from party_balances where shop_id = %(shop)s group by 1 order by 1
        """,
        shop=shop_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def party(shop_id: int, scope: str, party_id: int) -> dict[str, Any] | None:
    """One party, with what keeps its money back."""
    return one(
        """
        select party_id, kind, code, name, return_window_days, created_at, ended_at, hold_id, hold_reason, hold_by,
            hold_at, waiting_adjustments, now() as as_of
        from party_list where shop_id = %(shop)s and party_id = %(party)s
        """,
        shop=shop_id,
        party=party_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def earnings(shop_id: int, scope: str, party_id: int, first: date) -> list[dict[str, Any]]:
    """What a party earned since a day, items and carriage apart, by currency."""
    return rows(
        """
        select currency, coalesce(sum(earned_minor) filter (where base = 'item'), 0)::int8 as item_minor,
            coalesce(sum(earned_minor) filter (where base = 'shipping'), 0)::int8 as shipping_minor
        from party_earnings where shop_id = %(shop)s and party_id = %(party)s and day >= %(first)s
        group by 1 order by 1
        """,
        shop=shop_id,
        party=party_id,
        first=first,
    )


def accounts(shop_id: int, party_id: int) -> dict[str, PartyAccounts]:
    """A party's accounts by currency."""
    return read(lambda conn: ledger.party_accounts(conn, shop_id, party_id))


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def explanation(shop_id: int, scope: str, party_id: int, currency: str, period: Period) -> Explanation:
    """Why a party's payable changed over a period."""
    return read(lambda conn: explaining.explain(conn, shop_id, party_id, currency, period))


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def cause_orders(
    shop_id: int, scope: str, party_id: int, currency: str, period: Period, kind: str, before: Cursor | None
) -> tuple[list[CauseOrder], bool]:
    """What a cause is made of, order by order."""
    return read(lambda conn: explaining.orders_of(conn, shop_id, party_id, currency, period, kind, before))


# --- what is held -----------------------------------------------------------------------------------------------------

# Of a party with few entries its own orders are asked; of one with many whatever is open.
_MINE = """
    and h.order_id in (select l.order_id from party_statement_lines l where l.shop_id = %(shop)s
        and l.party_id = %(party)s and l.account_kind = 'refund_reserve' and l.order_id is not null)
"""
_FEW = 20_000


def _held_from(shop_id: int, party_id: int) -> str:
    found = one(
        "select coalesce(sum(entries), 0)::int8 as entries from party_balances"
        " where shop_id = %(shop)s and party_id = %(party)s",
        shop=shop_id,
        party=party_id,
    )
    few = _MINE if found is None or found["entries"] < _FEW else ""
    return f"held_windows h where h.shop_id = %(shop)s and h.party_id = %(party)s and h.currency = %(currency)s {few}"


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def held_reasons(shop_id: int, scope: str, party_id: int, currency: str) -> list[dict[str, Any]]:
    """Why money is held: by what it waits for, or by the window's time, with the next date."""
    return rows(
        f"""
        select coalesce(h.waits_for, 'time') as reason, count(*)::int4 as windows,
            sum(h.amount_minor)::int8 as amount_minor, min(h.closes_at) as next_at, max(h.closes_at) as last_at
        from {_held_from(shop_id, party_id)} group by 1
        order by array_position(array['time', 'shipment', 'payment', 'hold'], coalesce(h.waits_for, 'time'))
        """,
        shop=shop_id,
        party=party_id,
        currency=currency,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def held(shop_id: int, scope: str, party_id: int, currency: str, after: tuple[datetime, int] | None) -> Page:
    """One page of windows that hold a party's money, the next to close first; those without a date last."""
    found = rows(
        f"""
        select h.order_id, h.order_name, h.days, h.starts_at, h.closes_at, h.waits_for, h.amount_minor,
            coalesce(h.closes_at, '9999-01-01') as place
        from {_held_from(shop_id, party_id)}
            and (%(at)s::timestamptz is null or (coalesce(h.closes_at, '9999-01-01'), h.order_id) > (%(at)s, %(order)s))
        order by place, h.order_id limit {HELD_PAGE + 1}
        """,
        shop=shop_id,
        party=party_id,
        currency=currency,
        at=after[0] if after else None,
        order=after[1] if after else None,
    )
    return Page(found[:HELD_PAGE], len(found) > HELD_PAGE)


# --- statements, adjustments ------------------------------------------------------------------------------------------


class StatementPage(NamedTuple):
    """Lines, the newest first; what there was after the newest of them; whether older ones follow."""

    lines: Sequence[Line]
    after: Standing
    more: bool


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def statement_page(
    shop_id: int, scope: str, party_id: int, currency: str, period: Period, before: int | None
) -> StatementPage:
    """One page of a party's statement, with the balance that it begins at."""

    def ask(conn: Connection) -> StatementPage:
        mine = ledger.party_accounts(conn, shop_id, party_id).get(currency, PartyAccounts(None, None))
        lines, more = ledger.lines_page(conn, shop_id, mine, period, before, HELD_PAGE)
        closing = ledger.standing(conn, shop_id, mine, ledger.just_before(period.ends_at))
        if before is not None:
            since = ledger.moved_since(conn, shop_id, mine, period, before)
            closing = Standing(closing.payable_minor - since.payable_minor, closing.held_minor - since.held_minor)
        return StatementPage(lines, closing, more)

    return read(ask)


_ADJUSTMENT = """
    adjustment_id, party_id, party, currency, amount_minor, reason, asked_by, asked_at, needs_approval, state,
    decided_by, decided_reason, decided_at, transaction_id, now() as as_of
"""


@st.cache_data(ttl=5, max_entries=50, show_spinner=False)
def waiting(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """Adjustments that wait for a second person, the oldest first."""
    return rows(
        f"select {_ADJUSTMENT} from adjustment_list where shop_id = %(shop)s and state = 'waiting'"
        " order by adjustment_id limit 100",
        shop=shop_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def adjustments(shop_id: int, scope: str, party_id: int) -> list[dict[str, Any]]:
    """A party's adjustments, the newest first."""
    return rows(
        f"select {_ADJUSTMENT} from adjustment_list where shop_id = %(shop)s and party_id = %(party)s"
        " order by adjustment_id desc limit 20",
        shop=shop_id,
        party=party_id,
    )


def approval_limit(shop_id: int) -> int:
    """Above how many minor units an adjustment waits for a second person."""
    return read(lambda conn: commissions.settings(conn, shop_id).approval_limit_minor)


# --- an order's split -------------------------------------------------------------------------------------------------


def split_of(shop_id: int, order_id: int) -> list[dict[str, Any]]:
    """Every fact of an order's money, the first first."""
    return rows(
        f"""
        select accrual_id, order_line_id, line_ordinal, line_title, sku_code, ordinal, base, cause, currency, net_minor,
            tax_minor, seller_minor, platform_minor, creator_minor, referrer_minor, channel_minor, authority_minor,
            unassigned_minor, transaction_id, event_at, terms_id, category, window_days, item_rules, shipping_rules,
            seller_id, seller, creator_id, creator, referrer_id, referrer, now() as as_of
        from order_split where shop_id = %(shop)s and order_id = %(order)s order by accrual_id limit {ACCRUALS_MAX}
        """,
        shop=shop_id,
        order=order_id,
    )


def rule_sentences(shop_id: int, ids: Sequence[int]) -> dict[int, str]:
    """Versions of rules by id, each in a sentence."""

    def ask(conn: Connection) -> dict[int, str]:
        found = commissions.rules_by_id(conn, shop_id, ids)
        names = directory(conn, shop_id, sku_ids=named_skus(found.values()))
        return {number: say_rule(rule, names) for number, rule in found.items()}

    return read(ask)


def windows_of(shop_id: int, order_id: int) -> list[dict[str, Any]]:
    """What of an order is held, whose, and until when."""
    return rows(
        """
        select h.days, h.closes_at, h.waits_for, h.party_id, p.name as party, h.currency, h.amount_minor
        from held_windows h join party_list p on p.shop_id = h.shop_id and p.party_id = h.party_id
        where h.shop_id = %(shop)s and h.order_id = %(order)s order by h.closes_at, p.name
        """,
        shop=shop_id,
        order=order_id,
    )


# --- the ledger -------------------------------------------------------------------------------------------------------


@st.cache_data(ttl=5, max_entries=50, show_spinner=False)
def trial_balance(shop_id: int, scope: str, at: datetime) -> list[Balance]:
    """Every account's sums up to a moment."""
    return read(lambda conn: ledger.trial_balance(conn, shop_id, at))


def account_names(shop_id: int, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Whose accounts are, by id."""
    found = rows(
        """
        select account_id, party_id, party, party_code, connection from ledger_trial_balance
        where shop_id = %(shop)s and account_id = any(%(ids)b::int8[])
        """,
        shop=shop_id,
        ids=list(ids),
    )
    return {row["account_id"]: row for row in found}


def account(shop_id: int, account_id: int) -> dict[str, Any] | None:
    """One account as of now."""

    def ask(conn: Connection) -> dict[str, Any] | None:
        row = ledger.account(conn, shop_id, account_id)
        return None if row is None else dict(row)

    return read(ask)


def account_entries(shop_id: int, account_id: int, before: int | None) -> tuple[list[dict[str, Any]], bool]:
    """One page of an account's entries, each with the balance after it."""
    return read(lambda conn: ledger.account_entries(conn, shop_id, account_id, before))


def transaction(shop_id: int, transaction_id: int) -> dict[str, Any] | None:
    """One transaction's head."""
    return one(
        """
        select transaction_id, key, kind, order_id, order_name, event_at, recorded_at, note, recorded_by,
            now() as as_of
        from ledger_transaction_list where shop_id = %(shop)s and transaction_id = %(id)s
        """,
        shop=shop_id,
        id=transaction_id,
    )


def transaction_lines(shop_id: int, transaction_id: int) -> list[dict[str, Any]]:
    """Its entries, debits first."""
    return rows(
        """
        select account_id, amount_minor, currency, account_kind, party_id, party, connection
        from ledger_transaction_lines where shop_id = %(shop)s and transaction_id = %(id)s
        order by currency, amount_minor desc, account_id
        """,
        shop=shop_id,
        id=transaction_id,
    )


def transaction_accruals(shop_id: int, transaction_id: int) -> list[dict[str, Any]]:
    """The facts of lines that it was caused by."""
    return rows(
        """
        select accrual_id, line_ordinal, line_title, sku_code, base, cause, currency, net_minor, tax_minor
        from order_split where shop_id = %(shop)s and transaction_id = %(id)s order by accrual_id limit 50
        """,
        shop=shop_id,
        id=transaction_id,
    )


def seal_of(shop_id: int, transaction_id: int) -> Seal | None:
    """Which seal holds a transaction."""
    return read(lambda conn: ledger.seal_of(conn, shop_id, transaction_id))


def last_seal(shop_id: int) -> Seal | None:
    """The newest seal."""
    return read(lambda conn: ledger.last_seal(conn, shop_id))


RELEASED_MAX = 100


def released_by(shop_id: int, transaction_id: int) -> list[dict[str, Any]]:
    """The orders whose windows a release closed."""
    return rows(
        f"""
        select order_id, order_name, days, closes_at from released_windows
        where shop_id = %(shop)s and transaction_id = %(id)s order by order_id, days limit {RELEASED_MAX}
        """,
        shop=shop_id,
        id=transaction_id,
    )


def hold_of_order(shop_id: int, order_id: int) -> dict[str, Any] | None:
    """What keeps back what is earned of an order; None where nothing does."""
    return one(
        """
        select hold_id, reason, placed_by, placed_at from payout_hold_list
        where shop_id = %(shop)s and order_id = %(order)s and lifted_at is null
        """,
        shop=shop_id,
        order=order_id,
    )
