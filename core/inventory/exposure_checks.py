"""What must hold of exposure, recomputed from writes and bookings; part of `core.invariants.CHECKS`.

Each is (name, the sentence that holds, the query for rows that break it), with `{shop}` for the clause that chooses
shops. Changes of exposure are forgotten in time, the oldest first: what is older than the first that is left is not
checked.
"""

from __future__ import annotations

EXPOSURE_CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        "exposure_is_the_sum_of_its_changes",
        "what a listing exposes is what its last change left, and every change begins where the one before it ended",
        """
        select l.shop_id, l.id as listing_id, l.exposed_units, c.exposed_units as should_be, c.id as change_id
        from listings l
        left join lateral (
            select x.id, x.exposed_units from exposure_changes x
            where x.shop_id = l.shop_id and x.listing_id = l.id order by x.id desc limit 1
        ) c on true
        where l.{shop} and l.exposed_units <> coalesce(c.exposed_units, 0)
        union all
        select shop_id, listing_id, exposed_units, before + delta_units, id from (
            select shop_id, listing_id, id, exposed_units, delta_units,
                lag(exposed_units) over (partition by shop_id, listing_id order by id) as before
            from exposure_changes where {shop}
        ) chain where before + delta_units <> exposed_units
        """,
    ),
    (
        "write_moved_exposure",
        "a write exposed what it could add when it was recorded, and took back, once, what its outcome allows",
        """
        select w.shop_id, w.id as write_id, w.listing_id, w.exposure_delta_units, w.outcome,
            e.recorded, e.recordings, e.settled, e.settlings
        from listing_writes w
        cross join lateral (
            select coalesce(sum(c.asked_units) filter (where c.cause = 'write'), 0) as recorded,
                count(*) filter (where c.cause = 'write') as recordings,
                coalesce(sum(c.asked_units) filter (where c.cause <> 'write'), 0) as settled,
                count(*) filter (where c.cause <> 'write') as settlings
            from exposure_changes c
            where c.shop_id = w.shop_id and c.listing_id = w.listing_id and c.write_id = w.id
        ) e
        left join lateral (
            -- Of what a person saw, or a channel showed that had forgotten the call, nothing follows.
            select w.outcome
            where coalesce(w.outcome_code, '') not in ('BY_HAND', 'KEY_EXPIRED', 'NOT_SUBMITTED', 'OVERTAKEN')
        ) sure on true
        where w.{shop} and w.exposure_delta_units is not null
            and w.planned_at >= (select min(c.changed_at) from exposure_changes c
                where c.shop_id = w.shop_id and c.listing_id = w.listing_id)
            and (e.recorded, e.recordings, e.settled, e.settlings) is distinct from (
                w.exposure_delta_units::bigint, (w.exposure_delta_units > 0)::int::bigint,
                case when sure.outcome = 'confirmed' and w.from_units > w.to_units then w.to_units - w.from_units
                    when sure.outcome in ('refused', 'stale', 'withdrawn') then -w.exposure_delta_units
                    else 0 end::bigint,
                coalesce(sure.outcome = 'confirmed' and w.from_units > w.to_units
                    or sure.outcome in ('refused', 'stale', 'withdrawn') and w.exposure_delta_units > 0,
                    false)::int::bigint)
        """,
    ),
    (
        "overtaken_write_is_followed",
        "an overtaken write set an absolute number one by one, was accepted before, and the next write took its road",
        """
        select w.shop_id, w.id as write_id, w.listing_id, w.road, w.from_units, w.accepted_at, w.outcome,
            n.id as next_id
        from listing_writes w
        left join lateral (
            select n.id, n.road, n.from_units, n.planned_at from listing_writes n
            where n.shop_id = w.shop_id and n.listing_id = w.listing_id and n.id > w.id order by n.id limit 1
        ) n on true
        where w.{shop} and w.outcome_code = 'OVERTAKEN' and (w.outcome = 'stale' and w.road = 'call' and n.road = 'call'
            and w.from_units is null and n.from_units is null and w.accepted_at < n.planned_at
            and w.observed_units is not null and n.planned_at = w.outcome_at) is not true
        """,
    ),
    (
        "write_exposes_what_it_can_add",
        "what a write exposes is the raise it may cause, or all of an absolute number",
        """
        select shop_id, id as write_id, listing_id, from_units, to_units, exposure_delta_units
        from listing_writes
        where {shop} and exposure_delta_units is not null and exposure_delta_units <>
            case when from_units is null then to_units else greatest(0, to_units - greatest(0, from_units)) end
        """,
    ),
    (
        "exposure_follows_bookings",
        "no more was taken off what is exposed than was booked as sold, less what its channel put back",
        """
        select l.shop_id, l.id as listing_id, moved.taken, coalesce(booked.units, 0) as booked
        from listings l
        join (
            select shop_id, listing_id, (array_agg(cause order by id))[1] as first_cause,
                coalesce(-sum(asked_units) filter (where cause in ('sale', 'restock')), 0)::bigint as taken
            from exposure_changes where {shop} group by 1, 2
        ) moved on moved.shop_id = l.shop_id and moved.listing_id = l.id
        left join (
            -- A line that is refunded more often than it was sold cannot have lowered anything.
            select ol.shop_id, ol.listing_id,
                sum(greatest(0, ol.units + ol.withheld_units - coalesce(back.units, 0)))::bigint as units
            from order_lines ol left join (
                select rl.shop_id, rl.order_line_id, sum(rl.units) as units
                from refund_lines rl
                join refunds f on f.shop_id = rl.shop_id and f.id = rl.refund_id
                join order_lines x on x.shop_id = rl.shop_id and x.id = rl.order_line_id
                join listings p on p.shop_id = x.shop_id and p.id = x.listing_id
                where rl.{shop} and rl.restock <> 'no_restock'
                    and (p.baseline_at is null or f.channel_created_at >= p.baseline_at)
                group by 1, 2
            ) back on back.shop_id = ol.shop_id and back.order_line_id = ol.id
            where ol.{shop} and ol.mapping = 'stocked' and ol.listing_id is not null group by 1, 2
        ) booked on booked.shop_id = l.shop_id and booked.listing_id = l.id
        where l.{shop} and moved.first_cause = 'base' and moved.taken > coalesce(booked.units, 0)
        """,
    ),
    (
        "doubt_ends_at_the_watermark",
        "what is exposed is what the channel shows, once no write is open and the watermark has passed the reading",
        """
        select l.shop_id, l.id as listing_id, l.exposed_units, l.published_units, l.published_at, c.watermark_at
        from listings l join connections c on c.shop_id = l.shop_id and c.id = l.connection_id
        where l.{shop} and l.is_in_doubt and c.state = 'active' and c.reads_orders
            and c.watermark_at > l.published_at + interval '5 seconds' + %(patience)s
            and not exists (select from listing_writes w where w.shop_id = l.shop_id and w.listing_id = l.id
                and (w.outcome is null or w.outcome_at > %(now)s - %(patience)s))
            and not exists (select from overtaken_writes(l.shop_id, l.id))
            -- What clocks do not tell is counted twice for safety, until it is read again.
            and l.exposed_units <> greatest(0, l.published_units + l.blurred_units)
        """,
    ),
    (
        "pool_is_shared_as_its_rules_say",
        "a pool is split when a listing of it says so, and only then",
        """
        select k.shop_id, k.sku_id, k.location_id, k.escrow_line_units, m.is_shared
        from stock_levels k
        join (
            select t.shop_id, t.sku_id, t.location_id, bool_or(l.mode <> 'pooled') as is_shared,
                bool_or(l.mode = 'escrow') as is_split
            from pool_takers t join listings l on l.shop_id = t.shop_id and l.id = t.listing_id
            join locations p on p.shop_id = t.shop_id and p.id = t.location_id and p.kind = 'own'
            where t.{shop} and l.publishing = 'on' group by 1, 2, 3
        ) m on m.shop_id = k.shop_id and m.sku_id = k.sku_id and m.location_id = k.location_id
        where k.{shop} and ((k.escrow_line_units is not null) <> m.is_shared
                or m.is_split <> (coalesce(k.escrow_line_units, 0) = 2147483647))
            and not exists (select from policy_versions v where v.shop_id = k.shop_id
                and coalesce(v.finished_at, %(now)s) > %(now)s - 2 * %(push)s)
        """,
    ),
    (
        "shortage_is_on_record",
        "a pool with less than nothing available has one shortage on record that has not ended, and no other has one",
        """
        select coalesce(k.shop_id, h.shop_id) as shop_id, coalesce(k.sku_id, h.sku_id) as sku_id,
            coalesce(k.location_id, h.location_id) as location_id, k.available, h.id as shortage_id, h.worst_units
        from (select * from stock_levels where {shop} and available < 0) k
        full join (select * from shortages where {shop} and ended_at is null) h using (shop_id, sku_id, location_id)
        where k.available is null or h.id is null or h.worst_units > k.available
        """,
    ),
)
