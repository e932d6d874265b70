"""A file of the Online Retail form booked by the product's own operations, without a channel in between.

The orders, refunds and returns that the replay lets shoppers make are handed to the operations as the adapter would
hand them over, some hundred at a time: the whole file in seconds instead of the minutes that a channel takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from core.clock import business_day
from core.db import count_grown_tables, unit_of_work
from core.money import line_total_minor
from core.orders import operations as orders
from core.orders.operations import OrderlessReturn
from core.ports import ChannelLine, ChannelOrder, ChannelRefund, ChannelRefundLine
from tests.factories import (
    ACTOR,
    World,
    apply,
    make_channel_listing,
    make_connection,
    make_facts,
    make_shop,
    take_in,
    world_of,
)
from workers.retail_file import CURRENCY, Invoice, Line, Matcher, Plan, Refund, articles, read_invoices

AT_ONCE = 500
COUNTED_AT = (0, 1, 3, 9)
"""Sets before which the database counts what has grown: empty tables would be planned for, else."""


def book_file(
    engine: Engine, path: Path, before: Callable[[int], object] | None = None
) -> Iterator[tuple[World, date]]:
    """Book what a file says into a shop of its own, in file order and in sets.

    After each set: the shop, and the first day of London that may not be complete yet. `before` is called with the
    shop's id once its catalogue is there.
    """
    invoices = read_invoices(path)
    with unit_of_work(engine) as conn:
        connection = make_connection(conn, make_shop(conn))
        goods = [
            make_channel_listing(each.code, 10_000_000 if each.is_goods else None, is_tracked=each.is_goods)
            for each in articles(invoices)
        ]
        take_in(conn, connection, goods)
        world = world_of(conn, connection)
    if before is not None:
        before(world.shop_id)
    matcher = Matcher()
    sold: dict[str, Invoice] = {}
    for number, start in enumerate(range(0, len(invoices), AT_ONCE)):
        if number in COUNTED_AT:
            count_grown_tables(engine)
        part = invoices[start : start + AT_ONCE]
        plans = [matcher.plan(invoice) for invoice in part]
        sold |= {plan.order.number: plan.order for plan in plans if plan.order is not None}
        _book(engine, world, plans, sold, part[-1].at)
        is_last = start + AT_ONCE >= len(invoices)
        yield world, business_day(part[-1].at, "Europe/London") + timedelta(days=is_last)


def _book(engine: Engine, world: World, plans: Sequence[Plan], sold: dict[str, Invoice], now: datetime) -> None:
    facts = make_facts(
        *(_order(plan.order) for plan in plans if plan.order is not None),
        *(_refund(refund, sold[refund.order]) for plan in plans for refund in plan.refunds),
    )
    returns = [_return(line) for plan in plans for line in (*plan.returns, *plan.bad_debt)]
    with unit_of_work(engine) as conn:
        (verdict,) = apply(conn, world, facts, now=now)
        assert verdict.state == "handled"
        orders.take_back(conn, world.shop_id, world.location_id, returns, ACTOR, now)


def _order(invoice: Invoice) -> ChannelOrder:
    lines = tuple(
        ChannelLine(
            ref=str(line.ordinal),
            variant_ref=f"variant:{line.code}",
            code=line.code,
            title=line.title or line.code,
            units=line.units,
            unit_price=line.unit_price,
            discount_minor=0,
            total_minor=line_total_minor(line.units, line.unit_price, CURRENCY),
        )
        for line in invoice.lines
    )
    return ChannelOrder(
        ref=invoice.number,
        name=f"#{invoice.number}",
        source_ref=invoice.number,
        placed_at=invoice.at,
        created_at=invoice.at,
        version_at=invoice.at,
        cancelled_at=None,
        cancel_reason=None,
        financial_status="paid",
        currency=CURRENCY,
        total_minor=sum(line.total_minor for line in lines),
        customer_ref=invoice.lines[0].customer,
        country_code=invoice.lines[0].country_code,
        is_test=False,
        lines=lines,
    )


def _refund(refund: Refund, order: Invoice) -> ChannelRefund:
    lines = tuple(
        ChannelRefundLine(
            str(ordinal), units, "return", line_total_minor(units, order.lines[ordinal - 1].unit_price, CURRENCY)
        )
        for ordinal, units in refund.lines
    )
    return ChannelRefund(
        refund.key, refund.order, refund.at, refund.at, sum(each.subtotal_minor for each in lines), CURRENCY, lines
    )


def _return(line: Line) -> OrderlessReturn:
    """Goods without an order; of a bad debt, whose price is below zero, the money that is lost."""
    is_debt = line.units > 0
    return OrderlessReturn(
        business_key=line.key,
        code=line.code,
        units=abs(line.units),
        unit_price=-line.unit_price if is_debt else line.unit_price,
        currency=CURRENCY,
        customer_ref=line.customer,
        returned_at=line.at,
        country_code=line.country_code,
    )
