"""The selling hours: hard enough, the same each time, with a bound that holds and checks that can fail."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from bench import oversell
from bench.seasons import bound
from bench.seasons.baselines import AbsolutePush, StatelessWorkflow
from bench.seasons.demand import POOLED_CHANNELS, SEASON_SECONDS, Kind, Order, Season, make_season
from bench.seasons.figures import Tally, ratio_interval, wilson
from bench.seasons.ours import Ours
from bench.seasons.world import Fact, Outcomes, World
from core.inventory import exposure
from core.inventory.planner import Mode

ROOT = Path(__file__).resolve().parents[2]
MODES: tuple[Mode, ...] = ("pooled", "adaptive", "escrow")
SEEDS = range(60)


@cache
def played(policy: str, stock: int, kind: Kind = "hour") -> tuple[Outcomes, ...]:
    return tuple(play(policy, make_season(seed, stock, kind)) for seed in SEEDS)


def play(policy: str, season: Season) -> Outcomes:
    return World(season, oversell.POLICIES[policy](season)).run()


# --- the same each time


def test_a_seed_is_a_season_and_a_season_under_a_policy_is_a_history() -> None:
    assert make_season(3, 40) == make_season(3, 40)
    assert make_season(3, 40) != make_season(4, 40)
    for policy in oversell.POLICIES:
        assert play(policy, make_season(3, 40)) == play(policy, make_season(3, 40))


def test_a_season_asks_for_what_is_said() -> None:
    seasons = [make_season(seed, 200) for seed in range(20)]
    orders = [order for season in seasons for order in season.orders]
    assert all(sum(order.units for order in season.orders) == 320 for season in seasons)
    assert all(0 <= order.at <= SEASON_SECONDS for order in orders)
    assert sum(order.units == 2 for order in orders) / len(orders) == pytest.approx(0.15, abs=0.02)
    assert sum(not order.notices for order in orders) / len(orders) == pytest.approx(0.02, abs=0.01)
    assert sum(len(order.notices) == 2 for order in orders) / len(orders) == pytest.approx(0.05, abs=0.015)
    busiest = max(sum(at <= order.at < at + 300 for order in seasons[0].orders) for at in range(0, 3300, 60))
    assert busiest / len(seasons[0].orders) == pytest.approx(30 / 85, abs=0.08)


# --- what is promised


@pytest.mark.parametrize("stock", [5, 40])
@pytest.mark.parametrize("mode", MODES)
def test_exposure_is_what_it_says_in_every_history(mode: Mode, stock: int) -> None:
    assert sum(result.violations for result in played(mode, stock)) == 0


@pytest.mark.parametrize(("mode", "seed", "kind"), [("pooled", 323, "till"), ("escrow", 6580, "hour")])
def test_a_sale_booked_before_the_restock_that_it_sold_is_no_broken_promise(mode: Mode, seed: int, kind: Kind) -> None:
    """Exposure is too high then until the next reading, as the table has it: its floor forgets the sale."""
    assert play(mode, make_season(seed, 200, kind)).violations == 0


@pytest.mark.parametrize(("stock", "kind"), [(5, "hour"), (40, "hour"), (40, "large"), (40, "till")])
def test_escrow_never_oversells(stock: int, kind: Kind) -> None:
    assert [result.oversold for result in played("escrow", stock, kind)] == [0] * len(SEEDS)


def test_escrow_sells_nearly_all_that_pooled_sells() -> None:
    sold, pooled = (sum(result.sold for result in played(mode, 40)) for mode in ("escrow", "pooled"))
    assert sold >= 0.99 * pooled


def test_adaptive_refuses_fewer_large_orders_that_could_have_been_met() -> None:
    refused = {
        mode: sum(result.large_refused_in_stock for result in played(mode, 40, "large"))
        for mode in ("adaptive", "escrow")
    }
    assert refused["adaptive"] < 0.8 * refused["escrow"]


def test_the_world_is_hard_without_us() -> None:
    for policy in ("pooled", "stateless_workflow", "absolute_push", "absolute_push_buffer_3"):
        results = played(policy, 40)
        assert sum(result.oversold for result in results) > 0.01 * sum(result.sold for result in results), policy


def test_a_till_that_sells_from_the_common_stock_oversells_it() -> None:
    ours, pushed = played("escrow", 40, "till"), played("absolute_push", 40, "till")
    assert sum(result.oversold for result in ours) == 0
    assert sum(result.oversold for result in pushed) > 1.3 * sum(r.oversold for r in played("absolute_push", 40))


# --- the checks can fail


def test_a_raise_that_is_not_exposed_when_it_is_recorded_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposure, "recorded", lambda from_units, to_units: 0)
    assert sum(play("escrow", make_season(seed, 40)).violations for seed in range(10)) > 0


def test_a_lowering_that_assigns_the_new_number_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposure, "confirmed", lambda exposed, from_units, to_units: to_units)
    assert sum(play("pooled", make_season(seed, 40)).violations for seed in range(10)) > 0


def test_a_restock_that_is_not_exposed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposure, "restocked", lambda exposed, units: exposed)
    assert sum(play("escrow", make_season(seed, 40)).violations for seed in range(20)) > 0


def test_exposure_that_never_comes_down_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposure, "confirmed", lambda exposed, from_units, to_units: exposed)
    assert sum(play("pooled", make_season(seed, 40)).violations for seed in range(10)) > 0


def test_selling_more_than_the_bound_ends_the_bench() -> None:
    result = play("pooled", make_season(1, 5))
    with pytest.raises(AssertionError, match="where the bound is"):
        Tally(5).add(result, result.sold - 1, 0.0)


# --- the bound, exhaustively on tiny seasons


def order(number: int, channel: int, units: int, is_cancelled: bool) -> Order:
    slow = channel == 2
    notices = (60.0 if slow else 2.0,)
    return Order(number, 600.0 + 300.0 * number, channel, units, 500.0 if is_cancelled else None, notices, notices)


def tiny_seasons() -> Iterator[Season]:
    """Every season of three orders, for one or two units, on the first or the slow channel, cancelled or not."""
    kinds = list(itertools.product((0, 2), (1, 2), (False, True)))
    for stock in (1, 2, 3):
        for choice in itertools.product(kinds, repeat=3):
            orders = tuple(order(number, *what) for number, what in enumerate(choice))
            yield Season(7, "hour", stock, 0, POOLED_CHANNELS, orders, (None,) * 3, (1.0, 2.0, 3.0), (4.0, 3.0, 2.0))


def best_choice(season: Season) -> int:
    """Every way of taking or refusing each order, whatever any channel shows, with no promise beyond what is there."""
    best = 0
    for taken in itertools.product((False, True), repeat=len(season.orders)):
        chosen = [o for o, is_taken in zip(season.orders, taken, strict=True) if is_taken]
        moves = [(o.at, 1, o.units) for o in chosen]
        moves += [(o.at + o.cancelled_after, 0, -o.units) for o in chosen if o.cancelled_after is not None]
        held = most = 0
        for at, _, units in sorted(moves):
            held += units if at < SEASON_SECONDS else 0
            most = max(most, held)
        if most <= season.stock:
            best = max(best, held)
    return best


class Static:
    """Numbers set once, before the hour."""

    name, violations, pools_till = "static", 0, False

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = list(numbers)

    def opening(self) -> list[int]:
        return self._numbers

    def start(self, world: World) -> None:
        """Nothing more is done."""

    def on_notice(self, fact: Fact) -> None:
        """Nothing is done."""

    def on_swept(self, channel: int, proven_to: float) -> None:
        """Nothing is done."""

    def before_sale(self, oversold_units: int) -> None:
        """Nothing was promised."""

    def after_event(self) -> None:
        """Nothing was promised."""


def test_the_bound_is_the_best_of_all_choices_and_no_policy_ever_exceeds_it() -> None:
    for season in tiny_seasons():
        most = bound.most(season)
        assert most == best_choice(season)
        for policy in oversell.POLICIES if season.stock == 2 else ("escrow",):
            assert play(policy, season).sold <= most, (policy, season)


def test_the_best_split_is_what_the_world_sells_of_the_best_static_numbers() -> None:
    for season in itertools.islice(tiny_seasons(), 0, None, 5):
        splits = [s for s in itertools.product(range(season.stock + 1), repeat=3) if sum(s) == season.stock]
        assert bound.best_split(season) == max(World(season, Static(s)).run().sold for s in splits)
        assert bound.best_split(season) <= bound.most(season)


def test_the_ceiling_of_a_single_unit_is_that_somebody_asks_where_it_lies() -> None:
    assert bound.ceiling(1, 1, (0.5, 0.3, 0.2), 0.0) == pytest.approx(0.5)
    assert bound.ceiling(1, 2, (0.5, 0.3, 0.2), 0.0) == pytest.approx(0.75)
    assert bound.ceiling(2, 1, (0.5, 0.3, 0.2), 0.0) == pytest.approx(0.8)
    assert bound.ceiling(2, 2, (1.0,), 1.0) == pytest.approx(2.0)


def test_escrow_stays_below_the_ceiling_on_the_average() -> None:
    sold = [result.sold for result in played("escrow", 5)]
    traffic = [channel.traffic for channel in POOLED_CHANNELS]
    low, _ = ratio_interval(sold, [5] * len(sold))
    assert low <= bound.ceiling(5, 8, traffic, 0.15) / 5


# --- figures


def test_intervals_say_something_where_nothing_happened() -> None:
    assert wilson(0, 10_000) == pytest.approx((0.0, 0.000384), abs=1e-6)
    assert wilson(0, 0) == (0.0, 0.0)
    low, high = ratio_interval([1, 2, 3, 4], [10, 10, 10, 10])
    assert low < 0.25 < high
    assert ratio_interval([1], [10]) == (0.0, 0.0)


def test_the_command_prints_a_row_for_every_policy_and_stock() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "oversell", "--seasons", "4", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (report,) = json.loads(done.stdout)
    hours = [(row["policy"], row["stock"]) for row in report["rows"] if row["kind"] == "hour"]
    assert hours == [(policy, stock) for stock in (5, 40, 200) for policy in oversell.POLICIES]
    assert {row["kind"] for row in report["rows"]} == {"hour", "large", "till"}
    for row in report["rows"]:
        assert row["sold"] > 0
        assert row["violations"] == 0
        assert row["oversold_units"] == 0 or row["policy"] != "escrow"
        assert row["of_bound"] <= 1
        if row["seasons"] > 1:
            assert row["sell_through_interval"][0] <= row["sell_through"] <= row["sell_through_interval"][1]


def test_a_broken_promise_makes_the_command_fail() -> None:
    report = oversell.run(1, stocks=(5,))
    assert report.failures() == []
    result = Outcomes(sold=5, oversold=0, large=0, large_refused=0, large_refused_in_stock=0, writes=1, violations=2)
    tally = Tally(5)
    tally.add(result, 5, 0.0)
    report.rows.append(oversell.row("hour", "escrow", tally, [5]))
    (words,) = report.failures()
    assert "escrow at stock 5 (hour): 2 times" in words


def test_policies_are_what_they_say() -> None:
    season = make_season(1, 40)
    assert [Ours(season, mode).name for mode in MODES] == list(MODES)
    assert sum(Ours(season, "escrow").opening()) == 40
    assert Ours(season, "pooled").opening() == [40, 40, 40]
    assert StatelessWorkflow(season).opening() == AbsolutePush(season).opening() == [40, 40, 40]
