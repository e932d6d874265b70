"""What many seasons came to, policy by policy: sums, parts of each other, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.seasons.world import Outcomes

Z = 1.96
"""Of 95 in 100."""


@dataclass(slots=True)
class Tally:
    """One policy over all seasons of one kind and stock."""

    stock: int
    results: list[Outcomes] = field(default_factory=list)
    bounds: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, result: Outcomes, bound: int, seconds: float) -> None:
        """Count one more season; a bound below what was sold is no bound, so that ends everything."""
        if result.sold > bound:
            raise AssertionError(f"sold {result.sold} units where the bound is {bound}")
        self.results.append(result)
        self.bounds.append(bound)
        self.seconds += seconds

    @property
    def sold(self) -> list[int]:
        return [result.sold for result in self.results]

    @property
    def oversold(self) -> list[int]:
        return [result.oversold for result in self.results]


@dataclass(frozen=True, slots=True)
class Row:
    """A policy's line. Intervals hold 95 in 100; `violations` counts what must never be and has to be 0.

    `sell_through`: of the stock; `of_bound` and `of_pooled`: of what the bound and our own pooled mode sold in the same
    seasons. `refused_in_stock`: large orders that were refused while the stock for them was there.
    """

    kind: str
    policy: str
    stock: int
    seasons: int
    oversold_units: int
    seasons_oversold: int
    seasons_oversold_interval: tuple[float, float]
    sold: int
    sell_through: float
    sell_through_interval: tuple[float, float]
    oversold_per_thousand: float
    oversold_per_thousand_interval: tuple[float, float]
    of_bound: float
    of_pooled: float
    large_orders: int
    large_refused: int
    large_refused_interval: tuple[float, float]
    large_refused_in_stock: int
    large_refused_in_stock_interval: tuple[float, float]
    writes_per_season: float
    violations: int
    ms_per_season: float


def row(kind: str, policy: str, tally: Tally, pooled_sold: Sequence[int]) -> Row:
    """The line of one policy; `pooled_sold`: units by season, the first ones of the same seasons."""
    seasons, sold = len(tally.results), sum(tally.sold)
    oversold = sum(tally.oversold)
    hit = sum(1 for units in tally.oversold if units)
    large = sum(result.large for result in tally.results)
    refused = sum(result.large_refused for result in tally.results)
    in_stock = sum(result.large_refused_in_stock for result in tally.results)
    capacity = [tally.stock] * seasons
    return Row(
        kind=kind,
        policy=policy,
        stock=tally.stock,
        seasons=seasons,
        oversold_units=oversold,
        seasons_oversold=hit,
        seasons_oversold_interval=wilson(hit, seasons),
        sold=sold,
        sell_through=sold / sum(capacity),
        sell_through_interval=ratio_interval(tally.sold, capacity),
        oversold_per_thousand=1000 * oversold / max(1, sold),
        oversold_per_thousand_interval=_thousandfold(ratio_interval(tally.oversold, tally.sold)),
        of_bound=sold / sum(tally.bounds),
        of_pooled=sum(tally.sold[: len(pooled_sold)]) / max(1, sum(pooled_sold)),
        large_orders=large,
        large_refused=refused,
        large_refused_interval=wilson(refused, large),
        large_refused_in_stock=in_stock,
        large_refused_in_stock_interval=wilson(in_stock, large),
        writes_per_season=sum(result.writes for result in tally.results) / seasons,
        violations=sum(result.violations for result in tally.results),
        ms_per_season=1000 * tally.seconds / seasons,
    )


def ratio_interval(parts: Sequence[int], wholes: Sequence[int]) -> tuple[float, float]:
    """Where the ratio of two sums over seasons lies: normal, by linearisation; (0, 0) where there is nothing."""
    number, whole = len(parts), sum(wholes)
    if number < 2 or whole == 0:
        return 0.0, 0.0
    ratio = sum(parts) / whole
    spread = sum((part - ratio * of) ** 2 for part, of in zip(parts, wholes, strict=True)) / (number - 1)
    error = Z * math.sqrt(spread * number) / whole
    return max(0.0, ratio - error), ratio + error


def wilson(hits: int, number: int) -> tuple[float, float]:
    """Wilson's interval of a share; says something also where nothing was hit."""
    if number == 0:
        return 0.0, 0.0
    share, square = hits / number, Z * Z / number
    middle = (share + square / 2) / (1 + square)
    error = Z * math.sqrt(share * (1 - share) / number + square / 4 / number) / (1 + square)
    return max(0.0, middle - error), min(1.0, middle + error)


def _thousandfold(interval: tuple[float, float]) -> tuple[float, float]:
    return 1000 * interval[0], 1000 * interval[1]
