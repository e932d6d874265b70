-- How a pool is shared, as channel rules say it; worked out onto each listing like the other terms.
alter table channel_policies
    add column mode text,
    add column switch_units integer,
    drop constraint ck_channel_policies_says_something,
    drop constraint ck_channel_policies_terms;
alter table channel_policies
    add constraint ck_channel_policies_says_something check (num_nonnulls(safety_stock_units, share_percent,
        buffer_units, floor_units, cap_units, priority, is_offered, mode, switch_units) > 0),
    add constraint ck_channel_policies_terms check (safety_stock_units >= 0 and share_percent between 0 and 100
        and buffer_units >= 0 and floor_units >= 0 and cap_units >= 0 and priority between 0 and 100
        and switch_units >= 0),
    add constraint ck_channel_policies_mode check (mode in ('pooled', 'adaptive', 'escrow'));
alter table listings
    add column mode text not null default 'pooled',
    add column switch_units integer,
    add column sales_per_hour real,
    add column edited_units integer not null default 0,
    add column blurred_units integer not null default 0;
alter table listings
    add constraint ck_listings_mode check (mode in ('pooled', 'adaptive', 'escrow')),
    add constraint ck_listings_switch_units check (switch_units >= 0);
comment on column listings.mode is 'rule: how its pool is shared; a pool goes by the strictest of its listings';
comment on column listings.switch_units is 'rule: at so many available adaptive goes over to escrow; null: measured';
comment on column listings.sales_per_hour is 'measured, with a prior for what has not sold yet';
comment on column listings.edited_units is 'of what is exposed: numbers that nobody here wrote, until the watermark passes them';
comment on column listings.blurred_units is 'by how much what it shows may be taken too low: sold or put back so near to the reading that clocks do not tell';

-- A pool in escrow never has more exposed to channels than is available of it.
alter table stock_levels
    add column is_escrow boolean not null default false,
    add column escrow_since timestamptz,
    add column escrow_line_units integer;
comment on column stock_levels.is_escrow is 'units are split over channels, none is shown twice';
comment on column stock_levels.escrow_since is 'since when it is, or is not, in escrow';
comment on column stock_levels.escrow_line_units is 'at so many available it goes into escrow; null: never, the largest integer: always';
create index ix_stock_levels_escrow on stock_levels (shop_id, sku_id, location_id) where is_escrow;

-- Up to when every order of a channel is known and handled. Never a timer: it stops at the oldest event that is not.
alter table connections
    add column reads_orders boolean not null default true,
    add column watermark_at timestamptz,
    add column watermark_next_at timestamptz,
    add column watermark_next_inbox_id bigint,
    add column doubt_seconds real;
comment on column connections.reads_orders is 'whether its orders are read at all: else what it sells cannot be known';
comment on column connections.watermark_at is 'the time up to which every order is known and handled; null before the first complete poll';
comment on column connections.watermark_next_at is 'where the watermark goes once every message up to watermark_next_inbox_id is handled';
comment on column connections.doubt_seconds is 'measured: from a sale of its to the number that it causes elsewhere';

-- Exposure: the most a listing may still sell that is not booked. What it was before it was kept: what channels show,
-- and what writes under way may add.
update listings l set exposed_units = greatest(0, coalesce(l.published_units, 0)) + coalesce((
    select case when w.from_units is null then w.to_units else greatest(0, w.to_units - greatest(0, w.from_units)) end
    from listing_writes w where w.shop_id = l.shop_id and w.listing_id = l.id and w.outcome is null), 0);
alter table listings alter column exposed_units set default 0, alter column exposed_units set not null;
comment on column listings.exposed_units is 'the most it may still sell that is not booked, in its own units';
alter table listings add constraint ck_listings_exposed_units check (exposed_units >= edited_units and edited_units >= 0);
alter table listing_writes disable trigger intent_is_frozen;
update listing_writes w
set exposure_delta_units = case when w.from_units is null then w.to_units else greatest(0, w.to_units - greatest(0, w.from_units)) end
where w.outcome is null;
alter table listing_writes enable trigger intent_is_frozen;
comment on column listing_writes.exposure_delta_units is 'what it added to exposure when it was recorded; null before exposure was kept';
-- Listings whose exposure is more than what they show: a doubt is open, or can be ended. A column of its own, as
-- is_to_push is: an index over the quantities themselves would have every change of them touch it.
alter table listings add column is_in_doubt boolean generated always as
    (exposed_units is distinct from greatest(0, published_units) or edited_units <> 0) stored;
comment on column listings.is_in_doubt is 'whether more or less is exposed than it shows, or somebody typed a number that the watermark has not passed';
create index ix_listings_is_in_doubt on listings (shop_id, connection_id, id) where is_in_doubt;

-- Every change of exposure with its cause, in the order in which they came to the listing.
create table exposure_changes (
    shop_id bigint not null,
    id bigint generated always as identity,
    listing_id bigint not null,
    cause text not null,
    asked_units integer not null,
    delta_units integer not null,
    exposed_units integer not null,
    write_id bigint,
    changed_at timestamptz not null,
    constraint pk_exposure_changes primary key (shop_id, id),
    constraint fk_exposure_changes_listings_shop_id_listing_id foreign key (shop_id, listing_id)
        references listings (shop_id, id),
    constraint ck_exposure_changes_cause check (cause in ('base', 'sale', 'restock', 'write', 'confirmed', 'refused',
        'edit', 'collapsed')),
    constraint ck_exposure_changes_exposed_units check (exposed_units >= 0),
    constraint ck_exposure_changes_of_a_write check ((write_id is not null) = (cause in ('write', 'confirmed', 'refused')))
);
comment on table exposure_changes is 'why the exposure of a listing is what it is; added, never edited, old ones are forgotten';
comment on column exposure_changes.asked_units is 'what the cause came to; a sale of more than was exposed takes only that';
comment on column exposure_changes.exposed_units is 'what was exposed after it';
create index ix_exposure_changes_listing on exposure_changes (shop_id, listing_id, id);
create index ix_exposure_changes_changed_at on exposure_changes using brin (changed_at);
create trigger never_edited before update on exposure_changes for each statement execute function refuse_change();
insert into exposure_changes (shop_id, listing_id, cause, asked_units, delta_units, exposed_units, changed_at)
select shop_id, id, 'base', exposed_units, exposed_units, exposed_units, now() from listings where exposed_units > 0;

-- What can be sold of each pool: one row for each listing and each SKU with stock of its own that it takes.
create view pool_takers with (security_invoker = true) as
select l.shop_id, coalesce(p.part_sku_id, l.sku_id) as sku_id, l.location_id, l.id as listing_id,
    l.connection_id, l.sku_id as listing_sku_id, coalesce(p.units, 1) as units_each, l.exposed_units,
    l.exposed_units * coalesce(p.units, 1) as exposed_pool_units
from listings l left join bundle_parts p on p.shop_id = l.shop_id and p.bundle_sku_id = l.sku_id
where l.sku_id is not null and l.location_id is not null;

-- Whether a pool is shared by splitting it: core.inventory.planner.is_scarce written as SQL. A test holds them together.
create function is_scarce(available bigint, line integer, was_scarce boolean) returns boolean language sql immutable as $$
    select line is not null
        and available <= line + case when was_scarce then greatest(1, line / 2)::bigint else 0::bigint end
$$;

-- The most that channels may still sell of a pool unbooked: by its own listings, and by those of bundles it is part of.
create function pool_exposed_units(shop bigint, sku bigint, place bigint) returns bigint language sql stable as $$
    select coalesce(sum(units), 0)::bigint from (
        select l.exposed_units::bigint as units from listings l
        where l.shop_id = shop and l.sku_id = sku and l.location_id = place
            and not exists (select from bundle_parts p where p.shop_id = shop and p.bundle_sku_id = sku)
        union all
        select l.exposed_units::bigint * p.units from bundle_parts p
        join listings l on l.shop_id = p.shop_id and l.sku_id = p.bundle_sku_id and l.location_id = place
        where p.shop_id = shop and p.part_sku_id = sku
    ) taken
$$;

-- In escrow nobody records a write that would expose more than there is, whatever the planner thought.
create function keep_raises_covered() returns trigger language plpgsql as $$
declare
    pool record;
begin
    for pool in
        select k.sku_id, k.available, pool_exposed_units(k.shop_id, k.sku_id, k.location_id) as exposed
        from pool_takers mine
        join stock_levels k on k.shop_id = mine.shop_id and k.sku_id = mine.sku_id
            and k.location_id = mine.location_id and k.is_escrow
        where mine.shop_id = new.shop_id and mine.listing_id = new.listing_id
    loop
        if pool.exposed > pool.available then
            raise exception 'SKU % is in escrow: % available, % exposed with this raise', pool.sku_id, pool.available,
                pool.exposed using errcode = 'check_violation', constraint = 'raises_are_covered';
        end if;
    end loop;
    return null;
end $$;
create trigger raises_are_covered after insert on listing_writes
    for each row when (new.exposure_delta_units > 0) execute function keep_raises_covered();
