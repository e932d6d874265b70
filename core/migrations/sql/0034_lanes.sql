-- The oldest message of a lane comes with the count of them. Asked for by itself ("order by id limit 1") it was sought
-- along the primary key wherever much waits: for a quiet connection beside a busy one that reads the whole inbox.

create or replace view connection_health with (security_invoker = true) as
with facts as (
    select
        c.shop_id, c.id as connection_id, c.name, c.vendor, c.guarantee_class, c.state as switch,
        c.write_mode, coalesce(q.problem, c.last_error) as last_error,
        coalesce(q.problem_at, c.last_error_at) as last_error_at, q.problem is not null as is_cut_off, c.orders_polled_to, c.catalogue_read_at,
        event.received_at as last_event_at, confirmed.outcome_at as last_confirmed_at, answer.called_at as last_answer_at,
        lane.received, inbox.waiting, inbox.parked, oldest.received_at as oldest_received_at,
        shown.listings, shown.listings_in_step, shown.listings_to_push, shown.listings_refused, shown.listings_off,
        writes.open_writes, writes.doubtful_writes, writes.oldest_planned_at, unpushed.since as oldest_unpushed_at,
        (select count(*) from channel_subscriptions s
         where s.shop_id = c.shop_id and s.connection_id = c.id and s.state <> 'standing' and not s.is_advised)
            as untold_topics,
        coalesce(said.fell_forward, false) as fell_forward
    from connections c
    left join channel_mailboxes q on q.shop_id = c.shop_id and q.connection_id = c.id
        and c.settings ->> 'queue_url' is not null
    left join lateral (
        select n.api_version <> n.asked_version as fell_forward
        from (
            select a.asked_version, a.api_version, a.called_at from api_calls a
            where a.shop_id = c.shop_id and a.connection_id = c.id order by a.called_at desc limit 200
        ) n
        where n.api_version is not null and n.asked_version is not null order by n.called_at desc limit 1
    ) said on true
    left join lateral (
        select m.received_at from inbox_messages m
        where m.shop_id = c.shop_id and m.connection_id = c.id order by m.received_at desc limit 1
    ) event on true
    left join lateral (
        select w.outcome_at from listing_writes w
        where w.shop_id = c.shop_id and w.connection_id = c.id and w.outcome = 'confirmed'
        order by w.outcome_at desc limit 1
    ) confirmed on true
    left join lateral (
        select max(latest.called_at) as called_at
        from (
            select a.called_at, a.outcome from api_calls a
            where a.shop_id = c.shop_id and a.connection_id = c.id and a.operation not like 'sqs.%'
            order by a.called_at desc limit 500
        ) latest
        where latest.outcome = 'ok'
    ) answer on true
    cross join lateral (
        select count(*) as received, min(m.id) as oldest_id from inbox_messages m
        where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'received'
    ) lane
    cross join lateral (
        select
            (select count(*) from inbox_messages m
             where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'waiting') as waiting,
            (select coalesce(sum(t.parked), 0) from failure_kinds k
             join failure_tallies t on t.shop_id = k.shop_id and t.kind_id = k.id
             where k.shop_id = c.shop_id and k.connection_id = c.id and k.source = 'message') as parked
    ) inbox
    left join inbox_messages oldest on oldest.shop_id = c.shop_id and oldest.id = lane.oldest_id
    cross join lateral (
        select
            count(*) as listings,
            count(*) filter (
                where l.publishing = 'on' and l.push_problem is null
                and not listing_differs(l.desired_units - l.short_units, l.published_units)
            ) as listings_in_step,
            count(*) filter (
                where c.write_mode = 'live' and l.publishing = 'on'
                and listing_differs(l.desired_units - l.short_units, l.published_units)
            ) as listings_to_push,
            count(*) filter (where l.publishing = 'on' and l.push_problem is not null) as listings_refused,
            count(*) filter (where l.publishing = 'off') as listings_off
        from listings l where l.shop_id = c.shop_id and l.connection_id = c.id
    ) shown
    cross join lateral (
        select count(*) as open_writes, count(w.doubt) as doubtful_writes,
            min(w.planned_at) filter (where w.doubt is null
                -- Whether it landed may never be known, and nobody waits for it: the listing shows what it should.
                and not (w.accepted_at is not null and w.from_units is null and exists (
                    select from listings q where q.shop_id = w.shop_id and q.id = w.listing_id
                        and q.published_at > w.sent_at and q.unseen_units = 0
                        and not listing_differs(q.desired_units - q.short_units, q.published_units)))
            ) as oldest_planned_at
        from listing_writes w where w.shop_id = c.shop_id and w.connection_id = c.id and w.outcome is null
    ) writes
    left join lateral (
        select min(greatest(
            l.published_at,
            (select m.recorded_at from stock_movements m
             where m.shop_id = l.shop_id and m.sku_id = l.sku_id order by m.id desc limit 1),
            (select o.recorded_at from order_lines ol
             join orders o on o.shop_id = ol.shop_id and o.id = ol.order_id
             where ol.shop_id = l.shop_id and ol.sku_id = l.sku_id order by ol.id desc limit 1),
            (select w.outcome_at from listing_writes w
             where w.shop_id = l.shop_id and w.listing_id = l.id order by w.id desc limit 1)
        )) as since
        from (
            select t.shop_id, t.id, t.sku_id, t.published_at from listings t
            where c.write_mode = 'live' and t.shop_id = c.shop_id and t.connection_id = c.id
            and t.publishing = 'on' and listing_differs(t.desired_units - t.short_units, t.published_units)
            and t.push_problem is null
            and not exists (
                select from listing_writes o
                where o.shop_id = t.shop_id and o.listing_id = t.id and o.outcome is null
            )
            order by t.id limit 200
        ) l
    ) unpushed on true
), judged as (
    select
        f.*,
        least(f.oldest_received_at, f.oldest_planned_at, f.oldest_unpushed_at) as behind_since,
        greatest(f.last_event_at, f.last_confirmed_at, f.last_answer_at) as last_heard_at,
        case when f.guarantee_class = 'B' then interval '15 minutes' else interval '2 minutes' end as lag_allowed,
        interval '30 minutes' as silence_allowed
    from facts f
)
select
    j.shop_id, j.connection_id, j.name, j.vendor, j.guarantee_class, j.switch, j.last_error, j.last_error_at,
    j.orders_polled_to, j.catalogue_read_at, j.last_event_at, j.last_confirmed_at, j.last_answer_at, j.last_heard_at,
    j.received, j.waiting, j.parked, j.listings, j.listings_in_step, j.listings_to_push, j.listings_refused,
    j.listings_off, j.open_writes, j.doubtful_writes, j.behind_since,
    case
        when j.switch = 'paused' or j.last_heard_at is null then null
        when j.behind_since is null and now() - j.last_heard_at > j.silence_allowed then null
        else extract(epoch from greatest(now() - coalesce(j.behind_since, now()), interval '0'))
    end::float8 as lag_seconds,
    extract(epoch from j.lag_allowed)::float8 as lag_allowed_seconds,
    extract(epoch from j.silence_allowed)::float8 as silence_allowed_seconds,
    case
        when j.switch = 'paused' then 'paused'
        when j.last_heard_at is null then 'unknown'
        when now() - j.behind_since > j.lag_allowed then 'behind'
        when now() - j.last_heard_at > j.silence_allowed then 'unknown'
        when j.last_error_at > coalesce(j.last_answer_at, '-infinity') then 'attention'
        when j.is_cut_off then 'attention'
        when j.parked > 0 or j.listings_refused > 0 or j.doubtful_writes > 0 then 'attention'
        when j.untold_topics > 0 or j.fell_forward then 'attention'
        else 'in_step'
    end as state,
    now() as as_of, j.write_mode, j.untold_topics, j.fell_forward
from judged j;

create or replace view job_lanes with (security_invoker = true) as
select
    c.shop_id, c.id as connection_id, c.name as connection, c.state as switch, lane.kind, lane.waiting, lane.oldest_at,
    now() as as_of
from connections c
cross join lateral (
    select 'events' as kind, r.waiting, o.received_at as oldest_at
    from (
        select count(*) as waiting, min(m.id) as oldest_id from inbox_messages m
        where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'received'
    ) r
    left join inbox_messages o on o.shop_id = c.shop_id and o.id = r.oldest_id
    union all
    select
        'stock', count(*),
        min(case when l.place <= 200 then listing_changed_at(l.shop_id, l.id, l.sku_id, l.published_at) end)
    from (
        select t.*, row_number() over (order by t.id) as place from listings t
        where t.shop_id = c.shop_id and t.connection_id = c.id and t.is_to_push and t.push_problem is null
        and listing_differs(t.desired_units - t.short_units, t.published_units)
        and not exists (
            select from listing_writes w where w.shop_id = t.shop_id and w.listing_id = t.id and w.outcome is null
        )
    ) l
    union all
    select 'stock-check', count(*), min(w.sent_at)
    from listing_writes w
    where w.shop_id = c.shop_id and w.connection_id = c.id and w.outcome is null and w.sent_at is not null
) lane;

create or replace view connection_watermarks with (security_invoker = true) as
select
    c.shop_id, c.id as connection_id, c.name, c.guarantee_class, c.state as switch, c.reads_orders, c.watermark_at,
    c.doubt_seconds, held.cause as parked_cause, held.received_at as parked_at,
    exists (select from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        where l.shop_id = c.shop_id and l.mapping = 'unmapped' and l.listing_id is null and l.variant_ref is null
            and o.connection_id = c.id and o.cancelled_at is null) as has_unmapped_line,
    exists (select from listings l where l.shop_id = c.shop_id and l.connection_id = c.id and l.exposed_units > 0)
        as is_exposed
from connections c
cross join lateral (
    select count(*) as messages, min(m.id) as oldest_id from inbox_messages m
    where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'parked'
) parked
left join inbox_messages held on held.shop_id = c.shop_id and held.id = parked.oldest_id;
