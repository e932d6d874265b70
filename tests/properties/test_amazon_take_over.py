"""Orders of Amazon around a take-over: any order of their versions ends in what is really on the shelf and for sale.

A life is what really happened to one order: it was placed, packed, shipped in parcels that were corrected, told of or
only counted, and cancelled, each at its time. Its versions are what Amazon tells of that, dated by whatever touched the
order last. The number was taken over at the baseline, and a minute later the open orders were read: that is all that we
have of before. What then is on the shelf follows from the life alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core.adapters.amazon.facts import OPEN
from core.adapters.amazon.parsing import parse
from core.db import execute
from core.ports import Facts
from tests.adapters.canned_amazon_orders import item_body, order_body, stamp
from tests.factories import BASELINE, Level, World, apply, level_of, listing_of, make_world
from tests.stock_desk import broken

SKU = "variant:MUG"
STOCK = 10
OPEN_READ_AT = BASELINE + timedelta(minutes=1)
HOURS = (-50, -40, -30, -20, -10, 10, 20, 30, 40, 50)
"""When something can happen, from the baseline; never while the number and the open orders are being read."""


@dataclass(frozen=True)
class State:
    """An order as it really is from `at` on. `parcels` holds the units of each that is told of."""

    at: datetime
    gone: int = 0
    parcels: tuple[tuple[datetime, int], ...] = ()
    is_cancelled: bool = False


@dataclass(frozen=True)
class Life:
    """What became of one order, oldest first; the first state is its placing."""

    units: int
    states: tuple[State, ...]

    @property
    def end(self) -> State:
        return self.states[-1]

    def at(self, moment: datetime) -> State | None:
        """As it was then; None before it was placed."""
        return next((state for state in reversed(self.states) if state.at <= moment), None)

    def left_by(self, moment: datetime) -> int:
        """Units that had really left by then: what a correction took back never had."""
        first = next((number for number, state in enumerate(self.states) if state.at > moment), len(self.states))
        return min((state.gone for state in self.states[max(0, first - 1) :]), default=0) if first else 0


@st.composite
def lives(draw: st.DrawFn) -> Life:
    units = draw(st.integers(1, 4))
    hours = sorted(draw(st.sets(st.sampled_from(HOURS), min_size=2, max_size=7)))
    states = [State(BASELINE + timedelta(hours=hours[0]))]
    tells_parcels = draw(st.booleans())
    for hour in hours[1:]:
        last, at = states[-1], BASELINE + timedelta(hours=hour)
        act = draw(st.sampled_from(["ship", "ship", "correct", "correct", "cancel", "touch"]))
        gone, parcels, is_cancelled = last.gone, last.parcels, last.is_cancelled
        if act == "ship" and not is_cancelled and gone < units:
            count = draw(st.integers(1, units - gone))
            gone += count
            parcels = (*parcels, (at, count)) if tells_parcels else ()
        elif act == "correct" and not is_cancelled and parcels and parcels[-1][1] > 1:
            # One unit of it did not leave after all.
            gone -= 1
            parcels = (*parcels[:-1], (parcels[-1][0], parcels[-1][1] - 1))
        elif act == "cancel" and gone < units:
            is_cancelled = True
        states.append(State(at, gone, parcels, is_cancelled))
    return Life(units, tuple(states))


def status_of(life: Life, state: State) -> str:
    if state.is_cancelled:
        return "CANCELLED"
    if state.gone == life.units:
        return "SHIPPED"
    return "PARTIALLY_SHIPPED" if state.gone else "UNSHIPPED"


def body_of(life: Life, state: State, seen_at: datetime) -> dict[str, Any]:
    left = 0 if state.is_cancelled else life.units - state.gone
    counts = {"quantityFulfilled": state.gone, "quantityUnfulfilled": left}
    packages = [
        {
            "packageReferenceId": str(number),
            "packageStatus": {"status": "SHIPPED"},
            "shipTime": stamp(at),
            "packageItems": [{"orderItemId": "1", "quantity": units}],
        }
        for number, (at, units) in enumerate(state.parcels, start=1)
    ]
    item = item_body("1", SKU, life.units, fulfillment=counts)
    body = order_body("A", item, at=stamp(life.states[0].at), packages=packages)
    body |= {"lastUpdatedTime": stamp(state.at), "seenAt": seen_at.isoformat()}
    return body | {"fulfillment": {"fulfillmentStatus": status_of(life, state), "fulfilledBy": "MERCHANT"}}


def told(life: Life) -> list[dict[str, Any]]:
    """What we get: the order as one of those that were open at the take-over, and every version of it since."""
    bodies = []
    then = life.at(OPEN_READ_AT)
    if then is not None and status_of(life, then) in OPEN:
        bodies.append(body_of(life, then, OPEN_READ_AT))
    return bodies + [
        body_of(life, state, state.at + timedelta(minutes=3)) for state in life.states if state.at > BASELINE
    ]


def expected(life: Life, *, is_source: bool) -> Level:
    """What is there in the end.

    A number of the channel's lacks what open orders held when it was taken over, which lies on the shelf; one that
    came from elsewhere is the shelf as it was then.
    """
    then = life.at(BASELINE)
    gone_before = life.left_by(BASELINE)
    was_held = life.units - gone_before if then is not None and not then.is_cancelled else 0
    on_shelf = STOCK + (was_held if is_source else 0)
    end = life.end
    held = 0 if end.is_cancelled else life.units - end.gone
    on_hand = on_shelf - (end.gone - gone_before)
    return Level(on_hand, held, on_hand - held)


def taken_over(conn: Connection, *, is_source: bool) -> World:
    world = make_world(conn, {"MUG": STOCK}, guarantee_class="B")
    execute(
        conn,
        "update connections set open_orders_read_at = %(at)s, catalogue_read_at = %(at)s where shop_id = %(shop)s",
        at=OPEN_READ_AT,
        shop=world.shop_id,
    )
    if not is_source:
        execute(conn, "update listings set opening_at = null where shop_id = %(shop)s", shop=world.shop_id)
    return world


def read(body: dict[str, Any]) -> Facts:
    facts = parse("poll/orders", json.dumps(body).encode(), None, "GBP")
    assert facts is not None
    return facts


def hour(number: int) -> datetime:
    return BASELINE + timedelta(hours=number)


CANCELLED_LONG_AGO = Life(2, (State(hour(-50)), State(hour(-40), 0, (), True), State(hour(10), 0, (), True)))
SHIPPED_LONG_AGO = Life(2, (State(hour(-50)), State(hour(-40), 2), State(hour(10), 2)))
CORRECTED = Life(
    2,
    (
        State(hour(10)),
        State(hour(20), 2, ((hour(20), 2),)),
        State(hour(30), 1, ((hour(20), 1),)),
        State(hour(40), 2, ((hour(20), 1), (hour(40), 1))),
    ),
)


@settings(max_examples=40, deadline=None)
@given(life=lives(), is_source=st.booleans(), data=st.data())
def test_any_order_of_versions_around_a_take_over_ends_in_what_is_there(
    module_engine: Engine, life: Life, is_source: bool, data: st.DataObject
) -> None:
    bodies = told(life)
    again = data.draw(st.lists(st.sampled_from(bodies), max_size=2)) if bodies else []
    seen = data.draw(st.permutations([*bodies, *again]))
    size = data.draw(st.integers(1, 3))
    assert_ends_in_what_is_there(
        module_engine, life, is_source, [seen[n : n + size] for n in range(0, len(seen), size)]
    )


def test_the_lives_that_went_wrong(module_engine: Engine) -> None:
    for life in (CANCELLED_LONG_AGO, SHIPPED_LONG_AGO, CORRECTED):
        for is_source in (True, False):
            for bodies in (told(life), told(life)[::-1]):
                assert_ends_in_what_is_there(module_engine, life, is_source, [[body] for body in bodies])


def assert_ends_in_what_is_there(
    engine: Engine, life: Life, is_source: bool, batches: list[list[dict[str, Any]]]
) -> None:
    with engine.connect() as conn, conn.begin() as transaction:
        world = taken_over(conn, is_source=is_source)
        for batch in batches:
            apply(conn, world, *(read(body) for body in batch))
        if batches:
            assert broken(conn, world) == {}
            assert level_of(conn, world) == expected(life, is_source=is_source)
            assert listing_of(conn, world)["exposed_units"] >= for_sale_there(life)
        transaction.rollback()


def for_sale_there(life: Life) -> int:
    """What Amazon shows in the end, having shown STOCK at the baseline; it puts back what is cancelled."""
    then = life.at(BASELINE)
    if then is None:
        return STOCK - (life.end.gone if life.end.is_cancelled else life.units)
    back = life.units - life.end.gone if life.end.is_cancelled and not then.is_cancelled else 0
    return STOCK + back
