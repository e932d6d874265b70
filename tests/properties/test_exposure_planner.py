"""What holds of every plan for pools in escrow, bundles and all, and of where planning, confirming, planning leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from core.inventory import exposure
from core.inventory.planner import REASONS, Group, Pool, Seat, Target, plan_escrow

POOLS = ("beans", "cups", "filters")
ROUNDS_MAX = 80
"""Within so many rounds of writes that are all confirmed, nothing is left to write."""


@st.composite
def seats(draw: st.DrawFn, number: int) -> Seat:
    """A listing as it may be met: numbers unknown, writes open, more exposed than shown, edits not explained."""
    exposed = draw(st.integers(0, 12))
    shown = draw(st.none() | st.integers(-1, exposed))
    is_open = draw(st.booleans())
    return Seat(
        listing_id=number,
        guarantee_class=draw(st.sampled_from("AAB")),
        takes=draw(takings()),
        shown_units=shown,
        exposed_units=exposed,
        most_units=draw(st.integers(0, 12)),
        rate=draw(st.sampled_from((0.01, 0.3, 1.0, 40.0))),
        priority=draw(st.integers(0, 2)),
        giving_back_units=draw(st.integers(0, max(0, shown or 0))) if is_open else 0,
        edited_units=draw(st.integers(0, exposed)),
        is_watched=draw(st.booleans()),
        is_writable=not is_open,
        is_held=draw(st.integers(0, 5)) == 0,
    )


@st.composite
def takings(draw: st.DrawFn) -> tuple[tuple[Pool, int], ...]:
    """One pool, or a bundle: several, of some more than one each."""
    pools = draw(st.lists(st.sampled_from(POOLS), min_size=1, max_size=3, unique=True))
    return tuple((pool, draw(st.integers(1, 3))) for pool in pools)


@st.composite
def groups(draw: st.DrawFn) -> Group:
    members = [draw(seats(number)) for number in range(draw(st.integers(1, 5)))]
    available = {pool: draw(st.integers(-4, 30)) for pool in POOLS}
    return Group(available, members, is_lenient=draw(st.booleans()))


def exposed_of(pool: Pool, members: Sequence[Seat]) -> int:
    return sum(each * seat.exposed_units for seat in members for name, each in seat.takes if name == pool)


def raised(seat: Seat, targets: Mapping[int, Target]) -> int:
    """By how much a listing is to show more than it does."""
    return max(0, targets[seat.listing_id].units - max(0, seat.shown_units or 0))


@given(groups())
def test_raises_and_all_that_is_exposed_are_never_more_than_there_is(group: Group) -> None:
    targets = plan_escrow(group)
    for seat in group.seats:
        if raised(seat, targets):
            for pool, _ in seat.takes:
                asked = sum(e * raised(s, targets) for s in group.seats for name, e in s.takes if name == pool)
                assert exposed_of(pool, group.seats) + asked <= group.available[pool]


@given(groups())
def test_every_listing_has_a_target_that_can_be_asked_of_its_channel(group: Group) -> None:
    targets = plan_escrow(group)
    assert targets.keys() == {seat.listing_id for seat in group.seats}
    for seat in group.seats:
        target = targets[seat.listing_id]
        assert target.units >= 0
        assert target.reason in REASONS
        if raised(seat, targets):
            assert target.units <= seat.most_units
            assert seat.is_writable
            assert not seat.is_held
            assert seat.shown_units is not None


@given(groups())
def test_class_b_is_raised_from_a_drained_zero_where_its_orders_are_read_and_lowered_to_zero_only(group: Group) -> None:
    targets = plan_escrow(group)
    for seat in group.seats:
        if seat.guarantee_class != "B":
            continue
        units = targets[seat.listing_id].units
        if raised(seat, targets):
            assert (seat.exposed_units, seat.shown_units) == (0, 0)
            assert seat.is_watched
        elif units < (seat.shown_units or 0):
            assert units == 0


def may_still_sell(seat: Seat, targets: Mapping[int, Target]) -> int:
    """What a listing is exposed with once everything asked for is confirmed; of a held one nothing can be asked."""
    if seat.guarantee_class != "A" or seat.is_held:
        return seat.exposed_units
    return max(
        0, seat.exposed_units - max((seat.shown_units or 0) - targets[seat.listing_id].units, seat.giving_back_units)
    )


@given(groups())
def test_others_give_up_all_they_can_for_what_a_held_channel_may_sell(group: Group) -> None:
    members = [replace(seat, edited_units=0) for seat in group.seats]
    group = replace(group, seats=members, is_lenient=False)
    targets = plan_escrow(group)
    for pool in POOLS:
        takers = [(seat, each) for seat in group.seats for name, each in seat.takes if name == pool]
        if sum(each * may_still_sell(seat, targets) for seat, each in takers) > group.available[pool]:
            for seat, _ in takers:
                if seat.guarantee_class == "A" and seat.is_writable and not seat.is_held:
                    assert targets[seat.listing_id].units == 0


@given(groups())
def test_the_same_group_is_planned_the_same(group: Group) -> None:
    assert plan_escrow(group) == plan_escrow(group)


# --- where it leads: everything that is asked for is confirmed, nothing is sold


def settled(seat: Seat) -> Seat:
    """Open writes confirmed, everything booked, the watermark past a reading."""
    shown = max(0, (seat.shown_units or 0) - seat.giving_back_units)
    return replace(
        seat,
        shown_units=shown,
        exposed_units=shown,
        edited_units=0,
        giving_back_units=0,
        is_writable=True,
        is_held=False,
    )


def confirmed(seat: Seat, target: Target) -> Seat:
    """After the write asked for, by the table; for an absolute one until its doubt has ended."""
    shown = seat.shown_units or 0
    if seat.guarantee_class == "B":
        exposed = exposure.collapsed(target.units, 0)
    else:
        exposed = exposure.confirmed(seat.exposed_units + exposure.recorded(shown, target.units), shown, target.units)
    return replace(seat, shown_units=target.units, exposed_units=exposed)


def round_of(group: Group) -> Group:
    """Plan, and confirm one listing's write after the other, each planned anew as it is recorded."""
    for place in range(len(group.seats)):
        seat = group.seats[place]
        target = plan_escrow(group)[seat.listing_id]
        if target.units != seat.shown_units:
            members = [*group.seats]
            members[place] = confirmed(seat, target)
            group = replace(group, seats=members)
    return group


def at_rest(group: Group) -> Group:
    """The group once nothing is left to write; fails where there is no end to it."""
    group = replace(group, seats=[settled(seat) for seat in group.seats])
    for _ in range(ROUNDS_MAX):
        after = round_of(group)
        if after == group:
            return group
        group = after
    raise AssertionError(f"no end of writes: {[(s.listing_id, s.shown_units) for s in group.seats]}")


@given(groups())
def test_planning_and_confirming_comes_to_rest_with_nothing_oversold(group: Group) -> None:
    rest = at_rest(group)
    for pool, units in rest.available.items():
        # What cannot be undone by us, a pool with less than nothing, is shown by nobody.
        assert exposed_of(pool, rest.seats) <= max(0, units)


@given(groups())
def test_at_rest_no_unit_is_idle_that_a_comparing_channel_could_show(group: Group) -> None:
    rest = at_rest(group)
    for seat in rest.seats:
        if seat.guarantee_class != "A" or (seat.shown_units or 0) >= seat.most_units:
            continue
        free = min((rest.available[pool] - exposed_of(pool, rest.seats)) // each for pool, each in seat.takes)
        assert free <= 0, f"listing {seat.listing_id} could show {free} more"


def shows(number: int, units: int, *takes: tuple[Pool, int], most: int = 9, kind: str = "A", rate: float = 1.0) -> Seat:
    """A quiet listing: what it shows is all that is exposed."""
    return Seat(number, kind, takes, units, units, most, rate=rate)


def test_a_bundle_that_takes_two_is_not_asked_to_wait_for_ever_by_units_that_come_one_by_one() -> None:
    bundle = shows(0, 0, ("beans", 1), ("cups", 2), most=1)
    single = shows(1, 2, ("beans", 1), ("cups", 1))
    rest = at_rest(Group({"beans": 3, "cups": 3}, [bundle, single]))
    assert [seat.shown_units for seat in rest.seats] == [1, 1]


def test_a_bundle_that_cannot_be_made_whole_asks_for_nothing() -> None:
    bundle = shows(0, 0, ("beans", 1), ("cups", 2), most=1)
    single = shows(1, 1, ("cups", 1))
    rest = at_rest(Group({"beans": 0, "cups": 1}, [bundle, single]))
    assert [seat.shown_units for seat in rest.seats] == [0, 1]


def test_in_a_pool_that_became_scarce_class_b_keeps_the_share_it_was_raised_to() -> None:
    rest = at_rest(Group({"beans": 4}, [shows(0, 0, ("beans", 1), kind="B")], is_lenient=True))
    assert [seat.shown_units for seat in rest.seats] == [4]
