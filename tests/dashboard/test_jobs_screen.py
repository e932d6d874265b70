"""The Jobs screen: empty, full, with a Redis that is away; its cards, its one-cause pages, its lists."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from sqlalchemy import Connection

from tests.dashboard import job_worlds, seed, worlds
from tests.dashboard.conftest import Open, forget_all, text_of
from workers.queues import QUEUES


@pytest.fixture
def client(settings: None, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """A Redis that the dashboard reads; without it, it is away."""
    forget_all()
    monkeypatch.setenv("REDIS_URL", redis_url)
    with redis.Redis.from_url(redis_url) as connection:
        yield connection


def labels(page: object) -> list[str]:
    return [button.label for button in page.button]  # type: ignore[attr-defined]


def test_an_empty_shop_with_no_worker(client: redis.Redis, opened: Open, conn: Connection) -> None:
    seed.shop(conn)
    page = opened("jobs")
    assert not page.exception
    said = text_of(page)
    assert "No worker is at its post: nothing gets done." in said
    assert "No worker is registered" in said
    assert "There are no lanes yet" in said
    assert "Nothing failed and nothing is parked" in said


def test_a_calm_day_with_all_workers_says_so(client: redis.Redis, opened: Open, conn: Connection) -> None:
    worlds.calm(conn)
    job_worlds.broker(client, without=(), unrung=())
    page = opened("jobs")
    assert not page.exception
    said = text_of(page)
    assert "The work gets done." in said
    assert "Nothing needs you" in said
    assert [metric.value for metric in page.metric] == ["0", "0", "0", str(len(QUEUES))]
    assert "Requeue…" not in labels(page)


def test_a_bad_day_shows_what_failed_who_is_missing_and_what_waits(
    client: redis.Redis, opened: Open, conn: Connection
) -> None:
    job_worlds.failing(conn)
    job_worlds.broker(client, refs=("a", "b"))
    page = opened("jobs")
    assert not page.exception
    said = text_of(page)
    for sentence in (
        "Nobody serves stock-check.",
        "14 failed jobs and 5 parked messages.",
        r"The token was refused \(invalid\_grant\)",
        "<b>12</b> jobs",
        "<b>1</b> piece of work",
        "No answer within 30 seconds",
        "4 messages could not be read",
        "1 message names an order that never came",
        "stock.push for ",
        ">Nobody serves it<",
        "Messages to handle",
    ):
        assert sentence in said, sentence
    assert [metric.value for metric in page.metric][:2] == ["14", "5"]
    assert labels(page).count("Requeue…") == 5
    assert [b.label for b in page.button if b.proto.type == "primary"] == ["Requeue…"]


def test_with_redis_away_it_says_so_and_postgres_still_answers(opened: Open, conn: Connection) -> None:
    job_worlds.failing(conn)
    page = opened("jobs")
    assert not page.exception
    said = text_of(page)
    assert "Nobody is told of new work: Redis does not answer." in said
    assert "Nothing is lost: what waits is in the database." in said
    assert "queues cannot be shown" in said
    assert "workers cannot be shown" in said
    assert "<b>12</b> jobs" in said
    assert "4 messages could not be read" in said
    assert [metric.value for metric in page.metric][3] == "–"


def test_one_cause_has_its_own_address_with_arguments_and_traceback(opened: Open, conn: Connection) -> None:
    made = job_worlds.failing(conn)
    page = opened("jobs", cause="aaaa", function="stock.push")
    assert not page.exception
    said = text_of(page)
    assert f"connection_id <b>{made.world.amazon}</b>" in said
    assert labels(page).count("Requeue…") == 11, "ten jobs a page, and all of them at once"
    assert "abcdefgh" not in said
    next(b for b in page.button if b.label == "Older").click().run()
    assert labels(page).count("Requeue…") == 3
    gone = opened("jobs", cause="zzzz", function="stock.push")
    assert "Nothing of this cause is open" in text_of(gone)


def test_parked_messages_of_one_cause_have_their_own_address(opened: Open, conn: Connection) -> None:
    made = job_worlds.failing(conn)
    page = opened("jobs", parked="unreadable", connection=str(made.world.shopify))
    assert not page.exception
    said = text_of(page)
    assert "Line 3 has no quantity." in said
    assert "{}" not in said, "no body is shown"
    assert labels(page).count("Requeue…") == 5
    gone = opened("jobs", parked="unreadable", connection="99999")
    assert "Nothing is parked for this cause" in text_of(gone)


@pytest.mark.parametrize(
    ("show", "sentences"),
    [
        ("Requeued", ["The database is back", "OperationalError: the database went away", ">Done<"]),
        ("Discarded", ["A test message of the vendor", "ConnectError: no route to host"]),
        ("Done since", ["No failure was made good by itself"]),
    ],
)
def test_what_was_dealt_with_is_listed_with_who_and_why(
    opened: Open, conn: Connection, show: str, sentences: list[str]
) -> None:
    job_worlds.failing(conn)
    page = opened("jobs")
    page.segmented_control(key="show").set_value(show).run()
    assert not page.exception
    said = text_of(page)
    for sentence in sentences:
        assert sentence in said, sentence


@pytest.mark.parametrize(
    ("key", "sentences"),
    [
        ("requeue-cause-all", ["<b>12</b> failed jobs", "<b>1</b> piece of work", "struck again minutes ago"]),
        ("discard-cause-all", ["<b>12</b> failed jobs", "not done again"]),
    ],
)
def test_the_preview_counts_before_it_asks(opened: Open, conn: Connection, key: str, sentences: list[str]) -> None:
    job_worlds.failing(conn)
    page = opened("jobs", cause="aaaa", function="stock.push")
    page.button(key=key).click().run()
    assert not page.exception
    said = text_of(page)
    for sentence in sentences:
        assert sentence in said, sentence


def test_the_preview_of_messages_counts_too(opened: Open, conn: Connection) -> None:
    made = job_worlds.failing(conn)
    for key, sentence in (("requeue-message-all", "Handled again"), ("discard-message-all", "not booked")):
        page = opened("jobs", parked="unreadable", connection=str(made.world.shopify))
        page.button(key=key).click().run()
        assert not page.exception
        assert sentence in text_of(page)
        assert "<b>4</b> messages" in text_of(page)


def test_a_job_that_is_none_of_ours_is_explained_not_queued(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    run = seed.job(conn, "os.system", seed.ago(minutes=9), error="NotRegistered: no", fingerprint="ee",
                   arguments={"shop_id": shop})  # fmt: skip
    page = opened("jobs", cause="ee", function="os.system")
    page.button(key=f"requeue-job-{run}").click().run()
    assert not page.exception
    said = text_of(page)
    assert "No job is named 'os.system'." in said
    assert "act-reason" not in [field.key for field in page.text_input]


def test_causes_are_paged(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    for number in range(13):
        for _ in range(1 + number % 3):
            seed.job(conn, f"poll.{number}", seed.ago(minutes=9), error=f"E: cause {number:02d}",
                     fingerprint=f"f{number:02d}", arguments={"shop_id": shop})  # fmt: skip
    page = opened("jobs")
    first = text_of(page)
    next(b for b in page.button if b.label == "More causes").click().run()
    second = text_of(page)
    assert [f"Cause {n:02d}" in first for n in range(13)].count(True) == 10
    assert all((f"Cause {n:02d}" in first) != (f"Cause {n:02d}" in second) for n in range(13))


def test_the_overview_leads_here(opened: Open, conn: Connection) -> None:
    job_worlds.failing(conn)
    page = opened()
    assert not page.exception
    links = [(link.proto.label, link.proto.query_string) for link in page.get("page_link")]
    assert any(label == "Open failures" and "cause=aaaa" in where for label, where in links), links
    assert any(label == "Open messages" and "parked=unreadable" in where for label, where in links), links
