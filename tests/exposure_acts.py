"""What channels, people and we do to stock that channels share: one thing at a time, on real Postgres.

What we know of the channels (`tests.exposure_channels`) comes through the inbox, in any order, or is found by a poll.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Connection, Engine

from core.catalog import operations as catalog
from core.connections import operations as connections
from core.connections import switches
from core.db import fetch, scalar
from core.errors import BadInput
from core.inventory import checking, escrow, lane_work, lines, overtaking, promises, publishing
from core.inventory.checking import OpenWrite
from core.inventory.exposing import KEY_EXPIRED
from core.inventory.planner import MODES, Mode
from core.inventory.promises import Holder
from core.messaging import inbox
from core.messaging.inbox import Batch, Incoming
from core.orders.intake import Intake
from core.policies import operations as policies
from core.policies.queries import Change
from core.policies.rules import Scope, Terms
from core.ports import ChannelOrder, Facts, QuantityResult, QuantityWrite
from tests.exposure_channels import (
    CHECK_AFTER,
    FAULTS,
    KEY_LIVES,
    LATE_BY,
    Channel,
    Edit,
    Place,
    Said,
    Sale,
    Savepoints,
    code_of,
    stamp,
)
from tests.factories import (
    ACTOR,
    NOW,
    adjust_stock,
    give_another_turn,
    make_facts,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
)
from tests.stock_desk import make_bundles, reserve, second_channel


class Acts:
    """What each of them does, one step at a time; `MUG` has stock, `KIT` is two mugs where there are bundles."""

    def __init__(
        self, conn: Connection, classes: str, *, units: int = 6, mode: Mode = "escrow", has_bundle: bool = False
    ) -> None:
        self.conn, self.now, self.mode = conn, NOW, mode
        made_of = {"KIT": {"MUG": 2}} if has_bundle else {}
        self.each = {"MUG": 1} | ({"KIT": 2} if has_bundle else {})
        first = make_bundles(conn, {"MUG": units}, made_of, guarantee_class=classes[0])
        worlds = [first, *(second_channel(conn, first, self.each, guarantee_class=each) for each in classes[1:])]
        self.channels = [
            Channel(number, world, classes[number], dict.fromkeys(self.each, 0)) for number, world in enumerate(worlds)
        ]
        self.channels[0].shown["MUG"] = units
        self.shop_id, self.world = first.shop_id, first
        self.pool = (first.skus["MUG"], first.location_id)
        self.places = {w.listings[code]: (n, code) for n, w in enumerate(worlds) for code in self.each}
        self.listing = {place: listing_id for listing_id, place in self.places.items()}
        self.stock, self.promised = units, Counter[str]()
        self.sales: list[Sale] = []
        self.orders: dict[str, ChannelOrder] = {}
        self.said: list[Said] = []
        self.hooks: list[int] = []
        self.poisoned: set[int] = set()
        self.edits: dict[Place, Edit] = {}
        self.edited: set[Place] = set()
        self.planned: list[tuple[int, list[QuantityWrite]]] = []
        self.marked: list[tuple[int, datetime, list[QuantityWrite]]] = []
        self.answered: list[tuple[int, list[QuantityResult]]] = []
        self.settled: list[list[int]] = []
        self.is_tainted = mode != "escrow"
        self.say_mode(mode)
        self.do_lines(0, 0)
        for number in range(len(self.channels)):
            self.do_poll(number, 0)
            self.do_polled(number, 0)

    def channel(self, which: int) -> Channel:
        return self.channels[which % len(self.channels)]

    def place(self, which: int) -> Place:
        places = sorted(self.listing)
        return places[which % len(places)]

    # --- the channels, of their own accord

    def do_sell(self, which: int, units: int) -> None:
        number, code = self.place(which)
        channel = self.channels[number]
        units = min(units, channel.shown[code])
        if units <= 0:
            return
        channel.shown[code] -= units
        placed_at = stamp(self.now, channel.orders_off)
        order = make_order(
            str(len(self.sales)),
            [make_line("1", code, units)],
            placed_at=placed_at,
            version_at=self.version_of(channel),
        )
        self.sell(Sale(order, (number, code), units))

    def do_raise(self, which: int, units: int) -> None:
        """An order gains a line by an edit."""
        left = [sale for sale in self.sales if sale.restock is None]
        if not left:
            return
        sale = left[which % len(left)]
        number, code = sale.place
        channel = self.channels[number]
        units = min(units, channel.shown[code])
        if units <= 0:
            return
        channel.shown[code] -= units
        order = self.orders[sale.order.ref]
        line = make_line(str(len(order.lines) + 1), code, units)
        order = replace(order, lines=(*order.lines, line), version_at=self.version_of(channel))
        self.sell(Sale(order, sale.place, units, line.ref))

    def sell(self, sale: Sale) -> None:
        self.sales.append(sale)
        self.orders[sale.order.ref] = sale.order
        self.say(sale.place[0], make_facts(sale.order), sale)
        if edit := self.edits.get(sale.place):
            edit.is_blurred = True

    def version_of(self, channel: Channel) -> datetime:
        """When an order is changed now, by the channel's clock."""
        return self.now + timedelta(seconds=channel.orders_off)

    def do_cancel(self, which: int, units: int) -> None:
        """A line is refunded; `units` 2, 3: what is said to be back comes later, or never; 4: an edit takes it off."""
        left = [sale for sale in self.sales if sale.restock is None]
        if not left:
            return
        sale = left[which % len(left)]
        number, code = sale.place
        sale.restock = {2: "late", 3: "lost"}.get(units, "done")  # type: ignore[assignment]
        at = stamp(self.now, self.channels[number].orders_off)
        order = replace(self.orders[sale.order.ref], version_at=self.version_of(self.channels[number]))
        if units == 4:
            lines = (make_line(line.ref, code, 0) if line.ref == sale.line_ref else line for line in order.lines)
            order = replace(order, lines=tuple(lines))
        else:
            back = make_refund_line(sale.line_ref, sale.units, "cancel")
            refund = make_refund(order.ref, [back], f"r{sale.line_ref}", at=at)
            order = replace(order, refunds=(*order.refunds, refund))
        self.orders[order.ref] = order
        self.say(number, make_facts(order), sale, is_cancel=True)
        if sale.restock == "done":
            sale.is_back = True
            self.channels[number].shown[code] += sale.units

    def do_put_back(self, which: int, _units: int) -> None:
        """What was cancelled long ago is back at last: nobody can tell it from a number that somebody typed in."""
        left = [sale for sale in self.sales if sale.restock == "late" and not sale.is_back]
        if left:
            sale = left[which % len(left)]
            sale.is_back = True
            number, code = sale.place
            self.channels[number].shown[code] += sale.units
            self.edits[sale.place] = Edit(self.channels[number].shown[code], self.now, is_blurred=True)
            self.is_tainted = True

    def do_edit(self, which: int, units: int) -> None:
        number, code = self.place(which)
        channel = self.channels[number]
        # A number typed over a submission under way could be what became of it: nobody can tell.
        row = self.rows()[number, code]
        if channel.guarantee_class == "B" and (row["open_id"] is not None or row["is_overtaken"]):
            return
        typed = units if which % 2 else channel.shown[code] + units
        channel.typed[code] += typed - channel.shown[code]
        self.edited.add((number, code))
        if typed > channel.shown[code]:
            self.edits[number, code] = Edit(typed, self.now, is_blurred=(number, code) in self.edits)
            self.is_tainted = True
        channel.shown[code] = typed

    def do_look(self, which: int, _units: int) -> None:
        number, code = self.place(which)
        self.say(number, make_facts(self.channels[number].level(code, self.now)))

    def do_apply(self, which: int, units: int) -> None:
        channel = self.channel(which)
        if channel.queued:
            write = channel.queued.pop(units % len(channel.queued))
            channel.land(write)
            place = channel.number, code_of(write)
            # A number typed in may be taken for the effect of this write, from before it landed.
            if place in self.edited:
                self.edits[place] = Edit(write.to_units, self.now, is_blurred=True)
            self.say(channel.number, make_facts(channel.level(code_of(write), self.now)))

    def do_fault(self, which: int, units: int) -> None:
        self.channel(which).faults.append(FAULTS[(which + units) % len(FAULTS)])

    def say(self, number: int, facts: Facts, sale: Sale | None = None, *, is_cancel: bool = False) -> None:
        self.said.append(Said(number, facts, self.now, sale, is_cancel))
        self.hooks.append(len(self.said) - 1)

    # --- what arrives

    def do_hear(self, which: int, _units: int) -> None:
        if self.hooks:
            self.record(self.hooks.pop(which % len(self.hooks)))

    def do_hear_again(self, which: int, _units: int) -> None:
        if self.said:
            self.record(which % len(self.said))

    def do_lose(self, which: int, _units: int) -> None:
        if self.hooks:
            self.hooks.pop(which % len(self.hooks))

    def do_poison(self, which: int, _units: int) -> None:
        """Nobody can read the newest message of a channel, for a while."""
        waiting = [number for number in self.hooks if self.said[number].sale is not None]
        if waiting:
            self.poisoned.add(waiting[which % len(waiting)])

    def do_mend(self, _which: int, _units: int) -> None:
        self.poisoned.clear()
        for channel in self.channels:
            give_another_turn(self.conn, channel.world.connection.id)

    def record(self, number: int) -> None:
        said = self.said[number]
        said.is_recorded = True
        world = self.channels[said.channel].world
        delivery = scalar(self.conn, "select count(*) from inbox_messages where shop_id = %(s)s", s=self.shop_id)
        message = Incoming(f"{number}:{delivery}", "facts", str(number).encode(), None)
        inbox.record(self.conn, self.shop_id, world.connection.id, [message], "webhook", self.now)

    def do_drain(self, which: int, units: int) -> None:
        channel = self.channel(which)
        engine = cast(Engine, Savepoints(self.conn))
        handler = Intake(channel.world.connection, self.parse)
        # One to three at a time, or everything.
        size = units if units < 4 else 100
        connection_id = channel.world.connection.id
        inbox.drain_batch(engine, self.shop_id, connection_id, 0, Batch(size), handler, self.now)
        for row in fetch(
            self.conn,
            "select delivery_id from inbox_messages where connection_id = %(id)s and state = 'handled'",
            id=connection_id,
        ):
            said = self.said[int(row["delivery_id"].partition(":")[0])]
            if said.sale is None:
                continue
            # A version of an order says all that became of it until then.
            for each in self.said:
                if each.sale and each.at <= said.at and each.sale.order.ref == said.sale.order.ref:
                    each.sale.is_booked = True
                    each.sale.is_cancel_booked |= each.is_cancel

    def parse(self, _topic: str, body: bytes, _at: datetime | None) -> Facts:
        if int(body) in self.poisoned:
            raise BadInput("nobody can read this")
        return self.said[int(body)].facts

    def do_poll(self, which: int, units: int) -> None:
        """What was ordered long enough ago is listed for certain, what is newer perhaps."""
        channel = self.channel(which)
        channel.poll_began_at = self.now
        for number, said in enumerate(self.said):
            is_due = said.at <= self.now - LATE_BY or units % 2
            if said.channel == channel.number and said.sale is not None and not said.is_recorded and is_due:
                self.record(number)

    def do_polled(self, which: int, _units: int) -> None:
        channel = self.channel(which)
        if channel.poll_began_at is not None:
            connection_id = channel.world.connection.id
            connections.note_poll_complete(
                self.conn, self.shop_id, connection_id, channel.poll_began_at, channel.poll_began_at - LATE_BY
            )
            channel.poll_began_at = None

    # --- we

    def do_plan(self, which: int, _units: int) -> None:
        channel = self.channel(which)
        for call in publishing.plan(self.conn, channel.lane, 10, self.now):
            self.planned.append((channel.number, call))

    def do_mark(self, which: int, _units: int) -> None:
        if self.planned:
            number, call = self.planned.pop(which % len(self.planned))
            ids = publishing.mark_sent(self.conn, self.shop_id, [write.write_id for write in call], self.now)
            assert not ids or not self.held(self.channels[number]), "it was marked as sent while nothing may be written"
            self.marked.append((number, self.now, [write for write in call if write.write_id in ids]))

    def do_send(self, which: int, _units: int) -> None:
        if not self.marked:
            return
        number, at, call = self.marked.pop(which % len(self.marked))
        channel = self.channels[number]
        if not call or at + KEY_LIVES <= self.now:
            return
        if why := self.held(channel):
            stopped = publishing.WRITES_STOPPED
            self.answered.append((number, [QuantityResult(w.write_id, "unsent", stopped, why) for w in call]))
            return
        landed = channel.landed.total()
        self.answered.append((number, channel.set_quantities(call, self.now)))
        if channel.landed.total() != landed:
            self.echo(channel, call)

    def echo(self, channel: Channel, call: Sequence[QuantityWrite]) -> None:
        """The channel tells us what we wrote, as of everything else."""
        for write in call:
            self.say(channel.number, make_facts(channel.level(code_of(write), self.now)))

    def do_settle(self, which: int, _units: int) -> None:
        if self.answered:
            number, results = self.answered.pop(which % len(self.answered))
            self.settle(results)
            del number

    def settle(self, results: Sequence[QuantityResult]) -> None:
        publishing.settle(self.conn, self.shop_id, results, CHECK_AFTER, self.now)
        self.settled.append([result.write_id for result in results])

    def do_follow(self, which: int, _units: int) -> None:
        if self.settled:
            ids = self.settled.pop(which % len(self.settled))
            escrow.follow_up(self.conn, self.shop_id, ids, self.now)

    def do_die(self, which: int, _units: int) -> None:
        """A process is killed: what it held in its hands is gone."""
        for hands in (self.planned, self.marked, self.answered, self.settled):
            if hands:
                cast(list[Any], hands).pop(which % len(hands))
        self.channel(which).poll_began_at = None

    def do_withdraw(self, which: int, _units: int) -> None:
        publishing.withdraw_unsent(self.conn, self.shop_id, self.channel(which).world.connection.id, self.now)

    def do_wait(self, which: int, _units: int) -> None:
        self.now += timedelta(seconds=30 * which)

    def do_check(self, which: int, _units: int) -> None:
        channel = self.channel(which)
        if channel.guarantee_class == "A" and self.held(channel):
            return
        due = checking.due_checks(self.conn, channel.lane, 10, self.now)
        checking.postpone_checks(self.conn, self.shop_id, due, CHECK_AFTER, timedelta(minutes=15), self.now)
        self.settle(self.look_at(channel, due))

    def look_at(self, channel: Channel, due: Sequence[OpenWrite]) -> list[QuantityResult]:
        """Class A repeats the call with its key while that lives; class B reads back."""
        if channel.guarantee_class == "B":
            levels = [channel.level(code, self.now) for code in self.each]
            catalog.observe_levels(self.conn, self.shop_id, channel.world.connection.id, levels, self.now)
            return checking.results_of_reading_back(due, levels)
        calls: dict[str, list[OpenWrite]] = {}
        for item in due:
            calls.setdefault(item.write.idempotency_key, []).append(item)
        whole = checking.calls_of(self.conn, channel.lane, due)
        results: list[QuantityResult] = []
        for items in calls.values():
            if items[0].sent_at + KEY_LIVES > self.now:
                results += channel.set_quantities(whole[items[0].write.idempotency_key], self.now)
            else:
                results += [self.read_stale(channel, item) for item in items]
        return results

    def read_stale(self, channel: Channel, item: OpenWrite) -> QuantityResult:
        seen = channel.level(code_of(item.write), self.now)
        return QuantityResult(item.write.write_id, "stale", KEY_EXPIRED, None, seen.units, seen.observed_at)

    def do_hand(self, which: int, _units: int) -> None:
        """A person looks at the channel and says what became of a write that is in doubt and no longer under way."""
        under_way = {write.write_id for channel in self.channels for write in channel.queued}
        under_way |= {write.write_id for _, _, call in self.marked for write in call}
        rows = fetch(
            self.conn,
            """
            select id, listing_id from listing_writes
            where shop_id = %(shop)s and outcome is null and sent_at is not null order by id
            """,
            shop=self.shop_id,
        )
        left = [row for row in rows if row["id"] not in under_way]
        if left:
            row = left[which % len(left)]
            number, code = self.places[row["listing_id"]]
            shown = self.channels[number].shown[code]
            publishing.settle_by_hand(self.conn, self.shop_id, row["id"], shown, ACTOR, self.now)
            self.settled.append([row["id"]])

    def do_advance(self, which: int, _units: int) -> None:
        connection_id = self.channel(which).world.connection.id
        connections.advance_watermark(self.conn, self.shop_id, connection_id)
        self.settle(checking.landed(self.conn, self.shop_id, connection_id))
        overtaking.own_late_landings(self.conn, self.shop_id, connection_id)

    def do_end_doubts(self, which: int, _units: int) -> None:
        checking.end_doubts(self.conn, self.shop_id, self.channel(which).world.connection.id, self.now)

    def do_replan(self, _which: int, _units: int) -> None:
        if pools := escrow.pools_in_escrow(self.conn, self.shop_id, (0, 0), 200):
            escrow.replan(self.conn, self.shop_id, pools, self.now)

    def do_give_up(self, which: int, _units: int) -> None:
        lane_work.give_up_unseen(self.conn, self.shop_id, self.channel(which).world.connection.id, self.now)

    # --- switches

    def held(self, channel: Channel) -> str | None:
        """Why nothing may be written to a channel now."""
        return switches.standing(self.conn, self.shop_id, channel.world.connection.id).held()

    def do_stop(self, which: int, units: int) -> None:
        """The writes of one channel, or of the whole shop, are stopped."""
        one = None if units == 1 else self.channel(which).world.connection.id
        switches.stop_writes(self.conn, self.shop_id, one, ACTOR, self.now)

    def do_resume_writes(self, which: int, units: int) -> None:
        one = None if units == 1 else self.channel(which).world.connection.id
        switches.resume_writes(self.conn, self.shop_id, one, ACTOR, self.now)

    def do_switch(self, which: int, units: int) -> None:
        """Into shadow mode and back, paused and resumed."""
        turn = (switches.to_shadow, switches.to_live, switches.pause, switches.resume)[units - 1]
        turn(self.conn, self.shop_id, self.channel(which).world.connection.id, ACTOR, self.now)

    def do_all_on(self, _which: int, _units: int) -> None:
        """Whatever was switched is switched back."""
        for connection_id in (None, *(channel.world.connection.id for channel in self.channels)):
            switches.resume_writes(self.conn, self.shop_id, connection_id, ACTOR, self.now)
        for channel in self.channels:
            for turn in (switches.to_live, switches.resume):
                turn(self.conn, self.shop_id, channel.world.connection.id, ACTOR, self.now)

    # --- the desk

    def do_receive(self, _which: int, units: int) -> None:
        adjust_stock(self.conn, self.world, "MUG", units)
        self.stock += units

    def do_miss(self, _which: int, units: int) -> None:
        """A count finds less than there was: nobody can take back what channels may have sold meanwhile."""
        adjust_stock(self.conn, self.world, "MUG", -units)
        self.stock -= units
        self.is_tainted = True

    def do_promise(self, which: int, units: int) -> None:
        ref = f"checkout {len(self.promised)}"
        code = sorted(self.each)[which % len(self.each)]
        free = self.free()
        until = self.now + timedelta(seconds=40 * which) if which else None
        answer = reserve(self.conn, self.world, ref, {code: units}, self.now, expires_at=until)
        self.promised[ref] = units * self.each[code] if answer.is_whole else 0
        if answer.is_whole and self.is_escrow():
            assert self.promised[ref] <= free

    def do_release(self, which: int, _units: int) -> None:
        held = sorted(ref for ref, units in self.promised.items() if units)
        if held:
            ref = held[which % len(held)]
            promises.release(self.conn, self.shop_id, [Holder("checkout", ref)], self.now)
            self.promised[ref] = 0

    def do_expire(self, _which: int, _units: int) -> None:
        promises.expire(self.conn, self.shop_id, self.now)
        rows = fetch(
            self.conn,
            "select holder_ref from reservations where shop_id = %(s)s and holder_kind = 'checkout' and is_expired",
            s=self.shop_id,
        )
        for row in rows:
            self.promised[row["holder_ref"]] = 0

    def do_cap(self, which: int, units: int) -> None:
        self.say_rule(self.place(which), Terms(cap_units=units))

    def do_offer(self, which: int, units: int) -> None:
        self.say_rule(self.place(which), Terms(is_offered=False) if units == 1 else Terms())

    def do_escrow(self, _which: int, _units: int) -> None:
        self.say_mode("escrow")

    def say_rule(self, place: Place, terms: Terms) -> None:
        world = self.channels[place[0]].world
        self.write_rule(Change(Scope(world.connection.id, None, world.skus[place[1]]), terms))

    def say_mode(self, mode: Mode) -> None:
        self.mode = max(self.mode, mode, key=MODES.index)
        self.write_rule(Change(Scope(), Terms(mode=self.mode, switch_units=3 if mode == "adaptive" else None)))

    def write_rule(self, change: Change) -> None:
        policies._write(self.conn, self.shop_id, [change], ACTOR, self.now, None)
        policies.apply_to_skus(self.conn, self.shop_id, self.world.skus.values())

    def do_lines(self, _which: int, _units: int) -> None:
        """What follows a change of rules, or a measurement."""
        lines.draw_lines(self.conn, self.shop_id)
        self.do_replan(0, 0)

    # --- what there is

    def rows(self) -> Mapping[Place, Any]:
        rows = fetch(
            self.conn,
            """
            select l.*, w.id as open_id, exists (select from overtaken_writes(l.shop_id, l.id)) as is_overtaken
            from listings l
            left join listing_writes w on w.shop_id = l.shop_id and w.listing_id = l.id and w.outcome is null
            where l.shop_id = %(shop)s order by l.id
            """,
            shop=self.shop_id,
        )
        assert len(rows) == len(self.places), "two writes are open"
        return {self.places[row["id"]]: row for row in rows}

    def level(self) -> Any:
        (row,) = fetch(
            self.conn,
            "select available, is_escrow from stock_levels where sku_id = %(sku)s and location_id = %(place)s",
            sku=self.pool[0],
            place=self.pool[1],
        )
        return row

    def is_escrow(self) -> bool:
        return bool(self.level()["is_escrow"])

    def exposed(self) -> int:
        return sum(self.each[code] * row["exposed_units"] for (_, code), row in self.rows().items())

    def free(self) -> int:
        return int(self.level()["available"]) - self.exposed()
