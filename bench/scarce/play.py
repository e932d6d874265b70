"""Lets the shoppers of a stream buy, some of them in vain, while the outside world misbehaves; and counts what came of
it, against what somebody who knew every order could have sold."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx

from bench.scarce.outcome import Outcome, count
from bench.scarce.shopping import Shopping
from bench.scarce.stream import Basket, Stream
from bench.scarce.watch import Watch
from bench.scarce.world import Outside, World, open_world, share_as
from core.bootstrap import Application
from core.clock import utc_now
from core.connections.queries import ConnectionRow
from core.db import fetch, read_only, scalar
from core.errors import Retryable
from core.inventory import checking, lane_work
from core.inventory.planner import Mode
from workers.replay import hurried, wait_until_in_step
from workers.world import Control, Progress

CLOCK_FACTOR = 60.0
TURN_SECONDS = 0.2
READ_SECONDS_MAX = CATCH_UP_SECONDS_MAX = 180.0
LOST_AFTER = timedelta(seconds=6)
LONG_AGO = datetime.min.replace(tzinfo=UTC)
RING_SECONDS = 1.0
"""The schedule knows nothing of the sandbox's hurry: what it rings every minute comes once in a vendor's hour. So it
is rung here as often as in a vendor's minute."""

ASKED_EVERY = timedelta(minutes=3) / CLOCK_FACTOR
"""As often as Amazon's plan lets it be asked for its orders."""


FAULTS: tuple[tuple[str, str, float, float], ...] = (
    ("latency", "", 0.2, 0.4),
    ("http_429", "", 0.05, 0.0),
    ("http_500", "/shopify/", 0.05, 0.0),
    ("http_500", "GET /amazon/", 0.05, 0.0),
    ("http_503", "GET /amazon/", 0.02, 0.0),
    ("throttled", "", 0.02, 0.0),
    ("idempotency_concurrent", "", 0.05, 0.0),
    ("lost_reply", "inventorySetQuantities", 0.15, 0.0),
    ("lost_reply", "PATCH /amazon/", 0.3, 0.0),
    ("lost_reply", "", 0.03, 0.0),
    ("expired_token", "", 0.005, 0.0),
    ("late_submission", "patch", 0.3, 2.0),
    ("duplicate_delivery", "orders/", 0.1, 0.0),
    ("duplicate_delivery", "ORDER_CHANGE", 0.1, 0.0),
    ("delayed_delivery", "orders/", 0.1, 4.0),
    ("delayed_delivery", "ORDER_CHANGE", 0.1, 4.0),
    ("lost_delivery", "ORDER_CHANGE", 0.1, 0.0),
    ("reordered_delivery", "", 0.25, 2.0),
    ("delete_failed", "", 0.1, 0.0),
)
"""(kind, match, probability, real seconds).

Left out is what needs a person, by design: a submission that never lands (`lost_submission`, and a 5xx to a patch,
after which nobody can say whether it will) stays open and exposed until somebody says what the channel shows; an
account that is closed, frozen or gone (401 to 404, 423, 430). And what a play without bulk operations and feeds never
meets.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """How a stream is played: baskets a second at most, seconds between two looks at the truth.

    `lead`: so many baskets may come to a shop after the system last had nothing to do for it; the next ones wait. Then
    what is sold does not depend on the machine, only how long it takes. Without one all come in time, whatever there is
    left to do.
    """

    baskets_per_second: float
    has_faults: bool = True
    watch_seconds: float = 1.0
    lead: int | None = None


def play(
    app: Application,
    control: Control,
    stream: Stream,
    modes: Sequence[Mode],
    options: Options,
    progress: Progress,
) -> list[Outcome]:
    """Connect, share, let everybody shop, wait until all is in step; returns what came of it, mode by mode.

    Each mode is played in a shop of its own, side by side, in the same weather. For a system that has no such shops
    yet; its demo's shoppers stay away for good. Raises what connecting raises, ReplayStalled, or AssertionError when a
    shop could not be brought into its mode, or its orders were not all read in the end.
    """
    for crowd in control.get("/world")["shoppers"]:
        control.post("/shoppers", {**crowd, "running": False})
    outcomes = {mode: Outcome.expected(mode, stream) for mode in modes}
    with hurried(control, CLOCK_FACTOR):
        worlds = {mode: open_world(app, control, stream, Outside.of(mode), progress) for mode in modes}
        with _bells(app, worlds.values()):
            shared: dict[Mode, World] = {mode: world for mode, world in worlds.items() if mode != "pooled"}
            for mode, seconds in share_as(shared, stream, progress).items():
                outcomes[mode].seconds_into_mode = seconds
            for mode, world in worlds.items():
                outcomes[mode].writes_into_mode = _writes(world)
            watches = {mode: Watch(world, options.watch_seconds) for mode, world in worlds.items()}
            crowds = {mode: Shopping(world, stream, outcomes[mode]) for mode, world in worlds.items()}
            faults: dict[str, int] = {}
            with _misfortune(control, options, faults):
                seconds_of_shopping = _shop(stream, [_pace(crowd, options) for crowd in crowds.values()], progress)
            _ask_for_orders(list(worlds.values()), progress)
            for mode, world in worlds.items():
                outcome, began = outcomes[mode], time.monotonic()
                wait_until_in_step(app, control, world.shop_id, progress)
                outcome.seconds_into_step = time.monotonic() - began
                outcome.watched = watches[mode].stop()
                outcome.faults, outcome.seconds_of_shopping = faults, seconds_of_shopping
                count(world, stream, crowds[mode].accepted, outcome)
    return list(outcomes.values())


class _PollBell:
    """Has orders of some connections asked for; of each again when that was done, or seems to be lost."""

    def __init__(self, app: Application, rows: Sequence[ConnectionRow]) -> None:
        self._app, self._rows = app, rows
        self._rung: dict[int, datetime] = {}

    def ring(self) -> None:
        """Ring for those that nobody is about to ask."""
        question = """
            select id, greatest(orders_asked_at, orders_polled_at) as at from connections
            where id = any(%(ids)b::int8[])
        """
        with read_only(self._app.engine) as conn:
            asked = {row["id"]: row["at"] for row in fetch(conn, question, ids=[row.id for row in self._rows])}
        now = utc_now()
        for row in self._rows:
            rung, asked_at = self._rung.get(row.id, LONG_AGO), asked[row.id] or LONG_AGO
            is_over = asked_at >= rung or rung < now - LOST_AFTER
            # One that comes early is answered with nothing, and looks as if it were lost.
            if is_over and asked_at <= now - ASKED_EVERY:
                self._app.queue.enqueue("connection.poll", shop_id=row.shop_id, connection_id=row.id)
                self._rung[row.id] = now


@contextlib.contextmanager
def _bells(app: Application, worlds: Iterable[World]) -> Iterator[None]:
    """Ring for the length of the block what the schedule rings, as often as it would in the hurried world."""
    over, polls = threading.Event(), _PollBell(app, [world.amazon for world in worlds])

    def ring() -> None:
        while not over.wait(RING_SECONDS):
            # A Redis that is slow to answer misses a ring; the next one comes in a second.
            with contextlib.suppress(Retryable):
                polls.ring()
                app.queue.enqueue("sweep.exposure")

    with ThreadPoolExecutor(1, "bells") as pool:
        ringing = pool.submit(ring)
        try:
            yield
        finally:
            over.set()
            ringing.result()


class Pace:
    """When the baskets of one crowd come: so many a second, and none too far ahead of the system.

    `is_caught_up` is asked whether all is done that was due so many seconds ago: when the last of them came.
    """

    def __init__(
        self,
        place: Callable[[Sequence[Basket]], None],
        options: Options,
        is_caught_up: Callable[[float], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place, self._options, self._is_caught_up, self._clock = place, options, is_caught_up, clock
        self.come = 0
        self._at = self._moved_at = clock()
        self._due = 1.0
        self._caught_up_with = 0

    def turn(self, baskets: Sequence[Basket]) -> None:
        """Let those come whose time it is. Raises AssertionError when the system never catches up with the rest."""
        now = self._clock()
        due, self._at = self._due + (now - self._at) * self._options.baskets_per_second, now
        # Who had to wait does not make up for it in a rush.
        self._due = min(due, self._limit(), len(baskets))
        until = int(self._due)
        if until > self.come:
            self._place(baskets[self.come : until])
            self.come, self._moved_at = until, now
        assert now - self._moved_at < CATCH_UP_SECONDS_MAX, f"the system does not catch up with {self.come} baskets"

    def _limit(self) -> float:
        if self._options.lead is None:
            return math.inf
        if self._is_caught_up(self._at - self._moved_at):
            self._caught_up_with = self.come
        return self._caught_up_with + self._options.lead


def is_caught_up(world: World, at: datetime) -> bool:
    """Whether nothing is left of what we could do for a shop at that moment: the rest waits for its channels."""
    with read_only(world.app.engine) as conn:
        asked_after = at - LOST_AFTER
        if scalar(conn, _UNREAD, shop=world.shop_id, amazon=world.amazon.id, at=at, asked_after=asked_after):
            return False
        due = (*lane_work.lanes_to_push(conn, at), *checking.lanes_to_check(conn, at))
    return all(shop_id != world.shop_id for shop_id, _ in due)


_UNREAD = """
    select exists (select from inbox_messages where shop_id = %(shop)s and state = 'received' and received_at <= %(at)s)
        or exists (select from connections where shop_id = %(shop)s and id = %(amazon)s
            and greatest(orders_asked_at, orders_polled_at) < %(asked_after)s)
"""
"""What had arrived and is not booked, or orders that nobody asked Amazon for when it was time."""


def _pace(crowd: Shopping, options: Options) -> Pace:
    return Pace(crowd.place, options, lambda ago: is_caught_up(crowd.world, utc_now() - timedelta(seconds=ago)))


def _shop(stream: Stream, paces: Sequence[Pace], progress: Progress) -> float:
    """Everybody comes; returns seconds."""
    baskets, began = stream.baskets, time.monotonic()
    while (done := min(pace.come for pace in paces)) < len(baskets):
        progress("shopping", done, len(baskets))
        for pace in paces:
            pace.turn(baskets)
        time.sleep(TURN_SECONDS)
    return time.monotonic() - began


def _writes(world: World) -> int:
    with read_only(world.app.engine) as conn:
        return int(scalar(conn, "select count(*) from listing_writes where shop_id = %(shop)s", shop=world.shop_id))


def _ask_for_orders(worlds: Sequence[World], progress: Progress) -> None:
    """Once everything on its way has arrived, do what the schedule does: ask for orders, until all are known."""
    control, ended_at = worlds[0].control, utc_now()
    while (counts := control.get("/deliveries"))["queued"] + counts["in_flight"]:
        progress("delivering", counts["delivered"], None)
        time.sleep(TURN_SECONDS)
    waiting, began = [row for world in worlds for row in world.channels], time.monotonic()
    polls = _PollBell(worlds[0].app, waiting)
    while waiting := [row for row in waiting if not _is_known_until(worlds[0].app, row, ended_at)]:
        names = [row.name for row in waiting]
        assert time.monotonic() - began < READ_SECONDS_MAX, f"orders of {names} are not read"
        with contextlib.suppress(Retryable):
            polls.ring()
        progress("asking for orders", len(names), None)
        time.sleep(RING_SECONDS)


def _is_known_until(app: Application, row: ConnectionRow, at: datetime) -> bool:
    question = "select watermark_at > %(at)s from connections where shop_id = %(shop)s and id = %(id)s"
    with read_only(app.engine) as conn:
        return bool(scalar(conn, question, at=at, shop=row.shop_id, id=row.id))


@contextlib.contextmanager
def _misfortune(control: Control, options: Options, struck: dict[str, int]) -> Iterator[None]:
    """The outside world misbehaves for the length of the block; how often is counted by kind and match."""
    if options.has_faults:
        for kind, match, probability, seconds in FAULTS:
            armed = {"kind": kind, "match": match, "probability": probability, "seconds": seconds * CLOCK_FACTOR}
            control.post("/faults", armed)
    try:
        yield
    finally:
        for fault in control.get("/faults")["faults"]:
            struck[f"{fault['kind']} {fault['match']}".strip()] = fault["hits"]
        httpx.delete(f"{control.url}/_control/faults", timeout=60).raise_for_status()
