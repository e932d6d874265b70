"""The time left of a backlog, held against drains whose end is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import assume, given
from hypothesis import strategies as st

from core.alerts.rates import Step, rates, seconds_left

STEP = 10
WINDOW = 30
MEMORY = timedelta(minutes=1)

paces = st.floats(5, 800)
"""Messages a second."""


def left(flow: Sequence[tuple[float, float]], waiting: float) -> float | None:
    """What is said after `flow`: (came, went) in steps of ten seconds, oldest first."""
    steps = [Step(STEP, came, went) for came, went in flow][-WINDOW:]
    return seconds_left(round(waiting), rates(steps, MEMORY))


def near(said: float | None, truth: float) -> bool:
    return said is not None and abs(said - truth) <= 0.2 * truth


@given(pace=paces, idle=st.integers(0, 60), part=st.floats(0, 1), worked=st.integers(3, 60), jitter=st.data())
def test_an_even_drain_is_right_from_half_a_minute_on_whatever_was_before(
    pace: float, idle: int, part: float, worked: int, jitter: st.DataObject
) -> None:
    # Batches: a step has up to a tenth more or less of its share. A step may have begun half-way; of one that
    # began with the work nobody can tell that it did.
    assume(worked > 3 or part or not idle)
    shares = jitter.draw(st.lists(st.floats(0.9, 1.1), min_size=worked, max_size=worked))
    begun = [(0.0, pace * STEP * part)] if idle and part else []
    flow = [(0.0, 0.0)] * idle + begun + [(0.0, pace * STEP * share) for share in shares]
    waiting = pace * 1000
    assert near(left(flow, waiting), waiting / pace)


@given(pace=paces, worked=st.integers(1, 2), idle=st.integers(3, 60))
def test_too_little_is_unknown(pace: float, worked: int, idle: int) -> None:
    flow = [(0.0, 0.0)] * idle + [(0.0, pace * STEP)] * worked
    assert left(flow, pace * 1000) is None
    assert left(flow[-2:], pace * 1000) is None


@given(pace=paces, change=st.floats(0.05, 20), steps=st.integers(0, 60))
def test_a_change_of_pace_is_followed_within_three_minutes_and_a_great_one_within_five(
    pace: float, change: float, steps: int
) -> None:
    enough = 18 if 0.5 <= change <= 2 else WINDOW
    after = pace * change
    flow = [(0.0, pace * STEP)] * 30 + [(0.0, after * STEP)] * steps
    said = left(flow, after * 1000)
    assert said is not None
    assert 1000 * min(1, change) * 0.99 <= said <= 1000 * max(1, change) * 1.01, "never beyond both paces"
    assert steps < enough or near(said, 1000)


@given(pace=st.floats(50, 800), fall=st.floats(0, 0.02), steps=st.integers(6, 60))
def test_while_a_drain_slows_down_little_by_little_its_rate_is_followed(pace: float, fall: float, steps: int) -> None:
    went = [pace * STEP * (1 - fall) ** step for step in range(steps)]
    found = rates([Step(STEP, 0, each) for each in went][-WINDOW:], MEMORY)
    assert found is not None
    assert abs(found.done / 60 * STEP - went[-1]) <= 0.2 * went[-1]


@given(
    pace=st.floats(50, 800),
    busy=st.floats(0, 0.5),
    period=st.sampled_from([1, 2, 3]),
    cycles=st.integers(6, 20),
)
def test_arrivals_in_bursts_are_a_mean(pace: float, busy: float, period: int, cycles: int) -> None:
    came = pace * STEP * busy * period
    flow = [(came if step % period == 0 else 0.0, pace * STEP) for step in range(cycles * period)]
    assert near(left(flow, pace * 1000), 1000 / (1 - busy))


@given(pace=paces, burst=st.floats(0, 1e6), since=st.integers(6, 60))
def test_a_burst_is_not_expected_again_a_minute_later(pace: float, burst: float, since: int) -> None:
    flow = [(0.0, pace * STEP)] * 10 + [(burst, pace * STEP)] + [(0.0, pace * STEP)] * since
    assert near(left(flow, burst + 1000), (burst + 1000) / pace)


@given(pace=paces, worked=st.integers(3, 60), still=st.integers(0, 60))
def test_while_nothing_is_done_no_end_is_promised_sooner_and_soon_none_at_all(
    pace: float, worked: int, still: int
) -> None:
    flow = [(0.0, pace * STEP)] * worked + [(0.0, 0.0)] * still
    said = left(flow, pace * 1000)
    if still >= 6:
        assert said is None
    else:
        assert said is not None
        # A batch may be under way, and has had its part.
        assert said >= (1000 - STEP) * 0.999


@given(came=paces, went=paces, steps=st.integers(3, 60))
def test_what_grows_has_no_end(came: float, went: float, steps: int) -> None:
    said = left([(came * STEP, went * STEP)] * steps, 1e6)
    assert (said is None) == (went - came <= went * 0.01) or abs(went - came - went * 0.01) < 1e-6 * went


@given(
    took=st.floats(1, 40),
    size=st.integers(1, 1000),
    batches=st.integers(8, 200),
    ahead=st.floats(10, 1000),
    phase=st.floats(0, 1),
)
def test_what_is_done_in_batches_longer_than_a_step_is_told_as_well_as_what_is_not(
    took: float, size: int, batches: int, ahead: float, phase: float
) -> None:
    # Looked at in the middle of a batch, of which nothing is to be seen yet. Before the first nothing was done.
    now = (batches + phase) * took
    ends = [(batch + 1) * took for batch in range(batches)]
    ago = [int((now - end) // STEP) for end in ends]
    flow = [(0.0, float(size * ago.count(step))) for step in range(59, -1, -1)]
    assume(now >= 120)
    waiting = size * max(round(ahead), 10)
    truth = waiting / size * took - phase * took
    said = left(flow, waiting)
    # Where little is left nobody can say it more finely than the steps are.
    assert said is not None
    assert near(said, truth) or abs(said - truth) <= 2 * STEP
