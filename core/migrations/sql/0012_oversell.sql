-- Shortages: when more was sold of a pool than it had. What was sold is cancelled and restocked soon after, and then
-- nothing of the levels tells of it any more: so it is written down by the level itself at that moment.
create table shortages (
    shop_id bigint not null,
    id bigint generated always as identity,
    sku_id bigint not null,
    location_id bigint not null,
    began_at timestamptz not null,
    ended_at timestamptz,
    before_units bigint not null,
    after_units bigint not null,
    worst_units bigint not null,
    order_line_id bigint,
    reservation_id bigint,
    movement_id bigint,
    is_escrow boolean not null,
    escrow_line_units integer,
    constraint pk_shortages primary key (shop_id, id),
    constraint fk_shortages_skus_shop_id_sku_id foreign key (shop_id, sku_id) references skus (shop_id, id),
    constraint fk_shortages_locations_shop_id_location_id foreign key (shop_id, location_id)
        references locations (shop_id, id),
    constraint fk_shortages_order_lines_shop_id_order_line_id foreign key (shop_id, order_line_id)
        references order_lines (shop_id, id),
    constraint ck_shortages_went_below check (before_units >= 0 and after_units < 0 and worst_units <= after_units),
    constraint ck_shortages_ended check (ended_at >= began_at)
);
comment on table shortages is 'when a pool had less than nothing available, and what took it there';
comment on column shortages.began_at is 'the database''s time of the unit of work that went below';
comment on column shortages.before_units is 'available before it';
comment on column shortages.worst_units is 'the lowest that was available while it lasted';
comment on column shortages.order_line_id is 'whose units were booked last; null when no order did it, or it is not known';
comment on column shortages.reservation_id is 'the newest promise of the pool booked with it';
comment on column shortages.movement_id is 'the movement that did it, where none was promised';
comment on column shortages.is_escrow is 'how the pool was shared at that moment';
comment on column shortages.escrow_line_units is 'and at how many available it would have gone into escrow';
create unique index uq_shortages_open on shortages (shop_id, sku_id, location_id) where ended_at is null;
create index ix_shortages_shop_id_sku_id_id on shortages (shop_id, sku_id, id);

-- Whoever changes a level holds its row, so no other unit of work books for this pool meanwhile: what was booked last is
-- of this one, which its transaction id says too (an order that grew keeps its old promise's number). Looked for among
-- the newest only, so that it costs the same whatever the history.
create function note_shortage() returns trigger language plpgsql as $$
declare
    before bigint := 0;
    reserved_before bigint := 0;
    promise bigint;
    line bigint;
    moved bigint;
begin
    if tg_op = 'UPDATE' then
        before := old.available;
        reserved_before := old.reserved;
    end if;
    if new.available >= 0 then
        update shortages s set ended_at = greatest(now(), s.began_at)
        where s.shop_id = new.shop_id and s.sku_id = new.sku_id and s.location_id = new.location_id
            and s.ended_at is null;
        return null;
    end if;
    if before < 0 then
        update shortages s set worst_units = new.available
        where s.shop_id = new.shop_id and s.sku_id = new.sku_id and s.location_id = new.location_id
            and s.ended_at is null and s.worst_units > new.available;
        return null;
    end if;
    if new.reserved > reserved_before then
        select r.id, r.order_line_id into promise, line from (
            select n.id, n.order_line_id, n.xmin from reservations n
            where n.shop_id = new.shop_id and n.sku_id = new.sku_id
            order by n.id desc limit 200
        ) r where r.xmin = pg_current_xact_id()::xid order by r.id desc limit 1;
    else
        select m.id, m.order_line_id into moved, line from (
            select n.id, n.order_line_id, n.location_id, n.xmin from stock_movements n
            where n.shop_id = new.shop_id and n.sku_id = new.sku_id
            order by n.id desc limit 200
        ) m where m.location_id = new.location_id and m.xmin = pg_current_xact_id()::xid order by m.id desc limit 1;
        select r.id into promise from reservations r
        where r.shop_id = new.shop_id and r.order_line_id = line and r.sku_id = new.sku_id;
    end if;
    insert into shortages (shop_id, sku_id, location_id, began_at, before_units, after_units, worst_units,
        order_line_id, reservation_id, movement_id, is_escrow, escrow_line_units)
    values (new.shop_id, new.sku_id, new.location_id, now(), before, new.available, new.available,
        line, promise, moved, new.is_escrow, new.escrow_line_units)
    on conflict (shop_id, sku_id, location_id) where ended_at is null do nothing;
    return null;
end $$;
create trigger shortages_are_noted after update on stock_levels for each row
    when (new.available is distinct from old.available and (new.available < 0 or old.available < 0))
    execute function note_shortage();
create trigger shortages_are_noted_from_the_start after insert on stock_levels for each row
    when (new.available < 0) execute function note_shortage();

-- Those of before: what took them there is not known any more.
insert into shortages (shop_id, sku_id, location_id, began_at, before_units, after_units, worst_units, is_escrow)
select shop_id, sku_id, location_id, now(), 0, available, available, is_escrow from stock_levels where available < 0;

-- What went below, and when it did, is a fact; only how low it went and that it ended is added.
create function keep_shortage() returns trigger language plpgsql as $$
begin
    if old.ended_at is not null or (to_jsonb(new) - '{ended_at,worst_units}'::text[])
            is distinct from (to_jsonb(old) - '{ended_at,worst_units}'::text[]) then
        raise exception 'shortage % is a fact: only its end is added', old.id using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger only_ends before update on shortages for each row execute function keep_shortage();
create trigger never_deleted before delete or truncate on shortages for each statement execute function refuse_change();

-- Alerts: a limit that a person sets, and what was found above it. Open at most once for what it is about.
create table alert_rules (
    shop_id bigint not null,
    kind text not null,
    limit_units integer,
    set_by text not null,
    reason text not null,
    set_at timestamptz not null,
    constraint pk_alert_rules primary key (shop_id, kind),
    constraint fk_alert_rules_shops_shop_id foreign key (shop_id) references shops (shop_id),
    constraint ck_alert_rules_kind check (kind in ('exposure')),
    constraint ck_alert_rules_limit_units check (limit_units >= 0),
    constraint ck_alert_rules_named_and_reasoned check (btrim(set_by) <> '' and btrim(reason) <> '')
);
comment on table alert_rules is 'when somebody is to be told; no row: never';
comment on column alert_rules.limit_units is 'told when more units than that are at risk; null: switched off';

create table alerts (
    shop_id bigint not null,
    id bigint generated always as identity,
    kind text not null,
    fingerprint text not null,
    limit_units integer not null,
    opened_units bigint not null,
    units bigint not null,
    worst_units bigint not null,
    skus bigint not null,
    worst_skus jsonb not null,
    opened_at timestamptz not null,
    checked_at timestamptz not null,
    closed_at timestamptz,
    closed_because text,
    is_told boolean not null,
    constraint pk_alerts primary key (shop_id, id),
    constraint fk_alerts_shops_shop_id foreign key (shop_id) references shops (shop_id),
    constraint ck_alerts_kind check (kind in ('exposure')),
    constraint ck_alerts_closed check ((closed_at is null) = (closed_because is null)),
    constraint ck_alerts_closed_because check (closed_because in ('below', 'off'))
);
comment on column alerts.fingerprint is 'what it is about; open once at most';
comment on column alerts.units is 'at risk when it was last looked at';
comment on column alerts.worst_skus is 'the worst few when it was last looked at: code, units';
comment on column alerts.is_told is 'whether a notice went out; not when it had closed only minutes before';
create unique index uq_alerts_open on alerts (shop_id, fingerprint) where closed_at is null;
create index ix_alerts_shop_id_id on alerts (shop_id, id);

create view alert_list with (security_invoker = true) as
select a.shop_id, a.id as alert_id, a.kind, a.limit_units, a.opened_units, a.units, a.worst_units, a.skus, a.worst_skus,
    a.opened_at, a.checked_at, a.closed_at, a.closed_because, a.is_told
from alerts a;

create view open_alerts with (security_invoker = true) as
select a.shop_id, a.id as alert_id, a.kind, a.limit_units, a.units, a.skus, a.worst_skus, a.opened_at from alerts a
where a.closed_at is null;

create view alert_rule_list with (security_invoker = true) as
select r.shop_id, r.kind, r.limit_units, r.set_by, r.reason, r.set_at from alert_rules r;

-- As before, written so that asking for one SKU reads that SKU's listings and bundles, by their indexes.
create or replace view pool_takers with (security_invoker = true) as
select l.shop_id, l.sku_id, l.location_id, l.id as listing_id, l.connection_id, l.sku_id as listing_sku_id,
    1::bigint as units_each, l.exposed_units, l.exposed_units::bigint as exposed_pool_units
from listings l
where l.sku_id is not null and l.location_id is not null
    and not exists (select from bundle_parts p where p.shop_id = l.shop_id and p.bundle_sku_id = l.sku_id)
union all
select l.shop_id, p.part_sku_id, l.location_id, l.id, l.connection_id, l.sku_id, p.units, l.exposed_units,
    l.exposed_units * p.units
from bundle_parts p
join listings l on l.shop_id = p.shop_id and l.sku_id = p.bundle_sku_id and l.location_id is not null;

-- Who may still sell how much of each pool: each listing with what its connection is known to have sold.
-- `is_unwatched`: its orders are not known, so what it has sold may be more than is booked.
create view pool_seats with (security_invoker = true) as
select
    t.shop_id, t.sku_id, t.location_id, t.listing_id, t.connection_id, c.name as connection, c.guarantee_class,
    c.state as switch, s.code as listing_code, t.listing_sku_id <> t.sku_id as is_bundle, t.units_each,
    t.exposed_units, t.exposed_pool_units, l.published_units, l.published_at, l.desired_units, l.publishing,
    l.edited_units, l.mode, l.switch_units, l.sales_per_hour * t.units_each as pool_units_per_hour, c.doubt_seconds,
    c.reads_orders, c.watermark_at, not c.reads_orders or c.watermark_at is null as is_unwatched
from pool_takers t
join listings l on l.shop_id = t.shop_id and l.id = t.listing_id
join skus s on s.shop_id = t.shop_id and s.id = t.listing_sku_id
join connections c on c.shop_id = t.shop_id and c.id = t.connection_id
join locations p on p.shop_id = t.shop_id and p.id = t.location_id
where p.kind <> 'external' and s.is_stocked;

-- What could be sold of each pool that is not there: all that channels may still sell unbooked, less what is available.
-- In escrow everything may be exposed, so only a pool that is shared loosely can be close. Whole shops are summed here:
-- listings are read once, and what few there are of (connections, locations) is joined to them.
create view pool_risk with (security_invoker = true) as
select
    e.shop_id, e.sku_id, e.location_id, s.code, s.title, p.name as location, v.available, e.exposed_units,
    greatest(0, e.exposed_units - v.available) as risk_units, greatest(0, -v.available) as short_units,
    e.listings, e.unwatched_listings, e.edited_units, e.units_per_hour,
    (case when e.units_per_hour > 0 then greatest(0, v.available) / e.units_per_hour * 60 end)::float8
        as minutes_of_cover,
    e.mode, coalesce(k.is_escrow, false) as is_escrow, k.escrow_since, k.escrow_line_units, e.policy_units,
    e.doubt_seconds,
    case
        when v.available < 0 then 'oversold'
        when e.exposed_units > v.available then 'at_risk'
        when e.unwatched_listings > 0 then 'unwatched'
        when not coalesce(k.is_escrow, false) and e.exposed_units > 0
            and v.available - e.exposed_units <= greatest(2, v.available / 10) then 'close'
        else 'safe'
    end as risk_state
from (
    select t.shop_id, t.sku_id, t.location_id, sum(t.exposed_units * t.units_each)::bigint as exposed_units,
        count(*) as listings,
        count(*) filter (where t.exposed_units > 0 and (not c.reads_orders or c.watermark_at is null))
            as unwatched_listings,
        sum(t.edited_units * t.units_each)::bigint as edited_units,
        case when count(*) = count(t.sales_per_hour) then sum(t.sales_per_hour * t.units_each) end as units_per_hour,
        case max(case when t.publishing <> 'on' then 0 when t.mode = 'escrow' then 2 when t.mode = 'adaptive' then 1
            else 0 end) when 2 then 'escrow' when 1 then 'adaptive' else 'pooled' end as mode,
        max(t.switch_units) filter (where t.publishing = 'on') as policy_units, max(c.doubt_seconds) as doubt_seconds
    from (
        select l.shop_id, l.sku_id, l.location_id, l.connection_id, 1::bigint as units_each, l.exposed_units,
            l.edited_units, l.sales_per_hour, l.publishing, l.mode, l.switch_units
        from listings l
        where l.sku_id is not null and l.location_id is not null
            and not exists (select from bundle_parts p where p.shop_id = l.shop_id and p.bundle_sku_id = l.sku_id)
        union all
        select l.shop_id, p.part_sku_id, l.location_id, l.connection_id, p.units, l.exposed_units, l.edited_units,
            l.sales_per_hour, l.publishing, l.mode, l.switch_units
        from bundle_parts p
        join listings l on l.shop_id = p.shop_id and l.sku_id = p.bundle_sku_id and l.location_id is not null
    ) t
    join connections c on c.shop_id = t.shop_id and c.id = t.connection_id
    group by t.shop_id, t.sku_id, t.location_id
) e
join skus s on s.shop_id = e.shop_id and s.id = e.sku_id and s.is_stocked
join locations p on p.shop_id = e.shop_id and p.id = e.location_id and p.kind <> 'external'
left join stock_levels k on k.shop_id = e.shop_id and k.sku_id = e.sku_id and k.location_id = e.location_id
cross join lateral (select coalesce(k.available, 0) as available) v;

-- Up to when the orders of each connection are known, and what may hold that up: a parked message, or a line of which
-- nobody can say through which listing it was sold.
create view connection_watermarks with (security_invoker = true) as
select
    c.shop_id, c.id as connection_id, c.name, c.guarantee_class, c.state as switch, c.reads_orders, c.watermark_at,
    c.doubt_seconds, held.cause as parked_cause, held.received_at as parked_at,
    exists (select from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        where l.shop_id = c.shop_id and l.mapping = 'unmapped' and l.listing_id is null and l.variant_ref is null
            and o.connection_id = c.id and o.cancelled_at is null) as has_unmapped_line,
    exists (select from listings l where l.shop_id = c.shop_id and l.connection_id = c.id and l.exposed_units > 0)
        as is_exposed
from connections c
left join lateral (
    select m.cause, m.received_at from inbox_messages m
    where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'parked' order by m.id limit 1
) held on true;

create view exposure_change_log with (security_invoker = true) as
select x.shop_id, x.id as change_id, x.listing_id, x.cause, x.asked_units, x.delta_units, x.exposed_units, x.write_id,
    x.changed_at
from exposure_changes x;

-- Shortages with the order that was booked last. `booked_at` is our clock's, as writes and exposure have it.
create view shortage_list with (security_invoker = true) as
select
    h.shop_id, h.id as shortage_id, h.sku_id, s.code, s.title, h.location_id, p.name as location, h.began_at,
    h.ended_at, h.before_units, h.after_units, h.worst_units, h.is_escrow, h.escrow_line_units, h.reservation_id,
    h.order_line_id, o.name as order_name, o.placed_at, c.id as connection_id, c.name as connection,
    m.reason as movement_reason, m.recorded_by as moved_by, coalesce(m.recorded_at, r.created_at) as booked_at
from shortages h
join skus s on s.shop_id = h.shop_id and s.id = h.sku_id
join locations p on p.shop_id = h.shop_id and p.id = h.location_id
left join order_lines l on l.shop_id = h.shop_id and l.id = h.order_line_id
left join orders o on o.shop_id = l.shop_id and o.id = l.order_id
left join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
left join reservations r on r.shop_id = h.shop_id and r.id = h.reservation_id
left join stock_movements m on m.shop_id = h.shop_id and m.id = h.movement_id;

-- The living rules say their mode too.
drop view channel_policy_list;
create view channel_policy_list with (security_invoker = true) as
select
    p.shop_id, p.id as policy_id, p.connection_id, c.name as connection, p.category, p.sku_id, s.code, s.title,
    p.safety_stock_units, p.share_percent, p.buffer_units, p.floor_units, p.cap_units, p.priority, p.is_offered,
    p.mode, p.switch_units,
    (case when p.sku_id is not null then 4 else 0 end + case when p.category is not null then 2 else 0 end
        + case when p.connection_id is not null then 1 else 0 end) as breadth,
    v.id as version_id, v.saved_by, v.reason, v.saved_at
from channel_policies p
join policy_versions v on v.shop_id = p.shop_id and v.id = p.begun_id
left join connections c on c.shop_id = p.shop_id and c.id = p.connection_id
left join skus s on s.shop_id = p.shop_id and s.id = p.sku_id
where p.ended_id is null;
