"""Shoppers at the fake Amazon: they buy what is in force, and what becomes of their orders is what happens there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from sandbox.world import DEMO_SELLER
from tests.sandbox.outside import Inside, wait_for

AT_AMAZON = {"seller_id": DEMO_SELLER, "pace_per_minute": 30}


def orders(world: Inside) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.get(f"/amazon/{DEMO_SELLER}/orders")["orders"]
    return found


def test_shoppers_buy_at_amazon_and_their_orders_are_shipped_and_cancelled(tmp_path: Path) -> None:
    world = Inside(tmp_path, background=True)
    opening = {level["sku"]: level["opening"] for level in world.get(f"/amazon/{DEMO_SELLER}/levels")["levels"]}
    assert world.post("/shoppers", **AT_AMAZON, running=True) == {**AT_AMAZON, "running": True}
    assert world.get("/world")["shoppers"] == [{**AT_AMAZON, "running": True}]

    def statuses() -> set[str]:
        world.clock.advance(10)
        return {order["status"] for order in orders(world)}

    wait_for(lambda: {"PENDING", "UNSHIPPED", "SHIPPED", "CANCELLED"} <= statuses(), 60)
    world.post("/shoppers", seller_id=DEMO_SELLER, running=False)
    taken: Counter[str] = Counter()
    for order in orders(world):
        for line in order["lines"]:
            taken[line["sku"]] += line["quantity"] - line["put_back"]
    levels = world.get(f"/amazon/{DEMO_SELLER}/levels")["levels"]
    assert {level["sku"]: level["in_force"]["DEFAULT"] + taken[level["sku"]] for level in levels} == opening

    # Whoever comes back ships what was left open, and keys of the run before are not met again.
    left_open = {order["id"] for order in orders(world) if order["status"] in ("PENDING", "UNSHIPPED")}
    world.post("/shoppers", seller_id=DEMO_SELLER, pace_per_minute=0.001, running=True)

    def are_done() -> bool:
        world.clock.advance(60)
        return all(order["status"] == "SHIPPED" for order in orders(world) if order["id"] in left_open)

    wait_for(are_done, 60)
    world.stop()


def test_a_seller_who_does_not_exist_has_no_shoppers(inside: Inside) -> None:
    assert inside.http.post("/_control/shoppers", json={"seller_id": "NOBODY"}).status_code == 404
    assert (
        inside.http.post("/_control/shoppers", json={"seller_id": DEMO_SELLER, "pace_per_minute": 0}).status_code == 422
    )
