"""Every interleaving for three units on two channels: exposure is never too low, nothing is oversold, nothing idles.

Each search runs to the end of all states that its budget allows; the events and what is judged are in
`tests/exposure_model.py` and `tests/exposure_search.py`. Sales, bookings, readings, writes, withdrawals and late
landings are without bound; cancellations, edits, losses and the like are as many as the budget of a search names.
Weakened one row at a time, each search has to fail: the shortest way there is what the row is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from core.inventory import exposure
from core.inventory.exposure import Overtaken
from core.inventory.planner import Seat
from tests.exposure_alone import Alone
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
        pytest.param(Budget(edits=1), (2, 0), id="edit, two units and the one typed"),
        pytest.param(Budget(cancels=1, losses=1), (2, 0), id="cancellation and losses, two units"),
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


def landed_if_it_shows_something(read_units: int, restocked_units: int, **rest: object) -> bool:
    return read_units > 0


def landed_whoever_typed(
    read_units: int, restocked_units: int, *, is_edited: bool = False, overtaken: Sequence[Overtaken] = ()
) -> bool:
    return exposure.has_landed(read_units, restocked_units, overtaken=overtaken)


ROWS = Table()
CANCEL, EDIT, LOSS, PARK = Budget(cancels=1), Budget(edits=1), Budget(losses=1), Budget(parks=1)

WEAKER: dict[str, tuple[str, tuple[int, int], Budget, Table]] = {
    "assign x on a confirmed lower": ("AA", (3, 0), Budget(), replace(ROWS, confirmed=assigned)),
    "no row for a restock": ("AA", (3, 0), CANCEL, replace(ROWS, restocked=lambda exposed, _: exposed)),
    "absolute set not from a drained 0": ("BA", (1, 1), Budget(), replace(ROWS, seat=as_if_it_could_compare)),
    "watermark passes what is parked": ("AB", (3, 0), PARK, replace(ROWS, watermark_waits_for_parked=False)),
    "a staff edit is at least its number": ("AA", (3, 0), EDIT, replace(ROWS, edited=at_least)),
    "an unknown outcome is taken for refused": (
        "AA",
        (3, 0),
        LOSS,
        replace(ROWS, an_unknown_outcome_is_a_refusal=True),
    ),
    "a lowering counts when it is recorded": ("AA", (3, 0), Budget(), replace(ROWS, recorded=given_back_when_recorded)),
    "a raise counts when it is confirmed": (
        "AA",
        (3, 0),
        Budget(),
        replace(ROWS, recorded=counted_when_confirmed, confirmed=confirmed_late),
    ),
    "collapse beside an open write": ("AB", (3, 0), Budget(), replace(ROWS, may_collapse=collapse_beside_a_write)),
    "a reading outlives a write": ("AA", (3, 0), Budget(), replace(ROWS, readings_end_with_a_write=False)),
    "a reading forgets a later restock": ("AA", (3, 0), CANCEL, replace(ROWS, restocks_outlive_a_reading=False)),
    "a raise has landed if anything shows": (
        "AB",
        (3, 0),
        CANCEL,
        replace(ROWS, has_landed=landed_if_it_shows_something),
    ),
    "a raise has landed whoever typed": ("AB", (3, 0), EDIT, replace(ROWS, has_landed=landed_whoever_typed)),
    "a write that was not sent explains a number": ("AB", (3, 0), EDIT, replace(ROWS, what_was_not_sent_explains=True)),
}


@pytest.mark.parametrize("row", WEAKER)
def test_a_weaker_row_is_found_out(row: str) -> None:
    kinds, shown, budget, table = WEAKER[row]
    world = World(kinds, budget, table, judged="danger")
    finding = world.search([world.start(shown, 3)])
    print(finding)
    assert finding.problem
    assert len(finding.trace) > 1


OVERSELLING = [row for row, (_, _, budget, _) in WEAKER.items() if not budget.edits]


@pytest.mark.parametrize("row", OVERSELLING)
def test_a_weaker_row_really_oversells(row: str) -> None:
    """With our own planner, nobody typing anything: the shortest way to a unit sold that is not there."""
    kinds, shown, budget, table = WEAKER[row]
    world = World(kinds, budget, table, judged="oversell")
    finding = world.search([world.start(shown, 3)])
    print(finding)
    assert finding.problem.startswith("oversold")


def test_a_sale_of_before_the_baseline_that_lowers_exposure_is_found_out() -> None:
    world = World("AA", Budget(), replace(ROWS, sold=sold_whenever), judged="danger")
    finding = world.search([world.start((2, 0), 3, sold_before=1)])
    print(finding)
    assert "may still sell" in finding.problem


# --- a write that is overtaken ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "shown", "numbers"),
    [
        pytest.param(Budget(writes=2, losses=1), 2, (0, 1, 2), id="losses"),
        pytest.param(Budget(writes=2, edits=1), 1, (0, 1), id="edit"),
        pytest.param(Budget(writes=3, cancels=1), 1, (0, 1), id="cancellation"),
        pytest.param(Budget(writes=3), 1, (0, 2), id="three writes"),
    ],
)
def test_an_overtaken_write_is_covered_until_a_later_one_of_its_road_has_landed(
    budget: Budget, shown: int, numbers: tuple[int, ...]
) -> None:
    """Whatever is written, as where a pool is shown to every channel."""
    finding = Alone(budget, numbers).search(shown)
    assert not finding.problem, finding
    assert finding.states > 5_000


def landed_whatever_was_overtaken(
    read_units: int, restocked_units: int, *, is_edited: bool = False, overtaken: Sequence[Overtaken] = ()
) -> bool:
    return not is_edited and (bool(overtaken) or exposure.has_landed(read_units, restocked_units))


def landed_by_its_number(
    read_units: int, restocked_units: int, *, is_edited: bool = False, overtaken: Sequence[Overtaken] = ()
) -> bool:
    """Nothing was sold of what was overtaken."""
    still = [replace(write, sold_units=0) for write in overtaken]
    return exposure.has_landed(read_units, restocked_units, is_edited=is_edited, overtaken=still)


def landed_if_no_zero_is_late(
    read_units: int, restocked_units: int, *, is_edited: bool = False, overtaken: Sequence[Overtaken] = ()
) -> bool:
    still = [replace(write, is_after_zero=False) for write in overtaken]
    return exposure.has_landed(read_units, restocked_units, is_edited=is_edited, overtaken=still)


def overtake_what_was_not_answered_for(*, is_accepted: bool, **rest: bool) -> bool:
    return exposure.may_be_overtaken(is_accepted=True, **rest)


TWO, TWO_LOST = Budget(writes=2), Budget(writes=2, losses=1)

ALL = (0, 1, 2)

WEAKER_ALONE: dict[str, tuple[Budget, int, tuple[int, ...], Table]] = {
    "the doubt of an overtaken write ends as any": (TWO, 2, ALL, replace(ROWS, an_overtaken_write_is_forgotten=True)),
    "a 0 that overtakes is believed at once": (TWO, 2, ALL, replace(ROWS, a_zero_is_believed_at_once=True)),
    "a refused one ends it": (TWO_LOST, 2, ALL, replace(ROWS, a_refused_write_ends_what_it_overtook=True)),
    "any number read proves the later one": (TWO, 2, ALL, replace(ROWS, has_landed=landed_whatever_was_overtaken)),
    "what was overtaken has sold nothing": (TWO, 2, ALL, replace(ROWS, has_landed=landed_by_its_number)),
    "a 0 believed before is in force": (
        Budget(writes=3, cancels=1),
        1,
        (0, 1),
        replace(ROWS, has_landed=landed_if_no_zero_is_late),
    ),
    "what was not accepted is overtaken": (
        TWO_LOST,
        2,
        ALL,
        replace(ROWS, may_be_overtaken=overtake_what_was_not_answered_for),
    ),
}


@pytest.mark.parametrize("row", WEAKER_ALONE)
def test_a_weaker_row_about_overtaking_is_found_out(row: str) -> None:
    budget, shown, numbers, table = WEAKER_ALONE[row]
    finding = Alone(budget, numbers, table).search(shown)
    print(finding)
    assert "may still sell" in finding.problem
