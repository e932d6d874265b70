"""The Oversell risk screen without a browser: empty, calm, at risk, unknown, gone; its reads, its words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from core.audit import Actor
from core.db import fetch_one
from core.inventory.shortages import Fact
from core.policies.rules import Scope, Terms
from dashboard import oversell_actions, oversell_charts, oversell_queries, oversell_words
from dashboard.actions import application
from dashboard.theme import LIGHT
from tests.dashboard import risk_worlds, seed
from tests.dashboard.conftest import Open, forget_all, text_of

NOW = datetime(2026, 11, 27, 14, 32, tzinfo=UTC)


def test_a_shop_without_listings_says_what_comes_first(opened: Open, conn: Connection) -> None:
    seed.shop(conn)
    page = opened("oversell")
    assert not page.exception
    said = text_of(page)
    assert "No channel can sell anything yet." in said
    assert "Nobody is told: no limit is set." in said
    assert "Nothing was oversold since this is on record." in said
    assert not page.dataframe


def test_a_calm_shop_says_that_nothing_can_be_oversold(opened: Open, conn: Connection) -> None:
    risk_worlds.calm(conn)
    page = opened("oversell")
    assert not page.exception
    said = text_of(page)
    assert "Nothing can be oversold right now." in said
    assert "Channels could sell 9 units before we know, of 40 available." in said
    assert [list(table.value["Risk"]) for table in page.dataframe] == [[["Safe"]]]
    assert "Switch to escrow…" not in [button.label for button in page.button], "nothing is at risk: nothing is opened"


def test_risk_is_answered_first_then_listed_worst_first_with_the_worst_opened(opened: Open, conn: Connection) -> None:
    risk_worlds.full(conn)
    page = opened("oversell")
    assert not page.exception
    said = text_of(page)
    assert "Up to 29 units could be oversold right now, over 5 SKUs." in said
    assert "Three of them are oversold already." in said
    assert "Alert since" in said
    table = page.dataframe[0].value
    assert list(table["SKU"])[:5] == ["22423", "85123A", "85099B", "CANDLE-FIG", "47566"]
    assert list(table["Over"])[:5] == ["11", "8", "6", "3", "1"]
    assert list(table["Cover"])[:4] == ["≈ 1 h 24 min", "≈ 20 min", "≈ 2 h 12 min", "none left"]
    assert table["1 h"][0] == "+4"
    assert (table["Shopify UK"][0], table["Shopify EU"][0], table["Amazon UK"][0]) == ("14", "5", "16")
    by_code = dict(zip(table["SKU"], table["Cover"], strict=True))
    assert by_code["20727"] == "–", "its rate of sales is not known"
    assert "Up to **11 units** could be sold that are not there." in said
    assert r"Pooled\: no unit is set apart for one channel" in said
    assert "At this rate it lasts ≈ 1 h 24 min." in said
    assert len(page.get("plotly_chart")) == 2


def test_an_oversell_is_told_where_its_address_says(opened: Open, conn: Connection) -> None:
    risk_worlds.full(conn)
    row = fetch_one(conn, "select shortage_id from shortage_list")
    assert row is not None
    page = opened("oversell", sku="CANDLE-FIG", shortage=str(row["shortage_id"]))
    assert not page.exception
    said = text_of(page)
    assert "2 channels could sell 9 together, and 2 were there" in said
    assert "**What would have prevented it**: Escrow would have prevented it" in said
    assert "Order 203-5561234-1187702: 5 sold" in said
    assert "Write to Amazon UK: whatever it showed → 2" in said
    assert "Call patchListingsItem: ok, status 200" in said
    assert "there is no shortage 999" in text_of(opened("oversell", sku="CANDLE-FIG", shortage="999")).lower().replace(
        "\\", ""
    )


def test_what_is_not_known_is_a_state_of_its_own(opened: Open, conn: Connection) -> None:
    risk_worlds.unwatched(conn)
    page = opened("oversell")
    assert not page.exception
    said = text_of(page)
    assert "At least 29 units could be oversold right now, over 5 SKUs." in said
    assert "At least **11 units** could be sold that are not there." in said
    assert "Amazon UK may have sold more than is known." in said
    assert "**What Amazon UK may have sold is not known**" in said
    assert "Orders of Shopify UK are known only up to" in said
    table = page.dataframe[0].value
    assert (table["Over"][0], table["Amazon UK"][0]) == ("≥ 11", "≥ 16")
    states = dict(zip(table["SKU"], table["Risk"], strict=True))
    overs = dict(zip(table["SKU"], table["Over"], strict=True))
    assert (list(states["22720"]), overs["22720"]) == (["Unknown"], "–")
    assert "orders of Amazon UK are not read, so what it sells is not known" in said


@pytest.mark.parametrize(
    ("show", "codes"),
    [
        ("At risk", ["22423", "85123A", "85099B", "CANDLE-FIG", "47566"]),
        ("Close", ["84879"]),
        ("Unknown", []),
    ],
)
def test_filters_mean_what_they_say(opened: Open, conn: Connection, show: str, codes: list[str]) -> None:
    risk_worlds.full(conn)
    page = opened("oversell", show=show)
    assert not page.exception
    assert [list(table.value["SKU"]) for table in page.dataframe] == ([codes] if codes else [])


def test_a_database_that_is_gone_leaves_no_figure(
    opened: Open, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    risk_worlds.full(conn)
    page = opened("oversell")
    monkeypatch.setattr(oversell_queries, "rows", _gone)
    monkeypatch.setattr(oversell_queries, "one", _gone)
    forget_all()
    page.run()
    assert not page.exception
    said = text_of(page)
    assert "This part could not be shown." in said
    assert "could be oversold right now" not in said
    assert not page.dataframe


def _gone(*_: object, **__: object) -> None:
    raise ValueError("gone")


def test_pages_meet_without_gap_or_repeat_both_ways(settings: None, conn: Connection) -> None:
    world = risk_worlds.calm(conn)
    for number in range(60):
        sku = seed.sku(conn, world.shop, f"S{number:02}", "Thing")
        seed.level(conn, world.shop, sku, world.place, 5)
        seed.listing(conn, world.shop, world.channels["Shopify UK"], sku, world.place, exposed_units=5 + number % 3)
    seen: list[dict[str, Any]] = []
    after: oversell_queries.Key | None = None
    while True:
        found = oversell_queries.page(world.shop, "all", "all", "units", "", after)
        seen += found.rows
        if not found.more:
            break
        after = _key(found.rows[-1])
    assert len({row["code"] for row in seen}) == len(seen) == 61
    assert [row["risk_units"] for row in seen] == sorted((row["risk_units"] for row in seen), reverse=True)
    back = oversell_queries.page(world.shop, "all", "all", "units", "", _key(seen[50]), backwards=True)
    assert [row["code"] for row in back.rows] == [row["code"] for row in seen[25:50]]
    assert [row["code"] for row in oversell_queries.page(world.shop, "all", "all", "units", "s07", None).rows] == [
        "S07"
    ]


def test_soonest_gone_first_puts_what_is_at_risk_before_what_is_not(opened: Open, conn: Connection) -> None:
    risk_worlds.full(conn)
    page = opened("oversell", sort="Soonest gone first")
    assert not page.exception
    table = page.dataframe[0].value
    assert list(table["SKU"])[:6] == ["CANDLE-FIG", "85123A", "47566", "22423", "85099B", "22720"]
    assert list(table["Cover"])[-1] == "–", "what is not known comes last"


def _key(row: dict[str, Any]) -> oversell_queries.Key:
    return row["sort_first"], row["sort_second"], row["code"], row["location_id"]


def test_a_bundles_sales_are_its_parts_risk(settings: None, conn: Connection) -> None:
    world = risk_worlds.calm(conn)
    part = world.skus["MUG"]
    bundle = seed.sku(conn, world.shop, "SET", "Set", is_bundle=True)
    seed.insert(
        conn, "bundle_parts", "part_sku_id", shop_id=world.shop, bundle_sku_id=bundle, part_sku_id=part, units=3
    )
    seed.listing(conn, world.shop, world.channels["Shopify UK"], bundle, world.place, exposed_units=12)
    (row,) = oversell_queries.pools(world.shop, "MUG")
    assert (row["exposed_units"], row["risk_units"]) == (9 + 3 * 12, 5)
    assert oversell_queries.pools(world.shop, "SET") == []
    assert [seat["listing_code"] for seat in oversell_queries.seats(world.shop, part)] == ["MUG", "SET"]


def test_the_trend_is_counted_back_from_now(settings: None, conn: Connection) -> None:
    world = risk_worlds.full(conn)
    sku = world.skus["22423"]
    changes = oversell_queries.trend(world.shop, "all", (sku,))
    levels = oversell_words.levels(35, changes, oversell_queries.TREND_STEPS)
    assert (levels[-1], levels[0]) == (35, 31), "three more 52 minutes ago, two less, three more"
    assert oversell_words.levels(5, [{"step": 1, "delta_units": 4, "known_steps": 2}], 4) == [None, None, 1, 5]
    listing = world.listings["84879", "Shopify UK"]
    risk_worlds.change(conn, world.shop, listing, "base", 13, 13, seed.ago(minutes=22))
    begun = oversell_queries.trend(world.shop, "all", (world.skus["84879"],))
    assert oversell_words.change_in_an_hour(begun, oversell_queries.TREND_STEPS) == "–", "its record is younger"
    assert oversell_words.levels(59, begun, oversell_queries.TREND_STEPS) == [None] * 7 + [59] * 5
    points = oversell_queries.exposed_over_time(world.shop, sku, "all", 1)
    assert points[-1]["exposed"] == 35
    assert points[0]["exposed"] == 25, "four of the shop, twenty-one of the others: what was before is not known"
    assert [point["at"] for point in points] == sorted(point["at"] for point in points)


def test_escrow_keeps_the_other_terms_of_the_skus_rule(settings: None, conn: Connection) -> None:
    world = risk_worlds.full(conn)
    version = seed.insert(conn, "policy_versions", shop_id=world.shop, saved_by="ada", reason="x", saved_at=NOW)
    sku = world.skus["22423"]
    seed.insert(conn, "channel_policies", shop_id=world.shop, sku_id=sku, cap_units=9, begun_id=version)
    change = oversell_actions.escrow_change(conn, world.shop, sku)
    assert (change.scope, change.terms) == (Scope(sku_id=sku), Terms(cap_units=9, mode="escrow"))


def test_the_limit_is_set_with_name_and_reason(settings: None, conn: Connection) -> None:
    shop = seed.shop(conn)
    actor = Actor("ada", "the season begins")
    assert "more than 20 units" in oversell_actions.set_limit(application(), shop, 20, actor)
    assert oversell_queries.alerting(shop, "all")["limit_units"] == 20
    assert "switched off" in oversell_actions.set_limit(application(), shop, None, actor)
    entry = fetch_one(conn, "select actor, reason, act from audit_entries order by id desc limit 1")
    assert entry == {"actor": "ada", "reason": "the season begins", "act": "set_alert_limit"}


# --- words and figures ------------------------------------------------------------------------------------------------


def at(minute: float) -> datetime:
    return NOW + timedelta(minutes=minute)


@pytest.mark.parametrize(
    ("minutes", "shown"), [(None, "–"), (0.0, "none left"), (20.4, "≈ 20 min"), (200_000.0, "> 90 d")]
)
def test_cover_says_no_more_than_a_rate_can(minutes: float | None, shown: str) -> None:
    assert oversell_words.cover(minutes) == shown


def test_two_step_lines_are_put_on_one_clock() -> None:
    available = [{"at": at(0), "available": 9}, {"at": at(4), "available": 5}, {"at": at(9), "available": 5}]
    exposed = [{"at": at(2), "exposed": 7}, {"at": at(9), "exposed": 7}]
    assert oversell_words.merged(available, exposed) == [
        {"at": at(2), "available": 9, "exposed": 7},
        {"at": at(4), "available": 5, "exposed": 7},
        {"at": at(9), "available": 5, "exposed": 7},
    ]
    assert oversell_words.merged(available, []) == []


def test_the_stretch_beyond_available_is_marked_to_its_end_and_what_is_oversold_apart() -> None:
    points = [
        {"at": at(minute), "available": free, "exposed": exposed}
        for minute, free, exposed in ((0, 9, 7), (1, 5, 7), (2, 8, 7), (3, -1, 0), (4, -1, 0))
    ]
    figure = oversell_charts.over_time(points, LIGHT, "UTC")
    beyond, short = figure.data[2], figure.data[3]
    assert (beyond.name, list(beyond.y)) == ("Exposed beyond available", [7, 7, None])
    assert (short.name, list(short.y)) == ("Oversold", [-1, -1])
    assert "exposed from 7 to 0" in oversell_charts.over_time_says(points)


def test_bars_stack_by_channel_with_a_mark_at_available_and_what_is_over_in_words() -> None:
    pool = {"sku_id": 1, "location_id": 1, "code": "22423", "available": 4, "exposed_units": 9, "risk_units": 5}
    seats = [
        {"sku_id": 1, "location_id": 1, "connection_id": number, "connection": name, "units": units}
        for number, name, units in ((1, "Shopify", 6), (2, "Amazon", 3))
    ]
    figure = oversell_charts.against_available([{**pool, "unwatched_listings": 1}], seats, {1: "#111111"}, LIGHT)
    assert [(bar.name, list(bar.x)) for bar in figure.data] == [("Shopify", [6]), ("Amazon", [3]), ("Available", [4])]
    assert [note.text for note in figure.layout.annotations] == ["<b>≥ 5 over</b>"]


def test_a_timeline_shows_gaps_and_escapes_what_others_wrote() -> None:
    facts = [Fact(at(90), "us", "available goes from 2 to −3", "short"), Fact(at(0), "A<b>", "order #1<i>: 5", "order")]
    shown = oversell_words.timeline(facts, at(100), "UTC")
    assert "1 h 30 min in which nothing is on record" in shown
    assert "A&lt;b&gt;" in shown
    assert "Order #1&lt;i&gt;: 5" in shown
