"""Every interleaving for three units on two channels: exposure is never too low, nothing is oversold, nothing idles.

Each search runs to the end of all states that its budget allows; the events and what is judged are in
`tests/exposure_model.py` and `tests/exposure_search.py`. Sales, bookings, readings, writes, withdrawals and late
landings are without bound; cancellations, edits, losses and the like are as many as the budget of a search names.
Weakened one row at a time, each search has to fail: the shortest way there is what the row is for.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.inventory import exposure
from core.inventory.planner import Seat
from tests.exposure_model import Budget, Table
from tests.exposure_search import World

PAIRS = ("AA", "AB", "BB")
FAULTS = Budget(losses=1, parks=1, promises=1, shrinks=1)


@pytest.mark.parametrize("kinds", PAIRS)
@pytest.mark.parametrize(
    ("budget", "shown"),
    [
        pytest.param(FAULTS, (3, 0), id="losses"),
        pytest.param(Budget(cancels=1), (3, 0), id="cancellation"),
        pytest.param(Budget(edits=1), (3, 0), id="edit"),
        pytest.param(Budget(cancels=1, losses=1, parks=1), (2, 0), id="cancellation and losses, two units"),
    ],
)
def test_whatever_happens_exposure_covers_it_and_nothing_is_oversold(
    kinds: str, budget: Budget, shown: tuple[int, int]
) -> None:
    world = World(kinds, budget)
    finding = world.search([world.start(shown, sum(shown)), world.start(shown[::-1], sum(shown))])
    assert not finding.problem, finding
    assert finding.states > 10_000


@pytest.mark.parametrize("kinds", PAIRS)
def test_orders_of_before_the_baseline_take_stock_and_no_exposure(kinds: str) -> None:
    world = World(kinds, FAULTS)
    finding = world.search([world.start((2, 0), 3, sold_before=1)])
    assert not finding.problem, finding
    assert finding.states > 1_000


@pytest.mark.parametrize("kinds", PAIRS)
def test_channels_that_all_showed_the_pool_come_to_rest_with_each_unit_on_one_of_them(kinds: str) -> None:
    """Escrow begins where pooled ends: both may show everything, or more than there is."""
    for available in range(-1, 5):
        for first in range(5):
            for second in range(5):
                world = World(kinds, Budget())
                assert not world.fault_at_rest(world.start((first, second), available))


def at_least(exposed: int, shown_units: int) -> int:
    return max(exposed, shown_units)


def assigned(exposed: int, from_units: int | None, to_units: int) -> int:
    return to_units if from_units is not None and to_units < from_units else exposed


def given_back_when_recorded(from_units: int | None, to_units: int) -> int:
    return to_units if from_units is None else to_units - from_units


def counted_when_confirmed(from_units: int | None, to_units: int) -> int:
    return 0


def confirmed_late(exposed: int, from_units: int | None, to_units: int) -> int:
    return exposed + (to_units if from_units is None else to_units - from_units)


def sold_whenever(exposed: int, units: int, *, is_before_baseline: bool = False) -> int:
    return max(0, exposed - units)


def collapse_beside_a_write(*args: object, has_open_write: bool) -> bool:
    return exposure.may_collapse(*args, has_open_write=False)  # type: ignore[arg-type]


def as_if_it_could_compare(seat: Seat) -> Seat:
    """Class B is raised from whatever it shows."""
    return replace(seat, guarantee_class="A")


TABLE = Table()
CANCEL, EDIT, LOSS, PARK = Budget(cancels=1), Budget(edits=1), Budget(losses=1), Budget(parks=1)


@pytest.mark.parametrize(
    ("kinds", "budget", "table", "shown"),
    [
        pytest.param("AA", Budget(), replace(TABLE, confirmed=assigned), (3, 0), id="assign x on a confirmed lower"),
        pytest.param("AA", CANCEL, replace(TABLE, restocked=lambda exposed, _: exposed), (3, 0), id="no row for a restock"),
        pytest.param("BA", Budget(), replace(TABLE, seat=as_if_it_could_compare), (1, 1), id="absolute set not from a drained 0"),
        pytest.param("AB", PARK, replace(TABLE, watermark_waits_for_parked=False), (3, 0), id="watermark passes what is parked"),
        pytest.param("AA", EDIT, replace(TABLE, edited=at_least), (3, 0), id="a staff edit is at least its number"),
        pytest.param("AA", LOSS, replace(TABLE, an_unknown_outcome_is_a_refusal=True), (3, 0), id="unknown taken for refused"),
        pytest.param("AA", Budget(), replace(TABLE, recorded=given_back_when_recorded), (3, 0), id="a lowering counts at once"),
        pytest.param(
            "AA",
            Budget(),
            replace(TABLE, recorded=counted_when_confirmed, confirmed=confirmed_late),
            (3, 0),
            id="a raise counts when it is confirmed",
        ),
        pytest.param("AB", Budget(), replace(TABLE, may_collapse=collapse_beside_a_write), (3, 0), id="collapse beside a write"),
        pytest.param("AA", Budget(), replace(TABLE, readings_end_with_a_write=False), (3, 0), id="a reading outlives a write"),
        pytest.param("AA", CANCEL, replace(TABLE, restocks_outlive_a_reading=False), (3, 0), id="a reading forgets a restock"),
        pytest.param(
            "AB",
            CANCEL,
            replace(TABLE, a_raise_is_confirmed_by_its_number=True),
            (3, 0),
            id="an absolute raise is confirmed by its number",
        ),
    ],
)
def test_a_weaker_row_is_found_out(kinds: str, budget: Budget, table: Table, shown: tuple[int, int]) -> None:
    world = World(kinds, budget, table, is_only_for_danger=True)
    finding = world.search([world.start(shown, 3)])
    print(finding)
    assert finding.problem
    assert len(finding.trace) > 1


def test_a_sale_of_before_the_baseline_that_lowers_exposure_is_found_out() -> None:
    world = World("AA", Budget(), replace(TABLE, sold=sold_whenever), is_only_for_danger=True)
    finding = world.search([world.start((2, 0), 3, sold_before=1)])
    print(finding)
    assert "may still sell" in finding.problem
