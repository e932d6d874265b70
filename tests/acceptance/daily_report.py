"""What a file of the Online Retail form comes to by day and country: a plain computation of its own.

    python -m tests.acceptance.daily_report FILE

Only the file is read, and nothing of the product is imported: the daily reports are held against this. Days and hours
are those that the file itself writes, which are London's; how long a day was is asked of the zone. The rules are those
that the file's owners publish: an invoice of digits is an order, unless it is a single line of price 0 without a
customer, which adjusts stock; C gives back, A is bad debt. A line given back counts where the order that it takes back
went to: the latest earlier order line of the same customer, code and price that has enough left; without one, where
its own line says. Money is rounded per line, half away from zero.
"""

from __future__ import annotations

import csv
import gzip
import sys
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

LONDON = ZoneInfo("Europe/London")
NO_GOODS = ("POST", "DOT", "C2", "M", "m", "D", "S", "BANK CHARGES", "AMAZONFEE", "CRUK", "B")
FIGURES = ("orders", "units", "other_units", "revenue_minor", "refunds", "refunded_units", "refunded_minor")

# ISO 3166-1; what is no country is None.
CODES = dict(
    line.rsplit(" ", 1)
    for line in """
    Australia AU|Austria AT|Bahrain BH|Belgium BE|Brazil BR|Canada CA|Channel Islands JE|Cyprus CY|Czech Republic CZ
    Denmark DK|EIRE IE|Finland FI|France FR|Germany DE|Greece GR|Hong Kong HK|Iceland IS|Israel IL|Italy IT|Japan JP
    Lebanon LB|Lithuania LT|Malta MT|Netherlands NL|Norway NO|Poland PL|Portugal PT|RSA ZA|Saudi Arabia SA|Singapore SG
    Spain ES|Sweden SE|Switzerland CH|USA US|United Arab Emirates AE|United Kingdom GB
    """.strip()
    .replace("\n", "|")
    .replace("    ", "")
    .split("|")
)

Key = tuple[date, str | None]


class Told:
    """Figures by day and country, orders by day and hour of the clock, and hours of each day."""

    def __init__(self) -> None:
        self.by_country: defaultdict[Key, Counter[str]] = defaultdict(Counter)
        self.orders_by_hour: Counter[tuple[date, int]] = Counter()

    def days(self) -> list[date]:
        """Every day from the first to the last, trading or not."""
        known = [day for day, _ in self.by_country]
        return [min(known) + timedelta(days=number) for number in range((max(known) - min(known)).days + 1)]

    def of_day(self, day: date) -> dict[str | None, Counter[str]]:
        return {country: figures for (on, country), figures in self.by_country.items() if on == day}


def hours_of(day: date) -> float:
    """How long a day is in London."""
    begins, ends = (datetime(each.year, each.month, each.day, tzinfo=LONDON) for each in (day, day + timedelta(days=1)))
    return (ends.timestamp() - begins.timestamp()) / 3600


def pence(units: int, price: Decimal) -> int:
    return int((units * price * 100).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def is_goods(code: str) -> bool:
    return code not in NO_GOODS and code[:5].lower() != "gift_"


def compute(path: Path) -> Told:
    """Read the file once, in its order."""
    told = Told()
    for number, rows in invoices(path).items():
        if number[0] == "C":
            continue
        if len(rows) == 1 and Decimal(rows[0]["UnitPrice"]) == 0 and not rows[0]["CustomerID"] and number[0] != "A":
            continue
        if number[0] == "A":
            _lose(told, rows)
        else:
            _sell(told, rows)
    _give_back(told, path)
    return told


def invoices(path: Path) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as text:
        for row in csv.DictReader(text):
            found.setdefault(row["InvoiceNo"], []).append(row)
    return found


def _day(row: dict[str, str]) -> date:
    return date.fromisoformat(row["InvoiceDate"][:10])


def _country(row: dict[str, str]) -> str | None:
    return CODES.get(row["Country"])


def _sell(told: Told, rows: list[dict[str, str]]) -> None:
    figures = told.by_country[_day(rows[0]), _country(rows[0])]
    figures["orders"] += 1
    told.orders_by_hour[_day(rows[0]), int(rows[0]["InvoiceDate"][11:13])] += 1
    for row in rows:
        figures["units" if is_goods(row["StockCode"]) else "other_units"] += int(row["Quantity"])
        figures["revenue_minor"] += pence(int(row["Quantity"]), Decimal(row["UnitPrice"]))


def _lose(told: Told, rows: list[dict[str, str]]) -> None:
    for row in rows:
        figures = told.by_country[_day(row), _country(row)]
        figures["refunds"] += 1
        figures["refunded_minor"] -= pence(int(row["Quantity"]), Decimal(row["UnitPrice"]))


def _give_back(told: Told, path: Path) -> None:
    """Each line given back, and of which order: as many refunds as orders that an invoice takes back from."""
    left: dict[tuple[str, str, Decimal], list[list]] = {}
    for number, rows in invoices(path).items():
        orders = set()
        for row in rows:
            units, price = int(row["Quantity"]), Decimal(row["UnitPrice"])
            if number[0] not in "CA":
                if row["CustomerID"] and units > 0:
                    left.setdefault((row["CustomerID"], row["StockCode"], price), []).append([units, number, rows[0]])
                continue
            if number[0] == "A":
                continue
            sold = row["CustomerID"] and next(
                (
                    one
                    for one in reversed(left.get((row["CustomerID"], row["StockCode"], price), []))
                    if one[0] >= -units
                ),
                None,
            )
            if sold:
                sold[0] += units
                figures = told.by_country[_day(rows[0]), _country(sold[2])]
                figures["refunds"] += sold[1] not in orders
                orders.add(sold[1])
            else:
                figures = told.by_country[_day(row), _country(row)]
                figures["refunds"] += 1
            figures["refunded_units"] -= units if is_goods(row["StockCode"]) else 0
            figures["refunded_minor"] -= pence(units, price)


def main() -> None:
    told = compute(Path(sys.argv[1]))
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(("day", "hours", "country", *FIGURES))
    for (day, country), figures in sorted(told.by_country.items(), key=lambda item: (item[0][0], item[0][1] or "")):
        out.writerow((day, f"{hours_of(day):g}", country or "", *(figures[name] for name in FIGURES)))


if __name__ == "__main__":
    main()
