"""What is replayed: a small invented file with every quirk of the form, and the beginning of the real one."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
REAL = "data/orders/online_retail_2010-12-01_2011-07-19.csv.gz"
UK = "United Kingdom"

QUIRKS = (
    # A cancellation before any sale of its code: goods bought before the file begins.
    ("C900000", "77009", "TIN OPENER", "-4", "2010-12-01 08:00:00", "2.1", "17001.0", UK),
    # Exact copies are real units; a code twice at two prices; a description with quotes, a pound sign and a trail.
    ("900001", "77001", 'SIGN, "NO £ CHANGE" ', "6", "2010-12-01 08:26:00", "2.55", "17001.0", UK),
    ("900001", "77001", 'SIGN, "NO £ CHANGE" ', "6", "2010-12-01 08:26:00", "2.55", "17001.0", UK),
    ("900001", "77001", 'SIGN, "NO £ CHANGE" ', "1", "2010-12-01 08:26:00", "2.1", "17001.0", UK),
    ("900001", "POST", "POSTAGE", "1", "2010-12-01 08:26:00", "18", "17001.0", UK),
    # Two codes that differ by case; one with a space, a slash and a percent sign; no description; no customer.
    ("900002", "77002a", "SMALL MUG", "3", "2010-12-01 08:28:00", "1.69", "", "EIRE"),
    ("900002", "77002A", "LARGE MUG", "5", "2010-12-01 08:28:00", "3.39", "", "EIRE"),
    ("900002", "77003 B/50%", "", "2", "2010-12-01 08:28:00", "0.85", "", "EIRE"),
    # Prices below a penny: 1, 5 and 15 times a tenth of one are 0, 1 and 2 pence.
    ("900003", "77004", "PADS", "1", "2010-12-01 09:00:00", "0.001", "17002.0", "Unspecified"),
    ("900003", "77004", "PADS", "5", "2010-12-01 09:00:00", "0.001", "17002.0", "Unspecified"),
    ("900003", "77004", "PADS", "15", "2010-12-01 09:00:00", "0.001", "17002.0", "Unspecified"),
    # Everything that is no goods.
    ("900004", "DOT", "DOTCOM POSTAGE", "1", "2010-12-01 09:30:00", "569.77", "", UK),
    ("900004", "C2", "CARRIAGE", "1", "2010-12-01 09:30:00", "50", "", UK),
    ("900004", "M", "Manual", "2", "2010-12-01 09:30:00", "1.25", "", UK),
    ("900004", "m", "Manual", "1", "2010-12-01 09:30:00", "2.55", "", UK),
    ("900004", "S", "SAMPLES", "1", "2010-12-01 09:30:00", "3", "", UK),
    ("900004", "BANK CHARGES", "Bank Charges", "1", "2010-12-01 09:30:00", "15", "", UK),
    ("900004", "gift_0001_20", "Dotcomgiftshop Gift Voucher £20.00", "1", "2010-12-01 09:30:00", "17.02", "", UK),
    # Free goods, with a customer and without one.
    ("900005", "77005", "BALLOONS", "24", "2010-12-01 10:00:00", "0", "17003.0", "European Community"),
    ("900006", "77005", "BALLOONS", "1", "2010-12-01 10:05:00", "0", "", UK),
    ("900006", "77006", "RIBBON", "1", "2010-12-01 10:05:00", "0", "", UK),
    # Stock adjustments among the orders: up, down, without a word, of no goods, of nothing.
    ("900007", "77005", "damages", "-3", "2010-12-01 10:10:00", "0", "", UK),
    ("900008", "77006", "", "40", "2010-12-01 10:11:00", "0", "", UK),
    ("900009", "77007", "?", "-12", "2010-12-01 10:12:00", "0", "", UK),
    ("900010", "M", "sold as set on dotcom", "-1", "2010-12-01 10:13:00", "0", "", UK),
    # An invoice with two timestamps, another's line between its own, and another description of a code.
    ("900011", "77001", "SIGN NO CHANGE", "2", "2010-12-01 10:59:00", "2.55", "17001.0", UK),
    ("900012", "77006", "RIBBON", "10", "2010-12-01 11:00:00", "0.42", "17004.0", "Channel Islands"),
    ("900011", "77007", "FRAME", "1", "2010-12-01 11:00:00", "4.95", "17001.0", UK),
    # A typing error, taken back minutes later.
    ("900013", "77008", "CERAMIC TOP STORAGE JAR", "74215", "2011-01-18 10:01:00", "1.04", "17005.0", UK),
    ("C900014", "77008", "CERAMIC TOP STORAGE JAR", "-74215", "2011-01-18 10:17:00", "1.04", "17005.0", UK),
    # One cancellation of lines of two orders, of a part, of a service, of a price never paid, and of nobody's.
    ("C900015", "77001", "SIGN NO CHANGE", "-2", "2011-01-19 09:00:00", "2.55", "17001.0", UK),
    ("C900015", "77001", "SIGN NO CHANGE", "-4", "2011-01-19 09:00:00", "2.55", "17001.0", UK),
    ("C900015", "POST", "POSTAGE", "-1", "2011-01-19 09:00:00", "18", "17001.0", UK),
    ("C900015", "77001", "SIGN NO CHANGE", "-1", "2011-01-19 09:00:00", "9.99", "17001.0", UK),
    ("C900015", "77001", "SIGN NO CHANGE", "-40", "2011-01-19 09:00:00", "2.55", "17001.0", UK),
    ("C900016", "77002a", "SMALL MUG", "-1", "2011-01-19 09:05:00", "1.69", "", "EIRE"),
    ("C900017", "D", "Discount", "-1", "2011-01-19 09:10:00", "27.5", "17006.0", UK),
    ("C900018", "AMAZONFEE", "AMAZON FEE", "-1", "2011-01-19 09:11:00", "1100.44", "", UK),
    ("C900019", "77004", "PADS", "-5", "2011-01-19 09:12:00", "0.001", "17002.0", "Unspecified"),
    # The morning after the clocks went forward, and a summer evening.
    ("900020", "77006", "RIBBON", "3", "2011-03-27 10:30:00", "0.42", "17004.0", UK),
    ("900021", "77009", "TIN OPENER", "4", "2011-07-19 20:15:00", "2.1", "17007.0", "RSA"),
    # Money written off and set right: no goods, no order.
    ("A900022", "B", "Adjust bad debt", "1", "2011-07-20 14:50:00", "11062.06", "", UK),
    ("A900023", "B", "Adjust bad debt", "1", "2011-07-20 14:51:00", "-11062.06", "", UK),
)  # fmt: skip
QUIRKS_REFUNDS = 4
"""Of 900013, 900011, 900001 and 900003: C900015 makes one refund for each of its two orders."""

QUIRKS_RETURNS = 8
"""77009; 9.99 and 40 too many; the nameless mug; the discount; the fee; two of money only."""


def write_quirks(path: Path) -> Path:
    """The invented file."""
    return write_file(path, QUIRKS)


def write_slice(path: Path, shared: Path, invoices: int) -> Path:
    """The real file's first invoices, lines as they are."""
    with gzip.open(shared / REAL, "rt", encoding="utf-8", newline="") as packed:
        rows = csv.reader(packed)
        next(rows)
        seen: set[str] = set()
        taken = []
        for row in rows:
            seen.add(row[0])
            if len(seen) > invoices:
                break
            taken.append(tuple(row))
    return write_file(path, tuple(taken))


def write_changed(path: Path, original: Path, column: str, value: str) -> Path:
    """A copy with another value in one cell of the first line of the first order."""
    with original.open(encoding="utf-8", newline="") as whole:
        rows = list(csv.DictReader(whole))
    next(row for row in rows if row["InvoiceNo"].isdigit())[column] = value
    return write_file(path, tuple(tuple(row[name] for name in COLUMNS) for row in rows))


def write_file(path: Path, rows: tuple[tuple[str, ...], ...]) -> Path:
    """A file of the form with these lines."""
    with path.open("w", encoding="utf-8", newline="") as text:
        out = csv.writer(text, lineterminator="\n")
        out.writerow(COLUMNS)
        out.writerows(rows)
    return path
