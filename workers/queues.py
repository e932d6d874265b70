"""The queues, most urgent first. One worker process serves one queue: with several, RQ loses a job whose worker dies
between taking it and starting it. A slow queue therefore never starves a fast one either.

Timeouts and retries are declared beside each job; what stands here is the most that a job of the queue may ask for.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, the longest timeout its jobs may declare, and how many worker processes one host starts for it."""

    name: str
    timeout_seconds: int
    workers: int = 1
    purpose: str = ""


_ORDERED = (
    Queue("events", 120, purpose="apply what channels told us"),
    # A push mostly waits for its channel: one worker alone would hold up what another channel is to be told.
    Queue("stock", 120, workers=2, purpose="tell channels what they should show"),
    Queue("stock-check", 120, purpose="read back accepted writes and settle doubts"),
    Queue("polls", 180, purpose="ask channels for orders; confirm shipments; watch exposure; relay the outbox"),
    # As many as orders are placed: in one line with the polls they kept everything else there waiting.
    Queue("lookups", 180, purpose="ask channels for what they only hinted at"),
    # A price is told within minutes, whatever is read as a whole meanwhile; two of a target's seats work at once.
    Queue("targets", 120, workers=2, purpose="tell targets, such as Klaviyo, the catalogue"),
    Queue("catalog", 3600, purpose="read whole catalogues and levels"),
    Queue("reconcile", 3600, purpose="compare channels with what we know, and heal"),
    # What is posted is sealed within a minute or two, whatever is compared or reported meanwhile.
    Queue("money", 900, purpose="release earnings; seal the ledger and put its heads on record outside"),
    # A person waits for it, and a catalogue that is kept fresh must not wait for him.
    Queue("imports", 3600, purpose="read, apply and take back files of products"),
    Queue("reports", 3600, purpose="reports of the day, nightly audit, housekeeping"),
)

QUEUES: dict[str, Queue] = {queue.name: queue for queue in _ORDERED}
