"""Which setting would have prevented an oversell: pure rules over what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from core.inventory.planner import Mode

Cause = Literal["not_a_sale", "unknown", "unwatched", "edit", "sold_at_zero", "pooled", "line_too_low", "unexplained"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why it could happen, in one word; what was wrong and what would have prevented it, a sentence each.

    `line_units`: the switch line of adaptive that would have sufficed, where one would.
    """

    cause: Cause
    because: str
    prevented_by: str
    line_units: int | None = None


@dataclass(frozen=True, slots=True)
class Seat:
    """A listing of the pool just before the sale, pool units; `exposed_units` None: its history is forgotten."""

    listing_id: int
    connection: str
    guarantee_class: str
    units_each: int
    exposed_units: int | None
    is_seller: bool


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of one shortage. `sold_units`: of the order that went below, in pool units; None: no order did.

    `edited_units`: numbers that nobody here wrote, seen on the seller within the history that was read. `is_watched`:
    the seller's orders are read. `mode` is today's rule; `was_escrow` and `line_units` are of that moment.
    """

    before_units: int
    after_units: int
    sold_units: int | None
    seller: str | None
    movement: str | None
    seats: Sequence[Seat]
    edited_units: int
    is_watched: bool
    mode: Mode
    was_escrow: bool
    line_units: int | None


def judge(case: Case) -> Verdict:
    """Which setting would have prevented it, or that none would."""
    if case.seller is None and case.movement is None:
        return Verdict(
            "unknown",
            "What took it below nothing is not on record.",
            "Shortages since then keep their order; for this one, see the SKU’s movements and promises.",
        )
    if case.seller is None:
        return Verdict(
            "not_a_sale",
            f"No channel oversold: a {case.movement} found fewer than were promised already.",
            "No setting of channels: a safety stock leaves room for goods that are not where they should be.",
        )
    if not case.is_watched:
        return Verdict(
            "unwatched",
            f"Orders of {case.seller} are not read: what it sells is not known before it is too late.",
            "Not by a mode: have its orders read, or give it stock of its own (a location, or a cap with a safety stock"
            " for the others).",
        )
    exposed = _exposed_of_seller(case)
    if case.edited_units:
        return Verdict(
            "edit",
            f"Somebody set {case.seller} to a number that we did not write ({case.edited_units:,} units of it were"
            " unexplained).",
            "Not by a setting: a number typed on the channel can be sold at once. Let stock be changed here only.",
        )
    if exposed is not None and case.sold_units is not None and exposed < case.sold_units:
        return Verdict(
            "sold_at_zero",
            f"{case.seller} could sell {exposed:,} at the most and sold {case.sold_units:,}: it sells beyond what it"
            " shows (continue selling when out of stock, a draft order, or staff).",
            f"Not by a setting here: have {case.seller} refuse at zero, or hold a buffer for it.",
        )
    return _by_mode(case)


def _by_mode(case: Case) -> Verdict:
    seller, known = case.seller, _exposed_of_all(case)
    several = (
        f"{len([seat for seat in case.seats if seat.exposed_units])} channels could sell {known:,} together, and"
        f" {case.before_units:,} {'was' if case.before_units == 1 else 'were'} there"
        if known is not None
        else f"channels could sell more than the {case.before_units:,} that were there"
    )
    if case.was_escrow and (known is None or known <= case.before_units):
        return Verdict(
            "unexplained",
            f"It was in escrow, and what {seller} sold was within what it was given.",
            "None that is known: escrow should have prevented it. Run `switchyard audit` and look at the timeline.",
        )
    line = _line(case)
    if case.was_escrow or (case.line_units is not None and case.mode == "adaptive"):
        at = f" of {case.line_units:,}" if case.line_units is not None else ""
        return Verdict(
            "line_too_low",
            f"It went into escrow too late: {several} before channels were lowered.",
            f"A switch line higher than its line{at}: {line:,} or more, or escrow at all times.",
            line,
        )
    return Verdict(
        "pooled",
        f"The pool was shared by all: {several}.",
        f"Escrow would have prevented it; so would adaptive with a switch line of {line:,} or more.",
        line,
    )


def _exposed_of_seller(case: Case) -> int | None:
    found = [seat.exposed_units for seat in case.seats if seat.is_seller]
    return None if not found or None in found else sum(units or 0 for units in found)


def _exposed_of_all(case: Case) -> int | None:
    if any(seat.exposed_units is None for seat in case.seats):
        return None
    return sum(seat.exposed_units or 0 for seat in case.seats)


def _line(case: Case) -> int:
    """When the channels were told what they could still sell, so many were there: escrow had to begin by then."""
    told = [seat.exposed_units or 0 for seat in case.seats]
    return max([case.before_units, -case.after_units, (case.line_units or 0) + 1, *told])


def went_below(after_units: int, booked: Sequence[int]) -> int:
    """Which of several promises booked at once, newest first, took the level below nothing: its place.

    `after_units` is the level after all of them. With none that does, the oldest.
    """
    level = after_units
    for place, units in enumerate(booked):
        level += units
        if level >= 0:
            return place
    return max(0, len(booked) - 1)
