"""The money screens without a browser: nothing yet, weeks of trade, one party, one account, one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import pytest
from sqlalchemy import Connection
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

from core.audit import Actor
from core.commissions.adjusting import SamePerson
from core.db import fetch_one, scalar
from dashboard import money_actions, money_charts, money_period, money_queries, party_statement, queries
from dashboard.money_charts import Fall
from dashboard.theme import LIGHT
from tests.dashboard import money_worlds, seed
from tests.dashboard.conftest import Open, text_of


@pytest.mark.parametrize("screen", ["commissions", "sellers", "ledger"])
def test_nothing_yet_says_what_comes(opened: Open, conn: Connection, screen: str) -> None:
    seed.shop(conn)
    page = opened(screen)
    assert not page.exception
    said = text_of(page)
    assert "Nothing is earned yet" in said or "Nothing is posted yet" in said


@pytest.mark.parametrize(
    ("screen", "where", "says"),
    [
        ("sellers", {"party": "7"}, "There is no such party"),
        ("sellers", {"party": "x"}, "There is no such party"),
        ("ledger", {"account": "7"}, "There is no such account"),
        ("ledger", {"transaction": "99999999999999999999"}, "There is no such transaction"),
        ("ledger", {"at": "not-a-time", "kind": "nothing"}, "Nothing is posted yet"),
        ("commissions", {"from": "x", "period": "From–to", "channel": "1' or true"}, "Nothing is earned yet"),
    ],
)
def test_an_address_of_nothing_says_so(
    opened: Open, conn: Connection, screen: str, where: dict[str, str], says: str
) -> None:
    seed.shop(conn)
    page = opened(screen, **where)
    assert not page.exception
    assert says in text_of(page)


def test_a_database_that_does_not_answer_is_said(
    opened: Open, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed.shop(conn)

    def fails(*_: object, **__: object) -> None:
        raise queries.Unreadable(OSError("gone"))

    for screen, name in (("commissions", "breakdown"), ("sellers", "totals"), ("ledger", "trial_balance")):
        with monkeypatch.context() as patched:
            patched.setattr(money_queries, name, fails)
            page = opened(screen)
            assert not page.exception
            assert "The database did not answer within 5 s." in text_of(page)


@contextmanager
def sent() -> Iterator[list[Element]]:
    """What pages send to the browser meanwhile, in its order."""
    elements: list[Element] = []

    def keep(message: ForwardMsg) -> None:
        if message.delta.HasField("new_element"):
            elements.append(Element.FromString(message.delta.new_element.SerializeToString()))

    ForwardMsgQueue.on_before_enqueue_msg(keep)
    try:
        yield elements
    finally:
        ForwardMsgQueue.on_before_enqueue_msg(None)


def test_weeks_of_trade_on_every_screen(opened: Open, conn: Connection) -> None:
    world = money_worlds.earned(conn, days=20)
    oak, wool, jonas = (str(world.parties[code]) for code in ("OAK", "WOOL", "JONAS"))

    page = opened("commissions", period="Last 30 days")
    assert not page.exception
    said = text_of(page)
    assert "was sold in the last 30 days." in said
    assert f'href="sellers?party={oak}"' in said
    assert "The platform itself" in said
    for where in ({"by": "Creator"}, {"by": "Channel", "of": "Carriage"}, {"by": "Category", "category": "Kitchen"}):
        page = opened("commissions", period="Last 30 days", **where)
        assert not page.exception, where
    assert "Newest lines of it" in text_of(page)
    assert "Newest lines of it" in text_of(opened("commissions", seller=""))
    page = opened("commissions", channel=str(world.connections[1]), **{"from": "2020-01-01", "to": "2020-02-01"})
    assert not page.exception

    page = opened("sellers")
    assert not page.exception
    said = text_of(page)
    assert "can be paid." in said
    assert "Carried forward" in said
    assert "On hold" in said
    assert "=Harbour Radio" in said
    assert "Tideline &lt;Goods&gt;" in said
    assert {"Approve…", "Refuse…"} <= {button.label for button in page.button}
    assert "Nobody matches" in text_of(opened("sellers", q="nobody of that name"))
    assert "Mira Okafor" not in text_of(opened("sellers", show="Referrers"))

    page = opened("sellers", party=oak)
    assert not page.exception
    said = text_of(page)
    assert "Oak &amp; Ash can be paid" in said
    assert "since last" in said
    assert "Two refunds" in said
    assert "Not shipped yet" in said
    assert {"Adjust…", "Hold payouts…"} <= {button.label for button in page.button}
    with sent() as drawn:
        page = opened("sellers", party=oak, cause="refund", since="A month ago", period="Last 30 days")
    assert not page.exception
    link = f"orders?order={world.orders['refunded']}"
    assert link in text_of(page)
    # A browser goes to the heading as soon as it has it, and no further down than the page reaches by then.
    (head,) = (number for number, element in enumerate(drawn) if element.heading.anchor == "why")
    assert any(link in element.html.body for element in drawn[:head])
    page = opened("sellers", party=oak, cause="release")
    assert not page.exception
    page = opened("sellers", party=wool)
    said = text_of(page)
    assert "carried forward to what is earned next" in said
    assert "payable fell by" in said
    assert "Lift hold…" in {button.label for button in opened("sellers", party=jonas).button}

    page = opened("ledger")
    assert not page.exception
    assert "The ledger balances." in text_of(page)
    at = f"{seed.now():%Y-%m-%d}T00:00"
    page = opened("ledger", at=at, kind="payable")
    assert not page.exception
    assert "Payable: Oak &amp; Ash" in text_of(page)
    number = scalar(conn, "select id from ledger_accounts where kind = 'payable' and party_id = %(p)s", p=int(oak))
    page = opened("ledger", account=str(number))
    assert not page.exception
    released = scalar(conn, "select max(id) from ledger_transactions where kind = 'release'")
    for transaction, says in ((1, "Caused by"), (released, "Return windows that closed")):
        page = opened("ledger", transaction=str(transaction))
        assert not page.exception
        said = text_of(page)
        assert says in said
        assert "Not sealed yet" in said

    for name in ("refunded", "cancelled", "held", "newest"):
        page = opened("orders", order=str(world.orders[name]))
        assert not page.exception
        said = text_of(page)
        assert "The buyer paid" in said
        assert "pays 9 % of items" in said or name == "cancelled"
    assert "Hold what is earned…" in {button.label for button in page.button}


def test_what_is_done_about_a_partys_money(conn: Connection, settings: None) -> None:
    world = money_worlds.earned(conn, days=18)
    shop, engine = world.shop, queries.engine()
    writes = money_actions.engine()
    ada, ben = Actor("ada", "a test"), Actor("Ben", "a test")
    mira = money_queries.party(shop, "all", world.parties["MIRA"])
    assert mira is not None
    before = _payable(conn, world.parties["MIRA"])
    assert "£5.00 given to Mira Okafor." in money_actions.adjust(writes, shop, mira, "GBP", 500, ada)
    assert _payable(conn, world.parties["MIRA"]) == before + 500
    assert "waits for a second person" in money_actions.adjust(writes, shop, mira, "GBP", -20_000, ada)
    asked = next(row for row in money_queries.waiting(shop, "all") if row["amount_minor"] == -20_000)
    with pytest.raises(SamePerson):
        money_actions.approve(writes, shop, asked, ada)
    assert "is posted" in money_actions.approve(writes, shop, asked, ben)
    other = money_queries.waiting(shop, "all")[0]
    assert "nothing was posted" in money_actions.refuse(writes, shop, other, ada)
    assert "Nothing is paid out to Mira Okafor" in money_actions.hold(writes, shop, mira, ada)
    held = money_queries.party(shop, "all", world.parties["MIRA"])
    assert held is not None
    assert "is lifted" in money_actions.lift(writes, shop, held["hold_id"], "Mira Okafor", ben)
    money_actions.hold_order(writes, shop, world.orders["newest"], "#newest", ada)
    assert money_queries.hold_of_order(shop, world.orders["newest"]) is not None
    days = money_period.of("Last 30 days", seed.now().date())
    assert party_statement.make_file(shop, world.parties["MIRA"], days, "csv").startswith(b"recorded,")
    assert engine is not writes


def _payable(conn: Connection, party: int) -> int:
    row = fetch_one(conn, "select payable_minor from party_balances where party_id = %(p)s", p=party)
    assert row is not None
    return int(row["payable_minor"])


def test_what_an_adjustment_does_is_said_before() -> None:
    assert money_actions.typed_minor(12.5, "GBP", is_taken=True) == -1250
    assert money_actions.typed_minor(0.1 + 0.2, "GBP", is_taken=False) == 30
    assert money_actions.typed_minor(1500, "JPY", is_taken=False) == 1500
    assert "second person" in money_actions.adjustment_lines(10_001, "GBP", "Oak", 10_000)[0]
    assert "Posted at once" in money_actions.adjustment_lines(-10_000, "GBP", "Oak", 10_000)[0]


@pytest.mark.parametrize(
    ("choice", "first", "last"),
    [
        ("This month", date(2026, 3, 1), date(2026, 3, 15)),
        ("Last month", date(2026, 2, 1), date(2026, 2, 28)),
        ("Last 30 days", date(2026, 2, 14), date(2026, 3, 15)),
        ("From–to", date(2026, 1, 5), date(2026, 1, 9)),
    ],
)
def test_periods_are_business_days(choice: str, first: date, last: date) -> None:
    found = money_period.of(choice, date(2026, 3, 15), date(2026, 1, 9), date(2026, 1, 5))
    assert (found.first, found.last) == (first, last)
    assert found.steps()[0] <= first


def test_long_periods_go_by_week() -> None:
    found = money_period.of("From–to", date(2026, 3, 15), date(2020, 1, 1), date(2026, 3, 1))
    assert found.is_weekly
    assert all(day.weekday() == 0 for day in found.steps())
    assert len(found.steps()) < 60


def test_a_waterfall_goes_down_and_up_and_says_itself() -> None:
    steps = [Fall("Then", 10_000, True), Fall("Refund", -2_340), Fall("<b>", 500), Fall("Now", 8_160, True)]
    figure = money_charts.waterfall(steps, "GBP", LIGHT)
    bars = figure.data[0]
    assert [round(base + length, 2) for base, length in zip(bars.base, bars.x, strict=True)] == [100, 76.6, 81.6, 81.6]
    assert figure.layout.yaxis.ticktext[2] == "&lt;b&gt;  "
    said = money_charts.says_waterfall("Payable", steps, "GBP")
    assert said == "Payable: Then £100.00, Refund −£23.40, <b> +£5.00, Now £81.60."
