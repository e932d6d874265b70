"""Differences, and how a comparison says them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

SHOWN_MAX = 20
"""Differences of each kind that are printed: enough to repair by."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it must be; `kind` names the comparison, `key` the thing."""

    kind: str
    key: str
    expected: Any
    found: Any


def differing(kind: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> Iterator[Difference]:
    """Every key whose values are not the same on both sides; an absent one is None."""
    for key in sorted(expected.keys() | found.keys(), key=str):
        if expected.get(key) != found.get(key):
            yield Difference(kind, str(key), expected.get(key), found.get(key))


@dataclass(slots=True)
class Report:
    """What was compared (`checks`: how many things of each kind), what it came to, and what differs."""

    numbers: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.differences

    def compare(self, kind: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> None:
        """Hold two mappings against each other."""
        self.checks[kind] = len(expected.keys() | found.keys())
        self.differences += differing(kind, expected, found)

    def as_json(self) -> str:
        counts = Counter(item.kind for item in self.differences)
        shown = [asdict(item) for item in self.shown()]
        whole = {
            "clean": self.is_clean,
            "numbers": self.numbers,
            "compared": self.checks,
            "differences": dict(counts),
            "first": shown,
        }
        return json.dumps(whole, indent=2, default=str)

    def as_text(self) -> str:
        lines = [f"{name.replace('_', ' '):<44} {value}" for name, value in self.numbers.items()]
        counts = Counter(item.kind for item in self.differences)
        lines.append("")
        for kind, count in self.checks.items():
            verdict = f"{counts[kind]} differ" if counts[kind] else "the same"
            lines.append(f"{kind.replace('_', ' '):<44} {count:>9,} compared, {verdict}")
        for item in self.shown():
            lines.append(f"  {item.kind}: {item.key}: expected {item.expected}, found {item.found}")
        lines.append("Clean." if self.is_clean else f"{len(self.differences)} differences.")
        return "\n".join(lines)

    def shown(self) -> list[Difference]:
        """The first of each kind."""
        ordered = sorted(self.differences, key=lambda item: item.kind)
        return [item for _, found in groupby(ordered, lambda item: item.kind) for item in list(found)[:SHOWN_MAX]]
