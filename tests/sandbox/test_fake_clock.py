"""A clock that stands still and is moved: over HTTP, and in the caller's own process with threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from sandbox.clock import Clock, VirtualClock
from sandbox.errors import Refused
from sandbox.inprocess import InProcess
from sandbox.store import Store

SHOP = "a.myshopify.com"
GRAPHQL = f"/shopify/{SHOP}/admin/api/2026-10/graphql.json"
DEAR = {"query": "{ productVariants(first: 200) { nodes { id product { id } inventoryItem { id } } } }"}


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(wall=1_790_000_000.0)


@pytest.fixture
def world(tmp_path: Path, clock: VirtualClock) -> Iterator[InProcess]:
    with InProcess(tmp_path / "world", clock) as running:
        yield running


def signed_in(world: InProcess) -> httpx.Client:
    client = world.client()
    shop = client.post("/_control/shops", json={"domain": SHOP, "plan": "standard"}).json()
    fields = {"grant_type": "client_credentials"} | {name: shop[name] for name in ("client_id", "client_secret")}
    answer = client.post(f"/shopify/{SHOP}/admin/oauth/access_token", data=fields)
    client.headers["x-shopify-access-token"] = answer.json()["access_token"]
    return client


def test_the_quota_of_a_virtual_world_fills_only_when_its_clock_is_moved(world: InProcess, clock: VirtualClock) -> None:
    client = signed_in(world)
    goods = [{"title": f"T{n}", "sku": f"S{n}", "price": "1.00", "available": 1} for n in range(200)]
    client.post(f"/_control/shopify/{SHOP}/products", json={"products": goods})
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: client.post(GRAPHQL, json=DEAR).json(), range(8)))
    taken = [answer for answer in answers if "errors" not in answer]
    throttled = [answer for answer in answers if "errors" in answer]
    assert (len(taken), len(throttled)) == (3, 5)
    cost = throttled[0]["extensions"]["cost"]
    status = cost["throttleStatus"]
    assert (cost["requestedQueryCost"], status["currentlyAvailable"]) == (600, 200)
    clock.advance((cost["requestedQueryCost"] - status["currentlyAvailable"]) / status["restoreRate"])
    assert "errors" not in client.post(GRAPHQL, json=DEAR).json()
    assert "errors" in client.post(GRAPHQL, json=DEAR).json()


def test_a_token_of_a_virtual_world_ends_after_a_day_of_its_clock(world: InProcess, clock: VirtualClock) -> None:
    client = signed_in(world)
    asked = {"query": "{ shop { id } }"}
    clock.advance(86_398)
    assert client.post(GRAPHQL, json=asked).status_code == 200
    clock.advance(2)
    answer = client.post(GRAPHQL, json=asked)
    assert answer.status_code == 401
    assert isinstance(answer.json()["errors"], str)


def test_the_dates_of_a_virtual_world_are_those_of_its_clock(world: InProcess, clock: VirtualClock) -> None:
    client = signed_in(world)
    clock.advance(3600)
    good = {"title": "T", "sku": "S", "price": "1.00", "available": 1}
    client.post(f"/_control/shopify/{SHOP}/products", json={"products": [good]})
    asked = {"query": "{ products(first: 1) { nodes { createdAt } } }"}
    nodes = client.post(GRAPHQL, json=asked).json()["data"]["products"]["nodes"]
    assert nodes == [{"createdAt": "2026-09-21T15:13:20Z"}]


def test_latency_of_a_virtual_world_moves_its_clock_and_keeps_nobody_waiting(
    world: InProcess, clock: VirtualClock
) -> None:
    client = signed_in(world)
    client.post("/_control/faults", json={"kind": "latency", "seconds": 7200, "match": "graphql", "count": 1})
    before = clock.now()
    assert client.post(GRAPHQL, json={"query": "{ shop { id } }"}).status_code == 200
    assert clock.now() - before == 7200


def test_a_lost_reply_in_process_is_a_broken_connection_after_the_effect(world: InProcess) -> None:
    client = signed_in(world)
    client.post("/_control/faults", json={"kind": "lost_reply", "match": "graphql", "count": 1})
    made = """mutation { webhookSubscriptionCreate(topic: ORDERS_CREATE,
        webhookSubscription: {uri: "http://127.0.0.1:1/hooks"}) { userErrors { message } } }"""
    with pytest.raises(httpx.RemoteProtocolError):
        client.post(GRAPHQL, json={"query": made})
    again = client.post(GRAPHQL, json={"query": made}).json()["data"]["webhookSubscriptionCreate"]
    assert again["userErrors"] == [{"message": "Address for this topic has already been taken"}]


def test_the_control_api_stops_moves_and_releases_the_clock(tmp_path: Path) -> None:
    with InProcess(tmp_path) as world:
        client = world.client()
        running = client.post("/_control/clock", json={"advance": 5})
        assert (running.status_code, running.json()["error"]) == (409, "clock_runs")
        stopped = client.post("/_control/clock", json={"virtual": True}).json()
        moved = client.post("/_control/clock", json={"advance": 3600}).json()
        assert moved["virtual"]
        assert moved["now"] - stopped["now"] == 3600
        assert moved["wall"] - stopped["wall"] == pytest.approx(3600)
        assert client.post("/_control/clock", json={"advance": -1}).json()["error"] == "invalid_advance"
    with InProcess(tmp_path) as world:
        client = world.client()
        again = client.post("/_control/clock", json={"advance": 0}).json()
        assert again["now"] == moved["now"]
        released = client.post("/_control/clock", json={"virtual": False}).json()
        assert (released["virtual"], released["clock_factor"]) == (False, 1.0)
        # Dates never go back, or whoever polls by them would miss what comes next.
        assert released["wall"] >= moved["wall"]


def test_a_clock_of_its_own_program_is_not_moved_over_http(world: InProcess) -> None:
    answer = world.client().post("/_control/clock", json={"factor": 5})
    assert (answer.status_code, answer.json()["error"]) == (409, "clock_is_virtual")


def test_a_real_clock_goes_on_after_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    clock = Clock(store, 1000.0)
    before = clock.now()
    store.close()
    store = Store(tmp_path)
    again = Clock(store)
    assert again.factor == 1000.0
    assert again.now() >= before
    with pytest.raises(Refused):
        again.set_factor(0)
    store.close()
