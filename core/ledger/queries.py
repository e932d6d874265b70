"""Reads: balances and the trial balance as of any moment, statements in pages, a transaction and its seal.

`As of` goes by when a transaction was recorded. Sums by day answer for all days before that of the moment, single
entries for the day itself, so that an answer takes as long after years as after a week. Days are of the shop's zone; of
a shop that was moved to another zone the sums by day begin and end at other hours, so that all entries are asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.clock import business_day
from core.db import fetch, fetch_one, scalar
from core.ledger.rules import members_in

PAGE = 50
BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Balance:
    """An account and what was debited and credited to it up to a moment, in minor units, both positive."""

    account_id: int
    kind: str
    party_id: int | None
    connection_id: int | None
    currency: str
    debit_minor: int
    credit_minor: int

    @property
    def balance_minor(self) -> int:
        """Debit positive."""
        return self.debit_minor - self.credit_minor


@dataclass(frozen=True, slots=True)
class Standing:
    """What a party may be paid, and what is held while buyers may return, in minor units of one currency."""

    payable_minor: int = 0
    held_minor: int = 0


@dataclass(frozen=True, slots=True)
class PartyAccounts:
    """A party's accounts of one currency; None where it has none of the kind yet."""

    payable_id: int | None
    reserve_id: int | None

    @property
    def ids(self) -> list[int]:
        """Those that are there."""
        return [one for one in (self.payable_id, self.reserve_id) if one is not None]


@dataclass(frozen=True, slots=True)
class Line:
    """A transaction as it stands on a party's statement: what it changed of payable and of what is held."""

    transaction_id: int
    kind: str
    note: str
    order_id: int | None
    order_name: str | None
    event_at: datetime
    recorded_at: datetime
    payable_minor: int
    held_minor: int


@dataclass(frozen=True, slots=True)
class Period:
    """From a moment on, up to before another one, by when transactions were recorded."""

    begins_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Seal:
    """Which seal holds a transaction, and the chain's head with it."""

    number: int
    sealed_at: datetime
    head: bytes


# --- as of a moment ---------------------------------------------------------------------------------------------------


def trial_balance(
    conn: Connection, shop_id: int, at: datetime, account_ids: Collection[int] | None = None
) -> list[Balance]:
    """Every account opened by then, with its sums up to and including a moment; only some accounts where named."""
    day = _safe_day(conn, shop_id, at)
    # Said in the statement, not by a null: a few accounts are found by their own index.
    days, entries = (
        text if account_ids is None else f"{text} and {alias}.account_id = any(%(accounts)b::int8[])"
        for text, alias in ((_DAYS, "d"), (_ENTRIES, "e"))
    )
    rows = fetch(
        conn,
        f"""
        with moved as ({days if day else ""} {"union all" if day else ""} {entries})
        select a.id as account_id, a.kind, a.party_id, a.connection_id, a.currency,
            coalesce(s.debit, 0)::int8 as debit_minor, coalesce(s.credit, 0)::int8 as credit_minor
        from ledger_accounts a left join (
            select account_id, sum(debit) as debit, sum(credit) as credit from moved group by 1
        ) s on s.account_id = a.id
        where a.shop_id = %(shop)s and (%(accounts)b::int8[] is null or a.id = any(%(accounts)b::int8[]))
            and (a.opened_at <= %(at)s or s.account_id is not null)
        order by a.kind, a.currency, a.id
        """,
        shop=shop_id,
        at=at,
        day=day,
        accounts=None if account_ids is None else sorted(account_ids),
    )
    return [Balance(**row) for row in rows]


# By the sums of days that are over.
_DAYS = """
    select d.account_id, d.debit_minor as debit, d.credit_minor as credit from ledger_account_days d
    where d.shop_id = %(shop)s and d.day < %(day)s
"""
# By each entry of the day itself, or of all time where there is no day. The first bound is the index's, with room for
# clocks that change; the second is exact.
_ENTRIES = """
    select e.account_id, greatest(e.amount_minor, 0) as debit, greatest(-e.amount_minor, 0) as credit
    from ledger_transactions t
    join shops s on s.shop_id = t.shop_id
    join ledger_entries e on e.shop_id = t.shop_id and e.transaction_id = t.id
    where t.shop_id = %(shop)s and t.recorded_at <= %(at)s
        and t.recorded_at >= coalesce(%(day)s::date::timestamptz - interval '2 days', '-infinity')
        and (%(day)s::date is null or (t.recorded_at at time zone s.time_zone)::date >= %(day)s)
"""


def _safe_day(conn: Connection, shop_id: int, at: datetime) -> date | None:
    """The shop's day of a moment; None where days do not tell, because the shop's zone was another one before."""
    row = fetch_one(
        conn,
        """
        select s.time_zone, exists (select from audit_entries a where a.shop_id = s.shop_id
            and a.subject = 'shop:' || s.shop_id and a.act = 'set_up_shop'
            and a.details -> 'before' ->> 'time_zone' <> a.details ->> 'time_zone') as is_moved
        from shops s where s.shop_id = %(shop)s
        """,
        shop=shop_id,
    )
    return None if row is None or row["is_moved"] else business_day(at, row["time_zone"])


def party_accounts(conn: Connection, shop_id: int, party_id: int) -> dict[str, PartyAccounts]:
    """A party's accounts by currency, in alphabetical order."""
    rows = fetch(
        conn,
        """
        select currency, max(id) filter (where kind = 'payable') as payable_id,
            max(id) filter (where kind = 'refund_reserve') as reserve_id
        from ledger_accounts where shop_id = %(shop)s and party_id = %(party)s group by 1 order by 1
        """,
        shop=shop_id,
        party=party_id,
    )
    return {row["currency"]: PartyAccounts(row["payable_id"], row["reserve_id"]) for row in rows}


def standing(conn: Connection, shop_id: int, accounts: PartyAccounts, at: datetime) -> Standing:
    """What a party had up to and including a moment."""
    if not accounts.ids:
        return Standing()
    found = {one.account_id: -one.balance_minor for one in trial_balance(conn, shop_id, at, accounts.ids)}
    return Standing(found.get(accounts.payable_id or 0, 0), found.get(accounts.reserve_id or 0, 0))


def just_before(at: datetime) -> datetime:
    """The last moment before one, as fine as the database tells times."""
    return at - at.resolution


# --- statements -------------------------------------------------------------------------------------------------------


def lines_page(
    conn: Connection, shop_id: int, accounts: PartyAccounts, period: Period, before: int | None, limit: int = PAGE
) -> tuple[list[Line], bool]:
    """One page of a party's statement, the newest first, older than transaction `before`; whether more follow."""
    found = _lines(conn, shop_id, accounts, period, before, limit + 1, "desc")
    return found[:limit], len(found) > limit


def all_lines(conn: Connection, shop_id: int, accounts: PartyAccounts, period: Period) -> Iterator[Line]:
    """Every line of a period, the oldest first, read in batches."""
    after: int | None = None
    while True:
        found = _lines(conn, shop_id, accounts, period, after, BATCH, "asc")
        yield from found
        if len(found) < BATCH:
            return
        after = found[-1].transaction_id


def _lines(
    conn: Connection, shop_id: int, accounts: PartyAccounts, period: Period, beyond: int | None, limit: int, way: str
) -> list[Line]:
    first, last = id_bounds(conn, shop_id, period)
    if not accounts.ids or first is None or last is None:
        return []
    if beyond is not None:
        first, last = (first, min(last, beyond - 1)) if way == "desc" else (max(first, beyond + 1), last)
    # Each account by its own index, so that only as much is read as is shown.
    rows = fetch(
        conn,
        f"""
        with found as (
            select e.transaction_id, e.account_id, e.amount_minor
            from unnest(%(accounts)b::int8[]) as n (id)
            cross join lateral (
                select e.transaction_id, e.account_id, e.amount_minor
                from ledger_entries e join ledger_transactions t on t.shop_id = e.shop_id and t.id = e.transaction_id
                where e.shop_id = %(shop)s and e.account_id = n.id
                    and e.transaction_id between %(first)s and %(last)s
                    and t.recorded_at >= %(begins)s and t.recorded_at < %(ends)s
                order by e.transaction_id {way} limit %(limit)s
            ) e
        ), sums as (
            select transaction_id, coalesce(-sum(amount_minor) filter (where account_id = %(payable)s), 0)::int8
                    as payable_minor,
                coalesce(-sum(amount_minor) filter (where account_id = %(reserve)s), 0)::int8 as held_minor
            from found group by 1 order by 1 {way} limit %(limit)s
        )
        select s.transaction_id, t.kind, t.note, t.order_id, o.name as order_name, t.event_at, t.recorded_at,
            s.payable_minor, s.held_minor
        from sums s join ledger_transactions t on t.shop_id = %(shop)s and t.id = s.transaction_id
        left join orders o on o.shop_id = t.shop_id and o.id = t.order_id
        order by s.transaction_id {way}
        """,
        shop=shop_id,
        accounts=accounts.ids,
        payable=accounts.payable_id,
        reserve=accounts.reserve_id,
        first=first,
        last=last,
        begins=period.begins_at,
        ends=period.ends_at,
        limit=limit,
    )
    return [Line(**row) for row in rows]


def id_bounds(conn: Connection, shop_id: int, period: Period) -> tuple[int | None, int | None]:
    """Between which ids the transactions of a period are: ids and times of recording go almost, not quite, together."""
    # By the index of times: for the bare least id the server would walk through all ids until one is of the period.
    row = fetch_one(
        conn,
        """
        select min(id + 0) as first, max(id + 0) as last from ledger_transactions
        where shop_id = %(shop)s and recorded_at >= %(begins)s and recorded_at < %(ends)s
        """,
        shop=shop_id,
        begins=period.begins_at,
        ends=period.ends_at,
    )
    assert row is not None
    return row["first"], row["last"]


def moved_since(conn: Connection, shop_id: int, accounts: PartyAccounts, period: Period, from_id: int) -> Standing:
    """What the transactions of a period from an id on changed: with it a page knows the balance that it ends at."""
    row = fetch_one(
        conn,
        """
        select coalesce(-sum(e.amount_minor) filter (where e.account_id = %(payable)s), 0)::int8 as payable,
            coalesce(-sum(e.amount_minor) filter (where e.account_id = %(reserve)s), 0)::int8 as held
        from ledger_entries e join ledger_transactions t on t.shop_id = e.shop_id and t.id = e.transaction_id
        where e.shop_id = %(shop)s and e.account_id = any(%(accounts)b::int8[])
            and e.transaction_id between %(from)s and %(last)s
            and t.recorded_at >= %(begins)s and t.recorded_at < %(ends)s
        """,
        shop=shop_id,
        accounts=accounts.ids,
        payable=accounts.payable_id,
        reserve=accounts.reserve_id,
        begins=period.begins_at,
        ends=period.ends_at,
        last=id_bounds(conn, shop_id, period)[1] or 0,
        **{"from": from_id},
    )
    assert row is not None
    return Standing(row["payable"], row["held"])


# --- accounts and transactions ----------------------------------------------------------------------------------------


def account(conn: Connection, shop_id: int, account_id: int) -> RowMapping | None:
    """An account with its sums as of now, and whose it is."""
    return fetch_one(
        conn,
        """
        select account_id, kind, currency, party_id, party, party_code, connection_id, connection, opened_at,
            debit_minor, credit_minor, balance_minor, entries
        from ledger_trial_balance where shop_id = %(shop)s and account_id = %(account)s
        """,
        shop=shop_id,
        account=account_id,
    )


def account_entries(
    conn: Connection, shop_id: int, account_id: int, before: int | None, limit: int = PAGE
) -> tuple[list[dict[str, Any]], bool]:
    """One page of an account's entries, the newest first, each with the balance after it; whether more follow."""
    rows = fetch(
        conn,
        """
        select e.transaction_id, e.amount_minor, e.currency, t.kind, t.note, t.order_id, o.name as order_name,
            t.event_at, t.recorded_at
        from ledger_entries e join ledger_transactions t on t.shop_id = e.shop_id and t.id = e.transaction_id
        left join orders o on o.shop_id = t.shop_id and o.id = t.order_id
        where e.shop_id = %(shop)s and e.account_id = %(account)s
            and (%(before)s::int8 is null or e.transaction_id < %(before)s)
        order by e.transaction_id desc limit %(limit)s
        """,
        shop=shop_id,
        account=account_id,
        before=before,
        limit=limit + 1,
    )
    balance = _balance_below(conn, shop_id, account_id, before)
    page = []
    for row in rows[:limit]:
        page.append({**row, "balance_minor": balance})
        balance -= row["amount_minor"]
    return page, len(rows) > limit


def _balance_below(conn: Connection, shop_id: int, account_id: int, before: int | None) -> int:
    """An account's balance after all transactions with lower ids: all there is, less what came since."""
    found: int = scalar(
        conn,
        """
        select coalesce((select sum(d.debit_minor - d.credit_minor) from ledger_account_days d
                where d.shop_id = %(shop)s and d.account_id = %(account)s), 0)::int8
            - case when %(before)s::int8 is null then 0 else coalesce((select sum(e.amount_minor) from ledger_entries e
                where e.shop_id = %(shop)s and e.account_id = %(account)s and e.transaction_id >= %(before)s), 0)::int8
            end
        """,
        shop=shop_id,
        account=account_id,
        before=before,
    )
    return found


def seal_of(conn: Connection, shop_id: int, transaction_id: int) -> Seal | None:
    """The seal that holds a transaction; None while it is not sealed."""
    rows = fetch(
        conn,
        """
        select number, sealed_at, head, members from ledger_seals
        where shop_id = %(shop)s and first_id <= %(id)s and last_id >= %(id)s order by number
        """,
        shop=shop_id,
        id=transaction_id,
    )
    for row in rows:
        # Seals may interlock: a range that spans it says only that it may be among them.
        if transaction_id in members_in(bytes(row["members"])):
            return Seal(row["number"], row["sealed_at"], bytes(row["head"]))
    return None


def last_seal(conn: Connection, shop_id: int, at: datetime | None = None) -> Seal | None:
    """The newest seal, or the newest that there was at a moment; None before the first."""
    row = fetch_one(
        conn,
        """
        select number, sealed_at, head from ledger_seals
        where shop_id = %(shop)s and (%(at)s::timestamptz is null or sealed_at <= %(at)s)
        order by number desc limit 1
        """,
        shop=shop_id,
        at=at,
    )
    return None if row is None else Seal(row["number"], row["sealed_at"], bytes(row["head"]))


def sums_by_kind(found: Sequence[Balance]) -> dict[tuple[str, str], tuple[int, int]]:
    """(debit, credit) of each (kind, currency), in the order found."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for one in found:
        debit, credit = sums.get((one.kind, one.currency), (0, 0))
        sums[one.kind, one.currency] = debit + one.debit_minor, credit + one.credit_minor
    return sums
