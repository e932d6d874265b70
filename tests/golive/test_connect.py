"""`switchyard connect shopify` and `switchyard doctor` against the sandbox."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from core.adapters.shopify import access
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import checkup, queries
from core.connections import operations as connections
from core.connections.queries import ConnectionRow
from core.db import execute, fetch, fetch_one, read_only, scalar, unit_of_work
from core.errors import BadInput
from core.runs.schedules import SCHEDULES
from tests.factories import ACTOR
from tests.golive.conftest import FACTOR
from tests.sandbox.outside import ShopSide
from workers import console
from workers.cli import cli
from workers.connecting import NotRight
from workers.jobs import connections as jobs


def run(app: Application, *words: str, typed: str | None = None) -> Result:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(console, "application", lambda: app)
        return CliRunner().invoke(cli, words, input=typed, standalone_mode=False)


def connect(app: Application, side: ShopSide, *more: str, **changed: str) -> Result:
    given = {"domain": side.domain, "client-id": side.entry["client_id"]} | changed
    given.setdefault("client-secret", side.entry["client_secret"])
    given.setdefault("base-url", f"{side.outside.url}/shopify/{side.domain}")
    options = [word for name, value in given.items() for word in (f"--{name}", value)]
    return run(app, "connect", "shopify", *options, "--clock-factor", str(FACTOR), *more)


def stored(app: Application) -> list[ConnectionRow]:
    with read_only(app.engine) as conn:
        return [row for shop in queries.shops(conn) for row in queries.connections_of(conn, shop["shop_id"])]


def test_a_shop_is_asked_for_looked_at_and_stored_in_shadow_mode(app: Application, shop: ShopSide) -> None:
    shop.stock("MUG", available=10)
    base_url = f"{shop.outside.url}/shopify/{shop.domain}"
    typed = f"https://{shop.domain}/admin\n{shop.entry['client_id']}\n{shop.entry['client_secret']}\n"
    done = run(
        app,
        "connect",
        "shopify",
        "--base-url",
        base_url,
        "--clock-factor",
        str(FACTOR),
        "--mode",
        "pooled",
        typed=typed,
    )
    assert done.exception is None, (done.output, done.exception)
    assert shop.entry["client_secret"] not in done.output
    for words in (
        "account: Test answers",
        "scopes: all that is needed",
        "API version: 2026-10 answers",
        "in shadow mode",
    ):
        assert words in done.output
    assert f"It calls {app.settings.api_url}" in done.output

    (row,) = stored(app)
    assert (row.write_mode, row.account_ref, row.name) == ("shadow", shop.domain, "Shopify")
    with read_only(app.engine) as conn:
        secrets = connections.open_secrets(conn, app.settings.secret_keys, row.shop_id, row.id)
        run_row = fetch_one(conn, "select * from sync_runs")
        acts = [entry["act"] for entry in fetch(conn, "select act from audit_entries order by id")]
    assert secrets["client_secret"] == shop.entry["client_secret"]
    assert "connect" in acts
    assert run_row is not None
    counts = jobs.sync_connection(shop_id=row.shop_id, connection_id=row.id, sync_run_id=run_row["id"])
    assert (counts["listings"], counts["open_orders"]) == (1, 0)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"client-secret": "wrong-secret"}, "check client ID and secret"),
        ({"base-url": "http://127.0.0.1:9"}, "check the domain and that this machine may call out"),
    ],
)
def test_nothing_is_stored_until_it_is_right(
    app: Application, shop: ShopSide, changed: dict[str, str], words: str
) -> None:
    done = connect(app, shop, **changed)
    assert isinstance(done.exception, NotRight)
    assert words in done.output
    assert "wrong-secret" not in done.output + str(done.exception)
    assert stored(app) == []


def test_credentials_of_another_shop_are_told_apart(app: Application, shop: ShopSide) -> None:
    done = connect(app, shop, domain="somebody-else.myshopify.com")
    assert isinstance(done.exception, NotRight)
    assert f"the credentials open {shop.domain}, not somebody-else.myshopify.com" in done.output
    assert stored(app) == []


def test_a_shop_that_does_not_answer_yet_can_be_stored_by_name(app: Application, shop: ShopSide) -> None:
    more = ("--store-anyway", "--shop", "Later")
    done = connect(app, shop, *more, **{"base-url": "http://127.0.0.1:9"})
    assert done.exception is None, done.output
    assert [row.write_mode for row in stored(app)] == ["shadow"]


def test_a_name_stays_with_its_account_and_credentials_can_be_entered_again(app: Application, shop: ShopSide) -> None:
    assert connect(app, shop).exception is None
    assert connect(app, shop).exception is None
    assert len(stored(app)) == 1
    other = shop.outside.shop()
    refused = connect(app, other, "--shop", "Test").exception
    assert isinstance(refused, BadInput)
    assert "--name" in str(refused)
    assert connect(app, other, "--shop", "Test", "--name", "Outlet").exception is None
    assert {row.account_ref for row in stored(app)} == {shop.domain, other.domain}
    twice = connect(app, other, "--shop", "Test", "--name", "Again").exception
    assert isinstance(twice, BadInput)
    assert "connected already, as Outlet" in str(twice)
    assert len(stored(app)) == 2


def test_entering_credentials_again_changes_nothing_that_was_not_said(app: Application, shop: ShopSide) -> None:
    assert connect(app, shop, name=" Main  store ").exception is None
    with unit_of_work(app.engine) as conn:
        execute(
            conn, """update connections set write_mode = 'live', settings = settings || '{"is_sku_source": false}'"""
        )
        connections.open_shop(conn, "Another shop", "UTC", "GBP", ACTOR, utc_now())
    again = [
        *("--domain", shop.domain, "--client-id", shop.entry["client_id"], "--name", "Main store"),
        *("--client-secret", shop.entry["client_secret"], "--base-url", f"{shop.outside.url}/shopify/{shop.domain}"),
    ]
    done = run(app, "connect", "shopify", *again)
    assert done.exception is None, done.output
    (row,) = stored(app)
    assert row.settings["clock_factor"] == FACTOR
    assert row.settings["is_sku_source"] is False
    assert (row.name, row.write_mode) == ("Main store", "live")
    assert "shadow" not in done.output
    assert "it is live" in done.output
    with read_only(app.engine) as conn:
        asked = fetch(conn, "select connection_id from api_calls where operation = 'about'")
    assert [call["connection_id"] for call in asked] == [row.id]
    with unit_of_work(app.engine) as conn:
        execute(conn, "update connections set write_mode = 'shadow'")
    assert "switchyard go-live 'Main store' --shop Test" in run(app, "connect", "shopify", *again).output


@pytest.mark.parametrize("option", ["--name", "--shop"])
def test_a_name_of_nothing_is_refused(app: Application, shop: ShopSide, option: str) -> None:
    refused = connect(app, shop, option, "  ").exception
    assert isinstance(refused, BadInput)
    assert option in str(refused)
    assert stored(app) == []


def test_what_is_no_domain_of_shopify_is_refused(app: Application, shop: ShopSide) -> None:
    assert isinstance(connect(app, shop, domain="shop.example").exception, BadInput)


def parts(app: Application, *words: str) -> tuple[int, dict[str, dict[str, list[dict[str, Any]]]]]:
    done = run(app, "doctor", "--json", *words)
    found = json.loads(done.stdout)
    by_part: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for part in found:
        about = by_part.setdefault(part["name"], {})
        for finding in part["findings"]:
            about.setdefault(finding["about"], []).append(finding)
    return done.exception.code if isinstance(done.exception, SystemExit) else done.exit_code, by_part


def test_the_doctor_looks_at_everything_and_says_what_to_do(app: Application, shop: ShopSide) -> None:
    assert connect(app, shop).exception is None
    status, found = parts(app)
    assert status == 1
    assert found["Settings"]["database"][0]["state"] == "ok"
    assert found["Settings"]["redis"][0]["state"] == "ok"
    # Nobody works and nobody rings here.
    assert found["Processes"]["workers"][0]["state"] == "problem"
    assert found["Processes"]["schedules"][0]["state"] == "problem"
    with read_only(app.engine) as conn:
        calls = fetch(conn, "select connection_id, purpose from api_calls where operation = 'about' order by id")
    (row,) = stored(app)
    # What was asked before there was a connection is on record for none.
    assert [(call["connection_id"], call["purpose"]) for call in calls] == [(row.id, "command:doctor")]
    mine = found[f"Shopify (shopify, {shop.domain})"]
    assert [item["state"] for item in mine["credentials"] + mine["account"] + mine["clock"]] == ["ok", "ok", "ok"]
    assert mine["writes"][0]["state"] == "warning"
    assert mine["catalogue"][0]["state"] == "problem"
    for part in found.values():
        for items in part.values():
            assert all(item["next_step"] for item in items if item["state"] != "ok")
    said = run(app, "doctor").output
    assert shop.entry["client_secret"] not in said
    assert "things do not work" in said


def test_the_doctor_tells_a_lost_key_and_refused_credentials(app: Application, shop: ShopSide) -> None:
    assert connect(app, shop).exception is None
    (row,) = stored(app)
    with unit_of_work(app.engine) as conn:
        bad = {"client_secret": "wrong-secret"}
        connections.seal_secrets(conn, app.settings.secret_keys, row.shop_id, row.id, bad, row.created_at)
    _, found = parts(app)
    mine = found[f"Shopify (shopify, {shop.domain})"]
    assert mine["answer"][0]["state"] == "problem"
    assert "wrong-secret" not in json.dumps(found)
    with unit_of_work(app.engine) as conn:
        connections.seal_secrets(conn, [connections.new_key()], row.shop_id, row.id, bad, row.created_at)
    _, found = parts(app)
    assert (
        "SWITCHYARD_SECRET_KEYS lacks the key" in found[f"Shopify (shopify, {shop.domain})"]["credentials"][0]["says"]
    )


def test_the_doctor_is_content_where_all_is_well(
    app: Application, shop: ShopSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The scopes without which it cannot work, and none besides.
    shop.control("app", scopes=sorted(access.NEEDED))
    done = connect(app, shop)
    assert done.exception is None
    assert "1 more would need a scope that is advised" in done.output
    (row,) = stored(app)
    with unit_of_work(app.engine) as conn:
        run_id = scalar(conn, "select id from sync_runs")
        # What workers and the scheduler would have left behind.
        execute(
            conn,
            "insert into schedule_runs (name, period, started_at, ended_at, outcome)"
            " select n, 'p', now(), now(), 'finished' from unnest(%(names)s::text[]) n",
            names=[schedule.name for schedule in SCHEDULES],
        )
    jobs.sync_connection(shop_id=row.shop_id, connection_id=row.id, sync_run_id=run_id)
    monkeypatch.setattr(checkup, "of_queues", lambda _queues: [])
    status, found = parts(app)
    bad = [item for part in found.values() for items in part.values() for item in items if item["state"] == "problem"]
    assert (status, bad) == (0, [])
