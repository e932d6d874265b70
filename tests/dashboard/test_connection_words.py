"""What is known of a connection, in words; and the figure of its quota from rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboard import call_words, connection_charts, connection_words
from dashboard.connection_queries import WINDOWS, Quota
from dashboard.theme import DARK, LIGHT

NOW = datetime(2026, 11, 26, 14, 30, tzinfo=UTC)
ZONE = "Europe/London"


def standing(**more: Any) -> dict[str, Any]:
    return {
        "switch": "active",
        "write_mode": "live",
        "is_stopped_for_shop": False,
        "is_stopped_for_connection": False,
        "stopped_by": None,
        "stop_reason": None,
        "stopped_at": None,
        "paused_by": None,
        "pause_reason": None,
        "paused_at": None,
        **more,
    }


STOP = {"stopped_by": "ada", "stop_reason": "wrong numbers.", "stopped_at": NOW - timedelta(minutes=17)}


@pytest.mark.parametrize(
    ("row", "state", "words"),
    [
        (standing(), "live", "What differs is written to it."),
        (
            standing(is_stopped_for_shop=True, switch="paused", write_mode="shadow", **STOP),
            "stopped",
            "Nothing is written to any channel: stopped since 14:13 by ada: wrong numbers.",
        ),
        (
            standing(is_stopped_for_connection=True, **STOP),
            "stopped",
            "Nothing is written to it: stopped since 14:13 by ada: wrong numbers.",
        ),
        (
            standing(switch="paused", paused_by="bob", pause_reason="it moves", paused_at=NOW - timedelta(days=1)),
            "paused",
            "Paused since 25 Nov 14:30 by bob: it moves. It is not asked for orders",
        ),
        (standing(switch="paused"), "paused", "Paused by a person. It is not asked for orders"),
        (standing(write_mode="shadow"), "shadow", "nothing is written to it until it goes live."),
    ],
)
def test_what_stops_writes_most_stands_first_with_who_and_why(row: dict[str, Any], state: str, words: str) -> None:
    assert connection_words.writing(row) == state
    assert words in connection_words.writing_because(row, NOW, ZONE)


@pytest.mark.parametrize(
    ("states", "held", "answer", "rest"),
    [
        ([], [], "No channel is connected yet.", "Connect one"),
        (["in_step"], ["live"], "The connection is in step.", "What differs is written to it."),
        (["in_step", "in_step"], ["live", "live"], "Both connections are in step.", "What differs is written to each."),
        (["behind", "unknown"], ["live", "shadow"], "Neither connection is in step.",
         "Not written to: one in shadow mode."),
        (["in_step", "behind", "paused"], ["live", "stopped", "paused"], "One of three connections is in step.",
         "Not written to: one stopped and one paused."),
        (["in_step"] * 3, ["stopped"] * 3, "All three connections are in step.", "All writes are stopped."),
    ],
)  # fmt: skip
def test_the_answer_counts_who_is_in_step_and_who_is_written_to(
    states: list[str], held: list[str], answer: str, rest: str
) -> None:
    kinds = {
        "live": standing(),
        "shadow": standing(write_mode="shadow"),
        "paused": standing(switch="paused"),
        "stopped": standing(is_stopped_for_shop=True, **STOP),
    }
    switches = {place: kinds[kind] for place, kind in enumerate(held)}
    first, second = connection_words.headline([{"state": state} for state in states], switches)
    assert first == answer
    assert second.startswith(rest)


def health(state: str, **more: Any) -> dict[str, Any]:
    return {
        "state": state, "last_heard_at": NOW - timedelta(seconds=20), "last_answer_at": NOW - timedelta(seconds=20),
        "last_error_at": None, "lag_seconds": 0.0, "lag_allowed_seconds": 120.0, "silence_allowed_seconds": 1800.0,
        "received": 0, "listings_to_push": 0, "open_writes": 0, "parked": 0, "listings_refused": 0,
        "doubtful_writes": 0, "write_mode": "live", "untold_topics": 0, "fell_forward": False, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (health("in_step"), "It shows what it should, and was heard 20 s ago."),
        (
            health("behind", lag_seconds=1140.0, received=41, listings_to_push=1),
            "It is 19 min behind, where 2 min are usual. Waiting: 41 messages to handle and 1 listing to push.",
        ),
        (
            health("attention", untold_topics=2, fell_forward=True),
            "It works, but it answers with another version than we speak and it does not call us for 2 topics.",
        ),
        (health("unknown", last_heard_at=None), "Nothing has ever come from it"),
        (health("unknown", last_heard_at=NOW - timedelta(minutes=47)), "It has been silent for 47 min; after 30 min"),
        (
            health("attention", parked=3, listings_refused=1, doubtful_writes=2, last_error_at=NOW),
            "It works, but its last call failed, 3 messages are parked, 1 quantity is refused and 2 writes are in",
        ),
    ],
)
def test_a_state_is_told_with_its_reason(row: dict[str, Any], words: str) -> None:
    assert connection_words.standing(row, NOW, ZONE).startswith(words)


@pytest.mark.parametrize(
    ("row", "state", "words"),
    [
        (None, "unknown", "No answer has named a version"),
        (("2026-10", "2026-10", False, NOW + timedelta(days=300)), "ok", "supported until 22 Sep 2027: 10 months yet."),
        (("2026-10", "2026-10", False, NOW + timedelta(days=12)), "attention", "until 8 Dec 2026: 12 days yet."),
        (("2025-07", "2025-07", False, NOW - timedelta(days=1)), "attention", "whose support ended on 25 Nov 2026"),
        (("2025-07", "2026-01", True, NOW), "attention", "Asked for 2025-07, it answers with 2026-01"),
        (("2021-08-01", "2021-08-01", False, None), "ok", "until when is not said."),
    ],
)  # fmt: skip
def test_a_version_says_how_long_it_is_answered_yet(row: Any, state: str, words: str) -> None:
    names = ("asked_version", "answered_version", "fell_forward", "supported_until")
    found = connection_words.version(None if row is None else dict(zip(names, row, strict=True)), "x", NOW, ZONE)
    assert found[0] == state
    assert words in found[1]


def test_what_is_left_of_a_quota_is_short_enough_for_a_figure() -> None:
    assert call_words.quota_parts("1990 of 2000") == ("1,990", "of 2,000 points")
    assert call_words.quota_parts("5/s") == ("5/s", "calls at most")
    assert call_words.quota_parts("0.0056/s") == ("1 in 2 min", "calls at most")
    assert call_words.quota_parts(None) == ("–", "")


@pytest.mark.parametrize(
    ("error", "is_over", "words"),
    [
        ({"outcome": "refused", "status": 401, "error": "x"}, False, "switchyard connect"),
        ({"outcome": "refused", "status": 200, "error": "ACCESS_DENIED no"}, False, "A right is missing"),
        ({"outcome": "refused", "status": 422, "error": "x"}, False, "It says no again"),
        ({"outcome": "unknown", "status": None, "error": "ReadTimeout"}, False, "read back before it is believed"),
        ({"outcome": "throttled", "status": 200, "error": None}, False, "Nothing to do"),
        ({"outcome": "refused", "status": 401, "error": "x"}, True, "Nothing: the same has succeeded since."),
    ],
)
def test_every_error_has_a_next_step(error: dict[str, Any], is_over: bool, words: str) -> None:
    assert words in connection_words.next_step(error, is_over)


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        (["ok", "ok"], ("ok", "All is well")),
        (["ok", "warning"], ("attention", "One to note")),
        (["problem", "warning", "problem"], ("danger", "Two not right")),
    ],
)
def test_the_worst_of_what_a_test_found_is_its_verdict(states: list[str], shown: tuple[str, str]) -> None:
    assert connection_words.verdict([{"state": state} for state in states]) == shown


# --- the figure -------------------------------------------------------------------------------------------------------


def used(*purposes: str, unit: str = "points") -> Quota:
    begins = NOW - timedelta(hours=6)
    rows = [
        {"bucket_at": begins + timedelta(minutes=15 * step), "purpose": name, "calls": 2, "throttled": step == 3,
         "points": 10.0 * (place + 1), "unit": unit}
        for place, name in enumerate(purposes)
        for step in range(4)
    ]  # fmt: skip
    return Quota(begins, NOW, rows)


def test_a_bar_for_each_purpose_dearest_first_and_the_rest_as_one() -> None:
    found = used("connection.test", "dashboard", "a", "b", "inbox.drain", "connection.poll", "stock.push")
    figure = connection_charts.quota(found, WINDOWS["6 h"], LIGHT, ZONE)
    assert [bar.name for bar in figure.data] == [
        "Writing quantities", "Asking for orders", "Handling messages", "b", "a", "Others",
    ]  # fmt: skip
    assert [bar.marker.color for bar in figure.data] == [*LIGHT.series, LIGHT.bar]
    assert list(figure.data[0].y) == [70.0] * 4
    assert list(figure.data[-1].y) == [30.0] * 4
    assert figure.layout.yaxis.title.text == "points per 15 min"
    assert figure.data[0].x[0].hour == 8
    assert "Writing quantities 280" in connection_charts.quota_says(found)


def test_a_quota_in_calls_says_calls() -> None:
    found = used("stock.push", unit="requests")
    figure = connection_charts.quota(found, WINDOWS["6 h"], DARK, ZONE)
    assert figure.layout.yaxis.title.text == "requests per 15 min"
    assert connection_words.used(found.by_purpose(), "6 h") == (
        "8 calls in the last 6 hours. One came too early and was told to wait."
    )


def test_calls_of_which_no_cost_is_known_are_drawn_as_calls() -> None:
    found = used("stock.push")
    for row in found.rows:
        row["points"] = 0.0
    figure = connection_charts.quota(found, WINDOWS["6 h"], LIGHT, ZONE)
    assert figure.layout.yaxis.title.text == "calls per 15 min"
    assert list(figure.data[0].y) == [2.0] * 4


def test_an_unused_quota_is_said_and_nothing_is_invented() -> None:
    nothing = Quota(NOW - timedelta(hours=1), NOW, [])
    assert connection_charts.quota(nothing, WINDOWS["1 h"], LIGHT, ZONE).data == ()
    assert connection_charts.quota_says(nothing) == "Nothing of the quota was used."
    assert connection_words.used([], "1 h") == "Nothing of the quota was used in the last hour."


def test_too_many_points_are_refused() -> None:
    rows = [dict(used("a").rows[0], bucket_at=NOW + timedelta(seconds=n)) for n in range(501)]
    with pytest.raises(ValueError, match="bucket them in SQL"):
        connection_charts.quota(Quota(NOW, NOW, rows), WINDOWS["1 h"], LIGHT, ZONE)
