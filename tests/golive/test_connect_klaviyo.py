"""`switchyard connect klaviyo`, telling it the catalogue by the jobs, and the commands, against the sandbox."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
from click.testing import Result

from core import bootstrap
from core.adapters.rq import queue_named
from core.bootstrap import Application
from core.catalog.products.writing import Put, put_products
from core.clock import utc_now
from core.connections.queries import ConnectionRow, connection
from core.db import execute, fetch, fetch_one, read_only, unit_of_work
from core.errors import BadInput
from core.runs.kinds import business
from core.targets import operations as targets
from core.targets import queries
from core.targets.operations import NothingToRequeue
from tests.factories import ACTOR, unique
from tests.golive.conftest import FACTOR
from tests.golive.test_connect import run
from tests.sandbox.outside import Outside
from tests.targeting import make_product
from workers.connecting import NotRight
from workers.jobs import connections as connection_jobs
from workers.jobs import targets as jobs
from workers.klaviyo_cli import klaviyo
from workers.targets import Seat


@pytest.fixture
def account(outside: Outside) -> dict[str, Any]:
    opened: dict[str, Any] = outside.post("/klaviyo", name=unique("Account"))
    return opened


def connect(app: Application, outside: Outside, key: str, *more: str) -> Result:
    options = ["--key", key, "--base-url", f"{outside.url}/klaviyo", "--clock-factor", str(FACTOR), "--shop", "Potters"]
    return run(app, "connect", "klaviyo", *options, "--storefront", "https://shop.test/", *more)


def row_of(app: Application) -> ConnectionRow:
    with read_only(app.engine) as conn:
        found = fetch_one(conn, "select shop_id, id from connections where vendor = 'klaviyo'")
        assert found is not None
        return connection(conn, found["shop_id"], found["id"])


def drained(row: ConnectionRow, drain: Callable[..., dict[str, Any]] = jobs.drain) -> dict[str, Any]:
    return drain(shop_id=row.shop_id, connection_id=row.id)


def test_a_catalogue_is_told_once_it_is_live(app: Application, outside: Outside, account: dict[str, Any]) -> None:
    said = connect(app, outside, account["private_key"])
    assert said.exit_code == 0, said.output
    assert account["private_key"] not in said.output
    row = row_of(app)
    assert (row.account_ref, row.guarantee_class, row.write_mode) == (account["public_key"], "T", "shadow")
    assert row.settings["storefront_url"] == "https://shop.test"
    with unit_of_work(app.engine) as conn:
        puts = [Put(make_product(f"p{n}", f"P{n}-1", f"P{n}-2")) for n in range(5)]
        put_products(conn, row.shop_id, puts, "imported", ACTOR, utc_now())
        assert [lane.key for lane in targets.lanes_to_ring(conn, row.shop_id)] == [f"targets:{row.shop_id}:{row.id}"]
    # In shadow mode all is planned and nothing is asked of anybody.
    drained(row)
    shown = json.loads(run(app, "klaviyo", "status", "--json").output)
    assert {(one["kind"], one["state"]): one["entries"] for one in shown["states"]} == {
        ("item", "waits"): 5, ("variant", "waits"): 10,
    }  # fmt: skip
    assert "shadow mode" in shown["held"]

    assert run(app, "klaviyo", "live", "--reason", "go").exit_code == 0
    assert jobs.ring_all() == {"rung": 1}
    assert drained(row)["ok"] == 15
    held = outside.get(f"/klaviyo/{account['public_key']}/catalogue")
    assert (len(held["items"]), len(held["variants"])) == (5, 10)
    assert business("targets.drain", drained(row)) == "nothing"
    assert business("targets.drain_2", drained(row, jobs.drain_2)) == "nothing"

    assert jobs.compare_all() == {"targets": 1}
    with read_only(app.engine) as conn:
        asked = fetch_one(conn, "select id from sync_runs where kind = 'sync_target' and state = 'queued'")
    assert asked is not None
    counts = jobs.compare(shop_id=row.shop_id, connection_id=row.id, sync_run_id=asked["id"])
    assert (counts["in_step"], counts["read"]) == (15, 15)
    assert "Compared last" in run(app, "klaviyo", "status").output
    with read_only(app.engine) as conn:
        ended = fetch_one(conn, "select state, done, total from sync_runs where id = %(id)s", id=asked["id"])
    assert ended == {"state": "done", "done": 15, "total": 15}
    assert "Comparison" in run(app, "klaviyo", "sync", "--reason", "look").output
    assert isinstance(run(app, "klaviyo", "requeue", "--reason", "again").exception, NothingToRequeue)


def test_a_target_goes_on_by_itself_when_it_is_resumed_and_when_redis_was_emptied(
    app: Application, outside: Outside, account: dict[str, Any], redis_url: str
) -> None:
    connect(app, outside, account["private_key"])
    row = row_of(app)
    run(app, "klaviyo", "live", "--reason", "go")
    with unit_of_work(app.engine) as conn:
        puts = [Put(make_product(f"p{n}", f"P{n}-1")) for n in range(3)]
        put_products(conn, row.shop_id, puts, "imported", ACTOR, utc_now())
    run(app, "pause", row.name, "--reason", "wait")
    assert drained(row) == {"paused": True}
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        said = run(app, "resume", row.name, "--reason", "on")
        assert "told the catalogue again" in said.output
        assert [job.kwargs["connection_id"] for job in queue_named("targets", client).get_jobs()] == [row.id]
        # Every flag, every bucket of quota and every promised ring is lost in the middle of it.
        with bootstrap.application().target(row) as api:
            seat = Seat(app.engine, queries.target_of(row), api)
            seat.plan()
            # Its quota comes with time, and is asked for as in a drain.
            assert any(seat.send() or time.sleep(0.05) for _ in range(200))
        client.flushdb()
    assert jobs.ring_all() == {"rung": 1}
    drained(row)
    held = outside.get(f"/klaviyo/{account['public_key']}/catalogue")
    assert (len(held["items"]), len(held["variants"])) == (3, 3)
    with read_only(app.engine) as conn:
        told = fetch(conn, "select kind, verb, entries from target_jobs order by id")
    assert [(one["kind"], one["verb"], one["entries"]) for one in told] == [
        ("item", "create", 3), ("variant", "create", 3),
    ]  # fmt: skip


def test_a_key_that_is_entered_again_leaves_the_settings_as_they_are(
    app: Application, outside: Outside, account: dict[str, Any]
) -> None:
    connect(app, outside, account["private_key"], "--hide-out-of-stock")
    options = ["--key", account["private_key"], "--base-url", f"{outside.url}/klaviyo", "--shop", "Potters"]
    assert run(app, "connect", "klaviyo", *options).exit_code == 0
    settings = row_of(app).settings
    assert (settings["storefront_url"], settings["hide_out_of_stock"]) == ("https://shop.test", True)


def test_a_wrong_key_stores_nothing_and_says_which_scopes_are_needed(app: Application, outside: Outside) -> None:
    done = connect(app, outside, "pk_wrong")
    assert isinstance(done.exception, NotRight)
    assert "catalogs:write" in done.output
    assert "pk_wrong" not in done.output
    with read_only(app.engine) as conn:
        assert fetch_one(conn, "select 1 from connections") is None


def test_an_address_that_is_none_is_refused(app: Application, outside: Outside, account: dict[str, Any]) -> None:
    done = connect(app, outside, account["private_key"], "--storefront", "shop")
    assert isinstance(done.exception, BadInput)
    assert "give it whole" in str(done.exception)


def test_a_target_is_no_channel(app: Application, outside: Outside, account: dict[str, Any]) -> None:
    """Nobody polls it, and whoever asks it to be read as a channel is told what it is."""
    connect(app, outside, account["private_key"])
    row = row_of(app)
    assert connection_jobs.poll_all() == {"connections": 0}
    with unit_of_work(app.engine) as conn:
        execute(
            conn,
            """
            insert into sync_runs (shop_id, connection_id, kind, trigger, requested_by, reason, requested_at)
            values (%(shop)s, %(id)s, 'sync_connection', 'click', 'ada', 'x', now())
            """,
            shop=row.shop_id,
            id=row.id,
        )
        asked = fetch_one(conn, "select id from sync_runs where kind = 'sync_connection'")
    assert asked is not None
    said = connection_jobs.sync_connection(shop_id=row.shop_id, connection_id=row.id, sync_run_id=asked["id"])
    assert "sells nothing" in said["failed"]


def test_every_command_has_its_words() -> None:
    assert all(command.help for command in klaviyo.commands.values())
