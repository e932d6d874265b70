"""Every check of the audit, proven by breaking what it guards: it names the row, and nobody else cries out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine

from core import embedded, invariants
from core.clock import utc_now
from core.commissions import editing
from core.commissions.rules import Assignment, Rule
from core.db import execute, fetch_one, scalar, unit_of_work
from core.inventory import external, feeds, promises, publishing
from core.inventory import operations as inventory
from core.inventory.feeds import Filled
from core.inventory.promises import Holder
from core.inventory.publishing import FeedPlace, Lane
from core.ledger import sealing, verifying
from core.messaging import chasing
from core.orders import confirming
from core.orders import operations as orders
from core.orders.confirming import Package
from core.orders.operations import OrderlessReturn
from core.ports import ChannelLine, PackageAnswer, QuantityResult
from core.reconciliation import comparing
from core.reconciliation import operations as reconciliation
from core.reconciliation import runs as comparisons
from core.reports import operations as reports
from core.runs import operations as sync_runs
from tests import tampered_catalogue
from tests.commands import run_here
from tests.conftest import ROOT, TestServers
from tests.desks import Desk
from tests.factories import (
    ACTOR,
    BASELINE,
    CURRENCY,
    NOW,
    UNREADABLE,
    World,
    adjust_stock,
    apply,
    body_of,
    drain,
    first_sync,
    later,
    make_facts,
    make_fulfilment,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_sku,
    make_world,
    record_bodies,
    take_in,
    world_of,
)
from tests.integration.test_external import listing, make_seller
from tests.recovery.failing import run_job
from tests.stock_desk import compose, reserve, take_back_line


@dataclass(frozen=True)
class Tampering:
    """What is broken: the row to pick, the change made to it, and how a finding names it."""

    pick: str
    """Selects the one row, as the columns by which findings name it and by which it is changed."""
    change: str
    named: tuple[str, ...]
    also: tuple[str, ...] = ()
    """Other checks that rightly cry out."""
    sealed: tuple[str, ...] = ()
    """What the command's look at the sealed chain finds besides."""
    constraint: tuple[str, str] | None = None
    """(table, constraint) that stands in the way."""


LOOKED_AT = later(180)
"""Long enough after for everything to have come to rest."""

TALLY = """
    select t.id as tally_id, t.kind_id from failure_tallies t
    join failure_kinds k on k.shop_id = t.shop_id and k.id = t.kind_id where k.function = 'orders.read' and t.open = 1
"""
DISCREPANCY = "select id as discrepancy_id, run_id from discrepancies"
LOOSE_LEVEL = """
    select k.shop_id, k.sku_id, k.location_id from stock_levels k
    join skus s on s.shop_id = k.shop_id and s.id = k.sku_id where s.code = 'LOOSE'
    order by k.promised desc, k.location_id
"""
AT_LEVEL = "where shop_id = %(shop_id)s and sku_id = %(sku_id)s and location_id = %(location_id)s"
MUG_LINE = "join order_lines l on l.id = {id} join orders o on o.id = l.order_id and o.channel_ref = '1001'"
RESERVATION = (
    f"select r.id as reservation_id, r.order_line_id from reservations r {MUG_LINE.format(id='r.order_line_id')}"
)
LINE = f"select l.id as order_line_id, l.order_id from order_lines x {MUG_LINE.format(id='x.id')}"
LISTING = "select id as listing_id from listings where channel_ref = 'variant:MUG'"
WRITE = "select id as write_id, listing_id from listing_writes where outcome {}"
FEED = "select id as feed_id from channel_feeds"
PACKAGE = "select id as confirmation_id, order_id from shipment_confirmations"

ENTRY = """
    select e.shop_id, e.transaction_id, e.account_id from ledger_entries e
    join ledger_accounts k on k.shop_id = e.shop_id and k.id = e.account_id where true
"""
AT_ENTRY = "where transaction_id = %(transaction_id)s and account_id = %(account_id)s"
UNMAPPED = """
    select id as accrual_id, order_line_id, order_id, transaction_id from commission_accruals
    where unassigned_minor > 1 order by id limit 1
"""

TAMPERINGS = {
    "level_is_sum_of_movements": Tampering(
        LOOSE_LEVEL,
        f"update stock_levels set on_hand = on_hand + 1 {AT_LEVEL}",
        ("shop_id", "sku_id", "location_id"),
    ),
    "unavailable_is_sum_of_movements": Tampering(
        LOOSE_LEVEL,
        f"update stock_levels set unavailable = unavailable + 1 {AT_LEVEL}",
        ("shop_id", "sku_id", "location_id"),
    ),
    "promised_is_sum_of_local_promises": Tampering(
        LOOSE_LEVEL,
        f"update stock_levels set promised = promised - 1 {AT_LEVEL}",
        ("shop_id", "sku_id", "location_id"),
    ),
    "reserved_is_sum_of_reservations": Tampering(
        LOOSE_LEVEL,
        f"update stock_levels set reserved = reserved + 1 {AT_LEVEL}",
        ("shop_id", "sku_id", "location_id"),
    ),
    "reservation_follows_its_line": Tampering(
        RESERVATION,
        "update fulfilment_lines set units = units + 1 where order_line_id = %(order_line_id)s",
        ("reservation_id", "order_line_id"),
    ),
    "reservation_is_balanced": Tampering(
        RESERVATION,
        "update refund_lines set units = units + 1 where order_line_id = %(order_line_id)s",
        ("reservation_id", "order_line_id"),
        also=("exposure_follows_bookings",),
    ),
    "line_movements_match_reservation": Tampering(
        RESERVATION,
        """
        update stock_movements set order_line_id = null
        where order_line_id = %(order_line_id)s and reason = 'shipment'
        """,
        ("reservation_id", "order_line_id"),
    ),
    "promise_moved_what_it_shipped": Tampering(
        """
        select r.shop_id, r.id as reservation_id, m.id as movement_id from reservations r
        join stock_movements m on m.business_key = 'promise:' || r.id || ':shipment'
        """,
        "update reservations set consumed_units = 0 where id = %(reservation_id)s",
        ("shop_id", "reservation_id", "movement_id"),
    ),
    "stocked_line_is_booked": Tampering(
        LINE,
        "update order_lines set mapping = 'unstocked' where id = %(order_line_id)s",
        ("order_line_id", "order_id"),
        also=("exposure_follows_bookings",),
    ),
    "bundle_parts_follow_components": Tampering(
        """
        select p.shop_id, p.bundle_sku_id, p.part_sku_id from bundle_parts p join skus s on s.id = p.bundle_sku_id
        where s.code = 'SET'
        """,
        "update bundle_parts set units = units + 1 where bundle_sku_id = %(bundle_sku_id)s",
        ("shop_id", "bundle_sku_id", "part_sku_id"),
    ),
    "bundle_has_no_stock": Tampering(
        """
        select k.shop_id, s.id as sku_id, k.location_id from stock_levels k
        join skus s on s.shop_id = k.shop_id and s.code = 'SET' join skus m on m.id = k.sku_id where m.code = 'LOOSE'
        """,
        """
        with level as (
            insert into stock_levels (shop_id, sku_id, location_id, on_hand)
            values (%(shop_id)s, %(sku_id)s, %(location_id)s, 1)
        )
        insert into stock_movements (shop_id, sku_id, location_id, delta_units, reason, business_key, recorded_by,
            occurred_at, recorded_at)
        values (%(shop_id)s, %(sku_id)s, %(location_id)s, 1, 'receipt', 'in a wrong place', 'nobody', now(), now())
        """,
        ("shop_id", "sku_id", "location_id"),
    ),
    "return_is_booked": Tampering(
        "select id as customer_return_id, business_key from customer_returns where business_key = 'C1:0'",
        "update customer_returns set units = units + 1 where id = %(customer_return_id)s",
        ("customer_return_id", "business_key"),
    ),
    "incoming_is_sum_of_open_documents": Tampering(
        LOOSE_LEVEL,
        f"update stock_levels set incoming = incoming + 1 {AT_LEVEL}",
        ("shop_id", "sku_id", "location_id"),
    ),
    "document_is_booked_once": Tampering(
        """
        select l.shop_id, l.document_id, 'document:' || l.document_id || ':1' as business_key
        from stock_document_lines l join stock_documents d on d.id = l.document_id and d.kind = 'adjustment'
        """,
        "update stock_document_lines set units = units - 1 where document_id = %(document_id)s",
        ("shop_id", "business_key"),
    ),
    "line_total_is_rounded_once": Tampering(
        LINE,
        "update order_lines set total_minor = total_minor + 1 where id = %(order_line_id)s",
        ("order_line_id",),
    ),
    "inbox_is_settled": Tampering(
        "select id as message_id from inbox_messages where state = 'handled' order by id limit 1",
        "update inbox_messages set state = 'received' where id = %(message_id)s",
        ("message_id",),
    ),
    "listing_is_converged_or_explained": Tampering(
        LISTING,
        "update listings set published_units = published_units - 1 where id = %(listing_id)s",
        ("listing_id",),
    ),
    "listing_wants_what_is_available": Tampering(
        LISTING,
        """
        update listings set desired_units = desired_units + 1, published_units = published_units + 1
        where id = %(listing_id)s
        """,
        ("listing_id",),
    ),
    "listing_is_whose_its_identifiers_say": Tampering(
        LISTING,
        """
        update sku_identifiers i set sku_id = s.id from listings l, skus s
        where l.id = %(listing_id)s and i.connection_id = l.connection_id and i.value = l.channel_ref
            and s.shop_id = l.shop_id and s.code = 'LOOSE'
        """,
        ("listing_id",),
    ),
    "listing_rule_is_resolved": Tampering(
        LISTING,
        "update listings set priority = priority + 1 where id = %(listing_id)s",
        ("listing_id",),
    ),
    "write_is_settled_or_in_doubt": Tampering(
        WRITE.format("is null"),
        "update listing_writes set next_check_at = null where id = %(write_id)s",
        ("write_id", "listing_id"),
    ),
    "write_outcome_is_complete": Tampering(
        WRITE.format("= 'confirmed'"),
        "update listing_writes set outcome_at = planned_at - interval '1 day' where id = %(write_id)s",
        ("write_id", "listing_id"),
    ),
    "act_is_named_and_reasoned": Tampering(
        "select id as audit_entry_id, subject from audit_entries where act = 'take_back'",
        "update audit_entries set reason = ' ' where id = %(audit_entry_id)s",
        ("audit_entry_id", "subject"),
        constraint=("audit_entries", "ck_audit_entries_named_and_reasoned"),
    ),
    "exposure_is_the_sum_of_its_changes": Tampering(
        LISTING,
        "update listings set exposed_units = exposed_units + 1 where id = %(listing_id)s",
        ("listing_id",),
    ),
    "write_moved_exposure": Tampering(
        "select w.id as write_id, w.listing_id from listing_writes w where w.exposure_delta_units > 0 limit 1",
        "update exposure_changes set asked_units = asked_units + 1 where write_id = %(write_id)s and cause = 'write'",
        ("write_id", "listing_id"),
    ),
    "overtaken_write_is_followed": Tampering(
        WRITE.format("= 'confirmed'"),
        "update listing_writes set outcome_code = 'OVERTAKEN' where id = %(write_id)s",
        ("write_id", "listing_id"),
        also=("write_moved_exposure",),
    ),
    "write_exposes_what_it_can_add": Tampering(
        WRITE.format("= 'confirmed'"),
        "update listing_writes set exposure_delta_units = exposure_delta_units + 1 where id = %(write_id)s",
        ("write_id", "listing_id"),
        also=("write_moved_exposure",),
    ),
    "exposure_follows_bookings": Tampering(
        "select id as change_id, listing_id from exposure_changes where cause = 'sale' order by id limit 1",
        "update exposure_changes set asked_units = asked_units - 9 where id = %(change_id)s",
        ("listing_id",),
    ),
    "doubt_ends_at_the_watermark": Tampering(
        LISTING,
        """
        with passed as (
            update connections c set watermark_at = '2100-01-01'
            from listings l where l.id = %(listing_id)s and c.id = l.connection_id
        )
        update listings set exposed_units = exposed_units + 1 where id = %(listing_id)s
        """,
        ("listing_id",),
        also=("exposure_is_the_sum_of_its_changes",),
    ),
    "pool_is_shared_as_its_rules_say": Tampering(
        """
        select k.shop_id, k.sku_id, k.location_id from stock_levels k
        join listings l on l.sku_id = k.sku_id and l.location_id = k.location_id and l.publishing = 'on'
        order by k.available desc limit 1
        """,
        f"update stock_levels set escrow_line_units = 0 {AT_LEVEL}",
        ("shop_id", "sku_id", "location_id"),
    ),
    "shortage_is_on_record": Tampering(
        LOOSE_LEVEL,
        """
        insert into shortages (shop_id, sku_id, location_id, began_at, before_units, after_units, worst_units,
            is_escrow) values (%(shop_id)s, %(sku_id)s, %(location_id)s, now(), 0, -1, -1, false)
        """,
        ("shop_id", "sku_id", "location_id"),
    ),
    "external_is_neither_promised_nor_written": Tampering(
        "select l.id as listing_id from listings l join locations p on p.id = l.location_id and p.kind = 'external'",
        "update listings set publishing = 'on' where id = %(listing_id)s",
        ("listing_id",),
        also=("listing_wants_what_is_available", "listing_is_converged_or_explained"),
    ),
    "external_level_is_what_was_read": Tampering(
        """
        select l.shop_id, l.sku_id, l.location_id, l.id as listing_id from listings l
        join locations p on p.id = l.location_id and p.kind = 'external'
        """,
        "update listings set published_units = published_units - 1 where id = %(listing_id)s",
        ("shop_id", "sku_id", "location_id"),
    ),
    "feed_holds_its_writes": Tampering(
        FEED,
        "update listing_writes set sent_at = null where feed_id = %(feed_id)s",
        ("feed_id",),
        also=("write_is_settled_or_in_doubt",),
    ),
    "feed_is_put_together_or_looked_at": Tampering(
        FEED,
        "update channel_feeds set next_look_at = planned_at where id = %(feed_id)s",
        ("feed_id",),
    ),
    "cancellation_put_back_what_had_not_left": Tampering(
        "select id as order_line_id, order_id from order_lines where puts_back",
        "update order_lines set put_back_units = put_back_units - 1 where id = %(order_line_id)s",
        ("order_line_id", "order_id"),
    ),
    "package_is_of_its_order": Tampering(
        PACKAGE,
        """
        update shipment_confirmations set line_ids = array[(select l.id from order_lines l
            where l.order_id <> shipment_confirmations.order_id order by l.id limit 1)] where id = %(confirmation_id)s
        """,
        ("confirmation_id", "order_id"),
    ),
    "package_is_known_refused_or_on_its_way": Tampering(
        PACKAGE,
        "update shipment_confirmations set revision = revision + 1 where id = %(confirmation_id)s",
        ("confirmation_id", "order_id"),
    ),
    "change_is_done_when_its_legs_are": Tampering(
        "select change_id from change_legs where state = 'confirmed' limit 1",
        "update changes set done_at = null where id = %(change_id)s",
        ("change_id",),
    ),
    "leg_was_confirmed_by_the_channel": Tampering(
        "select change_id, connection_id, write_id from change_legs where state = 'confirmed' limit 1",
        "update listing_writes set outcome = 'stale' where id = %(write_id)s",
        ("change_id", "connection_id", "write_id"),
        also=("write_moved_exposure",),
    ),
    "leg_was_taken_back": Tampering(
        "select change_id, compensated_by from change_legs where reason = 'undone'",
        "update change_legs set compensated_by = change_id where change_id = %(change_id)s",
        ("change_id",),
    ),
    "report_is_its_rows": Tampering(
        "select id as report_id from daily_reports",
        """
        update daily_report_markets set gross_minor = gross_minor + 1, revenue_minor = revenue_minor + 1
        where report_id = %(report_id)s and ordinal = 1
        """,
        ("report_id",),
    ),
    "discrepancy_has_its_history": Tampering(
        DISCREPANCY,
        "update discrepancy_events set what = 'changed' where discrepancy_id = %(discrepancy_id)s and what = 'seen'",
        ("discrepancy_id",),
    ),
    "comparison_runs_or_has_ended": Tampering(
        DISCREPANCY,
        "update reconciliation_runs set state = 'comparing', ended_at = null where id = %(run_id)s",
        ("run_id",),
    ),
    "brake_holds_what_it_says": Tampering(
        DISCREPANCY, "update reconciliation_runs set is_held = true where id = %(run_id)s", ("run_id",)
    ),
    "failures_are_counted": Tampering(
        TALLY, "update failure_tallies set open = open + 1 where id = %(tally_id)s", ("kind_id",)
    ),
    "failures_are_counted_by_the_hour": Tampering(
        TALLY, "update failure_tallies set failed = failed + 1 where id = %(tally_id)s", ("kind_id",)
    ),
    "parked_message_is_a_failure": Tampering(
        "select id as message_id from inbox_messages where state = 'handled' order by id limit 1",
        "update inbox_messages set state = 'parked', cause = 'unreadable', detail = 'torn' where id = %(message_id)s",
        ("message_id",),
    ),
    "failed_job_is_moot_when_its_work_was_done": Tampering(
        "select item_id as job_run_id from failures where source = 'job' and is_moot",
        "update failures set is_moot = false where source = 'job' and item_id = %(job_run_id)s",
        ("job_run_id",),
        also=("failures_are_counted",),
    ),
    "ledger_transaction_is_balanced": Tampering(
        f"{ENTRY} and k.kind = 'channel_receivable' order by 2 limit 1",
        f"update ledger_entries set amount_minor = amount_minor + 1 {AT_ENTRY}",
        ("transaction_id",),
        also=("ledger_days_are_sums_of_entries", "accruals_are_what_is_posted"),
        sealed=("ledger_rows_are_as_sealed",),
    ),
    "ledger_transaction_is_whole": Tampering(
        "select shop_id, max(id) + 1000 as transaction_id from ledger_transactions group by 1",
        """
        insert into ledger_transactions (shop_id, id, key, kind, event_at, recorded_at, note, recorded_by)
        overriding system value
        values (%(shop_id)s, %(transaction_id)s, 'adjustment:0', 'adjustment', now(), now(), 'nothing', 'nobody')
        """,
        ("transaction_id",),
    ),
    "ledger_entry_is_in_its_accounts_currency": Tampering(
        f"""
        {ENTRY} and k.party_id is null
            and (select count(*) from ledger_entries o where o.account_id = e.account_id) = 1 limit 1
        """,
        "update ledger_accounts set currency = 'EUR' where id = %(account_id)s",
        ("account_id",),
    ),
    "ledger_days_are_sums_of_entries": Tampering(
        "select id, account_id from ledger_account_days order by id limit 1",
        "update ledger_account_days set debit_minor = debit_minor + 1 where id = %(id)s",
        ("account_id",),
    ),
    "ledger_transaction_is_sealed": Tampering(
        "select number, last_id as transaction_id from ledger_seals order by number desc limit 1",
        "delete from ledger_seals where number = %(number)s",
        ("transaction_id",),
    ),
    "accrual_is_shared_out_whole": Tampering(
        UNMAPPED,
        "update commission_accruals set net_minor = net_minor + 1 where id = %(accrual_id)s",
        ("accrual_id", "order_line_id"),
        also=("accruals_are_what_is_posted", "commission_days_are_sums_of_accruals"),
        constraint=("commission_accruals", "ck_commission_accruals_shares_sum_to_the_total"),
    ),
    "order_line_is_accrued": Tampering(
        UNMAPPED,
        "delete from commission_accruals where id = %(accrual_id)s",
        ("order_line_id", "order_id"),
        also=("accruals_are_what_is_posted", "commission_days_are_sums_of_accruals"),
    ),
    "accruals_are_what_is_posted": Tampering(
        UNMAPPED,
        """
        update commission_accruals set platform_minor = platform_minor + 1, unassigned_minor = unassigned_minor - 1
        where id = %(accrual_id)s
        """,
        ("transaction_id",),
        also=("commission_days_are_sums_of_accruals",),
    ),
    "commission_days_are_sums_of_accruals": Tampering(
        "select id, day, currency, cause from commission_days order by id limit 1",
        "update commission_days set net_minor = net_minor + 1 where id = %(id)s",
        ("currency", "cause"),
    ),
    "held_is_explained_by_open_windows": Tampering(
        """
        select o.id as order_id, p.id as party_id from orders o join parties p on p.shop_id = o.shop_id
        where o.channel_ref = '903-1' and p.code = 'BRAND'
        """,
        "update commission_windows set released_at = now() where order_id = %(order_id)s",
        ("party_id",),
    ),
    "volume_is_sum_of_its_lines": Tampering(
        "select party_id, month, base from commission_volumes order by volume_minor desc",
        "update commission_volumes set volume_minor = volume_minor - 1 where month = %(month)s and base = %(base)s",
        ("party_id",),
    ),
    **{name: Tampering(*how) for name, how in tampered_catalogue.TAMPERINGS.items()},
}


def test_every_check_has_its_tampering() -> None:
    assert TAMPERINGS.keys() == {check.name for check in invariants.CHECKS}


def build(engine: Engine) -> None:
    """A small world with something of everything, at rest."""
    build_channel(engine)
    build_seller(engine)
    with unit_of_work(engine) as conn:
        shop_id = scalar(conn, "select shop_id from shops")
        tampered_catalogue.build(conn, shop_id, ACTOR, NOW)
        reports.build(conn, shop_id, NOW.date(), reports.CLOCK, NOW + timedelta(days=1))
    compare_one(engine)
    fail_jobs(engine)
    with unit_of_work(engine) as conn:
        posted = scalar(conn, "select count(*) from ledger_transactions")
        assert sealing.seal(conn, shop_id, NOW, limit=posted - 1)
        assert sealing.seal(conn, shop_id, NOW)


def fail_jobs(engine: Engine) -> None:
    """A job that failed today, by whichever clock; and one whose work a later run has done."""
    with unit_of_work(engine) as conn:
        row = fetch_one(conn, "select shop_id, connection_id from listings where channel_ref = 'variant:MUG'")
        assert row is not None
        run_job(conn, "orders.read", {**row, "refs": ["1001"]}, "failed", utc_now())
        run_job(conn, "stock.push", dict(row), "failed", NOW)
        run_job(conn, "stock.push", dict(row), "finished", later(1))


def compare_one(engine: Engine) -> None:
    """A comparison of one SKU, of which its channel tells nothing any more."""
    with unit_of_work(engine) as conn:
        row = fetch_one(conn, "select shop_id, connection_id from listings where channel_ref = 'variant:MUG'")
        assert row is not None
        asked = reconciliation.request(conn, row["shop_id"], row["connection_id"], "stock", ACTOR, NOW, "MUG")
        sync_runs.start_sync(conn, row["shop_id"], asked.sync_run_id, NOW)
        reading = comparisons.begin(conn, row["shop_id"], asked.sync_run_id, NOW)
        assert reading is not None
        comparisons.take_road(conn, reading, "levels")
        assert comparisons.have_read(conn, reading, NOW)
        assert comparing.compare(conn, reading, NOW).found == 1
        comparisons.finish(conn, reading, NOW)
        sync_runs.finish_sync(conn, row["shop_id"], asked.sync_run_id, NOW)


def build_seller(engine: Engine) -> None:
    """A seller beside it: goods in the channel's own warehouse, a feed under way, a package told, an order put back."""
    with unit_of_work(engine) as conn:
        shop_id = scalar(conn, "select shop_id from shops")
        for code in ("BAG", "PEN"):
            make_sku(conn, shop_id, code)
        world = world_of(conn, make_seller(conn, shop_id, is_sku_source=False))
        seller = world.connection
        take_in(conn, seller, [listing("BAG", None, 9), listing("PEN", 3, None)])
        external.align(conn, shop_id, seller.id, BASELINE)
        first_sync(conn, seller)
        adjust_stock(conn, world, "PEN", 6)
        (order,) = apply(
            conn,
            world,
            make_facts(
                make_order("903-1", [sold("1", "PEN", 2, counted_units=1)]),
                make_order("903-2", [sold("2", "PEN", 1, puts_back=True)], cancelled_at=later(5)),
            ),
        )
        assert order.state == "handled", order
        package = Package("#903-1", "Other", "TR-1", NOW, {"1": 1}, carrier_name="Fast")
        confirming.queue(conn, shop_id, package, ACTOR, NOW)
        (due,) = confirming.take(conn, shop_id, seller.id, 9, NOW)
        confirming.settle(conn, shop_id, due, PackageAnswer("confirmed"), NOW)
        lane = Lane(shop_id, seller.id, "B", 1)
        feed_id = feeds.begin(conn, lane, "for the test", NOW)
        assert feed_id is not None
        writes = feeds.fill(conn, lane, FeedPlace(feed_id, feeds.new_key(), 0), 9, timedelta(0), NOW)
        assert len(writes) == 1
        assert feeds.note_upload(conn, shop_id, feed_id, "document", 1, NOW)
        feeds.mark(conn, shop_id, Filled(feed_id, writes), 1, NOW)
        feeds.put_off(conn, shop_id, feed_id, timedelta(days=365 * 500), NOW)


def sold(ref: str, code: str, units: int, **more: Any) -> ChannelLine:
    """A line of a channel that names its listings by our codes."""
    return make_line(ref, code, units, variant_ref=code, **more)


def build_channel(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 10, "CUP": 5})
        make_sku(conn, world.shop_id, "LOOSE")
        make_sku(conn, world.shop_id, "SET")
        make_sku(conn, world.shop_id, "POST", is_stocked=False)
        world = world_of(conn, world.connection)
        adjust_stock(conn, world, "LOOSE", 7)
        compose(conn, world, "SET", {"LOOSE": 2})
        for ref in ("kept", "shipped", "released"):
            reserve(conn, world, ref, {"SET": 1}, expires_at=later(10**6))
        promises.ship(conn, world.shop_id, [Holder("checkout", "shipped")], "Ada", NOW)
        promises.release(conn, world.shop_id, [Holder("checkout", "released")], NOW)
        adjust_stock(conn, world, "MUG", -2)
        prices = make_line().unit_price
        backs = [
            OrderlessReturn(f"C1:{n}", code, 2, prices, "GBP", None, NOW)
            for n, code in enumerate(["MUG", "POST", "SET"])
        ]
        orders.take_back(conn, world.shop_id, world.location_id, backs, ACTOR, NOW)
        have_sold_by_volume(conn, world)
        desk = Desk(conn, world, inventory.open_location(conn, world.shop_id, "Yard", NOW))
        book_at_desk(desk)
        # Both must reach the channel: one will have, one is taken back before, and what takes it back is on its way.
        desk.adjust(MUG=-1)
        desk.undo(desk.adjust(CUP=1).document_id)
    order = make_order(lines=[make_line(units=4, price="0.335", discount_minor=3)])
    record_bodies(
        engine,
        world,
        body_of(order),
        body_of(make_fulfilment(lines=[("1", 2)])),
        body_of(make_refund(lines=[make_refund_line(units=1), make_refund_line(units=1, restock="cancel")][:1])),
        body_of(make_order("1002", lines=[make_line("1", "CUP"), make_line("2", "STRANGE")])),
        body_of(make_order("1003", cancelled_at=later(4), version_at=later(4))),
        UNREADABLE,
    )
    drain(engine, world)
    with unit_of_work(engine) as conn:
        adjust_stock(conn, world, "CUP", 3)
        adjust_stock(conn, world, "MUG", -1)
        take_back_line(conn, world, "1001", disposition="quarantine")
        lane = Lane(world.shop_id, world.connection.id, "A", 1)
        mug, cup = (
            call[0] for call in sorted(publishing.plan(conn, lane, 9, NOW), key=lambda call: call[0].listing_ref)[::-1]
        )
        publishing.mark_sent(conn, world.shop_id, [mug.write_id, cup.write_id], NOW)
        results = [QuantityResult(mug.write_id, "confirmed", at=NOW), QuantityResult(cup.write_id, "unknown")]
        publishing.settle(conn, world.shop_id, results, timedelta(days=365 * 500), NOW)
        chasing.chase(conn, world.shop_id, NOW)


def have_sold_by_volume(conn: Connection, world: World) -> None:
    """A seller of everything, whose fee goes by the month's volume."""
    brand = editing.add_party(conn, world.shop_id, "brand_shop", "BRAND", "The brand", ACTOR, NOW)
    fee = Rule(
        0, "platform_fee", "item", "tiered", currency=CURRENCY, tiers=((0, 100_000), (500, 50_000)), tax_to="authority"
    )
    editing.save(conn, world.shop_id, ACTOR, NOW, rules=[fee], assignments=[Assignment(0, "seller", brand)])


def book_at_desk(desk: Desk) -> None:
    """A document of each kind, some open, one undone."""
    order = desk.order_goods({"LOOSE": 9}).document_id
    desk.receive({"LOOSE": 4}, against_id=order)
    transfer = desk.sent({"LOOSE": 3})
    desk.receive({"LOOSE": 1}, at=desk.yard_id, against_id=transfer)
    desk.take_back({"LOOSE": 2}, "quarantine")
    desk.undo(desk.release({"LOOSE": 1}).document_id)
    desk.adjust(LOOSE=-1)
    desk.count(desk.open_count(codes=["LOOSE"]), LOOSE=5)


@pytest.fixture(scope="module")
def clean(servers: TestServers, template_database: embedded.Database) -> str:
    """The name of a database with the clean world, to be copied."""
    database = embedded.create_database(servers.home, "clean_world", template=template_database.name)
    engine = create_engine(database.url)
    build(engine)
    engine.dispose()
    return database.name


@pytest.fixture
def copy(servers: TestServers, clean: str, request: pytest.FixtureRequest) -> Iterator[embedded.Database]:
    database = embedded.create_database(servers.home, "tampered", template=clean)
    yield database
    embedded.drop_database(servers.home, "tampered")


def tamper(conn: Connection, tampering: Tampering) -> dict[str, Any]:
    """Break one row, past every guard; returns the columns that name it."""
    row = fetch_one(conn, tampering.pick)
    assert row is not None
    if tampering.constraint:
        table, constraint = tampering.constraint
        execute(conn, f"alter table {table} drop constraint {constraint}")
    execute(conn, "set local session_replication_role = replica")
    assert execute(conn, tampering.change, **row) == 1
    return {name: row[name] for name in tampering.named}


def settings_of(database: embedded.Database, servers: TestServers) -> dict[str, str]:
    anchors = str(servers.home / "no anchors")
    return {"DATABASE_URL": database.url, "REDIS_URL": servers.redis_url, "LEDGER_ANCHOR_DIR": anchors}


def audit(database: embedded.Database, servers: TestServers) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """What `switchyard audit --json` says: its exit status, and the rows of each check that is broken."""
    done = run_here("audit", "--json", environment=settings_of(database, servers))
    assert done.out, done.err
    said = json.loads(done.out)
    assert {item["name"] for item in said["checks"]} == TAMPERINGS.keys() | verifying.HOLDS.keys()
    broken = {item["name"]: item["rows"] for item in said["checks"] if item["rows"]}
    assert said["clean"] is not bool(broken)
    return done.status, broken


def test_the_command_says_the_same_in_a_process_of_its_own(copy: embedded.Database, servers: TestServers) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli", "audit", "--json"],
        env={**os.environ, **settings_of(copy, servers)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    here = run_here("audit", "--json", environment=settings_of(copy, servers))
    assert (done.returncode, done.stdout) == (here.status, here.out) == (0, here.out)
    assert json.loads(here.out)["clean"]


@pytest.mark.parametrize("settled", [True, False])
def test_a_clean_world_is_clean(copy: embedded.Database, servers: TestServers, settled: bool) -> None:
    engine = create_engine(copy.url)
    with engine.connect() as conn:
        findings = invariants.check(conn, LOOKED_AT, settled=settled)
    engine.dispose()
    assert [item.name for item in findings if item.rows] == []
    if not settled:
        assert audit(copy, servers) == (0, {})


@pytest.mark.parametrize("name", TAMPERINGS)
def test_the_check_names_exactly_the_row_that_was_tampered_with(
    copy: embedded.Database, servers: TestServers, name: str
) -> None:
    tampering = TAMPERINGS[name]
    root = create_engine(copy.superuser_url)
    with root.begin() as conn:
        broken_row = tamper(conn, tampering)
    with root.connect() as conn:
        findings = {item.name: item for item in invariants.check(conn, LOOKED_AT) if item.rows}
    root.dispose()
    assert findings.keys() == {name, *tampering.also}
    (row,) = findings[name].rows
    assert broken_row.items() <= row.items()
    status, broken = audit(copy, servers)
    assert (status, set(broken)) == (1, {*findings, *tampering.sealed})
    assert broken_row.items() <= broken[name][0].items()


def test_another_shops_audit_does_not_name_it(copy: embedded.Database) -> None:
    root = create_engine(copy.superuser_url)
    with root.begin() as conn:
        broken_row = tamper(conn, TAMPERINGS["level_is_sum_of_movements"])
        shop_id = broken_row["shop_id"]
        assert [item.name for item in invariants.check(conn, LOOKED_AT, shop_id=shop_id + 1) if item.rows] == []
        assert [item.name for item in invariants.check(conn, LOOKED_AT, shop_id=shop_id) if item.rows] == [
            "level_is_sum_of_movements"
        ]
    root.dispose()
