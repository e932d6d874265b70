"""Where blows fall: one system, the orders still to be placed in it, and what can be seen and held at a moment."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
from sqlalchemy.exc import DBAPIError

from core.bootstrap import Application
from core.messaging.doorbell import Lane
from tests.chaos.database import Database, Lock
from tests.chaos.desk import Desk
from tests.chaos.victims import Victims, children, owner_of_port
from tests.functional.systems import System
from workers.replay import Placing
from workers.retail_file import Invoice, Plan
from workers.world import Control, Pair

POLL_SECONDS = 0.02
WAIT_SECONDS = 40
PAUSE_SECONDS = 0.3
FILLING_SECONDS = 1.5


class NotReached(Exception):
    """The moment for a blow did not come in time; it is tried again later."""


@dataclass(frozen=True, slots=True)
class Drain:
    """A process that works on a lane: its connection in Postgres, and its number."""

    pid: int
    activity: dict[str, Any]


@dataclass(slots=True)
class Seen:
    """What was to be seen at the moment of a blow."""

    received: int
    undelivered: int
    open_transaction: dict[str, Any] | None = None


class Orders:
    """The accepted orders: placed in the sandbox whatever happens to us; what our own people do is booked until it
    goes through, by a thread of its own."""

    def __init__(self, placing: Placing, invoices: Sequence[Invoice]) -> None:
        self._placing = placing
        self._left = list(invoices)
        self._to_book: queue.Queue[list[Plan] | None] = queue.Queue()
        self._booking = threading.Thread(target=self._book_all, name="booking", daemon=True)
        self.placed = 0
        self.repeated_bookings = 0
        self._error: BaseException | None = None
        self._booking.start()

    @property
    def left(self) -> int:
        return len(self._left)

    def place(self, count: int) -> int:
        """Place the next invoices; returns how many orders were among them."""
        taken, self._left = self._left[:count], self._left[count:]
        plans = self._placing.plan(taken)
        self._placing.place(plans)
        self._to_book.put(plans)
        orders = sum(plan.order is not None for plan in plans)
        self.placed += orders
        return orders

    def finish(self) -> None:
        """Wait until everything of our own is booked."""
        self._to_book.put(None)
        self._booking.join(300)
        assert not self._booking.is_alive(), "what our own people do was not booked within five minutes"
        assert self._error is None, f"what our own people do was not booked: {self._error!r}"

    def _book_all(self) -> None:
        try:
            self._book_one_by_one()
        except BaseException as error:
            self._error = error

    def _book_one_by_one(self) -> None:
        while (plans := self._to_book.get()) is not None:
            while True:
                try:
                    self._placing.book(plans)
                    break
                except DBAPIError:
                    # Killed, locked or not there: people try again, and the business key sees to the rest.
                    self.repeated_bookings += 1
                    time.sleep(PAUSE_SECONDS)


@dataclass(slots=True)
class Field:
    """Everything that a blow works with."""

    system: System
    app: Application
    control: Control
    pair: Pair
    orders: Orders
    database: Database
    victims: Victims
    desk: Desk
    factor: float
    portion: int
    began: float = field(default_factory=time.monotonic)
    _later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    @property
    def shop_id(self) -> int:
        return self.pair.shop_id

    def lane(self, queue_name: str, channel: str = "shopify") -> Lane:
        """A lane of the shop; orders come from Shopify only."""
        return Lane(queue_name, self.shop_id, getattr(self.pair, channel).id)

    # Acting ------------------------------------------------------------------------------------------------------

    def sell(self) -> None:
        """Place the next portion of orders. Raises NotReached when all are placed."""
        while self.orders.left:
            if self.orders.place(self.portion):
                return
        raise NotReached("all orders of the file are placed")

    def sell_until_received(self) -> None:
        """Sell, and wait until some of it lies in the inbox."""
        self.sell()
        self.wait(lambda: self.received() > 0, "deliveries lie in the inbox")

    def arm(self, kind: str, match: str, seconds: float = 0.0, count: int | None = None) -> int:
        """A fault of the outside world, in real seconds; returns its id."""
        body: dict[str, Any] = {"kind": kind, "match": match, "seconds": seconds * self.factor}
        if count is not None:
            body["count"] = count
        return int(self.control.post("/faults", body)["id"])

    def hits(self, fault: int) -> int:
        """How often a fault struck so far."""
        return sum(entry["hits"] for entry in self.control.get("/faults")["faults"] if entry["id"] == fault)

    @contextlib.contextmanager
    def faults_end(self) -> Iterator[None]:
        """Whatever faults the block arms end with it."""
        try:
            yield
        finally:
            httpx.delete(f"{self.control.url}/_control/faults", timeout=60).raise_for_status()

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something after a while, between two blows."""
        self._later.append((time.monotonic() + seconds, act))

    def do_what_is_due(self, *, everything: bool = False) -> None:
        """What `later` was told."""
        now = time.monotonic()
        due = [entry for entry in self._later if everything or entry[0] <= now]
        for entry in due:
            self._later.remove(entry)
            entry[1]()

    @contextlib.contextmanager
    def holding(self, lane: Lane) -> Iterator[None]:
        """Hold a lane as another drain would for the length of the block. Raises NotReached when it stays busy."""
        with contextlib.ExitStack() as held:
            self.wait(lambda: self._take(lane, held), f"lane {lane.key} is free")
            yield

    @contextlib.contextmanager
    def filling(self) -> Iterator[None]:
        """Keep what arrives in the inbox for the length of the block, by holding its lane; while a drain has work
        without end there is enough of it anyway."""
        with contextlib.ExitStack() as held:
            with contextlib.suppress(NotReached):
                self.wait(lambda: self._take(self.lane("events"), held), "the inbox is nobody's", FILLING_SECONDS)
            yield

    def _take(self, lane: Lane, held: contextlib.ExitStack) -> bool:
        with contextlib.ExitStack() as trying:
            drain = trying.enter_context(self.app.doorbell.draining(self.app.engine, lane))
            if drain.is_held:
                drain.has_more = True
                held.push(trying.pop_all())
            return drain.is_held

    # Seeing ------------------------------------------------------------------------------------------------------

    def wait(
        self, condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS, every: float = POLL_SECONDS
    ) -> Any:
        """The first true value of a condition; a database that is away counts as not yet. Raises NotReached."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                if found := condition():
                    return found
            if time.monotonic() > deadline:
                raise NotReached(f"waited {seconds:.0f} s until {what}")
            time.sleep(every)

    def received(self) -> int:
        return self.database.received(self.shop_id)

    def see(self, pid: int | None = None, row: dict[str, Any] | None = None) -> Seen:
        """What is to be seen now; of the open transactions the one of `pid`, unless its row is known already."""
        deliveries = self.control.get("/deliveries")
        received = self.received()
        if row is None and pid is not None:
            row = self.transaction_of(pid)
        return Seen(received, deliveries["queued"] + deliveries["in_flight"], row)

    def horse_waiting_for(self, lock: Lock, worker: str = "events", seconds: float = WAIT_SECONDS) -> Drain:
        """The job's process of a worker that stands in its transaction because of our lock."""

        def look() -> Drain | None:
            rows = self.database.waiting_for(lock)
            if not rows or (parent := self.victims.kept(worker)) is None:
                return None
            family = children(parent)
            for row in rows:
                if (pid := owner_of_port(row["client_port"], family)) is not None:
                    return Drain(pid, row)
            return None

        found: Drain = self.wait(look, f"a job of the {worker} worker waits for our lock in its transaction", seconds)
        return found

    def holder_of(self, lane: Lane, among: Callable[[], list[int]]) -> Drain | None:
        """Which of some processes holds a lane."""
        row = self.database.lane_holder(lane.key)
        if row is None or (pid := owner_of_port(row["client_port"], among())) is None:
            return None
        return Drain(pid, row)

    def family(self, worker: str) -> list[int]:
        """A kept worker's children."""
        parent = self.victims.kept(worker)
        return [] if parent is None else children(parent)

    def open_writes(self, channel: str) -> list[int]:
        """Writes of a channel that are on their way: sent, without an answer yet."""
        rows = self.database.rows(
            "select id from listing_writes where shop_id = %(shop)s and connection_id = %(connection)s"
            " and sent_at is not null and accepted_at is null and outcome is null and doubt is null order by id",
            shop=self.shop_id,
            connection=getattr(self.pair, channel).id,
        )
        return [row["id"] for row in rows]

    def connections_of(self, pid: int) -> list[int]:
        """Backends that serve a process."""
        return [row["backend"] for row in self.database.backends() if self.is_of(row, pid)]

    def transaction_of(self, pid: int) -> dict[str, Any] | None:
        """The open transaction of a process."""
        return next((row for row in self.database.open_transactions() if self.is_of(row, pid)), None)

    def differing(self, channel: str) -> int:
        """Listings of a channel that wait for a push."""
        row = self.database.row(
            "select count(*) as count from listings l where l.shop_id = %(shop)s and l.connection_id = %(connection)s"
            " and l.publishing = 'on' and (l.next_push_at is null or l.next_push_at <= now())"
            " and listing_differs(l.desired_units - l.short_units + l.unseen_units, l.published_units)"
            " and not exists (select from listing_writes w where w.shop_id = l.shop_id and w.listing_id = l.id"
            " and w.outcome is null)",
            shop=self.shop_id,
            connection=getattr(self.pair, channel).id,
        )
        return int(row["count"])

    @staticmethod
    def is_of(row: dict[str, Any], pid: int) -> bool:
        """Whether a connection is this process's."""
        return row["client_port"] is not None and owner_of_port(row["client_port"], [pid]) == pid
