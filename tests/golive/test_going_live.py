"""Shadow mode: what writing would change is known and nothing is written; then the word to begin, and the switches."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from core import invariants
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import operations as connections
from core.db import execute, fetch, read_only, scalar, unit_of_work
from core.errors import BadInput
from core.inventory import comparison
from core.inventory import operations as inventory
from core.inventory.comparison import NotCompared, TooManyZeroed
from core.inventory.operations import Adjustment
from tests.factories import ACTOR
from tests.golive.conftest import Connect, Connected
from tests.sandbox.outside import ShopSide
from workers import console
from workers.cli import cli
from workers.jobs import connections as connection_jobs
from workers.jobs import inbox, stock

CODES = ("MUG", "CUP", "PEN", "JUG")


@pytest.fixture
def connected(connect: Connect, shop: ShopSide) -> Connected:
    """Four SKUs of ten units in shadow mode; two of them were changed by us since."""
    shop.stock(*CODES, available=10)
    shop.control("products", products=[{"title": "Untracked", "sku": "AIR", "price": "1.00", "tracked": False}])
    made = connect(shop)
    change(made, MUG=5, CUP=-3, PEN=-10)
    return made


def change(connected: Connected, **units: int) -> None:
    with unit_of_work(connected.app.engine) as conn:
        place = scalar(conn, "select id from locations where shop_id = %(s)s limit 1", s=connected.shop_id)
        items = [Adjustment(f"{code}:{utc_now()}", code, n, "adjustment", utc_now()) for code, n in units.items()]
        inventory.adjust(conn, connected.shop_id, place, items, ACTOR, utc_now())


def run(connected: Connected, *words: str, typed: str | None = None) -> Result:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(console, "application", lambda: connected.app)
        return CliRunner().invoke(cli, words, input=typed, standalone_mode=False)


def said(connected: Connected, *words: str, typed: str | None = None) -> str:
    done = run(connected, *words, typed=typed)
    assert done.exception is None, (done.output, done.exception)
    return done.output


def push(connected: Connected) -> Any:
    stock.sweep_stock()
    return stock.push_stock(shop_id=connected.shop_id, connection_id=connected.connection_id)


def writes(app: Application) -> int:
    with read_only(app.engine) as conn:
        return int(scalar(conn, "select count(*) from listing_writes"))


def levels(connected: Connected) -> dict[str, int]:
    rows = connected.side.outside.get(f"/shopify/{connected.side.domain}/levels")["levels"]
    return {row["sku"]: row["available"] for row in rows if row["sku"] in CODES}


def test_in_shadow_mode_the_difference_is_known_and_nothing_is_written(connected: Connected) -> None:
    push(connected)
    assert writes(connected.app) == 0
    with read_only(connected.app.engine) as conn:
        assert [finding.name for finding in invariants.check(conn, utc_now(), settled=True) if finding.rows] == []
    assert levels(connected) == dict.fromkeys(CODES, 10)

    words = said(connected, "compare", "Shopify")
    assert (
        "3 of 5 listings of Shopify would be written: 1 raised by 5 units, 1 lowered by 3, 1 taken to 0 from 10;"
        " 1 are equal." in words
    )
    assert "1 are not counted by the channel" in words
    assert "The scope read_all_orders shows them." in words
    found = json.loads(said(connected, "compare", "Shopify", "--json"))
    assert found["is_complete"]
    assert [(row["code"], row["difference_units"]) for row in found["differences"]] == [
        ("PEN", -10),
        ("MUG", 5),
        ("CUP", -3),
    ]
    # It is kept current: a sale of the channel is no difference, ours is.
    change(connected, MUG=-5)
    assert "2 of 5 listings" in said(connected, "compare", "Shopify")


def test_the_whole_list_is_a_file_that_no_spreadsheet_runs(connected: Connected) -> None:
    with unit_of_work(connected.app.engine) as conn:
        execute(conn, "update listings set title = '=1+1' where channel_code = 'CUP'")
    done = run(connected, "compare", "Shopify", "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    by_code = {row["channel_code"]: row for row in rows if row["channel_code"]}
    assert by_code["CUP"]["title"] == "'=1+1"
    assert (by_code["PEN"]["verdict"], by_code["AIR"]["verdict"]) == ("zeroed", "untracked")
    assert "JUG" not in by_code


def test_differences_come_by_page(connected: Connected) -> None:
    with read_only(connected.app.engine) as conn:
        where = (connected.shop_id, connected.connection_id)
        whole = comparison.differences(conn, *where)
        first = comparison.differences(conn, *where, limit=2)
        rest = comparison.differences(conn, *where, limit=2, after=comparison.position(first[-1]))
        everything = list(comparison.all_differences(conn, *where, ["raised", "lowered", "zeroed"]))
    assert [*first, *rest] == whole == everything


def test_going_live_shows_what_it_does_asks_and_writes_it(connected: Connected) -> None:
    refused = run(connected, "go-live", "Shopify", "--reason", "ready", typed="n\n")
    assert isinstance(refused.exception, click.exceptions.Abort)
    assert connected.row.write_mode == "shadow"

    answer = said(connected, "go-live", "Shopify", "--reason", "ready", typed="y\n")
    assert "1 taken to 0 from 10" in answer
    assert "Shopify is live." in answer
    push(connected)
    assert levels(connected) == {"MUG": 15, "CUP": 7, "PEN": 0, "JUG": 10}
    assert "Shopify shows what it should on all 4 listings we write." in said(connected, "compare", "Shopify")
    assert "is live already" in said(connected, "go-live", "Shopify", "--reason", "ready", "--yes")
    with read_only(connected.app.engine) as conn:
        assert [finding.name for finding in invariants.check(conn, utc_now()) if finding.rows] == []
        rows = fetch(conn, "select actor, reason from audit_entries where act = 'go_live'")
    assert [(row["actor"], row["reason"]) for row in rows] == [("ada", "ready")]


def test_many_zeros_need_a_word_of_their_own(connected: Connected) -> None:
    blocked = run(connected, "go-live", "Shopify", "--reason", "ready", "--yes", "--zero", "0")
    assert isinstance(blocked.exception, TooManyZeroed)
    assert "1 listings of Shopify to 0, which show 10 units now" in str(blocked.exception)
    assert connected.row.write_mode == "shadow"
    said(connected, "go-live", "Shopify", "--reason", "ready", "--yes", "--zero", "1")
    assert connected.row.write_mode == "live"


def test_what_was_never_read_whole_does_not_go_live(connected: Connected) -> None:
    with unit_of_work(connected.app.engine) as conn:
        execute(conn, "update connections set open_orders_read_at = null, orders_polled_at = null")
    blocked = run(connected, "go-live", "Shopify", "--reason", "ready", "--yes")
    assert isinstance(blocked.exception, NotCompared)
    assert "its open orders are not read yet: sync it; its orders were never polled" in str(blocked.exception)


def test_writes_are_stopped_and_resumed_from_the_command_line(connected: Connected) -> None:
    said(connected, "go-live", "Shopify", "--reason", "ready", "--yes")
    assert "Nothing is written to the whole shop any more" in said(connected, "stop-writes", "--reason", "a flood")
    assert "stopped already" in said(connected, "stop-writes", "--reason", "again")
    said(connected, "stop-writes", "--connection", "Shopify", "--reason", "this one too")
    push(connected)
    assert levels(connected) == dict.fromkeys(CODES, 10)
    assert "Shopify is not written to: ada stopped it (a flood)" in said(connected, "status")
    words = said(connected, "resume-writes", "--reason", "dry again")
    assert "The stop of the whole shop is ended." in words
    assert "Shopify is still not written to: ada stopped the writes of this connection: this one too." in words
    said(connected, "resume-writes", "--connection", "Shopify", "--reason", "dry again")
    push(connected)
    assert levels(connected) == {"MUG": 15, "CUP": 7, "PEN": 0, "JUG": 10}


def test_a_pause_loses_nothing_and_a_poll_closes_the_gap(connected: Connected) -> None:
    where = {"shop_id": connected.shop_id, "connection_id": connected.connection_id}
    assert "Shopify is paused." in said(connected, "pause", "Shopify", "--reason", "they move")
    connected.side.place(("JUG", 4))
    assert connection_jobs.poll_connection(**where) == {"paused": True}
    assert connected.sync() == {"paused": True}
    assert stock.push_stock(**where) == {"busy_or_paused": True}
    assert "Shopify is polled again." in said(connected, "resume", "Shopify", "--reason", "they moved")
    connection_jobs.poll_connection(**where)
    inbox.drain_inbox(**where)
    with read_only(connected.app.engine) as conn:
        sql = "select available from stock_levels k join skus s on s.id = k.sku_id where s.code = 'JUG'"
        assert scalar(conn, sql) == 6


def test_a_name_that_is_no_connection_is_refused_with_those_there_are(connected: Connected) -> None:
    refused = run(connected, "pause", "Shopfy", "--reason", "a test").exception
    assert isinstance(refused, BadInput)
    assert f"connections: Shopify ({connected.connection_id})" in str(refused)
    with unit_of_work(connected.app.engine) as conn:
        connections.open_shop(conn, "Another", "Europe/London", "GBP", ACTOR, utc_now())
    assert "name one with --shop" in str(run(connected, "stop-writes", "--reason", "a test").exception)
