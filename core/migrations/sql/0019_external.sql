-- Stock that a channel keeps itself, in its own warehouses: read, shown, and neither pooled, promised nor written by us.
-- A channel may keep some of a seller's stock and sell the rest from the seller's: so it is told by the place, not by the
-- connection alone (settings -> 'external_places').
create or replace function keep_pools_apart() returns trigger language plpgsql as $$
declare
    place record;
    seller record;
    wanted text;
begin
    select kind, connection_id, name into place from locations where shop_id = new.shop_id and id = new.location_id;
    select guarantee_class, coalesce(settings -> 'external_places', '[]') ? new.channel_location_ref as is_external
        into seller from connections where shop_id = new.shop_id and id = new.connection_id;
    wanted := case when seller.guarantee_class = 'D' or seller.is_external then 'external'
        when seller.guarantee_class = 'C' then 'till' else 'own' end;
    if place.kind = 'own' and seller.guarantee_class in ('C', 'D') then
        raise exception 'location % is a pool that channels share: a channel of class % needs a location of its own',
            place.name, seller.guarantee_class using errcode = 'check_violation', constraint = 'pools_are_apart';
    elsif place.kind <> 'own' and place.connection_id <> new.connection_id then
        raise exception 'location % belongs to another channel alone', place.name
            using errcode = 'check_violation', constraint = 'pools_are_apart';
    elsif place.kind <> wanted then
        raise exception 'location % is %, and this place of the channel needs one that is %', place.name, place.kind,
            wanted using errcode = 'check_violation', constraint = 'pools_are_apart';
    end if;
    return new;
end $$;

create function keep_external_unwritten() returns trigger language plpgsql as $$
begin
    if exists (select from locations p where p.shop_id = new.shop_id and p.id = new.location_id
            and p.kind = 'external') then
        raise exception 'listing % shows stock that the channel keeps itself: its quantity is not ours to write', new.id
            using errcode = 'check_violation', constraint = 'external_is_never_written';
    end if;
    return new;
end $$;
create trigger external_is_never_published_from_the_start before insert on listings
    for each row when (new.publishing = 'on') execute function keep_external_unwritten();
create trigger external_is_never_published before update of publishing, location_id on listings
    for each row when (new.publishing = 'on' and (new.publishing, new.location_id) is distinct from
        (old.publishing, old.location_id))
    execute function keep_external_unwritten();

create function keep_external_writes_out() returns trigger language plpgsql as $$
begin
    if exists (select from listings l join locations p on p.shop_id = l.shop_id and p.id = l.location_id
            where l.shop_id = new.shop_id and l.id = new.listing_id and p.kind = 'external') then
        raise exception 'listing % shows stock that the channel keeps itself: its quantity is not ours to write',
            new.listing_id using errcode = 'check_violation', constraint = 'external_is_never_written';
    end if;
    return new;
end $$;
create trigger external_is_never_written before insert on listing_writes
    for each row execute function keep_external_writes_out();

alter table listings add column status_reason text;
comment on column listings.status_reason is 'why buyers cannot buy it, in the channel''s words';

-- What is ours to sell leaves out what a channel keeps: that is told beside it, and in a row of its own.
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
    and (v.shop_id, v.location_id) not in (select shop_id, id from locations where kind = 'external')
left join (
    select shop_id, sku_id, sum(available)::bigint as available from bundle_levels
    where (shop_id, location_id) not in (select shop_id, id from locations where kind = 'external') group by 1, 2
) b on b.shop_id = k.shop_id and b.sku_id = k.id
group by k.shop_id, k.id, b.available;

create or replace view sku_levels with (security_invoker = true) as
select
    v.shop_id, v.sku_id, v.location_id, p.name as location, v.on_hand, v.reserved, v.unavailable, v.incoming,
    v.available, v.promised, p.kind = 'external' as is_external
from stock_levels v
join locations p on p.shop_id = v.shop_id and p.id = v.location_id
join skus s on s.shop_id = v.shop_id and s.id = v.sku_id and not s.is_bundle
union all
select b.shop_id, b.sku_id, b.location_id, p.name, null, null, null, null, b.available, null, false
from bundle_levels b
join locations p on p.shop_id = b.shop_id and p.id = b.location_id and p.kind <> 'external';

-- Connections to Amazon of before. In which region they are tells which others share their stock.
update connections c set settings = c.settings || jsonb_build_object('region', r.region)
from (values
    ('na', '{ATVPDKIKX0DER,A2EUQ1WTGCTBG2,A1AM78C64UM0Y8,A2Q3Y263D00KWC}'::text[]),
    ('eu', '{A1F83G8C2ARO7P,A1PA6795UKMFR9,A13V1IB3VIYZZH,A1RKKUPIHCS9HS,APJ6JRA9NG5V4,A1805IZSGTT6HS,AMEN7PMS3EDWL,'
        'A28R8C7NBKEWEA,A2NODRKZP88ZB9,A1C3SOZRARQ6R3,A33AVAJ2PDY3EV,A17E79C6D8DWNP,A2VIGQ35RCS4UG,ARBP9OOSHTCHU,'
        'AE08WJ6YKNBMC,A21TJRUUN4KGV}'),
    ('fe', '{A1VC38T7YXB528,A39IBJ37TRP1C6,A19VAU5U5O7RUS}')) r (region, marketplaces)
where c.vendor = 'amazon' and not c.settings ? 'region' and c.settings ->> 'marketplace_id' = any(r.marketplaces);

-- Their sales were never read, and whoever counted since has booked them that way: so sweeps begin now, and what was
-- placed before is what was open when a channel was read whose numbers are not ours: what is left of it to ship lies on
-- our shelf and is held, and what left before is nobody's any more. The next sync reads what is open.
create temporary table taken_up on commit drop as
select c.shop_id, c.id, date_trunc('second', now()) as at from connections c
where c.vendor = 'amazon' and c.catalogue_read_at is not null
    and not exists (select from orders o where o.shop_id = c.shop_id and o.connection_id = c.id);
update connections c set settings = c.settings || jsonb_build_object('orders_from', t.at), reads_orders = false, open_orders_read_at = null,
    open_orders_from = null, watermark_at = null, watermark_next_at = null, watermark_next_inbox_id = null
from taken_up t where c.shop_id = t.shop_id and c.id = t.id;
update listings l set baseline_at = t.at, opening_at = null
from taken_up t where l.shop_id = t.shop_id and l.connection_id = t.id and l.baseline_at is not null;
drop table taken_up;
