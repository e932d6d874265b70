"""What somebody who knows every order in advance could sell: separate from the product, which it judges.

Two channels sell the same goods and each order takes whole lines or nothing. Whoever knows the whole stream, moves
units between channels at once and for nothing, and never oversells, picks for each good those lines whose units come as
close to what there is as they can: a knapsack of lines whose worth is their weight. As nothing comes back and goods do
not bear on each other, no order of arrival, no split and no policy sells more; and since any subset can be sold in any
order, somebody who knew would reach it. The sums that subsets can have are the bits of one integer, so that this is
exact, not an estimate: a good of a thousand lines and ten thousand units takes a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable


def most_units(stock: int, lines: Iterable[int]) -> int:
    """The most units that lines of these units, each taken whole or not at all, can be of a stock."""
    if stock <= 0:
        return 0
    within = (1 << (stock + 1)) - 1
    sums = 1
    for units in lines:
        # Bit n: some of the lines so far come to n units.
        sums = (sums | sums << units) & within if units <= stock else sums
    return sums.bit_length() - 1
