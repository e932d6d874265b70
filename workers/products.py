"""Products of a connection: read them, judge what changed, write what differs. For whoever holds its lane."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from core.bootstrap import Application
from core.catalog.products import queries as catalogue
from core.clock import utc_now
from core.connections import operations as connections
from core.connections.queries import ConnectionRow
from core.db import read_only, unit_of_work
from core.errors import Anticipated, Permanent, Retryable
from core.logs import mask
from core.messaging.doorbell import Lane
from core.product_ports import ProductChannel, ProductResult, ShownProduct, UnreadableProduct
from core.publication import linking, observing, operations, pushing, queries, settling
from core.publication.pushing import WritesHeld

READ_AT_ONCE = 20
CALLS_AT_ONCE = 20
LINK_AT_ONCE = 1000
READING, JUDGING = 0.5, 0.75
"""By when in a turn, as a share of its time, what is read and what is judged is to be gone on with in the next."""
ROUNDS_MAX = 3
"""So often one product is written in one turn: a picture must be there before a variant can have it."""
DENIED_MAX = 5
"""So many products are denied one after the other, and all are held: more would hardly be let."""
RING_STANDS = 900
"""Seconds that one turn may wait for a worker before another is queued: a ring that got lost is repeated then."""

Counts = Counter[str]


class Time:
    """How long one turn may take, in seconds; what the channel told of gets half of it at most, the rest others."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.began_at = time.monotonic()
        self.on_calls = 0.0

    def is_left(self, share: float = 1) -> bool:
        """Whether so much of it is not over yet."""
        return time.monotonic() < self.began_at + self.seconds * share

    def is_left_for_calls(self) -> bool:
        return self.is_left() and self.on_calls < self.seconds / 2


def lane_of(shop_id: int, connection_id: int) -> Lane:
    """Whoever reads or writes the products of a connection does it alone."""
    return Lane("products", shop_id, connection_id)


class MoreToRead(Anticipated):
    """The time is up, and not all products are read: the next reading goes on where this one was."""

    def __init__(self, done: int) -> None:
        super().__init__(f"{done:,} products are read so far: it goes on from there")


def read_whole(
    app: Application,
    row: ConnectionRow,
    channel: ProductChannel,
    tell: Callable[[int], None],
    seconds: float = math.inf,
) -> Counts:
    """Read every product that the channel has, and find out which it has no more; returns what all of it counted.

    Takes up a reading that did not come to its end. `tell` may raise to stop it. Raises MoreToRead after so long.
    """
    turn = Time(seconds)
    with unit_of_work(app.engine) as conn:
        whole = operations.begin_whole(conn, row, utc_now())
    counts: Counts = Counter({"read": 0, **whole.counts})

    def note(to: datetime | None = None) -> None:
        with unit_of_work(app.engine) as conn:
            operations.note_whole(conn, row, to, counts)
        tell(counts["read"])
        if not turn.is_left():
            raise MoreToRead(counts["read"])

    for to in _read(app, row, channel, whole.read_to, counts, whole.began_at):
        counts.update(_read_called(app, row, channel, turn))
        note(to)
    after = ""
    while True:
        with read_only(app.engine) as conn:
            refs = queries.refs_not_seen_since(conn, row, whole.began_at, after, READ_AT_ONCE)
        if not refs:
            break
        after = refs[-1]
        counts.update(_take_in(app, row, channel, refs))
        counts.update(_read_called(app, row, channel, turn))
        note()
    with unit_of_work(app.engine) as conn:
        operations.finish_whole(conn, row)
    return counts


def _read(
    app: Application,
    row: ConnectionRow,
    channel: ProductChannel,
    since: datetime | None,
    counts: Counts,
    began_at: datetime,
) -> Iterator[datetime]:
    """Take in what the channel changed since, some at a time: the time of the last change of them, once they are.

    What was seen since `began_at` as it is now is not read again: the last second before an end is told anew, and what
    the channel called us for is read already.
    """
    for page in channel.product_changes(since):
        for start in range(0, len(page), READ_AT_ONCE):
            part = page[start : start + READ_AT_ONCE]
            with read_only(app.engine) as conn:
                seen = queries.refs_seen_since(conn, row, began_at, part)
            refs = [change.ref for change in part if change.ref not in seen]
            if refs:
                counts.update(_take_in(app, row, channel, refs))
            newest = max(change.version_at for change in part)
            with unit_of_work(app.engine) as conn:
                # Only ever to a change that was read, never to "now".
                operations.note_read_to(conn, row, newest)
            if refs:
                yield newest


def _read_called(app: Application, row: ConnectionRow, channel: ProductChannel, turn: Time) -> Counts:
    """Read what the channel said has changed: also what is gone by now, which no list of changes tells.

    What there is no time for waits for the next turn, those that it told of first before the others.
    """
    counts: Counts = Counter()
    while turn.is_left_for_calls():
        began_at = time.monotonic()
        with read_only(app.engine) as conn:
            called = queries.called(conn, row, CALLS_AT_ONCE)
        if not called:
            return counts
        counts.update(_take_in(app, row, channel, list(called)))
        with unit_of_work(app.engine) as conn:
            operations.forget_calls(conn, row, called)
        turn.on_calls += time.monotonic() - began_at
    return counts


def _take_in(app: Application, row: ConnectionRow, channel: ProductChannel, refs: Sequence[str]) -> Counts:
    """Read some products and take them in; what is not there any more is noted."""
    found = channel.read_products(refs, in_background=True)
    shown = [one for one in found if isinstance(one, ShownProduct)]
    unreadable = [one for one in found if isinstance(one, UnreadableProduct)]
    gone = sorted(set(refs) - {one.ref for one in found})
    counts: Counts = Counter({"read": len(shown)})
    with unit_of_work(app.engine) as conn:
        counts.update(observing.observe(conn, row, shown, utc_now()))
        if unreadable:
            counts["unreadable"] += observing.note_unreadable(conn, row, unreadable, utc_now())
        if gone:
            counts["gone"] += observing.note_gone(conn, row, gone, utc_now())
    return counts


def keep_in_step(app: Application, row: ConnectionRow, channel: ProductChannel, seconds: float) -> Counts:
    """One turn: read what the channel changed, judge what changed here, write what differs, for at most so long.

    Whatever there is to be done of one, something is left of the time for the others, and the next turn goes on there:
    reading has half of it, judging what is left of three quarters, and of each at least a little is done each time.
    """
    turn = Time(seconds)
    with read_only(app.engine) as conn:
        reading = queries.reading(conn, row)
    counts: Counts = Counter()
    # Before anybody has read all of it, it is not known whose what is.
    if reading is not None and reading.whole_read_at is not None:
        counts["read"], began_at = 0, utc_now()
        counts.update(_read_called(app, row, channel, turn))
        for _ in _read(app, row, channel, reading.read_to, counts, began_at):
            if not turn.is_left(READING):
                break
        _link_new(app, row, turn)
        with unit_of_work(app.engine) as conn:
            operations.take_over_categories(conn, row)
        counts.update(_judge_changed(app, row, turn))
        counts.update(_write(app, row, channel, turn))
    for state in ("in_step", "to_push", "asks", "gone"):
        del counts[state]
    with read_only(app.engine) as conn:
        counts.update(queries.standing(conn, row))
    return counts


def _judge_changed(app: Application, row: ConnectionRow, turn: Time) -> Counts:
    counts: Counts = Counter()
    after = 0
    while True:
        with read_only(app.engine) as conn:
            ids = queries.to_judge(conn, row, after)
        if not ids:
            return counts
        after = ids[-1]
        with unit_of_work(app.engine) as conn:
            counts.update(observing.judge(conn, row, ids, utc_now()))
        if not turn.is_left(JUDGING):
            return counts


def _link_new(app: Application, row: ConnectionRow, turn: Time) -> None:
    """Where we say which variants there are, the channel is to have every product of ours."""
    with read_only(app.engine) as conn:
        if queries.masters(conn, row).of("variants") != "ours":
            return
    after = 0
    while True:
        with unit_of_work(app.engine) as conn:
            ids = queries.unlinked_products(conn, row, after, LINK_AT_ONCE)
            if not ids:
                return
            linking.link_new(conn, row, ids, utc_now())
        if not turn.is_left(JUDGING):
            return
        after = ids[-1]


def _write(app: Application, row: ConnectionRow, channel: ProductChannel, turn: Time) -> Counts:
    counts: Counts = Counter()
    turns: Counter[int] = Counter()
    denied: set[int] = set()
    try:
        _ask_whether_held(app, row, channel)
        while turn.is_left() or not turns:
            with read_only(app.engine) as conn:
                ids = queries.due(conn, row, utc_now(), [one for one, had in turns.items() if had >= ROUNDS_MAX])
            if not ids:
                break
            for link_id in ids:
                turns[link_id] += 1
                came = write_one(app, row, channel, link_id)
                counts[came] += 1
                if came == "denied":
                    denied.add(link_id)
                    _hold_if_none(app, row, link_id, len(denied))
                elif came in ("written", "partly"):
                    denied.clear()
                counts.update(_read_called(app, row, channel, turn))
                if not turn.is_left():
                    break
    except WritesHeld:
        counts["writes_stopped"] += 1
    return counts


def _ask_whether_held(app: Application, row: ConnectionRow, channel: ProductChannel) -> None:
    """Where the channel let us write nothing the last time: whether it does now. Raises WritesHeld where not.

    No write is tried for that: each would be one more row that says the same. Where it lets us, writes go on, and all
    are held until it has accepted one, or nothing is left to write.
    """
    with read_only(app.engine) as conn:
        reading = queries.reading(conn, row)
        is_left = queries.has_to_write(conn, row)
    if reading is None or reading.writes_held_since is None:
        return
    why = channel.writing_refused()
    if why is not None:
        raise _held(app, row, why)
    if not is_left:
        _let_go(app, row)


def _hold_if_none(app: Application, row: ConnectionRow, link_id: int, denied: int) -> None:
    """Hold all where so many were denied and none was accepted between. Raises WritesHeld then."""
    if denied < DENIED_MAX:
        return
    with read_only(app.engine) as conn:
        link = queries.link(conn, row, link_id)
    raise _held(app, row, (link and link.problem) or "no reason given")


def write_one(app: Application, row: ConnectionRow, channel: ProductChannel, link_id: int) -> str:
    """Bring one product to what it should show: read it, write what differs then, read it back.

    Returns what came of it: nothing, written, denied (this one, though we have the right to write), or what the channel
    answered. Raises WritesHeld, also where the channel lets us write nothing at all, and what reading raises: what was
    written is then still open, and settled by whoever reads the product next.
    """
    looked_at = utc_now()
    read = _look(app, row, channel, link_id)
    with unit_of_work(app.engine) as conn:
        if read is not None:
            observing.observe(conn, row, [read], utc_now())
    with unit_of_work(app.engine) as conn:
        settling.settle_unmade(conn, row, link_id, looked_at)
    with unit_of_work(app.engine) as conn:
        planned = pushing.plan(conn, row, link_id, utc_now())
        if planned is None:
            pushing.put_off(conn, row, link_id, utc_now())
    if planned is None:
        return "nothing"
    result = channel.write_product(planned.write)
    is_denied = result.holds_all and _is_this_ones(channel)
    if is_denied:
        result = replace(result, holds_all=False)
    with unit_of_work(app.engine) as conn:
        pushing.note_result(conn, row, planned, result, utc_now())
    if result.outcome != "unsent":
        read = _look(app, row, channel, link_id)
        if read is not None:
            with unit_of_work(app.engine) as conn:
                observing.observe(conn, row, [read], utc_now())
    _note_problem(app, row, result)
    if is_denied and result.outcome == "unsent":
        return "denied"
    return "written" if result.outcome == "confirmed" else result.outcome


def _is_this_ones(channel: ProductChannel) -> bool:
    """Whether a write was denied for what is in it: the channel says that we may write products."""
    try:
        return channel.writing_refused() is None
    except (Retryable, Permanent):
        # The next turn asks again.
        return False


def _note_problem(app: Application, row: ConnectionRow, result: ProductResult) -> None:
    """What the connection as a whole suffers from; nothing any more once the channel took or judged something."""
    if result.holds_all:
        raise _held(app, row, result.detail or "no reason given")
    if result.outcome in ("confirmed", "partly"):
        _let_go(app, row)
    elif result.outcome == "refused":
        with unit_of_work(app.engine) as conn:
            reading = queries.reading(conn, row)
            if reading is None or reading.writes_held_since is None:
                connections.note_problem(conn, row.shop_id, row.id, None, utc_now())


def _let_go(app: Application, row: ConnectionRow) -> None:
    """The channel lets us write: nothing holds all of it."""
    with unit_of_work(app.engine) as conn:
        operations.hold_writes(conn, row, None, utc_now())
        connections.note_problem(conn, row.shop_id, row.id, None, utc_now())


def _held(app: Application, row: ConnectionRow, why: str) -> WritesHeld:
    """The one problem of the connection, in the place of one for each product."""
    said = f"it does not let us write products ({mask(why)})"
    held = WritesHeld(row, f"{said}: grant the right there, and all of them go on by themselves")
    with unit_of_work(app.engine) as conn:
        operations.hold_writes(conn, row, said, utc_now())
        connections.note_problem(conn, row.shop_id, row.id, str(held), utc_now())
    return held


def _look(app: Application, row: ConnectionRow, channel: ProductChannel, link_id: int) -> ShownProduct | None:
    """A product as the channel shows it now, by its reference or, before it has one, by the handle that it was or is to
    be made with. What cannot be made out is set aside, as what is gone: nothing is written to it."""
    with read_only(app.engine) as conn:
        link = queries.link(conn, row, link_id)
        if link is None or link.product_id is None:
            return None
        ours = catalogue.stored(conn, row.shop_id, [link.product_id]).get(link.product_id)
        push = queries.open_pushes(conn, row.shop_id, [link_id]).get(link_id)
    if link.channel_ref is None:
        handle = push.wanted.handle if push is not None else ours.document.handle if ours is not None else None
        found = None if handle is None else channel.find_product(handle)
    else:
        found = next(iter(channel.read_products([link.channel_ref])), None)
    if isinstance(found, ShownProduct):
        return found
    with unit_of_work(app.engine) as conn:
        if found is not None:
            observing.note_unreadable(conn, row, [found], utc_now())
            observing.set_aside(conn, row, link_id, found, utc_now())
        elif link.channel_ref is not None:
            observing.note_gone(conn, row, [link.channel_ref], utc_now())
    return None
