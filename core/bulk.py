"""What a channel is that takes many writes in one submission and applies them at its leisure: its protocol and values.

As in core.ports: vendor words end in the adapters, all instants are aware UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from core.ports import QuantityWrite


@dataclass(frozen=True, slots=True)
class BulkSent:
    """What became of submitting a document: the channel has it under `ref`; or it surely never got it (unsent), with
    the reason; or no sure answer came (unknown)."""

    outcome: Literal["submitted", "unsent", "unknown"]
    ref: str | None = None
    code: str | None = None
    detail: str | None = None


BulkState = Literal["queued", "running", "done", "fatal", "cancelled"]


@dataclass(frozen=True, slots=True)
class BulkSubmission:
    """A bulk submission as the channel tells of it; `ref` is its id.

    queued: not begun. running: being worked through. done: over, which says nothing of any message: read the report.
    fatal: given up, with some, none or all of it applied. cancelled: never begun. `report_ref`: where its report is.
    """

    ref: str
    state: BulkState
    created_at: datetime
    ended_at: datetime | None = None
    report_ref: str | None = None


Severity = Literal["error", "note", "unclear"]


@dataclass(frozen=True, slots=True)
class BulkIssue:
    """What a report says of one message, or, without `position` (0 is the first), of the whole file.

    error: the message was not accepted. note: it was, with a remark. unclear: a word that we do not know.
    """

    position: int | None
    severity: Severity
    code: str
    message: str
    listing_ref: str | None = None


@dataclass(frozen=True, slots=True)
class BulkReport:
    """What became of a bulk submission's messages; counts are None where the report does not give them."""

    issues: tuple[BulkIssue, ...] = ()
    processed: int | None = None
    accepted: int | None = None
    invalid: int | None = None


class BulkRoad(Protocol):
    """The way of many writes in one submission, which the channel applies at its leisure, each at most once.

    `size_max` writes at most in one; at most `window` submissions in so long, of the channel's time.
    """

    size_max: int
    window: tuple[int, timedelta]

    def calls_per_second(self) -> float:
        """How many writes a second (of the channel's time) the other road takes, one by one, as last told."""

    def ready_in(self) -> float:
        """Seconds (of our time) until quota lets the next submission leave at once; 0: now."""

    def upload(self, writes: Sequence[QuantityWrite]) -> str:
        """Put a document of these writes, in this order, with the channel; returns its id. It does nothing yet.

        Raises core.errors.Retryable or Permanent; whatever it raises, nothing is under way.
        """

    def submit(self, document_ref: str) -> BulkSent:
        """Have an uploaded document applied. Leaves at most once, and never raises for what happened outside."""

    def submission(self, ref: str) -> BulkSubmission:
        """How far a submission is. Raises core.errors.Retryable or Permanent."""

    def submissions_since(self, since: datetime) -> Sequence[BulkSubmission]:
        """Every submission of quantities of this account since then, whoever made it."""

    def report(self, submission: BulkSubmission) -> BulkReport:
        """What became of its messages. Raises Retryable while there is none yet, Permanent when there never is."""

    def cancel(self, ref: str) -> bool:
        """Ask that one that has not begun never does; False when it is too late for that."""

    def submitted(self, refs: Sequence[str]) -> Mapping[str, int]:
        """What was submitted last for some listings, by listing ref, which need not be in force."""
