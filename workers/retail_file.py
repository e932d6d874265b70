"""Reads a file of the Online Retail form and says, line by line, what happened: pure, no I/O but the file itself.

The form is that of the "Online Retail" data set (Daqing Chen, UCI Machine Learning Repository, data set 352):
InvoiceNo, StockCode, Description, Quantity, InvoiceDate (local time), UnitPrice (GBP), CustomerID, Country.

One treatment for each of its quirks:

- An invoice of digits is an order, but one with a single line of price 0 and no customer is a stock adjustment.
- An invoice that begins with C is a cancellation: each of its lines is a refund, with restock, of the latest earlier
  order line of the same customer, code and price that has enough left; a line without such an order is a return
  without order that carries its own money.
- An invoice that begins with A is money only (bad debt): it moves no stock and is not an order.
- The lines of an invoice are gathered before it is placed, at its first timestamp; exact copies are real units.
- Codes are compared exactly: two that differ by case are two SKUs. Service codes and vouchers have no stock.
- A customer number loses its `.0`; times are London's and become UTC.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from zoneinfo import ZoneInfo

from core.errors import BadInput

LONDON = ZoneInfo("Europe/London")
CURRENCY = "GBP"
COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
SERVICE_CODES = frozenset(("POST", "DOT", "C2", "M", "m", "D", "S", "BANK CHARGES", "AMAZONFEE", "CRUK", "B"))


# ISO 3166-1 alpha-2; what is no country (European Community, Unspecified) has none.
COUNTRY_CODES = {
    "Australia": "AU", "Austria": "AT", "Bahrain": "BH", "Belgium": "BE", "Brazil": "BR", "Canada": "CA",
    "Channel Islands": "JE", "Cyprus": "CY", "Czech Republic": "CZ", "Denmark": "DK", "EIRE": "IE", "Finland": "FI",
    "France": "FR", "Germany": "DE", "Greece": "GR", "Hong Kong": "HK", "Iceland": "IS", "Israel": "IL", "Italy": "IT",
    "Japan": "JP", "Lebanon": "LB", "Lithuania": "LT", "Malta": "MT", "Netherlands": "NL", "Norway": "NO",
    "Poland": "PL", "Portugal": "PT", "RSA": "ZA", "Saudi Arabia": "SA", "Singapore": "SG", "Spain": "ES",
    "Sweden": "SE", "Switzerland": "CH", "USA": "US", "United Arab Emirates": "AE", "United Kingdom": "GB",
}  # fmt: skip


class BadFile(BadInput):
    """The file is not of the form."""

    def __init__(self, path: Path, line: int, what: str) -> None:
        super().__init__(f"{path.name}, line {line}: {what}")


def is_goods(code: str) -> bool:
    """Whether a code stands for something with stock."""
    return code not in SERVICE_CODES and not code.lower().startswith("gift_")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file. `ordinal` is its place within the invoice, from 1; units are signed."""

    invoice: str
    ordinal: int
    code: str
    title: str
    units: int
    at: datetime
    unit_price: Decimal
    customer: str | None
    country_code: str | None

    @property
    def key(self) -> str:
        """Names the line for ever: invoice and place within it."""
        return f"{self.invoice}:{self.ordinal}"


@dataclass(frozen=True, slots=True)
class Invoice:
    """All lines of one invoice, in file order."""

    number: str
    lines: tuple[Line, ...]

    @property
    def at(self) -> datetime:
        """The invoice's time: that of its first line."""
        return self.lines[0].at

    @property
    def kind(self) -> str:
        """order, adjustment, cancellation or bad_debt."""
        if self.number.startswith("C"):
            return "cancellation"
        if self.number.startswith("A"):
            return "bad_debt"
        first = self.lines[0]
        if len(self.lines) == 1 and first.unit_price == 0 and first.customer is None:
            return "adjustment"
        return "order"


def read_invoices(path: Path) -> list[Invoice]:
    """The invoices in the order in which each first appears. Raises BadFile with the place and the repair."""
    lines: dict[str, list[Line]] = {}
    for number, row in _rows(path):
        invoice = row["InvoiceNo"].strip()
        if not invoice:
            raise BadFile(path, number, "InvoiceNo is empty: every line belongs to an invoice")
        known = lines.setdefault(invoice, [])
        known.append(_line(path, number, row, invoice, len(known) + 1))
    return [Invoice(invoice, tuple(found)) for invoice, found in lines.items()]


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text, strict=True)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise BadFile(path, 1, f"the columns {', '.join(missing)} are missing")
            for row in reader:
                yield reader.line_num, row
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error


def _line(path: Path, number: int, row: dict[str, str], invoice: str, ordinal: int) -> Line:
    try:
        return Line(
            invoice=invoice,
            ordinal=ordinal,
            code=row["StockCode"],
            title=row["Description"].strip(),
            units=int(row["Quantity"]),
            at=datetime.strptime(row["InvoiceDate"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=LONDON).astimezone(UTC),
            unit_price=_price(row["UnitPrice"]),
            customer=row["CustomerID"].removesuffix(".0").strip() or None,
            country_code=COUNTRY_CODES.get(row["Country"].strip()),
        )
    except (ValueError, InvalidOperation, AttributeError, TypeError) as error:
        raise BadFile(
            path, number, "Quantity must be a whole number, UnitPrice a number, InvoiceDate like 2010-12-01 08:26:00"
        ) from error


def _price(text: str) -> Decimal:
    price = Decimal(text)
    if not price.is_finite():
        raise ValueError(text)
    return price


@dataclass(frozen=True, slots=True)
class Refund:
    """One refund to be made: a cancellation invoice's lines that fall on one order."""

    key: str
    at: datetime
    order: str
    lines: tuple[tuple[int, int], ...]
    """(ordinal of the order's line, units given back)"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens for one invoice, in this order. Exactly one of the fields is set but for cancellations."""

    invoice: Invoice
    order: Invoice | None = None
    refunds: tuple[Refund, ...] = ()
    returns: tuple[Line, ...] = ()
    adjustment: Line | None = None
    bad_debt: tuple[Line, ...] = ()


@dataclass(slots=True)
class _OpenLine:
    order: str
    ordinal: int
    left: int


@dataclass(slots=True)
class Matcher:
    """Finds for each cancellation line the order line that it takes back."""

    _open: defaultdict[tuple[str, str, Decimal], list[_OpenLine]] = field(default_factory=lambda: defaultdict(list))

    def plan(self, invoice: Invoice) -> Plan:
        """What one invoice, taken in file order, comes to."""
        if invoice.kind == "order":
            self._remember(invoice)
            return Plan(invoice, order=invoice)
        if invoice.kind == "adjustment":
            return Plan(invoice, adjustment=invoice.lines[0])
        if invoice.kind == "bad_debt":
            return Plan(invoice, bad_debt=invoice.lines)
        return self._cancel(invoice)

    def _remember(self, invoice: Invoice) -> None:
        for line in invoice.lines:
            if line.customer is not None and line.units > 0:
                self._open[line.customer, line.code, line.unit_price].append(
                    _OpenLine(invoice.number, line.ordinal, line.units)
                )

    def _cancel(self, invoice: Invoice) -> Plan:
        matched: dict[str, list[tuple[int, int]]] = {}
        alone: list[Line] = []
        for line in invoice.lines:
            found = self._take(line)
            if found is None:
                alone.append(line)
            else:
                matched.setdefault(found.order, []).append((found.ordinal, -line.units))
        refunds = tuple(
            Refund(f"{invoice.number}:{order}", invoice.at, order, tuple(lines)) for order, lines in matched.items()
        )
        return Plan(invoice, refunds=refunds, returns=tuple(alone))

    def _take(self, line: Line) -> _OpenLine | None:
        """The latest earlier line of the same customer, code and price with enough left; its units are taken."""
        if line.customer is None:
            return None
        for candidate in reversed(self._open[line.customer, line.code, line.unit_price]):
            if candidate.left >= -line.units:
                candidate.left += line.units
                return candidate
        return None


@dataclass(frozen=True, slots=True)
class Article:
    """One code of the file as a product to be sold: its commonest title and a usual price."""

    code: str
    title: str
    unit_price: Decimal
    is_goods: bool


def articles(invoices: Iterable[Invoice]) -> list[Article]:
    """Every code that occurs, sorted; the title and price are those seen most often, first seen first."""
    titles: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    prices: defaultdict[str, defaultdict[Decimal, int]] = defaultdict(lambda: defaultdict(int))
    for invoice in invoices:
        for line in invoice.lines:
            titles[line.code][line.title] += bool(line.title)
            prices[line.code][line.unit_price] += line.unit_price > 0
    return [
        Article(
            code=code,
            title=max(titles[code], key=lambda title: titles[code][title]) or code,
            unit_price=max(prices[code], key=lambda price: prices[code][price]),
            is_goods=is_goods(code),
        )
        for code in sorted(titles)
    ]


def opening_stock(path: Path) -> dict[str, int]:
    """Opening units per code from a totals file (columns stock_code, opening_stock_so_balance_never_negative)."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as text:
            return {
                row["stock_code"]: int(row["opening_stock_so_balance_never_negative"]) for row in csv.DictReader(text)
            }
    except (OSError, KeyError, ValueError) as error:
        raise BadInput(f"{path} is no totals file with stock_code and opening stock: {error!r}") from error


def least_opening_stock(invoices: Iterable[Invoice]) -> dict[str, int]:
    """Opening units per goods code with which the running balance, in file order, never goes below zero."""
    balance: defaultdict[str, int] = defaultdict(int)
    lowest: defaultdict[str, int] = defaultdict(int)
    for invoice in invoices:
        if invoice.kind == "bad_debt":
            continue
        for line in invoice.lines:
            if is_goods(line.code):
                balance[line.code] += line.units if invoice.kind == "adjustment" else -line.units
                lowest[line.code] = min(lowest[line.code], balance[line.code])
    return {code: -units for code, units in lowest.items()}
