"""The control API: what tests, the demo and a replay do to the world. No product code may call it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox import world
from sandbox.clock import AnyClock
from sandbox.courier import Courier
from sandbox.duties import Duties
from sandbox.errors import Refused
from sandbox.faults import Faults
from sandbox.outbox import Outbox
from sandbox.reading import Body, objects, text, whole
from sandbox.seller_central import Act, SellerCentral
from sandbox.shoppers import Shoppers
from sandbox.staff import Staff, StaffAct
from sandbox.store import Row, Store
from sandbox.vendors.amazon.fba import Fba
from sandbox.vendors.amazon.listings import Listings, find_seller, open_seller
from sandbox.vendors.amazon.notices import KINDS, Notices
from sandbox.vendors.amazon.orders import Orders
from sandbox.vendors.amazon.sqs_queues import Queues
from sandbox.vendors.shopify import (
    bodies,
    catalogue,
    fulfilments,
    inventory,
    order_rows,
    orders,
    product_bodies,
    returns,
)
from sandbox.vendors.shopify.shops import find_shop, gid, home_location, open_shop

# Work between two breaths of the event loop, so that API calls and deliveries go on during a long call.
ORDERS_PER_BREATH = 4
PRODUCTS_PER_BREATH = 500


@dataclass(frozen=True)
class Parts:
    """Everything the control API has its hands on."""

    store: Store
    clock: AnyClock
    faults: Faults
    outbox: Outbox
    courier: Courier
    duties: Duties
    listings: Listings
    shoppers: Shoppers
    queues: Queues
    notices: Notices
    amazon_orders: Orders
    fba: Fba


def answer(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


class Control:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = parts.store
        self._outbox = parts.outbox
        self._staff = Staff(parts.store, parts.outbox)
        self._central = SellerCentral(parts.store, parts.amazon_orders, parts.listings)

    def routes(self) -> list[Route]:
        gets: list[tuple[str, Callable[[Request], Any]]] = [
            ("/health", self.health),
            ("/world", self.world),
            ("/deliveries", self.deliveries),
            ("/faults", self.list_faults),
            ("/shopify/{domain}/levels", self.shopify_levels),
            ("/amazon/{seller_id}/levels", self.amazon_levels),
            ("/amazon/{seller_id}/orders", self.amazon_orders),
            ("/amazon/{seller_id}/fba", self.fba_levels),
        ]
        posts: list[tuple[str, Callable[[Request, Body], Any]]] = [
            ("/shops", self.open_shop),
            ("/sellers", self.open_seller),
            ("/shopify/{domain}/products", self.add_products),
            ("/amazon/{seller_id}/listings", self.add_listings),
            ("/shopify/{domain}/orders", self.place_orders),
            ("/shopify/{domain}/refunds", self.refund),
            ("/shopify/{domain}/cancellations", self.cancel),
            ("/shopify/{domain}/fulfilments", self.fulfil),
            ("/shopify/{domain}/adjustments", self.adjust),
            ("/deliveries/redeliver", self.redeliver),
            ("/amazon/{seller_id}/sales", self.sell),
            ("/amazon/{seller_id}/notices", self.notify),
            ("/amazon/{seller_id}/forbidden_notices", self.forbid_notices),
            ("/amazon/{seller_id}/fba", self.stock_fba),
            ("/shoppers", self.set_shoppers),
            ("/clock", self.set_clock),
            ("/faults", self.arm_fault),
        ]
        return [
            *(Route(path, reader(handler), methods=["GET"]) for path, handler in gets),
            *(Route(path, writer(handler), methods=["POST"]) for path, handler in posts),
            *(
                Route(f"/shopify/{{domain}}/{path}", writer(self._staff_route(path, act)), methods=["POST"])
                for path, act in self._staff.acts().items()
            ),
            *(
                Route(f"/amazon/{{seller_id}}/{path}", writer(self._central_route(path, act)), methods=["POST"])
                for path, act in self._central.acts().items()
            ),
            Route("/faults", reader(self.disarm_faults), methods=["DELETE"]),
        ]

    def _shop(self, request: Request) -> Row:
        return find_shop(self._store, request.path_params["domain"])

    def _seller(self, request: Request) -> Row:
        return find_seller(self._store, request.path_params["seller_id"])

    async def health(self, request: Request) -> Body:
        return {"ok": True}

    async def world(self, request: Request) -> Body:
        described = world.described(self._store, self._parts.clock.factor)
        return {**described, "shoppers": self._parts.shoppers.listed()}

    async def open_shop(self, request: Request, given: Body) -> Body:
        domain = text(given, "domain")
        open_shop(
            self._store,
            domain,
            str(given.get("name") or domain),
            str(given.get("currency", "GBP")),
            str(given.get("timezone", "Europe/London")),
            str(given.get("plan", "standard")),
        )
        return world.describe_shop(self._store, domain)

    async def open_seller(self, request: Request, given: Body) -> Body:
        seller_id = text(given, "seller_id")
        marketplaces = given.get("marketplace_ids") or [given.get("marketplace_id", "A1F83G8C2ARO7P")]
        if not isinstance(marketplaces, list):
            raise Refused("missing", "marketplace_ids must be a list.")
        open_seller(self._store, seller_id, str(given.get("name") or seller_id), *map(str, marketplaces))
        self._parts.queues.serve_sellers()
        return world.describe_seller(self._store, seller_id)

    async def add_products(self, request: Request, given: Body) -> Body:
        shop = self._shop(request)
        samples = [catalogue.Sample.read(entry) for entry in objects(given, "products")]
        announce = bool(given.get("announce", False))
        shelved: list[catalogue.Shelved] = []
        for start in range(0, len(samples), PRODUCTS_PER_BREATH):
            with self._store.transaction():
                part = catalogue.shelve(self._store, shop, samples[start : start + PRODUCTS_PER_BREATH])
                if announce:
                    self._announce(shop, part)
            shelved += part
            await asyncio.sleep(0)
        return {"products": [_shelved(entry) for entry in shelved]}

    def _announce(self, shop: Row, shelved: list[catalogue.Shelved]) -> None:
        location = home_location(self._store, shop["id"])
        for entry in shelved:
            if not entry.changed:
                continue
            act = self._outbox.act()
            if entry.created:
                self._outbox.tell(
                    shop,
                    act,
                    "products/create",
                    lambda product=entry.product_id: product_bodies.product_body(self._store, shop, product),  # type: ignore[misc]
                )
            self._outbox.tell(
                shop,
                act,
                "products/update",
                lambda product=entry.product_id: product_bodies.product_body(self._store, shop, product),  # type: ignore[misc]
            )
            if entry.created:
                inventory.announce(self._store, self._outbox, shop, act, [(entry.item_id, location)])

    async def add_listings(self, request: Request, given: Body) -> Body:
        return {"listings": self._parts.listings.add(self._seller(request), objects(given, "listings"))}

    async def notify(self, request: Request, given: Body) -> Body:
        """Has Amazon tell the seller something, as if it had happened."""
        kind = text(given, "kind")
        if kind not in KINDS:
            raise Refused("unknown_kind", f"The notification type {kind!r} is none of {', '.join(KINDS)}.")
        if not isinstance(given.get("payload"), dict):
            raise Refused("missing", "payload is needed and must be an object.")
        self._parts.notices.tell(self._seller(request), kind, given["payload"], given.get("event_at"))
        return {"told": kind}

    async def forbid_notices(self, request: Request, given: Body) -> Body:
        """The notification types that the seller's application has no role for, all of them."""
        seller, kinds = self._seller(request), given.get("kinds")
        if not isinstance(kinds, list) or set(kinds) - KINDS.keys():
            raise Refused("unknown_kind", f"kinds is needed: a list of some of {', '.join(KINDS)}.")
        with self._store.transaction():
            self._store.set_meta(f"forbidden_notices:{seller['seller_id']}", orjson.dumps(kinds).decode())
        return {"kinds": kinds}

    async def place_orders(self, request: Request, given: Body) -> Body:
        shop = self._shop(request)
        return {"orders": await self._each(objects(given, "orders"), lambda entry: self._place(shop, entry))}

    def _place(self, shop: Row, given: Body) -> Body:
        wanted = orders.WantedOrder.read(given)
        order_id = orders.place(self._store, self._outbox, shop, wanted)
        name = self._store.value("select name from orders where id = ?", (order_id,))
        bought = bodies.lines_of(self._store, order_id)
        lines = [{"id": line["id"], "sku": line["sku"], "quantity": line["quantity"]} for line in bought]
        made = {"key": wanted.key, "id": order_id, "name": name, "lines": lines}
        if wanted.may_shrink:
            made["left_out"] = sorted(set(range(len(wanted.lines))) - {line["position"] for line in bought})
        return made

    async def refund(self, request: Request, given: Body) -> Body:
        shop = self._shop(request)

        def one(entry: Body) -> Body:
            refund_id = returns.refund(
                self._store,
                self._outbox,
                shop,
                entry.get("order_id"),
                text(entry, "key"),
                objects({"lines": [], **entry} if "shipping" in entry else entry, "lines"),
                orders.instant(entry.get("processed_at")),
                entry.get("note"),
                entry.get("shipping", "0.00"),
            )
            return {"key": entry["key"], "id": refund_id}

        return {"refunds": await self._each(objects(given, "refunds"), one)}

    async def cancel(self, request: Request, given: Body) -> Body:
        shop = self._shop(request)

        def one(entry: Body) -> Body:
            refund_id = returns.cancel(
                self._store,
                self._outbox,
                shop,
                entry.get("order_id"),
                text(entry, "key"),
                str(entry.get("reason", "other")),
                bool(entry.get("restock", True)),
            )
            return {"key": entry["key"], "refund_id": refund_id}

        return {"cancellations": await self._each(objects(given, "cancellations"), one)}

    async def fulfil(self, request: Request, given: Body) -> Body:
        shop = self._shop(request)

        def one(entry: Body) -> Body:
            wanted = None
            if entry.get("lines") is not None:
                wanted = {whole(line, "line_id"): whole(line, "quantity") for line in objects(entry, "lines")}
            order = order_rows.find_order(self._store, shop, entry.get("order_id"))
            tracking = entry.get("tracking") or {}
            made = fulfilments.ship(self._store, self._outbox, shop, order["id"], text(entry, "key"), wanted, tracking)
            return {"key": entry["key"], "id": made}

        return {"fulfilments": await self._each(objects(given, "fulfilments"), one)}

    async def adjust(self, request: Request, given: Body) -> Body:
        """Many corrections at once; what one asks in vain does not stop the others."""
        shop, staff = self._shop(request), self._staff
        made = await self._each(objects(given, "adjustments"), lambda entry: staff.once(shop, entry, staff.adjust))
        return {"adjustments": made}

    def _staff_route(self, name: str, act: StaffAct) -> Callable[[Request, Body], Awaitable[Body]]:
        async def handle(request: Request, given: Body) -> Body:
            self._parts.duties.settle()
            return self._staff.once(self._shop(request), given, act, name)

        return handle

    async def _each(self, entries: Sequence[Body], act: Callable[[Body], Body]) -> list[Body]:
        """One result per entry; what one entry asks in vain does not stop the others."""
        results: list[Body] = []
        for start in range(0, len(entries), ORDERS_PER_BREATH):
            with self._store.transaction():
                results += [self._tried(entry, act) for entry in entries[start : start + ORDERS_PER_BREATH]]
            await asyncio.sleep(0)
        return results

    @staticmethod
    def _tried(entry: Body, act: Callable[[Body], Body]) -> Body:
        try:
            return act(entry)
        except Refused as refusal:
            named: Body = {name: entry[name] for name in ("key", "sku") if name in entry}
            return {**named, "error": refusal.code, "message": refusal.message}

    async def deliveries(self, request: Request) -> Body:
        return self._parts.courier.counts()

    async def redeliver(self, request: Request, given: Body) -> Body:
        ids = given.get("ids")
        if ids not in ("same", "new"):
            raise Refused("invalid_ids", 'ids must be "same" or "new".')
        domain = given.get("domain")
        shop_id = None if domain is None else find_shop(self._store, str(domain))["id"]
        return {"count": await self._parts.courier.redeliver(shop_id, fresh_ids=ids == "new")}

    async def shopify_levels(self, request: Request) -> Body:
        rows = self._store.all(
            "select v.sku, v.tracked, v.item_id, l.location_id, l.available, l.committed, l.opening from variants v"
            " left join levels l on l.item_id = v.item_id where v.shop_id = ? order by v.sku",
            (self._shop(request)["id"],),
        )
        return {"levels": [_level(row) for row in rows]}

    async def amazon_levels(self, request: Request) -> Body:
        self._parts.duties.settle()
        seller = self._seller(request)
        rows = self._parts.listings.every(seller)
        landing, sold = self._parts.listings.landing(seller), self._parts.amazon_orders.sold(seller)
        return {
            "levels": [
                {
                    "sku": row["sku"],
                    "in_force": orjson.loads(row["in_force"]),
                    "landing": landing.get(row["sku"]),
                    "sold": sold.get(row["sku"], 0),
                    "opening": row["opening"],
                    "submitted": orjson.loads(row["attributes"]).get("fulfillment_availability", []),
                }
                for row in rows
            ]
        }

    async def amazon_orders(self, request: Request) -> Body:
        self._parts.duties.settle()
        return {"orders": self._central.listed(self._seller(request))}

    async def sell(self, request: Request, given: Body) -> Body:
        self._parts.duties.settle()
        return self._central.sell(self._seller(request), given)

    def _central_route(self, name: str, act: Act) -> Callable[[Request, Body], Awaitable[Body]]:
        async def handle(request: Request, given: Body) -> Body:
            self._parts.duties.settle()
            seller = self._seller(request)
            return {name: await self._each(objects(given, name), lambda entry: act(seller, entry))}

        return handle

    async def fba_levels(self, request: Request) -> Body:
        return {"items": self._parts.fba.listed(self._seller(request))}

    async def stock_fba(self, request: Request, given: Body) -> Body:
        """What Amazon's warehouses count, receive, sell, ship and take back: see Fba.act."""
        seller, fba = self._seller(request), self._parts.fba
        return {"items": await self._each(objects(given, "items"), lambda entry: fba.act(seller, entry))}

    async def set_shoppers(self, request: Request, given: Body) -> Body:
        pace, running = float(given.get("pace_per_minute", 6)), bool(given.get("running", True))
        if given.get("seller_id") is not None:
            return self._parts.shoppers.set_at_amazon(text(given, "seller_id"), pace, running)
        return self._parts.shoppers.set(text(given, "domain"), pace, running)

    async def set_clock(self, request: Request, given: Body) -> Body:
        """Another speed, a clock that stands still (virtual), or a move of one that does (advance)."""
        clock = self._parts.clock
        if (factor := given.get("factor")) is not None:
            if not isinstance(factor, (int, float)) or isinstance(factor, bool):
                raise Refused("invalid_factor", "The clock factor must be a number above 0.")
            clock.set_factor(float(factor))
        elif given.get("virtual") is False and clock.is_virtual:
            clock.set_factor(1.0)
        elif given.get("virtual") is True:
            clock.stop()
        if (seconds := given.get("advance")) is not None:
            if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
                raise Refused("invalid_advance", "A clock is advanced by a number of seconds.")
            await self._pass(float(seconds))
        self._parts.courier.hurry()
        return {"clock_factor": clock.factor, "virtual": clock.is_virtual, "now": clock.now(), "wall": clock.wall()}

    async def _pass(self, seconds: float) -> None:
        """Moves a virtual clock from one thing that falls due to the next, so that each happens at its hour."""
        clock, duties, courier = self._parts.clock, self._parts.duties, self._parts.courier
        # Refuses at once what cannot be: a clock that runs by itself, a way back.
        clock.advance(min(seconds, 0.0))
        end = clock.now() + seconds
        while True:
            duties.settle()
            await courier.settle()
            hours = [hour for hour in (duties.next_due(), courier.next_due()) if hour is not None and hour <= end]
            # A delivery that nobody carries stays due for ever, and is no reason to stand still.
            later = [hour for hour in hours if hour > clock.now()]
            if not later:
                break
            clock.advance(min(later) - clock.now())
        clock.advance(max(0.0, end - clock.now()))

    async def list_faults(self, request: Request) -> Body:
        return {"faults": self._parts.faults.listed()}

    async def arm_fault(self, request: Request, given: Body) -> Body:
        return self._parts.faults.arm(given).as_json()

    async def disarm_faults(self, request: Request) -> Body:
        return {"disarmed": self._parts.faults.disarm_all()}


def reader(handler: Callable[[Request], Awaitable[Body]]) -> Callable[[Request], Awaitable[Response]]:
    async def read(request: Request) -> Response:
        try:
            return answer(await handler(request))
        except Refused as refusal:
            return answer({"error": refusal.code, "message": refusal.message}, refusal.status)

    return read


def writer(handler: Callable[[Request, Body], Awaitable[Body]]) -> Callable[[Request], Awaitable[Response]]:
    async def write(request: Request) -> Response:
        try:
            given = orjson.loads(await request.body() or b"{}")
        except orjson.JSONDecodeError:
            return answer({"error": "invalid_json", "message": "The body is not JSON."}, 400)
        if not isinstance(given, dict):
            return answer({"error": "invalid_json", "message": "The body must be a JSON object."}, 400)
        try:
            return answer(await handler(request, given))
        except Refused as refusal:
            return answer({"error": refusal.code, "message": refusal.message}, refusal.status)

    return write


def _shelved(entry: catalogue.Shelved) -> Body:
    return {
        "sku": entry.sku,
        "created": entry.created,
        "product_id": gid("Product", entry.product_id),
        "variant_id": gid("ProductVariant", entry.variant_id),
        "inventory_item_id": gid("InventoryItem", entry.item_id),
    }


def _level(row: Row) -> Body:
    if not row["tracked"]:
        return {
            "sku": row["sku"],
            "tracked": False,
            "available": None,
            "committed": None,
            "on_hand": None,
            "opening": None,
        }
    return {
        "sku": row["sku"],
        "tracked": True,
        "inventory_item_id": gid("InventoryItem", row["item_id"]),
        "location_id": gid("Location", row["location_id"]),
        "available": row["available"],
        "committed": row["committed"],
        "on_hand": row["available"] + row["committed"],
        "opening": row["opening"],
    }
