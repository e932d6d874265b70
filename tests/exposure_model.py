"""One listing on its channel, as a model check sees it: the truth there, what we know of it, and every event.

Our side moves by the functions that production uses (`core.inventory.exposure`), reached through a `Table`, so that a
test can weaken one row and see what that row is for. `tests/exposure_search.py` puts two channels on one stock.

Three things keep the number of states small and lose nothing. Every order is for one unit. Orders carry, in place of a
date, how they lie to the one reading a listing may yet collapse to: "E" before it (or there is none), "N" after it but
dated within the clock margin, "L" later than that; the watermark has passed a reading when no unbooked "E" or "N" is
left. And what changes nothing in any state is no event of its own: a notice that is late is a booking that has not
happened, a duplicate is a booking of what is booked, a killed sender of a write that was sent is a lost reply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from core.inventory import exposure
from core.inventory.exposure import Overtaken
from core.inventory.planner import Seat

READ_AT = datetime(2026, 1, 1, tzinfo=UTC)
POOL = "pool"
MOST_UNITS = 9
"""What the channel rules allow: more than there ever is, so that they never bind."""
RATES = {"A": 0.1, "B": 1.0}
"""Class B sells most, so that a planner that is wary of it still gives it something of three units."""
NOT_SEEN = ("unseen", "looked")


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of the table, as production has them; a test replaces one by a weaker one."""

    sold: Callable[..., int] = exposure.sold
    restocked: Callable[[int, int], int] = exposure.restocked
    recorded: Callable[[int | None, int], int] = exposure.recorded
    confirmed: Callable[[int, int | None, int], int] = exposure.confirmed
    refused: Callable[[int, int], int] = exposure.refused
    edited: Callable[[int, int], int] = exposure.edited
    collapsed: Callable[[int, int, int], int] = exposure.collapsed
    has_landed: Callable[..., bool] = exposure.has_landed
    may_collapse: Callable[..., bool] = exposure.may_collapse
    may_be_overtaken: Callable[..., bool] = exposure.may_be_overtaken
    seat: Callable[[Seat], Seat] = lambda seat: seat
    watermark_waits_for_parked: bool = True
    readings_end_with_a_write: bool = True
    restocks_outlive_a_reading: bool = True
    an_unknown_outcome_is_a_refusal: bool = False
    what_was_not_sent_explains: bool = False
    an_overtaken_write_is_forgotten: bool = False
    a_zero_is_believed_at_once: bool = False
    a_refused_write_ends_what_it_overtook: bool = False


class Budget(NamedTuple):
    """How often in one history."""

    cancels: int = 0
    edits: int = 0
    losses: int = 0
    parks: int = 0
    promises: int = 0
    shrinks: int = 0
    writes: int = 0


class Write(NamedTuple):
    """An open write: "recorded", "sent", then on the channel "done", "stale" (class A) or "failed" (class B).

    `is_lost`: its reply will not come. `seen`: what the channel showed when it refused, or since it was done.
    `restocked`: restocks booked since it was recorded. `is_from_nothing`: an absolute one recorded at a drained 0.
    """

    from_units: int | None
    to_units: int
    state: str = "recorded"
    is_lost: bool = False
    seen: int | None = None
    restocked: int = 0
    is_from_nothing: bool = True


class Late(NamedTuple):
    """A write that was overtaken: what we know of it, and whether it may still land.

    `is_in_order`: only until one that was sent after it lands.
    """

    to_units: int
    shown: int
    sold: int = 0
    restocked: int = 0
    is_flying: bool = True
    is_in_order: bool = True
    is_after_zero: bool = False

    @property
    def ours(self) -> Overtaken:
        return Overtaken(self.to_units, self.shown, self.sold, self.restocked, self.is_after_zero)


class Reading(NamedTuple):
    """A number read, which exposure may come down to; what was booked since. `over`: by how much it would be too much.

    `is_far`: an order was dated later than it by more than the margin, so all that follow are. `is_blurred`: one within
    the margin was booked.
    """

    units: int
    sold_later: int = 0
    restocked: int = 0
    over: int = 0
    is_far: bool = False
    is_blurred: bool = False


class Order(NamedTuple):
    """One unit. `sale`: "Z" dated before the baseline, "E", "N", "L" unbooked, "B" booked. `cancel`: "", "E", "L"."""

    sale: str
    cancel: str = ""
    is_parked: bool = False


class Channel(NamedTuple):
    """One listing on its channel. Truth: shown, orders, orphans. Ours: exposed, known, edited, reading, write, late.

    `zero`: one that was believed at once may land, until a later one lands: "flying", and "known" while we do not know
    that it cannot; "loose" if nobody answered for it, then it is an orphan. `orphans`: requests that may still land
    although their write is closed. Only for judging: `kept`, by how much
    exposure is too high for reasons the table allows; `edit`, "" or where a staff edit stands: "unseen", "looked"
    (read, not recognised), "seen"; `slipped`: units sold, or taken off by a write of ours, while it was not seen.
    """

    kind: str
    shown: int
    exposed: int
    known: int
    orders: tuple[Order, ...] = ()
    orphans: tuple[tuple[int | None, int], ...] = ()
    edited: int = 0
    reading: Reading | None = None
    write: Write | None = None
    late: tuple[Late, ...] = ()
    zero: Literal["", "flying", "known", "loose"] = ""
    kept: int = 0
    edit: str = ""
    slipped: int = 0

    @property
    def unbooked(self) -> int:
        """Units sold that are not booked, less units restocked that are not: of orders since the baseline."""
        return sum(o.sale in "ENL" for o in self.orders) - sum(o.cancel != "" for o in self.orders)

    @property
    def is_taking_over(self) -> bool:
        """Orders from before its baseline are still being imported."""
        return any(o.sale == "Z" for o in self.orders)


Move = tuple[str, Channel, int, Budget]
"""What happened, the channel after it, what it does to the units available by our books, and the budget left."""


@dataclass(frozen=True)
class Events:
    """Everything that can happen to one channel."""

    table: Table

    def moves(self, c: Channel, left: Budget) -> Iterator[Move]:
        """Every event but the recording of a write, which takes a planner."""
        for name, after in self._by_shoppers(c):
            yield name, after, 0, left
        for order in sorted(set(c.orders)):
            yield from self._of_order(c, order, _without(c.orders, order), left)
        if left.edits:
            spent = left._replace(edits=left.edits - 1)
            yield f"staff types {c.shown + 1}", c._replace(shown=c.shown + 1, edit="unseen"), 0, spent
        yield f"read {c.shown}", self.read(c), 0, left
        if self.can_collapse(c):
            yield "collapse", self.collapse(c), 0, left
        if c.write is not None:
            for name, after in self._of_write(c, c.write):
                yield name, after, 0, left
            for name, after, spent in self._of_losses(c, c.write, left):
                yield name, after, 0, spent

    def _by_shoppers(self, c: Channel) -> Iterator[tuple[str, Channel]]:
        """Sales, and requests long given up that land after all."""
        if c.shown:
            sold = c._replace(shown=c.shown - 1, slipped=c.slipped + (c.edit in NOT_SEEN))
            if c.reading is None:
                yield "sale", sold._replace(orders=(*c.orders, Order("E")))
            else:
                if not c.reading.is_far:
                    yield "sale close to the reading", sold._replace(orders=(*c.orders, Order("N")))
                far = c.reading._replace(is_far=True)
                yield "sale", sold._replace(orders=(*c.orders, Order("L")), reading=far)
        for orphan in c.orphans:
            start, to = orphan
            if start is None or start == c.shown:
                yield f"{orphan} lands late", _set(c, to)._replace(orphans=_without(c.orphans, orphan))
        if c.zero == "flying":
            yield "a 0 believed lands late", _set(c, 0)._replace(zero="known")
        for place, late in enumerate(c.late):
            if late.is_flying:
                yield f"overtaken {late.to_units} lands late", self.land_late(c, place)

    def _of_order(self, c: Channel, order: Order, rest: tuple[Order, ...], left: Budget) -> Iterator[Move]:
        if order.is_parked:
            yield "what was parked is mapped", c._replace(orders=(*rest, order._replace(is_parked=False))), 0, left
        elif order.sale != "B":
            yield f"book a sale ({order.sale})", self.book(c, order, rest), -1, left
            if left.parks and order.sale != "Z":
                parked = c._replace(orders=(*rest, order._replace(is_parked=True)))
                yield "an order is parked", parked, 0, left._replace(parks=left.parks - 1)
        elif order.cancel:
            yield "book a cancellation", self.book_restock(c, order, rest), 1, left
        if left.cancels and not order.cancel and order.sale != "Z":
            when = "E" if c.reading is None else "L"
            cancelled = c._replace(shown=c.shown + 1, orders=(*rest, order._replace(cancel=when)))
            yield "cancelled and restocked there", cancelled, 0, left._replace(cancels=left.cancels - 1)

    def _of_write(self, c: Channel, w: Write) -> Iterator[tuple[str, Channel]]:
        if w.state == "recorded":
            yield "send", c._replace(write=w._replace(state="sent"))
            yield "withdraw", self.refuse(c, w)
        elif w.state == "sent":
            yield self.land(c, w)
            if self.table.an_unknown_outcome_is_a_refusal and w.is_lost:
                yield "take it for refused", self.refuse(c, w)._replace(orphans=_flying(c))
        if w.is_lost and c.kind == "A":
            yield "repeat with the same key", c._replace(write=w._replace(is_lost=False))
        if not w.is_lost and w.state in ("done", "stale", "failed"):
            yield f"reply: {w.state}", self.answer(c, w)

    @staticmethod
    def _of_losses(c: Channel, w: Write, left: Budget) -> Iterator[tuple[str, Channel, Budget]]:
        if not left.losses or w.state == "recorded":
            return
        spent = left._replace(losses=left.losses - 1)
        if not w.is_lost:
            yield "the reply is lost", c._replace(write=w._replace(is_lost=True)), spent
        if c.kind == "B" and w.state == "sent":
            yield "processing fails", c._replace(write=w._replace(state="failed")), spent

    # --- orders

    def book(self, c: Channel, order: Order, rest: Sequence[Order]) -> Channel:
        is_old = order.sale == "Z"
        reading, known = c.reading, c.known
        if reading is not None and order.sale == "L":
            reading = reading._replace(sold_later=reading.sold_later + 1)
            known = max(0, known - 1)
        elif reading is not None and order.sale == "N":
            reading = reading._replace(over=reading.over + 1, is_blurred=True)
        return c._replace(
            orders=(*rest, order._replace(sale="B", is_parked=False)),
            late=tuple(late._replace(sold=late.sold + 1) for late in c.late),
            exposed=self.table.sold(c.exposed, 1, is_before_baseline=is_old),
            kept=c.kept + (not is_old and c.exposed < 1),
            reading=reading,
            known=known,
        )

    def book_restock(self, c: Channel, order: Order, rest: Sequence[Order]) -> Channel:
        reading = c.reading
        if reading is not None:
            reading = reading._replace(restocked=reading.restocked + 1, over=reading.over + (order.cancel == "E"))
        return c._replace(
            orders=tuple(rest),
            exposed=self.table.restocked(c.exposed, 1),
            known=c.known + (reading is None or order.cancel == "L"),
            reading=reading,
            late=tuple(late._replace(restocked=late.restocked + 1) for late in c.late),
            write=c.write and c.write._replace(restocked=c.write.restocked + 1),
        )

    def book_everything(self, c: Channel) -> tuple[Channel, int]:
        """All orders and cancellations, and what they do to the units available."""
        available = 0
        while c.orders:
            order, rest = c.orders[0], c.orders[1:]
            if order.sale != "B":
                c, available = self.book(c, order, rest), available - 1
            elif order.cancel:
                c, available = self.book_restock(c, order, rest), available + 1
            else:
                c = c._replace(orders=rest)
            c = c._replace(orders=tuple(sorted(c.orders)))
        return c, available

    # --- readings

    def read(self, c: Channel) -> Channel:
        c = self.learn(c, c.shown)._replace(orders=tuple(_before(o) for o in c.orders))
        w = c.write
        if w is None:
            return c._replace(reading=Reading(c.shown))
        if c.kind == "A":
            seen = c.shown if w.state in ("done", "stale") else w.seen
            return c._replace(write=w._replace(seen=seen), reading=None)
        if w.state == "recorded":
            return c._replace(reading=None)
        c = c._replace(reading=Reading(c.shown))
        if c.shown == w.to_units == 0 and (not c.late or self.table.a_zero_is_believed_at_once):
            # A zero may be a sale's, and the request land yet: it only lowers what it finds.
            exposed = self.table.confirmed(c.exposed, None, w.to_units)
            closed = c._replace(write=None, exposed=exposed, late=(), orphans=_flying(c._replace(write=None)))
            if w.is_lost or c.zero == "loose":
                return closed._replace(zero="loose", orphans=_flying(c))
            return closed._replace(zero="flying" if w.state == "sent" else "known")
        return c

    def learn(self, c: Channel, units: int) -> Channel:
        """A number seen: an edit if neither sales nor our own write explain it; what was not sent explains nothing."""
        w = c.write
        if w is not None and w.state == "recorded" and not self.table.what_was_not_sent_explains:
            w = None
        start, to = (w.from_units, w.to_units) if w else (None, None)
        if exposure.is_edit(units, c.known, start, to, [late.ours for late in c.late]):
            exposed = self.table.edited(c.exposed, units)
            # Unless it was taken for the effect of a raise, which was closed for it and may land yet.
            edit = "seen" if c.edit and not any(to for _, to in c.orphans) else c.edit
            return c._replace(exposed=exposed, edited=c.edited + units, known=units, edit=edit)
        # What a raise on its way will land on cannot be told from what it landed as, nor from one that was overtaken.
        raises = [to for start, to in _flying(c) if start is None] + [late.to_units for late in c.late]
        is_looked = c.edit == "unseen" and not any(raises)
        return c._replace(known=units, edit="looked" if is_looked else c.edit)

    def can_collapse(self, c: Channel) -> bool:
        return c.reading is not None and self.table.may_collapse(
            READ_AT, self.watermark(c), has_open_write=self.is_in_doubt(c, c.reading)
        )

    def watermark(self, c: Channel) -> datetime:
        """It has passed the reading when all orders up to then are booked."""
        is_late = any(
            (o.sale in "ZEN" or o.cancel == "E") and (self.table.watermark_waits_for_parked or not o.is_parked)
            for o in c.orders
        )
        return READ_AT if is_late else READ_AT + exposure.CLOCK_MARGIN

    def is_in_doubt(self, c: Channel, reading: Reading) -> bool:
        """Whether an open write, or one that was overtaken, may land after the reading."""
        if c.write is None or c.kind == "A":
            return c.write is not None or bool(c.late)
        return not self.has_landed(c, c.write, reading)

    def has_landed(self, c: Channel, w: Write, reading: Reading) -> bool:
        """What was not recorded at a drained 0 is proven only beside what it overtook: here nobody keeps the sums."""
        return (bool(c.late) or w.is_from_nothing) and self.table.has_landed(
            reading.units, w.restocked, is_edited=c.edited > 0, overtaken=[late.ours for late in c.late]
        )

    def may_be_overtaken(self, c: Channel) -> bool:
        """By what we know: a reply that got lost is no word of the channel's that it has the write."""
        w, reading = c.write, c.reading
        if w is None or w.from_units is not None or w.state == "recorded" or reading is None:
            return False
        return self.table.may_be_overtaken(
            is_accepted=not w.is_lost,
            is_read=self.watermark(c) > READ_AT,
            has_landed=self.has_landed(c, w, reading),
            is_edited=c.edited > 0,
            is_blurred=reading.is_blurred,
        )

    def collapse(self, c: Channel) -> Channel:
        reading = c.reading
        assert reading is not None
        restocked = reading.restocked if self.table.restocks_outlive_a_reading else 0
        is_unseen = c.edit == "unseen"
        w = c.write if self.is_in_doubt(c, reading) else None
        return c._replace(
            exposed=self.table.collapsed(reading.units, reading.sold_later, restocked),
            edited=0,
            reading=None,
            write=w,
            orphans=_flying(c) if w is None else c.orphans,
            late=() if w is None else c.late,
            zero=_after_proof(c) if w is None and c.write is not None else c.zero,
            kept=reading.over + max(0, reading.sold_later - reading.units - restocked),
            edit="unseen" if is_unseen else "",
            slipped=c.slipped if is_unseen else 0,
        )

    # --- writes

    def record(self, c: Channel, target: int) -> Channel:
        if c.write is not None:
            c = self.overtake(c, c.write)
        is_drained = not c.exposed and not c.known
        write = Write(c.known if c.kind == "A" else None, target, is_from_nothing=c.kind == "A" or is_drained)
        return c._replace(
            exposed=c.exposed + self.table.recorded(write.from_units, target),
            write=write,
            reading=None if self.table.readings_end_with_a_write else c.reading,
            edit="unseen" if c.edit == "looked" else c.edit,
        )

    def overtake(self, c: Channel, w: Write) -> Channel:
        # It may have landed, and have sold, since the reading.
        assert c.reading is not None
        sold, restocked = c.reading.sold_later, c.reading.restocked
        late = Late(w.to_units, c.known, sold, restocked, w.state == "sent", not w.is_lost, c.zero != "")
        kept = 0 if late.is_flying else w.to_units
        if self.table.an_overtaken_write_is_forgotten:
            return c._replace(write=None, orphans=_flying(c))
        return c._replace(write=None, late=(*c.late, late), kept=c.kept + kept)

    @staticmethod
    def land_late(c: Channel, place: int) -> Channel:
        """One that was overtaken lands after all, and none that was sent before it can any more."""
        late = _superseded(c.late[:place])
        landed = _set(c, c.late[place].to_units)
        return landed._replace(
            late=(*late, c.late[place]._replace(is_flying=False), *c.late[place + 1 :]),
            zero="known" if c.zero == "flying" else c.zero,
            kept=landed.kept + _flying_units(c.late[:place]) - _flying_units(late),
        )

    @staticmethod
    def land(c: Channel, w: Write) -> tuple[str, Channel]:
        """The request reaches the channel, at last; once, whatever the number of its repeats."""
        if w.from_units is not None and w.from_units != c.shown:
            return f"does not compare ({c.shown})", c._replace(write=w._replace(state="stale", seen=c.shown))
        slipped = c.slipped + (max(0, c.shown - w.to_units) if c.edit in NOT_SEEN else 0)
        landed = _set(c, w.to_units) if w.from_units is None else c._replace(shown=w.to_units)
        late = _superseded(c.late)
        kept = landed.kept + _flying_units(c.late) - _flying_units(late)
        zero = "known" if c.zero == "flying" else c.zero
        done = w._replace(state="done")
        return "lands", landed._replace(slipped=slipped, write=done, late=late, kept=kept, zero=zero)

    def answer(self, c: Channel, w: Write) -> Channel:
        if w.state == "failed":
            return self.refuse(c, w)
        if w.state == "stale":
            assert w.seen is not None
            return self.learn(self.refuse(c, w), w.seen)
        gives = 0 if w.from_units is None else max(0, w.from_units - w.to_units)
        return c._replace(
            exposed=self.table.confirmed(c.exposed, w.from_units, w.to_units),
            kept=c.kept + max(0, gives - c.exposed),
            known=w.to_units if w.seen is None else w.seen,
            write=None,
            late=(),
            orphans=_flying(c),
            zero=_after_proof(c),
            reading=None if self.table.readings_end_with_a_write else c.reading,
        )

    def refuse(self, c: Channel, w: Write) -> Channel:
        added = self.table.recorded(w.from_units, w.to_units)
        kept = c.kept + max(0, added - c.exposed)
        c = c._replace(exposed=self.table.refused(c.exposed, added), kept=kept, write=None)
        ends_all = self.table.a_refused_write_ends_what_it_overtook
        return c._replace(late=(), orphans=_flying(c)) if ends_all else c

    # --- at last

    def quieted(self, c: Channel) -> tuple[Channel, int]:
        """Everything on its way arrives, everything is booked and read; and what that does to the units available."""
        c, available = self.book_everything(c)
        for start, to in c.orphans:
            if start is None or start == c.shown:
                c = c._replace(shown=to)
        c = c._replace(orphans=(), zero="", shown=0 if c.zero == "flying" else c.shown)
        for place, late in enumerate(c.late):
            if late.is_flying:
                c = self.land_late(c, place)
        if c.write is not None and c.write.state == "recorded":
            c = self.refuse(c, c.write)
        if c.write is not None and c.write.state == "sent":
            c = self.land(c, c.write)[1]
        if c.write is not None:
            c = self.answer(c, c.write)
        # What nothing read can prove a person says.
        return self.collapse(self.read(c._replace(late=())))._replace(kept=0, edit="", slipped=0), available


def seat_of(number: int, c: Channel) -> Seat:
    """The channel as the planner sees it."""
    w = c.write
    gives = 0 if w is None else max(0, (c.known if w.from_units is None else w.from_units) - w.to_units)
    return Seat(
        listing_id=number,
        guarantee_class=c.kind,
        takes=((POOL, 1),),
        shown_units=c.known,
        exposed_units=c.exposed,
        most_units=MOST_UNITS,
        rate=RATES[c.kind],
        giving_back_units=gives,
        edited_units=min(c.edited, c.exposed),
        is_writable=w is None,
    )


def shortfall_of(c: Channel) -> str:
    """How the exposure of a channel is too low, "" if it is not.

    It covers what the channel shows, what it sold and we have not booked, and raises that may yet land: all but an edit
    that is not seen yet, and what slipped away unseen.
    """
    flying = sum(_may_add(c, start, to) for start, to in _flying(c))
    if c.write is not None and c.write.state == "recorded":
        flying += _may_add(c, c.write.from_units, c.write.to_units)
    potential = c.shown + c.unbooked + flying
    if c.edit in NOT_SEEN or c.exposed + c.slipped >= potential:
        return ""
    return f"{c.kind} may still sell {potential} that are not booked, its exposure is {c.exposed}"


def excess_of(c: Channel) -> str:
    """How the exposure of a channel is higher than anything explains, "" if it is not.

    What explains it: what the channel shows, sales not booked, an edit, an open write (a raise until it has landed, a
    lowering or an absolute set until it is settled), requests that may land late; and until the next collapse what the
    floor at 0 kept, what an absolute set overwrote, and sales and restocks too close to a reading to tell its side.
    """
    allowed = c.shown + sum(o.sale in "ENL" for o in c.orders) + c.edited + c.kept
    allowed += sum(max(0, to - (start or 0)) for start, to in c.orphans) + _flying_units(c.late)
    if c.write is not None:
        change = c.write.to_units - (c.write.from_units or 0)
        allowed += max(0, -change) if c.write.state == "done" else max(0, change)
    return f"{c.kind} has an exposure of {c.exposed}, {allowed} are explained" if c.exposed > allowed else ""


def tidied(c: Channel, *, may_cancel: bool) -> Channel:
    """The same for all that are alike: orders are a set, a booked order matters while it may be cancelled.

    Of requests that may land after they were closed, all of them drains, the search follows one: the bound it has.
    """
    orders = [o for o in c.orders if may_cancel or o.sale != "B" or o.cancel]
    if c.reading is None:
        orders = [_before(o) for o in orders]
    late = tuple(each._replace(sold=min(each.sold, max(each.to_units, each.shown))) for each in c.late)
    return c._replace(orders=tuple(sorted(orders)), orphans=tuple(sorted(set(c.orphans), key=repr)), late=late)


def _flying(c: Channel) -> tuple[tuple[int | None, int], ...]:
    """Requests that are on their way to the channel."""
    w = c.write
    flying = (*c.orphans, *((None, late.to_units) for late in c.late if late.is_flying))
    return (*flying, (w.from_units, w.to_units)) if w is not None and w.state == "sent" else flying


def _superseded(late: Sequence[Late]) -> tuple[Late, ...]:
    """After one that was sent later has landed."""
    return tuple(each._replace(is_flying=each.is_flying and not each.is_in_order) for each in late)


def _after_proof(c: Channel) -> Literal["", "flying", "known", "loose"]:
    """After a write is known to have landed, no 0 from before it can, unless nobody answered for that."""
    return "loose" if c.zero == "loose" else ""


def _flying_units(late: Sequence[Late]) -> int:
    return sum(each.to_units for each in late if each.is_flying)


def _may_add(c: Channel, from_units: int | None, to_units: int) -> int:
    """What a request may still add: absolute all of it, once what is shown is sold; else if it can still compare."""
    if from_units is None:
        return to_units
    return max(0, to_units - from_units) if from_units <= c.shown else 0


def _set(c: Channel, units: int) -> Channel:
    """An absolute number lands; what it overwrites is gone without a word."""
    reading = c.reading and c.reading._replace(over=c.reading.over + c.shown)
    return c._replace(shown=units, kept=c.kept + c.shown, reading=reading)


def _before(order: Order) -> Order:
    """As it lies to a reading taken now."""
    return order._replace(sale="E" if order.sale in "NL" else order.sale, cancel=order.cancel and "E")


def _without(items: tuple, item: object) -> tuple:
    rest = list(items)
    rest.remove(item)
    return tuple(rest)
