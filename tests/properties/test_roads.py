"""Which road raises take, and what a report proves, for any work, any paces and any issues."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from core.bulk import BulkIssue, BulkReport
from core.inventory import feed_reports, roads
from core.inventory.feed_reports import FeedWrite
from core.inventory.roads import Ended, Paces, Work

counts = st.integers(0, 200_000)
ended = st.lists(st.builds(Ended, st.integers(1, 25_000), st.floats(0.1, 100_000)), max_size=8)
paces = st.builds(Paces, st.floats(0.001, 500), st.just(25_000), st.floats(0, 10_000), ended)


@given(counts, counts, paces)
def test_the_road_that_is_expected_to_be_done_earlier_is_taken(lowered: int, raises: int, known: Paces) -> None:
    choice = roads.choose(Work(lowered, raises), known)
    together = min(raises, known.feed_size_max)
    by_call = (lowered + together) / known.calls_per_second
    by_feed = known.feed_wait_seconds + roads.feed_seconds(together, known.ended)
    assert choice.road == ("feed" if raises >= roads.FEW and by_feed < by_call else "call")
    assert choice.because


@given(counts, counts, paces)
def test_one_at_a_time_and_not_again_at_once_after_a_failure(lowered: int, raises: int, known: Paces) -> None:
    work = Work(lowered, raises)
    assert roads.choose(replace(work, is_feed_open=True), known).road == "call"
    assert roads.choose(replace(work, has_failed=True), known).road == "call"


@given(counts, counts, st.integers(1, 100_000), paces)
def test_more_raises_never_turn_a_feed_into_calls(lowered: int, raises: int, more: int, known: Paces) -> None:
    if roads.choose(Work(lowered, raises), known).road == "feed":
        assert roads.choose(Work(lowered, raises + more), known).road == "feed"


@given(counts, paces, st.floats(1, 10_000))
def test_a_longer_wait_never_turns_calls_into_a_feed(raises: int, known: Paces, longer: float) -> None:
    later = replace(known, feed_wait_seconds=known.feed_wait_seconds + longer)
    if roads.choose(Work(0, raises), known).road == "call":
        assert roads.choose(Work(0, raises), later).road == "call"


def test_ten_thousand_go_in_a_feed_and_a_few_hundred_do_not() -> None:
    documented = Paces(5.0, 25_000)
    assert roads.choose(Work(0, 10_000), documented).road == "feed"
    assert roads.choose(Work(0, 500), documented).road == "call"
    assert roads.choose(Work(0, 500), replace(documented, ended=[Ended(600, 40.0)])).road == "feed"
    assert "10,000 raises take 33 minutes one by one" in roads.choose(Work(0, 10_000), documented).because


@given(st.lists(st.integers(0, 3600), max_size=20), st.integers(0, 3600))
def test_no_window_ever_holds_more_than_it_may(offsets: list[int], asked: int) -> None:
    base, window = datetime(2026, 1, 1, tzinfo=UTC), timedelta(minutes=5)
    submitted: list[datetime] = []
    for offset in sorted(offsets):
        now = max([base + timedelta(seconds=offset), *submitted])
        submitted.append(now + roads.window_wait(submitted, 5, window, now))
    for at in submitted:
        assert sum(at - window < other <= at for other in submitted) <= 5


# --- reports ---------------------------------------------------------------------------------------------------------

MESSAGES = 6
issues = st.lists(
    st.builds(
        BulkIssue,
        st.none() | st.integers(0, MESSAGES + 1),
        st.sampled_from(["error", "error", "note", "unclear"]),
        st.just("90220"),
        st.just("m"),
        st.none() | st.sampled_from([f"SKU-{n}" for n in range(MESSAGES + 1)]),
    ),
    max_size=6,
)
maybe_count = st.none() | st.integers(0, MESSAGES + 1)
reports = st.builds(lambda found, *n: BulkReport(tuple(found), *n), issues, maybe_count, maybe_count, maybe_count)
places = st.sets(st.integers(0, MESSAGES - 1))


def writes_at(found: set[int]) -> list[FeedWrite]:
    return [FeedWrite(100 + n, n, f"SKU-{n}") for n in sorted(found)]


@given(places, reports)
def test_only_an_error_of_its_own_in_a_report_of_ours_refuses_a_write(found: set[int], report: BulkReport) -> None:
    writes = writes_at(found)
    results = {result.write_id: result for result in feed_reports.results(writes, MESSAGES, report)}
    assert sorted(results) == [write.write_id for write in writes]
    for write in writes:
        result = results[write.write_id]
        assert result.outcome in ("accepted", "refused", "unknown")
        if result.outcome != "refused":
            continue
        mine = [i for i in report.issues if i.severity == "error" and i.position == write.position]
        whole = [i for i in report.issues if i.severity == "error" and i.position is None]
        assert mine or (whole and report.accepted == 0)
        assert all(i.listing_ref in (None, write.listing_ref) for i in mine)
        assert result.code == "90220"


@given(places, st.sets(st.integers(0, MESSAGES - 1)), st.sets(st.integers(0, MESSAGES - 1)))
def test_of_a_sound_report_each_write_gets_what_is_said_of_it(
    found: set[int], wrong: set[int], remarked: set[int]
) -> None:
    said = [BulkIssue(n, "error", "E", "wrong", f"SKU-{n}") for n in sorted(wrong)]
    said += [BulkIssue(n, "note", "W", "well") for n in sorted(remarked)]
    report = BulkReport(tuple(said), MESSAGES, MESSAGES - len(wrong), len(wrong))
    results = feed_reports.results(writes_at(found), MESSAGES, report)
    assert {result.write_id - 100 for result in results if result.outcome == "refused"} == found & wrong
    assert {result.write_id - 100 for result in results if result.outcome == "accepted"} == found - wrong


def test_trap_5_what_concerns_the_whole_file_leaves_all_of_it_in_doubt_unless_nothing_was_accepted() -> None:
    whole = BulkIssue(None, "error", "4000001", "the header must be an object")
    writes = writes_at({0, 1, 2})
    for accepted, outcome in ((3, "unknown"), (None, "unknown"), (0, "refused")):
        results = feed_reports.results(writes, 3, BulkReport((whole,), None, accepted))
        assert {result.outcome for result in results} == {outcome}


def test_trap_5_fatal_and_cancelled_are_not_alike() -> None:
    writes = writes_at({0, 1})
    assert {result.outcome for result in feed_reports.after_abort(writes)} == {"unknown"}
    assert {result.outcome for result in feed_reports.never_applied(writes, "FEED_CANCELLED", "x")} == {"refused"}
