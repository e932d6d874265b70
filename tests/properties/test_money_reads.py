"""Any history of postings, asked as of any moment: what is read by day says the same as plain sums over entries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core.audit import Actor
from core.commissions import editing, explaining, statements
from core.connections import operations as connections
from core.db import fetch
from core.ledger import operations, queries
from core.ledger.queries import Line, PartyAccounts, Period
from core.ledger.rules import AccountName, Transaction
from tests.factories import ACTOR, make_shop

# The clocks change on the first of these days in London, and at other hours in the other zones.
MIDDLE = datetime(2024, 3, 31, 1, 0, tzinfo=UTC)
KINDS = ("sale", "edit", "refund", "cancellation", "chargeback", "mapping", "release", "adjustment", "payout")
ZONES = ("Europe/London", "America/Havana", "Australia/Lord_Howe", "Pacific/Kiritimati")

seconds = st.one_of(st.integers(-5 * 86_400, 5 * 86_400), st.integers(-120, 120).map(lambda hours: hours * 3_600))
moments = seconds.map(lambda shift: MIDDLE + timedelta(seconds=shift))
amounts = st.integers(-5_000, 5_000)
Posted = list[tuple[str, datetime, int, int, str]]
postings = st.lists(
    st.tuples(st.sampled_from(KINDS), moments, amounts, amounts, st.sampled_from(("GBP", "EUR"))), max_size=12
)


def post(conn: Connection, shop_id: int, party_id: int, found: Posted, first: int = 0) -> None:
    """Each as one transaction, recorded when it says: not in the order of ids."""
    for number, (kind, at, payable, held, currency) in enumerate(found, start=first):
        entries = {
            AccountName("payable", currency, party_id): -payable,
            AccountName("refund_reserve", currency, party_id): -held,
            AccountName("platform", currency): payable + held,
        }
        if any(entries.values()):
            made = Transaction(f"fact:{number}", kind, at, f"Fact {number}", entries)  # type: ignore[arg-type]
            operations.post(conn, shop_id, [made], at)


def plain_sums(conn: Connection, shop_id: int, at: datetime) -> dict[int, tuple[int, int]]:
    rows = fetch(
        conn,
        """
        select e.account_id, sum(greatest(e.amount_minor, 0))::int8 as debit,
            sum(greatest(-e.amount_minor, 0))::int8 as credit
        from ledger_entries e join ledger_transactions t on t.shop_id = e.shop_id and t.id = e.transaction_id
        where e.shop_id = %(shop)s and t.recorded_at <= %(at)s group by 1
        """,
        shop=shop_id,
        at=at,
    )
    return {row["account_id"]: (row["debit"], row["credit"]) for row in rows}


@settings(max_examples=60)
@given(postings, moments, st.sampled_from(ZONES), st.booleans())
def test_a_trial_balance_as_of_any_moment_is_the_plain_sum(
    module_engine: Engine, found: Posted, at: datetime, zone: str, moves: bool
) -> None:
    with module_engine.connect() as conn, conn.begin() as transaction:
        shop_id = make_shop(conn, time_zone=zone)
        party = editing.add_party(conn, shop_id, "brand_shop", "OAK", "Oak & Ash", ACTOR, MIDDLE)
        half = len(found) // 2
        post(conn, shop_id, party, found[:half])
        if moves:
            name = fetch(conn, "select name from shops where shop_id = %(shop)s", shop=shop_id)[0]["name"]
            connections.set_up_shop(conn, shop_id, name, "Asia/Tokyo", "GBP", Actor("ada", "it moved"), MIDDLE)
        post(conn, shop_id, party, found[half:], half)
        wanted = plain_sums(conn, shop_id, at)
        balances = queries.trial_balance(conn, shop_id, at)
        said = {one.account_id: (one.debit_minor, one.credit_minor) for one in balances}
        assert {number: sums for number, sums in said.items() if any(sums)} == wanted
        for currency in ("GBP", "EUR"):
            assert sum(one.balance_minor for one in balances if one.currency == currency) == 0
        transaction.rollback()


@settings(max_examples=60)
@given(postings, moments, moments)
def test_causes_sum_to_the_change_and_lines_lead_from_opening_to_closing(
    module_engine: Engine, found: Posted, one: datetime, other: datetime
) -> None:
    period = Period(min(one, other), max(one, other) + timedelta(seconds=1))
    with module_engine.connect() as conn, conn.begin() as transaction:
        shop_id = make_shop(conn)
        party = editing.add_party(conn, shop_id, "creator", "MIRA", "Mira", ACTOR, MIDDLE)
        post(conn, shop_id, party, found)
        for currency, accounts in queries.party_accounts(conn, shop_id, party).items():
            said = explaining.explain(conn, shop_id, party, currency, period)
            assert sum(cause.payable_minor for cause in said.causes) == said.payable_change
            assert sum(cause.held_minor for cause in said.causes) == said.held_change
            for cause in said.causes:
                if cause.kind == "release":
                    # What a release is of stands with the windows, which these postings have not.
                    continue
                orders, more = explaining.orders_of(conn, shop_id, party, currency, period, cause.kind)
                assert not more
                assert sum(each.payable_minor for each in orders) == cause.payable_minor
                assert sum(each.held_minor for each in orders) == cause.held_minor
            lines = list(queries.all_lines(conn, shop_id, accounts, period))
            assert sum(line.payable_minor for line in lines) == said.payable_change
            assert sum(line.held_minor for line in lines) == said.held_change
            assert pages(conn, shop_id, accounts, period) == lines[::-1]
            for line in lines:
                since = queries.moved_since(conn, shop_id, accounts, period, line.transaction_id)
                kept = [each for each in lines if each.transaction_id >= line.transaction_id]
                assert since.payable_minor == sum(each.payable_minor for each in kept)
        transaction.rollback()


def pages(conn: Connection, shop_id: int, accounts: PartyAccounts, period: Period) -> list[Line]:
    found: list[Line] = []
    before, more = None, True
    while more:
        page, more = queries.lines_page(conn, shop_id, accounts, period, before, limit=2)
        found += page
        before = page[-1].transaction_id if page else None
    return found


@settings(max_examples=30)
@given(postings)
def test_an_accounts_pages_carry_its_balance_down_to_nothing(module_engine: Engine, found: Posted) -> None:
    with module_engine.connect() as conn, conn.begin() as transaction:
        shop_id = make_shop(conn)
        party = editing.add_party(conn, shop_id, "brand_shop", "OAK", "Oak & Ash", ACTOR, MIDDLE)
        post(conn, shop_id, party, found)
        for one in queries.trial_balance(conn, shop_id, MIDDLE + timedelta(days=30)):
            before, more, entries = None, True, []
            while more:
                page, more = queries.account_entries(conn, shop_id, one.account_id, before, limit=3)
                entries += page
                before = page[-1]["transaction_id"] if page else None
            left = one.balance_minor
            for entry in entries:
                assert entry["balance_minor"] == left
                left -= entry["amount_minor"]
            assert left == 0
        transaction.rollback()


def test_a_statement_of_days_that_are_over_never_changes(module_engine: Engine) -> None:
    """What comes late is recorded later, whatever day it happened on."""
    with module_engine.connect() as conn, conn.begin() as transaction:
        shop_id = make_shop(conn)
        party = editing.add_party(conn, shop_id, "brand_shop", "OAK", "Oak & Ash", ACTOR, MIDDLE)
        day, at = MIDDLE.date(), MIDDLE + timedelta(hours=3)
        post(conn, shop_id, party, [("sale", at, 0, 700, "GBP")])
        later = at + timedelta(days=3)
        was = statements.build(conn, shop_id, party, day, day, later)
        operations.post(
            conn,
            shop_id,
            [
                Transaction(
                    "late",
                    "refund",
                    at,
                    "It happened on that day",
                    {AccountName("refund_reserve", "GBP", party): 200, AccountName("platform", "GBP"): -200},
                )
            ],
            later,
        )
        assert statements.build(conn, shop_id, party, day, day, later) == was
        assert was.sections[0].closing.held_minor == 700
        transaction.rollback()
