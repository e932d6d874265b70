"""`switchyard runs` and `switchyard schedules`: what ran, and what a person has done about it, each on record."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from core import bootstrap, embedded
from core.clock import utc_now
from core.connections.operations import new_key
from core.db import execute, fetch, unit_of_work
from core.runs import operations
from core.runs.schedules import SCHEDULES
from tests.factories import make_connection, make_shop
from workers import cli, console

REASON = ("--reason", "stock was counted")


@pytest.fixture
def app(
    database: embedded.Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[bootstrap.Application]:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("SWITCHYARD_SECRET_KEYS", new_key())
    monkeypatch.setenv("SWITCHYARD_OPERATOR", "ada")
    bootstrap._application_of.cache_clear()
    monkeypatch.setattr(console, "application", bootstrap.application)
    yield bootstrap.application()
    bootstrap.application().engine.dispose()
    bootstrap._application_of.cache_clear()


@pytest.fixture
def shop_id(engine: Engine, app: bootstrap.Application) -> int:
    with unit_of_work(engine) as conn:
        shop = make_shop(conn, "Harbour")
        make_connection(conn, shop)
    return shop


def run(*words: str) -> Result:
    return CliRunner().invoke(cli.cli, list(words))


def name_of(engine: Engine) -> str:
    with unit_of_work(engine) as conn:
        return str(fetch(conn, "select name from connections")[0]["name"])


def acts(engine: Engine) -> list[tuple[str, str, str]]:
    with unit_of_work(engine) as conn:
        rows = fetch(conn, "select actor, act, reason from audit_entries where actor = 'ada' order by id")
    return [(row["actor"], row["act"], row["reason"]) for row in rows]


def test_a_sync_is_asked_for_stopped_and_done_again(engine: Engine, shop_id: int) -> None:
    name = name_of(engine)
    asked = run("runs", "sync", name, *REASON)
    assert (asked.exit_code, asked.output) == (0, f"Sync run 1 of {name} is asked for. It begins within seconds.\n")
    assert "Sync run 1" in run("runs", "sync", name, *REASON).output, "one that waits is not asked for twice"
    (row,) = json.loads(run("runs", "list", "--open", "--json").output)
    assert (row["state"], row["requested_by"], row["reason"]) == ("queued", "ada", "stock was counted")

    assert run("runs", "cancel", "1", *REASON).output == "Sync run 1 is stopped.\n"
    again = run("runs", "cancel", "1", *REASON)
    assert "has ended meanwhile" in str(again.exception)
    assert "No run is like that." in run("runs", "list", "--open").output
    assert "does it again. It begins within seconds.\n" in run("runs", "retry", "1", *REASON).output
    (row,) = json.loads(run("runs", "list", "--open", "--json").output)
    shown = json.loads(run("runs", "show", str(row["sync_run_id"])).output)
    assert (shown["run"]["retry_of"], shown["jobs"]) == (1, [])
    assert [act for _, act, _ in acts(engine)] == ["start_sync", "start_sync", "cancel_sync", "retry_sync"]
    assert {why for _, _, why in acts(engine)} == {"stock was counted"}


def test_a_comparison_is_stopped_with_its_record_and_asked_for_again(engine: Engine, shop_id: int) -> None:
    asked = run("reconcile", "start", name_of(engine), *REASON)
    assert asked.exit_code == 0, asked.output
    (row,) = json.loads(run("runs", "list", "--open", "--json").output)
    number = str(row["sync_run_id"])
    assert run("runs", "cancel", number, *REASON).output == f"Sync run {number} is stopped.\n"
    with unit_of_work(engine) as conn:
        assert [row["ended_at"] is None for row in fetch(conn, "select ended_at from reconciliation_runs")] == [False]
    assert "does it again." in run("runs", "retry", number, *REASON).output
    with unit_of_work(engine) as conn:
        rows = fetch(conn, "select ended_at, kind from reconciliation_runs order by id")
    assert [(row["ended_at"] is None, row["kind"]) for row in rows] == [(False, "stock"), (True, "stock")]


def test_the_list_goes_on_before_a_number_and_says_what_failed(engine: Engine, shop_id: int) -> None:
    name = name_of(engine)
    for _ in range(3):
        run("runs", "sync", name, *REASON)
        with unit_of_work(engine) as conn:
            (row,) = fetch(conn, "select max(id) as id from sync_runs")
            operations.start_sync(conn, shop_id, row["id"], utc_now())
            execute(
                conn,
                "update sync_runs set state = 'failed', error = 'ServerFault: 503', ended_at = now() where id = %(id)s",
                id=row["id"],
            )
    said = run("runs", "list", "--limit", "2", "--failed", "--connection", name).output
    assert said.count("sync_connection, failed; by ada: stock was counted; ServerFault: 503") == 2
    before = said.rsplit("Older ones: --before ", 1)[1].strip()
    assert run("runs", "list", "--before", before).output.count("ServerFault") == 1


@pytest.mark.parametrize("words", [("show", "77"), ("cancel", "77", *REASON), ("retry", "77", *REASON)])
def test_a_number_that_is_not_there_is_named(shop_id: int, words: tuple[str, ...]) -> None:
    assert "there is no sync run 77" in str(run("runs", *words).exception)


def test_schedules_are_listed_run_paused_and_resumed(engine: Engine, shop_id: int) -> None:
    assert run("schedules").output.count("never ran") == len(SCHEDULES)
    assert "every 60 s" in run("schedules").output
    assert run("schedules", "pause", "poll.orders", *REASON).output.startswith("poll.orders is paused")
    assert "already" in str(run("schedules", "pause", "poll.orders", *REASON).exception)
    assert "asked for" in run("schedules", "run", "sweep.alerts", *REASON).output
    rows = {row["name"]: row for row in json.loads(run("schedules", "--json").output)}
    assert [name for name, row in rows.items() if row["is_paused"]] == ["poll.orders"]
    assert [name for name, row in rows.items() if row["is_asked_for"]] == ["sweep.alerts"]
    assert run("schedules", "resume", "poll.orders", *REASON).output.startswith("poll.orders runs again")
    assert [act for _, act, _ in acts(engine)] == ["pause_schedule", "run_schedule", "resume_schedule"]
    with unit_of_work(engine) as conn:
        operations.begin_period(conn, "poll.orders", "1", utc_now())
        operations.finish_period(conn, "poll.orders", "1", "failed", {}, utc_now())
    assert [line.split()[:1] for line in run("schedules").output.splitlines() if " failed " in line] == [
        ["poll.orders"]
    ]


def test_a_schedule_that_is_not_in_the_table_is_refused_with_those_that_are(shop_id: int) -> None:
    refused = run("schedules", "run", "poll.nothing", *REASON)
    assert refused.exit_code == 2
    assert "poll.orders" in refused.output
