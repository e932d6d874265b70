"""The comparison reads the file as its owners describe it: their published counts are ours, without any database."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.compare_replay import KINDS, Row, Told, expected_units, least_opening, read_file, units_of_file
from tests.acceptance.reporting import Report

FILE = "data/orders/online_retail_2010-12-01_2011-07-19.csv.gz"
TOTALS = "data/orders/online_retail_2010-12-01_2011-07-19_sku_totals.csv.gz"


@pytest.fixture(scope="module")
def told(shared_dir: Path) -> Told:
    return read_file(shared_dir / FILE)


@pytest.fixture(scope="module")
def published(shared_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared_dir / "data/expected.json").read_text())["online_retail"]
    return found


def test_invoices_and_lines_are_counted_as_published(told: Told, published: dict[str, Any]) -> None:
    names = {"order": "order", "adjustment": "stock_adjustment", "cancellation": "cancellation"}
    kinds = Counter(told.kinds.values())
    assert {names[kind]: count for kind, count in kinds.items()} == {
        name: published["invoices"][name] for name in names.values()
    }
    for kind, name in names.items():
        assert sum(1 for _ in told.lines(kind)) == published["lines"][name]


def test_units_and_revenue_are_summed_as_published(told: Told, published: dict[str, Any]) -> None:
    units = published["units_product_codes_only"]
    assert sum(told.units("order").values()) == units["ordered"]
    assert sum(told.units("cancellation").values()) == units["cancelled"]
    assert sum(told.units("adjustment").values()) == units["stock_adjustment_down"] + units["stock_adjustment_up"]
    exact = {kind: sum((row.exact for row in told.lines(kind)), Decimal(0)) for kind in KINDS}
    money = published["revenue_total_gbp"]
    assert exact["order"] == Decimal(money["orders"])
    assert exact["cancellation"] == Decimal(money["cancellations"])
    assert sum(exact.values()) == Decimal(money["net"])


def test_the_totals_file_says_the_same_of_every_code(told: Told, published: dict[str, Any], shared_dir: Path) -> None:
    wanted = expected_units(told, shared_dir / TOTALS)
    opening = least_opening(told)
    assert units_of_file(told, opening) == wanted
    assert min(units.left for units in wanted.values()) >= 0
    assert sum(opening.values()) == published["stock_ledger"]["opening_stock_total_so_no_code_ever_negative"]


@pytest.mark.parametrize(
    ("units", "price", "pence"),
    [(1, "0.001", 0), (5, "0.001", 1), (-5, "0.001", -1), (15, "0.001", 2), (3, "0.335", 101), (6, "2.55", 1530)],
)
def test_pence_are_rounded_half_away_from_zero(units: int, price: str, pence: int) -> None:
    assert Row("any", units, Decimal(price), datetime.now(UTC), "").rounded == pence


def test_a_report_shows_the_first_differences_of_each_kind() -> None:
    report = Report()
    report.compare("many", {number: 0 for number in range(50)}, {number: 1 for number in range(50)})  # noqa: C420
    report.compare("one", {"a": 1, "b": 2}, {"a": 1})
    report.compare("none", {"a": 1}, {"a": 1})
    assert not report.is_clean
    assert Counter(item.kind for item in report.shown()) == {"many": 20, "one": 1}
    assert json.loads(report.as_json())["differences"] == {"many": 50, "one": 1}
    assert "one: b: expected 2, found None" in report.as_text()
