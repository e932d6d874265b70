"""The marketplaces whose orders one connection reads, as its settings tell them (`core.connections.markets`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Markets:
    """`own` is the connection's; `since` has each with the moment from which it may have sold, None: from the first."""

    own: str
    since: Mapping[str, datetime | None]
    is_known: bool
    """Whether the seller was asked: until then only the own one is."""

    @classmethod
    def of(cls, settings: Mapping[str, Any], own: str) -> Markets:
        told = settings.get("marketplaces")
        since = {ref: None if at is None else datetime.fromisoformat(at) for ref, at in (told or {}).items()}
        return cls(own, {own: None, **since}, told is not None)

    @property
    def refs(self) -> str:
        """As a search takes them, and as a course keeps them: always in the same order."""
        return ",".join(sorted(self.since))

    def is_ours(self, ref: str | None) -> bool:
        """Whether an order of that marketplace is this connection's to book."""
        return not self.is_known or ref is None or ref in self.since

    def joined(self, before: str) -> list[datetime | None]:
        """Since when those may have sold that were not among `before` (as `refs` told them)."""
        return [at for ref, at in self.since.items() if ref not in before.split(",")]
