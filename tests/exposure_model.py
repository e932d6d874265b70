"""A small world with stock, two channels and our own side, for a breadth-first search over everything that can happen.

The truth (what the channels show, what they sold, what is on its way to them) and what we know of it are both in a
`State`. Our side moves by the functions that production uses (`core.inventory.exposure`, `plan_escrow`), reached through
a `Table`, so that a test can weaken one row and see the search find what that row is for.

Three things keep the number of states small and lose nothing. Every order is for one unit. Orders carry, in place of a
date, how they lie to the one reading a listing may yet collapse to: "E" before it (or there is none), "N" after it but
dated within the clock margin, "L" later than that; the watermark has passed a reading when no unbooked "E" or "N" is
left. And what changes nothing in any state is no event of its own: a notice that is late is a booking that has not
happened, a duplicate is a booking of what is booked, a killed sender of a write that was sent is a lost reply.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from core.inventory import exposure
from core.inventory.planner import Group, Seat, Target, plan_escrow

READ_AT = datetime(2026, 1, 1, tzinfo=UTC)
POOL = "pool"
MOST_UNITS = 9
"""What the channel rules allow: more than there ever is, so that they never bind."""
STEPS_MAX = 60
"""Within so many acts a quiet world has to come to rest."""


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of the table, as production has them; a test replaces one by a weaker one."""

    sold: Callable[..., int] = exposure.sold
    restocked: Callable[[int, int], int] = exposure.restocked
    recorded: Callable[[int | None, int], int] = exposure.recorded
    confirmed: Callable[[int, int | None, int], int] = exposure.confirmed
    refused: Callable[[int, int], int] = exposure.refused
    edited: Callable[[int, int], int] = exposure.edited
    collapsed: Callable[[int, int], int] = exposure.collapsed
    may_collapse: Callable[..., bool] = exposure.may_collapse
    seat: Callable[[Seat], Seat] = lambda seat: seat
    watermark_waits_for_parked: bool = True
    readings_end_with_a_write: bool = True
    restocks_outlive_a_reading: bool = True
    a_number_read_back_confirms: bool = False
    an_unknown_outcome_is_a_refusal: bool = False


class Budget(NamedTuple):
    """How often in one history."""

    cancels: int = 0
    edits: int = 0
    losses: int = 0
    parks: int = 0
    promises: int = 0
    shrinks: int = 0


class Write(NamedTuple):
    """An open write: "recorded", "sent", then on the channel "done", "stale" (class A) or "failed" (class B).

    `is_lost`: its reply will not come. `seen`: what the channel showed when it refused, or since it was done.
    `restocked`: restocks booked since it was recorded.
    """

    from_units: int | None
    to_units: int
    state: str = "recorded"
    is_lost: bool = False
    seen: int | None = None
    restocked: int = 0


class Reading(NamedTuple):
    """A number read, which exposure may come down to; what was booked since. `over`: by how much it would be too much.

    `is_far`: an order was dated later than it by more than the margin, so all that follow are.
    """

    units: int
    sold_later: int = 0
    restocked: int = 0
    over: int = 0
    is_far: bool = False


class Order(NamedTuple):
    """One unit. `sale`: "Z" dated before the baseline, "E", "N", "L" unbooked, "B" booked. `cancel`: "", "E", "L"."""

    sale: str
    cancel: str = ""
    is_parked: bool = False


class Channel(NamedTuple):
    """One listing on its channel. Truth: shown, orders, orphans. Ours: exposed, known, edited, reading, write.

    `orphans`: requests that may still land although their write is closed. Only for judging: `kept`, by how much
    exposure is too high for reasons the table allows; `edit`, "" or where a staff edit stands: "unseen", "looked" (read,
    not recognised), "seen"; `slipped`: units sold while it was not seen.
    """

    shown: int
    exposed: int
    known: int
    orders: tuple[Order, ...] = ()
    orphans: tuple[tuple[int | None, int], ...] = ()
    edited: int = 0
    reading: Reading | None = None
    write: Write | None = None
    kept: int = 0
    edit: str = ""
    slipped: int = 0


class State(NamedTuple):
    """`available`: what our books say. `lost`: units that went missing."""

    channels: tuple[Channel, ...]
    available: int
    lost: int
    left: Budget


Move = tuple[str, State]


class Found(AssertionError):
    """A property does not hold in a state; the message says which and how."""


def unbooked(channel: Channel, *, with_old: bool = False) -> int:
    return sum(o.sale in "ENL" or (with_old and o.sale == "Z") for o in channel.orders)


def unbooked_restocks(channel: Channel) -> int:
    return sum(o.cancel != "" for o in channel.orders)


@dataclass
class World:
    """Everything that can happen to a pair of channels, and what has to hold."""

    classes: str
    budget: Budget
    table: Table = field(default_factory=Table)
    plans: dict[object, dict[int, Target]] = field(default_factory=dict)
    at_rest: set[State] = field(default_factory=set)

    def start(self, shown: tuple[int, ...], stock: int, sold_before: int = 0) -> State:
        """`sold_before`: units of the first channel sold before its baseline was read, and not booked."""
        channels = [Channel(shown=units, exposed=units, known=units) for units in shown]
        channels[0] = channels[0]._replace(orders=(Order("Z"),) * sold_before)
        return self.canonical(State(tuple(channels), stock, 0, self.budget))

    def canonical(self, state: State) -> State:
        """One of the states that are alike: orders are sets, a booked order matters while it may be cancelled."""
        channels = tuple(self._tidy(channel, state.left.cancels > 0) for channel in state.channels)
        if self.classes[0] == self.classes[1] and repr(channels[0]) < repr(channels[1]):
            channels = (channels[1], channels[0])
        return state._replace(channels=channels)

    @staticmethod
    def _tidy(channel: Channel, may_cancel: bool) -> Channel:
        orders = [o for o in channel.orders if may_cancel or o.sale != "B" or o.cancel]
        if channel.reading is None:
            orders = [_before(o) for o in orders]
        return channel._replace(orders=tuple(sorted(orders)), orphans=tuple(sorted(channel.orphans, key=repr)))

    # --- what can happen

    def moves(self, state: State) -> Iterator[Move]:
        """Every event that can happen next."""
        for number, channel in enumerate(state.channels):
            for name, after, available, left in self._of_channel(state, number, channel):
                channels = (*state.channels[:number], after, *state.channels[number + 1 :])
                moved = State(channels, state.available + available, state.lost, left)
                yield f"{name} on {self.classes[number]}{number}", self.canonical(moved)
        left = state.left
        free = state.available - sum(c.exposed for c in state.channels)
        if left.promises and free > 0 and not _is_taking_over(state):
            now = left._replace(promises=left.promises - 1)
            yield "promised here", self.canonical(state._replace(available=state.available - 1, left=now))
        if left.shrinks:
            now = left._replace(shrinks=left.shrinks - 1)
            yield "one went missing", self.canonical(State(state.channels, state.available - 1, state.lost + 1, now))

    def _of_channel(self, state: State, number: int, c: Channel) -> Iterator[tuple[str, Channel, int, Budget]]:
        left = state.left
        for name, after in self._by_shoppers(c):
            yield name, after, 0, left
        for order in set(c.orders):
            for name, after, available, spent in self._of_order(c, order, left):
                yield name, after, available, spent
        if left.edits:
            for units in range(c.shown + 1, 4):
                yield f"staff types {units}", c._replace(shown=units, edit="unseen"), 0, left._replace(edits=left.edits - 1)
        yield f"read {c.shown}", self.read(c, self.classes[number]), 0, left
        if self.can_collapse(c):
            yield "collapse", self.collapse(c), 0, left
        if c.write is None:
            target = self.target(state, number)
            if target is not None:
                yield f"record {target}", self.record(c, self.classes[number], target), 0, left
            return
        yield from ((name, after, 0, left) for name, after in self._of_write(c, c.write))
        yield from ((name, after, 0, spent) for name, after, spent in self._of_losses(c, c.write, left))

    def _by_shoppers(self, c: Channel) -> Iterator[tuple[str, Channel]]:
        """Sales, and requests long given up that land after all."""
        if c.shown:
            slipped = c.slipped + (c.edit in ("unseen", "looked"))
            sold = c._replace(shown=c.shown - 1, slipped=slipped)
            if c.reading is None:
                yield "sale", sold._replace(orders=(*c.orders, Order("E")))
            else:
                if not c.reading.is_far:
                    yield "sale close to the reading", sold._replace(orders=(*c.orders, Order("N")))
                far = c.reading._replace(is_far=True)
                yield "sale", sold._replace(orders=(*c.orders, Order("L")), reading=far)
        for orphan in set(c.orphans):
            rest = list(c.orphans)
            rest.remove(orphan)
            start, to = orphan
            if start is None or start == c.shown:
                yield f"{orphan} lands late", c._replace(
                    shown=to, kept=c.kept + max(0, c.shown - to), orphans=tuple(rest)
                )

    def _of_order(self, c: Channel, order: Order, left: Budget) -> Iterator[tuple[str, Channel, int, Budget]]:
        rest = list(c.orders)
        rest.remove(order)
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
                given_up = self.refuse(c, w)
                yield "take it for refused", given_up._replace(orphans=(*c.orphans, (w.from_units, w.to_units)))
        if w.is_lost and w.from_units is not None:
            yield "repeat with the same key", c._replace(write=w._replace(is_lost=False))
        if not w.is_lost and w.state in ("done", "stale", "failed"):
            yield f"reply: {w.state}", self.answer(c, w)

    def _of_losses(self, c: Channel, w: Write, left: Budget) -> Iterator[tuple[str, Channel, Budget]]:
        if not left.losses or w.state == "recorded":
            return
        spent = left._replace(losses=left.losses - 1)
        if not w.is_lost:
            yield "the reply is lost", c._replace(write=w._replace(is_lost=True)), spent
        if w.from_units is None and w.state == "sent":
            yield "processing fails", c._replace(write=w._replace(state="failed")), spent

    # --- what each event does to what we know

    def book(self, c: Channel, order: Order, rest: list[Order]) -> Channel:
        is_old = order.sale == "Z"
        reading = c.reading
        known = c.known
        if reading is not None and order.sale == "L":
            reading = reading._replace(sold_later=reading.sold_later + 1)
            known = max(0, known - 1)
        elif reading is not None and order.sale == "N":
            reading = reading._replace(over=reading.over + 1)
        return c._replace(
            orders=(*rest, order._replace(sale="B")),
            exposed=self.table.sold(c.exposed, 1, is_before_baseline=is_old),
            kept=c.kept + (not is_old and c.exposed < 1),
            reading=reading,
            known=known,
        )

    def book_restock(self, c: Channel, order: Order, rest: list[Order]) -> Channel:
        reading = c.reading
        known = c.known + (reading is None or order.cancel == "L")
        if reading is not None:
            reading = reading._replace(restocked=reading.restocked + 1, over=reading.over + (order.cancel == "E"))
        write = c.write and c.write._replace(restocked=c.write.restocked + 1)
        exposed = self.table.restocked(c.exposed, 1)
        return c._replace(orders=tuple(rest), exposed=exposed, known=known, reading=reading, write=write)

    def read(self, c: Channel, guarantee_class: str) -> Channel:
        c = self.learn(c, c.shown)
        w = c.write
        orders = tuple(_before(o) for o in c.orders)
        if w is None:
            return c._replace(reading=Reading(c.shown), orders=orders)
        if guarantee_class == "A":
            seen = c.shown if w.state in ("done", "stale") else w.seen
            return c._replace(write=w._replace(seen=seen), reading=None, orders=orders)
        if w.state == "recorded":
            return c._replace(reading=None, orders=orders)
        is_confirmed = c.shown == w.to_units if self.table.a_number_read_back_confirms else c.shown == w.to_units == 0
        if is_confirmed:
            # A zero may be a sale's: the request may then land late, and lowers what it finds.
            orphans = (*c.orphans, (None, w.to_units)) if w.state == "sent" else c.orphans
            exposed = self.table.confirmed(c.exposed, None, w.to_units)
            c = c._replace(write=None, orphans=orphans, exposed=exposed)
        return c._replace(reading=Reading(c.shown), orders=orders)

    def learn(self, c: Channel, units: int) -> Channel:
        """A number seen: an edit if neither sales nor our own write explain it."""
        start, to = (c.write.from_units, c.write.to_units) if c.write else (None, None)
        if exposure.is_edit(units, c.known, start, to):
            exposed = self.table.edited(c.exposed, units)
            edit = "seen" if c.edit else ""
            return c._replace(exposed=exposed, edited=c.edited + units, known=units, edit=edit)
        return c._replace(known=units, edit="looked" if c.edit == "unseen" else c.edit)

    def can_collapse(self, c: Channel) -> bool:
        if c.reading is None:
            return False
        is_late = any(
            (o.sale in "ZEN" or o.cancel == "E") and (self.table.watermark_waits_for_parked or not o.is_parked)
            for o in c.orders
        )
        watermark = READ_AT if is_late else READ_AT + exposure.CLOCK_MARGIN
        return self.table.may_collapse(READ_AT, watermark, has_open_write=self.is_in_doubt(c, c.reading))

    @staticmethod
    def is_in_doubt(c: Channel, reading: Reading) -> bool:
        """Whether an open write may land after the reading.

        A raise from a drained 0 has landed when the channel showed more than was restocked since: nothing else
        explains it.
        """
        w = c.write
        return w is not None and not (w.from_units is None and w.to_units > 0 and reading.units > w.restocked)

    def collapse(self, c: Channel) -> Channel:
        reading = c.reading
        assert reading is not None
        restocked = reading.restocked if self.table.restocks_outlive_a_reading else 0
        exposed = self.table.collapsed(reading.units, reading.sold_later) + restocked
        return c._replace(
            exposed=exposed,
            edited=0,
            reading=None,
            write=None if not self.is_in_doubt(c, reading) else c.write,
            kept=reading.over,
            edit="unseen" if c.edit == "unseen" else "",
            slipped=c.slipped if c.edit == "unseen" else 0,
        )

    def record(self, c: Channel, guarantee_class: str, target: int) -> Channel:
        write = Write(c.known if guarantee_class == "A" else None, target)
        exposed = c.exposed + self.table.recorded(write.from_units, target)
        kept_reading = None if self.table.readings_end_with_a_write else c.reading
        edit = "unseen" if c.edit == "looked" else c.edit
        return c._replace(exposed=exposed, write=write, reading=kept_reading, edit=edit)

    def land(self, c: Channel, w: Write) -> tuple[str, Channel]:
        """The request reaches the channel, at last; once, whatever the number of its repeats."""
        if w.from_units is not None and w.from_units != c.shown:
            return f"does not compare ({c.shown})", c._replace(write=w._replace(state="stale", seen=c.shown))
        kept = c.kept + (c.shown if w.from_units is None else 0)
        return "lands", c._replace(shown=w.to_units, kept=kept, write=w._replace(state="done"))

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
            reading=None if self.table.readings_end_with_a_write else c.reading,
        )

    def refuse(self, c: Channel, w: Write) -> Channel:
        added = self.table.recorded(w.from_units, w.to_units)
        kept = c.kept + max(0, added - c.exposed)
        return c._replace(exposed=self.table.refused(c.exposed, added), kept=kept, write=None)

    # --- the planner

    def target(self, state: State, number: int) -> int | None:
        """What the planner would have the listing show, if that is another number than what it shows."""
        if _is_taking_over(state):
            return None
        targets = self.plan(state)
        units = targets[number].units
        return None if units == state.channels[number].known else units

    def plan(self, state: State) -> dict[int, Target]:
        seats = tuple(self._seat(number, c) for number, c in enumerate(state.channels))
        key = (state.available, tuple((s.shown_units, s.exposed_units, s.giving_back_units, s.edited_units,
                                       s.is_writable) for s in seats))  # fmt: skip
        if key not in self.plans:
            self.plans[key] = plan_escrow(Group({POOL: state.available}, [self.table.seat(seat) for seat in seats]))
        return self.plans[key]

    def _seat(self, number: int, c: Channel) -> Seat:
        w = c.write
        gives = 0 if w is None else max(0, (c.known if w.from_units is None else w.from_units) - w.to_units)
        return Seat(
            listing_id=number,
            guarantee_class=self.classes[number],
            takes=((POOL, 1),),
            shown_units=c.known,
            exposed_units=c.exposed,
            most_units=MOST_UNITS,
            giving_back_units=gives,
            edited_units=min(c.edited, c.exposed),
            is_writable=w is None,
        )

    # --- what has to hold

    def judge(self, state: State) -> None:
        """Raises Found."""
        for number, channel in enumerate(state.channels):
            self._judge_channel(f"{self.classes[number]}{number}", channel)
        sold = sum(unbooked(c, with_old=True) - unbooked_restocks(c) for c in state.channels)
        really_left = state.available + state.lost - sold
        if really_left < 0 and state.left.edits == self.budget.edits:
            raise Found(f"oversold: {-really_left} more units are sold and promised than were ever there")
        self._judge_plan(state)
        self._judge_rest(state)

    @staticmethod
    def _judge_channel(name: str, c: Channel) -> None:
        net = unbooked(c) - unbooked_restocks(c)
        flying = sum(to for start, to in c.orphans if start is None)
        flying += sum(max(0, to - start) for start, to in c.orphans if start is not None and start <= c.shown)
        w = c.write
        if w is not None and w.state in ("recorded", "sent"):
            start = w.from_units
            flying += w.to_units if start is None else max(0, w.to_units - start) * (start <= c.shown)
        potential = c.shown + net + flying
        if c.edit not in ("unseen", "looked") and c.exposed + c.slipped < potential:
            raise Found(f"{name} may still sell {potential} that are not booked, its exposure is {c.exposed}")
        allowed = c.shown + unbooked(c) + c.edited + c.kept
        if w is not None:
            change = w.to_units - (w.from_units or 0)
            allowed += max(0, -change) if w.state == "done" else max(0, change)
        if c.exposed > allowed:
            raise Found(f"{name} has an exposure of {c.exposed}, nothing explains more than {allowed}")

    def _judge_plan(self, state: State) -> None:
        targets = self.plan(state)
        raises = sum(max(0, t.units - state.channels[n].known) for n, t in targets.items() if t.reason == "raised")
        after = sum(c.exposed for c in state.channels) + raises
        if raises and after > state.available:
            raise Found(f"the plan {targets} would expose {after} of {state.available} available units")

    def _judge_rest(self, state: State) -> None:
        """Once everything arrives and nothing else happens, no unit stays idle and no write is asked for."""
        quiet = self.quieted(state)
        if quiet in self.at_rest:
            return
        seen = [quiet]
        for _ in range(STEPS_MAX):
            after = self.quieted(self._written(quiet))
            if after == quiet:
                break
            quiet = after
            seen.append(quiet)
        else:
            raise Found(f"no rest after {STEPS_MAX} rounds: {[_numbers(s) for s in seen[-4:]]}")
        shown = sum(c.shown for c in quiet.channels)
        if shown != max(0, quiet.available) or any(c.shown != c.exposed for c in quiet.channels):
            raise Found(f"at rest {shown} of {quiet.available} units are shown: {_numbers(quiet)}")
        self.at_rest.update(seen)

    def quieted(self, state: State) -> State:
        """Everything on its way arrives, everything is booked and read."""
        available = state.available
        channels = []
        for number, c in enumerate(state.channels):
            for order in c.orders:
                rest = list(c.orders)
                rest.remove(order)
                if order.sale != "B":
                    c = self.book(c, order, rest)
                    available -= 1
                if order.cancel:
                    booked = order._replace(sale="B", is_parked=False)
                    c = self.book_restock(c, booked, [o for o in c.orders if o is not order][: len(c.orders) - 1])
                    available += 1
            channels.append(self._arrived(c._replace(orders=()), self.classes[number]))
        return self.canonical(State(tuple(channels), available, state.lost, Budget()))

    def _arrived(self, c: Channel, guarantee_class: str) -> Channel:
        for start, to in c.orphans:
            if start is None or start == c.shown:
                c = c._replace(shown=to)
        c = c._replace(orphans=())
        if c.write is not None and c.write.state == "recorded":
            c = self.refuse(c, c.write)
        if c.write is not None and c.write.state == "sent":
            _, c = self.land(c, c.write)
        if c.write is not None:
            c = self.answer(c, c.write)
        return self.collapse(self.read(c, guarantee_class))._replace(kept=0, edit="", slipped=0)

    def _written(self, state: State) -> State:
        for number, c in enumerate(state.channels):
            target = self.target(state, number)
            if target is not None:
                sent = self.record(c, self.classes[number], target)
                channels = (*state.channels[:number], sent, *state.channels[number + 1 :])
                channels = tuple(
                    ch._replace(write=ch.write._replace(state="sent")) if n == number and ch.write else ch
                    for n, ch in enumerate(channels)
                )
                state = state._replace(channels=channels)
        return state


def _before(order: Order) -> Order:
    """As it lies to a reading taken now."""
    sale = "E" if order.sale in "NL" else order.sale
    return order._replace(sale=sale, cancel=order.cancel and "E")


def _is_taking_over(state: State) -> bool:
    """Orders from before the baseline are still being imported: nothing is written, nothing promised."""
    return any(o.sale == "Z" for c in state.channels for o in c.orders)


def _numbers(state: State) -> str:
    return f"{state.available} available, " + ", ".join(f"{c.shown} shown of {c.exposed}" for c in state.channels)


@dataclass(frozen=True, slots=True)
class Search:
    """What a search came to: how many states it saw, and the shortest way to the first that is wrong."""

    states: int
    problem: str = ""
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        steps = "\n".join(f"  {number:2} {step}" for number, step in enumerate(self.trace, 1))
        return f"{self.problem or 'nothing wrong'} ({self.states} states)\n{steps}"


def search(world: World, starts: list[State], states_max: int = 5_000_000) -> Search:
    """Breadth first through every state that can be reached, until one is wrong."""
    parents: dict[State, tuple[State, str] | None] = dict.fromkeys(starts)
    queue = deque(parents)
    while queue:
        state = queue.popleft()
        try:
            world.judge(state)
        except Found as problem:
            return Search(len(parents), str(problem), _trace(parents, state))
        for name, after in world.moves(state):
            if after not in parents:
                parents[after] = (state, name)
                queue.append(after)
        if len(parents) > states_max:
            raise RuntimeError(f"more than {states_max} states: lower the budget")
    return Search(len(parents))


def _trace(parents: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    steps: list[str] = []
    step = parents[state]
    numbers = _numbers(state)
    while step is not None:
        before, name = step
        steps.append(f"{name:32} -> {numbers}")
        numbers, step = _numbers(before), parents[before]
    return (f"{'start':32} -> {numbers}", *reversed(steps))
