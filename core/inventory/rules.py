"""Pure rules of stock: what an order line does to it, what a listing should show, which write that takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from core.inventory.planner import Mode


@dataclass(frozen=True, slots=True)
class LineFacts:
    """Everything known of one stocked order line, summed; units, never negative."""

    ordered: int
    shipped: int = 0
    refunded_cancel: int = 0
    refunded_return: int = 0
    refunded_legacy: int = 0
    refunded_no_restock: int = 0
    is_cancelled: bool = False
    is_before_baseline: bool = False
    is_cancelled_before_baseline: bool = False
    restocked_before_baseline: int = 0
    """Does not come along: put back by then, or still owed then where our number came from elsewhere and holds it."""
    ordered_before_baseline: int | None = None
    """What edits had left of it by then, where they went on; None: they did not."""
    desk_units: int = 0
    """Came back over the desk, whatever became of them."""
    desk_quarantined: int = 0
    desk_written_off: int = 0
    desk_recalled: int = 0
    """Of `desk_units`, what came of parcels that, as the channel says by now, never left."""


@dataclass(frozen=True, slots=True)
class LineStock:
    """What a line has done to stock: `held` is reserved, the others are sums of movements.

    `quarantined` is what was put apart of what is on hand, whatever was decided on it since.
    """

    held: int
    consumed: int
    returned: int
    written_off: int
    opening: int
    quarantined: int = 0

    @property
    def available_effect(self) -> int:
        """Change of `available` caused by the line (negative: stock is gone or promised)."""
        return self.opening + self.returned - self.quarantined - self.held - self.consumed - self.written_off


def line_stock(facts: LineFacts) -> LineStock:
    """What a line should have done to stock, from all its facts at once.

    A function of sums, so the number and order of events does not matter: whoever books the difference between this
    and what is booked ends in the same place. A refund that restocks cancelled units first releases what was never
    shipped; a legacy restock does not say which, so it does the same; what exceeds that came back from the customer.
    A refund without restock is taken from shipped units first (a broken parcel); beyond those the units leave the
    order unshipped and unsellable. A cancelled order holds nothing. Units sold before the listing's baseline were
    never part of it, so they come in as opening stock, less what was already restocked or dropped before it. What an
    edit adds or takes off later is none of them.

    Goods that came back may be told of twice, by the desk that took them and by the channel that refunded them. What
    the desk saw it decided on; only what the channel says came back beyond that is restocked on its word. However it
    is told, no more comes back than went out.

    A parcel that came back over the desk may be told of once more: the channel cancels its fulfilment. Then the goods
    never left, as far as the line goes, and lie where the desk put them: restocked adds nothing, in quarantine they
    stay, and what was written off is lost to stock though it is still owed. A refund of them brings nothing back
    either: it releases what is owed.
    """
    unshipped = max(0, facts.ordered - facts.shipped)
    back = max(0, min(facts.desk_units - facts.desk_recalled, facts.shipped))
    recalled = facts.desk_units - back
    released = min(facts.refunded_cancel, unshipped)
    unshipped -= released
    came_back = facts.refunded_return + facts.refunded_cancel - released
    legacy_released = min(facts.refunded_legacy, unshipped)
    unshipped -= legacy_released
    came_back += facts.refunded_legacy - legacy_released
    at_desk = min(unshipped, recalled, max(0, came_back - back))
    unshipped -= at_desk
    came_back -= at_desk
    returnable = max(facts.ordered, facts.shipped) - released - legacy_released - at_desk
    restocked = min(max(0, came_back - back), returnable - back)
    written_off_back = min(facts.desk_written_off, back)
    # Of units that leave the order unsellable, the desk decided on those that it has.
    dropped_units = min(max(0, facts.refunded_no_restock - max(0, facts.shipped - came_back)), unshipped)
    lost = max(0, dropped_units - (recalled - at_desk))
    opening = 0
    if facts.is_before_baseline:
        dropped = unshipped - dropped_units if facts.is_cancelled_before_baseline else 0
        then = facts.ordered if facts.ordered_before_baseline is None else facts.ordered_before_baseline
        opening = max(0, then - facts.restocked_before_baseline - dropped)
    return LineStock(
        held=0 if facts.is_cancelled else unshipped - dropped_units,
        consumed=facts.shipped,
        returned=back - written_off_back + restocked,
        written_off=lost + facts.desk_written_off - written_off_back,
        opening=opening,
        quarantined=facts.desk_quarantined,
    )


@dataclass(frozen=True, slots=True)
class ListingRule:
    """What channel rules come to for one listing; units, never negative. The default offers the whole pool.

    `mode` and `switch_units` say how the pool is shared (`core.inventory.planner`), not how much of it is offered.
    """

    safety_stock_units: int = 0
    share_percent: Decimal = Decimal(100)
    buffer_units: int = 0
    floor_units: int = 0
    cap_units: int | None = None
    priority: int = 0
    is_offered: bool = True
    mode: Mode = "pooled"
    switch_units: int | None = None


OFFER_ALL = ListingRule()


def offer(available: int, rule: ListingRule = OFFER_ALL) -> int:
    """What a listing should show of its pool: never below zero, never more than the pool has.

    In this order: the safety stock is taken off the pool; of the rest the channel gets its share, rounded down, less
    its buffer; at least its floor, as far as the pool goes; at most its cap. The SQL function `offer` is the same.
    """
    if not rule.is_offered:
        return 0
    pool = max(0, available - rule.safety_stock_units)
    share = int(pool * rule.share_percent // 100) - rule.buffer_units
    shown = min(pool, max(rule.floor_units, share))
    return shown if rule.cap_units is None else min(shown, rule.cap_units)


def offer_terms(available: int, rule: ListingRule = OFFER_ALL) -> list[tuple[str, int]]:
    """Why `offer` comes to what it does: (what, change) in the order in which they apply, none of them 0.

    `available` and all changes add up to `offer`. The names: none_left (below zero counts as none), safety_stock,
    share, buffer, floor, cap, off.
    """
    steps = [("none_left", max(0, available))]
    steps.append(("safety_stock", pool := max(0, available - rule.safety_stock_units)))
    steps.append(("share", share := int(pool * rule.share_percent // 100)))
    steps.append(("buffer", kept := max(0, share - rule.buffer_units)))
    steps.append(("floor", shown := min(pool, max(rule.floor_units, kept))))
    steps.append(("cap", shown if rule.cap_units is None else min(shown, rule.cap_units)))
    steps.append(("off", offer(available, rule)))
    before = [available, *(units for _, units in steps)]
    changes = ((name, units - was) for (name, units), was in zip(steps, before, strict=False))
    return [(name, change) for name, change in changes if change]


def bundle_available(parts: Sequence[tuple[int, int]]) -> int:
    """How many bundles there are, from (available, units in one bundle) of each part: as many as the scarcest allows.

    Negative when a part is short: as many bundles as would have to be cancelled to make up for it.
    """
    return min(available // units for available, units in parts)


def short(available: int) -> int:
    """How many more are promised than there are."""
    return max(0, -available)


def differs(target: int, published: int | None) -> bool:
    """Whether a channel shows something else than it should; `target` may be negative when we are short.

    A shopper sees no difference between zero and less, and nobody can write a negative number: a channel that sold
    below zero while we are short is left alone. The SQL function `listing_differs` is the same.
    """
    return published is None or (published != max(target, 0) and not (published < 0 and target < 0))


@dataclass(frozen=True, slots=True)
class ListingState:
    """One listing as the planner sees it. `published_units` None: not known.

    `unseen_units` is what the channel changed by itself and nothing we booked explains yet (negative: it sold). What
    we want is then as much out of date as what the channel shows is ahead of us.
    """

    listing_id: int
    guarantee_class: str
    desired_units: int
    published_units: int | None
    unseen_units: int = 0
    short_units: int = 0
    priority: int = 0

    @property
    def target(self) -> int:
        """What is wanted once what the channel did by itself is booked; negative when we are short."""
        return self.desired_units - self.short_units + self.unseen_units

    @property
    def target_units(self) -> int:
        """What the channel should show."""
        return max(0, self.target)


@dataclass(frozen=True, slots=True)
class PlannedWrite:
    """A write to be committed before it is sent; `from_units` None sets absolutely."""

    listing_id: int
    from_units: int | None
    to_units: int


def plan_write(listing: ListingState) -> PlannedWrite | None:
    """The write that brings a listing to what it should show, or None when nothing is to be done.

    Class A compares and sets, so it needs to know what the channel shows; class B sets absolutely. A sale of the
    channel that we have not booked is never written over with the older, higher number.
    """
    shown, target = listing.published_units, listing.target_units
    if not differs(listing.target, shown):
        return None
    if listing.guarantee_class == "A":
        return None if shown is None else PlannedWrite(listing.listing_id, shown, target)
    return PlannedWrite(listing.listing_id, None, target)


def urgency(listing: ListingState) -> tuple[int, int, int]:
    """Sort key of pushes: zeros first, then what goes down, then what goes up.

    Among those alike, the higher priority is lowered last and raised first; then by listing. The order in
    `publishing.plan` is the same; a test holds the two together.
    """
    if listing.target_units == 0:
        rank = 0
    elif listing.published_units is not None and listing.target_units < listing.published_units:
        rank = 1
    else:
        rank = 2
    return rank, -listing.priority if rank == 2 else listing.priority, listing.listing_id


@dataclass(frozen=True, slots=True)
class Wish:
    """One line that a holder asks for: units of each (SKU, location) that it takes, all of them or none."""

    group: int
    line: int
    parts: tuple[tuple[tuple[int, int], int], ...]


def grant(wishes: Sequence[Wish], available: Mapping[tuple[int, int], int], piecemeal: Collection[int]) -> set[Wish]:
    """The wishes that can be met, first come first served.

    A group (one holder's lines) is met whole or not at all, unless it is among the `piecemeal` ones, which take the
    lines that can be had. A holder that gets nothing takes nothing away from those behind it.
    """
    left = dict(available)
    granted: set[Wish] = set()
    groups: dict[int, list[Wish]] = {}
    for wish in wishes:
        groups.setdefault(wish.group, []).append(wish)
    for group, lines in groups.items():
        for together in [[line] for line in lines] if group in piecemeal else [lines]:
            asked: Counter[tuple[int, int]] = Counter()
            for wish in together:
                for pair, units in wish.parts:
                    asked[pair] += units
            if all(left.get(pair, 0) >= units for pair, units in asked.items()):
                granted.update(together)
                for pair, units in asked.items():
                    left[pair] -= units
    return granted
