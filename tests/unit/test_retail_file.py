"""Reading a file of the Online Retail form: each of its quirks on a file of a few lines, then the whole real file."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput
from workers.retail_file import (
    COUNTRY_CODES,
    Invoice,
    Matcher,
    Plan,
    articles,
    is_goods,
    least_opening_stock,
    opening_stock,
    read_invoices,
)

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"


def row(
    invoice: str = "536365",
    code: str = "71053",
    units: object = 6,
    price: str = "3.39",
    customer: str = "17850.0",
    at: str = "2010-12-01 08:26:00",
    title: str = "LANTERN",
    country: str = "United Kingdom",
) -> str:
    return f"{invoice},{code},{title},{units},{at},{price},{customer},{country}"


class Folder:
    """Writes small files of the form and reads them."""

    def __init__(self, path: Path) -> None:
        self.path = path / "retail.csv"

    def read(self, *rows: str, header: str = HEADER) -> list[Invoice]:
        self.path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return read_invoices(self.path)

    def plans(self, *rows: str) -> list[Plan]:
        matcher = Matcher()
        return [matcher.plan(invoice) for invoice in self.read(*rows)]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_digits_are_an_order_with_its_lines_in_file_order(folder: Folder) -> None:
    (invoice,) = folder.read(row(code="B"), row(code="A", units=2))
    assert invoice.kind == "order"
    assert [(line.key, line.code, line.units) for line in invoice.lines] == [
        ("536365:1", "B", 6),
        ("536365:2", "A", 2),
    ]


def test_one_line_of_price_0_without_customer_is_a_stock_adjustment(folder: Folder) -> None:
    (invoice,) = folder.read(row(price="0.0", customer="", units=-31, title="damages"))
    assert invoice.kind == "adjustment"
    plan = Matcher().plan(invoice)
    assert plan.adjustment is not None
    assert (plan.adjustment.units, plan.adjustment.title, plan.order) == (-31, "damages", None)


@pytest.mark.parametrize(
    "rows",
    [
        [row(price="0.0")],
        [row(price="0.0", customer=""), row(price="0.0", customer="", code="X")],
        [row(price="0.01", customer="")],
    ],
    ids=["free goods of a customer", "two lines", "a price"],
)
def test_what_only_looks_like_an_adjustment_is_an_order(folder: Folder, rows: list[str]) -> None:
    (invoice,) = folder.read(*rows)
    assert invoice.kind == "order"


def test_an_invoice_with_c_is_a_cancellation(folder: Folder) -> None:
    (invoice,) = folder.read(row("C536379", units=-1))
    assert invoice.kind == "cancellation"


def test_an_invoice_with_a_is_bad_debt_and_moves_no_stock(folder: Folder) -> None:
    (invoice,) = folder.read(row("A563185", "B", 1, "-11062.06", ""))
    plan = Matcher().plan(invoice)
    assert invoice.kind == "bad_debt"
    assert (plan.order, plan.refunds, plan.returns, len(plan.bad_debt)) == (None, (), (), 1)
    assert least_opening_stock([invoice]) == {}


def test_an_invoice_of_two_timestamps_is_placed_at_its_first(folder: Folder) -> None:
    first, second = folder.read(row(at="2010-12-01 08:26:00"), row("536366"), row(at="2010-12-01 08:27:00"))
    assert (first.number, len(first.lines)) == ("536365", 2)
    assert first.at == datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
    assert second.number == "536366"


def test_exact_copies_of_a_line_are_real_units(folder: Folder) -> None:
    (invoice,) = folder.read(row(), row())
    assert [(line.ordinal, line.units) for line in invoice.lines] == [(1, 6), (2, 6)]
    assert least_opening_stock([invoice]) == {"71053": 12}


def test_codes_that_differ_by_case_are_two(folder: Folder) -> None:
    invoices = folder.read(row(code="85123A"), row(code="85123a", units=2))
    assert least_opening_stock(invoices) == {"85123A": 6, "85123a": 2}
    assert [article.code for article in articles(invoices)] == ["85123A", "85123a"]


@pytest.mark.parametrize("code", ["POST", "DOT", "C2", "M", "m", "D", "S", "BANK CHARGES", "AMAZONFEE", "CRUK", "B"])
def test_service_codes_have_no_stock(folder: Folder, code: str) -> None:
    assert not is_goods(code)
    assert least_opening_stock(folder.read(row(code=code))) == {}


@pytest.mark.parametrize("code", ["gift_0001_20", "GIFT_0001_20"])
def test_vouchers_have_no_stock_however_they_are_spelt(code: str) -> None:
    assert not is_goods(code)


@pytest.mark.parametrize("code", ["PADS", "71053", "c2", "post", "DCGS0003", "SP1002"])
def test_other_codes_are_goods(code: str) -> None:
    assert is_goods(code)


def test_pads_keep_a_price_finer_than_a_penny(folder: Folder) -> None:
    (invoice,) = folder.read(row(code="PADS", price="0.001"))
    assert invoice.lines[0].unit_price == Decimal("0.001")


def test_a_cancellation_takes_back_the_latest_earlier_order_with_enough_left(folder: Folder) -> None:
    plans = folder.plans(row("1"), row("2"), row("3", units=1), row("C4", units=-4), row("5"))
    assert [(refund.key, refund.order, refund.lines) for refund in plans[3].refunds] == [("C4:2", "2", ((1, 4),))]
    assert plans[3].returns == ()


def test_several_cancellations_eat_up_one_line(folder: Folder) -> None:
    plans = folder.plans(
        row("1", units=6), row("C2", units=-4), row("C3", units=-2), row("C4", units=-1), row("C5", units=-6)
    )
    assert plans[1].refunds[0].lines == ((1, 4),)
    assert plans[2].refunds[0].lines == ((1, 2),)
    assert [line.key for line in plans[3].returns] == ["C4:1"]
    assert [line.key for line in plans[4].returns] == ["C5:1"]


def test_a_line_without_enough_left_is_passed_over_for_an_older_one(folder: Folder) -> None:
    plans = folder.plans(row("1", units=6), row("2", units=6), row("C3", units=-5), row("C4", units=-5))
    assert [plan.refunds[0].order for plan in plans[2:]] == ["2", "1"]


@pytest.mark.parametrize(
    "cancellation",
    [
        row("C2", units=-1, customer="99.0"),
        row("C2", units=-1, customer=""),
        row("C2", "71053a", -1),
        row("C2", units=-1, price="3.4"),
        row("C2", units=-7),
    ],
    ids=["another customer", "no customer", "another code", "another price", "too many"],
)
def test_a_cancellation_without_its_order_is_a_return_of_its_own(folder: Folder, cancellation: str) -> None:
    plans = folder.plans(row("1"), cancellation)
    assert plans[1].refunds == ()
    assert [line.key for line in plans[1].returns] == ["C2:1"]


def test_a_cancellation_before_its_order_does_not_find_it(folder: Folder) -> None:
    plans = folder.plans(row("C1", units=-1), row("2"))
    assert len(plans[0].returns) == 1


def test_a_price_that_lost_its_trailing_zero_is_the_same_price(folder: Folder) -> None:
    plans = folder.plans(row("1", price="2.10"), row("C2", units=-1, price="2.1"))
    assert len(plans[1].refunds) == 1


def test_one_cancellation_over_two_orders_is_two_refunds_and_the_rest_returns(folder: Folder) -> None:
    plans = folder.plans(
        row("1", code="A"),
        row("2", code="B"),
        row("2", code="C"),
        row("C3", "A", -1),
        row("C3", "B", -2),
        row("C3", "C", -3),
        row("C3", "D", -4),
    )
    assert [(refund.key, refund.lines) for refund in plans[2].refunds] == [
        ("C3:1", ((1, 1),)),
        ("C3:2", ((1, 2), (2, 3))),
    ]
    assert [line.key for line in plans[2].returns] == ["C3:4"]


@pytest.mark.parametrize(("written", "customer"), [("17850.0", "17850"), ("17850", "17850"), ("", None), (" ", None)])
def test_a_customer_number_loses_its_tail(folder: Folder, written: str, customer: str | None) -> None:
    (invoice,) = folder.read(row(customer=written))
    assert invoice.lines[0].customer == customer


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2010-12-01 08:26:00", datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
        ("2011-03-25 10:00:00", datetime(2011, 3, 25, 10, 0, tzinfo=UTC)),
        ("2011-03-28 10:00:00", datetime(2011, 3, 28, 9, 0, tzinfo=UTC)),
        ("2011-07-19 17:17:00", datetime(2011, 7, 19, 16, 17, tzinfo=UTC)),
    ],
)
def test_londons_time_becomes_utc_in_winter_and_summer(folder: Folder, local: str, utc: datetime) -> None:
    (invoice,) = folder.read(row(at=local))
    assert (invoice.at, invoice.at.tzinfo) == (utc, UTC)


@pytest.mark.parametrize(("country", "code"), [("EIRE", "IE"), ("RSA", "ZA"), ("Unspecified", None)])
def test_a_country_becomes_its_code_and_what_is_none_has_none(folder: Folder, country: str, code: str | None) -> None:
    (invoice,) = folder.read(row(country=country))
    assert invoice.lines[0].country_code == code


def test_titles_lose_blanks_and_keep_quotes_and_pounds(folder: Folder) -> None:
    (invoice,) = folder.read(row(title='"PACK OF £1 ""GIFTS"" "'))
    assert invoice.lines[0].title == 'PACK OF £1 "GIFTS"'


def test_an_article_has_its_commonest_title_and_price(folder: Folder) -> None:
    (article,) = articles(
        folder.read(
            row(title="?", price="9"),
            row(title="JAR", price="2"),
            row(title="", price="0"),
            row(title="JAR", price="2"),
        )
    )
    assert (article.title, article.unit_price) == ("JAR", Decimal(2))


def test_an_article_without_any_title_is_called_by_its_code(folder: Folder) -> None:
    (article,) = articles(folder.read(row(title="", price="0.0", customer="")))
    assert article.title == "71053"


def test_a_byte_order_mark_and_a_packed_file_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "retail.csv.gz"
    path.write_bytes(gzip.compress(f"\ufeff{HEADER}\n{row()}\n".encode()))
    assert [invoice.number for invoice in read_invoices(path)] == ["536365"]


REPAIR = "Quantity must be a whole number, UnitPrice a number, InvoiceDate like 2010-12-01 08:26:00"


@pytest.mark.parametrize(
    "bad",
    [
        row(units="six"),
        row(units="1.5"),
        row(price="£3"),
        row(at="01/12/2010 08:26"),
        "536365,71053",
    ],
)
def test_a_bad_line_names_the_file_the_line_and_the_repair(folder: Folder, bad: str) -> None:
    with pytest.raises(BadInput, match=f"^retail.csv, line 3: {REPAIR}$"):
        folder.read(row(), bad)


@pytest.mark.parametrize("price", ["NaN", "Infinity"])
def test_a_price_that_is_no_amount_is_refused(folder: Folder, price: str) -> None:
    with pytest.raises(BadInput, match="line 2"):
        folder.read(row(price=price))


def test_a_line_without_invoice_is_refused(folder: Folder) -> None:
    with pytest.raises(BadInput, match=r"^retail.csv, line 3: InvoiceNo is empty: every line belongs to an invoice$"):
        folder.read(row(), row(invoice=" "))


def test_missing_columns_are_named(folder: Folder) -> None:
    with pytest.raises(BadInput, match=r"^retail.csv, line 1: the columns UnitPrice, CustomerID, Country are missing$"):
        folder.read(header="InvoiceNo,StockCode,Description,Quantity,InvoiceDate")


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00", f"{HEADER}\n".encode() + b'536365,"open,x\n', f"{HEADER}\n".encode() + b"a\xe9,1\n"],
    ids=["no text", "an open quote", "another encoding"],
)
def test_what_is_no_such_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "retail.csv"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"retail\.csv cannot be read"):
        read_invoices(path)


def test_a_packed_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "retail.csv.gz"
    path.write_bytes(gzip.compress("\n".join([HEADER, *[row()] * 50, ""]).encode())[:-20])
    with pytest.raises(BadInput, match=r"retail\.csv\.gz cannot be read"):
        read_invoices(path)


def test_no_file_at_all_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere\.csv cannot be read"):
        read_invoices(tmp_path / "nowhere.csv")


def test_a_totals_file_of_another_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "totals.csv"
    path.write_text("code,units\nA,1\n")
    with pytest.raises(BadInput, match="no totals file"):
        opening_stock(path)


def test_opening_stock_covers_the_deepest_point_and_returns_count(folder: Folder) -> None:
    invoices = folder.read(
        row("1", units=5),
        row("C2", units=-2),
        row("3", units=4),
        row("4", units=10, price="0", customer=""),
        row("5", units=3),
    )
    assert least_opening_stock(invoices) == {"71053": 7}


# --- the whole real file -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expected(shared_dir: Path) -> dict[str, Any]:
    return json.loads((shared_dir / "data" / "expected.json").read_text())["online_retail"]


@pytest.fixture(scope="module")
def real(shared_dir: Path, expected: dict[str, Any]) -> list[Invoice]:
    return read_invoices(shared_dir / "data" / expected["file"])


def test_the_real_file_has_the_known_invoices_and_lines(real: list[Invoice], expected: dict[str, Any]) -> None:
    names = {"adjustment": "stock_adjustment", "bad_debt": "bad_debt_adjustment"}
    invoices = Counter(names.get(invoice.kind, invoice.kind) for invoice in real)
    lines: Counter[str] = Counter()
    for invoice in real:
        lines[names.get(invoice.kind, invoice.kind)] += len(invoice.lines)
    assert {"bad_debt_adjustment": 0, **invoices, "total": invoices.total()} == expected["invoices"]
    assert {"bad_debt_adjustment": 0, **lines, "total": lines.total()} == expected["lines"]


def test_the_real_file_has_the_known_units_and_money(real: list[Invoice], expected: dict[str, Any]) -> None:
    units: defaultdict[str, int] = defaultdict(int)
    money: defaultdict[str, Decimal] = defaultdict(Decimal)
    for invoice in real:
        for line in invoice.lines:
            money[invoice.kind] += line.units * line.unit_price
            if is_goods(line.code):
                kind = invoice.kind if invoice.kind != "adjustment" else f"adjustment {line.units > 0}"
                units[kind] += line.units
    goods = expected["units_product_codes_only"]
    assert units == {
        "order": goods["ordered"],
        "cancellation": goods["cancelled"],
        "adjustment True": goods["stock_adjustment_up"],
        "adjustment False": goods["stock_adjustment_down"],
    }
    revenue = expected["revenue_total_gbp"]
    assert (money["order"], money["cancellation"]) == (Decimal(revenue["orders"]), Decimal(revenue["cancellations"]))


def test_the_real_file_has_the_known_codes_customers_and_countries(
    real: list[Invoice], expected: dict[str, Any]
) -> None:
    lines = [line for invoice in real for line in invoice.lines]
    codes = {line.code for line in lines}
    assert len(codes) == expected["codes"]["distinct_exact"] == len(articles(real))
    assert sum(is_goods(code) for code in codes) == expected["codes"]["product_exact"]
    assert len({line.customer for line in lines} - {None}) == expected["customers"]["distinct"]
    assert sum(line.customer is None for line in lines) == expected["customers"]["lines_without_customer"]
    without_code = set(expected["by_country"]) - set(COUNTRY_CODES)
    assert without_code == {"European Community", "Unspecified"}


def test_the_real_file_needs_the_opening_stock_of_its_totals(
    real: list[Invoice], expected: dict[str, Any], shared_dir: Path
) -> None:
    totals = opening_stock(shared_dir / "data" / expected["sku_totals_file"])
    assert least_opening_stock(real) == totals
    assert sum(totals.values()) == expected["stock_ledger"]["opening_stock_total_so_no_code_ever_negative"]


@pytest.fixture(scope="module")
def real_plans(real: list[Invoice]) -> list[Plan]:
    matcher = Matcher()
    return [matcher.plan(invoice) for invoice in real]


def test_every_cancelled_unit_of_the_real_file_finds_exactly_one_place(real_plans: list[Plan]) -> None:
    """No order line is taken back for more than it sold, and no cancelled line is lost or counted twice."""
    plans = real_plans
    sold = {line.key: line for plan in plans if plan.order for line in plan.order.lines}
    taken: Counter[str] = Counter()
    for plan in plans:
        if plan.invoice.kind == "cancellation":
            refunded = sorted(units for refund in plan.refunds for _, units in refund.lines)
            alone = [-line.units for line in plan.returns]
            assert sorted([*refunded, *alone]) == sorted(-line.units for line in plan.invoice.lines)
        for refund in plan.refunds:
            for ordinal, units in refund.lines:
                taken[f"{refund.order}:{ordinal}"] += units
    assert all(units <= sold[key].units for key, units in taken.items())
    assert sum(taken.values()) > 0


def test_the_typing_error_of_74215_units_is_taken_back_by_its_cancellation(real_plans: list[Plan]) -> None:
    plans = {plan.invoice.number: plan for plan in real_plans}
    (refund,) = plans["C541433"].refunds
    assert (refund.order, refund.lines) == ("541431", ((1, 74215),))


def test_the_real_totals_file_names_each_goods_code_once(shared_dir: Path, expected: dict[str, Any]) -> None:
    with gzip.open(shared_dir / "data" / expected["sku_totals_file"], "rt", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    assert len(rows) == len({line["stock_code"] for line in rows}) == expected["sku_totals_rows"]
