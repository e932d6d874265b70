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
    """What one cause changed, in minor units: `orders` that it is of, and how many transactions that were."""

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
        and e.account_id = any(%(accounts)b::int8[])
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
        **_of(shop_id, accounts, period),
    )
    return [CauseSum(**row) for row in rows]


def orders_of(
    conn: Connection, shop_id: int, accounts: PartyAccounts, period: Period, kind: str, before: int | None = None
) -> tuple[list[CauseOrder], bool]:
    """One page of what a cause is made of, the newest first, older than transaction `before`; whether more follow."""
    if not accounts.ids:
        return [], False
    rows = fetch(
        conn,
        f"""
        with moved as ({_MOVED})
        select m.order_id, o.name as order_name, m.note, m.id as transaction_id, m.recorded_at, m.payable_minor,
            m.held_minor
        from moved m left join orders o on o.shop_id = %(shop)s and o.id = m.order_id
        where m.kind = %(kind)s and (%(before)s::int8 is null or m.id < %(before)s)
        order by m.id desc limit {PAGE + 1}
        """,
        kind=kind,
        before=before,
        **_of(shop_id, accounts, period),
    )
    return [CauseOrder(**row) for row in rows[:PAGE]], len(rows) > PAGE


def _of(shop_id: int, accounts: PartyAccounts, period: Period) -> dict[str, object]:
    return {
        "shop": shop_id,
        "accounts": accounts.ids,
        "payable": accounts.payable_id,
        "reserve": accounts.reserve_id,
        "begins": period.begins_at,
        "ends": period.ends_at,
    }
