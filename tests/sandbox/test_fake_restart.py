"""A world is taken up where it was left, duties in the middle and worlds of an earlier version included."""

from __future__ import annotations

from pathlib import Path

from sandbox.clock import VirtualClock
from sandbox.inprocess import InProcess
from sandbox.store import Store
from sandbox.tables import ADDED
from tests.sandbox.outside import Inside, ShopSide

RUN = """mutation { bulkOperationRunQuery(query: "{ products { nodes { id title } } }") {
    bulkOperation { id } } }"""
STATE = "query($id: ID!) { bulkOperation(id: $id) { status objectCount fileSize url } }"
ROUTED = "query($id: ID!) { order(id: $id) { fulfillmentOrders(first: 5) { nodes { status } } } }"
SKUS = [f"S{number:03}" for number in range(230)]


class Left(Inside):
    """A world in this process whose clock is its own, stands still, and is kept."""

    def __init__(self, folder: Path) -> None:
        self.url = InProcess.url
        self.world = InProcess(folder)
        self.http = self.world.client(timeout=30)
        self.post("/clock", virtual=True)


def test_what_is_owed_is_done_after_a_restart(tmp_path: Path) -> None:
    world = Left(tmp_path)
    shop = world.shop()
    shop.stock(*SKUS)
    order = shop.place(("S000", 1))
    operation = shop.data(RUN)["bulkOperationRunQuery"]["bulkOperation"]["id"]
    world.post("/clock", advance=1.0)
    assert shop.data(STATE, id=operation)["bulkOperation"]["status"] == "RUNNING"
    world.stop()
    # A step that was killed in the middle of its writing leaves lines behind that nobody counted.
    (file,) = (tmp_path / "bulk").iterdir()
    file.write_bytes(file.read_bytes() + b'{"id": "half a li')
    world = Left(tmp_path)
    again = ShopSide(world, world.post("/shops", domain=shop.domain, plan="plus"))
    assert again.data(ROUTED, id=f"gid://shopify/Order/{order['id']}")["order"]["fulfillmentOrders"]["nodes"] == []
    world.post("/clock", advance=10)
    nodes = again.data(ROUTED, id=f"gid://shopify/Order/{order['id']}")["order"]["fulfillmentOrders"]["nodes"]
    assert nodes == [{"status": "OPEN"}]
    done = again.data(STATE, id=operation)["bulkOperation"]
    lines = world.http.get(done["url"])
    assert (done["status"], done["objectCount"], done["fileSize"]) == ("COMPLETED", "230", str(len(lines.content)))
    assert len(set(lines.text.splitlines())) == 230
    world.stop()


def test_a_world_of_an_earlier_version_is_taken_up(tmp_path: Path) -> None:
    with InProcess(tmp_path, VirtualClock()) as world:
        client = world.client()
        shop = client.get("/_control/world").json()["shops"][0]
        sku = client.get(f"/_control/shopify/{shop['domain']}/levels").json()["levels"][0]["sku"]
        line = {"sku": sku, "quantity": 1, "price": "1.00"}
        made = client.post(
            f"/_control/shopify/{shop['domain']}/orders", json={"orders": [{"key": "k", "lines": [line]}]}
        )
    store = Store(tmp_path)
    for table, column, _ in ADDED:
        store.db.execute(f"alter table {table} drop column {column}")
    for table in ("fulfillment_orders", "fulfillment_order_lines", "duties", "bulks", "attempts"):
        store.db.execute(f"drop table {table}")
    store.close()
    with InProcess(tmp_path, VirtualClock()) as world:
        wanted = {"key": "s", "order_id": made.json()["orders"][0]["id"]}
        path = f"/_control/shopify/{shop['domain']}/fulfilments"
        answer = world.client().post(path, json={"fulfilments": [wanted]}).json()
        assert answer["fulfilments"][0]["id"]
