"""What the fake Shopify does some time after it was asked, by the word under which it stands among the duties."""

from collections.abc import Callable

from sandbox.outbox import Outbox
from sandbox.store import Store
from sandbox.vendors.shopify import fulfilment_orders
from sandbox.vendors.shopify.bulk import BulkRunner
from sandbox.vendors.shopify.resolvers import Root


def handlers(store: Store, outbox: Outbox) -> dict[str, Callable[[int], None]]:
    """Each takes the number of its subject: an order, a bulk operation."""

    def route(order_id: int) -> None:
        order = store.one("select * from orders where id = ?", (order_id,))
        if order is None:
            # Deleted meanwhile: there is nothing to be shipped.
            return
        shop = store.one("select * from shops where id = ?", (order["shop_id"],))
        assert shop is not None
        fulfilment_orders.route(store, outbox, shop, order)

    runner = BulkRunner(store, outbox, lambda shop: Root(store, outbox, shop, whole=True))
    return {"route": route, "bulk": runner.step}
