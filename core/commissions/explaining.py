"""Why is my payable lower than last week? What changed what a party may be paid, and what is held of it, by cause.

Every entry of a party's accounts has exactly one transaction and that exactly one kind, so that the causes of a change
sum to it to the last minor unit, whichever two moments are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from core.db import fetch
from core.ledger import queries as ledger
from core.ledger.queries import PartyAccounts, Period, Standing

PAGE = 25


@dataclass(frozen=True, slots=True)
class CauseSum:
    """What one cause changed, in minor units: `orders` that its transactions name (a release names none, being of many)
    and how many transactions that were."""

    kind: str
    payable_minor: int
    held_minor: int
    orders: int
    transactions: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a party had at two moments, and the causes of what changed in between, the greatest first."""

    currency: str
    period: Period
    before: Standing
    after: Standing
    causes: Sequence[CauseSum]

    @property
    def payable_change(self) -> int:
        """In minor units."""
        return self.after.payable_minor - self.before.payable_minor

    @property
    def held_change(self) -> int:
        """In minor units."""
        return self.after.held_minor - self.before.held_minor


@dataclass(frozen=True, slots=True)
class CauseOrder:
    """What a cause changed by one order (or by none: an adjustment, a payout), and where it is told."""

    order_id: int | None
    order_name: str | None
    note: str
    transaction_id: int
    recorded_at: datetime
    payable_minor: int
    held_minor: int


def explain(conn: Connection, shop_id: int, party_id: int, currency: str, period: Period) -> Explanation:
    """The change of a party's payable and of what is held over a period, split into causes that sum to it."""
    accounts = ledger.party_accounts(conn, shop_id, party_id).get(currency, PartyAccounts(None, None))
    return Explanation(
        currency,
        period,
        ledger.standing(conn, shop_id, accounts, ledger.just_before(period.begins_at)),
        ledger.standing(conn, shop_id, accounts, ledger.just_before(period.ends_at)),
        causes(conn, shop_id, accounts, period),
    )


_MOVED = """
    select t.id, t.kind, t.order_id, t.note, t.recorded_at,
        coalesce(-sum(e.amount_minor) filter (where e.account_id = %(payable)s), 0)::int8 as payable_minor,
        coalesce(-sum(e.amount_minor) filter (where e.account_id = %(reserve)s), 0)::int8 as held_minor
    from ledger_transactions t
    join ledger_entries e on e.shop_id = t.shop_id and e.transaction_id = t.id
    where t.shop_id = %(shop)s and t.recorded_at >= %(begins)s and t.recorded_at < %(ends)s
        and e.account_id = any(%(accounts)b::int8[]) and e.transaction_id between %(first)s and %(last)s
    group by t.shop_id, t.id
"""


def causes(conn: Connection, shop_id: int, accounts: PartyAccounts, period: Period) -> list[CauseSum]:
    """What each cause changed over a period, what lowered payable most first."""
    if not accounts.ids:
        return []
    rows = fetch(
        conn,
        f"""
        with moved as ({_MOVED})
        select kind, sum(payable_minor)::int8 as payable_minor, sum(held_minor)::int8 as held_minor,
            count(distinct order_id)::int4 as orders, count(*)::int4 as transactions
        from moved group by 1 order by 2, 3, 1
        """,
        **_of(conn, shop_id, accounts, period),
    )
    return [CauseSum(**row) for row in rows]


Cursor = tuple[int, int]
"""(transaction, order; 0: none): what a page comes before."""


def orders_of(
    conn: Connection,
    shop_id: int,
    party_id: int,
    currency: str,
    period: Period,
    kind: str,
    before: Cursor | None = None,
) -> tuple[list[CauseOrder], bool]:
    """One page of what a cause is made of, the newest first, from before a row on; whether more follow.

    One row for each order, or for each transaction that is of none.
    """
    accounts = ledger.party_accounts(conn, shop_id, party_id).get(currency, PartyAccounts(None, None))
    if not accounts.ids:
        return [], False
    rows = fetch(
        conn,
        f"""
        with moved as ({_MOVED}), parts as ({_RELEASED if kind == "release" else _WHOLE})
        select p.order_id, o.name as order_name, p.note, p.id as transaction_id, p.recorded_at, p.payable_minor,
            p.held_minor
        from parts p left join orders o on o.shop_id = %(shop)s and o.id = p.order_id
        where (%(transaction)s::int8 is null or (p.id, coalesce(p.order_id, 0)) < (%(transaction)s, %(order)s))
        order by p.id desc, coalesce(p.order_id, 0) desc limit {PAGE + 1}
        """,
        kind=kind,
        party=party_id,
        currency=currency,
        transaction=before[0] if before else None,
        order=before[1] if before else None,
        **_of(conn, shop_id, accounts, period),
    )
    return [CauseOrder(**row) for row in rows[:PAGE]], len(rows) > PAGE


_WHOLE = "select m.* from moved m where m.kind = %(kind)s"
# A release is one transaction for many orders. Of each it moved what was booked till then: an order is locked while it
# is released, so that the ledger's numbers tell what came before. What moved nothing between accounts has none.
_RELEASED = """
    select m.id, m.kind, w.order_id, m.note, m.recorded_at, sum(s.minor)::int8 as payable_minor,
        -sum(s.minor)::int8 as held_minor
    from moved m
    join commission_windows w on w.shop_id = %(shop)s and w.transaction_id = m.id
    cross join lateral (
        select coalesce(sum(v.minor), 0) as minor
        from commission_accruals a
        join commission_terms t on t.shop_id = a.shop_id and t.id = a.terms_id and t.window_days = w.days
        cross join lateral (values (t.seller_id, a.seller_minor), (t.creator_id, a.creator_minor),
            (t.referrer_id, a.referrer_minor)) v (party_id, minor)
        where a.shop_id = w.shop_id and a.order_id = w.order_id and a.currency = %(currency)s
            and v.party_id = %(party)s and coalesce(a.transaction_id < m.id, a.recorded_at <= w.released_at)
    ) s
    where m.kind = %(kind)s
    group by 1, 2, 3, 4, 5 having sum(s.minor) <> 0
"""


def _of(conn: Connection, shop_id: int, accounts: PartyAccounts, period: Period) -> dict[str, object]:
    first, last = ledger.id_bounds(conn, shop_id, period)
    return {
        # Of nothing where nothing was recorded.
        "first": first or 0,
        "last": last or 0,
        "shop": shop_id,
        "accounts": accounts.ids,
        "payable": accounts.payable_id,
        "reserve": accounts.reserve_id,
        "begins": period.begins_at,
        "ends": period.ends_at,
    }
