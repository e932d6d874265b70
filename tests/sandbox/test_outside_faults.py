"""Armed misfortune, and a world that survives being killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.sandbox.outside import ROOT, Outside, Receiver, availability, wait_for

SHOP = "{ shop { id } }"


def test_a_lost_reply_has_had_its_effect(own: Outside) -> None:
    shop = own.shop()
    items = shop.stock("A")
    shop.data(SHOP)
    own.faults(kind="lost_reply", match="inventorySetQuantities", count=1)
    element = shop.element(items["A"], 4, 10)
    with pytest.raises(httpx.RemoteProtocolError):
        shop.set(element, key="lost")
    assert shop.level(items["A"])["available"] == 4
    # The repetition with the same key is told what had happened.
    answer = shop.set(element, key="lost")
    assert answer["data"]["inventorySetQuantities"]["userErrors"] == []
    assert shop.level(items["A"])["available"] == 4


def test_failed_answers_have_no_effect(own: Outside) -> None:
    shop, seller = own.shop(), own.seller({"sku": "A", "quantity": 1})
    shop.data(SHOP)
    own.faults(kind="http_500", match="graphql.json", count=1)
    own.faults(kind="http_429", match="PATCH /amazon", count=1)
    assert shop.send(SHOP).status_code == 500
    assert shop.send(SHOP).status_code == 200
    refused = seller.patch("A", availability("merge", quantity=7))
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (429, "QuotaExceeded")
    assert seller.get("A", "attributes").json()["attributes"]["fulfillment_availability"][0]["quantity"] == 1
    assert [fault["hits"] for fault in own.get("/faults")["faults"]] == [1, 1]


def test_latency_outlasts_an_impatient_caller(own: Outside) -> None:
    shop = own.shop()
    shop.data(SHOP)
    own.faults(kind="latency", match="graphql", count=1, seconds=3600)
    with pytest.raises(httpx.ReadTimeout):
        shop.http.post(
            "/admin/api/2026-10/graphql.json",
            json={"query": SHOP},
            timeout=0.3,
            headers={"X-Shopify-Access-Token": shop.token},
        )
    assert own.http.request("DELETE", "/_control/faults").json() == {"disarmed": 1}
    assert shop.send(SHOP).status_code == 200


@pytest.mark.parametrize(
    "fault", [{"kind": "flood"}, {"kind": "latency", "count": 0}, {"kind": "latency", "probability": 2}]
)
def test_a_fault_that_makes_no_sense_is_refused(outside: Outside, fault: dict[str, object]) -> None:
    assert outside.http.post("/_control/faults", json=fault).status_code == 422


def test_nothing_is_lost_when_it_is_killed(own: Outside, receiver: Receiver) -> None:
    shop, seller = own.shop(), own.seller({"sku": "A", "quantity": 5})
    items = shop.stock("A", available=100)
    receiver.status = lambda letter: 500
    shop.subscribe("ORDERS_CREATE", receiver.url)
    order = shop.place(("A", 3), key="before")
    seller.patch("A", availability("merge", quantity=2))
    shop.set(shop.element(items["A"], 50, 97), key="k")
    own.faults(kind="http_500", match="nothing of ours", count=3)
    world = own.get("/world")
    receiver.wait(1)
    wait_for(lambda: own.get("/deliveries")["in_flight"] == 0)
    own.kill()
    own.start("--clock-factor", "20000")

    assert own.get("/world")["shops"] == world["shops"]
    assert own.get("/world")["sellers"] == world["sellers"]
    assert shop.level(items["A"]) == {"available": 50, "committed": 3, "on_hand": 53}
    assert shop.place(("A", 3), key="before") == order
    again = shop.set(shop.element(items["A"], 50, 97), key="k")["data"]["inventorySetQuantities"]
    assert again["userErrors"] == []
    assert again["inventoryAdjustmentGroup"]["changes"]
    assert own.get("/faults")["faults"][0]["remaining"] == 3
    # The delivery that had failed is made again, and the submission comes into force.
    receiver.status = lambda letter: 200
    letters = receiver.wait(2)
    assert letters[0].id == letters[-1].id
    assert wait_for(lambda: seller.in_force("A") == 2)
    assert shop.place(("A", 1))["id"] > order["id"]


def test_killed_in_the_middle_of_deliveries_none_is_forgotten(own: Outside, receiver: Receiver) -> None:
    shop = own.shop()
    shop.stock("A", available=100_000)
    shop.subscribe("ORDERS_CREATE", receiver.url)
    line = {"sku": "A", "quantity": 1, "price": "1"}
    wanted = [{"key": f"o{number}", "ship": False, "lines": [line]} for number in range(300)]
    placed = {entry["id"] for entry in shop.control("orders", orders=wanted)["orders"]}
    receiver.wait(1)
    own.kill()
    own.start("--clock-factor", "20000")
    wait_for(lambda: {letter.body["id"] for letter in list(receiver.letters)} == placed)
    # What came twice came under the same id, as the vendor promises.
    assert len({letter.id for letter in receiver.letters}) == 300


def test_listens_on_loopback_only(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sandbox", "--host", "0.0.0.0", "--port", "1", "--data", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "loopback only" in done.stderr
