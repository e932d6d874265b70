"""Channels that sell, in memory, and we on real Postgres: what must hold after each thing that any of them does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from core import invariants
from core.clock import CLOCK_MARGIN
from core.db import fetch, scalar
from core.inventory import lane_work
from core.inventory.rules import ListingRule, offer
from core.ledger.sealing import seal
from tests.exposure_acts import Acts
from tests.exposure_channels import (
    Place,
)
from tests.factories import (
    make_facts,
)


class Play(Acts):
    """Us and the channels, looked at after each step."""

    def __init__(self, conn: Connection, classes: str, **more: Any) -> None:
        super().__init__(conn, classes, **more)
        self.slack: Counter[Place] = Counter()
        self.ledger_id = 0
        self.look(is_beginning=True)

    def step(self, name: str, which: int = 0, units: int = 1) -> None:
        self.now += timedelta(seconds=1.3)
        getattr(self, "do_" + name.replace(" ", "_"))(which, units)
        self.look()

    def do_push(self, which: int, _units: int) -> None:
        """A sender that nothing happens to."""
        for name in ("plan", "mark", "send", "settle", "follow"):
            self.step(name, which if name == "plan" else -1)

    def do_tell(self, which: int, _units: int) -> None:
        """Everything said arrives at once, in turn, and one channel's part of it is handled."""
        while self.hooks:
            self.do_hear(0, 0)
        self.do_drain(which, 9)

    def do_sweep(self, which: int, units: int) -> None:
        """A poll, and what comes after one."""
        for name in ("poll", "drain", "polled", "advance", "end doubts", "replan"):
            self.step(name, which, units)

    # --- what must hold

    def truth(self, place: Place) -> int:
        """What the channel can still sell, with what it sold and less what it put back that we have not booked."""
        units = self.channels[place[0]].shown[place[1]]
        for sale in self.sales:
            if sale.place == place:
                units += 0 if sale.is_booked else sale.units
                units -= sale.units if sale.is_back and not sale.is_cancel_booked else 0
        return units

    def look(self, *, is_beginning: bool = False) -> None:
        """After each step: exposure holds from below and from above, and nothing is sold that is not there."""
        rows = self.rows()
        self.read_ledger(rows)
        for place, row in rows.items():
            if is_beginning:
                self.slack[place] = row["exposed_units"] - self.truth(place)
                assert self.slack[place] == 0
            if place not in self.edits:
                assert row["exposed_units"] >= self.truth(place), self.describe(place, row)
            lost = sum(s.units for s in self.sales if s.place == place and s.is_cancel_booked and not s.is_back)
            assert row["exposed_units"] <= self.truth(place) + self.slack[place] + lost, self.describe(place, row)
        if not self.is_tainted:
            sold = sum(self.each[sale.place[1]] * sale.units for sale in self.sales if sale.restock is None)
            assert self.stock - sold - self.promised.total() >= 0, "oversold"
            unbooked_back = sum(
                self.each[sale.place[1]] * sale.units
                for sale in self.sales
                if sale.restock and not sale.is_cancel_booked
            )
            assert self.free() + unbooked_back + self.blur() >= 0, "more is exposed than there is"

    def blur(self) -> int:
        """What readings within the margin of clocks may have brought in twice."""
        return sum(self.each[code] * max(0, units) for (_, code), units in self.slack.items())

    def read_ledger(self, rows: Mapping[Place, Any]) -> None:
        """Follow how far exposure may be above the truth: by writes under way, edits, and sales that found nothing."""
        for channel in self.channels:
            for code in self.each:
                self.slack[channel.number, code] -= channel.landed[code] + channel.typed[code]
            channel.landed.clear()
            channel.typed.clear()
        for change in fetch(
            self.conn,
            "select * from exposure_changes where shop_id = %(shop)s and id > %(id)s order by id",
            shop=self.shop_id,
            id=self.ledger_id,
        ):
            self.ledger_id = change["id"]
            place = self.places[change["listing_id"]]
            if change["cause"] in ("sale", "restock"):
                self.slack[place] += change["delta_units"] - change["asked_units"]
            elif change["cause"] in ("write", "confirmed", "refused", "edit"):
                self.slack[place] += change["delta_units"]
            elif change["cause"] == "collapsed":
                self.slack[place] = self.near(place, rows[place]["published_at"])
            edit = self.edits.get(place)
            if edit is None:
                continue
            if (change["cause"] == "edit" and change["asked_units"] == edit.units and not edit.is_blurred) or (
                change["cause"] == "collapsed" and rows[place]["published_at"] > edit.at + 2 * CLOCK_MARGIN
            ):
                del self.edits[place]

    def near(self, place: Place, at: datetime) -> int:
        """Units sold and put back so near to a reading that they may, or may not, have been in it."""
        units = 0
        for said in self.said:
            if said.sale is not None and said.sale.place == place and abs(said.at - at) <= 2 * CLOCK_MARGIN:
                units += said.sale.units
        return units

    def describe(self, place: Place, row: Any) -> str:
        return (
            f"{place}: {row['exposed_units']} exposed, {self.truth(place)} in truth, slack {self.slack[place]},"
            f" {self.channels[place[0]].shown[place[1]]} shown, {row['published_units']} known,"
            f" {row['unseen_units']} unseen, {row['edited_units']} edited"
        )

    # --- the end

    def come_to_rest(self) -> None:
        """Nobody buys any more and faults are over: everything is heard and booked, until nothing is left to do."""
        for channel in self.channels:
            channel.faults.clear()
        for sale in self.sales:
            if sale.restock == "late" and not sale.is_back:
                self.do_put_back(0, 0)
        self.do_mend(0, 0)
        self.do_all_on(0, 0)
        self.do_lines(0, 0)
        self.planned, self.marked = [], []
        while self.answered:
            self.step("settle")
        for _ in range(12):
            self.now += timedelta(hours=2)
            self.round()
            self.do_replan(0, 0)
            if not self.is_busy():
                self.assert_at_rest()
                return
        raise AssertionError("it does not come to rest")

    def round(self) -> None:
        """What the schedules do in a while."""
        while self.hooks:
            self.do_hear(0, 0)
        for channel in self.channels:
            number = channel.number
            while channel.queued:
                self.do_apply(number, 0)
            self.do_poll(number, 0)
            self.do_drain(number, 9)
            self.do_polled(number, 0)
            # Before anybody reads again: doubts end by a reading that the watermark has passed.
            self.step("advance", number)
            self.step("end doubts", number)
            for code in self.each:
                self.say(number, make_facts(channel.level(code, self.now)))
        while self.hooks:
            self.do_hear(0, 0)
        for number in range(len(self.channels)):
            self.step("drain", number, 9)
            self.do_withdraw(number, 0)
            self.step("check", number)
        self.step("hand")
        for number in range(len(self.channels)):
            self.step("end doubts", number)
        self.step("replan")
        for number in range(len(self.channels)):
            self.step("give up", number)
            self.step("plan", number)
            while self.planned:
                self.step("mark")
                self.step("send")
                while self.answered:
                    self.step("settle")
            while self.settled:
                self.step("follow")

    def is_busy(self) -> bool:
        open_or_doubted = scalar(
            self.conn,
            """
            select exists (select from listing_writes where shop_id = %(shop)s and outcome is null)
                or exists (select from listings where shop_id = %(shop)s and (is_in_doubt or unseen_units <> 0))
            """,
            shop=self.shop_id,
        )
        lanes = lane_work.lanes_to_push(self.conn, self.now + timedelta(hours=2))
        return bool(open_or_doubted) or any(shop_id == self.shop_id for shop_id, _ in lanes)

    def assert_at_rest(self) -> None:
        level, rows = self.level(), self.rows()
        for place, row in rows.items():
            shown = self.channels[place[0]].shown[place[1]]
            assert row["published_units"] == row["exposed_units"] == shown, self.describe(place, row)
            assert row["unseen_units"] == 0
        if level["is_escrow"]:
            self.assert_no_unit_is_idle(int(level["available"]), rows)
        seal(self.conn, self.shop_id, self.now)
        found = invariants.check(self.conn, self.now, shop_id=self.shop_id, settled=True)
        assert {item.name: item.rows for item in found if item.rows} == {}

    def assert_no_unit_is_idle(self, available: int, rows: Mapping[Place, Any]) -> None:
        """Whoever can take more has it; class B, which is only raised from nothing, at least never runs dry."""
        free = available - self.exposed()
        assert free >= 0 or self.is_tainted
        for (number, code), row in rows.items():
            rule = ListingRule(cap_units=row["cap_units"], is_offered=row["is_offered"])
            most = offer(available // self.each[code], rule)
            if self.channels[number].guarantee_class == "A" or row["exposed_units"] == 0:
                more = most - row["exposed_units"]
                assert more <= 0 or free < self.each[code], f"{free} are idle: {self.describe((number, code), row)}"
