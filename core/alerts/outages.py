"""One outage, one alert: what a channel that does not answer explains is part of the alert on that. Pure.

Whoever looks after the channel is told of it once, by name and with its cause. What only follows from it is kept with
that alert, and is told by itself if it still holds when the channel has answered again for a while.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from core.alerts.rules import Episode, Finding, Found
from core.alerts.terms import CONNECTION, REFUSED_CREDENTIAL, Policy

ROOTS = (REFUSED_CREDENTIAL, CONNECTION)
"""What explains others, and a later one of these too: who is refused by all gets no call through."""

PARTS = 10
"""Conditions that an alert names as part of it; of more it says how many."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is to become alerts of their own, by kind, and by fingerprint of an outage's alert what is part of it."""

    found: Mapping[str, Found]
    parts: Mapping[str, Sequence[Finding]]


def gather(
    found: Mapping[str, Found], episodes: Mapping[str, Episode], policies: Mapping[str, Policy], now: datetime
) -> Told:
    """Take what follows from an outage out of what was found, unless it is an alert already.

    An outage is one that is seen now, or whose alert is open and not for `hold_minutes` already seen to be over,
    however long it is held for having come back. Of a channel that has failed for a short time only nothing is told
    before it is known whether that is one: what follows is left out and part of nothing.
    """
    standing = {name: _standing(name, found, episodes, policies, now) for name in ROOTS}
    soon = {each for name in ROOTS if name in found for each in found[name].soon}
    parts: dict[str, list[Finding]] = {f"{name}:{each}": [] for name in ROOTS for each in standing[name]}
    kept = {}
    for kind, seen in found.items():
        left = []
        for finding in seen.findings:
            root = None if finding.fingerprint in episodes else _root(finding, standing)
            if root is not None:
                parts[root].append(finding)
            elif finding.follows not in soon or finding.fingerprint in episodes or kind in ROOTS:
                left.append(finding)
        kept[kind] = replace(seen, findings=left)
    return Told(kept, parts)


def _standing(
    root: str,
    found: Mapping[str, Found],
    episodes: Mapping[str, Episode],
    policies: Mapping[str, Policy],
    now: datetime,
) -> set[int]:
    """Connections whose outage of that kind is told of, or is about to be."""
    policy = policies[root]
    if not policy.is_on:
        return set()
    seen = [each.connection_id for each in found[root].findings] if root in found else []
    is_open = [
        each.connection_id
        for each in episodes.values()
        if each.kind == root and (each.clear_since is None or now - each.clear_since < policy.minutes("hold_minutes"))
    ]
    return {each for each in (*seen, *is_open) if each is not None}


def _root(finding: Finding, standing: Mapping[str, set[int]]) -> str | None:
    """The fingerprint of the alert that it is part of, the first that explains it."""
    for root in ROOTS:
        if root == finding.kind:
            break
        if finding.follows in standing[root]:
            return f"{root}:{finding.follows}"
    return None


def parts_of(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """The parts as the alert keeps them, the worst first, and how many more there are."""
    worst = sorted(findings, key=lambda each: (each.severity != "danger", -each.orders, -each.skus, each.fingerprint))
    told: list[dict[str, object]] = [
        {
            "headline": each.headline,
            "page": each.page,
            "address": dict(each.address),
            "skus": each.skus,
            "orders": each.orders,
            "money": dict(each.money),
        }
        for each in worst[:PARTS]
    ]
    return told if len(worst) <= PARTS else [*told, {"more": len(worst) - PARTS}]
