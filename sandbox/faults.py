"""Seeded misfortune: late, failed and lost answers; duplicate, late, shuffled and lost deliveries."""

import random
from dataclasses import dataclass
from typing import Any

from sandbox.errors import Refused
from sandbox.store import Store

# An answer by another status than the vendor would give: the word for programs and the sentence.
STATUSES = {
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    423: "Locked",
    429: "Too Many Requests",
    430: "Security Rejection",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    524: "A Timeout Occurred",
}
STATUS_KINDS = {f"http_{status}": status for status in STATUSES}
ANSWER_KINDS = ("expired_token", "latency", "lost_reply", *STATUS_KINDS)
# These are the vendor's own to answer, in the middle of his work.
SUBMISSION_KINDS = ("lost_submission", "late_submission")
FEED_KINDS = ("feed_stuck", "feed_fatal_none", "feed_fatal_some", "feed_fatal_all")
JOB_KINDS = ("catalog_job_stuck", "catalog_job_cancelled", "catalog_entry_failed", "lost_event")
INNER_KINDS = (
    "throttled", "idempotency_concurrent", "bulk_failed", "bulk_expired", "delete_failed", *SUBMISSION_KINDS,
    *FEED_KINDS, *JOB_KINDS,
)  # fmt: skip
DELIVERY_KINDS = ("duplicate_delivery", "delayed_delivery", "reordered_delivery", "lost_delivery")
KINDS = ANSWER_KINDS + INNER_KINDS + DELIVERY_KINDS
DEFAULT_SECONDS = {
    "latency": 1.0,
    "delayed_delivery": 60.0,
    "reordered_delivery": 5.0,
    "late_submission": 3600.0,
    "feed_stuck": 259_200.0,
    "catalog_job_stuck": 3600.0,
}


@dataclass
class Fault:
    """One armed fault; `remaining` None means as often as its probability says."""

    id: int
    kind: str
    match: str
    remaining: int | None
    probability: float
    seconds: float
    hits: int

    def as_json(self) -> dict[str, Any]:
        return vars(self).copy()


class Faults:
    """The armed faults, kept over restarts."""

    def __init__(self, store: Store, seed: int) -> None:
        self._store = store
        self._random = random.Random(f"faults-{seed}")
        self._armed = [Fault(**dict(row)) for row in store.all("select * from faults order by id")]

    def arm(self, given: dict[str, Any]) -> Fault:
        """Raises Refused for an unknown kind or a number that makes no sense."""
        kind = str(given.get("kind"))
        if kind not in KINDS:
            raise Refused("unknown_fault", f"The fault {kind!r} is none of {', '.join(KINDS)}.")
        count, probability = given.get("count"), float(given.get("probability", 1.0))
        if count is not None and (not isinstance(count, int) or count < 1):
            raise Refused("invalid_count", "The count of a fault must be a positive whole number.")
        if not 0 < probability <= 1:
            raise Refused("invalid_probability", "The probability of a fault must be above 0 and at most 1.")
        seconds = float(given.get("seconds", DEFAULT_SECONDS.get(kind, 0.0)))
        fault_id = 1 + max((fault.id for fault in self._armed), default=0)
        fault = Fault(fault_id, kind, str(given.get("match", "")), count, probability, seconds, 0)
        with self._store.transaction():
            self._store.insert("faults", **vars(fault))
        self._armed.append(fault)
        return fault

    def disarm_all(self) -> int:
        count = len(self._armed)
        with self._store.transaction():
            self._store.run("delete from faults")
        self._armed.clear()
        return count

    def listed(self) -> list[dict[str, Any]]:
        return [fault.as_json() for fault in self._armed]

    def any_for_answers(self) -> bool:
        return any(fault.kind in ANSWER_KINDS and fault.remaining != 0 for fault in self._armed)

    def strike(self, kind: str, text: str) -> Fault | None:
        """The first armed fault of the kind that matches and whose chance comes up; uses one of its count."""
        for fault in self._armed:
            if fault.kind != kind or fault.remaining == 0 or fault.match not in text:
                continue
            if fault.probability < 1 and self._random.random() >= fault.probability:
                continue
            self._use(fault)
            return fault
        return None

    def spread(self, seconds: float) -> float:
        return self._random.uniform(0, seconds)

    def _use(self, fault: Fault) -> None:
        fault.hits += 1
        if fault.remaining is not None:
            fault.remaining -= 1
        with self._store.transaction():
            self._store.run(
                "update faults set remaining = ?, hits = ? where id = ?", (fault.remaining, fault.hits, fault.id)
            )
