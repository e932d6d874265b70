-- What people see of identifiers, feeds and notifications.

-- How much waits for an answer on each connection, and how much is answered; every connection has a row.
create view identity_backlog with (security_invoker = true) as
select
    c.shop_id, c.id as connection_id, c.name as connection, c.vendor, coalesce(q.unmapped, 0) as unmapped,
    coalesce(q.ambiguous, 0) as ambiguous, coalesce(q.listings, 0)::bigint as listings,
    coalesce(p.lines, 0) as parked_lines, coalesce(p.orders, 0) as parked_orders,
    coalesce(p.units, 0)::bigint as parked_units, p.since as parked_since, coalesce(k.mapped, 0) as mapped,
    coalesce(k.set_aside, 0) as set_aside
from connections c
left join (
    select shop_id, connection_id, count(*) filter (where state = 'unmapped') as unmapped,
        count(*) filter (where state = 'ambiguous') as ambiguous, sum(listings) as listings
    from unmapped_identifiers group by 1, 2
) q on q.shop_id = c.shop_id and q.connection_id = c.id
left join (
    select l.shop_id, o.connection_id, count(*) as lines, count(distinct l.order_id) as orders, sum(l.units) as units,
        min(o.placed_at) as since
    from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
    where l.mapping = 'unmapped' and coalesce(l.variant_ref, l.code) is not null
    group by 1, 2
) p on p.shop_id = c.shop_id and p.connection_id = c.id
left join (
    select shop_id, connection_id, count(sku_id) as mapped, count(*) filter (where sku_id is null) as set_aside
    from sku_identifiers where ended_at is null group by 1, 2
) k on k.shop_id = c.shop_id and k.connection_id = c.id;

-- Order lines that wait for an answer, by the identifier that the answer is needed for.
create view parked_line_list with (security_invoker = true) as
select
    l.shop_id, o.connection_id, case when l.variant_ref is null then 'seller_sku' else 'variant' end as kind,
    coalesce(l.variant_ref, l.code) as value, l.id as order_line_id, l.ordinal, l.order_id, o.name as order_name,
    o.placed_at, o.cancelled_at, l.code, l.title, l.units, l.mapping_reason
from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
where l.mapping = 'unmapped' and coalesce(l.variant_ref, l.code) is not null;

create or replace view unmapped_lines with (security_invoker = true) as
select
    l.shop_id, o.connection_id, c.name as connection, o.currency, count(*) as lines,
    count(distinct l.order_id) as orders, sum(l.units)::bigint as units, sum(l.total_minor)::bigint as total_minor,
    min(o.recorded_at) as since,
    (array_agg(coalesce(l.code, l.title) order by l.id desc))[1] as example_code,
    (array_agg(o.name order by l.id desc))[1] as example_order,
    (array_agg(l.mapping_reason order by l.id desc))[1] as reason,
    count(distinct coalesce(l.variant_ref, l.code)) as identifiers
from order_lines l
join orders o on o.shop_id = l.shop_id and o.id = l.order_id
join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
where l.mapping = 'unmapped' and o.cancelled_at is null
group by l.shop_id, o.connection_id, c.name, o.currency;

-- How a connection's orders are read besides what it tells of by itself.
create view connection_sweeps with (security_invoker = true) as
select
    c.shop_id, c.id as connection_id, c.orders_polled_to, c.orders_asked_at, c.orders_resume is not null as is_under_way,
    c.watermark_at, now() as as_of
from connections c;

-- What was asked of a connection in the last hour, by operation, with what the channel last said of its quota.
create view operation_quota with (security_invoker = true) as
select
    a.shop_id, a.connection_id, a.operation, count(*) as calls,
    count(*) filter (where a.outcome = 'throttled') as throttled, max(a.called_at) as last_at,
    (array_agg(a.quota_left order by a.called_at desc) filter (where a.quota_left is not null))[1] as quota_left
from api_calls a where a.called_at > now() - interval '1 hour'
group by a.shop_id, a.connection_id, a.operation;

-- Stock that a channel keeps itself, place by place: what of it is known, and when it was read.
create view external_places with (security_invoker = true) as
select
    p.shop_id, p.connection_id, p.id as location_id, p.name as location, stock.skus, stock.units, shown.listings,
    shown.unmapped, shown.read_at
from locations p
cross join lateral (
    select count(*) filter (where v.on_hand <> 0) as skus, coalesce(sum(v.on_hand), 0)::bigint as units
    from stock_levels v where v.shop_id = p.shop_id and v.location_id = p.id
) stock
cross join lateral (
    select count(*) as listings, count(*) filter (where l.sku_id is null) as unmapped, max(l.published_at) as read_at
    from listings l where l.shop_id = p.shop_id and l.location_id = p.id
) shown
where p.kind = 'external';

-- As before, but for what is not to be in step with us: what the channel keeps itself, and what somebody set aside.
create or replace view unpublished_listings with (security_invoker = true) as
select
    l.shop_id, l.connection_id, c.name as connection, l.publishing_reason as reason, count(*) as listings,
    count(*) filter (where l.sku_id is null) as unmapped, min(coalesce(l.channel_code, l.title)) as example
from listings l
join connections c on c.shop_id = l.shop_id and c.id = l.connection_id
left join locations p on p.shop_id = l.shop_id and p.id = l.location_id
where l.publishing = 'off' and l.is_tracked and l.status = 'active' and p.kind is distinct from 'external'
    and not (l.sku_id is null and exists (
        select from listing_answers a where a.shop_id = l.shop_id and a.listing_id = l.id and a.sku_id is null))
group by l.shop_id, l.connection_id, c.name, l.publishing_reason;

create or replace view unpublished_listing_list with (security_invoker = true) as
select
    l.shop_id, l.connection_id, l.publishing_reason, l.id as listing_id, l.channel_ref, l.channel_code, l.title,
    s.code as sku_code, l.published_units
from listings l
left join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
left join locations p on p.shop_id = l.shop_id and p.id = l.location_id
where l.publishing = 'off' and l.is_tracked and l.status = 'active' and p.kind is distinct from 'external'
    and not (l.sku_id is null and exists (
        select from listing_answers a where a.shop_id = l.shop_id and a.listing_id = l.id and a.sku_id is null));
