"""What the domain needs of the outside: protocols, and the frozen values that cross the border.

Vendor words end in the adapters; everything here is in the field's terms. All instants are aware UTC.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, Protocol

from core.bulk import BulkRoad

Restock = Literal["return", "cancel", "legacy_restock", "no_restock"]


@dataclass(frozen=True, slots=True)
class ChannelLine:
    """One line of a channel order; `ref` is the channel's id of the line."""

    ref: str
    variant_ref: str | None
    code: str | None
    title: str
    units: int
    unit_price: Decimal
    discount_minor: int
    total_minor: int
    counted_units: int = 0
    """How many of it left, by the channel's own count, whether or not it tells of their parcels."""
    puts_back: bool | None = None
    """Whether the channel puts what is cancelled of it back into its number by itself; None: refunds and edits tell."""
    tax_minor: int | None = None
    """Its taxes after discounts, whether its price contains them or not; None where this observation does not tell."""


@dataclass(frozen=True, slots=True)
class ChannelFulfilment:
    """Goods that left, or are about to; `is_shipped` says whether the channel's status means they have left."""

    ref: str
    order_ref: str
    status: str
    is_shipped: bool
    fulfilled_at: datetime
    version_at: datetime
    lines: tuple[tuple[str, int], ...]
    """(line ref, units); empty: this observation does not say what is in it, or nothing is."""
    tracking_company: str | None = None
    tracking_numbers: tuple[str, ...] = ()
    is_dated: bool = True
    """Whether `fulfilled_at` is when it left; where not, it had left by then."""


@dataclass(frozen=True, slots=True)
class ChannelFulfilmentOrderLine:
    """Units of an order's line that one place is to ship, and how many of them it has not shipped yet."""

    ref: str
    line_ref: str
    units: int
    remaining_units: int


@dataclass(frozen=True, slots=True)
class ChannelFulfilmentOrder:
    """What the channel wants one place to ship of an order.

    `location_ref` is None where the place is gone; `holds` are the channel's words for why it must not be shipped yet.
    """

    ref: str
    order_ref: str
    status: str
    request_status: str
    location_ref: str | None
    location_name: str
    version_at: datetime
    holds: tuple[str, ...]
    lines: tuple[ChannelFulfilmentOrderLine, ...]


@dataclass(frozen=True, slots=True)
class ChannelRefundLine:
    """Units of an order line given back, and what the channel did with its stock."""

    line_ref: str
    units: int
    restock: Restock
    subtotal_minor: int
    tax_minor: int | None = None
    """The taxes given back with it; None where the channel does not tell."""


@dataclass(frozen=True, slots=True)
class ChannelRefund:
    """Money given back, with or without goods. `refunded_at` is the business time, `created_at` the channel's."""

    ref: str
    order_ref: str
    refunded_at: datetime
    created_at: datetime
    amount_minor: int
    currency: str
    lines: tuple[ChannelRefundLine, ...]
    shipping_minor: int | None = None
    """Carriage given back, as it was charged: with its tax where prices contain taxes; None where it is not told."""
    shipping_tax_minor: int | None = None
    """The taxes of that carriage; None where they are not told."""


@dataclass(frozen=True, slots=True)
class ChannelOrder:
    """An order as one observation of the channel saw it; `version_at` orders observations of the same order."""

    ref: str
    name: str
    source_ref: str | None
    placed_at: datetime
    created_at: datetime
    version_at: datetime
    cancelled_at: datetime | None
    cancel_reason: str | None
    financial_status: str | None
    currency: str
    total_minor: int
    customer_ref: str | None
    country_code: str | None
    is_test: bool
    lines: tuple[ChannelLine, ...]
    fulfilments: tuple[ChannelFulfilment, ...] = ()
    refunds: tuple[ChannelRefund, ...] = ()
    is_by_staff: bool = False
    """Whether people of the shop wrote it up (a draft order), instead of a buyer at the channel."""
    is_edited: bool = False
    """Whether its lines were changed after it was placed."""
    tells_units: bool = True
    """Whether the units of its lines are what edits left of them; where not, what is known of a line stands."""
    ships_from_channel: bool = False
    """Whether the channel ships it from stock that is not in our pools."""
    channel_status: str | None = None
    """The channel's own word for how far it is, where it has one."""
    is_cancel_dated: bool = True
    """Whether `cancelled_at` is when it was cancelled; where not, it was cancelled by then."""
    open_at: datetime | None = None
    """When this observation saw that some of it is still to be shipped; for channels that do not date what ends it."""
    tax_minor: int | None = None
    """Taxes, whether the prices contain them or not; None where this observation does not tell."""
    shipping_minor: int | None = None
    """What the buyer paid for carriage; None where this observation does not tell."""
    taxes_included: bool | None = None
    """Whether the prices of lines and carriage contain the taxes; None where it is not told."""
    codes: tuple[str, ...] = ()
    """What the buyer came with that names somebody: discount codes and referral codes, as typed, without doubles."""


@dataclass(frozen=True, slots=True)
class LevelObservation:
    """What the channel showed for one item at one of its locations; `units` is None where it does not count."""

    inventory_ref: str
    location_ref: str
    units: int | None
    observed_at: datetime


@dataclass(frozen=True, slots=True)
class ChannelListing:
    """Something the channel can sell, with what it shows where that came along.

    `is_tracked` (whether the channel counts its stock) is None where this observation does not say.
    """

    ref: str
    inventory_ref: str | None
    product_ref: str | None
    code: str | None
    barcode: str | None
    title: str
    is_tracked: bool | None
    status: str
    version_at: datetime
    levels: tuple[LevelObservation, ...] = ()
    category: str | None = None
    """The channel's own word for the kind of goods; None where it does not say."""
    label_ref: str | None = None
    """What the channel's warehouse labels the goods with (Amazon's FNSKU), where it has one."""
    status_reason: str | None = None
    """Why buyers cannot buy it, in the channel's words; None where it does not say."""
    gone_places: tuple[str, ...] = ()
    """Places at which the channel surely does not offer it (any more): nothing is written there."""


@dataclass(frozen=True, slots=True)
class OrderEdit:
    """Somebody changed an order after it was placed; the order itself tells how its lines are now."""

    order_ref: str
    edited_at: datetime


@dataclass(frozen=True, slots=True)
class Hint:
    """The channel says that something happened and not what: it has to be asked.

    order, fulfilment_order: that one changed. export: the whole catalogue that we asked for is written, or will not be.
    feed: a bulk submission of ours has ended, one way or another. product: that one was made, changed or deleted.
    """

    kind: Literal["order", "fulfilment_order", "export", "feed", "product"]
    ref: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What one inbox message says, in our words. An empty one says nothing we use."""

    orders: tuple[ChannelOrder, ...] = ()
    fulfilments: tuple[ChannelFulfilment, ...] = ()
    refunds: tuple[ChannelRefund, ...] = ()
    levels: tuple[LevelObservation, ...] = ()
    listings: tuple[ChannelListing, ...] = ()
    edits: tuple[OrderEdit, ...] = ()
    hints: tuple[Hint, ...] = ()
    unused: str | None = None
    """In a word, why nothing of it is for us though it can be read: what it says is ignored for that cause."""


@dataclass(frozen=True, slots=True)
class OrderMention:
    """An order that a body speaks of; `version_at` and the total are there where it is a whole order that says so."""

    ref: str
    version_at: datetime | None = None
    currency: str | None = None
    total_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Mentions:
    """What a body is about, as far as anything can be made out, be it unreadable otherwise: orders, and goods by the
    channel's ids of what is sold (`variants`), by seller's codes, and by what stock is kept of (`items`)."""

    orders: tuple[OrderMention, ...] = ()
    variants: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    items: frozenset[str] = frozenset()


Found = tuple[str, datetime, bytes]
"""An order as a channel was found to have it: (ref, version, body for the inbox)."""


@dataclass(frozen=True, slots=True)
class OrderPage:
    """Some of the orders that a channel was asked for.

    `resume`: with it the next asking goes on right behind this page; None: it begins anew. `told_until`: with this page
    everything is read that happened up to then, by the channel's own word; None: it said no such thing, or not yet.
    """

    orders: Sequence[Found]
    resume: str | None = None
    told_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ChannelLocation:
    """A place the channel keeps stock at. `is_external`: the stock there is the channel's own to keep; we only read."""

    ref: str
    name: str
    is_external: bool = False


ExportState = Literal["running", "written", "partly_written", "lost"]


@dataclass(frozen=True, slots=True)
class CatalogueExport:
    """The whole catalogue as the channel writes it down for us at its leisure; `ref` is its id of the work.

    running: it is at it, and has done so many `objects` (listings and levels together). written: ready to be read.
    partly_written: it gave up, and what it has can be read. lost: it gave up, or the result is gone.
    """

    ref: str
    state: ExportState
    began_at: datetime
    objects: int = 0
    address: str | None = None
    """Where the result is fetched; None for an empty one."""
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ChannelMarket:
    """A marketplace that an account can sell in, as the channel tells it."""

    ref: str
    name: str
    currency: str
    is_open: bool
    """Whether the account takes part in it."""
    is_suspended: bool = False
    """Whether its listings are kept from buyers there."""


@dataclass(frozen=True, slots=True)
class ChannelAccount:
    """What a channel answers about the account behind our credentials, and what they allow.

    `ref` is the channel's own name of the account. `granted` are the rights that it says it gave, in its words; None
    where it does not say. `missing` are rights without which we cannot work, `advised` those without which something
    stays unseen: each with what it is needed for. None stands for what the channel does not tell.
    """

    ref: str
    name: str
    currency: str | None
    time_zone: str | None
    plan: str | None
    granted: frozenset[str] | None
    missing: Mapping[str, str]
    advised: Mapping[str, str]
    api_version: str
    supported_until: datetime | None
    """Until when the channel promises to answer this version of its interface."""
    right: str = "scope"
    """What the channel calls a right that it grants."""
    grant_step: str | None = None
    """What a person does to be granted one; `{right}` stands for its name."""
    market_ref: str | None = None
    """The marketplace that was asked for; None where the channel has none."""
    markets: tuple[ChannelMarket, ...] = ()
    sells_in: tuple[str, ...] = ()
    """Marketplaces in which it sells from the same stock, as `SalesChannel.markets` tells them."""


SubscriptionState = Literal["standing", "missing", "refused"]


@dataclass(frozen=True, slots=True)
class ChannelSubscription:
    """Whether the channel calls us for a topic; `ref` is its id of the subscription.

    standing: it does. missing: it does not, and was only looked at. refused: it does not want to, with its reason in
    `problem`. `is_changed`: it was made, moved or mended just now; `was_missing`: there was none when it was looked at.
    `is_advised`: it does not stand for want of a right that is advised and not needed.
    """

    topic: str
    state: SubscriptionState
    ref: str | None = None
    is_changed: bool = False
    was_missing: bool = False
    problem: str | None = None
    is_advised: bool = False


@dataclass(frozen=True, slots=True)
class QuantityWrite:
    """One committed write about to be sent. `from_units` None means an absolute set."""

    write_id: int
    listing_ref: str
    inventory_ref: str | None
    location_ref: str
    from_units: int | None
    to_units: int
    idempotency_key: str
    is_doubtful: bool = False
    """Sent before, and nobody knows what became of it: others give up units until it is settled."""


WriteOutcome = Literal["confirmed", "accepted", "refused", "stale", "unknown", "unsent"]


@dataclass(frozen=True, slots=True)
class QuantityResult:
    """What became of one write.

    confirmed: the channel shows it. accepted: queued by a channel that applies later; read back before believing.
    refused: surely not applied, with the reason. stale: surely not applied, the channel showed something else
    (`observed_units` where it said what). unknown: no sure answer. unsent: this time it surely never left.
    Of a doubtful write refused and stale hold for what was sent before too; where only the repetition was surely not
    applied, it is unknown, with the reason.
    """

    write_id: int
    outcome: WriteOutcome
    code: str | None = None
    detail: str | None = None
    observed_units: int | None = None
    at: datetime | None = None
    submission_ref: str | None = None


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a vendor tells of our application's own secret: it ends then (`ends_at`, None where it does not say), or
    `secret` has taken its place and the one before ends then. `application` is the vendor's id of the application."""

    application: str
    ends_at: datetime | None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Notice:
    """One message of a mailbox. `receipt` takes it out; `body` is verbatim, but for secrets that nobody may keep.

    `delivery_id` is the same however often it comes. `account_ref` and `marketplace` say whose it is; None where they
    do not tell one connection from another.
    """

    receipt: str
    delivery_id: str
    topic: str
    body: bytes
    triggered_at: datetime | None
    account_ref: str | None = None
    marketplace: str | None = None
    renewal: Renewal | None = None


class Mailbox(Protocol):
    """Where a channel leaves what it has to say until we fetch it: each message at least once, in no order.

    Both raise core.errors.Retryable when the same may succeed later, Permanent when a person must do something first.
    """

    def receive(self, limit: int, wait_seconds: int) -> Sequence[Notice]:
        """Up to `limit` messages; none when nothing came while it waited. They stay there, hidden for a while."""

    def acknowledge(self, notices: Sequence[Notice]) -> Sequence[Notice]:
        """Take messages out; returns those that could not be: they come again."""


class TaxonomySource(Protocol):
    """Whoever tells the categories of its own that products are put into.

    Raises core.errors.Retryable when the same may succeed later, Permanent when a person must do something first.
    """

    def categories(self) -> Iterator[Sequence[tuple[str, str]]]:
        """All of them, by page: the id as products name it, and the names from the top with > between them."""


@dataclass(frozen=True, slots=True)
class PackageSent:
    """A package the channel is to be told of. `items`: (the channel's id of the order's line, units).

    `package_ref` names it within its order: the same one again is an edit. `carrier_name` goes with a carrier that the
    channel has no code for.
    """

    order_ref: str
    package_ref: str
    carrier_code: str
    carrier_name: str | None
    ship_method: str | None
    tracking_number: str
    shipped_at: datetime
    items: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class PackageAnswer:
    """confirmed: the channel knows it. refused: it never will as it stands, with the reason. again: ask once more."""

    outcome: Literal["confirmed", "refused", "again"]
    code: str | None = None
    detail: str | None = None


Effect = Literal["nothing", "subscription", "shop"]
"""What a call changes outside: nothing, only who calls us when something happens, or what the shop shows or does."""


class SalesChannel(Protocol):
    """A channel that sells: read its catalogue, levels and orders; set its quantities.

    Methods raise core.errors.Retryable when the same call may succeed later, Permanent when it never will.
    `set_quantities` never raises for what happened outside: every write gets a result.
    """

    guarantee_class: Literal["A", "B", "C", "D"]
    writes_per_call: int
    reads_orders: bool
    """Whether `orders_since` tells of everything it sells; else nothing of it can be promised to be known."""
    bulk: BulkRoad | None
    """Its other road, for many writes at once; None where it has none."""
    orders_every: timedelta | None
    """How often `orders_since` may be asked, in the vendor's time; None: at any time.

    A channel that says so tells up to when it has told everything (`OrderPage.told_until`); until then there is more.
    """
    external_places: Collection[str]
    """The places where it keeps stock itself, should it keep any: known before there is anything at them."""

    def about(self) -> ChannelAccount:
        """The channel's real answer to our credentials: whose account it is, and what we may do there."""

    def markets(self) -> Sequence[str]:
        """The marketplaces in which the account sells now from the same stock; none where the channel has none."""

    def parse(self, topic: str, body: bytes, triggered_at: datetime | None) -> Facts | None:
        """Facts of one inbox body, or None for a topic we do not use. Raises BadInput for a body we cannot read."""

    def locations(self) -> Sequence[ChannelLocation]:
        """Where the channel keeps stock; a channel without places gives one with an empty ref."""

    def listings(self) -> Iterator[Sequence[ChannelListing]]:
        """The whole catalogue, a page at a time, with levels where the channel gives them."""

    def begin_export(self) -> CatalogueExport | None:
        """Have the channel write its whole catalogue down; None where it cannot, or will not just now: read pages."""

    def export(self, ref: str) -> CatalogueExport | None:
        """How far an export is; None for one that the channel does not know."""

    def exported(self, export: CatalogueExport) -> Iterator[Sequence[ChannelListing]]:
        """What a written export lists, as `listings` would give it; never whole in memory."""

    def listing_count(self) -> int | None:
        """How many listings there are, for progress; None where the channel does not say."""

    def levels(self, refs: Sequence[str], *, in_background: bool = False) -> Sequence[LevelObservation]:
        """Present quantities of some items (inventory refs, or listing refs where the channel has no other).

        `in_background`: nobody waits for them, so they take the quota that others leave.
        """

    def external_levels(self) -> Sequence[LevelObservation]:
        """All that lies in the channel's own warehouses and can be sold now, at its external places."""

    def orders_since(
        self, since: datetime, resume: str | None = None, *, in_background: bool = False
    ) -> Iterator[OrderPage]:
        """Orders changed at or after `since`, by page; of a channel that tells no bound (`orders_every`) oldest first.

        `resume` is what came with the last page that was recorded: it then goes on from there, whatever `since` is.
        `in_background`: nobody waits for them, and whoever asks for something else goes first.
        """

    def newest_order_change_at(self) -> datetime | None:
        """When an order was last placed or changed, by the channel's clock, in whole seconds; None: there is none."""

    def open_orders(self, resume: str | None = None) -> Iterator[OrderPage]:
        """Orders of any age that are not cancelled and not all shipped, by page; all of them, once it ends.

        Where the channel hides old ones (`orders_horizon`), only those it shows. `resume` is what came with the last
        page that was recorded. Raises OutOfQuota where a channel may be asked only so often (`orders_every`).
        """

    def orders_horizon(self) -> timedelta | None:
        """How old the orders are that the channel still shows us; None: it hides none."""

    def orders(self, refs: Sequence[str]) -> Iterator[Sequence[Found]]:
        """Some orders as they are now, by page; what is gone is left out."""

    def orders_behind(self, fulfilment_order_refs: Sequence[str]) -> Sequence[str]:
        """The orders that some fulfilment orders are part of, each once; what is gone is left out."""

    def fulfilment_orders(self, order_ref: str) -> Sequence[ChannelFulfilmentOrder]:
        """What is to be shipped of an order from where; empty before the channel has decided."""

    def confirm_shipment(self, package: PackageSent) -> PackageAnswer:
        """Tell the channel that a package left; the same package again is an edit. Never raises for what happened."""

    def set_quantities(self, writes: Sequence[QuantityWrite]) -> Sequence[QuantityResult]:
        """Send up to `writes_per_call` writes; one result each."""

    def ensure_subscriptions(
        self, address: str, *, repair: bool = True, known: Collection[str] = ()
    ) -> Sequence[ChannelSubscription]:
        """Have the channel call `address` for every topic we use; one result for each. Without `repair` only look.

        `known` are the channel's ids of subscriptions that are ours: they follow when the address has moved.
        """


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue's waiting jobs, its living workers, and when one of them last gave a sign (None without any)."""

    name: str
    waiting: int
    workers: int
    heartbeat_at: datetime | None


PROMISED_RING = "ring-"
"""What ids begin with of jobs that wait for their time without having failed."""


class JobQueue(Protocol):
    """Rings a bell; what is to be done is in Postgres."""

    def enqueue(self, name: str, /, **arguments: object) -> None:
        """Queue the job registered as `name`; raises Retryable when the queue does not answer."""

    def enqueue_once(self, ref: str, name: str, arguments: Mapping[str, object]) -> bool:
        """Queue the job under an id of its own; False when the queue knows that id already. Raises Retryable."""

    def enqueue_at(self, ref: str, at: datetime, name: str, arguments: Mapping[str, object]) -> bool:
        """Queue the job under an id of its own when it is time; False when that id is known. Raises Retryable."""

    def check(self, name: str, arguments: Mapping[str, object]) -> None:
        """Raises BadInput or Permanent where `name` with `arguments` is nothing that may be queued."""


@dataclass(frozen=True, slots=True)
class PayoutAccount:
    """A party's account at a payout provider. `needs`: what it still has to hand in, in the provider's words."""

    ref: str
    can_be_paid: bool
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money about to go to a party's account; the same key again is the same transfer."""

    account_ref: str
    amount_minor: int
    currency: str
    idempotency_key: str
    note: str


@dataclass(frozen=True, slots=True)
class TransferResult:
    """What became of a transfer. unknown: no sure answer; it is asked again under its key, never sent under another.

    `ref` is the provider's number of it; `code` and `detail` say why it was refused.
    """

    outcome: Literal["sent", "refused", "unknown"]
    ref: str | None = None
    code: str | None = None
    detail: str | None = None


class PayoutProvider(Protocol):
    """Whoever pays parties what the ledger says is payable to them.

    Methods raise core.errors.Retryable when the same call may succeed later, Permanent when it never will; `transfer`
    and `reverse` never raise for what happened outside.
    """

    def account(self, ref: str) -> PayoutAccount:
        """A party's account as it stands."""

    def transfer(self, transfer: Transfer) -> TransferResult:
        """Send money to a party's account."""

    def reverse(self, transfer_ref: str, amount_minor: int, idempotency_key: str) -> TransferResult:
        """Take back some of a transfer."""


class Messenger(Protocol):
    """Says something to operators."""

    def send(self, kind: str, payload: dict[str, object], dedupe_key: str) -> None:
        """Deliver once; raises Retryable or Permanent."""


@dataclass(frozen=True, slots=True)
class QueueReading:
    """One queue as the broker knows it now. Instants are aware UTC; `jobs` are the names that wait in it.

    `retrying` counts failed jobs that will be tried again by themselves, `failed` those that will not.
    """

    name: str
    jobs: tuple[str, ...]
    waiting: int
    oldest_at: datetime | None
    running: int
    retrying: int
    failed: int


@dataclass(frozen=True, slots=True)
class WorkerReading:
    """One live worker. `job` is the registered name it is at work on; what it does not say is None."""

    name: str
    queues: tuple[str, ...]
    state: str
    job: str | None
    job_started_at: datetime | None
    started_at: datetime | None
    heard_at: datetime | None
    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class BrokerReading:
    """Everything that only the broker knows, read at `at`. `next_rings` is by entry id; a missing one rings never."""

    at: datetime
    queues: tuple[QueueReading, ...]
    workers: tuple[WorkerReading, ...]
    next_rings: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class FailedJob:
    """An entry of the broker's registry of failed jobs."""

    ref: str
    function: str
    arguments: Mapping[str, object]
    queue: str
    failed_at: datetime


class Broker(Protocol):
    """Reads the job queue's own state, and takes back what was dealt with. Reading changes nothing in it.

    Every method raises Retryable when the broker does not answer.
    """

    def read(self) -> BrokerReading:
        """Queues, workers and next rings, in the order of the queues' urgency."""

    def states(self, refs: Sequence[str]) -> Mapping[str, str]:
        """The broker's state of some jobs (queued, started, scheduled for a retry, failed); unknown ones are absent."""

    def failed_jobs(self, limit: int) -> Sequence[FailedJob]:
        """The newest failed jobs of every queue, at most `limit` of each."""

    def take_back(self, refs: Collection[str]) -> int:
        """Take jobs out of the registries of failed and of retried ones; returns how many were there."""

    def mend(self, now: datetime) -> Mapping[str, int]:
        """Queue what is overdue, fail what died or waits for nothing, where no worker does; returns how many."""

    def forget_lost(self, refs: Sequence[str]) -> Sequence[str]:
        """Forget those of some jobs that the broker knows and will never run; returns them, to be queued again."""


@dataclass(frozen=True, slots=True)
class LivingToken:
    """An access token: from when on the next one is fetched, and when this one dies."""

    value: str = field(repr=False)
    renew_at: datetime
    expires_at: datetime


class TokenShelf(Protocol):
    """Where all processes share the access token of one connection. It never fails: out of reach, it is empty.

    `credentials` stands for what the token was fetched with, so that new ones do not find it.
    """

    def get(self, credentials: str) -> LivingToken | None:
        """The token that was fetched last with these credentials; it may have died since."""

    def put(self, credentials: str, token: LivingToken) -> None:
        """Keep it in place of the one before."""

    def drop(self, credentials: str, refused: str) -> None:
        """The vendor did not accept this one; one that was put meanwhile stays."""

    def fetching(self) -> AbstractContextManager[None]:
        """While it lasts others who would fetch wait, a few seconds at most; then they fetch as well."""
