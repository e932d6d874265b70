"""What mapping identifiers comes to: values only, the tables are the catalogue's (`sku_identifiers`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from core.identity.rules import Identifier


@dataclass(frozen=True, slots=True)
class Answer:
    """Whose an identifier is. `sku_id` None: not ours. `reason`: its own, where it is not the act's."""

    identifier: Identifier
    sku_id: int | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class LineSeen:
    """An open order line of a listing that is remapped. `why` says why it stays with its SKU; empty where it moves."""

    order_line_id: int
    order_id: int
    order_name: str
    from_code: str
    to_code: str
    units: int
    held_units: int
    shipped_units: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class ListingSeen:
    """A listing that an answer concerns, before and after it. Units are the listing's own; None: not known.

    `published_units` is what it shows; `desired_*` what it should; `publishing_*` whether we write it.
    """

    listing_id: int
    connection: str
    channel_ref: str
    location: str | None
    from_code: str | None
    to_code: str | None
    published_units: int | None
    exposed_units: int
    desired_before: int | None
    desired_after: int | None
    publishing_before: bool
    publishing_after: bool


@dataclass(frozen=True, slots=True)
class PoolSeen:
    """A pool before and after: what is available there, and the most that channels could still sell of it unbooked."""

    sku_id: int
    code: str
    location_id: int
    location: str
    available_before: int
    available_after: int
    exposed_before: int
    exposed_after: int

    @property
    def worst_before(self) -> int:
        """How many units could be sold that are not there."""
        return max(0, self.exposed_before - max(0, self.available_before))

    @property
    def worst_after(self) -> int:
        """The same, afterwards: until the channels have been told."""
        return max(0, self.exposed_after - max(0, self.available_after))


@dataclass(frozen=True, slots=True)
class OpenWrite:
    """A write on its way to a listing that is to be remapped, and when it will be over or looked at again."""

    write_id: int
    listing_id: int
    channel_ref: str
    to_units: int
    over_at: datetime


@dataclass(slots=True)
class Outcome:
    """What answers came to, or would come to."""

    answered: list[Answer] = field(default_factory=list)
    unchanged: list[Answer] = field(default_factory=list)
    listings: list[ListingSeen] = field(default_factory=list)
    moving: list[LineSeen] = field(default_factory=list)
    staying: list[LineSeen] = field(default_factory=list)
    pools: list[PoolSeen] = field(default_factory=list)
    lines_booked: int = 0
    lines_set_aside: int = 0
    released_messages: int = 0
    publishing_begun: int = 0
    connection_ids: set[int] = field(default_factory=set)

    @property
    def moved_listings(self) -> Sequence[ListingSeen]:
        """Those that had another SKU."""
        return [seen for seen in self.listings if seen.from_code is not None and seen.to_code is not None]

    @property
    def awaits_sync(self) -> bool:
        """Whether a listing shows a number that we have not read: the connection's next sync reads it and goes on."""
        return any(seen.to_code is not None and seen.published_units is None for seen in self.listings)

    def token(self) -> str:
        """Stands for all the facts that somebody was shown: what differs has another one."""
        facts = [
            [asdict(each) for each in part]
            for part in (self.answered, self.listings, self.moving, self.staying, self.pools)
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
