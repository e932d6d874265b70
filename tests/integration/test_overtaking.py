"""An absolute write of which nothing read says whether it landed, and the later ones that take its place.

The channel keeps the order of what it accepted, applies it when a test says so, and sells of its own accord.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from core import invariants
from core.catalog.operations import observe_levels
from core.connections.operations import note_poll_complete
from core.db import execute, fetch, scalar
from core.inventory import checking, escrow, lane_work, lines, overtaking, publishing
from core.inventory.publishing import Lane
from core.policies import operations as policies
from core.policies.queries import Change
from core.policies.rules import Scope, Terms
from core.ports import QuantityResult, QuantityWrite
from tests.factories import (
    ACTOR,
    NOW,
    World,
    adjust_stock,
    book,
    listing_of,
    make_level,
    make_line,
    make_order,
    make_world,
)

DOUBT_AFTER = timedelta(minutes=15)


@dataclass
class Road:
    """A class B channel of one listing with thirty units, and what we do for it; each step takes its minutes."""

    conn: Connection
    world: World = field(init=False)
    shown: int = 30
    queue: list[QuantityWrite] = field(default_factory=list)
    now: datetime = NOW
    sales: int = 0

    def __post_init__(self) -> None:
        self.world = make_world(self.conn, {"MUG": 30}, guarantee_class="B")
        self.know()

    @property
    def lane(self) -> Lane:
        return Lane(self.world.shop_id, self.world.connection.id, "B", 1)

    def wait(self, minutes: float = 1) -> datetime:
        self.now += timedelta(minutes=minutes)
        return self.now

    def sell(self, units: int) -> None:
        """The channel sells some, and we book it."""
        assert self.shown >= units, "the channel refuses at zero"
        self.shown -= units
        self.sales += 1
        order = make_order(str(self.sales), [make_line(units=units)], placed_at=self.wait())
        book(self.conn, self.world, order, now=self.now)

    def elsewhere(self, units: int) -> None:
        """Another channel sells some: fewer are left for this one."""
        adjust_stock(self.conn, self.world, "MUG", -units)

    def plan(self) -> list[QuantityWrite]:
        return [write for call in publishing.plan(self.conn, self.lane, 9, self.now) for write in call]

    def leave(self, write: QuantityWrite) -> None:
        publishing.mark_sent(self.conn, self.world.shop_id, [write.write_id], self.now)

    def answer(self, write: QuantityWrite, outcome: Any, code: str | None = None) -> None:
        result = QuantityResult(write.write_id, outcome, code, at=self.now)
        publishing.settle(self.conn, self.world.shop_id, [result], timedelta(0), self.now)

    def send(self, units: int) -> QuantityWrite:
        """One write of this number leaves, and is accepted."""
        (write,) = self.plan()
        assert write.to_units == units
        self.leave(write)
        self.answer(write, "accepted")
        self.queue.append(write)
        return write

    def land(self, write: QuantityWrite) -> None:
        """It comes into force, and none from before it can any more."""
        self.queue = self.queue[self.queue.index(write) + 1 :]
        self.shown = write.to_units

    def read(self) -> None:
        """What is due is read back, and the reading kept."""
        self.wait()
        due = checking.due_checks(self.conn, self.lane, 9, self.now)
        checking.postpone_checks(self.conn, self.world.shop_id, due, timedelta(0), DOUBT_AFTER, self.now)
        seen = [make_level("MUG", self.shown, self.now)]
        results = checking.results_of_reading_back(due, seen)
        observe_levels(self.conn, self.world.shop_id, self.world.connection.id, seen, self.now)
        publishing.settle(self.conn, self.world.shop_id, results, timedelta(0), self.now)

    def know(self) -> None:
        """Every order up to now is booked; what that tells of open writes and doubts is written down, as by a sweep."""
        shop, connection = self.world.shop_id, self.world.connection.id
        note_poll_complete(self.conn, shop, connection, self.wait() + timedelta(minutes=1), self.now)
        landed = checking.landed(self.conn, shop, connection)
        publishing.settle(self.conn, shop, landed, timedelta(0), self.now)
        overtaking.own_late_landings(self.conn, shop, connection)
        checking.end_doubts(self.conn, shop, connection, self.now)

    def look(self) -> None:
        self.read()
        self.know()
        self.assert_covered()

    def assert_covered(self) -> None:
        """Exposure is never below what the channel may still sell: what it shows, and all that may land one by one."""
        assert listing_of(self.conn, self.world)["exposed_units"] >= self.shown + sum(w.to_units for w in self.queue)

    def ambiguous(self) -> QuantityWrite:
        """29 is under way where the channel, by a sale of its own, comes to show 29 as well."""
        self.elsewhere(1)
        write = self.send(29)
        self.sell(1)
        self.look()
        return write

    @property
    def row(self) -> Any:
        return listing_of(self.conn, self.world)

    def write(self, write: QuantityWrite) -> Any:
        (row,) = fetch(self.conn, "select * from listing_writes where id = %(id)s", id=write.write_id)
        return row

    def share(self, mode: Any, switch_units: int | None = None) -> None:
        """The shop's rules say how its pool is shared."""
        change = Change(Scope(), Terms(mode=mode, switch_units=switch_units))
        policies._write(self.conn, self.world.shop_id, [change], ACTOR, self.now, None)
        policies.apply_to_skus(self.conn, self.world.shop_id, self.world.skus.values())
        lines.draw_lines(self.conn, self.world.shop_id)
        self.replan()

    def replan(self) -> None:
        pools = escrow.pools_in_escrow(self.conn, self.world.shop_id, (0, 0), 9)
        escrow.replan(self.conn, self.world.shop_id, pools, self.now)

    def audit(self) -> None:
        found = invariants.check(self.conn, self.now, shop_id=self.world.shop_id)
        assert {item.name: item.rows for item in found if item.rows} == {}


@pytest.fixture
def road(conn: Connection) -> Road:
    return Road(conn)


def test_a_write_that_nothing_read_tells_of_is_overtaken_by_the_next_and_both_are_exposed(road: Road) -> None:
    first = road.ambiguous()
    assert (road.row["published_units"], road.write(first)["outcome"]) == (29, None)
    assert road.row["exposed_units"] == 29 + 29
    # One more was sold elsewhere already, when the channel sold its own: 28 of 30 are left.
    assert (road.world.shop_id, road.world.connection.id) in lane_work.lanes_to_push(road.conn, road.now)
    second = road.send(28)
    assert (road.write(first)["outcome"], road.write(first)["outcome_code"]) == ("stale", "OVERTAKEN")
    assert road.row["exposed_units"] == 29 + 29 + 28
    road.audit()
    # The later one in force: the earlier cannot land any more, and all that it exposed is given back.
    road.elsewhere(8)
    road.look()
    third = road.send(20)
    assert road.write(second)["outcome_code"] == "OVERTAKEN"
    road.land(third)
    road.look()
    assert road.write(third)["outcome"] == "confirmed"
    assert (road.row["published_units"], road.row["exposed_units"], road.row["unseen_units"]) == (20, 20, 0)
    road.audit()


def test_the_earlier_one_lands_after_the_later_was_refused(road: Road) -> None:
    first = road.ambiguous()
    road.sell(4)
    road.look()
    (second,) = road.plan()
    road.leave(second)
    road.answer(second, "refused", "13013")
    road.look()
    assert road.row["published_units"] == 25
    assert road.row["exposed_units"] >= 25 + 29, "a refused one proves nothing of the one before it"
    assert road.row["is_in_doubt"]
    road.land(first)
    road.look()
    row = road.row
    assert row["published_units"] == 29
    assert row["edited_units"] == row["unseen_units"] == 0, "it is ours, and nobody's edit"
    assert scalar(road.conn, "select count(*) from channel_acts where shop_id = %(s)s", s=road.world.shop_id) == 0
    road.audit()
    # A new one may follow, and ends all of it.
    road.wait(60)
    road.elsewhere(9)
    third = road.send(15)
    road.land(third)
    road.look()
    assert (road.row["published_units"], road.row["exposed_units"]) == (15, 15)
    road.audit()


def test_an_overtaken_write_that_lands_late_and_sells_is_covered_all_the_while(road: Road) -> None:
    first = road.ambiguous()
    road.elsewhere(10)
    second = road.send(18)
    road.sell(20)
    road.assert_covered()
    road.land(first)
    road.assert_covered()
    road.sell(20)
    road.assert_covered()
    road.look()
    # 29 less twenty, or 18 less nine? It may be either, and both are exposed.
    assert road.write(second)["outcome"] is None
    road.land(second)
    road.sell(18)
    road.assert_covered()


def test_a_zero_that_sales_may_have_led_to_is_not_believed_while_a_number_it_overtook_may_land_on_it(
    road: Road,
) -> None:
    first = road.ambiguous()
    road.elsewhere(28)
    drain = road.send(0)
    assert road.write(first)["outcome_code"] == "OVERTAKEN"
    road.sell(29)
    road.look()
    assert (road.row["published_units"], road.write(drain)["outcome"]) == (0, None)
    assert road.row["exposed_units"] >= 29
    road.land(first)
    road.assert_covered()
    # A person who looks at the channel, when nothing is under way any more, ends it.
    road.land(drain)
    road.wait(60)
    road.read()
    assert "landed" in road.write(drain)["doubt"]
    publishing.settle_by_hand(road.conn, road.world.shop_id, drain.write_id, 0, ACTOR, road.wait())
    road.look()
    assert road.row["exposed_units"] == 0
    road.audit()


def test_a_pool_that_becomes_scarce_is_drained_although_nobody_knows_of_an_open_write(road: Road) -> None:
    first = road.ambiguous()
    road.elsewhere(24)
    road.share("adaptive", 6)
    assert scalar(road.conn, "select is_escrow from stock_levels where shop_id = %(s)s", s=road.world.shop_id)
    drain = road.send(0)
    assert (road.write(first)["outcome_code"], road.row["exposed_units"]) == ("OVERTAKEN", 29 + 29)
    road.look()
    assert road.plan() == [], "nothing is raised before it is known to be drained"
    road.land(drain)
    road.look()
    assert road.write(drain)["outcome"] == "confirmed", "nothing but the 0 explains it"
    assert road.row["exposed_units"] == 0
    road.replan()
    assert [write.to_units > 0 for write in road.plan()] == [True]
    road.audit()


def test_what_the_channel_did_not_answer_for_is_not_overtaken(road: Road) -> None:
    """Its request may still be on its way, and be accepted after the later one."""
    road.elsewhere(1)
    (write,) = road.plan()
    road.leave(write)
    road.answer(write, "unknown", "TIMEOUT")
    road.sell(1)
    road.look()
    assert road.plan() == []
    assert road.write(write)["outcome"] is None


def test_nor_what_left_in_a_feed_nor_by_the_same_number_nor_before_everything_is_booked(road: Road) -> None:
    road.elsewhere(1)
    road.send(29)
    road.sell(1)
    road.read()
    assert road.plan() == [], "the watermark has not passed the reading"
    road.know()
    adjust_stock(road.conn, road.world, "MUG", 1)
    assert road.row["desired_units"] == 29
    assert road.plan() == [], "it shows 29"
    road.sell(1)
    road.look()
    adjust_stock(road.conn, road.world, "MUG", 1)
    assert (road.row["published_units"], road.row["desired_units"]) == (28, 29)
    assert road.plan() == [], "29 is never sent again on suspicion"
    road.elsewhere(5)
    with pytest.raises(Exception, match="frozen"), road.conn.begin_nested():
        execute(road.conn, "update listing_writes set road = 'feed', feed_id = 1 where outcome is null")
    assert [write.to_units for write in road.plan()] == [24]


def test_a_listing_that_shows_what_it_should_is_nobodys_doubt(road: Road) -> None:
    first = road.ambiguous()
    adjust_stock(road.conn, road.world, "MUG", 1)
    road.look()
    road.wait(60)
    road.read()
    row = road.write(first)
    assert (row["outcome"], row["doubt"]) == (None, None)
    state = "select oldest, doubts from (select behind_since as oldest, doubtful_writes as doubts"
    found = fetch(road.conn, f"{state} from connection_health where shop_id = %(s)s) h", s=road.world.shop_id)
    assert [(one["oldest"], one["doubts"]) for one in found] == [(None, 0)]
    assert road.row["exposed_units"] == 29 + 29, "it may land, and stays exposed until the next change"
    # The next change takes its place.
    road.know()
    road.elsewhere(9)
    last = road.send(20)
    road.land(last)
    road.look()
    assert road.row["exposed_units"] == 20
    road.audit()
