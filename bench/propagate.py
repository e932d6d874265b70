"""`propagate`: from a sale on one channel to the number confirmed on the others, against the channels' own delays.

A system as `make up` starts it, on servers and in processes of its own, with two Shopify shops and an Amazon seller
that share one stock. The sandbox delays on purpose, in real seconds: a webhook WEBHOOK_SECONDS, an answer of an API
API_SECONDS, a number at Amazon 1 to 8 seconds until it is in force.

- ours: from the moment a unit is bought in one shop to the moment its write to the other shop, and to Amazon, is
  confirmed. Amazon's is confirmed when it was read back.
- floor: the sum of the sandbox's own delays, as somebody meets it who hears the webhook and writes at once: one call to
  each, nothing kept, nothing checked. At Amazon it ends when the number is in force, whoever knows.
- baseline: somebody who asks every minute which orders are new, and sets their goods one after the other.

All three sell in turn in the same sandbox in the same minutes, so that they meet the same delays.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.propagation.bare import Asker, Hearer, Seen, Side, sell, wait_for
from bench.report import Figure, Report
from bench.servers import Servers
from bench.system import environment_of, running_system
from core.audit import Actor
from core.bootstrap import Application, make_application
from core.clock import utc_now
from core.config import Settings
from core.connections import operations as connections
from core.db import fetch, read_only, unit_of_work
from workers.replay import wait_until_in_step
from workers.world import Control, amazon_connection, bring_in, quiet, shopify_connection

SALES = 150
SALES_A_SECOND = 1.0
UNITS = 100
WEBHOOK_SECONDS = (1.0, 2.0)
API_SECONDS = 0.25
ASK_SECONDS = 60.0
P50_AIM, P99_AIM = 2, 4
GIVE_UP_SECONDS = 180.0
NAME = "Propagation"
DOMAINS = ("north.myshopify.com", "south.myshopify.com")
SELLER_ID = "A1PROPAGATION"
ACTOR = Actor("bench", "to see how fast a sale is known elsewhere")

STAGES = """
    select s.name || '/' || o.name as name, c.vendor, extract(epoch from m.received_at)::float8 as received,
        extract(epoch from o.recorded_at)::float8 as booked, extract(epoch from w.planned_at)::float8 as planned,
        extract(epoch from w.sent_at)::float8 as sent, extract(epoch from w.outcome_at)::float8 as confirmed
    from orders o
    join connections s on s.shop_id = o.shop_id and s.id = o.connection_id
    join order_lines l on l.shop_id = o.shop_id and l.order_id = o.id
    join listings p on p.shop_id = l.shop_id and p.sku_id = l.sku_id and p.connection_id <> o.connection_id
    join connections c on c.shop_id = p.shop_id and c.id = p.connection_id
    cross join lateral (
        select min(received_at) as received_at from inbox_messages m
        where m.shop_id = o.shop_id and m.connection_id = o.connection_id and m.topic = 'orders/create'
            and convert_from(m.body, 'utf8')::jsonb->>'name' = o.name
    ) m
    cross join lateral (
        select planned_at, sent_at, outcome_at from listing_writes w
        where w.shop_id = p.shop_id and w.listing_id = p.id and w.outcome = 'confirmed'
            and w.planned_at >= o.recorded_at
        order by w.id limit 1
    ) w
    where o.shop_id = %(shop)s and s.name || '/' || o.name = any(%(names)s)
"""


def run(servers: Servers, rounds: int, *, size: float = 1.0) -> Report:
    """Measure once whatever `rounds` says: every sale is a trial."""
    sales = max(6, round(SALES * size))
    with running_system() as home:
        return _measure(home, sales, ASK_SECONDS * min(1.0, size))


def _measure(home: Path, sales: int, ask_seconds: float) -> Report:
    settings = Settings.from_environment(environment_of(home))
    app = make_application(settings, name="bench")
    control = Control(settings.sandbox_url)
    try:
        for crowd in control.get("/world")["shoppers"]:
            control.post("/shoppers", {**crowd, "running": False})
        skus = [f"P{number:04}" for number in range(sales)]
        floor, baseline = (Side(control, name, skus, UNITS) for name in ("floor", "baseline"))
        shop_id = _connect(app, control, skus)
        _arm(control)
        hearer, asker = Hearer(floor), Asker(baseline, ask_seconds)
        sold = _sell(app, control, shop_id, skus, [floor, baseline])
        for side in (floor, baseline):
            wait_for(side.seen.is_complete, "the floor and the baseline", GIVE_UP_SECONDS + ask_seconds)
        asker.close()
        hearer.close()
        floor.close()
        baseline.close()
        rows = _rows(app, shop_id, list(sold))
    finally:
        app.engine.dispose()
        app.queue.close()
    return _report(sold, rows, floor.seen, baseline.seen, ask_seconds)


def _connect(app: Application, control: Control, skus: Sequence[str]) -> int:
    """Two shops and a seller with the same goods, connected as channels of one shop of ours; in step."""
    products = [{"title": sku, "sku": sku, "price": "2.50", "available": UNITS} for sku in skus]
    for domain in DOMAINS:
        # The same name: both warehouses are the same one.
        control.post("/shops", {"domain": domain, "name": NAME, "plan": "plus"})
        control.post(f"/shopify/{domain}/products", {"products": products})
    control.post("/sellers", {"seller_id": SELLER_ID, "name": NAME})
    listings = [{"sku": sku, "title": sku, "quantity": UNITS} for sku in skus]
    control.post(f"/amazon/{SELLER_ID}/listings", {"listings": listings})
    world = control.get("/world")
    factor, shops = world["clock_factor"], {entry["domain"]: entry for entry in world["shops"]}
    seller = next(entry for entry in world["sellers"] if entry["seller_id"] == SELLER_ID)
    new = [
        shopify_connection(control.url, shops[domain], factor, name=domain, is_sku_source=domain == DOMAINS[0])
        for domain in DOMAINS
    ]
    new.append(amazon_connection(control.url, seller, factor))
    now = utc_now()
    with unit_of_work(app.engine) as conn:
        shop_id = connections.open_shop(conn, NAME, "Europe/London", "GBP", ACTOR, now)
        ids = [connections.connect(conn, shop_id, each, app.settings.secret_keys, ACTOR, now) for each in new]
    for connection_id in ids:
        bring_in(app, shop_id, connection_id, ACTOR, quiet)
    wait_until_in_step(app, control, shop_id, quiet)
    return shop_id


def _arm(control: Control) -> None:
    """The delays of the outside world, as faults that always strike."""
    least, most = WEBHOOK_SECONDS
    for fault in (
        {"kind": "latency", "seconds": API_SECONDS},
        {"kind": "delayed_delivery", "seconds": least},
        {"kind": "reordered_delivery", "seconds": most - least},
    ):
        control.post("/faults", fault)


def _sell(
    app: Application, control: Control, shop_id: int, skus: Sequence[str], others: Sequence[Side]
) -> dict[str, float]:
    """A unit of each SKU, first here then there; the others sell the same. Returns (moment, by order's name)."""
    sold = {}
    began = time.monotonic()
    for number, sku in enumerate(skus):
        time.sleep(max(0.0, began + number / SALES_A_SECOND - time.monotonic()))
        at, name = sell(control, DOMAINS[number % 2], sku)
        sold[f"{DOMAINS[number % 2]}/{name}"] = at
        for side in others:
            side.sell(sku)
    wait_for(lambda: len(_rows(app, shop_id, list(sold))) == 2 * len(sold), "every write", GIVE_UP_SECONDS)
    return sold


def _rows(app: Application, shop_id: int, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each sale and each channel that had to be told and has confirmed, with the moments of its stages."""
    with read_only(app.engine) as conn:
        return [dict(row) for row in fetch(conn, STAGES, shop=shop_id, names=list(names))]


def _report(sold: dict[str, float], rows: list[dict[str, Any]], floor: Seen, baseline: Seen, ask: float) -> Report:
    least, most = WEBHOOK_SECONDS
    delays = f"webhooks {least:g} to {most:g} s late, answers {API_SECONDS:g} s, Amazon 1 to 8 s"
    report = Report("propagate", f"{len(sold)} sales at {SALES_A_SECOND:g} a second beside each other; {delays}")
    for vendor, to, reached in (("shopify", "the other shop", "on_shopify"), ("amazon", "Amazon", "on_amazon")):
        mine = [row for row in rows if row["vendor"] == vendor]
        ours = [row["confirmed"] - sold[row["name"]] for row in mine]
        bare, asked = floor.lags(getattr(floor, reached)), baseline.lags(getattr(baseline, reached))
        for name, aim, of in (("p50", P50_AIM, statistics.median), ("p99", P99_AIM, _p99)):
            figure = report.add(f"ours to {to}: {name}", "s", [of(ours)])
            own = report.add(f"floor to {to}: {name}", "s", [of(bare)], "the sandbox's own delays")
            slow = report.add(f"baseline to {to}: {name}", "s", [of(asked)], f"asks every {ask:g} s")
            allowed = Figure(f"{aim} times the floor", "s", (aim * own.value,))
            report.compare(f"{to}, {name}: {aim} times the sandbox's own delays, against ours", allowed, figure, aim=1)
            report.compare(f"{to}, {name}: ours against the sandbox's own delays", figure, own)
            report.compare(f"{to}, {name}: the baseline against ours", slow, figure)
        for name, seconds in _stages(mine, sold):
            report.add(f"ours to {to}, {name}: p50", "s", [statistics.median(seconds)])
    return report


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98]


def _stages(rows: Sequence[dict[str, Any]], sold: dict[str, float]) -> Iterator[tuple[str, list[float]]]:
    """What each part of the way took."""
    yield "sale to webhook received", [row["received"] - sold[row["name"]] for row in rows]
    for before, after in (("received", "booked"), ("booked", "planned"), ("planned", "sent"), ("sent", "confirmed")):
        yield f"{before} to {after}", [row[after] - row[before] for row in rows]
