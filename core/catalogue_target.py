"""What a catalogue target is, a place that is told our catalogue and sells nothing: its protocol and values.

As in core.ports: vendor words end in the adapters, all instants are aware UTC. External ids are ours, as text, and
never change. What is sent goes in jobs that the target does at its leisure, each of entries of one kind and one verb.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from core.ports import ChannelAccount

Kind = Literal["category", "item", "variant"]
Verb = Literal["create", "update", "delete"]
Metadata = Mapping[str, str | int | float | bool]

KINDS: tuple[Kind, ...] = ("category", "item", "variant")
"""In the order in which they come to be; they go in the reverse."""
VERBS: tuple[Verb, ...] = ("create", "update", "delete")


@dataclass(frozen=True, slots=True)
class CategoryContent:
    """A category has a name and nothing else."""

    name: str


@dataclass(frozen=True, slots=True)
class ItemContent:
    """A product. `price` in major units, the lowest of its variants; None: none has one. `categories`: external ids."""

    title: str
    description: str
    url: str
    price: Decimal | None
    images: tuple[str, ...]
    is_published: bool
    metadata: Metadata
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VariantContent:
    """What of a product is sold. `is_hidden_without_stock`: not recommended while `units` is 0. `item` is its product's
    external id; it can never be another's."""

    title: str
    description: str
    url: str
    sku: str
    units: int
    is_hidden_without_stock: bool
    price: Decimal
    images: tuple[str, ...]
    is_published: bool
    metadata: Metadata
    item: str = ""


Content = CategoryContent | ItemContent | VariantContent


@dataclass(frozen=True, slots=True)
class TargetEntry:
    """One entry of a job; without content it is one to be deleted."""

    external_id: str
    content: Content | None = None


@dataclass(frozen=True, slots=True)
class TargetFault:
    """An entry that failed. `position` is its place in the job, None where the target does not say; `field` is what of
    it is wrong, as the rest of the pointer; `code` and `detail` are the target's words."""

    position: int | None
    field: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class TargetSent:
    """What became of handing in a job: the target has it under `ref`; it surely never got it (unsent), or never will as
    it stands (refused); or no sure answer came (unknown). `again_in`: seconds after which an unsent one may be tried.
    `fault`: the entry for which it was refused, where the target names one."""

    outcome: Literal["submitted", "unsent", "refused", "unknown"]
    ref: str | None = None
    code: str | None = None
    detail: str | None = None
    again_in: float | None = None
    fault: TargetFault | None = None


JobState = Literal["queued", "processing", "complete", "cancelled"]
OVER: frozenset[str] = frozenset({"complete", "cancelled"})


@dataclass(frozen=True, slots=True)
class TargetJob:
    """A job as the target tells of it. That it is complete says nothing of its entries: see `failed` and `faults`."""

    ref: str
    state: JobState
    total: int
    completed: int
    failed: int
    created_at: datetime
    expires_at: datetime | None
    faults: tuple[TargetFault, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """What the target holds under an external id. Its content tells neither an item's categories nor a variant's item;
    None where it cannot be read as one of ours. `item`: whose a variant is, where the target says."""

    external_id: str
    content: Content | None
    item: str | None = None


@dataclass(frozen=True, slots=True)
class TargetPage:
    """Some records, and where the next page begins; None after the last."""

    records: tuple[TargetRecord, ...]
    next: str | None


class CatalogueTarget(Protocol):
    """A target of the catalogue. Methods raise core.errors.Retryable when the same call may succeed later, Permanent
    when it never will; `submit` never raises for what happened outside."""

    entries_max: int
    bytes_max: int
    jobs_max: int
    """How many jobs may be in progress at one time, of all kinds."""

    def about(self) -> ChannelAccount:
        """The target's real answer to our credentials."""

    def size_of(self, kind: Kind, verb: Verb, entry: TargetEntry) -> int:
        """Bytes that the entry takes in a job; a job has `bytes_max` for all of them."""

    def ready_in(self, kind: Kind, verb: Verb) -> float:
        """Seconds until a job of that kind could be handed in without waiting for quota; 0: now."""

    def submit(self, kind: Kind, verb: Verb, entries: Sequence[TargetEntry]) -> TargetSent:
        """Hand in a job, at most once: the target has no key by which it would know a repetition."""

    def job(self, kind: Kind, verb: Verb, ref: str) -> TargetJob | None:
        """A job as it is now; None where the target knows nothing of it (any more)."""

    def job_names(self, kind: Kind, verb: Verb, ref: str) -> frozenset[str]:
        """The external ids that the target says are in a job; empty where it does not (yet) say."""

    def unfinished(self, kind: Kind, verb: Verb) -> Mapping[str, JobState]:
        """The jobs of that kind that are queued or being processed, by ref: whatever was handed in before and is not
        among them is over."""

    def jobs_since(self, kind: Kind, verb: Verb, since: datetime) -> Sequence[TargetJob]:
        """Jobs of that kind created at or after `since`, in any state."""

    def records(self, kind: Kind, external_ids: Sequence[str]) -> Sequence[TargetRecord]:
        """What the target holds under some ids, at most `entries_max`; what it does not hold is left out."""

    def variants_of(self, item: str) -> frozenset[str]:
        """The external ids of an item's variants; empty where there is no such item."""

    def page(self, kind: Kind, after: str | None) -> TargetPage:
        """Everything of one kind, a page at a time; `after` is what the page before it said."""
