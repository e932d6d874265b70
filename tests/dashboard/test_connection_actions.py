"""The acts of the Connections screen around the core operations: rows, audit entries, rings, and what is said."""

from __future__ import annotations

from datetime import timedelta

import pytest
import redis
from sqlalchemy import Connection, Engine

from core.adapters.rq import queue_named
from core.audit import Actor
from core.bootstrap import Application, make_application
from core.config import Settings
from core.connections import queries as connections
from core.connections.checkup import Probe
from core.db import fetch, fetch_one, scalar
from core.inventory.comparison import TooManyZeroed
from core.runs import queries as runs
from dashboard import actions, connection_actions
from tests.adapters.accounts import shopify_account
from tests.adapters.canned_shopify import CannedShop
from tests.dashboard import seed
from workers.jobs import connection_tests, housekeeping
from workers.queues import QUEUES

ADA = Actor("ada", "the numbers are wrong")


@pytest.fixture
def made(engine: Engine, redis_url: str) -> Application:
    url = engine.url.render_as_string(hide_password=False)
    return make_application(Settings.from_environment({"DATABASE_URL": url, "REDIS_URL": redis_url}))


def rung(redis_url: str, queue: str) -> list[dict[str, object]]:
    with redis.Redis.from_url(redis_url) as client:
        return [job.kwargs for job in queue_named(queue, client).get_jobs()]


def acts(conn: Connection) -> list[tuple[str, str, str, str]]:
    found = fetch(conn, "select act, subject, actor, reason from audit_entries order by id")
    return [(row["act"], row["subject"], row["actor"], row["reason"]) for row in found]


def test_the_switch_of_the_shop_is_on_record_both_ways_and_wakes_the_pushes(
    made: Application, conn: Connection, redis_url: str
) -> None:
    shop = seed.shop(conn)
    one = seed.connection(conn, shop)
    assert connection_actions.stop_all_writes(made, shop, ADA) == "All writes are stopped."
    assert scalar(conn, "select may_write(%(s)s, %(c)s)", s=shop, c=one) is False
    again = connection_actions.stop_all_writes(made, shop, Actor("bob", "me too"))
    assert again == "All writes were stopped already: name and reason are as they were."
    assert rung(redis_url, "stock") == []
    said = connection_actions.resume_all_writes(made, shop, [one], Actor("bob", "they are right"))
    assert said == "Writes go out again: what differs is written now."
    assert scalar(conn, "select may_write(%(s)s, %(c)s)", s=shop, c=one) is True
    assert rung(redis_url, "stock") == [{"shop_id": shop, "connection_id": one}]
    assert acts(conn) == [
        ("stop_writes", f"shop:{shop}", "ada", "the numbers are wrong"),
        ("resume_writes", f"shop:{shop}", "bob", "they are right"),
    ]


def test_each_switch_of_a_connection_is_turned_and_turned_back(
    made: Application, conn: Connection, redis_url: str
) -> None:
    shop = seed.shop(conn)
    one = seed.connection(conn, shop)
    said = [
        act(made, shop, one, "Shopify UK", ADA)
        for act in (
            connection_actions.pause,
            connection_actions.resume,
            connection_actions.stop_writes,
            connection_actions.stop_writes,
            connection_actions.resume_writes,
            connection_actions.to_shadow,
        )
    ]
    assert said == [
        "Shopify UK is paused.",
        "Shopify UK is resumed: what it sold meanwhile is asked for now.",
        "Writes to Shopify UK are stopped.",
        "Writes to Shopify UK were stopped already.",
        "Writes to Shopify UK go out again.",
        "Shopify UK is in shadow mode.",
    ]
    assert [rung(redis_url, queue) for queue in ("polls", "stock-check")] == [
        [{"shop_id": shop, "connection_id": one}]
    ] * 2
    assert [act for act, *_ in acts(conn)] == ["pause", "resume", "stop_writes", "resume_writes", "to_shadow"]
    row = fetch_one(conn, "select state, write_mode from connection_switches where connection_id = %(c)s", c=one)
    assert row == {"state": "active", "write_mode": "shadow"}


def test_a_target_that_may_be_told_again_is_rung_in_its_own_lane(
    made: Application, conn: Connection, redis_url: str
) -> None:
    shop = seed.shop(conn)
    one = seed.connection(conn, shop, "Klaviyo", "klaviyo", "T")
    connection_actions.pause(made, shop, one, "Klaviyo", ADA)
    said = connection_actions.resume(made, shop, one, "Klaviyo", ADA)
    assert said == "Klaviyo is resumed: what differs is told now."
    mine = [{"shop_id": shop, "connection_id": one}]
    assert rung(redis_url, "targets") == mine
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    connection_actions.stop_writes(made, shop, one, "Klaviyo", ADA)
    connection_actions.resume_writes(made, shop, one, "Klaviyo", ADA)
    assert rung(redis_url, "targets") == mine
    assert [rung(redis_url, queue) for queue in ("polls", "stock", "stock-check")] == [[], [], []]


def test_going_live_does_what_was_previewed_or_nothing(made: Application, conn: Connection, redis_url: str) -> None:
    shop = seed.shop(conn)
    one = seed.connection(
        conn, shop, write_mode="shadow", orders_polled_at=seed.now(), open_orders_read_at=seed.now()
    )  # fmt: skip
    place = seed.location(conn, shop)
    sku = seed.sku(conn, shop, "MUG")
    seed.listing(conn, shop, one, sku, place, published_units=7, desired_units=0)
    with pytest.raises(TooManyZeroed):
        connection_actions.go_live(made, shop, one, "Shopify UK", 0, ADA)
    assert rung(redis_url, "stock") == []
    said = connection_actions.go_live(made, shop, one, "Shopify UK", 1, ADA)
    assert said.startswith("Shopify UK is live. 1 of 1 listings of Shopify UK would be written")
    assert rung(redis_url, "stock") == [{"shop_id": shop, "connection_id": one}]
    assert connection_actions.go_live(made, shop, one, "Shopify UK", 1, ADA) == "Shopify UK was live already."
    assert [act for act, *_ in acts(conn)] == ["go_live"]


def test_a_test_that_cannot_reach_the_channel_is_an_answer_and_no_failed_job(
    settings: None, made: Application, conn: Connection, redis_url: str
) -> None:
    shop = seed.shop(conn)
    one = seed.connection(conn, shop)
    run = actions.start_test(made, shop, one, Actor("ada", "tested"))
    assert actions.start_test(made, shop, one, Actor("bob", "tested")) == run
    work = {"shop_id": shop, "connection_id": one, "sync_run_id": run}
    assert rung(redis_url, "polls") == [work, work]
    result = connection_tests.test_connection(**work)
    assert list(result) == ["failed"]
    found = fetch_one(conn, "select kind, state, error from sync_runs where id = %(r)s", r=run)
    assert found is not None
    assert (found["kind"], found["state"], found["error"]) == ("test_connection", "failed", result["failed"])
    assert connection_tests.test_connection(**work) == {"superseded": True}
    # A problem of the connection is what its work meets, not what a test does.
    assert scalar(conn, "select last_error from connections where id = %(c)s", c=one) is None


def test_a_forgotten_test_is_queued_again_as_a_test(
    settings: None, made: Application, conn: Connection, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    shop = seed.shop(conn)
    one = seed.connection(conn, shop)
    for kind in runs.RUN_JOBS:
        seed.run(conn, shop, one, "queued", kind=kind, requested_at=seed.ago(minutes=5))
    housekeeping.sweep_runs()
    with redis.Redis.from_url(redis_url) as client:
        names = {job.func_name for queue in QUEUES for job in queue_named(queue, client).get_jobs()}
    assert names == set(runs.RUN_JOBS.values())


class Lent:
    """An application that asks a canned shop, whatever it is told to ask."""

    def probe(self, *asked: object) -> Probe:
        return Probe(shopify_account(CannedShop()).channel().about(), "2027-01", timedelta(seconds=1), None)


def test_the_answer_of_a_channel_is_kept_with_what_is_wrong_and_what_to_do(conn: Connection) -> None:
    shop = seed.shop(conn)
    row = connections.connection(conn, shop, seed.connection(conn, shop, account_ref="shop.test"))
    answer = connection_tests.ask(Lent(), row, {}, seed.now())
    assert (answer["ref"], answer["name"], answer["plan"]) == ("shop.test", "Mugs", "Basic")
    assert "read_products" in answer["granted"]
    assert answer["elapsed_ms"] >= 0
    wrong = {found["about"]: found["next_step"] for found in answer["findings"] if found["state"] == "problem"}
    assert set(wrong) == {"scopes", "API version"}
    assert "read_orders" in wrong["scopes"]
