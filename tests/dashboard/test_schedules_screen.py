"""The Schedules screen: what is late, when it is next though Redis has forgotten, its day, its turns, its acts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import Connection

from core.runs.schedules import SCHEDULES, Schedule
from dashboard import schedule_words
from tests.dashboard import job_worlds, run_worlds, seed
from tests.dashboard.conftest import Open, forget_all, text_of

NOW = datetime(2026, 3, 29, 14, 32, 7, tzinfo=UTC)
TICK = Schedule("tick", "runs.sweep", "often", every_seconds=15)
HOURLY = Schedule("hourly", "runs.sweep", "now and then", every_seconds=3600)
NIGHTLY = Schedule("nightly", "audit.nightly", "once a day", daily_after_hour=1, daily_after_minute=30)
LONDON = "Europe/London"


@pytest.fixture
def client(settings: None, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    forget_all()
    monkeypatch.setenv("REDIS_URL", redis_url)
    with redis.Redis.from_url(redis_url) as connection:
        yield connection


def labels(page: object) -> list[str]:
    return [button.label for button in page.button]  # type: ignore[attr-defined]


def row(**more: Any) -> dict[str, Any]:
    at = NOW - timedelta(seconds=7)
    return {"is_paused": False, "started_at": at, "due_at": at, "due_outcome": "finished", "outcome": "finished",
            "as_of": NOW, "changed_at": None, **more}  # fmt: skip


@pytest.mark.parametrize(
    ("last", "ring", "state"),
    [
        (row(), 0, "on_time"),
        (row(), 31, "late"),
        (row(), None, "late"),
        (row(outcome=None), 0, "running"),
        (row(outcome="failed"), 0, "failed"),
        (row(started_at=None, due_at=None, outcome=None), 0, "never"),
        (row(is_paused=True), None, "paused"),
        (row(started_at=NOW - timedelta(seconds=100), due_at=NOW - timedelta(seconds=100)), 0, "on_time"),
        (row(started_at=NOW - timedelta(seconds=110), due_at=NOW - timedelta(seconds=110)), 0, "late"),
    ],
)
def test_how_a_schedule_stands(last: dict[str, Any], ring: int | None, state: str) -> None:
    rings = {} if ring is None else {TICK.entry_id: NOW - timedelta(seconds=ring)}
    assert schedule_words.look(TICK, last, LONDON, rings).state == state
    if state != "late":
        assert schedule_words.look(TICK, last, LONDON, None).state == state, "Redis says nothing"


def test_the_next_turn_is_what_the_schedule_says() -> None:
    taken = row(due_at=datetime(2026, 3, 29, 14, 0, tzinfo=UTC))
    assert schedule_words.next_turn(HOURLY, taken, LONDON) == (datetime(2026, 3, 29, 15, 0, tzinfo=UTC), False)
    late = row(due_at=datetime(2026, 3, 29, 13, 0, tzinfo=UTC))
    assert schedule_words.next_turn(HOURLY, late, LONDON) == (datetime(2026, 3, 29, 14, 0, tzinfo=UTC), True)
    # 01:30 is left out on this day: it was due at 01:00 UTC, where the clocks jumped over it.
    spring = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert schedule_words.next_turn(NIGHTLY, row(due_at=spring), LONDON) == (
        datetime(2026, 3, 30, 0, 30, tzinfo=UTC),
        False,
    )
    assert schedule_words.next_turn(NIGHTLY, row(due_at=spring - timedelta(days=1)), LONDON) == (spring, True)
    assert schedule_words.next_turn(NIGHTLY, row(due_at=spring, due_outcome="skipped"), LONDON) == (spring, True)
    assert schedule_words.next_turn(TICK, row(is_paused=True), LONDON) == (None, False)
    assert [schedule_words.rhythm(one, LONDON) for one in (TICK, HOURLY, NIGHTLY)] == [
        "every 15 s", "every 1 h 00 min", "each day at 01:30, London"
    ]  # fmt: skip


def test_a_day_shows_gaps_failures_and_what_is_not_known() -> None:
    steps = {0: {"failed": 0, "skipped": 0}, 1: {"failed": 1, "skipped": 1}, 3: {"failed": 0, "skipped": 2}}
    since = NOW - timedelta(minutes=80)
    found = schedule_words.cells(TICK, steps, row(), since, LONDON, 900, 8)
    assert found == ["before", "before", "gap", "gap", "skipped", "gap", "failed", "ok"]
    assert "3 without a turn that was due" in schedule_words.day_words("tick", found)
    quiet = schedule_words.cells(NIGHTLY, {}, row(), NOW - timedelta(days=9), LONDON, 900, 96)
    assert quiet.count("gap") == 1
    # 01:00 UTC, twelve hours and thirty minutes before the quarter that is now.
    assert quiet.index("gap") == 95 - 54
    paused = row(is_paused=True, changed_at=NOW - timedelta(minutes=20))
    found = schedule_words.cells(TICK, {}, paused, NOW - timedelta(days=9), LONDON, 900, 4)
    assert found == ["gap", "paused", "paused", "paused"], "since 14:12, within the second of them"


def test_nothing_has_run_yet(client: redis.Redis, opened: Open, conn: Connection) -> None:
    seed.shop(conn)
    page = opened("schedules")
    assert not page.exception
    said = text_of(page)
    assert "schedules are late." in said, "nothing rings where no scheduler runs"
    assert labels(page).count("Run now…") == len(SCHEDULES)


def test_a_day_with_an_outage_and_a_pause(client: redis.Redis, opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    run_worlds.day(conn, shop)
    job_worlds.broker(client)
    page = opened("schedules")
    assert not page.exception
    said = text_of(page)
    for sentence in ("Everything runs when it should.", "outbox.relay is paused.", "had gaps within a day",
                     "ada: notices are off",
                     "without a turn that was due", "with a failure", "each day at 02:00, London"):  # fmt: skip
        assert sentence in said, sentence
    assert labels(page).count("Resume…") == 1


def test_with_redis_away_the_next_turns_stand_all_the_same(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    run_worlds.day(conn, shop)
    said = text_of(opened("schedules"))
    assert "Redis does not answer: what is due begins when it is back, once." in said
    assert ">Late<" not in said
    # A slow machine draws it when all that is due by the minute is due again; not what is due by the day.
    assert re.search(r"\bin \d+ (h|min)\b", said), said


def test_one_schedule_has_its_turns_by_page(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    run_worlds.day(conn, shop)
    page = opened("schedules", schedule="poll.orders")
    assert not page.exception
    assert "ada: To see it" in text_of(page)
    pages = [text_of(page)]
    for _ in range(3):
        next(b for b in page.button if b.label == "Older").click().run()
        pages.append(text_of(page))
    whole = "\n".join(pages)
    assert "the former turn was still at work" in whole
    assert "in the place of 11 turns that nobody ran" in whole
    assert not opened("schedules", schedule="poll.orders", before="nonsense~x").exception
    assert "No schedule is named nothing" in text_of(opened("schedules", schedule="nothing"))


def test_what_an_act_would_do_is_said_before_it_is_done(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    run_worlds.day(conn, shop)
    page = opened("schedules", schedule="audit.nightly")
    next(b for b in page.button if b.label == "Run now…").click().run()
    assert "in a turn of its own" in text_of(page)
    assert "Run audit.nightly now" in labels(page)
    page = opened("schedules", schedule="poll.orders")
    next(b for b in page.button if b.label == "Pause…").click().run()
    assert "What is missed meanwhile is not caught up" in text_of(page)
    page = opened("schedules", schedule="outbox.relay")
    next(b for b in page.button if b.label == "Resume…").click().run()
    assert "notices are off" in text_of(page)
