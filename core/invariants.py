"""Every invariant, recomputed from the facts: what `switchyard audit` and the nightly audit run.

Each check is one query that returns the rows which break it, and nothing else. A check reads facts (movements, order
lines, shipments, refunds, writes) and compares them with what is kept for speed (levels, reservations, listings).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from core.catalog.products.checks import CATALOGUE_CHECKS
from core.commissions.commission_checks import COMMISSION_CHECKS
from core.db import fetch
from core.inventory.exposure_checks import EXPOSURE_CHECKS
from core.inventory.external import EXTERNAL_CHECKS
from core.inventory.feed_checks import FEED_CHECKS
from core.ledger import verifying
from core.ledger.anchor_files import Heads
from core.ledger.checks import LEDGER_CHECKS
from core.ledger.verifying import Verifier
from core.messaging.change_checks import CHANGE_CHECKS
from core.money import WITH_THREE_DECIMALS, WITHOUT_DECIMALS
from core.orders.order_checks import ORDER_CHECKS
from core.policies.queries import LIVING, resolved
from core.policies.rules import TERMS
from core.reconciliation.checks import RECONCILIATION_CHECKS
from core.recovery.tallies import TALLY_CHECKS
from core.reports.report_checks import REPORT_CHECKS

ROWS_SHOWN_MAX = 1000
"""Enough to repair by; a check that finds more says so."""

PUSH_WITHIN = timedelta(minutes=5)
"""A difference younger than this is on its way."""


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant: a stable name, the sentence that holds, and the query for rows that break it."""

    name: str
    holds: str
    sql: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `rows` is empty where the invariant holds."""

    name: str
    holds: str
    rows: Sequence[dict[str, Any]]
    is_cut: bool


CHECKS: tuple[Check, ...] = (
    Check(
        "level_is_sum_of_movements",
        "what is on hand is the sum of its movements",
        """
        select coalesce(k.shop_id, m.shop_id) as shop_id, coalesce(k.sku_id, m.sku_id) as sku_id,
            coalesce(k.location_id, m.location_id) as location_id, k.on_hand, m.units as movements
        from (select * from stock_levels where {shop}) k
        full join (
            select shop_id, sku_id, location_id, sum(delta_units) as units
            from stock_movements where {shop} group by 1, 2, 3
        ) m using (shop_id, sku_id, location_id)
        where coalesce(k.on_hand, 0) <> coalesce(m.units, 0) or k.sku_id is null
        """,
    ),
    Check(
        "unavailable_is_sum_of_movements",
        "what is kept apart is the sum of what was moved there and back",
        """
        select coalesce(k.shop_id, m.shop_id) as shop_id, coalesce(k.sku_id, m.sku_id) as sku_id,
            coalesce(k.location_id, m.location_id) as location_id, k.unavailable, m.units as movements
        from (select * from stock_levels where {shop}) k
        full join (
            select shop_id, sku_id, location_id, sum(unavailable_delta_units) as units
            from stock_movements where {shop} and unavailable_delta_units <> 0 group by 1, 2, 3
        ) m using (shop_id, sku_id, location_id)
        where coalesce(k.unavailable, 0) <> coalesce(m.units, 0)
        """,
    ),
    Check(
        "reserved_is_sum_of_reservations",
        "what is reserved is the sum of what reservations hold",
        """
        select coalesce(k.shop_id, r.shop_id) as shop_id, coalesce(k.sku_id, r.sku_id) as sku_id,
            coalesce(k.location_id, r.location_id) as location_id, k.reserved, r.units as held
        from (select * from stock_levels where {shop}) k
        full join (
            select shop_id, sku_id, location_id, sum(held_units) as units
            from reservations where {shop} group by 1, 2, 3
        ) r using (shop_id, sku_id, location_id)
        where coalesce(k.reserved, 0) <> coalesce(r.units, 0)
        """,
    ),
    Check(
        "promised_is_sum_of_local_promises",
        "what we promised ourselves is the sum of what is held for others than order lines",
        """
        select coalesce(k.shop_id, r.shop_id) as shop_id, coalesce(k.sku_id, r.sku_id) as sku_id,
            coalesce(k.location_id, r.location_id) as location_id, k.promised, r.units as held
        from (select * from stock_levels where {shop}) k
        full join (
            select shop_id, sku_id, location_id, sum(held_units) as units
            from reservations where {shop} and order_line_id is null group by 1, 2, 3
        ) r using (shop_id, sku_id, location_id)
        where coalesce(k.promised, 0) <> coalesce(r.units, 0)
        """,
    ),
    Check(
        "reservation_follows_its_line",
        "a line's reservation promises its units, of itself or of each part of the bundle it is, and has consumed what"
        " was shipped and taken back what came over the desk",
        """
        select r.shop_id, r.id as reservation_id, r.order_line_id, r.sku_id, r.units, r.units_each,
            l.units as line_units, r.consumed_units, coalesce(s.units, 0) as shipped_units, r.taken_back_units,
            coalesce(d.units, 0) as desk_units
        from reservations r
        left join order_lines l on l.shop_id = r.shop_id and l.id = r.order_line_id
        left join (
            select fl.shop_id, fl.order_line_id, sum(fl.units) as units from fulfilment_lines fl
            join fulfilments f on f.shop_id = fl.shop_id and f.id = fl.fulfilment_id and f.is_shipped
            where fl.{shop} group by 1, 2
        ) s on s.shop_id = r.shop_id and s.order_line_id = r.order_line_id
        left join (
            select shop_id, order_line_id, sum(units) as units from line_returns where {shop} group by 1, 2
        ) d on d.shop_id = r.shop_id and d.order_line_id = r.order_line_id
        left join skus k on k.shop_id = l.shop_id and k.id = l.sku_id
        where r.{shop} and r.order_line_id is not null and (l.id is null or r.units <> l.units * r.units_each
            or r.consumed_units <> coalesce(s.units, 0) * r.units_each
            or r.taken_back_units <> coalesce(d.units, 0) * r.units_each
            or (r.sku_id = l.sku_id and r.units_each <> 1)
            -- Parts, of what neither is a bundle nor ever was one.
            or (r.sku_id <> l.sku_id and not k.is_bundle and not exists (select from audit_entries a
                where a.shop_id = k.shop_id and a.act = 'set_components' and a.subject = 'sku:' || k.id)))
        """,
    ),
    Check(
        "reservation_is_balanced",
        "what a line's reservation holds, got back and lost is what the facts of its line come to",
        """
        with opened as not materialized (
            select p.shop_id, p.id, p.opening_at is null as is_elsewhere,
                coalesce(p.opening_at, least(p.baseline_at, c.open_orders_read_at)) as opening_at, c.open_orders_read_at
            from listings p join connections c on c.shop_id = p.shop_id and c.id = p.connection_id
            where p.{shop} and p.baseline_at is not null
        )
        select r.shop_id, r.id as reservation_id, r.order_line_id, r.held_units, r.units, r.consumed_units,
            r.returned_units, r.written_off_units, r.opening_units, r.quarantined_units, r.recalled_units,
            t.held * r.units_each as held, t.returned * r.units_each as returned
        from reservations r
        join order_lines l on l.shop_id = r.shop_id and l.id = r.order_line_id
        join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        left join opened p on p.shop_id = l.shop_id and p.id = l.listing_id
        left join (
            select x.shop_id, x.order_line_id, sum(x.units)::int8 as units
            from fulfilment_lines x
            join fulfilments f on f.shop_id = x.shop_id and f.id = x.fulfilment_id and f.is_shipped
            join order_lines y on y.shop_id = x.shop_id and y.id = x.order_line_id
            join orders o on o.shop_id = y.shop_id and o.id = y.order_id
            join opened q on q.shop_id = y.shop_id and q.id = y.listing_id
            where x.{shop} and q.is_elsewhere and (f.fulfilled_at < q.opening_at
                or not f.is_dated and f.fulfilled_at > q.open_orders_read_at
                    and had_ended(q.opening_at, o.channel_created_at, o.open_at)) group by 1, 2
        ) s on s.shop_id = r.shop_id and s.order_line_id = r.order_line_id
        left join (
            select x.shop_id, x.order_line_id,
                sum(x.units) filter (where x.restock = 'cancel')::int8 as cancel,
                sum(x.units) filter (where x.restock = 'return')::int8 as came_back,
                sum(x.units) filter (where x.restock = 'legacy_restock')::int8 as legacy,
                sum(x.units) filter (where x.restock = 'no_restock')::int8 as no_restock,
                sum(x.units) filter (where x.restock <> 'no_restock'
                    and date_trunc('second', f.channel_created_at) <= q.opening_at)::int8
                    as before_baseline,
                sum(x.units) filter (where x.restock in ('cancel', 'legacy_restock')
                    and date_trunc('second', f.channel_created_at) <= q.opening_at)::int8 as released_before_baseline
            from refund_lines x
            join refunds f on f.shop_id = x.shop_id and f.id = x.refund_id
            join order_lines y on y.shop_id = x.shop_id and y.id = x.order_line_id
            left join opened q on q.shop_id = y.shop_id and q.id = y.listing_id
            where x.{shop} group by 1, 2
        ) f on f.shop_id = r.shop_id and f.order_line_id = r.order_line_id
        left join (
            select b.shop_id, b.order_line_id, x.*
            from (select distinct shop_id, order_line_id from line_returns where {shop}) b
            cross join lateral desk_returns(b.shop_id, b.order_line_id) x
        ) d on d.shop_id = r.shop_id and d.order_line_id = r.order_line_id
        cross join lateral (select was_cancelled_before(p.opening_at, o.channel_created_at, o.open_at, o.cancelled_at,
            o.is_cancel_dated) as is_cancelled_before) e
        cross join lateral line_stock(l.units, r.consumed_units / r.units_each, coalesce(f.cancel, 0),
            coalesce(f.came_back, 0), coalesce(f.legacy, 0), coalesce(f.no_restock, 0), o.cancelled_at is not null,
            coalesce(o.channel_created_at < p.opening_at, false),
            e.is_cancelled_before,
            coalesce(f.before_baseline, 0) + case when p.is_elsewhere and not e.is_cancelled_before
                then greatest(0, coalesce(l.opening_units, l.units)
                    - coalesce(s.units, 0) - coalesce(f.released_before_baseline, 0)) else 0 end,
            r.taken_back_units / r.units_each, coalesce(d.quarantined, 0),
            coalesce(d.written_off, 0), coalesce(d.recalled, 0), coalesce(l.opening_units, l.units)) t
        where r.{shop} and (r.held_units, r.returned_units, r.written_off_units, r.opening_units, r.quarantined_units,
                r.recalled_units)
            is distinct from (t.held * r.units_each, t.returned * r.units_each, t.written_off * r.units_each,
                t.opening * r.units_each, t.quarantined * r.units_each, coalesce(d.recalled, 0) * r.units_each)
        """,
    ),
    Check(
        "line_movements_match_reservation",
        "the movements of an order line are what its reservations say was done",
        """
        select coalesce(r.shop_id, m.shop_id) as shop_id, r.id as reservation_id,
            coalesce(r.order_line_id, m.order_line_id) as order_line_id, coalesce(r.sku_id, m.sku_id) as sku_id,
            m.units as movements,
            r.opening_units + r.returned_units - r.consumed_units - r.written_off_units as expected,
            m.apart as movements_apart, r.quarantined_units as expected_apart
        from (select * from reservations where {shop} and order_line_id is not null) r
        full join (
            select shop_id, order_line_id, sku_id, sum(delta_units) as units, sum(unavailable_delta_units) as apart
            from stock_movements where {shop} and order_line_id is not null group by 1, 2, 3
        ) m on m.shop_id = r.shop_id and m.order_line_id = r.order_line_id and m.sku_id = r.sku_id
        -- A line that turned out to be another SKU's left nothing behind: without a promise, they come to 0.
        where coalesce(m.units, 0) is distinct from
                coalesce(r.opening_units + r.returned_units - r.consumed_units - r.written_off_units, 0)
            or coalesce(m.apart, 0) is distinct from coalesce(r.quarantined_units, 0)
        """,
    ),
    Check(
        "promise_moved_what_it_shipped",
        "a promise to another than an order line took off what is on hand once, and only when its goods left",
        """
        select coalesce(r.shop_id, m.shop_id) as shop_id, r.id as reservation_id, m.id as movement_id, r.units,
            r.state, m.delta_units
        from (select * from reservations where {shop} and order_line_id is null) r
        full join (
            select *, substring(business_key from '^promise:([0-9]+):shipment$')::int8 as promise_id
            from stock_movements where {shop} and business_key like 'promise:%%'
        ) m on m.shop_id = r.shop_id and m.promise_id = r.id
        where m.id is not null and (r.id is null or r.state <> 'consumed' or m.delta_units <> -r.units
            or (m.sku_id, m.location_id) <> (r.sku_id, r.location_id))
        """,
    ),
    Check(
        "stocked_line_is_booked",
        "every order line with stock has its reservation, of itself or of the parts of a bundle, and only such lines"
        " have one",
        """
        select coalesce(l.shop_id, r.shop_id) as shop_id, coalesce(l.id, r.order_line_id) as order_line_id,
            l.order_id, l.mapping, r.of_itself, r.of_parts
        from (select * from order_lines where {shop}) l
        full join (
            select x.shop_id, x.order_line_id, count(*) filter (where x.sku_id = y.sku_id) as of_itself,
                count(*) filter (where x.sku_id is distinct from y.sku_id) as of_parts
            from reservations x left join order_lines y on y.shop_id = x.shop_id and y.id = x.order_line_id
            where x.{shop} and x.order_line_id is not null group by 1, 2
        ) r on r.shop_id = l.shop_id and r.order_line_id = l.id
        where (l.mapping = 'stocked') is distinct from (r.order_line_id is not null)
            or (r.of_itself > 0 and r.of_parts > 0)
        """,
    ),
    Check(
        "listing_is_whose_its_identifiers_say",
        "a mapped listing is of the SKU that is answered for it: by somebody before it was found, by the narrowest"
        " identifier first",
        """
        select l.shop_id, l.id as listing_id, l.channel_ref, l.sku_id, a.sku_id as answered_sku_id, a.identifier_id
        from listings l join listing_answers a on a.shop_id = l.shop_id and a.listing_id = l.id
        where l.{shop} and l.sku_id is distinct from a.sku_id
            -- A mapping once made stays when the channel gives a listing an identifier that is answered otherwise.
            and (l.sku_id is null or a.kind = 'variant')
        """,
    ),
    Check(
        "bundle_parts_follow_components",
        "the parts of a bundle are what its components come to; a bundle has some, and none of them is a bundle",
        """
        select coalesce(w.shop_id, p.shop_id) as shop_id, coalesce(w.bundle_sku_id, p.bundle_sku_id) as bundle_sku_id,
            coalesce(w.part_sku_id, p.part_sku_id) as part_sku_id, p.units, w.units as expected
        from (
            select c.shop_id, c.bundle_sku_id, coalesce(i.component_sku_id, c.component_sku_id) as part_sku_id,
                sum(c.units * coalesce(i.units, 1)) as units
            from bundle_components c
            left join bundle_components i on i.shop_id = c.shop_id and i.bundle_sku_id = c.component_sku_id
            where c.{shop} group by 1, 2, 3
        ) w
        full join (select * from bundle_parts where {shop}) p on p.shop_id = w.shop_id
            and p.bundle_sku_id = w.bundle_sku_id and p.part_sku_id = w.part_sku_id
        left join skus s on s.shop_id = coalesce(w.shop_id, p.shop_id)
            and s.id = coalesce(w.part_sku_id, p.part_sku_id)
        where p.units is distinct from w.units or s.is_bundle
        union all
        select s.shop_id, s.id, null, null, null from skus s
        left join (select distinct shop_id, bundle_sku_id from bundle_components where {shop}) c
            on c.shop_id = s.shop_id and c.bundle_sku_id = s.id
        where s.{shop} and s.is_bundle <> (c.bundle_sku_id is not null)
        """,
    ),
    Check(
        "bundle_has_no_stock",
        "a bundle has no stock of its own: what lies under it can be sold by nobody until it is booked to its parts",
        """
        select k.shop_id, k.sku_id, k.location_id, k.on_hand, k.reserved, k.unavailable, k.incoming
        from stock_levels k join skus s on s.shop_id = k.shop_id and s.id = k.sku_id and s.is_bundle
        where k.{shop} and (k.on_hand <> 0 or k.reserved <> 0 or k.unavailable <> 0 or k.incoming <> 0)
        """,
    ),
    Check(
        "return_is_booked",
        "every return without order that restocks has moved its units, or those of each part of a bundle, once",
        """
        select c.shop_id, c.id as customer_return_id, c.business_key, c.units, m.units as moved
        from customer_returns c
        left join (
            select shop_id, substring(business_key from position(':' in business_key) + 1) as return_key,
                min(sku_id) as sku_id, count(*) as parts, min(delta_units) as units, gcd(min(delta_units),
                max(delta_units)) as divisor
            from stock_movements where {shop} and reason = 'customer_return' and order_line_id is null group by 1, 2
        ) m on m.shop_id = c.shop_id and m.return_key = c.business_key
        where c.{shop} and case when c.disposition = 'restock' and c.units <> 0
            then m.parts is null or (m.parts = 1 and m.sku_id = c.sku_id and m.units <> c.units)
                or m.divisor %% c.units <> 0
            else m.parts is not null end
        """,
    ),
    Check(
        "incoming_is_sum_of_open_documents",
        "what is incoming is what open purchase orders and sent transfers still expect, less what came of them",
        """
        select coalesce(k.shop_id, d.shop_id) as shop_id, coalesce(k.sku_id, d.sku_id) as sku_id,
            coalesce(k.location_id, d.location_id) as location_id, k.incoming, d.units as outstanding
        from (select * from stock_levels where {shop} and incoming <> 0) k
        full join (
            select l.shop_id, l.sku_id, coalesce(t.to_location_id, t.location_id) as location_id,
                sum(greatest(0, l.units - coalesce(c.units, 0) - l.dropped_units))::int8 as units
            from stock_documents t
            join stock_document_lines l on l.shop_id = t.shop_id and l.document_id = t.id
            left join (
                select a.shop_id, a.against_id, r.sku_id, sum(r.units) as units
                from stock_documents a
                join stock_document_lines r on r.shop_id = a.shop_id and r.document_id = a.id
                where a.against_id is not null group by 1, 2, 3
            ) c on c.shop_id = t.shop_id and c.against_id = t.id and c.sku_id = l.sku_id
            where t.{shop} and t.kind in ('purchase_order', 'transfer') and t.undoes_id is null
                and (t.state in ('open', 'sent') or t.state = 'done')
            group by 1, 2, 3 having sum(greatest(0, l.units - coalesce(c.units, 0) - l.dropped_units)) > 0
        ) d using (shop_id, sku_id, location_id)
        where coalesce(k.incoming, 0) <> coalesce(d.units, 0)
        """,
    ),
    Check(
        "document_is_booked_once",
        "what the desk's documents say was moved or taken back is on record, each line once, and nothing else of them",
        """
        select coalesce(d.shop_id, m.shop_id) as shop_id, coalesce(d.key, m.business_key) as business_key,
            d.delta, m.delta_units as moved, d.apart, m.unavailable_delta_units as moved_apart
        from (
            select l.shop_id, 'document:' || t.id || ':' || l.ordinal as key, e.delta, e.apart
            from stock_documents t
            join stock_document_lines l on l.shop_id = t.shop_id and l.document_id = t.id
            cross join lateral (select
                case
                    when l.order_line_id is not null then l.units
                    when t.kind in ('receipt', 'adjustment') then l.units
                    when t.kind = 'count' then coalesce(l.units, 0)
                    when t.kind = 'transfer' then
                        case when t.sent_at is not null or t.undoes_id is not null then -l.units else 0 end
                    when t.kind = 'return' and l.disposition <> 'write_off' then l.units
                    when t.kind = 'release' and l.disposition = 'write_off' then -l.units
                    else 0 end as delta,
                case
                    when l.order_line_id is not null then 0
                    when t.kind = 'return' and l.disposition = 'quarantine' then l.units
                    when t.kind = 'release' then -l.units
                    else 0 end as apart) e
            where t.{shop} and (e.delta <> 0 or e.apart <> 0)
        ) d
        full join (
            select shop_id, business_key, delta_units, unavailable_delta_units from stock_movements
            where {shop} and business_key like 'document:%%'
            union all
            select shop_id, business_key, units, 0 from line_returns
            where {shop} and business_key like 'document:%%'
        ) m on m.shop_id = d.shop_id and m.business_key = d.key
        where (d.delta, d.apart) is distinct from (m.delta_units, m.unavailable_delta_units)
        """,
    ),
    Check(
        "line_total_is_rounded_once",
        "a line's total is units times unit price, rounded half away from zero, less its discount",
        """
        select l.shop_id, l.id as order_line_id, l.units, l.unit_price, l.discount_minor, l.total_minor, o.currency
        from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        where l.{shop} and l.total_minor <> round(l.units * l.unit_price * power(10::numeric, case
            when o.currency = any(%(no_decimals)s) then 0 when o.currency = any(%(three_decimals)s) then 3 else 2 end))
            - l.discount_minor
        """,
    ),
    Check(
        "inbox_is_settled",
        "every message is handled, ignored, discarded, waiting with a deadline, or parked with a cause",
        """
        select shop_id, id as message_id, topic, state, cause, received_at from inbox_messages
        where {shop} and ((state = 'received' and received_at < %(now)s - %(patience)s)
            or (state = 'waiting' and (waiting_for is null or waits_until is null
                or waits_until < %(now)s - %(patience)s))
            or (state = 'parked' and cause is null)
            or (state in ('handled', 'discarded') and settled_at is null))
        """,
    ),
    Check(
        "listing_is_converged_or_explained",
        "every published listing shows what it should, or a write, a refusal, a stop or a recent change explains it",
        """
        with writable as (
            select c.id from connections c where c.{shop} and may_write(c.shop_id, c.id)
                and not exists (select from write_stops s where s.shop_id = c.shop_id
                    and coalesce(s.connection_id, c.id) = c.id and s.ended_at > %(now)s - %(push)s)
                and not exists (select from audit_entries a where a.shop_id = c.shop_id
                    and a.subject = 'connection:' || c.id and a.act in ('go_live', 'resume')
                    and a.acted_at > %(now)s - %(push)s)
        ), moved as (
            select shop_id, sku_id from stock_movements where {shop} and recorded_at > %(now)s - %(push)s
            union
            select shop_id, sku_id from reservations
            where {shop} and greatest(created_at, ended_at) > %(now)s - %(push)s
        ), recent as (
            select shop_id, sku_id from moved
            union
            select b.shop_id, b.bundle_sku_id from bundle_parts b
            join moved m on m.shop_id = b.shop_id and m.sku_id = b.part_sku_id
        )
        select l.shop_id, l.id as listing_id, l.channel_ref, l.desired_units, l.published_units, l.push_problem
        from listings l
        left join listing_writes w on w.shop_id = l.shop_id and w.listing_id = l.id and w.outcome is null
        where l.{shop} and l.publishing = 'on' and l.connection_id in (select id from writable)
            and (listing_differs(l.desired_units - l.short_units, l.published_units) or l.unseen_units <> 0)
            and w.id is null and l.push_problem is null
            -- What a comparison found waits for its explanation, or for a person.
            and not (l.unseen_units <> 0
                and unseen_is_held(l.shop_id, l.id, l.unseen_units, l.desired_units - l.short_units))
            and (l.unseen_since is null or l.unseen_since < %(now)s - %(push)s)
            and not exists (select from recent r where r.shop_id = l.shop_id and r.sku_id = l.sku_id)
            and not exists (select from listing_writes v where v.shop_id = l.shop_id and v.listing_id = l.id
                and v.outcome_at > %(now)s - %(push)s)
            and not exists (select from policy_versions p where p.shop_id = l.shop_id
                and coalesce(p.finished_at, %(now)s) > %(now)s - %(push)s)
        """,
    ),
    Check(
        "listing_wants_what_is_available",
        "a published listing of pooled stock should show what its rule offers of what is available at its"
        " location: of its SKU, or of as many bundles as the scarcest part allows; and never less than zero",
        """
        select l.shop_id, l.id as listing_id, l.channel_ref, l.desired_units, l.short_units, a.available
        from listings l
        left join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
        left join stock_levels k on k.shop_id = l.shop_id and k.sku_id = l.sku_id and k.location_id = l.location_id
        left join (select * from bundle_levels where {shop}) b
            on b.shop_id = l.shop_id and b.sku_id = l.sku_id and b.location_id = l.location_id
        cross join lateral (select coalesce(case when s.is_bundle then b.available else k.available end, 0)
            as available) a
        where l.{shop} and l.publishing = 'on' and not exists (
                select from pool_takers t join stock_levels e on e.shop_id = t.shop_id and e.sku_id = t.sku_id
                    and e.location_id = t.location_id
                    and (e.is_escrow or e.escrow_line_units is not null)
                where t.shop_id = l.shop_id and t.listing_id = l.id)
            and (l.desired_units, l.short_units) is distinct from
                (offer(a.available, l.safety_stock_units, l.share_percent, l.buffer_units, l.floor_units, l.cap_units,
                    l.is_offered), greatest(0, -a.available))
        """,
    ),
    Check(
        "listing_rule_is_resolved",
        "a mapped listing carries what the channel rules come to for it, unless a saved change is on its way to it",
        f"""
        select l.shop_id, l.id as listing_id, l.channel_ref, l.share_percent, r.share_percent as should_be_share,
            l.buffer_units, r.buffer_units as should_be_buffer, l.cap_units, r.cap_units as should_be_cap
        from ({resolved(LIVING, "l.{shop}")}) r
        join listings l on l.shop_id = r.shop_id and l.id = r.listing_id
        where ({", ".join(f"l.{name}" for name in TERMS)}) is distinct from ({", ".join(f"r.{name}" for name in TERMS)})
            and not exists (select from policy_versions v where v.shop_id = l.shop_id and v.finished_at is null
                and v.saved_at > %(now)s - %(patience)s)
        """,
    ),
    Check(
        "write_is_settled_or_in_doubt",
        "at most one write of a listing is open; an open one is about to leave, or its doubt is being looked at",
        """
        select w.shop_id, w.id as write_id, w.listing_id, w.sent_at, w.deadline_at, w.next_check_at
        from listing_writes w
        where w.{shop} and w.outcome is null
            and ((w.sent_at is null and w.deadline_at < %(now)s - %(patience)s)
                -- What could only be settled by writing again waits until it may be.
                or (w.sent_at is not null and coalesce(w.next_check_at, w.sent_at) < %(now)s - %(patience)s
                    and (w.from_units is null or may_write(w.shop_id, w.connection_id))
                    -- What is in a feed under way is looked at with the feed.
                    and not exists (select from channel_feeds f where f.shop_id = w.shop_id and f.id = w.feed_id
                        and f.submitted_at is not null and f.ended_at is null))
                or exists (select from listing_writes v where v.shop_id = w.shop_id and v.listing_id = w.listing_id
                    and v.outcome is null and v.id <> w.id))
        """,
    ),
    Check(
        "write_outcome_is_complete",
        "a settled write says when and how; what was withdrawn had not left",
        """
        select shop_id, id as write_id, listing_id, outcome, outcome_at, sent_at from listing_writes
        where {shop} and ((outcome is null) <> (outcome_at is null) or (outcome = 'withdrawn' and sent_at is not null)
            or (outcome in ('confirmed', 'refused', 'stale') and sent_at is null) or outcome_at < planned_at)
        """,
    ),
    Check(
        "act_is_named_and_reasoned",
        "every act on record says who did it and why",
        """
        select shop_id, id as audit_entry_id, actor, act, subject from audit_entries
        where {shop} and (btrim(actor) = '' or btrim(reason) = '')
        """,
    ),
    *(
        Check(name, holds, sql)
        for name, holds, sql in (
            *EXPOSURE_CHECKS,
            *EXTERNAL_CHECKS,
            *FEED_CHECKS,
            *ORDER_CHECKS,
            *CATALOGUE_CHECKS,
            *CHANGE_CHECKS,
            *LEDGER_CHECKS,
            *COMMISSION_CHECKS,
            *REPORT_CHECKS,
            *RECONCILIATION_CHECKS,
            *TALLY_CHECKS,
        )
    ),
)

PATIENCE = timedelta(minutes=5)


def check(conn: Connection, now: datetime, *, shop_id: int | None = None, settled: bool = False) -> list[Finding]:
    """Run every check on one shop or on all; `settled` allows nothing to be on its way any more."""
    clause = "shop_id = %(shop)s" if shop_id is not None else "shop_id is not null"
    params: dict[str, Any] = {
        "shop": shop_id,
        "now": now,
        "patience": timedelta(0) if settled else PATIENCE,
        "push": timedelta(0) if settled else PUSH_WITHIN,
        "limit": ROWS_SHOWN_MAX + 1,
        "no_decimals": list(WITHOUT_DECIMALS),
        "three_decimals": list(WITH_THREE_DECIMALS),
    }
    findings = []
    for item in CHECKS:
        sql = f"select * from ({item.sql.replace('{shop}', clause)}) as broken limit %(limit)s"
        rows = [dict(row) for row in fetch(conn, sql, **params)]
        findings.append(Finding(item.name, item.holds, rows[:ROWS_SHOWN_MAX], len(rows) > ROWS_SHOWN_MAX))
    return findings


def check_ledgers(
    conn: Connection, now: datetime, anchors: Path, seen: Heads, *, shop_id: int | None = None
) -> tuple[list[Finding], list[str]]:
    """Recompute the sealed chain of one shop or of all, and hold it against the anchors in a folder.

    `seen`: the anchors that were there before the snapshot of `conn` was taken (`anchor_files.heads`).
    Returns what was found, in the form of `check`, and in words what could not be held against anything.
    """
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in verifying.HOLDS}
    notes: list[str] = []
    for number in verifying.shops(conn) if shop_id is None else [shop_id]:
        verifier = Verifier(conn, number, anchors, now, notes, seen)
        for broken in verifier.run():
            if len(rows[broken.name]) <= ROWS_SHOWN_MAX:
                rows[broken.name].append(broken.row)
    findings = [
        Finding(name, holds, rows[name][:ROWS_SHOWN_MAX], len(rows[name]) > ROWS_SHOWN_MAX)
        for name, holds in verifying.HOLDS.items()
    ]
    return findings, notes
