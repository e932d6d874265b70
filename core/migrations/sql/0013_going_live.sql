-- Going live safely: a connection in shadow mode is read, computed and compared, and nothing is written to it; a stop
-- holds whatever would change anything outside, at once and until somebody ends it.

alter table connections add column write_mode text not null default 'live';
alter table connections add constraint ck_connections_write_mode check (write_mode in ('live', 'shadow'));
comment on column connections.write_mode is 'live: what differs is written; shadow: it is only compared';

create table write_stops (
    shop_id bigint not null,
    id bigint generated always as identity,
    connection_id bigint,
    stopped_by text not null,
    reason text not null,
    stopped_at timestamptz not null,
    ended_by text,
    ended_reason text,
    ended_at timestamptz,
    constraint pk_write_stops primary key (shop_id, id),
    constraint fk_write_stops_shops_shop_id foreign key (shop_id) references shops (shop_id),
    constraint fk_write_stops_connections_shop_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint ck_write_stops_named_and_reasoned check (btrim(stopped_by) <> '' and btrim(reason) <> ''),
    constraint ck_write_stops_ended check (
        (ended_at is null) = (ended_by is null) and (ended_at is null) = (ended_reason is null)
        and coalesce(btrim(ended_by) <> '' and btrim(ended_reason) <> '', true)
    )
);
comment on table write_stops is 'while one is open nothing leaves that would change anything outside';
comment on column write_stops.connection_id is 'whose writes it stops; null: those of every connection of the shop';
create unique index uq_write_stops_open on write_stops (shop_id, coalesce(connection_id, 0)) where ended_at is null;

-- Whether anything may leave that changes something at a connection. Asked in the statement that marks a write as sent.
create function may_write(shop bigint, connection bigint) returns boolean language sql stable as $$
    select exists (
        select from connections c
        where c.shop_id = shop and c.id = connection and c.state = 'active' and c.write_mode = 'live'
        and not exists (
            select from write_stops s
            where s.shop_id = c.shop_id and s.ended_at is null and coalesce(s.connection_id, c.id) = c.id
        )
    )
$$;

-- Orders that were open when a channel was connected hold stock, and lie on the shelf: they are read once.
alter table connections add column open_orders_read_at timestamptz;
comment on column connections.open_orders_read_at is 'when the orders open at its connection were read, all of them';
-- Whatever was read before this goes on as it was: the orders open at its connection are long shipped, or were counted.
update connections set open_orders_read_at = catalogue_read_at where catalogue_read_at is not null;
alter table connections add column open_orders_from timestamptz;
comment on column connections.open_orders_from is 'older open orders were hidden from us; null: none were';

-- A number taken over no longer holds what was sold before: such a sale brings its units along. A number that came from
-- elsewhere (another channel, a count) still does: there the sale only takes them.
alter table listings add column opening_at timestamptz;
comment on column listings.opening_at is 'the channel''s time at which its number became our stock; null where it did not';
-- What was booked stays: of whatever number, its sales came with their units, and so did what was put back within its
-- second, which from now on counts as before.
update listings set opening_at = baseline_at - interval '1 microsecond' where baseline_at is not null;

-- What an edit does to an order after its number was taken over is an act of its own: what came in with the line stays.
alter table orders add column lines_version_at timestamptz;
comment on column orders.lines_version_at is 'of the newest that told what edits left of its lines';
update orders set lines_version_at = version_at where cancelled_at is null;
alter table order_lines add column opening_units bigint, add column opening_version_at timestamptz;
alter table order_lines add constraint ck_order_lines_opening
    check (opening_units >= 0 and (opening_units is null) = (opening_version_at is null));
comment on column order_lines.opening_units is
    'its units when its listing''s number became our stock, kept once more is told of it; null: as now';
comment on column order_lines.opening_version_at is 'the order''s version that told them';

-- core.inventory.rules.line_stock written as SQL, as before, but for the units that come in as opening stock.
drop function line_stock;
create function line_stock(
    ordered bigint, shipped bigint, cancelled_units bigint, came_back bigint, legacy bigint, no_restock bigint,
    is_cancelled boolean, is_before_baseline boolean, is_cancelled_before_baseline boolean,
    restocked_before_baseline bigint, desk_units bigint, desk_quarantined bigint, desk_written_off bigint,
    desk_recalled bigint, ordered_before_baseline bigint
) returns table (held bigint, consumed bigint, returned bigint, written_off bigint, opening bigint, quarantined bigint)
language sql immutable as $$
    select
        case when is_cancelled then 0 else d.unshipped - e.dropped end, shipped,
        a.back - w.back + least(greatest(0, d.came_back - a.back),
            greatest(ordered, shipped) - b.released - c.released - g.at_desk - a.back),
        greatest(0, e.dropped - (a.recalled - g.at_desk)) + desk_written_off - w.back,
        case when is_before_baseline then greatest(0, ordered_before_baseline - restocked_before_baseline
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

-- What of a connection is switched how, by whom and why. Stops: the oldest that is open, be it the shop's or its own.
create view connection_switches with (security_invoker = true) as
select
    c.shop_id, c.id as connection_id, c.name as connection, c.vendor, c.guarantee_class, c.state, c.write_mode,
    s.id is not null as is_stopped, coalesce(s.of_shop, false) as is_stopped_for_shop,
    coalesce(s.of_connection, false) as is_stopped_for_connection, s.stopped_by, s.reason as stop_reason,
    s.stopped_at, p.actor as paused_by, p.reason as pause_reason, p.acted_at as paused_at,
    may_write(c.shop_id, c.id) as may_write
from connections c
left join lateral (
    select w.id, w.stopped_by, w.reason, w.stopped_at, bool_or(w.connection_id is null) over () as of_shop,
        bool_or(w.connection_id is not null) over () as of_connection
    from write_stops w
    where w.shop_id = c.shop_id and w.ended_at is null and coalesce(w.connection_id, c.id) = c.id
    order by w.stopped_at, w.id limit 1
) s on true
left join lateral (
    select a.actor, a.reason, a.acted_at from audit_entries a
    where c.state = 'paused' and a.shop_id = c.shop_id and a.subject = 'connection:' || c.id and a.act = 'pause'
    order by a.id desc limit 1
) p on true;

-- What writing to a connection would change: each listing as it is shown and as it should be. What a channel did by
-- itself and no booked order explains yet is no difference. In shadow mode this is kept current, and nothing is written.
create view listing_comparison with (security_invoker = true) as
select
    l.shop_id, l.connection_id, l.id as listing_id, l.channel_ref, l.channel_code, l.title, l.sku_id, s.code,
    p.name as location, l.published_units - l.unseen_units as shows_units, d.units as should_show_units,
    d.units - (l.published_units - l.unseen_units) as difference_units, l.push_problem,
    case
        when l.status = 'deleted' then 'gone'
        when l.sku_id is null then 'unmapped'
        when not l.is_tracked then 'untracked'
        when l.publishing = 'off' then 'waiting'
        when l.push_problem is not null then 'refused'
        when l.published_units is null then 'unread'
        when not listing_differs(d.units, l.published_units - l.unseen_units) then 'equal'
        when d.units = 0 then 'zeroed'
        when d.units < l.published_units - l.unseen_units then 'lowered'
        else 'raised'
    end as verdict,
    case when l.sku_id is null or l.publishing = 'off' then l.publishing_reason else l.push_problem end as reason,
    count(*) over (partition by l.shop_id, l.connection_id, l.sku_id, l.location_id) > 1 and l.sku_id is not null
        as is_duplicate
from listings l
cross join lateral (select greatest(0, l.desired_units - l.short_units) as units) d
left join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
left join locations p on p.shop_id = l.shop_id and p.id = l.location_id;
