"""Looks on while shoppers buy: is what we say could be sold unseen never less than what really could?

The truth is the sandbox's: what a listing shows, and what was bought of it. Ours is what is exposed, and what is
booked. At any one moment

    exposed + booked >= shown + bought

for every listing. Two systems cannot be read at one moment. Both sides move only with writes (a sale moves a unit from
one term to the other), ours before the channel's when it goes up, after it when it goes down: so what is read of the
channel between two readings of ours must not be above both of them. Two readings miss a raise that was recorded,
applied, sold and lowered again between them; so a listing that seems to break it is reported only when the ledger of
exposure, too, never had as much in between.

An absolute number that Amazon accepted may come into force at any moment, whatever was sold before: until then it
counts as if it were shown already.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from bench.scarce.world import World
from core.clock import utc_now
from core.db import fetch, read_only

KEPT_MAX = 50
"""Violations that are kept in words; all are counted."""

Key = tuple[int, str]
"""(connection, code)"""


@dataclass(frozen=True, slots=True)
class Ours:
    """What we say of a listing: units that may still be sold unbooked, and units that are booked."""

    listing_id: int
    exposed: int
    booked: int

    @property
    def held(self) -> int:
        """What its channel can have shown and sold by then, at most."""
        return self.exposed + self.booked


def suspects(truth: Mapping[Key, int], before: Mapping[Key, Ours], after: Mapping[Key, Ours]) -> list[Key]:
    """Listings of which a channel shows and has sold more than we said just before and say just after."""
    known = truth.keys() & before.keys() & after.keys()
    return sorted(key for key in known if truth[key] > max(before[key].held, after[key].held))


@dataclass(slots=True)
class Seen:
    """What was seen so far. `overdrawn`: pools in escrow that had more exposed than was available."""

    samples: int = 0
    listings: int = 0
    too_low: int = 0
    overdrawn: int = 0
    exposed_units_max: int = 0
    slack_units_max: int = 0
    words: list[str] = field(default_factory=list)


class Watch:
    """A thread that looks every few seconds until it is stopped."""

    def __init__(self, world: World, seconds: float) -> None:
        self._world, self._seconds = world, seconds
        self.seen = Seen()
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(1, "watch")
        self._looking = self._pool.submit(self._run)

    def stop(self) -> Seen:
        """A last look, and what was seen. Raises what went wrong while looking."""
        self._over.set()
        self._looking.result()
        self._pool.shutdown()
        self._look()
        return self.seen

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            self._look()

    def _look(self) -> None:
        began = utc_now()
        before = self._ours()
        truth = self._truth()
        after = self._ours()
        self.seen.samples += 1
        self.seen.listings += len(truth.keys() & before.keys() & after.keys())
        for key in suspects(truth, before, after):
            self._suspect(key, truth[key], before[key], after[key], began)
        self.seen.exposed_units_max = max(self.seen.exposed_units_max, sum(each.exposed for each in after.values()))
        slack = sum(after[key].held - there for key, there in truth.items() if key in after)
        self.seen.slack_units_max = max(self.seen.slack_units_max, slack)
        self._look_for_overdrawn()

    def _truth(self) -> Mapping[Key, int]:
        """Shown and bought of every listing; nothing is shipped, so that a shop's own count of its goods is both."""
        found: dict[Key, int] = {}
        outside = self._world.outside
        for row, domain in zip(self._world.shops, outside.domains, strict=True):
            for level in self._world.control.get(f"/shopify/{domain}/levels")["levels"]:
                found[row.id, level["sku"]] = level["on_hand"]
        for level in self._world.control.get(f"/amazon/{outside.seller_id}/levels")["levels"]:
            shown = max(sum(level["in_force"].values()), level["landing"] or 0)
            found[self._world.amazon.id, level["sku"]] = shown + level["sold"]
        return found

    def _ours(self) -> Mapping[Key, Ours]:
        with read_only(self._world.app.engine) as conn:
            rows = fetch(conn, _OURS, shop=self._world.shop_id)
        return {(row["connection_id"], row["code"]): Ours(row["id"], row["exposed"], row["booked"]) for row in rows}

    def _suspect(self, key: Key, there: int, before: Ours, after: Ours, since: datetime) -> None:
        with read_only(self._world.app.engine) as conn:
            rows = fetch(conn, _LEDGER, shop=self._world.shop_id, listing=after.listing_id, since=since)
        most = max((row["exposed_units"] + after.booked for row in rows), default=0)
        if there <= most:
            return
        self.seen.too_low += 1
        self._say(
            f"{key[1]} on connection {key[0]}: {there} units shown or bought, {before.exposed} exposed and "
            f"{before.booked} booked before, {after.exposed} and {after.booked} after"
        )

    def _look_for_overdrawn(self) -> None:
        with read_only(self._world.app.engine) as conn:
            rows = fetch(conn, _OVERDRAWN, shop=self._world.shop_id)
        self.seen.overdrawn += len(rows)
        for row in rows:
            self._say(f"{row['code']}: {row['available']} available, {row['exposed']} exposed")

    def _say(self, words: str) -> None:
        if words not in self.seen.words and len(self.seen.words) < KEPT_MAX:
            self.seen.words.append(words)


_OURS = """
    select l.id, l.connection_id, l.channel_code as code, l.exposed_units as exposed,
        coalesce(b.units, 0)::int8 as booked
    from listings l left join (
        select listing_id, sum(units) as units from order_lines
        where shop_id = %(shop)s and mapping = 'stocked' group by 1
    ) b on b.listing_id = l.id
    where l.shop_id = %(shop)s
"""
_LEDGER = """
    select exposed_units from exposure_changes
    where shop_id = %(shop)s and listing_id = %(listing)s and changed_at >= %(since)s
"""
_OVERDRAWN = """
    select u.code, k.available, pool_exposed_units(k.shop_id, k.sku_id, k.location_id) as exposed
    from stock_levels k join skus u on u.shop_id = k.shop_id and u.id = k.sku_id
    where k.shop_id = %(shop)s and k.is_escrow
        and pool_exposed_units(k.shop_id, k.sku_id, k.location_id) > k.available
    order by u.code
"""
