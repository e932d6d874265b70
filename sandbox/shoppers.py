"""The demo's shoppers: seeded, mostly small orders of popular goods, shipped a little later, now and then undone."""

import asyncio
import logging
import random
from dataclasses import dataclass, field

from sandbox.clock import AnyClock
from sandbox.errors import Refused
from sandbox.outbox import Outbox
from sandbox.store import Store
from sandbox.trades import SellerTrade, ShopTrade, Trade
from sandbox.vendors.amazon.listings import find_seller
from sandbox.vendors.amazon.orders import Orders
from sandbox.vendors.shopify.shops import find_shop

log = logging.getLogger("sandbox.shoppers")

SHIP_AFTER_SECONDS = (20.0, 180.0)
RETURN_AFTER_SECONDS = (120.0, 600.0)


@dataclass
class Errand:
    """Something to do with an order later: ship, cancel or return it."""

    due_at: float
    verb: str
    order_id: int


@dataclass
class Crowd:
    """The shoppers of one place."""

    name: str
    trade: Trade
    pace_per_minute: float
    chance: random.Random
    next_at: float
    visits: int = 0
    errands: list[Errand] = field(default_factory=list)


def _described(trade: Trade, running: bool, pace_per_minute: float) -> dict[str, object]:
    return {**trade.place, "running": running, "pace_per_minute": pace_per_minute}


class Shoppers:
    """Off until somebody turns them on, after a restart too; orders they left open are taken up when they come back."""

    def __init__(self, store: Store, clock: AnyClock, outbox: Outbox, amazon_orders: Orders, seed: int) -> None:
        self._store = store
        self._clock = clock
        self._outbox = outbox
        self._amazon_orders = amazon_orders
        self._seed = seed
        self._crowds: dict[str, Crowd] = {}

    def set(self, domain: str, pace_per_minute: float, running: bool) -> dict[str, object]:
        """At a shop. Raises NotFound for an unknown shop, Refused for a pace that makes no sense."""
        find_shop(self._store, domain)
        return self._set(domain, ShopTrade(self._store, self._outbox, domain), pace_per_minute, running)

    def set_at_amazon(self, seller_id: str, pace_per_minute: float, running: bool) -> dict[str, object]:
        """At a seller's. Raises NotFound for an unknown seller, Refused for a pace that makes no sense."""
        find_seller(self._store, seller_id)
        trade = SellerTrade(self._store, self._amazon_orders, seller_id)
        return self._set(seller_id, trade, pace_per_minute, running)

    def _set(self, name: str, trade: Trade, pace_per_minute: float, running: bool) -> dict[str, object]:
        if not running:
            self._crowds.pop(name, None)
        elif pace_per_minute <= 0:
            raise Refused("invalid_pace", "The pace must be above 0 orders a minute.")
        else:
            # A fresh run of numbers each start, or the keys of the first orders would be met again.
            start = int(self._store.meta("shopper_runs", "0")) + 1
            with self._store.transaction():
                self._store.set_meta("shopper_runs", str(start))
            chance = random.Random(f"shoppers-{self._seed}-{name}-{start}")
            self._crowds[name] = Crowd(f"shopper-{start}", trade, pace_per_minute, chance, self._clock.now())
            self._take_up(self._crowds[name])
        return _described(trade, running, pace_per_minute)

    def listed(self) -> list[dict[str, object]]:
        """The crowds that are out, in the form in which they were sent."""
        return [_described(crowd.trade, True, crowd.pace_per_minute) for crowd in self._crowds.values()]

    def _take_up(self, crowd: Crowd) -> None:
        """Orders that an earlier run left open are shipped too, or their goods would stay promised for ever."""
        for order_id in crowd.trade.left_open():
            self._errand(crowd, self._clock.now(), "ship", order_id)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            for crowd in list(self._crowds.values()):
                try:
                    self._advance(crowd)
                except Exception:
                    log.exception("A shopper of %s stumbled.", crowd.trade.place)

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
        if bought := crowd.trade.buy(crowd.chance, f"{crowd.name}-{crowd.visits}"):
            order_id, verb = bought
            self._errand(crowd, now, verb, order_id)

    def _errand(self, crowd: Crowd, now: float, verb: str, order_id: int) -> None:
        after = RETURN_AFTER_SECONDS if verb == "return" else SHIP_AFTER_SECONDS
        crowd.errands.append(Errand(now + crowd.chance.uniform(*after), verb, order_id))

    def _run_errand(self, crowd: Crowd, errand: Errand) -> None:
        try:
            later = crowd.trade.run(crowd.chance, errand.verb, errand.order_id)
        except Refused as refusal:
            # Somebody else shipped, cancelled or refunded the order by hand meanwhile.
            log.info("%s", refusal.message)
            return
        if later is not None:
            self._errand(crowd, self._clock.now(), later, errand.order_id)
