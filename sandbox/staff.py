"""The part of the control API that plays a shop's staff and owner: every act sends the webhooks the vendor sends."""

import secrets
from collections.abc import Callable
from typing import Any

import orjson

from sandbox.errors import Refused
from sandbox.outbox import Outbox
from sandbox.reading import Body, objects, text, whole
from sandbox.store import Row, Store
from sandbox.vendors.shopify import (
    deletions,
    drafts,
    fulfilment_orders,
    inventory,
    metafields,
    order_edits,
    order_rows,
    places,
    product_bodies,
    product_set,
    scopes,
)
from sandbox.vendors.shopify.adjust_quantities import stock
from sandbox.vendors.shopify.auth import revoke_tokens
from sandbox.vendors.shopify.inventory import Move
from sandbox.vendors.shopify.orders import WantedLine
from sandbox.vendors.shopify.shops import find_shop, gid, home_location, shop_body

SECRET_LAG_SECONDS = 3600

StaffAct = Callable[[Row, Body], Body]


class Staff:
    """One method for each act; each takes the shop and what the caller sent, and raises Refused."""

    def __init__(self, store: Store, outbox: Outbox) -> None:
        self._store = store
        self._outbox = outbox

    def acts(self) -> dict[str, StaffAct]:
        """By the path under the shop."""
        return {
            "adjustment": self.adjust,
            "edit": self.edit_order,
            "draft": self.draft,
            "draft/completion": self.complete_draft,
            "draft/deletion": self.delete_draft,
            "location": self.open_location,
            "location/deletion": self.delete_location,
            "stocking": self.stock,
            "unstocking": self.unstock,
            "move": self.move_order,
            "hold": self.hold,
            "release": self.release,
            "deletion": self.delete_product,
            "product": self.put_product,
            "order/deletion": self.delete_order,
            "app": self.change_app,
            "uninstallation": self.uninstall,
        }

    def once(self, shop: Row, given: Body, act: StaffAct, name: str = "") -> Body:
        """An act with a key is done once; the same key again is answered as the first time. Keys belong to the name."""
        key = given.get("key")
        kept = f"{name}/{key}" if name else key
        with self._store.transaction():
            if key is None:
                return act(shop, given)
            found = self._store.value("select answer from edits where shop_id = ? and key = ?", (shop["id"], kept))
            if found is not None:
                earlier: Body = orjson.loads(found)
                return earlier
            made = {"key": key, **act(shop, given)}
            self._store.insert("edits", shop_id=shop["id"], key=kept, answer=orjson.dumps(made).decode())
        return made

    def adjust(self, shop: Row, given: Body) -> Body:
        """Corrects a number in the channel's own screens, by a delta or to a number."""
        variant, location = self._variant(shop, given), self._location(shop, given)
        sku = variant["sku"]
        if not variant["tracked"]:
            raise Refused("untracked", f"{sku} is not tracked, so there is no number to correct.")
        place = (variant["item_id"], location)
        level = inventory.read_level(self._store, *place)
        if level is None or not level["active"]:
            raise Refused("not_stocked", f"{sku} is not stocked at that location.", 409)
        delta = whole(given, "available") - level["available"] if "available" in given else whole(given, "delta")
        inventory.apply(self._store, self._outbox, shop, self._outbox.act(), {place: Move(available=delta)})
        return {"sku": sku, "delta": delta, "available": level["available"] + delta}

    def edit_order(self, shop: Row, given: Body) -> Body:
        added = [WantedLine.read(text(given, "key"), line) for line in objects({"add": [], **given}, "add")]
        removed = [
            (whole(line, "line_id"), whole(line, "quantity")) for line in objects({"remove": [], **given}, "remove")
        ]
        restock = bool(given.get("restock", True))
        made = order_edits.edit(self._store, self._outbox, shop, given.get("order_id"), added, removed, restock)
        return {"order_id": given.get("order_id"), "added": made}

    def draft(self, shop: Row, given: Body) -> Body:
        return {"draft_id": drafts.create(self._store, self._outbox, shop, given)}

    def complete_draft(self, shop: Row, given: Body) -> Body:
        return {"order_id": drafts.complete(self._store, self._outbox, shop, text(given, "draft"))}

    def delete_draft(self, shop: Row, given: Body) -> Body:
        drafts.delete(self._store, self._outbox, shop, text(given, "draft"))
        return {"draft": given["draft"]}

    def delete_order(self, shop: Row, given: Body) -> Body:
        number = deletions.delete_order(self._store, self._outbox, shop, given.get("order_id"))
        return {"order_id": gid("Order", number)}

    def open_location(self, shop: Row, given: Body) -> Body:
        number = places.open_location(self._store, self._outbox, shop, text(given, "name"))
        return {"location_id": gid("Location", number)}

    def delete_location(self, shop: Row, given: Body) -> Body:
        location = places.find_location(self._store, shop, given.get("location_id"))
        places.delete_location(self._store, self._outbox, shop, location)
        return {"location_id": gid("Location", location)}

    def stock(self, shop: Row, given: Body) -> Body:
        variant, location = self._variant(shop, given), self._location(shop, given)
        available = whole(given, "available") if "available" in given else None
        stock(self._store, self._outbox, shop, variant["item_id"], location, available)
        return {"sku": variant["sku"], "location_id": gid("Location", location)}

    def unstock(self, shop: Row, given: Body) -> Body:
        variant, location = self._variant(shop, given), self._location(shop, given)
        places.disconnect(self._store, self._outbox, shop, self._outbox.act(), variant["item_id"], location)
        return {"sku": variant["sku"], "location_id": gid("Location", location)}

    def move_order(self, shop: Row, given: Body) -> Body:
        location = places.find_location(self._store, shop, given.get("location_id"))
        made = places.move_order(self._store, self._outbox, shop, given.get("order_id"), location)
        return {"fulfillment_orders": [gid("FulfillmentOrder", number) for number in made]}

    def hold(self, shop: Row, given: Body) -> Body:
        rows = [row for row in self._routed(shop, given) if row["status"] in fulfilment_orders.FULFILLABLE]
        if not rows:
            raise Refused("nothing_to_hold", "The order has nothing left to ship.", 409)
        for row in rows:
            fulfilment_orders.hold(self._store, self._outbox, shop, row, "OTHER", given.get("notes"), "staff")
        return {"fulfillment_orders": [gid("FulfillmentOrder", row["id"]) for row in rows]}

    def release(self, shop: Row, given: Body) -> Body:
        rows = [row for row in self._routed(shop, given) if row["status"] == "ON_HOLD"]
        for row in rows:
            fulfilment_orders.release(self._store, self._outbox, shop, row, None)
        return {"fulfillment_orders": [gid("FulfillmentOrder", row["id"]) for row in rows]}

    def _routed(self, shop: Row, given: Body) -> list[Row]:
        order = order_rows.find_order(self._store, shop, given.get("order_id"))
        fulfilment_orders.route(self._store, self._outbox, shop, order)
        return self._store.all("select * from fulfillment_orders where order_id = ? order by id", (order["id"],))

    def delete_product(self, shop: Row, given: Body) -> Body:
        product = places.delete_product(self._store, self._outbox, shop, text(given, "sku"))
        return {"product_id": gid("Product", product)}

    def put_product(self, shop: Row, given: Body) -> Body:
        """Types a product, its variants or metafields over, by the forms of productSet and its neighbours.

        `product` is its id, or `handle`; what is asked in vain is refused with the vendor's own words.
        """
        product = given.get("product")
        identifier = {"id": product} if product is not None else {"handle": text(given, "handle")}
        if given.get("input") is not None:
            made, errors = product_set.put(self._store, self._outbox, shop, identifier, given["input"])
            _refuse(errors)
            product = gid("Product", made or 0)
        if given.get("variants") is not None:
            _, errors = product_set.change_variants(
                self._store, self._outbox, shop, str(product), objects(given, "variants")
            )
            _refuse(errors)
        if given.get("metafields") is not None:
            _, concerned, errors = metafields.set_many(self._store, shop, objects(given, "metafields"))
            _refuse(errors)
            product_bodies.announce_all(self._store, self._outbox, shop, concerned)
        return {"product_id": product}

    def change_app(self, shop: Row, given: Body) -> Body:
        """The owner grants other scopes, ends the tokens or rotates the secret."""
        if (wanted := given.get("scopes")) is not None:
            if not isinstance(wanted, list):
                raise Refused("invalid_scopes", "scopes must be a list of names.")
            scopes.change(self._store, shop, [str(name) for name in wanted])
        revoked = revoke_tokens(self._store, shop) if given.get("revoke_tokens") else 0
        if given.get("rotate_secret"):
            # Deliveries go on being signed with the old one for a while, as the vendor warns.
            self._store.run(
                "update shops set old_secret = client_secret, old_secret_until = ?, client_secret = ? where id = ?",
                (self._store.wall() + SECRET_LAG_SECONDS, f"shpss_{secrets.token_hex(16)}", shop["id"]),
            )
        now = find_shop(self._store, shop["domain"])
        return {"scopes": scopes.listed(now), "revoked": revoked, "client_secret": now["client_secret"]}

    def uninstall(self, shop: Row, given: Body) -> Body:
        """The owner removes the app: its tokens and subscriptions end, and this is the last that it hears."""
        self._outbox.tell(shop, self._outbox.act(), "app/uninstalled", lambda: shop_body(shop))
        self._store.run("delete from subscriptions where shop_id = ?", (shop["id"],))
        self._outbox.forget_subscriptions()
        return {"revoked": revoke_tokens(self._store, shop)}

    def _variant(self, shop: Row, given: Body) -> Row:
        sku = text(given, "sku")
        found = self._store.one("select * from variants where shop_id = ? and sku = ?", (shop["id"], sku))
        if found is None:
            raise Refused("unknown_sku", f"The shop has no product with sku {sku!r}.")
        return found

    def _location(self, shop: Row, given: Body) -> int:
        if given.get("location_id") is None:
            return home_location(self._store, shop["id"])
        return places.find_location(self._store, shop, given["location_id"])


def _refuse(errors: list[dict[str, Any]]) -> None:
    """Raises Refused with the first of the vendor's objections."""
    if errors:
        raise Refused("invalid_product", f"{'.'.join(errors[0]['field'] or ())}: {errors[0]['message']}")
