"""What the inbox says becomes orders, stock and listings: one batch, one unit of work, a verdict for every message."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection

from core.catalog import operations as catalog
from core.catalog.matching import hold_identities
from core.catalog.operations import ListingSource
from core.catalog.queries import known_inventory_refs
from core.commissions import operations as commissions
from core.connections import watching
from core.connections.queries import ConnectionRow
from core.connections.watching import ChannelAct
from core.db import scalar
from core.inventory import operations as inventory
from core.messaging import changes, inbox
from core.messaging.changes import OrderKind
from core.messaging.inbox import HANDLED, Received, Verdict
from core.orders import counts, effects, operations
from core.orders.effects import Edit
from core.orders.operations import Channel
from core.orders.rules import distinct_refunds, lines_told, merge_observations, newest_fulfilments
from core.policies import operations as policies
from core.ports import ChannelFulfilment, ChannelListing, ChannelOrder, ChannelRefund, Facts, Hint
from core.publication import operations as publication

Parse = Callable[[str, bytes, datetime | None], Facts | None]

IGNORED = Verdict("ignored", cause="unused_topic")


@dataclass(frozen=True, slots=True)
class Intake:
    """A handler of inbox batches for one connection (see core.messaging.inbox.Handler)."""

    connection: ConnectionRow
    parse: Parse
    hints: set[Hint] = field(default_factory=set, compare=False)
    """What the channel only hinted at, in the batches so far: for whoever can ask it, once they are committed."""

    def __call__(self, conn: Connection, batch: Sequence[Received], now: datetime) -> dict[int, Verdict]:
        """Apply a batch. Raises only errors of the machinery, or of data that the caller isolates by bisection."""
        verdicts: dict[int, Verdict] = {}
        said: dict[int, Facts] = {}
        for message in batch:
            meaning = self.prepare(message) if message.prepared is None else message.prepared
            if isinstance(meaning, Verdict):
                verdicts[message.id] = meaning
            else:
                assert isinstance(meaning, Facts)
                said[message.id] = meaning
        verdicts.update(apply(conn, self.connection, said, now))
        called = {hint.ref for facts in said.values() for hint in facts.hints if hint.kind == "product"}
        if called:
            # With the messages, and not after their commit: no list of changes tells what was deleted.
            publication.note_calls(conn, self.connection, called, now)
        self.hints.update(hint for facts in said.values() for hint in facts.hints)
        return verdicts

    def prepare(self, message: Received) -> Facts | Verdict:
        """What a message says, or the verdict on one that says nothing we use or cannot be read; needs no database."""
        try:
            facts = self.parse(message.topic, message.body, message.triggered_at)
        except Exception as error:
            # Found while reading, it needs no search: nobody else in the batch is touched by it.
            if not inbox.is_poison(error):
                raise
            return inbox.parked_for(error)
        if facts is None:
            return IGNORED
        return facts if facts.unused is None else Verdict("ignored", cause=facts.unused)


def apply(conn: Connection, connection: ConnectionRow, said: dict[int, Facts], now: datetime) -> dict[int, Verdict]:
    """Book what some messages of one connection say; returns a verdict for each."""
    if not said:
        return {}
    hold_identities(conn, connection.shop_id, connection.id)
    channel = channel_of(conn, connection, now)
    listings = [item for facts in said.values() for item in facts.listings]
    if listings:
        _lock_ahead(conn, channel, listings, said)
        _take_in_listings(conn, connection, channel, listings, now)
    seen = [order for facts in said.values() for order in facts.orders]
    orders = merge_observations(seen)
    told = lines_told(seen)
    accepted = operations.accept(conn, channel, orders, now, told) if orders else {}
    spoken_of = {item.order_ref for facts in said.values() for item in _about_orders(facts)}
    known = {ref: key.id for ref, key in accepted.items()}
    known |= operations.lock(conn, channel, spoken_of - accepted.keys())
    # Only shipments and refunds name lines; most batches are sales and levels.
    naming = spoken_of | {ref for ref, order in orders.items() if order.fulfilments or order.refunds}
    lines = effects.line_ids(conn, channel.shop_id, (known[ref] for ref in naming if ref in known))
    verdicts = {message_id: _verdict(facts, known, lines) for message_id, facts in said.items()}
    bookable = [facts for message_id, facts in said.items() if verdicts[message_id] == HANDLED]
    touched = set(known.values())

    fulfilments = newest_fulfilments(
        [item for order in orders.values() for item in order.fulfilments]
        + [item for facts in bookable for item in facts.fulfilments]
    )
    refunds = distinct_refunds(
        [item for order in orders.values() for item in order.refunds]
        + [item for facts in bookable for item in facts.refunds]
    )
    effects.book_fulfilments(
        conn,
        channel.shop_id,
        [(known[item.order_ref], item) for item in fulfilments if _is_complete(item, known, lines)],
        lines,
    )
    new_refunds = effects.book_refunds(
        conn,
        channel.shop_id,
        [(known[item.order_ref], item) for item in refunds if _is_complete(item, known, lines)],
        lines,
    )
    opened = {ref for ref, order in orders.items() if order.open_at is not None}
    put_back = counts.book(conn, channel.shop_id, accepted, told, opened)
    done = effects.settle_effects(conn, channel, touched, now)
    changed = set(done.sku_ids)
    edited = {key.id for ref, key in accepted.items() if orders[ref].is_edited}
    catalog.lock_listings(
        conn,
        channel.shop_id,
        sku_ids=changed,
        order_ids=touched,
        connection_id=channel.connection_id,
        places=((level.inventory_ref, level.location_ref) for facts in said.values() for level in facts.levels),
    )
    followed = effects.follow_channel(
        conn,
        channel,
        {key.id: orders[ref].created_at for ref, key in accepted.items() if key.is_new},
        {
            (known[item.order_ref], item.ref): item.created_at
            for item in refunds
            if item.order_ref in known and (known[item.order_ref], item.ref) in new_refunds
        },
        [
            Edit(listing_id, units, orders[ref].version_at)
            for ref, key in accepted.items()
            for listing_id, units in key.edited
        ]
        + put_back,
    )
    inventory.refresh_desired(conn, channel.shop_id, changed, followed, now=now, are_locked=True)
    commissions.settle(conn, channel.shop_id, touched, now, edited)
    kinds = _kinds(touched, orders, accepted, {order_id for order_id, _ in new_refunds})
    changes.record_orders(conn, channel.shop_id, channel.connection_id, kinds, done, now)
    _observe_levels(conn, channel, said, verdicts, now)
    watching.note_acts(conn, channel.shop_id, channel.connection_id, _acts(said.values()))
    inbox.release_waiting(
        conn, channel.shop_id, channel.connection_id, [key for ref in accepted for key in _keys_of(ref)]
    )
    return verdicts


def _kinds(
    order_ids: Iterable[int],
    orders: Mapping[str, ChannelOrder],
    accepted: Mapping[str, operations.OrderKey],
    refunded: Collection[int],
) -> dict[int, OrderKind]:
    """What happened to each order, in one word: what was said of it last counts."""
    new = {key.id for key in accepted.values() if key.is_new}
    cancelled = {key.id for ref, key in accepted.items() if orders[ref].cancelled_at is not None}
    kinds: dict[int, OrderKind] = {}
    for order_id in order_ids:
        if order_id in new:
            kinds[order_id] = "order_booked"
        elif order_id in cancelled:
            kinds[order_id] = "order_cancelled"
        else:
            kinds[order_id] = "order_refunded" if order_id in refunded else "order_changed"
    return kinds


def _acts(said: Iterable[Facts]) -> list[ChannelAct]:
    """What people did to orders besides buying."""
    acts: list[ChannelAct] = []
    for facts in said:
        acts += (ChannelAct("order_edit", edit.order_ref, edit.edited_at) for edit in facts.edits)
        acts += (ChannelAct("order_edit", order.ref, order.version_at) for order in facts.orders if order.is_edited)
        acts += (ChannelAct("draft_order", order.ref, order.created_at) for order in facts.orders if order.is_by_staff)
    return acts


def channel_of(conn: Connection, connection: ConnectionRow, now: datetime) -> Channel:
    """The connection as bookings see it; a shop without any location gets one."""
    apart = connection.settings.get("external_places") or ()
    locations = connection.settings.get("locations") or {}
    location_id = next((each for place, each in locations.items() if place not in apart), None)
    if location_id is None:
        location_id = scalar(
            conn, "select min(id) from locations where shop_id = %(shop)s and kind = 'own'", shop=connection.shop_id
        ) or inventory.open_location(conn, connection.shop_id, "Main", now)
    return Channel(connection.shop_id, connection.id, location_id)


def listing_source(conn: Connection, connection: ConnectionRow) -> ListingSource:
    """How the listings of a connection are taken in: its places as they are served now, not when a sync began."""
    locations = scalar(
        conn,
        "select settings -> 'locations' from connections where shop_id = %(shop)s and id = %(id)s",
        shop=connection.shop_id,
        id=connection.id,
    )
    return ListingSource(
        shop_id=connection.shop_id,
        connection_id=connection.id,
        creates_skus=bool(connection.settings.get("is_sku_source")),
        locations=locations or {},
    )


def take_in(
    conn: Connection,
    connection: ConnectionRow,
    listings: Sequence[ChannelListing],
    now: datetime,
    *,
    is_whole: bool = False,
) -> None:
    """Take in what a channel lists, and give each listing the channel rules that are for it.

    New listings, newly mapped ones and those of SKUs whose category changed: all by one rule, in the same unit of work.
    `is_whole`: nothing of its catalogue is still to be read, so that barcodes tell too (`match_listings`).
    """
    _lock_taking_in(conn, connection.shop_id, connection.id)
    source = replace(listing_source(conn, connection), is_whole=is_whole)
    catalog.take_in(conn, source, listings, now)
    policies.apply_to_refs(conn, connection.shop_id, connection.id, (listing.ref for listing in listings))


def match_listings(conn: Connection, connection: ConnectionRow, now: datetime) -> int:
    """Match what is unmapped once a whole catalogue was read; returns how many listings (channel refs) were mapped."""
    _lock_taking_in(conn, connection.shop_id, connection.id)
    refs = catalog.match_all(conn, connection.shop_id, connection.id, now)
    policies.apply_to_refs(conn, connection.shop_id, connection.id, refs)
    return len(refs)


def book_lines_mapped_late(conn: Connection, channel: Channel, now: datetime) -> int:
    """Book parked order lines that have become mappable; returns how many orders were concerned."""
    hold_identities(conn, channel.shop_id, channel.connection_id)
    line_ids = operations.map_parked_lines(conn, channel)
    order_ids = set(line_ids.values())
    if order_ids:
        done = effects.settle_effects(conn, channel, order_ids, now)
        changed = set(done.sku_ids)
        catalog.lock_listings(conn, channel.shop_id, sku_ids=changed, order_ids=order_ids)
        followed = effects.exposure_of_lines(conn, channel.shop_id, line_ids)
        inventory.refresh_desired(conn, channel.shop_id, changed, followed, now=now, are_locked=True)
        commissions.settle(conn, channel.shop_id, order_ids, now)
        # Only now are they booked, whatever happened to them since.
        kinds: dict[int, OrderKind] = dict.fromkeys(order_ids, "order_booked")
        changes.record_orders(conn, channel.shop_id, channel.connection_id, kinds, done, now)
    return len(order_ids)


def _take_in_listings(
    conn: Connection, connection: ConnectionRow, channel: Channel, listings: Sequence[ChannelListing], now: datetime
) -> None:
    take_in(conn, connection, listings, now, is_whole=connection.catalogue_read_at is not None)
    book_lines_mapped_late(conn, channel, now)
    inbox.release_waiting(
        conn,
        channel.shop_id,
        channel.connection_id,
        [f"item:{item.inventory_ref}" for item in listings if item.inventory_ref],
    )


def _lock_ahead(
    conn: Connection, channel: Channel, listings: Sequence[ChannelListing], said: Mapping[int, Facts]
) -> None:
    """Lock what a batch needs that comes before listings in the one global order; for batches that bring listings.

    Lines are mapped by listings, so listings are taken in first, and their rows are locked by that. What nobody knows
    yet cannot be locked, but nobody else can wait for it either.
    """
    _lock_taking_in(conn, channel.shop_id, channel.connection_id)
    orders = [order for facts in said.values() for order in facts.orders]
    refs = {order.ref for order in orders}
    refs |= {item.order_ref for facts in said.values() for item in _about_orders(facts)}
    known = operations.lock(conn, channel, refs)
    lines = [line for order in orders for line in order.lines]
    effects.lock_levels_of(
        conn,
        channel,
        known.values(),
        {item.ref for item in listings} | {line.variant_ref for line in lines if line.variant_ref},
        {item.code for item in listings if item.code} | {line.code for line in lines if line.code},
    )


def _lock_taking_in(conn: Connection, shop_id: int, connection_id: int) -> None:
    """Rules and places stay as they are until what is taken in has its own."""
    policies.lock(conn, shop_id)
    catalog.lock_places(conn, shop_id, connection_id)


def _about_orders(facts: Facts) -> list[ChannelFulfilment | ChannelRefund]:
    return [*facts.fulfilments, *facts.refunds]


def _verdict(facts: Facts, known: dict[str, int], lines: effects.LineIds) -> Verdict:
    for item in _about_orders(facts):
        if item.order_ref not in known:
            return Verdict("waiting", waiting_for=f"order:{item.order_ref}")
        if not _is_complete(item, known, lines):
            return Verdict("waiting", waiting_for=f"order_line:{item.order_ref}")
    return HANDLED


def _is_complete(item: ChannelFulfilment | ChannelRefund, known: dict[str, int], lines: effects.LineIds) -> bool:
    """Whether every line it speaks of is one of a known order."""
    order_id = known.get(item.order_ref)
    return order_id is not None and all((order_id, ref) in lines for ref in _line_refs(item))


def _line_refs(item: ChannelFulfilment | ChannelRefund) -> Iterable[str]:
    if isinstance(item, ChannelRefund):
        return (line.line_ref for line in item.lines)
    return (ref for ref, _ in item.lines)


def _keys_of(order_ref: str) -> tuple[str, str]:
    return f"order:{order_ref}", f"order_line:{order_ref}"


def _observe_levels(
    conn: Connection, channel: Channel, said: dict[int, Facts], verdicts: dict[int, Verdict], now: datetime
) -> None:
    """Take over level observations; one of an item we do not list waits for it."""
    observations = [level for facts in said.values() for level in facts.levels]
    if not observations:
        return
    known = known_inventory_refs(
        conn,
        channel.shop_id,
        channel.connection_id,
        ((level.inventory_ref, level.location_ref) for level in observations),
    )
    for message_id, facts in said.items():
        for level in facts.levels:
            if (level.inventory_ref, level.location_ref) not in known:
                verdicts[message_id] = Verdict("waiting", waiting_for=f"item:{level.inventory_ref}")
    catalog.observe_levels(conn, channel.shop_id, channel.connection_id, observations, now)
