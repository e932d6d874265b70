"""A stream of shoppers who want more than there is: the orders of the shared file, split over two shops and Amazon.

Only the rules are here, pure and seeded by nothing but the file: which goods are scarce, how much of them there is, and
who shops where. Cancellations, returns and adjustments of the file are left out: every line is something a shopper
wants, gets whole or does not get at all.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from bench.scarce.bound import most_units
from workers.retail_file import Article, Invoice, Line, articles

PARTS = (50, 20, 30)
"""Of a hundred invoices so many are placed at the first shop, the second and Amazon; which ones, their numbers say."""

AMAZON = 2
"""The place of Amazon in PARTS."""

STOCK_PART = 0.6
"""How much of what is wanted of each good there is, rounded down, but never nothing."""


@dataclass(frozen=True, slots=True)
class Basket:
    """What one shopper wants, in the file's order; `place` is where, by PARTS."""

    key: str
    at: datetime
    place: int
    country_code: str | None
    customer: str | None
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Stream:
    """Baskets in their order of arrival, and what there is when the first one comes. Units by code."""

    goods: Sequence[Article]
    opening: Mapping[str, int]
    baskets: Sequence[Basket]

    @property
    def lines(self) -> int:
        return sum(len(basket.lines) for basket in self.baskets)

    @property
    def units(self) -> int:
        return sum(line.units for basket in self.baskets for line in basket.lines)

    def bound(self) -> dict[str, int]:
        """The most units of each good that anybody could have sold."""
        wanted: defaultdict[str, list[int]] = defaultdict(list)
        for basket in self.baskets:
            for line in basket.lines:
                wanted[line.code].append(line.units)
        return {code: most_units(self.opening[code], lines) for code, lines in wanted.items()}


def make_stream(invoices: Sequence[Invoice], first: int | None = None, goods: int | None = None) -> Stream:
    """The first `first` invoices that are orders, as far as they are about the `goods` goods ordered most often.

    None is all. Ties between goods go by their code.
    """
    orders = [invoice for invoice in invoices if invoice.kind == "order"][:first]
    sold = {article.code: article for article in articles(orders) if article.is_goods}
    often = Counter(line.code for order in orders for line in order.lines if line.code in sold and line.units > 0)
    chosen = sorted(often, key=lambda code: (-often[code], code))[:goods]
    baskets = [basket for order in orders if (basket := _basket(order, frozenset(chosen))) is not None]
    wanted: Counter[str] = Counter()
    for basket in baskets:
        for line in basket.lines:
            wanted[line.code] += line.units
    opening = {code: max(1, math.floor(units * STOCK_PART)) for code, units in wanted.items()}
    return Stream([sold[code] for code in sorted(chosen)], opening, baskets)


def place_of(invoice: str) -> int:
    """Where an invoice is placed, by a checksum of its number."""
    number = zlib.crc32(invoice.encode()) % sum(PARTS)
    return next(place for place, until in enumerate(accumulate(PARTS)) if number < until)


def _basket(order: Invoice, chosen: frozenset[str]) -> Basket | None:
    lines = tuple(line for line in order.lines if line.code in chosen and line.units > 0)
    if not lines:
        return None
    first = order.lines[0]
    return Basket(order.number, order.at, place_of(order.number), first.country_code, first.customer, lines)
