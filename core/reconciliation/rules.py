"""Why a channel and we say different numbers, and what is to be done about it: pure functions.

`classify` has one twin in SQL (`core.reconciliation.queries.cause_of`), which runs over a million listings at a time; a
property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, get_args

from core.errors import Anticipated, BadInput

Cause = Literal["in_flight", "sale_unseen", "channel_edit", "lost_write", "mapping", "real_loss"]
"""in_flight: a write of ours may show any moment, or has just. sale_unseen: orders that we have not read may explain
it. channel_edit: somebody typed a number there. lost_write: what we believe confirmed is back at the number before, or
never shows. mapping: the listing is gone, is not counted any more, or stands for another SKU. real_loss: units that we
took back and the channel does not have: neither here nor there."""

Action = Literal["waits", "healed", "asked", "ignored"]
AskedBecause = Literal["flagged", "loop", "brake", "by_hand"]

CAUSES: tuple[Cause, ...] = get_args(Cause)
HEALS_ITSELF: tuple[Cause, ...] = ("in_flight", "sale_unseen")
CORRECTABLE: tuple[Cause, ...] = ("channel_edit", "lost_write", "real_loss")
"""By writing what the planner wants. What a listing stands for, only a person can say."""

CAUSE_WORDS: dict[Cause, str] = {
    "in_flight": "a write of ours is on its way",
    "sale_unseen": "orders that are not read yet may explain it",
    "channel_edit": "somebody changed the number at the channel",
    "lost_write": "the channel does not show what we wrote",
    "mapping": "the listing is not what we take it for",
    "real_loss": "units came back here that the channel does not have",
}


@dataclass(frozen=True, slots=True)
class Sight:
    """One listing as a channel shows it, beside what we know; units of the listing.

    `shown_units` None: it was found, and the channel does not count it. `accounted_units`: what it showed, less what
    nothing explains; None: never read. `open_from`, `open_to`: of the write that left and is not settled, None as
    `core.ports.QuantityWrite` has it. `landing_max`: the highest number that was overtaken and may still land.
    `last_from`, `last_to`: of the last write that was confirmed, and what was shown before it. `is_passed`: every order
    up to the reading is known, or none are ever read. `restocked_units`: booked as put back since that write.
    """

    shown_units: int | None
    accounted_units: int | None
    is_found: bool = True
    is_older: bool = False
    points_elsewhere: bool = False
    is_open: bool = False
    open_from: int | None = None
    open_to: int | None = None
    is_doubted: bool = False
    landing_max: int | None = None
    last_from: int | None = None
    last_to: int | None = None
    is_passed: bool = True
    restocked_units: int = 0


def classify(sight: Sight) -> Cause | None:
    """Why what a channel shows is not what we account for; None where it is, or where nothing can be said.

    What is found at fault with the listing itself goes first: its number means nothing then. A reading that is older
    than what we know says nothing. What a write on its way, or one that was overtaken, may have led to is no
    difference yet; nor is any other until every order up to the reading is known.
    """
    if not sight.is_found or sight.points_elsewhere or sight.shown_units is None:
        return "mapping"
    if sight.accounted_units is None or sight.is_older:
        return None
    difference = sight.shown_units - sight.accounted_units
    if sight.is_doubted and sight.shown_units != sight.open_to:
        return "lost_write"
    if difference == 0:
        return None
    if (sight.is_open or sight.landing_max is not None) and sight.shown_units <= _most(sight, sight.accounted_units):
        return "in_flight"
    if not sight.is_passed:
        return "sale_unseen"
    if sight.last_from is not None and sight.last_to is not None and difference == sight.last_from - sight.last_to:
        return "lost_write"
    return "real_loss" if 0 < -difference <= sight.restocked_units else "channel_edit"


def _most(sight: Sight, accounted: int) -> int:
    """The most that it can show without anybody's doing, as `core.inventory.exposure.is_edit` has it."""
    most = max(accounted, accounted if sight.landing_max is None else sight.landing_max)
    if sight.is_open and sight.open_to is not None:
        landed = sight.open_to if sight.open_from is None else accounted + sight.open_to - sight.open_from
        most = max(most, landed)
    return most


class BadPolicy(BadInput):
    """A policy of a connection that cannot be."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is corrected by itself at a connection, and where a person is asked. The default corrects nothing.

    `corrections_max`: so many equal corrections of one listing. `zeroed_max`, `zeroed_percent`: so many live listings,
    and so many of a hundred, may be taken to 0 by the corrections of one run. `every_hours` None: never by itself.
    """

    corrects: frozenset[Cause] = field(default_factory=frozenset)
    corrections_max: int = 3
    zeroed_max: int = 20
    zeroed_percent: int = 10
    every_hours: int | None = 24

    def __post_init__(self) -> None:
        wrong = sorted(set(self.corrects) - set(CORRECTABLE))
        if wrong:
            raise BadPolicy(f"{', '.join(wrong)}: only {', '.join(CORRECTABLE)} can be corrected by itself")
        if not 1 <= self.corrections_max <= 100:
            raise BadPolicy(f"{self.corrections_max} equal corrections: give 1 to 100")
        if not 0 <= self.zeroed_max <= 1_000_000:
            raise BadPolicy(f"{self.zeroed_max} listings to 0: give a number from 0 on")
        if not 0 <= self.zeroed_percent <= 100:
            raise BadPolicy(f"{self.zeroed_percent} % of the live listings: give 0 to 100")
        if self.every_hours is not None and not 1 <= self.every_hours <= 8784:
            raise BadPolicy(f"every {self.every_hours} hours: give 1 to 8,784, or none")


def decide(cause: Cause, corrections: int, policy: Policy) -> tuple[Action, AskedBecause | None]:
    """What is done about a discrepancy of that cause, the same of which was corrected so often before.

    Whether it is one of too many is asked of all of them together (`is_mass`).
    """
    if cause in HEALS_ITSELF:
        return "waits", None
    if cause not in CORRECTABLE:
        return "asked", "by_hand"
    if cause not in policy.corrects:
        return "asked", "flagged"
    if corrections >= policy.corrections_max:
        return "asked", "loop"
    return "healed", None


def is_mass(zeroed: int, live: int, policy: Policy) -> bool:
    """Whether corrections that take so many of the live listings to 0 need a person's word; one alone never does."""
    if zeroed <= 1:
        return False
    return zeroed > policy.zeroed_max or zeroed * 100 > live * policy.zeroed_percent


class NotCorrectable(Anticipated):
    """Writing what we want would not help, or is not ours to decide."""


class Changed(Anticipated):
    """What was looked at is not what is there now; nothing was done."""

    def __init__(self) -> None:
        super().__init__("Nothing was done: what you looked at has changed since. Look again.")


def known_causes(words: Collection[str]) -> frozenset[Cause]:
    """Causes as a person spells them. Raises BadPolicy."""
    found = {word.strip().lower().replace("-", "_") for word in words if word.strip()}
    wrong = sorted(found - set(CAUSES))
    if wrong:
        raise BadPolicy(f"{', '.join(wrong)}: there is no such cause; there are {', '.join(CAUSES)}")
    return frozenset(cause for cause in CAUSES if cause in found)
