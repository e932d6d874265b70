"""The shoppers of a stream: they come in the order of the file, want whole lines, and leave out what is sold out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from bench.scarce.outcome import Outcome
from bench.scarce.stream import AMAZON, Basket, Stream
from bench.scarce.world import World


class Shopping:
    """The shoppers of one shop of ours; they know nothing of what the others get."""

    def __init__(self, world: World, stream: Stream, outcome: Outcome) -> None:
        self.world, self._stream, self._outcome = world, stream, outcome
        self.accepted: Counter[tuple[int, str]] = Counter()
        """Units bought by place and code."""
        self._left = Counter(stream.opening)

    def place(self, baskets: Sequence[Basket]) -> None:
        """Some shoppers come, one after the other."""
        for place, group in groupby(baskets, key=lambda basket: basket.place):
            come = list(group)
            orders = [self._order(basket) for basket in come]
            answers = self.world.control.post(self._path(place), {"orders": orders})["orders"]
            for basket, answer in zip(come, answers, strict=True):
                self._note(basket, answer)

    def _path(self, place: int) -> str:
        outside = self.world.outside
        at = f"/amazon/{outside.seller_id}" if place == AMAZON else f"/shopify/{outside.domains[place]}"
        return f"{at}/orders"

    @staticmethod
    def _order(basket: Basket) -> dict[str, Any]:
        return _order_at_amazon(basket) if basket.place == AMAZON else _order(basket)

    def _note(self, basket: Basket, answer: dict[str, Any]) -> None:
        if answer.get("error") not in (None, "out_of_stock"):
            raise AssertionError(f"the sandbox did not understand a shopper: {answer}")
        channel = self.world.channels[basket.place].name
        everything = range(len(basket.lines))
        left_out = set(everything) if "error" in answer else set(answer["left_out"])
        for position in everything:
            line = basket.lines[position]
            if position not in left_out:
                self._outcome.accepted_lines += 1
                self._outcome.accepted_units += line.units
                _add(self._outcome.sold_by_channel, channel, line.units)
                self.accepted[basket.place, line.code] += line.units
                self._left[line.code] -= line.units
                continue
            self._outcome.refused_lines += 1
            self._outcome.refused_units += line.units
            _add(self._outcome.refused_by_channel, channel, line.units)
            if line.units <= self._left[line.code]:
                # All channels together had it.
                self._outcome.refused_for_the_split_lines += 1
                self._outcome.refused_for_the_split_units += line.units


def _add(units_by_name: dict[str, int], name: str, units: int) -> None:
    units_by_name[name] = units_by_name.get(name, 0) + units


def _order(basket: Basket) -> dict[str, Any]:
    return {
        "key": basket.key,
        "name": f"#{basket.key}",
        "processed_at": basket.at.isoformat(),
        "customer_ref": basket.customer,
        "country": basket.country_code or "ZZ",
        "currency": "GBP",
        "ship": False,
        "may_shrink": True,
        "lines": [
            {"sku": line.code, "quantity": line.units, "price": str(line.unit_price), "title": line.title or line.code}
            for line in basket.lines
        ],
    }


def _order_at_amazon(basket: Basket) -> dict[str, Any]:
    """It stays pending for a while, and is neither shipped nor called off."""
    return {
        "key": basket.key,
        "may_shrink": True,
        "lines": [{"sku": line.code, "quantity": line.units, "price": str(line.unit_price)} for line in basket.lines],
    }
