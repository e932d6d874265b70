"""Any history of orders, told in any order, in any batches and any number of times, ends in the same place.

A history is what a channel really did: each order has versions, each version all of its lines so far; shipments have
statuses that follow one another; refunds never change. It is told twice, to two shops: once plainly, one message
after the other as it happened, and once shuffled, in batches and with repetitions. Messages that must wait are told
again later, as the inbox does. Both shops must end alike, as the pure rule says, and without a finding of the audit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core import invariants
from core.db import execute, fetch
from core.inventory.rules import LineFacts, LineStock, line_stock
from core.ports import ChannelFulfilment, ChannelOrder, ChannelRefund, Facts, Restock
from tests.factories import (
    BASELINE,
    NOW,
    World,
    apply,
    later,
    make_channel_listing,
    make_facts,
    make_fulfilment,
    make_level,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_world,
)

STOCK = {"MUG": 20, "CUP": 3}
LATE = "LATE"
"""A code whose listing comes as one of the messages."""

EVER_ORDERED = 4
"""What a line says in versions that cannot tell what edits left of it."""

SHIPPED = {"pending": False, "success": True, "cancelled": False}
RESTOCKS: list[Restock] = ["return", "cancel", "legacy_restock", "no_restock"]


@dataclass(frozen=True)
class Story:
    """What became of one order: its versions, and all states of its shipments and refunds."""

    versions: tuple[ChannelOrder, ...]
    fulfilments: tuple[ChannelFulfilment, ...]
    refunds: tuple[ChannelRefund, ...]

    @property
    def newest(self) -> ChannelOrder:
        return self.versions[-1]


@st.composite
def stories(draw: st.DrawFn, ref: str) -> Story:
    is_old = draw(st.booleans())
    start = BASELINE - timedelta(hours=1) if is_old else later(1)
    codes = draw(st.lists(st.sampled_from(["MUG", "MUG", "CUP", LATE, None]), min_size=1, max_size=3))
    count = draw(st.integers(1, 3))
    # Of an old order the later versions may be from after its number was taken over.
    step = timedelta(minutes=draw(st.sampled_from([1, 45])))
    since = [0, *(draw(st.integers(0, count - 1)) for _ in codes[1:])]
    cancelled_from = draw(st.integers(0, count * 2))
    cancelled_at = start + step * cancelled_from
    if is_old and draw(st.booleans()):
        # What changed the number that was taken over last bears its second.
        cancelled_at = BASELINE
    versions = []
    for number in range(count):
        is_cancelled = number >= cancelled_from
        tells_units = draw(st.sampled_from([True, True, False]))
        is_clear = tells_units and not is_cancelled
        lines = [
            make_line(str(index), code, draw(st.integers(0, 4)) if is_clear else EVER_ORDERED, "0.335")
            for index, code in enumerate(codes)
            if since[index] <= number
        ]
        versions.append(
            make_order(
                ref,
                lines,
                placed_at=start,
                version_at=start + step * number,
                tells_units=tells_units,
                financial_status=draw(st.sampled_from(["pending", "paid"])),
                cancelled_at=cancelled_at if is_cancelled else None,
                cancel_reason="customer" if is_cancelled else None,
            )
        )
    line_refs = st.sampled_from([str(index) for index in range(len(codes))])
    fulfilments: list[ChannelFulfilment] = []
    for number in range(draw(st.integers(0, 2))):
        packed_at = draw(st.sampled_from([start, later(2)]))
        parcel = draw(st.lists(st.tuples(line_refs, st.integers(1, 3)), min_size=1, max_size=2))
        for step, status in enumerate(draw(st.lists(st.sampled_from([*SHIPPED]), min_size=1, max_size=3))):
            at = packed_at + timedelta(minutes=step)
            fulfilments.append(
                make_fulfilment(ref, parcel, f"f{number}", status=status, is_shipped=SHIPPED[status], at=at)
            )
    refunds = []
    for number in range(draw(st.sampled_from([1, 2, 0]))):
        given_back = st.tuples(line_refs, st.integers(0, 3), st.sampled_from(RESTOCKS))
        items = [
            make_refund_line(*item)
            for item in draw(st.lists(given_back, min_size=draw(st.sampled_from([1, 0])), max_size=2))
        ]
        at = draw(st.sampled_from([start + timedelta(minutes=number), later(5), *([BASELINE] if is_old else [])]))
        refunds.append(make_refund(ref, items, f"r{number}", at))
    return Story(tuple(versions), tuple(fulfilments), tuple(refunds))


@dataclass(frozen=True)
class Telling:
    """A history and two ways to tell it; `is_elsewhere`: of a channel whose numbers did not become our stock."""

    is_elsewhere: bool
    stories: tuple[Story, ...]
    plain: tuple[Facts, ...]
    shuffled: tuple[tuple[Facts, ...], ...]


@st.composite
def tellings(draw: st.DrawFn) -> Telling:
    told = tuple(draw(stories(str(1001 + number))) for number in range(draw(st.integers(1, 3))))
    messages: list[Facts] = [make_facts(make_channel_listing(LATE, None))]
    for level in draw(st.lists(st.tuples(st.sampled_from([*STOCK, LATE]), st.integers(-2, 20)), max_size=3)):
        messages.append(make_facts(make_level(*level, at=later(draw(st.integers(0, 9))))))
    for story in told:
        for version in story.versions:
            known = {line.ref for line in version.lines}
            inside = draw(st.booleans())
            messages.append(make_facts(_with_more(version, story, known) if inside else version))
        messages.extend(make_facts(item) for item in (*story.fulfilments, *story.refunds))
    again = draw(st.lists(st.sampled_from(messages), max_size=6))
    mixed = draw(st.permutations([*messages, *again]))
    batches: list[tuple[Facts, ...]] = []
    while mixed:
        size = draw(st.integers(1, 6))
        batches.append(tuple(mixed[:size]))
        mixed = mixed[size:]
    return Telling(draw(st.booleans()), told, tuple(messages), tuple(batches))


def _with_more(version: ChannelOrder, story: Story, known: set[str]) -> ChannelOrder:
    """The order with all that happened to the lines it names, as channels that tell everything at once do."""
    fulfilments = [item for item in story.fulfilments if {ref for ref, _ in item.lines} <= known]
    refunds = [item for item in story.refunds if {line.line_ref for line in item.lines} <= known]
    # Of a shipment only its present state is told.
    newest = {item.ref: item for item in fulfilments}
    return replace(version, fulfilments=tuple(newest.values()), refunds=tuple(refunds))


def tell(conn: Connection, world: World, batches: Sequence[Sequence[Facts]]) -> None:
    """Deliver batches; what has to wait has another turn after each batch, until nothing waits."""
    waiting: list[Facts] = []
    for batch in [*batches, (), ()]:
        said = [*waiting, *batch]
        if said:
            verdicts = apply(conn, world, *said)
            waiting = [facts for facts, verdict in zip(said, verdicts, strict=True) if verdict.state == "waiting"]
            assert {verdict.state for verdict in verdicts} <= {"handled", "waiting"}
    assert waiting == []


ORDER = "join orders o on o.shop_id = x.shop_id and o.id = x.order_id"
LINE = "join order_lines l on l.shop_id = x.shop_id and l.id = x.order_line_id join orders o on o.id = l.order_id"
STATE = {
    "levels": """
        select s.code, p.name, x.on_hand, x.reserved, x.available from stock_levels x
        join skus s on s.id = x.sku_id join locations p on p.id = x.location_id
    """,
    "reservations": f"""
        select o.channel_ref, l.channel_ref, x.units, x.held_units, x.consumed_units, x.returned_units,
            x.written_off_units, x.opening_units from reservations x {LINE}
    """,
    "movements": f"""
        select o.channel_ref, l.channel_ref, x.reason, sum(x.delta_units) from stock_movements x {LINE}
        group by 1, 2, 3 having sum(x.delta_units) <> 0
    """,
    "orders": """
        select x.channel_ref, x.version_at, x.financial_status, x.total_minor, x.cancelled_at, x.cancel_reason
        from orders x
    """,
    "lines": f"""
        select o.channel_ref, x.channel_ref, x.units, x.total_minor, x.discount_minor, x.mapping, s.code
        from order_lines x {ORDER} left join skus s on s.id = x.sku_id
    """,
    "fulfilments": f"""
        select o.channel_ref, x.channel_ref, x.status, x.is_shipped, x.version_at, sum(f.units)
        from fulfilments x {ORDER} join fulfilment_lines f on f.fulfilment_id = x.id group by 1, 2, 3, 4, 5
    """,
    "refunds": f"""
        select o.channel_ref, x.channel_ref, x.amount_minor, count(f.refund_id), sum(f.units)
        from refunds x {ORDER} left join refund_lines f on f.refund_id = x.id group by 1, 2, 3
    """,
    "listings": "select x.channel_ref, x.desired_units, x.short_units, x.baseline_at from listings x",
}


def state_of(conn: Connection, world: World) -> dict[str, set[tuple[Any, ...]]]:
    """What there is, named by the channel's words, never by ids of ours."""
    found = {}
    for name, sql in STATE.items():
        grouped = sql.partition("group by")
        sql = f"{grouped[0]} where x.shop_id = %(shop)s {grouped[1]} {grouped[2]}"
        found[name] = {tuple(row) for row in conn.exec_driver_sql(sql, {"shop": world.shop_id})}
    return found


def make_shop_of(conn: Connection, telling: Telling) -> World:
    world = make_world(conn, STOCK)
    if telling.is_elsewhere:
        # As where what is on the shelf was known before the channel was connected.
        execute(conn, "update listings set opening_at = null where shop_id = %(shop)s", shop=world.shop_id)
    return world


def units_of(story: Story) -> tuple[dict[str, int], dict[str, int]]:
    """What edits left of each line, and had left when its number was taken over, as far as any version tells."""
    units: dict[str, int] = {}
    opening: dict[str, int] = {}
    for line in story.newest.lines:
        told = []
        for version in story.versions:
            seen = {each.ref: each.units for each in version.lines}
            if line.ref not in seen or (version.tells_units and version.cancelled_at is None):
                told.append((version.version_at, seen.get(line.ref)))
        known = [seen for _, seen in told if seen is not None]
        units[line.ref] = known[-1] if known else EVER_ORDERED
        then = [seen for at, seen in told if at <= BASELINE][-1:] or [seen for _, seen in told][:1]
        opening[line.ref] = (then[0] or 0) if then else units[line.ref]
    return units, opening


def expected_stock(story: Story, is_elsewhere: bool) -> dict[str, LineStock]:
    """What each stocked line of an order should have done, from the rule and the story's end."""
    shipments = {item.ref: item for item in story.fulfilments}.values()
    shipped, left_before, released_before = Counter[str](), Counter[str](), Counter[str]()
    for item in shipments:
        for ref, units in item.lines:
            shipped[ref] += units if item.is_shipped else 0
            left_before[ref] += units if item.is_shipped and item.fulfilled_at < BASELINE else 0
    refunded = Counter[tuple[str, str]]()
    early = Counter[str]()
    for refund in story.refunds:
        for line in refund.lines:
            refunded[line.line_ref, line.restock] += line.units
            if line.restock != "no_restock" and refund.created_at <= BASELINE:
                early[line.line_ref] += line.units
                released_before[line.line_ref] += line.units if line.restock != "return" else 0
    newest = story.newest
    units, opening = units_of(story)
    is_cancelled_before = newest.cancelled_at is not None and newest.cancelled_at <= BASELINE
    if is_elsewhere and not is_cancelled_before:
        for line in newest.lines:
            early[line.ref] += max(0, opening[line.ref] - left_before[line.ref] - released_before[line.ref])
    # Only what was taken over has a baseline.
    has_baseline = {line.ref: line.code in STOCK for line in newest.lines}
    return {
        line.ref: line_stock(
            LineFacts(
                ordered=units[line.ref],
                ordered_before_baseline=opening[line.ref],
                shipped=shipped[line.ref],
                refunded_cancel=refunded[line.ref, "cancel"],
                refunded_return=refunded[line.ref, "return"],
                refunded_legacy=refunded[line.ref, "legacy_restock"],
                refunded_no_restock=refunded[line.ref, "no_restock"],
                is_cancelled=newest.cancelled_at is not None,
                is_before_baseline=has_baseline[line.ref] and newest.created_at < BASELINE,
                restocked_before_baseline=early[line.ref] if has_baseline[line.ref] else 0,
                is_cancelled_before_baseline=has_baseline[line.ref] and is_cancelled_before,
            )
        )
        for line in newest.lines
        if line.code is not None
    }


def assert_as_the_rule_says(conn: Connection, world: World, telling: Telling) -> None:
    told = telling.stories
    expected = {
        (story.newest.ref, ref): stock
        for story in told
        for ref, stock in expected_stock(story, telling.is_elsewhere).items()
    }
    booked = {(order, line): LineStock(*stock) for order, line, _units, *stock in state_of(conn, world)["reservations"]}
    assert booked == expected
    effects: Counter[str] = Counter(STOCK)
    codes = {(story.newest.ref, line.ref): line.code for story in told for line in story.newest.lines}
    for key, stock in expected.items():
        effects[str(codes[key])] += stock.available_effect
    available = {code: units for code, _, _, _, units in state_of(conn, world)["levels"]}
    assert available == {code: effects[code] for code in available}


def assert_clean(conn: Connection, world: World, now: datetime = NOW) -> None:
    found = {item.name: item.rows for item in invariants.check(conn, now, shop_id=world.shop_id) if item.rows}
    assert found == {}


@settings(max_examples=30)
@given(telling=tellings())
def test_any_telling_of_a_history_ends_in_the_same_place(module_engine: Engine, telling: Telling) -> None:
    with module_engine.connect() as conn, conn.begin() as transaction:
        plain, mixed = make_shop_of(conn, telling), make_shop_of(conn, telling)
        tell(conn, plain, [[facts] for facts in telling.plain])
        tell(conn, mixed, telling.shuffled)
        assert state_of(conn, mixed) == state_of(conn, plain)
        for world in (plain, mixed):
            assert_as_the_rule_says(conn, world, telling)
            assert_clean(conn, world)
        transaction.rollback()


@settings(max_examples=20)
@given(telling=tellings())
def test_telling_everything_once_more_changes_nothing(module_engine: Engine, telling: Telling) -> None:
    with module_engine.connect() as conn, conn.begin() as transaction:
        world = make_shop_of(conn, telling)
        tell(conn, world, [telling.plain])
        before = state_of(conn, world)
        rows = fetch(conn, "select count(*) as n from stock_movements where shop_id = %(s)s", s=world.shop_id)
        tell(conn, world, [telling.plain, *telling.shuffled])
        assert state_of(conn, world) == before
        assert fetch(conn, "select count(*) as n from stock_movements where shop_id = %(s)s", s=world.shop_id) == rows
        transaction.rollback()
