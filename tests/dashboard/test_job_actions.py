"""The acts of the Jobs screen around the core operations: what is rung, what is said, with Redis there and away."""

from __future__ import annotations

import pytest
import redis
from sqlalchemy import Connection, Engine

from core.adapters.rq import RqJobQueue, queue_named
from core.audit import Actor
from core.bootstrap import Application, make_application
from core.config import Settings
from core.db import scalar
from core.messaging import parked
from core.runs.failures import Chosen
from dashboard import job_actions
from tests.dashboard import seed

ADA = Actor("ada", "it is repaired")
AWAY = "redis://127.0.0.1:1/0"


@pytest.fixture
def made(engine: Engine, redis_url: str) -> Application:
    return application(engine, redis_url)


def application(engine: Engine, redis_url: str) -> Application:
    url = engine.url.render_as_string(hide_password=False)
    return make_application(Settings.from_environment({"DATABASE_URL": url, "REDIS_URL": redis_url}))


@pytest.fixture
def shop(conn: Connection) -> int:
    return seed.shop(conn)


def fail(conn: Connection, shop: int, jobs: int = 2) -> Chosen:
    for _ in range(jobs):
        seed.job(conn, "stock.push", seed.ago(minutes=5), fingerprint="f", arguments={"shop_id": shop})
    return Chosen(cause="f", function="stock.push")


def test_a_requeue_says_what_was_queued(made: Application, conn: Connection, shop: int, redis_url: str) -> None:
    chosen = fail(conn, shop)
    plan = job_actions.plan_jobs(made, shop, chosen)
    said = job_actions.requeue_jobs(made, shop, chosen, plan.token, ADA)
    assert said == "2 failed jobs are dealt with: 1 piece of work is queued again."
    with redis.Redis.from_url(redis_url) as client:
        assert [job.kwargs for job in queue_named("stock", client).get_jobs()] == [{"shop_id": shop}]


def test_with_redis_away_it_is_kept_and_said(engine: Engine, conn: Connection, shop: int) -> None:
    away, chosen = application(engine, AWAY), fail(conn, shop, 1)
    plan = job_actions.plan_jobs(away, shop, chosen)
    said = job_actions.requeue_jobs(away, shop, chosen, plan.token, ADA)
    assert said == (
        "1 failed job is dealt with: 1 piece of work is kept; Redis does not answer, so it begins when Redis is back."
    )
    assert scalar(conn, "select count(*) from job_requeues") == 1


def test_a_discard_says_so(made: Application, conn: Connection, shop: int) -> None:
    chosen = fail(conn, shop)
    plan = job_actions.plan_jobs(made, shop, chosen)
    said = job_actions.discard_jobs(made, shop, chosen, plan.token, ADA)
    assert said == "2 failed jobs are discarded. Who and why is on record."


def test_messages_have_another_turn_and_their_lane_is_rung(
    made: Application, conn: Connection, shop: int, redis_url: str
) -> None:
    c = seed.connection(conn, shop)
    for _ in range(2):
        seed.message(conn, shop, c, seed.ago(minutes=9), "parked", cause="unreadable", detail="x")
    chosen = parked.Chosen(c, cause="unreadable")
    plan = job_actions.plan_messages(made, shop, chosen)
    said = job_actions.requeue_messages(made, shop, chosen, plan.token, ADA)
    assert said == "2 messages have another turn. It begins within seconds."
    with redis.Redis.from_url(redis_url) as client:
        (job,) = queue_named("events", client).get_jobs()
        assert (job.func_name, job.kwargs) == ("inbox.drain", {"shop_id": shop, "connection_id": c})


def test_messages_are_discarded_or_wait_for_redis(engine: Engine, conn: Connection, shop: int) -> None:
    away, c = application(engine, AWAY), seed.connection(conn, shop)
    one, two = (
        parked.Chosen(c, message_id=seed.message(conn, shop, c, seed.ago(minutes=9), "parked", cause="x"))
        for _ in range(2)
    )
    said = job_actions.discard_messages(away, shop, one, job_actions.plan_messages(away, shop, one).token, ADA)
    assert said == "1 message is discarded, and kept word for word with who and why."
    said = job_actions.requeue_messages(away, shop, two, job_actions.plan_messages(away, shop, two).token, ADA)
    assert said == "1 message has another turn. Redis does not answer: it begins when Redis is back."


def test_an_id_is_queued_once_whatever_became_of_it(redis_url: str) -> None:
    queue = RqJobQueue(redis_url)
    assert queue.enqueue_once("again-1", "stock.push", {"shop_id": 1})
    assert not queue.enqueue_once("again-1", "stock.push", {"shop_id": 1})
