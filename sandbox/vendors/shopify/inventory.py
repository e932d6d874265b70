"""Stock per item and location: on_hand = available + committed. Every change of `available` is announced."""

from collections.abc import Iterable
from dataclasses import dataclass

from sandbox.clock import utc_now
from sandbox.outbox import Act, Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify.bodies import level_body


@dataclass
class Move:
    """What one act does to one item at one location."""

    available: int = 0
    committed: int = 0


Moves = dict[tuple[int, int], Move]


def read_level(store: Store, item_id: int, location_id: int) -> Row | None:
    return store.one("select * from levels where item_id = ? and location_id = ?", (item_id, location_id))


def apply(store: Store, outbox: Outbox, shop: Row, act: Act, moves: Moves) -> None:
    """Moves stock and queues one level webhook per item and location whose available quantity changed."""
    now = utc_now(store)
    real = {place: move for place, move in moves.items() if move.available or move.committed}
    store.run_many(
        "update levels set available = available + ?, committed = committed + ?, updated_at = ?"
        " where item_id = ? and location_id = ?",
        [(move.available, move.committed, now, *place) for place, move in real.items()],
    )
    announce(store, outbox, shop, act, [place for place, move in real.items() if move.available])


def announce(store: Store, outbox: Outbox, shop: Row, act: Act, places: Iterable[tuple[int, int]]) -> None:
    """Queues inventory_levels/update for the places as they stand now."""
    if not outbox.is_wanted(shop, "inventory_levels/update"):
        return
    for item_id, location_id in places:
        level = read_level(store, item_id, location_id)
        if level is None:
            continue
        body = level_body(item_id, location_id, level["available"], level["updated_at"], shop["timezone"])
        outbox.tell(shop, act, "inventory_levels/update", lambda body=body: body)  # type: ignore[misc]


def quantity(level: Row, name: str) -> int:
    """A named quantity; the names this world never fills are 0."""
    if name == "on_hand":
        return int(level["available"] + level["committed"])
    return int(level[name]) if name in ("available", "committed") else 0
