"""Staff delete orders for good: afterwards the shop has none of that id, and says so to whoever listens.

Source: help.shopify.com, "Deleting orders": an order is archived or cancelled before it can be deleted; here cancelled.
"""

from sandbox.errors import Refused
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import order_rows

_PARTS = (
    "delete from holds where fulfillment_order_id in (select id from fulfillment_orders where order_id = ?)",
    "delete from fulfillment_order_lines where fulfillment_order_id in"
    " (select id from fulfillment_orders where order_id = ?)",
    "delete from fulfillment_orders where order_id = ?",
    "delete from fulfillment_events where fulfillment_id in (select id from fulfillments where order_id = ?)",
    "delete from fulfillment_lines where fulfillment_id in (select id from fulfillments where order_id = ?)",
    "delete from fulfillments where order_id = ?",
    "delete from refund_lines where refund_id in (select id from refunds where order_id = ?)",
    "delete from refunds where order_id = ?",
    "delete from lines where order_id = ?",
    "delete from orders where id = ?",
)


def delete_order(store: Store, outbox: Outbox, shop: Row, order_id: object) -> int:
    """Returns the number of what is no more. Raises NotFound, Refused for one that is not cancelled."""
    with store.transaction():
        order = order_rows.find_order(store, shop, order_id)
        if order["cancelled_at"] is None:
            raise Refused("not_cancelled", "An order is cancelled before it is deleted.", 409)
        for statement in _PARTS:
            store.run(statement, (order["id"],))
        outbox.tell(shop, outbox.act(), "orders/delete", lambda: {"id": order["id"]})
    return int(order["id"])
