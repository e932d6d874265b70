"""Replays a file of the Online Retail form: the sandbox's shoppers place its orders on Shopify, and Amazon follows.

Orders are placed, shipped and refunded in the sandbox, whose webhooks bring them in; stock adjustments and returns
without an order are acts of our own people and go through core operations, in file order. Everything has a business
key made of the invoice, so a replay that is repeated changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.db import fetch, fetch_one, read_only, unit_of_work
from core.errors import Permanent, Retryable
from core.inventory import operations as inventory
from core.inventory.operations import Adjustment
from core.messaging.doorbell import Lane
from core.orders import operations as orders
from core.orders.operations import OrderlessReturn
from workers.retail_file import (
    CURRENCY,
    Article,
    Invoice,
    Line,
    Matcher,
    Plan,
    Refund,
    articles,
    least_opening_stock,
    opening_stock,
    read_invoices,
)
from workers.world import Control, Pair, Progress, connect_pair, sync_and_wait

SHOP_NAME = "Online Retail"
DOMAIN = "online-retail.myshopify.com"
SELLER_ID = "A1ONLINERETAIL"
AT_ONCE = 50
"""Invoices placed with one call."""

BUSY_TRIES = 10
ASK_SECONDS = 2.0
STALLED_SECONDS = 300
"""Give up when nothing has moved for so long."""


class ReplayStalled(Permanent):
    """Nothing moved for a while, but not everything is in step."""

    def __init__(self, what: Mapping[str, int]) -> None:
        left = ", ".join(f"{count} {name}" for name, count in what.items() if count)
        super().__init__(f"nothing moved for {STALLED_SECONDS} s and there is left: {left}. See `switchyard status`.")


class RefusedByShop(Permanent):
    """The sandbox did not take an order or refund of the file."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(f"{answer.get('key')} was refused: {answer.get('error')}: {answer.get('message')}")


@dataclass(slots=True)
class Summary:
    """What a replay came to, as our database has it. Money in minor units of `currency`."""

    file: str
    invoices: int = 0
    orders: int = 0
    order_lines: int = 0
    units_ordered_goods: int = 0
    units_returned_goods: int = 0
    units_net_goods: int = 0
    units_adjusted: int = 0
    revenue_minor: int = 0
    currency: str = CURRENCY
    rounding: str = ""
    refunds: int = 0
    returns_without_order: int = 0
    adjustments: int = 0
    adjustments_without_stock: int = 0
    seconds_to_last_booking: float = 0.0
    seconds_to_last_confirmed_push: float = 0.0
    clock_factor: float = 1.0
    vendor_seconds_to_last_confirmed_push: float = 0.0
    deliveries: dict[str, Any] = field(default_factory=dict)


def replay(
    app: Application, path: Path, totals: Path | None, factor: float, actor: Actor, progress: Progress
) -> Summary:
    """Replay the whole file and wait until both channels show our numbers.

    `factor` is how many times faster than real the vendors' quotas and delays run. Raises BadInput for a file that is
    not of the form, ReplayStalled when the system stops moving.
    """
    progress("reading the file", 0, None)
    invoices = read_invoices(path)
    stock = opening_stock(totals) if totals is not None else least_opening_stock(invoices)
    control = Control(app.settings.sandbox_url)
    with hurried(control, factor):
        pair = open_world(app, control, articles(invoices), stock, actor, progress)
        started_at = utc_now()
        placing = Placing(app, control, pair, actor)
        for start in range(0, len(invoices), AT_ONCE):
            plans = placing.plan(invoices[start : start + AT_ONCE])
            placing.place(plans)
            placing.book(plans)
            progress("placing orders", min(start + AT_ONCE, len(invoices)), len(invoices))
        wait_until_in_step(app, control, pair.shop_id, progress)
        summary = _summary(app, pair, path, invoices, started_at, control)
        summary.clock_factor = factor
        summary.vendor_seconds_to_last_confirmed_push = round(summary.seconds_to_last_confirmed_push * factor, 1)
    progress("done", len(invoices), len(invoices))
    return summary


@contextmanager
def hurried(control: Control, factor: float) -> Iterator[None]:
    """Run the sandbox's durations `factor` times faster for the length of the block; its demo shoppers rest."""
    world = control.get("/world")
    resting = [entry for entry in world["shoppers"] if entry["running"]]
    for entry in resting:
        control.post("/shoppers", {**entry, "running": False})
    control.post("/clock", {"factor": factor})
    try:
        yield
    finally:
        control.post("/clock", {"factor": world["clock_factor"]})
        for entry in resting:
            control.post("/shoppers", entry)


def open_world(
    app: Application,
    control: Control,
    found: Sequence[Article],
    stock: Mapping[str, int],
    actor: Actor,
    progress: Progress,
) -> Pair:
    """Stock a shop and a seller of the sandbox with these articles, and connect both; safe to repeat.

    `stock` is the opening stock in units by code. Raises SyncFailed, SandboxRefused or Retryable.
    """
    progress("stocking the shop", 0, len(found))
    control.post("/shops", {"domain": DOMAIN, "name": SHOP_NAME, "currency": CURRENCY, "plan": "plus"})
    control.post("/sellers", {"seller_id": SELLER_ID, "name": SHOP_NAME})
    for start in range(0, len(found), 1000):
        part = found[start : start + 1000]
        control.post(f"/shopify/{DOMAIN}/products", {"products": [_product(item, stock) for item in part]})
        goods = [item for item in part if item.is_goods]
        control.post(f"/amazon/{SELLER_ID}/listings", {"listings": [_listing(item, stock) for item in goods]})
        progress("stocking the shop", start + len(part), len(found))
    # Shoppers of the file bought what was not counted in: nothing that is sold below zero can be split.
    pair = connect_pair(app, control, SHOP_NAME, DOMAIN, SELLER_ID, actor, progress, mode="pooled")
    if _has_new_articles(app, pair, found):
        # Another file was replayed into the shop before: its catalogue has grown since it was read.
        for row in (pair.shopify, pair.amazon):
            sync_and_wait(app, row, actor, progress)
    return pair


def _has_new_articles(app: Application, pair: Pair, found: Sequence[Article]) -> bool:
    with read_only(app.engine) as conn:
        known = {
            row["code"] for row in fetch(conn, "select code from skus where shop_id = %(shop)s", shop=pair.shop_id)
        }
    return any(item.code not in known for item in found)


def _product(item: Article, stock: Mapping[str, int]) -> dict[str, Any]:
    return {
        "sku": item.code,
        "title": item.title,
        "price": str(item.unit_price),
        "tracked": item.is_goods,
        # The shop of the file sold what was not counted in; refusing at zero comes with exposure.
        "inventory_policy": "CONTINUE",
        "available": stock.get(item.code, 0) if item.is_goods else 0,
    }


def _listing(item: Article, stock: Mapping[str, int]) -> dict[str, Any]:
    return {"sku": item.code, "title": item.title, "quantity": stock.get(item.code, 0)}


class Placing:
    """Lets what the file says happen, some invoices at a time and in file order.

    Every invoice is planned once; what is planned may then be placed and booked any number of times, since everything
    has a key made of its invoice.
    """

    def __init__(self, app: Application, control: Control, pair: Pair, actor: Actor) -> None:
        self._app, self._control, self._pair, self._actor = app, control, pair, actor
        self._matcher = Matcher()
        # What the shop made of the orders: our way from invoice and ordinal to its ids.
        self._placed: dict[str, tuple[int, list[int]]] = {}

    def plan(self, invoices: Sequence[Invoice]) -> list[Plan]:
        """What the next invoices of the file ask for."""
        return [self._matcher.plan(invoice) for invoice in invoices]

    def place(self, plans: Sequence[Plan]) -> None:
        """What shoppers do, in the sandbox alone. Raises RefusedByShop, SandboxRefused or Retryable."""
        self._place_orders([plan.order for plan in plans if plan.order is not None])
        self._make_refunds([refund for plan in plans for refund in plan.refunds])

    def book(self, plans: Sequence[Plan]) -> None:
        """What our own people do: adjustments, returns without order, and money written off.

        What had to wait too long for rows that a drain holds is booked again: its keys keep it once. Raises
        SQLAlchemyError when the database does not answer.
        """
        for left in reversed(range(BUSY_TRIES)):
            try:
                _book_ours(self._app, self._pair, plans, self._actor)
            except OperationalError as error:
                if not left or not isinstance(error.orig, LockNotAvailable):
                    raise
            else:
                return

    def _place_orders(self, wanted: Sequence[Invoice]) -> None:
        if not wanted:
            return
        answer = self._control.post(f"/shopify/{DOMAIN}/orders", {"orders": [_order(invoice) for invoice in wanted]})
        for made in answer["orders"]:
            if "error" in made:
                raise RefusedByShop(made)
            self._placed[made["key"]] = (made["id"], [line["id"] for line in made["lines"]])

    def _make_refunds(self, wanted: Sequence[Refund]) -> None:
        if not wanted:
            return
        bodies = []
        for refund in wanted:
            order_id, line_ids = self._placed[refund.order]
            bodies.append(
                {
                    "key": refund.key,
                    "order_id": order_id,
                    "processed_at": refund.at.isoformat(),
                    "lines": [
                        {"line_id": line_ids[ordinal - 1], "quantity": units, "restock_type": "return"}
                        for ordinal, units in refund.lines
                    ],
                }
            )
        for made in self._control.post(f"/shopify/{DOMAIN}/refunds", {"refunds": bodies})["refunds"]:
            if "error" in made:
                raise RefusedByShop(made)


def _order(invoice: Invoice) -> dict[str, Any]:
    first = invoice.lines[0]
    return {
        "key": invoice.number,
        "name": f"#{invoice.number}",
        "processed_at": invoice.at.isoformat(),
        "customer_ref": first.customer,
        "country": first.country_code or "ZZ",
        "currency": CURRENCY,
        "ship": True,
        "lines": [
            {"sku": line.code, "quantity": line.units, "price": str(line.unit_price), "title": line.title or line.code}
            for line in invoice.lines
        ],
    }


def _book_ours(app: Application, pair: Pair, plans: Sequence[Plan], actor: Actor) -> None:
    """What our own people do: adjustments, returns without order, and money written off, in file order."""
    location_id = next(iter(pair.shopify.settings["locations"].values()))
    adjustments = [_adjustment(plan.adjustment) for plan in plans if plan.adjustment is not None]
    returns = [_return(line) for plan in plans for line in plan.returns]
    returns += [_bad_debt(line) for plan in plans for line in plan.bad_debt]
    now = utc_now()
    if adjustments:
        with unit_of_work(app.engine) as conn:
            inventory.adjust(conn, pair.shop_id, location_id, adjustments, actor, now)
    if returns:
        with unit_of_work(app.engine) as conn:
            orders.take_back(conn, pair.shop_id, location_id, returns, actor, now)
    if adjustments or returns:
        for row in (pair.shopify, pair.amazon):
            app.doorbell.ring(Lane("stock", row.shop_id, row.id))


def _adjustment(line: Line) -> Adjustment:
    return Adjustment(
        business_key=f"adjustment:{line.key}",
        code=line.code,
        delta_units=line.units,
        reason="adjustment",
        occurred_at=line.at,
        note=line.title or None,
    )


def _return(line: Line) -> OrderlessReturn:
    return OrderlessReturn(
        business_key=line.key,
        code=line.code,
        units=-line.units,
        unit_price=line.unit_price,
        currency=CURRENCY,
        customer_ref=line.customer,
        returned_at=line.at,
        country_code=line.country_code,
    )


def _bad_debt(line: Line) -> OrderlessReturn:
    """Money only: a negative price is money lost, so it is given back; the code has no stock."""
    return OrderlessReturn(
        business_key=line.key,
        code=line.code,
        units=abs(line.units),
        unit_price=-line.unit_price if line.units > 0 else line.unit_price,
        currency=CURRENCY,
        customer_ref=line.customer,
        returned_at=line.at,
        country_code=line.country_code,
    )


def what_is_left(conn: Connection, shop_id: int) -> dict[str, int]:
    """Everything of a shop that is still on its way."""
    row = fetch_one(
        conn,
        """
        select
            (select count(*) from inbox_messages where shop_id = %(shop)s and state = 'received') as unread_messages,
            (select count(*) from inbox_messages where shop_id = %(shop)s and state = 'waiting') as waiting_messages,
            (select count(*) from listings where shop_id = %(shop)s and is_to_push)
                as listings_to_push,
            (select count(*) from listing_writes where shop_id = %(shop)s and outcome is null) as open_writes
        """,
        shop=shop_id,
    )
    return dict(row or {})


def ask_for_orders(app: Application, shop_id: int) -> None:
    """Have the channels of a shop asked for orders whose watermark an open write may be waiting for.

    The schedule asks once a minute of ours, which is long where the vendors' clocks fly. Without Redis nobody is told.
    """
    with read_only(app.engine) as conn:
        waiting = fetch(
            conn,
            """
            select distinct w.connection_id from listing_writes w
            where w.shop_id = %(shop)s and w.outcome is null and w.from_units is null and w.sent_at is not null
            """,
            shop=shop_id,
        )
    with suppress(Retryable):
        for row in waiting:
            app.queue.enqueue("connection.poll", shop_id=shop_id, connection_id=row["connection_id"])
        if waiting:
            app.queue.enqueue("sweep.exposure")


def wait_until_in_step(app: Application, control: Control, shop_id: int, progress: Progress) -> None:
    """Until every delivery arrived, every message is settled and all channels show our numbers.

    Raises ReplayStalled when nothing moves for a while.
    """
    before: dict[str, int] = {}
    moved = asked = time.monotonic()
    total = 0
    while True:
        if time.monotonic() - asked > ASK_SECONDS:
            ask_for_orders(app, shop_id)
            asked = time.monotonic()
        deliveries = control.get("/deliveries")
        with read_only(app.engine) as conn:
            left = what_is_left(conn, shop_id)
        left["undelivered"] = deliveries["queued"] + deliveries["in_flight"]
        if not any(left.values()):
            return
        if left != before:
            before, moved = left, time.monotonic()
        if time.monotonic() - moved > STALLED_SECONDS:
            raise ReplayStalled(left)
        remaining = sum(left.values())
        total = max(total, remaining)
        progress("coming into step", total - remaining, total)
        time.sleep(0.5)


def _summary(
    app: Application, pair: Pair, path: Path, invoices: Sequence[Invoice], since: datetime, control: Control
) -> Summary:
    with read_only(app.engine) as conn:
        row = fetch_one(conn, _SUMMARY_SQL, shop=pair.shop_id, since=since)
    assert row is not None
    exact = sum(
        (
            line.units * line.unit_price
            for invoice in invoices
            if invoice.kind != "adjustment"
            for line in invoice.lines
        ),
        start=invoices[0].lines[0].unit_price * 0,
    )
    numbers = {name: value for name, value in row.items() if not name.endswith("_at")}
    summary = Summary(file=path.name, invoices=len(invoices), **numbers)
    summary.rounding = f"{exact} exactly; {exact * 100 - summary.revenue_minor} minor units were rounded away"
    summary.seconds_to_last_booking = _seconds(since, row["last_booking_at"])
    summary.seconds_to_last_confirmed_push = _seconds(since, row["last_push_at"])
    summary.deliveries = control.get("/deliveries")
    return summary


def _seconds(since: datetime, at: datetime | None) -> float:
    return 0.0 if at is None else round((at - since).total_seconds(), 1)


_SUMMARY_SQL = """
select
    (select count(*) from orders where shop_id = %(shop)s) as orders,
    (select count(*) from order_lines where shop_id = %(shop)s) as order_lines,
    (select coalesce(sum(units), 0)::int8 from order_lines where shop_id = %(shop)s and mapping = 'stocked')
        as units_ordered_goods,
    returned.units as units_returned_goods,
    (select coalesce(sum(units), 0)::int8 from order_lines where shop_id = %(shop)s and mapping = 'stocked')
        - returned.units as units_net_goods,
    (select coalesce(sum(delta_units), 0)::int8 from stock_movements
        where shop_id = %(shop)s and reason = 'adjustment') as units_adjusted,
    ((select coalesce(sum(total_minor), 0) from order_lines where shop_id = %(shop)s)
        - (select coalesce(sum(subtotal_minor), 0) from refund_lines where shop_id = %(shop)s)
        - (select coalesce(sum(total_minor), 0) from customer_returns where shop_id = %(shop)s))::int8 as revenue_minor,
    (select count(*) from refunds where shop_id = %(shop)s) as refunds,
    (select count(*) from customer_returns where shop_id = %(shop)s) as returns_without_order,
    (select count(*) from stock_movements where shop_id = %(shop)s and reason = 'adjustment') as adjustments,
    (select count(distinct skipped.key) from audit_entries
        cross join lateral jsonb_array_elements_text(details -> 'without_stock_keys') as skipped (key)
        where shop_id = %(shop)s and act = 'adjust_stock') as adjustments_without_stock,
    (select max(recorded_at) from stock_movements where shop_id = %(shop)s and recorded_at >= %(since)s)
        as last_booking_at,
    (select max(outcome_at) from listing_writes
        where shop_id = %(shop)s and outcome = 'confirmed' and outcome_at >= %(since)s) as last_push_at
from (select coalesce(sum(delta_units), 0)::int8 as units from stock_movements
    where shop_id = %(shop)s and reason = 'customer_return') returned
"""


def as_json(summary: Summary) -> dict[str, Any]:
    """The summary as a plain mapping."""
    return asdict(summary)
