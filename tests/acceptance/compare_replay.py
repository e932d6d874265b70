"""Hold what a replay left in our database against the file it replayed.

    python -m tests.acceptance.compare_replay FILE [--totals TOTALS] [--database-url URL] [--shop NAME] [--json]

Only the file, its totals and the database are read, by code of its own: nothing here imports the reader, the rules or
the sandbox that are being judged. Exit status 1 when anything differs, with the first differences of each kind.

The rules of the file are those its owners publish with it: an invoice of digits is an order, unless it is a single
line of price 0 without a customer, which adjusts stock; C cancels; A is bad debt and moves no stock. Every number
here is made twice, once from the lines of the file and once from ours, and no tolerance is allowed: where a line's
price is finer than a penny, the rounding (half away from zero, per line) is worked out and shown.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import dict_row

from tests.acceptance.daily_report import CODES
from tests.acceptance.reporting import Report
from workers.up import read_state

SHOP = "Online Retail"
LONDON = ZoneInfo("Europe/London")
NO_GOODS = {"POST", "DOT", "C2", "M", "m", "D", "S", "BANK CHARGES", "AMAZONFEE", "CRUK", "B"}
PENNY = Decimal("0.01")
KINDS = {"order": "orders", "cancellation": "cancellations", "bad_debt": "bad_debts"}


# The file -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the file, only as far as it is compared."""

    code: str
    units: int
    price: Decimal
    at: datetime
    customer: str
    country: str | None = None

    @property
    def exact(self) -> Decimal:
        return self.units * self.price

    @property
    def rounded(self) -> int:
        """In pence, half away from zero."""
        pence = abs(self.exact) * 100
        whole = int(pence)
        whole += pence - whole >= Decimal("0.5")
        return -whole if self.exact < 0 else whole

    @property
    def is_goods(self) -> bool:
        return self.code not in NO_GOODS and not self.code.casefold().startswith("gift_")


@dataclass(slots=True)
class Told:
    """What the file says, by invoice in the order in which each first appears."""

    invoices: dict[str, list[Row]]
    kinds: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kinds = {number: kind_of(number, rows) for number, rows in self.invoices.items()}

    def lines(self, *kinds: str) -> Iterator[Row]:
        for number, rows in self.invoices.items():
            if self.kinds[number] in kinds:
                yield from rows

    def numbers(self, kind: str) -> list[str]:
        return [number for number, found in self.kinds.items() if found == kind]

    def units(self, kind: str) -> dict[str, int]:
        """Signed units per goods code."""
        summed: Counter[str] = Counter()
        for row in self.lines(kind):
            if row.is_goods:
                summed[row.code] += row.units
        return dict(summed)


def kind_of(number: str, rows: list[Row]) -> str:
    if number[:1] == "C":
        return "cancellation"
    if number[:1] == "A":
        return "bad_debt"
    is_adjustment = len(rows) == 1 and rows[0].price == 0 and not rows[0].customer
    return "adjustment" if is_adjustment else "order"


def open_table(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file, packed or not."""
    packed = path.suffix == ".gz"
    with (
        gzip.open(path, "rt", encoding="utf-8", newline="") if packed else path.open(encoding="utf-8", newline="") as f
    ):
        yield from csv.DictReader(f)


def read_file(path: Path) -> Told:
    invoices: dict[str, list[Row]] = {}
    for line in open_table(path):
        local = datetime.fromisoformat(line["InvoiceDate"]).replace(tzinfo=LONDON)
        row = Row(
            code=line["StockCode"],
            units=int(line["Quantity"]),
            price=Decimal(line["UnitPrice"]),
            at=local.astimezone(UTC),
            customer=line["CustomerID"],
            country=CODES.get(line["Country"]),
        )
        invoices.setdefault(line["InvoiceNo"], []).append(row)
    return Told(invoices)


def least_opening(told: Told) -> dict[str, int]:
    """With how much a balance must begin that never falls below zero, invoice after invoice."""
    balance: Counter[str] = Counter()
    lowest: dict[str, int] = {}
    for row, kind in ((row, told.kinds[number]) for number, rows in told.invoices.items() for row in rows):
        if row.is_goods and kind != "bad_debt":
            balance[row.code] += row.units if kind == "adjustment" else -row.units
            lowest[row.code] = min(lowest.get(row.code, 0), balance[row.code])
    return {code: -units for code, units in lowest.items()}


# What is expected -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Units:
    """One goods code: how many of each, positive, but adjustments have their sign. (The totals sign cancellations.)"""

    opening: int
    ordered: int
    cancelled: int
    adjusted: int

    @property
    def left(self) -> int:
        return self.opening - self.ordered + self.cancelled + self.adjusted


def expected_units(told: Told, totals: Path | None) -> dict[str, Units]:
    """From the totals where there are some, else from the file alone."""
    if totals is not None:
        return {
            line["stock_code"]: Units(
                opening=int(line["opening_stock_so_balance_never_negative"]),
                ordered=int(line["ordered_units"]),
                cancelled=-int(line["cancelled_units"]),
                adjusted=int(line["stock_adjustment_units"]),
            )
            for line in open_table(totals)
        }
    return units_of_file(told, least_opening(told))


def units_of_file(told: Told, opening: Mapping[str, int]) -> dict[str, Units]:
    ordered, cancelled, adjusted = (told.units(kind) for kind in ("order", "cancellation", "adjustment"))
    codes = {row.code for rows in told.invoices.values() for row in rows if row.is_goods}
    return {
        code: Units(opening.get(code, 0), ordered.get(code, 0), -cancelled.get(code, 0), adjusted.get(code, 0))
        for code in codes
    }


# What is there --------------------------------------------------------------------------------------------------------


class Ours:
    """The shop's facts in our database, read in one snapshot."""

    def __init__(self, conn: psycopg.Connection[dict[str, Any]], shop: str) -> None:
        self._conn = conn
        found = conn.execute("select shop_id from shops where name = %s", [shop]).fetchone()
        if found is None:
            raise SystemExit(f"There is no shop called {shop!r} in this database.")
        self._shop = found["shop_id"]

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return self._conn.execute(sql, {"shop": self._shop}).fetchall()

    def orders(self) -> dict[str, dict[str, Any]]:
        """By name without its hash sign."""
        found = self.rows(
            "select id, name, source_ref, placed_at, total_minor, currency, cancelled_at, country_code from orders"
            " where shop_id = %(shop)s"
        )
        return {row["name"].removeprefix("#"): row for row in found}

    def lines(self) -> dict[int, list[dict[str, Any]]]:
        """By order, in order."""
        gathered: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in self.rows(
            "select order_id, ordinal, code, units, unit_price, total_minor, discount_minor, mapping from order_lines"
            " where shop_id = %(shop)s order by order_id, ordinal"
        ):
            gathered[row["order_id"]].append(row)
        return gathered

    def moved(self) -> dict[tuple[str, str], int]:
        """Units by (code, reason)."""
        found = self.rows(
            "select s.code, m.reason, sum(m.delta_units)::int8 as units from stock_movements m"
            " join skus s on s.shop_id = m.shop_id and s.id = m.sku_id where m.shop_id = %(shop)s group by 1, 2"
        )
        return {(row["code"], row["reason"]): row["units"] for row in found}

    def adjustments(self) -> dict[str, tuple[str, int, datetime]]:
        """By business key: each was booked for itself."""
        found = self.rows(
            "select m.business_key, s.code, m.delta_units, m.occurred_at from stock_movements m"
            " join skus s on s.shop_id = m.shop_id and s.id = m.sku_id"
            " where m.shop_id = %(shop)s and m.reason = 'adjustment'"
        )
        return {row["business_key"]: (row["code"], row["delta_units"], row["occurred_at"]) for row in found}

    def levels(self) -> dict[str, tuple[int, int, int, int]]:
        """(on hand, reserved, unavailable, available) by code, over all locations."""
        found = self.rows(
            "select s.code, sum(k.on_hand)::int8 as on_hand, sum(k.reserved)::int8 as reserved,"
            " sum(k.unavailable)::int8 as unavailable, sum(k.available)::int8 as available"
            " from stock_levels k join skus s on s.shop_id = k.shop_id and s.id = k.sku_id"
            " where k.shop_id = %(shop)s group by 1"
        )
        return {row["code"]: (row["on_hand"], row["reserved"], row["unavailable"], row["available"]) for row in found}

    def given_back(self) -> list[dict[str, Any]]:
        """Every line of money given back, refunds of orders and returns without one (these have a key) alike."""
        return self.rows(
            "select null as key, f.refunded_at as at, l.code, rl.units, rl.subtotal_minor as minor,"
            " 'cancellation' as kind from refund_lines rl"
            " join refunds f on f.shop_id = rl.shop_id and f.id = rl.refund_id"
            " join order_lines l on l.shop_id = rl.shop_id and l.id = rl.order_line_id where rl.shop_id = %(shop)s"
            " union all select c.business_key, c.returned_at, s.code, c.units, c.total_minor,"
            " case when c.business_key like 'A%%' then 'bad_debt' else 'cancellation' end from customer_returns c"
            " join skus s on s.shop_id = c.shop_id and s.id = c.sku_id where c.shop_id = %(shop)s"
        )

    def adjusted_in_vain(self) -> int:
        """Adjustments of things without stock, on record in the acts that met them; a repeated act counts once."""
        found = self.rows(
            "select details ->> 'without_stock' as count, details -> 'without_stock_keys' as keys from audit_entries"
            " where shop_id = %(shop)s and act = 'adjust_stock'"
        )
        # Entries of the first days name no keys.
        unnamed = sum(int(row["count"]) for row in found if row["keys"] is None)
        return unnamed + len({key for row in found for key in row["keys"] or ()})


# The comparison -------------------------------------------------------------------------------------------------------


def compare(path: Path, totals: Path | None, database_url: str, shop: str = SHOP) -> Report:
    """Everything the file says against everything we have of it."""
    told = read_file(path)
    report = Report()
    with psycopg.connect(database_url.replace("+psycopg", "", 1), row_factory=dict_row) as conn:
        conn.set_read_only(True)
        conn.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        ours = Ours(conn, shop)
        orders, lines = ours.orders(), ours.lines()
        _compare_sizes(report, told, orders, lines)
        _compare_orders(report, told, orders, lines)
        _compare_lines(report, told, orders, lines)
        _compare_stock(report, told, totals, ours, lines)
        _compare_adjustments(report, told, ours)
        given_back = ours.given_back()
        _compare_given_back(report, told, given_back)
        _compare_money(report, told, lines, given_back)
    return report


def _compare_sizes(report: Report, told: Told, orders: Mapping[str, Any], lines: Mapping[int, list[Any]]) -> None:
    expected = {"orders": len(told.numbers("order")), "order lines": sum(1 for _ in told.lines("order"))}
    found = {"orders": len(orders), "order lines": sum(len(of_one) for of_one in lines.values())}
    report.numbers |= {
        "invoices": len(told.invoices),
        "orders": found["orders"],
        "order_lines": found["order lines"],
        "cancellations": len(told.numbers("cancellation")),
        "adjustments": len(told.numbers("adjustment")),
        "bad_debts": len(told.numbers("bad_debt")),
    }
    report.compare("sizes", expected, found)


def _compare_orders(report: Report, told: Told, orders: Mapping[str, Any], lines: Mapping[int, list[Any]]) -> None:
    """Each order invoice: its number, its first time, its total, its number of lines."""
    expected = {
        number: (number, told.invoices[number][0].at, "GBP", None, len(told.invoices[number]))
        for number in told.numbers("order")
    }
    found = {
        number: (row["source_ref"], row["placed_at"], row["currency"], row["cancelled_at"], len(lines[row["id"]]))
        for number, row in orders.items()
    }
    report.compare("order_number_time_currency_lines", expected, found)
    report.compare(
        "order_country",
        {number: told.invoices[number][0].country for number in expected},
        {number: row["country_code"] for number, row in orders.items()},
    )
    report.compare(
        "order_total_pence",
        {number: sum(row.rounded for row in told.invoices[number]) for number in told.numbers("order")},
        {number: row["total_minor"] for number, row in orders.items()},
    )


def _compare_lines(report: Report, told: Told, orders: Mapping[str, Any], lines: Mapping[int, list[Any]]) -> None:
    expected = {
        (number, ordinal): (row.code, row.units, row.price, row.rounded, "stocked" if row.is_goods else "unstocked")
        for number in told.numbers("order")
        for ordinal, row in enumerate(told.invoices[number], start=1)
    }
    found = {
        (number, line["ordinal"]): (
            line["code"],
            line["units"],
            line["unit_price"],
            line["total_minor"] + line["discount_minor"],
            line["mapping"],
        )
        for number, order in orders.items()
        for line in lines[order["id"]]
    }
    report.compare("order_line_code_units_price_total", expected, found)


def _compare_stock(report: Report, told: Told, totals: Path | None, ours: Ours, lines: Mapping[int, list[Any]]) -> None:
    wanted = expected_units(told, totals)
    if totals is not None:
        report.compare("totals_file_against_file", wanted, units_of_file(told, _openings(wanted)))
        report.compare(
            "totals_file_opening_against_file",
            _openings(wanted),
            {code: units for code, units in least_opening(told).items() if units or code in wanted},
        )
    moved, levels = ours.moved(), ours.levels()
    booked: Counter[str] = Counter()
    for line in (line for of_one in lines.values() for line in of_one if line["mapping"] == "stocked"):
        booked[line["code"]] += line["units"]
    codes = wanted.keys() | {code for code, _ in moved} | levels.keys() | booked.keys()
    report.compare("ordered_units_of_lines", {c: u.ordered for c, u in wanted.items()}, _for(wanted, booked))
    for name, reason, sign in (
        ("opening", "receipt", 1),
        ("ordered", "shipment", -1),
        ("cancelled", "customer_return", 1),
        ("adjusted", "adjustment", 1),
    ):
        report.compare(
            f"{name}_units_moved",
            {code: getattr(wanted[code], name) if code in wanted else 0 for code in codes},
            {code: sign * moved.get((code, reason), 0) for code in codes},
        )
    others = {(code, reason): units for (code, reason), units in moved.items() if reason not in _REASONS}
    report.compare("movements_of_other_reasons", {}, others)
    report.compare(
        "level_on_hand_reserved_unavailable_available",
        {code: (u.left, 0, 0, u.left) for code, u in wanted.items()},
        # A code that never had a unit needs no level.
        {code: levels.get(code, (0, 0, 0, 0)) for code in wanted.keys() | levels.keys()},
    )
    report.numbers |= {
        "goods_codes": len(wanted),
        "units_ordered_goods": -sum(units for (_, reason), units in moved.items() if reason == "shipment"),
        "units_cancelled_goods": sum(units for (_, reason), units in moved.items() if reason == "customer_return"),
        "units_adjusted": sum(units for (_, reason), units in moved.items() if reason == "adjustment"),
        "units_opening": sum(units for (_, reason), units in moved.items() if reason == "receipt"),
        "units_on_hand": sum(level[0] for level in levels.values()),
    }


_REASONS = ("receipt", "shipment", "customer_return", "adjustment")


def _openings(wanted: Mapping[str, Units]) -> dict[str, int]:
    return {code: units.opening for code, units in wanted.items()}


def _for(wanted: Iterable[str], found: Mapping[str, int]) -> dict[str, int]:
    return {code: found.get(code, 0) for code in {*wanted, *found}}


def _compare_adjustments(report: Report, told: Told, ours: Ours) -> None:
    expected = {
        f"adjustment:{number}:1": (row.code, row.units, row.at)
        for number in told.numbers("adjustment")
        for row in told.invoices[number]
        if row.is_goods and row.units
    }
    report.compare("adjustment_code_units_time", expected, ours.adjustments())
    in_vain = sum(1 for row in told.lines("adjustment") if not row.is_goods)
    report.compare("adjustments_without_stock", {"count": in_vain}, {"count": ours.adjusted_in_vain()})
    report.numbers["adjustments_without_stock"] = in_vain


def _compare_given_back(report: Report, told: Told, given_back: list[dict[str, Any]]) -> None:
    """Each cancelled line is a return of its own, named after its place, or part of a refund at its invoice's time."""
    returns = {row["key"]: row for row in given_back if row["key"] is not None}
    refunded: Counter[tuple[Any, ...]] = Counter()
    expected: dict[str, tuple[Any, ...]] = {}
    for number, row, ordinal in _numbered(told, "cancellation", "bad_debt"):
        if f"{number}:{ordinal}" in returns:
            expected[f"{number}:{ordinal}"] = (row.code, abs(row.units), -row.rounded, row.at)
        else:
            refunded[row.code, abs(row.units), -row.rounded, told.invoices[number][0].at] += 1
    report.compare(
        "return_code_units_pence_time",
        expected,
        {key: (row["code"], row["units"], row["minor"], row["at"]) for key, row in returns.items()},
    )
    found = Counter((row["code"], row["units"], row["minor"], row["at"]) for row in given_back if row["key"] is None)
    report.compare("refund_code_units_pence_time", refunded, found)
    report.numbers |= {"lines_refunded": sum(found.values()), "lines_returned_without_an_order": len(returns)}


def _numbered(told: Told, *kinds: str) -> Iterator[tuple[str, Row, int]]:
    for number, rows in told.invoices.items():
        if told.kinds[number] in kinds:
            yield from ((number, row, ordinal) for ordinal, row in enumerate(rows, start=1))


def _compare_money(
    report: Report, told: Told, lines: Mapping[int, list[Any]], given_back: list[dict[str, Any]]
) -> None:
    found: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
    by_code: Counter[str] = Counter()
    counted: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
    for line in (line for of_one in lines.values() for line in of_one):
        found["order"] += line["total_minor"]
        by_code[line["code"]] += line["total_minor"]
        counted["order"] += 1
    for back in given_back:
        found[back["kind"]] -= back["minor"]
        by_code[back["code"]] -= back["minor"]
        counted[back["kind"]] += 1
    exact = {kind: sum((row.exact for row in told.lines(kind)), Decimal(0)) for kind in KINDS}
    rounded = {kind: sum(row.rounded for row in told.lines(kind)) for kind in KINDS}
    report.compare("lines_with_money", {kind: sum(1 for _ in told.lines(kind)) for kind in KINDS}, counted)
    report.compare("revenue_pence", rounded | {"net": sum(rounded.values())}, found | {"net": sum(found.values())})
    expected_by_code: Counter[str] = Counter()
    for row in told.lines(*KINDS):
        expected_by_code[row.code] += row.rounded
    report.compare("revenue_pence_of_code", _for(by_code, expected_by_code), _for(expected_by_code, by_code))
    _explain_rounding(report, told, exact, found)


def _explain_rounding(report: Report, told: Told, exact: Mapping[str, Decimal], found: Mapping[str, int]) -> None:
    """What is left between the exact sums and ours must be what lines with prices below a penny lost."""
    finer = [row for row in told.lines(*KINDS) if row.price % PENNY]
    lost: Counter[str] = Counter()
    for kind in KINDS:
        for row in told.lines(kind):
            if row.price % PENNY:
                lost[kind] += row.exact - Decimal(row.rounded) / 100  # type: ignore[assignment]
    gap = {kind: exact[kind] - Decimal(found[kind]) / 100 for kind in KINDS}
    report.compare("rounding_explained_by_prices_below_a_penny", {kind: Decimal(lost[kind]) for kind in KINDS}, gap)
    for kind, name in KINDS.items():
        report.numbers[f"revenue_of_{name}"] = f"{exact[kind]} exactly, {Decimal(found[kind]) / 100} booked"
    net, booked = sum(exact.values(), Decimal(0)), Decimal(sum(found[kind] for kind in KINDS)) / 100
    report.numbers["revenue_net"] = f"{net} exactly, {booked} booked, {net - booked} rounded away"
    report.numbers["lines_with_a_price_below_a_penny"] = len(finer)
    report.numbers["codes_with_a_price_below_a_penny"] = ", ".join(sorted({row.code for row in finer})) or "none"


def database_url_of_home() -> str:
    """Of the instance that runs on SWITCHYARD_HOME."""
    state = read_state(Path(os.environ.get("SWITCHYARD_HOME", ".switchyard")))
    if state is None:
        raise SystemExit("Nothing runs on SWITCHYARD_HOME; name a database with --database-url.")
    return state.database_url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--totals", type=Path)
    parser.add_argument("--database-url")
    parser.add_argument("--shop", default=SHOP)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    url = given.database_url or os.environ.get("DATABASE_URL") or database_url_of_home()
    report = compare(given.file, given.totals, url, given.shop)
    print(report.as_json() if given.json else report.as_text())
    sys.exit(0 if report.is_clean else 1)


if __name__ == "__main__":
    main()
