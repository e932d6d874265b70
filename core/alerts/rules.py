"""Pure rules of alerts: when one opens and closes, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from core.errors import BadInput

EXPOSURE = "exposure"
STUCK = "stuck_change"
CREDENTIAL = "credential"
LIMIT_MAX = 1_000_000

QUIET = timedelta(minutes=10)
"""One that opens again so soon after it closed is on record, and says nothing again."""

WORST = 5
"""SKUs that an alert names."""


class BadLimit(BadInput):
    """A limit that cannot be."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit:,} is no limit for units at risk: give 0 (told of any) to {LIMIT_MAX:,}, or switch it off"
        )


@dataclass(frozen=True, slots=True)
class Risk:
    """What could be sold of a shop that is not there: units in all, over how many SKUs, and the worst of them."""

    units: int
    skus: int
    worst: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True, slots=True)
class Hanging:
    """Legs of changes that are stuck on one connection for one reason; `code` names one SKU of them."""

    connection: str
    reason: str
    next_step: str
    legs: int
    code: str


@dataclass(frozen=True, slots=True)
class Stuck:
    """All of a shop's legs that are stuck, over so many SKUs, and where most of them hang."""

    legs: int
    skus: int
    worst: Sequence[Hanging] = ()


Step = Literal["open", "close", "keep", "nothing"]


def next_step(limit: int | None, units: int, *, is_open: bool) -> Step:
    """What becomes of the alert: it is open exactly while there is a limit and more than that is at risk."""
    if limit is not None and units > limit:
        return "keep" if is_open else "open"
    return "close" if is_open else "nothing"


def notice(shop: str, limit: int, risk: Risk, address: str) -> str:
    """What is said when one opens."""
    worst = ", ".join(f"{code} ({units:,})" for code, units in risk.worst)
    skus = f"{risk.skus:,} SKU{'' if risk.skus == 1 else 's'}"
    return (
        f"{shop}: up to {risk.units:,} units could be oversold, over {skus}; the limit is {limit:,}. "
        f"Worst: {worst}. {address}/oversell"
    )


def stuck_notice(shop: str, stuck: Stuck, address: str) -> str:
    """What is said when changes hang: where, why, and what to do."""
    places = " ".join(
        f"{each.connection}: {each.reason} ({each.legs:,}, such as {each.code}). {each.next_step}"
        for each in stuck.worst
    )
    changes = "1 change has" if stuck.legs == 1 else f"{stuck.legs:,} changes have"
    return f"{shop}: {changes} not reached a channel in time. {places} {address}"


@dataclass(frozen=True, slots=True)
class Ending:
    """A credential of a connection that ends; `ends_at` None where the vendor does not say when."""

    connection: str
    ends_at: datetime | None
    address: str

    @property
    def why(self) -> str:
        """What ends, and when."""
        when = "soon" if self.ends_at is None else f"on {self.ends_at:%Y-%m-%d at %H:%M} UTC"
        return f"the application's client secret ends {when}"

    def text(self) -> str:
        """What is said when the alert opens."""
        return (
            f"{self.connection}: {self.why}. Rotate it in the vendor's developer console and enter the new one with"
            f" `switchyard connect`; afterwards nothing can be read or written there any more. {self.address}"
        )
