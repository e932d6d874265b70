"""`backlog`: 100,000 messages wait. Does what people are told of the time left come true, and do screens stay quick?

- The time left: one worker drains the inbox of a connected shop. What the Jobs screen says of it is read every few
  seconds, and what the alert would say at each look; both are held against the truth, which is known at the end.
- The screens: the statements behind each, against the same statements in a shop in which a hundred of each wait, are
  parked or have failed, and against the budget of a click. While everything waits, while it drains, and with 100,000
  messages that wait, as many parked ones of 50 causes and as many failed jobs: as that burst leaves it, before anything
  was counted or read, and once it is.

Readings count from SETTLING seconds after the first batch on, up to ENDING seconds before the end, or as many BATCHES
where they take longer: of a batch nothing is to be seen before it is done, so that nobody can say to the second how
much of the last few is left.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import orjson
import redis
from sqlalchemy import Engine

from bench import screens
from bench import shop as shops
from bench.apply import _process
from bench.failing import fail
from bench.report import Report
from bench.servers import Servers
from bench.shop import Shop
from bench.stream import Delivered, World, make_world
from core import embedded
from core.adapters.rq import RqJobQueue
from core.alerts import backlog, sweep
from core.alerts.engine import Desk
from core.alerts.rates import seconds_left
from core.clock import utc_now
from core.db import make_engine, read_only, scalar, unit_of_work
from core.messaging import inbox
from core.messaging.doorbell import Doorbell, Lane
from core.recovery import tallies
from dashboard import job_words, jobs_queries
from workers.jobs.recovery import weigh_failures

MESSAGES = 100_000
ORDERS = 2_000
"""Real ones; the rest are the same again under other numbers."""

READ_EVERY, LOOK_EVERY = 3.0, 15.0
"""Seconds. Alerts are looked for once a minute in a running system; more often here, so that a drain has readings."""

WINDOW = timedelta(minutes=10)
"""The alert's window, as it is where nobody has changed it."""

SETTLING, ENDING, BATCHES = 45.0, 5.0, 6
NEAR = 0.2
FEW = 100
"""Of what there are a hundred thousand of, where the shop is that screens are held against."""
AIM = 1.0


@dataclass(slots=True)
class Said:
    """What was told at `at` (seconds of this process's clock): seconds left and how many a minute; None: unknown."""

    at: float
    waiting: int
    left: float | None
    a_minute: float | None


@dataclass(slots=True)
class Drain:
    """A drain as it was told and as it was."""

    began: float = 0.0
    ended: float = 0.0
    batches: int = 1
    screen: list[Said] = field(default_factory=list)
    alert: list[Said] = field(default_factory=list)
    reads_ms: list[float] = field(default_factory=list)
    looks_ms: list[float] = field(default_factory=list)
    pages_ms: dict[str, list[float]] = field(default_factory=dict)


def run(servers: Servers, rounds: int, *, size: float = 1.0) -> Report:
    """Drain once whatever `rounds` says: a run takes minutes, and has a hundred readings in itself.

    `size` scales the messages; below a tenth only three screens are opened, and readings count from the first on.
    """
    count = max(300, round(MESSAGES * size))
    copies = max(1, round(count / max(60, round(ORDERS * size))))
    base = make_world(count // copies)
    several = f"{len(base.deliveries) * copies:,} {base.origin} ({base.lines / base.orders:.1f} lines each)"
    report = Report("backlog", f"{several}; {count:,} parked messages, {count:,} failed jobs")
    names = screens.OPERATIONS if size >= 0.1 else screens.OPERATIONS[:3]
    drained(servers, report, base, copies, names, rounds, SETTLING if size >= 0.1 else 0.0)
    failed(servers, report, base, copies, count, names, rounds)
    return report


def drained(
    servers: Servers, report: Report, base: World, copies: int, names: Sequence[str], rounds: int, settling: float
) -> None:
    """The inbox full of `base`, that many times over, and worked off."""
    with redis.Redis.from_url(servers.redis_url) as client:
        client.flushall()
    world = replace(base, items=[replace(item, units=item.units * copies) for item in base.items])
    with _two_shops(servers, world) as (calm, database, engine, owner, shop):
        _fill(database, shop, base, copies)
        shops.analyse(owner)
        pages = screens.heard(engine, names)
        _compare(report, engine, calm, pages, rounds, "a full inbox")
        drain = _drain(servers, database, engine, shop, pages)
        judge(report, drain, len(base.deliveries) * copies, settling)
        _draining(report, drain)


def failed(
    servers: Servers, report: Report, base: World, copies: int, count: int, names: Sequence[str], rounds: int
) -> None:
    """An inbox as full, as many parked messages and failed jobs: as the burst leaves them, and weighed as a job does
    that runs once a minute. The other shop has a hundred of each."""
    with _two_shops(servers, base) as (calm, database, engine, owner, shop):
        # Made the same way, it has the same ids.
        shops.fill_inbox(calm, shop.shopify, base.deliveries[:FEW])
        fail(calm, shop, FEW)
        _fill(database, shop, base, copies)
        fail(owner, shop, count)
        pages = screens.heard(engine, names)
        _compare(report, engine, calm, pages, rounds, "a fresh burst")
        began = time.monotonic()
        while weigh_failures()["read"]:
            pass
        weighed = 2 * count / (time.monotonic() - began)
        report.add("parked and failed: what each is about, found out", "failures/s", [weighed])
        with unit_of_work(owner) as conn:
            tallies.fold(conn, utc_now())
        shops.analyse(owner)
        _compare(report, engine, calm, pages, rounds, "parked and failed")


@contextmanager
def _two_shops(servers: Servers, world: World) -> Iterator[tuple[Engine, embedded.Database, Engine, Engine, Shop]]:
    """The same shop in two databases: the engine of the calm one; the other, its dashboard's and owner's."""
    with servers.database() as quiet, servers.database() as database:
        calm, owner = make_engine(quiet.url), make_engine(database.superuser_url)
        with (
            _connected(servers, quiet, world),
            _connected(servers, database, world) as shop,
            screens.dashboard_on(servers, database) as engine,
        ):
            yield calm, database, engine, owner, shop
        owner.dispose()
        calm.dispose()


@contextmanager
def _connected(servers: Servers, database: embedded.Database, world: World) -> Iterator[Shop]:
    engine, owner = make_engine(database.url), make_engine(database.superuser_url)
    try:
        shop = shops.connect(engine, world, servers.secret_key)
        shops.analyse(owner)
        yield shop
    finally:
        engine.dispose()
        owner.dispose()


def _fill(database: embedded.Database, shop: Shop, world: World, copies: int) -> None:
    """Every order as many times under other numbers, received one time after the other over two hours."""
    engine, until = make_engine(database.url), utc_now() - timedelta(minutes=10)
    for copy in range(copies):
        at = until - timedelta(hours=2) * (1 - copy / copies)
        shops.fill_inbox(engine, shop.shopify, [_again(each, copy) for each in world.deliveries], at)
    engine.dispose()


def _again(delivery: Delivered, copy: int) -> Delivered:
    if not copy:
        return delivery
    order, far = orjson.loads(delivery.body), copy * 10**8
    order["id"] += far
    order["name"] += f"-{copy}"
    order["source_identifier"] = f"{order['source_identifier']}-{copy}"
    for line in order["line_items"]:
        line["id"] += far
    return replace(delivery, webhook_id=f"{delivery.webhook_id}-{copy}", body=orjson.dumps(order))


def _drain(servers: Servers, database: embedded.Database, engine: Engine, shop: Shop, pages: screens.Pages) -> Drain:
    """Let one worker at it and write down what is told meanwhile; seldom: the looking must not be what is measured."""
    drain = Drain()
    lane = Lane("events", shop.shop_id, shop.shopify.id)
    app = make_engine(database.url)
    with _process(servers, database, "-m", "bench.processes", "worker", "events"):
        _look(app, shop, drain)
        Doorbell(RqJobQueue(servers.redis_url)).ring(lane)
        drain.began = time.monotonic()
        read_at, look_at, page_at = drain.began, drain.began + LOOK_EVERY, drain.began + 20
        names = iter(list(pages) * 1000)
        with app.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            while inbox.has_received(conn, shop.shop_id, shop.shopify.id):
                now = time.monotonic()
                if now >= read_at:
                    read_at = now + READ_EVERY
                    _read(drain, shop)
                elif now >= look_at:
                    look_at = now + LOOK_EVERY
                    _look(app, shop, drain)
                elif now >= page_at:
                    page_at, name = now + 4, next(names)
                    drain.pages_ms.setdefault(name, []).append(screens.once(engine, pages[name]))
                else:
                    time.sleep(0.1)
        drain.ended = time.monotonic()
    with read_only(app) as conn:
        left = scalar(conn, "select count(*) from inbox_messages where state <> 'handled'")
        drain.batches = scalar(conn, "select count(distinct at) from tallies where kind = 'inbox'")
    app.dispose()
    if left:
        raise AssertionError(f"{left} messages were not handled")
    return drain


def _read(drain: Drain, shop: Shop) -> None:
    """What the Jobs screen says now, and how long it takes to ask."""
    jobs_queries.forget()
    began = time.monotonic()
    lanes = jobs_queries.lanes(shop.shop_id, "all")
    minutes = jobs_queries.lane_minutes(shop.shop_id, "all")
    steps = jobs_queries.lane_steps(shop.shop_id, "all")
    drain.reads_ms.append((time.monotonic() - began) * 1000)
    row = next(row for row in lanes if (row["connection_id"], row["kind"]) == (shop.shopify.id, "events"))
    view = job_words.lane(row, minutes[shop.shopify.id, "events"], steps[shop.shopify.id, "events"])
    drain.screen.append(Said(began, row["waiting"], view.left, view.drained))


def _look(engine: Engine, shop: Shop, drain: Drain) -> None:
    """One look for every alert, as the schedule's; and what the one of the backlog goes by."""
    began, now = time.monotonic(), utc_now()
    with unit_of_work(engine) as conn:
        sweep.look(Desk(conn, shop.shop_id, now, ""))
    drain.looks_ms.append((time.monotonic() - began) * 1000)
    with read_only(engine) as conn:
        samples = backlog.samples(conn, shop.shop_id, now - WINDOW, now)
    mine = samples[shop.shopify.id, "events"]
    pace = backlog.pace_of(mine, WINDOW)
    drain.alert.append(Said(began, mine[-1].waiting, seconds_left(mine[-1].waiting, pace), pace.done if pace else None))


def judge(report: Report, drain: Drain, messages: int, settling: float) -> None:
    """What was told against what came of it."""
    took = drain.ended - drain.began
    report.add("messages handled a second by one worker", "messages/s", [messages / took])
    batch = took / drain.batches
    report.add("a batch of them takes", "s", [batch], f"{drain.batches} batches")
    since, until = drain.began + max(settling, BATCHES * batch), drain.ended - max(ENDING, BATCHES * batch)
    near = report.add("share of readings that have to be near", "%", [100.0], "within 20 % of the truth")
    for who, said in (("Jobs screen", drain.screen), ("alert", drain.alert)):
        judged = [each for each in said if since <= each.at <= until]
        known = [each for each in judged if each.left is not None]
        report.add(f"{who}: readings judged", "readings", [max(len(judged), 1)], f"{len(judged) - len(known)} unknown")
        if not known:
            continue
        for what, off in (("time left", _off_left), ("rate", _off_rate)):
            missed = [off(each, drain.ended) for each in known]
            share = sum(each <= NEAR for each in missed) / len(judged)
            figure = report.add(f"{who}: {what} within 20 %", "%", [max(share * 100, 0.01)])
            report.add(f"{who}: {what}, worst", "% off", [max(max(missed) * 100, 0.01)])
            report.add(f"{who}: {what}, middle", "% off", [max(sorted(missed)[len(missed) // 2] * 100, 0.01)])
            report.compare(f"{who}, {what}: readings near the truth", figure, near, aim=AIM)


def _off_left(said: Said, ended: float) -> float:
    return abs((said.left or 0.0) / (ended - said.at) - 1)


def _off_rate(said: Said, ended: float) -> float:
    """Against how many a minute were done from then on to the end."""
    return abs((said.a_minute or 0.0) / (said.waiting / (ended - said.at) * 60) - 1)


def _draining(report: Report, drain: Drain) -> None:
    report.add(
        "while it drains: reading the lanes", "ms", [_middle(drain.reads_ms)], f"longest {max(drain.reads_ms):,.0f}"
    )
    report.add(
        "while it drains: a look for all alerts", "ms", [_middle(drain.looks_ms)], f"longest {max(drain.looks_ms):,.0f}"
    )
    for name, spent in drain.pages_ms.items():
        report.add(f"while it drains: statements of {name}", "ms", spent)


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _compare(report: Report, engine: Engine, calm: Engine, pages: screens.Pages, rounds: int, state: str) -> None:
    """Each screen's statements with a backlog, without one, and what they may take."""
    full, empty = screens.timed(engine, pages, rounds), screens.timed(calm, pages, rounds)
    budget = report.add(f"{state}: what a click's statements may take", "ms", [screens.BUDGET_MS])
    for name, statements in pages.items():
        took, sql = screens.slowest(engine, statements, rounds)
        ours = report.add(f"{state}: {name}", "ms", full[name], f"{len(statements)} statements; {took:.1f} ms: {sql}")
        bare = report.add(f"without a backlog: {name}", "ms", empty[name])
        report.compare(f"{state}: {name} against the same without", ours, bare)
        report.compare(f"{state}: budget against {name}", budget, ours, aim=AIM)
