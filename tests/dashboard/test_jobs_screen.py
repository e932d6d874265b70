"""The Jobs screen: empty, full, with a Redis that is away; its cards, its tables."""

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


def test_an_empty_shop_with_no_worker(client: redis.Redis, opened: Open, conn: Connection) -> None:
    seed.shop(conn)
    page = opened("jobs")
    assert not page.exception
    said = text_of(page)
    assert "No worker is at its post: nothing gets done." in said
    assert "No worker is registered" in said
    assert "There are no lanes yet" in said


def test_a_calm_day_with_all_workers_says_so(client: redis.Redis, opened: Open, conn: Connection) -> None:
    worlds.calm(conn)
    job_worlds.broker(client, without=(), unrung=())
    page = opened("jobs")
    assert not page.exception
    said = text_of(page)
    assert "The work gets done." in said
    assert "Nothing needs you" in said
    assert [metric.value for metric in page.metric] == ["0", "0", str(len(QUEUES))]


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
        ">5 causes</a>",
        "stock.push for ",
        ">Nobody serves it<",
        "Messages to handle",
    ):
        assert sentence in said, sentence
    assert page.metric[0].value == "19"


def test_with_redis_away_it_says_so_and_postgres_still_answers(opened: Open, conn: Connection) -> None:
    job_worlds.failing(conn)
    page = opened("jobs")
    assert not page.exception
    said = text_of(page)
    assert "Nobody is told of new work: Redis does not answer." in said
    assert "Nothing is lost: what waits is in the database." in said
    assert "queues cannot be shown" in said
    assert "workers cannot be shown" in said
    assert [metric.value for metric in page.metric][::2] == ["19", "–"]


def test_an_address_of_a_cause_leads_to_where_failures_are_now(opened: Open, conn: Connection) -> None:
    job_worlds.failing(conn)
    page = opened("jobs", cause="aaaa", function="stock.push")
    assert not page.exception
    assert "Amazon UK refused our credentials" in text_of(page)
    assert "Each of them" in text_of(page)


def test_the_overview_leads_to_failures(opened: Open, conn: Connection) -> None:
    job_worlds.failing(conn)
    page = opened()
    assert not page.exception
    links = [(link.proto.label, link.proto.page, link.proto.query_string) for link in page.get("page_link")]
    for label, where in (("Open failures", "cause=aaaa"), ("Open messages", "parked=unreadable")):
        assert any(said == label and to == "failures" and where in query for said, to, query in links), links
