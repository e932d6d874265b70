"""Days of zones, sums, and what makes a correction: pure."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from core.clock import business_day
from core.reports import rules

LONDON = "Europe/London"


def market(**more: Any) -> dict[str, Any]:
    named = {"connection_id": 1, "connection": "Shopify", "country": "GB", "currency": "GBP"}
    return {**named, **dict.fromkeys(rules.MEASURES, 0), **more}


def content(*markets: dict[str, Any], skus: Any = (), hours: Any = ()) -> dict[str, Any]:
    return {
        "markets": list(markets),
        "skus": list(skus),
        "by_hour": list(hours),
        **dict.fromkeys(rules.AS_FIRST_REPORTED, None),
    }


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        (date(2011, 3, 26), LONDON, 24),
        (date(2011, 3, 27), LONDON, 23),
        (date(2011, 10, 30), LONDON, 25),
        (date(2024, 10, 6), "Australia/Lord_Howe", 23.5),
        # Midnight itself is skipped, and comes twice.
        (date(2024, 9, 8), "America/Santiago", 23),
        (date(2024, 3, 10), "America/Havana", 23),
        (date(2024, 11, 3), "America/Havana", 25),
        # A day that never was.
        (date(2011, 12, 30), "Pacific/Apia", 0),
    ],
)
def test_a_day_is_as_long_as_its_zone_says(day: date, zone: str, hours: float) -> None:
    begins, ends = rules.bounds(day, zone)
    assert (ends - begins) / timedelta(hours=1) == hours
    assert rules.bounds(day + timedelta(days=1), zone)[0] == ends
    assert len(rules.clock_hours(*rules.bounds(day, zone), zone)) == -(-hours // 1)
    if hours:
        assert business_day(begins, zone) == business_day(ends - timedelta(microseconds=1), zone) == day


def test_hours_that_come_twice_have_the_zones_letters() -> None:
    labels = [row["label"] for row in rules.clock_hours(*rules.bounds(date(2011, 10, 30), LONDON), LONDON)]
    assert labels[:4] == ["00:00", "01:00 BST", "01:00 GMT", "02:00"]
    spring = [row["hour"] for row in rules.clock_hours(*rules.bounds(date(2011, 3, 27), LONDON), LONDON)]
    assert (spring[:3], len(spring)) == ([0, 2, 3], 23)


@pytest.mark.parametrize(("revenue", "orders", "mean"), [(100, 3, 33), (5, 2, 3), (-5, 2, -3), (0, 1, 0), (7, 0, None)])
def test_an_average_is_rounded_half_away_from_zero(revenue: int, orders: int, mean: int | None) -> None:
    assert rules.average_minor(revenue, orders) == mean


def test_sums_are_by_currency_and_what_is_not_told_is_not_nothing() -> None:
    found = rules.sums(
        [
            market(orders=2, revenue_minor=300, tax_minor=None, shipping_minor=5),
            market(country="FR", orders=1, revenue_minor=50, tax_minor=None, shipping_minor=None),
            market(currency="JPY", orders=1, revenue_minor=900, tax_minor=90, shipping_minor=None),
        ]
    )
    assert list(found) == ["GBP", "JPY"]
    assert (found["GBP"]["revenue_minor"], found["GBP"]["average_minor"], found["GBP"]["tax_minor"]) == (350, 117, None)
    assert (found["GBP"]["shipping_minor"], found["JPY"]["tax_minor"]) == (5, 90)


def test_changes_name_the_figure_from_what_to_what() -> None:
    before = content(market(orders=1, revenue_minor=100), market(country="FR", orders=1))
    now = content(market(orders=2, revenue_minor=100), market(country="IE", orders=3, connection="Other name"))
    assert [(row["subject"], row["measure"], row["from"], row["to"]) for row in rules.changes(before, now)] == [
        ("Shopify · GB · GBP", "orders", 1, 2),
        ("Other name · IE · GBP", "orders", 0, 3),
        ("Shopify · FR · GBP", "orders", 1, 0),
    ]


def test_a_new_name_a_new_title_and_taxes_told_as_nothing_are_no_changes() -> None:
    before = content(market(orders=1, tax_minor=None), skus=[_sold("A", 3, "Old")])
    now = content(
        market(orders=1, tax_minor=0, connection="New"),
        skus=[_sold("A", 3, "New")],
    )
    assert rules.changes(before, now) == []


def test_a_sku_that_is_no_longer_among_the_best_is_not_said_to_have_sold_nothing() -> None:
    before = content(skus=[_sold("A", 3)])
    now = content(skus=[_sold("B", 4)])
    assert {(row["subject"], row["from"], row["to"]) for row in rules.changes(before, now)} == {
        ("B", None, 4),
        ("A", 3, None),
    }


def _sold(code: str, number: int, title: str = "Thing") -> dict[str, Any]:
    said = {"currency": "GBP", "code": code, "title": title}
    return {**said, "orders": number, "units": number, "revenue_minor": number}


@pytest.mark.parametrize(
    ("change", "is_material"),
    [
        ({"orders": 101}, True),
        ({"orders": 100, "revenue_minor": 10_099}, False),
        ({"orders": 100, "revenue_minor": 10_100}, True),
        ({"orders": 100, "refunded_minor": 1}, True),
        ({"orders": 100, "units": 900}, False),
    ],
)
def test_a_correction_matters_from_a_share_on(change: dict[str, int], is_material: bool) -> None:
    before = content(market(orders=100, revenue_minor=10_000))
    now = content(market(**{"orders": 100, "revenue_minor": 10_000, **change}))
    assert rules.is_material(before, now, Decimal("0.01")) is is_material


def test_a_correction_keeps_what_was_usual_and_how_the_machinery_did() -> None:
    hour = {"index": 0, "hour": 0, "label": "00:00", "orders": 1, "units": 1, "revenue": {}}
    before = {**content(hours=[{**hour, "usual_orders": 2.0, "usual_revenue": {}}]), "alerts": {"opened": 1}}
    now = {**content(hours=[{**hour, "orders": 5}]), "alerts": {"opened": 9}}
    made = rules.corrected(before, now)
    assert (made["alerts"], made["by_hour"][0]["usual_orders"], made["by_hour"][0]["orders"]) == ({"opened": 1}, 2.0, 5)


def test_the_hash_is_of_what_is_said_and_not_of_how_it_is_written() -> None:
    assert rules.content_hash({"a": 1, "b": [1, 2]}) == rules.content_hash({"b": [1, 2], "a": 1})
    assert rules.content_hash({"a": 1}) != rules.content_hash({"a": 2})
