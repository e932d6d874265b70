"""A run: the orders once quietly, once under blows, and both ends held against each other."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from core.audit import Actor
from core.bootstrap import Application, make_application
from core.clock import utc_now
from core.config import Settings
from core.db import fetch, read_only, unit_of_work
from core.errors import Retryable, SwitchyardError
from core.inventory import publishing
from core.inventory.publishing import NotInDoubt
from core.messaging.doorbell import Lane
from tests.acceptance import compare_channels, compare_replay
from tests.chaos.blows import BLOWS
from tests.chaos.database import Database
from tests.chaos.desk import Desk
from tests.chaos.desk_blows import DESK_BLOWS
from tests.chaos.ending import Ending, open_alert_kinds
from tests.chaos.field import Field, NotReached, Orders
from tests.chaos.listener import listening
from tests.chaos.plan import Planned, draw
from tests.chaos.report import Record, Report
from tests.chaos.victims import Victims
from tests.functional.dump import Dump, changes, dump
from tests.functional.systems import System
from workers.replay import ASK_SECONDS, SELLER_ID, SHOP_NAME, Placing, ask_for_orders, hurried, open_world, what_is_left
from workers.retail_file import Invoice, articles, least_opening_stock, read_invoices
from workers.world import Control, Pair, quiet

FACTOR = 120.0
"""Failed deliveries come again after half a second, and for two minutes, until the sandbox gives them up."""

AT_ONCE = 50
TRIES = 4
SALES_PER_BLOW = 2.5
STALLED_SECONDS = 240
SAY_SECONDS = 15
HAND_AFTER_SECONDS = 6.0
"""Of no change: then a person looks at what is in doubt."""

HAND_OF_AGE = timedelta(seconds=20)
"""By then a write has arrived that was on its way when its sender was killed, and the sandbox's own delay is over."""

ALL_BLOWS = {**BLOWS, **DESK_BLOWS}

ACTOR = Actor("chaos", "blows against the whole system")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What is run; `log` takes a copy of what the system's processes said under blows, `only` limits their kinds."""

    seed: int
    blows: int
    file: Path
    say: Say = print
    log: Path | None = None
    only: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class World:
    """A system that has the shop of the file, and how we speak to it."""

    system: System
    app: Application
    control: Control
    pair: Pair


def run(options: Options) -> Report:
    """Play the file twice and compare. Whatever fails is in the report; only a system that does not start raises."""
    invoices = read_invoices(options.file)
    plan = draw(options.seed, options.blows, options.only)
    report = Report(options.seed, len(plan), options.file.name, FACTOR)
    options.say(f"seed {options.seed}: {len(plan)} blows, {len(invoices)} invoices of {options.file.name}")
    began = time.monotonic()
    calm, standing = _quiet_run(invoices, options.say)
    report.quiet_seconds = time.monotonic() - began
    with listening() as listener, _world(invoices) as world:
        try:
            desk = Desk(world.app, world.pair, listener)
            desk.set_up()
            _chaos_run(world, desk, invoices, plan, report, options.say)
            _judge(world, options, calm, report)
            _judge_desk(world, desk, standing, report, options.say)
        except (AssertionError, psycopg.Error, SQLAlchemyError, httpx.HTTPError, SwitchyardError) as error:
            report.failure = f"{type(error).__name__}: {error}"
        finally:
            _count(world, report)
            if options.log is not None:
                options.log.write_text(world.system.said())
    return report


@contextmanager
def _world(invoices: Sequence[Invoice]) -> Iterator[World]:
    system = System()
    try:
        system.start()
        environment = {**os.environ, **system.state().environment()}
        app = make_application(Settings.from_environment(environment), name="chaos")
        control = Control(system.sandbox_url)
        with hurried(control, FACTOR):
            stock = least_opening_stock(invoices)
            pair = open_world(app, control, articles(invoices), stock, ACTOR, quiet)
            yield World(system, app, control, pair)
        app.engine.dispose()
        app.queue.close()
        system.stop()
    finally:
        system.erase()


def _quiet_run(invoices: Sequence[Invoice], say: Say) -> tuple[Dump, frozenset[str]]:
    """What there is in the end, and which kinds of alerts are open in such a world that nobody touches."""
    with _world(invoices) as world:
        placing = Placing(world.app, world.control, world.pair, ACTOR)
        plans = [placing.plan(invoices[start : start + AT_ONCE]) for start in range(0, len(invoices), AT_ONCE)]
        for part in plans:
            placing.place(part)
        _come_into_step(world, say)
        # One after the other: nothing that is booked here happens while something else does.
        for part in plans:
            placing.book(part)
        acts = _come_into_step(world, say)
        assert not acts, f"the quiet run left writes in doubt: {acts}"
        found = dump(world.system.database_url, SHOP_NAME, by_name=True)
        say(f"quiet run: {sum(map(len, found.values()))} rows of {len(found)} tables")
        database = Database(world.system)
        try:
            standing = open_alert_kinds(database)
            if standing:
                say(f"alerts that are open in the quiet run, too: {', '.join(sorted(standing))}")
            return found, standing
        finally:
            database.close()


def _chaos_run(
    world: World, desk: Desk, invoices: Sequence[Invoice], plan: Sequence[Planned], report: Report, say: Say
) -> None:
    orders = Orders(Placing(world.app, world.control, world.pair, ACTOR), invoices)
    on = Field(
        system=world.system,
        app=world.app,
        control=world.control,
        pair=world.pair,
        orders=orders,
        database=Database(world.system),
        victims=Victims(world.system),
        desk=desk,
        factor=FACTOR,
        portion=max(1, int(len(invoices) / (len(plan) * SALES_PER_BLOW))),
    )
    began = time.monotonic()
    try:
        _strike_all(on, plan, report, say)
        on.do_what_is_due(everything=True)
        while orders.left:
            orders.place(AT_ONCE)
        orders.finish()
        report.blow_seconds = time.monotonic() - began
        report.repeated_bookings = orders.repeated_bookings
        began = time.monotonic()
        report.settled_by_hand = _come_into_step(world, say)
        report.settling_seconds = time.monotonic() - began
    finally:
        on.victims.end_spawned()
        on.database.close()


def _strike_all(on: Field, plan: Sequence[Planned], report: Report, say: Say) -> None:
    """Every blow of the plan; one whose moment does not come has its turn again at the end."""
    waiting = [(planned, 1) for planned in plan]
    while waiting:
        planned, tries = waiting.pop(0)
        time.sleep(planned.pause_seconds)
        on.do_what_is_due()
        began = time.monotonic()
        try:
            struck = ALL_BLOWS[planned.kind](on, planned)
        except (NotReached, psycopg.OperationalError, OperationalError, Retryable) as error:
            # What a person's own act meets: a lock of ours, a server that is away. They are told, and try again.
            said = f"{planned.number} {planned.kind}: {error}"
            say(f"     {began - on.began:>7.1f}s not yet: {said}")
            if tries < TRIES:
                waiting.append((planned, tries + 1))
            else:
                report.not_fallen.append(said)
            continue
        record = Record(
            number=planned.number,
            kind=planned.kind,
            at_seconds=round(time.monotonic() - on.began, 1),
            took_seconds=round(time.monotonic() - began, 1),
            received=struck.seen.received,
            undelivered=struck.seen.undelivered,
            open_transaction=struck.seen.open_transaction,
            pids=struck.pids,
            notes=struck.notes,
            tries=tries,
        )
        report.blows.append(record)
        say(record.as_text())


def _come_into_step(world: World, say: Say) -> list[dict[str, Any]]:
    """Wait until nothing is on its way any more, acting as the person who ends doubts; returns those acts.

    Raises AssertionError with what is left when nothing moves for STALLED_SECONDS.
    """
    acts: list[dict[str, Any]] = []
    before: Mapping[str, int] = {}
    moved = said = asked = time.monotonic()
    while any((left := _what_is_left(world)).values()):
        if time.monotonic() - asked > ASK_SECONDS:
            ask_for_orders(world.app, world.pair.shop_id)
            asked = time.monotonic()
        if left != before:
            before, moved = left, time.monotonic()
        if time.monotonic() - said > SAY_SECONDS:
            said = time.monotonic()
            say("coming into step: " + ", ".join(f"{count} {name}" for name, count in left.items() if count))
        silence = time.monotonic() - moved
        assert silence < STALLED_SECONDS, f"nothing moved for {silence:.0f} s and there is left: {left}"
        if silence > HAND_AFTER_SECONDS and left["open_writes"] and not left["undelivered"] + left["unread_messages"]:
            acts += _settle_by_hand(world)
        time.sleep(0.3)
    return acts


def _what_is_left(world: World) -> dict[str, int]:
    deliveries = world.control.get("/deliveries")
    with read_only(world.app.engine) as conn:
        left = what_is_left(conn, world.pair.shop_id)
    return {**left, "undelivered": deliveries["queued"] + deliveries["in_flight"]}


_IN_DOUBT = """
    select w.id, w.to_units, w.doubt, l.channel_code as code from listing_writes w
    join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
    where w.shop_id = %(shop)s and w.connection_id = %(connection)s and w.outcome is null and w.doubt is not null
        and w.accepted_at is null and w.sent_at < %(before)s
    order by w.id
"""


def _settle_by_hand(world: World) -> list[dict[str, Any]]:
    """What `switchyard settle` does, for each write that a killed sender left in doubt on the channel that cannot be
    asked about a request."""
    amazon = world.pair.amazon
    with read_only(world.app.engine) as conn:
        rows = fetch(
            conn,
            _IN_DOUBT,
            shop=amazon.shop_id,
            connection=amazon.id,
            before=utc_now() - HAND_OF_AGE,
        )
    shown = {
        level["sku"]: sum(level["in_force"].values())
        for level in world.control.get(f"/amazon/{SELLER_ID}/levels")["levels"]
    }
    acts = []
    for row in rows:
        actor = Actor("a tester", f"seen on Amazon: {row['doubt']}")
        try:
            with unit_of_work(world.app.engine) as conn:
                publishing.settle_by_hand(conn, amazon.shop_id, row["id"], shown[row["code"]], actor, utc_now())
        except NotInDoubt:
            # It was read back meanwhile, and needs nobody any more.
            continue
        acts.append({"write": row["id"], "to_units": row["to_units"], "shown": shown[row["code"]]})
    if acts:
        world.app.doorbell.ring(Lane("stock", amazon.shop_id, amazon.id))
    return acts


def _judge(world: World, options: Options, calm: Dump, report: Report) -> None:
    url, sandbox = world.system.database_url, world.system.sandbox_url
    report.comparisons["every row by business key, against the quiet run"] = changes(
        calm, dump(url, SHOP_NAME, by_name=True)
    )
    told = compare_replay.compare(options.file, None, url, SHOP_NAME)
    report.comparisons["the database against the file"] = [str(item) for item in told.shown()]
    channels = compare_channels.compare(url, sandbox, SHOP_NAME)
    report.comparisons["both channels against our stock"] = [str(item) for item in channels.shown()]
    report.comparisons["audit --settled"] = _audited(world, report, options.say)
    report.comparisons["each period of a schedule handed out once"] = _periods(world)


def _judge_desk(world: World, desk: Desk, standing: frozenset[str], report: Report, say: Say) -> None:
    """What operations are about, once people have repaired what is open; then the trade and the audit once more."""
    database = Database(world.system)
    began = time.monotonic()
    try:
        ending = Ending(desk, database, Victims(world.system), standing, say)
        left = ending.come_to_rest()
        report.resting_seconds = time.monotonic() - began
        report.comparisons["nothing of operations is left open"] = [f"{count} {name}" for name, count in left.items()]
        report.comparisons |= ending.comparisons()
        report.tellings = dict(Counter(one.medium for one in desk.listener.told))
        report.settled_by_hand += _come_into_step(world, say)
        report.comparisons["audit --settled, after all that"] = _audited(world, report, say)
    finally:
        database.close()


def _audited(world: World, report: Report, say: Say) -> list[str]:
    """The command's own verdict; a poll may put known orders into the inbox at any moment, so it may look again."""
    said: list[str] = []
    for _ in range(5):
        answer = world.system.cli("audit", "--settled", check=False)
        if answer.returncode == 0:
            return []
        said = answer.stdout.splitlines() or [answer.stderr]
        report.settled_by_hand += _come_into_step(world, say)
    return said


def _periods(world: World) -> list[str]:
    """A ring says in its run which period it was given: no two runs had the same one."""
    with read_only(world.app.engine) as conn:
        rows = fetch(
            conn,
            "select function, key, count(*) as runs from job_runs cross join lateral jsonb_object_keys(result) key"
            " where function like 'schedule.%%' and outcome = 'finished' group by 1, 2",
        )
    twice = [f"{row['function']}: {row['runs']} runs of period {row['key']}" for row in rows if row["runs"] > 1]
    return twice if rows else ["no ring was given a period"]


def _count(world: World, report: Report) -> None:
    report.deliveries = world.control.get("/deliveries")
    with read_only(world.app.engine) as conn:
        shop = world.pair.shop_id
        numbers = fetch(
            conn,
            "select (select count(*) from orders where shop_id = %(shop)s) as orders,"
            " (select count(*) from order_lines where shop_id = %(shop)s) as lines",
            shop=shop,
        )[0]
        report.orders, report.order_lines = numbers["orders"], numbers["lines"]
        for name, sql in (
            ("messages", "select state as name, count(*) from inbox_messages where shop_id = %(shop)s group by 1"),
            ("runs", "select coalesce(outcome, 'open') as name, count(*) from job_runs group by 1"),
        ):
            rows = fetch(conn, f"{sql} order by 1", shop=shop)
            setattr(report, name, {row["name"]: row["count"] for row in rows})
