from __future__ import annotations

from dataclasses import replace

import pytest

from core.inventory.planner import (
    Group,
    Pace,
    Seat,
    is_scarce,
    plan_escrow,
    switch_line,
    unseen_units,
)

POOL = "beans"


def seat(number: int, shown: int | None, guarantee_class: str = "A", **terms: object) -> Seat:
    facts: dict[str, object] = {"exposed_units": shown or 0, "most_units": 1000, "rate": 10.0, **terms}
    return Seat(
        listing_id=number,
        guarantee_class=guarantee_class,
        takes=((POOL, 1),),
        shown_units=shown,
        **facts,  # type: ignore[arg-type]
    )


def planned(available: int, *seats: Seat, **group: bool) -> list[tuple[int, str]]:
    targets = plan_escrow(Group({POOL: available}, seats, **group))
    return [(targets[s.listing_id].units, targets[s.listing_id].reason) for s in seats]


def units(available: int, *seats: Seat, **group: bool) -> list[int]:
    return [number for number, _ in planned(available, *seats, **group)]


def test_units_are_split_by_rate_and_class_b_gets_less_than_its_share() -> None:
    fast, slower, slow = seat(1, 0, rate=50.0), seat(2, 0, rate=30.0), seat(3, 0, "B", rate=20.0)
    assert units(200, fast, slower, slow) == [108, 64, 28]


def test_class_b_alone_gets_all_that_there_is() -> None:
    assert units(200, seat(1, 0, "B", rate=20.0)) == [200]


def test_class_b_is_not_fed_when_the_pool_will_not_last() -> None:
    slow = seat(2, 0, "B", rate=20.0)
    assert units(10, seat(1, 10, rate=80.0), slow) == [10, 0]


@pytest.mark.parametrize(("available", "expected"), [(1, [1, 0]), (2, [1, 1]), (3, [2, 1]), (4, [2, 2]), (5, [3, 2])])
def test_every_comparing_channel_has_its_first_units_before_the_busiest_has_more(
    available: int, expected: list[int]
) -> None:
    assert units(available, seat(1, 0, rate=90.0), seat(2, 0, rate=10.0)) == expected


def test_a_channel_that_runs_dry_takes_from_the_richest_and_what_it_takes_has_to_be_confirmed_first() -> None:
    dry, rich = seat(1, 0), seat(2, 9)
    assert planned(9, dry, rich) == [(0, "kept"), (4, "gives")]
    assert planned(9, dry, replace(rich, shown_units=4, exposed_units=4))[0] == (5, "raised")


def test_class_b_is_drained_where_all_others_are_dry_and_it_would_sell_too_slowly() -> None:
    dry = seat(1, 0, rate=60.0)
    assert planned(5, dry, seat(2, 5, "B", rate=5.0))[1] == (0, "gives")
    assert planned(5, dry, seat(2, 5, "B", rate=500.0))[1] == (5, "kept")


def test_what_was_drained_goes_to_the_channel_that_sells_it_now() -> None:
    assert units(5, seat(1, 0, rate=60.0), seat(2, 0, "B", rate=5.0)) == [5, 0]


def test_a_deep_pool_is_shown_whole_on_every_comparing_channel_less_what_class_b_and_the_others_may_sell_unseen() -> (
    None
):
    first, second = seat(1, 100, unseen_units=4), seat(2, 60, unseen_units=3)
    slow = seat(3, 20, "B")
    assert planned(200, first, second, slow, is_deep=True) == [(177, "shared"), (176, "shared"), (20, "kept")]


def test_a_deep_pool_raises_class_b_to_its_share_only_and_keeps_to_the_rules() -> None:
    first, slow = seat(1, 100, most_units=50), seat(2, 0, "B")
    found = units(100, first, slow, is_deep=True)
    assert found[0] == 50
    assert 0 < found[1] <= 50


def test_class_b_that_showed_the_pool_when_it_was_connected_is_drained_and_nobody_goes_dark_for_it() -> None:
    fast, slow = seat(1, 100), seat(2, 100, "B")
    assert planned(100, fast, slow, is_deep=True) == [(100, "shared"), (0, "draining")]
    # While its 0 is on its way, and until the watermark has passed the reading.
    on_its_way = replace(slow, is_writable=False, giving_back_units=100)
    assert planned(100, fast, on_its_way, is_deep=True) == [(100, "shared"), (100, "kept")]
    assert planned(100, fast, replace(slow, shown_units=0), is_deep=True)[0] == (100, "shared")
    # Drained, it gets its share, and keeps that.
    drained = replace(slow, shown_units=0, exposed_units=0)
    kept, share = units(100, fast, drained, is_deep=True)
    assert kept + share == 100
    assert 0 < share < 50
    assert planned(100, fast, seat(2, share, "B"), is_deep=True) == [(kept, "shared"), (share, "kept")]
    # Nobody can be told to give up; and where nobody else sells, it may hold all.
    assert planned(100, fast, replace(slow, is_held=True), is_deep=True) == [(0, "shared"), (100, "kept")]
    assert planned(100, slow, is_deep=True) == [(100, "kept")]


def test_class_b_that_sells_nearly_all_may_hold_it() -> None:
    fast, slow = seat(1, 100, rate=1.0), seat(2, 80, "B", rate=30.0)
    assert planned(100, fast, slow, is_deep=True) == [(20, "shared"), (80, "kept")]


def test_where_a_channel_cannot_be_told_to_give_up_the_others_do() -> None:
    away, here = seat(1, 90, is_writable=False), seat(2, 90)
    assert units(100, away, here) == [90, 10]
    assert units(100, replace(away, giving_back_units=60), here) == [90, 70]


def test_class_b_is_not_drained_for_what_comparing_channels_can_give_up() -> None:
    assert units(100, seat(1, 80), seat(2, 80), seat(3, 20, "B"))[2] == 20
    assert units(100, seat(1, 80, is_writable=False), seat(2, 80), seat(3, 20, "B"))[2] == 20
    assert units(15, seat(1, 80), seat(2, 80), seat(3, 20, "B")) == [0, 0, 0]


def test_a_pool_from_another_mode_waits_for_class_b_in_the_light() -> None:
    slow = seat(2, 100, "B")
    assert units(100, seat(1, 100), slow) == [0, 100]
    assert units(100, seat(1, 100), slow, is_lenient=True) == [100, 0]


def test_a_held_channel_keeps_what_it_may_sell_and_nobody_waits_for_it() -> None:
    held, here = seat(1, 90, is_held=True), seat(2, 90)
    assert units(100, held, here) == [90, 10]
    # Nobody else gets its units, and it gets none of theirs.
    assert units(100, seat(1, 40, is_held=True), seat(2, 0)) == [40, 60]
    assert units(100, seat(1, 0, is_held=True), seat(2, 0), seat(3, 0)) == [0, 50, 50]
    assert units(100, seat(1, 0, is_held=True, most_units=1000), seat(2, 0, "B")) == [0, 100]


def test_a_held_channel_is_not_lowered_by_its_rule_or_by_a_write_in_doubt() -> None:
    assert units(10, seat(1, 8, is_held=True, most_units=3), seat(2, 6)) == [8, 2]
    assert units(10, seat(1, 8, is_held=True, most_units=0), seat(2, 6)) == [8, 2]
    assert units(10, seat(1, 8, is_held=True, is_writable=False, giving_back_units=7), seat(2, 6)) == [8, 2]


def test_a_held_class_b_channel_is_not_drained_and_what_it_holds_is_not_thought_to_come() -> None:
    slow = seat(2, 100, "B", is_held=True)
    assert units(100, seat(1, 100), slow, is_lenient=True) == [0, 100]
    assert units(5, seat(1, 0, rate=60.0), seat(2, 5, "B", rate=5.0, is_held=True)) == [0, 5]


def test_class_b_gives_way_where_a_held_comparing_channel_cannot() -> None:
    assert units(100, seat(1, 90, is_held=True), seat(2, 40, "B")) == [90, 0]


def test_the_line_is_what_is_sold_unseen_in_a_busy_minute() -> None:
    paces = [Pace(160.0, 90.0), Pace(90.0, 90.0)]
    assert switch_line(None, paces) == 25
    assert switch_line(7, paces) == 7
    assert switch_line(None, []) == 3
    assert unseen_units(Pace(160.0, 90.0)) == 17
    assert unseen_units(Pace(0.0, 90.0)) == 1


def test_scarce_ends_well_above_the_line() -> None:
    assert is_scarce(25, 25, was_scarce=False)
    assert not is_scarce(26, 25, was_scarce=False)
    assert is_scarce(37, 25, was_scarce=True)
    assert not is_scarce(38, 25, was_scarce=True)
