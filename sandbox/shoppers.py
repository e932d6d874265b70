"""The demo's shoppers: seeded, mostly small orders of popular goods, shipped a little later, now and then undone."""

import asyncio
import logging
import random
from dataclasses import dataclass, field
from decimal import Decimal

from sandbox.clock import AnyClock
from sandbox.errors import Refused
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import bodies, fulfilments, orders, returns
from sandbox.vendors.shopify.orders import WantedLine, WantedOrder
from sandbox.vendors.shopify.shops import find_shop

log = logging.getLogger("sandbox.shoppers")

COUNTRIES = ("GB", "GB", "GB", "GB", "IE", "FR", "DE", "NL")
LINE_COUNTS = (1, 1, 1, 1, 2, 2, 3, 3, 5)
UNIT_COUNTS = (1, 1, 1, 1, 2, 2, 3)
# Of a hundred orders so many are cancelled before they ship, and so many come back later.
CANCELLED_PERCENT, RETURNED_PERCENT = 4, 5
SHIP_AFTER_SECONDS = (20.0, 180.0)
RETURN_AFTER_SECONDS = (120.0, 600.0)
TRIES = 4


@dataclass
class Errand:
    """Something to do with an order later: ship, cancel or return it."""

    due_at: float
    verb: str
    order_id: int


@dataclass
class Crowd:
    """The shoppers of one shop."""

    domain: str
    pace_per_minute: float
    chance: random.Random
    next_at: float
    visits: int = 0
    errands: list[Errand] = field(default_factory=list)


def _described(domain: str, running: bool, pace_per_minute: float) -> dict[str, object]:
    return {"domain": domain, "running": running, "pace_per_minute": pace_per_minute}


class Shoppers:
    """Off until somebody turns them on, after a restart too; orders they left open are taken up when they come back."""

    def __init__(self, store: Store, clock: AnyClock, outbox: Outbox, seed: int) -> None:
        self._store = store
        self._clock = clock
        self._outbox = outbox
        self._seed = seed
        self._crowds: dict[str, Crowd] = {}

    def set(self, domain: str, pace_per_minute: float, running: bool) -> dict[str, object]:
        """Raises NotFound for an unknown shop, Refused for a pace that makes no sense."""
        find_shop(self._store, domain)
        if not running:
            self._crowds.pop(domain, None)
        elif pace_per_minute <= 0:
            raise Refused("invalid_pace", "The pace must be above 0 orders a minute.")
        else:
            # A fresh run of numbers each start, or the keys of the first orders would be met again.
            start = int(self._store.meta("shopper_runs", "0")) + 1
            with self._store.transaction():
                self._store.set_meta("shopper_runs", str(start))
            chance = random.Random(f"shoppers-{self._seed}-{domain}-{start}")
            self._crowds[domain] = Crowd(domain, pace_per_minute, chance, self._clock.now())
            self._take_up(self._crowds[domain])
        return _described(domain, running, pace_per_minute)

    def listed(self) -> list[dict[str, object]]:
        """The crowds that are out, in the form in which they were sent."""
        return [_described(crowd.domain, True, crowd.pace_per_minute) for crowd in self._crowds.values()]

    def _take_up(self, crowd: Crowd) -> None:
        """Orders that an earlier run left open are shipped too, or their goods would stay promised for ever."""
        left_open = self._store.all(
            "select id from orders o where shop_id = (select id from shops where domain = ?) and cancelled_at is null"
            " and key like 'shopper-%' and exists"
            " (select 1 from lines where order_id = o.id and quantity > fulfilled + removed) order by id",
            (crowd.domain,),
        )
        for row in left_open:
            due_at = self._clock.now() + crowd.chance.uniform(*SHIP_AFTER_SECONDS)
            crowd.errands.append(Errand(due_at, "ship", row["id"]))

    async def run(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            for crowd in list(self._crowds.values()):
                try:
                    self._advance(crowd)
                except Exception:
                    log.exception("A shopper of %s stumbled.", crowd.domain)

    def _advance(self, crowd: Crowd) -> None:
        now = self._clock.now()
        while crowd.next_at <= now:
            self._visit(crowd, now)
            crowd.next_at += crowd.chance.expovariate(crowd.pace_per_minute / 60)
        due = [errand for errand in crowd.errands if errand.due_at <= now]
        crowd.errands = [errand for errand in crowd.errands if errand.due_at > now]
        for errand in due:
            self._run_errand(crowd, errand)

    def _visit(self, crowd: Crowd, now: float) -> None:
        """Somebody wants a few popular things; when all of them are sold out they leave."""
        crowd.visits += 1
        shop = find_shop(self._store, crowd.domain)
        lines = self._basket(crowd, shop)
        if not lines:
            return
        key = f"shopper-{self._store.meta('shopper_runs')}-{crowd.visits}"
        wanted = WantedOrder(
            key=key,
            name=None,
            processed_at=None,
            customer_ref=f"visitor-{crowd.chance.randint(1, 400)}",
            country=crowd.chance.choice(COUNTRIES),
            currency=None,
            ship=False,
            lines=lines,
        )
        order_id = orders.place(self._store, self._outbox, shop, wanted)
        verb = "cancel" if crowd.chance.randint(1, 100) <= CANCELLED_PERCENT else "ship"
        crowd.errands.append(Errand(now + crowd.chance.uniform(*SHIP_AFTER_SECONDS), verb, order_id))

    def _basket(self, crowd: Crowd, shop: Row) -> list[WantedLine]:
        goods = self._store.all(
            "select v.sku, v.price, v.policy, v.tracked, coalesce(max(l.available), 0) as available from variants v"
            " left join levels l on l.item_id = v.item_id and l.active where v.shop_id = ? group by v.id order by v.id",
            (shop["id"],),
        )
        if not goods:
            return []
        lines: dict[str, WantedLine] = {}
        for _ in range(crowd.chance.choice(LINE_COUNTS)):
            line = self._pick(crowd.chance, goods)
            if line is not None:
                lines.setdefault(line.sku, line)
        return list(lines.values())

    @staticmethod
    def _pick(chance: random.Random, goods: list[Row]) -> WantedLine | None:
        """Looks at a few things, the popular ones (early in the list of a shuffled order) far more often."""
        for _ in range(TRIES):
            rank = min(int(chance.paretovariate(0.6)) - 1, 10**6)
            # The stride spreads popularity over the ranges of goods instead of giving it all to the first.
            good = goods[(rank * 37 + 11) % len(goods)]
            units = chance.choice(UNIT_COUNTS)
            sellable = units if good["policy"] == "CONTINUE" or not good["tracked"] else min(units, good["available"])
            if sellable > 0:
                return WantedLine(good["sku"], sellable, good["price"], None)
        return None

    def _run_errand(self, crowd: Crowd, errand: Errand) -> None:
        shop = find_shop(self._store, crowd.domain)
        key = f"{errand.verb}-{errand.order_id}"
        try:
            if errand.verb == "ship":
                self._ship(crowd, shop, errand, key)
            elif errand.verb == "cancel":
                returns.cancel(self._store, self._outbox, shop, errand.order_id, key, "customer", True)
            else:
                self._send_back(crowd, shop, errand, key)
        except Refused as refusal:
            # Somebody else shipped, cancelled or refunded the order by hand meanwhile.
            log.info("%s", refusal.message)

    def _ship(self, crowd: Crowd, shop: Row, errand: Errand, key: str) -> None:
        number = f"RM{crowd.chance.randint(10**8, 10**9 - 1)}GB"
        tracking = {
            "company": "Royal Mail",
            "number": number,
            "url": f"https://www.royalmail.com/track-your-item#/tracking-results/{number}",
        }
        fulfilments.ship(self._store, self._outbox, shop, errand.order_id, key, None, tracking)
        if crowd.chance.randint(1, 100) <= RETURNED_PERCENT:
            due_at = self._clock.now() + crowd.chance.uniform(*RETURN_AFTER_SECONDS)
            crowd.errands.append(Errand(due_at, "return", errand.order_id))

    def _send_back(self, crowd: Crowd, shop: Row, errand: Errand, key: str) -> None:
        line = crowd.chance.choice(bodies.lines_of(self._store, errand.order_id))
        part = {"line_id": line["id"], "quantity": 1, "restock_type": "return"}
        note = "Changed their mind" if Decimal(line["price"]) < 20 else "Not as expected"
        returns.refund(self._store, self._outbox, shop, errand.order_id, key, [part], None, note)
