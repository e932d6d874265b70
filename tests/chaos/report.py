"""What a run came to: for people and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.chaos.plan import KINDS


@dataclass(slots=True)
class Record:
    """One blow that fell: when, on whom, and what was to be seen at that moment."""

    number: int
    kind: str
    at_seconds: float
    took_seconds: float
    received: int
    undelivered: int
    open_transaction: dict[str, Any] | None
    pids: list[int]
    notes: dict[str, Any]
    tries: int

    def as_text(self) -> str:
        """One line of the log."""
        said = [f"{self.number:>4} {self.at_seconds:>7.1f}s {self.kind:<29} received {self.received:>4}"]
        if self.undelivered:
            said.append(f"on the way {self.undelivered}")
        if self.pids:
            said.append("pid " + ",".join(map(str, self.pids)))
        if (row := self.open_transaction) is not None:
            wait = f"{row['wait_event_type']}/{row['wait_event']}" if row["wait_event"] else "running"
            said.append(
                f"in a transaction open {row['open_seconds']}s (backend {row['backend']}, {row['state']}, {wait})"
            )
        said += [f"{name.replace('_', ' ')} {value}" for name, value in self.notes.items()]
        return "  ".join(said)


@dataclass(slots=True)
class Report:
    """Everything of a run. `differences` empty and `failure` None: nothing was lost and nothing was done twice."""

    seed: int
    planned: int
    file: str
    clock_factor: float
    orders: int = 0
    order_lines: int = 0
    quiet_seconds: float = 0.0
    blow_seconds: float = 0.0
    settling_seconds: float = 0.0
    resting_seconds: float = 0.0
    tellings: dict[str, int] = field(default_factory=dict)
    deliveries: dict[str, Any] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    repeated_bookings: int = 0
    settled_by_hand: list[dict[str, Any]] = field(default_factory=list)
    not_fallen: list[str] = field(default_factory=list)
    comparisons: dict[str, list[str]] = field(default_factory=dict)
    blows: list[Record] = field(default_factory=list)
    failure: str | None = None

    @property
    def is_clean(self) -> bool:
        return self.failure is None and not self.not_fallen and not any(self.comparisons.values())

    @property
    def with_a_full_inbox(self) -> int:
        return sum(blow.received > 0 for blow in self.blows)

    @property
    def in_a_transaction(self) -> int:
        """Blows that ended, froze or cut off a process whose transaction was open."""
        return sum(blow.open_transaction is not None for blow in self.blows)

    def by_kind(self) -> dict[str, int]:
        """How many of each kind fell."""
        counted = Counter(blow.kind for blow in self.blows)
        return {kind: counted[kind] for kind in KINDS}

    def as_json(self) -> str:
        """Everything, with the counts that people ask for first."""
        counts = {
            "clean": self.is_clean,
            "blows_fallen": len(self.blows),
            "blows_by_kind": self.by_kind(),
            "blows_with_a_full_inbox": self.with_a_full_inbox,
            "blows_in_a_transaction": self.in_a_transaction,
            "acts_by_hand": len(self.settled_by_hand),
        }
        return json.dumps(counts | asdict(self), indent=2, default=str)

    def as_text(self) -> str:
        """The whole as a page, without the log of blows, which was printed while they fell."""
        lines = [
            f"seed {self.seed}: {len(self.blows)} of {self.planned} blows fell,"
            f" {self.with_a_full_inbox} on a full inbox, {self.in_a_transaction} inside an open transaction",
            "",
            *(f"  {kind:<29} {count:>4}  {KINDS[kind]}" for kind, count in self.by_kind().items()),
            "",
            f"file                 {self.file}: {self.orders} orders, {self.order_lines} lines",
            f"deliveries           {_counts(self.deliveries)}",
            f"inbox                {_counts(self.messages)}",
            f"runs of jobs         {_counts(self.runs)}",
            f"tellings             {_counts(self.tellings)}",
            f"bookings repeated    {self.repeated_bookings} (our own people's, refused while something was away)",
            f"settled by hand      {len(self.settled_by_hand)} writes whose sender was killed (class B, by design)",
            f"duration             quiet run {self.quiet_seconds:.0f} s, blows {self.blow_seconds:.0f} s,"
            f" coming into step {self.settling_seconds:.0f} s, coming to rest {self.resting_seconds:.0f} s"
            f" (clock factor {self.clock_factor:g})",
            "",
        ]
        for name, differences in self.comparisons.items():
            lines.append(f"{name:<52} {'the same' if not differences else f'{len(differences)} DIFFER'}")
            lines += [f"    {difference}" for difference in differences[:20]]
        lines += [f"did not fall: {said}" for said in self.not_fallen]
        if self.failure:
            lines.append(f"FAILED: {self.failure}")
        lines.append("Clean: nothing lost, nothing twice." if self.is_clean else "NOT CLEAN.")
        return "\n".join(lines)


def _counts(found: dict[str, Any]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in found.items() if isinstance(count, int))
