"""What is sold while blows fall: the beginning of the real file, or an invented shop of the same form."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from tests.functional.files import COLUMNS, QUIRKS, REAL, write_file, write_slice

CODES = 60
RETURNED_AFTER = 30
"""Orders between one and its cancellation."""

DAMAGE_EVERY = 2
"""After so many orders something breaks on a shelf: what our own people book makes Shopify's numbers differ, too."""


def write_invented(path: Path, invoices: int) -> Path:
    """Every quirk of the form, then plain orders of a few articles, some of which are taken back; always the same."""
    chosen = random.Random("an invented shop")
    rows: list[tuple[str, ...]] = list(QUIRKS)
    returned: list[tuple[int, tuple[str, ...]]] = []
    for number in range(invoices):
        customer = f"{18000 + chosen.randrange(40)}.0"
        day = f"2011-0{1 + number * 6 // invoices}-{chosen.randrange(1, 28):02d} {chosen.randrange(8, 18):02d}:00:00"
        lines = [
            (f"88{chosen.randrange(CODES):03d}", str(chosen.randrange(1, 13)), f"{chosen.randrange(1, 900) / 100}")
            for _ in range(chosen.randrange(1, 8))
        ]
        for code, units, price in lines:
            rows.append((f"91{number:04d}", code, f"ARTICLE {code}", units, day, price, customer, "United Kingdom"))
        if chosen.random() < 0.15:
            code, units, price = lines[0]
            back = f"C92{number:04d}"
            row = (back, code, f"ARTICLE {code}", f"-{units}", day, price, customer, "United Kingdom")
            returned.append((number + RETURNED_AFTER, row))
        rows += [row for due, row in returned if due == number]
    rows += [row for due, row in returned if due >= invoices]
    return write_damaged(write_file(path, tuple(rows)))


def write_real(path: Path, shared: Path, invoices: int) -> Path:
    """The real file's first invoices."""
    return write_damaged(write_slice(path, shared, invoices))


def has_real(shared: Path) -> bool:
    """Whether the real file is at hand."""
    return (shared / REAL).is_file()


def write_damaged(path: Path) -> Path:
    """Add a stock adjustment after every DAMAGE_EVERY orders, of an article just sold."""
    with path.open(encoding="utf-8", newline="") as whole:
        rows = [tuple(row[name] for name in COLUMNS) for row in csv.DictReader(whole)]
    written: list[tuple[str, ...]] = []
    orders: set[str] = set()
    for place, row in enumerate(rows):
        written.append(row)
        invoice, code, at = row[0], row[1], row[4]
        is_last = place + 1 == len(rows) or rows[place + 1][0] != invoice
        if not is_last or not invoice.isdigit() or not code[:2].isdigit() or invoice in orders:
            continue
        orders.add(invoice)
        if len(orders) % DAMAGE_EVERY == 0:
            number = f"98{len(orders):06d}"
            written.append((number, code, "damages", str(-1 - len(orders) % 5), at, "0", "", "United Kingdom"))
    return write_file(path, tuple(written))
