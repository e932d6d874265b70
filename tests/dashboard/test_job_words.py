from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.ports import BrokerReading, QueueReading, WorkerReading
from dashboard import formats, job_words

NOW = datetime(2026, 11, 27, 14, 32, tzinfo=UTC)
NOTHING = {"groups": 0, "items": 0, "job": 0, "message": 0, "outbox": 0}


def row(kind: str = "events", waiting: int = 0, oldest: float | None = None, switch: str = "active") -> dict[str, Any]:
    return {
        "connection_id": 1,
        "connection": "Amazon UK",
        "switch": switch,
        "kind": kind,
        "waiting": waiting,
        "oldest_at": None if oldest is None else NOW - timedelta(seconds=oldest),
        "as_of": NOW,
    }


def minutes(arrived: list[int | None], drained: list[int | None]) -> list[dict[str, Any]]:
    """An hour of which the first minutes are given, and the rest is like the last of them."""
    came, went = (values + [values[-1]] * (60 - len(values)) for values in (arrived, drained))
    return [{"minute": n, "arrived": a, "drained": d} for n, (a, d) in enumerate(zip(came, went, strict=True))]


def steps(a_minute_came: float | None, a_minute_went: float | None) -> list[dict[str, Any]]:
    """Five minutes in steps of ten seconds, at an even pace."""
    came, went = (None if each is None else each / 6 for each in (a_minute_came, a_minute_went))
    return [{"step": n, "arrived": came, "drained": went} for n in range(30)]


def broker(missing: tuple[str, ...] = (), **more: Any) -> BrokerReading:
    names = ("events", "stock")
    queues = tuple(QueueReading(name, (), 0, None, 0, 0, 0) for name in names)
    workers = tuple(
        WorkerReading(name, (name,), "idle", None, None, NOW, NOW, 0, 0) for name in names if name not in missing
    )
    return BrokerReading(NOW, queues, workers, {}, **more)


@pytest.mark.parametrize(
    ("found", "arrived", "drained", "state", "left"),
    [
        (row(), [4], [4], "clear", None),
        (row(waiting=30, oldest=10), [4], [4], "draining", None),
        (row(waiting=30, oldest=300), [4], [10], "draining", 300.0),
        (row(waiting=30, oldest=300), [10], [4], "growing", None),
        (row(waiting=30, oldest=300), [4], [4], "growing", None),
        (row(waiting=30, oldest=300), [4], [0], "still", None),
        (row(waiting=30, oldest=300), [None], [None], "still", None),
        (row(waiting=30, oldest=300, switch="paused"), [4], [0], "paused", None),
        (row("stock", waiting=30, oldest=60), [None], [10], "draining", 180.0),
        (row("stock", waiting=30, oldest=300), [None], [0], "still", None),
        (row("stock-check", waiting=2, oldest=300), [1], [0], "draining", None),
    ],
)
def test_arrival_against_drain(
    found: dict[str, Any], arrived: list[int | None], drained: list[int | None], state: str, left: float | None
) -> None:
    view = job_words.lane(found, minutes(arrived, drained), steps(arrived[0], drained[0]))
    assert view.state == state
    assert view.left == (None if left is None else pytest.approx(left))


def test_a_bar_of_five_minutes_with_an_unknown_minute_is_unknown() -> None:
    came: list[int | None] = [5, 0, 0, 0, 10, 7, 7, 7, 7, 7, *([1] * 47), None, None, None]
    view = job_words.lane(row(), minutes(came, [0]), steps(0, 0))
    assert view.arrivals == (None, 5, 5, 5, 5, 5, 5, 5, 5, 5, 35, 15)


def test_a_lane_without_minutes_is_unknown_not_idle() -> None:
    view = job_words.lane(row(waiting=3, oldest=300), [], [])
    assert (view.arrived, view.drained, view.arrivals) == (None, None, ())


@pytest.mark.parametrize(
    ("reading", "lanes", "totals", "said"),
    [
        (None, [], {}, "Nobody is told of new work: Redis does not answer."),
        (broker(missing=("events", "stock")), [], {}, "No worker is at its post: nothing gets done."),
        (broker(missing=("events",)), [], {}, "Nobody serves events."),
        (broker(), [row(waiting=3, oldest=300)], {}, "Amazon UK falls behind: messages to handle for 5 min."),
        (broker(), [], {"groups": 1, "job": 4}, "The work gets done, but one cause needs you."),
        (broker(), [], {"groups": 3, "job": 4, "message": 3},
         "The work gets done, but three causes need you."),
        (broker(), [], {}, "The work gets done."),
    ],
)  # fmt: skip
def test_the_answer_names_the_worst(
    reading: BrokerReading | None, lanes: list[Any], totals: dict[str, int], said: str
) -> None:
    views = [job_words.lane(found, minutes([4], [0]), steps(4, 0)) for found in lanes]
    assert job_words.headline({**NOTHING, **totals}, views, reading)[0] == said


def test_what_is_open_is_said_even_when_something_is_worse() -> None:
    totals = {**NOTHING, "groups": 2, "job": 1, "message": 3}
    assert job_words.headline(totals, [], None)[1] == (
        "Nothing is lost: what waits is in the database. 1 failed job and 3 parked messages."
    )
    assert job_words.headline(NOTHING, [], broker())[1] == "Nothing needs you. Nothing waits."


def test_a_worker_is_silent_when_nothing_was_heard_of_it() -> None:
    heard = WorkerReading("w", ("events",), "busy", "inbox.drain", NOW - timedelta(seconds=6), NOW, NOW, 1, 0)
    assert job_words.worker_state(heard, NOW) == "busy"
    assert job_words.worker_word(heard, NOW) == "inbox.drain for 6 s"
    assert job_words.worker_state(heard, NOW + timedelta(minutes=2)) == "silent"


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (0.0, "0"), (0.4, "0.4"), (3.0, "3"), (12.6, "13"), (1284.0, "1,284")]
)
def test_rates(value: float | None, shown: str) -> None:
    assert formats.rate(value) == shown


def test_keys_are_the_same_in_every_process() -> None:
    assert formats.key("a", 1) == formats.key("a", 1) != formats.key("a", 2)
    assert formats.key("a", 1) == "391d545b69"
