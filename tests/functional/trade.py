"""A shop with both channels in a running system, that trades the same way again and again, whatever befalls it."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from core import invariants
from core.audit import Actor
from core.bootstrap import Application, make_application
from core.clock import utc_now
from core.config import Settings
from core.db import fetch, read_only, scalar, unit_of_work
from core.inventory.operations import Adjustment, adjust
from tests.functional.systems import System, wait_until
from workers.replay import wait_until_in_step
from workers.world import Control, connect_pair, quiet

NAME, DOMAIN, SELLER = "Hardship", "hardship.myshopify.com", "A1HARDSHIP"
ACTOR = Actor("a tester", "to trade through hard times")
FACTOR = 480.0
GOODS = 260
"""More than one call of a channel takes."""

WAVES, A_WAVE = 6, 4
Calls = Counter[tuple[str, str, bool]]
"""By vendor, operation, and whether the caller got its answer."""


def count(calls: Calls, vendor: str, *, answered: bool | None = None, operation: str | None = None) -> int:
    """Of one vendor, those that were answered or those that were not, of one operation or of all."""
    return sum(
        number
        for (whose, name, is_answered), number in calls.items()
        if whose == vendor and answered in (None, is_answered) and operation in (None, name)
    )


class Trade:
    """Goods, a Shopify shop and an Amazon seller; what is traded is counted where it is called, in the sandbox."""

    def __init__(self, system: System) -> None:
        self.system = system
        settings = Settings.from_environment({**os.environ, **system.state().environment()})
        self.app: Application = make_application(settings, name="tests")
        self.control = Control(settings.sandbox_url)
        self._turns = itertools.count(1)
        self.codes = [f"HARD-{number:03}" for number in range(GOODS)]

    def open(self) -> None:
        """Stock both channels alike and connect them, in step when it returns."""
        self.control.post("/clock", {"factor": FACTOR})
        self.control.post("/shops", {"domain": DOMAIN, "name": NAME, "plan": "plus"})
        goods = [
            {"sku": code, "title": code, "price": "2.50", "available": 500, "inventory_policy": "DENY"}
            for code in self.codes
        ]
        self.control.post(f"/shopify/{DOMAIN}/products", {"products": goods})
        self.control.post("/sellers", {"seller_id": SELLER, "name": NAME})
        listings = [{"sku": code, "title": code, "quantity": 500} for code in self.codes]
        self.control.post(f"/amazon/{SELLER}/listings", {"listings": listings})
        # Pooled: only there both channels are to show the whole pool.
        self.shop_id = connect_pair(self.app, self.control, NAME, DOMAIN, SELLER, ACTOR, quiet, "pooled").shop_id
        self.settle()

    def close(self) -> None:
        self.app.engine.dispose()
        self.app.queue.close()

    def settle(self) -> None:
        """Until everything that is under way has arrived."""
        wait_until_in_step(self.app, self.control, self.shop_id, quiet)

    def waves(self, *, in_step: bool) -> Iterator[int]:
        """In each some goods are sold on Shopify and as many others received by our people, and both are booked.

        With `in_step` both channels show it before the next comes.
        """
        for wave in range(WAVES):
            yield wave
            turn = next(self._turns)
            first = turn * 2 * A_WAVE
            chosen = [self.codes[(first + step) % GOODS] for step in range(2 * A_WAVE)]
            self.sell(turn, chosen[:A_WAVE])
            self.receive(turn, chosen[A_WAVE:])
            if in_step:
                self.settle()

    def sell(self, turn: int, codes: list[str]) -> None:
        """An order of one unit for each, known to us when it returns."""
        orders = [{"key": f"{turn}-{code}", "lines": [{"sku": code, "quantity": 1, "price": "2.50"}]} for code in codes]
        placed = self.control.post(f"/shopify/{DOMAIN}/orders", {"orders": orders})["orders"]
        names = [order["name"] for order in placed]
        wait_until(lambda: self._known(names) == len(names), "its orders are booked")

    def receive(self, turn: int, codes: list[str]) -> None:
        """A delivery of one unit of each."""
        now = utc_now()
        received = [Adjustment(f"{turn}-{code}", code, 1, "receipt", now) for code in codes]
        with unit_of_work(self.app.engine) as conn:
            place = scalar(conn, "select min(id) from locations where shop_id = %(shop)s", shop=self.shop_id)
            adjust(conn, self.shop_id, place, received, ACTOR, now)
        self.app.queue.enqueue("sweep.stock")

    def _known(self, names: list[str]) -> int:
        with read_only(self.app.engine) as conn:
            sql = "select count(*) from orders where shop_id = %(shop)s and name = any(%(names)s)"
            return int(scalar(conn, sql, shop=self.shop_id, names=names))

    def jobs(self) -> int:
        """How many jobs that speak with channels have begun for this shop."""
        with read_only(self.app.engine) as conn:
            return int(
                scalar(
                    conn,
                    """
                    select count(*) from job_runs
                    where (arguments->>'shop_id')::int8 = %(shop)s and function <> 'inbox.drain'
                    """,
                    shop=self.shop_id,
                )
            )

    def broken(self) -> dict[str, int]:
        """What `switchyard audit --settled` would say of this shop: rows by invariant, of those that do not hold."""
        with read_only(self.app.engine) as conn:
            found = invariants.check(conn, utc_now(), shop_id=self.shop_id, settled=True)
        return {finding.name: len(finding.rows) for finding in found if finding.rows}

    def broken_when_told(self) -> dict[str, int]:
        """The same at a moment when all that came is handled: a channel may tell of our own writes after it shows them,
        and goes on to."""

        def found() -> tuple[dict[str, int]] | None:
            broken = self.broken()
            return None if "inbox_is_settled" in broken else (broken,)

        (broken,) = wait_until(found, "what the channels told of it is handled")
        return broken

    def calls(self) -> Calls:
        """Calls of this shop's Shopify and of its seller's Amazon so far, as the sandbox counts them."""
        rows = httpx.get(f"{self.control.url}/_control/calls", timeout=20).raise_for_status().json()["calls"]
        counts: Calls = Counter()
        for row in rows:
            if row["account"] in (DOMAIN, "amazon"):
                vendor = "amazon" if row["account"] == "amazon" else "shopify"
                counts[vendor, row["operation"], row["status"] == "200"] += row["count"]
        return counts

    def arm(self, **fault: object) -> None:
        self.control.post("/faults", fault)

    @contextmanager
    def misfortune(self, **fault: object) -> Iterator[None]:
        """Armed for the length of the block; whatever is armed is taken back."""
        self.arm(**fault)
        try:
            yield
        finally:
            self.disarm()

    def disarm(self) -> None:
        httpx.delete(f"{self.control.url}/_control/faults", timeout=20).raise_for_status()

    def hits(self) -> int:
        """How often what is armed has struck."""
        found = httpx.get(f"{self.control.url}/_control/faults", timeout=20).raise_for_status().json()
        return sum(fault["hits"] for fault in found["faults"])

    def shown(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """(on Shopify, on Amazon, available here) by code."""
        shopify = self.control.get(f"/shopify/{DOMAIN}/levels")["levels"]
        amazon = self.control.get(f"/amazon/{SELLER}/levels")["levels"]
        with read_only(self.app.engine) as conn:
            sql = "select s.code, v.available from stock_levels v join skus s on s.shop_id = v.shop_id"
            ours = fetch(conn, f"{sql} and s.id = v.sku_id where v.shop_id = %(shop)s", shop=self.shop_id)
        return (
            {row["sku"]: row["available"] for row in shopify},
            {row["sku"]: row["in_force"]["DEFAULT"] for row in amazon},
            {row["code"]: row["available"] for row in ours},
        )

    def pass_sandbox_seconds(self, since: float, seconds: float) -> None:
        """Until so many seconds of the sandbox's clock have passed since a moment of the monotonic one."""
        time.sleep(max(0.0, since + seconds / FACTOR - time.monotonic()))
