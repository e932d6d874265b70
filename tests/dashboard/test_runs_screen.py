"""The Runs screen: how each kind of sync stands, what runs, what ran, one run in full, stopping and doing again."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine

from core.audit import Actor
from core.db import fetch_one, scalar
from core.errors import Retryable
from dashboard import run_actions, run_queries
from tests.dashboard import run_worlds, seed, worlds
from tests.dashboard.conftest import Open, assert_apart, text_of


def labels(page: object) -> list[str]:
    return [button.label for button in page.button]  # type: ignore[attr-defined]


def test_a_shop_that_never_synced_says_so(opened: Open, conn: Connection) -> None:
    seed.shop(conn)
    page = opened("runs")
    assert not page.exception
    said = text_of(page)
    for sentence in ("Nothing has been synced yet.", "Nothing has run yet", "No run ended so"):
        assert sentence in said, sentence


def test_health_names_what_fails_with_shares_and_seconds_and_what_runs_has_its_bar(
    opened: Open, conn: Connection
) -> None:
    made = run_worlds.busy(conn)
    page = opened("runs")
    assert not page.exception
    said = text_of(page)
    for sentence in (
        "Changed orders of Amazon UK failed the last 7 times.",
        "1 sync under way.",
        ">Fails<",
        "7 times in a row",
        f"runs?run={made.failed}",
        "Shopify UK · 14 turns without news",
        "100 %",
        "Whole catalogue of Amazon UK",
        "Stock was counted",
    ):
        assert sentence in said, sentence
    progress = page.get("progress")[0].proto.text
    assert "1,240 of 4,980" in progress
    assert "a minute" in progress
    assert "left of this step" in progress
    assert "Stop…" in labels(page)


def test_ended_runs_are_paged_and_filtered_by_the_address(opened: Open, conn: Connection) -> None:
    made = run_worlds.busy(conn)
    page = opened("runs")
    assert f"runs?run={made.done}" in text_of(page)
    next(b for b in page.button if b.label == "Older").click().run()
    assert f"runs?run={made.done}" not in text_of(page)
    assert "Newest" in labels(page)
    failed = opened("runs", state="Failed")
    said = text_of(failed)
    assert "ServerFault: searchOrders: the vendor failed (503)" in said
    assert f'runs?run={made.done}"' not in said
    of_one = text_of(opened("runs", kind="sync_connection", connection=str(made.world.shopify)))
    assert "The catalogue is being rebuilt" in of_one
    assert "listings 4,980" in of_one
    assert "orders 12" in of_one
    assert "ServerFault" not in of_one
    page = opened("runs", kind="nonsense", connection="x", before="y")
    assert not page.exception


def test_one_run_has_its_jobs_its_calls_and_what_to_look_for(opened: Open, conn: Connection) -> None:
    made = run_worlds.busy(conn)
    page = opened("runs", run=str(made.failed))
    assert not page.exception
    said = text_of(page) + "".join(code.value for code in page.code)
    for sentence in (
        "Changed orders of Amazon UK",
        "It ran",
        "What came of it",
        "connection.poll",
        "searchOrders",
        "503",
        f'"sync_run": {made.failed}',
        "poll_connection",
    ):
        assert sentence in said, sentence
    assert "Do it again…" in labels(page)
    assert "There is no sync run 99999" in text_of(opened("runs", run="99999"))


def test_the_end_of_a_run_never_stands_where_its_progress_stood(opened: Open, conn: Connection) -> None:
    made = run_worlds.busy(conn)
    running = opened("runs", run=str(made.running))
    seed.set_state(conn, "sync_runs", made.running, state="failed", ended_at=seed.now(), error="the token was refused")
    run_queries.forget()
    assert_apart((running, "Stop…"), (opened("runs", run=str(made.running)), "Do it again…"))


def test_a_turn_that_found_nothing_shows_its_job_under_its_number(opened: Open, conn: Connection) -> None:
    world = worlds.calm(conn)
    seed.job(conn, "connection.poll", seed.ago(minutes=1), "finished", business="nothing", sync_run_id=777,
             arguments={"shop_id": world.shop, "connection_id": world.shopify})  # fmt: skip
    said = text_of(opened("runs", run="777"))
    assert "Turn 777 is over: nothing to do" in said
    assert ">Nothing to do<" in said


class App:
    """The database of the test, and a queue that keeps what was rung or is away."""

    def __init__(self, engine: Engine, is_away: bool = False) -> None:
        self.engine, self.queue, self.is_away = engine, self, is_away
        self.rings: list[tuple[str, dict[str, object]]] = []

    def enqueue(self, name: str, /, **arguments: object) -> None:
        if self.is_away:
            raise Retryable("the queue does not answer")
        self.rings.append((name, arguments))


@pytest.mark.parametrize("is_away", [False, True])
def test_a_running_sync_is_stopped_and_a_failed_one_done_again(engine: Engine, conn: Connection, is_away: bool) -> None:
    made = run_worlds.busy(conn)
    app, shop = App(engine, is_away), made.world.shop
    said = run_actions.cancel_sync(app, shop, made.running, Actor("ada", "It reads the wrong shop"))  # type: ignore[arg-type]
    assert said == f"Sync run {made.running} stops at its next step."
    row = fetch_one(
        conn, "select state, cancel_asked_by, cancel_reason from sync_runs where id = %(r)s", r=made.running
    )
    assert row == {"state": "running", "cancel_asked_by": "ada", "cancel_reason": "It reads the wrong shop"}
    said = run_actions.retry_sync(app, shop, made.failed, Actor("ada", "Amazon is back"))  # type: ignore[arg-type]
    again = scalar(conn, "select id from sync_runs where retry_of = %(r)s and state = 'queued'", r=made.failed)
    assert f"Sync run {again} does it again." in said
    assert ("when Redis is back" in said) is is_away
    work = {"shop_id": shop, "connection_id": made.world.amazon, "sync_run_id": again}
    assert app.rings == ([] if is_away else [("connection.poll", work)])
    said = run_actions.run_schedule(app, shop, "audit.nightly", Actor("ada", "Something looks odd"))  # type: ignore[arg-type]
    assert ("when Redis is back" in said) is is_away
    assert app.rings[1:] == ([] if is_away else [("schedules.ring", {})])
    wish = fetch_one(conn, "select name, requested_by, reason from schedule_wishes w join schedule_requests r using "
                           "(shop_id, name, requested_by, reason)")  # fmt: skip
    assert wish == {"name": "audit.nightly", "requested_by": "ada", "reason": "Something looks odd"}


def test_who_asked_to_have_it_stopped_is_shown_while_it_stops(opened: Open, conn: Connection) -> None:
    made = run_worlds.busy(conn)
    seed.set_state(conn, "sync_runs", made.running, cancel_asked_at=seed.now(), cancel_asked_by="ada",
                   cancel_reason="wrong shop")  # fmt: skip
    page = opened("runs", run=str(made.running))
    assert "ada asked to stop it" in text_of(page)
    assert [b.disabled for b in page.button if b.label == "Stop…"] == [True]
