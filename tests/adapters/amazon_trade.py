"""A seller at a canned Amazon, on real Postgres: what is sold there, and what became of it here."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from core import invariants
from core.clock import utc_now
from core.connections.queries import ConnectionRow
from core.db import execute, unit_of_work
from tests.adapters.canned_amazon_orders import CannedOrders, order_body, stamp
from tests.adapters.floor import Floor
from workers.jobs.stock import check_lane

SKU = "SKU 1/%"
UNITS = 30


@dataclass
class Trade:
    """A seller whose stock was taken over from Amazon, and who sells there. The vendor's clock then goes by events."""

    floor: Floor
    canned: CannedOrders = field(default_factory=lambda: CannedOrders(hidden_for=timedelta()))
    row: ConnectionRow = field(init=False)

    def __post_init__(self) -> None:
        self.row = self.floor.connect_seller(self.canned)
        assert "failed" not in (counts := self.floor.sync(self.row)), counts
        self.row = self.floor.row(self.row.shop_id, self.row.id)

    def at(self, seconds: float = 10) -> datetime:
        """The next moment of the vendor's: surely after what was taken over, by any clock."""
        self.canned.now = max(self.canned.now or utc_now(), utc_now()) + timedelta(seconds=seconds)
        return self.canned.now

    def sell(
        self,
        ref: str,
        *items: dict[str, Any],
        status: str = "PENDING",
        by: str = "MERCHANT",
        after: float = 10,
        **more: Any,
    ) -> None:
        """A buyer orders: Amazon lowers its number at once, whatever becomes of the payment."""
        fulfillment = {"fulfillmentStatus": status, "fulfilledBy": by}
        body = order_body(ref, *items, at=stamp(self.at(after)), fulfillment=fulfillment, **more)
        self.canned.put(body)
        for item in body["orderItems"] if by == "MERCHANT" else ():
            self.canned.units[item["product"]["sellerSku"]] -= item["quantityOrdered"]

    def becomes(self, ref: str, status: str, *items: dict[str, Any], **more: Any) -> None:
        known = self.canned.orders[ref]
        fulfillment = {**known["fulfillment"], "fulfillmentStatus": status}
        items = items or tuple(known["orderItems"])
        self.canned.change(ref, self.at(), fulfillment=fulfillment, orderItems=list(items), **more)

    def follow(self) -> None:
        self.floor.poll(self.row)
        self.floor.drain(self.row)

    def was_taken_over_a_minute_ago(self) -> None:
        """So that something can have happened since by clocks that agree."""
        with unit_of_work(self.floor.engine) as conn:
            execute(
                conn,
                """
                update listings set baseline_at = baseline_at - interval '1 minute',
                    opening_at = opening_at - interval '1 minute', published_at = published_at - interval '1 minute'
                where shop_id = %(shop)s
                """,
                shop=self.row.shop_id,
            )
            execute(conn, "update connections set orders_resume = null where id = %(id)s", id=self.row.id)

    def read_back(self) -> None:
        """Whatever waits for a look is looked at."""
        with unit_of_work(self.floor.engine) as conn:
            execute(
                conn, "update listing_writes set next_check_at = now() where outcome is null and sent_at is not null"
            )
        with self.floor.channel(self.row) as channel:
            check_lane(self.floor.app, self.row, channel, 0.2)

    def stock(self) -> tuple[int, int, int]:
        """(on hand, reserved, exposed) of the SKU and its listing."""
        found = self.floor.one(
            """
            select k.on_hand, k.reserved, l.exposed_units from listings l
            join stock_levels k on k.shop_id = l.shop_id and k.sku_id = l.sku_id
            where l.shop_id = %(shop)s and l.channel_ref = %(sku)s
            """,
            shop=self.row.shop_id,
            sku=SKU,
        )
        return found["on_hand"], found["reserved"], found["exposed_units"]

    def order(self, ref: str) -> dict[str, Any]:
        return self.floor.one(
            "select * from orders where shop_id = %(shop)s and channel_ref = %(ref)s", shop=self.row.shop_id, ref=ref
        )

    def line(self, ref: str) -> dict[str, Any]:
        return self.floor.one(
            """
            select l.* from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
            where o.shop_id = %(shop)s and o.channel_ref = %(ref)s
            """,
            shop=self.row.shop_id,
            ref=ref,
        )

    def watermark(self) -> datetime | None:
        found = self.floor.one("select watermark_at from connections where id = %(id)s", id=self.row.id)
        return found["watermark_at"]  # type: ignore[no-any-return]

    def audit(self) -> None:
        with unit_of_work(self.floor.engine) as conn:
            found = invariants.check(conn, utc_now(), shop_id=self.row.shop_id)
        assert [item for item in found if item.rows] == []
