"""Pure rules of alerts: what a condition says of itself, when an episode opens and closes, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from urllib.parse import urlencode

from core.alerts.terms import Policy
from core.errors import BadInput

Severity = Literal["danger", "attention"]
Because = Literal["below", "off", "replaced", "paused"]

LIMIT_MAX = 1_000_000

WORST = 5
"""SKUs, feeds, ... that an alert names."""

ENDED: Mapping[str, str] = {
    "below": "its condition is gone",
    "off": "somebody switched it off",
    "replaced": "it was replaced",
    "paused": "its channel is paused, and nothing is known of it meanwhile",
}
"""Why an episode closed, as people read it."""


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
    """All of a shop's legs that are stuck, over so many SKUs and orders, and where most of them hang.

    `only_connection` has all of them; None: several do.
    """

    legs: int
    skus: int
    worst: Sequence[Hanging] = ()
    orders: int = 0
    only_connection: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition that holds now, in words, with what it affects.

    `fingerprint` is its kind, and after a colon what it is about. `size` says how bad it is in the kind's own measure,
    by which "much worse" is judged. `page` and `address` are where to look. `follows` is the connection whose not
    answering explains it: while that is told of, this is part of it. `money` is by currency, in minor units.
    """

    fingerprint: str
    severity: Severity
    headline: str
    sentence: str
    next_step: str
    page: str
    size: int
    address: Mapping[str, str] = field(default_factory=dict)
    connection_id: int | None = None
    units: int = 0
    skus: int = 0
    orders: int = 0
    worst: Sequence[Mapping[str, object]] = ()
    limit: int = 0
    follows: int | None = None
    money: Mapping[str, int] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.fingerprint.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A condition of which nothing can be said now; an episode of it stays as it is."""

    fingerprint: str
    because: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found. `rest`: why nothing is known of what is not among it; None: the rest is well.

    `soon` are connections that do not answer, for too short a time to say so.
    """

    findings: Sequence[Finding] = ()
    unknown: Sequence[Unknown] = ()
    rest: str | None = None
    soon: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Episode:
    """An alert that is not closed, as far as its next step depends on it."""

    alert_id: int
    kind: str
    fingerprint: str
    severity: Severity
    headline: str
    told_size: int
    relapses: int
    clear_since: datetime | None
    unknown_since: datetime | None
    is_told: bool
    connection_id: int | None = None


Step = Literal["open", "keep", "worse", "clear", "close", "unknown", "nothing"]


def next_step(episode: Episode | None, seen: Finding | Unknown | None, policy: Policy, now: datetime) -> Step:
    """What becomes of an alert by what was seen of its condition; `seen` None: it is gone.

    clear: it is gone, and has not been for long enough. worse: open, and so much worse that it is told again.
    """
    if not policy.is_on:
        return "nothing" if episode is None else "close"
    if isinstance(seen, Unknown):
        return "nothing" if episode is None else "unknown"
    if seen is not None:
        if episode is None:
            return "open"
        return "worse" if is_much_worse(episode, seen, policy) else "keep"
    if episode is None:
        return "nothing"
    gone_since = episode.clear_since or now
    return "close" if now - gone_since >= policy.hold(episode.relapses) else "clear"


def is_much_worse(episode: Episode, seen: Finding, policy: Policy) -> bool:
    """Whether it is to be told again, acknowledged or not: many times what was told, or dangerous and was not."""
    if seen.severity == "danger" and episode.severity == "attention":
        return True
    return seen.size >= policy["worse_times"] * max(episode.told_size, 1)


def link(dashboard: str, shop_id: int, page: str, address: Mapping[str, str]) -> str:
    """The full address of where to look."""
    return f"{dashboard}/{page}?{urlencode({'shop': str(shop_id), **address})}"


def opening(shop: str, seen: Finding, address: str, *, again: bool) -> str:
    """What is said when one opens, or opens again."""
    came = "Again: " if again else ""
    return f"{shop}: {came}{ended(seen.headline)} {ended(seen.sentence)} {ended(seen.next_step)} {address}"


def worsening(shop: str, seen: Finding, address: str, who: str | None) -> str:
    """What is said when one that is open is much worse; `who` has it."""
    has = f" {who} has it." if who else ""
    return f"{shop}: Much worse: {ended(seen.headline)}{has} {ended(seen.sentence)} {ended(seen.next_step)} {address}"


def closing(shop: str, headline: str, because: Because, minutes: float) -> str:
    """What is said when one closes that was told of."""
    lasted = f"{minutes:,.0f} minute{'' if round(minutes) == 1 else 's'}"
    return f"{shop}: Over: {headline}: {ENDED[because]}. It lasted {lasted}."


def ended(text: str) -> str:
    """With a full stop, where it has none."""
    text = text.strip()
    return text if text[-1:] in ".!?" else f"{text}."


def many(number: int, one: str, several: str | None = None) -> str:
    """A number and its noun: 1 message, 2,000 messages."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"
