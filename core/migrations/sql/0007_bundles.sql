-- Bundles. What people type (components, which may be bundles themselves, once) and what it comes to (parts: SKUs that
-- have stock), kept side by side: a sale needs the second, thousands of times a second.
alter table skus add column category text;
alter table skus add column is_bundle boolean not null default false;
alter table skus add constraint ck_skus_bundle_is_stocked check (is_stocked or not is_bundle);
comment on column skus.category is 'what rules for a category go by: the catalogue''s own word for it';
comment on column skus.is_bundle is 'made of other SKUs: has no stock of its own';
create index ix_skus_shop_id_category on skus (shop_id, category) where category is not null;

create table bundle_components (
    shop_id bigint not null,
    bundle_sku_id bigint not null,
    component_sku_id bigint not null,
    units bigint not null,
    constraint pk_bundle_components primary key (shop_id, bundle_sku_id, component_sku_id),
    constraint fk_bundle_components_skus_shop_id_bundle_sku_id foreign key (shop_id, bundle_sku_id)
        references skus (shop_id, id),
    constraint fk_bundle_components_skus_shop_id_component_sku_id foreign key (shop_id, component_sku_id)
        references skus (shop_id, id),
    constraint ck_bundle_components_units check (units > 0),
    constraint ck_bundle_components_not_of_itself check (bundle_sku_id <> component_sku_id)
);
create index ix_bundle_components_shop_id_component_sku_id on bundle_components (shop_id, component_sku_id);
comment on column bundle_components.units is 'of the component in one unit of the bundle';

create table bundle_parts (
    shop_id bigint not null,
    bundle_sku_id bigint not null,
    part_sku_id bigint not null,
    units bigint not null,
    constraint pk_bundle_parts primary key (shop_id, bundle_sku_id, part_sku_id),
    constraint fk_bundle_parts_skus_shop_id_bundle_sku_id foreign key (shop_id, bundle_sku_id)
        references skus (shop_id, id),
    constraint fk_bundle_parts_skus_shop_id_part_sku_id foreign key (shop_id, part_sku_id)
        references skus (shop_id, id),
    constraint ck_bundle_parts_units check (units > 0)
);
create index ix_bundle_parts_shop_id_part_sku_id on bundle_parts (shop_id, part_sku_id);
comment on column bundle_parts.part_sku_id is 'a SKU with stock of its own, reached through components once or twice';

-- Promises. One row for each promise to a holder: an order line (its facts decide how it ends), or somebody here who
-- holds stock until a deadline (a checkout, a marketplace order not yet paid, a vendor's purchase order).
drop view sku_promises;
drop view sku_movements;
alter table reservations drop constraint uq_reservations_shop_id_order_line_id;
alter table reservations alter column order_line_id drop not null;
alter table reservations drop column state;
alter table reservations
    add column holder_kind text not null default 'order_line',
    add column holder_ref text,
    add column units_each bigint not null default 1,
    add column quarantined_units bigint not null default 0,
    add column taken_back_units bigint not null default 0,
    add column recalled_units bigint not null default 0,
    add column expires_at timestamptz,
    add column ended_at timestamptz,
    add column is_expired boolean not null default false;
alter table reservations
    add column state text generated always as (case when held_units > 0 then 'held' when is_expired then 'expired'
        when consumed_units > 0 then 'consumed' else 'released' end) stored,
    add constraint uq_reservations_shop_id_order_line_id_sku_id unique (shop_id, order_line_id, sku_id),
    add constraint uq_reservations_holder
        unique (shop_id, holder_kind, holder_ref, sku_id, location_id),
    add constraint ck_reservations_holder_kind
        check (holder_kind in ('order_line', 'checkout', 'channel_order', 'vendor_order')),
    add constraint ck_reservations_one_holder check ((holder_kind = 'order_line') = (order_line_id is not null)
        and (order_line_id is null) = (holder_ref is not null)),
    add constraint ck_reservations_facts_have_no_deadline check (order_line_id is null or expires_at is null),
    add constraint ck_reservations_ended check (order_line_id is not null or (held_units > 0) = (ended_at is null)),
    add constraint ck_reservations_ends_whole check (order_line_id is not null or held_units in (0, units)),
    add constraint ck_reservations_expired_is_ended check (not is_expired or (held_units = 0 and consumed_units = 0)),
    add constraint ck_reservations_units_each check (units_each > 0),
    -- Whatever arrives again, and by whichever road: no more comes back of a line than went out of it.
    add constraint ck_reservations_restocked_once check (returned_units <= greatest(units, consumed_units)),
    add constraint ck_reservations_taken_back_once
        check (recalled_units >= 0 and taken_back_units - recalled_units between 0 and consumed_units),
    add constraint ck_reservations_quarantined check (quarantined_units between 0 and taken_back_units);
create index ix_reservations_expires_at on reservations (expires_at) where held_units > 0 and expires_at is not null;
comment on column reservations.order_line_id is 'whose promise it is; null for a promise that ends by a deadline or by hand';
comment on column reservations.holder_ref is 'who holds it, in the holder''s own words: a checkout, a purchase order''s line';
comment on column reservations.units_each is 'how many one unit of the line takes: what the bundle was made of when it was sold';
comment on column reservations.quarantined_units is 'came back and were put apart';
comment on column reservations.taken_back_units is 'came back over the desk, whatever became of them';
comment on column reservations.recalled_units is 'of those, of parcels that by now never left, as the channel says';
comment on column reservations.expires_at is 'released by itself after that';

alter table stock_levels add column promised bigint not null default 0;
alter table stock_levels add constraint ck_stock_levels_promised check (promised between 0 and reserved);
comment on column stock_levels.promised is 'what is reserved for holders other than order lines: promised by us, never beyond what is available';

-- A sale of a channel may find less than it sold: a shortage, to be shown. A promise of our own may not.
create function refuse_empty_promise() returns trigger language plpgsql as $$
begin
    if new.on_hand - new.reserved - new.unavailable < 0 then
        raise exception 'SKU % at location % has % available: % more cannot be promised', new.sku_id, new.location_id,
            coalesce(old.on_hand - old.reserved - old.unavailable, 0), new.promised - coalesce(old.promised, 0)
            using errcode = 'check_violation', constraint = 'promises_are_covered';
    end if;
    return new;
end $$;
create trigger promises_are_covered before update on stock_levels
    for each row when (new.promised > old.promised) execute function refuse_empty_promise();
create trigger promises_begin_covered before insert on stock_levels
    for each row when (new.promised > 0) execute function refuse_empty_promise();

-- What is kept apart (quarantine) is a fact like any other: it is moved there and back.
alter table stock_movements add column unavailable_delta_units bigint not null default 0;
alter table stock_movements drop constraint ck_stock_movements_moves_something;
alter table stock_movements drop constraint ck_stock_movements_reason;
alter table stock_movements
    add constraint ck_stock_movements_moves_something check (delta_units <> 0 or unavailable_delta_units <> 0),
    add constraint ck_stock_movements_reason check (reason in ('receipt', 'shipment', 'customer_return', 'adjustment',
        'count', 'relocation', 'write_off', 'quarantine'));
comment on column stock_movements.unavailable_delta_units is 'how many more are kept apart, out of what is on hand';

-- Goods that came back over the desk, of a line we know. Taking it back again is a row with fewer than no units.
create table line_returns (
    shop_id bigint not null,
    id bigint generated always as identity,
    order_line_id bigint not null,
    business_key text not null,
    units bigint not null,
    undoes_key text,
    disposition text not null,
    note text,
    fulfilment_ids bigint[] not null default '{}',
    returned_at timestamptz not null,
    recorded_by text not null,
    recorded_at timestamptz not null,
    constraint pk_line_returns primary key (shop_id, id),
    constraint fk_line_returns_order_lines_shop_id_order_line_id foreign key (shop_id, order_line_id)
        references order_lines (shop_id, id),
    constraint uq_line_returns_shop_id_business_key unique (shop_id, business_key),
    constraint fk_line_returns_line_returns_shop_id_undoes_key foreign key (shop_id, undoes_key)
        references line_returns (shop_id, business_key),
    constraint ck_line_returns_units check (units <> 0 and (units < 0) = (undoes_key is not null)),
    constraint ck_line_returns_disposition check (disposition in ('restock', 'quarantine', 'write_off'))
);
create index ix_line_returns_shop_id_order_line_id on line_returns (shop_id, order_line_id);
comment on column line_returns.units is 'of the line; negative undoes';
comment on column line_returns.undoes_key is 'which return it takes back';
comment on column line_returns.disposition is 'restock: for sale again; quarantine: kept apart; write_off: gone for good';
comment on column line_returns.fulfilment_ids is 'what had left by then: the parcels it can have come back of';
create trigger append_only before update or delete or truncate on line_returns
    for each statement execute function refuse_change();

-- What came back of a line over the desk, and of that what no parcel that is still said to have left accounts for. A
-- return is of a parcel that had left by then; in doubt, of one that still counts as left. Later returns have more
-- parcels to be of, so the most that the returns up to any of them exceed theirs is how many are of none.
create function desk_returns(shop bigint, line bigint)
returns table (units bigint, quarantined bigint, written_off bigint, recalled bigint) language sql stable as $$
    select coalesce(sum(n.units), 0)::int8,
        coalesce(sum(n.units) filter (where n.disposition = 'quarantine'), 0)::int8,
        coalesce(sum(n.units) filter (where n.disposition = 'write_off'), 0)::int8,
        greatest(0, max(n.so_far - n.left_units))::int8
    from (
        select r.units, r.disposition, sum(r.units) over (order by r.id) as so_far,
            (select coalesce(sum(fl.units), 0) from fulfilment_lines fl
                join fulfilments f on f.shop_id = fl.shop_id and f.id = fl.fulfilment_id and f.is_shipped
                where fl.shop_id = desk_returns.shop and fl.order_line_id = desk_returns.line
                    and fl.fulfilment_id = any(r.fulfilment_ids)) as left_units
        from (
            select b.id, b.disposition, b.fulfilment_ids, b.units + coalesce(sum(u.units), 0) as units
            from line_returns b
            left join line_returns u on u.shop_id = b.shop_id and u.order_line_id = b.order_line_id
                and u.undoes_key = b.business_key
            where b.shop_id = desk_returns.shop and b.order_line_id = desk_returns.line and b.units > 0
            group by b.id, b.disposition, b.fulfilment_ids, b.units
        ) r
    ) n
$$;

-- No more comes back over the desk than left and has not come back; which parcels had left is kept with it.
create function refuse_return_of_nothing() returns trigger language plpgsql as $$
declare
    shipped bigint;
    back bigint;
begin
    select coalesce(array_agg(f.id order by f.id), '{}'), coalesce(sum(fl.units) filter (where f.is_shipped), 0)
    into new.fulfilment_ids, shipped
    from fulfilment_lines fl
    join fulfilments f on f.shop_id = fl.shop_id and f.id = fl.fulfilment_id
    -- What had left for an earlier return had left for this one.
    where fl.shop_id = new.shop_id and fl.order_line_id = new.order_line_id and (f.is_shipped or exists (
        select from line_returns r where r.shop_id = fl.shop_id and r.order_line_id = fl.order_line_id
            and f.id = any(r.fulfilment_ids)));
    select d.units - d.recalled into back from desk_returns(new.shop_id, new.order_line_id) d;
    if new.units > shipped - back and new.units > 0 then
        raise exception 'order line %: % left and % came back: % more cannot', new.order_line_id, shipped, back,
            new.units using errcode = 'check_violation', constraint = 'returns_had_left';
    end if;
    return new;
end $$;
create trigger returns_had_left before insert on line_returns
    for each row execute function refuse_return_of_nothing();

-- What an order line should have done to stock, from all its facts at once: core.inventory.rules.line_stock written as
-- SQL. A test holds the two together. One SELECT of expressions: the planner puts it into the statement that uses it.
drop function line_stock;
create function line_stock(
    ordered bigint, shipped bigint, cancelled_units bigint, came_back bigint, legacy bigint, no_restock bigint,
    is_cancelled boolean, is_before_baseline boolean, is_cancelled_before_baseline boolean,
    restocked_before_baseline bigint, desk_units bigint, desk_quarantined bigint, desk_written_off bigint,
    desk_recalled bigint
) returns table (held bigint, consumed bigint, returned bigint, written_off bigint, opening bigint, quarantined bigint)
language sql immutable as $$
    select
        case when is_cancelled then 0 else d.unshipped - e.dropped end, shipped,
        a.back - w.back + least(greatest(0, d.came_back - a.back),
            greatest(ordered, shipped) - b.released - c.released - g.at_desk - a.back),
        greatest(0, e.dropped - (a.recalled - g.at_desk)) + desk_written_off - w.back,
        case when is_before_baseline then greatest(0, ordered - restocked_before_baseline
            - case when is_cancelled_before_baseline then d.unshipped - e.dropped else 0 end) else 0 end,
        desk_quarantined
    from (select greatest(0, ordered - shipped) as unshipped, o.back, desk_units - o.back as recalled
        from (select greatest(0, least(desk_units - desk_recalled, shipped)) as back) o) a
    cross join lateral (select least(desk_written_off, a.back) as back) w
    cross join lateral (select least(cancelled_units, a.unshipped) as released) b
    cross join lateral (select least(legacy, a.unshipped - b.released) as released) c
    cross join lateral (select a.unshipped - b.released - c.released as unshipped,
        line_stock.came_back + cancelled_units - b.released + legacy - c.released as came_back) t
    -- A refund of what the desk has of parcels that never left, as the channel says, releases what is owed.
    cross join lateral (select least(t.unshipped, a.recalled, greatest(0, t.came_back - a.back)) as at_desk) g
    cross join lateral (select t.unshipped - g.at_desk as unshipped, t.came_back - g.at_desk as came_back) d
    cross join lateral (select least(greatest(0, no_restock - greatest(0, shipped - d.came_back)), d.unshipped)
        as dropped) e
$$;

-- Channel rules, as they apply to each listing: worked out when a rule changes, read with every change of stock.
alter table listings
    add column safety_stock_units integer not null default 0,
    add column share_percent numeric(5, 2) not null default 100,
    add column buffer_units integer not null default 0,
    add column floor_units integer not null default 0,
    add column cap_units integer,
    add column priority integer not null default 0,
    add column is_offered boolean not null default true;
alter table listings
    add constraint ck_listings_rule check (safety_stock_units >= 0 and share_percent between 0 and 100
        and buffer_units >= 0 and floor_units >= 0 and cap_units >= 0 and (cap_units is null or floor_units <= cap_units));
comment on column listings.safety_stock_units is 'rule: of the pool, never offered';
comment on column listings.share_percent is 'rule: of what is left of the pool';
comment on column listings.buffer_units is 'rule: held back from the share';
comment on column listings.floor_units is 'rule: at least so many, while the pool has them';
comment on column listings.cap_units is 'rule: at most so many; null for no cap';
comment on column listings.priority is 'rule: the higher, the sooner it is raised and the later it is lowered';
comment on column listings.is_offered is 'rule: whether the channel may sell it at all';

-- What a listing should show of its pool: core.inventory.rules.offer written as SQL. A test holds the two together.
-- One expression without a FROM, which the planner puts into the statement: no call for each of a hundred thousand rows.
create function offer(available bigint, safety integer, share numeric, buffer integer, floor_units integer,
    cap integer, is_offered boolean) returns bigint language sql immutable as $$
    select case when is_offered then least(cap, greatest(0, available - safety), greatest(floor_units,
        floor(greatest(0, available - safety) * share / 100)::int8 - buffer)) else 0 end
$$;

-- What is available of each bundle at each place that keeps any part of it: as many as the scarcest part allows.
create view bundle_levels with (security_invoker = true) as
select b.shop_id, b.bundle_sku_id as sku_id, w.location_id,
    min(floor(coalesce(k.available, 0)::numeric / b.units))::int8 as available
from bundle_parts b
join (
    select distinct p.shop_id, p.bundle_sku_id, v.location_id from bundle_parts p
    join stock_levels v on v.shop_id = p.shop_id and v.sku_id = p.part_sku_id
) w on w.shop_id = b.shop_id and w.bundle_sku_id = b.bundle_sku_id
left join stock_levels k on k.shop_id = b.shop_id and k.sku_id = b.part_sku_id and k.location_id = w.location_id
group by b.shop_id, b.bundle_sku_id, w.location_id;

create view sku_movements with (security_invoker = true) as
select
    m.shop_id, m.sku_id, m.id as movement_id, m.location_id, p.name as location, m.delta_units, m.reason,
    m.business_key, m.note, m.recorded_by, m.occurred_at, m.recorded_at, o.name as order_name,
    case when m.reason = 'shipment' and r.id is not null then 0 else m.delta_units - m.unavailable_delta_units end
        as available_delta_units,
    m.unavailable_delta_units, s.code as line_code
from stock_movements m
join locations p on p.shop_id = m.shop_id and p.id = m.location_id
left join order_lines ol on ol.shop_id = m.shop_id and ol.id = m.order_line_id
left join orders o on o.shop_id = ol.shop_id and o.id = ol.order_id
left join skus s on s.shop_id = ol.shop_id and s.id = ol.sku_id
left join reservations r on r.shop_id = m.shop_id and r.order_line_id = m.order_line_id and r.sku_id = m.sku_id;

-- A SKU's promises, each with its holder. What an order shipped left with its promise, which therefore still counts;
-- what another holder shipped left by a movement that counts by itself.
create view sku_promises with (security_invoker = true) as
select
    r.shop_id, r.sku_id, r.id as reservation_id, r.order_line_id, r.holder_kind, r.holder_ref, r.location_id,
    p.name as location, r.units, r.held_units,
    r.held_units + case when r.order_line_id is null then 0 else r.consumed_units end as promised_units, r.state,
    r.expires_at, r.ended_at, r.created_at, o.name as order_name, c.name as connection, s.code as line_code
from reservations r
join locations p on p.shop_id = r.shop_id and p.id = r.location_id
left join order_lines ol on ol.shop_id = r.shop_id and ol.id = r.order_line_id
left join orders o on o.shop_id = ol.shop_id and o.id = ol.order_id
left join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
left join skus s on s.shop_id = ol.shop_id and s.id = ol.sku_id;
create index ix_reservations_shop_id_sku_id_id on reservations (shop_id, sku_id, id);

-- One SKU's sums over its places, and how it stands: short when more is promised than is there, scarce at five or less.
-- A bundle has no stock of its own: what is available of it is what its parts allow, place by place.
create or replace view sku_stock with (security_invoker = true) as
select
    k.shop_id, k.id as sku_id, k.code, k.title, k.barcode, k.is_stocked,
    sum(v.on_hand)::bigint as on_hand, sum(v.reserved)::bigint as reserved, sum(v.unavailable)::bigint as unavailable,
    sum(v.incoming)::bigint as incoming, coalesce(b.available, sum(v.available))::bigint as available,
    case
        when not k.is_stocked then 'unstocked'
        when b.available is null and count(v.sku_id) = 0 then 'unknown'
        when coalesce(b.available, sum(v.available)) < 0 then 'short'
        when coalesce(b.available, sum(v.available)) <= 5 then 'scarce'
        else 'enough'
    end as stock_state,
    k.is_bundle, k.category, sum(v.promised)::bigint as promised
from skus k
left join stock_levels v on v.shop_id = k.shop_id and v.sku_id = k.id
left join (select shop_id, sku_id, sum(available)::bigint as available from bundle_levels group by 1, 2) b
    on b.shop_id = k.shop_id and b.sku_id = k.id
group by k.shop_id, k.id, b.available;

create or replace view sku_levels with (security_invoker = true) as
select
    v.shop_id, v.sku_id, v.location_id, p.name as location, v.on_hand, v.reserved, v.unavailable, v.incoming,
    v.available, v.promised
from stock_levels v
join locations p on p.shop_id = v.shop_id and p.id = v.location_id
join skus s on s.shop_id = v.shop_id and s.id = v.sku_id and not s.is_bundle
union all
select b.shop_id, b.sku_id, b.location_id, p.name, null, null, null, null, b.available, null
from bundle_levels b
join locations p on p.shop_id = b.shop_id and p.id = b.location_id;

-- What bundles are made of, and which bundles contain a SKU: as typed, and as parts.
create view sku_components with (security_invoker = true) as
select c.shop_id, c.bundle_sku_id, b.code as bundle_code, b.title as bundle_title, c.component_sku_id,
    s.code as component_code, s.title as component_title, s.is_bundle as component_is_bundle, c.units
from bundle_components c
join skus b on b.shop_id = c.shop_id and b.id = c.bundle_sku_id
join skus s on s.shop_id = c.shop_id and s.id = c.component_sku_id;
