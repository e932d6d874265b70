"""Statements and explanations of a shop that trades: they agree with the ledger, and their files with them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from openpyxl import load_workbook
from sqlalchemy import Connection, Engine, create_engine

from core import embedded
from core.commissions import breakdowns, explaining, statement_files, statements
from core.commissions.statements import BadPeriod, NoSuchParty, Statement
from core.db import execute, fetch, scalar
from core.ledger import queries
from core.ledger.queries import Period, Standing
from core.ledger.rules import GENESIS, head_after, members_of
from core.money import shown
from tests.conftest import TestServers
from tests.dashboard import money_worlds, seed
from tests.dashboard.money_worlds import Earned


@dataclass(frozen=True)
class Shop:
    conn: Connection
    world: Earned
    now: datetime
    today: date

    def statement(self, code: str, days: int = 13) -> Statement:
        first = self.today - timedelta(days=days)
        return statements.build(self.conn, self.world.shop, self.world.parties[code], first, self.today, self.now)


@pytest.fixture(scope="module")
def traded(servers: TestServers, template_database: embedded.Database) -> Iterator[tuple[Engine, Earned]]:
    """One shop's weeks for all of these: each of them takes back what it adds."""
    database = embedded.create_database(servers.home, "statements", template=template_database.name)
    engine = create_engine(database.url)
    with engine.begin() as conn:
        world = money_worlds.earned(conn, days=32)
    yield engine, world
    engine.dispose()
    embedded.drop_database(servers.home, database.name)


@pytest.fixture
def shop(traded: tuple[Engine, Earned]) -> Iterator[Shop]:
    engine, world = traded
    with engine.connect() as conn, conn.begin() as transaction:
        now = seed.now()
        today = scalar(conn, "select (%(now)s::timestamptz at time zone 'Europe/London')::date", now=now)
        yield Shop(conn, world, now, today)
        transaction.rollback()


def test_a_change_is_explained_order_by_order_to_the_last_penny(shop: Shop) -> None:
    period = Period(shop.now - timedelta(days=7), shop.now + timedelta(seconds=5))
    for party in shop.world.parties.values():
        said = explaining.explain(shop.conn, shop.world.shop, party, "GBP", period)
        assert sum(one.payable_minor for one in said.causes) == said.payable_change
        for cause in said.causes:
            found = all_orders(shop, party, period, cause.kind)
            assert sum(each.payable_minor for each in found) == cause.payable_minor, cause
            assert sum(each.held_minor for each in found) == cause.held_minor, cause
            # A release names the orders whose windows closed, though it is one transaction for all of them.
            assert cause.kind == "adjustment" or all(each.order_id is not None for each in found)
    oak = explaining.explain(shop.conn, shop.world.shop, shop.world.parties["OAK"], "GBP", period)
    refunds = next(one for one in oak.causes if one.kind == "refund")
    assert (refunds.orders, refunds.payable_minor < 0, refunds.held_minor) == (2, True, 0)


def all_orders(shop: Shop, party: int, period: Period, kind: str) -> list[explaining.CauseOrder]:
    found: list[explaining.CauseOrder] = []
    before, more = None, True
    while more:
        page, more = explaining.orders_of(shop.conn, shop.world.shop, party, "GBP", period, kind, before)
        found += page
        before = (page[-1].transaction_id, page[-1].order_id or 0) if page else None
    return found


def test_what_a_release_moved_is_told_of_each_order_though_it_was_refunded_since(shop: Shop) -> None:
    period = Period(shop.now - timedelta(days=60), shop.now + timedelta(seconds=5))
    party = shop.world.parties["OAK"]
    found = all_orders(shop, party, period, "release")
    assert shop.world.orders["refunded"] in {each.order_id for each in found}
    balances = fetch(shop.conn, "select payable_minor from party_balances where party_id = %(p)s", p=party)
    for kind in ("refund", "adjustment"):
        found += all_orders(shop, party, period, kind)
    assert sum(each.payable_minor for each in found) == balances[0]["payable_minor"]


def test_what_is_held_is_told_window_by_window(shop: Shop) -> None:
    rows = fetch(
        shop.conn,
        """
        select b.party_id, b.held_minor, coalesce(sum(h.amount_minor), 0)::int8 as told
        from party_balances b left join held_windows h on h.shop_id = b.shop_id and h.party_id = b.party_id
            and h.currency = b.currency
        group by 1, 2
        """,
    )
    assert len(rows) == 6
    assert all(row["held_minor"] == row["told"] for row in rows)
    reasons = fetch(shop.conn, "select distinct waits_for from held_windows")
    assert {row["waits_for"] for row in reasons} == {None, "shipment", "hold"}


def test_sums_by_day_agree_with_the_ledger(shop: Shop) -> None:
    chosen = breakdowns.Chosen(shop.today - timedelta(days=60), shop.today)
    rows = breakdowns.breakdown(shop.conn, shop.world.shop, "seller", chosen)
    balances = {one.kind: 0 for one in queries.trial_balance(shop.conn, shop.world.shop, shop.now)}
    for one in queries.trial_balance(shop.conn, shop.world.shop, shop.now):
        balances[one.kind] -= one.balance_minor
    sums = breakdowns.totals(rows)["GBP"]
    parties = sums["seller"] + sums["creator"] + sums["referrer"]
    assert parties == balances["payable"] + balances["refund_reserve"] + balances["adjustments"]
    assert (sums["authority"], sums["channel"]) == (balances["tax"], balances["channel_fees"])
    assert sums["platform"] == balances["platform"] + balances["shipping"]
    for by in ("channel", "category"):
        assert breakdowns.totals(breakdowns.breakdown(shop.conn, shop.world.shop, by, chosen))["GBP"] == sums
    whole = sum(row["gross_minor"] for row in breakdowns.trend(shop.conn, shop.world.shop, chosen, True))
    assert whole == sums["gross"]
    told = list(csv.reader(io.StringIO(breakdowns.as_csv(rows, "seller", chosen).decode())))
    assert len(told) == len(rows) + 1


def test_a_statement_leads_from_opening_to_closing(shop: Shop) -> None:
    made = shop.statement("OAK")
    section = made.sections[0]
    assert len(section.lines) > 10
    assert section.closing == Standing(
        section.opening.payable_minor + sum(line.payable_minor for line in section.lines),
        section.opening.held_minor + sum(line.held_minor for line in section.lines),
    )
    assert section.opening.payable_minor > 0
    assert not made.is_over
    with pytest.raises(NoSuchParty):
        statements.build(shop.conn, shop.world.shop, 999, shop.today, shop.today, shop.now)
    with pytest.raises(BadPeriod):
        statements.build(shop.conn, shop.world.shop, 1, shop.today, shop.today - timedelta(days=1), shop.now)


def test_the_workbook_says_what_the_statement_says(shop: Shop) -> None:
    made = shop.statement("OAK")
    book = load_workbook(io.BytesIO(statement_files.make(made, "xlsx").content))
    rows = list(book["GBP"].iter_rows(values_only=True))
    assert rows[0][0] == "Oak & Ash (OAK)"
    section, lines = made.sections[0], rows[3:]
    assert len(lines) == len(section.lines) + 2
    assert (lines[0][2], lines[-1][2]) == ("Opening balance", "Closing balance")
    assert [round(lines[at][9] * 100) for at in (0, -1)] == [
        section.opening.payable_minor,
        section.closing.payable_minor,
    ]
    assert [round(row[7] * 100) for row in lines[1:-1]] == [line.payable_minor for line in section.lines]
    assert isinstance(lines[1][0], datetime)


EVIL = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx")


def test_no_file_runs_what_somebody_called_themselves(shop: Shop) -> None:
    made = shop.statement("OAK")
    line = made.sections[0].lines[0]
    lines = [replace(line, note=note, order_name=note) for note in EVIL]
    for name in EVIL:
        evil = replace(made, party=name, party_code=name, sections=[replace(made.sections[0], lines=lines)])
        for row in csv.DictReader(io.StringIO(statement_files.make(evil, "csv").content.decode(), newline="")):
            # Numbers of ours keep their minus.
            assert not row["note"].startswith(EVIL_FIRST)
            float(row["payable_after"])
        sheet = load_workbook(io.BytesIO(statement_files.make(evil, "xlsx").content))["GBP"]
        for cells in sheet.iter_rows():
            for cell in cells:
                assert cell.data_type != "f"
                assert not (isinstance(cell.value, str) and cell.value.startswith(EVIL_FIRST)), cell.value
        assert "/" not in statement_files.make(evil, "html").name


EVIL_FIRST = ("=", "+", "-", "@", "\t", "\r")


class Page(HTMLParser):
    """What a page asks for elsewhere, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read_page(made: Statement) -> tuple[Page, str]:
    page = Page()
    page.feed(statement_files.make(made, "html").content.decode())
    return page, " ".join(page.text)


def test_the_page_prints_by_itself(shop: Shop) -> None:
    made = shop.statement("TIDE")
    page, text = read_page(made)
    assert page.links == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "@page{size:A4" in text
    assert "url(" not in text
    assert "Tideline <Goods>" in text
    assert "<Goods>" not in statement_files.make(made, "html").content.decode()
    section = made.sections[0]
    for standing in (section.opening, section.closing):
        assert shown(standing.payable_minor, "GBP") in text
    assert page.tags.count("tr") == len(section.lines) + len(section.causes) + 4
    assert "was not sealed yet" in text
    assert "Signed" in text


def test_the_page_names_the_ledgers_head_once_it_is_sealed(shop: Shop) -> None:
    members = members_of([(1, bytes(32)), (3, bytes(32))])
    head = head_after(GENESIS, members)
    execute(
        shop.conn,
        """
        insert into ledger_seals (shop_id, number, first_id, last_id, transactions, members, previous_head, head,
            sealed_at) values (%(shop)s, 1, 1, 3, 2, %(members)s, %(genesis)s, %(head)s, %(now)s)
        """,
        shop=shop.world.shop,
        members=members,
        genesis=GENESIS,
        head=head,
        now=shop.now,
    )
    assert head.hex() in read_page(shop.statement("TIDE"))[1]
    sealed: Any = queries.seal_of(shop.conn, shop.world.shop, 3)
    assert (sealed.number, sealed.head) == (1, head)
    # Between the ends of a seal, and not in it.
    assert queries.seal_of(shop.conn, shop.world.shop, 2) is None
    assert queries.last_seal(shop.conn, shop.world.shop, shop.now - timedelta(days=1)) is None
