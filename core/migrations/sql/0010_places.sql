-- A location is one pool. Ours are shared by channels that refuse at zero (classes A and B); a till that sells without
-- asking (C) and stock that is not ours (D) have a location to themselves, so that what they do cannot oversell others.
alter table locations
    add column kind text not null default 'own',
    add column connection_id bigint;
alter table locations
    add constraint ck_locations_kind check (kind in ('own', 'till', 'external')),
    add constraint ck_locations_pool_has_one_channel check ((kind = 'own') = (connection_id is null)),
    add constraint fk_locations_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id);
comment on column locations.kind is 'own: a pool of ours; till: sold from without asking; external: not our stock';
comment on column locations.connection_id is 'the only channel of a till or an external location';

create function keep_pools_apart() returns trigger language plpgsql as $$
declare
    place record;
    class text;
begin
    select kind, connection_id, name into place from locations where shop_id = new.shop_id and id = new.location_id;
    select guarantee_class into class from connections where shop_id = new.shop_id and id = new.connection_id;
    if place.kind = 'own' and class in ('C', 'D') then
        raise exception 'location % is a pool that channels share: a channel of class % needs a location of its own',
            place.name, class using errcode = 'check_violation', constraint = 'pools_are_apart';
    elsif place.kind <> 'own' and place.connection_id <> new.connection_id then
        raise exception 'location % belongs to another channel alone', place.name
            using errcode = 'check_violation', constraint = 'pools_are_apart';
    end if;
    return new;
end $$;
create trigger pools_are_apart_from_the_start before insert on listings
    for each row when (new.location_id is not null) execute function keep_pools_apart();
create trigger pools_are_apart before update of location_id, connection_id on listings
    for each row when (new.location_id is not null) execute function keep_pools_apart();

-- What a location is decides who may sell from it: fixed once anybody does.
create function keep_location_kind() returns trigger language plpgsql as $$
begin
    if exists (select from listings where shop_id = new.shop_id and location_id = new.id) then
        raise exception 'location % is sold from: what kind it is cannot change any more', new.name
            using errcode = 'check_violation', constraint = 'pools_are_apart';
    end if;
    return new;
end $$;
create trigger kind_is_kept before update of kind, connection_id on locations
    for each row when ((new.kind, new.connection_id) is distinct from (old.kind, old.connection_id))
    execute function keep_location_kind();

-- Locations with what lies there and how many listings sell from it.
create view location_list with (security_invoker = true) as
select
    p.shop_id, p.id as location_id, p.name, p.kind, c.name as only_channel, stock.skus, stock.on_hand, stock.reserved,
    stock.incoming, stock.available, sold.listings
from locations p
left join connections c on c.shop_id = p.shop_id and c.id = p.connection_id
cross join lateral (
    select count(*) filter (where v.on_hand <> 0) as skus, coalesce(sum(v.on_hand), 0)::bigint as on_hand,
        coalesce(sum(v.reserved), 0)::bigint as reserved, coalesce(sum(v.incoming), 0)::bigint as incoming,
        coalesce(sum(v.available), 0)::bigint as available
    from stock_levels v where v.shop_id = p.shop_id and v.location_id = p.id
) stock
cross join lateral (
    select count(*) as listings from listings l where l.shop_id = p.shop_id and l.location_id = p.id
) sold;

-- Which of our locations each place of each channel is served from.
create view channel_places with (security_invoker = true) as
select c.shop_id, c.id as connection_id, c.name as connection, c.vendor, c.guarantee_class, place.key as place_ref,
    p.id as location_id, p.name as location, shown.listings
from connections c
cross join lateral jsonb_each_text(coalesce(c.settings -> 'locations', '{}')) place
left join locations p on p.shop_id = c.shop_id and p.id = place.value::bigint
cross join lateral (
    select count(*) as listings from listings l
    where l.shop_id = c.shop_id and l.connection_id = c.id and l.channel_location_ref = place.key
) shown;
create index ix_stock_levels_shop_id_location_id on stock_levels (shop_id, location_id);
create index ix_listings_shop_id_location_id on listings (shop_id, location_id);
