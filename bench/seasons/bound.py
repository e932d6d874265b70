"""What somebody could sell who knows the whole hour beforehand. Shares no code with the world or any policy.

Two numbers. `most` is never beaten: whole orders that stand, of all that are asked for, as many units as stock allows;
no split between channels, no delay, no outage can add to it. `best_split` is reached by a plan: the stock divided once,
before the hour, in the best way for the demand that comes, and no write after that; its writes therefore suffer no
delay. The best of all plans under the same delays lies between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from bench.seasons.demand import SEASON_SECONDS, Order, Season


def most(season: Season) -> int:
    """The upper bound, units. Orders that are cancelled later count for nothing, so they are best refused."""
    standing = [order for order in season.orders if _stands(order)]
    pooled = [order.units for order in standing if season.channels[order.channel].guarantee_class != "C"]
    till = [order.units for order in standing if season.channels[order.channel].guarantee_class == "C"]
    if not till:
        return _fill(pooled, season.stock)
    # A unit more where the customers are is never worse: the two places count as one.
    return _fill([*pooled, *till], season.stock + season.till_stock)


def _stands(order: Order) -> bool:
    """Whether nobody cancels it before the hour is over."""
    return order.cancelled_after is None or order.at + order.cancelled_after >= SEASON_SECONDS


def _fill(sizes: Sequence[int], capacity: int) -> int:
    """The most units, at most `capacity`, of a choice of whole orders."""
    best = [True] + [False] * capacity
    for units in sizes:
        for total in range(capacity, units - 1, -1):
            if best[total - units]:
                best[total] = True
    return max(total for total, is_reached in enumerate(best) if is_reached)


def best_split(season: Season) -> int:
    """What the best division of the pooled stock, left alone, sells; units."""
    reached = [0] * (season.stock + 1)
    for number, kind in enumerate(season.channels):
        if kind.guarantee_class == "C":
            continue
        orders = [order for order in season.orders if order.channel == number]
        alone = [sells(orders, units) for units in range(season.stock + 1)]
        reached = [
            max(reached[total - units] + alone[units] for units in range(total + 1))
            for total in range(season.stock + 1)
        ]
    return reached[season.stock]


def sells(orders: Sequence[Order], units: int) -> int:
    """What one channel sells for good that shows `units` in the beginning and puts cancelled units back by itself."""
    shown, sold = units, 0
    returning: list[tuple[float, int]] = []
    for order in orders:
        while returning and returning[0][0] <= order.at:
            shown += heappop(returning)[1]
        if shown >= order.units:
            shown -= order.units
            if _stands(order):
                sold += order.units
            elif order.cancelled_after is not None:
                heappush(returning, (order.at + order.cancelled_after, order.units))
    return sold


def ceiling(stock: int, demand: int, traffic: Sequence[float], two_units_part: float) -> float:
    """Units that nobody can expect to exceed who never shows more than there is and does not see what comes next.

    The best policy there could be if moving units took no time and all rates were known: before every order it splits
    what is left as it likes. Orders are for one unit or, `two_units_part` of them, for two, until `demand` units were
    asked for. Cancellations are left out.
    """
    lasting = [[0.0] * (stock + 1) for _ in range(demand + 1)]
    for asked in range(1, demand + 1):
        for left in range(1, stock + 1):
            lasting[asked][left] = max(
                _expected(lasting, asked, left, traffic, two_units_part, split) for split in _splits(left, len(traffic))
            )
    return lasting[demand][stock]


def _splits(left: int, channels: int) -> set[tuple[int, ...]]:
    """Every split of what is left, as far as it matters for the next order: 0, 1, or 2 and more on each channel."""
    found: set[tuple[int, ...]] = {()}
    for _ in range(channels):
        found = {(*split, units) for split in found for units in range(3) if sum(split) + units <= left}
    return found


def _expected(
    lasting: list[list[float]], asked: int, left: int, traffic: Sequence[float], two: float, split: tuple[int, ...]
) -> float:
    """What comes of it if the next order meets this split."""
    if asked < 2:
        two = 0.0
    value = 0.0
    for part, shown in zip(traffic, split, strict=True):
        one_sold = 1 + lasting[asked - 1][left - 1] if shown >= 1 else lasting[asked - 1][left]
        value += part * (1 - two) * one_sold
        if two:
            both_sold = 2 + lasting[asked - 2][left - 2] if shown >= 2 else lasting[asked - 2][left]
            value += part * two * both_sold
    return value
