"""A replay through the whole product, held against the file, both channels, the audit and itself.

Every file has a system of its own, since the command replays into one shop that it fills once.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from core.db import fetch, fetch_one, read_only
from tests.acceptance import compare_channels, compare_replay
from tests.acceptance.compare_replay import read_file
from tests.functional.dump import Dump, changes, dump
from tests.functional.files import QUIRKS_REFUNDS, QUIRKS_RETURNS, write_changed, write_quirks, write_slice
from tests.functional.systems import System, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SHOP, DEMO = "Online Retail", "Demo Goods"
DOMAIN = "online-retail.myshopify.com"
SLICE_INVOICES = 150
CLOCK_FACTOR = "600"


@dataclass
class Replayed:
    """A system that has replayed a file once, and what it said of it."""

    name: str
    system: System
    file: Path
    summary: dict[str, Any] = field(default_factory=dict)

    def replay(self) -> dict[str, Any]:
        said: dict[str, Any] = self.system.cli_json("replay", str(self.file), "--clock-factor", CLOCK_FACTOR)
        return said

    def dump(self) -> Dump:
        return dump(self.system.database_url, SHOP)

    def in_step(self, shop: str) -> bool:
        """Whether nothing of a shop is on its way any more."""
        deliveries = self.system.control("/deliveries")
        engine = create_engine(self.system.database_url)
        with read_only(engine) as conn:
            row = fetch_one(
                conn,
                """
                select (select count(*) from inbox_messages m where m.shop_id = s.shop_id
                        and m.state in ('received', 'waiting')) as messages,
                    (select count(*) from listings l where l.shop_id = s.shop_id and l.publishing = 'on'
                        and (listing_differs(l.desired_units - l.short_units, l.published_units)
                            or l.unseen_units <> 0)) as listings,
                    (select count(*) from listing_writes w where w.shop_id = s.shop_id and w.outcome is null) as writes
                from shops s where s.name = %(shop)s
                """,
                shop=shop,
            )
        engine.dispose()
        assert row is not None
        return not any((deliveries["queued"], deliveries["in_flight"], *row.values()))

    def scarce_codes(self, shop: str) -> set[str]:
        """What is in escrow in a shop."""
        engine = create_engine(self.system.database_url)
        with read_only(engine) as conn:
            rows = fetch(
                conn,
                """
                select k.code from stock_levels v join skus k on k.shop_id = v.shop_id and k.id = v.sku_id
                join shops s on s.shop_id = v.shop_id where s.name = %(shop)s and v.is_escrow
                """,
                shop=shop,
            )
        engine.dispose()
        return {row["code"] for row in rows}

    def wait_until_in_step(self) -> None:
        wait_until(lambda: self.in_step(SHOP) and self.in_step(DEMO), "everything is in step", 120)


@pytest.fixture(scope="module", params=["quirks", pytest.param("slice", marks=pytest.mark.long)])
def replayed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replayed]:
    folder = tmp_path_factory.mktemp("replayed")
    if request.param == "quirks":
        file = write_quirks(folder / "quirks.csv")
    else:
        file = write_slice(folder / "slice.csv", request.getfixturevalue("shared_dir"), SLICE_INVOICES)
    system = System()
    try:
        system.start()
        world = system.control("/world")
        for shoppers in world["shoppers"]:
            system.control("/shoppers", {**shoppers, "running": False})
        found = Replayed(request.param, system, file)
        found.summary = found.replay()
        yield found
        system.stop()
    finally:
        system.erase()


def test_the_summary_says_what_the_file_says(replayed: Replayed) -> None:
    told = read_file(replayed.file)
    units = {kind: sum(told.units(kind).values()) for kind in ("order", "cancellation", "adjustment")}
    money = sum(row.rounded for row in told.lines("order", "cancellation", "bad_debt"))
    assert _chosen(replayed.summary) == {
        "file": replayed.file.name,
        "invoices": len(told.invoices),
        "orders": len(told.numbers("order")),
        "order_lines": sum(1 for _ in told.lines("order")),
        "units_ordered_goods": units["order"],
        "units_returned_goods": -units["cancellation"],
        "units_net_goods": units["order"] + units["cancellation"],
        "units_adjusted": units["adjustment"],
        "revenue_minor": money,
        "currency": "GBP",
        "adjustments": sum(1 for row in told.lines("adjustment") if row.is_goods),
        "adjustments_without_stock": sum(1 for row in told.lines("adjustment") if not row.is_goods),
    }
    exact = sum((row.exact for row in told.lines("order", "cancellation", "bad_debt")), Decimal(0))
    assert replayed.summary["rounding"].startswith(f"{exact} exactly; ")
    if replayed.name == "quirks":
        assert (replayed.summary["refunds"], replayed.summary["returns_without_order"]) == (
            QUIRKS_REFUNDS,
            QUIRKS_RETURNS,
        )


def _chosen(summary: dict[str, Any]) -> dict[str, Any]:
    """Without what depends on the machine and on who matched which cancellation."""
    others = ("refunds", "returns_without_order", "rounding", "deliveries", "clock_factor")
    return {name: value for name, value in summary.items() if name not in others and "seconds" not in name}


def test_the_database_is_what_the_file_says(replayed: Replayed) -> None:
    report = compare_replay.compare(replayed.file, None, replayed.system.database_url)
    print(report.as_text())
    assert report.is_clean, report.as_text()


def test_a_changed_file_would_be_noticed(replayed: Replayed, tmp_path: Path) -> None:
    """The comparison itself is tried: one cell of the file is another, and every kind of number it feeds differs."""
    expected = {
        ("Quantity", "7"): {"order_line_code_units_price_total", "ordered_units_moved", "revenue_pence"},
        ("UnitPrice", "77.77"): {"order_line_code_units_price_total", "order_total_pence", "revenue_pence_of_code"},
        ("InvoiceDate", "2010-12-01 03:03:00"): {"order_number_time_currency_lines"},
        ("StockCode", "nothing"): {"order_line_code_units_price_total", "ordered_units_moved"},
    }
    for (column, value), kinds in expected.items():
        changed = write_changed(tmp_path / "changed.csv", replayed.file, column, value)
        report = compare_replay.compare(changed, None, replayed.system.database_url)
        assert kinds <= {item.kind for item in report.differences}, column


def test_both_channels_show_what_is_available(replayed: Replayed) -> None:
    replayed.wait_until_in_step()
    report = compare_channels.compare(replayed.system.database_url, replayed.system.sandbox_url, SHOP)
    assert report.is_clean, report.as_text()
    # The demo shop is adaptive: what is scarce is split, and a channel whose orders are not read gets none of it.
    report = compare_channels.compare(replayed.system.database_url, replayed.system.sandbox_url, DEMO)
    scarce = replayed.scarce_codes(DEMO)
    assert scarce
    left_out = [item for item in report.differences if item.kind == "units_on_amazon" and item.key in scarce]
    assert report.differences == left_out, report.as_text()
    assert {item.found for item in left_out} <= {0}


def test_the_audit_of_a_settled_system_is_clean(replayed: Replayed) -> None:
    """A poll may put known orders into the inbox at any moment, so it may take more than one look."""
    said = ""

    def is_clean() -> bool:
        nonlocal said
        replayed.wait_until_in_step()
        answer = replayed.system.cli("audit", "--settled", "--json", check=False)
        said = answer.stdout
        return answer.returncode == 0

    try:
        wait_until(is_clean, "the audit is clean", 30)
    except AssertionError:
        pytest.fail(said[-3000:])
    assert json.loads(said)["clean"] is True


def test_status_shows_five_connections_in_step(replayed: Replayed) -> None:
    answer: dict[str, Any] = {}

    def is_settled() -> bool:
        answer.update(replayed.system.cli_json("status"))
        # The next poll takes back what one said that found no quota left.
        on_its_way = ("to_push", "open_writes", "unread", "last_error")
        return not any(row[name] for row in answer["connections"] for name in on_its_way)

    wait_until(is_settled, "status shows nothing on its way")
    state = replayed.system.state()
    assert answer["addresses"] == {name: state.addresses[name] for name in ("dashboard", "api")}
    rows = {(row["shop"], row["connection"]): row for row in answer["connections"]}
    channels = {(shop, channel) for shop in (SHOP, DEMO) for channel in ("Shopify", "Amazon")}
    assert set(rows) == {*channels, (DEMO, "Klaviyo")}
    codes = {row.code: row.is_goods for rows in read_file(replayed.file).invoices.values() for row in rows}
    assert rows[SHOP, "Shopify"]["listings"] == len(codes)
    assert rows[SHOP, "Amazon"]["listings"] == rows[SHOP, "Amazon"]["in_step"] == sum(codes.values())
    for row in rows.values():
        assert [row[name] for name in ("state", "last_error", "parked")] == ["active", None, 0], row
    assert {row["class"] for row in rows.values() if row["connection"] == "Shopify"} == {"A"}
    assert {row["class"] for row in rows.values() if row["connection"] == "Amazon"} == {"B"}


@pytest.mark.parametrize("ids", ["same", "new"])
def test_everything_delivered_again_changes_nothing(replayed: Replayed, ids: str) -> None:
    replayed.wait_until_in_step()
    before, messages = replayed.dump(), _messages(replayed)
    again = replayed.system.control("/deliveries/redeliver", {"ids": ids, "domain": DOMAIN})["count"]
    assert again > 0
    replayed.wait_until_in_step()
    assert changes(before, replayed.dump()) == []
    received = _messages(replayed) - messages
    assert sum(received.values()) == (again if ids == "new" else 0)
    assert set(received) <= {"handled"}


def _messages(replayed: Replayed) -> Counter[str]:
    """The shop's webhooks in the inbox, by state."""
    engine = create_engine(replayed.system.database_url)
    with read_only(engine) as conn:
        rows = fetch(
            conn,
            "select m.state, count(*) as count from inbox_messages m join shops s using (shop_id)"
            " where s.name = %(shop)s and m.road = 'webhook' group by 1",
            shop=SHOP,
        )
    engine.dispose()
    return Counter({row["state"]: row["count"] for row in rows})


def test_a_second_replay_of_the_file_changes_nothing(replayed: Replayed) -> None:
    replayed.wait_until_in_step()
    before = replayed.dump()
    again = replayed.replay()
    assert _chosen(again) == _chosen(replayed.summary)
    assert changes(before, replayed.dump()) == []
    assert compare_replay.compare(replayed.file, None, replayed.system.database_url).is_clean


@pytest.mark.parametrize("replayed", ["quirks"], indirect=True)
def test_amazon_follows_a_sale_on_shopify(replayed: Replayed) -> None:
    """In the demo shop: what Shopify sells, Amazon stops offering."""
    replayed.wait_until_in_step()
    system = replayed.system
    world = system.control("/world")
    shop = next(entry["domain"] for entry in world["shops"] if entry["name"] == DEMO)
    seller = next(entry["seller_id"] for entry in world["sellers"] if entry["name"] == DEMO)

    def on_amazon() -> dict[str, int]:
        levels = system.control(f"/amazon/{seller}/levels")["levels"]
        return {level["sku"]: sum(level["in_force"].values()) for level in levels}

    def available(code: str) -> int:
        found = {row[0]: row[6] for row in dump(system.database_url, DEMO)["stock_levels"]}
        return int(found[code])

    code, shown = max(on_amazon().items(), key=lambda entry: entry[1])
    assert shown == available(code) > 10
    line = {"sku": code, "quantity": 3, "price": "2.50"}
    order = {"key": f"followed-{replayed.name}-{time.time_ns()}", "currency": "GBP", "lines": [line]}
    system.control("/clock", {"factor": 60})
    try:
        (made,) = system.control(f"/shopify/{shop}/orders", {"orders": [order]})["orders"]
        assert "error" not in made, made
        wait_until(lambda: on_amazon()[code] == available(code) == shown - 3, "Amazon shows what is left")
    finally:
        system.control("/clock", {"factor": world["clock_factor"]})
    replayed.wait_until_in_step()
