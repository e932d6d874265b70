"""The acts of the Failures screen around the core operations: what is rung, what is said, with Redis there and away."""

from __future__ import annotations

import json

import pytest
import redis
from sqlalchemy import Connection, Engine

from core.adapters.rq import RqJobQueue, queue_named
from core.audit import Actor
from core.bootstrap import Application, make_application
from core.config import Settings
from core.db import scalar
from core.recovery.choosing import Chosen
from core.recovery.payloads import NotEditable
from dashboard import failure_actions
from dashboard.people import Shop
from tests.adapters.bodies import ORDER
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
    return Chosen(group_key=scalar(conn, "select key from failure_kinds"))


def requeue(app: Application, shop: int, chosen: Chosen, per_minute: float | None = None) -> str:
    plan = failure_actions.look(app, shop, chosen)
    return failure_actions.requeue(app, Shop(shop, "Shop", "Europe/London", "GBP"), chosen, plan, ADA, "", per_minute)


def test_a_requeue_is_kept_rung_for_and_said(made: Application, conn: Connection, shop: int, redis_url: str) -> None:
    said = requeue(made, shop, fail(conn, shop), 30.0)
    assert said.startswith("2 failures are done again at 30 a minute, done about ")
    assert scalar(conn, "select per_minute from recoveries") == 30
    with redis.Redis.from_url(redis_url) as client:
        assert [job.func_name for job in queue_named("polls", client).get_jobs()] == ["runs.recover"]


def test_with_redis_away_it_is_kept_and_said(engine: Engine, conn: Connection, shop: int) -> None:
    said = requeue(application(engine, AWAY), shop, fail(conn, shop, 1))
    assert said == "1 failure is kept to be done again. Redis does not answer: it begins when Redis is back."
    assert scalar(conn, "select works from recoveries") == 1


def test_a_recovery_is_cancelled_and_says_what_is_open_again(made: Application, conn: Connection, shop: int) -> None:
    requeue(made, shop, fail(conn, shop))
    said = failure_actions.cancel(made, shop, scalar(conn, "select id from recoveries"), ADA)
    assert said == "Cancelled: 1 piece of work is not begun and open again."
    assert scalar(conn, "select items from failure_groups") == 2


def test_a_discard_says_so_with_redis_there_or_away(engine: Engine, conn: Connection, shop: int) -> None:
    away, chosen = application(engine, AWAY), fail(conn, shop)
    token = failure_actions.look(away, shop, chosen).token
    said = failure_actions.discard(away, shop, chosen, token, ADA)
    assert said == "2 failures are discarded. Who and why is on record."


def parked(conn: Connection, shop: int, body: bytes) -> int:
    connection = seed.connection(conn, shop)
    return seed.message(conn, shop, connection, seed.ago(minutes=9), "parked", road="poll", cause="unreadable",
                        detail="x", body=body)  # fmt: skip


def test_a_payload_is_covered_until_somebody_says_why(made: Application, conn: Connection, shop: int) -> None:
    message = parked(conn, shop, b'{"email": "ada@example.org", "id": 7}')
    covered = failure_actions.payload(made, shop, "message", message)
    assert covered.is_masked
    assert "example.org" not in covered.text
    assert scalar(conn, "select count(*) from audit_entries") == 0
    assert "ada@example.org" in failure_actions.show_payload(made, shop, "message", message, ADA).text
    assert scalar(conn, "select act || ': ' || reason from audit_entries") == "show_payload: it is repaired"


def test_what_may_not_be_mended_is_said_with_its_reason(made: Application, conn: Connection, shop: int) -> None:
    message = parked(conn, shop, b'{"id": 7, "total_price": "1.00"}')
    for text, why in (
        ("{", "the text is no JSON"),
        ('{"id": 7, "total_price": "2.00"}', "total_price is about money"),
        ('{"id": 7, "total_price": "1.00"}', "the text says the same as before"),
    ):
        with pytest.raises(NotEditable, match=why):
            failure_actions.edit_and_requeue(made, shop, message, text, ADA)
    assert scalar(conn, "select count(*) from inbox_messages") == 1


def test_a_mended_copy_takes_its_place_and_the_lane_is_rung(
    made: Application, conn: Connection, shop: int, redis_url: str
) -> None:
    broken = {**ORDER, "created_at": "soon"}
    message, mended = parked(conn, shop, json.dumps(broken).encode()), ORDER
    said = failure_actions.edit_and_requeue(made, shop, message, json.dumps(mended), ADA)
    assert said == ("A mended copy takes the message’s place; the original is kept. It has its turn within seconds.")
    assert scalar(conn, "select string_agg(state, ' ' order by id) from inbox_messages") == "discarded received"
    with redis.Redis.from_url(redis_url) as client:
        assert [job.func_name for job in queue_named("events", client).get_jobs()] == ["inbox.drain"]


def test_an_id_is_queued_once_whatever_became_of_it(redis_url: str) -> None:
    queue = RqJobQueue(redis_url)
    assert queue.enqueue_once("again-1", "stock.push", {"shop_id": 1})
    assert not queue.enqueue_once("again-1", "stock.push", {"shop_id": 1})
