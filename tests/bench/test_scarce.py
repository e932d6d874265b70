"""The bound that judges a scarce stream, and the rules of the stream itself: pure, held against trying everything."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.scarce.bound import most_units
from bench.scarce.measure import SHARE_AIM, report_of, verdict_of
from bench.scarce.outcome import Outcome
from bench.scarce.play import CATCH_UP_SECONDS_MAX, Options, Pace
from bench.scarce.stream import PARTS, make_stream, place_of
from bench.scarce.watch import Ours, suspects
from workers.retail_file import Invoice, Line

AT = datetime(2010, 12, 1, 8, 26, tzinfo=UTC)


def _every_subset(stock: int, lines: list[int]) -> int:
    subsets = itertools.chain.from_iterable(itertools.combinations(lines, n) for n in range(len(lines) + 1))
    return max((sum(subset) for subset in subsets if sum(subset) <= stock), default=0)


@given(st.integers(0, 60), st.lists(st.integers(1, 40), max_size=9))
def test_the_bound_is_what_trying_every_subset_finds(stock: int, lines: list[int]) -> None:
    assert most_units(stock, lines) == _every_subset(stock, lines)


@pytest.mark.parametrize(
    ("stock", "lines", "most"),
    [
        (0, [1, 2], 0),
        (-3, [1], 0),
        (5, [], 0),
        (5, [6, 7], 0),
        (7, [6, 4, 3], 7),
        (10, [6, 6], 6),
        (100_000, [1] * 50_000, 50_000),
        (80_995, [80_995, 80_995], 80_995),
    ],
)
def test_the_bound_takes_lines_whole(stock: int, lines: list[int], most: int) -> None:
    assert most_units(stock, lines) == most


@given(st.integers(1, 200), st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=30), st.data())
def test_no_split_over_two_shops_sells_more_than_the_bound(
    stock: int, lines: list[tuple[int, bool]], data: st.DataObject
) -> None:
    """Whatever each shop is given, and however units are moved between lines: whole lines, never more than there is."""
    shown = [data.draw(st.integers(0, stock)), 0]
    shown[1] = stock - shown[0]
    sold = 0
    for units, is_south in lines:
        moved = data.draw(st.integers(-shown[1], shown[0]))
        shown = [shown[0] - moved, shown[1] + moved]
        if units <= shown[is_south]:
            shown[is_south] -= units
            sold += units
    assert sold <= most_units(stock, [units for units, _ in lines])


def _line(invoice: str, code: str, units: int) -> Line:
    return Line(invoice, 1, code, code, units, AT, Decimal("1.25"), "17001", "GB")


INVOICES = [
    Invoice("500001", (_line("500001", "A", 7), _line("500001", "Y", 10), _line("500001", "POST", 1))),
    Invoice("500002", (_line("500002", "A", 3),)),
    Invoice("C500003", (_line("C500003", "A", -3),)),
    Invoice("500004", (_line("500004", "C", 1), _line("500004", "A", 5))),
    Invoice("500005", (_line("500005", "POST", 2),)),
]


def test_a_stream_is_what_is_wanted_of_goods_in_the_order_of_the_file() -> None:
    stream = make_stream(INVOICES)
    wanted = [(basket.key, [(line.code, line.units) for line in basket.lines]) for basket in stream.baskets]
    assert wanted == [
        ("500001", [("A", 7), ("Y", 10)]),
        ("500002", [("A", 3)]),
        ("500004", [("C", 1), ("A", 5)]),
    ]
    assert (stream.lines, stream.units) == (5, 26)
    assert stream.opening == {"A": 9, "Y": 6, "C": 1}
    assert stream.bound() == {"A": 8, "Y": 0, "C": 1}


def test_a_stream_may_be_about_the_goods_ordered_most_often_of_its_first_orders() -> None:
    stream = make_stream(INVOICES, first=2, goods=1)
    assert [article.code for article in stream.goods] == ["A"]
    assert [basket.key for basket in stream.baskets] == ["500001", "500002"]
    assert stream.opening == {"A": 6}


def test_where_an_invoice_is_placed_is_said_by_its_number() -> None:
    found = Counter(place_of(str(number)) for number in range(536_365, 546_365))
    assert found.keys() == set(range(len(PARTS)))
    assert all(abs(found[place] / 100 - percent) < 2 for place, percent in enumerate(PARTS))
    assert place_of("536365") == place_of("536365")


def _outcome(accepted_units: int) -> Outcome:
    outcome = Outcome("escrow", baskets=3, goods=2, lines=9, units=100, opening_units=60, bound_units=50)
    outcome.accepted_units = accepted_units
    return outcome


def test_figures_say_what_was_missed_and_which_invariant_is_broken() -> None:
    audit = {"checks": [{"name": "fine", "rows": []}, {"name": "level_is_sum_of_movements", "rows": [{"sku_id": 1}]}]}
    report = report_of(_outcome(47), audit, "invented")
    (ratio,) = report.ratios
    assert (ratio.value, ratio.aim, ratio.is_met) == (0.94, SHARE_AIM, False)
    broken = next(figure for figure in report.figures if figure.name == "invariants broken")
    assert (broken.value, broken.note) == (1, "level_is_sum_of_movements")
    assert report_of(_outcome(48), {"checks": []}, "invented").ratios[0].is_met


def test_a_listing_is_suspected_when_it_could_sell_more_than_was_said_before_and_after() -> None:
    before = {
        (1, "low"): Ours(1, 5, 3),
        (1, "sold"): Ours(2, 5, 3),
        (1, "raised"): Ours(3, 0, 3),
        (1, "new"): Ours(4, 1, 0),
    }
    after = {(1, "low"): Ours(1, 4, 4), (1, "sold"): Ours(2, 2, 6), (1, "raised"): Ours(3, 9, 3)}
    truth = {(1, "low"): 9, (1, "sold"): 8, (1, "raised"): 12, (1, "new"): 7, (2, "other"): 7}
    assert suspects(truth, before, after) == [(1, "low")]


def test_an_audit_that_broke_off_is_not_clean() -> None:
    assert verdict_of(b'{"clean": true, "checks": []}', 0)["clean"]
    broken = verdict_of(b"", 1)
    assert not broken["clean"]
    figures = report_of(_outcome(50), broken, "invented").figures
    assert next(figure for figure in figures if figure.name == "invariants broken").value == 1


# --- when baskets come


def _come(lead: int | None, catches_up_every: float, seconds: float, per_second: float = 2.0) -> list[list[int]]:
    """Sixty baskets in turns of a quarter of a second; what came to a shop at each turn."""
    turns: list[list[int]] = []
    now, caught_up_at = 0.0, 0.0

    def is_caught_up(_: float) -> bool:
        nonlocal caught_up_at
        if now - caught_up_at < catches_up_every:
            return False
        caught_up_at = now
        return True

    def place(baskets: Sequence[Any]) -> None:
        turns[-1].extend(baskets)

    pace = Pace(place, Options(per_second, lead=lead), is_caught_up, clock=lambda: now)
    baskets: list[Any] = list(range(60))
    while now < seconds:
        turns.append([])
        pace.turn(baskets)
        now += 0.25
    return turns


@pytest.mark.parametrize(("lead", "catches_up_every"), [(None, math.inf), (4, 0.0), (4, 1.0)])
def test_baskets_come_in_time_while_the_system_keeps_up(lead: int | None, catches_up_every: float) -> None:
    come = list(itertools.accumulate(len(turn) for turn in _come(lead, catches_up_every, 20)))
    assert come[0] == 1
    assert [come[second * 4] for second in range(20)] == [1 + 2 * second for second in range(20)]


@pytest.mark.parametrize("catches_up_every", [3.0, 7.0, 30.0])
def test_a_slow_system_is_never_further_behind_than_a_fast_one(catches_up_every: float) -> None:
    turns = _come(4, catches_up_every, 60 / 4 * catches_up_every + 1)
    assert [each for turn in turns for each in turn] == list(range(60)), "each once, in its turn"
    for first in range(len(turns)):
        window = turns[first : first + int(catches_up_every / 0.25)]
        # One catching up may lie in between, and nobody makes up for the wait.
        assert sum(map(len, window)) <= 2 * 4
    assert max(map(len, turns)) == 1


def test_a_system_that_never_catches_up_ends_the_play() -> None:
    with pytest.raises(AssertionError, match="does not catch up with 4 baskets"):
        _come(4, math.inf, 2 * CATCH_UP_SECONDS_MAX)
