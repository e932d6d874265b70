"""Orders of a channel held against ours, in sets: every cause, what is on its way, and any mixture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core.audit import Actor
from core.connections.queries import connection as connection_row
from core.db import execute, fetch, scalar
from core.ports import ChannelOrder, OrderPage
from core.reconciliation.orders import judging, mentions, runs, staging
from core.reconciliation.orders.staging import Reading
from tests.factories import (
    NOW,
    UNREADABLE,
    World,
    body_of,
    book,
    later,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_world,
    parse,
    set_row,
)

ADA = Actor("ada", "a look at the orders")
KNOWN_UNTIL = later(60)
BEGAN = later(90)


@pytest.fixture
def world(conn: Connection) -> World:
    made = make_world(conn, {"MUG": 1000})
    return prepared(conn, made)


def prepared(conn: Connection, made: World) -> World:
    """Its first sync is done, and its orders are polled up to `KNOWN_UNTIL`."""
    set_row(conn, "connections", made.connection.id, catalogue_read_at=NOW, orders_polled_to=KNOWN_UNTIL)
    return replace(made, connection=connection_row(conn, made.shop_id, made.connection.id))


def begin(conn: Connection, world: World, days: int = 3) -> Reading:
    run = runs.request(conn, world.connection, "click", ADA, BEGAN, days)
    at = staging.reading(conn, run.shop_id, run.id)
    assert at is not None
    return at


def page(*orders: ChannelOrder) -> OrderPage:
    return OrderPage([(order.ref, order.version_at, body_of(order)) for order in orders])


def look(
    conn: Connection, world: World, *theirs: ChannelOrder, at: Reading | None = None, size: int = 2
) -> dict[str, tuple[str | None, str | None, str | None]]:
    """A whole run: (verdict, how the order differs, how its refunds do) of each that was looked at."""
    at = at or begin(conn, world)
    staging.take_page(conn, at, page(*theirs), parse, BEGAN)
    last: str | None = ""
    while last is not None:
        last = judging.compare(conn, at, last, size)
    staging.ask_for(conn, at, None)
    staging.note_gone(conn, at, staging.still_to_ask(conn, at, 100))
    judge(conn, at, size)
    rows = fetch(conn, "select * from staged_orders where run_id = %(r)s order by channel_ref", r=at.run_id)
    return {row["channel_ref"]: (row["verdict"], row["order_cause"], row["refund_cause"]) for row in rows}


def judge(conn: Connection, at: Reading, size: int = 2) -> int:
    mentions.note(conn, at.shop_id, at.run_id, at.connection_id, parse)
    last: str | None = ""
    while last is not None:
        last = judging.judge(conn, at, last, BEGAN, size)
    return judging.close(conn, at, BEGAN)


def open_ones(conn: Connection, world: World) -> list[dict[str, Any]]:
    rows = fetch(
        conn,
        "select * from discrepancies where shop_id = %(s)s and state <> 'resolved' order by kind, subject_key",
        s=world.shop_id,
    )
    return [dict(row) for row in rows]


def the_one(conn: Connection, world: World) -> dict[str, Any]:
    (found,) = open_ones(conn, world)
    return found


def message(conn: Connection, world: World, body: bytes, state: str, delivery: str = "d1") -> int:
    more = {
        "received": {},
        "waiting": {"waiting_for": "order:1", "waits_until": later(600)},
        "parked": {"cause": "unexpected", "settled_at": NOW},
        "handled": {"settled_at": NOW},
    }[state]
    message_id = scalar(
        conn,
        """
        insert into inbox_messages (shop_id, connection_id, delivery_id, topic, road, body, received_at)
        values (%(shop)s, %(connection)s, %(delivery)s, 'facts', 'poll', %(body)b, %(now)s) returning id
        """,
        shop=world.shop_id,
        connection=world.connection.id,
        delivery=delivery,
        body=body,
        now=NOW,
    )
    set_row(conn, "inbox_messages", message_id, state=state, **more)
    return int(message_id)


# --- each cause -------------------------------------------------------------------------------------------------------


def test_an_order_that_we_never_heard_of_is_missing_here_and_heals(conn: Connection, world: World) -> None:
    theirs = make_order("A-1", [make_line(units=2)])
    assert look(conn, world, theirs) == {"A-1": ("real", "missing_here", None)}
    found = the_one(conn, world)
    assert (found["kind"], found["cause"], found["action"], found["asked_because"]) == (
        "order", "missing_here", "healed", None,
    )  # fmt: skip
    assert (found["ours"], found["theirs"], found["unit"], found["currency"]) == (None, 500, "minor", "GBP")
    assert found["subject"]["theirs"] == {
        "lines": 1, "units": 2, "total_minor": 500, "currency": "GBP", "refunds": 0, "refunded_minor": 0,
        "is_cancelled": False,
    }  # fmt: skip


def test_what_is_equal_is_nothing(conn: Connection, world: World) -> None:
    order = make_order("A-1", refunds=(make_refund("A-1", at=later(1)),))
    book(conn, world, order)
    assert look(conn, world, order) == {"A-1": (None, None, None)}
    assert open_ones(conn, world) == []


def test_an_order_that_the_channel_does_not_have_is_flagged(conn: Connection, world: World) -> None:
    book(conn, world, make_order("A-1"))
    assert look(conn, world) == {"A-1": ("real", "missing_there", None)}
    found = the_one(conn, world)
    assert (found["action"], found["asked_because"], found["ours"], found["theirs"]) == ("asked", "by_hand", 250, None)
    assert found["order_id"] is not None


@pytest.mark.parametrize(
    ("theirs", "cause", "values"),
    [
        (make_order("A-1", [make_line(units=3)]), "units", (1, 3, "units")),
        (make_order("A-1", [make_line(), make_line("2", None, units=0)]), None, None),
        (make_order("A-1", [make_line(units=0), make_line("2", None)]), None, None),
        (make_order("A-1", [make_line()], total_minor=300), "amount", (250, 300, "minor")),
        (make_order("A-1", [make_line()], currency="EUR"), "amount", (250, 250, "minor")),
        (make_order("A-1", [make_line()], cancelled_at=later(1)), "cancelled_there", (1, 0, "units")),
    ],
    ids=["units", "no_line_of_nothing", "another_line", "amount", "currency", "cancelled"],
)
def test_how_an_order_may_differ(
    conn: Connection, world: World, theirs: ChannelOrder, cause: str | None, values: tuple[int, int, str] | None
) -> None:
    book(conn, world, make_order("A-1", [make_line()]))
    assert look(conn, world, theirs)["A-1"][1] == cause
    assert [(row["ours"], row["theirs"], row["unit"]) for row in open_ones(conn, world)] == ([values] if values else [])


def test_cancelled_here_and_not_there(conn: Connection, world: World) -> None:
    book(conn, world, make_order("A-1", [make_line(units=2)], cancelled_at=later(1)))
    assert look(conn, world, make_order("A-1", [make_line(units=2)]))["A-1"] == ("real", "cancelled_here", None)


def test_lines_that_an_edit_may_have_changed_are_not_compared_where_they_are_not_told(
    conn: Connection, world: World
) -> None:
    book(conn, world, make_order("A-1", [make_line(units=1)], total_minor=250))
    assert look(conn, world, make_order("A-1", [make_line(units=3)], total_minor=250, tells_units=False)) == {
        "A-1": (None, None, None)
    }


@pytest.mark.parametrize(
    ("ours", "theirs", "cause", "action"),
    [
        ([], [250], "refund_missing_here", "healed"),
        ([250], [], "refund_missing_there", "asked"),
        ([250], [200], "refund_amount", "asked"),
        ([250], [100, 150], "refund_missing_here", "healed"),
    ],
)
def test_how_refunds_may_differ(
    conn: Connection, world: World, ours: list[int], theirs: list[int], cause: str, action: str
) -> None:
    book(conn, world, with_refunds(make_order("A-1", [make_line(units=4)]), ours))
    assert look(conn, world, with_refunds(make_order("A-1", [make_line(units=4)]), theirs))["A-1"][2] == cause
    found = the_one(conn, world)
    assert (found["kind"], found["action"], found["ours"], found["theirs"]) == (
        "refund", action, sum(ours), sum(theirs),
    )  # fmt: skip


def with_refunds(order: ChannelOrder, amounts: Sequence[int]) -> ChannelOrder:
    made = tuple(
        make_refund(order.ref, [make_refund_line(units=0, subtotal_minor=0)], f"r{n}", order.version_at,
                    amount_minor=amount)
        for n, amount in enumerate(amounts)
    )  # fmt: skip
    return replace(order, refunds=made)


def test_a_refund_that_came_in_while_orders_were_read_is_no_difference(conn: Connection, world: World) -> None:
    order = make_order("A-1")
    book(conn, world, order)
    book(conn, world, make_refund("A-1", at=later(5)))
    assert look(conn, world, order) == {"A-1": (None, None, None)}


# --- what is on its way -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["received", "waiting"])
def test_what_a_message_brings_is_on_its_way(conn: Connection, world: World, state: str) -> None:
    theirs = make_order("A-1")
    message(conn, world, body_of(theirs), state)
    assert look(conn, world, theirs) == {"A-1": ("in_flight", "missing_here", None)}
    assert open_ones(conn, world) == []


def test_what_polls_have_not_read_yet_is_on_its_way(conn: Connection, world: World) -> None:
    assert look(conn, world, make_order("A-1", version_at=later(61)))["A-1"][0] == "in_flight"


def test_what_we_know_in_a_younger_version_is_not_judged(conn: Connection, world: World) -> None:
    book(conn, world, make_order("A-1", [make_line(units=2)], version_at=later(9)))
    assert look(conn, world, make_order("A-1", version_at=later(8)))["A-1"][0] == "in_flight"


def test_within_one_second_nobody_is_the_younger(conn: Connection, world: World) -> None:
    book(conn, world, make_order("A-1", [make_line(units=2)], version_at=later(9) + timedelta(microseconds=900)))
    assert look(conn, world, make_order("A-1", version_at=later(9)))["A-1"][0] == "real"


@pytest.mark.parametrize("body", ["readable", "unreadable"])
def test_a_parked_message_is_pointed_at_and_read_no_more(conn: Connection, world: World, body: str) -> None:
    theirs = make_order("A-1")
    parked = (
        message(conn, world, body_of(theirs), "parked")
        if body == "readable"
        # That it is about this order its delivery says: polls name it.
        else message(conn, world, UNREADABLE, "parked", "poll:A-1:2024-03-04T12:01:00+00:00")
    )
    assert look(conn, world, theirs) == {"A-1": ("real", "missing_here", None)}
    found = the_one(conn, world)
    assert (found["cause"], found["action"], found["subject"]["message_id"]) == ("parked", "asked", parked)
    assert f"message {parked}" in found["detail"]


def test_what_we_learned_of_while_reading_is_not_missing_there(conn: Connection, world: World) -> None:
    book(conn, world, make_order("A-1"), now=BEGAN + timedelta(minutes=1))
    assert look(conn, world) == {}


def test_what_the_channel_hides_by_its_age_is_counted_and_not_asked_for(conn: Connection, world: World) -> None:
    book(conn, world, make_order("A-1", placed_at=later(1)))
    at = begin(conn, world)
    assert staging.ask_for(conn, at, timedelta(minutes=80)) == (0, 1)
    assert staging.ask_for(conn, at, timedelta(minutes=100)) == (1, 0)


# --- what becomes of it -----------------------------------------------------------------------------------------------


def again(conn: Connection, world: World, at: Reading) -> None:
    """The run is over; another one may begin."""
    run = runs.Run(at.shop_id, at.run_id, at.connection_id, scalar(
        conn, "select sync_run_id from reconciliation_runs where id = %(r)s", r=at.run_id))  # fmt: skip
    execute(conn, "update sync_runs set state = 'running' where id = %(r)s", r=run.sync_run_id)
    runs.finish(conn, run, {}, BEGAN)


def test_one_that_is_found_equal_later_is_resolved_with_its_history(conn: Connection, world: World) -> None:
    theirs, at = make_order("A-1"), begin(conn, world)
    look(conn, world, theirs, at=at)
    assert judging.note_healed(conn, at, ["A-1"], "reconciliation", BEGAN) == 1
    again(conn, world, at)
    book(conn, world, theirs)
    look(conn, world, theirs)
    assert open_ones(conn, world) == []
    row = fetch(conn, "select id, resolved_because from discrepancies where shop_id = %(s)s", s=world.shop_id)[0]
    assert row["resolved_because"] == "healed"
    told = fetch(conn, "select what from discrepancy_events where discrepancy_id = %(d)s order by id", d=row["id"])
    assert [event["what"] for event in told] == ["seen", "corrected", "resolved"]


def test_one_outside_the_window_is_asked_for_and_resolved(conn: Connection, world: World) -> None:
    theirs, at = make_order("A-1", placed_at=later(-600), version_at=later(-600)), begin(conn, world)
    look(conn, world, theirs, at=at)
    again(conn, world, at)
    book(conn, world, theirs)
    later_run = begin(conn, world)
    assert staging.ask_for(conn, later_run, None) == (1, 0)
    assert staging.still_to_ask(conn, later_run, 10) == ["A-1"]


def test_an_order_is_read_again_by_itself_three_times_and_then_a_person_is_asked(
    conn: Connection, world: World
) -> None:
    actions = []
    for turn in range(1, 6):
        at = begin(conn, world)
        look(conn, world, make_order("A-1"), at=at)
        found = the_one(conn, world)
        actions.append((found["action"], found["asked_because"], found["corrections"], found["times_seen"]))
        assert found["times_seen"] == turn
        judging.note_healed(conn, at, judging.to_heal(conn, at, "", 10), "reconciliation", BEGAN)
        again(conn, world, at)
    assert [action for action, *_ in actions] == ["healed", "healed", "healed", "asked", "asked"]
    assert actions[-1] == ("asked", "loop", 3, 5)


def test_what_was_accepted_stays_so_until_it_says_something_else(conn: Connection, world: World) -> None:
    book(conn, world, make_order("A-1"))
    at = begin(conn, world)
    look(conn, world, at=at)
    set_row(conn, "discrepancies", the_one(conn, world)["id"], state="accepted", action="ignored",
            asked_because=None, reason="deleted by the shop on purpose")  # fmt: skip
    judge(conn, at)
    assert (the_one(conn, world)["state"], the_one(conn, world)["action"]) == ("accepted", "ignored")
    again(conn, world, at)
    look(conn, world, make_order("A-1", [make_line(units=7)]))
    found = the_one(conn, world)
    assert (found["state"], found["cause"], found["reason"]) == ("open", "units", None)


def test_reading_older_orders_moves_no_mark(conn: Connection, world: World) -> None:
    where = {"c": world.connection.id}
    sql = """select orders_polled_to, orders_polled_at, orders_asked_at, orders_resume, watermark_at, watermark_next_at
        from connections where id = %(c)s"""
    before = fetch(conn, sql, **where)
    look(conn, world, make_order("A-1"), make_order("A-2", version_at=later(80)))
    assert fetch(conn, sql, **where) == before


# --- any mixture ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """An order as one side has it."""

    units: int
    total: int
    is_cancelled: bool
    refunds: tuple[int, ...]
    minute: int

    def order(self, ref: str) -> ChannelOrder:
        cancelled_at = later(1) if self.is_cancelled else None
        made = make_order(
            ref, [make_line(units=self.units)], total_minor=self.total, cancelled_at=cancelled_at, placed_at=later(1),
            version_at=later(self.minute),
        )  # fmt: skip
        return with_refunds(made, self.refunds)


built = st.builds(
    Side,
    st.integers(1, 2),
    st.sampled_from([250, 500]),
    st.sampled_from([False, False, False, True]),
    st.lists(st.sampled_from([100, 200]), max_size=2).map(tuple),
    st.sampled_from([5, 6, 70]),
)
# Most orders are known to both sides: there is more to differ then.
sides = st.one_of(built, built, built, st.none())
cases = st.lists(st.tuples(sides, sides, st.sampled_from([None, None, "received", "waiting", "parked", "handled"])),
                 min_size=1, max_size=6)  # fmt: skip


def expected(theirs: Side | None, ours: Side | None, state: str | None) -> tuple[str | None, str | None, str | None]:
    """One order looked at by itself, by the words of decision 0034."""
    if theirs is None:
        # Nobody speaks of it, or we have it alone.
        if ours is None:
            return None, None, None
        # Ours of minute 70 is older than the run's beginning, as all are.
        return ("in_flight" if state in ("received", "waiting") else "real"), "missing_there", None
    order = refund = None
    if ours is None:
        order = "missing_here"
    elif theirs.is_cancelled != ours.is_cancelled:
        order = "cancelled_there" if theirs.is_cancelled else "cancelled_here"
    elif not theirs.is_cancelled and theirs.units != ours.units:
        order = "units"
    elif theirs.total != ours.total:
        order = "amount"
    if ours is not None:
        # A refund is dated by the version that it came with.
        ours_by_then = ours.refunds if ours.minute <= theirs.minute else ()
        if len(theirs.refunds) != len(ours_by_then):
            refund = f"refund_missing_{'here' if len(theirs.refunds) > len(ours_by_then) else 'there'}"
        elif sum(theirs.refunds) != sum(ours_by_then):
            refund = "refund_amount"
    if order is None and refund is None:
        return None, None, None
    is_younger = ours is not None and ours.minute > theirs.minute
    on_its_way = theirs.minute > 60 or is_younger or state in ("received", "waiting")
    return ("in_flight" if on_its_way else "real"), order, refund


@settings(max_examples=40)
@given(cases)
def test_any_mixture_is_judged_as_one_by_one(quiet_engine: Engine, mixed: list[tuple[Any, Any, str | None]]) -> None:
    with quiet_engine.connect() as conn, conn.begin() as transaction:
        world = prepared(conn, make_world(conn, {"MUG": 1000}))
        for number, (theirs, ours, state) in enumerate(mixed):
            if ours is not None:
                book(conn, world, ours.order(f"A-{number}"))
            if state is not None:
                message(conn, world, body_of((theirs or ours or Side(1, 250, False, (), 5)).order(f"A-{number}")),
                        state, f"d{number}")  # fmt: skip
        found = look(conn, world, *(theirs.order(f"A-{n}") for n, (theirs, _, _) in enumerate(mixed) if theirs))
        want = {f"A-{n}": expected(*case) for n, case in enumerate(mixed) if case[0] or case[1]}
        assert found == want
        real = {(kind, ref) for ref, (verdict, *causes) in want.items() if verdict == "real"
                for kind, cause in zip(("order", "refund"), causes, strict=True) if cause}  # fmt: skip
        assert {(row["kind"], row["subject_key"]) for row in open_ones(conn, world)} == real
        transaction.rollback()
