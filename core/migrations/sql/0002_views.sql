-- The public face of the tables: everything the dashboard shows comes from here.
-- security_invoker, so that a view shows nothing its reader could not read in the tables; every view has shop_id.
-- Work is bounded by partial indexes, time windows and caps: a page costs the same at a thousand orders and a million.

create view shop_list with (security_invoker = true) as
select shop_id, name, time_zone, currency from shops;

-- How one connection is doing. The lag is the age of the oldest thing received and not handled, or planned and not
-- settled, or waiting to be planned. A write in doubt does not count: it has a state of its own. A listing
-- carries no time at which it began to differ: the last thing that could have changed it stands in, so for those the
-- lag reads "at least".
create view connection_health with (security_invoker = true) as
with facts as (
    select
        c.shop_id, c.id as connection_id, c.name, c.vendor, c.guarantee_class, c.state as switch,
        c.last_error, c.last_error_at, c.orders_polled_to, c.catalogue_read_at,
        event.received_at as last_event_at, confirmed.outcome_at as last_confirmed_at, answer.called_at as last_answer_at,
        inbox.received, inbox.waiting, inbox.parked, oldest.received_at as oldest_received_at,
        shown.listings, shown.listings_in_step, shown.listings_to_push, shown.listings_refused, shown.listings_off,
        writes.open_writes, writes.doubtful_writes, writes.oldest_planned_at, unpushed.since as oldest_unpushed_at
    from connections c
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
            where a.shop_id = c.shop_id and a.connection_id = c.id order by a.called_at desc limit 500
        ) latest
        where latest.outcome = 'ok'
    ) answer on true
    cross join lateral (
        select
            (select count(*) from inbox_messages m
             where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'received') as received,
            (select count(*) from inbox_messages m
             where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'waiting') as waiting,
            (select count(*) from inbox_messages m
             where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'parked') as parked
    ) inbox
    left join lateral (
        select m.received_at from inbox_messages m
        where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'received' order by m.id limit 1
    ) oldest on true
    cross join lateral (
        select
            count(*) as listings,
            count(*) filter (
                where l.publishing = 'on' and l.push_problem is null
                and not listing_differs(l.desired_units - l.short_units, l.published_units)
            ) as listings_in_step,
            count(*) filter (
                where l.publishing = 'on' and listing_differs(l.desired_units - l.short_units, l.published_units)
            ) as listings_to_push,
            count(*) filter (where l.publishing = 'on' and l.push_problem is not null) as listings_refused,
            count(*) filter (where l.publishing = 'off') as listings_off
        from listings l where l.shop_id = c.shop_id and l.connection_id = c.id
    ) shown
    cross join lateral (
        select count(*) as open_writes, count(w.doubt) as doubtful_writes,
            min(w.planned_at) filter (where w.doubt is null) as oldest_planned_at
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
            where t.shop_id = c.shop_id and t.connection_id = c.id
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
        when j.parked > 0 or j.listings_refused > 0 or j.doubtful_writes > 0 then 'attention'
        else 'in_step'
    end as state,
    now() as as_of
from judged j;

-- Two hours in steps of five minutes: what came in, how long the slowest took, what was confirmed. At most the last
-- 10,000 of each are looked at: a step from before them is unknown (null), not zero.
create view connection_pulse with (security_invoker = true) as
select
    c.shop_id, c.id as connection_id, pulse.bucket_at,
    case when pulse.bucket_at >= reach.received_from then pulse.events end as events,
    case when pulse.bucket_at >= reach.received_from then pulse.slowest_seconds end as slowest_seconds,
    case when pulse.bucket_at >= reach.confirmed_from then pulse.confirmed end as confirmed
from connections c
cross join lateral (
    select
        date_bin('5 minutes', now(), 'epoch') - interval '115 minutes' as begins,
        coalesce((
            select m.received_at from inbox_messages m
            where m.shop_id = c.shop_id and m.connection_id = c.id and m.received_at > now() - interval '2 hours'
            order by m.received_at desc offset 9999 limit 1
        ), '-infinity') as received_from,
        coalesce((
            select w.outcome_at from listing_writes w
            where w.shop_id = c.shop_id and w.connection_id = c.id and w.outcome = 'confirmed'
            and w.outcome_at > now() - interval '2 hours'
            order by w.outcome_at desc offset 9999 limit 1
        ), '-infinity') as confirmed_from
    offset 0  -- a fence: worked out once for a connection, not once for each of its steps
) reach
cross join lateral (
    select
        steps.bucket_at, coalesce(came.events, 0) as events, coalesce(came.slowest_seconds, 0) as slowest_seconds,
        coalesce(went.confirmed, 0) as confirmed
    from generate_series(reach.begins, reach.begins + interval '115 minutes', interval '5 minutes') steps(bucket_at)
    left join (
        select
            date_bin('5 minutes', m.received_at, 'epoch') as bucket_at, count(*) as events,
            max(extract(epoch from coalesce(m.settled_at, now()) - m.received_at))::float8 as slowest_seconds
        from inbox_messages m
        where m.shop_id = c.shop_id and m.connection_id = c.id
        and m.received_at >= greatest(reach.begins, reach.received_from)
        group by 1
    ) came on came.bucket_at = steps.bucket_at
    left join (
        select date_bin('5 minutes', w.outcome_at, 'epoch') as bucket_at, count(*) as confirmed
        from listing_writes w
        where w.shop_id = c.shop_id and w.connection_id = c.id and w.outcome = 'confirmed'
        and w.outcome_at >= greatest(reach.begins, reach.confirmed_from)
        group by 1
    ) went on went.bucket_at = steps.bucket_at
) pulse;

-- Today and the same weekday a week ago, by hour of the shop's day. "By now" stops at this time of day, so that a half
-- day is compared with a half day.
create view orders_by_hour with (security_invoker = true) as
select
    s.shop_id, day.days_ago, extract(hour from o.placed_at at time zone s.time_zone)::int as hour,
    count(*) as orders,
    count(*) filter (where o.placed_at <= now() - day.days_ago * interval '1 day') as orders_by_now
from shops s
cross join lateral (
    select ago.days_ago, date_trunc('day', now() at time zone s.time_zone) - ago.days_ago * interval '1 day' as begins
    from (values (0), (7)) ago(days_ago)
) day
join orders o on o.shop_id = s.shop_id and not o.is_test
    and o.placed_at >= day.begins at time zone s.time_zone
    and o.placed_at < (day.begins + interval '1 day') at time zone s.time_zone
group by s.shop_id, day.days_ago, 3;

-- What is parked, by the hour of its arrival, over a day.
create view parked_by_hour with (security_invoker = true) as
select m.shop_id, date_bin('1 hour', m.received_at, 'epoch') as bucket_at, count(*) as parked
from inbox_messages m
where m.state = 'parked' and m.received_at > now() - interval '24 hours'
group by m.shop_id, 2;

-- Messages that cannot be handled, by cause.
create view parked_causes with (security_invoker = true) as
select
    m.shop_id, m.connection_id, c.name as connection, m.cause, count(*) as messages, min(m.received_at) as since,
    max(m.received_at) as last_at, (array_agg(m.detail order by m.id desc))[1] as detail,
    (array_agg(m.topic order by m.id desc))[1] as topic
from inbox_messages m
join connections c on c.shop_id = m.shop_id and c.id = m.connection_id
where m.state = 'parked'
group by m.shop_id, m.connection_id, c.name, m.cause;

-- Order lines that no SKU is known for: sold, and not taken off any stock.
create view unmapped_lines with (security_invoker = true) as
select
    l.shop_id, o.connection_id, c.name as connection, o.currency, count(*) as lines,
    count(distinct l.order_id) as orders, sum(l.units)::bigint as units, sum(l.total_minor)::bigint as total_minor,
    min(o.recorded_at) as since,
    (array_agg(coalesce(l.code, l.title) order by l.id desc))[1] as example_code,
    (array_agg(o.name order by l.id desc))[1] as example_order,
    (array_agg(l.mapping_reason order by l.id desc))[1] as reason
from order_lines l
join orders o on o.shop_id = l.shop_id and o.id = l.order_id
join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
where l.mapping = 'unmapped' and o.cancelled_at is null
group by l.shop_id, o.connection_id, c.name, o.currency;

-- Quantities a channel refused, by what it said.
create view refused_listings with (security_invoker = true) as
select
    l.shop_id, l.connection_id, c.name as connection, l.push_problem as problem, count(*) as listings,
    min(w.outcome_at) as since, min(l.next_push_at) as next_push_at, min(s.code) as example_code
from listings l
join connections c on c.shop_id = l.shop_id and c.id = l.connection_id
left join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
left join lateral (
    select last.outcome_at from listing_writes last
    where last.shop_id = l.shop_id and last.listing_id = l.id order by last.id desc limit 1
) w on true
where l.push_problem is not null and l.publishing = 'on'
group by l.shop_id, l.connection_id, c.name, l.push_problem;

-- Writes whose outcome is not known, by why.
create view doubtful_writes with (security_invoker = true) as
select
    w.shop_id, w.connection_id, c.name as connection, w.doubt, count(*) as writes, min(w.planned_at) as since,
    min(w.next_check_at) as next_check_at, min(s.code) as example_code
from listing_writes w
join connections c on c.shop_id = w.shop_id and c.id = w.connection_id
join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
left join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
where w.outcome is null and w.doubt is not null
group by w.shop_id, w.connection_id, c.name, w.doubt;

-- Live listings that the channel counts and we do not write, by why.
create view unpublished_listings with (security_invoker = true) as
select
    l.shop_id, l.connection_id, c.name as connection, l.publishing_reason as reason, count(*) as listings,
    count(*) filter (where l.sku_id is null) as unmapped, min(coalesce(l.channel_code, l.title)) as example
from listings l
join connections c on c.shop_id = l.shop_id and c.id = l.connection_id
where l.publishing = 'off' and l.is_tracked and l.status = 'active'
group by l.shop_id, l.connection_id, c.name, l.publishing_reason;

-- Jobs that failed in the last day and have not succeeded for the same shop and connection since, by cause.
-- A job that names no shop concerns every shop.
create view failed_jobs with (security_invoker = true) as
select
    s.shop_id, r.fingerprint, r.function, count(*) as runs, min(r.started_at) as since, max(r.started_at) as last_at,
    (array_agg(r.error order by r.id desc))[1] as error
from job_runs r
join shops s on r.arguments ->> 'shop_id' is null or r.arguments ->> 'shop_id' = s.shop_id::text
where r.outcome in ('failed', 'abandoned') and r.started_at > now() - interval '1 day'
and not exists (
    select from job_runs later
    where later.function = r.function and later.outcome = 'finished' and later.started_at > r.started_at
    and later.arguments -> 'shop_id' is not distinct from r.arguments -> 'shop_id'
    and later.arguments -> 'connection_id' is not distinct from r.arguments -> 'connection_id'
)
group by s.shop_id, r.fingerprint, r.function;

-- Schedules whose last ended run failed, or found violations as the nightly audit does, within three days. A period
-- may be one shop's, and says so at its end; any other concerns every shop.
create view failed_schedules with (security_invoker = true) as
select s.shop_id, r.name, r.period, r.started_at, r.ended_at, r.outcome, r.result ->> 'violations' as violations, r.result
from schedule_runs r
join shops s on r.period !~ ':shop:[0-9]+$' or r.period like '%:shop:' || s.shop_id
where (r.outcome = 'failed' or coalesce(r.result ->> 'violations', '0') <> '0')
and r.started_at > now() - interval '3 days'
and not exists (
    select from schedule_runs later
    where later.name = r.name and later.started_at > r.started_at and later.outcome is not null
    and substring(later.period from ':shop:[0-9]+$') is not distinct from substring(r.period from ':shop:[0-9]+$')
);

-- One SKU's sums over its places, and how it stands: short when more is promised than is there, scarce at five or less.
create view sku_stock with (security_invoker = true) as
select
    k.shop_id, k.id as sku_id, k.code, k.title, k.barcode, k.is_stocked,
    sum(v.on_hand)::bigint as on_hand, sum(v.reserved)::bigint as reserved, sum(v.unavailable)::bigint as unavailable,
    sum(v.incoming)::bigint as incoming, sum(v.available)::bigint as available,
    case
        when not k.is_stocked then 'unstocked'
        when count(v.sku_id) = 0 then 'unknown'
        when sum(v.available) < 0 then 'short'
        when sum(v.available) <= 5 then 'scarce'
        else 'enough'
    end as stock_state
from skus k
left join stock_levels v on v.shop_id = k.shop_id and v.sku_id = k.id
group by k.shop_id, k.id;

-- Every listing of a SKU: what it should show, what it shows, and how it stands. The worst state has the lowest rank.
create view sku_listings with (security_invoker = true) as
select
    l.shop_id, l.sku_id, l.id as listing_id, l.connection_id, c.name as connection, c.vendor, c.guarantee_class,
    l.channel_ref, l.channel_code, l.channel_location_ref, p.name as location, l.status, l.is_tracked, l.publishing,
    l.publishing_reason, l.desired_units, l.published_units, l.published_at, l.next_push_at, l.push_failures,
    l.push_problem, w.id as write_id, w.from_units as write_from, w.to_units as write_to,
    w.planned_at as write_planned_at, w.sent_at as write_sent_at, w.accepted_at as write_accepted_at,
    w.deadline_at as write_deadline_at, w.next_check_at as write_next_check_at, w.attempts as write_attempts,
    w.doubt as write_doubt,
    case
        when l.publishing = 'off' then 'off'
        when w.doubt is not null then 'doubtful'
        when l.push_problem is not null then 'refused'
        when c.state = 'paused' then 'paused'
        when w.id is not null then 'writing'
        when listing_differs(l.desired_units - l.short_units, l.published_units) then 'to_push'
        else 'in_step'
    end as state
from listings l
join connections c on c.shop_id = l.shop_id and c.id = l.connection_id
left join locations p on p.shop_id = l.shop_id and p.id = l.location_id
left join listing_writes w on w.shop_id = l.shop_id and w.listing_id = l.id and w.outcome is null;

-- SKUs with a listing that differs, was refused or is being written: found through partial indexes only.
create view skus_not_in_step with (security_invoker = true) as
select l.shop_id, l.sku_id from listings l
where l.publishing = 'on' and listing_differs(l.desired_units - l.short_units, l.published_units) and l.sku_id is not null
union
select l.shop_id, l.sku_id from listings l
where l.push_problem is not null and l.publishing = 'on' and l.sku_id is not null
union
select w.shop_id, l.sku_id from listing_writes w
join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
where w.outcome is null and l.sku_id is not null;

create view sku_levels with (security_invoker = true) as
select
    v.shop_id, v.sku_id, v.location_id, p.name as location, v.on_hand, v.reserved, v.unavailable, v.incoming, v.available
from stock_levels v
join locations p on p.shop_id = v.shop_id and p.id = v.location_id;

-- A SKU's movements. One that ships a promise leaves what is available as it was: the promise had taken it already.
create view sku_movements with (security_invoker = true) as
select
    m.shop_id, m.sku_id, m.id as movement_id, m.location_id, p.name as location, m.delta_units, m.reason,
    m.business_key, m.note, m.recorded_by, m.occurred_at, m.recorded_at, o.name as order_name,
    case when m.reason = 'shipment' and r.id is not null then 0 else m.delta_units end as available_delta_units
from stock_movements m
join locations p on p.shop_id = m.shop_id and p.id = m.location_id
left join order_lines ol on ol.shop_id = m.shop_id and ol.id = m.order_line_id
left join orders o on o.shop_id = ol.shop_id and o.id = ol.order_id
left join reservations r on r.shop_id = m.shop_id and r.order_line_id = m.order_line_id;

-- A SKU's promises that still hold or were shipped, by order line.
create view sku_promises with (security_invoker = true) as
select
    ol.shop_id, ol.sku_id, ol.id as order_line_id, r.held_units + r.consumed_units as promised_units,
    r.state, r.created_at
from order_lines ol
join reservations r on r.shop_id = ol.shop_id and r.order_line_id = ol.id;

-- Every write of a listing, open or settled.
create view listing_write_log with (security_invoker = true) as
select
    w.shop_id, w.listing_id, w.id as write_id, w.from_units, w.to_units, w.planned_at, w.sent_at, w.accepted_at,
    w.deadline_at, w.outcome, w.outcome_at, w.outcome_code, w.outcome_detail, w.observed_units, w.doubt, w.attempts,
    w.next_check_at, w.sync_run_id
from listing_writes w;

-- Sync runs, with the seconds that are probably left while one runs.
create view sync_run_list with (security_invoker = true) as
select
    r.shop_id, r.id as sync_run_id, r.connection_id, c.name as connection, r.kind, r.trigger, r.requested_by, r.reason,
    r.state, r.step, r.done, r.total, r.counts, r.attempts, r.requested_at, r.started_at, r.heartbeat_at, r.ended_at,
    r.error, r.state in ('queued', 'running') as is_open,
    case
        when r.state = 'running' and r.done > 0 and r.total > r.done and r.started_at is not null
        then extract(epoch from now() - r.started_at) * (r.total - r.done) / r.done
    end::float8 as seconds_left,
    extract(epoch from now() - coalesce(r.heartbeat_at, r.started_at, r.requested_at))::float8 as quiet_seconds
from sync_runs r
join connections c on c.shop_id = r.shop_id and c.id = r.connection_id;

-- What the grouped views count, row by row.
create view parked_messages with (security_invoker = true) as
select
    m.shop_id, m.connection_id, m.cause, m.id as message_id, m.topic, m.road, m.delivery_id, m.received_at, m.attempts,
    m.detail
from inbox_messages m
where m.state = 'parked';

create view unmapped_line_list with (security_invoker = true) as
select
    l.shop_id, o.connection_id, o.currency, l.id as order_line_id, o.name as order_name, o.placed_at, l.code, l.title,
    l.units, l.total_minor, l.mapping_reason
from order_lines l
join orders o on o.shop_id = l.shop_id and o.id = l.order_id
where l.mapping = 'unmapped' and o.cancelled_at is null;

create view unpublished_listing_list with (security_invoker = true) as
select
    l.shop_id, l.connection_id, l.publishing_reason, l.id as listing_id, l.channel_ref, l.channel_code, l.title,
    s.code as sku_code, l.published_units
from listings l
left join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
where l.publishing = 'off' and l.is_tracked and l.status = 'active';
