"""Redis goes away, Postgres goes away: what the channel tells us meanwhile is kept, here or there, and handled once."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from core import embedded
from core.audit import Actor
from core.clock import utc_now
from core.db import fetch, read_only, unit_of_work
from core.embedded.place import known_place
from core.embedded.postgres import Postgres
from core.embedded.redis_server import RedisServer
from core.inventory.operations import Adjustment, adjust
from tests.functional.systems import System, wait_until
from tests.functional.trade import DOMAIN as TRADE_DOMAIN
from tests.functional.trade import GOODS, WAVES, Calls, Trade, count
from workers.jobs.stock import SENDERS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DOMAIN = "demo.myshopify.com"
ORDERS = 30


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """The demo, with its shoppers at rest: what happens is what the tests do."""
    made = System()
    try:
        made.start()
        for shoppers in made.control("/world")["shoppers"]:
            made.control("/shoppers", {**shoppers, "running": False})
        wait_until(lambda: is_quiet(made), "what the shoppers bought is handled")
        yield made
        made.stop()
    finally:
        made.erase()


def read(system: System, sql: str) -> list[dict[str, Any]]:
    engine = system.engine()
    try:
        with read_only(engine) as conn:
            return [dict(row) for row in fetch(conn, sql)]
    finally:
        engine.dispose()


def counted(system: System) -> dict[str, int]:
    (row,) = read(
        system,
        """
            select (select count(*) from orders) as orders,
                (select count(*) from inbox_messages) as messages,
                (select count(*) from inbox_messages where state = 'received') as received,
                (select count(*) from inbox_messages where state in ('waiting', 'parked')) as stuck
            """,
    )
    return row


def is_quiet(system: System) -> bool:
    """Everything that the channel had to say is delivered and handled."""
    deliveries = system.control("/deliveries")
    return not deliveries["queued"] and not deliveries["in_flight"] and counted(system)["received"] == 0


def buy(system: System, name: str) -> set[str]:
    """Orders of one unit each; returns their names."""
    levels = system.control(f"/shopify/{DOMAIN}/levels")["levels"]
    plenty = sorted((row for row in levels if row["tracked"]), key=lambda row: -row["available"])[:ORDERS]
    orders = [
        {"key": f"{name}-{row['sku']}", "lines": [{"sku": row["sku"], "quantity": 1, "price": "2.50"}]}
        for row in plenty
    ]
    placed = system.control(f"/shopify/{DOMAIN}/orders", {"orders": orders})
    refused = [order for order in placed["orders"] if "name" not in order]
    assert not refused, refused[:2]
    return {str(order["name"]) for order in placed["orders"]}


def receive(system: System) -> None:
    """A delivery of one unit of what a channel lists; that channel has to be told."""
    (row,) = read(
        system,
        """
            select s.code, l.shop_id, l.location_id from listings l
            join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
            where l.publishing = 'on' and s.is_stocked and l.location_id is not null and l.desired_units > 0
            order by l.id limit 1
            """,
    )
    engine = system.engine()
    try:
        with unit_of_work(engine) as conn:
            item = Adjustment("a delivery", row["code"], 1, "receipt", utc_now())
            adjust(conn, row["shop_id"], row["location_id"], [item], Actor("a tester", "a delivery came"), utc_now())
    finally:
        engine.dispose()


def pushes(system: System) -> list[dict[str, Any]]:
    """The lines in which a worker says what a push came to."""
    return [line for _, line in said(system) if line["text"] == "pushed"]


def said(system: System) -> list[tuple[str, dict[str, Any]]]:
    """(name in the Procfile, line) of everything written so far."""
    # `up` puts the time and the name of the line in the Procfile before each; the sandbox is the outside world.
    written = re.findall(r"^[\d:]+ (api|worker|scheduler|dashboard) +\| (.*)\n", system.said(), re.MULTILINE)
    return [(name, json.loads(text)) for name, text in written]


def known_orders(system: System) -> list[str]:
    return [row["name"] for row in read(system, "select name from orders")]


def assert_all_handled_once(system: System, bought: set[str]) -> None:
    names = [name for name in known_orders(system) if name in bought]
    assert sorted(names) == sorted(bought)
    assert counted(system)["stuck"] == 0
    deliveries = system.control("/deliveries")
    assert (deliveries["given_up"], deliveries["failed"], deliveries["subscriptions_deleted"]) == (0, 0, 0)
    system.cli("audit")


def metrics(system: System) -> dict[str, float]:
    """Samples by name and labels, as text."""
    text = httpx.get(system.state().metrics_url, timeout=60).raise_for_status().text
    return {
        f"{sample.name}{sample.labels or ''}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def readiness(system: System) -> tuple[int, Any]:
    answer = httpx.get(system.state().addresses["api"] + "/readyz", timeout=60)
    return answer.status_code, answer.json()


def start_again(system: System) -> None:
    embedded.start(system.home, postgres_port=system.base + 3, redis_port=system.base + 4)


def test_without_redis_webhooks_are_accepted_and_the_sweep_finds_them(system: System) -> None:
    before = counted(system)
    assert RedisServer(system.home, known_place(system.home)).stop()
    try:
        bought = buy(system, "without-redis")
        wait_until(lambda: not system.control("/deliveries")["queued"], "everything is delivered")
        delivered = system.control("/deliveries")
        # Accepted at the first attempt, and on record.
        assert delivered["failed"] == 0
        kept = counted(system)
        assert kept["messages"] - before["messages"] >= ORDERS
        assert kept["received"] >= ORDERS
        wait_until(lambda: readiness(system) == (200, {"status": "ready", "degraded": ["redis"]}), "it says so")
        wait_until(lambda: metrics(system)["switchyard_up{'part': 'redis'}"] == 0, "metrics say so too")
    finally:
        start_again(system)
    wait_until(lambda: is_quiet(system), "the sweep has rung for what was kept")
    assert_all_handled_once(system, bought)
    wait_until(lambda: readiness(system) == (200, {"status": "ready", "degraded": []}), "it says that all is well")


def test_without_postgres_webhooks_are_refused_and_the_channel_brings_them_again(system: System) -> None:
    address = system.state().addresses["api"]
    unavailable = "switchyard_deliveries_refused_total{'reason': 'unavailable'}"
    refused_before = metrics(system)[unavailable]
    assert Postgres(system.home, known_place(system.home)).stop()
    try:
        bought = buy(system, "without-postgres")
        wait_until(lambda: system.control("/deliveries")["failed"] >= ORDERS, "every first attempt has failed")
        wait_until(lambda: readiness(system)[0] == 503, "it says that it is not ready")
        assert readiness(system)[1]["missing"] == ["database"]
        assert httpx.get(f"{address}/healthz", timeout=60).status_code == 200
        wait_until(lambda: metrics(system)["switchyard_up{'part': 'postgres'}"] == 0, "metrics say so too")
        # Refused by us, rather than cut off.
        assert metrics(system)[unavailable] - refused_before >= ORDERS
        answer = httpx.post(f"{address}/webhooks/shopify/1", content=b"{}", headers=HEADERS, timeout=60)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    finally:
        start_again(system)
    # The channel waits for a minute before its first retry, by its own clock.
    system.control("/clock", {"factor": 600})
    wait_until(lambda: is_quiet(system), "the channel has delivered everything again")
    assert_all_handled_once(system, bought)


HEADERS = {
    "X-Shopify-Topic": "orders/create",
    "X-Shopify-Hmac-Sha256": "not looked at without the secret",
    "X-Shopify-Shop-Domain": DOMAIN,
    "X-Shopify-Webhook-Id": "by-hand",
}


def test_what_the_whole_says_of_itself(system: System) -> None:
    """After both outages: every part is counted, and every line that was written is JSON and names its process."""
    wait_until(lambda: metrics(system)["switchyard_up{'part': 'postgres'}"] == 1, "it is seen to be back")
    # A worker that went with Redis is on its list until its time is over.
    wait_until(lambda: metrics(system)["switchyard_workers{'queue': 'events'}"] == 1, "each queue has its worker")
    found = metrics(system)
    assert found["switchyard_job_runs_total{'function': 'inbox.drain', 'outcome': 'finished'}"] > 0
    assert found["switchyard_schedule_last_success_timestamp_seconds{'schedule': 'sweep.inbox'}"] > 0
    assert sum(value for name, value in found.items() if name.startswith("switchyard_api_calls_total")) > 0
    assert sum(value for name, value in found.items() if name.startswith("switchyard_inbox_settled_total")) >= 60

    # The channel sells by itself what it sold: it has to be told only of what happened elsewhere.
    receive(system)
    pushed = wait_until(lambda: pushes(system), "the channel is told of a delivery")
    assert all(line["counts"] and line["lane"].startswith("stock:") and line["job"] for line in pushed)

    lines = said(system)
    assert len(lines) > 20
    names = {(name, line["process"]) for name, line in lines}
    assert names >= {
        *((name, "keeper") for name in ("api", "worker", "scheduler", "dashboard")),
        *((name, name) for name in ("api", "worker", "scheduler", "dashboard")),
    }


# --- hard times: the same trade each time, held against a quiet day


@pytest.fixture(scope="module")
def trade(system: System) -> Iterator[Trade]:
    """A shop of its own in the running system, whose vendors' clocks fly."""
    made = Trade(system)
    made.open()
    yield made
    made.close()


@pytest.fixture(scope="module")
def quiet_day(trade: Trade) -> Calls:
    """What the trade costs when nothing befalls it."""
    return spent(trade)


def spent(trade: Trade) -> Calls:
    """Trade through all waves, in step after each; the calls it took."""
    before = trade.calls()
    for _ in trade.waves(in_step=True):
        pass
    return trade.calls() - before


def assert_all_is_well(trade: Trade) -> None:
    """Both channels show what there is of everything, and no invariant is broken."""
    on_shopify, on_amazon, ours = trade.shown()
    assert on_shopify == ours
    assert on_amazon == ours
    assert len(ours) == GOODS
    assert trade.broken_when_told() == {}


SET, PATCH = "SetQuantities", "PATCH items"
ATTEMPTS = 4
"""A call is tried so often within one job."""


@pytest.mark.long
def test_an_hour_without_shopify(trade: Trade, quiet_day: Calls) -> None:
    """Meanwhile it costs a few tries a push, and nobody else suffers; afterwards no more than a quiet day."""
    before, jobs, began = trade.calls(), trade.jobs(), time.monotonic()
    with trade.misfortune(kind="http_500", match=f"/shopify/{TRADE_DOMAIN}/"):
        for _ in trade.waves(in_step=False):
            pass
        trade.pass_sandbox_seconds(began, 3600)
        assert trade.hits() >= ATTEMPTS
        jobs = trade.jobs() - jobs
    trade.settle()
    assert_all_is_well(trade)
    calls = trade.calls() - before
    assert count(calls, "shopify", answered=False) <= ATTEMPTS * jobs
    assert count(calls, "shopify", answered=True, operation=SET) <= count(quiet_day, "shopify", operation=SET)
    assert count(calls, "amazon", operation=PATCH) <= count(quiet_day, "amazon", operation=PATCH)


@pytest.mark.long
def test_a_token_that_expires_in_the_middle_of_a_batch(trade: Trade) -> None:
    """Each refused call is made once more, with a token that is fetched once for it, and nothing else is."""
    before = trade.calls()
    trade.arm(kind="expired_token", match="inventorySetQuantities", count=1)
    with trade.misfortune(kind="expired_token", match="PATCH", count=1):
        trade.receive(0, trade.codes)
        trade.settle()
        assert trade.hits() == 2
    assert_all_is_well(trade)
    calls = trade.calls() - before
    assert count(calls, "shopify", answered=False, operation=SET) == 1
    assert count(calls, "shopify", answered=True, operation=SET) == 2
    # Several are on their way at once when a token dies, and a poll may be among them.
    assert count(calls, "shopify", answered=False) <= SENDERS
    assert 1 <= count(calls, "amazon", answered=False) <= SENDERS
    assert count(calls, "amazon", answered=True, operation=PATCH) == GOODS


@pytest.mark.long
def test_a_storm_of_429(trade: Trade, quiet_day: Calls) -> None:
    """Two calls of three are refused: what is answered is no more than on a quiet day, what is refused bounded."""
    before, jobs = trade.calls(), trade.jobs()
    with trade.misfortune(kind="http_429", match=f"/shopify/{TRADE_DOMAIN}/", probability=0.67):
        trade.arm(kind="http_429", match="/amazon/", probability=0.67)
        for _ in trade.waves(in_step=False):
            pass
        assert trade.hits() > WAVES
    trade.settle()
    assert_all_is_well(trade)
    calls = trade.calls() - before
    for vendor, operation in (("shopify", SET), ("amazon", PATCH)):
        assert count(calls, vendor, answered=True, operation=operation) <= count(quiet_day, vendor, operation=operation)
    tried = count(quiet_day, "amazon", operation=PATCH) + trade.jobs() - jobs
    assert count(calls, "shopify", answered=False) + count(calls, "amazon", answered=False) <= ATTEMPTS * tried


@pytest.mark.long
def test_a_lost_reply_on_every_fifth_write(trade: Trade, quiet_day: Calls) -> None:
    """Each is asked for again, with the same key, and applied once."""
    before, lost = trade.calls(), 0
    for wave in trade.waves(in_step=True):
        if wave % 5 == 0:
            trade.arm(kind="lost_reply", match="inventorySetQuantities", count=1)
            lost += 1
    assert trade.hits() == lost == 2
    trade.disarm()
    assert_all_is_well(trade)
    calls = trade.calls() - before
    assert count(calls, "shopify", answered=False) == lost
    assert count(calls, "shopify", answered=True, operation=SET) <= count(quiet_day, "shopify", operation=SET)
    assert count(calls, "amazon", operation=PATCH) <= count(quiet_day, "amazon", operation=PATCH)


@pytest.mark.long
def test_what_befell_the_shop_leaves_no_trace_in_the_audit(trade: Trade) -> None:
    assert trade.system.cli_json("audit", "--settled")["clean"]
