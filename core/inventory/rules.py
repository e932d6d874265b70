"""Pure rules of stock: what an order line does to it, what a listing should show, which write that takes."""

from __future__ import annotations

from dataclasses import dataclass


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


@dataclass(frozen=True, slots=True)
class LineStock:
    """What a line has done to stock: `held` is reserved, the others are sums of movements."""

    held: int
    consumed: int
    returned: int
    written_off: int
    opening: int

    @property
    def available_effect(self) -> int:
        """Change of `available` caused by the line (negative: stock is gone or promised)."""
        return self.opening + self.returned - self.held - self.consumed - self.written_off


def line_stock(facts: LineFacts) -> LineStock:
    """What a line should have done to stock, from all its facts at once.

    A function of sums, so the number and order of events does not matter: whoever books the difference between this
    and what is booked ends in the same place. A refund that restocks cancelled units first releases what was never
    shipped; a legacy restock does not say which, so it does the same; what exceeds that came back from the customer.
    A refund without restock is taken from shipped units first (a broken parcel); beyond those the units leave the
    order unshipped and unsellable. A cancelled order holds nothing. Units sold before the listing's baseline were
    never part of it, so they come in as opening stock, less what was already restocked or dropped before it.
    """
    unshipped = max(0, facts.ordered - facts.shipped)
    released = min(facts.refunded_cancel, unshipped)
    unshipped -= released
    came_back = facts.refunded_return + facts.refunded_cancel - released
    legacy_released = min(facts.refunded_legacy, unshipped)
    unshipped -= legacy_released
    came_back += facts.refunded_legacy - legacy_released
    lost_unshipped = max(0, facts.refunded_no_restock - max(0, facts.shipped - came_back))
    written_off = min(lost_unshipped, unshipped)
    opening = 0
    if facts.is_before_baseline:
        dropped = unshipped - written_off if facts.is_cancelled_before_baseline else 0
        opening = max(0, facts.ordered - facts.restocked_before_baseline - dropped)
    return LineStock(
        held=0 if facts.is_cancelled else unshipped - written_off,
        consumed=facts.shipped,
        returned=came_back,
        written_off=written_off,
        opening=opening,
    )


def available_to_sell(available: int) -> int:
    """What a listing should show of its pool: never below zero. Channel rules will take their share here."""
    return max(0, available)


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


def urgency(listing: ListingState) -> tuple[int, int]:
    """Sort key of pushes: zeros first, then what goes down, then what goes up; each by listing."""
    if listing.target_units == 0:
        rank = 0
    elif listing.published_units is not None and listing.target_units < listing.published_units:
        rank = 1
    else:
        rank = 2
    return rank, listing.listing_id
