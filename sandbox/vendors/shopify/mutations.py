"""The entry points of the schema for mutations: scopes and keys are judged here, the rules stand in their modules."""

# graphql-core finds a resolver by the vendor's own name for the field and calls it with the vendor's argument names.
# ruff: noqa: A002, N802, N803

from typing import Any
from uuid import uuid4

from graphql import GraphQLError, GraphQLResolveInfo, get_directive_values

from sandbox.errors import Refused
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import bulk, fulfilment_orders, fulfilments, order_rows, returns, shipping, subscriptions
from sandbox.vendors.shopify.adjust_quantities import activate, adjust_quantities
from sandbox.vendors.shopify.connections import bad_request
from sandbox.vendors.shopify.idempotency import Outcome, once
from sandbox.vendors.shopify.orders import instant
from sandbox.vendors.shopify.product_mutations import ProductMutations
from sandbox.vendors.shopify.scopes import WRITES_FULFILMENT_ORDERS, check
from sandbox.vendors.shopify.set_quantities import set_quantities
from sandbox.vendors.shopify.shops import gid, number_of
from sandbox.vendors.shopify.views import View, Views

Given = dict[str, Any]
# The only ones that take the @idempotent directive, and none of them goes without.
KEYED = frozenset(("inventoryActivate", "inventoryAdjustQuantities", "inventorySetQuantities", "refundCreate"))


class Mutations(ProductMutations):
    """The part of the root value that writes."""

    _store: Store
    _outbox: Outbox
    _shop: Row
    _views: Views
    _base_url: str

    def inventorySetQuantities(self, info: GraphQLResolveInfo, input: Given) -> View:
        check(self._shop, "inventorySetQuantities", "write_inventory")
        key = idempotency_key(info)
        _need_comparison("InventoryQuantityInput", input["quantities"])
        return self._group(set_quantities(self._store, self._outbox, self._shop, key, input))

    def inventoryAdjustQuantities(self, info: GraphQLResolveInfo, input: Given) -> View:
        check(self._shop, "inventoryAdjustQuantities", "write_inventory")
        key = idempotency_key(info)
        _need_comparison("InventoryChangeInput", input["changes"])
        return self._group(adjust_quantities(self._store, self._outbox, self._shop, key, input))

    def _group(self, outcome: Outcome) -> View:
        group = None if outcome.result is None else self._views.adjustment_group(outcome.result)
        return {"inventoryAdjustmentGroup": group, "userErrors": outcome.errors}

    def inventoryActivate(self, info: GraphQLResolveInfo, **given: Any) -> View:
        check(self._shop, "inventoryActivate", "write_inventory")
        outcome = activate(self._store, self._outbox, self._shop, idempotency_key(info), given)
        level = None if outcome.result is None else self._views.level_by_gid(outcome.result)
        return {"inventoryLevel": level, "userErrors": outcome.errors}

    def refundCreate(self, info: GraphQLResolveInfo, input: Given) -> View:
        check(self._shop, "refundCreate", "write_orders")
        key = idempotency_key(info)
        outcome = once(
            self._store, self._outbox, self._shop, key, "refundCreate", input, lambda: self._refund(key, input)
        )
        refund = None if outcome.result is None else self._views.refund_by_gid(outcome.result)
        order = None if refund is None else self._views.order_by_gid(input["orderId"])
        return {"refund": refund, "order": order, "userErrors": outcome.errors}

    def _refund(self, key: str, given: Given) -> Outcome:
        try:
            lines = [returns.read_line(self._store, self._shop, line) for line in given.get("refundLineItems") or []]
            made = returns.refund(
                self._store, self._outbox, self._shop, given["orderId"], f"api/{key}", lines, None, given.get("note")
            )
        except Refused as refusal:
            return Outcome(None, [{"field": ["refundLineItems"], "message": refusal.message}])
        return Outcome(gid("Refund", made), [])

    def orderCancel(self, info: GraphQLResolveInfo, orderId: str, reason: str, restock: bool, **_: Any) -> View:
        check(self._shop, "orderCancel", "write_orders")
        job = str(uuid4())
        try:
            order = order_rows.find_order(self._store, self._shop, orderId)
            returns.cancel(self._store, self._outbox, self._shop, order["id"], f"api/{job}", reason, restock)
        except Refused as refusal:
            code = "NOT_FOUND" if refusal.code == "not_found" else "INVALID"
            error = {"field": ["orderId"], "message": refusal.message, "code": code}
            return {"job": None, "orderCancelUserErrors": [error], "userErrors": [error]}
        done = {"id": f"gid://shopify/Job/{job}", "done": True}
        return {"job": done, "orderCancelUserErrors": [], "userErrors": []}

    def fulfillmentCreate(self, info: GraphQLResolveInfo, fulfillment: Given, message: str | None = None) -> View:
        check(self._shop, "fulfillmentCreate", *WRITES_FULFILMENT_ORDERS)
        made, errors = shipping.create(self._store, self._outbox, self._shop, fulfillment)
        return {"fulfillment": self._shipment(made), "userErrors": errors}

    def fulfillmentCancel(self, info: GraphQLResolveInfo, id: str) -> View:
        check(self._shop, "fulfillmentCancel", *WRITES_FULFILMENT_ORDERS)
        row = self._found("fulfillments", "Fulfillment", id)
        if row is None:
            return {"fulfillment": None, "userErrors": [_user_error("id", "Fulfillment not found.")]}
        problem = fulfilments.cancel(self._store, self._outbox, self._shop, row)
        errors = [{"field": ["id"], "message": problem}] if problem else []
        return {"fulfillment": self._shipment(row["id"]), "userErrors": errors}

    def fulfillmentTrackingInfoUpdate(
        self, info: GraphQLResolveInfo, fulfillmentId: str, trackingInfoInput: Given, notifyCustomer: bool | None = None
    ) -> View:
        check(self._shop, "fulfillmentTrackingInfoUpdate", *WRITES_FULFILMENT_ORDERS)
        row = self._found("fulfillments", "Fulfillment", fulfillmentId)
        if row is None:
            return {"fulfillment": None, "userErrors": [_user_error("fulfillmentId", "Fulfillment does not exist.")]}
        fulfilments.retrack(self._store, self._outbox, self._shop, row, shipping.tracking(trackingInfoInput))
        return {"fulfillment": self._shipment(row["id"]), "userErrors": []}

    def fulfillmentEventCreate(self, info: GraphQLResolveInfo, fulfillmentEvent: Given) -> View:
        check(self._shop, "fulfillmentEventCreate", "write_fulfillments")
        row = self._found("fulfillments", "Fulfillment", fulfillmentEvent["fulfillmentId"])
        if row is None:
            error = _user_error("fulfillmentId", "Fulfillment does not exist.")
            return {"fulfillmentEvent": None, "userErrors": [error]}
        status, message = fulfillmentEvent["status"], fulfillmentEvent.get("message")
        try:
            happened_at = instant(fulfillmentEvent.get("happenedAt"))
        except Refused as refusal:
            return {"fulfillmentEvent": None, "userErrors": [_user_error("happenedAt", refusal.message)]}
        made = fulfilments.add_event(self._store, self._outbox, self._shop, row, status, message, happened_at)
        event = self._store.one("select * from fulfillment_events where id = ?", (made,))
        return {"fulfillmentEvent": event and self._views.event(event), "userErrors": []}

    def fulfillmentOrderHold(self, info: GraphQLResolveInfo, fulfillmentHold: Given, id: str) -> View:
        check(self._shop, "fulfillmentOrderHold", *WRITES_FULFILMENT_ORDERS)
        row = self._found("fulfillment_orders", "FulfillmentOrder", id)
        held, code = None, "FULFILLMENT_ORDER_NOT_FOUND"
        if row is not None:
            held, code = fulfilment_orders.hold(  # type: ignore[assignment]
                self._store,
                self._outbox,
                self._shop,
                row,
                fulfillmentHold["reason"],
                fulfillmentHold.get("reasonNotes"),
                fulfillmentHold.get("handle") or "",
            )
        if held is None:
            message = "Fulfillment order could not be placed on hold."
            return {"userErrors": [{"field": ["id"], "message": message, "code": code}]}
        order = self._views.fulfillment_order_by_gid(id)
        return {"fulfillmentHold": self._views.hold(held), "fulfillmentOrder": order, "userErrors": []}

    def fulfillmentOrderReleaseHold(
        self, info: GraphQLResolveInfo, id: str, holdIds: list[str] | None = None, externalId: str | None = None
    ) -> View:
        check(self._shop, "fulfillmentOrderReleaseHold", *WRITES_FULFILMENT_ORDERS)
        row = self._found("fulfillment_orders", "FulfillmentOrder", id)
        if row is None:
            error = _user_error("id", "Fulfillment order does not exist.") | {"code": "FULFILLMENT_ORDER_NOT_FOUND"}
            return {"fulfillmentOrder": None, "userErrors": [error]}
        numbers = None if holdIds is None else [number_of(hold, "FulfillmentHold") or 0 for hold in holdIds]
        fulfilment_orders.release(self._store, self._outbox, self._shop, row, numbers)
        return {"fulfillmentOrder": self._views.fulfillment_order_by_gid(id), "userErrors": []}

    def bulkOperationRunQuery(self, info: GraphQLResolveInfo, query: str, groupObjects: bool) -> View:
        made, errors = bulk.start(self._store, self._outbox, self._shop, query, groupObjects, self._base_url)
        return {"bulkOperation": made and bulk.bulk_view(self._store, made), "userErrors": errors}

    def bulkOperationCancel(self, info: GraphQLResolveInfo, id: str) -> View:
        row = self._found("bulks", "BulkOperation", id)
        if row is None:
            return {"bulkOperation": None, "userErrors": [_user_error("id", "Bulk operation does not exist")]}
        errors = bulk.cancel(self._store, self._outbox, row)
        return {"bulkOperation": self._views.bulk_by_gid(id), "userErrors": errors}

    def webhookSubscriptionCreate(self, info: GraphQLResolveInfo, topic: str, webhookSubscription: Given) -> View:
        made, errors = subscriptions.create(self._store, self._outbox, self._shop, topic, webhookSubscription)
        return {"webhookSubscription": made and self._views.subscription(made), "userErrors": errors}

    def webhookSubscriptionUpdate(self, info: GraphQLResolveInfo, id: str, webhookSubscription: Given) -> View:
        changed, errors = subscriptions.update(self._store, self._outbox, self._shop, id, webhookSubscription)
        return {"webhookSubscription": changed and self._views.subscription(changed), "userErrors": errors}

    def webhookSubscriptionDelete(self, info: GraphQLResolveInfo, id: str) -> View:
        deleted, errors = subscriptions.delete(self._store, self._outbox, self._shop, id)
        return {"deletedWebhookSubscriptionId": deleted, "userErrors": errors}

    def _found(self, table: str, kind: str, gid_text: str) -> Row | None:
        """`table` comes from the methods above."""
        number = number_of(gid_text, kind)
        return self._store.one(f"select * from {table} where id = ? and shop_id = ?", (number, self._shop["id"]))

    def _shipment(self, number: int | None) -> View | None:
        return None if number is None else self._views.fulfillment_by_gid(gid("Fulfillment", number))


def idempotency_key(info: GraphQLResolveInfo) -> str:
    """Raises GraphQLError when the directive is missing or its key is blank."""
    directive = info.schema.get_directive("idempotent")
    assert directive is not None
    values = get_directive_values(directive, info.field_nodes[0], info.variable_values)
    if values is None:
        raise bad_request("The @idempotent directive is required for this mutation but was not provided.")
    if not values["key"].strip():
        raise bad_request("The key of the @idempotent directive must not be blank.")
    return str(values["key"])


def _need_comparison(kind: str, elements: list[Given]) -> None:
    """An explicit null is an answer; leaving the key out is not, though the schema's types would allow it."""
    if any("changeFromQuantity" not in element for element in elements):
        message = f"{kind} must include the following argument: changeFromQuantity"
        raise GraphQLError(message, extensions={"code": "INVALID_FIELD_ARGUMENTS"})


def _user_error(name: str, message: str) -> Given:
    return {"field": [name], "message": message}
