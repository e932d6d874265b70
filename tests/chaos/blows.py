"""The blows themselves: each brings its moment about, looks, strikes, and says what it saw and hit."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.chaos.field import Drain, Field, NotReached, Seen
from tests.chaos.plan import Planned
from tests.chaos.victims import children

MUTATION = {"shopify": "SetQuantities", "amazon": "PATCH /amazon/"}
IN_FLIGHT_SECONDS = 4.0
SECOND_SCHEDULER_SECONDS = 5.0


@dataclass(slots=True)
class Struck:
    """What a blow hit, and what was to be seen at that moment."""

    seen: Seen
    pids: list[int] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


Blow = Callable[[Field, Planned], Struck]


def drain_in_transaction(on: Field, plan: Planned) -> Struck:
    """The drain stands at a table that it writes, everything before uncommitted."""
    with on.database.table_lock(plan.table) as lock:
        drain = _stopped_drain(on, lock)
        struck = Struck(on.see(row=drain.activity), [drain.pid], {"table": plan.table})
        kill(on, drain.pid)
    return struck


def _stopped_drain(on: Field, lock: Any) -> Drain:
    """Sell until the drain stands still at our lock: what was delivered may have been no news."""
    for _ in range(3):
        on.sell_until_received()
        try:
            return on.wait(lambda: on.horse_waiting_for(lock), "the drain stands still", 15)
        except NotReached:
            continue
    raise NotReached("the drain never came to our lock")


def drain_before_acknowledgement(on: Field, plan: Planned) -> Struck:
    """The drain has committed; the lock on the record of runs keeps it from saying so."""
    with on.database.table_lock("listings") as first:
        drain = _stopped_drain(on, first)
        handled = on.database.inbox(on.shop_id).get("handled", 0)
        with on.database.table_lock("job_runs") as second:
            first.release()

            def is_closing() -> dict[str, Any] | None:
                rows = on.database.waiting_for(second)
                return next(
                    (row for row in rows if "update job_runs" in row["query"] and on.is_of(row, drain.pid)), None
                )

            row = on.wait(is_closing, "the drain wants to close its run", 15)
            booked = on.database.inbox(on.shop_id).get("handled", 0) - handled
            if booked <= 0:
                raise NotReached("the drain committed nothing")
            on.sell_until_received()
            struck = Struck(on.see(row=row), [drain.pid], {"committed_messages": booked})
            kill(on, drain.pid)
    return struck


def push_in_flight(on: Field, plan: Planned) -> Struck:
    """The channel takes its time; the process that waits for its answer dies."""
    with on.faults_end(), ExitStack() as held:
        drain, writes = _pushing(on, plan, held)
        struck = Struck(on.see(drain.pid), [drain.pid], {"channel": plan.channel, "writes_in_flight": len(writes)})
        kill(on, drain.pid)
    return struck


def _pushing(on: Field, plan: Planned, held: ExitStack) -> tuple[Drain, list[int]]:
    """A stock job whose writes are with the channel, while new deliveries lie in the inbox.

    Pushing is held back until those deliveries are there; then the channel takes its time.
    """
    lane = on.lane("stock", plan.channel)
    with on.holding(lane):
        _sell_what_differs(on, plan.channel)
        held.enter_context(on.filling())
        on.sell_until_received()
        on.arm("latency", MUTATION[plan.channel], IN_FLIGHT_SECONDS)

    def look() -> tuple[Drain, list[int]] | None:
        writes = on.open_writes(plan.channel)
        drain = on.holder_of(lane, lambda: on.family("stock"))
        return (drain, writes) if drain is not None and writes else None

    found: tuple[Drain, list[int]] = on.wait(look, f"writes are with {plan.channel}", 20)
    return found


def _sell_what_differs(on: Field, channel: str) -> None:
    """Sell until a channel shows another number than it should: not every order changes what it shows."""
    for _ in range(3):
        on.sell()
        try:
            on.wait(lambda: on.differing(channel) > 0, f"{channel} differs", 10)
            return
        except NotReached:
            continue
    raise NotReached(f"{channel} shows what it should")


def kill(on: Field, pid: int) -> None:
    """SIGKILL. Raises NotReached when it had ended before."""
    if not on.victims.kill(pid):
        raise NotReached("it had ended before the blow")


def worker(on: Field, plan: Planned) -> Struck:
    """A worker with all that it started; one that books is hit in its transaction."""
    if plan.queue == "events":
        with on.database.table_lock(plan.table) as lock:
            drain = _stopped_drain(on, lock)
            parent = on.victims.kept("events")
            assert parent is not None
            seen = on.see(row=drain.activity)
            hit = on.victims.kill_worker(parent, worker_first=plan.worker_first)
        return Struck(seen, hit, {"queue": plan.queue, "table": plan.table})
    with on.filling():
        on.sell_until_received()
        parent = on.wait(lambda: on.victims.kept(plan.queue), f"the {plan.queue} worker lives")
        seen = on.see()
        seen.open_transaction = next(
            (row for child in children(parent) if (row := on.transaction_of(child)) is not None), None
        )
        hit = on.victims.kill_worker(parent, worker_first=plan.worker_first)
    return Struck(seen, hit, {"queue": plan.queue})


def api(on: Field, plan: Planned) -> Struck:
    """While it records deliveries."""
    with on.filling():
        pid = on.wait(lambda: on.victims.kept("api"), "the api lives")
        on.sell_until_received()
        on.sell()
        struck = Struck(on.see(pid), [pid])
        kill(on, pid)
    return struck


def scheduler(on: Field, plan: Planned) -> Struck:
    """Nobody rings for a while."""
    with on.filling():
        on.sell_until_received()
        pid = on.wait(lambda: on.victims.kept("scheduler"), "the scheduler lives")
        struck = Struck(on.see(pid), [pid])
        kill(on, pid)
    return struck


def redis(on: Field, plan: Planned) -> Struck:
    """Deliveries go on while it is away."""
    with on.filling():
        on.sell_until_received()
        pid = on.victims.server("redis")
        struck = Struck(on.see(), [pid], {"outage_seconds": plan.outage_seconds})
        kill(on, pid)
        on.sell()
    try:
        time.sleep(plan.outage_seconds)
    finally:
        on.victims.wait_gone(pid)
        on.victims.start_again("redis")
    return struck


def flushall(on: Field, plan: Planned) -> Struck:
    """Queues, flags, limiters and schedules are forgotten."""
    with on.filling(), on.victims.client() as client:
        on.sell_until_received()
        struck = Struck(on.see(), [], {"keys": client.dbsize()})
        client.flushall()
    return struck


def postgres(on: Field, plan: Planned) -> Struck:
    """The drain's transaction dies with the server."""
    with on.database.table_lock(plan.table) as lock:
        drain = _stopped_drain(on, lock)
        pid = on.victims.server("postgres")
        notes = {"table": plan.table, "outage_seconds": plan.outage_seconds, "drain": drain.pid}
        struck = Struck(on.see(row=drain.activity), [pid], notes)
        kill(on, pid)
    try:
        on.sell()
        time.sleep(plan.outage_seconds)
    finally:
        on.victims.wait_gone(pid)
        on.victims.start_again("postgres")
    return struck


def two_schedulers(on: Field, plan: Planned) -> Struck:
    """Both ring; the periods in Postgres are handed out once."""
    first = on.wait(lambda: on.victims.kept("scheduler"), "the scheduler lives")
    second = on.victims.spawn("workers.scheduler")
    with on.filling():
        on.sell_until_received()
        struck = Struck(on.see(), [], {"schedulers": [first, second], "seconds": SECOND_SCHEDULER_SECONDS})
    on.later(SECOND_SCHEDULER_SECONDS, lambda: on.victims.end_spawned(second))
    return struck


def frozen_worker(on: Field, plan: Planned) -> Struck:
    """Frozen while it books, or while its writes are with the channel; wakes up when another has its lane.

    The server closes the connections of a process that stays silent beyond its lease (a minute within a transaction,
    three for the lock of a lane). A run does not wait so long: the same connections are closed at once.
    """
    queue = plan.frozen
    with on.faults_end(), ExitStack() as held:
        if queue == "events":
            lock = held.enter_context(on.database.table_lock(plan.table))
            drain = _stopped_drain(on, lock)
            lane, seen = on.lane("events"), on.see(row=drain.activity)
        else:
            drain, _ = _pushing(on, plan, held)
            lane, seen = on.lane("stock", plan.channel), on.see(drain.pid)
        os.kill(drain.pid, signal.SIGSTOP)
        try:
            held.close()
            ended = on.database.end_backends(on.connections_of(drain.pid))
            second = on.victims.spawn("workers.run", "--queue", queue)
            taker = _taken_over(on, lane, second)
        finally:
            os.kill(drain.pid, signal.SIGCONT)
    on.later(1.0, lambda: on.victims.end_spawned(second))
    notes = {"queue": queue, "connections_ended": ended, "taken_over_by": taker}
    return Struck(seen, [drain.pid], notes)


def _taken_over(on: Field, lane: Any, second: int) -> int:
    """Wait until the other worker's job holds the lane, ringing until then."""
    for _ in range(60):
        on.app.doorbell.answer(lane)
        on.app.doorbell.ring(lane)
        try:
            found = on.wait(lambda: on.holder_of(lane, lambda: children(second)), "another has the lane", 0.5)
        except NotReached:
            continue
        return int(found.pid)
    raise NotReached("nobody took the lane over")


def _late(kind: str) -> Blow:
    def blow(on: Field, plan: Planned) -> Struck:
        with on.faults_end(), on.filling():
            fault = on.arm(kind, "", plan.late_seconds)
            on.sell()
            # What is late by a fault is late for this portion, too.
            on.wait(lambda: on.received() > 0, "deliveries lie in the inbox")
            struck = Struck(on.see(), [], {"deliveries_struck": on.hits(fault), "late_seconds": plan.late_seconds})
        if not struck.notes["deliveries_struck"]:
            raise NotReached("no delivery was struck")
        return struck

    return blow


def _misanswered(kind_of: Callable[[Planned], str]) -> Blow:
    def blow(on: Field, plan: Planned) -> Struck:
        """The push is held back until the next deliveries lie in the inbox; then its calls are struck."""
        with on.faults_end():
            with on.holding(on.lane("stock", plan.channel)):
                _sell_what_differs(on, plan.channel)
                with on.filling():
                    on.sell_until_received()
                    count = random.Random(plan.number).randrange(1, 5)
                    fault = on.arm(kind_of(plan), MUTATION[plan.channel], count=count)
                    seen = on.see()
            on.wait(lambda: on.hits(fault) > 0, f"a call to {plan.channel} was struck", 20)
            notes = {"fault": kind_of(plan), "channel": plan.channel, "calls_struck": on.hits(fault)}
        return Struck(seen, [], notes)

    return blow


BLOWS: dict[str, Blow] = {
    "drain_in_transaction": drain_in_transaction,
    "drain_before_acknowledgement": drain_before_acknowledgement,
    "push_in_flight": push_in_flight,
    "worker": worker,
    "api": api,
    "scheduler": scheduler,
    "redis": redis,
    "flushall": flushall,
    "postgres": postgres,
    "two_schedulers": two_schedulers,
    "frozen_worker": frozen_worker,
    "duplicate_deliveries": _late("duplicate_delivery"),
    "delayed_deliveries": _late("delayed_delivery"),
    "reordered_deliveries": _late("reordered_delivery"),
    "lost_replies": _misanswered(lambda plan: "lost_reply"),
    "refused_answers": _misanswered(lambda plan: plan.answer),
}
