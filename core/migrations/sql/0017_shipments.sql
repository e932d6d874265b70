-- Shipments that a channel is to be told of, and who ships an order.

alter table orders add column ships_from_channel boolean not null default false;
alter table orders add column channel_status text;
comment on column orders.ships_from_channel is 'the channel ships it from stock that is not in our pools: its lines move none';
comment on column orders.channel_status is 'the channel''s own word for how far it is';

-- Not every channel dates what ends an order: then it tells by when it had ended, and that it had not yet.
alter table orders add column open_at timestamptz;
alter table orders add column is_cancel_dated boolean not null default true;
alter table fulfilments add column is_dated boolean not null default true;
comment on column orders.open_at is 'when at last the channel told that something of it is still to be shipped; of those that do not date its end';
comment on column orders.is_cancel_dated is 'cancelled_at is when it was cancelled; where not, it was cancelled by then';
comment on column fulfilments.is_dated is 'fulfilled_at is when it left; where not, it had left by then';

-- What was placed before a number was taken over, and never told to be open since, had ended by then: what was open was
-- read behind that number. Numbers are dated by the second.
create function had_ended(opening_at timestamptz, created_at timestamptz, open_at timestamptz) returns boolean
language sql immutable as $$
    select coalesce(created_at < opening_at and coalesce(open_at, '-infinity') < date_trunc('second', opening_at), false)
$$;

create function was_cancelled_before(
    opening_at timestamptz, created_at timestamptz, open_at timestamptz, cancelled_at timestamptz, is_dated boolean
) returns boolean
language sql immutable as $$
    select cancelled_at is not null and coalesce(
        date_trunc('second', cancelled_at) <= opening_at or not is_dated and had_ended(opening_at, created_at, open_at),
        false)
$$;

-- What a channel says of a line besides parcels and refunds.
alter table order_lines add column counted_units bigint not null default 0;
alter table order_lines add column counts_told bigint[] not null default '{}';
alter table order_lines add column counted_ats timestamptz[] not null default '{}';
alter table order_lines add column puts_back boolean not null default false;
alter table order_lines add column put_back_units bigint not null default 0;
alter table order_lines add column withheld_units bigint not null default 0;
alter table order_lines add constraint ck_order_lines_counted
    check (counted_units >= 0 and put_back_units >= 0 and withheld_units >= 0
        and cardinality(counts_told) = cardinality(counted_ats));
comment on column order_lines.counted_units is 'how many left, by the channel''s own counts';
comment on column order_lines.counts_told is 'those counts, each as it was told; counted_ats has the order''s version of each';
comment on column order_lines.puts_back is 'the channel puts what is left of it back by itself, should the order be cancelled';
comment on column order_lines.put_back_units is 'what the cancellation of its order is booked to have put back at the channel';
comment on column order_lines.withheld_units is 'taken off it, and not put back at the channel';

-- Where a channel's sweeps are, which may be asked only so often.
alter table connections add column orders_asked_at timestamptz;
alter table connections add column orders_resume text;
alter table connections add column open_orders_resume text;
comment on column connections.orders_asked_at is 'when its changed orders were last asked for, and it answered';
comment on column connections.orders_resume is 'the channel''s own note of where the next asking goes on';
comment on column connections.open_orders_resume is 'the same of the orders that were open at its connection, until all of them are read';

-- A package as the channel is to know it, against what it confirmed: sent until the two are one.
create table shipment_confirmations (
    shop_id bigint not null,
    id bigint generated always as identity,
    order_id bigint not null,
    package_ref text not null,
    revision integer not null default 1,
    confirmed_revision integer,
    carrier_code text not null,
    carrier_name text,
    ship_method text,
    tracking_number text not null,
    shipped_at timestamptz not null,
    line_ids bigint[] not null,
    line_units bigint[] not null,
    attempts integer not null default 0,
    next_try_at timestamptz not null,
    last_code text,
    last_detail text,
    refused_at timestamptz,
    confirmed_at timestamptz,
    requested_by text not null,
    requested_at timestamptz not null,
    constraint pk_shipment_confirmations primary key (shop_id, id),
    constraint fk_shipment_confirmations_orders_shop_id foreign key (shop_id, order_id) references orders (shop_id, id),
    constraint uq_shipment_confirmations_shop_id_order_id_package_ref unique (shop_id, order_id, package_ref),
    constraint ck_shipment_confirmations_package_ref check (package_ref ~ '^[1-9][0-9]{0,17}$'),
    constraint ck_shipment_confirmations_carrier check (carrier_code <> 'Other' or carrier_name is not null),
    constraint ck_shipment_confirmations_lines
        check (cardinality(line_ids) > 0 and cardinality(line_ids) = cardinality(line_units)),
    constraint ck_shipment_confirmations_revision
        check (revision >= 1 and (confirmed_revision is null or confirmed_revision between 1 and revision))
);
comment on column shipment_confirmations.package_ref is 'names the package within its order: a positive integer as text; the same one again edits it';
comment on column shipment_confirmations.revision is 'counts what was asked for; confirmed_revision is the last of it that the channel confirmed';
comment on column shipment_confirmations.line_ids is 'the order''s lines in it, with line_units of each';
comment on column shipment_confirmations.last_code is 'what the last attempt came to, where it did not succeed; the channel''s word';
comment on column shipment_confirmations.refused_at is 'the channel refused this revision: a person has to correct it';
create index ix_shipment_confirmations_due on shipment_confirmations (next_try_at)
    where refused_at is null and revision is distinct from confirmed_revision;
create index ix_shipment_confirmations_unknown on shipment_confirmations (shop_id, id)
    where revision is distinct from confirmed_revision;

-- Packages that channels are to be told of, and how far each is. `state`: known (the channel confirmed it as it is),
-- recall (its order was cancelled before the channel was told; said for three days), over (that, later; or all that is in
-- it is on its way by the channel's own count, told by somebody else), refused (a person has to correct it), to_tell,
-- and what was asked for more than an hour ago and is not told: held (nothing may be written there), late.
create view shipment_list with (security_invoker = true) as
select
    s.shop_id, s.id as confirmation_id, o.connection_id, c.name as connection, s.order_id, o.name as order_name,
    s.package_ref, coalesce(s.carrier_name, s.carrier_code) as carrier, s.tracking_number, s.shipped_at,
    (select sum(e.units) from unnest(s.line_units) e (units))::bigint as units,
    s.attempts, s.next_try_at, s.last_code, s.last_detail, s.refused_at, s.confirmed_at, s.requested_by, s.requested_at,
    s.revision is not distinct from s.confirmed_revision as is_known,
    case
        when s.revision is not distinct from s.confirmed_revision then 'known'
        when o.cancelled_at is not null
            then case when greatest(o.cancelled_at, s.requested_at) > now() - interval '3 days'
                then 'recall' else 'over' end
        when s.confirmed_revision is null and not exists (
            select from unnest(s.line_ids) e (line_id)
            join order_lines l on l.shop_id = s.shop_id and l.id = e.line_id
            where l.counted_units < l.units
        ) then 'over'
        when s.refused_at is not null then 'refused'
        when s.requested_at > now() - interval '1 hour' then 'to_tell'
        when not may_write(o.shop_id, o.connection_id) then 'held'
        else 'late'
    end as state
from shipment_confirmations s
join orders o on o.shop_id = s.shop_id and o.id = s.order_id
join connections c on c.shop_id = o.shop_id and c.id = o.connection_id;

-- What needs a person of it, by connection and state; `since` is when the oldest was refused, or asked for.
create view unconfirmed_shipments with (security_invoker = true) as
select
    v.shop_id, v.connection_id, v.connection, v.state, count(*) as packages, count(distinct v.order_id) as orders,
    min(v.since) as since,
    (array_agg(v.order_id order by v.since, v.confirmation_id))[1] as example_order_id,
    (array_agg(v.order_name order by v.since, v.confirmation_id))[1] as example_order,
    (array_agg(v.package_ref order by v.since, v.confirmation_id))[1] as example_package,
    (array_agg(v.last_code order by v.since, v.confirmation_id))[1] as code,
    (array_agg(v.last_detail order by v.since, v.confirmation_id))[1] as detail
from (
    select l.*, coalesce(l.refused_at, l.requested_at) as since from shipment_list l where not l.is_known
) v
where v.state in ('refused', 'recall', 'held', 'late')
group by v.shop_id, v.connection_id, v.connection, v.state;

-- Packages of an order: those that the channel told of besides; `state` as above.
create view order_packages with (security_invoker = true) as
select
    l.shop_id, l.order_id, l.package_ref, l.carrier, l.tracking_number, l.shipped_at, l.units, l.state, l.last_code,
    l.last_detail, l.confirmed_at, l.requested_by
from shipment_list l
union all
select
    f.shop_id, f.order_id, f.channel_ref, f.tracking_company, array_to_string(f.tracking_numbers, ', '), f.fulfilled_at,
    coalesce((select sum(e.units) from fulfilment_lines e
        where e.shop_id = f.shop_id and e.fulfilment_id = f.id), 0)::bigint,
    'known', null, null, f.version_at, null
from fulfilments f
where f.is_shipped and not starts_with(f.channel_ref, 'counted:') and not exists (
    select from shipment_confirmations s
    where s.shop_id = f.shop_id and s.order_id = f.order_id and s.package_ref = f.channel_ref
);

-- One more kind of alert: a package that left, and that its channel refuses to know of or was not told of in time.
alter table alerts drop constraint ck_alerts_kind;
alter table alerts add constraint ck_alerts_kind
    check (kind in ('exposure', 'stuck_change', 'slow_feed', 'unshown_feed', 'unconfirmed_shipment'));
