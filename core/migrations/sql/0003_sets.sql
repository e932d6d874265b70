-- What an order line should have done to stock, from all its facts at once: core.inventory.rules.line_stock written as
-- SQL, so that thousands of lines are settled without leaving the database. A test holds the two together.
-- One SELECT of expressions: the planner puts it into the statement that uses it.
create function line_stock(
    ordered bigint, shipped bigint, cancelled_units bigint, came_back bigint, legacy bigint, no_restock bigint,
    is_cancelled boolean, is_before_baseline boolean, is_cancelled_before_baseline boolean,
    restocked_before_baseline bigint
) returns table (held bigint, consumed bigint, returned bigint, written_off bigint, opening bigint)
language sql immutable as $$
    select
        case when is_cancelled then 0 else d.unshipped - e.written_off end, shipped, d.came_back, e.written_off,
        case when is_before_baseline then greatest(0, ordered - restocked_before_baseline
            - case when is_cancelled_before_baseline then d.unshipped - e.written_off else 0 end) else 0 end
    from (select greatest(0, ordered - shipped) as unshipped) a
    cross join lateral (select least(cancelled_units, a.unshipped) as released) b
    cross join lateral (select least(legacy, a.unshipped - b.released) as released) c
    cross join lateral (select a.unshipped - b.released - c.released as unshipped,
        line_stock.came_back + cancelled_units - b.released + legacy - c.released as came_back) d
    cross join lateral (select least(greatest(0, no_restock - greatest(0, shipped - d.came_back)), d.unshipped)
        as written_off) e
$$;

-- Autovacuum looks once a minute. A table that grew from nothing to ten thousand rows in that minute is planned, by
-- our statements and by foreign keys, as if it were empty. So whoever fills tables in bulk says so, and those that have
-- grown fourfold since they were last counted are counted again, until they are big enough for what autovacuum knows of
-- them to be true for a minute longer. Cheap when there is nothing to do.
-- Everything it names is looked for in the catalogue first, in a caller's own temporary schema last: it runs as the owner.
create function count_grown_tables() returns integer language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
declare
    grown record;
    counted integer := 0;
begin
    set local lock_timeout = '100ms';
    for grown in
        select c.relname from pg_class c
        where c.relnamespace = 'public'::regnamespace and c.relname in ('inbox_messages', 'orders', 'order_lines',
            'reservations', 'stock_movements', 'stock_levels', 'listings', 'listing_writes', 'fulfilments',
            'fulfilment_lines', 'refunds', 'refund_lines')
        and c.relpages < 200 and pg_relation_size(c.oid) > 4 * 8192::bigint * greatest(1, c.relpages)
    loop
        begin
            execute format('analyze public.%I', grown.relname);
            counted := counted + 1;
        exception when lock_not_available then
            null;  -- autovacuum is at it
        end;
    end loop;
    return counted;
end $$;
revoke execute on function count_grown_tables() from public;

-- Whether a planner has to look at a listing. A partial index over the quantities themselves would have every change of
-- a quantity write into all indexes of the table; over this column only the changes that matter do, and the others stay
-- on their page, which is left some room for that.
alter table listings add column is_to_push boolean generated always as
    (publishing = 'on' and (listing_differs(desired_units - short_units, published_units) or unseen_units <> 0)) stored;
comment on column listings.is_to_push is 'whether a planner has to look at it: what it shows differs, or something unseen is unexplained';
alter table listings set (fillfactor = 70);
drop index ix_listings_to_push;
create index ix_listings_is_to_push on listings (shop_id, connection_id, id) where is_to_push;

-- SKUs with a listing that differs, was refused or is being written: found through partial indexes only.
create or replace view skus_not_in_step with (security_invoker = true) as
select l.shop_id, l.sku_id from listings l
where l.is_to_push and listing_differs(l.desired_units - l.short_units, l.published_units) and l.sku_id is not null
union
select l.shop_id, l.sku_id from listings l
where l.push_problem is not null and l.publishing = 'on' and l.sku_id is not null
union
select w.shop_id, l.sku_id from listing_writes w
join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
where w.outcome is null and l.sku_id is not null;
